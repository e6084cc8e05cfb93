/* SPDX-License-Identifier: Apache-2.0 */
#include "client/subs.h"

#include <errno.h>
#include <string.h>

Sub *subs_find(Subs *s, const char *filter) {
        for (size_t i = 0; i < s->n; i++)
                if (strcmp(s->list[i]->filter, filter) == 0)
                        return s->list[i];
        return NULL;
}

Sub *subs_find_id(Subs *s, unsigned id) {
        for (size_t i = 0; i < s->n; i++)
                if (s->list[i]->id == id)
                        return s->list[i];
        return NULL;
}

Sub *subs_next_match(Subs *s, const char *topic, unsigned after) {
        for (size_t i = 0; i < s->n; i++)
                if (s->list[i]->id > after && filter_matches(s->list[i]->filter, topic, false))
                        return s->list[i];
        return NULL;
}

int subs_add(Subs *s, const char *filter, Sub **ret) {
        size_t len = strlen(filter);
        Sub *sub;

        if (s->n == SUBS_MAX || len >= sizeof sub->filter)
                return -ENOSPC;
        sub = calloc(1, sizeof *sub);
        if (!sub)
                return -ENOMEM;
        memcpy(sub->filter, filter, len + 1);
        sub->id = ++s->last_id;
        s->list[s->n++] = sub;
        *ret = sub;
        return 0;
}

void subs_remove(Subs *s, Sub *sub) {
        size_t i = 0;

        while (i < s->n && s->list[i] != sub)
                i++;
        if (i == s->n)
                return;
        s->n--;
        memmove(s->list + i, s->list + i + 1, (s->n - i) * sizeof s->list[0]);
        free(sub);
}

void subs_done(Subs *s) {
        while (s->n > 0)
                free(s->list[--s->n]);
}

/* ---- filters ---- */

static bool filter_valid(const char *filter) {
        const char *level = filter;

        if (filter[0] == '\0')
                return false;
        for (;;) {
                size_t n = strcspn(level, "/"), wild = strcspn(level, "+#/");

                if (wild < n && (n != 1 || (level[0] == '#' && level[1] != '\0')))
                        return false;
                if (level[n] == '\0')
                        return true;
                level += n + 1;
        }
}

bool filter_matches(const char *filter, const char *topic, bool aws) {
        if (!filter_valid(filter) || topic[0] == '\0')
                return false;
        if (topic[0] == '$' && filter[0] != '$')
                return false;
        for (;;) {
                size_t f = strcspn(filter, "/"), t = strcspn(topic, "/");

                if (filter[0] == '#')
                        return true;
                if (filter[0] != '+' && (f != t || memcmp(filter, topic, f) != 0))
                        return false;
                if (topic[t] == '\0')
                        return filter[f] == '\0' || (!aws && strcmp(filter + f, "/#") == 0);
                if (filter[f] == '\0')
                        return false;
                filter += f + 1;
                topic += t + 1;
        }
}
