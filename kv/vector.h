/*  vector: numbers under dense indexes, as a tree of 64-way nodes that is changed by copying.

    A vector is a value: copied, it is a snapshot. Reading takes no lock; a change copies the path
    of nodes to it, in a batch (kv/batch.h), and leaves every other copy as it was. Indexes that
    were never set read as 0 and cost no memory.
*/
#ifndef CKV_VECTOR_H
#define CKV_VECTOR_H

#include "kv/batch.h"

struct ckv_vector_node;

struct ckv_vector {
    struct ckv_vector_node *root;
    unsigned height; /* levels of nodes: it holds 64 to the power of height */
};

/*  What was set at INDEX, or 0.  */
uint64_t ckv_vector_get(const struct ckv_vector *self, uint64_t index);

/*  Sets VALUE at INDEX. Returns CKV_ERROR_MEMORY; then the batch is to be undone.  */
int ckv_vector_set(struct ckv_vector *self, struct ckv_batch *batch, uint64_t index,
                   uint64_t value);

/*  Drops all nodes; the vector is empty.  */
void ckv_vector_clear(struct ckv_vector *self, struct ckv_batch *batch);

#endif
