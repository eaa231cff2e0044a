#include "node/commands/command.h"
#include "core/text.h"
#include "core/time.h"
#include "kv/clock.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*  A PATH is a text that is not empty: an empty one comes of a shell's variable that is not set, and
    would be taken for no path at all.  */
enum kind { TEXT, PATH, FLAG, META };

static const struct option {
    const char *name;
    enum kind kind;
    size_t offset;
} options[] = {
#define TEXT_OPTION(name, member)                                                                  \
    {                                                                                              \
        name, TEXT, offsetof(struct ckv_arguments, member)                                         \
    }
#define PATH_OPTION(name, member)                                                                  \
    {                                                                                              \
        name, PATH, offsetof(struct ckv_arguments, member)                                         \
    }
#define FLAG_OPTION(name, member)                                                                  \
    {                                                                                              \
        name, FLAG, offsetof(struct ckv_arguments, member)                                         \
    }
    TEXT_OPTION("ack", ack),
    PATH_OPTION("data", data),
    TEXT_OPTION("cluster", cluster),
    PATH_OPTION("cluster-key", cluster_key),
    TEXT_OPTION("expires", expires),
    TEXT_OPTION("client-key", client_key),
    TEXT_OPTION("key", key),
    TEXT_OPTION("log-length", log_length),
    TEXT_OPTION("log-level", log_level),
    TEXT_OPTION("max-size", max_size),
    TEXT_OPTION("node", node),
    TEXT_OPTION("not-before", not_before),
    TEXT_OPTION("number", number),
    TEXT_OPTION("organisation", organisation),
    PATH_OPTION("out", out),
    PATH_OPTION("passphrase-file", passphrase_file),
    TEXT_OPTION("redis", redis),
    PATH_OPTION("redis-password-file", redis_password_file),
    TEXT_OPTION("server-key", server_key),
    TEXT_OPTION("state", state),
    TEXT_OPTION("store", store),
    TEXT_OPTION("timeout", timeout),
    TEXT_OPTION("wait", wait),
    TEXT_OPTION("backend", backend),
    TEXT_OPTION("backend-mode", backend_mode),
    PATH_OPTION("certificate", certificate),
    TEXT_OPTION("clock-window", clock_window),
    TEXT_OPTION("gateway", gateway),
    TEXT_OPTION("handshake-timeout", handshake_timeout),
    TEXT_OPTION("key-rate", key_rate),
    TEXT_OPTION("listen", listen),
    TEXT_OPTION("loops", loops),
    TEXT_OPTION("max-message", max_message),
    TEXT_OPTION("max-pending", max_pending),
    TEXT_OPTION("max-pending-per-address", max_pending_per_address),
    TEXT_OPTION("stock-hello", stock_hello),
    TEXT_OPTION("stock-share", stock_share),
    TEXT_OPTION("to", to),
    FLAG_OPTION("alone", alone),
    FLAG_OPTION("conflicts", conflicts),
    FLAG_OPTION("force", force),
    FLAG_OPTION("help", help),
    FLAG_OPTION("json", json),
    FLAG_OPTION("keep-client-key", keep_client_key),
    FLAG_OPTION("passphrase", passphrase),
    FLAG_OPTION("watch", watch),
    { "meta", META, 0 },
};

/*  Whether the list LIST, separated by spaces, has NAME of SIZE characters.  */
static bool lists(const char *list, const char *name, size_t size)
{
    for (const char *word = list; *word;) {
        size_t length = strcspn(word, " ");
        if (length == size && strncmp(word, name, size) == 0)
            return true;
        word += length + strspn(word + length, " ");
    }
    return false;
}

static const struct option *find_option(const struct ckv_command *command, const char *name,
                                        size_t size)
{
    if (!lists(command->options, name, size) && !(size == 4 && strncmp(name, "help", 4) == 0))
        return NULL;
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (strlen(options[i].name) == size && strncmp(options[i].name, name, size) == 0)
            return &options[i];
    return NULL;
}

static bool is_option(const struct ckv_command *command, const char *text)
{
    return strncmp(text, "--", 2) == 0 && find_option(command, text + 2, strlen(text + 2));
}

