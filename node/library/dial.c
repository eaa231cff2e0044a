#include "node/library/dial.h"
#include "kv/clock.h"
#include "node/library/endpoint.h"
#include "node/library/wire.h"

#include <poll.h>
#include <unistd.h>

enum { ADDRESSES_MAX = 16 };

/*  How a connect that was begun has ended.  */
static int await_connected(int fd, uint64_t deadline)
{
    int number = 0;
    socklen_t size = sizeof(number);
    int rc = ckv_wire_poll(fd, POLLOUT, deadline);
    if (rc != CKV_OK)
        return rc;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 && number == 0
               ? CKV_OK
               : CKV_ERROR_NOT_REACHABLE;
}

/*  A unix socket whose queue is full gives nothing to wait for.  */
static int connect_when_there_is_room(const struct ckv_endpoint *endpoint, uint64_t deadline,
                                      int *fd, bool *connecting)
{
    enum { PAUSE_MS = 10 };
    int rc;
    while ((rc = ckv_endpoint_connect(endpoint, fd, connecting)) == CKV_ERROR_TIMEOUT &&
           !ckv_wire_late(deadline))
        poll(NULL, 0, PAUSE_MS);
    return rc;
}

static int dial(const struct ckv_endpoint *endpoint, uint64_t deadline, int *fd_p)
{
    bool connecting;
    int fd;
    int rc = connect_when_there_is_room(endpoint, deadline, &fd, &connecting);
    if (rc != CKV_OK)
        return rc;
    if (connecting)
        rc = await_connected(fd, deadline);
    if (rc == CKV_OK)
        *fd_p = fd;
    else
        close(fd);
    return rc;
}

/*  An equal share of the time that is left for each of COUNT addresses, so that one that does not answer
    leaves time for the next.  */
static uint64_t share(uint64_t deadline, size_t count)
{
    uint64_t now = ckv_clock_monotonic();
    if (deadline == UINT64_MAX || deadline <= now)
        return deadline;
    return now + (deadline - now) / count;
}

int ckv_dial(const char *endpoint, uint64_t deadline, int *fd)
{
    struct ckv_endpoint all[ADDRESSES_MAX];
    size_t count;
    int rc = ckv_endpoint_read_all(all, ADDRESSES_MAX, &count, endpoint);
    if (rc != CKV_OK)
        return rc;
    rc = CKV_ERROR_NOT_REACHABLE;
    for (size_t i = 0; i < count && rc != CKV_OK; i++)
        rc = dial(&all[i], share(deadline, count - i), fd);
    return rc == CKV_ERROR_NOT_REACHABLE ? CKV_ERROR_NO_SERVER : rc;
}
