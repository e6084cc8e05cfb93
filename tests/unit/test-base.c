/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fileio.h"
#include "base/log.h"
#include "base/utf8.h"
#include "unit.h"

/* ---- buf ---- */

START_TEST(buf_grows) {
        Buf b CLEANUP_BUF = {};
        char *text CLEANUP_FREE = NULL;

        buf_puts(&b, "");
        ck_assert_str_eq(b.data, "");
        for (int i = 0; i < 1000; i++)
                buf_printf(&b, "%d,", i);
        buf_append(&b, "\0x", 2);
        ck_assert_int_eq(buf_error(&b), 0);
        ck_assert_uint_eq(b.len, 3890 + 2);
        ck_assert_uint_lt(b.len, b.cap);
        ck_assert_int_eq(memcmp(b.data, "0,1,2,", 6), 0);
        ck_assert_int_eq(memcmp(b.data + b.len - 6, "999,\0x\0", 7), 0);
        text = buf_steal(&b);
        ck_assert_ptr_null(b.data);
        ck_assert_uint_eq(strlen(text), 3890);
}
END_TEST

START_TEST(buf_empty_steal) {
        Buf b CLEANUP_BUF = {};
        char *text CLEANUP_FREE = buf_steal(&b);

        ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(buf_remembers_failure) {
        Buf b CLEANUP_BUF = {};

        buf_puts(&b, "x");
        buf_append(&b, "y", SIZE_MAX - 1); /* cannot be; nothing is read */
        ck_assert_int_eq(buf_error(&b), -ENOMEM);
        buf_puts(&b, "z");
        ck_assert_uint_eq(b.len, 1);
        ck_assert_ptr_null(buf_steal(&b));
        ck_assert_int_eq(buf_error(&b), 0);
        buf_puts(&b, "x");
        b.error = -ENOMEM;
        buf_clear(&b);
        ck_assert_int_eq(buf_error(&b), 0);
        ck_assert_str_eq(b.data, "");
}
END_TEST

/* ---- error ---- */

START_TEST(error_texts) {
        Error e = {};

        ck_assert_int_eq(error_set(&e, EINVAL, "%s: %d", "a", 5), -EINVAL);
        ck_assert_int_eq(e.code, EINVAL);
        ck_assert_str_eq(e.text, "a: 5");
        ck_assert_int_eq(error_wrap(&e, "file %s", "f"), -EINVAL);
        ck_assert_str_eq(e.text, "file f: a: 5");
        ck_assert_int_eq(error_errno(&e, ENOSPC, "cannot write %s", "f"), -ENOSPC);
        ck_assert_str_eq(e.text, "cannot write f: No space left on device");
        ck_assert_int_eq(error_errno(&e, 99999, "x"), -99999);
        ck_assert_str_eq(e.text, "x: unknown error");
        ck_assert_int_eq(error_set(NULL, ENOENT, "x"), -ENOENT);
        ck_assert_int_eq(error_errno(NULL, ENOENT, "x"), -ENOENT);
}
END_TEST

/* Whatever the length, a text is cut on a character. */
START_TEST(error_cuts_on_characters) {
        static const char *const characters[] = { "x", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80" };

        for (size_t c = 0; c < ELEMENTSOF(characters); c++)
                for (size_t shift = 0; shift < 8; shift++) {
                        Buf b CLEANUP_BUF = {};
                        Error e = {};

                        buf_append(&b, "12345678", shift);
                        while (b.len < 2 * ERROR_TEXT_MAX)
                                buf_puts(&b, characters[c]);
                        (void) error_set(&e, EIO, "%s", b.data);
                        ck_assert(utf8_valid(e.text, strlen(e.text)));
                        ck_assert_uint_gt(strlen(e.text), ERROR_TEXT_MAX - 10);
                        (void) error_wrap(&e, "%s", &"1234567"[shift]);
                        ck_assert(utf8_valid(e.text, strlen(e.text)));
                        (void) error_errno(&e, EIO, "%s", b.data);
                        ck_assert(utf8_valid(e.text, strlen(e.text)));
                }
}
END_TEST

/* ---- files ---- */

/* Counted, or failed; a test needs no real one. */
static int syncs, failing_sync;

int fsync(int fd) {
        if (++syncs == failing_sync) {
                errno = EIO;
                return -1;
        }
        return 0;
}

static char dir[64];
static int dir_fd;

static void setup(void) {
        unit_directory(dir, sizeof dir, "test-base");
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_ge(dir_fd, 0);
}

static void teardown(void) {
        (void) close(dir_fd);
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, dir), 0);
        ck_assert_int_lt(open(dir, O_RDONLY | O_CLOEXEC), 0);
}

