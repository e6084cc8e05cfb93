/* SPDX-License-Identifier: Apache-2.0 */
#include "client/offline.h"

#include <errno.h>
#include <string.h>

void offline_set_limit(OfflineQueue *q, size_t limit, bool drop_oldest) {
        q->limit = MIN_OF(limit, (size_t) OFFLINE_ITEMS_MAX);
        q->drop_oldest = drop_oldest;
}

void offline_set_rate(OfflineQueue *q, double per_second) {
        q->interval_usec = (uint64_t) ((double) USEC_PER_SEC / per_second);
}

static OfflineItem *take_first(OfflineQueue *q) {
        OfflineItem *item = q->first;

        q->first = item->next;
        if (!q->first)
                q->last = NULL;
        q->n--;
        q->bytes -= item->bytes;
        item->next = NULL;
        return item;
}

static bool has_room(const OfflineQueue *q, size_t bytes) {
        return q->n < q->limit && q->bytes + bytes <= OFFLINE_BYTES_MAX;
}

static OfflineItem *item_new(const char *topic, const void *payload, size_t len, size_t bytes) {
        size_t topic_size = strlen(topic) + 1;
        OfflineItem *item = malloc(sizeof *item + bytes);

        if (!item)
                return NULL;
        *item = (OfflineItem){ .len = len, .bytes = bytes };
        item->topic = memcpy(item->data, topic, topic_size);
        item->payload = item->data + topic_size;
        if (len > 0)
                memcpy(item->data + topic_size, payload, len);
        return item;
}

int offline_push(OfflineQueue *q, const char *topic, const void *payload, size_t len) {
        size_t bytes = strlen(topic) + 1 + len;
        OfflineItem *item;
        int dropped = 0;

        if (q->limit == 0)
                return -ENOTCONN;
        if (bytes > OFFLINE_BYTES_MAX || (!has_room(q, bytes) && !q->drop_oldest))
                return -ENOBUFS;
        item = item_new(topic, payload, len, bytes);
        if (!item)
                return -ENOMEM;
        for (; !has_room(q, bytes); dropped++)
                free(take_first(q));
        if (q->last)
                q->last->next = item;
        else
                q->first = item;
        q->last = item;
        q->n++;
        q->bytes += bytes;
        return dropped;
}

uint64_t offline_due(const OfflineQueue *q) {
        return q->first ? q->next_at : USEC_NEVER;
}

OfflineItem *offline_take(OfflineQueue *q, uint64_t now) {
        if (!q->first || now < q->next_at)
                return NULL;
        q->next_at = now + q->interval_usec;
        return take_first(q);
}

void offline_put_back(OfflineQueue *q, OfflineItem *item) {
        item->next = q->first;
        q->first = item;
        if (!q->last)
                q->last = item;
        q->n++;
        q->bytes += item->bytes;
}

void offline_done(OfflineQueue *q) {
        while (q->first)
                free(take_first(q));
}
