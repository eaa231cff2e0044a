#include "kv/log.h"
#include "replication/parts.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TICK_MS = 50, STEADY_MS = 5000, LEAVE_MS = 500 };

/*  ---- what the moments share ----  */

/*  Many come at once, from a batch of the writer or for a call of the script: one wake-up is enough for
    all that lie in the mailbox when the thread takes it.  */
void ckv_parts_posted(struct ckv_replicator *self)
{
    if (!self->mailbox.announced)
        ckv_replicator_wake(self); /* while the lock is held: after it, SELF may be gone */
    self->mailbox.announced = true;
    pthread_mutex_unlock(&self->lock);
}

void ckv_parts_break(struct ckv_replicator *self, const char *reason)
{
    if (self->broken)
        return;
    self->broken = true;
    snprintf(self->reason, sizeof(self->reason), "%s", reason);
}

void ckv_parts_rejoin(struct ckv_replicator *self, const char *reason)
{
    if (self->broken)
        return;
    ckv_parts_break(self, reason);
    self->rejoins = true;
}

struct pending *ckv_parts_pending(enum pending_kind kind)
{
    struct pending *pending = calloc(1, sizeof(*pending));
    if (pending)
        pending->kind = kind;
    return pending;
}

/*  Queues a command and takes PENDING, for the reply. A NULL one is a lack of memory.  */
int ckv_parts_command(struct ckv_replicator *self, struct pending *pending, int argc,
                      const char **argv, const size_t *sizes)
{
    if (!pending || ckv_channel_send(&self->channel, argc, argv, sizes) != CKV_OK) {
        free(pending);
        ckv_parts_break(self, ckv_strerror(CKV_ERROR_MEMORY));
        return CKV_ERROR_MEMORY;
    }
    *(self->last_pending ? &self->last_pending->next : &self->first_pending) = pending;
    self->last_pending = pending;
    return CKV_OK;
}

int ckv_parts_publish(struct ckv_replicator *self, const char *channel, struct ckv_octets message)
{
    const char *argv[] = { "PUBLISH", channel, (const char *)message.data };
    size_t sizes[] = { 7, strlen(channel), message.size };
    return ckv_parts_command(self, ckv_parts_pending(PENDING_OTHER), 3, argv, sizes);
}

struct ckv_message ckv_parts_message(struct ckv_replicator *self, enum ckv_message_type type)
{
    return (struct ckv_message){ .type = type,
                                 .sender = self->options.node_id,
                                 .instance = self->instance,
                                 .number = ++self->numbers };
}

bool ckv_parts_refresh(struct ckv_replicator *self)
{
    ckv_kv_reset(self->txn);
    int rc = ckv_kv_renew(self->txn);
    if (rc != CKV_OK)
        ckv_parts_break(self, ckv_strerror(rc));
    return rc == CKV_OK;
}

/*  ---- announcements ----  */

void ckv_parts_announce(struct ckv_replicator *self, bool asks)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = ckv_parts_message(self, CKV_MESSAGE_ANNOUNCEMENT);
    struct ckv_kv_stats stats = { .records = 0 };
    struct ckv_digest root = { { 0, 0 } };
    struct ckv_position applied = self->applied;
    if (!ckv_parts_refresh(self))
        return;
    /*  Digest and position of one moment.  */
    if (ckv_kv_digest_root(self->txn, &root) != CKV_OK)
        root = self->said.digest; /* without memory, what was said last */
    ckv_position_get(&applied, self->txn);
    ckv_kv_reset(self->txn);
    ckv_kv_stats(self->options.kv, &stats);
    struct ckv_member *myself = ckv_members_find(&self->members, self->options.node_id);
    bool confirmed =
        myself && myself->confirmed_epoch == applied.epoch && applied.epoch && applied.complete;
    struct ckv_announcement said = {
        .started = self->started,
        .epoch = applied.epoch,
        .sequence = applied.sequence,
        .records = stats.records,
        .outbox = stats.outbox,
        .members = ckv_members_sum(&self->members),
        .twin = self->twin,
        .digest = root,
        .ttl_ms = atomic_load(&self->stop) ? 0 : TTL_MS, /* this is the last one */
        .state = self->filling ? CKV_NODE_CATCHING_UP : CKV_NODE_LIVE,
        .flags =
            (uint8_t)((confirmed ? CKV_ANNOUNCES_CONFIRMED : 0) | (asks ? CKV_ANNOUNCES_ASKS : 0)),
        .name = ckv_octets_text(self->options.name),
        .endpoint = ckv_octets_text(self->options.endpoint),
    };
    if (ckv_message_begin(&buffer, &message, self->options.cluster_key) == CKV_OK &&
        ckv_announcement_write(&said, &buffer) == CKV_OK &&
        ckv_message_end(&buffer, 0, self->options.cluster_key) == CKV_OK)
        ckv_parts_publish(self, self->names.nodes_channel, ckv_buffer_octets(&buffer));
    ckv_buffer_clear(&buffer);
    self->announced_ms = ckv_clock_monotonic();
    self->said = said;
    pthread_mutex_lock(&self->lock);
    self->status.digest = root;
    pthread_mutex_unlock(&self->lock);
}

