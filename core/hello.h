/*  hello: the HELLO command of CurveZMQ (RFC 26), stock or with a storage key in its padding.

    HELLO is what a stranger sends first, so all that can be known of it without a curve operation is
    here: whether it is well-formed, whose it is, whether its client made it, and when. The order
    from cheap to dear is the caller's: parse, known storage key, MAC, clock, replay, and then only
    ckv_curve_server_welcome (core/curve.h).

    RFC 26 has 72 octets of padding, sent as zeros and read by nobody: they make HELLO longer than
    the WELCOME that answers it. A modified HELLO uses them, and is still a HELLO to libzmq.

    The MAC is BLAKE2b-192 (crypto_generichash, 24 octets) keyed with the hello key, over all 200
    octets of the command, its name "\5HELLO" included, with the 24 octets of the MAC themselves as
    zeros. The header of the ZMTP frame is not covered: it says nothing that is not checked. So the
    box and the transient key C' are bound to the storage key, and one HELLO cannot lend its padding to
    another.

    Of a stock HELLO no bit is free either, though nothing of it is authentic before its box is opened:
    name, version and padding are compared, the highest bit of C' is looked at, and the box
    authenticates itself, its nonce and the rest of C'.
*/
#ifndef CKV_HELLO_H
#define CKV_HELLO_H

#include "core/cluster_key.h"
#include "core/error.h"
#include "core/octets.h"
#include "core/storage_key.h"

#include <stdbool.h>

enum {
    CKV_HELLO_SIZE = 200,
    CKV_HELLO_FORMAT = 1,
    CKV_HELLO_MAC_SIZE = 24,
    CKV_HELLO_BOX_SIZE = 80,
};

/*  The 200 octets. Numbers are in network order.  */
struct ckv_hello_octets {
    uint8_t command[6]; /* 5 "HELLO" */
    uint8_t version[2]; /* 1 0 */
    struct {
        uint8_t format;           /* 0: stock, and all that follows is zero; CKV_HELLO_FORMAT */
        uint8_t storage_key_size; /* 1..40 */
        uint8_t storage_key[40];  /* zero-filled */
        uint8_t clock[6];         /* the client's, milliseconds since 1970, UTC */
        uint8_t mac[CKV_HELLO_MAC_SIZE];
    } padding;
    uint8_t client_key[32];          /* C', the client's public transient key */
    uint8_t nonce[8];                /* prefixed by "CurveZMQHELLO---" */
    uint8_t box[CKV_HELLO_BOX_SIZE]; /* Box [64 * %x0](C'->S) */
};

/*  A HELLO, read. All pointers borrow from the command and live as long as it.  */
struct ckv_hello {
    bool modified;                 /* false: stock; it has no storage key, clock and MAC */
    struct ckv_octets storage_key; /* 1 to 40 octets when modified, else none */
    uint64_t clock;                /* ms since 1970 when modified, else 0 */
    const uint8_t *client_key;     /* C', 32 octets */
    uint64_t nonce;
    const struct ckv_hello_octets *octets;
};

/*  The largest clock that fits into a HELLO: in the year 10889.  */
#define CKV_HELLO_CLOCK_MAX ((UINT64_C(1) << 48) - 1)

/*  Reads the body of a command frame in place. Costs no curve operation and no MAC: nothing in it is
    authentic yet. Returns CKV_ERROR_CURVE for another command, another size than 200, another version
    than 1.0, padding that is neither all zero nor of CKV_HELLO_FORMAT with a size of 1 to 40 and
    zeros behind the storage key; CKV_ERROR_WEAK_KEY for a C' that protects nothing, or whose highest
    bit is set: X25519 does not see that bit, so two such HELLOs would be one to it, and no proper
    key has it.  */
int ckv_hello_parse(struct ckv_hello *self, const void *command, size_t size);

/*  Whether the client that has HELLO_KEY made this HELLO, in constant time. Returns CKV_OK or
    CKV_ERROR_HELLO_MAC, also for a stock HELLO. The hello key of a storage key:
    ckv_cluster_key_hello.  */
int ckv_hello_verify(const struct ckv_hello *self, const uint8_t hello_key[CKV_HELLO_KEY_SIZE]);

/*  Whether the client's clock is at most WINDOW_MS from NOW (ms since 1970), either way. Returns
    CKV_OK or CKV_ERROR_HELLO_CLOCK, also for a stock HELLO. Within the window the caller remembers
    what it has seen, by MAC: a HELLO can be replayed as long as its clock is good.  */
int ckv_hello_check_clock(const struct ckv_hello *self, uint64_t now, uint64_t window_ms);

/*  Makes a modified HELLO of a stock one: fills the padding, last the MAC over all. Returns
    CKV_ERROR_STORAGE_KEY unless STORAGE_KEY has 1 to 40 octets, CKV_ERROR_ARGUMENT for a CLOCK over
    CKV_HELLO_CLOCK_MAX, and then OCTETS stays as it was.  */
int ckv_hello_modify(struct ckv_hello_octets *octets, struct ckv_octets storage_key, uint64_t clock,
                     const uint8_t hello_key[CKV_HELLO_KEY_SIZE]);

#endif
