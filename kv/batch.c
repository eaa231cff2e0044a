#include "kv/batch.h"

#include <stdlib.h>

void *ckv_batch_new(struct ckv_batch *self, size_t size)
{
    struct ckv_block *block = calloc(1, size);
    if (!block) {
        self->failed = true;
        return NULL;
    }
    block->next = self->made;
    block->number = self->number;
    self->made = block;
    return block;
}

void *ckv_batch_own(struct ckv_batch *self, void *block, size_t size)
{
    struct ckv_block *old = block;
    if (old->number == self->number)
        return old;
    struct ckv_block *own = ckv_batch_new(self, size);
    if (!own)
        return NULL;
    memcpy(own + 1, old + 1, size - sizeof(*own));
    ckv_batch_drop(self, old);
    return own;
}

void ckv_batch_drop(struct ckv_batch *self, void *block)
{
    struct ckv_block *old = block;
    if (old->number == self->number) {
        old->number = 0; /* stays in the list of those made, which owns it */
    } else if (old->number) {
        old->next = self->dropped;
        self->dropped = old;
    }
}

struct ckv_block *ckv_batch_publish(struct ckv_batch *self)
{
    struct ckv_block *block = self->made, *next;
    for (; block; block = next) {
        next = block->next;
        block->next = NULL;
        if (block->number == 0)
            free(block);
    }
    self->made = NULL;
    block = self->dropped;
    self->dropped = NULL;
    return block;
}

void ckv_batch_undo(struct ckv_batch *self)
{
    ckv_blocks_free(self->made);
    self->made = NULL;
    self->dropped = NULL;
}

void ckv_blocks_free(struct ckv_block *list)
{
    while (list) {
        struct ckv_block *next = list->next;
        free(list);
        list = next;
    }
}
