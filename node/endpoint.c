#include "node/endpoint.h"
#include "kv/clock.h"
#include "kv/system.h"
#include "node/wire.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* ---- as text ---- */

/*  Whether TEXT begins with PREFIX; then *REST is what follows.  */
static bool begins(const char *text, const char *prefix, const char **rest)
{
    size_t size = strlen(prefix);
    *rest = text + size;
    return strncmp(text, prefix, size) == 0;
}

static int read_ipc(struct ckv_endpoint *self, const char *path)
{
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof(self->path.sun_path) || strcmp(path, "@") == 0)
        return CKV_ERROR_ENDPOINT;
    self->is_ipc = true;
    self->path.sun_family = AF_UNIX;
    memcpy(self->path.sun_path, path, size);
    /*  The name of an abstract socket begins with a zero and has none at its end.  */
    bool abstract = path[0] == '@';
    if (abstract)
        self->path.sun_path[0] = 0;
    self->path_size =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (abstract ? 0 : 1));
    return CKV_OK;
}

static bool read_port(char port[CKV_PORT_MAX + 1], const char *text)
{
    size_t size = strlen(text);
    unsigned long number = 0;
    if (size == 0 || size > CKV_PORT_MAX || strspn(text, "0123456789") != size)
        return false;
    for (size_t i = 0; i < size; i++)
        number = 10 * number + (unsigned long)(text[i] - '0');
    memcpy(port, text, size + 1);
    return number >= 1 && number <= UINT16_MAX;
}

static int read_tcp(struct ckv_endpoint *self, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !read_port(self->port, colon + 1))
        return CKV_ERROR_ENDPOINT;
    size_t size = (size_t)(colon - text);
    bool bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';
    if (bracketed) {
        text++;
        size -= 2;
    }
    if (size == 0 || size > CKV_HOST_MAX)
        return CKV_ERROR_ENDPOINT;
    memcpy(self->host, text, size);
    return strpbrk(self->host, bracketed ? "/;[]" : "/;[]:") ? CKV_ERROR_ENDPOINT : CKV_OK;
}

int ckv_endpoint_read(struct ckv_endpoint *self, const char *text)
{
    const char *rest;
    *self = (struct ckv_endpoint){ .is_ipc = false };
    if (begins(text, "ipc://", &rest))
        return read_ipc(self, rest);
    if (begins(text, "tcp://", &rest))
        return read_tcp(self, rest);
    return CKV_ERROR_ENDPOINT;
}

/* ---- the way there ---- */

static int error_of(int number)
{
    switch (number) {
    case ETIMEDOUT:
        return CKV_ERROR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ENOENT:
    case ENOTDIR:
        return CKV_ERROR_NO_SERVER;
    default:
        return ckv_system_error(number);
    }
}

/*  How a connect that was begun has ended.  */
static int await_connected(int fd, uint64_t deadline)
{
    int number;
    socklen_t size = sizeof(number);
    int rc = ckv_wire_poll(fd, POLLOUT, deadline);
    if (rc != CKV_OK)
        return rc;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
        return error_of(errno);
    return number == 0 ? CKV_OK : error_of(number);
}

static int connect_fd(int fd, const struct sockaddr *address, socklen_t size, uint64_t deadline)
{
    enum { PAUSE_MS = 10 };
    while (connect(fd, address, size) != 0) {
        if (errno == EINPROGRESS || errno == EINTR)
            return await_connected(fd, deadline);
        /*  A unix socket whose queue is full says EAGAIN and gives nothing to wait for.  */
        if (errno != EAGAIN)
            return error_of(errno);
        if (ckv_clock_monotonic() >= deadline)
            return CKV_ERROR_TIMEOUT;
        poll(NULL, 0, PAUSE_MS);
    }
    return CKV_OK;
}

static int dial(const struct sockaddr *address, socklen_t size, uint64_t deadline, int *fd_p)
{
    int one = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_of(errno);
    int rc = connect_fd(fd, address, size, deadline);
    if (rc != CKV_OK) {
        close(fd);
        return rc;
    }
    /*  A message is written at once: there is nothing for the system to wait for.  */
    if (address->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *fd_p = fd;
    return CKV_OK;
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

static int dial_host(const struct ckv_endpoint *self, uint64_t deadline, int *fd)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *all;
    size_t count = 0;
    int rc = CKV_ERROR_NO_SERVER;
    int no = getaddrinfo(self->host, self->port, &hints, &all);
    if (no != 0)
        return no == EAI_MEMORY ? CKV_ERROR_MEMORY : CKV_ERROR_HOST;
    for (const struct addrinfo *each = all; each; each = each->ai_next)
        count++;
    for (const struct addrinfo *each = all; each && rc != CKV_OK; each = each->ai_next)
        rc = dial(each->ai_addr, each->ai_addrlen, share(deadline, count--), fd);
    freeaddrinfo(all);
    return rc;
}

int ckv_endpoint_dial(const struct ckv_endpoint *self, uint64_t deadline, int *fd)
{
    return self->is_ipc ? dial((const struct sockaddr *)&self->path, self->path_size, deadline, fd)
                        : dial_host(self, deadline, fd);
}