/*  Another process with our node id, or an echo of our own earlier life. A process that runs answers by
    naming our instance, which no earlier message can. Of two, the one that was started later
    yields.  */
static void meet_double(struct ckv_replicator *self, const struct ckv_message *message,
                        const struct ckv_announcement *said)
{
    if (said->twin != self->instance) {
        self->twin = message->instance;
        self->announced_ms = 0; /* so that it hears of us, and answers */
        return;
    }
    self->twin = message->instance;
    self->announced_ms = 0;
    if (said->started > self->started ||
        (said->started == self->started && message->instance > self->instance))
        return;
    atomic_store(&self->refusal, CKV_ERROR_NODE_ID);
    ckv_parts_break(self, ckv_strerror(CKV_ERROR_NODE_ID));
    ckv_log(CKV_LOG_ERROR, "node '%.*s': %s", (int)said->name.size, (const char *)said->name.data,
            ckv_strerror(CKV_ERROR_NODE_ID));
}

struct member_write {
    struct ckv_write write;
    uint64_t id, at;
    char name[CKV_NODE_NAME_MAX + 1];
};

static int put_member(struct ckv_write *write, struct ckv_kv_txn *txn)
{
    struct member_write *self = (struct member_write *)write;
    return ckv_members_put(txn, self->id, self->at, self->name);
}

static void member_put(struct ckv_write *write, int rc)
{
    if (rc != CKV_OK)
        ckv_log(CKV_LOG_WARNING, "a new member of the cluster was not stored: %s",
                ckv_strerror(rc));
    free(write);
}

/*  Stores that ID is a member, or with an empty NAME that it is forgotten.  */
static void store_member(struct ckv_replicator *self, uint64_t id, uint64_t at, const char *name)
{
    struct member_write *write = calloc(1, sizeof(*write));
    if (!write)
        return;
    write->write.apply = put_member;
    write->write.done = member_put;
    write->id = id;
    write->at = at;
    snprintf(write->name, sizeof(write->name), "%s", name);
    ckv_writer_submit(self->options.writer, &write->write);
}

static void remember_member(struct ckv_replicator *self, const struct ckv_member *member)
{
    ckv_log(CKV_LOG_INFO, "node '%s' (%016llx) is a member of the cluster", member->name,
            (unsigned long long)member->id);
    store_member(self, member->id, member->heard_at, member->name);
}

/*  Tells the others whom this node knows, since one of them knows others.  */
static void tell_members(struct ckv_replicator *self)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = ckv_parts_message(self, CKV_MESSAGE_MEMBERS);
    if (ckv_message_begin(&buffer, &message, self->options.cluster_key) == CKV_OK &&
        ckv_members_write(&self->members, &buffer) == CKV_OK &&
        ckv_message_end(&buffer, 0, self->options.cluster_key) == CKV_OK)
        ckv_parts_publish(self, self->names.nodes_channel, ckv_buffer_octets(&buffer));
    ckv_buffer_clear(&buffer);
    self->members_differ = false;
}

/*  This node was forgotten AT, while it was cut off. It runs, and says so as one that began later.  */
void ckv_parts_begin_anew(struct ckv_replicator *self, uint64_t at)
{
    uint64_t now = ckv_clock_wall();
    if (self->started > at)
        return;
    self->started = now > at ? now : at + 1;
    self->announced_ms = 0;
}

