/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/exchange.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/clock.h"

enum {
        BUNCH_BYTES_MAX = 16 << 10, /* of publications while corked: more, and the network thread may begin */
        QUIET_BYTES_MAX = 16 << 10, /* of events that can wait for others: more, and the owner is woken for them */
};

typedef struct EventList {
        Event *first, **tail;
} EventList;

typedef struct PublicationList {
        Publication *first, **tail;
} PublicationList;

struct Exchange {
        pthread_mutex_t lock;
        pthread_cond_t ended_cond;
        unsigned refs;
        int event_fd, wake_fd;

        EventList events;
        size_t event_bytes;
        bool owner_awake; /* looks at the list again before it sleeps */
        bool owner_told;  /* event_fd was raised since the owner last looked */
        bool pressing;    /* something waits that the owner is to be woken for */
        bool quiet_pubacks;
        bool full_seen;   /* the network thread waits for room */

        PublicationList publications;
        size_t out_bytes;
        bool network_sleeps; /* and wants to be woken for a publication */

        bool online;
        uint64_t connection; /* counts connections that came online */
        Orders orders;
        Subscription subscription[TRANSPORT_FILTERS_MAX];
        size_t n_subscriptions;
        uint64_t last_serial;
        bool ended;

        /* The owner's own, without the lock. */
        unsigned corked; /* how many times */
        bool wake_due;
        size_t corked_bytes;

        /* The network thread's own, without the lock. */
        EventList staged;
        size_t staged_bytes;
        bool staged_pressing; /* there is more than good PUBACKs */
        PublicationList taken;
        size_t released; /* of out_bytes, told at the next look */
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

