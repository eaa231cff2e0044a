/*  held: a store that lives in the memory of its process, and dies with it.

    The memory and array engines are this, but for the way from a storage key to the slot of its
    record. Slots are numbered in order of arrival, and a certificate keeps its slot for ever:
    slot + 1 is its position.

    Everything is in trees that are changed by copying (kv/batch.h), so a whole store at one commit
    is a small value, struct ckv_held_view. A read transaction holds such a view, and reads without
    any lock; what later commits drop is freed when the oldest reader has gone past it. So readers
    and the writer never wait for each other, but for copying a view; a thread may even commit while
    it reads; and a reader that never resets makes memory grow, as it does with LMDB.
*/
#ifndef CKV_HELD_H
#define CKV_HELD_H

#include "kv/engine.h"
#include "kv/hashes.h"
#include "kv/rows.h"
#include "kv/vector.h"

struct ckv_held_view {
    uint64_t number;                /* of the commit that made it */
    uint64_t count;                 /* of certificates */
    uint64_t record_bytes;          /* octets of all records */
    struct ckv_vector slots;        /* slot → record */
    struct ckv_vector numbers;      /* array: number → slot + 1 */
    struct ckv_hashes storage_keys; /* memory: hash of the storage key → slot */
    struct ckv_hashes client_public_keys;
    struct ckv_rows tables[CKV_KV_TABLES];
    const uint8_t *index_key; /* SipHash key, 16 octets */
};

/*  How an engine finds slots.  */
struct ckv_held_index {
    /*  Returns CKV_ERROR_NOT_FOUND, also for a key that cannot be in this index.  */
    int (*find)(const struct ckv_held_view *view, struct ckv_octets storage_key, uint64_t *slot);

    /*  Enters a storage key that is not there. Returns CKV_ERROR_ARRAY_KEY, CKV_ERROR_STORE_FULL,
        CKV_ERROR_MEMORY.  */
    int (*enter)(struct ckv_held_view *view, struct ckv_batch *batch, struct ckv_octets storage_key,
                 uint64_t slot);
};

/*  The hash of KEY under the store's index key.  */
uint64_t ckv_held_hash(const struct ckv_held_view *view, struct ckv_octets key);

/*  The storage key of the record in SLOT, which is filled.  */
struct ckv_octets ckv_held_storage_key(const struct ckv_held_view *view, uint64_t slot);

/*  What the engines' tables of functions name; see kv/engine.h.  */
int ckv_held_open(struct ckv_kv **self_p, const struct ckv_kv_options *options,
                  const struct ckv_kv_engine *engine, const struct ckv_held_index *index);
void ckv_held_close(struct ckv_kv *kv);
int ckv_held_stats(struct ckv_kv *kv, struct ckv_kv_stats *stats);
int ckv_held_begin(struct ckv_kv *kv, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p);
void ckv_held_reset(struct ckv_kv_txn *txn);
int ckv_held_renew(struct ckv_kv_txn *txn);
int ckv_held_commits(struct ckv_kv_txn *txn, uint64_t *number);
int ckv_held_commit(struct ckv_kv_txn *txn);
void ckv_held_abort(struct ckv_kv_txn *txn);
int ckv_held_get(struct ckv_kv_txn *txn, struct ckv_octets storage_key, struct ckv_octets *record);
int ckv_held_find(struct ckv_kv_txn *txn, const uint8_t client_public_key[32], unsigned nth,
                  struct ckv_octets *record);
int ckv_held_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_octets *record);
int ckv_held_put(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                 const struct ckv_certificate *old);
int ckv_held_table_get(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                       struct ckv_octets *value);
int ckv_held_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                       struct ckv_octets value);
int ckv_held_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key);
int ckv_held_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                        struct ckv_octets *value);

#endif