static void hear_members(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct ckv_octets rest = message->payload;
    struct ckv_membership item;
    uint64_t now_ms = ckv_clock_monotonic();
    while (ckv_membership_next(&rest, &item) == 1) {
        struct ckv_member *known = ckv_members_find(&self->members, item.id);
        if (item.id == self->options.node_id) {
            ckv_parts_begin_anew(self, item.forgotten_at);
            continue;
        }
        bool live = known && ckv_member_is_live(known, now_ms);
        if (item.forgotten_at && known && !live) {
            if (ckv_members_forget(&self->members, item.id, item.forgotten_at))
                store_member(self, item.id, item.forgotten_at, "");
        } else if (!item.forgotten_at && !known &&
                   !ckv_members_forgotten_at(&self->members, item.id) &&
                   (known = ckv_members_add(&self->members, item.id))) {
            remember_member(self, known);
        }
    }
}

/*  Compares a peer's digest with ours, when both speak of the same moment.  */
static void compare_digest(struct ckv_replicator *self, struct ckv_member *member, uint64_t now_ms)
{
    const struct ckv_announcement *said = &member->said;
    const struct ckv_announcement *mine = &self->said;
    bool comparable = said->epoch == mine->epoch && said->sequence == mine->sequence &&
                      !said->outbox && !mine->outbox;
    if (ckv_digest_equal(said->digest, mine->digest)) {
        member->unequal = 0;
        member->equal_ms = now_ms;
    } else if (comparable) {
        member->unequal++;
    }
}

static void hear_announcement(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct ckv_announcement said;
    uint64_t now_ms = ckv_clock_monotonic();
    if (ckv_announcement_read(&said, message->payload) != CKV_OK) {
        self->counters.forged++;
        return;
    }
    if (message->sender == self->options.node_id && message->instance != self->instance) {
        if (said.ttl_ms) /* one that stops is no double, or was none */
            meet_double(self, message, &said);
        return;
    }
    uint64_t forgotten_at = ckv_members_forgotten_at(&self->members, message->sender);
    if (forgotten_at && said.started <= forgotten_at) {
        self->members_differ = true; /* if it does run, it learns that, and says that it does */
        return;
    }
    bool is_new = !ckv_members_find(&self->members, message->sender);
    if (is_new && !said.ttl_ms)
        return;
    struct ckv_member *member = ckv_members_add(&self->members, message->sender);
    if (!member || !ckv_members_hear(member, message, &said, now_ms, ckv_clock_wall()))
        return;
    if (is_new)
        remember_member(self, member);
    if (message->sender == self->options.node_id) {
        self->heard_self_ms = now_ms;
        return;
    }
    compare_digest(self, member, now_ms);
    if (said.members != ckv_members_sum(&self->members))
        self->members_differ = true;
    if (said.flags & CKV_ANNOUNCES_ASKS)
        self->announced_ms = 0;
}

static void hear_applied(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct ckv_member *member = ckv_members_find(&self->members, message->sender);
    if (!member || message->payload.size != 16 || message->instance != member->instance ||
        message->number <= member->number)
        return;
    member->number = message->number;
    member->said.epoch = ckv_get64(message->payload.data);
    member->said.sequence = ckv_get64(message->payload.data + 8);
    ckv_register_spread(self);
}

static void hear(struct ckv_replicator *self, struct ckv_octets octets)
{
    struct ckv_message message;
    int rc = ckv_message_read(&message, self->options.cluster_key, octets);
    if (rc != CKV_OK) {
        if (self->counters.forged++ == 0 || rc == CKV_ERROR_WRONG_CLUSTER_KEY)
            ckv_log(CKV_LOG_WARNING, "a message in Redis was dropped: %s", ckv_strerror(rc));
        return;
    }
    if (message.type == CKV_MESSAGE_ANNOUNCEMENT)
        hear_announcement(self, &message);
    else if (message.sender == self->options.node_id)
        return;
    else if (message.type == CKV_MESSAGE_APPLIED)
        hear_applied(self, &message);
    else if (message.type == CKV_MESSAGE_MEMBERS)
        hear_members(self, &message);
    else
        ckv_repair_message(self, &message);
}

/*  ---- what comes in ----  */

static void take_published(struct ckv_replicator *self, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[2]->type != REDIS_REPLY_STRING)
        return;
    const char *channel = reply->element[1]->str ? reply->element[1]->str : "";
    struct ckv_octets octets = ckv_octets(reply->element[2]->str, (size_t)reply->element[2]->len);
    if (strcmp(channel, self->names.log_channel) == 0)
        ckv_apply_entry(self, octets);
    else
        hear(self, octets);
}

