/*  members: the nodes of the cluster, as this node knows them.

    Who is a member is kept in the store (CKV_KV_MEMBERS: node id -> name; an empty name: forgotten),
    since a promise of uniqueness must count those who are away, too: see ckv_members_agree. Nodes
    whose sums of members differ tell each other whom they know, and whom they were told to forget,
    and when; who was heard after that is a member all the same. How a member is comes
    from its announcements and is kept in memory; without one for its time to live it is down.

    Belongs to the replicator's thread.
*/
#ifndef CKV_MEMBERS_H
#define CKV_MEMBERS_H

#include "replication/message.h"

enum { CKV_MEMBERS_MAX = 256, CKV_FORGOTTEN_MAX = 256 };

struct ckv_member {
    uint64_t id;
    char name[CKV_NODE_NAME_MAX + 1], endpoint[CKV_ENDPOINT_MAX + 1];
    uint64_t heard_ms; /* by the monotonic clock; 0: not since the start */
    uint64_t heard_at; /* ms since 1970 */
    uint64_t instance, number;
    uint64_t left;                /* the instance that said last that it stops */
    struct ckv_announcement said; /* its texts are not kept here */
    uint64_t confirmed_epoch;     /* the epoch into which it has repaired, as far as known */
    unsigned unequal;             /* announcements in a row whose digest should have been ours */
    uint64_t equal_ms;            /* when its digest was last ours */
};

struct ckv_members {
    struct ckv_member list[CKV_MEMBERS_MAX];
    size_t count;
    struct ckv_membership forgotten[CKV_FORGOTTEN_MAX];
    size_t forgotten_count;
};

/*  Reads who is a member from the store; SELF_ID is one always.  */
int ckv_members_open(struct ckv_members *self, struct ckv_kv *kv, uint64_t self_id,
                     const char *self_name);

struct ckv_member *ckv_members_find(struct ckv_members *self, uint64_t id);

/*  By name or by 16 hex digits.  */
struct ckv_member *ckv_members_named(struct ckv_members *self, struct ckv_octets text);

/*  Adds ID, which is not forgotten any more; NULL when there are too many.  */
struct ckv_member *ckv_members_add(struct ckv_members *self, uint64_t id);

/*  Removes ID, which was forgotten AT (ms since 1970), unless it was heard after that. Returns whether
    it is forgotten now.  */
bool ckv_members_forget(struct ckv_members *self, uint64_t id, uint64_t at);
/*  When ID was forgotten, ms since 1970; 0: it was not.  */
uint64_t ckv_members_forgotten_at(const struct ckv_members *self, uint64_t id);

/*  Writes everyone known and forgotten, as a payload of MEMBERS.  */
int ckv_members_write(const struct ckv_members *self, struct ckv_buffer *buffer);

/*  Takes note of an announcement, at NOW_MS (monotonic) or NOW (ms since 1970). One without a time to
    live says that the node stops, and makes it down at once. Returns 1, or 0 for a repeated one.  */
int ckv_members_hear(struct ckv_member *self, const struct ckv_message *message,
                     const struct ckv_announcement *said, uint64_t now_ms, uint64_t now);

bool ckv_member_is_live(const struct ckv_member *self, uint64_t now_ms);

/*  The sum of all ids: two nodes with one sum know the same members.  */
uint64_t ckv_members_sum(const struct ckv_members *self);

/*  Whether every member has confirmed EPOCH, and every one that is live knows the same members. Then
    nothing that anyone registered before EPOCH is unknown to a node that has confirmed it.  */
bool ckv_members_agree(const struct ckv_members *self, uint64_t self_id, uint64_t epoch,
                       uint64_t now_ms);

/*  The row of a member: AT (when it was heard, or forgotten), then its name; empty: forgotten. In a
    write transaction.  */
int ckv_members_put(struct ckv_kv_txn *txn, uint64_t id, uint64_t at, const char *name);

#endif
