/* SPDX-License-Identifier: Apache-2.0 */
#include "transport/subscriber.h"

#include <errno.h>
#include <mqtt_protocol.h>
#include <stdio.h>
#include <string.h>

#include "transport/reason.h"

enum {
        REFUSED_RETRY_SEC = 60,   /* a refused filter is asked for again after this, doubling … */
        REFUSED_RETRY_FACTOR = 8, /* … up to so many times reconnect_max */
        SUBACK_FAILURE = 0x80,
        VERSION_5 = 5,
};

void subscriber_init(Subscriber *s, const Settings *settings, Exchange *exchange, bool cautious) {
        *s = (Subscriber){
                .settings = settings,
                .exchange = exchange,
                .cautious = cautious,
                .suback_by = USEC_NEVER,
                .ask_again_at = USEC_NEVER,
        };
}

void subscriber_done(Subscriber *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->filter[i].text);
        free(s->filter);
        s->filter = NULL;
        s->n = s->room = 0;
}

static int out_of_memory(Error *e) {
        return error_set(e, ENOMEM, "out of memory for subscriptions");
}

static bool any_filter(const Subscriber *s, FilterState state) {
        for (size_t i = 0; i < s->n; i++)
                if (s->filter[i].state == state)
                        return true;
        return false;
}

static int make_room(Subscriber *s, size_t more, Error *e) {
        size_t room = MIN_OF(s->n + more, (size_t) SUBSCRIBER_FILTERS_MAX);
        Filter *filter;

        if (room <= s->room)
                return 0;
        filter = realloc(s->filter, room * sizeof *filter);
        if (!filter)
                return out_of_memory(e);
        s->filter = filter;
        s->room = room;
        return 0;
}

static void remove_filter(Subscriber *s, size_t i) {
        free(s->filter[i].text);
        s->n--;
        memmove(&s->filter[i], &s->filter[i + 1], (s->n - i) * sizeof s->filter[0]);
}

/* ---- asking ---- */

static int ask_for(Subscriber *s, const size_t *which, size_t n, uint64_t now, Error *e) {
        int options = s->settings->protocol == VERSION_5 && s->settings->no_local ? MQTT_SUB_OPT_NO_LOCAL : 0;
        char *texts[SUBSCRIBER_PER_PACKET] = { 0 };
        int mid = 0, rc;

        for (size_t i = 0; i < n; i++)
                texts[i] = s->filter[which[i]].text;
        rc = mosquitto_subscribe_multiple(s->mosq, &mid, (int) n, texts, s->settings->qos, options, NULL);
        if (rc != MOSQ_ERR_SUCCESS)
                return error_set(e, EPROTO, "SUBSCRIBE to %s: %s", texts[0], reason_mosquitto(rc));
        s->last_mid = mid;
        for (size_t i = 0; i < n; i++) {
                Filter *f = &s->filter[which[i]];

                f->state = FILTER_ASKED;
                f->mid = mid;
                f->answer_by = now + s->settings->operation_timeout_usec;
        }
        return 0;
}

static void find_suback_deadline(Subscriber *s) {
        s->suback_by = USEC_NEVER;
        for (size_t i = 0; i < s->n; i++)
                if (s->filter[i].state == FILTER_ASKED)
                        s->suback_by = MIN_OF(s->suback_by, s->filter[i].answer_by);
}

/* Ask for everything that is wanted, without waiting between the packets; or, if cautious, for the next one only. */
static int ask(Subscriber *s, uint64_t now, Error *e) {
        size_t which[SUBSCRIBER_PER_PACKET], n = 0, most = s->cautious ? 1 : SUBSCRIBER_PER_PACKET;
        int r = 0;

        if (s->cautious && any_filter(s, FILTER_ASKED))
                return 0;
        for (size_t i = 0; i < s->n && r == 0; i++) {
                if (s->filter[i].state != FILTER_WANTED)
                        continue;
                which[n++] = i;
                if (n < most)
                        continue;
                r = ask_for(s, which, n, now, e);
                n = 0;
                if (s->cautious)
                        break;
        }
        if (r == 0 && n > 0)
                r = ask_for(s, which, n, now, e);
        find_suback_deadline(s);
        return r;
}

