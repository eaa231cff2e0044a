#include "node/library/endpoint.h"

#include "kv/system.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HOST_MAX = 255, BACKLOG = 4096 };

/* ---- reading ---- */

static int read_ipc(struct ckv_endpoint *self, const char *path)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&self->address;
    size_t size = strlen(path);
    if (size == 0 || strcmp(path, "@") == 0)
        return CKV_ERROR_ENDPOINT;
    if (size >= sizeof(address->sun_path))
        return CKV_ERROR_PATH;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, size);
    if (path[0] == '@')
        address->sun_path[0] = 0;
    self->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (path[0] != '@'));
    return CKV_OK;
}

static bool is_port(const char *text, bool listens)
{
    size_t digits = strspn(text, "0123456789");
    return digits >= 1 && digits <= 5 && !text[digits] && atoi(text) <= UINT16_MAX &&
           (listens || atoi(text) > 0);
}

static int look_up(struct ckv_endpoint *all, size_t max, size_t *count, const char *host,
                   const char *port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
    if (!host)
        hints.ai_flags |= AI_PASSIVE;
    hints.ai_family = host ? AF_UNSPEC : AF_INET;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return CKV_ERROR_NO_ADDRESS;
    *count = 0;
    for (const struct addrinfo *each = found; each && *count < max; each = each->ai_next) {
        struct ckv_endpoint *self = &all[(*count)++];
        memcpy(&self->address, each->ai_addr, each->ai_addrlen);
        self->size = each->ai_addrlen;
    }
    freeaddrinfo(found);
    return CKV_OK;
}

static int read_tcp(struct ckv_endpoint *all, size_t max, size_t *count, const char *text,
                    bool listens)
{
    char host[HOST_MAX + 1];
    const char *port = strrchr(text, ':'), *begin = text;
    size_t size = port ? (size_t)(port - text) : 0;
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        begin++;
        size -= 2;
    }
    if (size < 1 || size > HOST_MAX)
        return CKV_ERROR_ENDPOINT;
    memcpy(host, begin, size);
    host[size] = 0;
    bool every = strcmp(host, "*") == 0;
    if (every && !listens) /* some resolvers know it, as this machine */
        return CKV_ERROR_ENDPOINT;
    port = listens && strcmp(port + 1, "*") == 0 ? "0" : port + 1;
    if (!is_port(port, listens))
        return CKV_ERROR_ENDPOINT;
    return look_up(all, max, count, every ? NULL : host, port);
}

static int read_text(struct ckv_endpoint *all, size_t max, size_t *count, const char *text,
                     bool listens)
{
    memset(all, 0, max * sizeof(*all));
    *count = 1;
    if (strncmp(text, "ipc://", 6) == 0)
        return read_ipc(all, text + 6);
    if (strncmp(text, "tcp://", 6) == 0)
        return read_tcp(all, max, count, text + 6, listens);
    return CKV_ERROR_ENDPOINT;
}

int ckv_endpoint_read(struct ckv_endpoint *self, const char *text, bool listens)
{
    size_t count;
    return read_text(self, 1, &count, text, listens);
}

int ckv_endpoint_read_all(struct ckv_endpoint *all, size_t max, size_t *count, const char *text)
{
    return read_text(all, max, count, text, false);
}

bool ckv_endpoint_is_ipc(const struct ckv_endpoint *self)
{
    return self->address.ss_family == AF_UNIX;
}

bool ckv_endpoint_equal(const struct ckv_endpoint *a, const struct ckv_endpoint *b)
{
    return a->size == b->size && memcmp(&a->address, &b->address, a->size) == 0;
}

