/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a handler: what stands on it, and who could put something else there. The files themselves: test-runner.c. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fileio.h"
#include "runner/trust.h"
#include "unit.h"

static char dir[64];

static const char *path_of(const char *below) {
        static char paths[4][256];
        static unsigned turn;
        char *path = paths[turn++ % ELEMENTSOF(paths)];

        (void) snprintf(path, sizeof paths[0], "%s/%s", dir, below);
        return path;
}

static void make_directory(const char *below, mode_t mode) {
        ck_assert_int_eq(mkdir(path_of(below), 0700), 0);
        ck_assert_int_eq(chmod(path_of(below), mode), 0);
}

/* DIR/way/handlers/do.sh, and DIR/other with a link to each of them. */
static void setup(void) {
        int fd;

        unit_directory(dir, sizeof dir, "test-trust");
        make_directory("way", 0755);
        make_directory("way/handlers", 0755);
        make_directory("other", 0755);
        fd = open(path_of("way/handlers/do.sh"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        ck_assert_int_ge(fd, 0);
        (void) close(fd);
        ck_assert_int_eq(symlink("../way", path_of("other/relative")), 0);
        ck_assert_int_eq(symlink(path_of("way/handlers"), path_of("other/absolute")), 0);
        ck_assert_int_eq(symlink("loop", path_of("other/loop")), 0);
}

static void teardown(void) {
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, dir), 0);
}

/* The way `below` leads to DIR/way/handlers/do.sh ("" as reason), or is refused with that reason. */
static void expect_way(const char *below, int code, const char *reason) {
        const char *const directories[] = { path_of(below), NULL };
        char *found CLEANUP_FREE = NULL;
        Error e = {};
        int r = trust_find_handler(directories, "do", true, geteuid(), &found, &e);

        ck_assert_msg(r == code, "%s: %d %s", below, r, e.text);
        if (r == 0)
                ck_assert_str_eq(found, path_of("way/handlers/do.sh"));
        else
                ck_assert_msg(strstr(e.text, reason) != NULL, "%s: %s", below, e.text);
}

START_TEST(ways_that_lead_there) {
        static const char *const ways[] = {
                "way/handlers",  "way/handlers/",       "way//handlers",           "way/./handlers", "other/../way/handlers",
                "other/absolute", "other/relative/handlers", "other/relative/../way/handlers", "way/handlers/.",
        };

        for (size_t i = 0; i < ELEMENTSOF(ways); i++)
                expect_way(ways[i], 0, "");
}
END_TEST

START_TEST(ways_that_lead_nowhere) {
        expect_way("way/none", -ENOENT, "missing: no do or do.sh in");
        expect_way("way/none/../handlers", -ENOENT, "missing: no do or do.sh in");
        expect_way("other/loop", -ELOOP, "other/loop");
        expect_way("way/handlers/do.sh", -ENOTDIR, "way/handlers/do.sh");
        expect_way("way/handlers/do.sh/deeper", -ENOTDIR, "way/handlers/do.sh");
}
END_TEST

/* Whoever may write to a directory of the way may put another way in its place. */
START_TEST(every_directory_counts) {
        static const struct {
                const char *loose;
                mode_t mode;
                const char *way;
                bool good;
        } rows[] = {
                { "way/handlers", 0775, "way/handlers", false },
                { "way/handlers", 0757, "way/handlers", false },
                { "way/handlers", 01777, "way/handlers", false },
                { "way", 0775, "way/handlers", false },
                { "way", 0757, "other/absolute", false },
                { "way", 0757, "other/relative/handlers", false },
                { "way", 0757, "other/../way/handlers", false },
                { "way", 01777, "way/handlers", true }, /* sticky: what is in it and ours stays */
                { "way", 01777, "other/absolute", true },
                { "other", 0757, "way/handlers", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ck_assert_int_eq(chmod(path_of(rows[i].loose), rows[i].mode), 0);
                expect_way(rows[i].way, rows[i].good ? 0 : -EPERM, path_of(rows[i].loose));
                ck_assert_int_eq(chmod(path_of(rows[i].loose), 0755), 0);
        }
}
END_TEST

START_TEST(every_owner_counts) {
        static const char *const owned[] = { "way", "way/handlers" };

        if (geteuid() != 0)
                UNIT_SKIP("only root can give files away");
        for (size_t i = 0; i < ELEMENTSOF(owned); i++) {
                ck_assert_int_eq(chown(path_of(owned[i]), 12345, 0), 0);
                expect_way("way/handlers", -EPERM, "belongs to user 12345");
                expect_way("other/absolute", -EPERM, "belongs to user 12345");
                ck_assert_int_eq(chown(path_of(owned[i]), 0, 0), 0);
        }
        expect_way("way/handlers", 0, "");
}
END_TEST

/* The first directory that has the name decides; one that is not there is passed over. */
START_TEST(order_of_directories) {
        const char *const directories[] = { path_of("none"), path_of("other"), path_of("way/handlers"), NULL };
        char *found CLEANUP_FREE = NULL;
        Error e = {};

        ck_assert_int_eq(trust_find_handler(directories, "do", true, geteuid(), &found, &e), 0);
        ck_assert_str_eq(found, path_of("way/handlers/do.sh"));
        ck_assert_int_eq(mkdir(path_of("other/do.sh"), 0755), 0);
        free(TAKE(found));
        ck_assert_int_eq(trust_find_handler(directories, "do", true, geteuid(), &found, &e), -EISDIR);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("trust");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_add_test(c, ways_that_lead_there);
        tcase_add_test(c, ways_that_lead_nowhere);
        tcase_add_test(c, every_directory_counts);
        tcase_add_test(c, every_owner_counts);
        tcase_add_test(c, order_of_directories);
        return c;
}

UNIT_MAIN("trust", cases())
