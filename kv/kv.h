/*  kv: where certificates rest. One interface, four engines behind it.

    | engine | what                                    | outlives the process | others may read |
    |--------|-----------------------------------------|----------------------|-----------------|
    | lmdb   | memory-mapped B+trees; the default      | yes                  | yes, zero-copy  |
    | sqlite | a table with columns a person can query | yes                  | yes             |
    | memory | a hash table                            | no                   | no              |
    | array  | a dense index for keys that are numbers | no                   | no              |

    A store is read and written in transactions. Any number of read transactions run beside one
    write transaction, each sees the store as it was at its begin or renewal, and none waits for
    another. One write transaction exists at a time; a second ckv_kv_begin for writing waits for the
    first. What is written in one transaction is there wholly or not at all, also after kill -9 and
    power loss (lmdb, sqlite: one fsync a commit, however many records). A write transaction sees
    what it has changed.

    What a read transaction may see is kept until it is reset or ended: one that stays makes the
    file (lmdb, sqlite) or the memory (memory, array) of a store grow that is being written.

    Beside the records a store has small tables of octets under octets, in order of their keys, for
    the state of its node, changed in the same transactions.

    A transaction belongs to one thread at a time. Two transactions of one thread may be open at
    once only if at most one of them writes.
*/
#ifndef CKV_KV_H
#define CKV_KV_H

#include "core/certificate.h"
#include "core/cluster_key.h"
#include "core/error.h"
#include "core/octets.h"
#include <stdbool.h>

struct ckv_kv;
struct ckv_kv_txn;

/*  Side tables. Keys are 1 to 128 octets, values up to 64 KiB.  */
enum ckv_kv_table {
    CKV_KV_STATE,     /* what the node knows of itself: name → value; "store" is the engine's */
    CKV_KV_OUTBOX,    /* records on their way to the log */
    CKV_KV_CONFLICTS, /* records that lost their storage key: storage key + created + created_by */
    CKV_KV_DIGESTS,   /* range digests, which kv.c keeps (kv/digests.h) */
    CKV_KV_MEMBERS,   /* the nodes of the cluster: node id → name */
    CKV_KV_TABLES,    /* how many there are */
};

/*  RESOLVE reads as READ does, but sees beside the snapshot what has arrived (ckv_kv_enter_arrival): a
    storage key or client public key gives the newest record that this node has, stored or not yet.
    Side tables, walks and counts are the snapshot's.  */
enum ckv_kv_mode { CKV_KV_READ, CKV_KV_RESOLVE, CKV_KV_WRITE };

struct ckv_kv_options {
    const char *directory; /* lmdb, sqlite: exists; the files in it are the engine's */
    uint64_t max_size;     /* bytes; 0: the engine's default. lmdb: the map is reserved at this size
                              and the file grows up to it as it fills; the last eighth, at most
                              16 MiB, is for changes of what is there. memory, array: bytes of
                              records and side tables. sqlite: bytes of the file, without its
                              log */
    bool read_only;        /* lmdb, sqlite: open what another process may be writing */
    bool no_sync;          /* commit without fsync; for tests and benchmarks only */
    uint8_t index_key[CKV_INDEX_KEY_SIZE]; /* lmdb, memory: SipHash key of the index of a new store;
                                              an existing one keeps its own */
};

struct ckv_kv_stats {
    const char *engine;
    uint64_t records;   /* in the last commit */
    uint64_t conflicts; /* rows of CKV_KV_CONFLICTS */
    uint64_t outbox;    /* rows of CKV_KV_OUTBOX */
    uint64_t bytes;     /* of the file, or of the memory that records take */
    uint64_t max_size;  /* the bound that was set */
    bool filter_ready;  /* whether the presence filter answers yet; true for engines without one */
};

