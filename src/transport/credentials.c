/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fileio.h"

#define ENV_KEY_ID      "AWS_ACCESS_KEY_ID"
#define ENV_SECRET      "AWS_SECRET_ACCESS_KEY"
#define ENV_TOKEN       "AWS_SESSION_TOKEN"
#define ENV_FILE        "AWS_SHARED_CREDENTIALS_FILE"
#define ENV_PROFILE     "AWS_PROFILE"
#define KEY_ID          "aws_access_key_id"
#define SECRET          "aws_secret_access_key"
#define TOKEN           "aws_session_token"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

enum { PATH_TEXT_MAX = 4096, VALUE_MAX = 8192 };

static void wipe(char **text) {
        if (*text)
                explicit_bzero(*text, strlen(*text));
        free(*text);
        *text = NULL;
}

void credentials_done(Credentials *c) {
        wipe(&c->access_key_id);
        wipe(&c->secret_access_key);
        wipe(&c->session_token);
}

/* ---- the file's text ---- */

typedef struct Line {
        const char *at;
        size_t len;
} Line;

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r';
}

static Line trim(Line l) {
        while (l.len > 0 && is_blank(l.at[0])) {
                l.at++;
                l.len--;
        }
        while (l.len > 0 && is_blank(l.at[l.len - 1]))
                l.len--;
        return l;
}

static bool line_is(Line l, const char *text) {
        return l.len == strlen(text) && strncasecmp(l.at, text, l.len) == 0;
}

/* What has been found in the wanted profile. */
typedef struct Profile {
        bool found;
        Line key_id, secret, token, other; /* in the text; other: a way that is not taken here */
} Profile;

static void take_pair(Profile *p, Line key, Line value) {
        if (line_is(key, KEY_ID))
                p->key_id = value;
        else if (line_is(key, SECRET))
                p->secret = value;
        else if (line_is(key, TOKEN) || line_is(key, "aws_security_token"))
                p->token = value;
        else if (line_is(key, "credential_process") || line_is(key, "role_arn") || line_is(key, "sso_session") ||
                 line_is(key, "sso_account_id"))
                p->other = key;
}

/* One line. `inside`: of the wanted profile. false: damaged. */
static bool take_line(Line raw, const char *profile, bool *inside, Profile *p) {
        Line line = trim(raw);
        const char *equals;

        if (line.len == 0 || line.at[0] == '#' || line.at[0] == ';')
                return true;
        if (line.at[0] == '[' && line.at == raw.at) {
                if (line.at[line.len - 1] != ']')
                        return false;
                line = trim((Line){ line.at + 1, line.len - 2 });
                *inside = line.len == strlen(profile) && memcmp(line.at, profile, line.len) == 0;
                p->found = p->found || *inside;
                return true;
        }
        if (line.at != raw.at)
                return true; /* indented: belongs to the value above, none of ours */
        equals = memchr(line.at, '=', line.len);
        if (!equals || equals == line.at)
                return false;
        if (*inside)
                take_pair(p, trim((Line){ line.at, (size_t) (equals - line.at) }),
                          trim((Line){ equals + 1, line.len - (size_t) (equals - line.at) - 1 }));
        return true;
}

static int find_profile(const char *file, const char *text, size_t len, const char *profile, Profile *p, Error *e) {
        const char *end = text + len;
        bool inside = false;

        for (size_t number = 1; text < end; number++) {
                const char *lf = memchr(text, '\n', (size_t) (end - text));
                const char *stop = lf ? lf : end;

                if (!take_line((Line){ text, (size_t) (stop - text) }, profile, &inside, p))
                        return error_set(e, EBADMSG, "%s: line %zu: neither [profile] nor key = value", file, number);
                text = lf ? lf + 1 : end;
        }
        return 0;
}

static int copy_value(const char *file, const char *profile, const char *key, Line value, char **ret, Error *e) {
        if (value.len == 0)
                return error_set(e, EBADMSG, "%s: profile %s: %s is missing or empty", file, profile, key);
        if (value.len > VALUE_MAX)
                return error_set(e, EBADMSG, "%s: profile %s: %s is longer than %d bytes", file, profile, key,
                                 VALUE_MAX);
        for (size_t i = 0; i < value.len; i++)
                if (value.at[i] <= ' ' || value.at[i] > '~')
                        return error_set(e, EBADMSG,
                                         "%s: profile %s: %s has a blank, a control or a non-ASCII character", file,
                                         profile, key);
        *ret = strndup(value.at, value.len);
        return *ret ? 0 : error_errno(e, ENOMEM, "credentials");
}

