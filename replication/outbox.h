/*  outbox: changes of this node that are not in the log yet, in its store.

    A change puts its row in the transaction that makes it, so that no crash can part them. The
    replicator sends the rows in order, and a row goes when its entry comes back through the log,
    in the transaction that applies it. The record itself is read when it is sent: a newer state of
    the certificate does as well.

        key    8 octets: the row's number, which only grows
        value  flags, then the storage key
*/
#ifndef CKV_OUTBOX_H
#define CKV_OUTBOX_H

#include "core/storage_key.h"
#include "kv/kv.h"

enum {
    CKV_OUTBOX_NOTIFY = 1,   /* nodes are to say when they have applied it */
    CKV_OUTBOX_RESERVED = 2, /* its storage key was reserved, and is now used */
    CKV_OUTBOX_FORGET = 4,   /* no certificate: a node's id and when it is forgotten, 16 octets */
};

struct ckv_outbox_row {
    uint64_t number;
    uint8_t flags;
    struct ckv_octets content; /* storage key or node id; a view */
};

/*  Numbers given out; the writer's thread alone uses it.  */
struct ckv_outbox {
    uint64_t last;
};

/*  Reads the last number from the store.  */
int ckv_outbox_open(struct ckv_outbox *self, struct ckv_kv *kv);

/*  Adds a row, in a write transaction; *NUMBER receives its number.  */
int ckv_outbox_put(struct ckv_outbox *self, struct ckv_kv_txn *txn, uint8_t flags,
                   struct ckv_octets content, uint64_t *number);

/*  Removes a row, if it is there.  */
int ckv_outbox_del(struct ckv_kv_txn *txn, uint64_t number);

/*  The first row after *NUMBER (0: the first). CKV_ERROR_NOT_FOUND after the last; a row that cannot
    be read is passed over.  */
int ckv_outbox_next(struct ckv_kv_txn *txn, uint64_t number, struct ckv_outbox_row *row);

#endif