char *ckv_endpoint_text(const struct ckv_endpoint *self, char text[CKV_ENDPOINT_TEXT_SIZE])
{
    const struct sockaddr_un *path = (const struct sockaddr_un *)&self->address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&self->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&self->address;
    char host[INET6_ADDRSTRLEN] = "";
    if (self->address.ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(text, CKV_ENDPOINT_TEXT_SIZE, "tcp://%s:%u", host, ntohs(v4->sin_port));
    } else if (self->address.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(text, CKV_ENDPOINT_TEXT_SIZE, "tcp://[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        bool abstract = path->sun_path[0] == 0;
        snprintf(text, CKV_ENDPOINT_TEXT_SIZE, "ipc://%s%s", abstract ? "@" : "",
                 path->sun_path + abstract);
    }
    return text;
}

/* ---- sockets ---- */

static int open_socket(const struct ckv_endpoint *self)
{
    return socket(self->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/*  Whether somebody listens there, for connecting is what tells. A queue that is full is somebody's.  */
static int nobody_listens(const struct ckv_endpoint *self)
{
    bool connecting;
    int fd;
    int rc = ckv_endpoint_connect(self, &fd, &connecting);
    if (rc == CKV_OK)
        close(fd);
    if (rc == CKV_OK || rc == CKV_ERROR_TIMEOUT)
        return CKV_ERROR_PORT_IN_USE;
    return rc == CKV_ERROR_NOT_REACHABLE ? CKV_OK : rc;
}

/*  Removes the unix socket that a process left behind, but not one where somebody listens, nor what is no
    socket: the path may have been mistyped.  */
static int remove_left_over(const struct ckv_endpoint *self)
{
    const char *path = ((const struct sockaddr_un *)&self->address)->sun_path;
    struct stat status;
    if (path[0] && lstat(path, &status) != 0)
        return errno == ENOENT ? CKV_OK : ckv_system_error(errno);
    if (path[0] && !S_ISSOCK(status.st_mode))
        return CKV_ERROR_NO_SOCKET;
    int rc = nobody_listens(self);
    if (rc == CKV_OK && path[0] && unlink(path) != 0 && errno != ENOENT)
        rc = ckv_system_error(errno);
    return rc;
}

static int bind_error(int number)
{
    switch (number) {
    case EADDRINUSE:
        return CKV_ERROR_PORT_IN_USE;
    case EADDRNOTAVAIL:
        return CKV_ERROR_HOST;
    case ENOENT:
        return CKV_ERROR_NO_FILE;
    default:
        return ckv_system_error(number);
    }
}

static int bind_and_listen(struct ckv_endpoint *self, int fd)
{
    int yes = 1;
    if (!ckv_endpoint_is_ipc(self)) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    }
    socklen_t size = sizeof(self->address);
    if (bind(fd, (const struct sockaddr *)&self->address, self->size) != 0 ||
        listen(fd, BACKLOG) != 0)
        return bind_error(errno);
    if (!ckv_endpoint_is_ipc(self) &&
        getsockname(fd, (struct sockaddr *)&self->address, &size) != 0)
        return CKV_ERROR_IO;
    return CKV_OK;
}

int ckv_endpoint_listen(struct ckv_endpoint *self, int *fd)
{
    int rc = ckv_endpoint_is_ipc(self) ? remove_left_over(self) : CKV_OK;
    if (rc != CKV_OK)
        return rc;
    *fd = open_socket(self);
    if (*fd < 0)
        return CKV_ERROR_IO;
    rc = bind_and_listen(self, *fd);
    if (rc != CKV_OK) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

void ckv_endpoint_remove(const struct ckv_endpoint *self)
{
    const char *path = ((const struct sockaddr_un *)&self->address)->sun_path;
    struct stat status;
    if (ckv_endpoint_is_ipc(self) && path[0] && lstat(path, &status) == 0 &&
        S_ISSOCK(status.st_mode))
        unlink(path);
}

int ckv_endpoint_connect(const struct ckv_endpoint *self, int *fd, bool *connecting)
{
    int yes = 1;
    *fd = open_socket(self);
    if (*fd < 0)
        return CKV_ERROR_IO;
    if (!ckv_endpoint_is_ipc(self))
        (void)setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    *connecting = connect(*fd, (const struct sockaddr *)&self->address, self->size) != 0;
    if (!*connecting || errno == EINPROGRESS)
        return CKV_OK;
    int number = errno;
    close(*fd);
    *fd = -1;
    if (number == EAGAIN)
        return CKV_ERROR_TIMEOUT;
    return number == EACCES ? CKV_ERROR_PERMISSION : CKV_ERROR_NOT_REACHABLE;
}
