/*  A client of libcurvekv: connects to the endpoint of its first argument with the certificate file of
    its second, says that it is in, and waits until it is out; connects anew, and says what it was
    told, each time.  */
#include "node/library/curvekv.h"

#include <stdio.h>

static int say(const char *what, int rc)
{
    printf("%s: %s\n", what, rc == CKV_OK ? "done" : ckv_strerror(rc));
    fflush(stdout);
    return rc;
}

int main(int argc, char **argv)
{
    struct ckv_connection *connection;
    const struct ckv_octets *parts;
    size_t count;
    struct ckv_connection_options options = { .socket_type = CKV_SOCKET_DEALER };
    if (argc != 3)
        return 2;
    options.endpoint = argv[1];
    options.certificate_file = argv[2];
    if (say("open", ckv_connection_open(&connection, &options)) != CKV_OK)
        return 1;
    say("receive", ckv_connection_receive(connection, &parts, &count, 20000));
    ckv_connection_close(&connection);
    say("open", ckv_connection_open(&connection, &options));
    ckv_connection_close(&connection);
    return 0;
}