static size_t count_entries(const char *path) {
        DIR *d = opendir(path);
        size_t n = 0;

        ck_assert_ptr_nonnull(d);
        while (readdir(d))
                n++;
        (void) closedir(d);
        return n - 2;
}

START_TEST(replace_and_read) {
        char *data CLEANUP_FREE = NULL;
        size_t len = 0;
        struct stat st;

        (void) umask(0077);
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "old", 3, 0644), 0);
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "a\0b\n", 4, 0640), 0);
        ck_assert_int_eq(file_read_at(dir_fd, "f", 4, &data, &len), 0);
        ck_assert_uint_eq(len, 4);
        ck_assert_int_eq(memcmp(data, "a\0b\n\0", 5), 0);
        ck_assert_int_eq(fstatat(dir_fd, "f", &st, 0), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0640);
        ck_assert_uint_eq(count_entries(dir), 1);
}
END_TEST

START_TEST(replace_replaces_a_link_not_its_target) {
        char *data CLEANUP_FREE = NULL;
        size_t len;

        ck_assert_int_eq(file_replace_at(dir_fd, "target", "x", 1, 0600), 0);
        ck_assert_int_eq(symlinkat("target", dir_fd, "f"), 0);
        ck_assert_int_eq(file_read_at(dir_fd, "f", 10, &data, &len), -ELOOP);
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "new", 3, 0600), 0);
        ck_assert_int_eq(file_read_at(dir_fd, "target", 10, &data, &len), 0);
        ck_assert_str_eq(data, "x");
}
END_TEST

START_TEST(failed_replace_leaves_the_old) {
        char *data CLEANUP_FREE = NULL;
        size_t len;

        ck_assert_int_eq(file_replace_at(dir_fd, "f", "old", 3, 0600), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        ck_assert_int_eq(file_replace_at(dir_fd, "d", "new", 3, 0600), -EISDIR);
        ck_assert_int_eq(file_replace_at(dir_fd, "no/f", "new", 3, 0600), -ENOENT);
        ck_assert_int_eq(file_read_at(dir_fd, "f", 10, &data, &len), 0);
        ck_assert_str_eq(data, "old");
        ck_assert_uint_eq(count_entries(dir), 2);
}
END_TEST

/* The new content before it has the name, the name before anybody is told. */
START_TEST(replace_is_durable) {
        char *data CLEANUP_FREE = NULL;
        char path[128];
        size_t len;

        ck_assert_int_eq(file_replace_at(dir_fd, "f", "old", 3, 0600), 0);
        ck_assert_int_eq(syncs, 2);
        failing_sync = 3;
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "new", 3, 0600), -EIO);
        ck_assert_int_eq(syncs, 3);
        ck_assert_int_eq(file_read_at(dir_fd, "f", 10, &data, &len), 0);
        ck_assert_str_eq(data, "old");
        ck_assert_uint_eq(count_entries(dir), 1);
        failing_sync = 5;
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "new", 3, 0600), -EIO);
        failing_sync = syncs = 0;
        (void) snprintf(path, sizeof path, "%s/a/b", dir);
        ck_assert_int_ge(mkdir_open(path, 0700), 0);
        ck_assert_int_eq(syncs, 2);
        ck_assert_int_ge(mkdir_open(path, 0700), 0);
        ck_assert_int_eq(syncs, 2);
}
END_TEST

