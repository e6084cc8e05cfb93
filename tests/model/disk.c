/* SPDX-License-Identifier: Apache-2.0 */
/* A device's state directory: what processes see, and what a power cut leaves of it. The order of writes, syncs and
 * removals is that of the record store; the lines are the real ones. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

#define NONCE "\"nonce\":\""

static bool alive(const World *w, const Device *d, const Runner *r) {
        (void) w;
        return d->powered && r->phase != RUNNER_DEAD;
}

static void persist_power_cut(World *w, Device *d, Fault f) {
        fault_count_all(w, f, d->index);
        device_power_cut(w, d, rng_between(&w->rng, 1 * SEC, 20 * SEC));
}

/* A device loses power or a runner its life around the write: before it, behind it but before the sync, behind both. */
static int strike(World *w, Runner *r, Track *t, unsigned stage) {
        static const Fault faults[] = { FAULT_POWER_CUT_BEFORE_PERSIST, FAULT_POWER_CUT_IN_PERSIST,
                                        FAULT_POWER_CUT_AFTER_PERSIST };
        Device *d = &w->dev[r->dev];

        if (fault_armed(w, faults[stage]))
                persist_power_cut(w, d, faults[stage]);
        else if (stage == 1 && fault_armed(w, FAULT_KILL_RUNNER_IN_PERSIST)) {
                fault_count(w, FAULT_KILL_RUNNER_IN_PERSIST, t, d->index);
                t->disturbed = t->outcome_open = true;
                device_disturbed(w, d);
                runner_kill(w, r);
        }
        return alive(w, d, r) ? 0 : -ECANCELED;
}

/* Nothing of a line that was not made durable may be read later. */
static int fail(World *w, Runner *r, Track *t, size_t was, int error) {
        RecordFile *f = &t->dev[r->dev].record;

        t->disturbed = t->outcome_open = true;
        device_disturbed(w, &w->dev[r->dev]);
        r->record_failed = true;
        f->data.len = was;
        if (was == 0)
                f->exists = false;
        TRACE(w, 1, "device %u: the record of %s cannot be written: %s", r->dev, track_text(w, t),
              strerror(-error));
        return error;
}

static void note_durable(World *w, TrackDevice *td, const RecordEntry *e) {
        if (e->type != RECORD_RESULT || e->status == PROTO_STATUS_CANCELED)
                return;
        td->durable_result = true;
        td->durable_status = e->status;
        td->durable_at = w->now;
}

static void note_durably_written(World *w, Runner *r, TrackDevice *td, const RecordEntry *e) {
        const char *reason = proto_details_get(&e->details, "reason");

        r->prepared |= e->type == RECORD_PREPARED;
        r->resulted |= e->type == RECORD_RESULT;
        td->reboot_asked |= e->type == RECORD_REBOOTING;
        td->deadline_verdict |= reason && (strstr(reason, "deadline is near") || strstr(reason, "deadline comes before"));
        if (reason && strstr(reason, "deadline comes before"))
                check_given_up(w, &w->track[r->track], td);
        if (reason && strstr(reason, "deadline is near") && (td->deadline_at == 0 || w->now + 61 * SEC < td->deadline_at))
                world_violate(w, P1_TRUTH, "%s is given up for a deadline that the service does not have",
                              track_text(w, &w->track[r->track]));
        if (e->type != RECORD_STARTED)
                return;
        r->started_step = e->step;
        r->started_attempt = e->attempt;
}

/* Whoever reads it knows, synced or not. */
static void note_written(World *w, const Device *d, TrackDevice *td, const RecordEntry *e) {
        td->result |= e->type == RECORD_RESULT;
        if (e->type == RECORD_STARTED && e->step < STEPS_MAX)
                td->written[e->step]++;
        if (e->type == RECORD_DOCUMENT)
                return;
        td->deferred = e->type == RECORD_DEFERRED;
        td->rebooting = e->type == RECORD_REBOOTING;
        td->reboot_given &= td->rebooting;
        if (td->rebooting)
                td->paused_boots = d->boots;
        if (!td->deferred)
                return;
        td->due_at = w->now + e->delay * SEC;
        td->deferred_at = w->now;
        td->nonce_paused = w->nonce;
        td->planned = td->claim_sent = td->go = false;
}

