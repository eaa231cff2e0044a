/*  The memory engine: a hash table from storage key to slot. Nothing is ever taken out of it: a
    store keeps revoked certificates, too.
*/
#include "kv/held.h"

static int memory_find(const struct ckv_held_view *view, struct ckv_octets storage_key,
                       uint64_t *slot)
{
    uint64_t steps = 0;
    if (!view->count)
        return CKV_ERROR_NOT_FOUND;
    uint64_t hash = ckv_held_hash(view, storage_key);
    while (ckv_hashes_next(&view->storage_keys, hash, &steps, slot))
        if (ckv_octets_equal(ckv_held_storage_key(view, *slot), storage_key))
            return CKV_OK;
    return CKV_ERROR_NOT_FOUND;
}

static uint64_t hash_again(const void *view, uint64_t slot)
{
    return ckv_held_hash(view, ckv_held_storage_key(view, slot));
}

static int memory_enter(struct ckv_held_view *view, struct ckv_batch *batch,
                        struct ckv_octets storage_key, uint64_t slot)
{
    return ckv_hashes_add(&view->storage_keys, batch, ckv_held_hash(view, storage_key), slot,
                          hash_again, view);
}

static int memory_open(struct ckv_kv **self_p, const struct ckv_kv_options *options)
{
    static const struct ckv_held_index index = { memory_find, memory_enter };
    return ckv_held_open(self_p, options, &ckv_kv_memory, &index);
}

const struct ckv_kv_engine ckv_kv_memory = {
    .name = "memory",
    .in_memory = true,
    .open = memory_open,
    .close = ckv_held_close,
    .stats = ckv_held_stats,
    .begin = ckv_held_begin,
    .reset = ckv_held_reset,
    .renew = ckv_held_renew,
    .commits = ckv_held_commits,
    .commit = ckv_held_commit,
    .abort = ckv_held_abort,
    .get = ckv_held_get,
    .find = ckv_held_find,
    .next = ckv_held_next,
    .put = ckv_held_put,
    .table_get = ckv_held_table_get,
    .table_put = ckv_held_table_put,
    .table_del = ckv_held_table_del,
    .table_next = ckv_held_table_next,
};
