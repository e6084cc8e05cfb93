/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

enum { SLOT_TEXT_MAX = JOB_KEY_TEXT_MAX + BOOT_ID_MAX + 64 };

/* "KEY BOOT-ID PID START-TIME": written by this program only, into a directory of its own; anything else counts as empty. */
static void slot_read(Slot *s) {
        char text[SLOT_TEXT_MAX + 1], key[JOB_KEY_TEXT_MAX], boot_id[BOOT_ID_MAX];
        ssize_t n = pread(s->fd, text, sizeof text - 1, 0);
        char *space, *rest;
        int pid;

        s->dirty = false;
        if (n <= 0)
                return;
        text[n] = '\0';
        space = strchr(text, ' ');
        if (!space || (size_t) (space - text) >= sizeof key)
                return;
        memcpy(key, text, (size_t) (space - text));
        key[space - text] = '\0';
        rest = space + 1;
        if (sscanf(rest, "%36s %d %" SCNu64, boot_id, &pid, &s->former.start_time) != 3)
                return;
        memcpy(s->former.key, key, sizeof key);
        memcpy(s->former.boot_id, boot_id, sizeof boot_id);
        s->former.pid = pid;
        s->dirty = true;
}

int slot_take(int slots_fd, int64_t n_slots, Slot *ret, Error *e) {
        for (int64_t i = 0; i < n_slots; i++) {
                char name[24];
                int fd CLEANUP_FD = -1;

                (void) snprintf(name, sizeof name, "%" PRId64, i);
                fd = openat(slots_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
                if (fd < 0)
                        return error_errno(e, errno, "slot slots/%s in the runtime directory", name);
                if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                        if (errno == EWOULDBLOCK)
                                continue;
                        return error_errno(e, errno, "locking slots/%s in the runtime directory", name);
                }
                *ret = (Slot){ .fd = TAKE_FD(fd) };
                slot_read(ret);
                return 1;
        }
        return 0;
}

int slot_mark(Slot *s, const TreeTrace *t) {
        char text[SLOT_TEXT_MAX];
        int n = snprintf(text, sizeof text, "%s %s %d %" PRIu64, t->key, t->boot_id, (int) t->pid,
                         t->start_time);

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
