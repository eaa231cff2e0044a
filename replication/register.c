/*  register: a change of this node goes to the log.

    It is in the store and in the outbox, in one transaction, durable. Here its record is read and
    appended by the script, which gives it the next sequence and publishes it. Its row is removed
    when the entry comes back (apply.c). A chosen storage key was reserved before, by the same
    script: its record must not rest anywhere before the name is certain, or a merge could give the
    name to one whom the log has refused.
*/
#include "kv/log.h"
#include "replication/parts.h"

#include <stdio.h>
#include <sys/eventfd.h>

enum { OWNER_SIZE = 16, IDENTITY_SIZE = 16, RESEND_MS = 3000, FIXED_ARGS = 9 + CKV_KEYS };

/*  ---- from other threads ----  */

void ckv_replicator_deliver(struct ckv_replicator *self, struct ckv_delivery *delivery)
{
    delivery->next = NULL;
    if (!atomic_load(&self->live)) { /* it rests in the outbox */
        delivery->reached = CKV_ACK_LOCAL;
        delivery->done(delivery);
        return;
    }
    pthread_mutex_lock(&self->lock);
    *self->mailbox.deliveries_end = delivery;
    self->mailbox.deliveries_end = &delivery->next;
    ckv_parts_posted(self);
}

void ckv_replicator_reserve(struct ckv_replicator *self, struct ckv_reservation *reservation)
{
    reservation->next = NULL;
    if (!atomic_load(&self->live)) {
        reservation->done(reservation, CKV_ERROR_UNAVAILABLE);
        return;
    }
    pthread_mutex_lock(&self->lock);
    *self->mailbox.reservations_end = reservation;
    self->mailbox.reservations_end = &reservation->next;
    ckv_parts_posted(self);
}

void ckv_replicator_release(struct ckv_replicator *self, const struct ckv_reservation *reservation)
{
    struct release *release = calloc(1, sizeof(*release));
    if (!release)
        return; /* it stays reserved until this node is started again */
    release->storage_key = reservation->storage_key;
    release->created = reservation->created;
    pthread_mutex_lock(&self->lock);
    release->next = self->mailbox.releases;
    self->mailbox.releases = release;
    ckv_parts_posted(self);
}

/*  ---- the script ----  */

/*  What a call of the change script begins with; the entries follow.  */
struct call {
    const char *argv[FIXED_ARGS + 1 + APPEND_ENTRIES + 2];
    size_t sizes[FIXED_ARGS + 1 + APPEND_ENTRIES + 2];
    int argc;
    char epoch[17], length[24], owner[OWNER_SIZE], identity[IDENTITY_SIZE];
};

static void add_argument(struct call *self, const void *data, size_t size)
{
    self->argv[self->argc] = data;
    self->sizes[self->argc++] = size;
}

static void add_text(struct call *self, const char *text)
{
    add_argument(self, text, strlen(text));
}

/*  NAME is the storage key that it is about, empty for none.  */
static void begin_call(struct call *self, struct ckv_replicator *replicator, const char *mode,
                       uint64_t created, uint64_t created_by, struct ckv_octets name)
{
    self->argc = 0;
    add_text(self, "EVALSHA");
    add_text(self, replicator->channel.change_sha);
    add_text(self, "6");
    for (int i = 0; i < CKV_KEYS; i++)
        add_text(self, replicator->names.keys[i]);
    snprintf(self->epoch, sizeof(self->epoch), "%016llx",
             (unsigned long long)replicator->position.epoch);
    snprintf(self->length, sizeof(self->length), "%llu",
             (unsigned long long)replicator->options.log_length);
    ckv_put64((uint8_t *)self->owner, replicator->options.node_id);
    ckv_put64((uint8_t *)self->owner + 8, replicator->instance);
    ckv_put64((uint8_t *)self->identity, created);
    ckv_put64((uint8_t *)self->identity + 8, created_by);
    add_text(self, mode);
    add_text(self, self->epoch);
    add_text(self, replicator->names.log_channel);
    add_text(self, self->length);
    add_argument(self, self->owner, OWNER_SIZE);
    add_argument(self, self->identity, IDENTITY_SIZE);
    add_text(self, name.size ? "1" : "0");
    if (name.size)
        add_argument(self, name.data, name.size);
}

static int send_call(struct ckv_replicator *self, struct call *call, struct pending *pending)
{
    return ckv_parts_command(self, pending, call->argc, call->argv, call->sizes);
}

/*  ---- reservations ----  */

bool ckv_register_chosen_keys(struct ckv_replicator *self, uint64_t now_ms)
{
    return !self->filling && self->applied.complete &&
           self->applied.epoch == self->position.epoch &&
           self->head < self->applied.sequence + self->options.log_length / 4 + 1 &&
           ckv_members_agree(&self->members, self->options.node_id, self->applied.epoch, now_ms);
}

