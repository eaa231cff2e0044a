#include "node/commands/gateway_options.h"

#include <stdio.h>
#include <string.h>

enum {
    PER_CENT = 100,
    RATE_MAX = 1000000,
    PENDING_MAX = 1 << 20,
    HANDSHAKE_MS_MAX = 60000,
    CLOCK_WINDOW_MS_MAX = 86400000,
    MESSAGE_MIN = 1024,
};

/*  An option that is a number from MIN to MAX.  */
static int read_number(const char *name, const char *text, uint64_t min, uint64_t max,
                       uint64_t *number)
{
    if (!text || (ckv_read_number(text, max, number) == CKV_OK && *number >= min))
        return CKV_EXIT_DONE;
    return ckv_complain_usage("--%s %s: give a number from %llu to %llu", name, text,
                              (unsigned long long)min, (unsigned long long)max);
}

static int read_span(const char *name, const char *text, uint64_t max, uint64_t *ms)
{
    if (!text || (ckv_read_span(text, ms) == CKV_OK && *ms <= max))
        return CKV_EXIT_DONE;
    return ckv_complain_usage("--%s %s: give a time of at most %llus, such as 5s or 1m", name, text,
                              (unsigned long long)(max / 1000));
}

/*  "25%", or "25".  */
static int read_share(const char *text, unsigned *share)
{
    char digits[8] = "";
    uint64_t number = *share;
    if (!text)
        return CKV_EXIT_DONE;
    size_t size = strlen(text);
    if (size && text[size - 1] == '%')
        size--;
    snprintf(digits, sizeof(digits), "%.*s", (int)(size < sizeof(digits) ? size : 0), text);
    if (ckv_read_number(digits, PER_CENT, &number) != CKV_OK)
        return ckv_complain_usage("--stock-share %s: give 0%% to 100%%", text);
    *share = (unsigned)number;
    return CKV_EXIT_DONE;
}

static int read_policy(const char *text, bool *allow)
{
    if (text && strcmp(text, "allow") != 0 && strcmp(text, "deny") != 0)
        return ckv_complain_usage("--stock-hello %s: it is allow or deny", text);
    *allow = text ? strcmp(text, "allow") == 0 : *allow;
    return CKV_EXIT_DONE;
}

static int read_mode(const char *text, bool *shares)
{
    if (text && strcmp(text, "client") != 0 && strcmp(text, "shared") != 0)
        return ckv_complain_usage("--backend-mode %s: it is client or shared", text);
    *shares = text && strcmp(text, "shared") == 0;
    return CKV_EXIT_DONE;
}

static int read_bounds(struct ckv_gateway_options *self, const struct ckv_arguments *arguments)
{
    uint64_t loops = self->loops, rate = self->admission.rate, pending = self->max_pending,
             per_address = 0, message = self->max_message;
    int status = read_number("loops", arguments->loops, 1, CKV_GATEWAY_LOOPS_MAX, &loops);
    if (status == CKV_EXIT_DONE)
        status = read_number("key-rate", arguments->key_rate, 0, RATE_MAX, &rate);
    if (status == CKV_EXIT_DONE)
        status = read_number("max-pending", arguments->max_pending, 1, PENDING_MAX, &pending);
    if (status == CKV_EXIT_DONE)
        status = read_number("max-pending-per-address", arguments->max_pending_per_address, 1,
                             PENDING_MAX, &per_address);
    if (status == CKV_EXIT_DONE && arguments->max_message &&
        (ckv_read_size(arguments->max_message, &message) != CKV_OK || message < MESSAGE_MIN))
        status = ckv_complain_usage("--max-message %s: give a size of at least 1K, such as 64M",
                                    arguments->max_message);
    self->loops = (unsigned)loops;
    self->admission.rate = (uint32_t)rate;
    self->max_pending = (uint32_t)pending;
    self->per_address = (uint32_t)(per_address ? per_address : pending / 2 + 1);
    self->max_message = (size_t)message;
    return status;
}

static int read_listen(const struct ckv_arguments *arguments, const char *text,
                       struct ckv_endpoint *endpoint)
{
    const char *name = arguments->gateway ? "gateway" : "listen";
    if (!text)
        return ckv_complain_usage("a gateway needs --%s; see 'curvekv gateway --help'", name);
    int rc = ckv_endpoint_read(endpoint, text, true);
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "--%s %s", name, text);
}

static int read_backend(const struct ckv_arguments *arguments, struct ckv_host *host)
{
    const char *text = arguments->backend;
    if (!text)
        return ckv_complain_usage("a gateway needs --backend; see 'curvekv gateway --help'");
    int rc = ckv_host_read(host, text);
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "--backend %s", text);
}

const char *ckv_gateway_option_given(const struct ckv_arguments *arguments)
{
    const struct {
        const char *name, *text;
    } given[] = {
        { "backend", arguments->backend },
        { "backend-mode", arguments->backend_mode },
        { "loops", arguments->loops },
        { "stock-hello", arguments->stock_hello },
        { "stock-share", arguments->stock_share },
        { "clock-window", arguments->clock_window },
        { "key-rate", arguments->key_rate },
        { "max-pending", arguments->max_pending },
        { "max-pending-per-address", arguments->max_pending_per_address },
        { "handshake-timeout", arguments->handshake_timeout },
        { "max-message", arguments->max_message },
    };
    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++)
        if (given[i].text)
            return given[i].name;
    return NULL;
}

static int read_endpoints(struct ckv_gateway_options *self, const struct ckv_arguments *arguments,
                          const char *listen)
{
    int status = read_listen(arguments, listen, &self->listen);
    if (status == CKV_EXIT_DONE)
        status = read_backend(arguments, &self->backend);
    if (status == CKV_EXIT_DONE && ckv_host_has(&self->backend, &self->listen))
        return ckv_complain_usage("--backend %s is where the gateway itself would listen",
                                  arguments->backend);
    return status;
}

int ckv_gateway_options_read(struct ckv_gateway_options *self,
                             const struct ckv_arguments *arguments, const char *listen)
{
    ckv_gateway_defaults(self);
    int status = read_bounds(self, arguments);
    if (status == CKV_EXIT_DONE)
        status = read_policy(arguments->stock_hello, &self->admission.allow_stock);
    if (status == CKV_EXIT_DONE)
        status = read_mode(arguments->backend_mode, &self->shares_backend);
    if (status == CKV_EXIT_DONE)
        status = read_share(arguments->stock_share, &self->stock_share);
    if (status == CKV_EXIT_DONE)
        status = read_span("clock-window", arguments->clock_window, CLOCK_WINDOW_MS_MAX,
                           &self->admission.clock_window_ms);
    if (status == CKV_EXIT_DONE)
        status = read_span("handshake-timeout", arguments->handshake_timeout, HANDSHAKE_MS_MAX,
                           &self->handshake_ms);
    return status == CKV_EXIT_DONE ? read_endpoints(self, arguments, listen) : status;
}
