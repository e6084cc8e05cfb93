/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fileio.h"
#include "base/log.h"
#include "jobdoc/packed.h"
#include "runner/confine.h"
#include "runner/conn.h"

enum { REPLY_FD, ANSWER_FD };

/* What the child was at when it gave up: its exit status. Later, behind the filter, it can end with 0 only. */
typedef enum Stage {
        STAGE_DONE,
        STAGE_DESCRIPTORS,
        STAGE_USER,
        STAGE_LIMITS,
        STAGE_MEMORY,
        STAGE_FILTER,
        STAGE_COUNT,
} Stage;

static const char *const stage_names[] = {
        [STAGE_DONE] = "reading",
        [STAGE_DESCRIPTORS] = "keeping its pipes only",
        [STAGE_USER] = "becoming an unprivileged user",
        [STAGE_LIMITS] = "setting its limits",
        [STAGE_MEMORY] = "setting memory aside",
        [STAGE_FILTER] = "setting its filter of system calls",
};

/* Whom it becomes. Each is tried if the one before cannot be had. */
typedef enum As {
        AS_NOBODY,
        AS_DYNAMIC_USER, /* in a user namespace of 65536 users */
        AS_OURSELVES,
} As;

typedef struct Reader {
        const ParseRequest *request;
        As as;
        uid_t uid;
        bool filter;
        pid_t pid;
        int reply_fd[2], answer_fd[2];
        Buf heard;
        size_t questions;
} Reader;

static void reader_done(Reader *r) {
        for (int i = 0; i < 2; i++) {
                close_fd_p(&r->reply_fd[i]);
                close_fd_p(&r->answer_fd[i]);
        }
        buf_done(&r->heard);
}
#define CLEANUP_READER __attribute__((cleanup(reader_done)))

/* ---- the child: a copy of a single-threaded process ---- */

static void forget(char *const *texts) {
        for (; texts && *texts; texts++)
                explicit_bzero(*texts, strlen(*texts));
}

static int take_limits(void) {
        static const int nothing_of[] = { RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_NPROC };
        int r = 0;

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(nothing_of); i++)
                r = confine_limit(nothing_of[i], 0);
        /* First comes SIGXCPU, which nothing else sends. */
        return r < 0 ? r : confine_limits(RLIMIT_CPU, PARSE_CPU_SEC, PARSE_CPU_SEC + 1);
}

