/*  resolve, list: what reads, from the node or from its store.  */
#include "core/z85.h"
#include "node/commands/source.h"
#include "node/present.h"

#include <stdio.h>
#include <string.h>

static int read_keys(const struct ckv_arguments *arguments, struct ckv_storage_key *storage_key,
                     uint8_t client_public_key[32])
{
    bool by_storage_key = arguments->operand_count == 1;
    if (by_storage_key == (arguments->client_key != NULL))
        return ckv_complain_usage("name one certificate: by its storage key, or with --client-key");
    const char *text = by_storage_key ? arguments->operands[0] : arguments->client_key;
    int rc = by_storage_key ? ckv_storage_key_read(storage_key, ckv_octets_text(text))
                            : ckv_z85_read(client_public_key, ckv_octets_text(text));
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "'%.100s'", text);
}

/*  A certificate that may not be used is shown all the same, and the exit status says no.  */
static int print_resolved(const struct ckv_arguments *arguments, int rc,
                          const struct ckv_certificate *certificate)
{
    const char *text = arguments->client_key ? arguments->client_key : arguments->operands[0];
    bool refused =
        rc == CKV_ERROR_REVOKED || rc == CKV_ERROR_EXPIRED || rc == CKV_ERROR_NOT_YET_VALID;
    if (rc != CKV_OK && !refused)
        return ckv_complain(arguments, rc, "%s", text);
    if (arguments->json)
        ckv_present_object(ckv_present_json(certificate, ckv_now()));
    else
        ckv_present_text(certificate, ckv_now());
    if (!refused)
        return CKV_EXIT_DONE;
    if (!arguments->json)
        ckv_complain(arguments, rc, "%s", text);
    return CKV_EXIT_REFUSED;
}

static int resolve(const struct ckv_arguments *arguments)
{
    static const struct ckv_certificate none;
    struct ckv_source source;
    struct ckv_storage_key storage_key;
    struct ckv_certificate certificate = none;
    uint8_t client_public_key[32];
    int status = read_keys(arguments, &storage_key, client_public_key);
    if (status == CKV_EXIT_DONE)
        status = ckv_source_open(&source, arguments);
    if (status != CKV_EXIT_DONE)
        return status;
    int rc = ckv_source_resolve(&source, arguments->client_key ? NULL : &storage_key,
                                client_public_key, &certificate);
    status = print_resolved(arguments, rc, &certificate);
    ckv_source_close(&source);
    return status;
}

/*  What a list leaves out, and how it prints the rest.  */
struct listing {
    const struct ckv_arguments *arguments;
    uint64_t now;
    uint64_t count;
};

/*  Whether TEXT is STATE; its words may be joined by hyphens, for the shell.  */
static bool is_state(const char *text, const char *state)
{
    while (*text && (*text == *state || (*text == '-' && *state == ' ')))
        text++, state++;
    return *text == *state;
}

static bool is_known_state(const char *text)
{
    return is_state(text, "active") || is_state(text, "revoked") || is_state(text, "expired") ||
           is_state(text, "not yet valid");
}

static bool is_wanted(const struct ckv_arguments *arguments,
                      const struct ckv_certificate *certificate, uint64_t now)
{
    if (arguments->organisation &&
        !ckv_octets_equal(certificate->organisation, ckv_octets_text(arguments->organisation)))
        return false;
    return !arguments->state || is_state(arguments->state, ckv_present_state(certificate, now));
}

static int list_one(void *argument, int type, const struct ckv_certificate *certificate)
{
    struct listing *self = argument;
    if (!is_wanted(self->arguments, certificate, self->now))
        return CKV_OK;
    if (self->arguments->json) {
        json_t *object = ckv_present_json(certificate, self->now);
        if (type == CKV_DUMP_CONFLICT)
            json_object_set_new(object, "lost_storage_key", json_true());
        ckv_present_object(object);
    } else {
        if (self->count == 0)
            ckv_present_heading();
        ckv_present_line(certificate, self->now);
    }
    self->count++;
    return ferror(stdout) ? CKV_ERROR_IO : CKV_OK;
}

static int list_conflict(void *argument, int type, const struct ckv_certificate *certificate)
{
    return type == CKV_DUMP_CONFLICT ? list_one(argument, type, certificate) : CKV_OK;
}

static int list(const struct ckv_arguments *arguments)
{
    struct ckv_source source;
    struct listing listing = { .arguments = arguments, .now = ckv_now() };
    if (arguments->state && !is_known_state(arguments->state))
        return ckv_complain_usage("--state %s: it is active, not-yet-valid, revoked or expired",
                                  arguments->state);
    int status = ckv_source_open(&source, arguments);
    if (status != CKV_EXIT_DONE)
        return status;
    int rc = ckv_source_walk(&source, arguments->conflicts,
                             arguments->conflicts ? list_conflict : list_one, &listing);
    if (rc != CKV_OK)
        status = ckv_complain(arguments, rc, "list");
    else if (listing.count == 0 && !arguments->json)
        fputs(arguments->conflicts ? "no conflicts\n" : "no certificates\n", stderr);
    ckv_source_close(&source);
    return status;
}

const struct ckv_command ckv_command_resolve = {
    .name = "resolve",
    .operands = "[KEY]",
    .summary = "show the certificate of a storage key or client public key",
    .help = "  --client-key Z85     resolve by the client's public key instead of KEY\n"
            "  --json               one object\n"
            "  --data DIR, --timeout SECONDS\n"
            "\n"
            "A storage key of 64 hex digits, or 0x and hex digits, is octets; any other is text.\n"
            "Exit status 1 when the key is unknown, or the certificate revoked or expired. While\n"
            "the node is down, its store is read.\n"
            "\n"
            "Examples:\n"
            "  curvekv resolve 42\n"
            "  curvekv resolve --client-key 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7' --json\n",
    .options = "data json timeout client-key",
    .operands_max = 1,
    .run = resolve,
};

const struct ckv_command ckv_command_list = {
    .name = "list",
    .operands = "",
    .summary = "list all certificates",
    .help = "  --organisation NAME  only its certificates\n"
            "  --state STATE        only those active, not-yet-valid, revoked or expired\n"
            "  --conflicts          instead, those that lost their storage key to an older one\n"
            "  --json               one object a line\n"
            "  --data DIR, --timeout SECONDS\n"
            "\n"
            "In the order in which this node first had them. While the node is down, its store\n"
            "is read.\n"
            "\n"
            "Example:\n"
            "  curvekv list --organisation ACME --json | jq -r .storage_key\n",
    .options = "data json timeout organisation state conflicts",
    .run = list,
};