int credentials_parse(const char *file, const char *text, size_t len, const char *profile, Credentials *ret, Error *e) {
        size_t mark = strlen(BYTE_ORDER_MARK);
        Credentials c CLEANUP_CREDENTIALS = { 0 };
        Profile p = { 0 };
        int r;

        if (len >= mark && memcmp(text, BYTE_ORDER_MARK, mark) == 0) {
                text += mark;
                len -= mark;
        }
        r = find_profile(file, text, len, profile, &p, e);
        if (r < 0)
                return r;
        if (!p.found)
                return error_set(e, ENOENT, "%s: has no profile [%s]", file, profile);
        if (p.key_id.len == 0 && p.other.len > 0)
                return error_set(e, EBADMSG, "%s: profile %s: %.*s is not supported, only " KEY_ID " and " SECRET, file,
                                 profile, (int) p.other.len, p.other.at);
        r = copy_value(file, profile, KEY_ID, p.key_id, &c.access_key_id, e);
        if (r == 0)
                r = copy_value(file, profile, SECRET, p.secret, &c.secret_access_key, e);
        if (r == 0 && p.token.len > 0)
                r = copy_value(file, profile, TOKEN, p.token, &c.session_token, e);
        if (r == 0) {
                *ret = c;
                c = (Credentials){ 0 };
        }
        return r;
}

/* ---- where they are ---- */

/* NULL where it is not set, or empty. */
static const char *environment(const char *name) {
        const char *value = getenv(name);

        return value && value[0] != '\0' ? value : NULL;
}

static int copy_three(const char *key_id, const char *secret, const char *token, Credentials *ret, Error *e) {
        Credentials c CLEANUP_CREDENTIALS = { .access_key_id = strdup(key_id), .secret_access_key = strdup(secret) };

        if (token)
                c.session_token = strdup(token);
        if (!c.access_key_id || !c.secret_access_key || (token && !c.session_token))
                return error_errno(e, ENOMEM, "credentials");
        *ret = c;
        c = (Credentials){ 0 };
        return 0;
}

static int read_file(const char *path, char **ret, size_t *ret_len, Error *e) {
        /* Without waiting, so that a FIFO cannot hold the thread up. */
        int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(e, errno, "credentials file %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set(e, EINVAL, "credentials file %s: not a regular file", path);
        r = file_read_fd(fd, CREDENTIALS_FILE_MAX, ret, ret_len);
        if (r == -EFBIG)
                return error_set(e, EFBIG, "credentials file %s: larger than %d bytes", path, CREDENTIALS_FILE_MAX);
        return r < 0 ? error_errno(e, -r, "credentials file %s", path) : 0;
}

/* The file's name; false: neither set nor a home to look in. */
static bool find_file(const Settings *s, char *ret, size_t size) {
        const char *file = s->aws_credentials_file ? s->aws_credentials_file : environment(ENV_FILE);
        const char *home = environment("HOME");
        int n;

        if (!file && !home)
                return false;
        n = file ? snprintf(ret, size, "%s", file) : snprintf(ret, size, "%s/.aws/credentials", home);
        return n > 0 && (size_t) n < size;
}

static int from_file(const Settings *s, Credentials *ret, Error *e) {
        const char *profile = s->aws_profile ? s->aws_profile : environment(ENV_PROFILE);
        bool asked_for = s->aws_credentials_file || environment(ENV_FILE) || profile;
        char path[PATH_TEXT_MAX], name[PATH_TEXT_MAX + 32];
        char *text = NULL;
        size_t len = 0;
        int r;

        if (!find_file(s, path, sizeof path))
                return error_set(e, ENOENT,
                                 "no IAM credentials to sign with: set " ENV_KEY_ID " and " ENV_SECRET
                                 " or a credentials file");
        r = read_file(path, &text, &len, e);
        if (r == -ENOENT && !asked_for)
                return error_set(e, ENOENT,
                                 "no IAM credentials to sign with: neither " ENV_KEY_ID " and " ENV_SECRET
                                 " in the environment nor a file %s",
                                 path);
        if (r < 0)
                return r;
        (void) snprintf(name, sizeof name, "credentials file %s", path);
        r = credentials_parse(name, text, len, profile ? profile : "default", ret, e);
        explicit_bzero(text, len);
        free(text);
        return r;
}

int credentials_find(const Settings *s, Credentials *ret, Error *e) {
        const char *key_id = environment(ENV_KEY_ID), *secret = environment(ENV_SECRET);

        if (s->access_key_id)
                return copy_three(s->access_key_id, s->secret_access_key ? s->secret_access_key : "", s->session_token,
                                  ret, e);
        if (key_id && secret)
                return copy_three(key_id, secret, environment(ENV_TOKEN), ret, e);
        if (key_id || secret)
                return error_set(e, EINVAL, "%s is set in the environment, but %s is not",
                                 key_id ? ENV_KEY_ID : ENV_SECRET, key_id ? ENV_SECRET : ENV_KEY_ID);
        return from_file(s, ret, e);
}
