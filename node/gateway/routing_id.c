#include "node/gateway/routing_id.h"

enum { INDEX_MASK = CKV_ROUTING_ID_INDEXES - 1, LOOP_SHIFT = 24, SERIAL_AT = 4 };

size_t ckv_routing_id_write(uint8_t octets[CKV_ROUTING_ID_MAX], const struct ckv_routing_id *id,
                            struct ckv_octets storage_key)
{
    char text[CKV_STORAGE_KEY_TEXT_SIZE];
    size_t size = strlen(ckv_storage_key_text(storage_key, text));
    ckv_put32(octets, (uint32_t)id->loop << LOOP_SHIFT | (id->index & INDEX_MASK));
    ckv_put32(octets + SERIAL_AT, id->serial);
    memcpy(octets + CKV_ROUTING_ID_FIXED, text, size);
    return CKV_ROUTING_ID_FIXED + size;
}

int ckv_routing_id_parse(struct ckv_octets octets, struct ckv_routing_id *id)
{
    if (octets.size <= CKV_ROUTING_ID_FIXED || octets.size > CKV_ROUTING_ID_MAX)
        return CKV_ERROR_ZMTP;
    id->loop = octets.data[0];
    id->index = ckv_get32(octets.data) & INDEX_MASK;
    id->serial = ckv_get32(octets.data + SERIAL_AT);
    return CKV_OK;
}
