/*  Redis URLs: any text is read or refused. What was read is within its bounds, and the text for logs is
    the text that was given, but for the password.  */
#include "core/text.h"
#include "replication/url.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(sodium_init() >= 0);
    return 0;
}

static void require_host(const struct ckv_url_host *host)
{
    size_t size = strnlen(host->name, sizeof(host->name));
    require(size > 0 && size < sizeof(host->name));
    require(host->port > 0 && host->port <= 65535);
}

static void require_bounds(const struct ckv_url *url)
{
    require(url->kind == CKV_URL_TCP || url->kind == CKV_URL_UNIX || url->kind == CKV_URL_SENTINEL);
    require(url->host_count <= CKV_URL_SENTINELS_MAX);
    require(url->kind == CKV_URL_SENTINEL ? url->host_count >= 1
                                          : url->host_count == (url->kind == CKV_URL_TCP));
    for (unsigned i = 0; i < url->host_count; i++)
        require_host(&url->hosts[i]);
    require((url->kind == CKV_URL_UNIX) == (url->path[0] == '/'));
    require((url->kind == CKV_URL_SENTINEL) == (url->master[0] != 0));
    require(url->db >= 0 && url->db <= 65535);
    require(memchr(url->path, 0, sizeof(url->path)) != NULL);
    require(memchr(url->master, 0, sizeof(url->master)) != NULL);
    require(memchr(url->user, 0, sizeof(url->user)) != NULL);
    require(memchr(url->password, 0, sizeof(url->password)) != NULL);
    require(memchr(url->text, 0, sizeof(url->text)) != NULL);
}

/*  TEXT with "***" where PASSWORD stands.  */
static void require_text(const struct ckv_url *url, struct ckv_octets text,
                         struct ckv_octets password)
{
    struct ckv_octets shown = ckv_octets_text(url->text);
    require((password.size > 0) == (url->password[0] != 0));
    require(ckv_text_printable(shown));
    if (!password.size) {
        require(ckv_octets_equal(shown, text));
        return;
    }
    size_t front = (size_t)(password.data - text.data);
    size_t back = text.size - front - password.size;
    require(shown.size == front + 3 + back);
    require(memcmp(shown.data, text.data, front) == 0);
    require(memcmp(shown.data + front, "***", 3) == 0);
    require(memcmp(shown.data + front + 3, password.data + password.size, back) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_octets text = ckv_octets(data, size), password = ckv_url_password(text);
    struct ckv_url *url;
    if (password.size)
        require(password.data > data && password.data + password.size < data + size &&
                password.data[-1] == ':' && password.data[password.size] == '@');
    int rc = ckv_url_new(&url, text);
    if (rc == CKV_OK) {
        require_bounds(url);
        require_text(url, text, password);
    } else {
        require(!url && (rc == CKV_ERROR_URL || rc == CKV_ERROR_URL_TLS));
    }
    ckv_url_destroy(&url);
    return 0;
}
