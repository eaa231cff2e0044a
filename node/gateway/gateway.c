#include "node/gateway/parts.h"

#include "kv/clock.h"
#include "kv/log.h"
#include <sodium.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    HANDSHAKE_MS = 10000,
    CLOCK_WINDOW_MS = 60000,
    RATE = 100,
    STOCK_SHARE = 25,
    MAX_PENDING = 8192,
    MAX_MESSAGE = 64 << 20,
    DRAIN_MS = 5000,
    PENDING_SHARE = 4, /* of the descriptors, 1 in 4 for handshakes */
};

struct ckv_gateway {
    struct ckv_gateway_options options;
    struct ckv_admission *admission;
    struct ckv_outage outage;
    bool listens;
    unsigned loops;
    struct ckv_loop *loop[CKV_GATEWAY_LOOPS_MAX];
};

struct ckv_admission_time ckv_loop_time(void)
{
    return (struct ckv_admission_time){ ckv_clock_wall(), ckv_clock_monotonic() };
}

void ckv_gateway_defaults(struct ckv_gateway_options *options)
{
    struct rlimit files = { 0, 0 };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t room = files.rlim_max / PENDING_SHARE;
    *options = (struct ckv_gateway_options){
        .admission = { .allow_stock = true, .clock_window_ms = CLOCK_WINDOW_MS, .rate = RATE },
        .loops = cores < 1                       ? 1
                 : cores > CKV_GATEWAY_LOOPS_MAX ? CKV_GATEWAY_LOOPS_MAX
                                                 : (unsigned)cores,
        .stock_share = STOCK_SHARE,
        .max_pending = room < MAX_PENDING ? (uint32_t)room + 1 : MAX_PENDING,
        .handshake_ms = HANDSHAKE_MS,
        .max_message = MAX_MESSAGE,
    };
    options->per_address = options->max_pending / 2;
}

/* ---- a loop ---- */

static void on_tick(uv_timer_t *timer)
{
    struct ckv_loop *self = timer->data;
    uint64_t now = uv_now(&self->uv);
    if (!self->drained_by)
        ckv_door_tick(self, now);
    ckv_host_tick(&self->backend);
    ckv_clients_tick(self, now);
    ckv_standing_tick(self);
    /*  A snapshot that nobody uses would make the store's file grow.  */
    if (!self->has_resolved)
        ckv_kv_reset(self->txn);
    self->has_resolved = false;
    if (self->drained_by && (self->drained_by <= now || !ckv_clients_any(self))) {
        ckv_clients_end(self);
        ckv_poller_stop(&self->poller);
    }
}

static void on_stop(uv_async_t *async)
{
    struct ckv_loop *self = async->data;
    if (self->drained_by)
        return;
    ckv_door_close(self);
    self->drained_by = uv_now(&self->uv) + DRAIN_MS;
}

static void *run_loop(void *argument)
{
    struct ckv_loop *self = argument;
    ckv_poller_run(&self->poller);
    return NULL;
}

/*  LISTENER is of all loops, or -1: open one of one's own at ENDPOINT.  */
static int open_loop(struct ckv_loop *self, struct ckv_endpoint *endpoint, int listener)
{
    self->listener = listener;
    int rc = ckv_kv_begin(self->options->kv, CKV_KV_RESOLVE, &self->txn);
    if (rc == CKV_OK && listener < 0) {
        rc = ckv_endpoint_listen(endpoint, &self->listener);
        self->owns_listener = rc == CKV_OK;
    }
    if (rc != CKV_OK)
        return rc;
    self->room = malloc(sizeof(*self->room));
    if (!self->room)
        return CKV_ERROR_MEMORY;
    self->room->batching = NULL;
    self->room->batch_size = 0;
    uv_timer_init(&self->uv, &self->tick);
    uv_async_init(&self->uv, &self->stop, on_stop);
    self->tick.data = self->stop.data = self;
    uv_timer_start(&self->tick, on_tick, CKV_TICK_MS, CKV_TICK_MS);
    rc = ckv_poller_open(&self->poller, &self->uv, ckv_door_round, self);
    if (rc == CKV_OK)
        rc = ckv_clients_open(self);
    return rc == CKV_OK ? ckv_door_open(self) : rc;
}

