/* SPDX-License-Identifier: Apache-2.0 */
/* The job document under the configuration's policy: what it may name, what it was signed with, what it asks of this machine. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/fileio.h"
#include "runner/parse.h"
#include "runner/run.h"
#include "runner/verify.h"

/* What a JobPolicy points to. */
typedef struct Policy {
        const char **paths;
        JobFact *handler_users, *facts;
        struct utsname machine;
        char *system, *version;
        JobFacts all_facts;
        JobPolicy job;
} Policy;

static void policy_done(Policy *p) {
        free(p->paths);
        free(p->handler_users);
        free(p->facts);
        free(p->system);
        free(p->version);
}
#define CLEANUP_POLICY __attribute__((cleanup(policy_done)))

/* The directories a document may name: those it gets anyway, and policy.paths. */
static const char **policy_paths(const Config *c) {
        char *const *lists[] = { c->handler_directories, c->policy_paths };
        const char **all;
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (char *const *p = lists[i]; *p; p++)
                        n++;
        all = calloc(n + 1, sizeof *all);
        if (!all)
                return NULL;
        n = 0;
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (char *const *p = lists[i]; *p; p++)
                        all[n++] = *p;
        return all;
}

/* ---- users ---- */

static const char *usual_user(const Run *run) {
        return run->config->handler_user ? run->config->handler_user : run->user.name;
}

/* A document's name for a handler may lack the suffix, or have it, where the override's does not: as config_override() finds it. Exact
 * names first. */
static int policy_users(const Run *run, Policy *p) {
        const Config *c = run->config;
        char(*other)[JOBDOC_HANDLER_MAX + 4];
        size_t n = 0;

        if (c->n_overrides == 0)
                return 0;
        /* The texts behind the table. */
        p->handler_users = calloc(1, (2 * c->n_overrides + 1) * sizeof(JobFact) + c->n_overrides * sizeof *other);
        if (!p->handler_users)
                return -ENOMEM;
        other = (void *) (p->handler_users + 2 * c->n_overrides + 1);
        for (size_t i = 0; i < c->n_overrides; i++)
                p->handler_users[n++] =
                        (JobFact){ c->overrides[i].name, c->overrides[i].user ? c->overrides[i].user : usual_user(run) };
        for (size_t i = 0; i < c->n_overrides; i++) {
                const char *name = c->overrides[i].name;
                size_t len = strlen(name);

                if (len > 3 && strcmp(name + len - 3, ".sh") == 0)
                        (void) snprintf(other[i], sizeof other[i], "%.*s", (int) len - 3, name);
                else
                        (void) snprintf(other[i], sizeof other[i], "%s.sh", name);
                p->handler_users[n++] = (JobFact){ other[i], p->handler_users[i].value };
        }
        p->job.handler_users = p->handler_users;
        return 0;
}

/* Whom a step runs as, and which key says so (NULL: the document). */
static const char *user_of_step(const Run *run, const JobStep *s, const char **ret_key) {
        const ConfigOverride *o = s->command ? NULL : config_override(run->config, s->handler);

        *ret_key = NULL;
        if (s->run_as)
                return s->run_as;
        if (o && o->user) {
                *ret_key = "handlers.override";
                return o->user;
        }
        if (run->config->handler_user)
                *ret_key = "handlers.user";
        return usual_user(run);
}

int run_find_user(const Run *run, size_t step, User *storage, const User **ret, Error *e) {
        const char *key, *name = user_of_step(run, &run->doc.steps[step], &key);
        int r;

        *ret = NULL;
        if (strcmp(name, run->user.name) == 0)
                return 0;
        if (run->uid != 0)
                r = error_set(e, EPERM, "cannot run as user \"%s\": the runner is user \"%s\", not root", name, run->user.name);
        else
                r = user_find_name(name, storage, e);
        if (r < 0 && key) {
                char reason[sizeof e->text];

                memcpy(reason, e->text, sizeof reason);
                return error_set(e, -r, "%.400s (%s)", reason, key);
        }
        if (r == 0)
                *ret = storage;
        return r;
}

static bool is_refusal(int r) {
        return r == -ENOENT || r == -EPERM || r == -E2BIG;
}

static int check_users(const Run *run, JobFault *fault, Error *e) {
        for (size_t i = 0; i < run->doc.n_steps; i++) {
                User storage CLEANUP_USER = {};
                const User *user;
                const char *path = run->doc.steps[i].path;
                int r = run_find_user(run, i, &storage, &user, e);

                if (r < 0 && !is_refusal(r))
                        return r;
                if (r < 0) {
                        (void) snprintf(fault->path, sizeof fault->path, "%s%srunAsUser", path, path[0] ? "." : "");
                        (void) snprintf(fault->reason, sizeof fault->reason, "%.383s", e->text);
                        return -EINVAL;
                }
        }
        return 0;
}

