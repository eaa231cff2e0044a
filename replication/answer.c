/*  answer: the other side of a repair. Each question is answered from one snapshot, and nothing is
    kept between questions: the asker may go away at any moment.
*/
#include "replication/parts.h"

enum { ANSWER_MAX = 768 * 1024 };

static void send_back(struct ckv_replicator *self, const struct ckv_message *question,
                      enum ckv_message_type type, struct ckv_octets payload)
{
    char channel[CKV_KEY_MAX];
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = ckv_parts_message(self, type);
    message.number = question->number;
    ckv_channel_of(&self->names, question->sender, channel);
    if (ckv_message_begin(&buffer, &message, self->options.cluster_key) == CKV_OK &&
        ckv_buffer_add(&buffer, payload) == CKV_OK &&
        ckv_message_end(&buffer, 0, self->options.cluster_key) == CKV_OK)
        ckv_parts_publish(self, channel, ckv_buffer_octets(&buffer));
    self->counters.repair_octets_sent += buffer.size;
    ckv_buffer_clear(&buffer);
}

void ckv_answer_digests(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct ckv_buffer answer = { 0 };
    if (message->payload.size != CKV_DIGEST_ROWS * CKV_DIGEST_SIZE || !ckv_parts_refresh(self))
        return;
    int rc = ckv_kv_digests(self->txn, &self->digests);
    ckv_kv_reset(self->txn);
    for (unsigned row = 0; row < CKV_DIGEST_ROWS && rc == CKV_OK; row++) {
        const struct ckv_digest *digests =
            &self->digests.ranges[(size_t)row * CKV_DIGEST_ROW_RANGES];
        const uint8_t *theirs = message->payload.data + (size_t)row * CKV_DIGEST_SIZE;
        if (ckv_digest_equal(ckv_digest_of_row(&self->digests, row), ckv_digest_get(theirs)))
            continue;
        uint8_t *item = ckv_buffer_grow(&answer, 1 + CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE);
        if (!item)
            break;
        item[0] = (uint8_t)row;
        for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
            ckv_digest_put(item + 1 + i * CKV_DIGEST_SIZE, digests[i]);
    }
    if (rc == CKV_OK)
        send_back(self, message, CKV_MESSAGE_DIGESTS, ckv_buffer_octets(&answer));
    ckv_buffer_clear(&answer);
}

/*  One question about ranges, and the answer as it grows.  */
struct comparison {
    struct ckv_replicator *replicator;
    struct ckv_asked_range asked[CKV_ASKED_RANGES_MAX];
    unsigned count;
    uint16_t index[CKV_RANGES];        /* range -> which of the asked ones, and one */
    bool *found[CKV_ASKED_RANGES_MAX]; /* by id asked: it is here, too */
    struct ckv_ranges ranges;
    struct ckv_buffer records, lacking;
    unsigned last, answered;
    bool in_order;
};

enum { ANSWER_IS_FULL = 1 };

static int compare_record(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    struct comparison *self = argument;
    struct ckv_octets record = certificate->record;
    const uint8_t *tag = record.data + record.size - CKV_RECORD_TAG_SIZE;
    unsigned at = self->index[range] - 1U;
    const struct ckv_octets ids = self->asked[at].ids;
    if (self->in_order && at != self->last && self->records.size >= ANSWER_MAX) {
        self->answered = at;
        return ANSWER_IS_FULL;
    }
    self->last = at;
    for (size_t i = 0; i < ids.size / CKV_RECORD_ID_SIZE; i++)
        if (memcmp(ids.data + i * CKV_RECORD_ID_SIZE, tag, CKV_RECORD_ID_SIZE) == 0) {
            self->found[at][i] = true;
            return CKV_OK;
        }
    uint8_t *item = ckv_buffer_grow(&self->records, 4 + record.size);
    if (!item)
        return CKV_ERROR_MEMORY;
    ckv_put32(item, (uint32_t)record.size);
    memcpy(item + 4, record.data, record.size);
    self->replicator->counters.repair_records_sent++;
    return CKV_OK;
}

/*  Reads the question. Ranges come in order, each once.  */
static int read_question(struct comparison *self, struct ckv_octets payload)
{
    struct ckv_asked_range item;
    int rc;
    while ((rc = ckv_asked_range_next(&payload, &item)) == 1) {
        if (self->count == CKV_ASKED_RANGES_MAX || self->index[item.range] ||
            (self->count && item.range < self->asked[self->count - 1].range))
            return CKV_ERROR_MESSAGE;
        self->found[self->count] = calloc(item.ids.size / CKV_RECORD_ID_SIZE + 1, sizeof(bool));
        if (!self->found[self->count])
            return CKV_ERROR_MEMORY;
        self->asked[self->count++] = item;
        self->index[item.range] = (uint16_t)self->count;
        ckv_ranges_add(&self->ranges, item.range);
    }
    return rc;
}

/*  What was asked about and is not here.  */
static int list_lacking(struct comparison *self)
{
    for (unsigned at = 0; at < self->answered; at++) {
        const struct ckv_asked_range *asked = &self->asked[at];
        for (size_t i = 0; i < asked->ids.size / CKV_RECORD_ID_SIZE; i++) {
            if (self->found[at][i])
                continue;
            uint8_t *item = ckv_buffer_grow(&self->lacking, CKV_LACKING_SIZE);
            if (!item)
                return CKV_ERROR_MEMORY;
            ckv_put16(item, (uint16_t)asked->range);
            memcpy(item + 2, asked->ids.data + i * CKV_RECORD_ID_SIZE, CKV_RECORD_ID_SIZE);
        }
    }
    return CKV_OK;
}

static int compare(struct comparison *self, struct ckv_octets payload)
{
    int rc = read_question(self, payload);
    if (rc != CKV_OK || !ckv_parts_refresh(self->replicator))
        return rc == CKV_OK ? CKV_ERROR_IO : rc;
    self->answered = self->count;
    self->in_order = ckv_kv_ranges_in_order(self->replicator->options.kv);
    rc = ckv_kv_walk_ranges(self->replicator->txn, &self->ranges, compare_record, self);
    ckv_kv_reset(self->replicator->txn);
    return rc == CKV_OK || rc == ANSWER_IS_FULL ? list_lacking(self) : rc;
}

void ckv_answer_ranges(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct ckv_buffer answer = { 0 };
    struct comparison *comparison = calloc(1, sizeof(*comparison));
    if (!comparison)
        return;
    comparison->replicator = self;
    uint8_t *head =
        compare(comparison, message->payload) == CKV_OK ? ckv_buffer_grow(&answer, 6) : NULL;
    if (head) {
        ckv_put16(head, (uint16_t)comparison->answered);
        ckv_put32(head + 2, (uint32_t)(comparison->lacking.size / CKV_LACKING_SIZE));
        if (ckv_buffer_add(&answer, ckv_buffer_octets(&comparison->lacking)) == CKV_OK &&
            ckv_buffer_add(&answer, ckv_buffer_octets(&comparison->records)) == CKV_OK)
            send_back(self, message, CKV_MESSAGE_RANGES, ckv_buffer_octets(&answer));
    }
    for (unsigned at = 0; at < comparison->count; at++)
        free(comparison->found[at]);
    ckv_buffer_clear(&comparison->records);
    ckv_buffer_clear(&comparison->lacking);
    ckv_buffer_clear(&answer);
    free(comparison);
}
