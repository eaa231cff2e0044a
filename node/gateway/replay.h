/*  replay: which HELLOs were here, by their MACs, for as long as their clocks are good.

    A set in fixed memory, in two generations of one life each, a life being as long as a HELLO can
    come in: twice the clock's window, since its clock may be ahead by one. What was entered is found
    for one life at least; then its generation is dropped whole.

    An entry is the first 64 bits of a MAC. MACs are made with secret keys, so nobody can choose them
    to crowd the table, and that one is taken for another happens once in 10^13 or so.

    When a generation is full before its life is over (CKV_REPLAY_ENTRIES HELLOs in it), it is dropped
    early: the table forgets rather than grow. What a replay then costs is the two curve operations
    of a WELCOME; it cannot get further, since who replays has not the transient secret key.
*/
#ifndef CKV_REPLAY_H
#define CKV_REPLAY_H

#include "core/hello.h"

enum { CKV_REPLAY_ENTRIES = 1 << 18 }; /* of a generation; 8 MiB in all, when they are used */

struct ckv_replay;

/*  LIFE_MS as above. Returns CKV_ERROR_MEMORY.  */
int ckv_replay_new(struct ckv_replay **self_p, uint64_t life_ms);
void ckv_replay_destroy(struct ckv_replay **self_p);

/*  Enters MAC at NOW (ms, of a clock that does not step). Returns false when it was there.  */
bool ckv_replay_enter(struct ckv_replay *self, const uint8_t mac[CKV_HELLO_MAC_SIZE], uint64_t now);

#endif