/*  Opens the store of ENGINE ("lmdb", "sqlite", "memory", "array"), made if absent unless
    read_only. OPTIONS is copied. Returns CKV_ERROR_ARGUMENT (unknown engine, read_only or no
    directory where it cannot be), CKV_ERROR_NO_STORE, CKV_ERROR_PERMISSION, CKV_ERROR_STORE (not
    ours, or damaged), CKV_ERROR_IO, CKV_ERROR_DISK_FULL, CKV_ERROR_MEMORY. A process opens one
    directory once.  */
int ckv_kv_open(struct ckv_kv **self_p, const char *engine, const struct ckv_kv_options *options);

/*  Closes; every transaction must have ended. *SELF_P becomes NULL.  */
void ckv_kv_close(struct ckv_kv **self_p);

/*  Counts. Any thread, any time; takes a snapshot of its own.  */
int ckv_kv_stats(struct ckv_kv *self, struct ckv_kv_stats *stats);

/*  Begins a transaction. Returns CKV_ERROR_READ_ONLY, CKV_ERROR_READERS, CKV_ERROR_MEMORY,
    CKV_ERROR_IO. For reading, keep the transaction and use ckv_kv_reset and ckv_kv_renew between
    reads: with lmdb a renewal takes no lock, no memory and no system call.  */
int ckv_kv_begin(struct ckv_kv *self, enum ckv_kv_mode mode, struct ckv_kv_txn **txn_p);

/*  Read transactions: lets go of the snapshot and keeps the slot; takes a new snapshot.  */
void ckv_kv_reset(struct ckv_kv_txn *txn);
int ckv_kv_renew(struct ckv_kv_txn *txn);

/*  Read transactions: as ckv_kv_reset and ckv_kv_renew, but keeps the snapshot, if there is one, when
    nothing was committed since it was taken, which is far cheaper.  */
int ckv_kv_refresh(struct ckv_kv_txn *txn);

/*  Ends a write transaction. After an error of ckv_kv_commit nothing was applied, and the store
    goes on as before: CKV_ERROR_DISK_FULL, CKV_ERROR_STORE_FULL, CKV_ERROR_IO. *TXN_P becomes NULL
    either way. ckv_kv_abort also ends read transactions.  */
int ckv_kv_commit(struct ckv_kv_txn **txn_p);
void ckv_kv_abort(struct ckv_kv_txn **txn_p);

/*  Finds a certificate by storage key. The view is valid until the transaction is reset, ended, or
    writes. Returns CKV_OK, CKV_ERROR_NOT_FOUND (also for octets that are no storage key),
    CKV_ERROR_DAMAGED, CKV_ERROR_IO. Says nothing of validity: see ckv_certificate_valid_at.  */
int ckv_kv_get(struct ckv_kv_txn *txn, struct ckv_octets storage_key, struct ckv_certificate *view);

/*  Finds a certificate by client public key. When several have it: the active one, and of those the
    one with the highest revision. Otherwise as ckv_kv_get.  */
int ckv_kv_find(struct ckv_kv_txn *txn, const uint8_t client_public_key[32],
                struct ckv_certificate *view);

/*  Transactions of CKV_KV_RESOLVE: refreshes, and gets or finds what is newest. One after the other,
    these never go back to an older state of a certificate while the node runs; ckv_kv_get and
    ckv_kv_find in a snapshot that was taken before may.  */
int ckv_kv_resolve(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                   struct ckv_certificate *view);
int ckv_kv_resolve_client(struct ckv_kv_txn *txn, const uint8_t client_public_key[32],
                          struct ckv_certificate *view);

/*  Transactions of CKV_KV_RESOLVE: refreshes, and sets *NUMBER, which is another one whenever something
    was stored or has arrived since it was set last in this transaction. So who has resolved what it
    is about after that need not again until then. What it says of an arrival is said again when that
    is stored.  */
int ckv_kv_changes(struct ckv_kv_txn *txn, uint64_t *number);