static int confine(const Reader *r, Stage *stage) {
        int k;

        *stage = STAGE_DESCRIPTORS;
        k = confine_descriptors(r->reply_fd[0], r->answer_fd[1]);
        if (k < 0)
                return k;
        *stage = STAGE_USER;
        k = r->as != AS_OURSELVES ? confine_become(r->uid) : 0;
        if (k == 0 && (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
                k = -errno;
        if (k < 0)
                return k;
        *stage = STAGE_LIMITS;
        k = take_limits();
        if (k < 0)
                return k;
        *stage = STAGE_MEMORY;
        k = confine_memory(PARSE_MEMORY);
        if (k < 0)
                return k;
        *stage = STAGE_FILTER;
        return r->filter ? confine_filter() : 0;
}

/* There is nobody to be told. */
static void say(const void *data, size_t len) {
        if (write_all(ANSWER_FD, data, len) < 0)
                _exit(0);
}

static bool ask_for_file(const char *path, UNUSED void *userdata) {
        Buf question CLEANUP_BUF = {};
        char reply = 0;

        jobdoc_pack_question(path, &question);
        if (buf_error(&question) < 0)
                _exit(0);
        say(question.data, question.len);
        if (read(REPLY_FD, &reply, 1) != 1)
                _exit(0);
        return reply != 0;
}

static void answer(const ParseRequest *q) {
        JobPolicy policy = *q->policy;
        JobFacts facts = {};
        JobFault fault = {};
        JobDoc doc = {};
        Buf b = {};
        int r;

        if (policy.facts) {
                facts = *policy.facts;
                facts.file_present = facts.file_present ? ask_for_file : NULL;
                policy.facts = &facts;
        }
        r = q->parse(q->document, q->len, &policy, &doc, &fault);
        if (r == 0)
                jobdoc_pack(&doc, &policy, &b);
        if (r < 0 && r != -EINVAL)
                (void) snprintf(fault.reason, sizeof fault.reason, "the job document needs more than %d MiB of memory to be read",
                                PARSE_MEMORY / 1024 / 1024);
        if (r < 0)
                jobdoc_pack_fault(&fault, &b);
        if (buf_error(&b) == 0)
                say(b.data, b.len);
        /* All memory goes with the process. */
}

static _Noreturn void child_main(const Reader *r) {
        Stage stage;
        int k;

        forget(environ);
        forget(r->request->secrets);
        k = confine(r, &stage);
        if (k < 0) {
                (void) !write(stage == STAGE_DESCRIPTORS ? r->answer_fd[1] : ANSWER_FD, &k, sizeof k);
                _exit((int) stage);
        }
        answer(r->request);
        _exit(0);
}

/* ---- its parent ---- */

static int open_pipes(Reader *r) {
        const JobFacts *facts = r->request->policy->facts;

        if (pipe2(r->answer_fd, O_CLOEXEC) < 0)
                return -errno;
        return facts && facts->file_present && pipe2(r->reply_fd, O_CLOEXEC) < 0 ? -errno : 0;
}

static int start(Reader *r) {
        int k = open_pipes(r);

        if (k < 0)
                return k;
        r->uid = r->as == AS_NOBODY ? confine_pick_nobody() : r->as == AS_DYNAMIC_USER ? confine_pick_user() : 0;
        r->pid = fork();
        if (r->pid < 0)
                return -errno;
        if (r->pid == 0)
                child_main(r);
        (void) close(r->answer_fd[1]);
        r->answer_fd[1] = -1;
        return 0;
}

/* What is heard is a question and nothing else: nobody asks two at a time. */
static int reply(Reader *r) {
        const JobFacts *facts = r->request->policy->facts;
        char *path CLEANUP_FREE = NULL;
        char there;
        Error e = {};
        int k;

        if (r->reply_fd[1] < 0 || ++r->questions > JOBDOC_QUESTIONS_MAX)
                return -EBADMSG;
        k = jobdoc_unpack_question(r->heard.data, r->heard.len, &path, &e);
        if (k < 0)
                return k;
        there = facts->file_present(path, facts->userdata);
        buf_clear(&r->heard);
        return write_all(r->reply_fd[1], &there, 1);
}

/* 1 = there is a whole answer; 0 = no; -EBADMSG = there never will be. */
static int look_at_heard(Reader *r) {
        bool question;
        size_t len;
        int k = jobdoc_packed_length(r->heard.data, r->heard.len, &len, &question);

        if (k <= 0 || r->heard.len < len)
                return MIN_OF(k, 0);
        if (r->heard.len > len)
                return -EBADMSG;
        return question ? reply(r) : 1;
}

/* 1 = there is an answer; 0 = it has ended without; -EBADMSG = it says what it should not; or another negative errno. */
static int listen_to(Reader *r) {
        uint64_t deadline = clock_boottime_usec() + PARSE_SEC * USEC_PER_SEC;
        char chunk[4096];
        int k = 0;

        while (k == 0) {
                ssize_t n;

                k = fd_wait(r->answer_fd[0], POLLIN, deadline);
                if (k <= 0)
                        return k == 0 ? -ETIMEDOUT : k;
                n = read(r->answer_fd[0], chunk, sizeof chunk);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return 0;
                buf_append(&r->heard, chunk, (size_t) MAX_OF(n, 0));
                k = buf_error(&r->heard) < 0 ? -ENOMEM : look_at_heard(r);
        }
        return k;
}

static uint64_t seconds_used(const struct rusage *u) {
        return (uint64_t) (u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
               (uint64_t) (u->ru_utime.tv_usec + u->ru_stime.tv_usec) / USEC_PER_SEC;
}

static int explain_stage(const Reader *r, int status, Error *e) {
        int error = EPROTO;

        if (r->heard.len == sizeof error)
                memcpy(&error, r->heard.data, sizeof error);
        return error_errno(e, error < 0 ? -error : EPROTO, "the process that reads the job document, %s",
                           stage_names[status < STAGE_COUNT ? status : STAGE_DONE]);
}

/* It has no answer. The document's fault, -EBADMSG, is what a document can bring about. */
static int explain(const Reader *r, int heard, int status, const struct rusage *used, Error *e) {
        if (heard == -EBADMSG)
                return error_set(e, EBADMSG, "the process that reads it talked nonsense");
        if ((WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) || seconds_used(used) >= PARSE_CPU_SEC)
                return error_set(e, EBADMSG, "reading it takes more than %d s of processor time", PARSE_CPU_SEC);
        if (heard == -ETIMEDOUT)
                return error_set(e, ETIMEDOUT, "the process that reads the job document has not answered for %d s", PARSE_SEC);
        if (heard < 0)
                return error_errno(e, -heard, "asking the process that reads the job document");
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) /* it cannot do that to itself */
                return error_set(e, EAGAIN, "the process that reads the job document was killed by SIGKILL");
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
                return error_set(e, EBADMSG, "the process that reads it made a system call that is forbidden to it");
        if (WIFSIGNALED(status))
                return error_set(e, EBADMSG, "the process that reads it was killed by SIG%s",
                                 sigabbrev_np(WTERMSIG(status)) ?: "?");
        if (WEXITSTATUS(status) != 0)
                return explain_stage(r, WEXITSTATUS(status), e);
        return error_set(e, EBADMSG, "the process that reads it said nothing");
}

/* -EBADMSG: the document has done something to its reader, as e says. *ret_stage: that of one that could not begin. */
static int try_once(Reader *r, JobDoc *ret, JobFault *fault, Stage *ret_stage, Error *e) {
        struct rusage used = {};
        int heard, status = 0, k = start(r);

        *ret_stage = STAGE_DONE;
        if (k < 0)
                return error_errno(e, -k, "starting a process that reads the job document");
        heard = listen_to(r);
        /* It has ended, is about to, or has no more to say: it is not waited for. */
        (void) kill(r->pid, SIGKILL);
        while (wait4(r->pid, &status, 0, &used) < 0 && errno == EINTR)
                ;
        if (heard > 0) {
                Error why = {};

                k = jobdoc_unpack(r->heard.data, r->heard.len, r->request->policy, ret, fault, &why);
                if (k == -EBADMSG)
                        return error_set(e, EBADMSG, "the process that reads it talked nonsense (%s)", why.text);
                return k == -ENOMEM ? error_errno(e, ENOMEM, "reading the job document") : k;
        }
        if (heard == 0 && WIFEXITED(status) && WEXITSTATUS(status) < STAGE_COUNT)
                *ret_stage = (Stage) WEXITSTATUS(status);
        return explain(r, heard, status, &used, e);
}

/* In a user namespace that does not have this user, or without the right to become one: the next. */
static bool become_less(As *as, Stage stage, const Error *e) {
        if (*as == AS_OURSELVES || stage != STAGE_USER || (e->code != EPERM && e->code != EINVAL))
                return false;
        ++*as;
        if (*as == AS_OURSELVES)
                log_warning("%s; it stays root, ignoring", e->text);
        return true;
}

int parse_document(const ParseRequest *q, JobDoc *ret, JobFault *fault, Error *e) {
        bool filter = confine_has_filter(), again = true;
        As as = geteuid() == 0 ? AS_NOBODY : AS_OURSELVES;
        int r = -EBADMSG;

        if (!filter)
                log_warning("this kernel cannot filter system calls (CONFIG_SECCOMP_FILTER): the process that reads the job "
                            "document could make any, ignoring");
        /* Once may be a fault of the machine. */
        for (int tries = 0; again && tries < 2; tries++) {
                Reader reader CLEANUP_READER = {
                        .request = q, .as = as, .filter = filter,
                        .reply_fd = { -1, -1 }, .answer_fd = { -1, -1 },
                };
                Stage stage;

                r = try_once(&reader, ret, fault, &stage, e);
                again = r == -EBADMSG;
                if (become_less(&as, stage, e)) {
                        again = true;
                        tries--;
                }
        }
        if (r != -EBADMSG)
                return r;
        *fault = (JobFault){};
        (void) snprintf(fault->reason, sizeof fault->reason, "the job document cannot be read: %.300s", e->text);
        return -EINVAL;
}
