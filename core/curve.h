/*  curve: the CURVE mechanism of ZMTP (RFC 25), which is CurveZMQ (RFC 26): server, client, messages.

    No I/O: commands in, commands out. A command is the body of a ZMTP frame (core/zmtp.h), its name
    included; libzmq sends those of the handshake in command frames and MESSAGE in frames without
    flags, and so should the caller. Each call is one step; between two steps the caller decides:

        client                                    server
        ckv_curve_client_start      -- HELLO -->  ckv_hello_parse     may it come in?   no curve
                                                                      which server key? operation yet
        ckv_curve_client_initiate   <- WELCOME -  ckv_curve_server_welcome
                                    - INITIATE >  ckv_curve_server_initiate
                                                  is C the certificate's client public key?
        ckv_curve_client_ready      <-- READY --  ckv_curve_server_ready
                                    or <- ERROR   ckv_curve_server_error
        ckv_curve_message_seal, _open  <- MESSAGE -> the same

    Bound each frame by the command that is due: CKV_HELLO_SIZE, CKV_CURVE_WELCOME_BOUND,
    CKV_CURVE_INITIATE_MAX, CKV_CURVE_READY_BOUND; then a stranger cannot make the other side set
    memory aside.

    Notation of the RFC: C, c are the client's long-term public and secret key, S, s the server's;
    C', c', S', s' the transient ones, made for one connection.

    Curve operations, each one scalar multiplication on Curve25519 and about 30 us (S' = s'G, with
    its fixed point, less), are counted in the state, by those who do them:

        server   welcome    2   C's for the boxes of HELLO and WELCOME; s'G
                 initiate   2   C's' for the box of INITIATE and the session; Cs' for the vouch
        client   start      2   c'G; Sc' for the boxes of HELLO and WELCOME
                 initiate   2   S'c' for the box of INITIATE and the session; S'c for the vouch

    A message costs none.

    Errors: CKV_ERROR_CURVE for a command that is malformed, of a wrong size or out of turn,
    CKV_ERROR_CURVE_BOX for one that fails authentication, CKV_ERROR_CURVE_NONCE for a nonce that was
    there already, CKV_ERROR_WEAK_KEY for a public key of low order, CKV_ERROR_METADATA,
    CKV_ERROR_REFUSED for an ERROR command where an answer was due. After any of them the state is
    wiped and says CKV_ERROR_CURVE to whatever comes: close the connection. Only what a caller can
    correct, CKV_ERROR_ARGUMENT, leaves the state as it was.

    libsodium is initialised (sodium_init) before any of this.
*/
#ifndef CKV_CURVE_H
#define CKV_CURVE_H

#include "core/error.h"
#include "core/hello.h"
#include "core/octets.h"

enum {
    CKV_CURVE_MAC_SIZE = 16,       /* what a box is longer than what is in it */
    CKV_CURVE_METADATA_MAX = 8192, /* octets of properties in an INITIATE or a READY */
    CKV_CURVE_REASON_MAX = 255,    /* characters of an ERROR's reason */
    CKV_CURVE_COOKIE_KEY_SIZE = 32,
};

/* ---- the commands on the wire; numbers are in network order ---- */

struct ckv_curve_cookie {
    uint8_t nonce[16]; /* prefixed by "COOKIE--" */
    uint8_t box[80];   /* Box [C' + s'](K), K the server's cookie key */
};

struct ckv_curve_welcome {
    uint8_t command[8];              /* 7 "WELCOME" */
    uint8_t nonce[16];               /* prefixed by "WELCOME-" */
    uint8_t mac[CKV_CURVE_MAC_SIZE]; /* Box [S' + cookie](S->C') */
    uint8_t server_key[32];          /* in the box: S' */
    struct ckv_curve_cookie cookie;  /* in the box */
};

