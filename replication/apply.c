/*  apply: entries of the log are merged here, in order, together with the new position.

    The channel brings each entry with its epoch and sequence. The next one in order is taken;
    an older one is known; a newer one shows a gap, which is filled from the log. While the log is
    read, what the channel brings is only remembered by its sequence: the log has it, too. What
    the log does not have any more is left to repair.

    Entries that arrive together are one write. It checks, inside its transaction, that it follows
    what is stored: so after a write that failed (a full disk) those behind it fail, too, and all
    is read again from the log.

    What others registered can be resolved as soon as it is here, while it is on its way to the disk
    (kv/arrivals.h).
*/
#include "kv/log.h"
#include "replication/cluster.h"
#include "replication/parts.h"

#include <stdio.h>
#include <sys/eventfd.h>

enum { PUBLISHED_HEAD = 16 + 8, RETRY_MS = 500 };

/*  ---- batches ----  */

struct entries *ckv_entries_new(struct ckv_replicator *self)
{
    struct entries *batch = calloc(1, sizeof(*batch));
    if (batch)
        batch->replicator = self;
    else
        ckv_parts_break(self, ckv_strerror(CKV_ERROR_MEMORY));
    return batch;
}

void ckv_entries_free(struct entries *self)
{
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++)
        ckv_kv_leave_arrival(self->replicator->options.kv, self->items[i].arrival);
    ckv_buffer_clear(&self->octets);
    free(self->items);
    free(self);
}

int ckv_entries_add(struct entries *self, enum ckv_message_type type, uint64_t own_number,
                    struct ckv_octets octets)
{
    if (self->count == self->capacity) {
        size_t capacity = 2 * self->capacity + 16;
        struct entries_item *items = realloc(self->items, capacity * sizeof(*items));
        if (!items)
            return CKV_ERROR_MEMORY;
        self->items = items;
        self->capacity = capacity;
    }
    self->items[self->count] =
        (struct entries_item){ type, own_number, 0, self->octets.size, octets.size };
    int rc = ckv_buffer_add(&self->octets, octets);
    if (rc == CKV_OK)
        self->count++;
    return rc;
}

static int merge_record(struct entries *self, struct ckv_kv_txn *txn, struct ckv_octets record)
{
    const struct ckv_replicator_options *options = &self->replicator->options;
    struct ckv_certificate certificate;
    int rc = ckv_certificate_parse(&certificate, record.data, record.size);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_kv_merge_verified(txn, &certificate, options->cluster_key);
    if (rc < 0)
        return rc;
    if (rc != CKV_KV_UNCHANGED)
        self->changed++;
    if (rc == CKV_KV_WON || rc == CKV_KV_LOST)
        ckv_log(CKV_LOG_WARNING, "two certificates were given one storage key; the older one keeps "
                                 "it; see 'curvekv list --conflicts'");
    return options->witness(options->witness_argument, txn, certificate.revision);
}

static int apply_item(struct entries *self, struct ckv_kv_txn *txn, const struct entries_item *item)
{
    struct ckv_octets octets = ckv_octets(self->octets.data + item->offset, item->size);
    int rc = CKV_OK;
    if (item->own_number)
        rc = ckv_outbox_del(txn, item->own_number);
    if (rc == CKV_OK && item->type == CKV_MESSAGE_RECORD)
        rc = merge_record(self, txn, octets);
    else if (rc == CKV_OK && item->type == CKV_MESSAGE_FORGET)
        rc = ckv_members_put(txn, ckv_get64(octets.data), ckv_get64(octets.data + 8), "");
    return rc == CKV_ERROR_ARRAY_KEY ? CKV_OK : rc; /* not for this store, as in an import */
}

/*  The writer's thread.  */
static int apply(struct ckv_write *write, struct ckv_kv_txn *txn)
{
    struct entries *self = (struct entries *)write;
    struct ckv_position stored;
    self->changed = 0;
    int rc = CKV_OK;
    if (!self->repairs) {
        rc = ckv_position_get(&stored, txn);
        if (rc == CKV_OK &&
            (stored.epoch != self->before.epoch || stored.sequence != self->before.sequence))
            return CKV_ERROR_POSITION;
    }
    for (size_t i = 0; i < self->count && rc == CKV_OK; i++)
        rc = apply_item(self, txn, &self->items[i]);
    if (rc == CKV_OK && !self->repairs)
        rc = ckv_position_put(&self->after, txn);
    if (rc == CKV_OK && !self->repairs && self->before.epoch != self->after.epoch)
        rc = ckv_cluster_put(self->replicator->options.cluster, txn);
    return rc;
}

