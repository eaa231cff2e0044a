/*  tunnel: the client's side of a gateway, for a program in any language and any socket type.

        program  --NULL-->  tunnel  --CURVE-->  server
                            one connection to the server for each of the program's

    The program's stock socket connects to the tunnel, without security; the tunnel shakes hands with
    the server as the client of a certificate file, with a modified HELLO if that has a storage key.
    What the program says of itself in READY (Socket-Type, Identity, X-...) goes to the server in
    INITIATE, and what the server says in READY comes back to the program. Then frames are relayed
    (node/relay/relay.h): the tunnel knows nothing of socket types, and each end sees the other's.

    When a connection ends on one side, it ends on the other; it is the program's socket that connects
    again. A server that is not there, or ends handshakes, is tried less and less often, up to each 5
    s; when all addresses of its host have failed, that is looked up again. One that refuses the client (ERROR) will not change its mind by being asked: the program is
    told, and the tunnel ends.

    Whoever can connect to the tunnel is the client. A unix socket gets mode 0600.
*/
#ifndef CKV_TUNNEL_H
#define CKV_TUNNEL_H

#include "core/curve.h"
#include "node/library/host.h"

struct ckv_tunnel_options {
    struct ckv_endpoint listen;
    struct ckv_host server;
    struct ckv_curve_identity identity; /* borrows from what outlives the run */
    uint64_t handshake_ms;              /* for both sides' handshakes together */
    size_t max_message;                 /* octets of a frame */
};

/*  Listens, and runs until SIGTERM or SIGINT, which let what is in flight leave: CKV_OK; or until the
    server refuses the client: CKV_ERROR_REFUSED. Errors besides: those of ckv_endpoint_listen,
    CKV_ERROR_MEMORY. OPTIONS->listen gets the port that was found. Logs.  */
int ckv_tunnel_run(struct ckv_tunnel_options *options);

#endif
