/*  revision: the order of changes, as a 64-bit hybrid logical clock (Kulkarni et al. 2014).

    The upper 48 bits are milliseconds since 1970, the lower 16 a counter. A revision is never
    smaller than one seen before, and stays close to the wall clock: when the clock stands still or
    steps back, the counter goes on, and overflows into the milliseconds.
*/
#ifndef CKV_REVISION_H
#define CKV_REVISION_H

#include <stdint.h>

/*  The next revision after LAST (0: none yet) at NOW (ms since 1970).  */
static inline uint64_t ckv_revision_next(uint64_t last, uint64_t now)
{
    uint64_t wall = now << 16;
    return wall > last ? wall : last + 1;
}

#endif
