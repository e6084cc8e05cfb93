/* SPDX-License-Identifier: Apache-2.0 */
/* handlers: what the runner would run, and what it would refuse and why. By its own rules, from the files as they are now. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "ctl/ctl.h"
#include "jobdoc/jobdoc.h"
#include "runner/trust.h"
#include "runner/user.h"

typedef struct Listing {
        const Config *config;
        uid_t uid; /* of the runner */
        User own;
        json_t *directories; /* owned: what was found, as it is printed */
        json_t *seen;        /* owned: name → path of the first handler that has it */
} Listing;

static void listing_done(Listing *l) {
        user_done(&l->own);
        json_decref(l->directories);
        json_decref(l->seen);
}
#define CLEANUP_LISTING __attribute__((cleanup(listing_done)))

static const char *user_of(const Listing *l, const char *name) {
        const ConfigOverride *o = config_override(l->config, name);

        if (o && o->user)
                return o->user;
        return l->config->handler_user ? l->config->handler_user : l->own.name;
}

/* As the runner takes it. */
static int check_user(const Listing *l, const char *name, Error *e) {
        User u CLEANUP_USER = {};

        if (strcmp(name, l->own.name) == 0)
                return 0;
        if (l->uid != 0)
                return error_set(e, EPERM, "cannot run as user \"%s\": the runner is user \"%s\", not root", name, l->own.name);
        return user_find_name(name, &u, e);
}

/* 0 = it would run. */
static int judge(const Listing *l, const char *directory, const char *name, bool by_path_only, Error *e) {
        const char *directories[] = { directory, NULL }, *why;
        const char *first = by_path_only ? NULL : json_string_value(json_object_get(l->seen, name));
        char *path CLEANUP_FREE = NULL;
        int r;

        if (!handler_name_valid(name, &why))
                return error_set(e, EINVAL, "no handler name: %s", why);
        r = trust_find_handler(directories, name, false, l->uid, &path, e);
        if (r < 0)
                return r;
        if (first)
                return error_set(e, EEXIST, "hidden by %s", first);
        return check_user(l, user_of(l, name), e);
}

static int add_handler(Listing *l, const char *directory, const char *name, bool by_path_only, json_t *handlers) {
        json_t *o = json_object();
        char path[4096 + 256];
        Error e = {};
        int r = judge(l, directory, name, by_path_only, &e), bad;

        bad = json_object_set_new(o, "name", json_string(name));
        bad |= json_object_set_new(o, "runs", json_boolean(r == 0));
        if (r == 0)
                bad |= json_object_set_new(o, "user", json_string(user_of(l, name)));
        else
                bad |= json_object_set_new(o, "reason", json_string(e.text));
        (void) snprintf(path, sizeof path, "%s/%s", directory, name);
        /* The first entry of a name decides, whether it is good or not. */
        if (!by_path_only && !json_object_get(l->seen, name))
                bad |= json_object_set_new(l->seen, name, json_string(path));
        bad |= json_array_append_new(handlers, o);
        return bad ? -ENOMEM : 0;
}

static int is_entry(const struct dirent *d) {
        return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int compare(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_directory(Listing *l, const char *directory, bool by_path_only) {
        char *real CLEANUP_FREE = NULL;
        json_t *o = json_object(), *handlers = json_array();
        struct dirent **names = NULL;
        Error e = {};
        int n = 0, r = json_array_append_new(l->directories, o), fd = trust_open_directory(directory, l->uid, &real, &e);

        if (fd >= 0)
                n = scandir(directory, &names, is_entry, compare);
        if (n < 0)
                error_errno(&e, errno, "directory %s", directory);
        close_fd_p(&fd);
        r |= json_object_set_new(o, "directory", json_string(directory));
        r |= json_object_set_new(o, "byPathOnly", json_boolean(by_path_only));
        if (e.code != 0)
                r |= json_object_set_new(o, "reason", json_string(e.text));
        r |= json_object_set_new(o, "handlers", handlers);
        for (int i = 0; i < n; i++) {
                if (r == 0)
                        r = add_handler(l, directory, names[i]->d_name, by_path_only, handlers);
                free(names[i]);
        }
        free(names);
        return r;
}

static void print_handler(const json_t *h) {
        const char *name = json_string_value(json_object_get(h, "name"));

        if (json_is_true(json_object_get(h, "runs")))
                (void) printf("  %-32s runs as %s\n", name, json_string_value(json_object_get(h, "user")));
        else
                (void) printf("  %-32s refused: %s\n", name, json_string_value(json_object_get(h, "reason")));
}

static void print_text(const Listing *l) {
        const json_t *d, *h;
        size_t i, j;

        json_array_foreach(l->directories, i, d) {
                const json_t *handlers = json_object_get(d, "handlers"), *reason = json_object_get(d, "reason");

                (void) printf("%s%s\n", json_string_value(json_object_get(d, "directory")),
                              json_is_true(json_object_get(d, "byPathOnly")) ? " (for documents that name it as path)" : "");
                if (reason)
                        (void) printf("  refused: %s\n", json_string_value(reason));
                json_array_foreach(handlers, j, h)
                        print_handler(h);
        }
}

int ctl_handlers(const CtlOptions *o, const Config *config) {
        /* Where a socket is, root's runner is behind it; else it is started by who asks for it. */
        Listing l CLEANUP_LISTING = { .config = config,
                                      .uid = access(config->runner_socket, F_OK) == 0 ? 0 : geteuid(),
                                      .directories = json_array(),
                                      .seen = json_object() };
        Error e = {};
        int r = user_find(l.uid, &l.own);

        if (config_check_trust(config->file, l.uid, &e) < 0)
                return ctl_fail("the runner refuses this configuration: %s", e.text);
        for (char **d = config->handler_directories; r == 0 && *d; d++)
                r = add_directory(&l, *d, false);
        for (char **d = config->policy_paths; r == 0 && *d; d++)
                r = add_directory(&l, *d, true);
        if (r != 0)
                return ctl_fail("no memory");
        if (!o->json)
                print_text(&l);
        else if (json_dumpf(l.directories, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF)
                return ctl_fail("cannot write the list");
        return fflush(stdout) == 0 ? CTL_EXIT_OK : ctl_fail("cannot write the list");
}
