#include "node/commands/output.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file that is replaced ---- */

/*  Removes the protection of FILE, and keeps the passphrase for the new one.  */
static int unlock(struct ckv_output *self, struct ckv_certfile *file)
{
    const struct ckv_arguments *arguments = self->arguments;
    int status = ckv_passphrase_get(arguments, false, self->passphrase);
    if (status != CKV_EXIT_DONE)
        return status;
    int rc = ckv_certfile_unprotect(file, ckv_octets_text(self->passphrase));
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "%s", arguments->out);
}

/*  A file that cannot be read may hold the only copy of a secret key, and a slip of the pen beside it:
    it is not replaced.  */
static int keep_unread(const struct ckv_arguments *arguments, int rc, unsigned line)
{
    static const char what_to_do[] =
        "not replaced, since it may hold the client's secret key; mend it, or choose another name";
    if (line)
        ckv_complain(arguments, rc, "%s, line %u: %s", arguments->out, line, what_to_do);
    else
        ckv_complain(arguments, rc, "%s: %s", arguments->out, what_to_do);
    return CKV_EXIT_REFUSED;
}

/*  Reads the file that is there, if one is.  */
static int read_present(const struct ckv_arguments *arguments, struct ckv_certfile *file)
{
    unsigned line;
    int rc = ckv_keyfile_check_name(arguments->out, arguments->force);
    if (rc != CKV_OK)
        return ckv_complain(arguments, rc, "%s", arguments->out);
    rc = ckv_keyfile_read(file, arguments->out, &line);
    return rc == CKV_OK || rc == CKV_ERROR_NO_FILE || rc == CKV_ERROR_CERTFILE_EMPTY
               ? CKV_EXIT_DONE
               : keep_unread(arguments, rc, line);
}

/*  Takes the client's secret key out of the file that --force would replace, if it is there.  */
static int take_secret_key(struct ckv_output *self, struct ckv_certfile *file,
                           const uint8_t client_public_key[32])
{
    int status = read_present(self->arguments, file);
    if (status != CKV_EXIT_DONE || memcmp(file->public_key, client_public_key, 32) != 0)
        return status;
    if (file->is_protected)
        status = unlock(self, file);
    if (status != CKV_EXIT_DONE || !file->has_secret_key)
        return status;
    self->carries = true;
    memcpy(self->public_key, file->public_key, 32);
    memcpy(self->secret_key, file->secret_key, 32);
    return CKV_EXIT_DONE;
}

static int carry_over(struct ckv_output *self, const uint8_t *client_public_key)
{
    const char *path = self->arguments->out;
    if (!client_public_key || !path || strcmp(path, "-") == 0 || !self->arguments->force)
        return CKV_EXIT_DONE;
    struct ckv_certfile *file = sodium_malloc(sizeof(*file));
    if (!file)
        return ckv_complain(self->arguments, CKV_ERROR_MEMORY, "%s", path);
    memset(file, 0, sizeof(*file));
    int status = take_secret_key(self, file, client_public_key);
    sodium_free(file);
    return status;
}

/* ---- the file that is made ---- */

static int get_passphrase(struct ckv_output *self, const uint8_t *client_public_key)
{
    if (!ckv_passphrase_wanted(self->arguments) || self->passphrase[0])
        return CKV_EXIT_DONE;
    if (client_public_key && !self->carries)
        return ckv_complain_usage("there is nothing to protect: the client keeps its secret key; "
                                  "leave the passphrase out, or name the client's own file with "
                                  "--out and --force");
    return ckv_passphrase_get(self->arguments, true, self->passphrase);
}

