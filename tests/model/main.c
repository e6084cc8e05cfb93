/* SPDX-License-Identifier: Apache-2.0 */
/* model-check: the deterministic simulation (see world.h). */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "world.h"

enum {
        WORKERS_MAX = 16,
        FOUND_MAX = 16,
        BUG_SEEDS = 1000,
        SWEEP_SEEDS = 40,
        TABLE_SEEDS = 10000, /* a shorter run cannot reach every cell */
        STORY_LINES = 40,
        SEED_SEC = 300, /* a seed takes less than a millisecond: this one hangs */
};

typedef struct Found {
        uint64_t seed;
        Crash crash; /* of a sweep, at this event */
        uint64_t crash_at;
        Promise promise;
        char story[1024];
} Found;

/* What a worker process leaves for its parent, in shared memory. */
typedef struct Result {
        uint64_t table[FAULT_COUNT][STATE_COUNT];
        uint64_t seed; /* being run: named if the process crashes */
        uint64_t runs, events, violations;
        Found found[FOUND_MAX];
} Result;

typedef struct Options {
        uint64_t first, seeds;
        bool one, trace, bugs, sweep;
        Crash crash;
        uint64_t crash_at;
        Bug bug;
        unsigned workers;
} Options;

static void run_seed(World *w, Result *result, uint64_t seed) {
        Found *f;

        result->seed = seed;
        (void) alarm(SEED_SEC);
        world_run(w, seed);
        result->runs++;
        result->events += w->steps;
        if (w->broken == PROMISE_NONE)
                return;
        /* The newest one takes the last place: a search that ends with it has it there. */
        f = &result->found[MIN_OF(result->violations, (uint64_t) FOUND_MAX - 1)];
        *f = (Found){ .seed = seed, .crash = w->crash, .crash_at = w->crash_at, .promise = w->broken };
        memcpy(f->story, w->story, sizeof(f->story));
        result->violations++;
}

/* Without a crash, then with each kind of crash at each event. */
static void sweep_seed(World *w, Result *result, uint64_t seed) {
        uint64_t steps;

        w->sweep = true;
        w->crash = CRASH_NONE;
        run_seed(w, result, seed);
        steps = w->busy_steps;
        for (unsigned c = CRASH_NONE + 1; c < CRASH_COUNT; c++)
                for (uint64_t at = 1; at <= steps; at++) {
                        w->crash = (Crash) c;
                        w->crash_at = at;
                        run_seed(w, result, seed);
                }
}

static void run_range(Result *result, const Options *o, uint64_t first, uint64_t stride, Promise until) {
        World *w = calloc(1, sizeof(World));

        assert(w);
        w->bug = o->bug;
        w->table = result->table;
        for (uint64_t seed = first; seed < o->first + o->seeds; seed += stride) {
                if (o->sweep)
                        sweep_seed(w, result, seed);
                else
                        run_seed(w, result, seed);
                if (until != PROMISE_NONE && w->broken == until)
                        break;
        }
        world_free(w);
        free(w);
}

/* The seed once more, with its milestones: the story of what led there. */
static void tell_story(const Found *f, Bug bug) {
        World *w = calloc(1, sizeof(World));

        assert(w);
        printf("seed %" PRIu64 " breaks %s: %s\n", f->seed, promise_name(f->promise), f->story);
        w->bug = bug;
        w->crash = f->crash;
        w->crash_at = f->crash_at;
        w->sweep = f->crash != CRASH_NONE;
        w->lines = STORY_LINES;
        w->trace = 1;
        world_run(w, f->seed);
        world_tell(w);
        world_free(w);
        free(w);
        printf("  again: model-check --seed %" PRIu64, f->seed);
        if (f->crash != CRASH_NONE)
                printf(" --crash %s --at %" PRIu64, crash_name(f->crash), f->crash_at);
        printf("%s%s --trace\n\n", bug ? " --bug " : "", bug ? bug_name(bug) : "");
}

static int run_workers(const Options *o, Result *results, bool *ret_crashed) {
        pid_t pid[WORKERS_MAX];

        fflush(stdout);
        for (unsigned i = 0; i < o->workers; i++) {
                pid[i] = fork();
                if (pid[i] < 0)
                        return -errno;
                if (pid[i] == 0) {
                        run_range(&results[i], o, o->first + i, o->workers, PROMISE_NONE);
                        _exit(0);
                }
        }
        for (unsigned i = 0; i < o->workers; i++) {
                int status = 0;

                if (waitpid(pid[i], &status, 0) < 0)
                        return -errno;
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                        printf("seed %" PRIu64 " breaks P7: the process dies of signal %d\n", results[i].seed,
                               WIFSIGNALED(status) ? WTERMSIG(status) : 0);
                        *ret_crashed = true;
                }
        }
        return 0;
}

