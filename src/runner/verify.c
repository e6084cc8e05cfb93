/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fileio.h"
#include "build-config.h"
#include "jws/answer.h"
#include "runner/bounds.h"
#include "runner/confine.h"
#include "runner/conn.h"
#include "runner/trust.h"

enum {
        KEYS_FD = 3,
        PROGRAM_FD = 4,
};

typedef struct Verifier {
        char *const *argv;
        uid_t uid; /* whom it becomes, if we are root */
        int program_fd, keys_fd, in_fd, out_fd[2];
} Verifier;

static void verifier_done(Verifier *v) {
        close_fd_p(&v->program_fd);
        close_fd_p(&v->keys_fd);
        close_fd_p(&v->in_fd);
        close_fd_p(&v->out_fd[0]);
        close_fd_p(&v->out_fd[1]);
}
#define CLEANUP_VERIFIER __attribute__((cleanup(verifier_done)))

/* ---- the program ---- */

/* Beside this one; in a build tree it has a folder of its own. Opened by us: nobody might find no way to it. */
static int open_program(Error *e) {
        static const char built[] = "/runner";
        char path[PATH_MAX + sizeof "/../verify/iot-jobs-verify"];
        ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
        int fd = -1;

        if (n > 0) {
                char *slash;

                path[n] = '\0';
                slash = strrchr(path, '/');
                (void) strcpy(slash, "/iot-jobs-verify");
                fd = open(path, O_PATH | O_CLOEXEC);
                *slash = '\0';
                if (fd < 0 && (size_t) (slash - path) > sizeof built &&
                    strcmp(slash - (sizeof built - 1), built) == 0) {
                        (void) strcpy(slash, "/../verify/iot-jobs-verify");
                        fd = open(path, O_PATH | O_CLOEXEC);
                }
        }
        if (fd < 0)
                fd = open(IOT_JOBS_LIBEXECDIR "/iot-jobs-verify", O_PATH | O_CLOEXEC);
        return fd < 0 ? error_errno(e, errno, "%s/iot-jobs-verify, which checks signatures", IOT_JOBS_LIBEXECDIR) : fd;
}

/* Who is nobody and may do little. */
static bool give_up_rights(uid_t uid) {
        if (geteuid() == 0 && confine_become(uid) < 0)
                return false;
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && confine_limit(RLIMIT_CPU, RUNNER_VERIFY_CPU_SEC) == 0 &&
               confine_limit(RLIMIT_CORE, 0) == 0 && confine_limit(RLIMIT_FSIZE, 0) == 0 &&
               confine_limit(RLIMIT_NOFILE, RUNNER_VERIFY_FILES) == 0;
}

/* A copy of a single-threaded process: it may call what it likes. */
static _Noreturn void become_program(const Verifier *v) {
        static char *const environment[] = { NULL };
        int program = fcntl(v->program_fd, F_DUPFD_CLOEXEC, 16), keys = fcntl(v->keys_fd, F_DUPFD_CLOEXEC, 16);

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (program < 0 || keys < 0 || dup2(v->in_fd, STDIN_FILENO) < 0 || dup2(v->out_fd[1], STDOUT_FILENO) < 0 ||
            dup2(keys, KEYS_FD) < 0 || dup3(program, PROGRAM_FD, O_CLOEXEC) < 0 || !give_up_rights(v->uid))
                _exit(126);
        (void) close_range(PROGRAM_FD + 1, ~0U, 0); /* none of ours stays open anyway */
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* taking other rights has undone it */
        (void) execveat(PROGRAM_FD, "", v->argv, environment, AT_EMPTY_PATH);
        _exit(127);
}

/* ---- the conversation ---- */

static int open_input(const char *jws) {
        int fd CLEANUP_FD = memfd_create("jws", MFD_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, jws, strlen(jws));
        if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return r < 0 ? r : -errno;
        return TAKE_FD(fd);
}