/*  Walks all certificates, in the order in which this store first had them. *POSITION starts at 0.
    Returns CKV_OK with the next one, CKV_ERROR_NOT_FOUND after the last, CKV_ERROR_DAMAGED for a
    record that cannot be read; calling again goes on behind it. A POSITION stays good across
    transactions: on a long walk reset and renew now and then, since sqlite keeps a copy of every
    record it gave until then.  */
int ckv_kv_next(struct ckv_kv_txn *txn, uint64_t *position, struct ckv_certificate *view);

/*  Makes a verified record readable, by CKV_KV_RESOLVE in any process, before it is stored
    (kv/arrivals.h). Returns what ckv_kv_leave_arrival takes when it is, or when it is not going to
    be; 0 when it cannot be had, and then it is read when it is stored. One thread at a time, for
    both.  */
uint64_t ckv_kv_enter_arrival(struct ckv_kv *self, const struct ckv_certificate *certificate);
void ckv_kv_leave_arrival(struct ckv_kv *self, uint64_t ticket);

/*  In a write transaction: merges what has arrived under STORAGE_KEY (empty: none) and with
    CLIENT_PUBLIC_KEY (NULL: none), so that a change is made to what can be resolved. *REVISION is the
    highest of theirs, or 0. Errors of ckv_kv_merge.  */
int ckv_kv_merge_arrivals(struct ckv_kv_txn *txn, struct ckv_octets storage_key,
                          const uint8_t *client_public_key, uint64_t *revision);

/*  What became of a record given to ckv_kv_merge.  */
enum ckv_kv_merged {
    CKV_KV_NEW = 1,   /* no record had its storage key */
    CKV_KV_NEWER,     /* it took the place of an older state of the same certificate */
    CKV_KV_UNCHANGED, /* the store had it, or a newer state, also among the conflicts */
    CKV_KV_WON,       /* it took the place of another certificate, now in CKV_KV_CONFLICTS */
    CKV_KV_LOST,      /* another certificate keeps the storage key; it is in CKV_KV_CONFLICTS */
};

/*  Puts a parsed and verified record in its place, as ckv_certificate_compare orders. Returns one
    of enum ckv_kv_merged, or an error: CKV_ERROR_STORE_FULL, CKV_ERROR_DISK_FULL, CKV_ERROR_MEMORY,
    CKV_ERROR_IO, CKV_ERROR_READ_ONLY, CKV_ERROR_ARRAY_KEY. After an error abort the transaction: it
    takes no more changes, and to commit it gives that error and applies nothing.

    CERTIFICATE must not be a view of TXN itself: those end with the first write.  */
int ckv_kv_merge(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate);

/*  Heals: puts a parsed and verified record in the place of whatever stands under its storage key,
    once the caller has found that to be damaged. Returns CKV_KV_NEWER or CKV_KV_NEW, or an error as
    ckv_kv_merge.  */
int ckv_kv_replace(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate);

/*  As ckv_kv_merge, for a record that was verified. What stands under its storage key is verified,
    too, and replaced when it is damaged: that is how a store heals.  */
int ckv_kv_merge_verified(struct ckv_kv_txn *txn, const struct ckv_certificate *certificate,
                          const struct ckv_cluster_key *cluster_key);

/*  Side tables. Keys and values given out are valid as long as a view. Returns CKV_ERROR_ARGUMENT
    for a key or value out of bounds, and the errors of ckv_kv_merge. get and next return
    CKV_ERROR_NOT_FOUND; del of an absent key is CKV_OK. next gives the first row whose key is
    greater than *KEY (size 0: the first row) and sets *KEY and *VALUE.  */
int ckv_kv_table_get(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                     struct ckv_octets *value);
int ckv_kv_table_put(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key,
                     struct ckv_octets value);
int ckv_kv_table_del(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets key);
int ckv_kv_table_next(struct ckv_kv_txn *txn, enum ckv_kv_table table, struct ckv_octets *key,
                      struct ckv_octets *value);

#endif