static int set_option(struct ckv_arguments *self, const struct option *option, const char *value)
{
    char *base = (char *)self;
    if (option->kind == PATH && !value[0])
        return ckv_complain_usage("--%s is empty; give a path, or leave it out", option->name);
    if (option->kind == FLAG) {
        *(bool *)(base + option->offset) = true;
    } else if (option->kind == TEXT || option->kind == PATH) {
        *(const char **)(base + option->offset) = value;
    } else {
        if (self->meta_count == CKV_ARGUMENTS_META_MAX)
            return ckv_complain_usage("--meta is given more than %d times", CKV_ARGUMENTS_META_MAX);
        self->meta[self->meta_count++] = value;
    }
    return CKV_EXIT_DONE;
}

/*  Reads the option at ARGV[*INDEX], and its value.  */
static int read_option(struct ckv_arguments *self, const struct ckv_command *command, int argc,
                       char **argv, int *index)
{
    const char *name = argv[*index] + 2, *value = strchr(name, '=');
    size_t size = value ? (size_t)(value - name) : strlen(name);
    const struct option *option = find_option(command, name, size);
    if (!option)
        return ckv_complain_usage("'%s' has no option '--%.*s'; see 'curvekv %s --help'",
                                  command->name, (int)size, name, command->name);
    if (option->kind == FLAG && value)
        return ckv_complain_usage("--%s takes no value", option->name);
    if (option->kind != FLAG) {
        /*  A value that is an option's name is one that was forgotten; "--name=--help" says that it
            is meant. Other values may begin with dashes: keys in Z85 do.  */
        bool forgotten = !value && (*index + 1 == argc || is_option(command, argv[*index + 1]));
        value = value ? value + 1 : forgotten ? NULL : argv[++*index];
        if (!value)
            return ckv_complain_usage("--%s needs a value; see 'curvekv %s --help'", option->name,
                                      command->name);
    }
    return set_option(self, option, value);
}

static bool is_timeout(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && !text[digits] && atoi(text) > 0 && atoi(text) <= 86400;
}

int ckv_arguments_read(struct ckv_arguments *self, const struct ckv_command *command, int argc,
                       char **argv)
{
    bool only_operands = false;
    memset(self, 0, sizeof(*self));
    self->operands = argv; /* moved to the front as they are found */
    for (int i = 0; i < argc; i++) {
        int status = CKV_EXIT_DONE;
        if (only_operands || argv[i][0] != '-' || argv[i][1] == 0)
            self->operands[self->operand_count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (strcmp(argv[i], "-h") == 0)
            self->help = true;
        else if (argv[i][1] == '-')
            status = read_option(self, command, argc, argv, &i);
        else
            status = ckv_complain_usage("'%s' is no option; see 'curvekv %s --help'", argv[i],
                                        command->name);
        if (status != CKV_EXIT_DONE)
            return status;
    }
    if (!self->data)
        self->data = getenv("CURVEKV_DATA");
    if (!self->data || !self->data[0])
        self->data = "./curvekv-data";
    if (self->timeout && !is_timeout(self->timeout))
        return ckv_complain_usage("--timeout %s: give 1 to 86400 seconds", self->timeout);
    if (self->wait && !is_timeout(self->wait))
        return ckv_complain_usage("--wait %s: give 1 to 86400 seconds", self->wait);
    if (self->help || (self->operand_count >= command->operands_min &&
                       self->operand_count <= command->operands_max))
        return CKV_EXIT_DONE;
    bool too_many = self->operand_count > command->operands_max;
    return ckv_complain_usage("%s%s%susage: curvekv %s [OPTIONS]%s%s; see 'curvekv %s --help'",
                              too_many ? "'" : "",
                              too_many ? self->operands[command->operands_max] : "",
                              too_many ? "' is more than it takes; " : "", command->name,
                              command->operands[0] ? " " : "", command->operands, command->name);
}

static int exit_status_of(int error)
{
    switch (error) {
    case CKV_ERROR_ARGUMENT:
    case CKV_ERROR_STORAGE_KEY:
    case CKV_ERROR_ORGANISATION:
    case CKV_ERROR_NUMBER:
    case CKV_ERROR_METADATA:
    case CKV_ERROR_Z85:
    case CKV_ERROR_PATH:
    case CKV_ERROR_URL:
    case CKV_ERROR_URL_TLS:
    case CKV_ERROR_ENDPOINT:
        return CKV_EXIT_USAGE;
    case CKV_ERROR_NOT_REACHABLE:
    case CKV_ERROR_TIMEOUT:
        return CKV_EXIT_NOT_REACHABLE;
    default:
        return CKV_EXIT_REFUSED;
    }
}

int ckv_complain(const struct ckv_arguments *arguments, int error, const char *format, ...)
{
    char raw[2 * 4096], about[sizeof(raw)];
    va_list list;
    va_start(list, format);
    vsnprintf(raw, sizeof(raw), format, list);
    va_end(list);
    ckv_text_escape(ckv_octets_text(raw), about, sizeof(about));
    if (arguments->json) {
        json_t *object =
            json_pack("{ssss}", "error", ckv_error_name(error), "message", ckv_strerror(error));
        json_object_set_new(object, "about", json_string(about));
        json_dumpf(object, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(object);
    } else {
        fprintf(stderr, "curvekv: %s: %s\n", about, ckv_strerror(error));
    }
    return exit_status_of(error);
}

int ckv_complain_usage(const char *format, ...)
{
    char raw[4096], text[sizeof(raw)];
    va_list list;
    va_start(list, format);
    vsnprintf(raw, sizeof(raw), format, list);
    va_end(list);
    fprintf(stderr, "curvekv: %s\n", ckv_text_escape(ckv_octets_text(raw), text, sizeof(text)));
    return CKV_EXIT_USAGE;
}

/*  Reads a number of at most 15 digits and one unit behind it. Returns 0 unless that is all.  */
static uint64_t read_count(const char *text, char *unit)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 15 || (text[digits] && text[digits + 1]))
        return 0;
    *unit = text[digits];
    return strtoull(text, NULL, 10);
}

