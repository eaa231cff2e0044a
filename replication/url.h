/*  url: which Redis, and how to get in.

        redis://[user:password@]host[:port][/db]
        unix:///path.sock[?db=N]          also unix://user:password@/path.sock
        sentinel://[user:password@]host:port,host:port/master[?db=N]
        rediss://...                      TLS, where hiredis has it

    Reserved characters in user and password are written %XX (RFC 3986, 2.1). An IPv6 host stands in
    brackets. The password is a secret: it is in memory of sodium_malloc and in no text that is given
    out.
*/
#ifndef CKV_URL_H
#define CKV_URL_H

#include "core/error.h"
#include "core/octets.h"

enum ckv_url_kind { CKV_URL_TCP = 1, CKV_URL_UNIX, CKV_URL_SENTINEL };

enum {
    CKV_URL_HOST_MAX = 256,
    CKV_URL_SECRET_MAX = 512,
    CKV_URL_SENTINELS_MAX = 8,
    CKV_URL_TEXT_MAX = 1024,
};

struct ckv_url_host {
    char name[CKV_URL_HOST_MAX];
    int port;
};

struct ckv_url {
    enum ckv_url_kind kind;
    struct ckv_url_host hosts[CKV_URL_SENTINELS_MAX]; /* one, but for sentinels */
    unsigned host_count;
    char path[108];                /* unix */
    char master[CKV_URL_HOST_MAX]; /* sentinel: the name of the master */
    int db;
    char user[CKV_URL_HOST_MAX];       /* empty: the default user */
    char password[CKV_URL_SECRET_MAX]; /* empty: none */
    char text[CKV_URL_TEXT_MAX];       /* as given, without the password: for logs */
};

/*  Reads TEXT into memory of sodium_malloc, which the caller destroys. Returns CKV_ERROR_URL,
    CKV_ERROR_URL_TLS, CKV_ERROR_MEMORY.  */
int ckv_url_new(struct ckv_url **self_p, struct ckv_octets text);
void ckv_url_destroy(struct ckv_url **self_p);

/*  Where the password is in TEXT, so that a command can blot it out of its arguments. Empty when
    there is none.  */
struct ckv_octets ckv_url_password(struct ckv_octets text);

/*  The name of the scheme that TEXT begins with; empty when there is none. Of a text that is no URL
    this is all that may be shown: the password may be anywhere behind.  */
struct ckv_octets ckv_url_scheme(struct ckv_octets text);

#endif
