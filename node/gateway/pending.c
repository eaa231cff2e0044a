#include "node/gateway/pending.h"

#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>

_Static_assert(sizeof(struct ckv_pending_slot) <= 256, "as the header says");

#define NONE UINT32_MAX

enum { COUNTERS_PER_SLOT = 4 };

/*  The ends of a line of slots.  */
struct line {
    uint32_t oldest, newest, count;
};

struct ckv_pending {
    uint32_t max, per_address, count;
    uint32_t free; /* the first free slot; in_line.newer leads to the next */
    uint64_t timeout_ms;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct line lines[CKV_PENDING_LINES];
    struct line *addresses; /* COUNTERS_PER_SLOT * max of them */
    struct ckv_pending_slot slots[];
};

int ckv_pending_new(struct ckv_pending **self_p, uint32_t max, uint32_t per_address,
                    uint64_t timeout_ms, const uint8_t hash_key[16])
{
    struct ckv_pending *self = calloc(1, sizeof(*self) + max * sizeof(*self->slots));
    *self_p = self;
    if (!self)
        return CKV_ERROR_MEMORY;
    self->addresses = malloc((size_t)COUNTERS_PER_SLOT * max * sizeof(*self->addresses));
    if (!self->addresses) {
        ckv_pending_destroy(self_p);
        return CKV_ERROR_MEMORY;
    }
    self->max = max;
    self->per_address = per_address;
    self->timeout_ms = timeout_ms;
    memcpy(self->hash_key, hash_key, sizeof(self->hash_key));
    for (uint32_t i = 0; i < COUNTERS_PER_SLOT * max; i++)
        self->addresses[i] = (struct line){ NONE, NONE, 0 };
    for (int i = 0; i < CKV_PENDING_LINES; i++)
        self->lines[i] = (struct line){ NONE, NONE, 0 };
    for (uint32_t i = 0; i < max; i++) {
        self->slots[i].line = CKV_PENDING_LINES;
        self->slots[i].in_line.newer = i + 1 < max ? i + 1 : NONE;
    }
    return CKV_OK;
}

void ckv_pending_destroy(struct ckv_pending **self_p)
{
    struct ckv_pending *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    free(self->addresses);
    sodium_memzero(self->slots, self->max * sizeof(*self->slots));
    free(self);
}

/* ---- lines ---- */

static uint32_t index_of(const struct ckv_pending *self, const struct ckv_pending_slot *slot)
{
    return (uint32_t)(slot - self->slots);
}

static struct ckv_pending_slot *at(struct ckv_pending *self, uint32_t index)
{
    return index == NONE ? NULL : &self->slots[index];
}

/*  Which links of a slot a line goes by: those of its address, or those of its line.  */
static struct ckv_pending_link *link_of(struct ckv_pending *self, uint32_t index, bool of_address)
{
    struct ckv_pending_slot *slot = &self->slots[index];
    return of_address ? &slot->of_address : &slot->in_line;
}

static void append(struct ckv_pending *self, struct line *line, uint32_t index, bool of_address)
{
    *link_of(self, index, of_address) = (struct ckv_pending_link){ line->newest, NONE };
    if (line->newest != NONE)
        link_of(self, line->newest, of_address)->newer = index;
    else
        line->oldest = index;
    line->newest = index;
    line->count++;
}

static void take_out(struct ckv_pending *self, struct line *line, uint32_t index, bool of_address)
{
    struct ckv_pending_link link = *link_of(self, index, of_address);
    if (link.older != NONE)
        link_of(self, link.older, of_address)->newer = link.newer;
    else
        line->oldest = link.newer;
    if (link.newer != NONE)
        link_of(self, link.newer, of_address)->older = link.older;
    else
        line->newest = link.older;
    line->count--;
}

/* ---- addresses ---- */

