/*  Messages between nodes. The first octet is the type, the rest a payload: it is put behind a valid mac,
    read, and taken apart as its type says, never beyond its end. The octets as they are, without a
    mac, are never a message.  */
#include "core/text.h"
#include "replication/message.h"
#include "tests/fuzz/cluster.h"

static void require_within(struct ckv_octets part, struct ckv_octets whole)
{
    require(part.data >= whole.data && part.size <= whole.size &&
            (size_t)(part.data - whole.data) <= whole.size - part.size);
}

/*  What was read can be written, and gives the same octets.  */
static void take_announcement(struct ckv_octets payload)
{
    struct ckv_announcement said;
    struct ckv_buffer again = { 0 };
    if (ckv_announcement_read(&said, payload) != CKV_OK)
        return;
    require(said.name.size >= 1 && said.name.size <= CKV_NODE_NAME_MAX);
    require(said.endpoint.size <= CKV_ENDPOINT_MAX);
    require_within(said.name, payload);
    require_within(said.endpoint, payload);
    require(ckv_text_printable(said.name) && ckv_text_printable(said.endpoint));
    require(said.state == CKV_NODE_LIVE || said.state == CKV_NODE_CATCHING_UP);
    require(ckv_announcement_write(&said, &again) == CKV_OK);
    require(ckv_octets_equal(ckv_buffer_octets(&again), payload));
    ckv_buffer_clear(&again);
}

static void take_members(struct ckv_octets payload)
{
    struct ckv_membership item;
    size_t before = payload.size;
    int rc;
    while ((rc = ckv_membership_next(&payload, &item)) == 1) {
        require(payload.size < before);
        before = payload.size;
    }
    require(rc == CKV_ERROR_MESSAGE || (rc == 0 && payload.size == 0));
}

static void take_digests(struct ckv_octets payload)
{
    struct ckv_digests_item item;
    size_t before = payload.size;
    int rc;
    while ((rc = ckv_digests_item_next(&payload, &item)) == 1) {
        require(item.row < CKV_DIGEST_ROWS && payload.size < before);
        before = payload.size;
    }
    require(rc == CKV_ERROR_MESSAGE || (rc == 0 && payload.size == 0));
}

static void take_asked(struct ckv_octets payload)
{
    struct ckv_octets whole = payload;
    struct ckv_asked_range item;
    size_t before = payload.size;
    int rc;
    while ((rc = ckv_asked_range_next(&payload, &item)) == 1) {
        require(item.range < CKV_RANGES && item.ids.size % CKV_RECORD_ID_SIZE == 0);
        require_within(item.ids, whole);
        require(payload.size < before);
        before = payload.size;
    }
    require(rc == CKV_ERROR_MESSAGE || (rc == 0 && payload.size == 0));
}

static void take_ranges(struct ckv_octets payload)
{
    struct ckv_octets whole = payload, record;
    struct ckv_ranges_head head;
    struct ckv_certificate certificate;
    int rc = ckv_ranges_head_read(&payload, &head);
    if (rc != CKV_OK) {
        require(rc == CKV_ERROR_MESSAGE);
        return;
    }
    require(head.lacking.size % CKV_LACKING_SIZE == 0);
    require_within(head.lacking, whole);
    size_t before = payload.size;
    while ((rc = ckv_ranges_record_next(&payload, &record)) == 1) {
        require_within(record, whole);
        require(payload.size < before);
        before = payload.size;
        (void)ckv_certificate_parse(&certificate, record.data, record.size);
    }
    require(rc == CKV_ERROR_MESSAGE || (rc == 0 && payload.size == 0));
}

static void take_apart(const struct ckv_message *message)
{
    struct ckv_certificate certificate;
    switch (message->type) {
    case CKV_MESSAGE_RECORD:
        (void)ckv_certificate_parse(&certificate, message->payload.data, message->payload.size);
        break;
    case CKV_MESSAGE_ANNOUNCEMENT:
        take_announcement(message->payload);
        break;
    case CKV_MESSAGE_MEMBERS:
        take_members(message->payload);
        break;
    case CKV_MESSAGE_DIGESTS:
        take_digests(message->payload);
        break;
    case CKV_MESSAGE_ASK_RANGES:
        take_asked(message->payload);
        break;
    case CKV_MESSAGE_RANGES:
        take_ranges(message->payload);
        break;
    case CKV_MESSAGE_FORGET: /* their payloads have one size, or none */
    case CKV_MESSAGE_APPLIED:
    case CKV_MESSAGE_ASK_DIGESTS:
    case CKV_MESSAGE_NUDGE:
        break;
    }
}

/*  The message whose payload this is.  */
static void seal_and_read(uint8_t type, struct ckv_octets payload)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = { .type = (enum ckv_message_type)type, .number = 7 }, read;
    require(ckv_message_begin(&buffer, &message, cluster_key) == CKV_OK);
    require(ckv_buffer_add(&buffer, payload) == CKV_OK);
    require(ckv_message_end(&buffer, 0, cluster_key) == CKV_OK);
    int rc = ckv_message_read(&read, cluster_key, ckv_buffer_octets(&buffer));
    bool known = type && strchr("RFAPMDdNnG", type);
    require(rc == (known ? CKV_OK : CKV_ERROR_MESSAGE));
    if (known) {
        require(read.type == message.type && read.number == 7);
        require(ckv_octets_equal(read.payload, payload));
        read.payload = payload; /* ends where the allocation ends */
        take_apart(&read);
    }
    ckv_buffer_clear(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_message message;
    int rc = ckv_message_read(&message, cluster_key, ckv_octets(data, size));
    require(rc == CKV_ERROR_MESSAGE || rc == CKV_ERROR_WRONG_CLUSTER_KEY);
    if (size)
        seal_and_read(data[0], ckv_octets(data + 1, size - 1));
    return 0;
}