/* ---- facts ---- */

static bool file_present(const char *path, UNUSED void *userdata) {
        return access(path, F_OK) == 0;
}

static int read_os_release(Policy *p) {
        static const char *const files[] = { "/etc/os-release", "/usr/lib/os-release" };
        char *text CLEANUP_FREE = NULL;
        size_t len = 0;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(files) && !text; i++) {
                int fd CLEANUP_FD = open(files[i], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

                if (fd >= 0 && file_read_fd(fd, RUNNER_OS_RELEASE_MAX, &text, &len) < 0)
                        text = NULL;
        }
        if (!text) /* a machine without one says nothing */
                return 0;
        r = os_release_get(text, len, "ID", &p->system);
        if (r >= 0)
                r = os_release_get(text, len, "VERSION_ID", &p->version);
        return MIN_OF(r, 0);
}

static int read_facts(const Run *run, Policy *p) {
        const ConfigFacts *configured = &run->config->facts;
        int r = read_os_release(p);

        p->facts = calloc(configured->n + 1, sizeof *p->facts);
        if (r < 0 || !p->facts)
                return -ENOMEM;
        for (size_t i = 0; i < configured->n; i++)
                p->facts[i] = (JobFact){ configured->item[i].name, configured->item[i].value };
        p->all_facts = (JobFacts){
                .operating_system = p->system,
                .operating_system_version = p->version,
                .configured = p->facts,
                .file_present = file_present,
        };
        if (uname(&p->machine) == 0) {
                p->all_facts.architecture = p->machine.machine;
                p->all_facts.kernel = p->machine.release;
        }
        p->job.facts = &p->all_facts;
        return 0;
}

/* Few documents have conditions, and few machines' facts are looked up for the others; but a name may be written with escapes. */
static bool may_have_conditions(const char *document, size_t len) {
        return memmem(document, len, "conditions", 10) || memchr(document, '\\', len);
}

/* ---- the document ---- */

const char *run_handler_document(const Run *run, size_t *ret_len) {
        *ret_len = run->payload ? run->payload_len : run->document_len;
        return run->payload ? run->payload : run->document;
}

static int make_policy(const Run *run, Policy *p) {
        const Config *c = run->config;

        p->paths = policy_paths(c);
        if (!p->paths || policy_users(run, p) < 0)
                return -ENOMEM;
        p->job.paths = p->paths;
        p->job.user = usual_user(run);
        p->job.fallback = c->fallback;
        p->job.run_as = (const char *const *) c->run_as;
        p->job.run_command = c->run_command;
        p->job.conditions_judged = run->state.phase > RECORD_IS_PREPARED;
        return 0;
}

/* The document, or its verified payload. */
static int parse(Run *run, Policy *p, JobSignature signature, JobFault *fault, Error *e) {
        ParseRequest q = { .policy = &p->job, .secrets = run->config->environment, .parse = jobdoc_parse };

        q.document = run_handler_document(run, &q.len);
        if (!p->job.facts && may_have_conditions(q.document, q.len) && read_facts(run, p) < 0)
                return error_errno(e, ENOMEM, "reading the job document");
        p->job.signature = signature;
        return parse_document(&q, &run->doc, fault, e);
}

static int take_payload(Run *run, JobFault *fault, Error *e) {
        const VerifyRequest request = {
                .jws = run->doc.jws,
                .thing = run->key.thing,
                .job = run->key.job_id,
                .keys = run->config->trusted_keys,
                .uid = run->uid,
                .required = run->config->require_signature,
                .accepted = run->state.phase > RECORD_IS_PREPARED,
        };
        JwsFault why = {};
        int r = verify_document(&request, &run->payload, &run->payload_len, &why, e);

        if (r == -EINVAL) {
                (void) snprintf(fault->path, sizeof fault->path, "%s", why.path);
                (void) snprintf(fault->reason, sizeof fault->reason, "%s", why.reason);
        }
        return r;
}

static int read_signed(Run *run, Policy *p, JobFault *fault, Error *e) {
        int r = take_payload(run, fault, e);

        if (r < 0)
                return r;
        jobdoc_done(&run->doc);
        /* By another process: the one that read what nobody had signed yet may be a liar by now. */
        return parse(run, p, JOB_SIGNATURE_VERIFIED, fault, e);
}

int run_read_document(Run *run, JobFault *fault, Error *e) {
        Policy p CLEANUP_POLICY = {};
        int r = make_policy(run, &p);

        if (r < 0)
                return error_errno(e, -r, "reading the job document");
        r = parse(run, &p, run->config->require_signature ? JOB_SIGNATURE_REQUIRED : JOB_SIGNATURE_OPTIONAL, fault, e);
        if (r == 0 && run->doc.jws)
                r = read_signed(run, &p, fault, e);
        return r < 0 ? r : check_users(run, fault, e);
}
