#include "node/relay/poller.h"

#include <stddef.h>
#include <unistd.h>

enum { EVENTS = 128 }; /* of one round */

/* ---- watches ---- */

/*  A peer that hangs up is told of even where nothing is asked for: by its edge, so that it is told
    once.  */
static int tell_epoll(struct ckv_watch *self, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events ? events : EPOLLET, .data.ptr = self };
    self->watched = events;
    return epoll_ctl(self->poller->epoll, operation, self->fd, &event);
}

/*  This takes no memory, and so does not fail.  */
static void watch(struct ckv_watch *self, uint32_t events)
{
    (void)tell_epoll(self, EPOLL_CTL_MOD, events);
}

void ckv_watch_hold(struct ckv_watch *self, struct ckv_poller *poller, int fd)
{
    *self = (struct ckv_watch){ .poller = poller, .fd = fd };
}

int ckv_watch_open(struct ckv_watch *self, struct ckv_poller *poller, int fd, uint32_t events,
                   void (*happened)(struct ckv_watch *self, uint32_t events),
                   void (*closed)(struct ckv_watch *self))
{
    *self = (struct ckv_watch){
        .poller = poller, .happened = happened, .closed = closed, .fd = fd, .asked = events
    };
    return tell_epoll(self, EPOLL_CTL_ADD, events) == 0 ? CKV_OK : CKV_ERROR_MEMORY;
}

/*  What has happened to SELF in this round is not told any more.  */
static void forget(struct ckv_watch *self)
{
    struct ckv_poller *poller = self->poller;
    for (int i = poller->at; i < poller->count; i++)
        if (poller->events[i].data.ptr == self)
            poller->events[i].data.ptr = NULL;
    self->fd = -1;
}

void ckv_watch_take(struct ckv_watch *self, struct ckv_watch *from, uint32_t events,
                    void (*happened)(struct ckv_watch *self, uint32_t events),
                    void (*closed)(struct ckv_watch *self))
{
    *self = (struct ckv_watch){ .poller = from->poller,
                                .happened = happened,
                                .closed = closed,
                                .fd = from->fd,
                                .asked = events };
    forget(from);
    watch(self, events);
}

/*  What is asked for no more is taken out when it happens, if it does: who pauses often goes on soon.  */
void ckv_watch_ask(struct ckv_watch *self, uint32_t events)
{
    self->asked = events;
    if (events & ~self->watched)
        watch(self, events);
}

static void tell_closed(struct ckv_poller *self)
{
    struct ckv_watch *closed;
    while ((closed = self->closed)) {
        self->closed = closed->next;
        closed->closed(closed);
    }
}

static void end(struct ckv_watch *self)
{
    forget(self);
    if (!self->closed)
        return;
    self->next = self->poller->closed;
    self->poller->closed = self;
}

void ckv_watch_close(struct ckv_watch *self)
{
    close(self->fd); /* which takes it out of epoll */
    end(self);
}

void ckv_watch_release(struct ckv_watch *self)
{
    (void)epoll_ctl(self->poller->epoll, EPOLL_CTL_DEL, self->fd, NULL);
    end(self);
}

/* ---- the loop ---- */

static void tell(struct ckv_watch *self, uint32_t events)
{
    uint32_t told = events & (EPOLLHUP | EPOLLERR) ? self->asked : events & self->asked;
    if (told)
        self->happened(self, told);
    else if (self->watched != self->asked)
        watch(self, self->asked);
}

/*  Tells what has happened. Returns whether something of libuv's has.  */
static bool tell_all(struct ckv_poller *self)
{
    bool uv_has = false;
    for (self->at = 0; self->at < self->count;) {
        const struct epoll_event *event = &self->events[self->at++];
        if (event->data.ptr == self)
            uv_has = true;
        else if (event->data.ptr)
            tell(event->data.ptr, event->events);
    }
    return uv_has;
}

void ckv_poller_round(struct ckv_poller *self, bool waits)
{
    struct epoll_event events[EVENTS];
    bool is_idle = waits && !self->is_busy && !self->closed;
    self->count =
        epoll_wait(self->epoll, events, EVENTS, is_idle ? uv_backend_timeout(self->uv) : 0);
    self->events = events;
    uv_update_time(self->uv);
    bool uv_has = tell_all(self);
    self->events = NULL;
    self->at = self->count = 0;
    if (uv_has || uv_backend_timeout(self->uv) == 0)
        uv_run(self->uv, UV_RUN_NOWAIT);
    tell_closed(self);
    self->is_busy = self->after && self->after(self->argument);
}

void ckv_poller_run(struct ckv_poller *self)
{
    while (!self->is_stopped)
        ckv_poller_round(self, true);
}

void ckv_poller_stop(struct ckv_poller *self)
{
    self->is_stopped = true;
}

int ckv_poller_open(struct ckv_poller *self, uv_loop_t *uv, bool (*after)(void *argument),
                    void *argument)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = self };
    *self = (struct ckv_poller){
        .uv = uv, .after = after, .argument = argument, .epoll = epoll_create1(EPOLL_CLOEXEC)
    };
    if (self->epoll >= 0 && epoll_ctl(self->epoll, EPOLL_CTL_ADD, uv_backend_fd(uv), &event) == 0)
        return CKV_OK;
    ckv_poller_close(self);
    return CKV_ERROR_MEMORY;
}

void ckv_poller_close(struct ckv_poller *self)
{
    if (!self->uv)
        return;
    tell_closed(self);
    if (self->epoll >= 0)
        close(self->epoll);
    *self = (struct ckv_poller){ .epoll = -1 };
}
