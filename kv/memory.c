/*  The memory engine: a hash table from storage key to slot, with open addressing and linear
    probing. A place holds the slot, and some bits of the hash that are not in its own number, so
    that another key's record is hardly ever looked at.

    Nothing is ever taken out: the store keeps revoked certificates, too.
*/
#include "kv/held.h"

#include <sodium.h>

enum { SLOT_BITS = 40, PLACES_MIN = 64 };

#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)

static uint64_t hash_of(const struct ckv_held_view *view, struct ckv_octets storage_key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, storage_key.data, storage_key.size, view->index_key);
    return ckv_get64(hash);
}

static uint64_t word_of(uint64_t hash, uint64_t slot)
{
    return (hash & ~SLOT_MASK) | (slot + 1);
}

static int memory_find(const struct ckv_held_view *view, struct ckv_octets storage_key,
                       uint64_t *slot)
{
    uint64_t word;
    if (!view->places)
        return CKV_ERROR_NOT_FOUND;
    uint64_t hash = hash_of(view, storage_key);
    for (uint64_t place = hash; (word = ckv_vector_get(&view->index, place & (view->places - 1)));
         place++) {
        *slot = (word & SLOT_MASK) - 1;
        if (((word ^ hash) & ~SLOT_MASK) == 0 && ckv_held_has(view, *slot, storage_key))
            return CKV_OK;
    }
    return CKV_ERROR_NOT_FOUND;
}

/*  Takes the first free place; there is one.  */
static int take_place(struct ckv_held_view *view, struct ckv_batch *batch,
                      struct ckv_octets storage_key, uint64_t slot)
{
    uint64_t hash = hash_of(view, storage_key), place = hash;
    while (ckv_vector_get(&view->index, place & (view->places - 1)))
        place++;
    return ckv_vector_set(&view->index, batch, place & (view->places - 1), word_of(hash, slot));
}

static int grow(struct ckv_held_view *view, struct ckv_batch *batch)
{
    int rc = CKV_OK;
    ckv_vector_clear(&view->index, batch);
    view->places = view->places ? 2 * view->places : PLACES_MIN;
    for (uint64_t slot = 0; rc == CKV_OK && slot < view->count; slot++)
        rc = take_place(view, batch, ckv_held_storage_key(view, slot), slot);
    return rc;
}

static int memory_enter(struct ckv_held_view *view, struct ckv_batch *batch,
                        struct ckv_octets storage_key, uint64_t slot)
{
    int rc = CKV_OK;
    if (slot >= SLOT_MASK)
        return CKV_ERROR_STORE_FULL;
    if (2 * (view->count + 1) > view->places) /* at half full, a key is found in 1.5 probes */
        rc = grow(view, batch);
    return rc == CKV_OK ? take_place(view, batch, storage_key, slot) : rc;
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
