/*  client_own: a client with a connection of its own to the backend.  */
#include "node/gateway/client.h"
#include "node/gateway/introduction.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    QUEUE_MS = 1, /* a stock backend's queue has 100 places, and is soon empty again */
    FIRST_TO_BACKEND = CKV_ZMTP_GREETING_SIZE + CKV_INTRODUCTION_MAX,
};

/* ---- what the backend says ---- */

static int on_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    struct ckv_client *self = argument;
    self->relay.inner_minor = greeting->minor;
    return strcmp(greeting->mechanism, "NULL") == 0 ? CKV_OK : CKV_ERROR_ZMTP;
}

/*  Frames go both ways. But not where others share a connection to a backend that would deal what is for
    them to this one, too.  */
static int connect_both(struct ckv_client *self, struct ckv_octets metadata)
{
    if (self->loop->shared && ckv_shared_deals(metadata))
        return CKV_ERROR_PEER_TYPE;
    int rc = ckv_client_ask_again(self);
    if (rc == CKV_OK)
        rc = ckv_client_make_ready(self, metadata);
    if (rc != CKV_OK)
        return rc;
    self->relay.inner_subscribes = ckv_relay_subscribes(metadata);
    ckv_relay_begin(&self->relay, self->loop->options->max_message);
    ckv_stream_read(&self->relay.outer, true);
    return CKV_OK;
}

static int on_backend_command(struct ckv_client *self, uint8_t flags, struct ckv_octets body)
{
    struct ckv_zmtp_command command;
    if (flags != CKV_ZMTP_COMMAND || ckv_zmtp_command_parse(body, &command) != CKV_OK)
        return CKV_ERROR_ZMTP;
    if (ckv_zmtp_command_is(&command, "READY"))
        return connect_both(self, command.data);
    return ckv_zmtp_command_is(&command, "ERROR") ? ckv_client_pass_on_error(self, command.data)
                                                  : CKV_ERROR_ZMTP;
}

static int on_inner_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_client *self = argument;
    self->quiet_ticks = 0;
    if (self->state == CKV_CLIENT_RELAYING)
        return ckv_relay_outwards(&self->relay, flags, body, size);
    return self->state == CKV_CLIENT_REACHING
               ? on_backend_command(self, flags, ckv_octets(body, size))
               : CKV_ERROR_ZMTP;
}

/* ---- when it is not there ---- */

/*  The backend could not be reached, because of ERROR.  */
static void count_failure(struct ckv_client *self, int error)
{
    ckv_host_failed(&self->loop->backend, self->tried, uv_now(&self->loop->uv));
    ckv_outage_tried(self->loop->outage, error);
}

/*  An address that has gone may not even say no; one that said it each time
    has been counted.  */
void ckv_client_count_lateness(struct ckv_client *self)
{
    bool has_said_no = self->streams == 1 && self->list == &self->loop->timed;
    if (self->is_reached)
        ckv_outage_tried(self->loop->outage, CKV_ERROR_TIMEOUT);
    else
        count_failure(self, has_said_no ? CKV_ERROR_NO_SERVER : CKV_ERROR_TIMEOUT);
}

/*  A backend that could not be reached is tried again at the next tick, and one that has turned the
    client away is not asked again: the client's side stays.  */
static void on_inner_ended(void *argument, int why)
{
    struct ckv_client *self = argument;
    bool is_unreached = self->state == CKV_CLIENT_REACHING && !self->is_reached;
    if (is_unreached)
        count_failure(self, CKV_ERROR_NO_SERVER);
    else if (self->state == CKV_CLIENT_REACHING && why != CKV_ERROR_REFUSED &&
             why != CKV_ERROR_PEER_TYPE)
        ckv_outage_tried(self->loop->outage, ckv_outage_error(why, true));
    if (why == CKV_ERROR_REFUSED || is_unreached)
        ckv_stream_close(&self->relay.inner);
    else
        ckv_client_end(self, &self->relay.inner, &self->relay.outer, CKV_REFUSED_BACKEND);
}

static void on_reached(void *argument)
{
    struct ckv_client *self = argument;
    self->is_reached = true;
}

static const struct ckv_stream_events inner_events = {
    .greeted = on_greeted,
    .frame = on_inner_frame,
    .drained = on_reached,
    .ended = on_inner_ended,
    .closed = ckv_client_closed,
};

/* ---- reaching for the backend ---- */

static int open_inner(struct ckv_client *self, int fd, bool connecting)
{
    struct ckv_stream *inner = &self->relay.inner;
    int rc = ckv_stream_open(inner, &self->loop->poller, self->loop->room, fd, connecting,
                             &inner_events, self, CKV_RELAY_INNER_HANDSHAKE_MAX);
    if (rc != CKV_OK)
        return rc;
    self->streams++;
    self->is_reached = !connecting;
    ckv_stream_expect_greeting(inner);
    ckv_stream_read(inner, true);
    rc = ckv_stream_put(inner, self->first, self->first_size);
    return rc == CKV_OK ? ckv_stream_flush(inner) : rc;
}

/*  What does not work now may at the next tick. Returns CKV_ERROR_TIMEOUT when it may sooner: the
    backend has yet to accept those who are in its queue.  */
static int reach(struct ckv_client *self)
{
    bool connecting;
    int fd;
    self->tried = (uint8_t)self->loop->backend.current;
    int rc = ckv_endpoint_connect(ckv_host_address(&self->loop->backend), &fd, &connecting);
    if (rc == CKV_ERROR_NOT_REACHABLE)
        count_failure(self, CKV_ERROR_NO_SERVER);
    if (rc != CKV_OK)
        return rc;
    rc = open_inner(self, fd, connecting);
    if (rc != CKV_OK && self->relay.inner.is_open)
        ckv_stream_close(&self->relay.inner);
    else if (rc != CKV_OK)
        close(fd);
    return rc;
}

static void on_queue(uv_timer_t *timer)
{
    struct ckv_loop *loop = timer->data;
    struct ckv_client *first;
    while ((first = loop->queued.first) && reach(first) != CKV_ERROR_TIMEOUT)
        ckv_client_move(first, &loop->timed);
    if (first)
        uv_timer_start(timer, on_queue, QUEUE_MS, 0);
}

void ckv_client_reach(struct ckv_client *self)
{
    struct ckv_loop *loop = self->loop;
    if (!loop->queued.first && reach(self) != CKV_ERROR_TIMEOUT)
        return;
    ckv_client_move(self, &loop->queued);
    if (!uv_is_active((const uv_handle_t *)&loop->queue))
        uv_timer_start(&loop->queue, on_queue, QUEUE_MS, 0);
}

/*  Greeting and READY go at once: the backend's greeting could not change them.  */
int ckv_client_prepare_own(struct ckv_client *self, const struct ckv_client_start *start)
{
    uint8_t first[FIRST_TO_BACKEND];
    ckv_zmtp_greeting_write((struct ckv_zmtp_greeting_octets *)first, "NULL", false);
    int size =
        ckv_introduction_write(first + CKV_ZMTP_GREETING_SIZE, start->certificate, start->metadata);
    if (size < 0)
        return size;
    self->first_size = CKV_ZMTP_GREETING_SIZE + (size_t)size;
    self->first = malloc(self->first_size);
    if (!self->first)
        return CKV_ERROR_MEMORY;
    memcpy(self->first, first, self->first_size);
    return CKV_OK;
}

void ckv_clients_open_own(struct ckv_loop *loop)
{
    uv_timer_init(&loop->uv, &loop->queue);
    loop->queue.data = loop;
}
