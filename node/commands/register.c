/*  register, rotate, revoke: the changes of one certificate.  */
#include "core/properties.h"
#include "core/time.h"
#include "core/z85.h"
#include "node/client.h"
#include "node/commands/output.h"
#include "node/present.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  ---- the request ----  */

static int add_time(json_t *request, const char *name, const char *option, const char *text)
{
    char time[CKV_TIME_TEXT_SIZE];
    uint64_t ms;
    if (!text)
        return CKV_EXIT_DONE;
    if (ckv_read_expiry(text, ckv_now(), &ms) != CKV_OK)
        return ckv_complain_usage("--%s %s: give a time to come, such as 90d, 12h or 2030-12-31",
                                  option, text);
    json_object_set_new(request, name, json_string(ckv_time_text(ms, time)));
    return CKV_EXIT_DONE;
}

/*  Times in one form are in the order of their texts.  */
static int check_validity(const struct ckv_arguments *arguments, const json_t *request)
{
    const char *begin = json_string_value(json_object_get(request, "not_before"));
    const char *end = json_string_value(json_object_get(request, "not_after"));
    if (!begin || !end || strcmp(begin, end) < 0)
        return CKV_EXIT_DONE;
    return ckv_complain_usage("--expires %s is not after --not-before %s", arguments->expires,
                              arguments->not_before);
}

static int add_server_key(json_t *request, const char *text)
{
    if (!text)
        return CKV_EXIT_DONE;
    if (strcmp(text, "dedicated") != 0 && strcmp(text, "shared") != 0)
        return ckv_complain_usage("--server-key %s: it is dedicated or shared", text);
    json_object_set_new(request, "server_key", json_string(text));
    return CKV_EXIT_DONE;
}

/*  Adds TEXT, checked here so that the sentence names the option.  */
static int add_client_key(const struct ckv_arguments *arguments, json_t *request)
{
    uint8_t key[32];
    if (!arguments->client_key)
        return CKV_EXIT_DONE;
    int rc = ckv_z85_read(key, ckv_octets_text(arguments->client_key));
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "--client-key %s", arguments->client_key);
    json_object_set_new(request, "client_public_key", json_string(arguments->client_key));
    return CKV_EXIT_DONE;
}

/*  KEY, set to --client-key, which was checked; or NULL when there is none.  */
static const uint8_t *given_client_key(const struct ckv_arguments *arguments, uint8_t key[32])
{
    return arguments->client_key && ckv_z85_read(key, ckv_octets_text(arguments->client_key)) == 0
               ? key
               : NULL;
}

static int add_storage_key(const struct ckv_arguments *arguments, json_t *request, const char *text)
{
    struct ckv_storage_key key;
    int rc = ckv_storage_key_read(&key, ckv_octets_text(text));
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "storage key '%.100s'", text);
    json_object_set_new(request, "storage_key", json_string(text));
    return CKV_EXIT_DONE;
}

static int add_text(const struct ckv_arguments *arguments, json_t *request, const char *name,
                    const char *text, int error)
{
    json_t *value = text ? json_string(text) : NULL; /* NULL also for what is not UTF-8 */
    if (text && !value)
        return ckv_complain(arguments, error, "%s", name);
    if (value)
        json_object_set_new(request, name, value);
    return CKV_EXIT_DONE;
}

static int add_metadata(const struct ckv_arguments *arguments, json_t *request)
{
    uint8_t properties[CKV_METADATA_MAX];
    size_t size = 0;
    json_t *metadata = json_object();
    json_object_set_new(request, "metadata", metadata);
    for (int i = 0; i < arguments->meta_count; i++) {
        const char *text = arguments->meta[i], *value = strchr(text, '=');
        char name[256];
        int rc = CKV_ERROR_METADATA;
        if (value && (size_t)(value - text) < sizeof(name)) {
            snprintf(name, sizeof(name), "%.*s", (int)(value - text), text);
            rc = ckv_properties_put(properties, sizeof(properties), &size, ckv_octets_text(name),
                                    ckv_octets_text(value + 1));
        }
        if (rc == CKV_OK)
            rc = ckv_properties_check(ckv_octets(properties, size));
        if (rc == CKV_OK && json_object_set_new(metadata, name, json_string(value + 1)) != 0)
            rc = CKV_ERROR_METADATA;
        if (rc != CKV_OK)
            return ckv_complain(arguments, rc, "--meta %.100s", text);
    }
    return CKV_EXIT_DONE;
}

