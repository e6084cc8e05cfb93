/* SPDX-License-Identifier: Apache-2.0 */
/* Every unit test program is one Check suite that speaks TAP, so that the test driver counts single cases.
 *
 *   static TCase *cases(void) { … }      build the cases with UNIT_CASE
 *   UNIT_MAIN("proto", cases_a(), cases_b()) */
#pragma once

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/macro.h"

/* Why the case that runs now is skipped, "" if it is not: shared with the process Check runs each case in. */
static char *unit_skipped;
enum { UNIT_REASON_MAX = 128 };

/* End a case that cannot run here, so that it counts as skipped and not as passed. */
#define UNIT_SKIP(reason)                                                       \
        do {                                                                    \
                (void) snprintf(unit_skipped, UNIT_REASON_MAX, "%s", (reason)); \
                return;                                                         \
        } while (0)

/* Check has no word for a skipped case: TAP's is added behind its line, which it writes right after the case. */
static inline ssize_t unit_tap_write(void *cookie, const char *data, size_t len) {
        FILE *to = cookie;

        for (size_t at = 0, n; at < len; at += n) {
                const char *lf = memchr(data + at, '\n', len - at);
                size_t text = lf ? (size_t) (lf - data) - at : len - at;

                n = text + (lf != NULL);
                (void) fwrite(data + at, 1, text, to);
                if (lf && text > 2 && memcmp(data + at, "ok ", 3) == 0 && unit_skipped[0]) {
                        (void) fprintf(to, " # SKIP %s", unit_skipped);
                        unit_skipped[0] = '\0';
                }
                if (lf)
                        (void) fputc('\n', to);
        }
        (void) fflush(to);
        return (ssize_t) len;
}

/* A new directory below $TMPDIR (where the test driver cleans up after a test that died), else below /tmp. */
static inline UNUSED void unit_directory(char *ret, size_t size, const char *name) {
        const char *parent = getenv("TMPDIR");

        if (!parent || parent[0] != '/' || strlen(parent) + strlen(name) + sizeof "/-XXXXXX" > size)
                parent = "/tmp";
        (void) snprintf(ret, size, "%s/%s-XXXXXX", parent, name);
        ck_assert_ptr_nonnull(mkdtemp(ret));
}

static inline int unit_run(const char *name, TCase *const *tcases, size_t n) {
        static const cookie_io_functions_t io = { .write = unit_tap_write };
        Suite *s = suite_create(name);
        FILE *tap;
        SRunner *r;
        int failed;

        unit_skipped = mmap(NULL, UNIT_REASON_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        tap = fopencookie(stdout, "w", io);
        if (unit_skipped == MAP_FAILED || !tap || setvbuf(tap, NULL, _IOLBF, 0) != 0) {
                perror(name);
                return EXIT_FAILURE;
        }
        stdout = tap;
        for (size_t i = 0; i < n; i++)
                suite_add_tcase(s, tcases[i]);
        r = srunner_create(s);
        srunner_set_tap(r, "-");
        srunner_run_all(r, CK_SILENT);
        (void) fflush(tap);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(name, ...)                                                    \
        int main(void) {                                                        \
                TCase *tcases[] = { __VA_ARGS__ };                              \
                return unit_run(name, tcases, ELEMENTSOF(tcases));              \
        }
