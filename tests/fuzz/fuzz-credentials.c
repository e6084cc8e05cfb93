/* SPDX-License-Identifier: Apache-2.0 */
/* A credentials file. The first byte chooses what the environment and the settings say; the first line behind it is the
 * profile's name, the rest the file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fileio.h"
#include "transport/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PROFILE_MAX = 64, CHOICE_ID = 1, CHOICE_SECRET = 2, CHOICE_GIVEN = 4, CHOICE_NO_FILE = 8, CHOICE_BAD_FILE = 16 };

static void must(bool good) {
        if (!good)
                abort();
}

static void must_be_token(const char *text) {
        must(text && *text);
        for (; *text; text++)
                must(*text > ' ' && *text <= '~');
}

static void set(const char *name, const char *value) {
        must((value ? setenv(name, value, 1) : unsetenv(name)) == 0);
}

static void parse(const char *text, size_t len, const char *profile) {
        Credentials c CLEANUP_CREDENTIALS = { 0 };
        Error e = { 0 };

        if (credentials_parse("file", text, len, profile, &c, &e) < 0) {
                must(e.text[0] != '\0' && !c.access_key_id && !c.secret_access_key && !c.session_token);
                return;
        }
        must_be_token(c.access_key_id);
        must_be_token(c.secret_access_key);
        if (c.session_token)
                must_be_token(c.session_token);
}

static void find(const char *text, size_t len, char *profile, unsigned choice) {
        Credentials c CLEANUP_CREDENTIALS = { 0 };
        char path[64], absent[] = "/nowhere/credentials", directory[] = "/", key[] = "key";
        int fd CLEANUP_FD = memfd_create("credentials", MFD_CLOEXEC);
        Settings s = { .aws_credentials_file = path };
        Error e = { 0 };

        must(fd >= 0 && write_all(fd, text, len) == 0);
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        set("AWS_ACCESS_KEY_ID", choice & CHOICE_ID ? "id" : NULL);
        set("AWS_SECRET_ACCESS_KEY", choice & CHOICE_SECRET ? "secret" : NULL);
        set("AWS_SESSION_TOKEN", choice & CHOICE_GIVEN ? "token" : NULL);
        set("AWS_PROFILE", NULL);
        set("AWS_SHARED_CREDENTIALS_FILE", NULL);
        set("HOME", choice & CHOICE_BAD_FILE ? NULL : "/nowhere");
        s.aws_profile = profile[0] ? profile : NULL;
        if (choice & CHOICE_NO_FILE)
                s.aws_credentials_file = s.aws_profile = NULL;
        else if (choice & CHOICE_BAD_FILE)
                s.aws_credentials_file = choice & CHOICE_ID ? absent : directory;
        if (choice & CHOICE_GIVEN && !(choice & CHOICE_ID))
                s.access_key_id = s.secret_access_key = key;
        must(credentials_find(&s, &c, &e) == 0 ? c.access_key_id && c.secret_access_key : e.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const uint8_t *lf = size > 0 ? memchr(data, '\n', size) : NULL;
        char profile[PROFILE_MAX] = "";
        size_t head;

        if (!lf)
                return 0;
        head = (size_t) (lf - data) + 1;
        if (head > 2)
                (void) snprintf(profile, sizeof profile, "%.*s", (int) MIN_OF(head - 2, sizeof profile - 1),
                                (const char *) data + 1);
        parse((const char *) data + head, size - head, profile[0] ? profile : "default");
        find((const char *) data + head, size - head, profile, data[0]);
        return 0;
}
