#include "node/dump.h"
#include "core/certificate.h"

int ckv_dump_next(struct ckv_octets *dump, struct ckv_dump_entry *entry)
{
    if (dump->size == 0)
        return 0;
    int type = dump->data[0];
    if (type != CKV_DUMP_RECORD && type != CKV_DUMP_CONFLICT && type != CKV_DUMP_END)
        return CKV_ERROR_DUMP;
    if (dump->size < CKV_DUMP_HEAD_SIZE)
        return CKV_ERROR_DUMP_TRUNCATED;
    size_t size = ckv_get32(dump->data + 1);
    if (size > CKV_RECORD_MAX || (type == CKV_DUMP_END && size != 8))
        return CKV_ERROR_DUMP;
    if (dump->size - CKV_DUMP_HEAD_SIZE < size)
        return CKV_ERROR_DUMP_TRUNCATED;
    entry->type = type;
    entry->octets = ckv_octets(dump->data + CKV_DUMP_HEAD_SIZE, size);
    dump->data += CKV_DUMP_HEAD_SIZE + size;
    dump->size -= CKV_DUMP_HEAD_SIZE + size;
    return 1;
}

void ckv_dump_head(uint8_t head[CKV_DUMP_HEAD_SIZE], int type, size_t size)
{
    head[0] = (uint8_t)type;
    ckv_put32(head + 1, (uint32_t)size);
}