static void take_reply(struct ckv_replicator *self, const redisReply *reply)
{
    struct pending *pending = self->first_pending;
    self->answered_ms = ckv_clock_monotonic();
    if (!pending) {
        ckv_parts_break(self, "Redis answered what was not asked");
        return;
    }
    self->first_pending = pending->next;
    if (!self->first_pending)
        self->last_pending = NULL;
    if (reply->type == REDIS_REPLY_ERROR) {
        char reason[CKV_REASON_MAX];
        ckv_channel_explain(reply->str, reason);
        ckv_parts_break(self, reason);
    }
    switch (pending->kind) {
    case PENDING_APPEND:
        ckv_register_logged(self, pending, reply);
        break;
    case PENDING_RESERVE:
        ckv_register_reserved(self, pending, reply);
        break;
    case PENDING_FILL:
        ckv_apply_filled(self, reply);
        break;
    case PENDING_PROBE:
        ckv_apply_probe(self, reply);
        break;
    case PENDING_OTHER:
        break;
    }
    free(pending);
}

static void receive(struct ckv_replicator *self, redisContext *context,
                    void (*take)(struct ckv_replicator *self, const redisReply *reply))
{
    redisReply *reply;
    int rc = ckv_channel_receive(context);
    while (rc == CKV_OK && !self->broken) {
        int got = ckv_channel_next(context, &reply);
        if (got == 0)
            return;
        if (got < 0) {
            rc = got;
            break;
        }
        take(self, reply);
        freeReplyObject(reply);
    }
    if (rc != CKV_OK)
        ckv_parts_break(self, "Redis closed the connection");
}

/*  ---- the thread ----  */

void ckv_parts_publish_status(struct ckv_replicator *self)
{
    uint64_t now_ms = ckv_clock_monotonic();
    bool chosen = self->state == CKV_REPLICATION_LIVE && ckv_register_chosen_keys(self, now_ms);
    pthread_mutex_lock(&self->lock);
    struct ckv_replication_status *status = &self->status;
    status->state = self->state;
    memcpy(status->reason, self->reason, sizeof(status->reason));
    status->epoch = self->applied.epoch;
    status->sequence = self->applied.sequence;
    status->head = self->head > self->applied.sequence ? self->head : self->applied.sequence;
    status->complete = self->applied.complete;
    status->chosen_keys = chosen;
    status->counters = self->counters;
    status->members = self->members;
    pthread_mutex_unlock(&self->lock);
}

static void probe(struct ckv_replicator *self, uint64_t now_ms)
{
    const char *argv[] = { "HMGET", self->names.keys[CKV_KEY_STATE], "epoch", "head" };
    if (ckv_parts_command(self, ckv_parts_pending(PENDING_PROBE), 4, argv, NULL) == CKV_OK)
        self->probed_ms = now_ms;
}

static void tick(struct ckv_replicator *self)
{
    uint64_t now_ms = ckv_clock_monotonic();
    if (now_ms - self->announced_ms >= ANNOUNCE_MS) {
        ckv_parts_announce(self, false);
        if (self->members_differ)
            tell_members(self);
    }
    if (now_ms - self->probed_ms >= ANNOUNCE_MS)
        probe(self, now_ms);
    if (self->first_pending && now_ms - self->answered_ms > SILENCE_MS)
        ckv_parts_break(self, "Redis does not answer");
    if (now_ms - self->heard_self_ms > SILENCE_MS)
        ckv_parts_break(self, "Redis does not deliver what is published");
    ckv_register_expire(self, now_ms);
    ckv_repair_tick(self, now_ms);
    self->state = self->filling ? CKV_REPLICATION_CATCHING_UP : CKV_REPLICATION_LIVE;
    ckv_parts_publish_status(self);
}

/*  How long to wait for something to happen, in ms.  */
static int patience(const struct ckv_replicator *self)
{
    if (!self->gathered)
        return TICK_MS;
    uint64_t held_ms = ckv_clock_monotonic() - self->gathered->since_ms;
    return held_ms < HOLD_MS ? (int)(HOLD_MS - held_ms) : 0;
}