/* All it says, until it ends. */
static int read_answer(int fd, uint64_t deadline, Buf *ret) {
        char chunk[4096];

        while (ret->len <= JWS_ANSWER_MAX) {
                int r = fd_wait(fd, POLLIN, deadline);
                ssize_t n = r > 0 ? read(fd, chunk, sizeof chunk) : 0;

                if (r <= 0 || (n < 0 && errno != EINTR))
                        return r == 0 ? -ETIMEDOUT : r < 0 ? r : -errno;
                if (n == 0)
                        return buf_error(ret);
                buf_append(ret, chunk, (size_t) MAX_OF(n, 0));
        }
        return -EMSGSIZE;
}

/* Its exit code; -1 = it was killed. */
static int wait_for_end(pid_t pid, uint64_t deadline) {
        int fd CLEANUP_FD = pidfd_open(pid, 0);
        int status = 0;

        if (fd < 0 || fd_wait(fd, POLLIN, deadline) <= 0)
                (void) kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int converse(Verifier *v, Buf *answer, int *ret_code, Error *e) {
        uint64_t deadline = clock_boottime_usec() + RUNNER_VERIFY_SEC * USEC_PER_SEC;
        pid_t pid = fork();
        int r;

        if (pid < 0)
                return error_errno(e, errno, "starting iot-jobs-verify");
        if (pid == 0)
                become_program(v);
        (void) close(v->out_fd[1]);
        v->out_fd[1] = -1;
        r = read_answer(v->out_fd[0], deadline, answer);
        *ret_code = wait_for_end(pid, r < 0 ? 0 : deadline);
        return r < 0 ? error_errno(e, -r, "asking iot-jobs-verify") : 0;
}

static int judge(const Buf *answer, int code, char **ret, size_t *ret_len, JwsFault *fault, Error *e) {
        JwsAnswer a = {};

        if (jws_answer_parse(answer->data ? answer->data : "", answer->len, code, &a) < 0)
                return error_set(e, EIO, "iot-jobs-verify did not answer (exit code %d)", code);
        switch (a.verdict) {
        case JWS_VERIFIED:
                *ret = strndup(a.payload, a.payload_len);
                *ret_len = a.payload_len;
                return *ret ? 0 : error_errno(e, ENOMEM, "reading the job document");
        case JWS_REFUSED:
                *fault = a.fault;
                return -EINVAL;
        case JWS_UNABLE:
                break;
        }
        return error_set(e, EAGAIN, "the signature cannot be checked now: %s", a.fault.reason);
}

static bool is_passing(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EIO || r == -EAGAIN;
}

/* What is wrong with the directory is wrong with every signed document. */
static int open_keys(const VerifyRequest *q, JwsFault *fault, Error *e) {
        char *real CLEANUP_FREE = NULL;
        int fd = trust_open_directory(q->keys, q->uid, &real, e);

        if (fd >= 0 || is_passing(fd))
                return fd;
        return jws_fault(fault, "jws", "policy.trusted_keys: %s", e->text);
}

int verify_document(const VerifyRequest *q, char **ret, size_t *ret_len, JwsFault *fault, Error *e) {
        char owner[24], keys[16];
        const char *const argv[] = {
                "iot-jobs-verify",
                "--keys-fd", keys, "--thing", q->thing, "--job", q->job, "--owner", owner,
                q->required ? "--require" : q->accepted ? "--accepted" : NULL,
                q->required && q->accepted ? "--accepted" : NULL,
                NULL,
        };
        Verifier v CLEANUP_VERIFIER = { (char *const *) (uintptr_t) argv, confine_pick_user(), -1, -1, -1, { -1, -1 } };
        Buf answer CLEANUP_BUF = {};
        int r, code = -1;

        (void) snprintf(owner, sizeof owner, "%u", (unsigned) q->uid);
        (void) snprintf(keys, sizeof keys, "%d", KEYS_FD);
        v.keys_fd = open_keys(q, fault, e);
        if (v.keys_fd < 0)
                return v.keys_fd;
        v.program_fd = open_program(e);
        if (v.program_fd < 0)
                return v.program_fd;
        v.in_fd = open_input(q->jws);
        if (v.in_fd < 0)
                return error_errno(e, -v.in_fd, "asking iot-jobs-verify");
        if (pipe2(v.out_fd, O_CLOEXEC) < 0)
                return error_errno(e, errno, "asking iot-jobs-verify");
        r = converse(&v, &answer, &code, e);
        return r < 0 ? r : judge(&answer, code, ret, ret_len, fault, e);
}
