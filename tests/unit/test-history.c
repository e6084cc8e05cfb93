/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator asks of the state directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"
#include "base/log.h"
#include "record/record.h"
#include "record/tombstone.h"
#include "unit.h"

static char directory[128];
static RecordStore *store;

static void set_up(void) {
        Error e = {};

        unit_directory(directory, sizeof directory, "history");
        ck_assert_msg(record_store_open(directory, &store, &e) == 0, "%s", e.text);
}

static void tear_down(void) {
        store = record_store_free(store);
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, directory), 0);
}

static const char *path_of(const char *name) {
        static char path[256];

        (void) snprintf(path, sizeof path, "%s/%s", directory, name);
        return path;
}

static JobKey key_of(const char *thing, int n) {
        JobKey k = { .number = 1, .queued_at = 1700000000 + n };

        (void) snprintf(k.thing, sizeof k.thing, "%s", thing);
        (void) snprintf(k.job_id, sizeof k.job_id, "job-%d", n);
        return k;
}

static void bury(const char *thing, int n) {
        ProtoDetails d CLEANUP_DETAILS = {};
        JobKey k = key_of(thing, n);
        Error e = {};

        ck_assert_int_eq(proto_details_set(&d, "reason", "because"), 0);
        ck_assert_int_eq(proto_details_set(&d, "stdout", "much"), 0);
        ck_assert_msg(record_tombstone_add(store, &k, n % 2 ? PROTO_STATUS_FAILED : PROTO_STATUS_SUCCEEDED, &d, &e) == 0, "%s", e.text);
}

START_TEST(nothing_has_ended) {
        WireEnd *ends = NULL;
        size_t n = 1;
        Error e = {};

        ck_assert_int_eq(record_history(store, "t", 10, &ends, &n, &e), 0);
        ck_assert_uint_eq(n, 0);
        ck_assert_ptr_null(ends);
}
END_TEST

/* Oldest first; of this thing only; of so many the newest. */
START_TEST(the_newest_of_a_thing) {
        static const struct {
                size_t asked, got;
        } cases[] = { { 1000, 200 }, { 200, 200 }, { 199, 199 }, { 65, 65 }, { 64, 64 }, { 1, 1 }, { 0, 1 } };
        Error e = {};

        for (int i = 0; i < 200; i++) {
                bury("t", i);
                bury("other", i);
        }
        for (size_t c = 0; c < ELEMENTSOF(cases); c++) {
                WireEnd *ends = NULL;
                size_t n = 0;

                ck_assert_int_eq(record_history(store, "t", cases[c].asked, &ends, &n, &e), 0);
                ck_assert_uint_eq(n, cases[c].got);
                for (size_t i = 0; i < n; i++) {
                        JobKey k = key_of("t", 200 - (int) n + (int) i);

                        ck_assert(job_key_equal(&ends[i].key, &k));
                        ck_assert_int_eq(ends[i].status, k.queued_at % 2 ? PROTO_STATUS_FAILED : PROTO_STATUS_SUCCEEDED);
                        ck_assert_int_gt(ends[i].at, 1600000000);
                        ck_assert_str_eq(proto_details_get(&ends[i].details, "reason"), "because");
                        ck_assert_ptr_null(proto_details_get(&ends[i].details, "stdout"));
                }
                wire_ends_free(ends, n);
        }
}
END_TEST

START_TEST(damaged_lines_are_left_out) {
        WireEnd *ends = NULL;
        char *data = NULL;
        size_t n = 0, len = 0;
        Error e = {};

        for (int i = 0; i < 3; i++)
                bury("t", i);
        ck_assert_int_eq(file_read_at(AT_FDCWD, path_of("tombstones"), 65536, &data, &len), 0);
        *((char *) memchr(data, '\n', len) + 20) ^= 1; /* in the second line */
        ck_assert_int_eq(file_replace_at(record_store_fd(store), "tombstones", data, len, 0600), 0);
        free(data);
        ck_assert_int_eq(record_history(store, "t", 10, &ends, &n, &e), 0);
        ck_assert_uint_eq(n, 2);
        ck_assert_str_eq(ends[0].key.job_id, "job-0");
        ck_assert_str_eq(ends[1].key.job_id, "job-2");
        wire_ends_free(ends, n);
}
END_TEST

