/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/faults.h"

#include <errno.h>

/* The delay is the same for all, so what is due first is what came first. */
typedef struct Delayed {
        struct Delayed *next;
        uint64_t due;
        ModelPublication publication;
} Delayed;

struct Faults {
        double drop, duplicate;
        uint64_t delay_usec;
        RejectRule reject[OPTIONS_REJECTS_MAX];
        size_t n_rejects;
        uint64_t state;
        Delayed *head, **tail;
        size_t n_delayed;
};

int faults_new(const Options *options, uint64_t seed, Faults **ret) {
        Faults *f = calloc(1, sizeof *f);

        if (!f)
                return -ENOMEM;
        f->drop = options->drop;
        f->duplicate = options->duplicate;
        f->delay_usec = options->delay_usec;
        for (size_t i = 0; i < options->n_rejects; i++)
                f->reject[i] = options->reject[i];
        f->n_rejects = options->n_rejects;
        f->state = seed;
        f->tail = &f->head;
        *ret = f;
        return 0;
}

static void delayed_free(Delayed *d) {
        free(d->publication.payload);
        free(d);
}

static Delayed *pop_delayed(Faults *f) {
        Delayed *d = f->head;

        f->head = d->next;
        f->n_delayed--;
        if (!f->head)
                f->tail = &f->head;
        return d;
}

Faults *faults_free(Faults *f) {
        if (!f)
                return NULL;
        while (f->head)
                delayed_free(pop_delayed(f));
        free(f);
        return NULL;
}

bool faults_any(const Faults *f) {
        return f->drop > 0 || f->duplicate > 0 || f->delay_usec > 0 || f->n_rejects > 0;
}

/* splitmix64 */
static uint64_t next_random(Faults *f) {
        uint64_t z = f->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

/* No draw for what cannot happen: adding one kind of fault leaves a seed's others as they were. */
static bool happens(Faults *f, double probability) {
        return probability > 0 && (double) (next_random(f) >> 11) * 0x1p-53 < probability;
}

bool faults_request(Faults *f, ProtoCode *ret_code) {
        *ret_code = PROTO_CODE_NONE;
        if (happens(f, f->drop))
                return false;
        for (size_t i = 0; i < f->n_rejects; i++)
                if (happens(f, f->reject[i].probability)) {
                        *ret_code = f->reject[i].code;
                        break;
                }
        return true;
}

static int delay(Faults *f, uint64_t due, ModelPublication *p) {
        Delayed *d;

        if (f->n_delayed >= FAULTS_DELAYED_MAX)
                return 0;
        d = calloc(1, sizeof *d);
        if (!d)
                return -ENOMEM;
        f->n_delayed++;
        d->due = due;
        d->publication = *p;
        p->payload = NULL;
        *f->tail = d;
        f->tail = &d->next;
        return 0;
}

static int send_copies(const ModelPublication *p, bool twice, FaultsSend send, void *userdata) {
        int r = send(p->topic, p->payload, p->len, userdata);

        return r == 0 && twice ? send(p->topic, p->payload, p->len, userdata) : r;
}

int faults_publish(Faults *f, uint64_t now, ModelPublication *p, FaultsSend send, void *userdata) {
        if (happens(f, f->drop))
                return 0;
        if (f->delay_usec > 0)
                return delay(f, now + f->delay_usec, p);
        return send_copies(p, happens(f, f->duplicate), send, userdata);
}

void faults_flush(Faults *f, uint64_t now, FaultsSend send, void *userdata) {
        while (f->head && f->head->due <= now) {
                Delayed *d = pop_delayed(f);

                (void) send_copies(&d->publication, happens(f, f->duplicate), send, userdata);
                delayed_free(d);
        }
}

uint64_t faults_deadline(const Faults *f) {
        return f->head ? f->head->due : USEC_NEVER;
}
