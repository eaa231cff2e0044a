/*  arrivals: records that have come from other nodes and are not on the disk yet, to be read already.

    A commit takes as long as the disk does, some hundred microseconds and now and then many times
    that; a certificate that was registered on one node would be unknown to the others for so long.
    So whoever receives a record and has verified it enters it here, before it is on its way to the
    writer, and takes it out when the write has ended. It is durable elsewhere, or would not have
    come; here it is when it is stored.

    Nothing is merged here: who reads takes the store's record and the arrival, and of both the one
    that ckv_certificate_compare puts first, as merging does. So an arrival that is old news, or
    forgotten too late, changes nothing.

    The place is a file that all processes map which read the store: a table of 1,024 records of up
    to 1,008 octets, in buckets of four by the hash of their storage keys. A record that finds no
    room, or is too large, is read when it is stored. Each slot is a sequence lock (Boehm, "Can
    seqlocks get along with programming language memory models?", 2012): one thread of one process
    writes, others copy and try again when they were overtaken; none waits for a writer, nor for one
    that was killed while it wrote.

    The file is scratch, as the filter's is: a node that opens the store clears it, and it is worth
    nothing after a reboot, which its boot id shows.
*/
#ifndef CKV_ARRIVALS_H
#define CKV_ARRIVALS_H

#include "core/certificate.h"
#include "core/error.h"
#include <stdbool.h>

enum {
    CKV_ARRIVAL_RECORD_MAX = 1008, /* octets; larger ones are not entered */
    CKV_ARRIVALS_WIDTH = 4,        /* slots of a bucket */
};

struct ckv_arrivals;

/*  A record, copied out of its slot.  */
struct ckv_arrival {
    struct ckv_certificate view; /* of record */
    uint8_t record[CKV_ARRIVAL_RECORD_MAX];
};

/*  Makes the file PATH, or clears the one that is there, and maps it for writing. Space on the disk
    is reserved, so that no write to the map can fail. Returns CKV_ERROR_DISK_FULL, CKV_ERROR_IO,
    CKV_ERROR_PERMISSION, CKV_ERROR_MEMORY.  */
int ckv_arrivals_create(struct ckv_arrivals **self_p, const char *path);

/*  Maps the file PATH for reading. Returns CKV_ERROR_NOT_FOUND unless it is there and of this boot. */
int ckv_arrivals_open(struct ckv_arrivals **self_p, const char *path);

/*  Unmaps; the file stays. A NULL *SELF_P is allowed.  */
void ckv_arrivals_close(struct ckv_arrivals **self_p);

/*  Enters a verified record. What is there under its storage key and would give way to it in merging
    leaves. Returns what ckv_arrivals_leave takes, or 0 when there was no room or nothing new.
    One thread at a time, for both.  */
uint64_t ckv_arrivals_enter(struct ckv_arrivals *self, const struct ckv_certificate *certificate);

/*  Takes out what got TICKET, unless another took its place meanwhile. 0 is allowed.  */
void ckv_arrivals_leave(struct ckv_arrivals *self, uint64_t ticket);

/*  Whether there are any. One load, from any thread of any process, as all below.  */
bool ckv_arrivals_any(const struct ckv_arrivals *self);

/*  How many have been taken out. One that left between a snapshot of the store and a look here is seen
    in neither: who finds this number changed since before the snapshot looks again.  */
uint64_t ckv_arrivals_left(const struct ckv_arrivals *self);

/*  How many have been entered, ever.  */
uint64_t ckv_arrivals_entered(const struct ckv_arrivals *self);

/*  Copies the arrival with STORAGE_KEY. Returns CKV_OK or CKV_ERROR_NOT_FOUND.  */
int ckv_arrivals_get(const struct ckv_arrivals *self, struct ckv_octets storage_key,
                     struct ckv_arrival *arrival);

/*  Copies the first arrival with the client public key from slot *POSITION on, and sets *POSITION
    behind it; begin with 0. Returns CKV_OK or CKV_ERROR_NOT_FOUND.  */
int ckv_arrivals_find(const struct ckv_arrivals *self, const uint8_t client_public_key[32],
                      unsigned *position, struct ckv_arrival *arrival);

#endif
