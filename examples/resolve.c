/*  Resolves a storage key in the store of a node on this machine.

        cc resolve.c $(pkg-config --cflags --libs curvekv) -o resolve
        ./resolve ./curvekv-data 42
*/
#include <curvekv.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
    struct ckv_store *store;
    struct ckv_storage_key key;
    struct ckv_certificate certificate;
    char client_public_key[CKV_Z85_TEXT_SIZE];

    if (argc != 3)
        return fprintf(stderr, "usage: resolve DIRECTORY KEY\n"), 2;
    int rc = ckv_storage_key_read(&key, ckv_octets_text(argv[2]));
    if (rc == CKV_OK)
        rc = ckv_store_open(&store, argv[1]);
    if (rc != CKV_OK)
        return fprintf(stderr, "resolve: %s\n", ckv_strerror(rc)), 1;

    rc = ckv_store_resolve(store, key.octets, key.size, &certificate);
    if (rc == CKV_OK) /* the view lives until the next call with this store */
        printf("%.*s %.*s %s\n", (int)certificate.organisation.size, certificate.organisation.data,
               (int)certificate.number.size, certificate.number.data,
               ckv_z85_text(certificate.client_public_key, client_public_key));
    if (rc == CKV_OK)
        rc = ckv_certificate_valid_at(&certificate, (uint64_t)time(NULL) * 1000);
    if (rc != CKV_OK)
        fprintf(stderr, "resolve: %s\n", ckv_strerror(rc));
    ckv_store_close(&store);
    return rc != CKV_OK;
}