/*  The counter of ADDRESS, or NONE when it is not counted.  */
static uint32_t counter_of(const struct ckv_pending *self, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    uint8_t octets[8] = { 0 }, hash[crypto_shorthash_BYTES];
    if (address->sa_family == AF_INET)
        memcpy(octets, &v4->sin_addr, 4);
    else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        memcpy(octets, &v6->sin6_addr.s6_addr[12], 4);
    else if (address->sa_family == AF_INET6)
        memcpy(octets, &v6->sin6_addr, 8);
    else
        return NONE;
    crypto_shorthash(hash, octets, sizeof(octets), self->hash_key);
    return (uint32_t)(ckv_get64(hash) % (COUNTERS_PER_SLOT * (uint64_t)self->max));
}

/*  Takes SLOT off the crowd that its address has.  */
static void discount(struct ckv_pending *self, struct ckv_pending_slot *slot)
{
    if (slot->counter != NONE)
        take_out(self, &self->addresses[slot->counter], index_of(self, slot), true);
    slot->counter = NONE;
}

/* ---- who comes and goes ---- */

struct ckv_pending_slot *ckv_pending_first(struct ckv_pending *self, enum ckv_pending_line line)
{
    return at(self, self->lines[line].oldest);
}

struct ckv_pending_slot *ckv_pending_next(struct ckv_pending *self,
                                          const struct ckv_pending_slot *slot)
{
    return at(self, slot->in_line.newer);
}

/*  The oldest of the crowd.  */
static struct ckv_pending_slot *oldest_of_crowd(struct ckv_pending *self)
{
    struct ckv_pending_slot *oldest = NULL;
    for (int line = CKV_PENDING_STRANGERS; line < CKV_PENDING_KNOWN; line++) {
        struct ckv_pending_slot *first = at(self, self->lines[line].oldest);
        if (first && (!oldest || first->deadline < oldest->deadline))
            oldest = first;
    }
    return oldest;
}

struct ckv_pending_slot *ckv_pending_must_leave(struct ckv_pending *self,
                                                const struct sockaddr *address)
{
    uint32_t counter = counter_of(self, address);
    if (counter != NONE && self->addresses[counter].count >= self->per_address)
        return at(self, self->addresses[counter].oldest);
    if (self->count < self->max)
        return NULL;
    struct ckv_pending_slot *oldest = oldest_of_crowd(self);
    return oldest ? oldest : ckv_pending_first(self, CKV_PENDING_KNOWN);
}

struct ckv_pending_slot *ckv_pending_enter(struct ckv_pending *self, const struct sockaddr *address,
                                           uint64_t now)
{
    uint32_t index = self->free;
    struct ckv_pending_slot *slot = &self->slots[index];
    self->free = slot->in_line.newer;
    self->count++;
    slot->line = CKV_PENDING_STRANGERS;
    slot->deadline = now + self->timeout_ms;
    slot->counter = counter_of(self, address);
    append(self, &self->lines[CKV_PENDING_STRANGERS], index, false);
    if (slot->counter != NONE)
        append(self, &self->addresses[slot->counter], index, true);
    return slot;
}

void ckv_pending_move(struct ckv_pending *self, struct ckv_pending_slot *slot,
                      enum ckv_pending_line line, uint64_t now)
{
    uint32_t index = index_of(self, slot);
    take_out(self, &self->lines[slot->line], index, false);
    append(self, &self->lines[line], index, false);
    slot->line = (uint8_t)line;
    slot->deadline = now + self->timeout_ms;
    if (line == CKV_PENDING_KNOWN)
        discount(self, slot);
}

void ckv_pending_leave(struct ckv_pending *self, struct ckv_pending_slot *slot)
{
    take_out(self, &self->lines[slot->line], index_of(self, slot), false);
    discount(self, slot);
    sodium_memzero(slot, sizeof(*slot));
    slot->line = CKV_PENDING_LINES;
    slot->in_line.newer = self->free;
    self->free = index_of(self, slot);
    self->count--;
}

struct ckv_pending_slot *ckv_pending_expired(struct ckv_pending *self, uint64_t now)
{
    for (int line = 0; line < CKV_PENDING_LINES; line++) {
        struct ckv_pending_slot *first = at(self, self->lines[line].oldest);
        if (first && first->deadline <= now)
            return first;
    }
    return NULL;
}

uint32_t ckv_pending_count(const struct ckv_pending *self)
{
    return self->count;
}
