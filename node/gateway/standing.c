#include "node/gateway/parts.h"

enum { ROUND_TICKS = 5 };

static bool is_due(const struct ckv_standing *self, uint64_t changes)
{
    return self->unread || changes != self->changes || ckv_loop_time().wall >= self->until;
}

/*  The number is taken before the first client is asked for: what changes later is another round's.  */
static void begin_round(struct ckv_loop *loop)
{
    struct ckv_standing *self = &loop->standing;
    uint64_t changes;
    if (loop->relaying.count == 0 || ckv_kv_changes(loop->txn, &changes) != CKV_OK ||
        !is_due(self, changes))
        return;
    *self = (struct ckv_standing){
        .changes = changes,
        .until = UINT64_MAX,
        .left = loop->relaying.count,
    };
}

void ckv_standing_tick(struct ckv_loop *loop)
{
    struct ckv_standing *self = &loop->standing;
    if (self->left == 0)
        begin_round(loop);
    uint32_t share = loop->relaying.count / ROUND_TICKS + 1;
    for (; self->left > 0 && share > 0; share--) {
        self->left--;
        ckv_clients_ask_next(loop);
    }
}

enum ckv_verdict ckv_standing_ask(struct ckv_loop *loop, const struct ckv_admission_proof *proof)
{
    struct ckv_standing *self = &loop->standing;
    uint64_t until;
    loop->has_resolved = true;
    enum ckv_verdict verdict =
        ckv_admission_again(loop->admission, loop->txn, proof, ckv_loop_time(), &until);
    if (verdict == CKV_REFUSED_STORE) {
        self->unread = true;
        return CKV_ADMITTED;
    }
    if (verdict == CKV_ADMITTED && until < self->until)
        self->until = until;
    return verdict;
}