/*  How far the change is to come before the answer, and how long to wait for that.  */
static int add_ack(const struct ckv_arguments *arguments, json_t *request)
{
    const char *ack = arguments->ack;
    if (ack && strcmp(ack, "local") != 0 && strcmp(ack, "logged") != 0 && strcmp(ack, "all") != 0)
        return ckv_complain_usage("--ack %s: it is local, logged or all", ack);
    if (ack)
        json_object_set_new(request, "ack", json_string(ack));
    if (arguments->wait)
        json_object_set_new(request, "wait_ms",
                            json_integer(1000 * (json_int_t)atoi(arguments->wait)));
    return CKV_EXIT_DONE;
}

/*  Says when a change has not come as far as was asked. Returns the exit status.  */
static int check_ack(const struct ckv_arguments *arguments, const json_t *reply)
{
    static const char *const levels[] = { "local", "logged", "all" };
    const json_t *laggards = json_object_get(reply, "not_applied");
    const char *reached = json_string_value(json_object_get(reply, "ack"));
    int reached_level = 0, wanted_level = 0;
    for (int level = 0; level < 3; level++) {
        if (reached && strcmp(reached, levels[level]) == 0)
            reached_level = level;
        if (arguments->ack && strcmp(arguments->ack, levels[level]) == 0)
            wanted_level = level;
    }
    bool waits = json_is_false(json_object_get(reply, "replicated"));
    if (waits && wanted_level <= reached_level && !arguments->json && !arguments->ack)
        fputs("curvekv: durable on this node; it will be replicated when Redis is back\n", stderr);
    if (wanted_level <= reached_level)
        return CKV_EXIT_DONE;
    fprintf(stderr, "curvekv: done and durable, but so far only '%s'; it goes on by itself\n",
            levels[reached_level]);
    for (size_t i = 0; i < json_array_size(laggards); i++)
        fprintf(stderr, "curvekv: not applied yet by node '%s'\n",
                json_string_value(json_array_get(laggards, i)));
    return CKV_EXIT_NOT_REPLICATED;
}

/*  ---- the answer ----  */

/*  The certificate, as `resolve` prints it; in a cluster, or when --ack asks, also how far the change has
    come.  */
static json_t *report_of(const struct ckv_arguments *arguments,
                         const struct ckv_certificate *certificate, const json_t *reply)
{
    static const char *const members[] = { "ack", "replicated", "not_applied" };
    json_t *object = ckv_present_json(certificate, ckv_now());
    bool tells = arguments->ack || json_object_get(reply, "replicated");
    for (size_t i = 0; tells && i < sizeof(members) / sizeof(*members); i++)
        if (json_object_get(reply, members[i]))
            json_object_set(object, members[i], json_object_get(reply, members[i]));
    return object;
}

/*  Says what was done. OUTPUT is NULL for a change without a file.  */
static void report(const struct ckv_arguments *arguments, const char *done,
                   const struct ckv_certificate *certificate, const json_t *reply,
                   const struct ckv_output *output)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE];
    const char *text = ckv_storage_key_text(certificate->storage_key, key);
    if (arguments->json)
        ckv_present_object(report_of(arguments, certificate, reply));
    else if (!output)
        printf("%s %s\n", done, text);
    else if (arguments->out && strcmp(arguments->out, "-") != 0)
        printf("%s %s\ncertificate in %s\n", done, text, arguments->out);
    else
        fprintf(stderr, "%s %s\n", done, text); /* the file is on standard output */
    if (output && output->lacks_secret_key && !arguments->json)
        fputs("curvekv: the file lacks the client's secret key, which the node never had; the "
              "client adds it where the file says\n",
              stderr);
}

/*  What is asked of the node, what comes of it, and how to say it.  */
struct change {
    const struct ckv_arguments *arguments;
    struct ckv_output *output; /* NULL: there is no file */
    const char *done;          /* "registered" */
    const char *about;         /* what a refusal is about */
};

static int write_output(const struct change *self, const struct ckv_certificate *certificate,
                        struct ckv_reply *reply)
{
    const struct ckv_arguments *arguments = self->arguments;
    char key[CKV_STORAGE_KEY_TEXT_SIZE];
    if (!self->output)
        return CKV_EXIT_DONE;
    int rc = ckv_output_write(self->output, certificate, ckv_reply_secrets(reply),
                              json_string_value(json_object_get(reply->json, "cluster")));
    if (rc == CKV_OK)
        return CKV_EXIT_DONE;
    return ckv_complain(arguments, rc,
                        "%s %s, but its file could not be written; 'rotate' it to get another: %s",
                        self->done, ckv_storage_key_text(certificate->storage_key, key),
                        arguments->out ? arguments->out : "standard output");
}

