#include "replication/position.h"

static const char row[] = "position";

enum { COMPLETE = 1, SETTLED = 2 };

struct wire {
    uint8_t epoch[8], sequence[8], mark[CKV_MARK_SIZE], flags;
};

int ckv_position_get(struct ckv_position *self, struct ckv_kv_txn *txn)
{
    struct ckv_octets value;
    *self = (struct ckv_position){ 0 };
    int rc = ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(row), &value);
    if (rc != CKV_OK)
        return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
    const struct wire *wire = (const struct wire *)value.data;
    if (value.size != sizeof(*wire))
        return CKV_ERROR_STORE;
    self->epoch = ckv_get64(wire->epoch);
    self->sequence = ckv_get64(wire->sequence);
    memcpy(self->mark, wire->mark, sizeof(self->mark));
    self->complete = wire->flags & COMPLETE;
    self->settled = wire->flags & SETTLED;
    return CKV_OK;
}

int ckv_position_put(const struct ckv_position *self, struct ckv_kv_txn *txn)
{
    struct wire wire = { .flags = (uint8_t)((self->complete ? COMPLETE : 0) |
                                            (self->settled ? SETTLED : 0)) };
    ckv_put64(wire.epoch, self->epoch);
    ckv_put64(wire.sequence, self->sequence);
    memcpy(wire.mark, self->mark, sizeof(wire.mark));
    return ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(row),
                            ckv_octets(&wire, sizeof(wire)));
}

int ckv_position_del(struct ckv_kv_txn *txn)
{
    return ckv_kv_table_del(txn, CKV_KV_STATE, ckv_octets_text(row));
}
