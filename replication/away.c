/*  away: Redis is not there. Resolves go on untouched; changes rest in the outbox; whoever waits for
    the log is answered with what was reached, unless it is only another epoch that is to be joined;
    and the connection is tried again, each time after a longer pause, of random length, so that a
    fleet does not come back all at once.
*/
#include "replication/parts.h"

#include <poll.h>

enum { PAUSE_MIN_MS = 50, PAUSE_MAX_MS = 1000 };

static void answer_all(struct ckv_delivery **list, enum ckv_ack reached)
{
    while (*list) {
        struct ckv_delivery *delivery = *list;
        *list = delivery->next;
        delivery->reached = reached;
        delivery->done(delivery);
    }
}

static void answer_waiting(struct ckv_replicator *self)
{
    answer_all(&self->waiting, CKV_ACK_LOCAL);
    self->waiting_end = &self->waiting;
}

/*  Whether Redis is there, and only another epoch of the log is to be joined: what is in the outbox is
    in that log in a moment, and who waits for it has time until the deadline.  */
static bool goes_on_at_once(struct ckv_replicator *self)
{
    return self->rejoins && !atomic_load(&self->stop);
}

static void drop_pending(struct ckv_replicator *self)
{
    while (self->first_pending) {
        struct pending *pending = self->first_pending;
        self->first_pending = pending->next;
        if (pending->kind == PENDING_RESERVE)
            pending->reservation->done(pending->reservation, CKV_ERROR_UNAVAILABLE);
        free(pending);
    }
    self->last_pending = NULL;
}

/*  Waits for what the writer has of us, so that the position is what is stored.  */
static void settle(struct ckv_replicator *self)
{
    struct pollfd item = { .fd = self->wake, .events = POLLIN };
    while (self->batches) {
        poll(&item, 1, 100);
        ckv_register_take(self);
    }
}

void ckv_away(struct ckv_replicator *self)
{
    ckv_channel_close(&self->channel);
    drop_pending(self);
    ckv_repair_drop(self);
    ckv_apply_submit(self); /* what waited for company */
    ckv_register_take(self);
    settle(self);
    if (!goes_on_at_once(self))
        answer_waiting(self);
    answer_all(&self->spreading, CKV_ACK_LOGGED);
    self->position = self->applied;
    self->sent = self->appended = 0;
    self->appends = 0;
    self->filling = self->fill_asked = false;
    self->instance_set = false;
    self->head = self->probed_head = self->passed_over = 0;
    ckv_repair_drop(self);
}

void ckv_away_wait(struct ckv_replicator *self, unsigned failures)
{
    unsigned pause = (unsigned)PAUSE_MIN_MS << (failures < 5 ? failures : 5);
    if (pause > PAUSE_MAX_MS)
        pause = PAUSE_MAX_MS;
    uint64_t until = ckv_clock_monotonic() + pause / 2 + randombytes_uniform(pause / 2 + 1);
    for (uint64_t now = ckv_clock_monotonic(); now < until && !atomic_load(&self->stop);
         now = ckv_clock_monotonic()) {
        struct pollfd item = { .fd = self->wake, .events = POLLIN };
        poll(&item, 1, (int)(until - now));
        ckv_register_take(self);
        if (goes_on_at_once(self))
            ckv_register_expire(self, now);
        else
            answer_waiting(self);
        ckv_parts_publish_status(self);
    }
}
