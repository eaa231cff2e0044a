/*  poller: what happens on the sockets of a loop, and the loop itself.

    A gateway's sockets come and go by the thousand a second, and what is asked of the kernel for each is most of
    what it costs. So they are in an epoll instance of ours, each put in once and taken out by its
    close, or once more when it is handed on.
    libuv's uv_poll_t would ask eight times where this asks two times: it adds a descriptor for a try,
    takes it out again, and so before each change.

    Timers and signals stay libuv's. Its loop is one more descriptor of ours (uv_backend_fd) and runs when
    something of its own is due: so a round waits once, and not once at each of two loops. At least one of
    its handles must be active, or a round does not wait.

    A round tells of so many sockets, and those that still have something to tell queue behind all
    others. Where thousands do, a turn takes many rounds. Those that are urgent have an instance of their
    own and their turn in each.

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

/*  What watches have in common.  */
struct ckv_watch_kind {
    void (*happened)(struct ckv_watch *self, uint32_t events);
    /*  The watch is closed, and its memory the caller's again: told from the loop. NULL: it is so at
        once.  */
    void (*closed)(struct ckv_watch *self);
    bool is_urgent;
};

/*  Inside, do not touch, but for is_full.  */
struct ckv_poller {
    uv_loop_t *uv;
    bool (*after)(void *argument);
    void *argument;
    int epoll, urgent;
    bool is_busy; /* the next round must not wait */
    bool is_full; /* more may have happened than was told in this round */
    bool is_stopped;
    struct epoll_event *events; /* of this round, of which those before AT are told; or NULL */
    int at, count;
    struct ckv_watch *closed;
};

/*  A socket that is watched; zeros are a closed one. Inside, do not touch, but for fd.  */
struct ckv_watch {
    struct ckv_poller *poller;
    const struct ckv_watch_kind *kind;
    struct ckv_watch *next;
    int fd;
    uint32_t asked;
    uint32_t watched; /* what epoll was told: it may be more than is asked for */
};

/*  With the timers and all else that is started in UV. AFTER is called with ARGUMENT at the end of each
    round; it returns whether there is more to do at once. It may be NULL. Returns CKV_ERROR_MEMORY,
    when descriptors have run out, too.  */
int ckv_poller_open(struct ckv_poller *self, uv_loop_t *uv, bool (*after)(void *argument),
                    void *argument);

/*  After the last of its watches; those that were closed and not told so yet are told now. One of zeros,
    or closed, may be closed.  */
void ckv_poller_close(struct ckv_poller *self);

/*  Goes round until ckv_poller_stop: in place of uv_run.  */
void ckv_poller_run(struct ckv_poller *self);
void ckv_poller_stop(struct ckv_poller *self);

/*  Goes round once: waits until something happens, unless WAITS is false, and tells it.  */
void ckv_poller_round(struct ckv_poller *self, bool waits);

/*  Holds FD without watching it: it can be closed, and be watched later.  */
void ckv_watch_hold(struct ckv_watch *self, struct ckv_poller *poller, int fd);

/*  Watches FD, of which no other process may have a copy. Tells KIND what happens of EVENTS: those of
    epoll_ctl, EPOLLET among them. A hang-up and an error are whatever is asked for: reading or writing
    tells which. Returns CKV_ERROR_MEMORY; then FD stays the caller's.  */
int ckv_watch_open(struct ckv_watch *self, struct ckv_poller *poller, int fd, uint32_t events,
                   const struct ckv_watch_kind *kind);

/*  Goes on with the socket of FROM, which is closed without a call of its own. Returns CKV_ERROR_MEMORY;
    then FROM is as before.  */
int ckv_watch_take(struct ckv_watch *self, struct ckv_watch *from, uint32_t events,
                   const struct ckv_watch_kind *kind);

/*  Asks for EVENTS from now on: EPOLLIN, EPOLLOUT, both, or 0.  */
void ckv_watch_ask(struct ckv_watch *self, uint32_t events);

/*  Closes the socket. Nothing is told any more of what happened on it.  */
void ckv_watch_close(struct ckv_watch *self);

/*  The same, but the socket stays open, and is the caller's.  */
void ckv_watch_release(struct ckv_watch *self);

#endif
