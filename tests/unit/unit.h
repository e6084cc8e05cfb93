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

#include "base/macro.h"

/* A new directory below $TMPDIR (where the test driver cleans up after a test that died), else below /tmp. */
static inline UNUSED void unit_directory(char *ret, size_t size, const char *name) {
        const char *parent = getenv("TMPDIR");

        if (!parent || parent[0] != '/' || strlen(parent) + strlen(name) + sizeof "/-XXXXXX" > size)
                parent = "/tmp";
        (void) snprintf(ret, size, "%s/%s-XXXXXX", parent, name);
        ck_assert_ptr_nonnull(mkdtemp(ret));
}

static inline int unit_run(const char *name, TCase *const *tcases, size_t n) {
        Suite *s = suite_create(name);
        SRunner *r;
        int failed;

        for (size_t i = 0; i < n; i++)
                suite_add_tcase(s, tcases[i]);
        r = srunner_create(s);
        srunner_set_tap(r, "-");
        srunner_run_all(r, CK_SILENT);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define UNIT_MAIN(name, ...)                                                    \
        int main(void) {                                                        \
                TCase *tcases[] = { __VA_ARGS__ };                              \
                return unit_run(name, tcases, ELEMENTSOF(tcases));              \
        }
