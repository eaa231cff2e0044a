/*  client: a client that has shown who it is, from its INITIATE to its end.  */
#include "node/gateway/client.h"

#include <stdlib.h>

enum {
    FINISH_MS = 30000, /* for the side that is told that no more comes */
    QUIET_TICKS = 5,   /* of a client that is let go while the gateway drains */
};

/* ---- lists ---- */

static void enlist(struct ckv_client *self, struct ckv_client_list *list)
{
    self->list = list;
    self->previous = list->last;
    self->next = NULL;
    if (list->last)
        list->last->next = self;
    else
        list->first = self;
    list->last = self;
    list->count++;
}

static void delist(struct ckv_client *self)
{
    if (self->previous)
        self->previous->next = self->next;
    else
        self->list->first = self->next;
    if (self->next)
        self->next->previous = self->previous;
    else
        self->list->last = self->previous;
    self->list->count--;
}

void ckv_client_move(struct ckv_client *self, struct ckv_client_list *list)
{
    delist(self);
    enlist(self, list);
}

void ckv_clients_each(struct ckv_client_list *list, void (*step)(struct ckv_client *, uint64_t),
                      uint64_t now)
{
    struct ckv_client *next, *last = list->last;
    for (struct ckv_client *client = list->first; client; client = next) {
        next = client == last ? NULL : client->next;
        step(client, now);
    }
}

/* ---- ending ---- */

static void destroy(struct ckv_client *self)
{
    ckv_count_add(&self->loop->counts.ended, 1);
    delist(self);
    ckv_curve_server_wipe(&self->curve);
    free(self->first);
    free(self);
}

void ckv_client_close(struct ckv_client *self, enum ckv_verdict verdict)
{
    if (self->state == CKV_CLIENT_REACHING)
        ckv_loop_count_verdict(self->loop, verdict);
    if (self->state != CKV_CLIENT_FINISHING) {
        self->deadline = UINT64_MAX;
        ckv_client_move(self, &self->loop->timed);
    }
    self->state = CKV_CLIENT_FINISHING;
    ckv_member_leave(&self->member);
    ckv_stream_close(&self->relay.outer);
    ckv_stream_close(&self->relay.inner);
}

/*  It gets time to read what is on its way. libzmq drops what it has not read when it finds a unix socket closed
    while its own queue is full, so that is left open until the backend closes it.  */
void ckv_client_finish(struct ckv_client *self, struct ckv_stream *stream)
{
    self->state = CKV_CLIENT_FINISHING;
    ckv_member_leave(&self->member);
    self->deadline = uv_now(&self->loop->uv) + FINISH_MS;
    ckv_client_move(self, &self->loop->timed);
    ckv_stream_finish(stream);
}

/*  Lets go of a client that is in: both sides get what is on its way to them.  */
static void leave(struct ckv_client *self)
{
    bool has_inner = !self->member;
    if (has_inner)
        ckv_stream_finish(&self->relay.inner);
    ckv_client_finish(self, &self->relay.outer);
    if (has_inner)
        self->state = CKV_CLIENT_LEAVING;
}

/*  Whether OTHER, of a client that is in, may still have something to take. One that is let go has been
    told that no more comes: then its side stays only for what its socket has refused so far.  */
static bool has_to_take(const struct ckv_client *self, const struct ckv_stream *other)
{
    if (other == &self->relay.inner)
        return self->has_sent;
    return self->state == CKV_CLIENT_RELAYING || ckv_stream_is_blocked(other);
}

void ckv_client_end(struct ckv_client *self, struct ckv_stream *ended, struct ckv_stream *other,
                    enum ckv_verdict verdict)
{
    bool is_in = self->state == CKV_CLIENT_RELAYING || self->state == CKV_CLIENT_LEAVING;
    if (!is_in || !has_to_take(self, other)) {
        ckv_client_close(self, verdict);
        return;
    }
    ckv_stream_close(ended);
    ckv_client_finish(self, other);
}

void ckv_client_closed(void *argument)
{
    struct ckv_client *self = argument;
    if (--self->streams == 0)
        destroy(self);
}

/* ---- standing ---- */

static enum ckv_verdict ask_for(struct ckv_client *self)
{
    struct ckv_admission_proof proof = {
        .storage_key = ckv_octets(self->storage_key, self->storage_key_size),
        .client_key = self->client_key,
        .server_key = self->is_stock ? NULL : self->curve.server_key,
    };
    return ckv_standing_ask(self->loop, &proof);
}

