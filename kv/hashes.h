/*  hashes: slots under the hashes of their keys, in a hash table with open addressing and linear
    probing, that is changed by copying (kv/batch.h).

    A place holds a slot and the upper 24 bits of its key's hash, so that another key's record is
    hardly ever looked at. Keys themselves rest in the records: whoever looks up compares, and
    whoever makes the table grow says how to hash again what is in a slot. One key may have several
    slots. Like a vector it is a value: copied, it is a snapshot.
*/
#ifndef CKV_HASHES_H
#define CKV_HASHES_H

#include "kv/vector.h"

struct ckv_hashes {
    struct ckv_vector words;
    uint64_t places; /* 0, or a power of two */
    uint64_t taken;  /* places that a probe does not end at, also those of what was removed */
    uint64_t count;
};

/*  Slots go up to this.  */
#define CKV_HASHES_SLOT_MAX ((UINT64_C(1) << 40) - 3)

/*  Hashes the key of what is in SLOT, as it was when it was added.  */
typedef uint64_t ckv_hashes_again(const void *context, uint64_t slot);

/*  Gives the next slot that may have a key of HASH. *STEPS starts at 0. Returns false after the
    last.  */
bool ckv_hashes_next(const struct ckv_hashes *self, uint64_t hash, uint64_t *steps, uint64_t *slot);

/*  Adds SLOT under HASH. Returns CKV_ERROR_STORE_FULL, CKV_ERROR_MEMORY.  */
int ckv_hashes_add(struct ckv_hashes *self, struct ckv_batch *batch, uint64_t hash, uint64_t slot,
                   ckv_hashes_again *again, const void *context);

/*  Removes it, if it is there. Returns CKV_ERROR_MEMORY.  */
int ckv_hashes_remove(struct ckv_hashes *self, struct ckv_batch *batch, uint64_t hash,
                      uint64_t slot);

/*  Drops everything.  */
void ckv_hashes_clear(struct ckv_hashes *self, struct ckv_batch *batch);

#endif
