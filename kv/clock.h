/*  clock: the two clocks, in milliseconds.  */
#ifndef CKV_CLOCK_H
#define CKV_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t ckv_clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/*  Since 1970, UTC; may step.  */
static inline uint64_t ckv_clock_wall(void)
{
    return ckv_clock_read(CLOCK_REALTIME);
}

/*  For waiting; never steps back.  */
static inline uint64_t ckv_clock_monotonic(void)
{
    return ckv_clock_read(CLOCK_MONOTONIC);
}

#endif