/*  Says that this node stops, so that nobody waits for it until its time to live is over. Returns when
    Redis has that, or does not answer.  */
static void leave(struct ckv_replicator *self)
{
    uint64_t until_ms = ckv_clock_monotonic() + LEAVE_MS;
    ckv_parts_announce(self, false);
    while (!self->broken && self->first_pending && ckv_clock_monotonic() < until_ms) {
        int wants_out = ckv_channel_flush(&self->channel);
        struct pollfd item = { .fd = self->channel.commands->fd,
                               .events = (short)(POLLIN | (wants_out ? POLLOUT : 0)) };
        if (wants_out < 0 || (poll(&item, 1, TICK_MS) < 0 && errno != EINTR))
            return;
        if (item.revents & (POLLIN | POLLERR | POLLHUP))
            receive(self, self->channel.commands, take_reply);
    }
}

static void live(struct ckv_replicator *self)
{
    int wants_out = 0;
    uint64_t ticked_ms = 0;
    self->answered_ms = self->heard_self_ms = ckv_clock_monotonic();
    self->reason[0] = 0;
    atomic_store(&self->live, true);
    ckv_parts_announce(self, true);
    while (!self->broken && !atomic_load(&self->stop)) {
        bool listens = self->applying < APPLYING_MAX;
        struct pollfd items[] = {
            { .fd = self->wake, .events = POLLIN },
            { .fd = self->channel.commands->fd,
              .events = (short)(POLLIN | (wants_out ? POLLOUT : 0)) },
            { .fd = self->channel.subscription->fd, .events = listens ? POLLIN : 0 },
        };
        if (poll(items, 3, patience(self)) < 0 && errno != EINTR)
            break;
        if (items[1].revents & (POLLIN | POLLERR | POLLHUP))
            receive(self, self->channel.commands, take_reply);
        if (!self->broken && (items[2].revents & (POLLIN | POLLERR | POLLHUP)))
            receive(self, self->channel.subscription, take_published);
        ckv_register_take(self);
        if (self->broken)
            break;
        ckv_apply_submit_due(self);
        ckv_apply_fill(self);
        ckv_register_send(self);
        uint64_t now_ms = ckv_clock_monotonic();
        if (now_ms - ticked_ms >= TICK_MS) {
            ticked_ms = now_ms;
            tick(self);
        }
        wants_out = ckv_channel_flush(&self->channel);
        if (wants_out < 0)
            ckv_parts_break(self, "Redis closed the connection");
    }
    atomic_store(&self->live, false);
    if (!self->broken)
        leave(self);
}

/*  Returns whether the connection was a steady one. After others the pauses go on growing: a Redis that
    lets in and then refuses (out of memory, read-only) is not to be asked twenty times a second.  */
static bool live_for_a_time(struct ckv_replicator *self)
{
    uint64_t began_ms = ckv_clock_monotonic();
    ckv_log(CKV_LOG_INFO, "replication: connected to %s, epoch %016llx", self->options.url->text,
            (unsigned long long)self->position.epoch);
    live(self);
    self->counters.reconnects++;
    return ckv_clock_monotonic() - began_ms >= STEADY_MS;
}

/*  Logs why Redis is away, or why another epoch is to be joined, unless that is what was logged last.  */
static void complain_once(const struct ckv_replicator *self, char complaint[CKV_REASON_MAX])
{
    bool is_new = strcmp(complaint, self->reason) != 0;
    if (is_new && self->rejoins)
        ckv_log(CKV_LOG_INFO, "replication: %s", self->reason);
    else if (is_new)
        ckv_log(
            CKV_LOG_WARNING,
            "replication: Redis is away: %s; it is tried again by itself, and changes wait here",
            self->reason);
    memcpy(complaint, self->reason, CKV_REASON_MAX);
}

static void *run(void *argument)
{
    struct ckv_replicator *self = argument;
    char complaint[CKV_REASON_MAX] = "";
    unsigned failures = 0;
    while (!atomic_load(&self->stop)) {
        self->broken = self->rejoins = false;
        self->state = CKV_REPLICATION_CONNECTING;
        if (ckv_connect(self) == CKV_OK)
            failures = live_for_a_time(self) ? 0 : failures;
        bool refused = atomic_load(&self->refusal) != CKV_OK;
        self->state = refused         ? CKV_REPLICATION_REFUSED
                      : self->rejoins ? CKV_REPLICATION_CONNECTING
                                      : CKV_REPLICATION_AWAY;
        if (!atomic_load(&self->stop) && !refused)
            complain_once(self, complaint);
        failures++;
        ckv_away(self);
        ckv_parts_publish_status(self);
        ckv_away_wait(self, failures);
    }
    ckv_away(self);
    return NULL;
}

