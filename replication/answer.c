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
    struct ckv_digest digests[CKV_DIGEST_ROW_RANGES];
    int rc = CKV_OK;
    if (message->payload.size != CKV_DIGEST_ROWS * CKV_DIGEST_SIZE || !ckv_parts_refresh(self))
        return;
    for (unsigned row = 0; row < CKV_DIGEST_ROWS && rc == CKV_OK; row++) {
        struct ckv_digest sum = { { 0, 0 } };
        rc = ckv_kv_digests(self->txn, row, digests);
        for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES && rc == CKV_OK; i++)
            ckv_digest_add(&sum, digests[i], 1);
        const uint8_t *theirs = message->payload.data + (size_t)row * CKV_DIGEST_SIZE;
        if (rc != CKV_OK || ckv_digest_equal(sum, ckv_digest_get(theirs)))
            continue;
        uint8_t *item = ckv_buffer_grow(&answer, 1 + CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE);
        if (!item)
            break;
        item[0] = (uint8_t)row;
        for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
            ckv_digest_put(item + 1 + i * CKV_DIGEST_SIZE, digests[i]);
    }
    ckv_kv_reset(self->txn);
    if (rc == CKV_OK)
        send_back(self, message, CKV_MESSAGE_DIGESTS, ckv_buffer_octets(&answer));
    ckv_buffer_clear(&answer);
}

/*  One range: what the asker has there, and what is put into the answer.  */
struct comparison {
    const struct ckv_asked_range *asked;
    bool *found; /* by id asked */
    struct ckv_buffer *records;
    uint64_t count;
};

static int compare_record(void *argument, unsigned range, const struct ckv_certificate *certificate)
{
    struct comparison *self = argument;
    struct ckv_octets record = certificate->record;
    const uint8_t *tag = record.data + record.size - CKV_RECORD_TAG_SIZE;
    size_t count = self->asked->ids.size / CKV_RECORD_ID_SIZE;
    (void)range;
    for (size_t i = 0; i < count; i++)
        if (memcmp(self->asked->ids.data + i * CKV_RECORD_ID_SIZE, tag, CKV_RECORD_ID_SIZE) == 0) {
            self->found[i] = true;
            return CKV_OK;
        }
    uint8_t *item = ckv_buffer_grow(self->records, 4 + record.size);
    if (!item)
        return CKV_ERROR_MEMORY;
    ckv_put32(item, (uint32_t)record.size);
    memcpy(item + 4, record.data, record.size);
    self->count++;
    return CKV_OK;
}

/*  Compares one range; what is lacked here goes to LACKING.  */
static int answer_range(struct ckv_replicator *self, const struct ckv_asked_range *asked,
                        struct ckv_buffer *records, struct ckv_buffer *lacking)
{
    struct ckv_ranges one = { { 0 } };
    size_t count = asked->ids.size / CKV_RECORD_ID_SIZE;
    struct comparison comparison = { .asked = asked,
                                     .found = calloc(count + 1, sizeof(bool)),
                                     .records = records };
    if (!comparison.found)
        return CKV_ERROR_MEMORY;
    ckv_ranges_add(&one, asked->range);
    int rc = ckv_kv_walk_ranges(self->txn, &one, compare_record, &comparison);
    for (size_t i = 0; i < count && rc == CKV_OK; i++) {
        if (comparison.found[i])
            continue;
        uint8_t *item = ckv_buffer_grow(lacking, CKV_LACKING_SIZE);
        if (!item) {
            rc = CKV_ERROR_MEMORY;
            break;
        }
        ckv_put16(item, (uint16_t)asked->range);
        memcpy(item + 2, asked->ids.data + i * CKV_RECORD_ID_SIZE, CKV_RECORD_ID_SIZE);
    }
    free(comparison.found);
    self->counters.repair_records_sent += comparison.count;
    return rc;
}

void ckv_answer_ranges(struct ckv_replicator *self, const struct ckv_message *message)
{
    struct ckv_buffer records = { 0 }, lacking = { 0 }, answer = { 0 };
    struct ckv_octets rest = message->payload;
    struct ckv_asked_range asked;
    unsigned answered = 0;
    int rc = CKV_OK;
    if (!ckv_parts_refresh(self))
        return;
    while (rc == CKV_OK && records.size < ANSWER_MAX &&
           (rc = ckv_asked_range_next(&rest, &asked)) == 1) {
        rc = answer_range(self, &asked, &records, &lacking);
        answered++;
    }
    ckv_kv_reset(self->txn);
    uint8_t *head = rc >= 0 ? ckv_buffer_grow(&answer, 6) : NULL;
    if (head) {
        ckv_put16(head, (uint16_t)answered);
        ckv_put32(head + 2, (uint32_t)(lacking.size / CKV_LACKING_SIZE));
        if (ckv_buffer_add(&answer, ckv_buffer_octets(&lacking)) == CKV_OK &&
            ckv_buffer_add(&answer, ckv_buffer_octets(&records)) == CKV_OK)
            send_back(self, message, CKV_MESSAGE_RANGES, ckv_buffer_octets(&answer));
    }
    ckv_buffer_clear(&records);
    ckv_buffer_clear(&lacking);
    ckv_buffer_clear(&answer);
}
