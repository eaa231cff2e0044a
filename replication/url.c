#include "replication/url.h"
#include "core/text.h"

#include <sodium.h>
#include <stdio.h>

enum { PORT_DEFAULT = 6379, SENTINEL_PORT_DEFAULT = 26379, DB_MAX = 65535 };

/*  Where the first C of TEXT is, or its size.  */
static size_t index_of(struct ckv_octets text, char c)
{
    size_t i = 0;
    while (i < text.size && text.data[i] != (uint8_t)c)
        i++;
    return i;
}

static struct ckv_octets after(struct ckv_octets text, size_t size)
{
    return ckv_octets(text.data + size, text.size - size);
}

static int starts_with(struct ckv_octets text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

/*  The text between "://" and the last "@", which ends user and password; empty when there is none. The
    last: what is meant as a password is blotted out also when a "@" in it is not written %40. A path
    alone has none.  */
static struct ckv_octets authority_of(struct ckv_octets text)
{
    for (size_t i = 0; i + 3 <= text.size; i++)
        if (memcmp(text.data + i, "://", 3) == 0) {
            struct ckv_octets rest = after(text, i + 3);
            size_t end = rest.size;
            while (end && rest.data[end - 1] != '@')
                end--;
            return ckv_octets(rest.data, end && rest.data[0] != '/' ? end - 1 : 0);
        }
    return ckv_octets(NULL, 0);
}

struct ckv_octets ckv_url_password(struct ckv_octets text)
{
    struct ckv_octets authority = authority_of(text);
    size_t colon = index_of(authority, ':');
    return colon < authority.size ? after(authority, colon + 1) : ckv_octets(NULL, 0);
}

struct ckv_octets ckv_url_scheme(struct ckv_octets text)
{
    static const char *const names[] = { "redis", "rediss", "unix", "sentinel" };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        size_t size = strlen(names[i]);
        if (starts_with(text, names[i]) &&
            (text.size == size || text.data[size] == ':' || text.data[size] == '/'))
            return ckv_octets(text.data, size);
    }
    return ckv_octets(text.data, 0);
}

static int read_number(struct ckv_octets text, int most, int *number)
{
    *number = 0;
    if (text.size < 1 || text.size > 5)
        return CKV_ERROR_URL;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return CKV_ERROR_URL;
        *number = 10 * *number + text.data[i] - '0';
    }
    return *number <= most ? CKV_OK : CKV_ERROR_URL;
}

/*  Copies TEXT, with %XX read as octets.  */
static int copy_decoded(char *to, size_t capacity, struct ckv_octets text)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet == '%') {
            if (i + 2 >= text.size || !ckv_text_unhex(&octet, 1, ckv_octets(text.data + i + 1, 2)))
                return CKV_ERROR_URL;
            i += 2;
        }
        if (octet == 0 || size + 1 >= capacity)
            return CKV_ERROR_URL;
        to[size++] = (char)octet;
    }
    to[size] = 0;
    return CKV_OK;
}

static int copy_plain(char *to, size_t capacity, struct ckv_octets text)
{
    if (text.size < 1 || text.size >= capacity || memchr(text.data, 0, text.size))
        return CKV_ERROR_URL;
    memcpy(to, text.data, text.size);
    to[text.size] = 0;
    return CKV_OK;
}

/*  "host", "host:port", "[::1]:port".  */
static int read_host(struct ckv_url *self, struct ckv_octets text, int port)
{
    if (self->host_count == CKV_URL_SENTINELS_MAX)
        return CKV_ERROR_URL;
    struct ckv_url_host *host = &self->hosts[self->host_count++];
    struct ckv_octets name, rest;
    if (text.size && text.data[0] == '[') {
        size_t end = index_of(text, ']');
        if (end == text.size)
            return CKV_ERROR_URL;
        name = ckv_octets(text.data + 1, end - 1);
        rest = after(text, end + 1);
    } else {
        size_t end = index_of(text, ':');
        name = ckv_octets(text.data, end);
        rest = after(text, end);
    }
    host->port = port;
    if (copy_plain(host->name, sizeof(host->name), name) != CKV_OK)
        return CKV_ERROR_URL;
    if (rest.size == 0)
        return CKV_OK;
    if (rest.data[0] != ':' || read_number(after(rest, 1), 65535, &host->port) != CKV_OK)
        return CKV_ERROR_URL;
    return host->port > 0 ? CKV_OK : CKV_ERROR_URL;
}