static void reserve(struct ckv_replicator *self, struct ckv_reservation *reservation)
{
    struct call call;
    struct pending *pending = ckv_parts_pending(PENDING_RESERVE);
    if (!pending || self->broken || !atomic_load(&self->live) ||
        !ckv_register_chosen_keys(self, ckv_clock_monotonic())) {
        free(pending);
        reservation->done(reservation, CKV_ERROR_UNAVAILABLE);
        return;
    }
    pending->reservation = reservation;
    begin_call(&call, self, "reserve", reservation->created, self->options.node_id,
               ckv_storage_key_octets(&reservation->storage_key));
    if (send_call(self, &call, pending) != CKV_OK)
        reservation->done(reservation, CKV_ERROR_UNAVAILABLE);
}

static bool says(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, word) == 0;
}

void ckv_register_reserved(struct ckv_replicator *self, struct pending *pending,
                           const redisReply *reply)
{
    int rc = CKV_ERROR_UNAVAILABLE;
    if (reply->type == REDIS_REPLY_INTEGER)
        rc = CKV_OK;
    else if (says(reply, "TAKEN"))
        rc = CKV_ERROR_TAKEN;
    else if (says(reply, "EPOCH"))
        ckv_parts_rejoin(self, "another epoch of the log has begun");
    pending->reservation->done(pending->reservation, rc);
}

static void release(struct ckv_replicator *self, const struct release *release)
{
    struct call call;
    begin_call(&call, self, "release", release->created, self->options.node_id,
               ckv_storage_key_octets(&release->storage_key));
    send_call(self, &call, ckv_parts_pending(PENDING_OTHER));
}

/*  ---- the outbox ----  */

/*  Writes the entry of ROW to the end of BUFFER. CKV_ERROR_NOT_FOUND when its certificate has lost its
    storage key meanwhile: then there is nothing to say.  */
static int write_entry(struct ckv_replicator *self, const struct ckv_outbox_row *row,
                       struct ckv_buffer *buffer, struct ckv_certificate *certificate)
{
    bool forgets = row->flags & CKV_OUTBOX_FORGET;
    size_t start = buffer->size;
    struct ckv_message message = {
        .type = forgets ? CKV_MESSAGE_FORGET : CKV_MESSAGE_RECORD,
        .flags = row->flags & CKV_OUTBOX_NOTIFY ? CKV_MESSAGE_NOTIFY : 0,
        .sender = self->options.node_id,
        .instance = self->instance,
        .number = row->number,
    };
    int rc = forgets ? CKV_OK : ckv_kv_get(self->txn, row->content, certificate);
    if (rc == CKV_OK && !forgets)
        rc = ckv_certificate_verify(certificate, self->options.cluster_key);
    if (rc == CKV_OK)
        rc = ckv_message_begin(buffer, &message, self->options.cluster_key);
    if (rc == CKV_OK)
        rc = ckv_buffer_add(buffer, forgets ? row->content : certificate->record);
    return rc == CKV_OK ? ckv_message_end(buffer, start, self->options.cluster_key) : rc;
}

/*  Rows for one call. A reserved one goes by itself, since the script marks its name.  */
struct load {
    struct ckv_buffer entries;
    size_t ends[APPEND_ENTRIES];
    unsigned count;
    uint64_t numbers[APPEND_ENTRIES];
    bool reserved;
    struct ckv_certificate certificate; /* of the last row; a view of the read transaction */
};

/*  Adds one row. Returns CKV_ERROR_NOT_FOUND when none is left, or none fits.  */
static int add_row(struct ckv_replicator *self, struct load *load)
{
    struct ckv_outbox_row row;
    int rc = ckv_outbox_next(self->txn, self->sent, &row);
    if (rc != CKV_OK)
        return rc;
    load->reserved = row.flags & CKV_OUTBOX_RESERVED;
    if (load->reserved && load->count) {
        load->reserved = false;
        return CKV_ERROR_NOT_FOUND;
    }
    size_t before = load->entries.size;
    rc = write_entry(self, &row, &load->entries, &load->certificate);
    if (rc == CKV_ERROR_MEMORY)
        return rc;
    self->sent = row.number;
    if (rc != CKV_OK) {
        load->entries.size = before;
        load->reserved = false;
        ckv_log(CKV_LOG_WARNING, "a change in the outbox cannot be sent: %s", ckv_strerror(rc));
        return CKV_OK;
    }
    load->numbers[load->count] = row.number;
    load->ends[load->count++] = load->entries.size;
    return CKV_OK;
}