struct ckv_curve_initiate {
    uint8_t command[9]; /* 8 "INITIATE" */
    struct ckv_curve_cookie cookie;
    uint8_t nonce[8];                /* prefixed by "CurveZMQINITIATE" */
    uint8_t mac[CKV_CURVE_MAC_SIZE]; /* Box [C + vouch + metadata](C'->S') */
    uint8_t client_key[32];          /* in the box: C */
    uint8_t vouch_nonce[16];         /* in the box: prefixed by "VOUCH---" */
    uint8_t vouch_box[80];           /* in the box: Box [C',S](C->S') */
    uint8_t metadata[];              /* in the box: properties */
};

struct ckv_curve_ready {
    uint8_t command[6];              /* 5 "READY" */
    uint8_t nonce[8];                /* prefixed by "CurveZMQREADY---" */
    uint8_t mac[CKV_CURVE_MAC_SIZE]; /* Box [metadata](S'->C') */
    uint8_t metadata[];              /* in the box: properties */
};

struct ckv_curve_error {
    uint8_t command[6]; /* 5 "ERROR" */
    uint8_t reason_size;
    uint8_t reason[]; /* printable ASCII; libzmq knows "300", "400", "500" (RFC 27) */
};

struct ckv_curve_message {
    uint8_t command[8];              /* 7 "MESSAGE" */
    uint8_t nonce[8];                /* prefixed by "CurveZMQMESSAGES", or ..C from the client */
    uint8_t mac[CKV_CURVE_MAC_SIZE]; /* Box [flags + body](S'->C') or (C'->S') */
    uint8_t flags;                   /* in the box: 1 MORE; 2 COMMAND, which RFC 26 lacks */
    uint8_t body[];                  /* in the box */
};

enum {
    CKV_CURVE_WELCOME_SIZE = sizeof(struct ckv_curve_welcome),       /* 168 */
    CKV_CURVE_INITIATE_OVERHEAD = sizeof(struct ckv_curve_initiate), /* 257 and metadata */
    CKV_CURVE_INITIATE_MAX = CKV_CURVE_INITIATE_OVERHEAD + CKV_CURVE_METADATA_MAX,
    CKV_CURVE_READY_OVERHEAD = sizeof(struct ckv_curve_ready), /* 30 and metadata */
    CKV_CURVE_READY_MAX = CKV_CURVE_READY_OVERHEAD + CKV_CURVE_METADATA_MAX,
    CKV_CURVE_ERROR_OVERHEAD = sizeof(struct ckv_curve_error), /* 7 and reason */
    CKV_CURVE_ERROR_MAX = CKV_CURVE_ERROR_OVERHEAD + CKV_CURVE_REASON_MAX,
    CKV_CURVE_MESSAGE_OVERHEAD = 33, /* and body */

    /* of what a client may get where these are due: an ERROR may come instead */
    CKV_CURVE_WELCOME_BOUND = (int)CKV_CURVE_WELCOME_SIZE > (int)CKV_CURVE_ERROR_MAX
                                  ? (int)CKV_CURVE_WELCOME_SIZE
                                  : (int)CKV_CURVE_ERROR_MAX,
    CKV_CURVE_READY_BOUND = CKV_CURVE_READY_MAX, /* which is larger than any ERROR */
};

/* ---- what both sides have ---- */

/*  The keys and nonces of one connection, 56 octets. Inside, do not touch; curve_operations is there to
    be read.  */
struct ckv_curve_session {
    uint8_t key[32];     /* of the boxes between the transient keys; wiped with the session */
    uint64_t nonce;      /* of our last command */
    uint64_t peer_nonce; /* of the peer's last command */
    uint8_t step;        /* what may come next */
    uint8_t as_server;
    uint16_t curve_operations; /* scalar multiplications so far, 0 to 4 */
};