static int take_reply(const struct change *self, int rc, struct ckv_reply *reply)
{
    struct ckv_octets record = ckv_reply_record(reply);
    struct ckv_certificate certificate;
    if (rc == CKV_OK)
        rc = ckv_certificate_parse(&certificate, record.data, record.size);
    if (rc != CKV_OK)
        return ckv_complain(self->arguments, rc, "%s", self->about);
    int status = write_output(self, &certificate, reply);
    if (status != CKV_EXIT_DONE)
        return status;
    report(self->arguments, self->done, &certificate, reply->json, self->output);
    return check_ack(self->arguments, reply->json);
}

/*  Asks the node for a change whose reply is a certificate and, for a file, its secrets.  */
static int run_change(const struct change *self, json_t *request)
{
    struct ckv_client *client;
    struct ckv_reply reply;
    int rc = ckv_client_new(&client, self->arguments->data, ckv_timeout(self->arguments));
    if (rc != CKV_OK) {
        json_decref(request);
        return ckv_complain(self->arguments, rc, "%s", self->arguments->data);
    }
    rc = ckv_client_call(client, request, &reply);
    int status = take_reply(self, rc, &reply);
    ckv_reply_clear(&reply);
    ckv_client_destroy(&client);
    return status;
}

/*  The same, and writes the file, which is opened first. CLIENT_PUBLIC_KEY as for ckv_output_open.  */
static int run_change_with_file(const struct change *self, json_t *request,
                                const uint8_t *client_public_key)
{
    struct ckv_output output;
    struct change change = *self;
    change.output = &output;
    signal(SIGPIPE, SIG_IGN); /* a certificate whose file nobody took is to be said */
    int status = ckv_output_open(&output, self->arguments, client_public_key);
    if (status == CKV_EXIT_DONE)
        status = run_change(&change, request);
    else
        json_decref(request);
    ckv_output_close(&output);
    return status;
}

/*  ---- the commands ----  */

static int add_registration(const struct ckv_arguments *arguments, json_t *request)
{
    int status = add_text(arguments, request, "organisation", arguments->organisation,
                          CKV_ERROR_ORGANISATION);
    if (status == CKV_EXIT_DONE)
        status = add_text(arguments, request, "client_number", arguments->number, CKV_ERROR_NUMBER);
    if (status == CKV_EXIT_DONE)
        status = add_client_key(arguments, request);
    if (status == CKV_EXIT_DONE)
        status = add_server_key(request, arguments->server_key);
    if (status == CKV_EXIT_DONE && arguments->key)
        status = add_storage_key(arguments, request, arguments->key);
    if (status == CKV_EXIT_DONE)
        status = add_time(request, "not_before", "not-before", arguments->not_before);
    if (status == CKV_EXIT_DONE)
        status = add_time(request, "not_after", "expires", arguments->expires);
    if (status == CKV_EXIT_DONE)
        status = check_validity(arguments, request);
    if (status == CKV_EXIT_DONE)
        status = add_metadata(arguments, request);
    if (status == CKV_EXIT_DONE)
        status = add_ack(arguments, request);
    return status;
}

static void take_text(uint8_t *octets, size_t capacity, uint8_t *size, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    if (length > capacity || !length)
        return;
    memcpy(octets, text, length); /* NOLINT(bugprone-not-null-terminated-result): octets */
    *size = (uint8_t)length;
}

static int put_metadata(struct ckv_certfile *file, const struct ckv_arguments *arguments)
{
    int rc = CKV_OK;
    for (int i = 0; i < arguments->meta_count && rc == CKV_OK; i++) {
        const char *text = arguments->meta[i], *value = strchr(text, '=');
        rc = value
                 ? ckv_properties_put(file->metadata, sizeof(file->metadata), &file->metadata_size,
                                      ckv_octets(text, (size_t)(value - text)),
                                      ckv_octets_text(value + 1))
                 : CKV_ERROR_METADATA;
    }
    return rc;
}

/*  Writes the texts given as a certificate file, to TEXT: what no line of it can hold must not be
    registered first. Texts too long are left for the node to refuse.  */
static int try_file(struct ckv_certfile *file, char *text, const struct ckv_arguments *arguments)
{
    size_t size;
    take_text(file->organisation, sizeof(file->organisation), &file->organisation_size,
              arguments->organisation);
    take_text(file->number, sizeof(file->number), &file->number_size, arguments->number);
    int rc = put_metadata(file, arguments);
    return rc == CKV_OK ? ckv_certfile_write(file, text, CKV_CERTFILE_MAX, &size) : rc;
}