static int send_load(struct ckv_replicator *self, const struct load *load)
{
    struct call call;
    const struct ckv_certificate *certificate = &load->certificate;
    struct pending *pending = ckv_parts_pending(PENDING_APPEND);
    size_t start = 0;
    if (load->reserved)
        begin_call(&call, self, "append", certificate->created, certificate->created_by,
                   certificate->storage_key);
    else
        begin_call(&call, self, "append", 0, 0, ckv_octets(NULL, 0));
    for (unsigned i = 0; i < load->count; i++) {
        add_argument(&call, load->entries.data + start, load->ends[i] - start);
        start = load->ends[i];
    }
    if (pending) {
        pending->count = load->count;
        memcpy(pending->numbers, load->numbers, sizeof(pending->numbers));
    }
    return send_call(self, &call, pending);
}

/*  Gathers rows for one call and sends it. Returns whether there may be more.  */
static bool append_some(struct ckv_replicator *self)
{
    struct load load = { .count = 0 };
    int rc = CKV_OK;
    while (rc == CKV_OK && load.count < APPEND_ENTRIES && load.entries.size < APPEND_OCTETS &&
           !load.reserved)
        rc = add_row(self, &load);
    bool sent = load.count && send_load(self, &load) == CKV_OK;
    self->appends += sent;
    ckv_buffer_clear(&load.entries);
    return sent;
}

/*  The first row of the outbox; 0 when it is empty.  */
static uint64_t first_of_outbox(struct ckv_replicator *self)
{
    struct ckv_outbox_row row;
    return ckv_outbox_next(self->txn, 0, &row) == CKV_OK ? row.number : 0;
}

/*  When the outbox has been in the log wholly: what an earlier instance left reserved is void.  */
static void set_instance(struct ckv_replicator *self)
{
    char id[8], instance[8];
    const char *argv[] = { "HSET", self->names.keys[CKV_KEY_INSTANCES], id, instance };
    size_t sizes[] = { 4, strlen(argv[1]), sizeof(id), sizeof(instance) };
    ckv_put64((uint8_t *)id, self->options.node_id);
    ckv_put64((uint8_t *)instance, self->instance);
    if (ckv_parts_command(self, ckv_parts_pending(PENDING_OTHER), 4, argv, sizes) == CKV_OK)
        self->instance_set = true;
}

void ckv_register_send(struct ckv_replicator *self)
{
    if (self->broken || self->filling || self->appends >= APPENDS_MAX || !ckv_parts_refresh(self))
        return;
    while (self->appends < APPENDS_MAX && append_some(self))
        ;
    uint64_t first = first_of_outbox(self);
    uint64_t now_ms = ckv_clock_monotonic();
    if (!first && !self->instance_set && !self->appends)
        set_instance(self);
    /*  An entry that was logged and never came back: its place in the log was lost.  */
    if (!first || self->appends || first > self->sent || self->batches)
        self->resend_ms = now_ms;
    else if (now_ms - self->resend_ms > RESEND_MS) {
        self->resend_ms = now_ms;
        self->sent = first - 1;
    }
    ckv_kv_reset(self->txn);
}

/*  ---- who waits ----  */

static void finish(struct ckv_delivery *delivery, enum ckv_ack reached)
{
    delivery->reached = reached;
    delivery->done(delivery);
}

static void reach_log(struct ckv_replicator *self, struct ckv_delivery *delivery, uint64_t sequence)
{
    delivery->sequence = sequence;
    if (delivery->wanted == CKV_ACK_LOGGED) {
        finish(delivery, CKV_ACK_LOGGED);
        return;
    }
    delivery->next = self->spreading;
    self->spreading = delivery;
}

/*  Rows up to NUMBER are in the log up to SEQUENCE.  */
static void reach_log_until(struct ckv_replicator *self, uint64_t number, uint64_t sequence)
{
    while (self->waiting && self->waiting->number <= number) {
        struct ckv_delivery *delivery = self->waiting;
        self->waiting = delivery->next;
        if (!self->waiting)
            self->waiting_end = &self->waiting;
        reach_log(self, delivery, sequence);
    }
}

void ckv_register_logged(struct ckv_replicator *self, struct pending *pending,
                         const redisReply *reply)
{
    self->appends--;
    if (says(reply, "EPOCH"))
        ckv_parts_rejoin(self, "another epoch of the log has begun");
    if (says(reply, "SPOILT")) {
        self->leaving = self->position.epoch;
        ckv_parts_rejoin(self, "somebody else wrote to the log; another epoch begins");
    }
    if (reply->type != REDIS_REPLY_INTEGER)
        return;
    uint64_t last = (uint64_t)reply->integer;
    self->counters.appended += pending->count;
    if (last > self->head)
        self->head = last;
    for (unsigned i = 0; i < pending->count; i++)
        reach_log_until(self, pending->numbers[i], last - pending->count + 1 + i);
    self->appended = pending->numbers[pending->count - 1];
    self->appended_at = last;
    ckv_register_spread(self);
}

