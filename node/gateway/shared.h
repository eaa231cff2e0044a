/*  shared: one connection to the backend for all clients of a loop that are DEALER or REQ.

        client --CURVE--> gateway ==[routing id][parts as the client sent them]==> backend
        client --CURVE-->         <==[routing id][parts for that client]==========

    To the backend the gateway is a DEALER. A ROUTER behind it finds the client's routing id
    (node/gateway/routing_id.h) as the first part of a message, behind its own one for this connection, and
    sends both back in front of its answer. A REP needs to know nothing: a routing id is a part of the
    envelope before the empty part. A DEALER sends its answers to its connections in turn, so it can
    be served by one loop only, and no client has a connection of its own to it.

    What that saves is a connection for each client: most of what a handshake costs besides its
    cryptography. What it costs: zmq_msg_gets tells the backend nothing of a client, the routing id does;
    and the backend's queues (ZMQ_SNDHWM) are for all clients of a loop together.

    Inwards, a message is put when its last part is there (node/gateway/assembly.h). When the backend does
    not read, members that have sent something more wait until it does: nothing is lost, and no more is
    held than one read of one of them.

    Outwards, nobody waits: a message for a client that has gone, or that never was, is dropped, and so
    is one for a client that has more than CKV_SHARED_WAITING_MAX octets waiting, as a ROUTER drops
    what is over its high-water mark; whole ones, and they are counted.

    Heartbeats (RFC 37) do not pass: each side's PING is answered here, and who is silent for longer than
    the TTL that it has asked for is given up.
*/
#ifndef CKV_SHARED_H
#define CKV_SHARED_H

#include "node/gateway/assembly.h"
#include "node/gateway/outage.h"
#include "node/gateway/routing_id.h"
#include "node/library/host.h"
#include "node/relay/relay.h"

enum { CKV_SHARED_WAITING_MAX = 1 << 20 };

struct ckv_shared;
struct ckv_member;

struct ckv_shared_counts {
    ckv_count joined, left;
    ckv_count dropped; /* messages from the backend */
};

/*  What happens, told to the owner; ARGUMENT is its own.  */
struct ckv_shared_events {
    /*  The backend has said what it is: ckv_shared_answer has an answer now.  */
    void (*told)(void *argument);
    /*  The backend turns its clients away: DATA are those of its ERROR command.  */
    void (*refused)(void *argument, struct ckv_octets data);
    /*  The connection was up and is not any more: all members are to leave, within the call.  */
    void (*down)(void *argument);
    /*  The client of a member, whose argument this is, has been silent for too long: it is to
        leave.  */
    void (*silent)(void *argument);
};

struct ckv_shared_options {
    struct ckv_host *backend; /* of the loop; with OUTAGE needed by ckv_shared_want alone */
    uv_loop_t *uv;
    struct ckv_poller *poller;
    struct ckv_stream_room *room;
    uint64_t reach_ms;  /* until another address is tried */
    size_t max_message; /* octets of a client's message, of a part from the backend */
    uint8_t loop;       /* its number */
    bool is_only_loop;
    const struct ckv_shared_events *events;
    void *argument;
    struct ckv_shared_counts *counts;
    struct ckv_outage *outage;
};

/*  Copies OPTIONS; what they point to outlives it. Connects when it is wanted. Returns
    CKV_ERROR_MEMORY.  */
int ckv_shared_new(struct ckv_shared **self_p, const struct ckv_shared_options *options);

/*  Once it has closed, its callbacks are done, and all members have left. A NULL is allowed.  */
void ckv_shared_destroy(struct ckv_shared **self_p);

/*  What becomes of a client.  */
enum ckv_shared_answer {
    CKV_SHARED_UNKNOWN, /* not connected: see ckv_shared_want */
    CKV_SHARED_TAKES,
    CKV_SHARED_OWN,     /* a connection of its own: it is not this one's kind of backend */
    CKV_SHARED_NEITHER, /* a DEALER behind several loops, or behind a REQ */
};

/*  Of a REQ, or of a DEALER.  */
enum ckv_shared_answer ckv_shared_answer(const struct ckv_shared *self, bool is_req);

/*  Somebody waits for it: connects, unless it does already. What does not work now may later; so call it
    again.  */
void ckv_shared_want(struct ckv_shared *self);

/*  Takes over FD instead of connecting, which is what ckv_shared_want does. Returns CKV_ERROR_MEMORY;
    then FD stays the caller's.  */
int ckv_shared_open(struct ckv_shared *self, int fd, bool connecting);

/*  The properties in the backend's READY; none while it is not connected.  */
struct ckv_octets ckv_shared_metadata(const struct ckv_shared *self);

/*  Whether a backend with these properties deals what it sends to its connections in turn. Beside the
    shared one there must be no other then: it would get what is for somebody else.  */
bool ckv_shared_deals(struct ckv_octets metadata);

/*  Goes on with what waits for time.  */
void ckv_shared_tick(struct ckv_shared *self, uint64_t now);

/*  Ends in good order, when no member is left: the backend may read what was sent. Or at once.  */
void ckv_shared_finish(struct ckv_shared *self);
void ckv_shared_close(struct ckv_shared *self);

/*  Until it has closed.  */
bool ckv_shared_is_open(const struct ckv_shared *self);

/* ---- members ---- */

/*  Makes a member, whose routing id names STORAGE_KEY. RELAY has the client's outer stream and session;
    it and ARGUMENT outlive the member. Returns CKV_ERROR_MEMORY.  */
int ckv_member_new(struct ckv_member **self_p, struct ckv_shared *shared, struct ckv_relay *relay,
                   struct ckv_octets storage_key, void *argument);

/*  It leaves: what has come of an unfinished message is gone. *SELF_P becomes NULL; a NULL is
    allowed.  */
void ckv_member_leave(struct ckv_member **self_p);

/*  Whether a message has gone to its client since the last call, or is waiting to go to the backend.  */
bool ckv_member_has_moved(struct ckv_member *self);

/*  Its stream's callback wanted: whether its client may be read from now. If not, it will be later.  */
bool ckv_member_wanted(struct ckv_member *self);

/*  A frame of its client, opened and put to the backend with the rest of its message. Errors: those of
    ckv_relay_open, CKV_ERROR_FRAME_SIZE for a message over the bound, CKV_ERROR_ZMTP for a command that
    is none, CKV_ERROR_NOT_REACHABLE, CKV_ERROR_MEMORY.  */
int ckv_member_inwards(struct ckv_member *self, uint8_t flags, uint8_t *body, size_t size);

#endif
