/*  connect: the tunnel, for a program in any language and any socket type.  */
#include "kv/log.h"
#include "node/commands/command.h"
#include "node/commands/passphrase.h"
#include "node/library/identity.h"
#include "node/tunnel/tunnel.h"

#include <sodium.h>

enum {
    HANDSHAKE_MS = 10000,
    HANDSHAKE_MS_MAX = 60000,
    MESSAGE_MAX = 64 << 20,
    MESSAGE_MIN = 16384
};

static int read_bounds(struct ckv_tunnel_options *self, const struct ckv_arguments *arguments)
{
    uint64_t message = MESSAGE_MAX;
    self->handshake_ms = HANDSHAKE_MS;
    if (arguments->max_message &&
        (ckv_read_size(arguments->max_message, &message) != CKV_OK || message < MESSAGE_MIN))
        return ckv_complain_usage("--max-message %s: give a size of at least 16K, such as 64M",
                                  arguments->max_message);
    self->max_message = (size_t)message;
    if (arguments->handshake_timeout &&
        (ckv_read_span(arguments->handshake_timeout, &self->handshake_ms) != CKV_OK ||
         self->handshake_ms > HANDSHAKE_MS_MAX))
        return ckv_complain_usage("--handshake-timeout %s: give a time of at most 60s",
                                  arguments->handshake_timeout);
    return CKV_EXIT_DONE;
}

static int read_endpoints(struct ckv_tunnel_options *self, const struct ckv_arguments *arguments)
{
    if (!arguments->certificate || !arguments->to || !arguments->listen)
        return ckv_complain_usage("connect needs --certificate, --to and --listen; see 'curvekv "
                                  "connect --help'");
    int rc = ckv_endpoint_read(&self->listen, arguments->listen, true);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "--listen %s", arguments->listen);
    rc = ckv_host_read(&self->server, arguments->to);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "--to %s", arguments->to);
    if (ckv_host_has(&self->server, &self->listen))
        return ckv_complain_usage("--to %s is where the tunnel itself would listen", arguments->to);
    return CKV_EXIT_DONE;
}

static int load(struct ckv_certfile *file, const struct ckv_arguments *arguments)
{
    char passphrase[CKV_PASSPHRASE_MAX];
    bool wanted = ckv_passphrase_wanted(arguments);
    int status = wanted ? ckv_passphrase_get(arguments, false, passphrase) : CKV_EXIT_DONE;
    if (status == CKV_EXIT_DONE) {
        int rc = ckv_identity_load(file, arguments->certificate, wanted ? passphrase : NULL, NULL);
        if (rc != CKV_OK)
            status = ckv_complain(arguments, rc, "%s", arguments->certificate);
    }
    sodium_memzero(passphrase, sizeof(passphrase));
    return status;
}

static int run_tunnel(struct ckv_tunnel_options *options, const struct ckv_arguments *arguments)
{
    int rc = ckv_tunnel_run(options);
    if (rc == CKV_OK)
        return CKV_EXIT_DONE;
    if (rc != CKV_ERROR_REFUSED)
        return ckv_complain(arguments, rc, "--listen %s", arguments->listen);
    return ckv_complain(arguments, rc, "%s at %s", arguments->certificate, arguments->to);
}

static int connect_command(const struct ckv_arguments *arguments)
{
    struct ckv_tunnel_options options = { .max_message = 0 };
    enum ckv_log_level level = CKV_LOG_INFO;
    if (arguments->log_level && ckv_log_read_level(arguments->log_level, &level) != CKV_OK)
        return ckv_complain_usage("--log-level %s: it is error, warning, info or debug",
                                  arguments->log_level);
    ckv_log_set_level(level);
    int status = read_endpoints(&options, arguments);
    if (status == CKV_EXIT_DONE)
        status = read_bounds(&options, arguments);
    if (status != CKV_EXIT_DONE)
        return status;
    struct ckv_certfile *file = sodium_malloc(sizeof(*file));
    if (!file)
        return ckv_complain(arguments, CKV_ERROR_MEMORY, "%s", arguments->certificate);
    status = load(file, arguments);
    if (status == CKV_EXIT_DONE) {
        options.identity = ckv_identity_of(file);
        status = run_tunnel(&options, arguments);
    }
    sodium_free(file);
    return status;
}

const struct ckv_command ckv_command_connect = {
    .name = "connect",
    .operands = "",
    .summary = "a tunnel to a CURVE server, for a program in any language",
    .help = "  --certificate FILE     who the program is to the server: the file that\n"
            "                         'curvekv register' wrote\n"
            "  --to ENDPOINT          the server: tcp://host:5555 or ipc:///run/gateway.sock\n"
            "  --listen ENDPOINT      where the program connects, without security:\n"
            "                         ipc:///run/acme.sock (mode 0600) or tcp://127.0.0.1:6000;\n"
            "                         whoever can connect here is the client\n"
            "  --passphrase           ask for the passphrase of a protected file\n"
            "  --passphrase-file F    take it from the first line of F\n"
            "  --handshake-timeout T  for a connection to be ready, up to 60s (10s)\n"
            "  --max-message SIZE     of one part of a message (64M)\n"
            "  --log-level LEVEL      error, warning, info or debug (info)\n"
            "\n"
            "Each connection of the program becomes one to the server, of the same socket type.\n"
            "Runs in the foreground and logs to standard error. A host's name is looked up at the\n"
            "start, and again when none of its addresses works. SIGTERM and SIGINT let what is\n"
            "in flight leave, then stop it.\n"
            "\n"
            "When the server refuses the client, it says so and ends with exit status 1: start it\n"
            "again with a certificate that is good.\n"
            "\n"
            "Example:\n"
            "  curvekv connect --certificate acme42.cert --to tcp://server.example.org:5555 \\\n"
            "                  --listen ipc:///run/acme.sock\n",
    .options = "certificate to listen passphrase passphrase-file handshake-timeout max-message "
               "log-level",
    .run = connect_command,
};
