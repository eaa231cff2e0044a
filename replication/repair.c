/*  repair: compare digests with a peer, and exchange just what differs.

    A node repairs when it does not have all that the cluster knew before (it is new, was away past
    the end of the log, or another epoch has begun), when a peer at the same position has another
    digest, or when a peer asks for it. It asks; the peer answers (answer.c) and keeps nothing:

        1. its digests by rows; the peer sends those that differ, and the ranges in them that
           differ are known;
        2. for some ranges at a time, the ids of its records there; the peer sends the records that
           are not among them, and the ids that it lacks itself;
        3. what the peer lacks is put in the outbox, unless the peer's own state has taken its
           place meanwhile: so everyone gets it, by the log.
           Too much for that is left to the peer, which is nudged to fetch it by a repair of its own.

    A few questions are under way at one time, and no more than REPAIRING_MAX octets at the writer,
    so memory is bounded whatever the difference. Joining a cluster is this, from empty.

    When nobody is here who has confirmed the epoch, another one is begun by whoever has been complete
    before; by a new node only after it has waited for others in vain.

    When all is done with a peer that has confirmed the epoch, this node confirms it, too: whatever
    it knew from before is now known to the others or in the log of this epoch. Once all members
    have, a storage key that is free here is free (members.h, ckv_members_agree).
*/
#include "kv/log.h"
#include "replication/parts.h"

#include <stdio.h>

enum {
    ASKS_MAX = 6,
    ANSWER_RECORDS = 1800, /* expected in one answer: about half a megabyte */
    RANGES_LIST_MAX = 2 * CKV_RANGES,
    PUSH_MAX = 20000,  /* beyond that nothing is pushed: the peer is nudged, and fetches it */
    FETCHES_MS = 2000, /* and is left to that for so long */
    MEND_MAX = 256,
    PATIENCE_MS = 4000,
    PAUSE_MS = 300,
    LOG_MS = 1000,        /* between two lines of progress */
    LONELY_MS = 700,      /* without a peer that has confirmed the epoch */
    LONELY_NEW_MS = 3000, /* the same for a node that never was complete: any other comes first */
    REVIEW_MS = 15000,    /* without once the same digest as a peer */
};

/*  A record that the peer lacks.  */
struct surplus {
    struct ckv_storage_key storage_key;
    uint8_t id[CKV_RECORD_ID_SIZE];
};

struct ask {
    uint64_t number; /* 0: free */
    unsigned count;
    uint16_t ranges[CKV_ASKED_RANGES_MAX];
};

struct repair {
    uint64_t peer, epoch, number, began_ms, heard_ms, logged_ms;
    bool peer_confirmed, has_digests, pushed, too_many;
    uint64_t peer_records;
    unsigned next, count, done; /* of ranges */
    uint16_t ranges[RANGES_LIST_MAX];
    struct ask asks[ASKS_MAX];
    unsigned writing; /* batches at the writer */
    uint64_t records;
    struct ckv_buffer surplus; /* struct surplus */
    uint16_t mends[MEND_MAX];
    unsigned mend_count;
    uint64_t push_until; /* outbox row that must be in the log first */
};

/*  ---- sending ----  */

static int send_to(struct ckv_replicator *self, uint64_t node_id, enum ckv_message_type type,
                   uint64_t *number, struct ckv_octets payload)
{
    char channel[CKV_KEY_MAX];
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = ckv_parts_message(self, type);
    ckv_channel_of(&self->names, node_id, channel);
    *number = message.number;
    int rc = ckv_message_begin(&buffer, &message, self->options.cluster_key);
    if (rc == CKV_OK)
        rc = ckv_buffer_add(&buffer, payload);
    if (rc == CKV_OK)
        rc = ckv_message_end(&buffer, 0, self->options.cluster_key);
    if (rc == CKV_OK)
        rc = ckv_parts_publish(self, channel, ckv_buffer_octets(&buffer));
    self->counters.repair_octets_sent += buffer.size;
    ckv_buffer_clear(&buffer);
    return rc;
}

