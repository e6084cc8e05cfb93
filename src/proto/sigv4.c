/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sigv4.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ALGORITHM       "AWS4-HMAC-SHA256"
#define TERMINATOR      "aws4_request"
#define DEFAULT_PATH    "/mqtt"
#define DEFAULT_SERVICE "iotdevicegateway"
#define EMPTY_PAYLOAD   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum {
        DAY_TEXT_MAX = 9,   /* 20200102 */
        TIME_TEXT_MAX = 17, /* 20200102T030405Z */
        HEX_MAX = SIGV4_DIGEST_SIZE * 2 + 1,
        SCOPE_MAX = 160, /* day/region/service/aws4_request */
        SERVICE_MAX = 64,
        SECONDS_PER_DAY = 86400,
        DAYS_PER_ERA = 146097,     /* of 400 years */
        DAYS_BEFORE_1970 = 719468, /* from March 1 of the year 0 */
};
#define TIME_MAX INT64_C(253402300799) /* the last second of the year 9999 */

/* What one signature is made of, besides the request. */
typedef struct Scope {
        char host[SIGV4_HOST_MAX + 3]; /* lower case, an IPv6 address in brackets */
        char region[SIGV4_REGION_MAX];
        const char *service, *path;
        char day[DAY_TEXT_MAX], time[TIME_TEXT_MAX];
        char text[SCOPE_MAX];
} Scope;

/* ---- characters: ASCII, whatever the locale ---- */

static bool is_lower(char c) {
        return c >= 'a' && c <= 'z';
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static char to_lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool is_unreserved(char c) {
        return is_lower(to_lower(c)) || is_digit(c) || (c != '\0' && strchr("-._~", c));
}

static bool is_printable(const char *text) {
        for (; *text; text++)
                if (*text <= ' ' || *text > '~')
                        return false;
        return true;
}

static void put_encoded(Buf *b, const char *text) {
        for (; *text; text++) {
                if (is_unreserved(*text))
                        buf_append(b, text, 1);
                else
                        buf_printf(b, "%%%02X", (unsigned) (unsigned char) *text);
        }
}

static void to_hex(const unsigned char digest[static SIGV4_DIGEST_SIZE], char ret[static HEX_MAX]) {
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < SIGV4_DIGEST_SIZE; i++) {
                ret[2 * i] = digits[digest[i] >> 4];
                ret[2 * i + 1] = digits[digest[i] & 15];
        }
        ret[HEX_MAX - 1] = '\0';
}

/* ---- region ---- */

/* "us-gov-west-1": words of letters, then a number. */
static bool is_region(const char *text, size_t len) {
        size_t words = 0, at = 0;

        if (len >= SIGV4_REGION_MAX)
                return false;
        for (;;) {
                size_t start = at;

                while (at < len && is_lower(to_lower(text[at])))
                        at++;
                if (at == start || at == len || text[at] != '-')
                        break;
                words++;
                at++;
        }
        if (words < 2 || at == len || !is_digit(text[at]))
                return false;
        while (at < len && is_digit(text[at]))
                at++;
        return at == len;
}

static bool same(const char *a, size_t len, const char *b) {
        return strlen(b) == len && strncasecmp(a, b, len) == 0;
}