/*  The writer's thread.  */
static void done(struct ckv_write *write, int rc)
{
    struct entries *batch = (struct entries *)write;
    struct ckv_replicator *self = batch->replicator;
    batch->write.rc = rc;
    batch->next = NULL;
    pthread_mutex_lock(&self->lock);
    *self->mailbox.written_end = batch;
    self->mailbox.written_end = &batch->next;
    ckv_parts_posted(self);
}

void ckv_entries_submit(struct ckv_replicator *self, struct entries *batch)
{
    batch->write.apply = apply;
    batch->write.done = done;
    self->applying += batch->octets.size;
    self->batches++;
    ckv_writer_submit(self->options.writer, &batch->write);
}

/*  ---- taking entries ----  */

/*  The batch that gathers, which follows the position.  */
static struct entries *gathering(struct ckv_replicator *self)
{
    if (self->gathered)
        return self->gathered;
    self->gathered = ckv_entries_new(self);
    if (self->gathered) {
        self->gathered->before = self->gathered->after = self->position;
        self->gathered->since_ms = ckv_clock_monotonic();
    }
    return self->gathered;
}

/*  Whether MESSAGE may be applied; a record in it is verified here, not on the writer's thread, and
    viewed as CERTIFICATE.  */
static int check_entry(struct ckv_replicator *self, const struct ckv_message *message,
                       struct ckv_certificate *certificate)
{
    if (message->type == CKV_MESSAGE_FORGET)
        return message->payload.size == CKV_MEMBERSHIP_SIZE ? CKV_OK : CKV_ERROR_MESSAGE;
    if (message->type != CKV_MESSAGE_RECORD)
        return CKV_ERROR_MESSAGE;
    int rc = ckv_certificate_parse(certificate, message->payload.data, message->payload.size);
    return rc == CKV_OK ? ckv_certificate_verify(certificate, self->options.cluster_key) : rc;
}

static void complain(struct ckv_replicator *self, int rc, const char *what)
{
    if (self->counters.dropped + self->counters.forged == 1)
        ckv_log(CKV_LOG_WARNING, "%s was dropped: %s (further ones are only counted)", what,
                ckv_strerror(rc));
}

/*  Whether MESSAGE, which forgets a node, is to be stored: not when it is about this one, or one that
    was heard since; but what this node itself put in the outbox has to leave it.  */
static bool forgets(struct ckv_replicator *self, const struct ckv_message *message)
{
    uint64_t id = ckv_get64(message->payload.data), at = ckv_get64(message->payload.data + 8);
    if (id == self->options.node_id) {
        ckv_parts_begin_anew(self, at);
        return false;
    }
    return ckv_members_forget(&self->members, id, at) || message->sender == self->options.node_id;
}

/*  Returns false when the record has to be stored to be read.  */
static bool make_readable(struct ckv_replicator *self, struct entries_item *item,
                          const struct ckv_certificate *certificate)
{
    item->arrival = ckv_kv_enter_arrival(self->options.kv, certificate);
    return item->arrival != 0;
}

/*  Takes the entry of SEQUENCE, which follows the position. One that cannot be applied is passed over
    when the log has it, or nothing behind it would ever be; but the channel's word is not taken for
    that.  */
static void take_entry(struct ckv_replicator *self, uint64_t sequence, struct ckv_octets entry,
                       bool from_log)
{
    struct ckv_message message;
    struct ckv_certificate certificate = { .record = { NULL, 0 } };
    int rc = ckv_message_read(&message, self->options.cluster_key, entry);
    if (rc == CKV_OK)
        rc = check_entry(self, &message, &certificate);
    if (rc != CKV_OK && !from_log) {
        self->counters.forged++;
        complain(self, rc, "an entry on the channel");
        return;
    }
    struct entries *batch = gathering(self);
    if (!batch)
        return;
    if (rc != CKV_OK) {
        self->counters.dropped++;
        complain(self, rc, "an entry of the log");
    } else if (message.type != CKV_MESSAGE_FORGET || forgets(self, &message)) {
        bool own = message.sender == self->options.node_id;
        if (ckv_entries_add(batch, message.type, own ? message.number : 0, message.payload) !=
            CKV_OK) {
            ckv_parts_break(self, ckv_strerror(CKV_ERROR_MEMORY));
            return;
        }
        bool readable = own && message.type == CKV_MESSAGE_RECORD;
        if (!own && message.type == CKV_MESSAGE_RECORD && (!from_log || self->falls_behind))
            readable = make_readable(self, &batch->items[batch->count - 1], &certificate);
        batch->hidden = batch->hidden || !readable;
        batch->notify = batch->notify || (message.flags & CKV_MESSAGE_NOTIFY);
    }
    self->position.sequence = sequence;
    ckv_position_mark(self->position.mark, entry);
    batch->after = self->position;
}

