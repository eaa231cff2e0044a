/*  client_shared: a client that shares the loop's connection to the backend (node/gateway/shared.h), or waits to know
    whether it does.  */
#include "core/properties.h"
#include "node/gateway/client.h"

bool ckv_client_may_share(struct ckv_octets metadata, bool *is_req)
{
    struct ckv_octets type;
    if (ckv_properties_get(metadata, "Socket-Type", &type) != 1)
        return false;
    *is_req = ckv_octets_equal(type, ckv_octets_text("REQ"));
    return *is_req || ckv_octets_equal(type, ckv_octets_text("DEALER"));
}

static void join(struct ckv_client *self)
{
    if (ckv_client_make_ready(self, ckv_shared_metadata(self->loop->shared)) != CKV_OK) {
        self->deadline = 0;
        return;
    }
    ckv_stream_bound(&self->relay.outer, CKV_RELAY_OUTER_MAX(self->loop->options->max_message));
    (void)ckv_stream_flush(&self->relay.outer);
    ckv_stream_read(&self->relay.outer, true);
}

void ckv_client_join(struct ckv_client *self)
{
    struct ckv_loop *loop = self->loop;
    switch (ckv_shared_answer(loop->shared, self->is_req)) {
    case CKV_SHARED_UNKNOWN:
        if (!loop->joining.first)
            ckv_shared_want(loop->shared);
        ckv_client_move(self, &loop->joining);
        break;
    case CKV_SHARED_TAKES:
        join(self);
        break;
    case CKV_SHARED_OWN:
        ckv_member_leave(&self->member);
        ckv_client_move(self, &loop->timed);
        ckv_client_reach(self);
        break;
    case CKV_SHARED_NEITHER:
        self->deadline = 0;
    }
}

static void go_on(struct ckv_client *self, uint64_t now)
{
    (void)now;
    int rc = ckv_client_ask_again(self);
    if (rc == CKV_OK)
        ckv_client_join(self);
    else if (rc != CKV_ERROR_REFUSED) /* else it was told so */
        self->deadline = 0;
}

static void on_shared_told(void *argument)
{
    struct ckv_loop *loop = argument;
    ckv_clients_each(&loop->joining, go_on, 0);
}

static void on_shared_refused(void *argument, struct ckv_octets data)
{
    struct ckv_loop *loop = argument;
    struct ckv_client *next;
    for (struct ckv_client *client = loop->joining.first; client; client = next) {
        next = client->next;
        (void)ckv_client_pass_on_error(client, data);
    }
}

static void finish_member(struct ckv_client *self, uint64_t now)
{
    (void)now;
    if (self->member)
        ckv_client_finish(self, &self->relay.outer);
}

static void on_shared_down(void *argument)
{
    struct ckv_loop *loop = argument;
    ckv_clients_each(&loop->relaying, finish_member, 0);
}

static void on_silent(void *argument)
{
    ckv_client_close(argument, CKV_REFUSED_LEFT);
}

int ckv_clients_open_shared(struct ckv_loop *loop)
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

/* ---- time ---- */

/*  While the gateway drains, the shared connection stays for as long as there are clients.  */
void ckv_clients_tick_shared(struct ckv_loop *loop, uint64_t now)
{
    if (loop->joining.first)
        ckv_shared_want(loop->shared);
    ckv_shared_tick(loop->shared, now);
    if (loop->drained_by && !ckv_clients_here(loop))
        ckv_shared_finish(loop->shared);
}