static bool is_domain(const char *text) {
        static const char *const known[] = {
                "amazonaws.com",         "amazonaws.com.cn",  "amazonaws.eu", "vpce.amazonaws.com",
                "vpce.amazonaws.com.cn", "vpce.amazonaws.eu", "api.aws",      "api.amazonwebservices.com.cn",
                "vpce.api.aws",
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (strcasecmp(text, known[i]) == 0)
                        return true;
        return false;
}

int sigv4_region(const char *host, char ret[static SIGV4_REGION_MAX], Error *e) {
        const char *label = host ? strchr(host, '.') : NULL; /* an endpoint has a prefix before "iot" */

        while (label) {
                const char *iot = label + 1, *region = strchr(iot, '.'),
                           *domain = region ? strchr(region + 1, '.') : NULL;

                if (!domain)
                        break;
                if ((same(iot, (size_t) (region - iot), "iot") || same(iot, (size_t) (region - iot), "iot-fips")) &&
                    label != host && is_region(region + 1, (size_t) (domain - region - 1)) && is_domain(domain + 1)) {
                        size_t len = (size_t) (domain - region - 1);

                        for (size_t i = 0; i < len; i++)
                                ret[i] = to_lower(region[1 + i]);
                        ret[len] = '\0';
                        return 0;
                }
                label = region;
        }
        return error_set(
                e, EINVAL,
                "no region in the host name \"%s\" (expected PREFIX-ats.iot.REGION.amazonaws.com): set the region",
                host ? host : "");
}

/* ---- checks ---- */

static int check_host(const char *host, char ret[static SIGV4_HOST_MAX + 3], Error *e) {
        size_t len = host ? strlen(host) : 0;
        bool address = host && strchr(host, ':');

        if (len == 0)
                return error_set(e, EINVAL, "host: missing");
        if (len > SIGV4_HOST_MAX)
                return error_set(e, EINVAL, "host: longer than %d bytes", SIGV4_HOST_MAX);
        for (size_t i = 0; i < len; i++)
                if (!is_unreserved(host[i]) && host[i] != ':')
                        return error_set(e, EINVAL, "host: has a character that no host name has");
        (void) snprintf(ret, SIGV4_HOST_MAX + 3, address ? "[%s]" : "%s", host);
        for (char *c = ret; *c; c++)
                *c = to_lower(*c);
        return 0;
}

static int check_text(const char *what, const char *text, size_t max, Error *e) {
        size_t len = text ? strnlen(text, max + 1) : 0;

        if (len == 0)
                return error_set(e, EINVAL, "%s: missing", what);
        if (len > max)
                return error_set(e, EINVAL, "%s: longer than %zu bytes", what, max);
        if (!is_printable(text))
                return error_set(e, EINVAL, "%s: has a blank, a control or a non-ASCII character", what);
        return 0;
}

/* One part of the credential scope, whose parts are parted by slashes. */
static int check_part(const char *what, const char *text, size_t max, Error *e) {
        int r = check_text(what, text, max, e);

        if (r == 0 && strchr(text, '/'))
                return error_set(e, EINVAL, "%s: has a slash", what);
        return r;
}

static int check_path(const char *path, Error *e) {
        size_t len = strnlen(path, SIGV4_PATH_MAX + 1);

        if (len > SIGV4_PATH_MAX)
                return error_set(e, EINVAL, "path: longer than %d bytes", SIGV4_PATH_MAX);
        if (path[0] != '/')
                return error_set(e, EINVAL, "path: does not begin with a slash");
        for (size_t i = 0; i < len; i++)
                if (!is_unreserved(path[i]) && path[i] != '/')
                        return error_set(e, EINVAL, "path: has a character that would need escaping");
        return 0;
}

static int check_region(const Sigv4Request *q, char ret[static SIGV4_REGION_MAX], Error *e) {
        int r;

        if (!q->region || q->region[0] == '\0')
                return sigv4_region(q->host, ret, e);
        r = check_part("region", q->region, SIGV4_REGION_MAX - 1, e);
        if (r == 0)
                (void) snprintf(ret, SIGV4_REGION_MAX, "%s", q->region);
        return r;
}

static int check_request(const Sigv4Request *q, Scope *s, Error *e) {
        int r = check_host(q->host, s->host, e);

        s->service = q->service ? q->service : DEFAULT_SERVICE;
        s->path = q->path ? q->path : DEFAULT_PATH;
        if (r == 0)
                r = check_path(s->path, e);
        if (r == 0)
                r = check_part("service", s->service, SERVICE_MAX, e);
        if (r == 0)
                r = check_part("access key id", q->access_key_id, SIGV4_KEY_ID_MAX, e);
        if (r == 0)
                r = check_text("secret access key", q->secret_access_key, SIGV4_SECRET_MAX, e);
        if (r == 0 && q->session_token && q->session_token[0] != '\0')
                r = check_text("session token", q->session_token, SIGV4_TOKEN_MAX, e);
        if (r == 0 && (q->time < 0 || q->time > TIME_MAX))
                r = error_set(e, EINVAL, "time: expected seconds since 1970, up to the year 9999");
        if (r == 0 && (q->expires < 0 || q->expires > SIGV4_EXPIRES_MAX))
                r = error_set(e, EINVAL, "expires: expected 0 to %d seconds", SIGV4_EXPIRES_MAX);
        return r == 0 ? check_region(q, s->region, e) : r;
}

/* ---- signing ---- */

/* The proleptic Gregorian calendar, counted from a March 1, so that the leap day is the last of its year. */
static void format_time(int64_t time, Scope *s) {
        int64_t days = time / SECONDS_PER_DAY + DAYS_BEFORE_1970;
        unsigned second = (unsigned) (time % SECONDS_PER_DAY);
        unsigned era = (unsigned) (days / DAYS_PER_ERA), of_era = (unsigned) (days % DAYS_PER_ERA);
        unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
        unsigned from_march = (5 * of_year + 2) / 153;
        unsigned day = of_year - (153 * from_march + 2) / 5 + 1;
        unsigned month = from_march < 10 ? from_march + 3 : from_march - 9;

        year += era * 400 + (month <= 2);
        (void) snprintf(s->day, sizeof s->day, "%04u%02u%02u", year % 10000, month % 100, day % 100);
        (void) snprintf(s->time, sizeof s->time, "%sT%02u%02u%02uZ", s->day, second / 3600 % 24, second / 60 % 60,
                        second % 60);
}

/* The query in canonical form: names in ASCII order, values escaped. */
static void put_query(const Sigv4Request *q, const Scope *s, Buf *b) {
        buf_puts(b, "X-Amz-Algorithm=" ALGORITHM "&X-Amz-Credential=");
        put_encoded(b, q->access_key_id);
        put_encoded(b, "/");
        put_encoded(b, s->text);
        buf_printf(b, "&X-Amz-Date=%s", s->time);
        if (q->expires > 0)
                buf_printf(b, "&X-Amz-Expires=%lld", (long long) q->expires);
        buf_puts(b, "&X-Amz-SignedHeaders=host");
}

static bool put_string_to_sign(const Sigv4Digests *d, const Scope *s, const Buf *query, Buf *ret) {
        Buf canonical CLEANUP_BUF = { 0 };
        unsigned char digest[SIGV4_DIGEST_SIZE];
        char hex[HEX_MAX];

        buf_printf(&canonical, "GET\n%s\n%s\nhost:%s\n\nhost\n" EMPTY_PAYLOAD, s->path, query->data, s->host);
        if (buf_error(&canonical) < 0 || !d->sha256(canonical.data, canonical.len, digest))
                return false;
        to_hex(digest, hex);
        buf_printf(ret, ALGORITHM "\n%s\n%s\n%s", s->time, s->text, hex);
        return buf_error(ret) == 0;
}

static bool sign(const Sigv4Digests *d, const Scope *s, const char *secret, const Buf *text, char ret[static HEX_MAX]) {
        const char *parts[] = { s->day, s->region, s->service, TERMINATOR };
        unsigned char key[SIGV4_DIGEST_SIZE] = { 0 }, next[SIGV4_DIGEST_SIZE];
        char first[SIGV4_SECRET_MAX + sizeof "AWS4"];
        const void *with = first;
        size_t with_len;
        bool good = true;

        with_len = (size_t) snprintf(first, sizeof first, "AWS4%s", secret);
        for (size_t i = 0; i < ELEMENTSOF(parts) && good; i++) {
                good = d->hmac_sha256(with, with_len, parts[i], strlen(parts[i]), next);
                memcpy(key, next, sizeof key);
                with = key;
                with_len = sizeof key;
        }
        good = good && d->hmac_sha256(with, with_len, text->data, text->len, next);
        if (good)
                to_hex(next, ret);
        explicit_bzero(first, sizeof first);
        explicit_bzero(key, sizeof key);
        return good;
}

int sigv4_presign(const Sigv4Request *request, const Sigv4Digests *digests, Buf *ret, Error *e) {
        Buf query CLEANUP_BUF = { 0 }, text CLEANUP_BUF = { 0 };
        Scope s = { 0 };
        char signature[HEX_MAX];
        int r = check_request(request, &s, e);

        if (r < 0)
                return r;
        format_time(request->time, &s);
        (void) snprintf(s.text, sizeof s.text, "%s/%s/%s/" TERMINATOR, s.day, s.region, s.service);
        put_query(request, &s, &query);
        if (buf_error(&query) < 0)
                return error_errno(e, ENOMEM, "signature");
        if (!put_string_to_sign(digests, &s, &query, &text) ||
            !sign(digests, &s, request->secret_access_key, &text, signature))
                return error_set(e, EIO, "the signature cannot be computed");
        buf_printf(ret, "%s?%s&X-Amz-Signature=%s", s.path, query.data, signature);
        if (request->session_token && request->session_token[0] != '\0') {
                buf_puts(ret, "&X-Amz-Security-Token=");
                put_encoded(ret, request->session_token);
        }
        return buf_error(ret) < 0 ? error_errno(e, ENOMEM, "signature") : 0;
}
