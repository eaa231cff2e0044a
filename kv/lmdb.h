/*  lmdb: an open store of the lmdb engine, as its two files see it: lmdb.c says what lies where, and
    lmdb_file.c how it is opened.
*/
#ifndef CKV_LMDB_H
#define CKV_LMDB_H

#include "kv/engine.h"
#include "kv/presence.h"
#include "kv/system.h"

#include <lmdb.h>
#include <string.h>

/*  The row of CKV_KV_STATE that makes a file ours.  */
struct ckv_lmdb_store {
    uint8_t format;
    uint8_t index_key[CKV_INDEX_KEY_SIZE];
    uint8_t id[CKV_FILTER_ID_SIZE];
};

struct ckv_lmdb {
    struct ckv_kv base;
    MDB_env *env;
    MDB_dbi records, by_storage_key, by_client_public_key;
    MDB_dbi tables[CKV_KV_TABLES];
    struct ckv_lmdb_store store;
    bool read_only;
    uint64_t max_size;
    struct ckv_presence *presence;
    atomic_uint writes; /* write transactions begun */
};

static inline struct ckv_lmdb *ckv_lmdb_of(struct ckv_kv *kv)
{
    return (struct ckv_lmdb *)kv;
}

/*  What LMDB's RC is as one of our errors. Never CKV_OK for what is not MDB_SUCCESS; clang's analyzer
    does not see it, and warns of values that were never got.  */
static inline int ckv_lmdb_error(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return CKV_OK;
    case MDB_NOTFOUND:
        return CKV_ERROR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return CKV_ERROR_STORE_FULL;
    case MDB_READERS_FULL:
        return CKV_ERROR_READERS;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
    case MDB_PANIC:
        return CKV_ERROR_STORE;
    default:
        return ckv_system_error(rc); /* LMDB's own are negative */
    }
}

static inline MDB_val ckv_lmdb_value(const void *data, size_t size)
{
    return (MDB_val){ size, (void *)data };
}

static inline struct ckv_octets ckv_lmdb_octets(MDB_val value)
{
    return ckv_octets(value.mv_data, value.mv_size);
}

static inline uint64_t ckv_lmdb_position(MDB_val value)
{
    uint64_t position;
    memcpy(&position, value.mv_data, sizeof(position)); /* NOLINT: see ckv_lmdb_error */
    return position;
}

/*  What the engine's table of functions names; see kv/engine.h.  */
int ckv_lmdb_open(struct ckv_kv **self_p, const struct ckv_kv_options *options);
void ckv_lmdb_close(struct ckv_kv *kv);
int ckv_lmdb_stats(struct ckv_kv *kv, struct ckv_kv_stats *stats);

#endif
