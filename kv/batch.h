/*  batch: the blocks of memory that one write transaction makes, and those that it drops.

    The stores that live in memory (kv/held.h) never change what a reader may see. A write
    transaction copies the blocks it wants to change, from the leaf up to a root of its own; the
    commit publishes that root. This is what LMDB does with pages. A reader that holds an older root
    goes on reading the older blocks, without a lock, until it ends; then they are freed.

    A block made in this very transaction is seen by nobody else, and is changed in place.
*/
#ifndef CKV_BATCH_H
#define CKV_BATCH_H

#include "core/error.h"
#include "core/octets.h"
#include <stdbool.h>

/*  First member of everything that a batch makes.  */
struct ckv_block {
    struct ckv_block *next;
    uint64_t number; /* of the transaction that made it; 0: the same one dropped it */
};

struct ckv_batch {
    uint64_t number;           /* of the transaction; 1 and up */
    const uint8_t *index_key;  /* 16 octets: SipHash key of what it hashes */
    struct ckv_block *made;    /* here, also those dropped again */
    struct ckv_block *dropped; /* of those made before */
    bool failed;               /* memory ran out: the transaction can only be aborted */
};

/*  Makes a block of SIZE octets, header included, zeroed. Returns NULL, and sets failed, when
    there is no memory.  */
void *ckv_batch_new(struct ckv_batch *self, size_t size);

/*  Gives a block of SIZE octets that may be changed in place of BLOCK: itself if it was made here,
    else a copy, and BLOCK is dropped. Returns NULL, and sets failed, when there is no memory.  */
void *ckv_batch_own(struct ckv_batch *self, void *block, size_t size);

/*  What the transaction will not refer to any more. It can be read until the batch ends.  */
void ckv_batch_drop(struct ckv_batch *self, void *block);

/*  Ends the batch, its blocks being published: returns the list of those dropped, which older
    readers may still see; the caller frees it when they are gone.  */
struct ckv_block *ckv_batch_publish(struct ckv_batch *self);

/*  Ends the batch as if it had never been.  */
void ckv_batch_undo(struct ckv_batch *self);

/*  Frees a list of blocks.  */
void ckv_blocks_free(struct ckv_block *list);

#endif
