/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of the benchmark share: the clocks they read and the line they print. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static inline uint64_t measure_now_nsec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* Processor time of this process, every thread of it. */
static inline uint64_t measure_cpu_nsec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* One line of /proc/self/smaps_rollup, in KiB. */
static inline long measure_memory_kib(const char *name) {
        FILE *f = fopen("/proc/self/smaps_rollup", "re");
        char line[256];
        long kib = -1;

        while (f && fgets(line, sizeof line, f))
                if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
                        kib = strtol(line + strlen(name) + 1, NULL, 10);
        if (f)
                (void) fclose(f);
        return kib;
}

static inline int measure_compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

/* Round trips as they end: counted from the end of the warm-up on, the time of each kept for the median. */
enum { MEASURE_TRIPS_MAX = 200 * 1000 };
typedef struct Measure {
        long wanted, done, warm_up; /* done counts the warm-up too */
        uint64_t began, ended, cpu_began, cpu_ended;
        uint64_t *trips;
        size_t n_trips;
} Measure;

static inline void measure_trip(Measure *m, uint64_t sent_nsec) {
        if (++m->done == m->warm_up) {
                m->cpu_began = measure_cpu_nsec();
                m->began = measure_now_nsec();
        } else if (m->done > m->warm_up && m->n_trips < MEASURE_TRIPS_MAX) {
                m->trips[m->n_trips++] = measure_now_nsec() - sent_nsec;
        }
        if (m->done == m->warm_up + m->wanted) {
                m->ended = measure_now_nsec();
                m->cpu_ended = measure_cpu_nsec();
        }
}

static inline void measure_init(Measure *m, long wanted) {
        *m = (Measure) { .wanted = wanted, .warm_up = wanted / 20 + 1 };
        m->trips = calloc(MEASURE_TRIPS_MAX, sizeof *m->trips);
        if (!m->trips)
                abort();
        /* The pages are there before anything is measured. */
        memset(m->trips, 1, MEASURE_TRIPS_MAX * sizeof *m->trips);
}

static inline void measure_print(Measure *m) {
        double sec = (double) (m->ended - m->began) / 1e9;

        qsort(m->trips, m->n_trips, sizeof *m->trips, measure_compare);
        printf("{\"requests\":%ld,\"rate\":%.1f,\"cpu_usec\":%.2f,\"median_usec\":%.1f}\n", m->wanted,
               (double) m->wanted / sec, (double) (m->cpu_ended - m->cpu_began) / 1e3 / (double) m->wanted,
               m->n_trips ? (double) m->trips[m->n_trips / 2] / 1e3 : 0.0);
        (void) fflush(stdout);
        free(m->trips);
        m->trips = NULL;
}