static int ask_digests(struct ckv_replicator *self, struct repair *repair)
{
    uint8_t payload[CKV_DIGEST_ROWS * CKV_DIGEST_SIZE];
    if (!ckv_parts_refresh(self))
        return CKV_ERROR_IO;
    int rc = ckv_kv_digests(self->txn, &self->digests);
    ckv_kv_reset(self->txn);
    if (rc != CKV_OK)
        return rc;
    for (unsigned row = 0; row < CKV_DIGEST_ROWS; row++)
        ckv_digest_put(payload + (size_t)row * CKV_DIGEST_SIZE,
                       ckv_digest_of_row(&self->digests, row));
    return send_to(self, repair->peer, CKV_MESSAGE_ASK_DIGESTS, &repair->number,
                   ckv_octets(payload, sizeof(payload)));
}

/*  Ids of the own records in some ranges, to be asked about.  */
struct listing {
    struct ckv_replicator *replicator;
    struct ckv_buffer pairs; /* range 2 octets, id 8 octets */
};

/*  A record that fails verification is not listed, so that the peer sends it again.  */
static int list_record(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    struct listing *self = argument;
    if (ckv_certificate_verify(certificate, self->replicator->options.cluster_key) != CKV_OK)
        return CKV_OK;
    uint8_t *pair = ckv_buffer_grow(&self->pairs, CKV_LACKING_SIZE);
    if (!pair)
        return CKV_ERROR_MEMORY;
    ckv_put16(pair, (uint16_t)range);
    memcpy(pair + 2, certificate->record.data + certificate->record.size - CKV_RECORD_TAG_SIZE,
           CKV_RECORD_ID_SIZE);
    return CKV_OK;
}

static int compare_pairs(const void *a, const void *b)
{
    return memcmp(a, b, CKV_LACKING_SIZE);
}

/*  Writes the question about the ranges of ASK.  */
static int write_question(const struct ask *ask, const struct ckv_buffer *pairs,
                          struct ckv_buffer *question)
{
    size_t at = 0;
    for (unsigned i = 0; i < ask->count; i++) { /* the ranges are in order, as the pairs are */
        size_t first = at;
        while (at < pairs->size && ckv_get16(pairs->data + at) == ask->ranges[i])
            at += CKV_LACKING_SIZE;
        size_t count = (at - first) / CKV_LACKING_SIZE;
        uint8_t *head = ckv_buffer_grow(question, 4 + count * CKV_RECORD_ID_SIZE);
        if (!head || count > UINT16_MAX)
            return CKV_ERROR_MEMORY;
        ckv_put16(head, ask->ranges[i]);
        ckv_put16(head + 2, (uint16_t)count);
        for (size_t j = 0; j < count; j++)
            memcpy(head + 4 + j * CKV_RECORD_ID_SIZE,
                   pairs->data + first + j * CKV_LACKING_SIZE + 2, CKV_RECORD_ID_SIZE);
    }
    return CKV_OK;
}

