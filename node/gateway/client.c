/*  client: a client that has shown who it is, from its INITIATE to its end.  */
#include "core/properties.h"
#include "node/gateway/introduction.h"
#include "node/gateway/parts.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FINISH_MS = 30000, /* for the side that is told that no more comes */
    QUEUE_MS = 1,      /* a stock backend's queue has 100 places, and is soon empty again */
    QUIET_TICKS = 5,   /* of a client that is let go while the gateway drains */
    FIRST_TO_BACKEND = CKV_ZMTP_GREETING_SIZE + CKV_INTRODUCTION_MAX,
};

enum state {
    REACHING, /* for the backend, until its READY */
    RELAYING,
    LEAVING,   /* both sides are told that no more comes */
    FINISHING, /* one side has ended; the other is told so */
};

struct ckv_client {
    struct ckv_relay relay; /* outer: the client, inner: the backend */
    struct ckv_curve_server curve;
    struct ckv_loop *loop;
    struct ckv_client_list *list;
    struct ckv_client *previous, *next;
    struct ckv_member *member; /* of the shared connection; NULL: it has one of its own */
    uint64_t deadline;
    uint8_t *first; /* greeting and READY for the backend, until it has answered */
    size_t first_size;
    uint8_t streams; /* that are not closed yet */
    uint8_t state;
    uint8_t quiet_ticks;
    uint8_t tried;   /* which address of the backend's */
    bool is_reached; /* the backend is connected */
    bool has_sent;   /* the client, at least one frame */
    bool is_req;
    bool is_stock;
    uint8_t client_key[32]; /* with this and what follows it is asked for again */
    uint8_t storage_key_size;
    uint8_t storage_key[]; /* of its certificate */
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

static void move(struct ckv_client *self, struct ckv_client_list *list)
{
    delist(self);
    enlist(self, list);
}

/*  Calls STEP for each client that is in LIST now; it may move them behind the last.  */
static void for_each(struct ckv_client_list *list, void (*step)(struct ckv_client *, uint64_t),
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

/*  Both sides at once; the memory goes with the last callback. VERDICT is why, if the client was not
    let in yet.  */
static void close_both(struct ckv_client *self, enum ckv_verdict verdict)
{
    if (self->state == REACHING)
        ckv_loop_count_verdict(self->loop, verdict);
    if (self->state != FINISHING) {
        self->deadline = UINT64_MAX;
        move(self, &self->loop->timed);
    }
    self->state = FINISHING;
    ckv_member_leave(&self->member);
    ckv_stream_close(&self->relay.outer);
    ckv_stream_close(&self->relay.inner);
}

/*  STREAM stays for as long as it takes to say that no more comes.

    It gets time to read what is on its way. libzmq drops what it has not read when it finds a unix socket closed
    while its own queue is full, so that is left open until the backend closes it.  */
static void finish(struct ckv_client *self, struct ckv_stream *stream)
{
    self->state = FINISHING;
    ckv_member_leave(&self->member);
    self->deadline = uv_now(&self->loop->uv) + FINISH_MS;
    move(self, &self->loop->timed);
    ckv_stream_finish(stream);
}

/*  Lets go of a client that is in: both sides get what is on its way to them.  */
static void leave(struct ckv_client *self)
{
    bool has_inner = !self->member;
    if (has_inner)
        ckv_stream_finish(&self->relay.inner);
    finish(self, &self->relay.outer);
    if (has_inner)
        self->state = LEAVING;
}

/*  Whether OTHER, of a client that is in, may still have something to take. One that is let go has been
    told that no more comes: then its side stays only for what its socket has refused so far.  */
static bool has_to_take(const struct ckv_client *self, const struct ckv_stream *other)
{
    if (other == &self->relay.inner)
        return self->has_sent;
    return self->state == RELAYING || ckv_stream_is_blocked(other);
}

/*  ENDED has ended, and OTHER is the other one.  */
static void end(struct ckv_client *self, struct ckv_stream *ended, struct ckv_stream *other,
                enum ckv_verdict verdict)
{
    bool is_in = self->state == RELAYING || self->state == LEAVING;
    if (!is_in || !has_to_take(self, other)) {
        close_both(self, verdict);
        return;
    }
    ckv_stream_close(ended);
    finish(self, other);
}

static void on_closed(void *argument)
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
    move(self, &loop->relaying);
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
    if (self->state != RELAYING)
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
        close_both(self, CKV_REFUSED_LEFT);
    else
        end(self, &self->relay.outer, &self->relay.inner, CKV_REFUSED_LEFT);
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
    .closed = on_closed,
};

/* ---- the backend's side ---- */

static int on_greeted(void *argument, const struct ckv_zmtp_greeting *greeting)
{
    struct ckv_client *self = argument;
    self->relay.inner_minor = greeting->minor;
    return strcmp(greeting->mechanism, "NULL") == 0 ? CKV_OK : CKV_ERROR_ZMTP;
}

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
    finish(self, &self->relay.outer);
    return CKV_ERROR_REFUSED;
}

