#include "kv/vector.h"

enum { BITS = 6, WIDTH = 1 << BITS, HEIGHT_MAX = 10 };

/*  The slots of the lowest level hold values, those above it nodes.  */
union slot {
    struct ckv_vector_node *node;
    uint64_t value;
};

struct ckv_vector_node {
    struct ckv_block block;
    union slot slots[WIDTH];
};

static size_t slot_of(uint64_t index, unsigned level)
{
    return (size_t)(index >> (BITS * level)) % WIDTH;
}

static bool reaches(const struct ckv_vector *self, uint64_t index)
{
    return self->height > HEIGHT_MAX || index >> (BITS * self->height) == 0;
}

uint64_t ckv_vector_get(const struct ckv_vector *self, uint64_t index)
{
    const struct ckv_vector_node *node = self->root;
    if (!node || !reaches(self, index))
        return 0;
    for (unsigned level = self->height - 1; level; level--)
        if (!(node = node->slots[slot_of(index, level)].node))
            return 0;
    return node->slots[slot_of(index, 0)].value;
}

/*  Makes the node in *SLOT one that may be changed, whether there was one or not.  */
static struct ckv_vector_node *own(struct ckv_vector_node **slot, struct ckv_batch *batch)
{
    size_t size = sizeof(struct ckv_vector_node);
    struct ckv_vector_node *node =
        *slot ? ckv_batch_own(batch, *slot, size) : ckv_batch_new(batch, size);
    if (node)
        *slot = node;
    return node;
}

static int add_level(struct ckv_vector *self, struct ckv_batch *batch)
{
    struct ckv_vector_node *root = ckv_batch_new(batch, sizeof(*root));
    if (!root)
        return CKV_ERROR_MEMORY;
    root->slots[0].node = self->root;
    self->root = root;
    self->height++;
    return CKV_OK;
}

int ckv_vector_set(struct ckv_vector *self, struct ckv_batch *batch, uint64_t index, uint64_t value)
{
    while (!self->root || !reaches(self, index))
        if (add_level(self, batch) != CKV_OK)
            return CKV_ERROR_MEMORY;
    struct ckv_vector_node *node = own(&self->root, batch);
    for (unsigned level = self->height - 1; node && level; level--)
        node = own(&node->slots[slot_of(index, level)].node, batch);
    if (!node)
        return CKV_ERROR_MEMORY;
    node->slots[slot_of(index, 0)].value = value;
    return CKV_OK;
}

static void drop(struct ckv_vector_node *node, unsigned level, struct ckv_batch *batch)
{
    for (size_t i = 0; level && i < WIDTH; i++)
        if (node->slots[i].node)
            drop(node->slots[i].node, level - 1, batch);
    ckv_batch_drop(batch, node);
}

void ckv_vector_clear(struct ckv_vector *self, struct ckv_batch *batch)
{
    if (self->root)
        drop(self->root, self->height - 1, batch);
    *self = (struct ckv_vector){ NULL, 0 };
}