static bool loses_line(const World *w, const RecordEntry *e) {
        return (w->bug == BUG_EXEC_BEFORE_RECORD && e->type == RECORD_STARTED) ||
               (w->bug == BUG_REBOOT_UNRECORDED && e->type == RECORD_REBOOTING);
}

int disk_append(World *w, Runner *r, Track *t, const RecordEntry *e) {
        Device *d = &w->dev[r->dev];
        TrackDevice *td = &t->dev[r->dev];
        RecordFile *f = &td->record;
        bool first = e->type == RECORD_PREPARED;
        size_t was;
        int c;

        if (r->record_failed)
                return -EIO;
        if (first ? f->exists : !f->exists) {
                world_violate(w, P7_HARMLESS, "%s: a `prepared` line must be the first, and only the first",
                              track_text(w, t));
                return -EINVAL;
        }
        c = strike(w, r, t, 0);
        if (c < 0)
                return c;
        if (first) {
                f->data.len = f->synced = 0;
                f->entry_synced = false;
        }
        was = f->data.len;
        if (first && d->disk_full)
                return fail(w, r, t, was, -ENOSPC);
        if (fault_armed(w, FAULT_READ_ONLY) || (w->faults_on && rng_chance(&w->rng, w->sc.noise))) {
                fault_count(w, FAULT_READ_ONLY, t, d->index);
                return fail(w, r, t, was, -EIO);
        }
        if (w->bug == BUG_RESUME_TWICE && td->reboot_asked && e->type == RECORD_STARTED) {
                note_durably_written(w, r, td, e);
                td->written[e->step]++;
                return 0;
        }
        c = record_encode(e, &f->data);
        if (c < 0) {
                world_violate(w, P7_HARMLESS, "%s: a record entry of type %d cannot be encoded",
                              track_text(w, t), (int) e->type);
                return c;
        }
        f->exists = true;
        note_written(w, d, td, e);
        c = strike(w, r, t, 1);
        if (c < 0)
                return c;
        if (!loses_line(w, e)) {
                f->synced = f->data.len;
                f->entry_synced |= first;
                f->durable = f->entry_synced;
                note_durable(w, td, e);
                note_durably_written(w, r, td, e);
        }
        return strike(w, r, t, 2);
}

uint32_t document_nonce(const Track *t, const char *document, size_t len) {
        char copy[DOCUMENT_MAX];
        const char *at;
        uint32_t nonce;

        if (len != t->document_len)
                return 0;
        memcpy(copy, document, len);
        copy[len] = '\0';
        at = strstr(copy, NONCE);
        nonce = at ? (uint32_t) strtoul(at + strlen(NONCE), NULL, 10) : 0;
        document_mark(copy, len, 0);
        return memcmp(copy, t->document, len) == 0 ? nonce : 0;
}

void document_mark(char *text, size_t len, uint32_t nonce) {
        char *at = memmem(text, len, NONCE, strlen(NONCE));
        char digits[16];

        if (!at)
                return;
        (void) snprintf(digits, sizeof(digits), "%08u", nonce % 100000000);
        memcpy(at + strlen(NONCE), digits, 8);
}

static void unlink_record(RecordFile *f) {
        f->exists = false; /* `durable` stays: the removal is not synced */
        f->data.len = MIN_OF(f->data.len, f->synced);
}