START_TEST(read_refusals) {
        char *data CLEANUP_FREE = NULL;
        size_t len = 77;

        ck_assert_int_eq(file_read_at(dir_fd, "none", 10, &data, &len), -ENOENT);
        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        ck_assert_int_eq(file_read_at(dir_fd, "d", 10, &data, &len), -EISDIR);
        ck_assert_int_eq(mkfifoat(dir_fd, "fifo", 0600), 0);
        ck_assert_int_eq(file_read_at(dir_fd, "fifo", 10, &data, &len), -ENXIO);
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "12345", 5, 0600), 0);
        ck_assert_int_eq(file_read_at(dir_fd, "f", 4, &data, &len), -EFBIG);
        ck_assert_ptr_null(data);
        ck_assert_uint_eq(len, 77);
        ck_assert_int_eq(file_read_at(dir_fd, "f", 5, &data, &len), 0);
        ck_assert_uint_eq(len, 5);
}
END_TEST

/* A file that says it is empty and is not; longer than the first guess. */
START_TEST(read_proc) {
        char *data CLEANUP_FREE = NULL;
        size_t len = 0;

        ck_assert_int_eq(file_read_at(AT_FDCWD, "/proc/self/smaps", 1 << 20, &data, &len), 0);
        ck_assert_uint_gt(len, 4096);
        ck_assert_uint_eq(strlen(data), len);
        free(TAKE(data));
        ck_assert_int_eq(file_read_at(AT_FDCWD, "/proc/self/smaps", 1000, &data, &len), -EFBIG);
}
END_TEST

START_TEST(make_directories) {
        char path[128];
        struct stat st;
        int fd;

        (void) umask(0077);
        (void) snprintf(path, sizeof path, "%s/a//b/./c/", dir);
        fd = mkdir_open(path, 0711);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0711);
        ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        (void) close(fd);
        fd = mkdir_open(path, 0700);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0711); /* what is there stays as it is */
        (void) close(fd);
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "", 0, 0600), 0);
        (void) snprintf(path, sizeof path, "%s/f/x", dir);
        ck_assert_int_eq(mkdir_open(path, 0700), -ENOTDIR);
        ck_assert_int_eq(mkdir_open("", 0700), -ENOENT);
}
END_TEST

