/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/exchange.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"

struct Exchange {
        pthread_mutex_t lock;
        pthread_cond_t ended_cond;
        unsigned refs;
        int event_fd, wake_fd;

        Event *first_event, **event_tail;
        size_t event_bytes;
        bool full_seen; /* the network thread waits for room */

        Publication *first_publication, **publication_tail;
        size_t out_bytes;

        bool online;
        uint64_t connection; /* counts connections that came online */
        Orders orders;
        bool ended;
};

static void fd_raise(int fd) {
        const uint64_t one = 1;

        /* Fails only when the counter is full, and then the descriptor is readable already. */
        if (write(fd, &one, sizeof one) < 0)
                return;
}

static void fd_lower(int fd) {
        uint64_t count;

        /* EAGAIN: nobody has raised it. */
        if (read(fd, &count, sizeof count) < 0)
                return;
}

static int exchange_init(Exchange *x) {
        pthread_condattr_t attr;
        int r;

        x->event_tail = &x->first_event;
        x->publication_tail = &x->first_publication;
        x->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        x->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (x->event_fd < 0 || x->wake_fd < 0)
                return -errno;
        r = pthread_condattr_init(&attr);
        if (r == 0)
                r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (r == 0)
                r = pthread_cond_init(&x->ended_cond, &attr);
        (void) pthread_condattr_destroy(&attr);
        return -r;
}

int exchange_new(Exchange **ret) {
        Exchange *x = calloc(1, sizeof *x);
        int r;

        if (!x)
                return -ENOMEM;
        x->event_fd = x->wake_fd = -1;
        r = -pthread_mutex_init(&x->lock, NULL);
        if (r == 0)
                r = exchange_init(x);
        if (r < 0) {
                close_fd_p(&x->event_fd);
                close_fd_p(&x->wake_fd);
                free(x);
                return r;
        }
        x->refs = 1;
        *ret = x;
        return 0;
}

static void lock(Exchange *x) {
        if (pthread_mutex_lock(&x->lock) != 0)
                abort();
}

static void unlock(Exchange *x) {
        if (pthread_mutex_unlock(&x->lock) != 0)
                abort();
}

static void drop_publications(Exchange *x) {
        Publication *p = x->first_publication;

        while (p) {
                Publication *next = p->next;

                free(p);
                p = next;
        }
        x->first_publication = NULL;
        x->publication_tail = &x->first_publication;
        x->out_bytes = 0;
}

Exchange *exchange_ref(Exchange *x) {
        lock(x);
        x->refs++;
        unlock(x);
        return x;
}

Exchange *exchange_unref(Exchange *x) {
        bool last;

        if (!x)
                return NULL;
        lock(x);
        last = --x->refs == 0;
        unlock(x);
        if (!last)
                return NULL;
        for (Event *e = x->first_event; e;) {
                Event *next = e->next;

                free(e);
                e = next;
        }
        drop_publications(x);
        (void) settings_free(x->orders.settings);
        close_fd_p(&x->event_fd);
        close_fd_p(&x->wake_fd);
        (void) pthread_cond_destroy(&x->ended_cond);
        (void) pthread_mutex_destroy(&x->lock);
        free(x);
        return NULL;
}

/* ---- the owner's side ---- */

int exchange_event_fd(const Exchange *x) {
        return x->event_fd;
}

Event *exchange_take_events(Exchange *x) {
        Event *first;

        /* Lowered first: an event that comes in between raises it again, at worst for nothing. */
        fd_lower(x->event_fd);
        lock(x);
        first = x->first_event;
        x->first_event = NULL;
        x->event_tail = &x->first_event;
        unlock(x);
        return first;
}

void exchange_event_done(Exchange *x, Event *e) {
        bool room;

        lock(x);
        x->event_bytes -= e->bytes;
        room = x->full_seen && x->event_bytes <= TRANSPORT_QUEUE_BYTES_MAX / 2;
        if (room)
                x->full_seen = false;
        unlock(x);
        if (room)
                fd_raise(x->wake_fd);
        free(e);
}

static Publication *publication_new(const char *topic, const void *payload, size_t len) {
        size_t topic_size = strlen(topic) + 1;
        Publication *p = malloc(sizeof *p + topic_size + len);

        if (!p)
                return NULL;
        *p = (Publication){ .len = len, .bytes = sizeof *p + topic_size + len };
        memcpy(p->data, topic, topic_size);
        if (len > 0)
                memcpy(p->data + topic_size, payload, len);
        p->topic = p->data;
        p->payload = p->data + topic_size;
        return p;
}

int exchange_publish(Exchange *x, uint64_t connection, const char *topic, const void *payload, size_t len) {
        Publication *p;
        bool first;
        int r = 0;

        if (len > TRANSPORT_OUT_BYTES_MAX)
                return -ENOBUFS;
        p = publication_new(topic, payload, len);
        if (!p)
                return -ENOMEM;
        lock(x);
        if (!x->online || connection != x->connection)
                r = -ENOTCONN;
        else if (x->out_bytes + p->bytes > TRANSPORT_OUT_BYTES_MAX)
                r = -ENOBUFS;
        if (r < 0) {
                unlock(x);
                free(p);
                return r;
        }
        first = !x->first_publication;
        *x->publication_tail = p;
        x->publication_tail = &p->next;
        x->out_bytes += p->bytes;
        unlock(x);
        if (first)
                fd_raise(x->wake_fd);
        return 0;
}

