/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <sys/stat.h>

#include "transport/credentials.h"

#define GOOD "[default]\naws_access_key_id = AKID\naws_secret_access_key = s/+=\n"

static int parse(const char *text, const char *profile, Credentials *ret, Error *e) {
        return credentials_parse("the file", text, strlen(text), profile, ret, e);
}

static void assert_credentials(const Credentials *c, const char *id, const char *secret, const char *token) {
        ck_assert_str_eq(c->access_key_id, id);
        ck_assert_str_eq(c->secret_access_key, secret);
        ck_assert_int_eq(c->session_token == NULL, token == NULL);
        if (token)
                ck_assert_str_eq(c->session_token, token);
}

START_TEST(good_files) {
        static const struct {
                const char *text, *profile, *id, *secret, *token;
        } good[] = {
                { GOOD, "default", "AKID", "s/+=", NULL },
                { "\xef\xbb\xbf" GOOD, "default", "AKID", "s/+=", NULL },
                { "# c\r\n\r\n[ a "
                  "]\r\nAWS_Access_Key_Id=1\r\naws_secret_access_key=2#3\r\naws_session_token=t\r\n[b]\r\n",
                  "a", "1", "2#3", "t" },
                { "[a]\naws_access_key_id=1\n[b]\naws_access_key_id=9\n[a]\naws_secret_access_key=2\naws_security_"
                  "token=3",
                  "a", "1", "2", "3" },
                { "; c\n[a]\nregion = x\ns3 =\n  nested = y\n  [odd\naws_access_key_id=0\naws_access_key_id=1\n"
                  "aws_secret_access_key=2\naws_session_token=\n",
                  "a", "1", "2", NULL },
                { "[b]\ncredential_process = x\n[a]\naws_access_key_id=1\naws_secret_access_key=2", "a", "1", "2",
                  NULL },
                { "aws_access_key_id=0\n[my profile]\naws_access_key_id=1\naws_secret_access_key=2", "my profile", "1",
                  "2", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                Credentials c CLEANUP_CREDENTIALS = { 0 };
                Error e = { 0 };

                ck_assert_msg(parse(good[i].text, good[i].profile, &c, &e) == 0, "%zu: %s", i, e.text);
                assert_credentials(&c, good[i].id, good[i].secret, good[i].token);
        }
}
END_TEST

START_TEST(bad_files_are_named) {
        static const struct {
                const char *text;
                int r;
                const char *word;
        } bad[] = {
                { "", -ENOENT, "no profile [default]" },
                { "[Default]\n", -ENOENT, "no profile [default]" },
                { "[default]\naws_secret_access_key=S3CRET\n", -EBADMSG, "aws_access_key_id is missing" },
                { "[default]\naws_access_key_id=\n", -EBADMSG, "aws_access_key_id is missing or empty" },
                { "[default]\naws_access_key_id=a\n", -EBADMSG, "aws_secret_access_key is missing" },
                { "[default]\naws_access_key_id=a b\naws_secret_access_key=S3CRET\n", -EBADMSG,
                  "aws_access_key_id has a blank" },
                { "[default]\naws_access_key_id=a\naws_secret_access_key=S3CRET\xc3\n", -EBADMSG,
                  "aws_secret_access_key has" },
                { "[default]\ncredential_process=x\n", -EBADMSG, "credential_process is not supported" },
                { "[default]\nrole_arn=x\nsource_profile=y\n", -EBADMSG, "role_arn is not supported" },
                { "[default]\nsso_session=x\n", -EBADMSG, "sso_session is not supported" },
                { "[default]\nsso_account_id=x\n", -EBADMSG, "sso_account_id is not supported" },
                { "\n[default\n", -EBADMSG, "line 2" },
                { "[default]\njunk\n", -EBADMSG, "line 2" },
                { "[default]\n=S3CRET\n", -EBADMSG, "line 2" },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                Credentials c CLEANUP_CREDENTIALS = { 0 };
                Error e = { 0 };

                ck_assert_msg(parse(bad[i].text, "default", &c, &e) == bad[i].r, "%zu: %s", i, e.text);
                ck_assert_msg(strstr(e.text, bad[i].word) && strstr(e.text, "the file"), "%s", e.text);
                ck_assert_ptr_null(strstr(e.text, "S3CRET"));
                ck_assert_ptr_null(c.access_key_id);
        }
}
END_TEST

/* ---- where they are looked for: each test has a process of its own, so the environment may change ---- */

static char home[128];

static void set_up(void) {
        static const char *const names[] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                             "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE" };

        unit_directory(home, sizeof home, "credentials");
        (void) setenv("HOME", home, 1);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                (void) unsetenv(names[i]);
}

static void tear_down(void) {
        char command[256];

        (void) snprintf(command, sizeof command, "rm -rf '%s'", home);
        ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const char *text, char *ret, size_t size) {
        FILE *f;

        (void) snprintf(ret, size, "%s/%s", home, name);
        f = fopen(ret, "we");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(text, f), 0);
        ck_assert_int_eq(fclose(f), 0);
}