static int by_seed(const void *a, const void *b) {
        const Found *x = a, *y = b;

        return (x->seed > y->seed) - (x->seed < y->seed);
}

/* Faults × states. The number of cells that can be and were not reached. */
static unsigned print_table(const uint64_t table[FAULT_COUNT][STATE_COUNT]) {
        unsigned missing = 0;

        printf("\n%-25s", "faults x states");
        for (unsigned s = 0; s < STATE_COUNT; s++)
                printf("%10s", sim_state_name((SimState) s));
        putchar('\n');
        for (unsigned f = 0; f < FAULT_COUNT; f++) {
                printf("%-25s", fault_name((Fault) f));
                for (unsigned s = 0; s < STATE_COUNT; s++) {
                        bool must = !cell_excuse((Fault) f, (SimState) s);

                        if (table[f][s] > 0)
                                printf("%10" PRIu64, table[f][s]);
                        else
                                printf("%10s", must ? "HOLE" : "-");
                        missing += must && table[f][s] == 0;
                }
                putchar('\n');
        }
        printf("(-: need not be, see tests/model/cells.c)\n");
        return missing;
}

static int check_seeds(const Options *o) {
        Result *results = mmap(NULL, sizeof(Result) * o->workers, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        static uint64_t table[FAULT_COUNT][STATE_COUNT];
        static Found found[WORKERS_MAX * FOUND_MAX];
        uint64_t runs = 0, events = 0, violations = 0;
        size_t n_found = 0;
        unsigned missing = 0;
        bool crashed = false;
        int r;

        if (results == MAP_FAILED)
                return -errno;
        r = run_workers(o, results, &crashed);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < o->workers; i++) {
                runs += results[i].runs;
                events += results[i].events;
                violations += results[i].violations;
                for (uint64_t k = 0; k < MIN_OF(results[i].violations, (uint64_t) FOUND_MAX); k++)
                        found[n_found++] = results[i].found[k];
                for (unsigned f = 0; f < FAULT_COUNT; f++)
                        for (unsigned s = 0; s < STATE_COUNT; s++)
                                table[f][s] += results[i].table[f][s];
        }
        qsort(found, n_found, sizeof(found[0]), by_seed);
        for (size_t i = 0; i < MIN_OF(n_found, (size_t) FOUND_MAX); i++)
                tell_story(&found[i], o->bug);
        if (!o->sweep)
                missing = print_table(table);
        if (o->seeds < TABLE_SEEDS || o->bug != BUG_NONE)
                missing = 0;
        printf("\n%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " runs, %" PRIu64 " events: %" PRIu64
               " violations%s",
               o->seeds, o->first, runs, events, violations, crashed ? ", crashed" : "");
        printf(missing ? ", %u cells of the table not reached\n" : "\n", missing);
        return violations > 0 || missing > 0 || crashed;
}

