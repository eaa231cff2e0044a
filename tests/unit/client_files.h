/*  client_files: certificate files of the fixed client (tests/unit/curve_keys.h), in a directory of the
    test's own.  */
#ifndef CKV_TESTS_CLIENT_FILES_H
#define CKV_TESTS_CLIENT_FILES_H

#include "core/certfile.h"
#include "tests/unit/curve_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define PASSPHRASE "open sesame"

static char files_directory[64];

static inline const char *file_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", files_directory, name);
    return path;
}

/*  The certificate of the client whose secret key begins with FIRST, for the fixed server.  */
static inline struct ckv_certfile client_file(uint8_t first)
{
    struct ckv_certfile file = { .has_secret_key = true, .has_server_public_key = true };
    struct fixed_pair client = fixed_pair(first), server = fixed_pair(FIRST_OF_SERVER);
    memcpy(file.public_key, client.public_key, 32);
    memcpy(file.secret_key, client.secret_key, 32);
    memcpy(file.server_public_key, server.public_key, 32);
    return file;
}

static inline void add_storage_key(struct ckv_certfile *file)
{
    assert_int_equal(ckv_storage_key_read(&file->storage_key, ckv_octets_text(FIXED_STORAGE_KEY)),
                     CKV_OK);
    fill(file->hello_key, sizeof(file->hello_key), FIRST_OF_HELLO);
    file->has_hello_key = true;
}

static inline void write_file(const char *name, const struct ckv_certfile *file)
{
    static char text[CKV_CERTFILE_MAX];
    size_t size;
    assert_int_equal(ckv_certfile_write(file, text, sizeof(text), &size), CKV_OK);
    FILE *out = fopen(file_path(name), "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, size, out), size);
    fclose(out);
}

static inline void write_protected(const char *name)
{
    enum { SMALLEST = 8192 };
    uint8_t salt[16] = { 1 }, nonce[24] = { 2 };
    struct ckv_certfile file = client_file(FIRST_OF_CLIENT);
    assert_int_equal(
        ckv_certfile_protect(&file, ckv_octets_text(PASSPHRASE), salt, nonce, 1, SMALLEST), CKV_OK);
    write_file(name, &file);
}

/*  "stock" has no storage key, "modified" has one, "stranger" is not known to the server, "other" is for
    another server.  */
static inline int make_files(void **state)
{
    (void)state;
    snprintf(files_directory, sizeof(files_directory), "/tmp/ckv-client-XXXXXX");
    if (sodium_init() < 0 || !mkdtemp(files_directory))
        return -1;
    struct ckv_certfile file = client_file(FIRST_OF_CLIENT);
    write_file("stock", &file);
    add_storage_key(&file);
    write_file("modified", &file);
    file = client_file(0x77);
    write_file("stranger", &file);
    file = client_file(FIRST_OF_CLIENT);
    fill(file.server_public_key, 32, 0x99);
    write_file("other", &file);
    file.has_server_public_key = false;
    write_file("serverless", &file);
    file.has_secret_key = false;
    file.has_server_public_key = true;
    write_file("public", &file);
    write_protected("protected");
    return 0;
}

static inline int remove_files(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", files_directory);
    return system(command); /* NOLINT(cert-env33-c): a name of our own making */
}

#endif