static int compare_ranges(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static int ask_ranges(struct ckv_replicator *self, struct repair *repair, struct ask *ask)
{
    struct listing listing = { .replicator = self };
    struct ckv_buffer question = { 0 };
    struct ckv_ranges wanted = { { 0 } };
    uint64_t by_range = repair->peer_records / CKV_RANGES + 1;
    unsigned most = (unsigned)(ANSWER_RECORDS / by_range);
    most = most < 1 ? 1 : most > CKV_ASKED_RANGES_MAX ? CKV_ASKED_RANGES_MAX : most;
    for (ask->count = 0; ask->count < most && repair->next < repair->count; ask->count++) {
        ask->ranges[ask->count] = repair->ranges[repair->next++];
        ckv_ranges_add(&wanted, ask->ranges[ask->count]);
    }
    qsort(ask->ranges, ask->count, sizeof(*ask->ranges), compare_ranges);
    if (!ckv_parts_refresh(self))
        return CKV_ERROR_IO;
    int rc = ckv_kv_walk_ranges(self->txn, &wanted, list_record, &listing);
    ckv_kv_reset(self->txn);
    if (rc == CKV_OK && listing.pairs.size)
        qsort(listing.pairs.data, listing.pairs.size / CKV_LACKING_SIZE, CKV_LACKING_SIZE,
              compare_pairs);
    if (rc == CKV_OK)
        rc = write_question(ask, &listing.pairs, &question);
    if (rc == CKV_OK)
        rc = send_to(self, repair->peer, CKV_MESSAGE_ASK_RANGES, &ask->number,
                     ckv_buffer_octets(&question));
    ckv_buffer_clear(&listing.pairs);
    ckv_buffer_clear(&question);
    return rc;
}

/*  ---- the course of it ----  */

void ckv_repair_drop(struct ckv_replicator *self)
{
    struct repair *repair = self->repair;
    if (!repair)
        return;
    ckv_buffer_clear(&repair->surplus);
    free(repair);
    self->repair = NULL;
    self->repair_not_before_ms = ckv_clock_monotonic() + PAUSE_MS;
    pthread_mutex_lock(&self->lock);
    self->status.repair = (struct ckv_repair_progress){ .running = false };
    pthread_mutex_unlock(&self->lock);
}

static void fail(struct ckv_replicator *self, const char *why)
{
    ckv_log(CKV_LOG_INFO, "repair is given up and will be tried again: %s", why);
    ckv_repair_drop(self);
}

static void show_progress(struct ckv_replicator *self)
{
    struct repair *repair = self->repair;
    struct ckv_member *peer = ckv_members_find(&self->members, repair->peer);
    struct ckv_repair_progress progress = {
        .running = true, .done = repair->done, .of = repair->count, .records = repair->records
    };
    if (peer)
        memcpy(progress.peer, peer->name, sizeof(progress.peer));
    pthread_mutex_lock(&self->lock);
    self->status.repair = progress;
    pthread_mutex_unlock(&self->lock);
    uint64_t now_ms = ckv_clock_monotonic();
    if (now_ms - repair->logged_ms < LOG_MS)
        return;
    ckv_log(CKV_LOG_INFO, "repairing with '%s': %u of %u ranges, %llu records received",
            progress.peer, progress.done, progress.of, (unsigned long long)progress.records);
    repair->logged_ms = now_ms;
}

static void begin(struct ckv_replicator *self, const struct ckv_member *peer, uint64_t now_ms)
{
    struct repair *repair = self->repair = calloc(1, sizeof(*repair));
    if (!repair)
        return;
    repair->peer = peer->id;
    repair->peer_confirmed = peer->confirmed_epoch == self->applied.epoch &&
                             (peer->said.flags & CKV_ANNOUNCES_CONFIRMED);
    repair->peer_records = peer->said.records;
    repair->epoch = self->applied.epoch;
    repair->began_ms = repair->heard_ms = repair->logged_ms = now_ms;
    self->counters.repairs++;
    if (self->nudged_by == peer->id)
        self->nudged_by = 0;
    ckv_log(CKV_LOG_DEBUG, "repair with '%s' begins", peer->name);
    if (ask_digests(self, repair) != CKV_OK)
        fail(self, "the question could not be sent");
}

/*  Sends the questions that may be sent now.  */
static void ask_more(struct ckv_replicator *self)
{
    struct repair *repair = self->repair;
    for (int i = 0; i < ASKS_MAX && repair->next < repair->count && self->applying < REPAIRING_MAX;
         i++)
        if (!repair->asks[i].number && ask_ranges(self, repair, &repair->asks[i]) != CKV_OK) {
            fail(self, "the question could not be sent");
            return;
        }
}

static bool is_asking(const struct repair *repair)
{
    for (int i = 0; i < ASKS_MAX; i++)
        if (repair->asks[i].number)
            return true;
    return repair->next < repair->count || !repair->has_digests;
}

static void take_digests(struct ckv_replicator *self, struct ckv_octets payload)
{
    struct repair *repair = self->repair;
    struct ckv_digests_item item;
    if (!ckv_parts_refresh(self))
        return;
    int rc = ckv_kv_digests(self->txn, &self->digests);
    ckv_kv_reset(self->txn);
    while (rc == CKV_OK && (rc = ckv_digests_item_next(&payload, &item)) == 1) {
        unsigned first = item.row * CKV_DIGEST_ROW_RANGES;
        for (unsigned i = 0; i < CKV_DIGEST_ROW_RANGES && repair->count < CKV_RANGES; i++)
            if (!ckv_digest_equal(self->digests.ranges[first + i], item.digests[i]))
                repair->ranges[repair->count++] = (uint16_t)(first + i);
        rc = CKV_OK;
    }
    repair->has_digests = true;
    if (rc < 0)
        fail(self, "the digests cannot be read");
}

/*  Finds the storage keys of own records by their ids.  */
struct search {
    struct repair *repair;
    struct ckv_octets lacking;
};

static int find_surplus(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    struct search *self = argument;
    const uint8_t *tag = certificate->record.data + certificate->record.size - CKV_RECORD_TAG_SIZE;
    for (size_t at = 0; at < self->lacking.size; at += CKV_LACKING_SIZE) {
        const uint8_t *pair = self->lacking.data + at;
        if (ckv_get16(pair) != range || memcmp(pair + 2, tag, CKV_RECORD_ID_SIZE) != 0)
            continue;
        struct surplus surplus;
        memset(&surplus, 0, sizeof(surplus));
        memcpy(surplus.id, tag, CKV_RECORD_ID_SIZE);
        int rc = ckv_storage_key_set(&surplus.storage_key, certificate->storage_key);
        return rc == CKV_OK
                   ? ckv_buffer_add(&self->repair->surplus, ckv_octets(&surplus, sizeof(surplus)))
                   : rc;
    }
    return CKV_OK;
}

static void take_lacking(struct ckv_replicator *self, struct ckv_octets lacking)
{
    struct repair *repair = self->repair;
    struct search search = { .repair = repair, .lacking = lacking };
    struct ckv_ranges ranges = { { 0 } };
    if (!lacking.size)
        return;
    if (repair->surplus.size / sizeof(struct surplus) + lacking.size / CKV_LACKING_SIZE >
        PUSH_MAX) {
        repair->too_many = true;
        return;
    }
    for (size_t at = 0; at < lacking.size; at += CKV_LACKING_SIZE) {
        unsigned range = ckv_get16(lacking.data + at);
        if (range < CKV_RANGES)
            ckv_ranges_add(&ranges, range);
    }
    if (!ckv_parts_refresh(self))
        return;
    int rc = ckv_kv_walk_ranges(self->txn, &ranges, find_surplus, &search);
    ckv_kv_reset(self->txn);
    if (rc != CKV_OK)
        fail(self, ckv_strerror(rc));
}

/*  Hands the records of an answer to the writer. Returns how many, or an error.  */
static int take_records(struct ckv_replicator *self, struct ckv_octets payload)
{
    struct ckv_octets record;
    struct ckv_certificate certificate;
    struct entries *batch = ckv_entries_new(self);
    int rc;
    if (!batch)
        return CKV_ERROR_MEMORY;
    batch->repairs = true;
    while ((rc = ckv_ranges_record_next(&payload, &record)) == 1) {
        rc = ckv_certificate_parse(&certificate, record.data, record.size);
        if (rc == CKV_OK)
            rc = ckv_certificate_verify(&certificate, self->options.cluster_key);
        if (rc != CKV_OK)
            self->counters.forged++;
        else if ((rc = ckv_entries_add(batch, CKV_MESSAGE_RECORD, 0, record)) != CKV_OK)
            break;
    }
    if (rc < 0 || !batch->count) {
        ckv_entries_free(batch);
        return rc < 0 ? rc : 0;
    }
    int count = (int)batch->count;
    self->repair->records += batch->count;
    self->repair->writing++;
    self->counters.repair_records_received += batch->count;
    ckv_entries_submit(self, batch);
    return count;
}

/*  Ranges that the peer left out of its answer are asked for again.  */
static void put_back(struct repair *repair, const struct ask *ask, unsigned answered)
{
    if (repair->next > RANGES_LIST_MAX / 2) { /* make room at the end */
        memmove(repair->ranges, repair->ranges + repair->next,
                (repair->count - repair->next) * sizeof(*repair->ranges));
        repair->count -= repair->next;
        repair->next = 0;
    }
    for (unsigned i = answered; i < ask->count && repair->count < RANGES_LIST_MAX; i++)
        repair->ranges[repair->count++] = ask->ranges[i];
}

static void take_ranges(struct ckv_replicator *self, struct ask *ask, struct ckv_octets payload)
{
    struct repair *repair = self->repair;
    struct ckv_ranges_head head;
    int rc = ckv_ranges_head_read(&payload, &head);
    int records = rc == CKV_OK ? take_records(self, payload) : rc;
    if (records < 0 || head.answered == 0 || head.answered > ask->count) {
        fail(self, "the peer's answer cannot be read");
        return;
    }
    take_lacking(self, head.lacking);
    if (!self->repair)
        return;
    if (!records && !head.lacking.size && ckv_kv_ranges_in_order(self->options.kv))
        for (unsigned i = 0; i < head.answered && repair->mend_count < MEND_MAX; i++)
            repair->mends[repair->mend_count++] = ask->ranges[i];
    repair->done += head.answered;
    put_back(repair, ask, head.answered);
    ask->number = 0;
}

/*  ---- the end of it ----  */

struct push {
    struct ckv_write write;
    struct ckv_replicator *replicator;
    struct ckv_buffer surplus;
    uint16_t mends[MEND_MAX];
    unsigned mend_count;
    atomic_bool done;
    uint64_t last; /* outbox row */
};

/*  The writer's thread: what the peer lacks goes to the outbox, if it still stands as it was.  */
static int apply_push(struct ckv_write *write, struct ckv_kv_txn *txn)
{
    struct push *self = (struct push *)write;
    struct ckv_certificate certificate;
    int rc = CKV_OK;
    for (size_t at = 0; at < self->surplus.size && rc == CKV_OK; at += sizeof(struct surplus)) {
        const struct surplus *one = (const struct surplus *)(self->surplus.data + at);
        struct ckv_octets key = ckv_storage_key_octets(&one->storage_key);
        if (ckv_kv_get(txn, key, &certificate) == CKV_OK &&
            memcmp(certificate.record.data + certificate.record.size - CKV_RECORD_TAG_SIZE, one->id,
                   CKV_RECORD_ID_SIZE) == 0)
            rc = ckv_outbox_put(self->replicator->options.outbox, txn, 0, key, &self->last);
    }
    for (unsigned i = 0; i < self->mend_count && rc == CKV_OK; i++)
        rc = ckv_kv_mend_range(txn, self->mends[i]);
    return rc;
}

/*  It comes back as an empty batch of a repair, through the mailbox.  */
static void push_done(struct ckv_write *write, int rc)
{
    struct push *self = (struct push *)write;
    struct ckv_replicator *replicator = self->replicator;
    struct entries *batch = calloc(1, sizeof(*batch));
    if (batch) {
        batch->replicator = replicator;
        batch->repairs = true;
        batch->write.rc = rc;
        batch->after.sequence = self->last; /* of the outbox */
        pthread_mutex_lock(&replicator->lock);
        *replicator->mailbox.written_end = batch;
        replicator->mailbox.written_end = &batch->next;
        ckv_parts_posted(replicator);
    }
    ckv_buffer_clear(&self->surplus);
    free(self);
}

static void push(struct ckv_replicator *self)
{
    struct repair *repair = self->repair;
    struct push *push = calloc(1, sizeof(*push));
    if (!push)
        return;
    push->write.apply = apply_push;
    push->write.done = push_done;
    push->replicator = self;
    push->surplus = repair->surplus;
    repair->surplus = (struct ckv_buffer){ 0 };
    memcpy(push->mends, repair->mends, sizeof(push->mends));
    push->mend_count = repair->mend_count;
    repair->pushed = true;
    repair->writing++;
    self->batches++; /* so that away waits for it */
    ckv_writer_submit(self->options.writer, &push->write);
}

void ckv_repair_written(struct ckv_replicator *self, struct entries *batch)
{
    struct repair *repair = self->repair;
    if (!repair)
        return;
    repair->writing -= repair->writing ? 1 : 0;
    repair->heard_ms = ckv_clock_monotonic();
    if (batch->write.rc != CKV_OK) {
        fail(self, ckv_strerror(batch->write.rc));
        return;
    }
    if (batch->after.sequence)
        repair->push_until = batch->after.sequence;
    ask_more(self);
}

static void confirm(struct ckv_replicator *self)
{
    char id[17], epoch[17]; /* named, since another one may begin before this arrives */
    struct ckv_member *myself = ckv_members_find(&self->members, self->options.node_id);
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)self->options.node_id);
    snprintf(epoch, sizeof(epoch), "%016llx", (unsigned long long)self->position.epoch);
    const char *argv[] = { "HSET", self->names.keys[CKV_KEY_CONFIRMED], id, epoch };
    if (ckv_parts_command(self, ckv_parts_pending(PENDING_OTHER), 4, argv, NULL) == CKV_OK &&
        myself)
        myself->confirmed_epoch = self->position.epoch;
    self->position.complete = self->position.settled = true;
    ckv_apply_submit(self);
    struct entries *batch = ckv_entries_new(self);
    if (!batch)
        return;
    batch->before = batch->after = self->position;
    ckv_entries_submit(self, batch);
    self->announced_ms = 0;
}

