/*  count: a counter that one thread counts up and any thread reads.  */
#ifndef CKV_COUNT_H
#define CKV_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t ckv_count;

/*  Adds N, without a locked instruction: no other thread adds.  */
static inline void ckv_count_add(ckv_count *self, uint64_t n)
{
    atomic_store_explicit(self, atomic_load_explicit(self, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t ckv_count_read(ckv_count *self)
{
    return atomic_load_explicit(self, memory_order_relaxed);
}

#endif
