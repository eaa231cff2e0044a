#include "replication/message.h"
#include "core/text.h"

#include <sodium.h>

_Static_assert(CKV_MESSAGE_HEAD_SIZE == 32, "the head has no holes");
_Static_assert(sizeof(struct ckv_announcement_wire) == 80, "the announcement has no holes");

static void mac_of(uint8_t mac[CKV_MESSAGE_MAC_SIZE], struct ckv_octets octets,
                   const struct ckv_cluster_key *cluster_key)
{
    crypto_generichash(mac, CKV_MESSAGE_MAC_SIZE, octets.data, octets.size,
                       cluster_key->message_key, sizeof(cluster_key->message_key));
}

static bool is_type(uint8_t type)
{
    return type && strchr("RFAPMDdNnG", type);
}

int ckv_message_read(struct ckv_message *self, const struct ckv_cluster_key *cluster_key,
                     struct ckv_octets octets)
{
    const struct ckv_message_head *head = (const struct ckv_message_head *)octets.data;
    uint8_t mac[CKV_MESSAGE_MAC_SIZE];
    if (octets.size < CKV_MESSAGE_MIN || octets.size > CKV_MESSAGE_MAX ||
        head->format != CKV_MESSAGE_FORMAT || !is_type(head->type) || head->reserved ||
        (head->flags & ~CKV_MESSAGE_NOTIFY))
        return CKV_ERROR_MESSAGE;
    if (memcmp(head->cluster_key_id, cluster_key->id, sizeof(cluster_key->id)) != 0)
        return CKV_ERROR_WRONG_CLUSTER_KEY;
    size_t size = octets.size - sizeof(mac);
    mac_of(mac, ckv_octets(octets.data, size), cluster_key);
    if (sodium_memcmp(mac, octets.data + size, sizeof(mac)) != 0)
        return CKV_ERROR_MESSAGE;
    self->type = (enum ckv_message_type)head->type;
    self->flags = head->flags;
    self->sender = ckv_get64(head->sender);
    self->instance = ckv_get64(head->instance);
    self->number = ckv_get64(head->number);
    self->payload = ckv_octets(octets.data + sizeof(*head), size - sizeof(*head));
    return CKV_OK;
}

int ckv_message_begin(struct ckv_buffer *buffer, const struct ckv_message *self,
                      const struct ckv_cluster_key *cluster_key)
{
    struct ckv_message_head *head =
        (struct ckv_message_head *)ckv_buffer_grow(buffer, sizeof(*head));
    if (!head)
        return CKV_ERROR_MEMORY;
    memset(head, 0, sizeof(*head));
    head->format = CKV_MESSAGE_FORMAT;
    head->type = (uint8_t)self->type;
    head->flags = self->flags;
    memcpy(head->cluster_key_id, cluster_key->id, sizeof(head->cluster_key_id));
    ckv_put64(head->sender, self->sender);
    ckv_put64(head->instance, self->instance);
    ckv_put64(head->number, self->number);
    return CKV_OK;
}

int ckv_message_end(struct ckv_buffer *buffer, size_t start,
                    const struct ckv_cluster_key *cluster_key)
{
    uint8_t mac[CKV_MESSAGE_MAC_SIZE];
    mac_of(mac, ckv_octets(buffer->data + start, buffer->size - start), cluster_key);
    return ckv_buffer_add(buffer, ckv_octets(mac, sizeof(mac)));
}

/*  ---- announcements ----  */

int ckv_announcement_read(struct ckv_announcement *self, struct ckv_octets payload)
{
    const struct ckv_announcement_wire *wire = (const struct ckv_announcement_wire *)payload.data;
    if (payload.size < sizeof(*wire) ||
        payload.size != sizeof(*wire) + wire->name_size + wire->endpoint_size ||
        wire->name_size < 1 || wire->name_size > CKV_NODE_NAME_MAX ||
        (wire->state != CKV_NODE_LIVE && wire->state != CKV_NODE_CATCHING_UP))
        return CKV_ERROR_MESSAGE;
    const uint8_t *texts = payload.data + sizeof(*wire);
    self->started = ckv_get64(wire->started);
    self->epoch = ckv_get64(wire->epoch);
    self->sequence = ckv_get64(wire->sequence);
    self->records = ckv_get64(wire->records);
    self->outbox = ckv_get64(wire->outbox);
    self->members = ckv_get64(wire->members);
    self->twin = ckv_get64(wire->twin);
    self->digest = ckv_digest_get(wire->digest);
    self->ttl_ms = ckv_get32(wire->ttl_ms);
    self->state = (enum ckv_node_state)wire->state;
    self->flags = wire->flags;
    self->name = ckv_octets(texts, wire->name_size);
    self->endpoint = ckv_octets(texts + wire->name_size, wire->endpoint_size);
    return ckv_text_printable(self->name) && ckv_text_printable(self->endpoint) ? CKV_OK
                                                                                : CKV_ERROR_MESSAGE;
}