/* The test of the test: each sown bug must be seen to break its promise. */
static int check_bugs(const Options *o) {
        Result *results = mmap(NULL, sizeof(Result) * BUG_COUNT, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        unsigned missed = 0;

        if (results == MAP_FAILED)
                return -errno;
        printf("1..%d\n", BUG_COUNT - 1);
        for (unsigned b = 1; b < BUG_COUNT; b++) {
                Promise promise = bug_promise((Bug) b);
                const Result *result = &results[b];
                const Found *hit = NULL;
                int status = 0;
                pid_t pid;

                if (o->bug != BUG_NONE && o->bug != (Bug) b)
                        continue;
                fflush(stdout);
                pid = fork();
                if (pid < 0)
                        return -errno;
                if (pid == 0) {
                        Options one = { .first = o->first, .seeds = BUG_SEEDS, .bug = (Bug) b };

                        run_range(&results[b], &one, o->first, 1, promise);
                        _exit(0);
                }
                if (waitpid(pid, &status, 0) < 0)
                        return -errno;
                for (uint64_t k = 0; k < MIN_OF(result->violations, (uint64_t) FOUND_MAX); k++)
                        if (result->found[k].promise == promise)
                                hit = &result->found[k];
                missed += !hit;
                printf("%s %u - %s (%s): ", hit ? "ok" : "not ok", b, bug_name((Bug) b), bug_story((Bug) b));
                if (hit)
                        printf("breaks %s at seed %" PRIu64 ": %s\n", promise_name(promise), hit->seed,
                               hit->story);
                else
                        printf("%s not seen broken in %" PRIu64 " seeds (%" PRIu64 " other violations)\n",
                               promise_name(promise), result->runs, result->violations);
        }
        return missed > 0;
}

static int run_one(const Options *o) {
        World *w = calloc(1, sizeof(World));
        bool broken;

        assert(w);
        w->bug = o->bug;
        w->crash = o->crash;
        w->crash_at = o->crash_at;
        w->sweep = o->sweep || o->crash != CRASH_NONE;
        w->trace = o->trace ? 2 : 0;
        world_run(w, o->first);
        broken = w->broken != PROMISE_NONE;
        if (broken)
                printf("seed %" PRIu64 " breaks %s: %s\n", o->first, promise_name(w->broken), w->story);
        else
                printf("seed %" PRIu64 ": every promise kept, %" PRIu64 " events, %.1f s of virtual time\n",
                       o->first, w->steps, (double) w->now / 1e6);
        world_free(w);
        free(w);
        return broken;
}

/* ---- the command line ---- */

static int usage(FILE *f) {
        fputs("usage: model-check [--seeds N] [--first S] [--workers N] [--bug NAME]  seeds, then the table\n"
              "       model-check --sweep [--seeds N] [--first S]  each crash at each event of faultless "
              "runs\n"
              "       model-check --seed S [--trace] [--bug NAME] [--crash NAME --at EVENT]  one run\n"
              "       model-check --bugs [--bug NAME]  each sown bug must be caught\n"
              "crashes:",
              f);
        for (unsigned c = 1; c < CRASH_COUNT; c++)
                fprintf(f, " %s", crash_name((Crash) c));
        fputs("\nbugs:", f);
        for (unsigned b = 1; b < BUG_COUNT; b++)
                fprintf(f, " %s", bug_name((Bug) b));
        fputc('\n', f);
        return 2;
}

static int parse_number(const char *text, uint64_t *ret) {
        char *end = NULL;

        errno = 0;
        *ret = strtoull(text, &end, 10);
        return errno != 0 || end == text || *end ? -EINVAL : 0;
}

static int parse_bug(const char *text, Bug *ret) {
        for (unsigned b = 1; b < BUG_COUNT; b++)
                if (strcmp(bug_name((Bug) b), text) == 0) {
                        *ret = (Bug) b;
                        return 0;
                }
        return -EINVAL;
}

static int parse_crash(const char *text, Crash *ret) {
        for (unsigned c = 1; c < CRASH_COUNT; c++)
                if (strcmp(crash_name((Crash) c), text) == 0) {
                        *ret = (Crash) c;
                        return 0;
                }
        return -EINVAL;
}

static int parse_options(int argc, char **argv, Options *o) {
        static const struct option options[] = {
                { "seeds", required_argument, NULL, 'n' }, { "first", required_argument, NULL, 'f' },
                { "seed", required_argument, NULL, 's' },  { "trace", no_argument, NULL, 't' },
                { "bug", required_argument, NULL, 'b' },   { "bugs", no_argument, NULL, 'B' },
                { "sweep", no_argument, NULL, 'S' },       { "crash", required_argument, NULL, 'c' },
                { "at", required_argument, NULL, 'a' },    { "workers", required_argument, NULL, 'w' },
                { "help", no_argument, NULL, 'h' },        {},
        };
        uint64_t n = 0;
        int c, r = 0;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (c == 'n')
                        r = parse_number(optarg, &o->seeds);
                else if (c == 'f' || c == 's')
                        r = parse_number(optarg, &o->first);
                else if (c == 'w')
                        r = parse_number(optarg, &n);
                else if (c == 'b')
                        r = parse_bug(optarg, &o->bug);
                else if (c == 'c')
                        r = parse_crash(optarg, &o->crash);
                else if (c == 'a')
                        r = parse_number(optarg, &o->crash_at);
                else if (c == '?' || c == 'h')
                        return -EINVAL;
                if (r < 0)
                        return r;
                o->one |= c == 's';
                o->trace |= c == 't';
                o->bugs |= c == 'B';
                o->sweep |= c == 'S';
        }
        if (o->seeds == 0)
                o->seeds = o->sweep ? SWEEP_SEEDS : TABLE_SEEDS;
        if (n > 0)
                o->workers = (unsigned) MIN_OF(n, (uint64_t) WORKERS_MAX);
        return optind < argc ? -EINVAL : 0;
}

int main(int argc, char **argv) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        Options o = { .first = 1, .workers = (unsigned) MIN_OF(MAX_OF(cpus, 1), 8) };
        int r;

        if (parse_options(argc, argv, &o) < 0)
                return usage(stderr);
        r = o.one ? run_one(&o) : o.bugs ? check_bugs(&o) : check_seeds(&o);
        if (r < 0)
                fprintf(stderr, "model-check: %s\n", strerror(-r));
        return r != 0;
}
