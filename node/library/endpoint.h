/*  endpoint: where one listens or connects, as ZeroMQ writes it.

        tcp://10.0.0.5:5555    tcp://host.example:5555    tcp://[::1]:5555
        ipc:///run/app.sock    a unix socket; ipc://@name is Linux's abstract one

    To listen, a host of * is every IPv4 address of this machine, and [::] every IPv6 address, too; a
    port of * or 0 is any free one.

    Sockets here are plain descriptors, non-blocking and closed on exec.
*/
#ifndef CKV_ENDPOINT_H
#define CKV_ENDPOINT_H

#include "core/error.h"
#include <stdbool.h>
#include <sys/socket.h>

enum { CKV_ENDPOINT_TEXT_SIZE = 128 };

struct ckv_endpoint {
    struct sockaddr_storage address;
    socklen_t size;
};

/*  Reads TEXT; a host's name is looked up, which may take as long as the system's resolver does.
    LISTENS allows "*". Returns CKV_ERROR_ENDPOINT, CKV_ERROR_NO_ADDRESS for a host that nobody knows, or
    CKV_ERROR_PATH for a path of more than 107 octets.  */
int ckv_endpoint_read(struct ckv_endpoint *self, const char *text, bool listens);

/*  The same for those who connect, with up to MAX of a host's addresses, 1 or more, in the order to try
    them in.  */
int ckv_endpoint_read_all(struct ckv_endpoint *all, size_t max, size_t *count, const char *text);

bool ckv_endpoint_is_ipc(const struct ckv_endpoint *self);

/*  Whether both are the same address and port, or the same path.  */
bool ckv_endpoint_equal(const struct ckv_endpoint *a, const struct ckv_endpoint *b);

/*  Writes it with a terminating zero into TEXT and returns TEXT.  */
char *ckv_endpoint_text(const struct ckv_endpoint *self, char text[CKV_ENDPOINT_TEXT_SIZE]);

/*  Listens, and sets *FD. Several sockets may listen on one tcp endpoint (SO_REUSEPORT): the kernel
    spreads connections over them, whichever process has them, so a new process can take over from an
    old one. A port 0 becomes the one that was found, so that the next call listens there, too. A
    socket that an earlier process left at an ipc path is removed; a file of another kind is not
    (CKV_ERROR_NO_SOCKET). Accepted sockets send without delay (TCP_NODELAY). Returns
    CKV_ERROR_PORT_IN_USE, CKV_ERROR_HOST (not an address of this machine), CKV_ERROR_PERMISSION, CKV_ERROR_NO_FILE (the directory of an ipc path), CKV_ERROR_IO.  */
int ckv_endpoint_listen(struct ckv_endpoint *self, int *fd);

/*  Removes the path of an ipc endpoint that was listened on.  */
void ckv_endpoint_remove(const struct ckv_endpoint *self);

/*  Begins to connect, and sets *FD. With *CONNECTING it is going to be connected when it becomes
    writable and SO_ERROR says 0, else it is already. Returns CKV_ERROR_NOT_REACHABLE when nobody
    listens there now, CKV_ERROR_TIMEOUT when the queue of a unix socket is full just now,
    CKV_ERROR_PERMISSION, or CKV_ERROR_IO, also for want of descriptors.  */
int ckv_endpoint_connect(const struct ckv_endpoint *self, int *fd, bool *connecting);

#endif
