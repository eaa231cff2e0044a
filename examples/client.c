/*  Sends a request to a REP or ROUTER that is a CURVE server, and prints the reply.

        cc client.c $(pkg-config --cflags --libs curvekv) -o client
        curvekv register --organisation ACME --number 42 --out acme42.cert
        ./client tcp://127.0.0.1:5555 acme42.cert hello world

    Each word is a part of the request, each line a part of the reply.
*/
#include <curvekv.h>

#include <stdio.h>

enum { TIMEOUT_MS = 5000, PARTS_MAX = 16 };

static int ask(struct ckv_connection *connection, char **words, int count)
{
    struct ckv_octets request[PARTS_MAX];
    const struct ckv_octets *reply; /* lives until the next receive */
    size_t parts;

    for (int i = 0; i < count; i++)
        request[i] = ckv_octets_text(words[i]);
    int rc = ckv_connection_send(connection, request, (size_t)count, TIMEOUT_MS);
    if (rc == CKV_OK)
        rc = ckv_connection_receive(connection, &reply, &parts, TIMEOUT_MS);
    for (size_t i = 0; rc == CKV_OK && i < parts; i++)
        printf("%.*s\n", (int)reply[i].size, reply[i].data);
    return rc;
}

int main(int argc, char **argv)
{
    struct ckv_connection *connection;

    if (argc < 4 || argc > 3 + PARTS_MAX)
        return fprintf(stderr, "usage: client ENDPOINT CERTIFICATE-FILE WORD...\n"), 2;
    struct ckv_connection_options options = {
        .endpoint = argv[1],
        .certificate_file = argv[2],
        .socket_type = CKV_SOCKET_REQ,
        .timeout_ms = TIMEOUT_MS,
    };
    int rc = ckv_connection_open(&connection, &options);
    if (rc == CKV_OK)
        rc = ask(connection, argv + 3, argc - 3);
    if (rc != CKV_OK)
        fprintf(stderr, "client: %s\n", ckv_strerror(rc));
    ckv_connection_close(&connection);
    return rc != CKV_OK;
}
