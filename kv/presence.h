/*  presence: the filters of an open store, as time goes by.

    A store begins with none: a thread builds the first one (kv/filter.h) from the index, while the
    index itself answers. When that one gets crowded, another of twice the size is built beside it,
    and takes its place when it is complete; keys are entered in both meanwhile. A process that only
    reads maps the filter that the node made, and looks for another one when it is replaced.

    Whoever probes takes no lock. So a filter that was replaced stays mapped until the store is
    closed; as a rule each is half the size of the next.
*/
#ifndef CKV_PRESENCE_H
#define CKV_PRESENCE_H

#include "kv/filter.h"

struct ckv_presence;
struct ckv_presence_builder;

/*  Walks all committed keys of STORE, on the builder's thread, and offers each. Stops early when
    ckv_presence_offer says so. Returns CKV_OK when it came to the end.  */
typedef int ckv_presence_walk(void *store, struct ckv_presence_builder *builder);

/*  Offers one key. Returns false when the walk is to stop.  */
bool ckv_presence_offer(struct ckv_presence_builder *builder, uint64_t hash, uint64_t position);

/*  Begins. A writer (WALK is not NULL) makes sure that no process trusts the file that an earlier
    one left at PATH; a reader maps it. Returns CKV_ERROR_MEMORY, CKV_ERROR_PERMISSION,
    CKV_ERROR_IO.
 */
int ckv_presence_new(struct ckv_presence **self_p, const char *path,
                     const uint8_t store_id[CKV_FILTER_ID_SIZE], ckv_presence_walk *walk,
                     void *store);

/*  Stops the builder and unmaps all filters.  */
void ckv_presence_destroy(struct ckv_presence **self_p);

/*  Writers: starts to build a filter with room for RECORDS. Call it while no write transaction has
    changes, or the walk would miss what was entered in the old filter alone. Where it cannot be had
    (no space, no thread) the store goes on without.  */
void ckv_presence_build(struct ckv_presence *self, uint64_t records);

/*  Writers: whether it is time for a larger one.  */
bool ckv_presence_crowded(struct ckv_presence *self);

/*  Writers: enters a key, before it is committed.  */
void ckv_presence_enter(struct ckv_presence *self, uint64_t hash, uint64_t position);

/*  As ckv_filter_probe; without a filter the answer is 0 and not sure. Any thread.  */
unsigned ckv_presence_probe(struct ckv_presence *self, uint64_t hash,
                            uint64_t positions[CKV_FILTER_WIDTH], bool *sure);

/*  Whether a filter answers.  */
bool ckv_presence_ready(const struct ckv_presence *self);

#endif