START_TEST(what_cannot_be_read_is_said) {
        WireEnd *ends = NULL;
        size_t n = 0;
        Error e = {};

        ck_assert_int_eq(mkdir(path_of("tombstones"), 0700), 0);
        ck_assert_int_lt(record_history(store, "t", 10, &ends, &n, &e), 0);
        ck_assert_ptr_nonnull(strstr(e.text, path_of("tombstones")));
}
END_TEST

/* ---- pause ---- */

START_TEST(a_pause_is_of_one_thing_and_stays) {
        int64_t since = -1, again = -1;
        Error e = {};

        ck_assert_int_eq(record_paused(store, "t:1", &since, &e), 0);
        ck_assert_int_eq(since, 0);
        ck_assert_int_eq(record_pause(store, "t:1", true, &since, &e), 0);
        ck_assert_int_gt(since, 1600000000);
        store = record_store_free(store);
        ck_assert_int_eq(record_store_open(directory, &store, &e), 0);
        ck_assert_int_eq(record_paused(store, "t:1", &again, &e), 0);
        ck_assert_int_eq(again, since);
        ck_assert_int_eq(record_pause(store, "t:1", true, &again, &e), 0); /* twice is once */
        ck_assert_int_eq(again, since);
        ck_assert_int_eq(record_paused(store, "t", &again, &e), 0);
        ck_assert_int_eq(again, 0);
        ck_assert_int_eq(record_pause(store, "t:1", false, &since, &e), 0);
        ck_assert_int_eq(since, 0);
        ck_assert_int_eq(record_pause(store, "t:1", false, &since, &e), 0);
        ck_assert_int_eq(record_paused(store, "t:1", &since, &e), 0);
        ck_assert_int_eq(since, 0);
}
END_TEST

/* That there is a mark is what counts. */
START_TEST(a_mark_of_garbage_is_a_pause) {
        static const char *const content[] = { "", "x", "-5", "0", "99999999999999999999999999999999999999999999999999" };

        for (size_t i = 0; i < ELEMENTSOF(content); i++) {
                int64_t since = 0;
                Error e = {};

                ck_assert_int_eq(file_replace_at(record_store_fd(store), "paused-t", content[i], strlen(content[i]), 0600), 0);
                ck_assert_msg(record_paused(store, "t", &since, &e) == 0, "%s", e.text);
                ck_assert_int_ge(since, 1);
                ck_assert_int_eq(record_pause(store, "t", false, &since, &e), 0);
                ck_assert_int_lt(access(path_of("paused-t"), F_OK), 0);
        }
}
END_TEST

START_TEST(a_mark_that_cannot_be_read_is_no_resume) {
        int64_t since = -1;
        Error e = {};

        ck_assert_int_eq(mkdir(path_of("paused-t"), 0700), 0);
        ck_assert_int_lt(record_paused(store, "t", &since, &e), 0);
        ck_assert_int_eq(since, -1);
        ck_assert_ptr_nonnull(strstr(e.text, "paused-t"));
        ck_assert_int_lt(record_pause(store, "t", true, &since, &e), 0);
}
END_TEST

START_TEST(records_that_are_there) {
        int runs CLEANUP_FD = open(path_of("runs"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        JobKey k = key_of("t", 1);

        ck_assert(!record_exists(store, &k));
        ck_assert_int_eq(file_replace_at(runs, "t.job-1.1.1700000001.record", "x", 1, 0600), 0);
        ck_assert(record_exists(store, &k));
        k.number = 2;
        ck_assert(!record_exists(store, &k));
}
END_TEST

static TCase *cases(void) {
        TCase *t = tcase_create("history");

        log_open("test-history", LOG_TARGET_STDERR);
        tcase_add_checked_fixture(t, set_up, tear_down);
        tcase_add_test(t, nothing_has_ended);
        tcase_add_test(t, the_newest_of_a_thing);
        tcase_add_test(t, damaged_lines_are_left_out);
        tcase_add_test(t, what_cannot_be_read_is_said);
        tcase_add_test(t, a_pause_is_of_one_thing_and_stays);
        tcase_add_test(t, a_mark_of_garbage_is_a_pause);
        tcase_add_test(t, a_mark_that_cannot_be_read_is_no_resume);
        tcase_add_test(t, records_that_are_there);
        return t;
}

UNIT_MAIN("history", cases())
