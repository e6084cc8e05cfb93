/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator verbs print, for people and as JSON. An execution is a JSON object as control.h has it. */
#pragma once

#include <jansson.h>

#include "sim/options.h"

typedef struct Show {
        bool json;
        bool bar;   /* standard output is a terminal: progress is drawn in one line */
        bool open;  /* that line stands there without its end */
        bool names; /* status lines begin with the thing */
} Show;

void show_init(Show *s, const Options *o);

void show_json(const json_t *v);
void show_created(Show *s, const json_t *execution);
/* A whole execution, with its document (a string member here, a JSON value when printed). */
void show_execution(Show *s, const json_t *execution);
void show_list_head(Show *s);
void show_list_row(Show *s, const json_t *execution);
/* One line of `watch`. */
void show_event(Show *s, const json_t *event);
/* One step of `--wait`. `progress`: the status is the one of the line before. */
void show_step(Show *s, const json_t *execution, uint64_t at, bool progress);
/* End the line that progress is drawn in. */
void show_finish(Show *s);
