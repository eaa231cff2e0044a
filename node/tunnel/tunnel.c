#include "node/tunnel/parts.h"

#include "kv/log.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TICK_MS = 100, PAUSE_MIN_MS = 100, PAUSE_MAX_MS = 5000 };

void ckv_tunnel_tried(struct ckv_tunnel *self, size_t tried, int error)
{
    uint64_t now = uv_now(&self->uv);
    if (error == CKV_OK) {
        if (self->failure != CKV_OK)
            ckv_log(CKV_LOG_INFO, "server %s: connected again", self->options->server.text);
        self->failure = CKV_OK;
        self->pause_ms = 0;
        return;
    }
    if (error != self->failure)
        ckv_log(CKV_LOG_WARNING, "server %s: %s", self->options->server.text, ckv_strerror(error));
    self->failure = error;
    ckv_host_failed(&self->options->server, tried, now);
    if (now < self->not_before)
        return; /* several passages failed at once: that is one failure */
    uint64_t twice = 2 * self->pause_ms;
    self->pause_ms = twice < PAUSE_MIN_MS ? PAUSE_MIN_MS : twice;
    if (self->pause_ms > PAUSE_MAX_MS)
        self->pause_ms = PAUSE_MAX_MS;
    self->not_before = now + self->pause_ms;
}

/* ---- the door ---- */

static struct ckv_tunnel *tunnel_of(struct ckv_watch *door)
{
    return (struct ckv_tunnel *)((char *)door - offsetof(struct ckv_tunnel, door));
}

/*  Without descriptors the door stays shut until the next tick: it would not stop knocking.  */
static void on_knock(struct ckv_watch *door, uint32_t events)
{
    struct ckv_tunnel *self = tunnel_of(door);
    (void)events;
    int fd = accept4(self->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        ckv_watch_ask(door, 0);
    if (fd >= 0 && ckv_passage_begin(self, fd) != CKV_OK)
        close(fd);
}

static int listen_for_owner(struct ckv_tunnel *self)
{
    mode_t before = umask(S_IXUSR | S_IRWXG | S_IRWXO);
    int rc = ckv_endpoint_listen(&self->options->listen, &self->listener);
    umask(before);
    return rc;
}

/* ---- its life ---- */

static void on_tick(uv_timer_t *timer)
{
    struct ckv_tunnel *self = timer->data;
    ckv_host_tick(&self->options->server);
    ckv_passages_tick(self);
    if (!self->is_closing)
        ckv_watch_ask(&self->door, EPOLLIN);
    else if (!self->first)
        ckv_poller_stop(&self->poller);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct ckv_tunnel *self = handle->data;
    if (number == SIGHUP) {
        ckv_log(CKV_LOG_INFO, "nothing to reload: a new certificate file takes a new tunnel");
        return;
    }
    ckv_log(CKV_LOG_INFO, "stopping on %s", strsignal(number));
    ckv_tunnel_close(self, CKV_OK);
}

void ckv_tunnel_close(struct ckv_tunnel *self, int error)
{
    if (self->is_closing)
        return;
    self->is_closing = true;
    self->error = error;
    ckv_watch_close(&self->door);
    for (size_t i = 0; i < sizeof(self->signals) / sizeof(self->signals[0]); i++)
        uv_close((uv_handle_t *)&self->signals[i], NULL);
    ckv_endpoint_remove(&self->options->listen);
    ckv_passages_end(self);
}

static int begin(struct ckv_tunnel *self)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    static const struct ckv_watch_kind kind = { .happened = on_knock };
    if (ckv_poller_open(&self->poller, &self->uv, NULL, NULL) != CKV_OK ||
        ckv_watch_open(&self->door, &self->poller, self->listener, EPOLLIN, &kind) != CKV_OK ||
        uv_timer_init(&self->uv, &self->tick) != 0)
        return CKV_ERROR_MEMORY;
    self->tick.data = self;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (uv_signal_init(&self->uv, &self->signals[i]) != 0 ||
            uv_signal_start(&self->signals[i], on_signal, numbers[i]) != 0)
            return CKV_ERROR_MEMORY;
        self->signals[i].data = self;
    }
    uv_timer_start(&self->tick, on_tick, TICK_MS, TICK_MS);
    return CKV_OK;
}

static int run(struct ckv_tunnel *self)
{
    char listen[CKV_ENDPOINT_TEXT_SIZE];
    int rc = listen_for_owner(self);
    if (rc == CKV_OK)
        rc = begin(self);
    if (rc != CKV_OK)
        return rc;
    ckv_log(CKV_LOG_INFO, "ready: tunnel at %s, server %s",
            ckv_endpoint_text(&self->options->listen, listen), self->options->server.text);
    ckv_poller_run(&self->poller);
    ckv_poller_close(&self->poller);
    uv_close((uv_handle_t *)&self->tick, NULL);
    uv_run(&self->uv, UV_RUN_DEFAULT);
    return self->error;
}

int ckv_tunnel_run(struct ckv_tunnel_options *options)
{
    struct ckv_tunnel *self = calloc(1, sizeof(*self));
    int rc = CKV_ERROR_MEMORY;
    if (self)
        self->room = calloc(1, sizeof(*self->room));
    if (self && self->room && uv_loop_init(&self->uv) == 0) {
        self->options = options;
        signal(SIGPIPE, SIG_IGN);
        rc = run(self);
        ckv_host_end(&options->server);
        uv_loop_close(&self->uv);
    }
    if (self)
        free(self->room);
    free(self);
    return rc;
}