void ckv_clients_ask_next(struct ckv_loop *loop)
{
    struct ckv_client *self = loop->relaying.first;
    if (!self)
        return;
    ckv_client_move(self, &loop->relaying);
    enum ckv_verdict verdict = ask_for(self);
    if (verdict == CKV_ADMITTED)
        return;
    ckv_count_add(&loop->counts.ended_for[verdict], 1);
    leave(self);
}

/* ---- the client's side ---- */

static int on_outer_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_client *self = argument;
    self->quiet_ticks = 0;
    self->has_sent = true;
    if (self->state != CKV_CLIENT_RELAYING)
        return CKV_ERROR_CURVE;
    return self->member ? ckv_member_inwards(self->member, flags, body, size)
                        : ckv_relay_inwards(&self->relay, flags, body, size);
}

static bool on_outer_wanted(void *argument)
{
    struct ckv_client *self = argument;
    return !self->member || ckv_member_wanted(self->member);
}

static void on_outer_ended(void *argument, int why)
{
    struct ckv_client *self = argument;
    (void)why;
    if (self->member)
        ckv_client_close(self, CKV_REFUSED_LEFT);
    else
        ckv_client_end(self, &self->relay.outer, &self->relay.inner, CKV_REFUSED_LEFT);
}

static void on_drained(void *argument)
{
    (void)argument;
}

static const struct ckv_stream_events outer_events = {
    .frame = on_outer_frame,
    .wanted = on_outer_wanted,
    .drained = on_drained,
    .ended = on_outer_ended,
    .closed = ckv_client_closed,
};

/* ---- what the client is told ---- */

static int put_command(struct ckv_client *self, const void *command, size_t size)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t header_size = ckv_zmtp_header_write(header, CKV_ZMTP_COMMAND, size);
    int rc = ckv_stream_put(&self->relay.outer, header, header_size);
    return rc == CKV_OK ? ckv_stream_put(&self->relay.outer, command, size) : rc;
}

/*  Turns the client away with an ERROR that has this reason.  */
static int refuse(struct ckv_client *self, const char *reason, enum ckv_verdict verdict)
{
    uint8_t error[CKV_CURVE_ERROR_MAX];
    int rc = ckv_curve_server_error(&self->curve, reason, error);
    if (rc == CKV_OK)
        rc = put_command(self, error, CKV_CURVE_ERROR_OVERHEAD + strlen(reason));
    if (rc != CKV_OK)
        return rc;
    ckv_loop_count_verdict(self->loop, verdict);
    ckv_client_finish(self, &self->relay.outer);
    return CKV_ERROR_REFUSED;
}

int ckv_client_pass_on_error(struct ckv_client *self, struct ckv_octets data)
{
    char text[CKV_CURVE_REASON_MAX + 1] = "";
    struct ckv_octets reason;
    if (ckv_zmtp_error_parse(data, &reason) != CKV_OK)
        return CKV_ERROR_ZMTP;
    memcpy(text, reason.data, reason.size);
    return refuse(self, text, CKV_REFUSED_BY_BACKEND);
}

/*  The certificate has changed while the backend was reached for.  */
static int turn_away(struct ckv_client *self, enum ckv_verdict verdict)
{
    if (!ckv_verdict_is_told(verdict)) {
        ckv_loop_count_verdict(self->loop, verdict);
        ckv_client_finish(self, &self->relay.outer);
        return CKV_ERROR_REFUSED;
    }
    ckv_count_add(&self->loop->counts.told, 1);
    return refuse(self, "400", verdict);
}

int ckv_client_ask_again(struct ckv_client *self)
{
    enum ckv_verdict verdict = ask_for(self);
    return verdict == CKV_ADMITTED ? CKV_OK : turn_away(self, verdict);
}

int ckv_client_make_ready(struct ckv_client *self, struct ckv_octets metadata)
{
    uint8_t ready[CKV_CURVE_READY_MAX];
    int rc = ckv_curve_server_ready(&self->curve, metadata, ready);
    if (rc == CKV_OK)
        rc = put_command(self, ready, CKV_CURVE_READY_OVERHEAD + metadata.size);
    if (rc != CKV_OK)
        return rc;
    free(self->first);
    self->first = NULL;
    self->state = CKV_CLIENT_RELAYING;
    ckv_client_move(self, &self->loop->relaying);
    ckv_count_add(&self->loop->counts.handshakes, 1);
    ckv_outage_tried(self->loop->outage, CKV_OK);
    return CKV_OK;
}

/* ---- beginning ---- */

int ckv_clients_open(struct ckv_loop *loop)
{
    ckv_clients_open_own(loop);
    return loop->options->shares_backend ? ckv_clients_open_shared(loop) : CKV_OK;
}

/*  What it takes to the backend: a place in the shared connection, or words of its own for a
    connection of its own; both while it is not known which.  */
