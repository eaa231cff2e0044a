/*  Prints, in hex, every secret of a cluster key and of sealed records, one a line: what no file, log or
    message may hold. Reads the cluster key from the file of its first argument, and a dump of records
    from the second.  */
#include "core/certificate.h"
#include "core/cluster_key.h"
#include "node/dump.h"

#include <stdio.h>
#include <stdlib.h>

static void print(const uint8_t *secret, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", secret[i]);
    putchar('\n');
}

static uint8_t *read_all(const char *path, size_t *size)
{
    enum { MOST = 1 << 24 };
    uint8_t *octets = malloc(MOST);
    FILE *file = fopen(path, "rb");
    if (!octets || !file)
        exit(1);
    *size = fread(octets, 1, MOST, file);
    fclose(file);
    return octets;
}

int main(int argc, char **argv)
{
    struct ckv_cluster_key *key;
    struct ckv_certificate certificate;
    struct ckv_dump_entry entry;
    uint8_t secret[32];
    size_t size;
    if (argc != 3 || ckv_cluster_key_new(&key, read_all(argv[1], &size)) != CKV_OK)
        return 1;
    print(key->seal_key, sizeof(key->seal_key));
    print(key->storage_key_key, sizeof(key->storage_key_key));
    print(key->hello_root, sizeof(key->hello_root));
    print(key->message_key, sizeof(key->message_key));
    print(key->server_secret_key, sizeof(key->server_secret_key));
    uint8_t *dump = read_all(argv[2], &size);
    struct ckv_octets rest = ckv_octets(dump, size);
    rest.data += sizeof(CKV_DUMP_MAGIC) - 1;
    rest.size -= sizeof(CKV_DUMP_MAGIC) - 1;
    while (ckv_dump_next(&rest, &entry) == 1)
        if (entry.type == CKV_DUMP_RECORD &&
            ckv_certificate_parse(&certificate, entry.octets.data, entry.octets.size) == CKV_OK &&
            ckv_certificate_unseal(&certificate, key, secret) == CKV_OK)
            print(secret, sizeof(secret));
    return 0;
}