void exchange_order_settings(Exchange *x, Settings *settings, bool reconnect) {
        Settings *old;

        lock(x);
        old = x->orders.settings;
        x->orders.settings = settings;
        x->orders.reconnect = x->orders.reconnect || reconnect;
        unlock(x);
        fd_raise(x->wake_fd);
        (void) settings_free(old);
}

bool exchange_order_stop(Exchange *x, uint64_t wait_usec) {
        struct timespec until;
        bool ended;

        if (clock_gettime(CLOCK_MONOTONIC, &until) < 0)
                abort();
        wait_usec = MIN_OF(wait_usec, (uint64_t) 3600 * USEC_PER_SEC);
        until.tv_sec += (time_t) (wait_usec / USEC_PER_SEC);
        until.tv_nsec += (long) (wait_usec % USEC_PER_SEC) * 1000;
        if (until.tv_nsec >= 1000000000) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000;
        }
        lock(x);
        x->orders.stop = true;
        x->orders.stop_by_usec = clock_boottime_usec() + wait_usec;
        fd_raise(x->wake_fd);
        while (!x->ended && pthread_cond_timedwait(&x->ended_cond, &x->lock, &until) == 0)
                ;
        ended = x->ended;
        unlock(x);
        return ended;
}

/* ---- the network thread's side ---- */

int exchange_wake_fd(const Exchange *x) {
        return x->wake_fd;
}

void exchange_take_orders(Exchange *x, Orders *ret) {
        fd_lower(x->wake_fd);
        lock(x);
        *ret = x->orders;
        x->orders.settings = NULL;
        x->orders.reconnect = false;
        unlock(x);
}

/* One allocation: the event, the topic, the text, then the payload with its closing NUL. */
static Event *event_new(const TransportEvent *from) {
        size_t topic = from->topic ? strlen(from->topic) + 1 : 0;
        size_t text = from->text ? strlen(from->text) + 1 : 0;
        size_t size = sizeof(Event) + topic + text + from->payload_len + 1;
        Event *e = malloc(size);

        if (!e)
                return NULL;
        *e = (Event){ .public = *from, .bytes = size };
        e->public.topic = from->topic ? memcpy(e->data, from->topic, topic) : NULL;
        e->public.text = from->text ? memcpy(e->data + topic, from->text, text) : NULL;
        e->public.payload = e->data + topic + text;
        if (from->payload_len > 0)
                memcpy(e->data + topic + text, from->payload, from->payload_len);
        e->data[topic + text + from->payload_len] = '\0';
        return e;
}

/* true: the list was empty, so the owner must be woken (after unlocking, or it would wake up only to wait). */
static bool append_event(Exchange *x, Event *e) {
        bool first = !x->first_event;

        *x->event_tail = e;
        x->event_tail = &e->next;
        x->event_bytes += e->bytes;
        return first;
}

int exchange_push(Exchange *x, const TransportEvent *from) {
        Event *e = event_new(from);
        bool first;

        if (!e)
                return -ENOMEM;
        lock(x);
        first = append_event(x, e);
        unlock(x);
        if (first)
                fd_raise(x->event_fd);
        return 0;
}

bool exchange_full(Exchange *x) {
        bool full;

        lock(x);
        full = x->event_bytes > TRANSPORT_QUEUE_BYTES_MAX ||
               (x->full_seen && x->event_bytes > TRANSPORT_QUEUE_BYTES_MAX / 2);
        x->full_seen = full;
        unlock(x);
        return full;
}

int exchange_set_online(Exchange *x, bool session_present) {
        Event *e =
                event_new(&(TransportEvent){ .type = TRANSPORT_ONLINE, .session_present = session_present });
        bool first;

        if (!e)
                return -ENOMEM;
        lock(x);
        x->online = true;
        e->connection = ++x->connection;
        first = append_event(x, e);
        unlock(x);
        if (first)
                fd_raise(x->event_fd);
        return 0;
}

void exchange_set_offline(Exchange *x) {
        lock(x);
        x->online = false;
        drop_publications(x);
        unlock(x);
}

bool exchange_publication_waits(Exchange *x) {
        bool waits;

        lock(x);
        waits = x->first_publication != NULL;
        unlock(x);
        return waits;
}

Publication *exchange_take_publication(Exchange *x) {
        Publication *p;

        lock(x);
        p = x->first_publication;
        if (p) {
                x->first_publication = p->next;
                if (!x->first_publication)
                        x->publication_tail = &x->first_publication;
                p->next = NULL;
        }
        unlock(x);
        return p;
}

void exchange_publication_done(Exchange *x, size_t bytes) {
        lock(x);
        x->out_bytes -= MIN_OF(bytes, x->out_bytes);
        unlock(x);
}

void exchange_set_ended(Exchange *x) {
        lock(x);
        x->ended = true;
        (void) pthread_cond_broadcast(&x->ended_cond);
        unlock(x);
}
