/*  rate: how often each key may come, in fixed memory.

    The generic cell rate algorithm (ITU-T I.371): for each key the time at which it will have paid
    for what it got; one that would be a whole second behind has to wait. So a key that was quiet may
    come as many times at once as it may come in a second, and no more often after that.

    Keys stand in sets of four by a keyed hash; in a full set the one that has been quiet for longest
    is forgotten, and begins anew when it comes again.
*/
#ifndef CKV_RATE_H
#define CKV_RATE_H

#include "core/error.h"
#include "core/octets.h"
#include <stdbool.h>

enum { CKV_RATE_KEYS = 1 << 16 }; /* 1 MiB */

struct ckv_rate;

/*  PER_SECOND is 1 to 1000000. HASH_KEY is random. Returns CKV_ERROR_MEMORY.  */
int ckv_rate_new(struct ckv_rate **self_p, uint32_t per_second, const uint8_t hash_key[16]);
void ckv_rate_destroy(struct ckv_rate **self_p);

/*  Whether KEY may come at NOW (ms, of a clock that does not step); if so, it has.  */
bool ckv_rate_take(struct ckv_rate *self, struct ckv_octets key, uint64_t now);

#endif
