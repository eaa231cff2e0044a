#include "node/gateway/replay.h"

#include <stdlib.h>

enum { PLACES = 2 * CKV_REPLAY_ENTRIES }; /* at most half of them filled: chains stay short */

struct generation {
    uint64_t begun;
    uint32_t count;
    uint64_t *places; /* 0: empty */
};

struct ckv_replay {
    uint64_t life_ms;
    struct generation current, last;
};

int ckv_replay_new(struct ckv_replay **self_p, uint64_t life_ms)
{
    struct ckv_replay *self = calloc(1, sizeof(*self));
    *self_p = self;
    if (!self)
        return CKV_ERROR_MEMORY;
    self->life_ms = life_ms;
    self->current.places = calloc(PLACES, sizeof(uint64_t));
    self->last.places = calloc(PLACES, sizeof(uint64_t));
    if (self->current.places && self->last.places)
        return CKV_OK;
    ckv_replay_destroy(self_p);
    return CKV_ERROR_MEMORY;
}

void ckv_replay_destroy(struct ckv_replay **self_p)
{
    struct ckv_replay *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    free(self->current.places);
    free(self->last.places);
    free(self);
}

static void empty(struct generation *self, uint64_t now)
{
    if (self->count)
        memset(self->places, 0, PLACES * sizeof(*self->places));
    self->count = 0;
    self->begun = now;
}

static void begin_generation(struct ckv_replay *self, uint64_t now)
{
    struct generation dropped = self->last;
    self->last = self->current;
    self->current = dropped;
    empty(&self->current, now);
}

/*  Where ENTRY is, or the empty place where it belongs.  */
static uint64_t *place_of(const struct generation *self, uint64_t entry)
{
    uint64_t at = entry % PLACES;
    while (self->places[at] != 0 && self->places[at] != entry)
        at = (at + 1) % PLACES;
    return &self->places[at];
}

bool ckv_replay_enter(struct ckv_replay *self, const uint8_t mac[CKV_HELLO_MAC_SIZE], uint64_t now)
{
    uint64_t entry = ckv_get64(mac) | 1; /* never 0 */
    if (now - self->current.begun >= self->life_ms || self->current.count == CKV_REPLAY_ENTRIES)
        begin_generation(self, now);
    if (self->last.count && *place_of(&self->last, entry) == entry)
        return false;
    uint64_t *place = place_of(&self->current, entry);
    if (*place == entry)
        return false;
    *place = entry;
    self->current.count++;
    return true;
}
