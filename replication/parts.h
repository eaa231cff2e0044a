/*  parts: the replicator from within: what its five moments share. Not for others.  */
#ifndef CKV_REPLICATION_PARTS_H
#define CKV_REPLICATION_PARTS_H

#include "kv/clock.h"
#include "kv/digests.h"
#include "kv/log.h"
#include "replication/position.h"
#include "replication/replicator.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    ANNOUNCE_MS = 500,
    TTL_MS = 3000,
    SILENCE_MS = 3000,   /* of Redis, until it counts as away */
    APPEND_ENTRIES = 64, /* in one call of the script */
    APPEND_OCTETS = 262144,
    APPENDS_MAX = 16,            /* calls under way */
    FILL_ENTRIES = 512,          /* read from the log at a time */
    HOLD_MS = 5,                 /* entries wait for company, if nobody waits for them */
    REPAIRING_MAX = 2 * 1048576, /* octets of a repair at the writer; what a commit dirties is much
                                    more, since records in the order of their hashes touch every
                                    page of the indexes */
    KEPT_MAX = 1024,             /* arrivals of entries that could not be stored */
    APPLYING_MAX = 16 * 1048576, /* octets at the writer; beyond that, Redis waits */
};

/*  What a command that was sent was for; replies come in the same order.  */
enum pending_kind { PENDING_APPEND, PENDING_RESERVE, PENDING_FILL, PENDING_PROBE, PENDING_OTHER };

struct pending {
    enum pending_kind kind;
    struct ckv_reservation *reservation;
    unsigned count; /* APPEND: entries */
    uint64_t numbers[APPEND_ENTRIES];
    struct pending *next;
};

/*  Entries, or records of a repair, on their way through the writer.  */
struct entries_item {
    enum ckv_message_type type;
    uint64_t own_number; /* outbox row of this node that it answers, or 0 */
    uint64_t arrival;    /* what makes it readable before it is stored, or 0 */
    size_t offset, size; /* in octets */
};

struct entries {
    struct ckv_write write; /* first, so that the writer's pointer is ours */
    struct ckv_replicator *replicator;
    bool repairs;      /* records of a peer; the position stays */
    bool notify;       /* say APPLIED when it is done */
    bool hidden;       /* has what nobody can resolve until it is stored */
    uint64_t since_ms; /* when it began to gather */
    struct ckv_position before, after;
    struct ckv_buffer octets;
    struct entries_item *items;
    size_t count, capacity;
    uint64_t changed; /* records that were news */
    struct entries *next;
};

/*  What other threads hand over.  */
struct mailbox {
    struct ckv_delivery *deliveries, **deliveries_end;
    struct ckv_reservation *reservations, **reservations_end;
    struct entries *written, **written_end;
    struct release {
        struct ckv_storage_key storage_key;
        uint64_t created;
        struct release *next;
    } * releases;
    bool announced; /* the thread was woken for what is here */
};

struct repair; /* repair.c's */

struct ckv_replicator {
    struct ckv_replicator_options options;
    struct ckv_channel_names names;
    uint64_t instance, started, numbers; /* numbers: of messages */
    uint64_t twin;                       /* another instance under our node id */
    pthread_t thread;

    pthread_mutex_t lock; /* over mailbox and status */
    struct mailbox mailbox;
    struct ckv_replication_status status;
    struct ckv_url *newer; /* has a new password; or NULL */

    /*  All below is the thread's own.  */
    struct ckv_kv_txn *txn; /* for reading */
    struct ckv_channel channel;
    char reason[CKV_REASON_MAX];
    struct ckv_members members;
    struct ckv_replication_counters counters;
    uint64_t announced_ms, probed_ms, answered_ms, heard_self_ms;
    struct pending *first_pending, *last_pending;

    /*  register  */
    uint64_t sent;                  /* outbox rows up to this are sent on this connection */
    uint64_t appended, appended_at; /* last row in the log, and its sequence */
    struct ckv_delivery *waiting, **waiting_end; /* for the log, in the order of their rows */
    struct ckv_delivery *spreading;              /* for all nodes */
    uint64_t resend_ms;

    /*  apply  */
    struct ckv_position position; /* up to what was handed to the writer */
    struct ckv_position applied;  /* up to what is committed */
    uint64_t head;                /* of the log, as last heard */
    uint64_t fill_head;           /* head when the log was asked */
    uint64_t passed_over;         /* the highest sequence that the channel brought too early */
    uint64_t probed_head;         /* what the last probe said */
    uint64_t fill_at_ms;          /* not before, after a failed write */
    struct ckv_log_pace unstored; /* what that was */
    struct entries *gathered;
    uint64_t kept[KEPT_MAX]; /* what makes entries readable that could not be stored */
    size_t kept_count;
    size_t applying;              /* octets at the writer */
    struct ckv_announcement said; /* last */

