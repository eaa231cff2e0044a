/*  curvekv: the library. Two things, for two sides: a store resolves the certificates of a node from any
    process on its machine; a connection is a client's, to a server that speaks CURVE.

    A store is a memory map that the node writes and any number of processes read: a resolve is a
    lookup in that map and gives a view of the record where it lies. It takes no lock, allocates
    nothing and makes no system call, and it sees every commit of the node at once. The node need
    not run; what its store held last is resolved.

        struct ckv_store *store;
        struct ckv_certificate certificate;
        if (ckv_store_open(&store, "/var/lib/curvekv") == CKV_OK) {
            if (ckv_store_resolve(store, "42", 2, &certificate) == CKV_OK)
                ...
            ckv_store_close(&store);
        }

    Functions return CKV_OK or a negative enum ckv_error (core/error.h); ckv_strerror gives the
    sentence. A view is struct ckv_certificate (core/certificate.h); its metadata are read with
    ckv_properties_next or ckv_properties_get (core/properties.h).

    A connection takes a certificate file, shakes hands, with the storage key in the HELLO when the
    file has one, and then sends and receives messages as a ZeroMQ socket of one connection:

        struct ckv_connection_options options = {
            .endpoint = "tcp://server.example.org:5555",
            .certificate_file = "acme42.cert",
            .socket_type = CKV_SOCKET_REQ,
        };
        struct ckv_connection *connection;
        if (ckv_connection_open(&connection, &options) == CKV_OK) {
            struct ckv_octets request = ckv_octets_text("hello");
            const struct ckv_octets *parts;
            size_t count;
            if (ckv_connection_send(connection, &request, 1, 5000) == CKV_OK &&
                ckv_connection_receive(connection, &parts, &count, 5000) == CKV_OK)
                ...
            ckv_connection_close(&connection);
        }

    Threads: a store or a connection belongs to one thread at a time. Open one for each; stores share
    the map.
*/
#ifndef CURVEKV_H
#define CURVEKV_H

#include "core/certificate.h"
#include "core/error.h"
#include "core/octets.h"
#include "core/properties.h"
#include "core/storage_key.h"
#include "core/z85.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a node's store ---- */

struct ckv_store;

/*  Opens the store of the node whose data directory is DIRECTORY, for reading. Further opens of one
    directory in one process share its map. Errors: CKV_ERROR_NO_STORE, CKV_ERROR_PERMISSION
    (reading needs to write the lock file beside the store), CKV_ERROR_STORE, CKV_ERROR_READERS,
    CKV_ERROR_MEMORY, CKV_ERROR_IO. After a fork, open anew in the child.  */
CKV_EXPORT int ckv_store_open(struct ckv_store **self_p, const char *directory);

/*  Closes, and ends all views. *SELF_P becomes NULL; a NULL *SELF_P is allowed.  */
CKV_EXPORT void ckv_store_close(struct ckv_store **self_p);

/*  Ends the last view and lets go of the store as it was then. Call it before a long pause: what a view
    may still refer to, the node cannot use again, and its file grows instead.  */
CKV_EXPORT void ckv_store_release(struct ckv_store *self);

/*  Resolves the SIZE octets at STORAGE_KEY. The view lives until the next call with this store.

    Returns CKV_OK when there is a certificate. Whether it may be used now is another question:
    ckv_certificate_valid_at. Errors: CKV_ERROR_NOT_FOUND (also for a SIZE that no storage key has),
    CKV_ERROR_DAMAGED, CKV_ERROR_STORE, CKV_ERROR_IO.  */
CKV_EXPORT int ckv_store_resolve(struct ckv_store *self, const void *storage_key, size_t size,
                                 struct ckv_certificate *certificate);

/*  The same by client public key. When several certificates have it: the active one.  */
CKV_EXPORT int ckv_store_resolve_client(struct ckv_store *self, const uint8_t client_public_key[32],
                                        struct ckv_certificate *certificate);

/* ---- a client's connection ---- */

struct ckv_connection;

/*  What it is to the server. Types that need more than one peer to make sense (ROUTER, PUB) are not
    here, nor is REP: take a DEALER, which sends and receives envelopes as they are.  */
enum ckv_socket_type {
    CKV_SOCKET_DEALER = 1, /* to a ROUTER, DEALER or REP; sends and receives as it likes */
    CKV_SOCKET_REQ,        /* to a REP or ROUTER; by turns, and knows nothing of the empty part that
                              goes in front of a request and a reply: it is added and taken off */
    CKV_SOCKET_SUB,        /* to a PUB or XPUB; receives what it subscribed */
    CKV_SOCKET_PUSH,       /* to a PULL; sends */
    CKV_SOCKET_PULL,       /* to a PUSH; receives */
    CKV_SOCKET_PAIR,       /* to a PAIR */
};

