/*  gateway_options: the options of a gateway on a command line, of `curvekv gateway` and of
    `curvekv serve`.  */
#ifndef CKV_GATEWAY_OPTIONS_H
#define CKV_GATEWAY_OPTIONS_H

#include "node/commands/command.h"
#include "node/gateway/gateway.h"

/*  The names of those that both take, and their help.  */
#define CKV_GATEWAY_OPTION_NAMES                                                                   \
    "backend backend-mode loops stock-hello stock-share clock-window key-rate max-pending "        \
    "max-pending-per-address handshake-timeout max-message"

#define CKV_GATEWAY_OPTION_HELP                                                                    \
    "  --backend ENDPOINT   the stock libzmq server behind it, without CURVE\n"                    \
    "  --backend-mode M     client: one connection to it for each client; shared: one\n"           \
    "                       for all clients of a loop that are DEALER or REQ, whose\n"             \
    "                       messages begin with a routing id (client)\n"                           \
    "  --loops N            threads (as many as cores)\n"                                          \
    "  --stock-hello P      allow or deny clients without a storage key, which are met\n"          \
    "                       with the cluster's default server key (allow)\n"                       \
    "  --stock-share N%     of the curve operations, while others want them (25%)\n"               \
    "  --clock-window T     how far a client's clock may be off (60s)\n"                           \
    "  --key-rate N         handshakes of one client in a second; 0: any number (100)\n"           \
    "  --max-pending N      handshakes at once (8192, or 1 in 4 descriptors)\n"                    \
    "  --max-pending-per-address N   of those who have proved nothing (half of that)\n"            \
    "  --handshake-timeout T         for each step of it, up to 60s (10s)\n"                       \
    "  --max-message SIZE   of one part of a message; in mode shared, of the whole (64M)\n"

/*  The name of one of them that was given, or NULL.  */
const char *ckv_gateway_option_given(const struct ckv_arguments *arguments);

/*  Reads them; LISTEN is where it is to listen. Sets all but store and key. Returns CKV_EXIT_DONE, or
    another exit status after having said what is wrong.  */
int ckv_gateway_options_read(struct ckv_gateway_options *self,
                             const struct ckv_arguments *arguments, const char *listen);

#endif