static uint64_t read_epoch(const uint8_t *hex)
{
    char text[17];
    memcpy(text, hex, 16);
    text[16] = 0;
    return strtoull(text, NULL, 16);
}

void ckv_apply_entry(struct ckv_replicator *self, struct ckv_octets published)
{
    if (published.size < PUBLISHED_HEAD || read_epoch(published.data) != self->position.epoch) {
        self->probed_ms = 0; /* a forgery, or another epoch: ask which it is */
        self->counters.forged++;
        return;
    }
    uint64_t sequence = ckv_get64(published.data + 16);
    struct ckv_octets entry =
        ckv_octets(published.data + PUBLISHED_HEAD, published.size - PUBLISHED_HEAD);
    if (sequence <= self->position.sequence)
        return;
    if (sequence == self->position.sequence + 1) {
        take_entry(self, sequence, entry, false);
        if (self->position.sequence > self->head)
            self->head = self->position.sequence;
        return;
    }
    if (sequence > self->passed_over)
        self->passed_over = sequence;
    if (!self->filling)
        self->counters.gaps++;
    self->filling = true;
}

void ckv_apply_submit(struct ckv_replicator *self)
{
    struct entries *batch = self->gathered;
    self->gathered = NULL;
    if (batch)
        ckv_entries_submit(self, batch);
}

/*  Submits what gathered, unless all of it can be read already (own records that come back, and
    arrivals) and nobody waits until it is stored: then it waits a moment for more, since a commit
    costs much the same for one as for many.  */
void ckv_apply_submit_due(struct ckv_replicator *self)
{
    const struct entries *batch = self->gathered;
    if (batch && (batch->hidden || batch->notify || self->filling ||
                  ckv_clock_monotonic() - batch->since_ms >= HOLD_MS))
        ckv_apply_submit(self);
}

/*  Goes to SEQUENCE without what lies between, which is left to repair.  */
void ckv_apply_jump(struct ckv_replicator *self, uint64_t sequence)
{
    ckv_apply_submit(self);
    struct entries *batch = gathering(self);
    if (!batch)
        return;
    self->position.sequence = sequence;
    memset(self->position.mark, 0, sizeof(self->position.mark));
    batch->after = self->position;
    ckv_apply_submit(self);
}

/*  ---- reading the log ----  */

void ckv_apply_fill(struct ckv_replicator *self)
{
    char first[32], count[16];
    if (!self->filling || self->fill_asked || self->broken || self->applying > APPLYING_MAX / 2 ||
        ckv_clock_monotonic() < self->fill_at_ms)
        return;
    snprintf(first, sizeof(first), "%llu-1", (unsigned long long)self->position.sequence + 1);
    snprintf(count, sizeof(count), "%d", FILL_ENTRIES);
    const char *argv[] = { "XRANGE", self->names.keys[CKV_KEY_LOG], first, "+", "COUNT", count };
    if (ckv_parts_command(self, ckv_parts_pending(PENDING_FILL), 6, argv, NULL) == CKV_OK)
        self->fill_asked = true;
    self->fill_head = self->head;
}

/*  Reads one element of the reply to XRANGE.  */
static bool read_element(const redisReply *element, uint64_t *sequence, struct ckv_octets *entry)
{
    if (element->type != REDIS_REPLY_ARRAY || element->elements != 2 ||
        element->element[0]->type != REDIS_REPLY_STRING ||
        element->element[1]->type != REDIS_REPLY_ARRAY || element->element[1]->elements < 2 ||
        element->element[1]->element[1]->type != REDIS_REPLY_STRING)
        return false;
    const redisReply *value = element->element[1]->element[1];
    *sequence = strtoull(element->element[0]->str, NULL, 10);
    *entry = ckv_octets(value->str, (size_t)value->len);
    return true;
}

