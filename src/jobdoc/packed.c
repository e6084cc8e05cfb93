/* SPDX-License-Identifier: Apache-2.0 */
#include "jobdoc/packed.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "jobdoc/internal.h"

enum { MAGIC = 0x504A4F49 }; /* "IOJP" */

typedef enum Kind {
        KIND_DOCUMENT = 1,
        KIND_SIGNED,
        KIND_FAULT,
        KIND_QUESTION,
} Kind;

/* ---- packing ---- */

static void put(Buf *b, uint64_t value, size_t bytes) {
        unsigned char to[8];

        for (size_t i = 0; i < bytes; i++)
                to[i] = (unsigned char) (value >> (8 * i));
        buf_append(b, to, bytes);
}

static void put_text(Buf *b, const char *text) {
        size_t len = text ? strlen(text) : 0;

        put(b, len, 2);
        if (len > 0)
                buf_append(b, text, len);
}

static size_t begin(Buf *b, Kind kind, const JobDoc *d) {
        size_t at = b->len;

        put(b, MAGIC, 4);
        put(b, 0, 4); /* finish() knows the length */
        put(b, kind, 1);
        put(b, d && d->include_stdout, 1);
        put(b, d && d->n_steps > 0 && d->steps[0].path[0] == '\0', 1);
        put(b, 0, 1);
        put(b, d ? d->n_steps : 0, 2);
        put(b, d ? d->n_parameters : 0, 2);
        put(b, d ? (uint64_t) d->timeout : 0, 8);
        return at;
}

static void finish(Buf *b, size_t at) {
        if (b->error == 0)
                for (size_t i = 0; i < 4; i++)
                        b->data[at + 4 + i] = (char) ((b->len - at) >> (8 * i));
}

/* From 1; 0 = the configured directories. */
static size_t directory_place(const JobStep *s, const JobPolicy *policy) {
        size_t place = 0;

        while (s->directory && policy->paths && policy->paths[place])
                if (strcmp(policy->paths[place++], s->directory) == 0)
                        return place;
        return 0;
}

static void put_step(Buf *b, const JobStep *s, const JobPolicy *policy) {
        put(b, s->command, 1);
        put(b, s->ignore_failure, 1);
        put(b, s->final, 1);
        put(b, s->run_as != NULL, 1);
        put(b, directory_place(s, policy), 2);
        put(b, s->n_args, 2);
        put(b, (uint64_t) s->allow_stderr, 8);
        put_text(b, s->name);
        if (!s->command)
                put_text(b, s->handler);
        put_text(b, s->run_as_given);
        for (size_t i = 0; i < s->n_args; i++)
                put_text(b, s->args[i]);
}

void jobdoc_pack(const JobDoc *d, const JobPolicy *policy, Buf *ret) {
        size_t at = begin(ret, d->jws ? KIND_SIGNED : KIND_DOCUMENT, d->jws ? NULL : d);

        if (d->jws)
                put_text(ret, d->jws);
        for (size_t i = 0; i < d->n_steps; i++)
                put_step(ret, &d->steps[i], policy);
        for (size_t i = 0; i < d->n_parameters; i++) {
                put_text(ret, d->parameters[i].name);
                put_text(ret, d->parameters[i].value);
        }
        finish(ret, at);
}

void jobdoc_pack_fault(const JobFault *fault, Buf *ret) {
        size_t at = begin(ret, KIND_FAULT, NULL);

        put_text(ret, fault->path);
        put_text(ret, fault->reason);
        finish(ret, at);
}

void jobdoc_pack_question(const char *path, Buf *ret) {
        size_t at = begin(ret, KIND_QUESTION, NULL);

        put_text(ret, path);
        finish(ret, at);
}

/* ---- unpacking ---- */

/* After the first thing wrong everything that is taken is zero or NULL. */
typedef struct Reader {
        const unsigned char *p, *end;
        const JobPolicy *policy;
        JobDoc *doc;
        Error *e;
        int error;
} Reader;

static void spoil(Reader *r, const char *format, ...) PRINTF_LIKE(2, 3);
static void spoil(Reader *r, const char *format, ...) {
        char text[160];
        va_list ap;

        if (r->error < 0)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        r->error = error_set(r->e, EBADMSG, "%s", text);
}

