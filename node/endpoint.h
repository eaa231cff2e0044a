/*  endpoint: where a server is, as ZeroMQ writes it, and the way there.

        tcp://host:port     a name, an IPv4 address, or an IPv6 one in brackets
        ipc://path          a unix socket; ipc://@name is one of Linux's abstract ones
*/
#ifndef CKV_ENDPOINT_H
#define CKV_ENDPOINT_H

#include "core/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { CKV_HOST_MAX = 255, CKV_PORT_MAX = 5 };

/*  An endpoint, read. Owns all it holds.  */
struct ckv_endpoint {
    bool is_ipc;
    char host[CKV_HOST_MAX + 1]; /* for tcp, without brackets */
    char port[CKV_PORT_MAX + 1]; /* for tcp, 1 to 65535 */
    struct sockaddr_un path;     /* for ipc, of path_size octets */
    socklen_t path_size;
};

/*  Reads TEXT. Returns CKV_OK or CKV_ERROR_ENDPOINT.  */
int ckv_endpoint_read(struct ckv_endpoint *self, const char *text);

/*  Connects, until DEADLINE (monotonic clock, ms), trying a host's addresses one after the other. The
    name service is asked before that, and takes the time it takes. *FD is the caller's, non-blocking,
    closed on exec. Errors: CKV_ERROR_HOST, CKV_ERROR_NO_SERVER, CKV_ERROR_TIMEOUT,
    CKV_ERROR_PERMISSION, CKV_ERROR_MEMORY, CKV_ERROR_IO.  */
int ckv_endpoint_dial(const struct ckv_endpoint *self, uint64_t deadline, int *fd);

#endif
