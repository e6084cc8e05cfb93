/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds files, and the files in directories, to a fuzz target: the seed corpus as a test that any compiler builds.
 * Exit 0 if every input was read and none made the target abort. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1024 * 1024, PATH_TEXT_MAX = 4096 };

static int run_file(const char *path) {
        FILE *f = fopen(path, "re");
        uint8_t *data = malloc(INPUT_MAX);
        size_t n = 0;
        int r = -1;

        if (!f || !data)
                perror(path);
        else {
                n = fread(data, 1, INPUT_MAX, f);
                if (ferror(f) || !feof(f))
                        (void) fprintf(stderr, "%s: cannot be read, or is larger than %d bytes\n", path,
                                       INPUT_MAX);
                else
                        r = 0;
        }
        if (r == 0) {
                /* Said first, so that a crash names its input. */
                (void) fprintf(stderr, "%s: %zu bytes\n", path, n);
                (void) LLVMFuzzerTestOneInput(data, n);
        }
        free(data);
        if (f)
                (void) fclose(f);
        return r;
}

/* Number of inputs, or -1. */
static int run_directory(const char *path) {
        DIR *d = opendir(path);
        const struct dirent *entry;
        int n = 0;

        if (!d) {
                perror(path);
                return -1;
        }
        while ((entry = readdir(d)) && n >= 0) {
                char name[PATH_TEXT_MAX];
                int len = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                n = len > 0 && (size_t) len < sizeof name && run_file(name) == 0 ? n + 1 : -1;
        }
        (void) closedir(d);
        return n;
}

int main(int argc, char **argv) {
        int inputs = 0;

        for (int i = 1; i < argc; i++) {
                struct stat st;
                int n;

                if (stat(argv[i], &st) < 0) {
                        perror(argv[i]);
                        return EXIT_FAILURE;
                }
                n = S_ISDIR(st.st_mode) ? run_directory(argv[i]) : run_file(argv[i]) == 0 ? 1 : -1;
                if (n < 0)
                        return EXIT_FAILURE;
                inputs += n;
        }
        if (inputs == 0) {
                (void) fprintf(stderr, "usage: %s FILE-OR-DIRECTORY…, with at least one input\n", argv[0]);
                return EXIT_FAILURE;
        }
        (void) printf("%d inputs\n", inputs);
        return EXIT_SUCCESS;
}