/*  Seals, in place. MESSAGE has CKV_CURVE_MESSAGE_OVERHEAD octets of room in front and SIZE octets
    of body behind; afterwards it is a MESSAGE command of CKV_CURVE_MESSAGE_OVERHEAD + SIZE
    octets. FLAGS are those of the ZMTP frame that the body would be: 0, CKV_ZMTP_MORE or
    CKV_ZMTP_COMMAND. Returns CKV_OK; CKV_ERROR_CURVE unless the session is connected;
    CKV_ERROR_CURVE_NONCE when all 2^64-1 nonces are used up; CKV_ERROR_ARGUMENT for other flags.  */
int ckv_curve_message_seal(struct ckv_curve_session *self, uint8_t flags, uint8_t *message,
                           size_t size);

/*  Opens a MESSAGE command in place. *FLAGS are as above, and *BODY borrows from MESSAGE. Nonces must
    rise (libzmq's rule, too), so what was sent before, or out of order, is refused. Returns CKV_OK or
    an error, also for flags that neither RFC 26 nor libzmq has.  */
int ckv_curve_message_open(struct ckv_curve_session *self, uint8_t *message, size_t size,
                           uint8_t *flags, struct ckv_octets *body);

/*  Reads an ERROR command. *REASON borrows from it. It comes in clear: whoever is on the way can
    have written it, so it is a hint for a person, not a fact. Returns CKV_OK or CKV_ERROR_CURVE.  */
int ckv_curve_error_parse(const void *command, size_t size, struct ckv_octets *reason);

/* ---- the server ---- */

/*  One connection, 104 octets, before authentication and after. Zeros are a connection that awaits a
    HELLO: the first call may be ckv_curve_server_welcome. Owns no memory; ends with
    ckv_curve_server_wipe.

    Its transient secret key is not in it: the client carries that, sealed in the cookie. The nonce of
    the cookie is: it binds the cookie to this connection, so that an INITIATE recorded on another
    one is refused though it was sealed with the same cookie key.  */
struct ckv_curve_server {
    struct ckv_curve_session session;
    uint8_t server_key[32]; /* S, which the vouch must name */
    uint8_t cookie_nonce[16];
};

/*  Randomness of a WELCOME, fresh: 64 octets.  */
struct ckv_curve_server_random {
    uint8_t transient_secret[32]; /* s' */
    uint8_t cookie_nonce[16];
    uint8_t welcome_nonce[16];
};

/*  Answers a HELLO that the caller has parsed and let in. SERVER_PUBLIC_KEY (S) and
    SERVER_SECRET_KEY (s) are the pair that this client is to be met with; they are not kept, the
    caller wipes the secret. RANDOM is used up and wiped. COOKIE_KEY may serve many connections.
    Whoever gets hold of it can open those that began with it, so make a fresh one every minute or
    sooner, wipe the old one a minute later (RFC 26, "WELCOME"), and give ckv_curve_server_initiate
    the one that the connection began with. *WELCOME is set on CKV_OK.
    CKV_ERROR_CURVE_BOX: the HELLO is for another server key, or not of the one who has c'.  */
int ckv_curve_server_welcome(struct ckv_curve_server *self, const struct ckv_hello *hello,
                             const uint8_t server_public_key[32],
                             const uint8_t server_secret_key[32],
                             struct ckv_curve_server_random *random,
                             const uint8_t cookie_key[CKV_CURVE_COOKIE_KEY_SIZE],
                             struct ckv_curve_welcome *welcome);

/*  Opens an INITIATE in place. On CKV_OK the peer has proved that it owns *CLIENT_KEY (C, 32 octets)
    and meant S; whether that client may come in is the caller's to decide, by _ready or _error.
    *METADATA are well-formed properties, with any octets as values. Both borrow from COMMAND. A
    C with its highest bit set, a second name for the same key, is CKV_ERROR_WEAK_KEY.  */
int ckv_curve_server_initiate(struct ckv_curve_server *self, uint8_t *command, size_t size,
                              const uint8_t cookie_key[CKV_CURVE_COOKIE_KEY_SIZE],
                              const uint8_t **client_key, struct ckv_octets *metadata);