static int read_hosts(struct ckv_url *self, struct ckv_octets text)
{
    for (;;) {
        size_t end = index_of(text, ',');
        int rc = read_host(self, ckv_octets(text.data, end),
                           self->kind == CKV_URL_TCP ? PORT_DEFAULT : SENTINEL_PORT_DEFAULT);
        if (rc != CKV_OK || end == text.size)
            return rc;
        if (self->kind == CKV_URL_TCP)
            return CKV_ERROR_URL;
        text = after(text, end + 1);
    }
}

/*  Cuts "?db=N" off the end.  */
static int read_query(struct ckv_url *self, struct ckv_octets *rest)
{
    size_t query = index_of(*rest, '?');
    if (query == rest->size)
        return CKV_OK;
    struct ckv_octets text = after(*rest, query + 1);
    rest->size = query;
    if (!starts_with(text, "db="))
        return CKV_ERROR_URL;
    return read_number(after(text, 3), DB_MAX, &self->db);
}

static int read_place(struct ckv_url *self, struct ckv_octets rest)
{
    int rc = read_query(self, &rest);
    if (rc != CKV_OK)
        return rc;
    if (self->kind == CKV_URL_UNIX)
        return rest.size && rest.data[0] == '/' ? copy_plain(self->path, sizeof(self->path), rest)
                                                : CKV_ERROR_URL;
    size_t slash = index_of(rest, '/');
    struct ckv_octets tail = slash < rest.size ? after(rest, slash + 1) : ckv_octets(NULL, 0);
    rc = read_hosts(self, ckv_octets(rest.data, slash));
    if (rc != CKV_OK)
        return rc;
    if (self->kind == CKV_URL_SENTINEL)
        return copy_plain(self->master, sizeof(self->master), tail);
    return tail.size ? read_number(tail, DB_MAX, &self->db) : CKV_OK;
}

static int read_scheme(struct ckv_url *self, struct ckv_octets *text)
{
    static const struct {
        const char *prefix;
        enum ckv_url_kind kind;
    } schemes[] = { { "redis://", CKV_URL_TCP },
                    { "unix://", CKV_URL_UNIX },
                    { "sentinel://", CKV_URL_SENTINEL } };
    if (starts_with(*text, "rediss://"))
        return CKV_ERROR_URL_TLS;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
        if (starts_with(*text, schemes[i].prefix)) {
            self->kind = schemes[i].kind;
            *text = after(*text, strlen(schemes[i].prefix));
            return CKV_OK;
        }
    return CKV_ERROR_URL;
}

/*  "user:password@", ":password@", "user@".  */
static int read_authority(struct ckv_url *self, struct ckv_octets authority)
{
    size_t colon = index_of(authority, ':');
    if (index_of(authority, '@') < authority.size || index_of(authority, '/') < authority.size)
        return CKV_ERROR_URL;
    int rc = copy_decoded(self->user, sizeof(self->user), ckv_octets(authority.data, colon));
    if (rc == CKV_OK && colon < authority.size)
        rc = copy_decoded(self->password, sizeof(self->password), after(authority, colon + 1));
    return rc;
}

/*  The text for logs: without the password.  */
static int write_text(struct ckv_url *self, struct ckv_octets text)
{
    struct ckv_octets password = ckv_url_password(text);
    size_t front = password.size ? (size_t)(password.data - text.data) : text.size;
    int size =
        snprintf(self->text, sizeof(self->text), "%.*s%s%.*s", (int)front, (const char *)text.data,
                 password.size ? "***" : "", (int)(text.size - front - password.size),
                 (const char *)text.data + front + password.size);
    return size > 0 && (size_t)size < sizeof(self->text) ? CKV_OK : CKV_ERROR_URL;
}

static int read_all(struct ckv_url *self, struct ckv_octets text)
{
    struct ckv_octets authority = authority_of(text), rest = text;
    if (text.size >= CKV_URL_TEXT_MAX || !ckv_text_printable(text))
        return CKV_ERROR_URL;
    int rc = read_scheme(self, &rest);
    if (rc == CKV_OK && authority.data && authority.size < rest.size &&
        rest.data[authority.size] == '@') {
        rc = read_authority(self, authority);
        rest = after(rest, authority.size + 1);
    }
    if (rc == CKV_OK)
        rc = read_place(self, rest);
    return rc == CKV_OK ? write_text(self, text) : rc;
}

int ckv_url_new(struct ckv_url **self_p, struct ckv_octets text)
{
    struct ckv_url *self = *self_p = sodium_init() < 0 ? NULL : sodium_malloc(sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    memset(self, 0, sizeof(*self));
    int rc = read_all(self, text);
    if (rc != CKV_OK)
        ckv_url_destroy(self_p);
    return rc;
}

void ckv_url_destroy(struct ckv_url **self_p)
{
    sodium_free(*self_p);
    *self_p = NULL;
}
