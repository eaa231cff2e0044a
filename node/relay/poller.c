#include "node/relay/poller.h"

#include <stddef.h>
#include <unistd.h>

enum { EVENTS = 128 }; /* of one round */

/* ---- watches ---- */

static int epoll_of(const struct ckv_watch *self)
{
    return self->kind->is_urgent ? self->poller->urgent : self->poller->epoll;
}

/*  A peer that hangs up is told of even where nothing is asked for: by its edge, so that it is told
    once.  */
static int tell_epoll(struct ckv_watch *self, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events ? events : EPOLLET, .data.ptr = self };
    self->watched = events;
    return epoll_ctl(epoll_of(self), operation, self->fd, &event);
}

/*  This takes no memory, and so does not fail.  */
static void watch(struct ckv_watch *self, uint32_t events)
{
    (void)tell_epoll(self, EPOLL_CTL_MOD, events);
}

void ckv_watch_hold(struct ckv_watch *self, struct ckv_poller *poller, int fd)
{
    static const struct ckv_watch_kind held = { .closed = NULL };
    *self = (struct ckv_watch){ .poller = poller, .kind = &held, .fd = fd };
}

int ckv_watch_open(struct ckv_watch *self, struct ckv_poller *poller, int fd, uint32_t events,
                   const struct ckv_watch_kind *kind)
{
    *self = (struct ckv_watch){ .poller = poller, .kind = kind, .fd = fd, .asked = events };
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

int ckv_watch_take(struct ckv_watch *self, struct ckv_watch *from, uint32_t events,
                   const struct ckv_watch_kind *kind)
{
    *self =
        (struct ckv_watch){ .poller = from->poller, .kind = kind, .fd = from->fd, .asked = events };
    bool moves = epoll_of(self) != epoll_of(from);
    if (tell_epoll(self, moves ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, events) != 0)
        return CKV_ERROR_MEMORY;
    if (moves)
        (void)epoll_ctl(epoll_of(from), EPOLL_CTL_DEL, from->fd, NULL);
    forget(from);
    return CKV_OK;
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
        closed->kind->closed(closed);
    }
}

static void end(struct ckv_watch *self)
{
    forget(self);
    if (!self->kind->closed)
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
    (void)epoll_ctl(epoll_of(self), EPOLL_CTL_DEL, self->fd, NULL);
    end(self);
}

/* ---- the loop ---- */

static void tell(struct ckv_watch *self, uint32_t events)
{
    uint32_t told = events & (EPOLLHUP | EPOLLERR) ? self->asked : events & self->asked;
    if (told)
        self->kind->happened(self, told);
    else if (self->watched != self->asked)
        watch(self, self->asked);
}

/*  Whose turn it is besides the watches.  */
struct due {
    bool uv, urgent;
};

/*  Waits for what happens in EPOLL, for TIMEOUT ms at most, and tells it.  */
static struct due tell_all(struct ckv_poller *self, int epoll, int timeout)
{
    struct epoll_event events[EVENTS];
    struct due due = { false, false };
    self->count = epoll_wait(epoll, events, EVENTS, timeout);
    self->events = events;
    self->is_full = self->count == EVENTS;
    if (timeout)
        uv_update_time(self->uv);
    for (self->at = 0; self->at < self->count;) {
        const struct epoll_event *event = &events[self->at++];
        if (event->data.ptr == self->uv)
            due.uv = true;
        else if (event->data.ptr == self)
            due.urgent = true;
        else if (event->data.ptr)
            tell(event->data.ptr, event->events);
    }
    self->events = NULL;
    self->at = self->count = 0;
    return due;
}

void ckv_poller_round(struct ckv_poller *self, bool waits)
{
    uv_update_time(self->uv);
    bool is_idle = waits && !self->is_busy && !self->closed;
    struct due due = tell_all(self, self->epoll, is_idle ? uv_backend_timeout(self->uv) : 0);
    bool is_full = self->is_full;
    if (due.urgent || is_full)
        (void)tell_all(self, self->urgent, 0);
    self->is_full |= is_full;
    if (due.uv || uv_backend_timeout(self->uv) == 0)
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

static bool nest(const struct ckv_poller *self, int fd, void *name)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = name };
    return fd >= 0 && epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

int ckv_poller_open(struct ckv_poller *self, uv_loop_t *uv, bool (*after)(void *argument),
                    void *argument)
{
    *self = (struct ckv_poller){ .uv = uv,
                                 .after = after,
                                 .argument = argument,
                                 .epoll = epoll_create1(EPOLL_CLOEXEC),
                                 .urgent = epoll_create1(EPOLL_CLOEXEC) };
    if (self->epoll >= 0 && nest(self, self->urgent, self) && nest(self, uv_backend_fd(uv), uv))
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
    if (self->urgent >= 0)
        close(self->urgent);
    *self = (struct ckv_poller){ .epoll = -1, .urgent = -1 };
}