static uint64_t take(Reader *r, size_t bytes, uint64_t max, const char *what) {
        uint64_t value = 0;

        if (r->error < 0)
                return 0;
        if ((size_t) (r->end - r->p) < bytes) {
                spoil(r, "it ends before %s", what);
                return 0;
        }
        for (size_t i = 0; i < bytes; i++)
                value |= (uint64_t) *r->p++ << (8 * i);
        if (value > max) {
                spoil(r, "%s is too large", what);
                return 0;
        }
        return value;
}

static bool take_bool(Reader *r, const char *what) {
        return take(r, 1, 1, what) == 1;
}

/* From -1 to max. */
static int64_t take_count(Reader *r, int64_t max, const char *what) {
        uint64_t value = take(r, 8, UINT64_MAX, what);

        if (value == UINT64_MAX)
                return -1;
        if (value > (uint64_t) max) {
                spoil(r, "%s is out of range", what);
                return 0;
        }
        return (int64_t) value;
}

/* Any bytes but NUL, in UTF-8. NULL: not. */
static char *take_text(Reader *r, size_t min, size_t max, const char *what) {
        size_t len = (size_t) take(r, 2, max, what);
        const char *at = (const char *) r->p;
        char *copy;

        if (r->error == 0 && len > (size_t) (r->end - r->p))
                spoil(r, "it ends inside %s", what);
        else if (len < min)
                spoil(r, "%s is too short", what);
        else if (len > 0 && (memchr(at, '\0', len) || !utf8_valid(at, len)))
                spoil(r, "%s is no text", what);
        if (r->error < 0)
                return NULL;
        r->p += len;
        copy = strndup(at, len);
        if (!copy)
                r->error = -ENOMEM;
        return copy;
}

/* NULL if empty, too. */
static char *take_optional(Reader *r, size_t max, const char *what) {
        char *text = take_text(r, 0, max, what);

        if (text && *text)
                return text;
        free(text);
        return NULL;
}

/* ---- a step ---- */

static void take_handler(Reader *r, JobStep *s) {
        const char *why;

        s->handler = take_text(r, 1, JOBDOC_HANDLER_MAX, "the handler's name");
        if (s->handler && !handler_name_valid(s->handler, &why))
                spoil(r, "no name of a handler: %s", why);
}

static void take_directory(Reader *r, size_t place, JobStep *s) {
        size_t n = 0;

        if (place == 0 || r->error < 0)
                return;
        while (r->policy->paths && r->policy->paths[n])
                n++;
        if (place > n || s->command)
                spoil(r, "a directory that policy.paths does not allow");
        else
                r->error = job_copy_string(r->policy->paths[place - 1], &s->directory);
}

static void take_user(Reader *r, bool named, JobStep *s) {
        const char *usual = job_usual_user(r->policy, s);
        bool allowed = false;

        s->run_as_given = take_optional(r, LIMIT_DOCUMENT, "the user's name");
        if (r->error < 0 || (!named && !s->run_as_given))
                return;
        for (const char *const *u = r->policy->run_as; s->run_as_given && u && *u; u++)
                allowed = allowed || strcmp(*u, s->run_as_given) == 0;
        if (!s->run_as_given)
                spoil(r, "a user without a name");
        else if (named == (usual && strcmp(usual, s->run_as_given) == 0) || (named && !allowed))
                spoil(r, "a user that policy.run_as does not allow");
        else if (named)
                r->error = job_copy_string(s->run_as_given, &s->run_as);
}

static void take_args(Reader *r, size_t n, JobStep *s) {
        if (r->error < 0)
                return;
        s->args = calloc(n + 1, sizeof *s->args);
        if (!s->args)
                r->error = -ENOMEM;
        while (r->error == 0 && s->n_args < n) {
                s->args[s->n_args] = take_text(r, s->command, JOBDOC_ARG_BYTES_MAX, "an argument");
                s->n_args += r->error == 0;
        }
        if (r->error == 0 && s->command && (n == 0 || !job_program_valid(s->args[0])))
                spoil(r, "a command without a program");
}

