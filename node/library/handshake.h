/*  handshake: a client's side of ZMTP and CURVE over a wire, from the greeting up to READY.

    core/curve.h has the steps; here they are sent, awaited and bounded: a server can make us hold the
    command that is due and no more, and no step lasts beyond the deadline.
*/
#ifndef CKV_HANDSHAKE_H
#define CKV_HANDSHAKE_H

#include "core/curve.h"
#include "node/library/wire.h"

/*  Shakes hands. METADATA go into INITIATE. On CKV_OK curve->session is connected, *MINOR is the minor
    version to talk to the server, and *THEIRS are the properties of its READY, which borrow from WIRE
    until the next read. Errors: CKV_ERROR_TIMEOUT, CKV_ERROR_MECHANISM; CKV_ERROR_HANDSHAKE when the
    server closed; CKV_ERROR_REFUSED when it said that it does not want this client; CKV_ERROR_ZMTP,
    CKV_ERROR_FRAME_SIZE and those of core/curve.h.  */
int ckv_handshake(struct ckv_wire *wire, struct ckv_curve_client *curve,
                  const struct ckv_curve_identity *identity, struct ckv_octets metadata,
                  uint64_t deadline, uint8_t *minor, struct ckv_octets *theirs);

#endif