static void find(const Settings *s, const char *id) {
        Credentials c CLEANUP_CREDENTIALS = { 0 };
        Error e = { 0 };

        ck_assert_msg(credentials_find(s, &c, &e) == 0, "%s", e.text);
        ck_assert_str_eq(c.access_key_id, id);
}

static void find_none(const Settings *s, int r, const char *word) {
        Credentials c CLEANUP_CREDENTIALS = { 0 };
        Error e = { 0 };

        ck_assert_int_eq(credentials_find(s, &c, &e), r);
        ck_assert_msg(strstr(e.text, word) != NULL, "%s", e.text);
}

START_TEST(the_first_place_wins) {
        char path[256], other[256], directory[256], profile[] = "b";
        Settings s = { 0 };

        (void) snprintf(directory, sizeof directory, "%s/.aws", home);
        ck_assert_int_eq(mkdir(directory, 0700), 0);
        find_none(&s, -ENOENT, "neither AWS_ACCESS_KEY_ID");
        write_file(".aws/credentials", "[default]\naws_access_key_id=home\naws_secret_access_key=x\n", path,
                   sizeof path);
        find(&s, "home");
        write_file("other",
                   "[default]\naws_access_key_id=other\naws_secret_access_key=x\n"
                   "[b]\naws_access_key_id=other-b\naws_secret_access_key=x\n",
                   other, sizeof other);
        (void) setenv("AWS_SHARED_CREDENTIALS_FILE", other, 1);
        find(&s, "other");
        (void) setenv("AWS_PROFILE", "b", 1);
        find(&s, "other-b");
        (void) setenv("AWS_PROFILE", "c", 1);
        find_none(&s, -ENOENT, "no profile [c]");
        s.aws_profile = profile;
        find(&s, "other-b");
        s.aws_credentials_file = path;
        find_none(&s, -ENOENT, "no profile [b]");
        (void) setenv("AWS_ACCESS_KEY_ID", "environment", 1);
        find_none(&s, -EINVAL, "AWS_SECRET_ACCESS_KEY is not");
        (void) setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
        find(&s, "environment");
        (void) unsetenv("AWS_ACCESS_KEY_ID");
        find_none(&s, -EINVAL, "AWS_ACCESS_KEY_ID is not");
        s.access_key_id = s.secret_access_key = s.session_token = other;
        find(&s, other);
}
END_TEST

START_TEST(token_comes_from_the_same_place) {
        Credentials c CLEANUP_CREDENTIALS = { 0 };

        (void) setenv("AWS_ACCESS_KEY_ID", "id", 1);
        (void) setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
        (void) setenv("AWS_SESSION_TOKEN", "token", 1);
        ck_assert_int_eq(credentials_find(&(Settings){ 0 }, &c, NULL), 0);
        assert_credentials(&c, "id", "secret", "token");
        credentials_done(&c);
        ck_assert_int_eq(credentials_find(&(Settings){ .access_key_id = home, .secret_access_key = home }, &c, NULL),
                         0);
        assert_credentials(&c, home, home, NULL);
}
END_TEST

START_TEST(files_that_cannot_be_read) {
        char path[256], fifo[256];
        Settings s = { .aws_credentials_file = path };
        char *text CLEANUP_FREE = calloc(1, CREDENTIALS_FILE_MAX + 2);

        (void) snprintf(path, sizeof path, "%s/absent", home);
        find_none(&s, -ENOENT, "/absent: No such file");
        s.aws_credentials_file = home;
        find_none(&s, -EINVAL, "not a regular file");
        (void) snprintf(fifo, sizeof fifo, "%s/fifo", home);
        ck_assert_int_eq(mkfifo(fifo, 0600), 0);
        s.aws_credentials_file = fifo;
        find_none(&s, -EINVAL, "not a regular file");
        memset(text, '\n', CREDENTIALS_FILE_MAX + 1);
        write_file("large", text, path, sizeof path);
        s.aws_credentials_file = path;
        find_none(&s, -EFBIG, "larger than");
        s.aws_credentials_file = NULL;
        (void) unsetenv("HOME");
        find_none(&s, -ENOENT, "no IAM credentials");
}
END_TEST

/* A secret store hands its files out as links. */
START_TEST(a_link_will_do) {
        char path[256], link[256];
        Settings s = { .aws_credentials_file = link };

        write_file("real", GOOD, path, sizeof path);
        (void) snprintf(link, sizeof link, "%s/link", home);
        ck_assert_int_eq(symlink(path, link), 0);
        find(&s, "AKID");
}
END_TEST

static TCase *cases_text(void) {
        TCase *c = tcase_create("text");

        tcase_add_test(c, good_files);
        tcase_add_test(c, bad_files_are_named);
        return c;
}

static TCase *cases_places(void) {
        TCase *c = tcase_create("places");

        tcase_add_checked_fixture(c, set_up, tear_down);
        tcase_add_test(c, the_first_place_wins);
        tcase_add_test(c, token_comes_from_the_same_place);
        tcase_add_test(c, files_that_cannot_be_read);
        tcase_add_test(c, a_link_will_do);
        return c;
}

UNIT_MAIN("credentials", cases_text(), cases_places())
