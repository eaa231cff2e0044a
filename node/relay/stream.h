/*  stream: one end of a ZMTP connection in a loop: a socket on which frames come and go.

    It knows greetings and frames (core/zmtp.h) and no mechanism: what the frames are is the
    owner's business. Two streams are paired to relay from one to the other:

    - Reading from one pauses while the other has octets that its socket would not take. So pressure
      goes from end to end, through the kernel's buffers, and a stream holds no more than one read
      and one frame.
    - What is put to a stream while another one is read goes out in one write, after that read.

    Memory. An idle stream is this struct. What is read lands in the loop's buffer (struct
    ckv_stream_room), which all streams of the loop share, and frames are handed out there; only a
    frame that is not whole yet is set aside, in a buffer that grows with what has come, not with
    what the frame's header claims.

    The socket is a plain descriptor, watched by the loop's poller (node/relay/poller.h): tcp and ipc
    are the same here, and a connection that has been watched elsewhere becomes a stream by
    ckv_stream_take.
*/
#ifndef CKV_STREAM_H
#define CKV_STREAM_H

#include "core/zmtp.h"
#include "node/relay/poller.h"

enum {
    CKV_STREAM_HEADROOM = 48,       /* octets in front of a frame's body that may be written */
    CKV_STREAM_READ_SIZE = 131072,  /* octets of one read */
    CKV_STREAM_BATCH_SIZE = 131072, /* octets of one write, but for large frames */
};

struct ckv_stream;

/*  What all streams of one loop share: about 256 KiB.  */
struct ckv_stream_room {
    struct ckv_stream *batching; /* whose octets are in the batch, or NULL */
    size_t batch_size;
    uint8_t read[CKV_STREAM_HEADROOM + CKV_STREAM_READ_SIZE];
    uint8_t batch[CKV_STREAM_BATCH_SIZE];
};

/*  What the owner does. A callback may put and flush; it ends a stream, its own or another, only from
    ended and drained, elsewhere by returning an error. ARGUMENT is the owner's.  */
struct ckv_stream_events {
    /*  The peer's greeting, for streams that were told to expect one.  */
    int (*greeted)(void *argument, const struct ckv_zmtp_greeting *greeting);
    /*  A frame. BODY may be changed, and so may the CKV_STREAM_HEADROOM octets in front of it; it is
        the owner's until it returns. An error ends the stream.  */
    int (*frame)(void *argument, uint8_t flags, uint8_t *body, size_t size);
    /*  Something is there to be read; whether it is to be. If not, the owner has called ckv_stream_read
        to pause. May be NULL: always.  */
    bool (*wanted)(void *argument);
    /*  The socket is connected, or has taken all that was put, after it had refused some.  */
    void (*drained)(void *argument);
    /*  No more comes: the peer has closed (WHY is CKV_OK), or an error: of the socket,
        CKV_ERROR_NOT_REACHABLE; of the octets, those of core/zmtp.h; or the owner's own. Close it.  */
    void (*ended)(void *argument, int why);
    /*  ckv_stream_close is done, and the memory is the owner's again.  */
    void (*closed)(void *argument);
};

/*  Zeros are a closed stream. Inside, do not touch.  */
struct ckv_stream {
    struct ckv_watch watch;
    struct ckv_stream_room *room;
    const struct ckv_stream_events *events;
    void *argument;
    struct ckv_stream *pair;
    uint8_t *in; /* what has come of a frame that is not whole, behind a headroom; or NULL */
    size_t in_size, in_capacity;
    uint8_t *out; /* what the socket has not taken yet; or NULL */
    size_t out_at, out_size;
    size_t frame_max;
    bool is_open, connecting, awaits_greeting, reading, finishing;
    bool deaf; /* the peer takes no more; what it sent before that is still there to be read */
};

/*  Takes over FD, connected or, with CONNECTING, about to be. Frames of more than FRAME_MAX octets end
    the stream. Nothing is read before ckv_stream_read. Returns CKV_ERROR_MEMORY; then FD stays the
    caller's.  */
int ckv_stream_open(struct ckv_stream *self, struct ckv_poller *poller,
                    struct ckv_stream_room *room, int fd, bool connecting,
                    const struct ckv_stream_events *events, void *argument, size_t frame_max);

/*  The same with the connected socket of FROM, and its poller; FROM is closed then, or as it was if there
    is an error.  */
int ckv_stream_take(struct ckv_stream *self, struct ckv_watch *from, struct ckv_stream_room *room,
                    const struct ckv_stream_events *events, void *argument, size_t frame_max);

/*  Frames that come from now on have at most FRAME_MAX octets instead; from a callback, too, for those
    behind its frame.  */
void ckv_stream_bound(struct ckv_stream *self, size_t frame_max);

/*  From now on the peer's greeting is due before frames.  */
void ckv_stream_expect_greeting(struct ckv_stream *self);

/*  Pairs two streams, once both are open.  */
void ckv_stream_pair(struct ckv_stream *a, struct ckv_stream *b);

/*  Reads, from now on or no more.  */
void ckv_stream_read(struct ckv_stream *self, bool on);

/*  Sends SIZE octets, which are copied where they cannot be written at once. They go out with
    ckv_stream_flush, which comes by itself after a read. Returns CKV_ERROR_NOT_REACHABLE after
    ckv_stream_finish or _close, or CKV_ERROR_MEMORY. That the peer has gone is not told here but by
    ended, when all has been read that it had sent.  */
int ckv_stream_put(struct ckv_stream *self, const void *octets, size_t size);
int ckv_stream_flush(struct ckv_stream *self);

/*  Ends in good order: sends what was put, tells the peer that no more comes, and throws away what
    still comes until the peer closes, too. Then ended is called. Closing at once instead would make
    the kernel drop what it has not sent, if there is something unread. Bound the time.  */
void ckv_stream_finish(struct ckv_stream *self);

/*  Closes; the callback closed comes later, from the loop. A closed stream may be closed again.  */
void ckv_stream_close(struct ckv_stream *self);

/*  Whether the socket has refused octets that were put.  */
static inline bool ckv_stream_is_blocked(const struct ckv_stream *self)
{
    return self->out_size > 0;
}

#endif
