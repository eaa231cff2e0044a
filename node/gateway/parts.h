/*  parts: what gateway, door and client share; see node/gateway/gateway.h.

    A loop is one thread. Connections are at its door until their INITIATE is open, then they are its
    clients.
*/
#ifndef CKV_GATEWAY_PARTS_H
#define CKV_GATEWAY_PARTS_H

#include "node/gateway/gateway.h"
#include "node/gateway/outage.h"
#include "node/gateway/pending.h"
#include "node/gateway/share.h"
#include "node/gateway/shared.h"
#include "node/gateway/standing.h"
#include "node/relay/relay.h"
#include <pthread.h>

enum {
    CKV_TICK_MS = 100,
    CKV_COOKIE_KEYS = 2, /* the current one, and the last: each for a minute */
};

struct ckv_client;

/*  In order of arrival.  */
struct ckv_client_list {
    struct ckv_client *first, *last;
    uint32_t count;
};

/*  Counted by the loop's thread, read by any.  */
struct ckv_loop_counts {
    ckv_count accepted, handshakes, known, stock, told, curve_operations;
    ckv_count refused[CKV_VERDICTS];
    ckv_count began, ended; /* clients */
    ckv_count ended_for[CKV_VERDICTS];
    _Atomic uint32_t pending;
    struct ckv_relay_counts relayed;
    struct ckv_shared_counts shared;
};

struct ckv_loop {
    const struct ckv_gateway_options *options;
    struct ckv_admission *admission; /* of all loops */
    struct ckv_outage *outage;       /* of all loops */
    struct ckv_kv_txn *txn;
    bool has_resolved; /* since the last tick: the snapshot is fresh */
    uint8_t number;    /* of the loop */
    pthread_t thread;
    bool has_thread;

    uv_loop_t uv;
    uv_timer_t tick;
    uv_async_t stop;
    struct ckv_poller poller; /* of all sockets below */

    int listener;
    bool owns_listener;
    struct ckv_watch door; /* of the listener */
    bool is_listening, has_callers;
    uint8_t early_skipped,
        early_skip; /* how many HELLOs were not, and are not to be, looked for early */
    struct ckv_pending *pending;
    struct ckv_share share;
    uint8_t (*cookie_keys)[CKV_CURVE_COOKIE_KEY_SIZE]; /* of sodium_malloc */
    uint8_t cookie_key;                                /* the current one */
    uint64_t cookie_key_made;

    struct ckv_host backend;
    struct ckv_stream_room *room;
    struct ckv_client_list timed;    /* those with a deadline: they reach for the backend, or end */
    struct ckv_client_list queued;   /* those for whom the backend's own queue has no place yet */
    struct ckv_client_list joining;  /* those for whom it is not known yet what the backend is */
    struct ckv_client_list relaying; /* the others; first, who was asked for longest ago */
    struct ckv_shared *shared;       /* NULL: each client has its own connection to the backend */
    struct ckv_standing standing;
    uv_timer_t queue;    /* when the queued ones are tried again */
    uint64_t drained_by; /* 0: not draining */
    struct ckv_loop_counts counts;
};

/*  Now; uv_now is as old as the loop's round.  */
struct ckv_admission_time ckv_loop_time(void);

static inline void ckv_loop_count_verdict(struct ckv_loop *self, enum ckv_verdict verdict)
{
    ckv_count_add(&self->counts.refused[verdict], 1);
}

/* ---- the door ---- */

/*  Opens the door: listens with self->listener. Returns CKV_ERROR_MEMORY.  */
int ckv_door_open(struct ckv_loop *self);

/*  Closes it, and all that wait there.  */
void ckv_door_close(struct ckv_loop *self);

/*  Lets callers in, and gives stock HELLOs their turn, after each round of ARGUMENT, the loop. Returns
    whether some still wait.  */
bool ckv_door_round(void *argument);

/*  Turns away who has been there for too long; listens again, if descriptors had run out.  */
void ckv_door_tick(struct ckv_loop *self, uint64_t now);

/* ---- clients ---- */

/*  What the door has found out of a connection whose INITIATE is open.  */
struct ckv_client_start {
    struct ckv_watch *watch; /* of its socket */
    uint8_t minor;
    const struct ckv_curve_server *curve;
    const struct ckv_certificate *certificate;
    bool is_stock;              /* met with the default key upon a stock HELLO */
    struct ckv_octets metadata; /* of the INITIATE */
};

/*  To be called once, before the first client. Returns CKV_ERROR_MEMORY.  */
int ckv_clients_open(struct ckv_loop *loop);

/*  Makes a client, which takes over the socket, and begins to reach for the backend. Returns an error
    when it cannot be; then the socket stays the door's.  */
int ckv_client_begin(struct ckv_loop *loop, const struct ckv_client_start *start);

/*  Goes on with what waits for time.  */
void ckv_clients_tick(struct ckv_loop *loop, uint64_t now);

/*  Asks for the one that was asked for longest ago, and ends it in good order if it may not stay; if
    there is any.  */
void ckv_clients_ask_next(struct ckv_loop *loop);

/*  Whether there are any, or something of theirs is still on its way to the backend; ends all at
    once.  */
bool ckv_clients_any(const struct ckv_loop *loop);
void ckv_clients_end(struct ckv_loop *loop);

#endif