static void take_delivery(struct ckv_replicator *self, struct ckv_delivery *delivery)
{
    delivery->next = NULL;
    if (self->appended && delivery->number <= self->appended) {
        reach_log(self, delivery, self->appended_at);
        return;
    }
    *self->waiting_end = delivery;
    self->waiting_end = &delivery->next;
}

void ckv_register_take(struct ckv_replicator *self)
{
    eventfd_t ignored;
    eventfd_read(self->wake, &ignored);
    pthread_mutex_lock(&self->lock);
    struct mailbox mail = self->mailbox;
    self->mailbox = (struct mailbox){ .deliveries_end = &self->mailbox.deliveries,
                                      .reservations_end = &self->mailbox.reservations,
                                      .written_end = &self->mailbox.written };
    pthread_mutex_unlock(&self->lock);
    for (struct entries *batch = mail.written, *next; batch; batch = next) {
        next = batch->next;
        ckv_apply_written(self, batch);
    }
    for (struct ckv_delivery *delivery = mail.deliveries, *next; delivery; delivery = next) {
        next = delivery->next;
        take_delivery(self, delivery);
    }
    for (struct ckv_reservation *one = mail.reservations, *next; one; one = next) {
        next = one->next;
        reserve(self, one);
    }
    for (struct release *one = mail.releases, *next; one; one = next) {
        next = one->next;
        if (atomic_load(&self->live) && !self->broken)
            release(self, one);
        free(one);
    }
}

/*  The sequence up to which MEMBER has applied this epoch.  */
static uint64_t applied_by(const struct ckv_replicator *self, const struct ckv_member *member)
{
    if (member->id == self->options.node_id)
        return self->applied.sequence;
    return member->said.epoch == self->applied.epoch ? member->said.sequence : 0;
}

static bool lags(const struct ckv_replicator *self, const struct ckv_member *member,
                 uint64_t sequence, uint64_t now_ms)
{
    bool counts = member->id == self->options.node_id || ckv_member_is_live(member, now_ms);
    return counts && applied_by(self, member) < sequence;
}

static bool has_spread(const struct ckv_replicator *self, uint64_t sequence, uint64_t now_ms)
{
    for (size_t i = 0; i < self->members.count; i++)
        if (lags(self, &self->members.list[i], sequence, now_ms))
            return false;
    return true;
}

static void name_laggards(const struct ckv_replicator *self, struct ckv_delivery *delivery,
                          uint64_t now_ms)
{
    for (size_t i = 0; i < self->members.count; i++) {
        const struct ckv_member *member = &self->members.list[i];
        if (delivery->laggard_count < CKV_LAGGARDS_MAX &&
            lags(self, member, delivery->sequence, now_ms))
            memcpy(delivery->laggards[delivery->laggard_count++], member->name,
                   sizeof(member->name));
    }
}

void ckv_register_spread(struct ckv_replicator *self)
{
    uint64_t now_ms = ckv_clock_monotonic();
    struct ckv_delivery **link = &self->spreading;
    while (*link) {
        struct ckv_delivery *delivery = *link;
        if (has_spread(self, delivery->sequence, now_ms)) {
            *link = delivery->next;
            finish(delivery, CKV_ACK_ALL);
        } else {
            link = &delivery->next;
        }
    }
}

/*  Takes those whose time is up at NOW_MS out of *LINK and finishes them.  */
static void expire(struct ckv_replicator *self, struct ckv_delivery **link, uint64_t now_ms,
                   enum ckv_ack reached)
{
    while (*link) {
        struct ckv_delivery *delivery = *link;
        if (delivery->deadline_ms > now_ms) {
            link = &delivery->next;
            continue;
        }
        *link = delivery->next;
        if (reached == CKV_ACK_LOGGED)
            name_laggards(self, delivery, ckv_clock_monotonic());
        finish(delivery, reached);
    }
}

void ckv_register_expire(struct ckv_replicator *self, uint64_t now_ms)
{
    ckv_register_spread(self);
    expire(self, &self->waiting, now_ms, CKV_ACK_LOCAL);
    self->waiting_end = &self->waiting;
    while (*self->waiting_end)
        self->waiting_end = &(*self->waiting_end)->next;
    expire(self, &self->spreading, now_ms, CKV_ACK_LOGGED);
}