static int unsubscribe(Subscriber *s, const char *filter, Error *e) {
        int rc = mosquitto_unsubscribe(s->mosq, &s->last_mid, filter);

        if (rc != MOSQ_ERR_SUCCESS)
                return error_set(e, EPROTO, "UNSUBSCRIBE from %s: %s", filter, reason_mosquitto(rc));
        return 0;
}

/* ---- the owner's list ---- */

static bool still_wanted(const Filter *f, const Subscription *list, size_t n) {
        if (f->serial == 0)
                return true;
        for (size_t i = 0; i < n; i++)
                if (list[i].serial == f->serial)
                        return true;
        return false;
}

static bool have(const Subscriber *s, uint64_t serial) {
        for (size_t i = 0; i < s->n; i++)
                if (s->filter[i].serial == serial)
                        return true;
        return false;
}

static int drop_unwanted(Subscriber *s, const Subscription *list, size_t n, Error *e) {
        int r = 0;

        for (size_t i = 0; i < s->n && r == 0;) {
                Filter *f = &s->filter[i];

                if (f->dropped || still_wanted(f, list, n)) {
                        i++;
                        continue;
                }
                if (f->state == FILTER_ASKED || f->state == FILTER_GRANTED)
                        r = unsubscribe(s, f->text, e);
                if (f->state == FILTER_ASKED) {
                        f->dropped = true;
                        i++;
                } else
                        remove_filter(s, i);
        }
        return r;
}

static int add_wanted(Subscriber *s, Subscription *list, size_t n, Error *e) {
        int r = make_room(s, n, e);

        if (r < 0)
                return r;
        s->behind = false;
        for (size_t i = 0; i < n; i++) {
                if (have(s, list[i].serial))
                        continue;
                if (s->n == s->room) {
                        s->behind = true; /* again when a SUBACK has made room */
                        break;
                }
                s->filter[s->n++] = (Filter){
                        .text = TAKE(list[i].filter), .serial = list[i].serial, .id = list[i].id, .kept = list[i].kept
                };
        }
        return 0;
}

int subscriber_sync(Subscriber *s, uint64_t now, Error *e) {
        Subscription list[TRANSPORT_FILTERS_MAX];
        ssize_t n;
        int r;

        if (!s->mosq)
                return 0;
        n = exchange_get_subscriptions(s->exchange, list);
        if (n < 0)
                return out_of_memory(e);
        r = drop_unwanted(s, list, (size_t) n, e);
        if (r == 0)
                r = add_wanted(s, list, (size_t) n, e);
        for (ssize_t i = 0; i < n; i++)
                free(list[i].filter);
        return r == 0 ? ask(s, now, e) : r;
}

int subscriber_begin(Subscriber *s, struct mosquitto *mosq, uint64_t now, Error *e) {
        int r = make_room(s, s->settings->n_filters, e);

        if (r < 0)
                return r;
        s->mosq = mosq;
        for (size_t i = 0; i < s->settings->n_filters; i++) {
                char *text = strdup(s->settings->filters[i]);

                if (!text)
                        return out_of_memory(e);
                s->filter[s->n++] = (Filter){ .text = text };
        }
        return subscriber_sync(s, now, e);
}

/* ---- answers ---- */

static int tell(Subscriber *s, const Filter *f, TransportEventType type, int code, const char *why, Error *e) {
        char text[512];

        if (code < SUBACK_FAILURE)
                (void) snprintf(text, sizeof text, "granted with QoS %d", code);
        else
                (void) snprintf(text, sizeof text, "the broker refused the subscription (SUBACK 0x%02x%s%s)%s%s",
                                (unsigned) code, s->settings->protocol == VERSION_5 ? ", " : "",
                                s->settings->protocol == VERSION_5 ? reason_code((unsigned) code) : "", why ? ": " : "",
                                why ? why : "");
        if (exchange_push(
                    s->exchange,
                    &(TransportEvent){ .type = type, .topic = f->text, .text = text, .id = f->id, .code = code }) < 0)
                return out_of_memory(e);
        return 0;
}

