/*  poller: the sockets of a loop, and what happens on them.

    libuv has uv_poll_t for that. But from its opening to its close each asks the kernel eight times
    where two times do: it adds the descriptor to epoll for a try, takes it out again, and so before
    each change. A gateway has two sockets a client, and many a client is there for one handshake. So
    the sockets of a loop are in an epoll instance of their own, which libuv polls as one descriptor.

    All of this is for the loop's thread.
*/
#ifndef CKV_POLLER_H
#define CKV_POLLER_H

#include "core/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <uv.h>

struct ckv_watch;

/*  Inside, do not touch.  */
struct ckv_poller {
    uv_poll_t poll; /* of EPOLL */
    uv_idle_t idle; /* while there are watches to be told that they are closed */
    int epoll;
    struct epoll_event
        *events; /* of this round, of which those before AT are dealt with; or NULL */
    int at, count;
    struct ckv_watch *closed;
};

/*  A socket that is watched. Inside, do not touch, but for fd.  */
struct ckv_watch {
    struct ckv_poller *poller;
    void (*happened)(struct ckv_watch *self, uint32_t events);
    void (*closed)(struct ckv_watch *self);
    struct ckv_watch *next;
    int fd;
    uint32_t asked;
    uint32_t watched; /* what epoll was told: it may be more than is asked for */
};

/*  Returns CKV_ERROR_MEMORY, when descriptors have run out, too.  */
int ckv_poller_open(struct ckv_poller *self, uv_loop_t *loop);

/*  After the last of its watches; those that were closed and not told so yet are told now. The memory is
    the caller's again when the loop has run. One of zeros, or closed, may be closed.  */
void ckv_poller_close(struct ckv_poller *self);

/*  Watches FD, of which no other process may have a copy. Calls HAPPENED with what happens of what is
    asked for, nothing at first: EPOLLIN, EPOLLOUT, as long as it is so. A hang-up and an error are
    whatever is asked for: reading or writing tells which. Returns CKV_ERROR_MEMORY; then FD stays the
    caller's.  */
int ckv_watch_open(struct ckv_watch *self, struct ckv_poller *poller, int fd,
                   void (*happened)(struct ckv_watch *self, uint32_t events),
                   void (*closed)(struct ckv_watch *self));

/*  Asks for EVENTS from now on: EPOLLIN, EPOLLOUT, both, or 0.  */
void ckv_watch_ask(struct ckv_watch *self, uint32_t events);

/*  Closes FD. HAPPENED is not called any more; CLOSED is, from the loop, and then the memory is the
    caller's again.  */
void ckv_watch_close(struct ckv_watch *self);

#endif
