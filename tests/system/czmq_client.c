/*  A client of CZMQ: connects with the certificate file of its first argument, to the endpoint of its
    second, whose server key in Z85 is the third; asks, and prints the answer.  */
#include <czmq.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    zcert_t *certificate = zcert_load(argv[1]);
    zsock_t *dealer = zsock_new(ZMQ_DEALER);
    if (!certificate || !dealer)
        return 1;
    zcert_apply(certificate, dealer);
    zsock_set_curve_serverkey(dealer, argv[3]);
    zsock_set_rcvtimeo(dealer, 20000);
    if (zsock_connect(dealer, "%s", argv[2]) != 0 || zstr_sendx(dealer, "who", "am I?", NULL) != 0)
        return 1;
    char *answer = zstr_recv(dealer);
    printf("%s\n", answer ? answer : "no answer");
    zstr_free(&answer);
    zsock_destroy(&dealer);
    zcert_destroy(&certificate);
    return 0;
}
