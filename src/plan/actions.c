/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plan/internal.h"

/* Step back to the start of a character that was cut. */
static void cut_on_character(char *text, size_t n) {
        size_t back = 0;

        while (back < 3 && back + 1 < n && ((unsigned char) text[n - 1 - back] & 0xC0) == 0x80)
                back++;
        if (n > back && (unsigned char) text[n - 1 - back] >= 0xC0)
                text[n - 1 - back] = '\0';
}

__attribute__((format(printf, 3, 0))) static void format_list(char *ret, size_t size, const char *format, va_list ap) {
        int n = vsnprintf(ret, size, format, ap);

        if (n >= 0 && (size_t) n >= size)
                cut_on_character(ret, size - 1);
}

void plan_format(char *ret, size_t size, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        format_list(ret, size, format, ap);
        va_end(ap);
}

static void action_done(PlanAction *a) {
        record_entry_done(&a->entry);
        wire_message_done(&a->message);
}

void plan_actions_cut(PlanActions *a, size_t n) {
        while (a->n > n)
                action_done(&a->item[--a->n]);
}

void plan_actions_clear(PlanActions *a) {
        plan_actions_cut(a, 0);
}

void plan_actions_done(PlanActions *a) {
        plan_actions_clear(a);
        free(a->item);
        *a = (PlanActions) {};
}

PlanAction *plan_add(PlanStep *s, PlanActionType type) {
        PlanActions *a = s->actions;

        if (a->n == a->cap) {
                size_t cap = a->cap == 0 ? 8 : a->cap * 2;
                PlanAction *item = reallocarray(a->item, cap, sizeof *item);

                if (!item) {
                        s->failed = true;
                        return NULL;
                }
                a->item = item;
                a->cap = cap;
        }
        a->item[a->n] = (PlanAction) {
                .type = type,
                .step = s->p->step,
                .attempt = s->p->attempt,
                .phase = s->p->phase,
                .exit_code = -1,
        };
        return &a->item[a->n++];
}

void plan_add_log(PlanStep *s, int level, const char *message_id, const char *format, ...) {
        PlanAction *a = plan_add(s, PLAN_ACTION_LOG);
        va_list ap;

        if (!a)
                return;
        a->level = level;
        a->message_id = message_id;
        va_start(ap, format);
        format_list(a->text, sizeof a->text, format, ap);
        va_end(ap);
}