int disk_bury(World *w, Runner *r, Track *t, ProtoStatus status, const ProtoDetails *details) {
        Device *d = &w->dev[r->dev];
        Tombstone *tomb = &t->dev[r->dev].tombstone;
        int c = strike(w, r, t, 0);

        if (c < 0)
                return c;
        if (fault_armed(w, FAULT_READ_ONLY)) {
                fault_count(w, FAULT_READ_ONLY, t, d->index);
                return -EIO;
        }
        if (d->disk_full)
                return -ENOSPC;
        if (!tomb->exists && proto_details_copy(&tomb->details, details) < 0)
                return -ENOMEM;
        tomb->exists = true;
        tomb->status = status;
        c = strike(w, r, t, 1);
        if (c < 0)
                return c;
        tomb->synced = true;
        unlink_record(&t->dev[d->index].record);
        return strike(w, r, t, 2);
}

void disk_forget(World *w, Device *d, Track *t) {
        (void) w;
        unlink_record(&t->dev[d->index].record);
}

static void cut_record(World *w, RecordFile *f) {
        size_t tail = f->data.len - MIN_OF(f->synced, f->data.len);

        if (!f->exists) { /* a removal that was not synced */
                f->exists = f->durable && f->synced > 0 && rng_chance(&w->rng, 500);
                f->data.len = f->synced;
        } else if (!f->entry_synced && rng_chance(&w->rng, 500))
                f->exists = false; /* the directory never heard of it */
        else if (tail > 0) {
                size_t kept = (size_t) rng_below(&w->rng, tail + 1);

                f->data.len = f->synced + kept;
                if (kept > 0 && rng_chance(&w->rng, 300))
                        f->data.data[f->synced + rng_below(&w->rng, kept)] ^= 0x15;
        }
        if (!f->exists)
                f->data.len = 0;
        f->synced = f->data.len;
        f->entry_synced = f->durable = f->exists;
}

void disk_power_cut(World *w, Device *d) {
        for (unsigned i = 0; i < w->n_tracks; i++) {
                TrackDevice *td = &w->track[i].dev[d->index];

                cut_record(w, &td->record);
                if (td->tombstone.exists && !td->tombstone.synced) {
                        td->tombstone.exists = rng_chance(&w->rng, 500);
                        if (!td->tombstone.exists)
                                proto_details_done(&td->tombstone.details);
                }
                td->tombstone.synced = true;
        }
}

/* What a new runner, or the inventory, reads. Bytes without an intact first line are no record, and are removed. */
int disk_load(World *w, Device *d, Track *t, RecordState *ret) {
        RecordFile *f = &t->dev[d->index].record;
        Error e = {};
        int r;

        *ret = (RecordState){};
        if (!f->exists)
                return 0;
        r = record_replay(f->data.data ? f->data.data : "", f->data.len, ret, &e);
        if (r < 0) {
                world_violate(w, P7_HARMLESS, "%s: the record cannot be read again: %s", track_text(w, t),
                              e.text);
                return r;
        }
        if (ret->phase == RECORD_NONE) {
                unlink_record(f);
                f->data.len = 0;
        } else if (!job_key_equal(&ret->key, &t->key))
                world_violate(w, P7_HARMLESS, "%s: the record has another execution's key", track_text(w, t));
        else if (f->data.len > ret->valid_len) {
                f->data.len = ret->valid_len; /* the torn tail is cut */
                f->synced = MIN_OF(f->synced, f->data.len);
        }
        return 0;
}

/* What a former runner wrote may not have been synced: it is, before anything is said on the strength of it. */
int disk_open(World *w, Device *d, Track *t, RecordState *ret) {
        RecordFile *f = &t->dev[d->index].record;
        int r = disk_load(w, d, t, ret);

        if (r < 0 || !f->exists)
                return r;
        f->synced = f->data.len;
        f->entry_synced = f->durable = true;
        if (ret->phase == RECORD_HAS_RESULT)
                note_durable(w, &t->dev[d->index], &ret->result);
        return 0;
}

unsigned disk_records(const World *w, const Device *d) {
        unsigned n = 0;

        for (unsigned i = 0; i < w->n_tracks; i++)
                n += w->track[i].dev[d->index].record.exists;
        return n;
}