/*  ---- made and ended ----  */

static int open_parts(struct ckv_replicator *self)
{
    const struct ckv_replicator_options *options = &self->options;
    int rc = ckv_members_open(&self->members, options->kv, options->node_id, options->name);
    if (rc == CKV_OK)
        rc = ckv_kv_begin(options->kv, CKV_KV_READ, &self->txn);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_position_get(&self->applied, self->txn);
    self->position = self->applied;
    ckv_kv_reset(self->txn);
    if (rc == CKV_OK && self->wake < 0)
        rc = CKV_ERROR_MEMORY;
    return rc;
}

int ckv_replicator_new(struct ckv_replicator **self_p, const struct ckv_replicator_options *options)
{
    struct ckv_replicator *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->options = *options;
    self->started = ckv_clock_wall();
    randombytes_buf(&self->instance, sizeof(self->instance));
    /*  Questions are numbered from a place that nobody guesses, so that an answer to an earlier life's
        question is not taken for one; room is left to count up.  */
    randombytes_buf(&self->numbers, sizeof(self->numbers));
    self->numbers >>= 1;
    ckv_channel_names(&self->names, options->cluster, options->node_id);
    pthread_mutex_init(&self->lock, NULL);
    self->mailbox.deliveries_end = &self->mailbox.deliveries;
    self->mailbox.reservations_end = &self->mailbox.reservations;
    self->mailbox.written_end = &self->mailbox.written;
    self->waiting_end = &self->waiting;
    self->status.redis = options->url->text;
    self->status.state = CKV_REPLICATION_CONNECTING;
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = open_parts(self);
    if (rc == CKV_OK && pthread_create(&self->thread, NULL, run, self) == 0)
        return CKV_OK;
    atomic_store(&self->stop, true);
    self->thread = 0;
    ckv_replicator_destroy(self_p);
    return rc == CKV_OK ? CKV_ERROR_MEMORY : rc;
}

void ckv_replicator_destroy(struct ckv_replicator **self_p)
{
    struct ckv_replicator *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    atomic_store(&self->stop, true);
    ckv_replicator_wake(self);
    if (self->thread)
        pthread_join(self->thread, NULL);
    if (self->txn)
        ckv_kv_abort(&self->txn);
    if (self->wake >= 0)
        close(self->wake);
    ckv_url_destroy(&self->newer);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/*  ---- from other threads ----  */

void ckv_replicator_set_password(struct ckv_replicator *self, struct ckv_url *url)
{
    pthread_mutex_lock(&self->lock);
    struct ckv_url *older = self->newer;
    self->newer = url;
    pthread_mutex_unlock(&self->lock);
    ckv_url_destroy(&older);
}

void ckv_replicator_wake(struct ckv_replicator *self)
{
    if (eventfd_write(self->wake, 1) != 0)
        ckv_log(CKV_LOG_ERROR, "cannot wake the replicator");
}

int ckv_replicator_refusal(struct ckv_replicator *self)
{
    return atomic_load(&self->refusal);
}

void ckv_replicator_status(struct ckv_replicator *self, struct ckv_replication_status *status)
{
    pthread_mutex_lock(&self->lock);
    *status = self->status;
    pthread_mutex_unlock(&self->lock);
    status->now_ms = ckv_clock_monotonic();
}

int ckv_replicator_find(struct ckv_replicator *self, struct ckv_octets text, uint64_t *id)
{
    int rc = CKV_OK;
    pthread_mutex_lock(&self->lock);
    const struct ckv_member *found = ckv_members_named(&self->status.members, text);
    if (!found)
        rc = CKV_ERROR_NO_NODE;
    else if (found->id == self->options.node_id)
        rc = CKV_ERROR_NODE_LIVE;
    else if (ckv_member_is_live(found, ckv_clock_monotonic()))
        rc = CKV_ERROR_NODE_LIVE;
    else
        *id = found->id;
    pthread_mutex_unlock(&self->lock);
    return rc;
}