static void take_step(Reader *r, JobStep *s) {
        size_t directory, n_args;
        bool named;

        s->command = take_bool(r, "what kind of step it is");
        s->ignore_failure = take_bool(r, "ignoreStepFailure");
        s->final = take_bool(r, "the mark of a final step");
        named = take_bool(r, "the mark of a user");
        directory = (size_t) take(r, 2, UINT16_MAX, "the directory");
        n_args = (size_t) take(r, 2, JOBDOC_ARGS_MAX, "the number of arguments");
        s->allow_stderr = take_count(r, INT32_MAX, "allowStdErr");
        s->name = take_text(r, 1, JOBDOC_NAME_MAX, "the step's name");
        if (!s->command)
                take_handler(r, s);
        else if (!r->policy->run_command)
                spoil(r, "a command, which policy.run_command does not allow");
        take_directory(r, directory, s);
        take_user(r, named, s);
        take_args(r, n_args, s);
}

/* The one step of the operation form has its handler's name, and none of what only the other form can say. */
static void place_step(Reader *r, size_t i, size_t n, bool operation, JobStep *s) {
        if (r->error < 0)
                return;
        s->try_suffix = operation || (!s->command && !job_handler_has_suffix(s->handler));
        if (operation && (s->command || s->final || s->ignore_failure || strcmp(s->name, s->handler) != 0))
                spoil(r, "an operation that is none");
        else if (s->final && (i == 0 || i + 1 < n))
                spoil(r, "a final step that is not the last of several");
        else if (s->final)
                (void) snprintf(s->path, sizeof s->path, "finalStep.action");
        else if (!operation)
                (void) snprintf(s->path, sizeof s->path, "steps[%zu].action", i);
}

static void take_steps(Reader *r, size_t n, bool operation) {
        if (r->error < 0)
                return;
        if (n == 0 || (operation && n > 1)) {
                spoil(r, "the number of steps is wrong");
                return;
        }
        r->doc->steps = calloc(n, sizeof *r->doc->steps);
        if (!r->doc->steps)
                r->error = -ENOMEM;
        for (size_t i = 0; i < n && r->error == 0; i++) {
                JobStep *s = &r->doc->steps[r->doc->n_steps++];

                take_step(r, s);
                place_step(r, i, n, operation, s);
        }
}

/* ---- the rest ---- */

static void take_parameters(Reader *r, size_t n) {
        if (n == 0 || r->error < 0)
                return;
        r->doc->parameters = calloc(n, sizeof *r->doc->parameters);
        if (!r->doc->parameters)
                r->error = -ENOMEM;
        while (r->error == 0 && r->doc->n_parameters < n) {
                JobParameter *p = &r->doc->parameters[r->doc->n_parameters++];

                p->name = take_text(r, 1, LIMIT_DOCUMENT, "a parameter's name");
                p->value = take_text(r, 0, LIMIT_DOCUMENT, "a parameter's value");
                if (p->name && !job_shell_name_valid(p->name))
                        spoil(r, "a parameter with no name of a variable");
        }
}

static void take_signed(Reader *r) {
        bool taken = r->policy->signature == JOB_SIGNATURE_OPTIONAL || r->policy->signature == JOB_SIGNATURE_REQUIRED;

        if (r->error == 0 && !taken)
                spoil(r, "a signed document where none is taken");
        r->doc->jws = take_text(r, 1, LIMIT_DOCUMENT, "the JWS");
}

/* Text for a person, as text_sanitize() leaves it. */
static bool is_clean(const char *text) {
        const char *end = text + strlen(text);
        uint32_t cp = 0;

        while (text < end) {
                text += utf8_decode(text, end, &cp);
                if (unicode_is_other(cp))
                        return false;
        }
        return true;
}

static void take_fault(Reader *r, JobFault *fault) {
        CLEANUP_FREE char *path = take_text(r, 0, sizeof fault->path - 1, "the fault's path");
        CLEANUP_FREE char *reason = take_text(r, 1, sizeof fault->reason - 1, "the fault's reason");

        if (r->error == 0 && (!is_clean(path) || !is_clean(reason)))
                spoil(r, "a fault with control characters");
        if (r->error < 0 || r->p != r->end)
                return;
        (void) strcpy(fault->path, path);
        (void) strcpy(fault->reason, reason);
}