int ckv_output_open(struct ckv_output *self, const struct ckv_arguments *arguments,
                    const uint8_t *client_public_key)
{
    *self = (struct ckv_output){ .arguments = arguments, .keyfile = { .fd = -1 } };
    if (arguments->json && (!arguments->out || strcmp(arguments->out, "-") == 0))
        return ckv_complain_usage("with --json, name the certificate's file with --out");
    int status = carry_over(self, client_public_key);
    if (status == CKV_EXIT_DONE)
        status = get_passphrase(self, client_public_key);
    if (status != CKV_EXIT_DONE)
        return status;
    int rc = ckv_keyfile_take(&self->keyfile, arguments->out, arguments->force);
    return rc == CKV_OK ? CKV_EXIT_DONE : ckv_complain(arguments, rc, "%s", arguments->out);
}

/*  Fills FILE from the certificate and the secrets that came with a reply.  */
static int fill_file(struct ckv_certfile *file, const struct ckv_certificate *certificate,
                     struct ckv_octets secrets, const char *cluster)
{
    memset(file, 0, sizeof(*file));
    if (secrets.size != CKV_HELLO_KEY_SIZE && secrets.size != CKV_HELLO_KEY_SIZE + 32)
        return CKV_ERROR_REQUEST;
    memcpy(file->public_key, certificate->client_public_key, 32);
    memcpy(file->server_public_key, certificate->server_public_key, 32);
    memcpy(file->hello_key, secrets.data, CKV_HELLO_KEY_SIZE);
    file->has_server_public_key = file->has_hello_key = true;
    file->has_secret_key = secrets.size > CKV_HELLO_KEY_SIZE;
    if (file->has_secret_key)
        memcpy(file->secret_key, secrets.data + CKV_HELLO_KEY_SIZE, 32);
    snprintf(file->cluster, sizeof(file->cluster), "%s", cluster ? cluster : "");
    file->organisation_size = (uint8_t)certificate->organisation.size;
    file->number_size = (uint8_t)certificate->number.size;
    memcpy(file->organisation, certificate->organisation.data, certificate->organisation.size);
    memcpy(file->number, certificate->number.data, certificate->number.size);
    file->not_after = certificate->not_after;
    memcpy(file->metadata, certificate->metadata.data, certificate->metadata.size);
    file->metadata_size = certificate->metadata.size;
    return ckv_storage_key_set(&file->storage_key, certificate->storage_key);
}

static int protect(struct ckv_certfile *file, const char *passphrase)
{
    uint8_t salt[16], nonce[24];
    randombytes_buf(salt, sizeof(salt));
    randombytes_buf(nonce, sizeof(nonce));
    return ckv_certfile_protect(file, ckv_octets_text(passphrase), salt, nonce,
                                crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE);
}

/*  The secret key goes over only when the certificate is still that of its public key.  */
static void add_secret_key(const struct ckv_output *self, struct ckv_certfile *file)
{
    if (file->has_secret_key || !self->carries ||
        memcmp(self->public_key, file->public_key, sizeof(file->public_key)) != 0)
        return;
    memcpy(file->secret_key, self->secret_key, sizeof(file->secret_key));
    file->has_secret_key = true;
}

int ckv_output_write(struct ckv_output *self, const struct ckv_certificate *certificate,
                     struct ckv_octets secrets, const char *cluster)
{
    struct ckv_certfile *file = sodium_malloc(sizeof(*file));
    if (!file)
        return CKV_ERROR_MEMORY;
    int rc = fill_file(file, certificate, secrets, cluster);
    if (rc == CKV_OK) {
        add_secret_key(self, file);
        self->lacks_secret_key = !file->has_secret_key;
        if (self->passphrase[0] && file->has_secret_key)
            rc = protect(file, self->passphrase);
    }
    if (rc == CKV_OK)
        rc = ckv_keyfile_finish(&self->keyfile, file, self->arguments->force);
    sodium_free(file);
    return rc;
}

void ckv_output_close(struct ckv_output *self)
{
    ckv_keyfile_drop(&self->keyfile);
    sodium_memzero(self->passphrase, sizeof(self->passphrase));
    sodium_memzero(self->secret_key, sizeof(self->secret_key));
}
