/* SPDX-License-Identifier: Apache-2.0 */
/* The process that reads documents: what it can do, what it knows, and that whatever it does is no harm to its parent. In place of
 * jobdoc_parse() it runs what a document might turn it into. */
#include "runner/parse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fileio.h"
#include "base/seccomp.h"
#include "jobdoc/packed.h"
#include "unit.h"

static const char *const run_as[] = { "bob", NULL };
static JobDoc doc;
static JobFault fault;
static Error error;

/* What the process asks about is looked at in the parent, while the process waits: there it can be looked at, too. */
static int questions;
static bool (*look)(const char *path);

static bool file_present(const char *path, UNUSED void *userdata) {
        questions++;
        return look && look(path);
}

static JobFacts facts = { .operating_system = "debian", .file_present = file_present };
static JobPolicy policy = { .user = "root", .run_as = run_as };
static const JobPolicy unquestioned = { .user = "root", .run_as = run_as };

static void setup(void) {
        json_object_seed(4711);
        (void) signal(SIGPIPE, SIG_IGN);
        policy.facts = &facts;
}

static void teardown(void) {
        jobdoc_done(&doc);
        ck_assert_msg(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a process was not waited for");
}

static int run_with(ParseFunction parse, const JobPolicy *p, const char *text) {
        const ParseRequest q = { .document = text, .len = strlen(text), .policy = p, .parse = parse };

        questions = 0;
        jobdoc_done(&doc);
        fault = (JobFault){};
        error = (Error){};
        return parse_document(&q, &doc, &fault, &error);
}

static int run(ParseFunction parse) {
        return run_with(parse, &policy, "{\"operation\":\"x\"}");
}

static void expect_refused(ParseFunction parse, const char *why) {
        ck_assert_msg(run(parse) == -EINVAL, "%s", error.text);
        ck_assert_msg(strncmp(fault.reason, "the job document cannot be read: ", 33) == 0 && strstr(fault.reason, why) != NULL, "%s",
                      fault.reason);
        ck_assert_str_eq(fault.path, "");
        ck_assert_uint_eq(doc.n_steps, 0);
}

/* ---- what it is for ---- */

START_TEST(a_document) {
        ck_assert_msg(run_with(jobdoc_parse, &unquestioned, "{\"operation\":\"x\",\"args\":[\"ä\"],\"runAsUser\":\"bob\",\"timeout\":5}") == 0,
                      "%s%s", error.text, fault.reason);
        ck_assert_uint_eq(doc.n_steps, 1);
        ck_assert_str_eq(doc.steps[0].handler, "x");
        ck_assert_str_eq(doc.steps[0].args[0], "ä");
        ck_assert_str_eq(doc.steps[0].run_as, "bob");
        ck_assert_int_eq(doc.timeout, 5);
}
END_TEST

START_TEST(a_fault) {
        ck_assert_int_eq(run_with(jobdoc_parse, &unquestioned, "{\"operation\":\"/x\"}"), -EINVAL);
        ck_assert_str_eq(fault.path, "operation");
        ck_assert_msg(strncmp(fault.reason, "\"/x\" is not a handler name", 26) == 0, "%s", fault.reason);
        ck_assert_int_eq(run_with(jobdoc_parse, &unquestioned, ""), -EINVAL);
}
END_TEST

static bool is_there(const char *path) {
        return strcmp(path, "/there") == 0;
}

START_TEST(questions_are_answered) {
        static const char text[] = "{\"version\":\"1.0\",\"conditions\":[{\"key\":\"file\",\"value\":[\"/not\",\"%s\"]}],"
                                   "\"steps\":[{\"action\":{\"name\":\"n\",\"type\":\"runHandler\",\"input\":{\"handler\":\"x\"}}}]}";
        char document[sizeof text + 16];

        look = is_there;
        (void) snprintf(document, sizeof document, text, "/there");
        ck_assert_msg(run_with(jobdoc_parse, &policy, document) == 0, "%s%s", error.text, fault.reason);
        ck_assert_int_eq(questions, 2);
        (void) snprintf(document, sizeof document, text, "/neither");
        ck_assert_int_eq(run_with(jobdoc_parse, &policy, document), -EINVAL);
        ck_assert_str_eq(fault.path, "conditions[0]");
        ck_assert_int_eq(questions, 2);
}
END_TEST

/* What takes most room: as many empty objects as there may be. */
START_TEST(the_worst_document) {
        static char text[LIMIT_DOCUMENT + 1];
        size_t n = (size_t) snprintf(text, sizeof text, "{\"operation\":\"x\",\"list\":[{}");

        for (int i = 0; i < 4090; i++) {
                memcpy(text + n, ",{}", 3);
                n += 3;
        }
        memcpy(text + n, "]}", 3);
        ck_assert_msg(run_with(jobdoc_parse, &unquestioned, text) == 0, "%s%s", error.text, fault.reason);
}
END_TEST

/* ---- what it is ---- */

static pid_t child(void) {
        char path[64], text[64] = "";
        FILE *f;

        (void) snprintf(path, sizeof path, "/proc/self/task/%ld/children", syscall(SYS_gettid));
        f = fopen(path, "re");
        ck_assert_msg(f && fgets(text, sizeof text, f), "%s", path);
        (void) fclose(f);
        return (pid_t) strtol(text, NULL, 10);
}

static char *of_child(const char *name, size_t *ret_len) {
        static char text[65536];
        char path[64];
        int fd;
        ssize_t n;

        (void) snprintf(path, sizeof path, "/proc/%d/%s", (int) child(), name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        ck_assert_msg(n >= 0, "%s: %s", path, strerror(errno));
        (void) close(fd);
        text[n] = '\0';
        if (ret_len)
                *ret_len = (size_t) n;
        return text;
}

/* The first number behind "NAME:" in its status, its limits. */
static unsigned long number_of(const char *file, const char *name) {
        const char *line = strstr(of_child(file, NULL), name);
        unsigned long n = 0;

        ck_assert_msg(line && sscanf(line + strlen(name), " %lu", &n) == 1, "%s", name);
        return n;
}

static int ask(UNUSED const char *document, UNUSED size_t len, const JobPolicy *p, UNUSED JobDoc *ret, JobFault *f) {
        (void) snprintf(f->reason, sizeof f->reason, "%s", p->facts->file_present("/look", NULL) ? "yes" : "no");
        return -EINVAL;
}

static bool look_at_rights(UNUSED const char *path) {
        char groups[64] = "x";

        ck_assert_uint_eq(number_of("status", "NoNewPrivs:"), 1);
        ck_assert_uint_eq(number_of("status", "\nSeccomp:"), 2);
        ck_assert_uint_eq(number_of("limits", "Max core file size"), 0);
        ck_assert_uint_eq(number_of("limits", "Max open files"), 0);
        ck_assert_uint_eq(number_of("limits", "Max file size"), 0);
        ck_assert_uint_eq(number_of("limits", "Max processes"), 0);
        ck_assert_uint_eq(number_of("limits", "Max cpu time"), PARSE_CPU_SEC);
        if (geteuid() != 0)
                return true;
        ck_assert_uint_ge(number_of("status", "\nUid:"), UINT32_C(1) << 31);
        ck_assert_uint_eq(number_of("status", "\nGid:"), number_of("status", "\nUid:"));
        ck_assert_int_eq(sscanf(strstr(of_child("status", NULL), "\nGroups:"), "\nGroups:%63[^\n]", groups), 1);
        ck_assert_uint_eq(strspn(groups, " \t"), strlen(groups));
        ck_assert_ptr_nonnull(strstr(of_child("status", NULL), "CapPrm:\t0000000000000000"));
        return true;
}

START_TEST(it_may_do_little) {
        look = look_at_rights;
        ck_assert_msg(run(ask) == -EINVAL, "%s", error.text);
        ck_assert_str_eq(fault.reason, "yes");
        ck_assert_int_eq(questions, 1);
}
END_TEST

static bool look_at_descriptors(UNUSED const char *path) {
        char name[64], target[64];
        struct dirent *d;
        DIR *dir;
        int n = 0;

        (void) snprintf(name, sizeof name, "/proc/%d/fd", (int) child());
        dir = opendir(name);
        ck_assert_ptr_nonnull(dir);
        while ((d = readdir(dir)))
                if (d->d_name[0] != '.') {
                        ssize_t len = readlinkat(dirfd(dir), d->d_name, target, sizeof target - 1);

                        ck_assert_int_gt(len, 0);
                        target[len] = '\0';
#ifdef SANITIZED
                        if (strcmp(d->d_name, "2") == 0)
                                continue;
#endif
                        ck_assert_msg(strncmp(target, "pipe:", 5) == 0, "%s: %s", d->d_name, target);
                        n++;
                }
        (void) closedir(dir);
        ck_assert_int_eq(n, 2);
        return true;
}

START_TEST(it_has_two_pipes) {
        int fd = open("/dev/null", O_RDONLY); /* even what exec would leave open */

        look = look_at_descriptors;
        ck_assert_msg(run(ask) == -EINVAL, "%s", error.text);
        ck_assert_str_eq(fault.reason, "yes");
        (void) close(fd);
}
END_TEST

static char secret[] = "TOKEN=hunter2";

static bool look_at_memory(UNUSED const char *path) {
        size_t len;
        char *text = of_child("environ", &len);

        for (size_t i = 0; i < len; i++)
                ck_assert_int_eq(text[i], 0);
        ck_assert_uint_gt(len, 0);
        return true;
}

static int tell_secret(const char *document, size_t len, const JobPolicy *p, JobDoc *ret, JobFault *f) {
        (void) ask(document, len, p, ret, f);
        (void) snprintf(f->reason, sizeof f->reason, "<%s><%s>", secret, getenv("UNIT_SECRET") ? getenv("UNIT_SECRET") : "");
        return -EINVAL;
}

START_TEST(it_does_not_know) {
        char *secrets[] = { secret, NULL };
        const ParseRequest q = { .document = "", .policy = &policy, .secrets = secrets, .parse = tell_secret };

        look = look_at_memory;
        (void) setenv("UNIT_SECRET", "hunter3", 1);
        ck_assert_int_eq(parse_document(&q, &doc, &fault, &error), -EINVAL);
        ck_assert_str_eq(fault.reason, "<><>");
        ck_assert_str_eq(secret, "TOKEN=hunter2"); /* ours is another's */
        ck_assert_str_eq(getenv("UNIT_SECRET"), "hunter3");
}
END_TEST

static bool look_at_user(UNUSED const char *path) {
        return number_of("status", "\nUid:") < 65536 && number_of("status", "\nUid:") >= 61184;
}

/* As root of a user namespace with this many users; false: it cannot be had. */
static bool enter_namespace(const char *map) {
        int p[2];
        pid_t helper;
        int status;
        char go = 0;

        ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
        helper = fork();
        if (helper == 0) {
                bool good = close(p[1]) == 0 && read(p[0], &go, 1) == 1;

                for (int i = 0; i < 2 && good; i++) {
                        char path[64];
                        int fd;

                        (void) snprintf(path, sizeof path, "/proc/%d/%s", (int) getppid(), i ? "gid_map" : "uid_map");
                        fd = open(path, O_WRONLY | O_CLOEXEC);
                        good = write(fd, map, strlen(map)) == (ssize_t) strlen(map);
                }
                _exit(good ? 0 : 1);
        }
        ck_assert_int_gt(helper, 0);
        if (geteuid() == 0 && unshare(CLONE_NEWUSER) == 0)
                ck_assert_int_eq(write(p[1], "g", 1), 1);
        (void) close(p[1]);
        (void) close(p[0]);
        return waitpid(helper, &status, 0) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 && geteuid() == 0;
}

START_TEST(namespace_of_65536_users) {
        if (!enter_namespace("0 0 65536\n"))
                UNIT_SKIP("needs root, and a kernel that lets it make a user namespace");
        look = look_at_user;
        ck_assert_msg(run(ask) == -EINVAL, "%s", error.text);
        ck_assert_str_eq(fault.reason, "yes");
}
END_TEST

START_TEST(namespace_of_one_user) {
        if (!enter_namespace("0 0 1\n"))
                UNIT_SKIP("needs root, and a kernel that lets it make a user namespace");
        ck_assert_msg(run(jobdoc_parse) == 0, "%s%s", error.text, fault.reason);
}
END_TEST

/* ---- what it cannot do ---- */

static char mark[64]; /* a file that is not to be made */
static char *const no_words[] = { NULL };
#ifndef SANITIZED
static const struct sigaction no_action;
#endif

static const struct Call {
        const char *name;
        long number;
        unsigned long a, b, c, d;
} calls[] = {
#ifdef SYS_open
        { "open", SYS_open, (unsigned long) mark, O_CREAT | O_WRONLY, 0600, 0 },
#endif
        { "openat", SYS_openat, (unsigned long) AT_FDCWD, (unsigned long) mark, O_CREAT | O_WRONLY, 0600 },
        { "openat to read", SYS_openat, (unsigned long) AT_FDCWD, (unsigned long) "/dev/null", O_RDONLY, 0 },
        { "socket", SYS_socket, AF_INET, SOCK_STREAM, 0, 0 },
        { "socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 0 },
        { "execve", SYS_execve, (unsigned long) "/bin/true", (unsigned long) no_words, (unsigned long) no_words, 0 },
        { "execveat", SYS_execveat, (unsigned long) AT_FDCWD, (unsigned long) "/bin/true", (unsigned long) no_words, 0 },
        { "clone", SYS_clone, SIGCHLD, 0, 0, 0 },
        { "ptrace", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0 },
        { "kill", SYS_kill, 0, SIGKILL, 0, 0 }, /* its group: ours */
        { "tkill", SYS_tkill, 1, 0, 0, 0 },
        { "process_vm_writev", SYS_process_vm_writev, 1, 0, 0, 0 },
        { "setresuid", SYS_setresuid, 0, 0, 0, 0 },
        { "setsid", SYS_setsid, 0, 0, 0, 0 },
        { "unshare", SYS_unshare, CLONE_NEWUSER, 0, 0, 0 },
        { "mount", SYS_mount, 0, 0, 0, 0 },
        { "unlinkat", SYS_unlinkat, (unsigned long) AT_FDCWD, (unsigned long) "/nowhere", 0, 0 },
        { "dup", SYS_dup, 0, 0, 0, 0 },
        { "fcntl", SYS_fcntl, 0, F_GETFD, 0, 0 },
        { "ioctl", SYS_ioctl, 0, 0, 0, 0 },
        { "pipe2", SYS_pipe2, 0, 0, 0, 0 },
        { "ppoll", SYS_ppoll, 0, 0, 0, 0 },
        { "getuid", SYS_getuid, 0, 0, 0, 0 },
        { "uname", SYS_uname, 0, 0, 0, 0 },
        { "nanosleep", SYS_nanosleep, 0, 0, 0, 0 },
        { "shmget", SYS_shmget, 0, 4096, 0600, 0 },
        { "memfd_create", SYS_memfd_create, (unsigned long) "x", 0, 0, 0 },
        { "prlimit64", SYS_prlimit64, 0, RLIMIT_NOFILE, 0, 0 },
        { "bpf", SYS_bpf, 0, 0, 0, 0 },
        { "io_uring_setup", SYS_io_uring_setup, 1, 0, 0, 0 },
        { "reboot", SYS_reboot, 0, 0, 0, 0 },
        { "exit_group with another status", SYS_exit_group, 1, 0, 0, 0 },
        { "exit_group with another status that looks like 0", SYS_exit_group, 256, 0, 0, 0 },
#ifndef SANITIZED
        { "mprotect", SYS_mprotect, 0, 0, 0, 0 },
        { "munmap", SYS_munmap, 0, 0, 0, 0 },
        { "rt_sigaction", SYS_rt_sigaction, SIGUSR1, (unsigned long) &no_action, 0, 8 },
        { "prctl", SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0 },
#endif
#ifdef __x86_64__
        { "getpid of x32", 0x40000000L | SYS_getpid, 0, 0, 0, 0 },
#endif
        { "no call at all", 100000, 0, 0, 0, 0 },
};

static const struct Call *now;

static int do_call(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, JobFault *f) {
        long r = syscall(now->number, now->a, now->b, now->c, now->d);

        (void) snprintf(f->reason, sizeof f->reason, "%s gave %ld", now->name, r);
        return -EINVAL;
}

START_TEST(forbidden_calls) {
        now = &calls[_i];
        (void) snprintf(mark, sizeof mark, "/tmp/test-parse-%d", (int) getpid());
        ck_assert_msg(run(do_call) == -EINVAL, "%s: %s", now->name, error.text);
        ck_assert_msg(strstr(fault.reason, "a system call that is forbidden to it") != NULL, "%s: %s", now->name, fault.reason);
        ck_assert_int_ne(access(mark, F_OK), 0);
}
END_TEST

#ifdef __x86_64__
/* The old entry, with other numbers: 3 is read() there, and close() here. */
static int old_entry(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, JobFault *f) {
        long r;

        __asm__ volatile("int $0x80" : "=a"(r) : "0"(20L) : "memory", "r8", "r9", "r10", "r11"); /* getpid() */
        (void) snprintf(f->reason, sizeof f->reason, "it gave %ld", r);
        return -EINVAL;
}

START_TEST(other_architecture) {
        ck_assert_int_eq(run(old_entry), -EINVAL);
        ck_assert_msg(strstr(fault.reason, "forbidden to it") || strstr(fault.reason, "SIGSEGV"), "%s", fault.reason);
}
END_TEST
#endif

static int take_memory(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret,
                       UNUSED JobFault *f) {
        struct Piece {
                struct Piece *before;
                char more[1000];
        } *last = NULL, *piece;
        size_t all = 0;

        while (all < 16 * PARSE_MEMORY && (piece = malloc(sizeof *piece))) {
                piece->before = last;
                last = piece;
                all += sizeof *piece;
        }
        while ((piece = last)) {
                last = piece->before;
                free(piece);
        }
        return all > PARSE_MEMORY / 2 && all < 2 * PARSE_MEMORY ? -ENOMEM : 0;
}

START_TEST(memory_is_bounded) {
#ifdef SANITIZED
        UNIT_SKIP("a sanitizer has memory of its own");
#endif
        ck_assert_msg(run(take_memory) == -EINVAL, "%s", error.text);
        ck_assert_str_eq(fault.reason, "the job document needs more than 4 MiB of memory to be read");
}
END_TEST

/* ---- what it does instead ---- */

static int crash(UNUSED const char *document, UNUSED size_t len, const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        (void) p->facts->file_present("/", NULL);
        __builtin_trap();
}

static int overflow(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        char *volatile nowhere = NULL;

        *(volatile char *) nowhere = 1;
        return 0;
}

START_TEST(crashes) {
        expect_refused(crash, "the process that reads it was killed by SIG");
        ck_assert_int_eq(questions, 2); /* it is given another chance */
        expect_refused(overflow, "the process that reads it ");
}
END_TEST

static bool first_only(UNUSED const char *path) {
        return questions == 1;
}

static int crash_if_yes(const char *document, size_t len, const JobPolicy *p, JobDoc *ret, JobFault *f) {
        if (p->facts->file_present("/", NULL))
                __builtin_trap();
        return jobdoc_parse(document, len, p, ret, f);
}

START_TEST(crashes_once) {
        look = first_only;
        ck_assert_msg(run(crash_if_yes) == 0, "%s%s", error.text, fault.reason);
        ck_assert_int_eq(questions, 2);
        ck_assert_uint_eq(doc.n_steps, 1);
}
END_TEST

static bool kill_child(UNUSED const char *path) {
        return kill(child(), SIGKILL) == 0;
}

/* Memory is short, or somebody does not like it: no fault of the document. */
START_TEST(is_killed) {
        look = kill_child;
        ck_assert_int_eq(run(ask), -EAGAIN);
        ck_assert_str_eq(error.text, "the process that reads the job document was killed by SIGKILL");
        ck_assert_str_eq(fault.reason, "");
}
END_TEST

static int spin(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        for (volatile int i = 0; i < 2; i = !i)
                ;
        return 0;
}

START_TEST(takes_too_long) {
        expect_refused(spin, "reading it takes more than 2 s of processor time");
}
END_TEST

static int hang(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        char byte;

        return (int) read(0, &byte, 1); /* nobody asked anything */
}

START_TEST(does_not_answer) {
        ck_assert_int_eq(run(hang), -ETIMEDOUT);
        ck_assert_str_eq(error.text, "the process that reads the job document has not answered for 10 s");
}
END_TEST

/* ---- what it says instead ---- */

static Buf saying;

static int say(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        for (size_t at = 0; at < saying.len;) {
                ssize_t n = write(1, saying.data + at, saying.len - at);

                if (n < 0)
                        break;
                at += (size_t) n;
        }
        _exit(0);
}

static void expect_nonsense(const char *why) {
        expect_refused(say, why);
        buf_clear(&saying);
}

START_TEST(says_nonsense) {
        static const JobFault some = { .path = "p", .reason = "r" };
        size_t whole;

        expect_nonsense("said nothing");
        buf_puts(&saying, "short");
        expect_nonsense("said nothing");
        for (int i = 0; i < 1000; i++)
                buf_puts(&saying, "A job document, honestly. ");
        expect_nonsense("talked nonsense");
        jobdoc_pack_fault(&some, &saying);
        whole = saying.len;
        saying.len--;
        expect_nonsense("said nothing"); /* but a part */
        jobdoc_pack_fault(&some, &saying);
        ck_assert_uint_eq(saying.len, whole);
        jobdoc_pack_fault(&some, &saying);
        expect_nonsense("talked nonsense"); /* two answers */
        jobdoc_pack_fault(&some, &saying);
        saying.data[6] = 1; /* 64 KiB and more are to come */
        expect_nonsense("talked nonsense");
        jobdoc_pack_fault(&some, &saying);
        saying.data[8] = 9;
        expect_nonsense("talked nonsense");
        buf_done(&saying);
}
END_TEST

static int flood(UNUSED const char *document, UNUSED size_t len, UNUSED const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        for (;;)
                if (write(1, saying.data, saying.len) < 0)
                        _exit(0);
        return 0;
}

START_TEST(floods) {
        jobdoc_pack_fault(&(const JobFault){ .reason = "r" }, &saying);
        saying.data[4] = saying.data[5] = (char) 0xFF;
        expect_refused(flood, "talked nonsense");
        buf_done(&saying);
}
END_TEST

static int ask_for_ever(UNUSED const char *document, UNUSED size_t len, const JobPolicy *p, UNUSED JobDoc *ret, UNUSED JobFault *f) {
        for (;;)
                (void) p->facts->file_present("/", NULL);
        return 0;
}

START_TEST(asks_too_much) {
        expect_refused(ask_for_ever, "talked nonsense");
        ck_assert_int_eq(questions, 2 * JOBDOC_QUESTIONS_MAX);
        jobdoc_pack_question("relative", &saying);
        expect_nonsense("talked nonsense");
        ck_assert_int_eq(questions, 0);
        jobdoc_pack_question("/", &saying);
        jobdoc_pack_question("/", &saying);
        expect_nonsense("talked nonsense");
        /* Where nothing is answered. */
        jobdoc_pack_question("/", &saying);
        ck_assert_int_eq(run_with(say, &unquestioned, ""), -EINVAL);
        ck_assert_msg(strstr(fault.reason, "talked nonsense") != NULL, "%s", fault.reason);
        ck_assert_int_eq(questions, 0);
        buf_done(&saying);
}
END_TEST

static int lie(const char *document, size_t len, const JobPolicy *p, JobDoc *ret, JobFault *f) {
        JobPolicy other = *p;

        other.user = "nobody";
        other.run_as = (const char *const[]){ "root", NULL };
        return jobdoc_parse(document, len, &other, ret, f);
}

/* What the policy forbids is not done, whoever says that it may be. */
START_TEST(lies) {
        ck_assert_int_eq(run_with(lie, &unquestioned, "{\"operation\":\"x\",\"runAsUser\":\"nobody\"}"), -EINVAL);
        ck_assert_int_eq(run_with(lie, &(const JobPolicy){ .user = "bob" }, "{\"operation\":\"x\",\"runAsUser\":\"root\"}"), -EINVAL);
        ck_assert_str_eq(fault.reason, "the job document cannot be read: the process that reads it talked nonsense (a user that "
                                       "policy.run_as does not allow)");
        ck_assert_uint_eq(doc.n_steps, 0);
}
END_TEST

/* ---- what the machine lacks ---- */

START_TEST(no_descriptors) {
        struct rlimit l, none;
        int used = open("/dev/null", O_RDONLY | O_CLOEXEC);

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
        none = l;
        none.rlim_cur = (rlim_t) used;
        (void) close(used);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        ck_assert_int_eq(run(jobdoc_parse), -EMFILE);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
        ck_assert_msg(strncmp(error.text, "starting a process that reads the job document: ", 48) == 0, "%s", error.text);
        ck_assert_int_eq(run(jobdoc_parse), 0);
}
END_TEST

START_TEST(no_memory) {
#ifdef SANITIZED
        UNIT_SKIP("a sanitizer has memory of its own");
#endif
        struct rlimit l, little;
        unsigned long pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");

        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
        (void) fclose(f);
        ck_assert_int_eq(getrlimit(RLIMIT_AS, &l), 0);
        little = l;
        little.rlim_cur = pages * (rlim_t) sysconf(_SC_PAGESIZE) + PARSE_MEMORY / 2;
        ck_assert_int_eq(setrlimit(RLIMIT_AS, &little), 0);
        ck_assert_int_eq(run(jobdoc_parse), -ENOMEM);
        ck_assert_int_eq(setrlimit(RLIMIT_AS, &l), 0);
        ck_assert_str_eq(error.text, "the process that reads the job document, setting memory aside: Cannot allocate memory");
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("parse");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, a_document);
        tcase_add_test(c, a_fault);
        tcase_add_test(c, questions_are_answered);
        tcase_add_test(c, the_worst_document);
        tcase_add_test(c, it_may_do_little);
        tcase_add_test(c, it_has_two_pipes);
        tcase_add_test(c, it_does_not_know);
        tcase_add_test(c, namespace_of_65536_users);
        tcase_add_test(c, namespace_of_one_user);
        tcase_add_loop_test(c, forbidden_calls, 0, (int) ELEMENTSOF(calls));
#ifdef __x86_64__
        tcase_add_test(c, other_architecture);
#endif
        tcase_add_test(c, memory_is_bounded);
        tcase_add_test(c, crashes);
        tcase_add_test(c, crashes_once);
        tcase_add_test(c, is_killed);
        tcase_add_test(c, takes_too_long);
        tcase_add_test(c, does_not_answer);
        tcase_add_test(c, says_nonsense);
        tcase_add_test(c, floods);
        tcase_add_test(c, asks_too_much);
        tcase_add_test(c, lies);
        tcase_add_test(c, no_descriptors);
        tcase_add_test(c, no_memory);
        return c;
}

UNIT_MAIN("parse", cases())
