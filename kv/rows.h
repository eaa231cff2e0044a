/*  rows: octets under octets, in order of the keys, as a tree that is changed by copying.

    A treap (Seidel and Aragon 1996): a binary tree in the order of its keys, and a heap in the
    order of a hash of each key, which keeps it flat. Like a vector (kv/vector.h) it is a value:
    copied, it is a snapshot; reading takes no lock; changes are made in a batch.

    Keys are in the order of memcmp, a prefix before what is longer.
*/
#ifndef CKV_ROWS_H
#define CKV_ROWS_H

#include "kv/batch.h"

struct ckv_rows_node;

struct ckv_rows {
    struct ckv_rows_node *root;
    uint64_t count;
    uint64_t bytes; /* of keys and values */
};

/*  Finds the row of KEY. Returns CKV_ERROR_NOT_FOUND.  */
int ckv_rows_get(const struct ckv_rows *self, struct ckv_octets key, struct ckv_octets *value);

/*  Finds the first row whose key is greater than *KEY and sets both. Returns CKV_ERROR_NOT_FOUND
    after the last.  */
int ckv_rows_next(const struct ckv_rows *self, struct ckv_octets *key, struct ckv_octets *value);

/*  Sets the value of KEY. Both are copied. Returns CKV_ERROR_MEMORY; then the batch is to be
    undone.  */
int ckv_rows_put(struct ckv_rows *self, struct ckv_batch *batch, struct ckv_octets key,
                 struct ckv_octets value);

/*  Removes the row of KEY, if there is one. Errors as above.  */
int ckv_rows_del(struct ckv_rows *self, struct ckv_batch *batch, struct ckv_octets key);

/*  Drops all rows.  */
void ckv_rows_clear(struct ckv_rows *self, struct ckv_batch *batch);

#endif