static void finish(struct ckv_replicator *self, uint64_t now_ms)
{
    struct repair *repair = self->repair;
    const struct ckv_member *peer = ckv_members_find(&self->members, repair->peer);
    uint64_t number;
    if (repair->too_many)
        send_to(self, repair->peer, CKV_MESSAGE_NUDGE, &number, ckv_octets("", 0));
    else if (repair->peer_confirmed && repair->epoch == self->position.epoch &&
             !self->position.complete)
        confirm(self);
    ckv_log(repair->count ? CKV_LOG_INFO : CKV_LOG_DEBUG,
            "repair with '%s': %u ranges differed, %llu records received, in %llu ms",
            peer ? peer->name : "?", repair->done, (unsigned long long)repair->records,
            (unsigned long long)(now_ms - repair->began_ms));
    uint64_t pause_ms = repair->too_many ? FETCHES_MS : PAUSE_MS;
    ckv_repair_drop(self);
    self->repair_not_before_ms = now_ms + pause_ms;
    self->announced_ms = 0;
}

static void advance(struct ckv_replicator *self, uint64_t now_ms)
{
    struct repair *repair = self->repair;
    if (repair->has_digests)
        ask_more(self);
    if (!self->repair)
        return;
    if (repair->epoch != self->position.epoch || now_ms - repair->heard_ms > PATIENCE_MS) {
        fail(self, repair->epoch != self->position.epoch ? "another epoch has begun"
                                                         : "the peer does not answer");
        return;
    }
    show_progress(self);
    if (repair->writing || (is_asking(repair) && !repair->too_many))
        return;
    if (!repair->pushed && !repair->too_many && (repair->surplus.size || repair->mend_count)) {
        push(self);
        return;
    }
    if (repair->push_until && self->appended < repair->push_until) {
        repair->heard_ms = now_ms;
        return; /* the log does not have it yet */
    }
    finish(self, now_ms);
}