/*  The backend turns the client away.  */
static int pass_on_error(struct ckv_client *self, struct ckv_octets data)
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
        finish(self, &self->relay.outer);
        return CKV_ERROR_REFUSED;
    }
    ckv_count_add(&self->loop->counts.told, 1);
    return refuse(self, "400", verdict);
}

/*  Whether a client that has waited for the backend still may come in.  */
static int ask_again(struct ckv_client *self)
{
    enum ckv_verdict verdict = ask_for(self);
    return verdict == CKV_ADMITTED ? CKV_OK : turn_away(self, verdict);
}

/*  The backend is ready: so is the client.  */
static int make_ready(struct ckv_client *self, struct ckv_octets metadata)
{
    uint8_t ready[CKV_CURVE_READY_MAX];
    int rc = ckv_curve_server_ready(&self->curve, metadata, ready);
    if (rc == CKV_OK)
        rc = put_command(self, ready, CKV_CURVE_READY_OVERHEAD + metadata.size);
    if (rc != CKV_OK)
        return rc;
    free(self->first);
    self->first = NULL;
    self->state = RELAYING;
    move(self, &self->loop->relaying);
    ckv_count_add(&self->loop->counts.handshakes, 1);
    ckv_outage_tried(self->loop->outage, CKV_OK);
    return CKV_OK;
}

/*  Frames go both ways. But not where others share a connection to a backend that would deal what is for
    them to this one, too.  */
static int connect_both(struct ckv_client *self, struct ckv_octets metadata)
{
    if (self->loop->shared && ckv_shared_deals(metadata))
        return CKV_ERROR_PEER_TYPE;
    int rc = ask_again(self);
    if (rc == CKV_OK)
        rc = make_ready(self, metadata);
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
    return ckv_zmtp_command_is(&command, "ERROR") ? pass_on_error(self, command.data)
                                                  : CKV_ERROR_ZMTP;
}

static int on_inner_frame(void *argument, uint8_t flags, uint8_t *body, size_t size)
{
    struct ckv_client *self = argument;
    self->quiet_ticks = 0;
    if (self->state == RELAYING)
        return ckv_relay_outwards(&self->relay, flags, body, size);
    return self->state == REACHING ? on_backend_command(self, flags, ckv_octets(body, size))
                                   : CKV_ERROR_ZMTP;
}

/*  The backend could not be reached, because of ERROR.  */
static void count_failure(struct ckv_client *self, int error)
{
    ckv_host_failed(&self->loop->backend, self->tried, uv_now(&self->loop->uv));
    ckv_outage_tried(self->loop->outage, error);
}

/*  A backend that could not be reached is tried again at the next tick, and one that has turned the
    client away is not asked again: the client's side stays.  */
static void on_inner_ended(void *argument, int why)
{
    struct ckv_client *self = argument;
    bool is_unreached = self->state == REACHING && !self->is_reached;
    if (is_unreached)
        count_failure(self, CKV_ERROR_NO_SERVER);
    else if (self->state == REACHING && why != CKV_ERROR_REFUSED && why != CKV_ERROR_PEER_TYPE)
        ckv_outage_tried(self->loop->outage, ckv_outage_error(why, true));
    if (why == CKV_ERROR_REFUSED || is_unreached)
        ckv_stream_close(&self->relay.inner);
    else
        end(self, &self->relay.inner, &self->relay.outer, CKV_REFUSED_BACKEND);
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
    .closed = on_closed,
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
        move(first, &loop->timed);
    if (first)
        uv_timer_start(timer, on_queue, QUEUE_MS, 0);
}

