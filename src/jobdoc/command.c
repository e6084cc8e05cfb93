/* SPDX-License-Identifier: Apache-2.0 */
/* runCommand: one string, words separated by commas, `\,` for a comma inside a word. White space around a word and words
 * without anything in them vanish. There is no other quoting and no shell. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "jobdoc/internal.h"

static bool is_blank_byte(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The end of the word that starts at `text`: a comma without a backslash in front of it, or the end. */
static const char *word_end(const char *text) {
        while (*text && *text != ',')
                text += *text == '\\' && text[1] == ',' ? 2 : 1;
        return text;
}

/* The word without what surrounds it, each `\,` a comma. An escaped comma is no white space: what is cut is none. */
static int copy_word(const char *start, const char *end, char **ret) {
        CLEANUP_BUF Buf word = { 0 };

        while (start < end && is_blank_byte(*start))
                start++;
        while (end > start && is_blank_byte(end[-1]))
                end--;
        for (; start < end; start++)
                if (*start != '\\' || start + 1 == end || start[1] != ',')
                        buf_append(&word, start, 1);
        if (buf_error(&word) < 0)
                return -ENOMEM;
        if (word.len == 0)
                return 0;
        *ret = buf_steal(&word);
        return *ret ? 1 : -ENOMEM;
}

/* Nothing is added where there is no word. */
static int add_word(const Parser *p, const char *where, const char *start, const char *end, JobStep *step) {
        CLEANUP_FREE char *word = NULL;
        int r = copy_word(start, end, &word);

        if (r <= 0)
                return r;
        if (step->n_args == JOBDOC_ARGS_MAX)
                return job_fault(p, where, "command", "more than %d words", JOBDOC_ARGS_MAX);
        if (strlen(word) > JOBDOC_ARG_BYTES_MAX)
                return job_fault(p, where, "command", "a word longer than %d bytes", JOBDOC_ARG_BYTES_MAX);
        step->args[step->n_args++] = TAKE(word);
        return 0;
}

bool job_program_valid(const char *program) {
        while (*program && !is_blank_byte(*program))
                program++;
        return !*program;
}

static int check_program(const Parser *p, const char *where, const JobStep *step) {
        if (step->n_args == 0)
                return job_fault(p, where, "command", "nothing but commas and white space");
        if (!job_program_valid(step->args[0]))
                return job_fault_quoting(p, where, "command", step->args[0],
                                         "is no program: white space in it; words are separated by commas");
        return 0;
}

int job_command_parse(const Parser *p, const json_t *input, const char *where, JobStep *step) {
        const char *command;
        int r = job_need_string(p, input, where, "command", &command);

        if (r < 0)
                return r;
        step->command = true;
        step->args = calloc(JOBDOC_ARGS_MAX + 1, sizeof *step->args);
        if (!step->args)
                return -ENOMEM;
        while (r >= 0 && *command) {
                const char *end = word_end(command);

                r = add_word(p, where, command, end, step);
                command = end + (*end == ',');
        }
        return r < 0 ? r : check_program(p, where, step);
}
