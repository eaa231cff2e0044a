/*  relay: frames from a CURVE connection to a plain one, and back.

    Inside CURVE each MESSAGE holds one frame of ZMTP, with its flags (core/curve.h). So between two
    connections whose handshakes are done, a relay opens each MESSAGE and passes on the frame, and
    seals each frame that comes back. It knows nothing of socket types: parts of messages,
    subscriptions, PING and PONG all pass as they are, and heartbeats are from end to end.

    The one thing that is translated is a subscription between a peer that speaks ZMTP 3.0 and one
    that speaks 3.1 (RFC 37).

    Who made the handshakes, and in which role, does not matter here: the outer side may be the
    server of a gateway or the client of a tunnel.
*/
#ifndef CKV_RELAY_H
#define CKV_RELAY_H

#include "core/curve.h"
#include "node/relay/count.h"
#include "node/relay/stream.h"

struct ckv_relay_counts {
    ckv_count frames_in, frames_out; /* from the CURVE side, to it */
    ckv_count octets_in, octets_out; /* of their bodies */
};

struct ckv_relay {
    struct ckv_stream outer;                 /* CURVE */
    struct ckv_stream inner;                 /* plain */
    struct ckv_curve_session *session;       /* connected */
    uint8_t outer_minor, inner_minor;        /* each peer's version is 3 and this */
    bool outer_subscribes, inner_subscribes; /* a SUB or XSUB */
    struct ckv_relay_counts *counts;         /* of the loop */
};

/*  Whether a peer with the properties METADATA, of its READY or INITIATE, is a SUB or XSUB.  */
bool ckv_relay_subscribes(struct ckv_octets metadata);

/*  The largest frame of the outer side when the inner side's have at most MAX octets.  */
#define CKV_RELAY_OUTER_MAX(max) ((max) + CKV_CURVE_MESSAGE_OVERHEAD)

/*  The largest frame of the inner side's handshake: a READY whose metadata fit into one of CURVE.  */
enum { CKV_RELAY_INNER_HANDSHAKE_MAX = 6 + CKV_CURVE_METADATA_MAX };

/*  The handshakes are done, and frames of the inner side have at most MAX octets.  */
void ckv_relay_begin(struct ckv_relay *self, size_t max);

/*  Opens a frame of the outer stream where it lies, and counts it. *FLAGS, those of the outer frame,
    become those of the inner one; *OPENED is its body, CKV_CURVE_MESSAGE_OVERHEAD octets behind BODY.
    Errors: those of ckv_curve_message_open, CKV_ERROR_CURVE for a frame with MORE.  */
int ckv_relay_open(struct ckv_relay *self, uint8_t *flags, uint8_t *body, size_t size,
                   struct ckv_octets *opened);

/*  A frame of the outer stream: opens it and puts it to the inner one. For the owner's callback
    frame, with its parameters. Errors: those of ckv_relay_open, CKV_ERROR_MEMORY.  */
int ckv_relay_inwards(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size);

/*  A frame of the inner stream: seals it and puts it to the outer one.  */
int ckv_relay_outwards(struct ckv_relay *self, uint8_t flags, uint8_t *body, size_t size);

#endif
