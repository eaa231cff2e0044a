/*  show: what a certificate file says, without its secrets.  */
#include "core/properties.h"
#include "core/time.h"
#include "core/z85.h"
#include "node/commands/passphrase.h"
#include "node/library/keyfile.h"
#include "node/present.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static const char *secret_of(const struct ckv_certfile *file)
{
    return file->is_protected                    ? "protected by a passphrase"
           : file->has_secret_key                ? "yes, in clear"
           : ckv_certfile_lacks_secret_key(file) ? "no; the client has to add its own"
                                                 : "no";
}

static void print_text(const struct ckv_certfile *file)
{
    char z85[CKV_Z85_TEXT_SIZE], key[CKV_STORAGE_KEY_TEXT_SIZE], time[CKV_TIME_TEXT_SIZE];
    char fingerprint[CKV_FINGERPRINT_TEXT_SIZE];
    struct ckv_octets metadata = ckv_octets(file->metadata, file->metadata_size);
    struct ckv_property property;
    printf("%-18s %s\n", "fingerprint", ckv_fingerprint_text(file->public_key, fingerprint));
    printf("%-18s %s\n", "client public key", ckv_z85_text(file->public_key, z85));
    printf("%-18s %s\n", "secret key", secret_of(file));
    if (file->cluster[0])
        printf("%-18s %s\n", "cluster", file->cluster);
    if (file->organisation_size)
        printf("%-18s %.*s\n", "organisation", file->organisation_size,
               (const char *)file->organisation);
    if (file->number_size)
        printf("%-18s %.*s\n", "client number", file->number_size, (const char *)file->number);
    if (file->storage_key.size)
        printf("%-18s %s\n", "storage key",
               ckv_storage_key_text(ckv_storage_key_octets(&file->storage_key), key));
    if (file->has_server_public_key)
        printf("%-18s %s\n", "server public key", ckv_z85_text(file->server_public_key, z85));
    if (file->not_after)
        printf("%-18s %s\n", "valid until", ckv_time_text(file->not_after, time));
    while (ckv_properties_next(&metadata, &property) == 1)
        printf("%-18s %.*s = %.*s\n", "metadata", (int)property.name.size,
               (const char *)property.name.data, (int)property.value.size,
               (const char *)property.value.data);
}

static void print_json(const struct ckv_arguments *arguments, const struct ckv_certfile *file)
{
    char z85[CKV_Z85_TEXT_SIZE], key[CKV_STORAGE_KEY_TEXT_SIZE], time[CKV_TIME_TEXT_SIZE];
    char fingerprint[CKV_FINGERPRINT_TEXT_SIZE];
    json_t *object = json_object();
    json_object_set_new(object, "fingerprint",
                        json_string(ckv_fingerprint_text(file->public_key, fingerprint)));
    json_object_set_new(object, "client_public_key",
                        json_string(ckv_z85_text(file->public_key, z85)));
    json_object_set_new(object, "has_secret_key",
                        json_boolean(file->has_secret_key || file->is_protected));
    json_object_set_new(object, "protected", json_boolean(file->is_protected));
    if (ckv_passphrase_wanted(arguments)) /* a wrong one does not come this far */
        json_object_set_new(object, "passphrase_is_right",
                            file->is_protected ? json_true() : json_null());
    json_object_set_new(object, "cluster", json_string(file->cluster));
    json_object_set_new(object, "organisation",
                        json_stringn((const char *)file->organisation, file->organisation_size));
    json_object_set_new(object, "client_number",
                        json_stringn((const char *)file->number, file->number_size));
    json_object_set_new(
        object, "storage_key",
        file->storage_key.size
            ? json_string(ckv_storage_key_text(ckv_storage_key_octets(&file->storage_key), key))
            : json_null());
    json_object_set_new(object, "server_public_key",
                        file->has_server_public_key
                            ? json_string(ckv_z85_text(file->server_public_key, z85))
                            : json_null());
    json_object_set_new(object, "not_after",
                        file->not_after ? json_string(ckv_time_text(file->not_after, time))
                                        : json_null());
    json_object_set_new(object, "metadata",
                        ckv_present_metadata(ckv_octets(file->metadata, file->metadata_size)));
    ckv_present_object(object);
}

/*  Whether the passphrase opens the secret.  */
static int try_passphrase(const struct ckv_arguments *arguments, struct ckv_certfile *file)
{
    char passphrase[CKV_PASSPHRASE_MAX];
    int status = ckv_passphrase_get(arguments, false, passphrase);
    if (status == CKV_EXIT_DONE) {
        int rc = ckv_certfile_unprotect(file, ckv_octets_text(passphrase));
        if (rc != CKV_OK)
            status = ckv_complain(arguments, rc, "%s", arguments->operands[0]);
        file->is_protected = true; /* in the file it is */
    }
    sodium_memzero(passphrase, sizeof(passphrase));
    return status;
}

/*  With a passphrase, checks it, and says how that went; with --json, print_json does.  */
static int check_passphrase(const struct ckv_arguments *arguments, struct ckv_certfile *file)
{
    if (!ckv_passphrase_wanted(arguments))
        return CKV_EXIT_DONE;
    int status = file->is_protected ? try_passphrase(arguments, file) : CKV_EXIT_DONE;
    if (status == CKV_EXIT_DONE && !arguments->json)
        fputs(file->is_protected ? "the passphrase is right\n"
                                 : "this file is not protected; no passphrase was tried\n",
              stderr);
    return status;
}

static int show(const struct ckv_arguments *arguments)
{
    const char *path = arguments->operands[0];
    struct ckv_certfile *file = sodium_malloc(sizeof(*file));
    unsigned line = 0;
    if (!file)
        return ckv_complain(arguments, CKV_ERROR_MEMORY, "%s", path);
    int rc = ckv_keyfile_read(file, path, &line);
    int status = CKV_EXIT_DONE;
    if (rc == CKV_OK) {
        status = check_passphrase(arguments, file);
    } else {
        status = CKV_EXIT_REFUSED; /* it is the file that is wrong, not the usage */
        if (line)
            ckv_complain(arguments, rc, "%s, line %u", path, line);
        else
            ckv_complain(arguments, rc, "%s", path);
    }
    if (status == CKV_EXIT_DONE && arguments->json)
        print_json(arguments, file);
    else if (status == CKV_EXIT_DONE)
        print_text(file);
    sodium_free(file);
    return status;
}

const struct ckv_command ckv_command_show = {
    .name = "show",
    .operands = "FILE",
    .summary = "show a certificate file and its fingerprint",
    .help = "  --passphrase              check the passphrase of a protected file\n"
            "  --passphrase-file FILE    the same, with the first line of FILE\n"
            "  --json                    one object; with a passphrase, passphrase_is_right in it\n"
            "                            is true, or null for a file that is not protected\n"
            "\n"
            "Shows no secret. Compare fingerprints over the telephone before you trust a file.\n"
            "Reads files of curvekv, CZMQ and pyzmq, public and secret; needs no node.\n"
            "\n"
            "Example:\n"
            "  curvekv show acme42.cert\n",
    .options = "data json passphrase passphrase-file",
    .operands_min = 1,
    .operands_max = 1,
    .run = show,
};