void ckv_apply_filled(struct ckv_replicator *self, const redisReply *reply)
{
    uint64_t sequence, before = self->position.sequence;
    struct ckv_octets entry;
    self->fill_asked = false;
    if (reply->type != REDIS_REPLY_ARRAY || self->broken)
        return;
    for (size_t i = 0; i < reply->elements; i++) {
        if (!read_element(reply->element[i], &sequence, &entry) ||
            sequence <= self->position.sequence)
            continue;
        if (sequence > self->position.sequence + 1) {
            self->counters.trimmed++;
            self->position.complete = false;
            ckv_log(CKV_LOG_WARNING, "the log has lost entries %llu to %llu; they will be repaired",
                    (unsigned long long)self->position.sequence + 1,
                    (unsigned long long)sequence - 1);
            ckv_apply_jump(self, sequence - 1);
        }
        take_entry(self, sequence, entry, true);
    }
    ckv_apply_submit(self);
    if (reply->elements >= FILL_ENTRIES)
        return;                                      /* there may be more */
    if (self->position.sequence < self->fill_head) { /* a head that the log has not */
        self->counters.trimmed++;
        self->position.complete = false;
        ckv_apply_jump(self, self->fill_head);
    }
    /*  What the channel brought too early is in the log by now; unless it was made up.  */
    if (self->passed_over > self->position.sequence && self->position.sequence > before)
        return;
    self->passed_over = 0;
    self->filling = false;
}

/*  The reply to HMGET state epoch head.  */
void ckv_apply_probe(struct ckv_replicator *self, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING || reply->element[0]->len != 16 ||
        read_epoch((const uint8_t *)reply->element[0]->str) != self->position.epoch) {
        ckv_parts_rejoin(self, "another epoch of the log has begun");
        return;
    }
    /*  What the last probe saw was published then; if it is not here by now, it was lost.  */
    if (self->probed_head > self->position.sequence)
        self->filling = true;
    self->probed_head = strtoull(reply->element[1]->str, NULL, 10);
    if (self->probed_head > self->head)
        self->head = self->probed_head;
}

/*  ---- written ----  */

static void say_applied(struct ckv_replicator *self)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = ckv_parts_message(self, CKV_MESSAGE_APPLIED);
    uint8_t payload[16];
    ckv_put64(payload, self->applied.epoch);
    ckv_put64(payload + 8, self->applied.sequence);
    if (ckv_message_begin(&buffer, &message, self->options.cluster_key) == CKV_OK &&
        ckv_buffer_add(&buffer, ckv_octets(payload, sizeof(payload))) == CKV_OK &&
        ckv_message_end(&buffer, 0, self->options.cluster_key) == CKV_OK)
        ckv_parts_publish(self, self->names.nodes_channel, ckv_buffer_octets(&buffer));
    ckv_buffer_clear(&buffer);
}

/*  What could be resolved stays so, though it was not stored: until all is.  */
static void keep_arrivals(struct ckv_replicator *self, struct entries *batch)
{
    for (size_t i = 0; batch && i < batch->count; i++) {
        uint64_t *kept = &self->kept[self->kept_count++ % KEPT_MAX];
        ckv_kv_leave_arrival(self->options.kv, *kept); /* the oldest, when there are too many */
        *kept = batch->items[i].arrival;
        batch->items[i].arrival = 0;
    }
}

static void leave_arrivals(struct ckv_replicator *self)
{
    for (size_t i = 0; i < self->kept_count && i < KEPT_MAX; i++) {
        ckv_kv_leave_arrival(self->options.kv, self->kept[i]);
        self->kept[i] = 0;
    }
    self->kept_count = 0;
}

static void fall_back(struct ckv_replicator *self, struct entries *batch, int rc)
{
    if (rc != CKV_ERROR_POSITION && ckv_log_is_due(&self->unstored, rc))
        ckv_log(CKV_LOG_WARNING, "entries of the log were not stored, and will be read again: %s",
                ckv_strerror(rc));
    keep_arrivals(self, batch);
    keep_arrivals(self, self->gathered);
    ckv_entries_free(self->gathered);
    self->gathered = NULL;
    self->filling = self->falls_behind = true;
    self->fill_at_ms = ckv_clock_monotonic() + RETRY_MS;
}

void ckv_apply_written(struct ckv_replicator *self, struct entries *batch)
{
    int rc = batch->write.rc;
    self->applying -= batch->octets.size;
    self->batches--;
    if (batch->repairs) {
        ckv_repair_written(self, batch);
    } else if (rc == CKV_OK) {
        self->applied = batch->after;
        self->counters.applied += batch->count;
        self->falls_behind = self->falls_behind && (self->filling || self->batches);
        if (!self->falls_behind)
            leave_arrivals(self);
        if (batch->notify && atomic_load(&self->live))
            say_applied(self);
        ckv_register_spread(self);
    } else {
        fall_back(self, batch, rc);
    }
    /*  What was behind a failed write fails, too; when all is back, what is stored is the truth.  */
    if (self->batches == 0 && !self->gathered &&
        (self->position.epoch != self->applied.epoch ||
         self->position.sequence != self->applied.sequence)) {
        self->position = self->applied;
        self->filling = true;
    }
    ckv_entries_free(batch);
}
