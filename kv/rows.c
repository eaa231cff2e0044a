#include "kv/rows.h"

#include <sodium.h>

/*  Apart from its node, so that copying a path does not copy values.  */
struct row {
    struct ckv_block block;
    uint64_t priority;
    size_t key_size;
    size_t value_size;
    uint8_t octets[]; /* key, value */
};

struct ckv_rows_node {
    struct ckv_block block;
    struct ckv_rows_node *left, *right;
    struct row *row;
};

static struct ckv_octets key_of(const struct row *row)
{
    return ckv_octets(row->octets, row->key_size);
}

static struct ckv_octets value_of(const struct row *row)
{
    return ckv_octets(row->octets + row->key_size, row->value_size);
}

static int compare(struct ckv_octets a, struct ckv_octets b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static const struct row *find(const struct ckv_rows *self, struct ckv_octets key)
{
    const struct ckv_rows_node *node = self->root;
    while (node) {
        int order = compare(key, key_of(node->row));
        if (order == 0)
            return node->row;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

int ckv_rows_get(const struct ckv_rows *self, struct ckv_octets key, struct ckv_octets *value)
{
    const struct row *row = find(self, key);
    if (!row)
        return CKV_ERROR_NOT_FOUND;
    *value = value_of(row);
    return CKV_OK;
}

int ckv_rows_next(const struct ckv_rows *self, struct ckv_octets *key, struct ckv_octets *value)
{
    const struct ckv_rows_node *node = self->root;
    const struct row *next = NULL;
    while (node) {
        bool after = compare(key_of(node->row), *key) > 0;
        if (after)
            next = node->row;
        node = after ? node->left : node->right;
    }
    if (!next)
        return CKV_ERROR_NOT_FOUND;
    *key = key_of(next);
    *value = value_of(next);
    return CKV_OK;
}

/*  ---- changes ----
    Subtrees come in by value and go out changed. When memory runs out they go out as they are, and
    batch->failed says that the whole tree is not to be used.  */

static struct row *new_row(struct ckv_batch *batch, struct ckv_octets key, struct ckv_octets value)
{
    uint8_t hash[crypto_shorthash_BYTES];
    struct row *row = ckv_batch_new(batch, sizeof(*row) + key.size + value.size);
    if (!row)
        return NULL;
    crypto_shorthash(hash, key.data, key.size, batch->index_key);
    row->priority = ckv_get64(hash);
    row->key_size = key.size;
    row->value_size = value.size;
    memcpy(row->octets, key.data, key.size);
    if (value.size)
        memcpy(row->octets + key.size, value.data, value.size);
    return row;
}

static struct ckv_rows_node *own(struct ckv_rows_node *node, struct ckv_batch *batch)
{
    return ckv_batch_own(batch, node, sizeof(*node));
}

/*  Lifts the left child of NODE above it. Both are owned.  */
static struct ckv_rows_node *lift_left(struct ckv_rows_node *node)
{
    struct ckv_rows_node *child = node->left;
    node->left = child->right;
    child->right = node;
    return child;
}

static struct ckv_rows_node *lift_right(struct ckv_rows_node *node)
{
    struct ckv_rows_node *child = node->right;
    node->right = child->left;
    child->left = node;
    return child;
}

static struct ckv_rows_node *new_node(struct ckv_batch *batch, struct row *row)
{
    struct ckv_rows_node *node = ckv_batch_new(batch, sizeof(*node));
    if (node)
        node->row = row;
    return node;
}

static struct ckv_rows_node *insert(struct ckv_rows_node *node, struct ckv_batch *batch,
                                    struct row *row)
{
    if (!node)
        return new_node(batch, row);
    struct ckv_rows_node *changed = own(node, batch);
    if (!changed)
        return node;
    int order = compare(key_of(row), key_of(changed->row));
    if (order == 0) {
        ckv_batch_drop(batch, changed->row);
        changed->row = row;
    } else if (order < 0) {
        changed->left = insert(changed->left, batch, row);
        if (!batch->failed && changed->left->row->priority > changed->row->priority)
            return lift_left(changed);
    } else {
        changed->right = insert(changed->right, batch, row);
        if (!batch->failed && changed->right->row->priority > changed->row->priority)
            return lift_right(changed);
    }
    return changed;
}

/*  Joins two trees, of which all keys of A are before those of B.  */
static struct ckv_rows_node *join(struct ckv_rows_node *a, struct ckv_rows_node *b,
                                  struct ckv_batch *batch)
{
    if (!a || !b)
        return a ? a : b;
    bool a_is_root = a->row->priority > b->row->priority;
    struct ckv_rows_node *changed = own(a_is_root ? a : b, batch);
    if (!changed)
        return NULL;
    if (a_is_root)
        changed->right = join(changed->right, b, batch);
    else
        changed->left = join(a, changed->left, batch);
    return changed;
}

/*  KEY is there.  */
static struct ckv_rows_node *take_out(struct ckv_rows_node *node, struct ckv_batch *batch,
                                      struct ckv_octets key)
{
    int order = compare(key, key_of(node->row));
    if (order == 0) {
        ckv_batch_drop(batch, node->row);
        ckv_batch_drop(batch, node);
        return join(node->left, node->right, batch);
    }
    struct ckv_rows_node *changed = own(node, batch);
    if (!changed)
        return node;
    if (order < 0)
        changed->left = take_out(changed->left, batch, key);
    else
        changed->right = take_out(changed->right, batch, key);
    return changed;
}

static void count_row(struct ckv_rows *self, const struct row *row, int sign)
{
    uint64_t bytes = row->key_size + row->value_size;
    self->count += (uint64_t)sign;
    self->bytes += sign > 0 ? bytes : 0 - bytes;
}

int ckv_rows_put(struct ckv_rows *self, struct ckv_batch *batch, struct ckv_octets key,
                 struct ckv_octets value)
{
    const struct row *old = find(self, key);
    struct row *row = new_row(batch, key, value);
    if (!row)
        return CKV_ERROR_MEMORY;
    if (old)
        count_row(self, old, -1);
    count_row(self, row, 1);
    self->root = insert(self->root, batch, row);
    return batch->failed ? CKV_ERROR_MEMORY : CKV_OK;
}

int ckv_rows_del(struct ckv_rows *self, struct ckv_batch *batch, struct ckv_octets key)
{
    const struct row *old = find(self, key);
    if (!old)
        return CKV_OK;
    count_row(self, old, -1);
    self->root = take_out(self->root, batch, key);
    return batch->failed ? CKV_ERROR_MEMORY : CKV_OK;
}

static void drop(struct ckv_rows_node *node, struct ckv_batch *batch)
{
    if (!node)
        return;
    drop(node->left, batch);
    drop(node->right, batch);
    ckv_batch_drop(batch, node->row);
    ckv_batch_drop(batch, node);
}

void ckv_rows_clear(struct ckv_rows *self, struct ckv_batch *batch)
{
    drop(self->root, batch);
    *self = (struct ckv_rows){ NULL, 0, 0 };
}
