/*  host: where to connect: the addresses of an endpoint's host, tried in turn, and looked up anew when all
    have failed, since a server may have moved.

    Looking up anew takes a thread of its own, for as long as the name service does; nobody waits for
    it, also at the end.
*/
#ifndef CKV_HOST_H
#define CKV_HOST_H

#include "node/library/endpoint.h"

#include <stddef.h>
#include <stdint.h>

enum {
    CKV_HOST_ADDRESSES_MAX = 16,
    CKV_HOST_PAUSE_MS = 1000, /* between two lookups, at least */
};

struct ckv_lookup;

/*  One thread's. One that was read and not used yet may be copied.  */
struct ckv_host {
    const char *text; /* the endpoint; borrowed */
    struct ckv_endpoint all[CKV_HOST_ADDRESSES_MAX];
    size_t count, current;
    struct ckv_lookup *lookup; /* that is going on, or NULL */
    uint64_t not_before;       /* when there may be the next */
};

/*  Reads TEXT and looks the host up, which may take as long as the name service does. Errors: those of
    ckv_endpoint_read_all.  */
int ckv_host_read(struct ckv_host *self, const char *text);

/*  Whether ENDPOINT is one of its addresses.  */
bool ckv_host_has(const struct ckv_host *self, const struct ckv_endpoint *endpoint);

/*  Lets go of a lookup that is going on.  */
void ckv_host_end(struct ckv_host *self);

/*  The address to try now. Who tries it keeps self->current, to say that it failed.  */
static inline const struct ckv_endpoint *ckv_host_address(const struct ckv_host *self)
{
    return &self->all[self->current];
}

/*  Address number TRIED has failed at NOW (ms, of a clock that does not step): the next one is tried,
    unless somebody has said so before; after the last one the host is looked up.  */
void ckv_host_failed(struct ckv_host *self, size_t tried, uint64_t now);

/*  Takes what a lookup has found, if one is done. To be called now and then.  */
void ckv_host_tick(struct ckv_host *self);

#endif
