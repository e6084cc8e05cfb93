/* SPDX-License-Identifier: Apache-2.0 */
/* Private to perform.c (the plan's actions) and loop.c (the world's events). */
#pragma once

#include "plan/progress.h"
#include "runner/bounds.h"
#include "runner/run.h"

enum { PERFORM_EVENTS_MAX = 16 }; /* queued; the world is only listened to while there are none */

typedef struct PerformQueued {
        PlanEvent event;
        char text[PROGRESS_LINE_MAX + 1]; /* event.text points here */
        bool with_output;                   /* tails and counts are filled in when its turn comes */
} PerformQueued;

typedef struct Performer {
        Run *run;
        PerformQueued *queue; /* PERFORM_EVENTS_MAX of them */
        size_t first, n;
        bool busy;               /* events are being carried out further up the stack */
        bool done;               /* the plan said EXIT */
        bool cleared;            /* nothing of the run is left in work and runs */
        uint64_t retry_deadline; /* no memory for an event: again then */
        PlanActions actions;

        int signal_fd;
        int handover_fd; /* a later runner that is about to hand its agent's connection over */
        uint64_t handover_deadline;
        char *packet; /* WIRE_PACKET_MAX + 1 bytes */

        uint64_t ahead_deadline; /* then fork ahead; USEC_NEVER = not */
        bool ahead;              /* run->child was forked for the first step before the plan asked for it */
        bool want_slot;
        bool want_all_slots;    /* with want_slot: every one that can be */
        bool slot_trouble;      /* said in the log already */
        uint64_t slot_deadline; /* the next try */
        bool tree;              /* a child was forked and its end was not told in full */
        bool main_over;         /* the handler's own process has ended, as main_status says */
        int main_status;
        bool main_told;  /* EXITED was told */
        bool trailing;   /* its output is not at its end and may still be waited for */
        bool tree_empty; /* no child is left */
        uint64_t trailing_deadline;
        pid_t reboot_pid; /* of the reboot command; 0 = none */
        bool stopped;     /* the runner was told to stop */
        bool killing; /* SIGKILL was asked for and something may be left */
        uint64_t kill_deadline;
} Performer;

/* Queue an event; perform_run() feeds what is queued to the plan and carries out what it answers. */
void perform_event(Performer *p, PlanEventType type);
void perform_event_seconds(Performer *p, PlanEventType type, uint64_t seconds);
void perform_event_cancel(Performer *p, bool by_operator);
void perform_open(Performer *p, const WireMessage *first); /* the first event */
void perform_event_text(Performer *p, PlanEventType type, const char *text, size_t len);
/* EXITED, TREE_EMPTY: with the ends of the output as they are when its turn comes; status as waitpid() gives it. */
void perform_event_output(Performer *p, PlanEventType type, int status);
void perform_run(Performer *p);

/* While the agent claims the job in the cloud there is time to fork the first step's child: it waits at its gate, and has done
 * nothing, until the plan has it forked, recorded and released. If it is never wanted it ends with its gate. */
void perform_fork_ahead(Performer *p);

/* One try to get the slot that was asked for. */
void perform_take_slot(Performer *p);
/* Has the reboot command ended? */
void perform_look_at_reboot(Performer *p);
/* The run is over, and no reboot has come. */
void perform_end_reboot(Performer *p);
/* SIGKILL again, if that is what is wanted. */
void perform_kill_again(Performer *p);
void perform_agent_gone(Performer *p);