/*  How to connect; borrowed during the open. What is zero is left to us.  */
struct ckv_connection_options {
    const char *endpoint;         /* "tcp://host:port" or "ipc://path" */
    const char *certificate_file; /* of `curvekv register`, CZMQ or pyzmq, with the secret key */
    const char *passphrase;       /* of a protected file */
    enum ckv_socket_type socket_type;
    const uint8_t *server_public_key; /* 32 octets; instead of the file's */
    struct ckv_octets routing_id;     /* 0 to 255 octets; what a ROUTER knows a DEALER or REQ by */
    size_t message_max;               /* octets of a message from the server; 0: 64 MiB */
    int timeout_ms;                   /* of connecting and shaking hands; 0: 10 s; negative: none */
};

/*  Connects and shakes hands. Blocks as long as timeout_ms says, and as long as the name service takes
    to find a host's addresses. The keys are forgotten when it returns.

    The HELLO is a modified one (docs/rfc-storage-key.md) when the file has a storage key and a hello
    key, else a stock one; servers of libzmq take either.

    A connection is not made again when it ends, nor tried again here: on an error, decide, and open
    anew. CKV_ERROR_REFUSED will not change by itself: the server knows this client and does not want
    it, or does not know it; say so to a person. CKV_ERROR_TIMEOUT, CKV_ERROR_NO_SERVER,
    CKV_ERROR_CLOSED and CKV_ERROR_HANDSHAKE may pass: try again after a while, and after a longer
    one. Further errors: CKV_ERROR_ARGUMENT, CKV_ERROR_ENDPOINT, CKV_ERROR_NO_ADDRESS; of the file,
    CKV_ERROR_NO_FILE, CKV_ERROR_PERMISSION, CKV_ERROR_CERTFILE and its like, CKV_ERROR_PROTECTED,
    CKV_ERROR_PASSPHRASE, CKV_ERROR_NO_SECRET_KEY, CKV_ERROR_NO_SERVER_KEY; of what the server says,
    CKV_ERROR_MECHANISM, CKV_ERROR_PEER_TYPE, CKV_ERROR_ZMTP, CKV_ERROR_FRAME_SIZE,
    CKV_ERROR_CURVE and its like; CKV_ERROR_MEMORY, CKV_ERROR_IO.  */
CKV_EXPORT int ckv_connection_open(struct ckv_connection **self_p,
                                   const struct ckv_connection_options *options);

/*  Closes, and ends all views. What was sent and has not left is dropped: ckv_connection_flush before.
    *SELF_P becomes NULL; a NULL *SELF_P is allowed.  */
CKV_EXPORT void ckv_connection_close(struct ckv_connection **self_p);

/*  Each call below serves heartbeats and sends what waits, and blocks for at most TIMEOUT_MS: 0 not at
    all, negative for ever; a signal does not end it. An error other than CKV_ERROR_TIMEOUT,
    CKV_ERROR_ARGUMENT and CKV_ERROR_TURN ends the connection, and every later call returns it again:
    CKV_ERROR_CLOSED (a receive gives first what had come before), CKV_ERROR_MEMORY,
    CKV_ERROR_REFUSED, or those of bytes that break the protocol.
    A server that asks for signs of life (ZMQ_HEARTBEAT_IVL) gives up a client that makes no call for
    longer than it waits.  */

/*  Sends COUNT parts, at least 1, as one message. Blocks while what was sent before has not left:
    CKV_ERROR_TIMEOUT means that nothing of this message was taken. CKV_OK means that all of it was;
    what the server is too slow to take within the time leaves with the next calls.  */
CKV_EXPORT int ckv_connection_send(struct ckv_connection *self, const struct ckv_octets *parts,
                                   size_t count, int timeout_ms);

/*  Receives a message, all of its *COUNT parts or nothing. *PARTS and what they refer to live until the
    next receive; they may be sent. CKV_ERROR_FRAME_SIZE: the message is over message_max, or has more
    than 65536 parts.  */
CKV_EXPORT int ckv_connection_receive(struct ckv_connection *self, const struct ckv_octets **parts,
                                      size_t *count, int timeout_ms);

/*  Begins or ends to receive messages whose first part begins with TOPIC; an empty one is in front of
    all. Takes effect when the server has it. Time-outs as in ckv_connection_send.  */
CKV_EXPORT int ckv_connection_subscribe(struct ckv_connection *self, struct ckv_octets topic,
                                        int timeout_ms);
CKV_EXPORT int ckv_connection_unsubscribe(struct ckv_connection *self, struct ckv_octets topic,
                                          int timeout_ms);

/*  Blocks until all that was sent is with the operating system.  */
CKV_EXPORT int ckv_connection_flush(struct ckv_connection *self, int timeout_ms);

/*  For a caller's own poll loop: what to wait for, POLLIN and perhaps POLLOUT, on which descriptor. It
    tells of octets, not of messages: one may be here already, or only a piece of one have come. So
    before each wait call ckv_connection_receive with a TIMEOUT_MS of 0 until it returns
    CKV_ERROR_TIMEOUT (one that does not receive: ckv_connection_flush), and ask for the events then.
    The descriptor stays the connection's.  */
CKV_EXPORT int ckv_connection_fd(const struct ckv_connection *self);
CKV_EXPORT short ckv_connection_events(const struct ckv_connection *self);

#ifdef __cplusplus
}
#endif
#endif
