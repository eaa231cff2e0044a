/*  admission: who may come in. All that is decided before a curve operation, and the last word after.

    The order is from cheap to dear, and the first that says no ends it:

        size, format   ckv_hello_parse                                   some ns
        clock window   ckv_hello_check_clock
        filter, store  ckv_kv_resolve: an unknown key is not in the      0.1 us for an unknown one
                       filter, one cache line
        state          revoked, expired, not yet valid
        MAC            the hello key is derived, and the MAC compared    1 us
        replay         node/gateway/replay.h; from here on the client is known
        rate           node/gateway/rate.h

    Replays and rates come behind the MAC, so that only clients of ours take memory, and none can
    spend another one's rate. A HELLO of a revoked or expired certificate with the right MAC is told
    so: its client is ours, and should stop trying. Any other refusal is silent.

    Of a stock HELLO there is nothing to know before its box is opened; see node/gateway/share.h. Its client
    is known by its client public key once the INITIATE is open, as a ZAP handler would know it.

    One for all loops of a gateway: a HELLO that one loop has seen is a replay on each. What they
    share is under a lock that only known clients ever come to.
*/
#ifndef CKV_ADMISSION_H
#define CKV_ADMISSION_H

#include "core/hello.h"
#include "kv/kv.h"

/*  What is said of a connection, and counted. Names: ckv_verdict_name.  */
enum ckv_verdict {
    CKV_ADMITTED,
    CKV_REFUSED_ZMTP,          /* no greeting of ZMTP 3 with CURVE; frames out of bounds */
    CKV_REFUSED_FORMAT,        /* no HELLO or INITIATE of RFC 26, or its key is weak */
    CKV_REFUSED_STOCK,         /* a stock HELLO, and these are denied */
    CKV_REFUSED_CLOCK,         /* the HELLO's clock is out of the window */
    CKV_REFUSED_UNKNOWN,       /* no certificate under this storage key or client public key */
    CKV_REFUSED_STORE,         /* the store could not be read */
    CKV_REFUSED_REVOKED,       /* told, ERROR 400 */
    CKV_REFUSED_EXPIRED,       /* told, ERROR 400 */
    CKV_REFUSED_NOT_YET_VALID, /* silent: the client may try again */
    CKV_REFUSED_MAC,           /* not made by the client whose storage key it has */
    CKV_REFUSED_REPLAY,
    CKV_REFUSED_RATE,
    CKV_REFUSED_BOX,        /* a box does not open: for another server key, or changed */
    CKV_REFUSED_CLIENT_KEY, /* not the key pair of the certificate */
    CKV_REFUSED_DEADLINE,   /* the handshake took too long */
    CKV_REFUSED_CROWD,      /* dropped to make room for newer ones */
    CKV_REFUSED_LEFT,       /* the peer closed in the middle */
    CKV_REFUSED_BACKEND,    /* not there, or closed before it was ready */
    CKV_REFUSED_BY_BACKEND, /* it sent an ERROR, which is passed on */
    CKV_REFUSED_LIMIT,      /* no memory or descriptor left */
    CKV_VERDICTS,
};

/*  In snake case. Static storage.  */
const char *ckv_verdict_name(enum ckv_verdict verdict);

struct ckv_admission_options {
    bool allow_stock;
    uint64_t clock_window_ms;
    uint32_t rate; /* HELLOs of one storage key in a second; 0: no bound */
};

struct ckv_admission;

/*  CLUSTER_KEY outlives it. Returns CKV_ERROR_MEMORY.  */
int ckv_admission_new(struct ckv_admission **self_p, const struct ckv_admission_options *options,
                      const struct ckv_cluster_key *cluster_key);
void ckv_admission_destroy(struct ckv_admission **self_p);

/*  The two clocks, in ms: since 1970, and one that never steps.  */
struct ckv_admission_time {
    uint64_t wall, monotonic;
};

/*  Whether HELLO may be welcomed. TXN is the calling thread's, of CKV_KV_RESOLVE. When CKV_ADMITTED upon
    a modified HELLO, VIEW is its certificate, good until the next use of TXN. Any thread.  */
enum ckv_verdict ckv_admission_hello(struct ckv_admission *self, struct ckv_kv_txn *txn,
                                     const struct ckv_hello *hello, struct ckv_admission_time now,
                                     struct ckv_certificate *view);

/*  What an opened INITIATE has shown.  */
struct ckv_admission_proof {
    struct ckv_octets storage_key; /* of the HELLO; empty: a stock one */
    const uint8_t *client_key;     /* C */
    const uint8_t *server_key; /* S, with which the client was met; NULL: a stock one, met with the
                                      default key */
};

/*  Whether the client may come in, now that it has shown its key. Resolves anew, since the certificate
    may have changed since the HELLO, and verifies the record. When CKV_ADMITTED, VIEW is as above.  */
enum ckv_verdict ckv_admission_initiate(struct ckv_admission *self, struct ckv_kv_txn *txn,
                                        const struct ckv_admission_proof *proof,
                                        struct ckv_admission_time now,
                                        struct ckv_certificate *view);

/*  Whether a client that came in may stay (node/gateway/standing.h). PROOF has its certificate's storage
    key, also when it is a stock one. When CKV_ADMITTED, *UNTIL is when that is going to change by
    itself, in ms since 1970, or UINT64_MAX. A record that does not verify is CKV_REFUSED_STORE.  */
enum ckv_verdict ckv_admission_again(struct ckv_admission *self, struct ckv_kv_txn *txn,
                                     const struct ckv_admission_proof *proof,
                                     struct ckv_admission_time now, uint64_t *until);

/*  Whether a client is told of this verdict.  */
static inline bool ckv_verdict_is_told(enum ckv_verdict verdict)
{
    return verdict == CKV_REFUSED_REVOKED || verdict == CKV_REFUSED_EXPIRED;
}

#endif
