/*  wire: a connected socket, and the octets that wait on both sides of it.

    What is to go is put into `out`, what came is taken out of `in` as frames; a wire knows ZMTP's
    frames and nothing of what is in them. No call but those with a deadline waits. A deadline is on
    the monotonic clock, in ms; UINT64_MAX is never.

    What a peer can make us keep is bounded by the caller: `in` holds at most one read more than the
    frame that is due, grows as octets come, not as a header promises, and is given back when a large
    frame has gone.
*/
#ifndef CKV_WIRE_H
#define CKV_WIRE_H

#include "core/buffer.h"
#include "core/error.h"
#include "core/zmtp.h"

#include <stdbool.h>

struct ckv_wire {
    int fd;
    struct ckv_buffer in;
    size_t taken; /* octets of `in` that the caller has had */
    struct ckv_buffer out;
    size_t sent; /* octets of `out` that have gone */
    bool deaf;   /* the peer takes no more octets; it may have sent some */
};

/*  Takes FD, which is non-blocking.  */
void ckv_wire_init(struct ckv_wire *self, int fd);

/*  Closes it and frees what waits. Zeros with an fd of -1 are allowed.  */
void ckv_wire_close(struct ckv_wire *self);

/*  The deadline TIMEOUT_MS from now; negative: never.  */
uint64_t ckv_wire_deadline(int timeout_ms);

bool ckv_wire_late(uint64_t deadline);

/*  Waits until FD has one of EVENTS (poll.h), or has failed. Returns CKV_OK or CKV_ERROR_TIMEOUT. A
    signal does not end it.  */
int ckv_wire_poll(int fd, short events, uint64_t deadline);

/*  Whether octets wait to go.  */
bool ckv_wire_pending(const struct ckv_wire *self);

/*  Sends what the system takes. When the peer takes no more, self->deaf, and what waited is dropped.  */
void ckv_wire_write(struct ckv_wire *self);

/*  Reads once what there is. Returns CKV_OK, also when there is nothing; CKV_ERROR_CLOSED at the end,
    CKV_ERROR_MEMORY.  */
int ckv_wire_read(struct ckv_wire *self);

/*  Takes the next whole frame, whose body has at most MAX octets, out of what was read. Returns 1, 0
    when it is not whole, CKV_ERROR_ZMTP or CKV_ERROR_FRAME_SIZE. *BODY may be changed in place; it
    lives until the next read. Flags are passed over: CURVE has its own inside.  */
int ckv_wire_next(struct ckv_wire *self, size_t max, uint8_t **body, size_t *size);

/*  Waits for that, and sends meanwhile what waits. Returns CKV_OK, CKV_ERROR_TIMEOUT, or what
    ckv_wire_read and ckv_wire_next return.  */
int ckv_wire_await(struct ckv_wire *self, size_t max, uint8_t **body, size_t *size,
                   uint64_t deadline);

/*  The same for the peer's greeting.  */
int ckv_wire_greeting(struct ckv_wire *self, struct ckv_zmtp_greeting *greeting, uint64_t deadline);

/*  Waits until it can write what waits or, if READING, read; then does both.  */
int ckv_wire_turn(struct ckv_wire *self, bool reading, uint64_t deadline);

#endif
