#include "node/library/identity.h"
#include "node/library/keyfile.h"

#include <sodium.h>

static int unlock(struct ckv_certfile *file, const char *passphrase)
{
    if (!file->is_protected)
        return CKV_OK;
    if (!passphrase)
        return CKV_ERROR_PROTECTED;
    return ckv_certfile_unprotect(file, ckv_octets_text(passphrase));
}

static int check(const struct ckv_certfile *file)
{
    if (!file->has_secret_key)
        return CKV_ERROR_NO_SECRET_KEY;
    return file->has_server_public_key ? CKV_OK : CKV_ERROR_NO_SERVER_KEY;
}

int ckv_identity_load(struct ckv_certfile *file, const char *path, const char *passphrase,
                      const uint8_t *server_public_key)
{
    unsigned line;
    int rc = ckv_keyfile_read(file, path, &line);
    if (rc == CKV_OK)
        rc = unlock(file, passphrase);
    if (rc == CKV_OK && server_public_key) {
        memcpy(file->server_public_key, server_public_key, sizeof(file->server_public_key));
        file->has_server_public_key = true;
    }
    if (rc == CKV_OK)
        rc = check(file);
    if (rc != CKV_OK)
        sodium_memzero(file, sizeof(*file));
    return rc;
}

struct ckv_curve_identity ckv_identity_of(const struct ckv_certfile *file)
{
    struct ckv_curve_identity identity = {
        .public_key = file->public_key,
        .secret_key = file->secret_key,
        .server_public_key = file->server_public_key,
    };
    /*  Without a hello key a storage key would be one that anybody can write into a HELLO.  */
    if (file->storage_key.size && file->has_hello_key) {
        identity.storage_key = ckv_storage_key_octets(&file->storage_key);
        identity.hello_key = file->hello_key;
    }
    return identity;
}