/*  Whoever comes while others are queued stands behind them.  */
static void reach_in_turn(struct ckv_client *self)
{
    struct ckv_loop *loop = self->loop;
    if (!loop->queued.first && reach(self) != CKV_ERROR_TIMEOUT)
        return;
    move(self, &loop->queued);
    if (!uv_is_active((const uv_handle_t *)&loop->queue))
        uv_timer_start(&loop->queue, on_queue, QUEUE_MS, 0);
}

/*  Greeting and READY go at once: the backend's greeting could not change them.  */
static int write_first(struct ckv_client *self, const struct ckv_client_start *start)
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

/* ---- the shared connection ---- */

/*  Whether a client with the properties METADATA may share a connection: its messages come one by one,
    and what it gets is for it alone.  */
static bool may_share(struct ckv_octets metadata, bool *is_req)
{
    struct ckv_octets type;
    if (ckv_properties_get(metadata, "Socket-Type", &type) != 1)
        return false;
    *is_req = ckv_octets_equal(type, ckv_octets_text("REQ"));
    return *is_req || ckv_octets_equal(type, ckv_octets_text("DEALER"));
}

static void join(struct ckv_client *self)
{
    if (make_ready(self, ckv_shared_metadata(self->loop->shared)) != CKV_OK) {
        self->deadline = 0;
        return;
    }
    ckv_stream_bound(&self->relay.outer, CKV_RELAY_OUTER_MAX(self->loop->options->max_message));
    (void)ckv_stream_flush(&self->relay.outer);
    ckv_stream_read(&self->relay.outer, true);
}

/*  Joins the shared connection or reaches for the backend itself, if that can be told by now.  */
static void join_or_reach(struct ckv_client *self)
{
    struct ckv_loop *loop = self->loop;
    switch (ckv_shared_answer(loop->shared, self->is_req)) {
    case CKV_SHARED_UNKNOWN:
        if (!loop->joining.first)
            ckv_shared_want(loop->shared);
        move(self, &loop->joining);
        break;
    case CKV_SHARED_TAKES:
        join(self);
        break;
    case CKV_SHARED_OWN:
        ckv_member_leave(&self->member);
        move(self, &loop->timed);
        reach_in_turn(self);
        break;
    case CKV_SHARED_NEITHER:
        self->deadline = 0;
    }
}

static void go_on(struct ckv_client *self, uint64_t now)
{
    (void)now;
    int rc = ask_again(self);
    if (rc == CKV_OK)
        join_or_reach(self);
    else if (rc != CKV_ERROR_REFUSED) /* else it was told so */
        self->deadline = 0;
}

static void on_shared_told(void *argument)
{
    struct ckv_loop *loop = argument;
    for_each(&loop->joining, go_on, 0);
}

static void on_shared_refused(void *argument, struct ckv_octets data)
{
    struct ckv_loop *loop = argument;
    struct ckv_client *next;
    for (struct ckv_client *client = loop->joining.first; client; client = next) {
        next = client->next;
        (void)pass_on_error(client, data);
    }
}

static void finish_member(struct ckv_client *self, uint64_t now)
{
    (void)now;
    if (self->member)
        finish(self, &self->relay.outer);
}

static void on_shared_down(void *argument)
{
    struct ckv_loop *loop = argument;
    for_each(&loop->relaying, finish_member, 0);
}

static void on_silent(void *argument)
{
    close_both(argument, CKV_REFUSED_LEFT);
}

static int open_shared(struct ckv_loop *loop)
{
    static const struct ckv_shared_events events = {
        .told = on_shared_told,
        .refused = on_shared_refused,
        .down = on_shared_down,
        .silent = on_silent,
    };
    struct ckv_shared_options options = {
        .backend = &loop->backend,
        .reach_ms = loop->options->handshake_ms,
        .uv = &loop->uv,
        .poller = &loop->poller,
        .room = loop->room,
        .max_message = loop->options->max_message,
        .loop = loop->number,
        .is_only_loop = loop->options->loops == 1,
        .events = &events,
        .argument = loop,
        .counts = &loop->counts.shared,
        .outage = loop->outage,
    };
    return ckv_shared_new(&loop->shared, &options);
}

