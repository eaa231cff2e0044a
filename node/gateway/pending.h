/*  pending: connections whose handshake is not done: a table of fixed size, without I/O.

    Each is a slot of less than 256 octets, all of them set aside at the start, so strangers cost no
    allocation. Nothing of what a peer has sent is in it: that stays in the socket's own buffer until
    the command that is due is whole.

    Slots stand in lines, each in order of arrival in it:

        strangers   nothing proved: no whole HELLO yet
        waiting     a stock HELLO, which waits for its turn (node/gateway/share.h)
        greeted     welcomed upon a stock HELLO: anybody can send one
        known       welcomed upon a HELLO with the right MAC: a client of ours

    All but known ones count as crowd. When the table is full, or one address has as many as one may
    have, the oldest of the crowd makes room for the newest; known ones do so only when there is no
    crowd. So whoever floods pushes out itself, and not those who have proved who they are.

    Addresses are counted by a keyed hash of them, in four times as many counters as there are
    slots; two addresses that share a counter share its bound, and nobody outside can choose them.
    Of an IPv6 address the first 64 bits count, since one host has them all. Unix sockets are not
    counted by address.
*/
#ifndef CKV_PENDING_H
#define CKV_PENDING_H

#include "core/curve.h"
#include "core/storage_key.h"
#include "node/relay/poller.h"
#include <stdbool.h>
#include <sys/socket.h>

enum ckv_pending_line {
    CKV_PENDING_STRANGERS,
    CKV_PENDING_WAITING,
    CKV_PENDING_GREETED,
    CKV_PENDING_KNOWN,
    CKV_PENDING_LINES,
};

struct ckv_pending_link {
    uint32_t older, newer;
};

/*  Up to curve it is for the owner of the table. The rest is the table's.  */
struct ckv_pending_slot {
    struct ckv_watch watch;
    bool is_greeted;    /* our greeting has gone */
    uint8_t minor;      /* of the peer's greeting */
    uint8_t cookie_key; /* which of the loop's */
    uint8_t looks;      /* at a stranger of whom nothing was heard */
    uint16_t past;      /* octets of greeting and HELLO, welcomed, that are still in the socket */
    struct ckv_storage_key storage_key; /* of a modified HELLO; size 0: a stock one */
    struct ckv_curve_server curve;

    uint8_t line;     /* or CKV_PENDING_LINES: the slot is free */
    uint32_t counter; /* of its address */
    struct ckv_pending_link in_line, of_address;
    uint64_t deadline;
};

struct ckv_pending;

/*  Room for MAX connections, at most PER_ADDRESS of the crowd from one address, each line to be left
    within TIMEOUT_MS. HASH_KEY is random. Returns CKV_ERROR_MEMORY.  */
int ckv_pending_new(struct ckv_pending **self_p, uint32_t max, uint32_t per_address,
                    uint64_t timeout_ms, const uint8_t hash_key[16]);

/*  Frees the table; its sockets are the owner's.  */
void ckv_pending_destroy(struct ckv_pending **self_p);

/*  Which one must leave before a connection from ADDRESS may enter, or NULL. To be asked until NULL.  */
struct ckv_pending_slot *ckv_pending_must_leave(struct ckv_pending *self,
                                                const struct sockaddr *address);

/*  Enters a connection, at the end of the strangers, at NOW (ms, of a clock that does not step).  */
struct ckv_pending_slot *ckv_pending_enter(struct ckv_pending *self, const struct sockaddr *address,
                                           uint64_t now);

/*  Puts it at the end of LINE, with a new deadline.  */
void ckv_pending_move(struct ckv_pending *self, struct ckv_pending_slot *slot,
                      enum ckv_pending_line line, uint64_t now);

/*  Takes it out, and wipes it.  */
void ckv_pending_leave(struct ckv_pending *self, struct ckv_pending_slot *slot);

/*  The one that has stood longest in LINE, or NULL.  */
struct ckv_pending_slot *ckv_pending_first(struct ckv_pending *self, enum ckv_pending_line line);

/*  The one behind SLOT in its line, or NULL.  */
struct ckv_pending_slot *ckv_pending_next(struct ckv_pending *self,
                                          const struct ckv_pending_slot *slot);

/*  One whose deadline is past, or NULL.  */
struct ckv_pending_slot *ckv_pending_expired(struct ckv_pending *self, uint64_t now);

uint32_t ckv_pending_count(const struct ckv_pending *self);

#endif