typedef struct Header {
        Kind kind;
        bool include_stdout, operation;
        size_t n_steps, n_parameters;
        int64_t timeout;
} Header;

static Header take_header(Reader *r, size_t len) {
        Header h = {};

        if (take(r, 4, UINT32_MAX, "the first number") != MAGIC)
                spoil(r, "it does not begin as it should");
        if (take(r, 4, JOBDOC_PACKED_MAX, "the length") != len)
                spoil(r, "its length is wrong");
        h.kind = (Kind) take(r, 1, KIND_QUESTION, "what it is");
        h.include_stdout = take_bool(r, "includeStdOut");
        h.operation = take_bool(r, "the form");
        (void) take(r, 1, 0, "a zero");
        h.n_steps = (size_t) take(r, 2, JOBDOC_STEPS_MAX, "the number of steps");
        h.n_parameters = (size_t) take(r, 2, JOBDOC_PARAMETERS_MAX, "the number of parameters");
        h.timeout = take_count(r, JOBDOC_TIMEOUT_MAX, "the timeout");
        if (h.kind != KIND_DOCUMENT && (h.include_stdout || h.operation || h.n_steps || h.n_parameters || h.timeout))
                spoil(r, "it says more than it may");
        return h;
}

int jobdoc_packed_length(const void *data, size_t len, size_t *ret, bool *ret_question) {
        Reader r = { .p = data, .end = (const unsigned char *) data + len };
        size_t total;
        Kind kind;

        if (len < JOBDOC_PACKED_HEADER)
                return 0;
        if (take(&r, 4, MAGIC, "") != MAGIC)
                return -EBADMSG;
        total = (size_t) take(&r, 4, JOBDOC_PACKED_MAX, "");
        kind = (Kind) take(&r, 1, KIND_QUESTION, "");
        if (total < JOBDOC_PACKED_HEADER)
                return -EBADMSG;
        *ret = total;
        *ret_question = kind == KIND_QUESTION;
        return 1;
}

static void take_document(Reader *r, const Header *h) {
        if (r->policy->signature == JOB_SIGNATURE_REQUIRED)
                spoil(r, "an unsigned document, which policy.require_signature does not allow");
        if (h->timeout == 0)
                spoil(r, "no timeout is 0");
        take_steps(r, h->n_steps, h->operation);
        take_parameters(r, h->n_parameters);
        r->doc->include_stdout = h->include_stdout;
        r->doc->timeout = h->timeout;
}

int jobdoc_unpack(const void *data, size_t len, const JobPolicy *policy, JobDoc *ret, JobFault *fault, Error *e) {
        CLEANUP_JOBDOC JobDoc doc = { .timeout = -1 };
        Reader r = { .p = data, .end = (const unsigned char *) data + len, .policy = policy, .doc = &doc, .e = e };
        Header h = take_header(&r, len);

        if (h.kind == KIND_DOCUMENT)
                take_document(&r, &h);
        else if (h.kind == KIND_SIGNED)
                take_signed(&r);
        else if (h.kind == KIND_FAULT)
                take_fault(&r, fault);
        else
                spoil(&r, "it is no answer");
        if (r.error == 0 && r.p != r.end)
                spoil(&r, "it goes on behind its end");
        if (r.error < 0)
                return r.error;
        if (h.kind == KIND_FAULT)
                return -EINVAL;
        *ret = doc;
        doc = (JobDoc){};
        return 0;
}

int jobdoc_unpack_question(const void *data, size_t len, char **ret, Error *e) {
        Reader r = { .p = data, .end = (const unsigned char *) data + len, .e = e };
        Header h = take_header(&r, len);
        CLEANUP_FREE char *path = NULL;

        if (h.kind != KIND_QUESTION)
                spoil(&r, "it is no question");
        path = take_text(&r, 1, JOBDOC_CONDITION_VALUE_BYTES_MAX, "a file's path");
        if (path && (path[0] != '/' || r.p != r.end))
                spoil(&r, "a question for no file");
        if (r.error < 0)
                return r.error;
        *ret = TAKE(path);
        return 0;
}
