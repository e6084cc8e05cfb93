/* SPDX-License-Identifier: Apache-2.0 */
/* libiotjobs in an sd_event loop (needs _DEFAULT_SOURCE or _GNU_SOURCE, for CLOCK_BOOTTIME). Inline functions, so that the library itself does not need libsystemd; a program that
 * includes this links it. */
#ifndef IOTJOBS_SD_EVENT_H
#define IOTJOBS_SD_EVENT_H

#include <errno.h>
#include <iotjobs/client.h>
#include <systemd/sd-event.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Keep it where it is (the sources point to it) from attach to detach. */
typedef struct IotJobsSdEvent {
        IotJobsClient *client;
        sd_event_source *io, *timer;
} IotJobsSdEvent;

static inline int iotjobs_sd_event_on_io_(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        IotJobsSdEvent *glue = (IotJobsSdEvent *) userdata;
        int r = iotjobs_client_dispatch(glue->client);

        (void) s;
        (void) fd;
        (void) revents;
        return r < 0 ? r : 0;
}

static inline int iotjobs_sd_event_on_timer_(sd_event_source *s, uint64_t usec, void *userdata) {
        IotJobsSdEvent *glue = (IotJobsSdEvent *) userdata;
        int r = iotjobs_client_dispatch(glue->client);

        (void) s;
        (void) usec;
        return r < 0 ? r : 0;
}

static inline int iotjobs_sd_event_prepare_(sd_event_source *s, void *userdata) {
        IotJobsSdEvent *glue = (IotJobsSdEvent *) userdata;
        int ms = iotjobs_client_timeout(glue->client);

        (void) s;
        if (ms < 0)
                return sd_event_source_set_enabled(glue->timer, SD_EVENT_OFF);
        if (sd_event_source_set_time_relative(glue->timer, (uint64_t) ms * 1000) < 0)
                return -EIO;
        return sd_event_source_set_enabled(glue->timer, SD_EVENT_ONESHOT);
}

/* Let go of the loop; before iotjobs_client_free(). Also inside a callback. */
static inline void iotjobs_sd_event_detach(IotJobsSdEvent *glue) {
        glue->io = sd_event_source_disable_unref(glue->io);
        glue->timer = sd_event_source_disable_unref(glue->timer);
}

/* Dispatch `client` from `loop` with this priority (SD_EVENT_PRIORITY_NORMAL). 0 or negative errno. */
static inline int iotjobs_sd_event_attach(IotJobsSdEvent *glue, IotJobsClient *client, sd_event *loop,
                                          int64_t priority) {
        int r;

        glue->client = client;
        glue->io = NULL;
        glue->timer = NULL;
        r = sd_event_add_time_relative(loop, &glue->timer, CLOCK_BOOTTIME, 0, 1000, iotjobs_sd_event_on_timer_,
                                       glue);
        if (r >= 0)
                r = sd_event_source_set_enabled(glue->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(glue->timer, priority);
        if (r >= 0)
                r = sd_event_add_io(loop, &glue->io, iotjobs_client_fd(client),
                                    (uint32_t) iotjobs_client_events(client), iotjobs_sd_event_on_io_, glue);
        if (r >= 0)
                r = sd_event_source_set_priority(glue->io, priority);
        if (r >= 0)
                r = sd_event_source_set_prepare(glue->io, iotjobs_sd_event_prepare_);
        if (r < 0)
                iotjobs_sd_event_detach(glue);
        return r < 0 ? r : 0;
}

#ifdef __cplusplus
}
#endif
#endif
