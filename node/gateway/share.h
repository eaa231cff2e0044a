/*  share: how much of a loop's curve operations stock HELLOs may have while known clients want them.

    A stock HELLO shows nothing that could be checked before the first curve operation, and anybody
    can send one; a modified one has shown a MAC by then. So known clients are served at once, and
    stock HELLOs wait in a line. The loop goes in rounds: it serves all that has come, then asks here
    whether one from that line may be served, too.

    In a round in which no known client wanted an operation, one may: what nobody else wants is
    theirs. Else they live on credit: each operation of a known client earns them share / (100 -
    share) of one, and each of theirs costs one; those of their INITIATEs, too, which are not made
    to wait. The credit is bounded both ways, so that neither side can save up.
*/
#ifndef CKV_SHARE_H
#define CKV_SHARE_H

#include <stdbool.h>
#include <stdint.h>

enum { CKV_SHARE_BOUND = 64 }; /* operations of credit, or of debt */

struct ckv_share {
    int64_t percent; /* 0 to 100 */
    int64_t credit;  /* of operations, in parts of 100 - percent */
    bool wanted;     /* by a known client, in this round */
};

static inline void ckv_share_bound(struct ckv_share *self, int64_t credit)
{
    int64_t bound = CKV_SHARE_BOUND * (100 - self->percent);
    self->credit = credit > bound ? bound : credit < -bound ? -bound : credit;
}

/*  OPERATIONS were done for a known client.  */
static inline void ckv_share_known(struct ckv_share *self, unsigned operations)
{
    self->wanted = true;
    ckv_share_bound(self, self->credit + (int64_t)operations * self->percent);
}

/*  OPERATIONS were done for a stock one.  */
static inline void ckv_share_stock(struct ckv_share *self, unsigned operations)
{
    ckv_share_bound(self, self->credit - (int64_t)operations * (100 - self->percent));
}

/*  Whether a stock HELLO may be served now.  */
static inline bool ckv_share_may(const struct ckv_share *self)
{
    return !self->wanted || self->percent == 100 || self->credit > 0;
}

/*  The round is over.  */
static inline void ckv_share_next_round(struct ckv_share *self)
{
    self->wanted = false;
}

#endif
