/*  position: how far this node has applied the log; a row of its store, changed in the transaction
    that applies the entries.
*/
#ifndef CKV_POSITION_H
#define CKV_POSITION_H

#include "kv/kv.h"
#include <sodium.h>

enum { CKV_MARK_SIZE = 16 };

struct ckv_position {
    uint64_t epoch;              /* the life of the log; 0: none yet */
    uint64_t sequence;           /* of the last entry applied */
    uint8_t mark[CKV_MARK_SIZE]; /* hash of that entry: a log that has another one there is forked;
                                    zeros when the node did not see it */
    bool complete;               /* whether all that the cluster knew before is here, too */
    bool settled; /* whether this node has ever been complete: only then may it say so
                                    of itself when it begins an epoch */
};

/*  The mark of an entry.  */
static inline void ckv_position_mark(uint8_t mark[CKV_MARK_SIZE], struct ckv_octets entry)
{
    crypto_generichash(mark, CKV_MARK_SIZE, entry.data, entry.size, NULL, 0);
}

/*  Reads it; a store without one is at epoch 0.  */
int ckv_position_get(struct ckv_position *self, struct ckv_kv_txn *txn);
int ckv_position_put(const struct ckv_position *self, struct ckv_kv_txn *txn);

/*  Goes back to epoch 0.  */
int ckv_position_del(struct ckv_kv_txn *txn);

#endif
