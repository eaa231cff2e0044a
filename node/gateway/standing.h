/*  standing: clients that are in are asked for again, so that who was revoked does not stay.

    A client may stay for as long as it could come in anew with the keys that it came in with: its
    certificate is there, is active and within its validity, and has its client public key and the
    server key that it was met with (a stock client is met with the default one whatever its
    certificate says). So a rotation ends who still uses the old certificate file, which does not let
    it in again either; one that keeps the keys, to move the end of validity, ends nobody.

    Asking goes in rounds, of one resolve for each client. A round begins when the store has changed
    since the last one began (ckv_kv_changes), or when the first of the certificates runs out. It
    takes half a second, a share of the clients at each tick. Whoever came in while it went on was
    asked for then. So a client is ended within about a second after this machine's store has
    learned why, and while nothing changes nobody is asked for.

    What cannot be read ends nobody; there is another round instead.
*/
#ifndef CKV_STANDING_H
#define CKV_STANDING_H

#include "node/gateway/admission.h"

struct ckv_loop;

/*  Of all clients of a loop.  */
struct ckv_standing {
    uint64_t changes; /* of the store, when this round began */
    uint64_t until;   /* ms since 1970: the first of the certificates asked for in it runs out */
    uint32_t left;    /* clients to be asked for in it */
    bool unread;      /* one of them could not be */
};

/*  Asks for the clients whose turn it is.  */
void ckv_standing_tick(struct ckv_loop *loop);

/*  Whether the client of PROOF, with its certificate's storage key, may stay: CKV_ADMITTED, or why
    not.  */
enum ckv_verdict ckv_standing_ask(struct ckv_loop *loop, const struct ckv_admission_proof *proof);

#endif
