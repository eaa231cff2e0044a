#include "node/relay/poller.h"

#include <stddef.h>
#include <unistd.h>

enum { EVENTS = 128 }; /* of one round */

/* ---- watches ---- */

/*  A peer that hangs up is told of even where nothing is asked for: by its edge, so that it is told once.
    No change of what is watched takes memory.  */
static void watch(struct ckv_watch *self, uint32_t events)
{
    struct epoll_event event = { .events = events ? events : EPOLLET, .data.ptr = self };
    self->watched = events;
    (void)epoll_ctl(self->poller->epoll, EPOLL_CTL_MOD, self->fd, &event);
}

int ckv_watch_open(struct ckv_watch *self, struct ckv_poller *poller, int fd,
                   void (*happened)(struct ckv_watch *self, uint32_t events),
                   void (*closed)(struct ckv_watch *self))
{
    struct epoll_event event = { .events = EPOLLIN,
                                 .data.ptr = self }; /* what is asked for first */
    *self = (struct ckv_watch){
        .poller = poller, .happened = happened, .closed = closed, .fd = fd, .watched = EPOLLIN
    };
    return epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? CKV_OK : CKV_ERROR_MEMORY;
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

static void on_idle(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    tell_closed(idle->data);
}

void ckv_watch_close(struct ckv_watch *self)
{
    struct ckv_poller *poller = self->poller;
    close(self->fd); /* which takes it out of epoll */
    self->fd = -1;
    for (int i = poller->at; i < poller->count; i++)
        if (poller->events[i].data.ptr == self)
            poller->events[i].data.ptr = NULL;
    self->next = poller->closed;
    poller->closed = self;
    if (!poller->events)
        uv_idle_start(&poller->idle, on_idle);
}

/* ---- the poller ---- */

static void tell(struct ckv_watch *self, uint32_t events)
{
    uint32_t told = events & (EPOLLHUP | EPOLLERR) ? self->asked : events & self->asked;
    if (told)
        self->happened(self, told);
    else if (self->watched != self->asked)
        watch(self, self->asked);
}

static void on_poll(uv_poll_t *poll, int status, int ignored)
{
    struct ckv_poller *self = poll->data;
    struct epoll_event events[EVENTS];
    (void)status;
    (void)ignored;
    self->count = epoll_wait(self->epoll, events, EVENTS, 0);
    self->events = events;
    for (self->at = 0; self->at < self->count;) {
        const struct epoll_event *event = &events[self->at++];
        if (event->data.ptr)
            tell(event->data.ptr, event->events);
    }
    self->events = NULL;
    self->at = self->count = 0;
    tell_closed(self);
}

int ckv_poller_open(struct ckv_poller *self, uv_loop_t *loop)
{
    *self = (struct ckv_poller){ .epoll = epoll_create1(EPOLL_CLOEXEC) };
    if (self->epoll < 0 || uv_poll_init(loop, &self->poll, self->epoll) != 0) {
        if (self->epoll >= 0)
            close(self->epoll);
        *self = (struct ckv_poller){ .epoll = -1 };
        return CKV_ERROR_MEMORY;
    }
    uv_idle_init(loop, &self->idle);
    self->poll.data = self->idle.data = self;
    uv_poll_start(&self->poll, UV_READABLE, on_poll);
    return CKV_OK;
}

void ckv_poller_close(struct ckv_poller *self)
{
    if (!self->poll.data)
        return;
    tell_closed(self);
    uv_close((uv_handle_t *)&self->poll, NULL);
    uv_close((uv_handle_t *)&self->idle, NULL);
    close(self->epoll);
    self->poll.data = NULL;
}