/* The broker's word on one filter; *ret_remove: it has no place here any more. */
static int answer(Subscriber *s, Filter *f, int code, const char *why, bool *ret_remove, Error *e) {
        bool granted = code < SUBACK_FAILURE, first = f->serial != 0 && !f->kept;

        *ret_remove = f->dropped || (first && !granted);
        if (f->dropped)
                return 0;
        f->state = granted ? FILTER_GRANTED : FILTER_REFUSED;
        if (first) {
                f->kept = granted;
                if (!exchange_answer_subscription(s->exchange, f->serial, granted))
                        return 0; /* the next sync drops it */
                return tell(s, f, TRANSPORT_SUBACK, code, why, e);
        }
        return granted ? 0 : tell(s, f, TRANSPORT_REFUSED, code, why, e);
}

static void ask_again_later(Subscriber *s, uint64_t now) {
        uint64_t most = s->settings->reconnect_max_usec * REFUSED_RETRY_FACTOR;

        if (s->ask_again_delay == 0)
                s->ask_again_delay = MIN_OF(REFUSED_RETRY_SEC * USEC_PER_SEC, most);
        else
                s->ask_again_delay = MIN_OF(s->ask_again_delay * 2, most);
        s->ask_again_at = now + s->ask_again_delay;
}

static int take_codes(Subscriber *s, int mid, const int *codes, const char *why, Error *e) {
        int r = 0;

        for (size_t i = 0; i < s->n && r == 0;) {
                Filter *f = &s->filter[i];
                bool remove = false;

                if (f->state == FILTER_ASKED && f->mid == mid)
                        r = answer(s, f, *codes++, why, &remove, e);
                if (remove)
                        remove_filter(s, i);
                else
                        i++;
        }
        return r;
}

int subscriber_on_suback(Subscriber *s, int mid, const int *codes, int n, const char *why, uint64_t now, Error *e) {
        int asked = 0, r;

        for (size_t i = 0; i < s->n; i++)
                asked += s->filter[i].state == FILTER_ASKED && s->filter[i].mid == mid;
        if (asked == 0)
                return error_set(e, EPROTO, "the broker sent a SUBACK that nothing was asked for");
        if (n != asked)
                return error_set(e, EPROTO, "the broker's SUBACK has %d codes for %d filters", n, asked);
        r = take_codes(s, mid, codes, why, e);
        if (r == 0)
                r = s->behind ? subscriber_sync(s, now, e) : ask(s, now, e);
        if (r == 0 && subscriber_result(s) != SUBSCRIBER_BUSY && any_filter(s, FILTER_REFUSED) &&
            s->ask_again_at == USEC_NEVER)
                ask_again_later(s, now);
        return r;
}

int subscriber_tick(Subscriber *s, uint64_t now, bool *ret_asked, Error *e) {
        *ret_asked = now >= s->ask_again_at;
        if (!*ret_asked)
                return 0;
        s->ask_again_at = USEC_NEVER;
        for (size_t i = 0; i < s->n; i++)
                if (s->filter[i].state == FILTER_REFUSED)
                        s->filter[i].state = FILTER_WANTED;
        return ask(s, now, e);
}

SubscriberResult subscriber_result(const Subscriber *s) {
        bool refused = false;

        for (size_t i = 0; i < s->n; i++) {
                const Filter *f = &s->filter[i];

                if (f->state == FILTER_ASKED || f->state == FILTER_WANTED)
                        return SUBSCRIBER_BUSY;
                refused = refused || (f->state == FILTER_REFUSED && f->serial == 0);
        }
        return refused ? SUBSCRIBER_REFUSED : SUBSCRIBER_READY;
}

const char *subscriber_unanswered(const Subscriber *s) {
        for (size_t i = 0; i < s->n; i++)
                if (s->filter[i].state == FILTER_ASKED)
                        return s->filter[i].text;
        return NULL;
}
