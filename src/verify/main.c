/* SPDX-License-Identifier: Apache-2.0 */
/* iot-jobs-verify: checks the signature of one job document for the runner. How it is asked and what it answers is written in
 * jws/answer.h. Needs nothing but its descriptors and the files of the keys: it may run as anybody. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fileio.h"
#include "build-config.h"
#include "jws/answer.h"
#include "verify/confine.h"
#include "verify/verify.h"

typedef struct Options {
        const char *keys;
        int keys_fd;
        uid_t owner;
        JwsExpected expected;
} Options;

static const char usage[] = "usage: iot-jobs-verify --keys DIRECTORY | --keys-fd FD --thing NAME --job ID\n"
                            "                       [--owner UID] [--require] [--accepted] [--version] [--help]\n"
                            "Checks the compact JWS on standard input against the public keys in a directory.\n"
                            "  --keys, --keys-fd  the directory of the trusted keys\n"
                            "  --owner            who may own it and the keys, beside root (default: who runs this)\n"
                            "  --require          the claims thing and expires must be there\n"
                            "  --accepted         the document was accepted before: do not look at the time\n"
                            "Exit codes: 0 verified, 1 refused, 2 usage, 3 unable to tell.\n";

/* ---- arguments ---- */

/* Digits up to `max`; false = something else. */
static bool parse_number(const char *text, unsigned long max, unsigned long *ret) {
        size_t n = strspn(text, "0123456789");

        if (n == 0 || n > 10 || text[n])
                return false;
        *ret = strtoul(text, NULL, 10);
        return *ret <= max;
}

static bool parse_number_option(const char *name, unsigned long max, unsigned long *ret) {
        if (parse_number(optarg, max, ret))
                return true;
        (void) fprintf(stderr, "iot-jobs-verify: --%s=%s: a number from 0 to %lu expected\n", name, optarg, max);
        return false;
}

static bool check_options(const Options *o, int argc, char *const argv[]) {
        if (optind < argc)
                (void) fprintf(stderr, "iot-jobs-verify: unexpected argument \"%s\"\n", argv[optind]);
        else if ((o->keys != NULL) == (o->keys_fd >= 0))
                (void) fprintf(stderr, "iot-jobs-verify: one of --keys and --keys-fd expected\n");
        else if (!o->expected.thing || !o->expected.job)
                (void) fprintf(stderr, "iot-jobs-verify: --thing and --job expected\n");
        else
                return true;
        return false;
}

/* 0 = go on, 1 = done, negative = bad usage. */
static int parse_options(int argc, char *argv[], Options *ret) {
        static const struct option options[] = {
                { "keys", required_argument, NULL, 'k' },  { "keys-fd", required_argument, NULL, 'f' },
                { "thing", required_argument, NULL, 't' }, { "job", required_argument, NULL, 'j' },
                { "owner", required_argument, NULL, 'o' }, { "require", no_argument, NULL, 'r' },
                { "accepted", no_argument, NULL, 'a' },    { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },        {},
        };
        unsigned long n = 0;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'k':
                        ret->keys = optarg;
                        break;
                case 'f':
                        if (!parse_number_option("keys-fd", INT32_MAX, &n))
                                return -EINVAL;
                        ret->keys_fd = (int) n;
                        break;
                case 't':
                        ret->expected.thing = optarg;
                        break;
                case 'j':
                        ret->expected.job = optarg;
                        break;
                case 'o':
                        if (!parse_number_option("owner", UINT32_MAX - 1, &n))
                                return -EINVAL;
                        ret->owner = (uid_t) n;
                        break;
                case 'r':
                        ret->expected.required = true;
                        break;
                case 'a':
                        ret->expected.accepted = true;
                        break;
                case 'v':
                        (void) puts("iot-jobs-verify " IOT_JOBS_VERSION);
                        return 1;
                case 'h':
                        (void) fputs(usage, stdout);
                        return 1;
                default:
                        return -EINVAL;
                }
        return check_options(ret, argc, argv) ? 0 : -EINVAL;
}

/* ---- the work ---- */

static int unable(JwsAnswer *a, const char *reason) {
        a->verdict = JWS_UNABLE;
        (void) snprintf(a->fault.reason, sizeof a->fault.reason, "%.*s", (int) sizeof a->fault.reason - 1, reason);
        return JWS_EXIT_UNABLE;
}