/*  ---- when ----  */

static const struct ckv_member *choose_confirmed(struct ckv_replicator *self, uint64_t now_ms)
{
    const struct ckv_member *best = NULL;
    for (size_t i = 0; i < self->members.count; i++) {
        const struct ckv_member *member = &self->members.list[i];
        if (member->id == self->options.node_id || !ckv_member_is_live(member, now_ms) ||
            member->said.epoch != self->applied.epoch ||
            !(member->said.flags & CKV_ANNOUNCES_CONFIRMED))
            continue;
        if (!best || member->said.records > best->said.records)
            best = member;
    }
    return best;
}

/*  Who has asked for it: it has more than it may push, so it has not confirmed the epoch.  */
static const struct ckv_member *choose_nudger(struct ckv_replicator *self, uint64_t now_ms)
{
    const struct ckv_member *member = ckv_members_find(&self->members, self->nudged_by);
    bool here =
        member && ckv_member_is_live(member, now_ms) && member->said.epoch == self->applied.epoch;
    if (!here)
        self->nudged_by = 0;
    return here ? member : NULL;
}

static const struct ckv_member *choose_unequal(struct ckv_replicator *self, uint64_t now_ms)
{
    for (size_t i = 0; i < self->members.count; i++) {
        struct ckv_member *member = &self->members.list[i];
        bool first = self->options.node_id < member->id;
        if (member->id == self->options.node_id || !ckv_member_is_live(member, now_ms) ||
            member->said.epoch != self->applied.epoch ||
            !(member->said.flags & CKV_ANNOUNCES_CONFIRMED)) /* it repairs by itself */
            continue;
        if (!member->equal_ms)
            member->equal_ms = now_ms;
        bool review = first && now_ms - member->equal_ms > REVIEW_MS;
        if (review || member->unequal >= (first ? 2 : 6)) {
            member->unequal = 0;
            member->equal_ms = now_ms;
            return member;
        }
    }
    return NULL;
}