int ckv_announcement_write(const struct ckv_announcement *self, struct ckv_buffer *buffer)
{
    struct ckv_announcement_wire wire = {
        .state = (uint8_t)self->state,
        .flags = self->flags,
        .name_size = (uint8_t)self->name.size,
        .endpoint_size = (uint8_t)self->endpoint.size,
    };
    ckv_put64(wire.started, self->started);
    ckv_put64(wire.epoch, self->epoch);
    ckv_put64(wire.sequence, self->sequence);
    ckv_put64(wire.records, self->records);
    ckv_put64(wire.outbox, self->outbox);
    ckv_put64(wire.members, self->members);
    ckv_put64(wire.twin, self->twin);
    ckv_digest_put(wire.digest, self->digest);
    ckv_put32(wire.ttl_ms, self->ttl_ms);
    int rc = ckv_buffer_add(buffer, ckv_octets(&wire, sizeof(wire)));
    if (rc == CKV_OK)
        rc = ckv_buffer_add(buffer, self->name);
    return rc == CKV_OK ? ckv_buffer_add(buffer, self->endpoint) : rc;
}

/*  ---- items ----  */

/*  Takes SIZE octets off the front, or returns NULL.  */
static const uint8_t *take(struct ckv_octets *payload, size_t size)
{
    const uint8_t *front = payload->data;
    if (payload->size < size)
        return NULL;
    payload->data += size;
    payload->size -= size;
    return front;
}

int ckv_membership_next(struct ckv_octets *payload, struct ckv_membership *item)
{
    if (payload->size == 0)
        return 0;
    const uint8_t *octets = take(payload, CKV_MEMBERSHIP_SIZE);
    if (!octets)
        return CKV_ERROR_MESSAGE;
    item->id = ckv_get64(octets);
    item->forgotten_at = ckv_get64(octets + 8);
    return 1;
}

int ckv_digests_item_next(struct ckv_octets *payload, struct ckv_digests_item *item)
{
    if (payload->size == 0)
        return 0;
    const uint8_t *octets = take(payload, 1 + CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE);
    if (!octets)
        return CKV_ERROR_MESSAGE;
    item->row = octets[0];
    for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++)
        item->digests[i] = ckv_digest_get(octets + 1 + i * CKV_DIGEST_SIZE);
    return 1;
}

int ckv_asked_range_next(struct ckv_octets *payload, struct ckv_asked_range *item)
{
    if (payload->size == 0)
        return 0;
    const uint8_t *octets = take(payload, 4);
    if (!octets)
        return CKV_ERROR_MESSAGE;
    item->range = ckv_get16(octets);
    item->ids.size = (size_t)ckv_get16(octets + 2) * CKV_RECORD_ID_SIZE;
    item->ids.data = take(payload, item->ids.size);
    return item->ids.data && item->range < CKV_RANGES ? 1 : CKV_ERROR_MESSAGE;
}

int ckv_ranges_head_read(struct ckv_octets *payload, struct ckv_ranges_head *head)
{
    const uint8_t *octets = take(payload, 6);
    if (!octets)
        return CKV_ERROR_MESSAGE;
    head->answered = ckv_get16(octets);
    head->lacking.size = (size_t)ckv_get32(octets + 2) * CKV_LACKING_SIZE;
    head->lacking.data = take(payload, head->lacking.size);
    return head->lacking.data ? CKV_OK : CKV_ERROR_MESSAGE;
}

int ckv_ranges_record_next(struct ckv_octets *payload, struct ckv_octets *record)
{
    if (payload->size == 0)
        return 0;
    const uint8_t *octets = take(payload, 4);
    if (!octets)
        return CKV_ERROR_MESSAGE;
    record->size = ckv_get32(octets);
    record->data = take(payload, record->size);
    return record->data ? 1 : CKV_ERROR_MESSAGE;
}