/* ---- beginning ---- */

int ckv_clients_open(struct ckv_loop *loop)
{
    uv_timer_init(&loop->uv, &loop->queue);
    loop->queue.data = loop;
    return loop->options->shares_backend ? open_shared(loop) : CKV_OK;
}

/*  What it takes to the backend: a place in the shared connection, or words of its own for a
    connection of its own; both while it is not known which.  */
static int prepare(struct ckv_client *self, const struct ckv_client_start *start)
{
    struct ckv_shared *shared = self->loop->shared;
    bool shares = shared && may_share(start->metadata, &self->is_req);
    int rc = CKV_OK;
    if (!shares || ckv_shared_answer(shared, self->is_req) != CKV_SHARED_TAKES)
        rc = write_first(self, start);
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
    if (rc != CKV_OK) {
        free(self->first);
        free(self);
        return rc;
    }
    ckv_stream_take(&self->relay.outer, start->watch, loop->room, &outer_events, self,
                    0); /* nothing is due before it is ready */
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
        join_or_reach(self);
    else if (loop->shared && ckv_shared_deals(ckv_shared_metadata(loop->shared)))
        self->deadline = 0;
    else
        reach_in_turn(self);
    return CKV_OK;
}

/* ---- time ---- */

/*  The backend has had its time. An address that has gone may not even say no; one that said it each time
    has been counted.  */
static void count_lateness(struct ckv_client *self)
{
    bool has_said_no = self->streams == 1 && self->list == &self->loop->timed;
    if (self->is_reached)
        ckv_outage_tried(self->loop->outage, CKV_ERROR_TIMEOUT);
    else
        count_failure(self, has_said_no ? CKV_ERROR_NO_SERVER : CKV_ERROR_TIMEOUT);
}

static void tick_timed(struct ckv_client *self, uint64_t now)
{
    bool inner_is_closed = self->streams == 1;
    if (self->deadline <= now && self->state == REACHING && !self->member)
        count_lateness(self);
    if (self->deadline <= now)
        close_both(self, CKV_REFUSED_BACKEND);
    else if (self->state == REACHING && self->list == &self->loop->timed && inner_is_closed)
        reach_in_turn(self);
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

static bool has_clients(const struct ckv_loop *loop)
{
    return loop->timed.first || loop->queued.first || loop->joining.first || loop->relaying.first;
}

/*  While the gateway drains, the shared connection stays for as long as there are clients.  */
static void tick_shared(struct ckv_loop *loop, uint64_t now)
{
    if (loop->joining.first)
        ckv_shared_want(loop->shared);
    ckv_shared_tick(loop->shared, now);
    if (loop->drained_by && !has_clients(loop))
        ckv_shared_finish(loop->shared);
}

void ckv_clients_tick(struct ckv_loop *loop, uint64_t now)
{
    for_each(&loop->queued, tick_timed, now);
    for_each(&loop->joining, tick_timed, now);
    for_each(&loop->timed, tick_timed, now);
    if (loop->drained_by)
        for_each(&loop->relaying, tick_draining, now);
    if (loop->shared)
        tick_shared(loop, now);
}

bool ckv_clients_any(const struct ckv_loop *loop)
{
    return has_clients(loop) || (loop->shared && ckv_shared_is_open(loop->shared));
}

static void end_at_once(struct ckv_client *self, uint64_t now)
{
    (void)now;
    close_both(self, CKV_REFUSED_BACKEND);
}

void ckv_clients_end(struct ckv_loop *loop)
{
    for_each(&loop->queued, end_at_once, 0);
    for_each(&loop->joining, end_at_once, 0);
    for_each(&loop->relaying, end_at_once, 0);
    for_each(&loop->timed, end_at_once, 0);
    if (loop->shared)
        ckv_shared_close(loop->shared);
}