static void close_handle(uv_handle_t *handle, void *ignored)
{
    (void)ignored;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/*  Ends the loop; its thread waits for what is in flight.  */
static void close_loop(struct ckv_loop *self)
{
    if (self->has_thread) {
        uv_async_send(&self->stop);
        pthread_join(self->thread, NULL);
    } else {
        ckv_door_close(self);
    }
    if (self->owns_listener)
        close(self->listener);
    ckv_poller_close(&self->poller);
    uv_walk(&self->uv, close_handle, NULL);
    uv_run(&self->uv, UV_RUN_DEFAULT);
    uv_loop_close(&self->uv);
    if (self->txn)
        ckv_kv_abort(&self->txn);
    ckv_shared_destroy(&self->shared);
    ckv_host_end(&self->backend);
    free(self->room);
    free(self);
}

/* ---- all of them ---- */

static int add_loop(struct ckv_gateway *self, int listener)
{
    struct ckv_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return CKV_ERROR_MEMORY;
    if (uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return CKV_ERROR_MEMORY;
    }
    loop->options = &self->options;
    loop->number = (uint8_t)self->loops;
    loop->backend = self->options.backend;
    loop->admission = self->admission;
    loop->outage = &self->outage;
    loop->listener = -1;
    self->loop[self->loops++] = loop;
    return open_loop(loop, &self->options.listen, listener);
}

/*  All loops listen before the first one accepts, or none does.  */
static int open_loops(struct ckv_gateway *self)
{
    int listener = -1, rc = CKV_OK;
    while (rc == CKV_OK && self->loops < self->options.loops) {
        rc = add_loop(self, listener);
        self->listens |= rc == CKV_OK;
        if (rc == CKV_OK && ckv_endpoint_is_ipc(&self->options.listen))
            listener = self->loop[0]->listener;
    }
    for (unsigned i = 0; rc == CKV_OK && i < self->loops; i++) {
        struct ckv_loop *loop = self->loop[i];
        loop->has_thread = pthread_create(&loop->thread, NULL, run_loop, loop) == 0;
        rc = loop->has_thread ? CKV_OK : CKV_ERROR_MEMORY;
    }
    return rc;
}

/*  Each client takes two descriptors, and the usual soft limit is 1024, for the sake of select, which
    nothing here uses.  */
static void take_all_descriptors(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

int ckv_gateway_start(struct ckv_gateway **self_p, const struct ckv_gateway_options *options)
{
    struct ckv_gateway *self = calloc(1, sizeof(*self));
    *self_p = self;
    if (!self)
        return CKV_ERROR_MEMORY;
    self->options = *options;
    ckv_outage_begin(&self->outage, self->options.backend.text);
    take_all_descriptors();
    int rc = ckv_admission_new(&self->admission, &options->admission, options->cluster_key);
    if (rc == CKV_OK)
        rc = open_loops(self);
    if (rc != CKV_OK)
        ckv_gateway_stop(self_p);
    return rc;
}

void ckv_gateway_stop(struct ckv_gateway **self_p)
{
    struct ckv_gateway *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    for (unsigned i = 0; i < self->loops; i++)
        if (self->loop[i]->has_thread)
            uv_async_send(&self->loop[i]->stop); /* all at once: they drain side by side */
    for (unsigned i = self->loops; i-- > 0;)
        close_loop(self->loop[i]);
    if (self->listens)
        ckv_endpoint_remove(&self->options.listen);
    ckv_admission_destroy(&self->admission);
    ckv_outage_end(&self->outage);
    free(self);
}

const struct ckv_endpoint *ckv_gateway_endpoint(const struct ckv_gateway *self)
{
    return &self->options.listen;
}

static void add_counts(struct ckv_gateway_totals *totals, struct ckv_loop_counts *counts)
{
    uint64_t ended = ckv_count_read(&counts->ended);
    totals->accepted += ckv_count_read(&counts->accepted);
    totals->pending += atomic_load_explicit(&counts->pending, memory_order_relaxed);
    totals->clients += ckv_count_read(&counts->began) - ended;
    totals->handshakes += ckv_count_read(&counts->handshakes);
    totals->known += ckv_count_read(&counts->known);
    totals->stock += ckv_count_read(&counts->stock);
    totals->told += ckv_count_read(&counts->told);
    totals->curve_operations += ckv_count_read(&counts->curve_operations);
    for (int i = 0; i < CKV_VERDICTS; i++) {
        totals->refused[i] += ckv_count_read(&counts->refused[i]);
        totals->ended[i] += ckv_count_read(&counts->ended_for[i]);
    }
    totals->frames_in += ckv_count_read(&counts->relayed.frames_in);
    totals->frames_out += ckv_count_read(&counts->relayed.frames_out);
    totals->octets_in += ckv_count_read(&counts->relayed.octets_in);
    totals->octets_out += ckv_count_read(&counts->relayed.octets_out);
    uint64_t left = ckv_count_read(&counts->shared.left);
    totals->shared += ckv_count_read(&counts->shared.joined) - left;
    totals->dropped += ckv_count_read(&counts->shared.dropped);
}

void ckv_gateway_count(struct ckv_gateway *self, struct ckv_gateway_totals *totals)
{
    *totals = (struct ckv_gateway_totals){ .shares_backend = self->options.shares_backend };
    for (unsigned i = 0; i < self->loops; i++)
        add_counts(totals, &self->loop[i]->counts);
}
