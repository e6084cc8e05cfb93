/* SPDX-License-Identifier: Apache-2.0 */
/* How the runner asks iot-jobs-verify, and what it believes. The answers are those of verify-stub.c; the real program: test-verify.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fileio.h"
#include "runner/user.h"
#include "runner/verify.h"
#include "unit.h"

static char keys[64];

static void setup(void) {
        unit_directory(keys, sizeof keys, "test-signed");
}

static void teardown(void) {
        ck_assert_int_eq(remove_tree_at(AT_FDCWD, keys), 0);
        ck_assert_msg(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "a child was not waited for");
}

static char *payload;
static size_t payload_len;
static JwsFault fault;
static Error error;

static int ask(const char *thing, VerifyRequest q) {
        q.jws = "a.b.c";
        q.thing = thing;
        q.job = "the-job";
        q.keys = keys;
        q.uid = geteuid();
        free(payload);
        payload = NULL;
        fault = (JwsFault){};
        error = (Error){};
        return verify_document(&q, &payload, &payload_len, &fault, &error);
}

START_TEST(it_may_do_little) {
        unsigned uid, gid;
        int groups, nnp, core, file, open_files, fds, words, at = 0;

        ck_assert_msg(ask("confess", (VerifyRequest){}) == 0, "%s", error.text);
        ck_assert_int_eq(sscanf(payload, "%u %u %d %d %d %d %d %d %n", &uid, &gid, &groups, &nnp, &core, &file, &open_files, &fds, &at), 8);
        ck_assert_uint_eq(strlen(payload), payload_len);
        ck_assert_int_eq(nnp, 1);
        ck_assert_int_eq(core + file, 0);
        ck_assert_int_eq(open_files, 32);
        ck_assert_int_eq(fds, 4);
        ck_assert_int_eq(sscanf(payload + at, "a.b.c the-job %u %d", &uid, &words), 2);
        ck_assert_uint_eq(uid, geteuid());
        ck_assert_int_eq(words, 9);
        if (geteuid() != 0)
                return;
        ck_assert_int_eq(sscanf(payload, "%u", &uid), 1);
        ck_assert_msg(uid >= 61184 && uid <= 65519 && !user_exists(uid), "user %u", uid);
        ck_assert_uint_eq(gid, uid);
        ck_assert_int_eq(groups, 0);
}
END_TEST

START_TEST(wishes_are_passed_on) {
        ck_assert_int_eq(ask("confess", (VerifyRequest){ .required = true }), 0);
        ck_assert_str_eq(strrchr(payload, ' '), " 10");
        ck_assert_int_eq(ask("confess", (VerifyRequest){ .accepted = true }), 0);
        ck_assert_str_eq(strrchr(payload, ' '), " 10");
        ck_assert_int_eq(ask("confess", (VerifyRequest){ .required = true, .accepted = true }), 0);
        ck_assert_str_eq(strrchr(payload, ' '), " 11");
}
END_TEST

START_TEST(refusal) {
        ck_assert_int_eq(ask("refused", (VerifyRequest){}), -EINVAL);
        ck_assert_str_eq(fault.path, "jws.signature");
        ck_assert_str_eq(fault.reason, "wrong");
}
END_TEST

/* None of these verified anything, and none of them is the document's fault. */
static const struct {
        const char *thing, *said;
} broken[] = {
        { "flood", "asking iot-jobs-verify" },    { "crash", "did not answer (exit code -1)" },
        { "liar", "did not answer (exit code 1)" }, { "short", "did not answer (exit code 0)" },
        { "silent", "did not answer (exit code 0)" }, { "dead", "did not answer (exit code 1)" },
        { "unable", "cannot be checked now: no memory" },
};

START_TEST(no_answer) {
        int r = ask(broken[_i].thing, (VerifyRequest){});

        ck_assert_msg(r < 0 && r != -EINVAL, "%s: %d", broken[_i].thing, r);
        ck_assert_ptr_null(payload);
        ck_assert_msg(strstr(error.text, broken[_i].said) != NULL, "%s", error.text);
}
END_TEST

START_TEST(it_is_not_waited_for_for_ever) {
        ck_assert_int_eq(ask("hang", (VerifyRequest){}), -ETIMEDOUT);
        ck_assert_ptr_null(payload);
}
END_TEST

START_TEST(directory_of_keys) {
        ck_assert_int_eq(chmod(keys, 0777), 0);
        ck_assert_int_eq(ask("confess", (VerifyRequest){}), -EINVAL);
        ck_assert_str_eq(fault.path, "jws");
        ck_assert_msg(strstr(fault.reason, "policy.trusted_keys: directory ") && strstr(fault.reason, "writable by others"), "%s",
                      fault.reason);
        ck_assert_int_eq(chmod(keys, 0700), 0);
}
END_TEST

static TCase *cases(void) {
        TCase *c = tcase_create("signed");

        tcase_add_checked_fixture(c, setup, teardown);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, it_may_do_little);
        tcase_add_test(c, wishes_are_passed_on);
        tcase_add_test(c, refusal);
        tcase_add_loop_test(c, no_answer, 0, (int) ELEMENTSOF(broken));
        tcase_add_test(c, it_is_not_waited_for_for_ever);
        tcase_add_test(c, directory_of_keys);
        return c;
}

UNIT_MAIN("signed", cases())