/*  Lets the client in: writes a READY of CKV_CURVE_READY_OVERHEAD + METADATA.size octets, which READY
    holds. Then the session is connected, and self->session seals and opens messages. Returns
    CKV_ERROR_ARGUMENT for more than CKV_CURVE_METADATA_MAX octets or what are no properties.  */
int ckv_curve_server_ready(struct ckv_curve_server *self, struct ckv_octets metadata,
                           uint8_t *ready);

/*  Turns the client away, after HELLO or INITIATE: writes an ERROR of CKV_CURVE_ERROR_OVERHEAD +
    strlen(REASON) octets, which ERROR holds, and wipes the state. A client does not come back with
    the same keys after an ERROR (RFC 26): where that is not meant, just close. Returns
    CKV_ERROR_ARGUMENT for a reason that is not 0 to 255 characters of printable ASCII, and
    CKV_ERROR_CURVE when the session is connected: no ERROR answers a MESSAGE.  */
int ckv_curve_server_error(struct ckv_curve_server *self, const char *reason, uint8_t *error);

void ckv_curve_server_wipe(struct ckv_curve_server *self);

/* ---- the client ---- */

/*  One connection, 120 octets. Zeros are a connection that was not started. Owns no memory; ends with
    ckv_curve_client_wipe.  */
struct ckv_curve_client {
    struct ckv_curve_session session;
    uint8_t transient_secret[32]; /* c', until INITIATE */
    uint8_t transient_public[32]; /* C' */
};

/*  What a client has from registration; as in its certificate file (core/certfile.h). Borrowed during
    each call.  */
struct ckv_curve_identity {
    const uint8_t *public_key;        /* C */
    const uint8_t *secret_key;        /* c */
    const uint8_t *server_public_key; /* S */
    struct ckv_octets storage_key;    /* empty: the HELLO is a stock one */
    const uint8_t *hello_key;         /* CKV_HELLO_KEY_SIZE octets, with a storage key */
};

/*  Writes a HELLO, modified when IDENTITY has a storage key; CLOCK is now, ms since 1970.
    TRANSIENT_SECRET is c', fresh random; it is used up and wiped. Errors besides those above are
    those of ckv_hello_modify, and CKV_ERROR_ARGUMENT for a storage key without a hello key; here each
    of them wipes the state.  */
int ckv_curve_client_start(struct ckv_curve_client *self, const struct ckv_curve_identity *identity,
                           uint64_t clock, uint8_t transient_secret[32],
                           struct ckv_hello_octets *hello);

/*  Opens a WELCOME and answers it: writes an INITIATE of CKV_CURVE_INITIATE_OVERHEAD + METADATA.size
    octets, which INITIATE holds. VOUCH_NONCE is fresh random. CKV_ERROR_CURVE_BOX: the server has not
    the secret key of S, or octets were changed. CKV_ERROR_REFUSED: it sent an ERROR instead, which
    ckv_curve_error_parse reads. CKV_ERROR_ARGUMENT for more than CKV_CURVE_METADATA_MAX octets or
    what are no properties.  */
int ckv_curve_client_initiate(struct ckv_curve_client *self,
                              const struct ckv_curve_identity *identity, const void *welcome,
                              size_t size, struct ckv_octets metadata,
                              const uint8_t vouch_nonce[16], uint8_t *initiate);

/*  Opens a READY in place. On CKV_OK the session is connected, and self->session seals and opens
    messages; *METADATA are well-formed properties that borrow from COMMAND. CKV_ERROR_REFUSED as
    above.  */
int ckv_curve_client_ready(struct ckv_curve_client *self, uint8_t *command, size_t size,
                           struct ckv_octets *metadata);

void ckv_curve_client_wipe(struct ckv_curve_client *self);

#endif
