/*  gateway: CURVE outside, plain ZMTP inside: any stock libzmq server behind it becomes one that knows
    the cluster's clients.

        client  --CURVE-->  gateway  --NULL-->  backend
                            one connection to the backend for each client; or, if so
                            wanted, one for all DEALER and REQ (node/gateway/shared.h)

    A connection goes through

        greeting    crosswise
        HELLO       admission (node/gateway/admission.h): is it one of ours? no curve operation yet
        WELCOME     with the server key pair of the client's certificate: its own, or the cluster's
                    default one; a stock HELLO gets the default one, in its turn (node/gateway/share.h)
        INITIATE    opened; the client key is compared with the certificate's
        backend     connected, and told who comes (node/gateway/introduction.h); or the one that is
                    shared, at once
        READY       of the backend, on to the client; an ERROR of it, too
        messages    relayed (node/relay/relay.h), until either side closes, or the client may not stay
                    (node/gateway/standing.h)

    up to INITIATE as a slot of a fixed table (node/gateway/pending.h), then as two streams (node/relay/stream.h). A
    backend that is not there is tried again until the handshake's time is over; then the client
    is closed without a word, and comes again by itself.

    Threads: N loops, each with its own listening socket (SO_REUSEPORT), table, cookie keys and
    transaction. They share the admission's memory of HELLOs. Bounds that are given for the whole
    gateway are divided among them.
*/
#ifndef CKV_GATEWAY_H
#define CKV_GATEWAY_H

#include "node/gateway/admission.h"
#include "node/library/host.h"

enum { CKV_GATEWAY_LOOPS_MAX = 64 };

struct ckv_gateway_options {
    struct ckv_endpoint listen;
    struct ckv_host backend; /* read, not used yet; each loop has one of its own */
    struct ckv_kv *kv;       /* outlives the gateway, as does the key */
    const struct ckv_cluster_key *cluster_key;
    struct ckv_admission_options admission;
    unsigned loops;        /* 1 to CKV_GATEWAY_LOOPS_MAX */
    unsigned stock_share;  /* percent */
    uint32_t max_pending;  /* handshakes, in all */
    uint32_t per_address;  /* handshakes from one address that have proved nothing */
    uint64_t handshake_ms; /* for each of its steps; up to a minute: cookie keys live no longer */
    size_t max_message;    /* octets of a frame; of a message of those who share a connection */
    bool shares_backend;   /* DEALER and REQ clients of a loop share a connection to the backend */
};

/*  Sets all but endpoints, store and key to what a command line without options means. Cores of this
    machine, descriptors of this process.  */
void ckv_gateway_defaults(struct ckv_gateway_options *options);

struct ckv_gateway;

/*  Listens and starts the threads; raises this process's soft limit of descriptors to the hard one.
    OPTIONS is copied. Errors: those of ckv_endpoint_listen and
    ckv_kv_begin, CKV_ERROR_MEMORY.  */
int ckv_gateway_start(struct ckv_gateway **self_p, const struct ckv_gateway_options *options);

/*  Drains, then stops: accepts no more, lets go of handshakes, and of each client once nothing has
    moved for half a second, all within five. *SELF_P becomes NULL; a NULL is allowed.  */
void ckv_gateway_stop(struct ckv_gateway **self_p);

/*  Where it listens, with the port that was found.  */
const struct ckv_endpoint *ckv_gateway_endpoint(const struct ckv_gateway *self);

/*  Totals over all loops since the start.  */
struct ckv_gateway_totals {
    uint64_t accepted;         /* connections */
    uint64_t pending, clients; /* now */
    uint64_t handshakes;       /* that ended in READY */
    uint64_t known, stock;     /* WELCOMEs upon HELLOs with a MAC, and without */
    uint64_t told;             /* ERROR 400 */
    uint64_t curve_operations;
    uint64_t refused[CKV_VERDICTS]; /* by verdict */
    uint64_t ended[CKV_VERDICTS];   /* that were in and might not stay, by verdict */
    uint64_t frames_in, frames_out, octets_in, octets_out;
    bool shares_backend;
    uint64_t shared;  /* clients that share a connection to the backend, now */
    uint64_t dropped; /* messages of the backend for clients that had gone or did not read */
};

/*  Any thread.  */
void ckv_gateway_count(struct ckv_gateway *self, struct ckv_gateway_totals *totals);

#endif
