#include "replication/cluster.h"
#include "replication/position.h"

static const char row[] = "cluster";

enum { KEY_MAX = 128 }; /* of a side table, as kv/kv.h says */

int ckv_cluster_get(char name[CKV_CLUSTER_NAME_MAX + 1], struct ckv_kv_txn *txn)
{
    struct ckv_octets value;
    name[0] = 0;
    int rc = ckv_kv_table_get(txn, CKV_KV_STATE, ckv_octets_text(row), &value);
    if (rc != CKV_OK)
        return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
    if (value.size < 1 || value.size > CKV_CLUSTER_NAME_MAX || memchr(value.data, 0, value.size))
        return CKV_ERROR_STORE;
    memcpy(name, value.data, value.size);
    name[value.size] = 0;
    return CKV_OK;
}

int ckv_cluster_put(const char *name, struct ckv_kv_txn *txn)
{
    return ckv_kv_table_put(txn, CKV_KV_STATE, ckv_octets_text(row), ckv_octets_text(name));
}

/*  Removes all rows of TABLE; *COUNT receives how many there were.  */
static int empty(struct ckv_kv_txn *txn, enum ckv_kv_table table, uint64_t *count)
{
    struct ckv_octets key, value;
    *count = 0;
    for (;;) {
        key = ckv_octets(NULL, 0);
        int rc = ckv_kv_table_next(txn, table, &key, &value);
        if (rc != CKV_OK)
            return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
        uint8_t copy[KEY_MAX]; /* views end with the first write */
        if (key.size > sizeof(copy))
            return CKV_ERROR_STORE;
        memcpy(copy, key.data, key.size);
        rc = ckv_kv_table_del(txn, table, ckv_octets(copy, key.size));
        if (rc != CKV_OK)
            return rc;
        ++*count;
    }
}

int ckv_cluster_leave(struct ckv_kv_txn *txn, uint64_t *unsent)
{
    uint64_t members;
    int rc = empty(txn, CKV_KV_OUTBOX, unsent);
    if (rc == CKV_OK)
        rc = empty(txn, CKV_KV_MEMBERS, &members);
    if (rc == CKV_OK)
        rc = ckv_position_del(txn);
    if (rc == CKV_OK)
        rc = ckv_kv_table_del(txn, CKV_KV_STATE, ckv_octets_text(row));
    return rc;
}