static int check_file(const struct ckv_arguments *arguments)
{
    struct ckv_certfile *file = calloc(1, sizeof(*file));
    char *text = malloc(CKV_CERTFILE_MAX);
    int rc = file && text ? try_file(file, text, arguments) : CKV_ERROR_MEMORY;
    free(file);
    free(text);
    if (rc == CKV_OK)
        return CKV_EXIT_DONE;
    return ckv_complain(arguments, rc,
                        "a certificate file cannot hold this (a text with both kinds of quotes has "
                        "no #, and no quote or space at its ends)");
}

/*  What a refusal of a registration is about.  */
static void describe(const struct ckv_arguments *arguments, char about[1024])
{
    if (arguments->key)
        snprintf(about, 1024, "register storage key '%.200s'", arguments->key);
    else
        snprintf(about, 1024, "register %.200s %.200s",
                 arguments->organisation ? arguments->organisation : "a client",
                 arguments->number ? arguments->number : "");
}

/*  As of a shell's variable that is not set.  */
static bool is_empty(const char *value)
{
    return value && !value[0];
}

static int register_client(const struct ckv_arguments *arguments)
{
    char about[1024];
    uint8_t key[32];
    if (!arguments->organisation && !arguments->number && !arguments->key)
        return ckv_complain_usage("say who is registered: --organisation, --number or --key");
    if (is_empty(arguments->organisation) || is_empty(arguments->number))
        return ckv_complain_usage(
            "--organisation or --number is empty: say who is registered, or leave it "
            "out");
    json_t *request = json_pack("{ss}", "command", "register");
    int status = add_registration(arguments, request);
    if (status == CKV_EXIT_DONE)
        status = check_file(arguments);
    if (status != CKV_EXIT_DONE) {
        json_decref(request);
        return status;
    }
    describe(arguments, about);
    struct change change = { .arguments = arguments, .done = "registered", .about = about };
    return run_change_with_file(&change, request, given_client_key(arguments, key));
}

/*  The client's key as the certificate has it now, expired or not.  */
static int find_client_key(const struct ckv_arguments *arguments, uint8_t key[32])
{
    static const struct ckv_certificate none;
    struct ckv_client *client;
    struct ckv_reply reply;
    struct ckv_certificate certificate = none;
    int rc = ckv_client_new(&client, arguments->data, ckv_timeout(arguments));
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", arguments->data);
    json_t *request =
        json_pack("{ssss}", "command", "resolve", "storage_key", arguments->operands[0]);
    rc = ckv_client_call(client, request, &reply);
    struct ckv_octets record = ckv_reply_record(&reply);
    if (record.size || rc == CKV_OK) /* it comes with a refusal, too */
        rc = ckv_certificate_parse(&certificate, record.data, record.size);
    if (rc == CKV_OK)
        memcpy(key, certificate.client_public_key, 32);
    ckv_reply_clear(&reply);
    ckv_client_destroy(&client);
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "%s", arguments->operands[0]);
}

static int add_rotation(const struct ckv_arguments *arguments, json_t *request)
{
    if (arguments->keep_client_key && arguments->client_key)
        return ckv_complain_usage("--keep-client-key and --client-key exclude each other");
    if (arguments->keep_client_key)
        json_object_set_new(request, "keep_client_key", json_true());
    int status = add_storage_key(arguments, request, arguments->operands[0]);
    if (status == CKV_EXIT_DONE)
        status = add_client_key(arguments, request);
    if (status == CKV_EXIT_DONE)
        status = add_server_key(request, arguments->server_key);
    if (status == CKV_EXIT_DONE)
        status = add_time(request, "not_after", "expires", arguments->expires);
    if (status == CKV_EXIT_DONE)
        status = add_ack(arguments, request);
    return status;
}

static int rotate(const struct ckv_arguments *arguments)
{
    uint8_t key[32];
    json_t *request = json_pack("{ss}", "command", "rotate");
    int status = add_rotation(arguments, request);
    if (status == CKV_EXIT_DONE && arguments->keep_client_key)
        status = find_client_key(arguments, key);
    if (status != CKV_EXIT_DONE) {
        json_decref(request);
        return status;
    }
    struct change change = { .arguments = arguments,
                             .done = "rotated",
                             .about = arguments->operands[0] };
    return run_change_with_file(
        &change, request, arguments->keep_client_key ? key : given_client_key(arguments, key));
}