static int prepare(struct ckv_client *self, const struct ckv_client_start *start)
{
    struct ckv_shared *shared = self->loop->shared;
    bool shares = shared && ckv_client_may_share(start->metadata, &self->is_req);
    int rc = CKV_OK;
    if (!shares || ckv_shared_answer(shared, self->is_req) != CKV_SHARED_TAKES)
        rc = ckv_client_prepare_own(self, start);
    if (rc == CKV_OK && shares)
        rc = ckv_member_new(&self->member, shared, &self->relay, start->certificate->storage_key,
                            self);
    return rc;
}

int ckv_client_begin(struct ckv_loop *loop, const struct ckv_client_start *start)
{
    struct ckv_octets storage_key = start->certificate->storage_key;
    struct ckv_client *self = calloc(1, sizeof(*self) + storage_key.size);
    if (!self)
        return CKV_ERROR_MEMORY;
    self->loop = loop;
    int rc = prepare(self, start);
    if (rc == CKV_OK)
        rc = ckv_stream_take(&self->relay.outer, start->watch, loop->room, &outer_events, self,
                             0); /* nothing is due before it is ready */
    if (rc != CKV_OK) {
        ckv_member_leave(&self->member);
        free(self->first);
        free(self);
        return rc;
    }
    self->streams = 1;
    self->curve = *start->curve;
    self->is_stock = start->is_stock;
    memcpy(self->client_key, start->certificate->client_public_key, sizeof(self->client_key));
    self->storage_key_size = (uint8_t)storage_key.size;
    memcpy(self->storage_key, storage_key.data, storage_key.size);
    self->relay.session = &self->curve.session;
    self->relay.counts = &loop->counts.relayed;
    self->relay.outer_minor = start->minor;
    self->relay.outer_subscribes = ckv_relay_subscribes(start->metadata);
    self->deadline = uv_now(&loop->uv) + loop->options->handshake_ms;
    enlist(self, &loop->timed);
    ckv_count_add(&loop->counts.began, 1);
    if (self->member)
        ckv_client_join(self);
    else if (loop->shared && ckv_shared_deals(ckv_shared_metadata(loop->shared)))
        self->deadline = 0;
    else
        ckv_client_reach(self);
    return CKV_OK;
}

/* ---- time ---- */

static void tick_timed(struct ckv_client *self, uint64_t now)
{
    bool inner_is_closed = self->streams == 1;
    if (self->deadline <= now && self->state == CKV_CLIENT_REACHING && !self->member)
        ckv_client_count_lateness(self);
    if (self->deadline <= now)
        ckv_client_close(self, CKV_REFUSED_BACKEND);
    else if (self->state == CKV_CLIENT_REACHING && self->list == &self->loop->timed &&
             inner_is_closed)
        ckv_client_reach(self);
}

/*  While the gateway drains: lets go of a client once nothing moves.  */
static void tick_draining(struct ckv_client *self, uint64_t now)
{
    (void)now;
    bool blocked =
        ckv_stream_is_blocked(&self->relay.outer) || ckv_stream_is_blocked(&self->relay.inner);
    if (self->member && ckv_member_has_moved(self->member))
        self->quiet_ticks = 0;
    else if (!blocked && ++self->quiet_ticks >= QUIET_TICKS)
        leave(self);
}

bool ckv_clients_here(const struct ckv_loop *loop)
{
    return loop->timed.first || loop->queued.first || loop->joining.first || loop->relaying.first;
}

void ckv_clients_tick(struct ckv_loop *loop, uint64_t now)
{
    ckv_clients_each(&loop->queued, tick_timed, now);
    ckv_clients_each(&loop->joining, tick_timed, now);
    ckv_clients_each(&loop->timed, tick_timed, now);
    if (loop->drained_by)
        ckv_clients_each(&loop->relaying, tick_draining, now);
    if (loop->shared)
        ckv_clients_tick_shared(loop, now);
}

bool ckv_clients_any(const struct ckv_loop *loop)
{
    return ckv_clients_here(loop) || (loop->shared && ckv_shared_is_open(loop->shared));
}

static void end_at_once(struct ckv_client *self, uint64_t now)
{
    (void)now;
    ckv_client_close(self, CKV_REFUSED_BACKEND);
}

void ckv_clients_end(struct ckv_loop *loop)
{
    ckv_clients_each(&loop->queued, end_at_once, 0);
    ckv_clients_each(&loop->joining, end_at_once, 0);
    ckv_clients_each(&loop->relaying, end_at_once, 0);
    ckv_clients_each(&loop->timed, end_at_once, 0);
    if (loop->shared)
        ckv_shared_close(loop->shared);
}