/* What is wrong with the directory is wrong with every signed document: that is no reason to keep them all waiting. */
static bool is_passing(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EIO;
}

static int load_keys(const Options *o, TrustedKeys *ret, JwsAnswer *a) {
        CLEANUP_FD int opened = o->keys ? open(o->keys, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        Error e = { 0 };
        int r;

        if (o->keys && opened < 0)
                r = error_errno(&e, errno, "directory of trusted keys %s", o->keys);
        else
                r = trusted_keys_load(o->keys ? opened : o->keys_fd, o->owner, ret, &e);
        if (r == 0)
                return JWS_EXIT_VERIFIED;
        if (is_passing(r))
                return unable(a, e.text);
        a->verdict = JWS_REFUSED;
        (void) jws_fault(&a->fault, "jws", "%s", e.text);
        return JWS_EXIT_REFUSED;
}

static void name_bad_keys(const TrustedKeys *keys) {
        for (size_t i = 0; i < keys->n; i++)
                if (!keys->keys[i].key)
                        (void) fprintf(stderr, "iot-jobs-verify: trusted key \"%s\" cannot be used: %s\n",
                                       keys->keys[i].kid, keys->keys[i].why);
}

/* All of standard input; one byte more than allowed is enough to be refused. */
static int read_jws(Buf *ret) {
        char chunk[4096];
        ssize_t n;

        while (ret->len <= JWS_TEXT_MAX) {
                n = read(STDIN_FILENO, chunk, sizeof chunk);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                buf_append(ret, chunk, (size_t) n);
        }
        return buf_error(ret);
}

static int verify(const Options *o, Jws *jws, JwsAnswer *a) {
        CLEANUP_TRUSTED_KEYS TrustedKeys keys = { 0 };
        CLEANUP_BUF Buf text = { 0 };
        int r;

        if (signature_init() < 0)
                return unable(a, "OpenSSL cannot be set up");
        r = load_keys(o, &keys, a);
        if (r != JWS_EXIT_VERIFIED)
                return r;
        name_bad_keys(&keys);
        /* Or the library would open /dev/urandom for it. */
        json_object_seed((size_t) random_u64() | 1);
        /* From here on nothing is needed that could harm anybody, and here is what comes from outside. */
        r = confine_self();
        if (r == -ENOSYS)
                (void) fprintf(stderr, "iot-jobs-verify: this kernel cannot filter system calls (CONFIG_SECCOMP_FILTER), ignoring\n");
        else if (r < 0)
                return unable(a, "iot-jobs-verify cannot give up its rights");
        r = read_jws(&text);
        if (r < 0)
                return unable(a, "standard input cannot be read");
        r = verify_jws(text.data ? text.data : "", text.len, &keys, &o->expected, jws, a->kid, &a->fault);
        if (r == -ENOMEM)
                return unable(a, "no memory to verify the signature");
        a->verdict = r < 0 ? JWS_REFUSED : JWS_VERIFIED;
        a->payload = jws->payload;
        a->payload_len = jws->payload_len;
        return r < 0 ? JWS_EXIT_REFUSED : JWS_EXIT_VERIFIED;
}

int main(int argc, char *argv[]) {
        Options o = { .keys_fd = -1, .owner = geteuid(), .expected.built = BUILD_EPOCH };
        JwsAnswer a = { 0 };
        CLEANUP_JWS Jws jws = { 0 };
        CLEANUP_BUF Buf answer = { 0 };
        int r = parse_options(argc, argv, &o), exit_code;

        if (r > 0)
                return EXIT_SUCCESS;
        if (r < 0) {
                (void) fputs(usage, stderr);
                return JWS_EXIT_USAGE;
        }
        (void) signal(SIGPIPE, SIG_IGN);
        o.expected.now = clock_wall_sec();
        exit_code = verify(&o, &jws, &a);
        jws_answer_encode(&a, &answer);
        if (buf_error(&answer) < 0 || write_all(STDOUT_FILENO, answer.data, answer.len) < 0)
                return JWS_EXIT_UNABLE;
        return exit_code;
}
