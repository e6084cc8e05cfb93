/* SPDX-License-Identifier: Apache-2.0 */
/* The real program on a socketpair, with real handlers; and the parts of it that have an interface of their own. Nothing here
 * waits for a time to pass: handlers say through a fifo that they have come to a point. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "runner/conn.h"
#include "runner/output.h"
#include "runner/redact.h"
#include "runner/trust.h"
#include "unit.h"

enum { PATIENCE_SEC = 30, CASE_SEC = 120 };

static char base[64]; /* of this test: everything lies below it */
static int fifo = -1; /* what handlers say */
static JobKey key;

/* How the next runner is started. */
static unsigned long state_flags;
static const char *state_options; /* NULL = the plain directory */
static bool activated; /* the connection comes as systemd passes sockets on, not as standard input */
static bool fake_journal;
static const char *other_etc; /* this directory is its /etc; then without --config */
static uid_t agent_uid;       /* who is on the other end */

/* ---- the device ---- */

static char *text_of(const char *format, ...) PRINTF_LIKE(1, 2);
static char *text_of(const char *format, ...) {
        static char ring[32][8192];
        static unsigned at;
        char *text = ring[at++ % ELEMENTSOF(ring)];
        va_list ap;

        va_start(ap, format);
        ck_assert_int_lt(vsnprintf(text, sizeof ring[0], format, ap), (int) sizeof ring[0]);
        va_end(ap);
        return text;
}

static char *path_of(const char *name) {
        return text_of("%s/%s", base, name);
}

static void write_file(const char *name, const char *text, mode_t mode) {
        int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        size_t len = strlen(text);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, text, len), (ssize_t) len);
        ck_assert_int_eq(fchmod(fd, mode), 0);
        (void) close(fd);
}

