#include "kv/hashes.h"

enum { SLOT_BITS = 40, PLACES_MIN = 64 };

#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)

/*  A place whose slot was removed: probes go on over it.  */
#define REMOVED SLOT_MASK

_Static_assert(CKV_HASHES_SLOT_MAX + 1 < REMOVED, "a slot is not taken for a removed one");

static uint64_t word_of(uint64_t hash, uint64_t slot)
{
    return (hash & ~SLOT_MASK) | (slot + 1);
}

static uint64_t place_of(const struct ckv_hashes *self, uint64_t hash, uint64_t steps)
{
    return (hash + steps) & (self->places - 1);
}

bool ckv_hashes_next(const struct ckv_hashes *self, uint64_t hash, uint64_t *steps, uint64_t *slot)
{
    uint64_t word;
    if (!self->places)
        return false;
    while ((word = ckv_vector_get(&self->words, place_of(self, hash, *steps)))) {
        ++*steps;
        if (((word ^ hash) & ~SLOT_MASK) == 0 && (word & SLOT_MASK) != REMOVED) {
            *slot = (word & SLOT_MASK) - 1;
            return true;
        }
    }
    return false;
}

/*  Takes the first free place; there is one.  */
static int take_place(struct ckv_hashes *self, struct ckv_batch *batch, uint64_t hash,
                      uint64_t slot)
{
    uint64_t steps = 0;
    while (ckv_vector_get(&self->words, place_of(self, hash, steps)))
        steps++;
    self->taken++;
    self->count++;
    return ckv_vector_set(&self->words, batch, place_of(self, hash, steps), word_of(hash, slot));
}

/*  Moves all to a table of a quarter or less full, and leaves behind what was removed.  */
static int grow(struct ckv_hashes *self, struct ckv_batch *batch, ckv_hashes_again *again,
                const void *context)
{
    struct ckv_hashes old = *self;
    int rc = CKV_OK;
    *self = (struct ckv_hashes){ .places = PLACES_MIN };
    while (self->places < 4 * old.count)
        self->places *= 2;
    for (uint64_t place = 0; rc == CKV_OK && place < old.places; place++) {
        uint64_t slot = ckv_vector_get(&old.words, place) & SLOT_MASK;
        if (slot && slot != REMOVED)
            rc = take_place(self, batch, again(context, slot - 1), slot - 1);
    }
    ckv_hashes_clear(&old, batch);
    return rc;
}

int ckv_hashes_add(struct ckv_hashes *self, struct ckv_batch *batch, uint64_t hash, uint64_t slot,
                   ckv_hashes_again *again, const void *context)
{
    int rc = CKV_OK;
    if (slot > CKV_HASHES_SLOT_MAX)
        return CKV_ERROR_STORE_FULL;
    if (2 * (self->taken + 1) > self->places) /* half full, a key is found in 1.5 probes */
        rc = grow(self, batch, again, context);
    return rc == CKV_OK ? take_place(self, batch, hash, slot) : rc;
}

int ckv_hashes_remove(struct ckv_hashes *self, struct ckv_batch *batch, uint64_t hash,
                      uint64_t slot)
{
    uint64_t steps = 0, found;
    while (ckv_hashes_next(self, hash, &steps, &found)) {
        if (found != slot)
            continue;
        self->count--;
        return ckv_vector_set(&self->words, batch, place_of(self, hash, steps - 1), REMOVED);
    }
    return CKV_OK;
}

void ckv_hashes_clear(struct ckv_hashes *self, struct ckv_batch *batch)
{
    ckv_vector_clear(&self->words, batch);
    *self = (struct ckv_hashes){ .places = 0 };
}
