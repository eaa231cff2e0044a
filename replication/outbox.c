#include "replication/outbox.h"

/*  The row of CKV_KV_STATE with the last number.  */
static const char last_row[] = "outbox";

int ckv_outbox_open(struct ckv_outbox *self, struct ckv_kv *kv)
{
    struct ckv_kv_txn *txn;
    struct ckv_octets value;
    self->last = 0;
    int rc = ckv_kv_begin(kv, CKV_KV_READ, &txn);
    if (rc != CKV_OK)
        return rc;
    rc = ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(last_row), &value);
    if (rc == CKV_OK && value.size == sizeof(uint64_t))
        self->last = ckv_get64(value.data);
    else if (rc == CKV_OK)
        rc = CKV_ERROR_STORE;
    ckv_kv_abort(&txn);
    return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
}

int ckv_outbox_put(struct ckv_outbox *self, struct ckv_kv_txn *txn, uint8_t flags,
                   struct ckv_octets content, uint64_t *number)
{
    uint8_t key[sizeof(uint64_t)], value[1 + CKV_STORAGE_KEY_MAX];
    if (content.size < 1 || content.size > CKV_STORAGE_KEY_MAX)
        return CKV_ERROR_ARGUMENT;
    *number = ++self->last;
    ckv_put64(key, *number);
    value[0] = flags;
    memcpy(value + 1, content.data, content.size);
    int rc = ckv_kv_table_put(txn, CKV_KV_OUTBOX, ckv_octets(key, sizeof(key)),
                              ckv_octets(value, 1 + content.size));
    if (rc == CKV_OK)
        rc = ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(last_row),
                              ckv_octets(key, sizeof(key)));
    return rc;
}

int ckv_outbox_del(struct ckv_kv_txn *txn, uint64_t number)
{
    uint8_t key[sizeof(uint64_t)];
    ckv_put64(key, number);
    return ckv_kv_table_del(txn, CKV_KV_OUTBOX, ckv_octets(key, sizeof(key)));
}

int ckv_outbox_next(struct ckv_kv_txn *txn, uint64_t number, struct ckv_outbox_row *row)
{
    uint8_t first[sizeof(uint64_t)];
    struct ckv_octets key, value;
    ckv_put64(first, number);
    key = ckv_octets(first, sizeof(first));
    for (;;) {
        int rc = ckv_kv_table_next(txn, CKV_KV_OUTBOX, &key, &value);
        if (rc != CKV_OK)
            return rc;
        if (key.size == sizeof(uint64_t) && value.size > 1)
            break;
    }
    row->number = ckv_get64(key.data);
    row->flags = value.data[0];
    row->content = ckv_octets(value.data + 1, value.size - 1);
    return CKV_OK;
}