    /*  repair  */
    struct repair *repair;
    struct ckv_digest_table digests; /* as last read */
    uint64_t repair_not_before_ms, lonely_since_ms;
    uint64_t leaving;   /* an epoch that is to be left */
    uint64_t nudged_by; /* a node that has more than it may push */

    /*  The small ones together, for want of holes.  */
    enum ckv_replication_state state;
    unsigned appends; /* calls of the script under way */
    unsigned batches; /* at the writer */
    int wake;         /* eventfd */
    bool broken;      /* the connection is to be given up */
    bool rejoins;     /* so that another epoch can be joined, while Redis is well */
    bool instance_set;
    bool members_differ; /* a peer knows others */
    bool filling, fill_asked;
    bool falls_behind; /* a write failed, and what it was about is not all stored yet */
    bool alone; /* it has waited for others in vain: a new node may begin an epoch by itself */
    atomic_bool stop, live; /* other threads read these */
    atomic_int refusal;     /* and this: CKV_OK, or why the cluster does not take this node */
};

/*  replicator.c  */
void ckv_parts_posted(struct ckv_replicator *self); /* holding the lock, which it gives back */
void ckv_parts_break(struct ckv_replicator *self, const char *reason);
void ckv_parts_rejoin(struct ckv_replicator *self, const char *reason);
int ckv_parts_command(struct ckv_replicator *self, struct pending *pending, int argc,
                      const char **argv, const size_t *sizes);
struct pending *ckv_parts_pending(enum pending_kind kind);
int ckv_parts_publish(struct ckv_replicator *self, const char *channel, struct ckv_octets message);
struct ckv_message ckv_parts_message(struct ckv_replicator *self, enum ckv_message_type type);
void ckv_parts_publish_status(struct ckv_replicator *self);
void ckv_parts_begin_anew(struct ckv_replicator *self, uint64_t at);
void ckv_parts_announce(struct ckv_replicator *self, bool asks);
bool ckv_parts_refresh(struct ckv_replicator *self); /* the read transaction sees the newest */

/*  register.c  */
void ckv_register_take(struct ckv_replicator *self); /* the mailbox */
void ckv_register_send(struct ckv_replicator *self); /* the outbox */
void ckv_register_logged(struct ckv_replicator *self, struct pending *pending,
                         const redisReply *reply);
void ckv_register_reserved(struct ckv_replicator *self, struct pending *pending,
                           const redisReply *reply);
void ckv_register_spread(struct ckv_replicator *self); /* who waits for all nodes */
void ckv_register_expire(struct ckv_replicator *self, uint64_t now_ms);
bool ckv_register_chosen_keys(struct ckv_replicator *self, uint64_t now_ms);

/*  apply.c  */
void ckv_apply_entry(struct ckv_replicator *self, struct ckv_octets published);
void ckv_apply_filled(struct ckv_replicator *self, const redisReply *reply);
void ckv_apply_fill(struct ckv_replicator *self);
void ckv_apply_submit(struct ckv_replicator *self);
void ckv_apply_submit_due(struct ckv_replicator *self);
void ckv_apply_written(struct ckv_replicator *self, struct entries *batch);
void ckv_apply_probe(struct ckv_replicator *self, const redisReply *reply);
void ckv_apply_jump(struct ckv_replicator *self, uint64_t sequence);
struct entries *ckv_entries_new(struct ckv_replicator *self);
int ckv_entries_add(struct entries *self, enum ckv_message_type type, uint64_t own_number,
                    struct ckv_octets octets);
void ckv_entries_free(struct entries *self);
void ckv_entries_submit(struct ckv_replicator *self, struct entries *batch);

/*  connect.c  */
int ckv_connect(struct ckv_replicator *self);

/*  repair.c, answer.c  */
void ckv_repair_tick(struct ckv_replicator *self, uint64_t now_ms);
void ckv_repair_message(struct ckv_replicator *self, const struct ckv_message *message);
void ckv_repair_written(struct ckv_replicator *self, struct entries *batch);
void ckv_repair_drop(struct ckv_replicator *self);
void ckv_answer_digests(struct ckv_replicator *self, const struct ckv_message *message);
void ckv_answer_ranges(struct ckv_replicator *self, const struct ckv_message *message);

/*  away.c  */
void ckv_away(struct ckv_replicator *self);
void ckv_away_wait(struct ckv_replicator *self, unsigned failures);

#endif