START_TEST(remove_plain) {
        ck_assert_int_eq(remove_tree_at(dir_fd, "absent"), 0);
        ck_assert_int_eq(remove_tree_at(dir_fd, "absent/below"), 0);
        ck_assert_int_eq(file_replace_at(dir_fd, "f", "", 0, 0600), 0);
        ck_assert_int_eq(remove_tree_at(dir_fd, "f"), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        ck_assert_int_eq(remove_tree_at(dir_fd, "d"), 0);
        ck_assert_uint_eq(count_entries(dir), 0);
}
END_TEST

START_TEST(remove_does_not_follow_links) {
        ck_assert_int_eq(mkdirat(dir_fd, "keep", 0700), 0);
        ck_assert_int_eq(file_replace_at(dir_fd, "keep/f", "", 0, 0600), -ENOENT); /* one name, not a path */
        ck_assert_int_ge(openat(dir_fd, "keep/f", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        ck_assert_int_eq(symlinkat("../keep", dir_fd, "d/link"), 0);
        ck_assert_int_eq(symlinkat("keep", dir_fd, "top"), 0);
        ck_assert_int_eq(remove_tree_at(dir_fd, "d"), 0);
        ck_assert_int_eq(remove_tree_at(dir_fd, "top"), 0);
        ck_assert_int_eq(faccessat(dir_fd, "keep/f", F_OK, 0), 0);
        ck_assert_int_lt(faccessat(dir_fd, "top", F_OK, AT_SYMLINK_NOFOLLOW), 0);
}
END_TEST

/* Deeper than any path may be long, with files and names that get in the way, and only a few descriptors. */
START_TEST(remove_deep_tree) {
        struct rlimit l = { 16, 16 };
        int fd, levels = 1200;

        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        fd = openat(dir_fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_eq(mkdirat(fd, ".rm-0", 0700), 0);
        for (int i = 0; i < levels; i++) {
                int sub;

                ck_assert_int_eq(mkdirat(fd, "sub", 0700), 0);
                ck_assert_int_eq(mkdirat(fd, "empty", 0), 0);
                ck_assert_int_eq(symlinkat("/", fd, "root"), 0);
                sub = openat(fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                ck_assert_int_ge(sub, 0);
                if (i % 100 == 0)
                        ck_assert_int_eq(fchmod(sub, 0700), 0);
                (void) close(fd);
                fd = sub;
        }
        (void) close(fd);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
        ck_assert_int_eq(remove_tree_at(dir_fd, "d"), 0);
        ck_assert_uint_eq(count_entries(dir), 0);
}
END_TEST

START_TEST(remove_wide_tree) {
        char name[64];

        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        for (int i = 0; i < 300; i++) {
                (void) snprintf(name, sizeof name, "d/sub-%d", i);
                ck_assert_int_eq(mkdirat(dir_fd, name, i % 3 == 0 ? 0500 : 0700), 0);
                for (int k = 0; k < 3; k++) {
                        (void) snprintf(name, sizeof name, "d/sub-%d/%d", i, k);
                        if (i % 3 != 0 || geteuid() == 0)
                                ck_assert_int_eq(mkdirat(dir_fd, name, 0700), 0);
                        (void) snprintf(name, sizeof name, "d/sub-%d/%d/x", i, k);
                        if (i % 3 != 0 || geteuid() == 0)
                                ck_assert_int_eq(mkdirat(dir_fd, name, 0700), 0);
                }
        }
        ck_assert_int_eq(remove_tree_at(dir_fd, "d"), 0);
        ck_assert_uint_eq(count_entries(dir), 0);
}
END_TEST

/* A handler may have mounted something in its directory, of the same file system too. Where nothing may be mounted there is
 * nothing to see. */
START_TEST(remove_does_not_enter_mounts) {
        char path[128], keep[128];
        int r;

        ck_assert_int_eq(mkdirat(dir_fd, "keep", 0700), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "keep/sub", 0700), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "d", 0700), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "d/mount", 0700), 0);
        ck_assert_int_eq(mkdirat(dir_fd, "d/other", 0700), 0);
        (void) snprintf(path, sizeof path, "%s/d/mount", dir);
        (void) snprintf(keep, sizeof keep, "%s/keep", dir);
        if (mount(keep, path, NULL, MS_BIND, NULL) < 0)
                return;
        r = remove_tree_at(dir_fd, "d");
        ck_assert_int_eq(umount2(path, MNT_DETACH), 0);
        ck_assert_int_lt(r, 0);
        ck_assert_int_eq(faccessat(dir_fd, "keep/sub", F_OK, 0), 0);
        ck_assert_int_lt(faccessat(dir_fd, "d/other", F_OK, 0), 0); /* the rest is gone all the same */
}
END_TEST

/* ---- clock ---- */

START_TEST(process_times) {
        uint64_t mine = 0, again = 0;
        char id[BOOT_ID_MAX];

        ck_assert_int_eq(process_start_time(getpid(), &mine), 0);
        ck_assert_int_eq(process_start_time(getpid(), &again), 0);
        ck_assert_uint_gt(mine, 0);
        ck_assert_uint_eq(mine, again);
        ck_assert_int_eq(process_start_time(0x3FFFFFFF, &again), -ESRCH);
        ck_assert_int_eq(boot_id_read(id), 0);
        ck_assert_uint_eq(strlen(id), 36);
        ck_assert_uint_le(clock_boottime_usec(), clock_boottime_usec());
        ck_assert_uint_ne(random_u64(), random_u64());
}
END_TEST

/* ---- log ---- */

static int stderr_pipe[2];

static void log_setup(void) {
        ck_assert_int_eq(pipe2(stderr_pipe, O_CLOEXEC), 0);
        ck_assert_int_ge(dup2(stderr_pipe[1], STDERR_FILENO), 0);
        log_open("test", LOG_TARGET_STDERR);
        log_set_level(LOG_LEVEL_INFO);
}

static const char *logged(void) {
        static char text[16384];
        struct pollfd p = { .fd = stderr_pipe[0], .events = POLLIN };
        ssize_t n = poll(&p, 1, 0) == 1 ? read(stderr_pipe[0], text, sizeof text - 1) : 0;

        text[n < 0 ? 0 : n] = '\0';
        return text;
}

START_TEST(log_lines) {
        const LogField fields[] = { { "IOT_JOB_ID", "j" },        { "NOTHING", NULL }, { "SPACE", "a b" }, { "EMPTY", "" },
                                    { "QUOTE", "say \"\\\"" },    { "LF", "a\nb" },    {} };

        log_full(LOG_LEVEL_WARNING, NULL, NULL, fields, "text %d", 5);
        ck_assert_str_eq(logged(), "warning text 5 IOT_JOB_ID=j SPACE=\"a b\" EMPTY=\"\" QUOTE=\"say \\\"\\\\\\\"\" LF=\"a\\x0ab\"\n");
        log_full(LOG_LEVEL_INFO, "handler.sh", NULL, NULL, "out\x1B[2J\nput");
        ck_assert_str_eq(logged(), "info handler.sh: out\\x1b[2J\\x0aput\n");
        log_debug("not now");
        ck_assert_str_eq(logged(), "");
        log_set_level(LOG_LEVEL_DEBUG);
        log_debug("now");
        ck_assert_str_eq(logged(), "debug now\n");
}
END_TEST

START_TEST(log_long_lines) {
        char text[10000];
        const char *line;

        (void) memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        const LogField fields[] = { { "A", text }, { "B", text }, {} };
        log_full(LOG_LEVEL_ERROR, NULL, NULL, fields, "%s", text);
        line = logged();
        ck_assert_uint_le(strlen(line), 4096);
        ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

/* Nobody reads: lines are lost, nothing waits. Check's time limit is the judge. */
START_TEST(log_never_blocks) {
        for (int i = 0; i < 20000; i++)
                log_info("a line that nobody reads");
        errno = EXDEV;
        log_info("errno is left alone");
        ck_assert_int_eq(errno, EXDEV);
        (void) close(STDERR_FILENO);
        log_info("and a closed one is no harm");
}
END_TEST

START_TEST(log_names) {
        static const char *const names[] = { "error", "warning", "notice", "info", "debug" };
        LogLevel level = LOG_LEVEL_ERROR;
        LogTarget target = LOG_TARGET_AUTO;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                ck_assert_int_eq(log_level_parse(names[i], &level), 0);
                ck_assert_int_eq((int) level, (int) i + 3);
                ck_assert_str_eq(log_level_name(level), names[i]);
        }
        ck_assert_int_eq(log_level_parse("loud", &level), -EINVAL);
        ck_assert_int_eq(log_target_parse("journal", &target), 0);
        ck_assert_int_eq(target, LOG_TARGET_JOURNAL);
        ck_assert_int_eq(log_target_parse("stderr", &target), 0);
        ck_assert_int_eq(log_target_parse("file", &target), -EINVAL);
}
END_TEST

static TCase *memory_cases(void) {
        TCase *c = tcase_create("memory");

        tcase_add_test(c, buf_grows);
        tcase_add_test(c, buf_empty_steal);
        tcase_add_test(c, buf_remembers_failure);
        tcase_add_test(c, error_texts);
        tcase_add_test(c, error_cuts_on_characters);
        tcase_add_test(c, process_times);
        return c;
}

static TCase *file_cases(void) {
        TCase *c = tcase_create("files");

        tcase_set_timeout(c, 120);
        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, replace_and_read);
        tcase_add_test(c, replace_replaces_a_link_not_its_target);
        tcase_add_test(c, failed_replace_leaves_the_old);
        tcase_add_test(c, replace_is_durable);
        tcase_add_test(c, read_refusals);
        tcase_add_test(c, read_proc);
        tcase_add_test(c, make_directories);
        tcase_add_test(c, remove_plain);
        tcase_add_test(c, remove_does_not_follow_links);
        tcase_add_test(c, remove_deep_tree);
        tcase_add_test(c, remove_wide_tree);
        tcase_add_test(c, remove_does_not_enter_mounts);
        return c;
}

static TCase *log_cases(void) {
        TCase *c = tcase_create("log");

        tcase_set_timeout(c, 60);
        tcase_add_checked_fixture(c, log_setup, NULL);
        tcase_add_test(c, log_lines);
        tcase_add_test(c, log_long_lines);
        tcase_add_test(c, log_never_blocks);
        tcase_add_test(c, log_names);
        return c;
}

UNIT_MAIN("base", memory_cases(), file_cases(), log_cases())