/*  The milliseconds of UNIT, or 0.  */
static uint64_t ms_of(char unit)
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = {
        { 's', 1000 },     { 'm', 60000 },     { 'h', 3600000 },
        { 'd', 86400000 }, { 'w', 604800000 }, { 'y', UINT64_C(31536000000) },
    };
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (unit == units[i].unit)
            return units[i].ms;
    return 0;
}

int ckv_read_expiry(const char *text, uint64_t now, uint64_t *time)
{
    char unit = 0;
    uint64_t count = read_count(text, &unit), ms = ms_of(unit);
    if (ckv_time_read(time, ckv_octets_text(text)) == CKV_OK)
        return *time > now ? CKV_OK : CKV_ERROR_ARGUMENT;
    if (!count || !ms || count > (CKV_TIME_MAX - now) / ms)
        return CKV_ERROR_ARGUMENT;
    *time = now + count * ms;
    return CKV_OK;
}

int ckv_read_span(const char *text, uint64_t *ms)
{
    char unit = 0;
    uint64_t count = read_count(text, &unit), of_unit = ms_of(unit);
    if (!count || !of_unit || count > CKV_TIME_MAX / of_unit)
        return CKV_ERROR_ARGUMENT;
    *ms = count * of_unit;
    return CKV_OK;
}

int ckv_read_number(const char *text, uint64_t max, uint64_t *number)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 15 || text[digits])
        return CKV_ERROR_ARGUMENT;
    *number = strtoull(text, NULL, 10);
    return *number <= max ? CKV_OK : CKV_ERROR_ARGUMENT;
}

int ckv_read_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char unit = 0;
    uint64_t count = read_count(text, &unit);
    const char *found = unit ? strchr(units, unit) : NULL;
    unsigned shift = found ? 10 * (unsigned)(found - units + 1) : 0;
    if (count == 0 || (unit && !found) || count > (UINT64_C(1) << 50) >> shift)
        return CKV_ERROR_ARGUMENT;
    *bytes = count << shift;
    return CKV_OK;
}

int ckv_timeout(const struct ckv_arguments *arguments)
{
    enum { DEFAULT_S = 30 };
    return 1000 * (arguments->timeout ? atoi(arguments->timeout) : DEFAULT_S);
}

uint64_t ckv_now(void)
{
    return ckv_clock_wall();
}