        x->events.tail = &x->events.first;
        x->staged.tail = &x->staged.first;
        x->publications.tail = &x->publications.first;
        x->taken.tail = &x->taken.first;
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

/* ---- lists ---- */

static void free_events(EventList *l) {
        while (l->first) {
                Event *e = l->first;

                l->first = e->next;
                free(e);
        }
        l->tail = &l->first;
}

static void free_publications(PublicationList *l) {
        while (l->first) {
                Publication *p = l->first;

                l->first = p->next;
                free(p);
        }
        l->tail = &l->first;
}

static void append_event(EventList *l, Event *e) {
        *l->tail = e;
        l->tail = &e->next;
}

/* Everything from `from` to the end of `to`. */
static void move_events(EventList *to, EventList *from) {
        if (!from->first)
                return;
        *to->tail = from->first;
        to->tail = from->tail;
        *from = (EventList){ .tail = &from->first };
}

static void move_publications(PublicationList *to, PublicationList *from) {
        if (!from->first)
                return;
        *to->tail = from->first;
        to->tail = from->tail;
        *from = (PublicationList){ .tail = &from->first };
}

/* ---- references ---- */

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
        free_events(&x->events);
        free_events(&x->staged);
        free_publications(&x->publications);
        free_publications(&x->taken);
        for (size_t i = 0; i < x->n_subscriptions; i++)
                free(x->subscription[i].filter);
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

Event *exchange_take_events(Exchange *x, bool first) {
        Event *list;

        /* Lowered first: an event that comes in between raises it again, at worst for nothing. */
        if (first)
                fd_lower(x->event_fd);
        lock(x);
        list = x->events.first;
        x->events = (EventList){ .tail = &x->events.first };
        x->owner_awake = list != NULL;
        x->owner_told = x->pressing = false;
        unlock(x);
        return list;
}

/* With the lock: must the owner be woken (after unlocking, or it would wake up only to wait)? */
static bool wake_due(Exchange *x) {
        bool due = x->pressing && !x->owner_told && !x->owner_awake;

        if (due)
                x->owner_told = true;
        return due;
}

void exchange_rest(Exchange *x) {
        bool more;

        lock(x);
        x->owner_awake = false;
        more = wake_due(x);
        unlock(x);
        if (more)
                fd_raise(x->event_fd);
}

void exchange_quiet_pubacks(Exchange *x, bool quiet) {
        bool wake;

        lock(x);
        x->quiet_pubacks = quiet;
        if (!quiet && x->events.first)
                x->pressing = true;
        wake = wake_due(x);
        unlock(x);
        if (wake)
                fd_raise(x->event_fd);
}

void exchange_events_done(Exchange *x, size_t bytes) {
        bool room;

        lock(x);
        x->event_bytes -= bytes;
        room = x->full_seen && x->event_bytes <= TRANSPORT_QUEUE_BYTES_MAX / 2;
        if (room)
                x->full_seen = false;
        unlock(x);
        if (room)
                fd_raise(x->wake_fd);
}

static Publication *publication_new(unsigned id, const char *topic, const void *payload, size_t len) {
        size_t topic_size = strlen(topic) + 1;
        Publication *p = malloc(sizeof *p + topic_size + len);

        if (!p)
                return NULL;
        *p = (Publication){ .id = id, .topic_len = topic_size - 1, .len = len, .bytes = sizeof *p + topic_size + len };
        memcpy(p->data, topic, topic_size);
        if (len > 0)
                memcpy(p->data + topic_size, payload, len);
        p->topic = p->data;
        p->payload = p->data + topic_size;
        return p;
}

static void wake_network(Exchange *x) {
        bool asleep;

        x->corked_bytes = 0;
        if (!x->wake_due)
                return;
        x->wake_due = false;
        lock(x);
        asleep = x->network_sleeps;
        x->network_sleeps = false; /* one wake-up is enough */
        unlock(x);
        if (asleep)
                fd_raise(x->wake_fd);
}

/* The network thread sleeps although there is something to send: now, or with the rest of the bunch. */
static void wake_for_publication(Exchange *x, size_t bytes) {
        x->wake_due = true;
        x->corked_bytes += bytes;
        if (x->corked == 0 || x->corked_bytes > BUNCH_BYTES_MAX)
                wake_network(x);
}

int exchange_publish(Exchange *x, uint64_t connection, unsigned id, const char *topic, const void *payload,
                     size_t len) {
        Publication *p;
        size_t bytes;
        bool asleep;
        int r = 0;

        if (len > TRANSPORT_OUT_BYTES_MAX)
                return -ENOBUFS;
        p = publication_new(id, topic, payload, len);
        if (!p)
                return -ENOMEM;
        bytes = p->bytes;
        lock(x);
        if (!x->online || connection != x->connection)
                r = -ENOTCONN;
        else if (x->out_bytes + bytes > TRANSPORT_OUT_BYTES_MAX)
                r = -ENOBUFS;
        if (r < 0) {
                unlock(x);
                free(p);
                return r;
        }
        *x->publications.tail = p;
        x->publications.tail = &p->next;
        x->out_bytes += bytes;
        asleep = x->network_sleeps;
        unlock(x);
        if (asleep)
                wake_for_publication(x, bytes);
        return 0;
}

void exchange_cork(Exchange *x) {
        x->corked++;
}

void exchange_uncork(Exchange *x) {
        if (x->corked > 0 && --x->corked == 0)
                wake_network(x);
}

static size_t find_subscription(const Exchange *x, const char *filter) {
        size_t i = 0;

        while (i < x->n_subscriptions && strcmp(x->subscription[i].filter, filter) != 0)
                i++;
        return i;
}

static void forget_subscription(Exchange *x, size_t i) {
        free(x->subscription[i].filter);
        x->n_subscriptions--;
        memmove(&x->subscription[i], &x->subscription[i + 1], (x->n_subscriptions - i) * sizeof x->subscription[0]);
}

int exchange_subscribe(Exchange *x, unsigned id, const char *filter, size_t max) {
        char *copy = strdup(filter);
        int r = 0;

        if (!copy)
                return -ENOMEM;
        lock(x);
        if (find_subscription(x, filter) < x->n_subscriptions)
                r = -EEXIST;
        else if (x->n_subscriptions >= MIN_OF(max, ELEMENTSOF(x->subscription)))
                r = -ENOSPC;
        if (r == 0) {
                x->subscription[x->n_subscriptions++] =
                        (Subscription){ .filter = TAKE(copy), .id = id, .serial = ++x->last_serial };
                x->orders.subscriptions = true;
        }
        unlock(x);
        free(copy);
        if (r == 0)
                fd_raise(x->wake_fd);
        return r;
}

int exchange_unsubscribe(Exchange *x, const char *filter) {
        size_t i;
        bool found;

        lock(x);
        i = find_subscription(x, filter);
        found = i < x->n_subscriptions;
        if (found) {
                forget_subscription(x, i);
                x->orders.subscriptions = true;
        }
        unlock(x);
        if (found)
                fd_raise(x->wake_fd);
        return found ? 0 : -ENOENT;
}

bool exchange_has_subscription(Exchange *x, const char *filter) {
        bool found;

        lock(x);
        found = find_subscription(x, filter) < x->n_subscriptions;
        unlock(x);
        return found;
}

size_t exchange_n_subscriptions(Exchange *x) {
        size_t n;

        lock(x);
        n = x->n_subscriptions;
        unlock(x);
        return n;
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
        x->orders.reconnect = x->orders.subscriptions = false;
        unlock(x);
}

/* One allocation: the event, the topic, the text, then the payload with its closing NUL. */
static Event *event_new(const TransportEvent *from, size_t topic_len) {
        size_t topic = from->topic ? topic_len + 1 : 0;
        size_t text = from->text ? strlen(from->text) + 1 : 0;
        size_t size = sizeof(Event) + topic + text + from->payload_len + 1;
        Event *e = malloc(size);
        char *at;

        if (!e)
                return NULL;
        *e = (Event){ .public = *from, .bytes = size };
        at = e->data;
        if (from->topic) {
                e->public.topic = memcpy(at, from->topic, topic_len);
                at[topic_len] = '\0';
                at += topic;
        }
        if (from->text) {
                e->public.text = memcpy(at, from->text, text);
                at += text;
        }
        e->public.payload = at;
        if (from->payload_len > 0)
                memcpy(at, from->payload, from->payload_len);
        at[from->payload_len] = '\0';
        return e;
}

static void stage_event(Exchange *x, Event *e) {
        append_event(&x->staged, e);
        x->staged_bytes += e->bytes;
        if (e->public.type != TRANSPORT_PUBACK || e->public.code >= 128)
                x->staged_pressing = true;
}

int exchange_push(Exchange *x, const TransportEvent *from) {
        Event *e = event_new(from, from->topic ? strlen(from->topic) : 0);

        if (!e)
                return -ENOMEM;
        stage_event(x, e);
        return 0;
}

int exchange_push_message(Exchange *x, const char *topic, size_t topic_len, const void *payload, size_t len,
                          bool retained) {
        Event *e = event_new(&(TransportEvent){ .type = TRANSPORT_MESSAGE,
                                                .topic = topic,
                                                .payload = payload,
                                                .payload_len = len,
                                                .retained = retained },
                             topic_len);

        if (!e)
                return -ENOMEM;
        stage_event(x, e);
        return 0;
}

/* With the lock: hand over what is staged. true: wake the owner (after unlocking). */
static bool hand_over(Exchange *x) {
        if (x->staged.first && (x->staged_pressing || !x->quiet_pubacks))
                x->pressing = true;
        move_events(&x->events, &x->staged);
        x->event_bytes += x->staged_bytes;
        x->staged_bytes = 0;
        x->staged_pressing = false;
        if (x->event_bytes > QUIET_BYTES_MAX && x->events.first)
                x->pressing = true;
        return wake_due(x);
}

void exchange_flush(Exchange *x) {
        bool asleep;

        if (!x->staged.first)
                return;
        lock(x);
        asleep = hand_over(x);
        unlock(x);
        if (asleep)
                fd_raise(x->event_fd);
}

bool exchange_full(Exchange *x) {
        size_t bytes;
        bool full;

        lock(x);
        bytes = x->event_bytes + x->staged_bytes;
        full = bytes > TRANSPORT_QUEUE_BYTES_MAX || (x->full_seen && bytes > TRANSPORT_QUEUE_BYTES_MAX / 2);
        x->full_seen = full;
        unlock(x);
        return full;
}

bool exchange_sleep(Exchange *x, bool wanted) {
        bool may;

        lock(x);
        x->out_bytes -= x->released;
        x->released = 0;
        may = !wanted || (!x->taken.first && !x->publications.first);
        x->network_sleeps = wanted && may;
        unlock(x);
        return may;
}

void exchange_wake(Exchange *x) {
        lock(x);
        x->network_sleeps = false;
        unlock(x);
}

int exchange_set_online(Exchange *x, bool session_present) {
        Event *e = event_new(&(TransportEvent){ .type = TRANSPORT_ONLINE, .session_present = session_present }, 0);
        bool asleep;

        if (!e)
                return -ENOMEM;
        stage_event(x, e);
        lock(x);
        x->online = true;
        e->connection = ++x->connection;
        asleep = hand_over(x);
        unlock(x);
        if (asleep)
                fd_raise(x->event_fd);
        return 0;
}

void exchange_set_offline(Exchange *x) {
        lock(x);
        x->online = false;
        free_publications(&x->publications);
        x->out_bytes = x->released = 0;
        unlock(x);
        free_publications(&x->taken);
}

Publication *exchange_first_publication(Exchange *x) {
        if (!x->taken.first) {
                lock(x);
                move_publications(&x->taken, &x->publications);
                unlock(x);
        }
        return x->taken.first;
}

Publication *exchange_take_publication(Exchange *x) {
        Publication *p = exchange_first_publication(x);

        if (!p)
                return NULL;
        x->taken.first = p->next;
        if (!p->next)
                x->taken.tail = &x->taken.first;
        p->next = NULL;
        return p;
}

void exchange_publication_done(Exchange *x, size_t bytes) {
        x->released += bytes;
}

static void free_filters(Subscription *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(list[i].filter);
}

ssize_t exchange_get_subscriptions(Exchange *x, Subscription ret[static TRANSPORT_FILTERS_MAX]) {
        size_t n = 0;
        bool short_of_memory = false;

        lock(x);
        for (; n < x->n_subscriptions && !short_of_memory; n++) {
                ret[n] = x->subscription[n];
                ret[n].filter = strdup(x->subscription[n].filter);
                short_of_memory = !ret[n].filter;
        }
        unlock(x);
        if (!short_of_memory)
                return (ssize_t) n;
        free_filters(ret, n);
        return -ENOMEM;
}

bool exchange_answer_subscription(Exchange *x, uint64_t serial, bool granted) {
        size_t i = 0;
        bool found;

        lock(x);
        while (i < x->n_subscriptions && x->subscription[i].serial != serial)
                i++;
        found = i < x->n_subscriptions;
        if (found && granted)
                x->subscription[i].kept = true;
        else if (found)
                forget_subscription(x, i);
        unlock(x);
        return found;
}

void exchange_set_ended(Exchange *x) {
        lock(x);
        x->ended = true;
        (void) pthread_cond_broadcast(&x->ended_cond);
        unlock(x);
}