static char *read_file(const char *path) {
        static char text[4 * 1024 * 1024];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t len = 0;
        ssize_t n;

        if (fd < 0)
                return NULL;
        while (len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
                len += (size_t) n;
        text[len] = '\0';
        (void) close(fd);
        return text;
}

/* A shell handler; @ stands for the base directory. */
static void handler(const char *name, const char *body) {
        char text[4096] = "#!/bin/sh\n";
        size_t n = strlen(text);

        for (; *body && n < sizeof text - sizeof base; body++)
                if (*body == '@')
                        n += (size_t) sprintf(text + n, "%s", base);
                else
                        text[n++] = *body;
        text[n++] = '\n';
        text[n] = '\0';
        write_file(text_of("handlers/%s", name), text, 0755);
}

static void configure_directories(const char *directories, const char *more) {
        write_file("agent.conf",
                   text_of("thing_name = \"t1\";\nendpoint = \"localhost\";\n"
                           "credentials = { ca_file = \"ca\"; cert_file = \"cert\"; key_file = \"key\"; };\n"
                           "handlers = { directories = [ %s ]; kill_grace = 1; %s };\n"
                           "state_directory = \"%s/state\";\nruntime_directory = \"%s/run\";\n",
                           directories, more, base, base),
                   0600);
}

static void configure(const char *more) {
        configure_directories(text_of("\"%s/handlers\"", base), more);
}

static void setup(void) {
        activated = false;
        other_etc = state_options = NULL;
        fake_journal = false;
        agent_uid = 0;
        unit_directory(base, sizeof base, "iot-jobs-runner");
        ck_assert_int_eq(mkdir(path_of("handlers"), 0755), 0);
        ck_assert_int_eq(mkfifo(path_of("fifo"), 0600), 0);
        fifo = open(path_of("fifo"), O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fifo, 0);
        key = (JobKey){ .thing = "t1", .job_id = "job-1", .number = 1, .queued_at = 1700000000 };
        configure("");
}

static int remove_one(const char *path, UNUSED const struct stat *st, UNUSED int type, UNUSED struct FTW *f) {
        return remove(path);
}

static void teardown(void) {
        (void) close(fifo);
        (void) nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The next line of the fifo. */
static char *heard(void) {
        static char line[256];
        struct pollfd p = { .fd = fifo, .events = POLLIN };
        size_t n = 0;

        do {
                ck_assert_msg(poll(&p, 1, PATIENCE_SEC * 1000) == 1, "no handler said anything");
                ck_assert_int_eq(read(fifo, line + n, 1), 1);
        } while (line[n++] != '\n' && n < sizeof line - 1);
        line[n - 1] = '\0';
        return line;
}

/* ---- the agent's side ---- */

typedef struct Peer {
        int fd;
        pid_t pid;
} Peer;

/* Another state directory for this runner alone: a file system with these flags and this many bytes. False where that
 * needs rights this test does not have. */
static bool private_mounts(void) {
        return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_state(unsigned long flags, const char *options) {
        return private_mounts() && mount("none", path_of("state"), "tmpfs", flags, options) == 0;
}

/* BASE/journal is where the journal's socket is. */
static bool mount_journal(void) {
        return private_mounts() && mount("none", "/run", "tmpfs", 0, "size=64k") == 0 &&
               mkdir("/run/systemd", 0755) == 0 && mkdir("/run/systemd/journal", 0755) == 0 &&
               symlink(path_of("journal"), "/run/systemd/journal/socket") == 0;
}

/* The connection where this launcher puts it. */
static void arrange_connection(int fd) {
        char pid[16];

        if (!activated) {
                (void) dup2(fd, 0);
                return;
        }
        (void) close(0);
        (void) open("/dev/null", O_RDONLY);
        (void) dup2(fd, 3);
        (void) snprintf(pid, sizeof pid, "%d", (int) getpid());
        (void) setenv("LISTEN_PID", pid, 1);
        (void) setenv("LISTEN_FDS", "1", 1);
}

static Peer start_with(const char *config) {
        int pair[2], log = open(path_of("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        Peer p;

        /* The kernel remembers who made the pair. */
        ck_assert_int_eq(seteuid(agent_uid ? agent_uid : geteuid()), 0);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        ck_assert_int_eq(seteuid(getuid()), 0);
        p.pid = fork();
        if (p.pid == 0) {
                if (state_options && !mount_state(state_flags, state_options))
                        _exit(126);
                if (other_etc && (!private_mounts() || mount(other_etc, "/etc", NULL, MS_BIND, NULL) < 0))
                        _exit(126);
                (void) dup2(log, 2);
                arrange_connection(pair[1]);
                if (fake_journal && !mount_journal())
                        _exit(126);
                if (fake_journal)
                        (void) execl(TEST_RUNNER, TEST_RUNNER, "--config", config, "--log=journal", NULL);
                if (other_etc)
                        (void) execl(TEST_RUNNER, TEST_RUNNER, NULL);
                (void) execl(TEST_RUNNER, TEST_RUNNER, "--config", config, "--log=stderr", NULL);
                _exit(127);
        }
        ck_assert_int_gt(p.pid, 0);
        (void) close(pair[1]);
        (void) close(log);
        p.fd = pair[0];
        return p;
}

static Peer start(void) {
        return start_with(path_of("agent.conf"));
}

static void say_message(const Peer *p, const WireMessage *m) {
        Buf b CLEANUP_BUF = {};
        ssize_t n;

        ck_assert_int_eq(wire_encode(m, &b), 0);
        n = send(p->fd, b.data, b.len, MSG_NOSIGNAL);
        /* One that ended already, or could not be started here: hear() says so. */
        ck_assert(n == (ssize_t) b.len || (n < 0 && (errno == EPIPE || errno == ECONNRESET)));
}

static void say(const Peer *p, WireType type) {
        say_message(p, &(WireMessage){ .type = type, .key = key });
}

static void prepare(const Peer *p, const char *document) {
        say_message(p, &(WireMessage){ .type = WIRE_PREPARE,
                                       .key = key,
                                       .document = document,
                                       .document_len = strlen(document) });
}

/* The next packet; WIRE_NONE at the end of the connection. Valid until the next call. */
static const WireMessage *hear(const Peer *p) {
        static char packet[WIRE_PACKET_MAX + 1];
        static WireMessage m;
        uint64_t deadline = clock_boottime_usec() + PATIENCE_SEC * USEC_PER_SEC;
        Error e = {};
        size_t len;
        int r;

        wire_message_done(&m);
        m = (WireMessage){};
        ck_assert_msg(fd_wait(p->fd, POLLIN, deadline) == 1, "the runner says nothing: %s",
                      read_file(path_of("log")));
        r = packet_receive(p->fd, packet, &len, NULL);
        if (r == 0 || r == -ECONNRESET)
                return &m;
        ck_assert_int_eq(r, 1);
        ck_assert_msg(wire_decode(packet, len, &m, &e) == 0, "%s", e.text);
        return &m;
}

static const WireMessage *expect(const Peer *p, WireType type) {
        const WireMessage *m = hear(p);

        while (m->type == WIRE_PROGRESS && type != WIRE_PROGRESS)
                m = hear(p);
        ck_assert_msg(m->type == type, "%s expected, not %s (%s)\n%s", wire_type_name(type),
                      wire_type_name(m->type), m->reason, read_file(path_of("log")));
        return m;
}

static const WireMessage *expect_result(const Peer *p, ProtoStatus status) {
        const WireMessage *m = expect(p, WIRE_RESULT);
        const char *reason = proto_details_get(&m->details, "reason");

        ck_assert_msg(m->status == status, "%s expected, not %s (%s)\n%s", proto_status_name(status),
                      proto_status_name(m->status), reason ? reason : "", read_file(path_of("log")));
        return m;
}

static const char *detail(const WireMessage *m, const char *name) {
        const char *value = proto_details_get(&m->details, name);

        return value ? value : "";
}

static void expect_detail(const WireMessage *m, const char *name, const char *part) {
        ck_assert_msg(strstr(detail(m, name), part) != NULL, "%s: \"%s\" has no \"%s\"", name,
                      detail(m, name), part);
}

/* Wait for the runner's own end; its exit status, or minus the signal. */
static int ended(Peer *p) {
        int fd = pidfd_open(p->pid, 0), status = 0;

        ck_assert_int_ge(fd, 0);
        ck_assert_msg(fd_wait(fd, POLLIN, clock_boottime_usec() + PATIENCE_SEC * USEC_PER_SEC) == 1,
                      "the runner does not end: %s", read_file(path_of("log")));
        (void) close(fd);
        ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
        (void) close(p->fd);
        p->fd = -1;
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void acknowledge(Peer *p) {
        say(p, WIRE_ACK);
        expect(p, WIRE_NONE);
        ck_assert_int_eq(ended(p), 0);
}

static size_t entries(const char *name) {
        DIR *d = opendir(path_of(name));
        struct dirent *e;
        size_t n = 0;

        if (!d)
                return 0;
        while ((e = readdir(d)))
                n += e->d_name[0] != '.';
        (void) closedir(d);
        return n;
}

/* What a run that is over may leave: nothing but its tombstone and the slots' empty files. */
static void expect_nothing_left(void) {
        ck_assert_uint_eq(entries("state/runs"), 0);
        ck_assert_uint_eq(entries("state/work"), 0);
        ck_assert_uint_eq(entries("run/runs"), 0);
}

static void expect_logged(const char *part) {
        const char *log = read_file(path_of("log"));

        ck_assert_msg(log && strstr(log, part) != NULL, "the log has no \"%s\":\n%s", part, log);
}

/* What the agent is told it says aloud itself, once: the same line from here would be the second for one failure. */
static void expect_no_complaint_logged(void) {
        const char *log = read_file(path_of("log"));

        ck_assert_msg(!log || (!strstr(log, "warning ") && !strstr(log, "error ")), "the log has:\n%s", log);
}

/* One that init has not collected yet is gone too. */
static void expect_gone(pid_t pid) {
        const char *status = read_file(text_of("/proc/%d/status", (int) pid));

        ck_assert_msg(!status || strstr(status, "State:\tZ") != NULL, "process %d is still there:\n%s",
                      (int) pid, status);
}

/* prepare, plan, go. */
static Peer run(const char *document) {
        Peer p = start();

        prepare(&p, document);
        expect(&p, WIRE_PLAN);
        say(&p, WIRE_GO);
        return p;
}

/* ---- plain endings ---- */

START_TEST(succeeds) {
        const WireMessage *m;
        char claim[WIRE_CLAIM_MAX];
        Peer p = start();

        handler("ok", "echo hello; echo '<3>bad news' >&2");
        prepare(&p, "{\"operation\":\"ok\"}");
        m = expect(&p, WIRE_PLAN);
        ck_assert(wire_claim_valid(m->claim));
        ck_assert_uint_eq(m->steps, 1);
        ck_assert_int_eq(m->phase, WIRE_PHASE_RUN);
        ck_assert_str_eq(detail(m, "claim"), m->claim);
        (void) strcpy(claim, m->claim);
        say(&p, WIRE_GO);
        m = expect_result(&p, PROTO_STATUS_SUCCEEDED);
        ck_assert_str_eq(detail(m, "claim"), claim);
        ck_assert_str_eq(detail(m, "stdout"), "");
        acknowledge(&p);
        expect_logged("info ok: hello IOT_JOB_ID=job-1 IOT_JOB_EXECUTION=1 IOT_JOB_STEP=1 IOT_JOB_HANDLER=ok "
                      "IOT_JOB_ATTEMPT=1 "
                      "IOT_JOB_STREAM=stdout");
        expect_logged("error ok: bad news");
        expect_nothing_left();
}
END_TEST

START_TEST(exit_codes_and_signals) {
        static const struct {
                const char *body;
                ProtoStatus status;
                const char *name, *value;
        } rows[] = {
                { "exit 65", PROTO_STATUS_REJECTED, "exitCode", "65" },
                { "echo out; echo why >&2; exit 3", PROTO_STATUS_FAILED, "exitCode", "3" },
                { "kill -KILL $$", PROTO_STATUS_FAILED, "signal", "SIGKILL" },
                { "kill -SEGV $$", PROTO_STATUS_FAILED, "signal", "SIGSEGV" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const WireMessage *m;
                Peer p;

                handler("end", rows[i].body);
                key.number = (int64_t) i + 1;
                p = run("{\"operation\":\"end\"}");
                m = expect_result(&p, rows[i].status);
                ck_assert_str_eq(detail(m, rows[i].name), rows[i].value);
                if (i == 1) {
                        ck_assert_str_eq(detail(m, "stdout"), "out");
                        ck_assert_str_eq(detail(m, "stderr"), "why");
                }
                acknowledge(&p);
        }
        expect_nothing_left();
}
END_TEST

START_TEST(steps_run_in_order) {
        Peer p;

        handler("one", "echo one >> @/order");
        handler("two", "echo two >> @/order; exit 1");
        handler("last", "echo last >> @/order; echo $IOT_JOB_STEP $IOT_JOB_OPERATION >> @/order");
        p = run("{\"version\":\"1.0\",\"steps\":["
                "{\"action\":{\"name\":\"A\",\"type\":\"runHandler\",\"input\":{\"handler\":\"one\"},"
                "\"runAsUser\":\"\"}},"
                "{\"action\":{\"name\":\"B\",\"type\":\"runHandler\",\"input\":{\"handler\":\"two\"},"
                "\"ignoreStepFailure\":true}}],"
                "\"finalStep\":{\"action\":{\"name\":\"C\",\"type\":\"runHandler\",\"input\":{\"handler\":"
                "\"last\"}}}}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        ck_assert_str_eq(read_file(path_of("order")), "one\ntwo\nlast\n3 C\n");
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

START_TEST(progress_is_told) {
        const WireMessage *m;
        Peer p;

        /* the third line is far longer than what is taken of one */
        handler("p",
                "echo 40% >&3; echo fetched=yes >&3; head -c 100000 /dev/zero | tr '\\0' z >&3; echo >&3; "
                "v=$(head -c 1024 /dev/zero | tr '\\0' v); echo a-key-of-some-length=$v >&3; "
                "printf Unpacking >&3; echo >&3; read x < @/go");
        ck_assert_int_eq(mkfifo(path_of("go"), 0600), 0);
        p = run("{\"operation\":\"p\"}");
        do
                m = expect(&p, WIRE_PROGRESS);
        while (!strstr(detail(m, "step"), "Unpacking"));
        ck_assert_str_eq(detail(m, "progress"), "40");
        ck_assert_str_eq(detail(m, "fetched"), "yes");
        int fd = open(path_of("go"), O_WRONLY);
        ck_assert_int_eq(write(fd, "\n", 1), 1);
        (void) close(fd);
        m = expect_result(&p, PROTO_STATUS_SUCCEEDED);
        ck_assert_str_eq(detail(m, "fetched"), "yes");
        /* as long as a value may be */
        ck_assert_uint_eq(strlen(detail(m, "a-key-of-some-length")), LIMIT_DETAILS_VALUE);
        acknowledge(&p);
}
END_TEST

/* ---- what a handler gets ---- */

static int compare_lines(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

START_TEST(environment_is_exactly_the_contract) {
        const struct passwd *pw = getpwuid(geteuid());
        char *lines[64], *have, *work = text_of("%s/state/work/t1.job-1.1.1700000000", base);
        const char *want[] = {
                text_of("HOME=%s", pw->pw_dir),
                "IOT_JOB_ATTEMPT=1",
                text_of("IOT_JOB_DOCUMENT=%s/run/runs/t1.job-1.1.1700000000.document", base),
                "IOT_JOB_EXECUTION=1",
                "IOT_JOB_ID=job-1",
                "IOT_JOB_KEY=t1.job-1.1.1700000000",
                "IOT_JOB_OPERATION=dump",
                "IOT_JOB_PARAM_big=18014398509481985",
                "IOT_JOB_PARAM_on=true",
                "IOT_JOB_PARAM_url=a b",
                "IOT_JOB_PHASE=run",
                "IOT_JOB_PROGRESS_FD=3",
                "IOT_JOB_STEP=1",
                "IOT_JOB_THING=t1",
                text_of("IOT_JOB_WORKDIR=%s", work),
                "LANG=C.UTF-8",
                text_of("LOGNAME=%s", pw->pw_name),
                "MORE=of it",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                text_of("SHELL=%s", pw->pw_shell),
                text_of("USER=%s", pw->pw_name),
        };
        size_t n = 0;
        Peer p;

        configure("environment = [ \"MORE=of it\" ];");
        (void) setenv("LEAK", "1", 1);
        handler("dump", "tr '\\0' '\\n' < /proc/$$/environ > @/env; echo \"[$0]\" > @/args; "
                        "while [ $# -gt 0 ]; do echo \"[$1]\" >> @/args; shift; done; "
                        "cat > @/in; cat \"$IOT_JOB_DOCUMENT\" > @/doc; pwd > @/cwd; umask > @/umask; ls -A "
                        ". >> @/cwd; "
                        "stat -c %a . \"$IOT_JOB_DOCUMENT\" > @/modes");
        p = run("{\"operation\":\"dump\", \"args\":[\"a b\",\"\",\"*\"], "
                "\"parameters\":{\"on\":true,\"big\":18014398509481985,"
                "\"url\":\"a b\",\"none\":null,\"no-shell-name\":1,\"list\":[1]}}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        have = strdup(read_file(path_of("env")));
        for (char *save, *l = strtok_r(have, "\n", &save); l && n < ELEMENTSOF(lines);
             l = strtok_r(NULL, "\n", &save))
                lines[n++] = l;
        qsort(lines, n, sizeof *lines, compare_lines);
        for (size_t i = 0; i < MIN_OF(n, ELEMENTSOF(want)); i++)
                ck_assert_str_eq(lines[i], want[i]);
        ck_assert_uint_eq(n, ELEMENTSOF(want));
        free(have);
        ck_assert_str_eq(read_file(path_of("args")), text_of("[%s/handlers/dump]\n[a b]\n[]\n[*]\n", base));
        ck_assert_ptr_nonnull(strstr(read_file(path_of("in")), "{\"operation\":\"dump\", \"args\""));
        ck_assert_ptr_nonnull(strstr(read_file(path_of("doc")), "{\"operation\":\"dump\", \"args\""));
        ck_assert_str_eq(read_file(path_of("cwd")), text_of("%s\n", work));
        ck_assert_str_eq(read_file(path_of("umask")), "0022\n");
        ck_assert_str_eq(read_file(path_of("modes")), "700\n600\n");
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

/* Those that the C library reserves; its posix_spawn() leaves them ignored. */
static void ignore_internal_signals(bool ignore) {
        struct {
                void (*handler)(int);
                unsigned long rest[15];
        } action = { .handler = ignore ? SIG_IGN : SIG_DFL };

        for (long sig = 32; sig < 34; sig++)
                ck_assert_int_eq(syscall(SYS_rt_sigaction, sig, &action, NULL, NSIG / 8L), 0);
}

START_TEST(descriptors_signals_and_session_are_clean) {
        Peer p;

        /* A descriptor that the runner itself inherits, and signals that it is started with ignored. */
        int leak = dup(fifo);
        (void) signal(SIGUSR1, SIG_IGN);
        ignore_internal_signals(true);
        handler("fds", "ls /proc/self/fd | cat > @/fds; grep -E '^Sig(Blk|Ign)' /proc/self/status > @/sig; "
                       "set -- $(cat /proc/$$/stat); echo $(($6 == $$)) > @/sid");
        p = run("{\"operation\":\"fds\"}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        (void) close(leak);
        (void) signal(SIGUSR1, SIG_DFL);
        ignore_internal_signals(false);
        /* 4 is what ls reads the directory by. */
        ck_assert_str_eq(read_file(path_of("fds")), "0\n1\n2\n3\n4\n");
        ck_assert_str_eq(read_file(path_of("sig")), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
        ck_assert_str_eq(read_file(path_of("sid")), "1\n");
        acknowledge(&p);
}
END_TEST

/* ---- output ---- */

static int open_journal(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", path_of("journal"));
        ck_assert_int_eq(bind(fd, (const struct sockaddr *) &address, sizeof address), 0);
        return fd;
}

/* Everything that was sent there, one datagram after the other. */
static const char *journal_text(int fd) {
        static char text[65536];
        size_t len = 0;
        ssize_t n;

        while ((n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
                len += (size_t) n;
        text[len] = '\0';
        return text;
}

/* `journalctl -u` shows no fields: the runner's own lines name the job; the handler's are as they came. */
START_TEST(journal_lines_name_the_job) {
        static const char *const lines[] = { "\nMESSAGE=job-1: talk: started\n", "\nMESSAGE=hello\n",
                                             "\nMESSAGE=job-1: job finished: SUCCEEDED\n",
                                             "\nIOT_JOB_ID=job-1\nIOT_JOB_EXECUTION=1\n",
                                             "\nSYSLOG_IDENTIFIER=talk\n" };
        int journal CLEANUP_FD = open_journal();
        const char *text;
        Peer p;

        if (geteuid() != 0)
                UNIT_SKIP("mounting is for root");
        fake_journal = true;
        handler("talk", "echo hello");
        p = start();
        prepare(&p, "{\"operation\":\"talk\"}");
        if (hear(&p)->type == WIRE_NONE) {
                ck_assert_int_eq(ended(&p), 126);
                UNIT_SKIP("this root may not mount");
        }
        say(&p, WIRE_GO);
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        text = journal_text(journal);
        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                ck_assert_msg(strstr(text, lines[i]) != NULL, "no \"%s\" in\n%s", lines[i], text);
}
END_TEST

/* Somebody who reads the journal's socket, slowly, and counts the handler's lines that have all their fields, until "end". */
static pid_t count_lines(int journal, int ret) {
        const struct timespec pause = { .tv_nsec = 100000 };
        pid_t pid = fork();
        int n = 0;

        ck_assert_int_ge(pid, 0);
        if (pid > 0)
                return pid;
        for (;;) {
                struct pollfd p = { .fd = journal, .events = POLLIN };
                char text[4096];
                ssize_t len;

                (void) poll(&p, 1, -1);
                len = recv(journal, text, sizeof text - 1, 0);
                (void) nanosleep(&pause, NULL);
                text[MAX_OF(len, 0)] = '\0';
                if (strcmp(text, "end") == 0)
                        _exit(write(ret, &n, sizeof n) == sizeof n ? 0 : 1);
                n += strstr(text, "\nIOT_JOB_ID=job-1\n") && strstr(text, "\nMESSAGE=line ");
        }
}

static int counted_lines(pid_t reader, int counted) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd CLEANUP_FD = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int n = 0;

        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s", path_of("journal"));
        ck_assert_int_eq(sendto(fd, "end", 3, 0, (const struct sockaddr *) &address, sizeof address), 3);
        ck_assert_int_eq(read(counted, &n, sizeof n), sizeof n);
        ck_assert_int_eq(waitpid(reader, NULL, 0), reader);
        return n;
}

/* The journal's socket holds ten lines, by default: what comes quicker than they are read waits, and keeps its fields. */
START_TEST(a_burst_of_lines_reaches_the_journal) {
        enum { LINES = 150 };
        int journal CLEANUP_FD = open_journal(), most = 0;

        if (geteuid() != 0)
                UNIT_SKIP("mounting is for root");
        fake_journal = true;
        handler("burst", text_of("i=0; while [ $i -lt %d ]; do echo line $i; i=$((i + 1)); done >@/lines; cat @/lines", LINES));
        /* A reader that gets no processor for long may miss some: so may the journal. */
        for (key.number = 1; key.number <= 5 && most < LINES; key.number++) {
                int counted[2], n;
                pid_t reader;
                Peer p;

                ck_assert_int_eq(pipe2(counted, O_CLOEXEC), 0);
                reader = count_lines(journal, counted[1]);
                p = start();
                prepare(&p, "{\"operation\":\"burst\"}");
                if (hear(&p)->type == WIRE_NONE) {
                        (void) counted_lines(reader, counted[0]);
                        ck_assert_int_eq(ended(&p), 126);
                        UNIT_SKIP("this root may not mount");
                }
                say(&p, WIRE_GO);
                expect_result(&p, PROTO_STATUS_SUCCEEDED);
                acknowledge(&p);
                n = counted_lines(reader, counted[0]);
                most = MAX_OF(most, n);
                (void) close(counted[0]);
                (void) close(counted[1]);
        }
        ck_assert_int_eq(most, LINES);
}
END_TEST

START_TEST(much_output_hurts_nobody) {
        const WireMessage *m;
        Peer p;

        handler("much", "head -c 1048576 /dev/zero | tr '\\0' e >&2; yes line | head -n 200000; echo; exec "
                        "1>&-; echo end >&2; exit 4");
        p = run("{\"operation\":\"much\"}");
        m = expect_result(&p, PROTO_STATUS_FAILED);
        ck_assert_str_eq(detail(m, "exitCode"), "4");
        expect_detail(m, "stderr", "eeee");
        expect_detail(m, "stderr", "end");
        expect_detail(m, "stdout", "line | line");
        acknowledge(&p);
        expect_logged("lines dropped");
}
END_TEST

START_TEST(trailing_output_is_waited_for) {
        const WireMessage *m;
        Peer p;

        /* What is left behind speaks some time after the handler is gone, and ends by itself. */
        handler("trail", "(while [ -d /proc/$$ ]; do :; done; for i in 1 2 3 4 5 6; do /bin/true; done; echo "
                         "trailing >&2) & exit 7");
        p = run("{\"operation\":\"trail\"}");
        m = expect_result(&p, PROTO_STATUS_FAILED);
        expect_detail(m, "stderr", "trailing");
        acknowledge(&p);
}
END_TEST

START_TEST(background_child_ends_with_its_handler) {
        pid_t pid;
        Peer p;

        handler("bg", "sleep 1000 & echo $! > @/fifo; exit 0");
        p = run("{\"operation\":\"bg\"}");
        pid = (pid_t) atoi(heard());
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        expect_gone(pid);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

START_TEST(secrets_stay_out_of_log_and_report) {
        const WireMessage *m;
        const char *log;
        Peer p;

        write_file("agent.conf",
                   text_of("%slog = { redact = [ \"token\" ]; };\n", read_file(path_of("agent.conf"))), 0600);
        handler("talk",
                "echo \"token is $IOT_JOB_PARAM_token.\"; echo 'get https://h/x?sig=abc&y=1 now' >&2; "
                "echo k=$IOT_JOB_PARAM_token >&3; exit 1");
        p = run("{\"operation\":\"talk\",\"parameters\":{\"token\":\"s3cr3t!\"}}");
        m = expect_result(&p, PROTO_STATUS_FAILED);
        ck_assert_str_eq(detail(m, "stdout"), "token is ***.");
        ck_assert_str_eq(detail(m, "stderr"), "get https://h/x?… now");
        ck_assert_str_eq(detail(m, "k"), "***");
        acknowledge(&p);
        log = read_file(path_of("log"));
        ck_assert_ptr_null(strstr(log, "s3cr3t"));
        ck_assert_ptr_null(strstr(log, "sig=abc"));
}
END_TEST

/* ---- the end of the whole tree ---- */

/* A grandchild out of session, process group and parenthood that takes no notice of SIGTERM. */
#define HARD_TO_KILL "(setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > @/fifo; exec sleep 1000' &) ; "

START_TEST(timeout_ends_the_whole_tree) {
        const WireMessage *m;
        pid_t pid;
        Peer p;

        handler("slow", HARD_TO_KILL "trap '' TERM; while :; do sleep 1000; done");
        p = run("{\"operation\":\"slow\",\"timeout\":1}");
        pid = (pid_t) atoi(heard());
        m = expect_result(&p, PROTO_STATUS_FAILED);
        expect_detail(m, "reason", "time");
        expect_gone(pid);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

START_TEST(cancel_ends_the_whole_tree) {
        pid_t pid;
        Peer p;

        handler("slow", HARD_TO_KILL "sleep 1000");
        p = run("{\"operation\":\"slow\"}");
        pid = (pid_t) atoi(heard());
        say(&p, WIRE_CANCEL);
        expect_result(&p, PROTO_STATUS_CANCELED);
        expect_gone(pid);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

START_TEST(cancel_wakes_what_is_stopped) {
        Peer p;

        handler("stopped", "trap 'echo bye > @/fifo; exit 0' TERM; "
                           "(until grep -q '^State:.T' /proc/$$/status; do :; done; echo here > @/fifo) & "
                           "kill -STOP $$; while :; do sleep 1000; done");
        p = run("{\"operation\":\"stopped\"}");
        ck_assert_str_eq(heard(), "here");
        say(&p, WIRE_CANCEL);
        ck_assert_str_eq(heard(), "bye");
        expect_result(&p, PROTO_STATUS_CANCELED);
        acknowledge(&p);
}
END_TEST

/* A document's own timeout replaces the configured one, and an override caps it. */
START_TEST(override_caps_the_timeout) {
        const WireMessage *m;
        Peer p;

        configure("timeout = 0; override = ( { name = \"slow\"; timeout = 1; kill_grace = 0; } );");
        handler("slow", "exec sleep 1000");
        p = start();
        prepare(&p, "{\"operation\":\"slow\",\"timeout\":\"900\"}");
        m = expect(&p, WIRE_PLAN);
        ck_assert_uint_ge(m->max_seconds, 1);
        ck_assert_uint_lt(m->max_seconds, 100);
        say(&p, WIRE_GO);
        m = expect_result(&p, PROTO_STATUS_FAILED);
        expect_detail(m, "reason", "timed out after 1 s");
        acknowledge(&p);
}
END_TEST

START_TEST(cancel_before_anything_started) {
        Peer p = start();

        handler("ok", "echo ran > @/fifo");
        /* never heard of */
        say(&p, WIRE_CANCEL);
        expect(&p, WIRE_NO_RECORD);
        ck_assert_int_eq(ended(&p), 0);
        /* prepared, the same connection */
        p = start();
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        say(&p, WIRE_CANCEL);
        expect_result(&p, PROTO_STATUS_CANCELED);
        acknowledge(&p);
        expect_nothing_left();
        /* prepared, and its runner gone */
        key.number++;
        p = start();
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        (void) shutdown(p.fd, SHUT_RDWR);
        ck_assert_int_eq(ended(&p), 0);
        ck_assert_uint_eq(entries("state/runs"), 1);
        p = start();
        say(&p, WIRE_CANCEL);
        expect_result(&p, PROTO_STATUS_CANCELED);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

START_TEST(cancel_after_the_end_keeps_the_result) {
        Peer p, late;

        handler("ok", "exit 0");
        p = run("{\"operation\":\"ok\"}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        say(&p, WIRE_CANCEL);
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        /* buried: the tombstone answers, again and again */
        for (WireType t = WIRE_PREPARE; t <= WIRE_CANCEL; t++) {
                if (t == WIRE_GO)
                        continue;
                late = start();
                if (t == WIRE_PREPARE)
                        prepare(&late, "{\"operation\":\"ok\"}");
                else
                        say(&late, t);
                expect_result(&late, PROTO_STATUS_SUCCEEDED);
                ck_assert_int_eq(ended(&late), 0);
        }
        late = start();
        say(&late, WIRE_ACK);
        expect(&late, WIRE_NONE);
        ck_assert_int_eq(ended(&late), 0);
        expect_nothing_left();
}
END_TEST

START_TEST(stop_is_an_interruption) {
        const WireMessage *m;
        pid_t pid;
        Peer p;

        handler("slow", HARD_TO_KILL "sleep 1000");
        p = run("{\"operation\":\"slow\"}");
        pid = (pid_t) atoi(heard());
        ck_assert_int_eq(kill(p.pid, SIGTERM), 0);
        m = expect_result(&p, PROTO_STATUS_FAILED);
        expect_detail(m, "reason", "interrupted");
        expect(&p, WIRE_NONE);
        ck_assert_int_eq(ended(&p), 0);
        expect_gone(pid);
        p = start();
        say(&p, WIRE_ATTACH);
        expect_result(&p, PROTO_STATUS_FAILED);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

/* ---- agents come and go, runners die ---- */

START_TEST(second_connection_takes_over) {
        Peer first, second;

        handler("wait", "echo here > @/fifo; read x < @/go");
        ck_assert_int_eq(mkfifo(path_of("go"), 0600), 0);
        first = run("{\"operation\":\"wait\"}");
        ck_assert_str_eq(heard(), "here");
        second = start();
        prepare(&second, "{\"operation\":\"wait\"}");
        ck_assert_int_eq(expect(&second, WIRE_ATTACHED)->state, WIRE_RUN_STARTED);
        expect(&first, WIRE_NONE);
        (void) close(first.fd);
        int go = open(path_of("go"), O_WRONLY);
        ck_assert_int_eq(write(go, "\n", 1), 1);
        (void) close(go);
        expect_result(&second, PROTO_STATUS_SUCCEEDED);
        say(&second, WIRE_ACK);
        expect(&second, WIRE_NONE);
        ck_assert_int_eq(ended(&second), 0); /* the one that handed over */
        ck_assert_int_eq(waitpid(first.pid, NULL, 0), first.pid);
        expect_nothing_left();
}
END_TEST

START_TEST(runner_outlives_its_agent) {
        Peer first, second;
        WireMessage key_only = { .type = WIRE_INVENTORY };
        const WireMessage *m;

        handler("wait", "echo here > @/fifo; read x < @/go; exit 9");
        ck_assert_int_eq(mkfifo(path_of("go"), 0600), 0);
        first = run("{\"operation\":\"wait\"}");
        ck_assert_str_eq(heard(), "here");
        (void) close(first.fd);
        /* while nobody is connected, the inventory has it */
        (void) strcpy(key_only.key.thing, "t1");
        second = start();
        say_message(&second, &key_only);
        m = expect(&second, WIRE_RUNS);
        ck_assert_uint_eq(m->n_runs, 1);
        ck_assert(job_key_equal(&m->runs[0].key, &key));
        ck_assert_int_eq(m->runs[0].state, WIRE_RUN_STARTED);
        ck_assert(!m->more);
        ck_assert_int_eq(ended(&second), 0);
        int go = open(path_of("go"), O_WRONLY);
        ck_assert_int_eq(write(go, "\n", 1), 1);
        (void) close(go);
        second = start();
        say(&second, WIRE_ATTACH);
        m = hear(&second);
        while (m->type == WIRE_ATTACHED || m->type == WIRE_PROGRESS)
                m = hear(&second);
        ck_assert_int_eq(m->type, WIRE_RESULT);
        ck_assert_str_eq(detail(m, "exitCode"), "9");
        say(&second, WIRE_ACK);
        expect(&second, WIRE_NONE);
        ck_assert_int_eq(ended(&second), 0);
        ck_assert_int_eq(waitpid(first.pid, NULL, 0), first.pid);
        expect_nothing_left();
}
END_TEST

START_TEST(end_of_connection_before_go_starts_nothing) {
        Peer p = start();

        handler("ok", "echo ran > @/fifo");
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        ck_assert_int_eq(shutdown(p.fd, SHUT_RDWR), 0);
        ck_assert_int_eq(ended(&p), 0);
        ck_assert_uint_eq(entries("state/runs"), 1);
        /* it is still prepared, and a new connection may go on */
        p = start();
        say(&p, WIRE_ATTACH);
        expect(&p, WIRE_PLAN);
        say(&p, WIRE_GO);
        ck_assert_str_eq(heard(), "ran");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
}
END_TEST

/* The pids of a handler and of its stray grandchild, in this order. */
#define LONG_RUN "echo $$ > @/fifo; " HARD_TO_KILL "trap '' TERM; exec sleep 1000"

START_TEST(killed_runner_leaves_nothing_behind) {
        const WireMessage *m;
        const char *log;
        pid_t pid, grandchild;
        Peer p;

        handler("slow", LONG_RUN);
        p = run("{\"operation\":\"slow\"}");
        pid = (pid_t) atoi(heard());
        grandchild = (pid_t) atoi(heard());
        ck_assert_int_eq(kill(p.pid, SIGKILL), 0);
        ck_assert_int_eq(ended(&p), -SIGKILL);
        ck_assert_int_eq(kill(pid, 0), 0);
        p = start();
        say(&p, WIRE_ATTACH);
        m = expect_result(&p, PROTO_STATUS_FAILED);
        expect_detail(m, "reason", "interrupted");
        expect_gone(pid);
        expect_gone(grandchild);
        acknowledge(&p);
        expect_nothing_left();
        /* One warning: the verdict, which says why. */
        log = strstr(read_file(path_of("log")), "warning ");
        ck_assert_msg(log && strncmp(log, "warning job finished: FAILED: interrupted: ", 43) == 0 &&
                              !strstr(log + 1, "warning "),
                      "%s", log);
}
END_TEST

START_TEST(killed_runner_leaves_nothing_without_environment) {
        pid_t pid;
        Peer p;

        /* no key in the environment, no parent, no session, the leader gone: it is found by where it works */
        handler("strip", "(env -i setsid sh -c 'trap \"\" TERM; echo $$ > @/fifo; exec sleep 1000' &); exec "
                         "sleep 1000");
        p = run("{\"operation\":\"strip\"}");
        pid = (pid_t) atoi(heard());
        ck_assert_int_eq(kill(p.pid, SIGKILL), 0);
        ck_assert_int_eq(ended(&p), -SIGKILL);
        p = start();
        say(&p, WIRE_CANCEL);
        expect_result(&p, PROTO_STATUS_CANCELED);
        expect_gone(pid);
        acknowledge(&p);
}
END_TEST

START_TEST(rerun_is_the_next_attempt) {
        const WireMessage *m;
        Peer p;

        configure("on_interrupt = \"rerun\";");
        handler("again", "echo $IOT_JOB_ATTEMPT $IOT_JOB_PHASE > @/fifo; touch was-here; "
                         "[ $IOT_JOB_ATTEMPT = 2 ] || exec sleep 1000");
        p = run("{\"operation\":\"again\"}");
        ck_assert_str_eq(heard(), "1 run");
        ck_assert_int_eq(kill(p.pid, SIGKILL), 0);
        ck_assert_int_eq(ended(&p), -SIGKILL);
        p = start();
        say(&p, WIRE_ATTACH);
        m = hear(&p);
        if (m->type == WIRE_PLAN) {
                ck_assert_int_eq(m->phase, WIRE_PHASE_RERUN);
                say(&p, WIRE_GO);
        }
        ck_assert_str_eq(heard(), "2 rerun");
        m = hear(&p);
        while (m->type == WIRE_ATTACHED || m->type == WIRE_PROGRESS)
                m = hear(&p);
        ck_assert_int_eq(m->type, WIRE_RESULT);
        ck_assert_int_eq(m->status, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

/* ---- who asks, and how ---- */

START_TEST(inventory_of_many_runs) {
        enum { RUNS = 2 * WIRE_RUNS_MAX + 3 };
        WireMessage ask = { .type = WIRE_INVENTORY };
        const WireMessage *m;
        bool seen[RUNS + 1] = {};
        size_t n = 0, packets = 0;
        Peer p = start();

        (void) strcpy(ask.key.thing, "t1");
        say_message(&p, &ask);
        m = expect(&p, WIRE_RUNS);
        ck_assert_uint_eq(m->n_runs, 0);
        ck_assert(!m->more);
        ck_assert_int_eq(ended(&p), 0);
        handler("ok", "exit 0");
        for (key.number = 1; key.number <= RUNS; key.number++) {
                p = start();
                prepare(&p, "{\"operation\":\"ok\"}");
                expect(&p, WIRE_PLAN);
                ck_assert_int_eq(shutdown(p.fd, SHUT_RDWR), 0);
                ck_assert_int_eq(ended(&p), 0);
        }
        p = start();
        say_message(&p, &ask);
        do {
                m = expect(&p, WIRE_RUNS);
                packets++;
                for (size_t i = 0; i < m->n_runs; i++, n++) {
                        ck_assert_int_eq(m->runs[i].state, WIRE_RUN_PREPARED);
                        ck_assert(wire_claim_valid(m->runs[i].claim));
                        ck_assert_int_le(m->runs[i].key.number, RUNS);
                        ck_assert(!seen[m->runs[i].key.number]);
                        seen[m->runs[i].key.number] = true;
                }
        } while (m->more);
        ck_assert_uint_eq(n, RUNS);
        ck_assert_uint_eq(packets, 3);
        ck_assert_int_eq(ended(&p), 0);
}
END_TEST

static char *record_of_key(void) {
        return text_of("%s/state/runs/t1.job-1.%d.1700000000.record", base, (int) key.number);
}

/* What a crash leaves of a record in its first moment goes with the next inventory: nobody may ask for that job again. */
START_TEST(torn_records_go_with_the_inventory) {
        WireMessage ask = { .type = WIRE_INVENTORY };
        Peer p = start(), live;
        int fd;

        (void) strcpy(ask.key.thing, "t1");
        say_message(&p, &ask);
        expect(&p, WIRE_RUNS);
        ck_assert_int_eq(ended(&p), 0);
        fd = open(record_of_key(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        (void) close(fd);
        /* One that somebody is working on stays. */
        key.number = 2;
        handler("ok", "exit 0");
        live = start();
        prepare(&live, "{\"operation\":\"ok\"}");
        expect(&live, WIRE_PLAN);
        ck_assert_int_eq(truncate(record_of_key(), 0), 0);
        p = start();
        say_message(&p, &ask);
        ck_assert_uint_eq(expect(&p, WIRE_RUNS)->n_runs, 0);
        ck_assert_int_eq(ended(&p), 0);
        ck_assert_int_eq(access(record_of_key(), F_OK), 0);
        key.number = 1;
        ck_assert_int_eq(access(record_of_key(), F_OK), -1);
        ck_assert_int_eq(shutdown(live.fd, SHUT_RDWR), 0);
        ck_assert_int_eq(ended(&live), 0);
}
END_TEST

START_TEST(damaged_tombstones_are_named_once) {
        WireMessage ask = { .type = WIRE_INVENTORY };
        char *tombstones = text_of("%s/state/tombstones", base);
        Peer p;
        int fd;

        (void) strcpy(ask.key.thing, "t1");
        handler("ok", "exit 0");
        p = run("{\"operation\":\"ok\"}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        fd = open(tombstones, O_WRONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, "X", 1, 3), 1);
        (void) close(fd);
        for (int i = 0; i < 2; i++) {
                p = start();
                say_message(&p, &ask);
                expect(&p, WIRE_RUNS);
                ck_assert_int_eq(ended(&p), 0);
        }
        tombstones = strstr(read_file(path_of("log")), "/state/tombstones:1: damaged; removing 1 such line:");
        ck_assert_ptr_nonnull(tombstones);
        ck_assert_ptr_null(strstr(tombstones + 1, "/state/tombstones"));
}
END_TEST

START_TEST(connection_by_socket_activation) {
        Peer p;

        activated = true;
        handler("ok", "ls /proc/self/fd | cat > @/fds");
        p = run("{\"operation\":\"ok\"}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        ck_assert_str_eq(read_file(path_of("fds")), "0\n1\n2\n3\n4\n");
        acknowledge(&p);
}
END_TEST

START_TEST(configuration_is_chosen_by_thing) {
        const WireMessage *m;
        Peer p;

        if (geteuid() != 0)
                UNIT_SKIP("another /etc is for root");
        ck_assert_int_eq(mkdir(path_of("etc"), 0755), 0);
        ck_assert_int_eq(mkdir(path_of("etc/iot-jobs"), 0755), 0);
        write_file("etc/iot-jobs/agent.conf", "thing_name = \"other\"; endpoint = \"x\";\n", 0644);
        write_file("etc/iot-jobs/second.conf", read_file(path_of("agent.conf")), 0644);
        write_file("etc/iot-jobs/third.conf.bak", "no configuration at all", 0644);
        other_etc = path_of("etc");
        handler("home", "echo $HOME $USER $SHELL > @/fifo");
        p = start();
        prepare(&p, "{\"operation\":\"home\"}");
        m = hear(&p);
        if (m->type == WIRE_NONE) {
                ck_assert_int_eq(ended(&p), 126);
                UNIT_SKIP("this root may not mount");
        }
        ck_assert_int_eq(m->type, WIRE_PLAN);
        say(&p, WIRE_GO);
        ck_assert_str_eq(heard(), "/ 0 /bin/sh"); /* that /etc has no passwd */
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        (void) strcpy(key.thing, "third");
        p = start();
        say(&p, WIRE_CANCEL);
        expect(&p, WIRE_UNABLE);
        ck_assert_int_eq(ended(&p), 1);
        expect_logged("refusing a request");
}
END_TEST

START_TEST(only_the_agent_is_served) {
        Peer p;

        if (geteuid() != 0)
                UNIT_SKIP("it takes root to be somebody else");
        handler("ok", "exit 0");
        agent_uid = 65534;
        p = start();
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_NONE);
        ck_assert_int_eq(ended(&p), 1);
        expect_logged("refusing a request of user 65534");
        write_file("agent.conf", text_of("%sagent_user = \"nobody\";\n", read_file(path_of("agent.conf"))),
                   0644);
        p = run("{\"operation\":\"ok\"}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
}
END_TEST

/* Two deadlines of five seconds, waited for side by side. */
START_TEST(silence_is_not_waited_for_for_ever) {
        Peer silent, blocked;
        int fd;

        handler("ok", "exit 0");
        ck_assert_int_eq(mkdir(path_of("run"), 0755), 0);
        ck_assert_int_eq(mkdir(path_of("run/runs"), 0700), 0);
        /* a "live runner" that has the lock and never answers */
        fd = open(path_of("run/runs/t1.job-1.1.1700000000.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(flock(fd, LOCK_EX), 0);
        silent = start();
        blocked = start();
        prepare(&blocked, "{\"operation\":\"ok\"}");
        ck_assert_ptr_nonnull(strstr(expect(&blocked, WIRE_UNABLE)->reason, "another runner has this run"));
        expect(&silent, WIRE_NONE);
        ck_assert_int_eq(ended(&silent), 1);
        ck_assert_int_eq(ended(&blocked), 1);
        expect_logged("sent nothing for 5 s");
        (void) close(fd);
        /* the lock file that was left is taken over */
        blocked = run("{\"operation\":\"ok\"}");
        expect_result(&blocked, PROTO_STATUS_SUCCEEDED);
        acknowledge(&blocked);
        expect_nothing_left();
}
END_TEST

/* ---- slots ---- */

static size_t waiting_for_slot(const Peer *p) {
        struct pollfd f = { .fd = p->fd, .events = POLLIN };

        return poll(&f, 1, 0) == 0;
}

START_TEST(one_slot_runs_one_at_a_time) {
        Peer a, b;

        handler("wait", "echo $IOT_JOB_EXECUTION > @/fifo; read x < @/go$IOT_JOB_EXECUTION");
        ck_assert_int_eq(mkfifo(path_of("go1"), 0600), 0);
        ck_assert_int_eq(mkfifo(path_of("go2"), 0600), 0);
        a = run("{\"operation\":\"wait\"}");
        ck_assert_str_eq(heard(), "1");
        key.number = 2;
        b = run("{\"operation\":\"wait\"}");
        ck_assert(waiting_for_slot(&b));
        int go = open(path_of("go1"), O_WRONLY);
        ck_assert_int_eq(write(go, "\n", 1), 1);
        (void) close(go);
        key.number = 1;
        expect_result(&a, PROTO_STATUS_SUCCEEDED);
        /* the first is not even acknowledged, but its processes are gone */
        ck_assert_str_eq(heard(), "2");
        go = open(path_of("go2"), O_WRONLY);
        ck_assert_int_eq(write(go, "\n", 1), 1);
        (void) close(go);
        acknowledge(&a);
        key.number = 2;
        expect_result(&b, PROTO_STATUS_SUCCEEDED);
        acknowledge(&b);
        expect_nothing_left();
}
END_TEST

START_TEST(slot_of_a_dead_runner_is_cleared_first) {
        pid_t pid, grandchild;
        Peer a, b;

        handler("slow", LONG_RUN);
        handler("look", "for p in $(cat @/pid); do grep -q '^State:.[^Z]' /proc/$p/status && echo overlap > "
                        "@/fifo; done; "
                        "echo looked > @/fifo");
        a = run("{\"operation\":\"slow\"}");
        pid = (pid_t) atoi(heard());
        grandchild = (pid_t) atoi(heard());
        write_file("pid", text_of("%d %d", (int) pid, (int) grandchild), 0600);
        ck_assert_int_eq(kill(a.pid, SIGKILL), 0);
        ck_assert_int_eq(ended(&a), -SIGKILL);
        /* another run, before anybody asks for the first one */
        key.number = 2;
        b = run("{\"operation\":\"look\"}");
        ck_assert_str_eq(heard(), "looked");
        expect_gone(pid);
        expect_gone(grandchild);
        expect_result(&b, PROTO_STATUS_SUCCEEDED);
        acknowledge(&b);
}
END_TEST

START_TEST(cancel_while_waiting_for_a_slot) {
        Peer p;
        int fd;

        ck_assert_int_eq(mkdir(path_of("run"), 0755), 0);
        ck_assert_int_eq(mkdir(path_of("run/slots"), 0700), 0);
        fd = open(path_of("run/slots/0"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_eq(flock(fd, LOCK_EX), 0);
        handler("ok", "echo ran > @/fifo");
        p = run("{\"operation\":\"ok\"}");
        say(&p, WIRE_CANCEL);
        expect_result(&p, PROTO_STATUS_CANCELED);
        (void) close(fd);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

/* ---- what is refused ---- */

START_TEST(handler_files_that_are_refused) {
        static const char *const names[] = { "none", "noexec", "world",  "group", "dir",  "dangling",
                                             "link", "masked", "setuid", "fifo",  "owner" };
        static const char *const reasons[] = {
                "missing",     "not executable", "writable by others", "writable by others",
                "a directory", "dangling link",  "symbolic link",      "masked by a link to /dev/null",
                "set-user-ID", "regular file",   "wrong owner"
        };

        handler("noexec", "exit 0");
        ck_assert_int_eq(chmod(path_of("handlers/noexec"), 0644), 0);
        handler("world", "exit 0");
        ck_assert_int_eq(chmod(path_of("handlers/world"), 0757), 0);
        handler("group", "exit 0");
        ck_assert_int_eq(chmod(path_of("handlers/group"), 0775), 0);
        ck_assert_int_eq(mkdir(path_of("handlers/dir"), 0755), 0);
        ck_assert_int_eq(symlink("nowhere", path_of("handlers/dangling")), 0);
        handler("real", "exit 0");
        ck_assert_int_eq(symlink("real", path_of("handlers/link")), 0);
        ck_assert_int_eq(symlink("/dev/null", path_of("handlers/masked")), 0);
        handler("setuid", "exit 0");
        ck_assert_int_eq(chmod(path_of("handlers/setuid"), 04755), 0);
        ck_assert_int_eq(mkfifo(path_of("handlers/fifo"), 0755), 0);
        handler("owner", "exit 0");
        bool chowned = geteuid() == 0 && chown(path_of("handlers/owner"), 12345, 0) == 0;

        for (size_t i = 0; i < ELEMENTSOF(names) - !chowned; i++) {
                const WireMessage *m;
                Peer p = start();

                prepare(&p, text_of("{\"operation\":\"%s\"}", names[i]));
                m = expect(&p, WIRE_REJECTED);
                ck_assert_msg(strstr(m->reason, reasons[i]) != NULL, "%s: %s", names[i], m->reason);
                ck_assert_msg(strstr(m->reason, path_of("handlers")) != NULL, "%s: %s", names[i], m->reason);
                ck_assert_str_eq(m->path, "operation");
                ck_assert_int_eq(ended(&p), 0);
        }
        expect_nothing_left();
}
END_TEST

START_TEST(suffix_and_search_order) {
        Peer p;

        handler("plain.sh", "echo sh > @/fifo");
        p = run("{\"operation\":\"plain\"}");
        ck_assert_str_eq(heard(), "sh");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        /* an earlier directory masks a later one */
        ck_assert_int_eq(mkdir(path_of("first"), 0755), 0);
        ck_assert_int_eq(symlink("/dev/null", path_of("first/plain.sh")), 0);
        configure_directories(text_of("\"%s/first\", \"%s/handlers\"", base, base), "");
        key.number = 2;
        p = start();
        prepare(&p, "{\"operation\":\"plain\"}");
        ck_assert_ptr_nonnull(strstr(expect(&p, WIRE_REJECTED)->reason, "masked"));
        ck_assert_int_eq(ended(&p), 0);
}
END_TEST

START_TEST(directory_writable_by_others_is_refused) {
        const WireMessage *m;
        Peer p = start();

        handler("ok", "exit 0");
        ck_assert_int_eq(chmod(path_of("handlers"), 01777), 0); /* sticky does not help the last one */
        prepare(&p, "{\"operation\":\"ok\"}");
        m = expect(&p, WIRE_REJECTED);
        ck_assert_ptr_nonnull(strstr(m->reason, "is writable by others (mode 1777)"));
        ck_assert_int_eq(ended(&p), 0);
}
END_TEST

START_TEST(later_steps_are_judged_when_they_start) {
        const WireMessage *m;
        Peer p;

        handler("one", "exit 0");
        p = run("{\"version\":\"1.0\",\"steps\":["
                "{\"action\":{\"name\":\"A\",\"type\":\"runHandler\",\"input\":{\"handler\":\"one\"}}},"
                "{\"action\":{\"name\":\"B\",\"type\":\"runHandler\",\"input\":{\"handler\":\"two\"}}}]}");
        m = expect_result(&p, PROTO_STATUS_FAILED);
        expect_detail(m, "reason", "steps[1].action.input.handler: missing");
        acknowledge(&p);
        /* and an earlier one may install it */
        handler("one",
                "printf '#!/bin/sh\\necho two > @/fifo\\n' > @/handlers/two; chmod 755 @/handlers/two");
        key.number = 2;
        p = run("{\"version\":\"1.0\",\"steps\":["
                "{\"action\":{\"name\":\"A\",\"type\":\"runHandler\",\"input\":{\"handler\":\"one\"}}},"
                "{\"action\":{\"name\":\"B\",\"type\":\"runHandler\",\"input\":{\"handler\":\"two\"}}}]}");
        ck_assert_str_eq(heard(), "two");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
}
END_TEST

START_TEST(exec_failures_say_why) {
        static const struct {
                const char *text, *reason;
        } rows[] = {
                { "echo no interpreter line\n", "exec format error" },
                { "#!/no/such/interpreter\n", "asks for /no/such/interpreter" },
                { "#!/bin/sh\r\necho\r\n", "carriage return" },
                { "", "exec format error" },
                { "#!/etc/passwd\n", "permission denied" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const WireMessage *m;
                Peer p;

                write_file("handlers/bad", rows[i].text, 0755);
                key.number = (int64_t) i + 1;
                p = run("{\"operation\":\"bad\"}");
                m = expect_result(&p, PROTO_STATUS_FAILED);
                expect_detail(m, "reason", rows[i].reason);
                acknowledge(&p);
        }
        expect_nothing_left();
}
END_TEST

START_TEST(prepared_run_whose_handler_went_away) {
        Peer p;

        handler("ok", "echo ran > @/fifo");
        /* between plan and go: a failure, for the claim may have been made */
        p = start();
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        ck_assert_int_eq(unlink(path_of("handlers/ok")), 0);
        say(&p, WIRE_GO);
        expect_detail(expect_result(&p, PROTO_STATUS_FAILED), "reason", "operation: missing");
        acknowledge(&p);
        expect_nothing_left();
        /* between two runners: refused, and forgotten */
        handler("ok", "echo ran > @/fifo");
        key.number = 2;
        p = start();
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        ck_assert_int_eq(shutdown(p.fd, SHUT_RDWR), 0);
        ck_assert_int_eq(ended(&p), 0);
        ck_assert_int_eq(unlink(path_of("handlers/ok")), 0);
        p = start();
        say(&p, WIRE_ATTACH);
        ck_assert_str_eq(expect(&p, WIRE_REJECTED)->path, "operation");
        ck_assert_int_eq(ended(&p), 0);
        expect_nothing_left();
}
END_TEST

/* A process whose parent is `parent`, or 0. */
static pid_t child_of(pid_t parent) {
        DIR *d = opendir("/proc");
        struct dirent *e;
        pid_t found = 0;

        ck_assert_ptr_nonnull(d);
        while (!found && (e = readdir(d))) {
                const char *status = read_file(text_of("/proc/%s/status", e->d_name));
                const char *line = status ? strstr(status, "\nPPid:") : NULL;

                if (line && atoi(line + strlen("\nPPid:")) == parent)
                        found = (pid_t) atoi(e->d_name);
        }
        (void) closedir(d);
        return found;
}

/* The child that is forked while the claim is under way is only a convenience. */
/* Neither dead nor buried. */
static bool is_alive(pid_t pid) {
        const char *status = read_file(text_of("/proc/%d/status", (int) pid));

        return status && !strstr(status, "State:\tZ");
}

START_TEST(child_that_waits_may_die) {
        uint64_t deadline = clock_boottime_usec() + PATIENCE_SEC * USEC_PER_SEC;
        pid_t pid = 0;
        Peer p = start();

        handler("ok", "echo ran > @/fifo");
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        while (pid == 0 && clock_boottime_usec() < deadline)
                pid = child_of(p.pid);
        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        while (is_alive(pid) && clock_boottime_usec() < deadline)
                ;
        say(&p, WIRE_GO);
        ck_assert_str_eq(heard(), "ran");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
        expect_nothing_left();
}
END_TEST

START_TEST(bad_documents_are_rejected) {
        WireMessage large = { .type = WIRE_PREPARE, .key = key, .document_len = LIMIT_DOCUMENT + 5 };
        const WireMessage *m;
        Peer p = start();

        prepare(&p, "{\"operation\":");
        expect(&p, WIRE_REJECTED);
        ck_assert_int_eq(ended(&p), 0);
        p = start();
        prepare(&p, "{\"operation\":\"../x\"}");
        ck_assert_str_eq(expect(&p, WIRE_REJECTED)->path, "operation");
        ck_assert_int_eq(ended(&p), 0);
        p = start();
        say_message(&p, &large);
        m = expect(&p, WIRE_REJECTED);
        ck_assert_ptr_nonnull(strstr(m->reason, "32773"));
        ck_assert_ptr_nonnull(strstr(m->reason, "32768"));
        ck_assert_int_eq(ended(&p), 0);
        expect_nothing_left();
        expect_no_complaint_logged();
}
END_TEST

START_TEST(hostile_first_packets) {
        static const char garbage[] = "\x00\xFF{[", unknown[] = "{\"type\":\"format-disk\"}";
        static char large[WIRE_PACKET_MAX + 1];
        const struct {
                const char *data;
                size_t len;
        } rows[] = {
                { garbage, sizeof garbage - 1 },
                { unknown, sizeof unknown - 1 },
                { large, sizeof large },
        };
        Peer p;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                p = start();
                ck_assert_int_eq(send(p.fd, rows[i].data, rows[i].len, MSG_NOSIGNAL), (ssize_t) rows[i].len);
                expect(&p, WIRE_NONE);
                ck_assert_int_eq(ended(&p), 1);
        }
        p = start();
        say(&p, WIRE_GO);
        expect(&p, WIRE_NONE);
        ck_assert_int_eq(ended(&p), 1);
        p = start();
        ck_assert_int_eq(shutdown(p.fd, SHUT_WR), 0);
        expect(&p, WIRE_NONE);
        ck_assert_int_eq(ended(&p), 0);
        (void) strcpy(key.thing, "other");
        p = start();
        say(&p, WIRE_CANCEL);
        ck_assert_ptr_nonnull(strstr(expect(&p, WIRE_UNABLE)->reason, "is for thing \"t1\""));
        ck_assert_int_eq(ended(&p), 1);
        expect_logged("the request is for thing \"other\"");
        expect_logged("its first packet is larger than");
        expect_logged("its first packet is go, which asks for nothing");
}
END_TEST

START_TEST(strange_packet_in_mid_run_costs_the_connection_only) {
        Peer p, second;

        handler("wait", "echo here > @/fifo; read x < @/go");
        ck_assert_int_eq(mkfifo(path_of("go"), 0600), 0);
        p = run("{\"operation\":\"wait\"}");
        ck_assert_str_eq(heard(), "here");
        key.number = 7;
        say(&p, WIRE_CANCEL); /* another run's */
        expect(&p, WIRE_NONE);
        key.number = 1;
        second = start();
        say(&second, WIRE_ATTACH);
        expect(&second, WIRE_ATTACHED);
        int go = open(path_of("go"), O_WRONLY);
        ck_assert_int_eq(write(go, "\n", 1), 1);
        (void) close(go);
        expect_result(&second, PROTO_STATUS_SUCCEEDED);
        say(&second, WIRE_ACK);
        expect(&second, WIRE_NONE);
        ck_assert_int_eq(ended(&second), 0);
        ck_assert_int_eq(ended(&p), 0);
}
END_TEST

START_TEST(untrusted_or_bad_configuration) {
        Peer p = start();

        ck_assert_int_eq(chmod(path_of("agent.conf"), 0666), 0);
        say(&p, WIRE_CANCEL);
        ck_assert_ptr_nonnull(strstr(expect(&p, WIRE_UNABLE)->reason, "cannot be trusted"));
        ck_assert_int_eq(ended(&p), 1);
        write_file("agent.conf", "thing_name = 5;\n", 0600);
        p = start();
        say(&p, WIRE_CANCEL);
        ck_assert_ptr_nonnull(strstr(expect(&p, WIRE_UNABLE)->reason, "agent.conf:1"));
        ck_assert_int_eq(ended(&p), 1);
}
END_TEST

/* The state directory is a file, holds a record of a version to come, is full of garbage. */
START_TEST(state_directory_in_trouble) {
        const WireMessage *m;
        Peer p = start();

        handler("ok", "exit 0");
        write_file("state", "not a directory", 0600);
        prepare(&p, "{\"operation\":\"ok\"}");
        m = expect(&p, WIRE_UNABLE);
        ck_assert_msg(strstr(m->reason, path_of("state")) != NULL, "%s", m->reason);
        ck_assert_int_eq(ended(&p), 1);
        ck_assert_int_eq(unlink(path_of("state")), 0);
        /* a record of a version to come is left alone, and named */
        ck_assert_int_eq(mkdir(path_of("state"), 0700), 0);
        ck_assert_int_eq(mkdir(path_of("state/runs"), 0700), 0);
        write_file("state/runs/t1.job-1.1.1700000000.record",
                   text_of("%08x {\"v\":99}\n", crc32c("{\"v\":99}", strlen("{\"v\":99}"))), 0600);
        p = start();
        prepare(&p, "{\"operation\":\"ok\"}");
        ck_assert_ptr_nonnull(strstr(expect(&p, WIRE_UNABLE)->reason, "t1.job-1.1.1700000000.record"));
        ck_assert_int_eq(ended(&p), 0);
        ck_assert_uint_eq(entries("state/runs"), 1);
        /* garbage is set aside */
        write_file("state/runs/t1.job-1.1.1700000000.record", "garbage\n", 0600);
        key.number = 2;
        write_file("state/runs/t1.job-1.2.1700000000.record", "more of it\n", 0600);
        p = run("{\"operation\":\"ok\"}");
        expect_result(&p, PROTO_STATUS_SUCCEEDED);
        acknowledge(&p);
}
END_TEST

START_TEST(state_directory_cannot_be_written) {
        static const struct {
                unsigned long flags;
                const char *options, *reason;
        } rows[] = {
                { MS_RDONLY, "size=1m", "Read-only file system" },
                { 0, "size=4k", "No space left on device" },
        };

        if (geteuid() != 0)
                UNIT_SKIP("mounting is for root");
        handler("ok", "echo ran > @/fifo");
        ck_assert_int_eq(mkdir(path_of("state"), 0700), 0);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const WireMessage *m;
                Peer p;

                state_flags = rows[i].flags;
                state_options = rows[i].options;
                p = start();
                prepare(&p, "{\"operation\":\"ok\"}");
                m = hear(&p);
                if (m->type == WIRE_NONE) {
                        ck_assert_int_eq(ended(&p), 126);
                        continue;
                }
                ck_assert_int_eq(m->type, WIRE_UNABLE);
                ck_assert_msg(strstr(m->reason, rows[i].reason) && strstr(m->reason, path_of("state")), "%s",
                              m->reason);
                (void) ended(&p);
        }
        state_options = NULL;
        expect_no_complaint_logged();
        ck_assert_uint_eq(entries("run/runs"), 0);
}
END_TEST

START_TEST(drop_forgets) {
        Peer p = start();

        handler("ok", "echo ran > @/fifo");
        prepare(&p, "{\"operation\":\"ok\"}");
        expect(&p, WIRE_PLAN);
        say(&p, WIRE_DROP);
        expect(&p, WIRE_NONE);
        ck_assert_int_eq(ended(&p), 0);
        expect_nothing_left();
        p = start();
        say(&p, WIRE_ATTACH);
        expect(&p, WIRE_NO_RECORD);
        ck_assert_int_eq(ended(&p), 0);
}
END_TEST

/* ---- parts ---- */

static char *redacted(const Redact *r, const char *text) {
        static char out[4096];
        RedactState state = REDACT_TEXT;
        size_t n = strlen(text);

        memcpy(out, text, n);
        n = redact_text(r, out, n, &state);
        out[n] = '\0';
        return out;
}

START_TEST(redaction) {
        char *names[] = { (char *) "pw", NULL };
        JobParameter parameters[] = { { (char *) "pw", (char *) "hunter2\nsecond line" },
                                      { (char *) "other", (char *) "x" } };
        JobDoc doc = { .parameters = parameters, .n_parameters = 2 };
        Redact r;
        RedactState state = REDACT_TEXT;
        char piece[] = "see https://h/p?to", next[] = "ken=1 done";
        size_t n;

        ck_assert_int_eq(redact_init(&r, &doc, names), 0);
        ck_assert_str_eq(redacted(&r, "a hunter2 and hunter2"), "a *** and ***");
        ck_assert_str_eq(redacted(&r, "second line"), "***");
        ck_assert_str_eq(redacted(&r, "x stays"), "x stays");
        ck_assert_str_eq(redacted(&r, "http://a/b?c=d"), "http://a/b?…");
        ck_assert_str_eq(redacted(&r, "http://a/b?c http://e?ffff \"https://g/?hhhh\"."),
                         "http://a/b?. http://e?… \"https://g/?…\".");
        ck_assert_str_eq(redacted(&r, "what? no url, a/b?c=d"), "what? no url, a/b?c=d");
        ck_assert_str_eq(redacted(&r, "http://a/b?"), "http://a/b?");
        ck_assert_str_eq(redacted(&r, "http://a/b?…c=d"), "http://a/b?…"); /* somebody's, not ours */
        ck_assert_str_eq(redacted(&r, "http://a/b?… http://a/b?."), "http://a/b?… http://a/b?.");
        /* cut in the middle of a query, or of a secret */
        n = redact_text(&r, piece, strlen(piece), &state);
        ck_assert_int_eq((int) n, (int) strlen("see https://h/p?.."));
        ck_assert_int_eq(state, REDACT_QUERY);
        n = redact_text(&r, next, strlen(next), &state);
        ck_assert_int_eq(strncmp(next, " done", n), 0);
        ck_assert_int_eq(state, REDACT_TEXT);
        ck_assert_uint_eq(redact_held_back(&r, "is hunt", 7), 4);
        ck_assert_uint_eq(redact_held_back(&r, "is it", 5), 0);
        redact_done(&r);
}
END_TEST

/* A line is cut into pieces anywhere: none of them may show what the whole would not. */
START_TEST(redaction_of_pieces) {
        static const char line[] = "get https://h/p?sig=hunter2&x ftp://hunter2 https://h/a:b?c=hunter2 pa\"ss\\1 \"pa\\\"ss\\\\1\" end";
        static const char shown[] = "get https://h/p?… ftp://*** https://h/a:b?… *** \"***\" end";
        char *names[] = { (char *) "pw", NULL };
        JobParameter parameters[] = { { (char *) "pw", (char *) "hunter2\npa\"ss\\1" } };
        JobDoc doc = { .parameters = parameters, .n_parameters = 1 };
        Redact r;

        ck_assert_int_eq(redact_init(&r, &doc, names), 0);
        ck_assert_str_eq(redacted(&r, line), shown);
        for (size_t cut = 0; cut < sizeof line - 1; cut++) {
                char text[sizeof line], out[sizeof line + 1] = "";
                RedactState state = REDACT_TEXT;
                size_t n, keep;

                memcpy(text, line, cut);
                n = redact_text(&r, text, cut, &state);
                keep = redact_held_back(&r, text, n);
                ck_assert_uint_le(keep, n);
                strncat(out, text, n - keep);
                memmove(text, text + n - keep, keep);
                memcpy(text + keep, line + cut, sizeof line - 1 - cut);
                n = redact_text(&r, text, keep + sizeof line - 1 - cut, &state);
                strncat(out, text, n);
                ck_assert_msg(!strstr(out, "hunter") && !strstr(out, "ss\\") && !strstr(out, "sig=") && !strstr(out, "c="),
                              "cut at %zu: %s", cut, out);
        }
        redact_done(&r);
}
END_TEST

/* It may be anything: hidden is what stands behind the name. */
START_TEST(redaction_of_refused_documents) {
        static const struct {
                const char *document, *text, *shown;
        } cases[] = {
                { "{\"pw\":\"hunter2\"}", "a hunter2", "a ***" },
                { "{\"pw\" : \n\"hunter2\",\"pw\":\"other\"}", "hunter2 other pw", "*** *** pw" },
                { "{\"pw\":\"a\\\"b\\nc\\\\d\"}", "a\"b c\\d a\\\"b\\nc\\\\d", "*** *** ***" },
                { "{\"pw\":4711}", "is 4711", "is ***" },
                { "{\"xpw\":\"hunter2\",\"pwx\":\"hunter2\",\"a\":\"pw\"}", "hunter2", "hunter2" },
                { "{\"pw\":\"hunter2", "hunter2", "***" },
                { "{\"pw\":\"hunter2\\", "hunter2\\ hunter2", "*** hunter2" },
                { "{\"pw\":", "pw", "pw" },
                { "{\"pw\"", "pw", "pw" },
                { "\"pw\":\"\"", "pw", "pw" },
                { "", "x", "x" },
        };
        char *names[] = { (char *) "", (char *) "pw", NULL };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                size_t len = strlen(cases[i].document);
                char *exact = malloc(len + 1); /* what reads too far is seen */
                Redact r;

                memcpy(exact, cases[i].document, len);
                exact = realloc(exact, len > 0 ? len : 1);
                ck_assert_int_eq(redact_init_refused(&r, exact, len, names), 0);
                ck_assert_str_eq(redacted(&r, cases[i].text), cases[i].shown);
                redact_done(&r);
                free(exact);
        }
}
END_TEST

/* However long it is, or however many lines it has. */
START_TEST(redaction_of_large_values) {
        char *names[] = { (char *) "pw", NULL };
        char value[2600 + 1], lines[600 * 6 + 1], *p = lines;
        JobParameter parameters[] = { { (char *) "pw", value }, { (char *) "pw", lines } };
        JobDoc doc = { .parameters = parameters, .n_parameters = 2 };
        Redact r;

        for (uint32_t i = 0, x = 1; i < sizeof value - 1; i++, x = x * 1664525 + 1013904223)
                value[i] = (char) ('a' + (x >> 16) % 26);
        value[sizeof value - 1] = '\0';
        for (int i = 0; i < 600; i++)
                p += sprintf(p, "L%04d\n", i);
        ck_assert_int_eq(redact_init(&r, &doc, names), 0);
        ck_assert_str_eq(redacted(&r, value), "*********");
        ck_assert_str_eq(redacted(&r, "L0000 L0255 L0256 L0599 L0600"), "*** *** *** *** L0600");
        redact_done(&r);
}
END_TEST

static TCase *program_cases(void) {
        TCase *c = tcase_create("program");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, CASE_SEC);
        tcase_add_test(c, succeeds);
        tcase_add_test(c, exit_codes_and_signals);
        tcase_add_test(c, steps_run_in_order);
        tcase_add_test(c, progress_is_told);
        tcase_add_test(c, environment_is_exactly_the_contract);
        tcase_add_test(c, descriptors_signals_and_session_are_clean);
        tcase_add_test(c, journal_lines_name_the_job);
        tcase_add_test(c, a_burst_of_lines_reaches_the_journal);
        tcase_add_test(c, much_output_hurts_nobody);
        tcase_add_test(c, trailing_output_is_waited_for);
        tcase_add_test(c, background_child_ends_with_its_handler);
        tcase_add_test(c, secrets_stay_out_of_log_and_report);
        tcase_add_test(c, timeout_ends_the_whole_tree);
        tcase_add_test(c, override_caps_the_timeout);
        tcase_add_test(c, cancel_ends_the_whole_tree);
        tcase_add_test(c, cancel_wakes_what_is_stopped);
        tcase_add_test(c, cancel_before_anything_started);
        tcase_add_test(c, cancel_after_the_end_keeps_the_result);
        tcase_add_test(c, stop_is_an_interruption);
        tcase_add_test(c, second_connection_takes_over);
        tcase_add_test(c, runner_outlives_its_agent);
        tcase_add_test(c, end_of_connection_before_go_starts_nothing);
        tcase_add_test(c, killed_runner_leaves_nothing_behind);
        tcase_add_test(c, killed_runner_leaves_nothing_without_environment);
        tcase_add_test(c, rerun_is_the_next_attempt);
        tcase_add_test(c, one_slot_runs_one_at_a_time);
        tcase_add_test(c, slot_of_a_dead_runner_is_cleared_first);
        tcase_add_test(c, cancel_while_waiting_for_a_slot);
        tcase_add_test(c, inventory_of_many_runs);
        tcase_add_test(c, torn_records_go_with_the_inventory);
        tcase_add_test(c, damaged_tombstones_are_named_once);
        tcase_add_test(c, connection_by_socket_activation);
        tcase_add_test(c, configuration_is_chosen_by_thing);
        tcase_add_test(c, only_the_agent_is_served);
        tcase_add_test(c, silence_is_not_waited_for_for_ever);
        return c;
}

static TCase *refusal_cases(void) {
        TCase *c = tcase_create("refusals");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, CASE_SEC);
        tcase_add_test(c, handler_files_that_are_refused);
        tcase_add_test(c, suffix_and_search_order);
        tcase_add_test(c, directory_writable_by_others_is_refused);
        tcase_add_test(c, later_steps_are_judged_when_they_start);
        tcase_add_test(c, exec_failures_say_why);
        tcase_add_test(c, prepared_run_whose_handler_went_away);
        tcase_add_test(c, child_that_waits_may_die);
        tcase_add_test(c, bad_documents_are_rejected);
        tcase_add_test(c, hostile_first_packets);
        tcase_add_test(c, strange_packet_in_mid_run_costs_the_connection_only);
        tcase_add_test(c, untrusted_or_bad_configuration);
        tcase_add_test(c, state_directory_in_trouble);
        tcase_add_test(c, state_directory_cannot_be_written);
        tcase_add_test(c, drop_forgets);
        tcase_add_test(c, redaction);
        tcase_add_test(c, redaction_of_pieces);
        tcase_add_test(c, redaction_of_large_values);
        tcase_add_test(c, redaction_of_refused_documents);
        return c;
}

UNIT_MAIN("runner", program_cases(), refusal_cases())