void ckv_repair_tick(struct ckv_replicator *self, uint64_t now_ms)
{
    if (self->repair) {
        advance(self, now_ms);
        return;
    }
    if (self->broken || self->filling || now_ms < self->repair_not_before_ms ||
        self->applied.epoch != self->position.epoch)
        return;
    const struct ckv_member *peer;
    if (self->position.complete) {
        self->lonely_since_ms = 0;
        peer = self->nudged_by ? choose_nudger(self, now_ms) : choose_unequal(self, now_ms);
    } else {
        peer = choose_confirmed(self, now_ms);
        self->lonely_since_ms = peer ? 0 : self->lonely_since_ms ? self->lonely_since_ms : now_ms;
    }
    if (peer)
        begin(self, peer, now_ms);
    else if (!self->position.complete &&
             now_ms - self->lonely_since_ms >
                 (uint64_t)(self->position.settled ? LONELY_MS : LONELY_NEW_MS)) {
        self->leaving = self->position.epoch;
        self->alone = true;
        self->lonely_since_ms = 0;
        ckv_parts_rejoin(self, "nobody is here who knows all of this epoch; another one begins");
    }
}

/*  Takes an answer of the peer, if it was asked for.  */
static void take_answer(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct repair *repair = self->repair;
    struct ask *ask = NULL;
    repair->heard_ms = ckv_clock_monotonic();
    for (int i = 0; i < ASKS_MAX; i++)
        if (repair->asks[i].number && repair->asks[i].number == message->number)
            ask = &repair->asks[i];
    if (message->type == CKV_MESSAGE_RANGES && ask)
        take_ranges(self, ask, message->payload);
    else if (message->type == CKV_MESSAGE_DIGESTS && message->number == repair->number &&
             !repair->has_digests)
        take_digests(self, message->payload);
    if (self->repair) /* or it has been given up */
        advance(self, ckv_clock_monotonic());
}

void ckv_repair_message(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct repair *repair = self->repair;
    self->counters.repair_octets_received += message->payload.size;
    if (message->type == CKV_MESSAGE_ASK_DIGESTS) {
        ckv_answer_digests(self, message);
    } else if (message->type == CKV_MESSAGE_ASK_RANGES) {
        ckv_answer_ranges(self, message);
    } else if (message->type == CKV_MESSAGE_NUDGE) {
        self->nudged_by = message->sender;
    } else if (repair && message->sender == repair->peer) {
        take_answer(self, message);
    }
}