static int revoke_certificate(const struct ckv_arguments *arguments)
{
    json_t *request = json_pack("{ss}", "command", "revoke");
    int status = add_storage_key(arguments, request, arguments->operands[0]);
    if (status == CKV_EXIT_DONE)
        status = add_ack(arguments, request);
    if (status != CKV_EXIT_DONE) {
        json_decref(request);
        return status;
    }
    struct change change = { .arguments = arguments,
                             .done = "revoked",
                             .about = arguments->operands[0] };
    return run_change(&change, request);
}

const struct ckv_command ckv_command_register = {
    .name = "register",
    .operands = "",
    .summary = "register a client and write its certificate file",
    .help =
        "  --organisation NAME       whose client it is\n"
        "  --number NUMBER           its client number, any text\n"
        "  --client-key Z85          its public key (default: the node makes a key pair)\n"
        "  --server-key KIND         dedicated: a server key pair for this client alone (the\n"
        "                            default); shared: the cluster's default one\n"
        "  --key KEY                 a chosen storage key (default: derived)\n"
        "  --expires TIME            such as 90d, 12h, 2030-12-31 (default: never)\n"
        "  --not-before TIME         such as 7d (default: at once)\n"
        "  --meta NAME=VALUE         metadata, any number of times\n"
        "  --out FILE                the certificate file; '-' or none: standard output\n"
        "  --force                   overwrite FILE; when --client-key is the key of FILE, its\n"
        "                            secret key goes over into the new one\n"
        "  --passphrase              protect its secrets; asked on the terminal\n"
        "  --passphrase-file FILE    the same, with the first line of FILE\n"
        "  --ack LEVEL               answer when it is local: durable here; logged: also in the\n"
        "                            cluster's log (the default in a cluster); all: applied by\n"
        "                            every live node. A node alone is all there is, and has\n"
        "                            reached any at once\n"
        "  --wait SECONDS            how long to wait for that (5); exit status 4 when it is\n"
        "                            not reached in time. While Redis is away nothing waits:\n"
        "                            with --ack logged or all it is 4 at once, without --ack\n"
        "                            it is 0, and a note says that it is replicated later\n"
        "  --data DIR, --json, --timeout SECONDS\n"
        "\n"
        "The file is the client's: it holds its secret key and its hello key. CZMQ's zcert\n"
        "and pyzmq read it. After --client-key the client adds its secret key to the file,\n"
        "which says where.\n"
        "\n"
        "Examples:\n"
        "  curvekv register --organisation ACME --number 42 --out acme42.cert\n"
        "  curvekv register --key 42 --expires 90d --meta email=it@acme.example --out 42.cert\n",
    .options = "data json timeout organisation number client-key server-key key expires not-before "
               "meta out force passphrase passphrase-file ack wait",
    .run = register_client,
};

const struct ckv_command ckv_command_rotate = {
    .name = "rotate",
    .operands = "KEY",
    .summary = "give a certificate new keys under the same storage key",
    .help = "  --keep-client-key         leave the client's key pair, change the server's; with\n"
            "                            --out the client's own file and --force, its secret key\n"
            "                            goes over into the new one\n"
            "  --client-key Z85          the client's new public key (default: the node makes a\n"
            "                            new key pair)\n"
            "  --server-key KIND         dedicated or shared from now on (default: as it is, a\n"
            "                            dedicated one made anew)\n"
            "  --expires TIME            a new end of validity\n"
            "  --out FILE                the new certificate file; '-' or none: standard output\n"
            "  --force, --passphrase, --passphrase-file FILE, --ack LEVEL, --wait SECONDS\n"
            "                            as for register\n"
            "  --data DIR, --json, --timeout SECONDS\n"
            "\n"
            "The old keys are refused from then on, and gateways end who is connected with them.\n"
            "\n"
            "Example:\n"
            "  curvekv rotate 42 --out acme42-new.cert\n",
    .options = "data json timeout keep-client-key client-key server-key expires out force "
               "passphrase passphrase-file ack wait",
    .operands_min = 1,
    .operands_max = 1,
    .run = rotate,
};

const struct ckv_command ckv_command_revoke = {
    .name = "revoke",
    .operands = "KEY",
    .summary = "revoke a certificate, for ever",
    .help = "  --ack LEVEL, --wait SECONDS   as for register\n"
            "  --data DIR, --json, --timeout SECONDS\n"
            "\n"
            "A revoked certificate stays known, and refused. There is no way back: register the\n"
            "client anew.\n"
            "\n"
            "Example:\n"
            "  curvekv revoke 42\n",
    .options = "data json timeout ack wait",
    .operands_min = 1,
    .operands_max = 1,
    .run = revoke_certificate,
};
