/*  engine: what a store must bring. kv.c does the rest the same for all: argument checks, merging,
    conflicts, arrivals, and the choice among several certificates of one client public key. Engines know
    two modes, CKV_KV_READ and CKV_KV_WRITE.

    An engine embeds struct ckv_kv and struct ckv_kv_txn as the first members of its own.
*/
#ifndef CKV_ENGINE_H
#define CKV_ENGINE_H

#include "kv/arrivals.h"
#include "kv/digests.h"
#include "kv/kv.h"
#include <stdatomic.h>

struct ckv_kv_engine {
    const char *name;
    bool in_memory;    /* needs no directory, and cannot be opened for reading only */
    bool copies_pages; /* a small change of a row costs a page: changes of digests may pile up */
    int (*open)(struct ckv_kv **self_p, const struct ckv_kv_options *options);
    void (*close)(struct ckv_kv *self);
    int (*stats)(struct ckv_kv *self, struct ckv_kv_stats *stats);

    int (*begin)(struct ckv_kv *self, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p);
    void (*reset)(struct ckv_kv_txn *txn);
    int (*renew)(struct ckv_kv_txn *txn);
    bool (*is_newest)(struct ckv_kv_txn *txn); /* nothing was committed since; may be NULL */
    /*  Which commit made the snapshot that TXN has: a number that only rises.  */
    int (*commits)(struct ckv_kv_txn *txn, uint64_t *number);
    int (*commit)(struct ckv_kv_txn *txn); /* frees TXN, also after an error */
    void (*abort)(struct ckv_kv_txn *txn); /* frees TXN */

    /*  CKV_OK, or why no record can have this storage key; may be NULL.  */
    int (*accepts)(struct ckv_octets storage_key);

    /*  The record of a storage key, whose size kv.c has checked.  */
    int (*get)(struct ckv_kv_txn *txn, struct ckv_octets storage_key, struct ckv_octets *record);

    /*  The NTH (from 0) record with this client public key, in any order that is fixed within the
        transaction; CKV_ERROR_NOT_FOUND after the last. All records found this way must stay valid
        until the transaction is reset, ended, or writes.  */
    int (*find)(struct ckv_kv_txn *txn, const uint8_t client_public_key[32], unsigned nth,
                struct ckv_octets *record);

    /*  The first record after *POSITION.  */
    int (*next)(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_octets *record);

    /*  Puts a record in the place of the one with its storage key, or anew. OLD is what the
        transaction's get gave for that storage key (a parsed view), or NULL; keeps the position of
        OLD and the index by client public key right. The record's octets are the caller's and need
        not outlive the call.  */
    int (*put)(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
               const struct ckv_certificate *old);

    /*  Gives the records whose storage keys have hashes from FIRST to LAST to VISIT, with ARGUMENT and
        RANGE, as ckv_kv_walk_ranges says; NULL where no index is in the order of hashes.  */
    int (*walk_range)(struct ckv_kv_txn *txn, uint64_t first, uint64_t last, ckv_kv_visit *visit,
                      void *argument, unsigned range);

    int (*table_get)(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                     struct ckv_octets *value);
    int (*table_put)(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                     struct ckv_octets value);
    int (*table_del)(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key);
    int (*table_next)(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                      struct ckv_octets *value);
};

/*  First member of every engine's store and transaction. max_size and read_only are checked by the
    engine. A transaction starts zeroed, but for kv and mode.  */
struct ckv_kv {
    const struct ckv_kv_engine *engine;
    uint8_t
        index_key[CKV_INDEX_KEY_SIZE]; /* kv.c's from the options, unless the store has another */
    struct ckv_digests *digests;       /* kv.c's; NULL when opened for reading only */
    _Atomic(struct ckv_arrivals *) arrivals; /* kv.c's; may be NULL, and may come later */
    char *arrivals_path;                     /* kv.c's; NULL: there are never any */
    atomic_uint looks_for_arrivals;
};

struct ckv_kv_txn {
    struct ckv_kv *kv;
    enum ckv_kv_mode mode;
    int failed; /* kv.c's: a change that failed; the transaction cannot commit any more */

    /*  kv.c's, of transactions that read.  */
    bool holds_snapshot, sees_arrivals, copied;
    uint64_t arrivals_left;               /* how many had left before the snapshot was taken */
    uint8_t copy[CKV_ARRIVAL_RECORD_MAX]; /* of an arrival, for a view that was given */
    struct ckv_kv_copy *copies;           /* of further ones */
};

extern const struct ckv_kv_engine ckv_kv_lmdb;
extern const struct ckv_kv_engine ckv_kv_memory;
extern const struct ckv_kv_engine ckv_kv_array;
extern const struct ckv_kv_engine ckv_kv_sqlite;

#endif
