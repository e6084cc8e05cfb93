/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

enum { SLOT_TEXT_MAX = JOB_KEY_TEXT_MAX + BOOT_ID_MAX + 64 + PATH_MAX };

/* "KEY BOOT-ID PID START-TIME STATE-DIRECTORY": written by this program only, into a directory of its own; anything else counts as empty. */
static void slot_read(Slot *s) {
        TreeTrace *t = &s->former;
        char text[SLOT_TEXT_MAX + 1], *space;
        ssize_t n = pread(s->fd, text, sizeof text - 1, 0);
        int at = 0;

        s->dirty = false;
        if (n <= 0)
                return;
        text[n] = '\0';
        space = strchr(text, ' ');
        if (!space || (size_t) (space - text) >= sizeof t->key)
                return;
        *space++ = '\0';
        if (sscanf(space, "%36s %d %" SCNu64 " %n", t->boot_id, &t->pid, &t->start_time, &at) != 3 || at == 0)
                return;
        memcpy(t->key, text, strlen(text) + 1);
        (void) snprintf(t->state, sizeof t->state, "%s", space + at);
        s->dirty = true;
}

int slot_take_number(int slots_fd, int64_t number, Slot *ret, Error *e) {
        char name[24];
        int fd CLEANUP_FD = -1;

        (void) snprintf(name, sizeof name, "%" PRId64, number);
        fd = openat(slots_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return error_errno(e, errno, "slot slots/%s in the runtime directory", name);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return 0;
                return error_errno(e, errno, "locking slots/%s in the runtime directory", name);
        }
        *ret = (Slot){ .fd = TAKE_FD(fd) };
        slot_read(ret);
        return 1;
}

int slot_take(int slots_fd, int64_t n_slots, Slot *ret, Error *e) {
        int r = 0;

        for (int64_t i = 0; i < n_slots && r == 0; i++)
                r = slot_take_number(slots_fd, i, ret, e);
        return r;
}

int slot_mark(Slot *s, const TreeTrace *t) {
        char text[SLOT_TEXT_MAX];
        int n = snprintf(text, sizeof text, "%s %s %d %" PRIu64 " %s", t->key, t->boot_id, (int) t->pid,
                         t->start_time, t->state);

        errno = 0;
        if (pwrite(s->fd, text, (size_t) n, 0) != n || ftruncate(s->fd, n) < 0)
                return errno ? -errno : -EIO;
        return 0;
}

void slot_release(Slot *s) {
        if (s->fd < 0)
                return;
        (void) !ftruncate(s->fd, 0); /* a name that stays is looked for and not found */
        (void) close(s->fd);
        s->fd = -1;
}
