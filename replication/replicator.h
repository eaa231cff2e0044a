/*  replicator: brings every change of this node to all nodes, and theirs here.

    Redis is the meeting point, not the database: the durable copies are the nodes' own stores, and
    the log in Redis is bounded and may be lost at any moment. Five moments, each a file:

        register.c   a change of this node, in the store and its outbox already, goes to the log
        apply.c      entries of the log are merged here, in order, together with the new position
        connect.c    subscribe, join the epoch, read what was missed from the log
        repair.c     compare digests with a peer, and exchange just what differs
        away.c       Redis is not there: answer whoever waits, and try again

    One thread does all of it and never waits for the disk: it hands writes to the writer. What may
    be called from other threads is below; callbacks run on the replicator's thread and must be
    short. While Redis is away they run on the caller's thread, at once.
*/
#ifndef CKV_REPLICATOR_H
#define CKV_REPLICATOR_H

#include "core/cluster_key.h"
#include "core/storage_key.h"
#include "kv/digests.h"
#include "kv/writer.h"
#include "replication/channel.h"
#include "replication/members.h"
#include "replication/outbox.h"

struct ckv_replicator;

struct ckv_replicator_options {
    struct ckv_url *url; /* outlives the replicator, as all that follows */
    const struct ckv_cluster_key *cluster_key;
    struct ckv_kv *kv;
    struct ckv_writer *writer;
    struct ckv_outbox *outbox; /* the writer's thread's */
    const char *cluster, *name, *endpoint;
    uint64_t node_id;
    uint64_t log_length; /* entries that the log keeps at least */
    /*  Takes note of a foreign revision, in the writer's transaction.  */
    int (*witness)(void *argument, struct ckv_kv_txn *txn, uint64_t revision);
    void *witness_argument;
};

int ckv_replicator_new(struct ckv_replicator **self_p,
                       const struct ckv_replicator_options *options);
void ckv_replicator_destroy(struct ckv_replicator **self_p);

/*  How far a change is to have come before its caller is answered.  */
enum ckv_ack {
    CKV_ACK_LOCAL = 1, /* durable here */
    CKV_ACK_LOGGED,    /* in the log, too */
    CKV_ACK_ALL,       /* every live node has applied it */
};

enum { CKV_LAGGARDS_MAX = 16 };

/*  A change that was committed with its outbox row, and whose caller waits. Belongs to the replicator
    until DONE is called, exactly once, with REACHED set; LAGGARDS are the live nodes that had not
    applied it when the time was up.  */
struct ckv_delivery {
    void (*done)(struct ckv_delivery *self);
    uint64_t number;      /* of the outbox row */
    enum ckv_ack wanted;  /* logged or all */
    uint64_t deadline_ms; /* by the monotonic clock */
    enum ckv_ack reached;
    char laggards[CKV_LAGGARDS_MAX][CKV_NODE_NAME_MAX + 1];
    unsigned laggard_count;
    uint64_t sequence;
    struct ckv_delivery *next;
};

void ckv_replicator_deliver(struct ckv_replicator *self, struct ckv_delivery *delivery);

/*  There are new rows in the outbox that nobody waits for.  */
void ckv_replicator_wake(struct ckv_replicator *self);

/*  Takes a chosen storage key in the whole cluster, before its record is made; created is the time
    that the record will have. DONE is called with CKV_OK, CKV_ERROR_TAKEN, or
    CKV_ERROR_UNAVAILABLE. What was taken and not used is to be released.  */
struct ckv_reservation {
    void (*done)(struct ckv_reservation *self, int rc);
    struct ckv_storage_key storage_key;
    uint64_t created;
    struct ckv_reservation *next;
};

void ckv_replicator_reserve(struct ckv_replicator *self, struct ckv_reservation *reservation);
void ckv_replicator_release(struct ckv_replicator *self, const struct ckv_reservation *reservation);

/*  Finds the member called TEXT, or of this id, for forgetting it. CKV_ERROR_NO_NODE,
    CKV_ERROR_NODE_LIVE, also for this node itself.  */
int ckv_replicator_find(struct ckv_replicator *self, struct ckv_octets text, uint64_t *id);

/*  CKV_OK, or why nothing may be changed here until the node is started again: CKV_ERROR_NODE_ID,
    another node with this node's id was heard; CKV_ERROR_CLUSTER_KEY, the cluster that it is to join has
    another key, and its changes would rest here for ever.  */
int ckv_replicator_refusal(struct ckv_replicator *self);

enum ckv_replication_state {
    CKV_REPLICATION_AWAY,
    CKV_REPLICATION_CONNECTING,
    CKV_REPLICATION_CATCHING_UP,
    CKV_REPLICATION_LIVE,
    CKV_REPLICATION_REFUSED,
};

struct ckv_replication_counters {
    uint64_t appended, applied, dropped, forged, gaps, trimmed, epochs, reconnects, repairs;
    uint64_t repair_records_received, repair_octets_received;
    uint64_t repair_records_sent, repair_octets_sent;
};

struct ckv_repair_progress {
    bool running;
    char peer[CKV_NODE_NAME_MAX + 1];
    unsigned done, of; /* ranges */
    uint64_t records;
};

/*  Takes URL and uses its password from the next connection on; the rest of it counts for nothing. Any
    thread.  */
void ckv_replicator_set_password(struct ckv_replicator *self, struct ckv_url *url);

/*  How it is; a copy, a few tenths of a second old at most.  */
struct ckv_replication_status {
    enum ckv_replication_state state;
    char reason[CKV_REASON_MAX];
    const char *redis;
    uint64_t epoch, sequence, head;
    bool complete, chosen_keys;
    struct ckv_digest digest;
    struct ckv_replication_counters counters;
    struct ckv_repair_progress repair;
    uint64_t now_ms; /* to which heard_ms of the members relates */
    struct ckv_members members;
};

/*  Fills STATUS, which is large: not for the stack.  */
void ckv_replicator_status(struct ckv_replicator *self, struct ckv_replication_status *status);

#endif
