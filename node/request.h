/*  request: what one asks the admin service, and the one function that reads it.

    The service is a ZeroMQ ROUTER on ipc://DIR/admin.sock; any client may use a DEALER. A request
    is one or two frames: a JSON object, and for "import" a run of dump entries (node/dump.h).

        { "id": 7, "command": "register", "organisation": "ACME", "client_number": "42",
          "client_public_key": Z85, "server_key": "dedicated" | "shared", "storage_key": text,
          "metadata": { name: value }, "not_before": time, "not_after": time,
          "only_unknown": true }
        { "id": 7, "command": "resolve", "storage_key": text }       or "client_public_key": Z85
        { "id": 7, "command": "revoke", "storage_key": text }
        { "id": 7, "command": "rotate", "storage_key": text, "keep_client_key": true,
          "client_public_key": Z85, "server_key": "dedicated" | "shared", "not_after": time }
        { "id": 7, "command": "list", "position": 0, "limit": 1000 }
        { "id": 7, "command": "conflicts", "after": hex }
        { "id": 7, "command": "import" }
        { "id": 7, "command": "status" }
        { "id": 7, "command": "forget", "node": name or id }

    register, revoke and rotate take "ack": "local" | "logged" | "all", how far the change is to have
    come before the reply (default: "logged" in a cluster), and "wait_ms", how long to wait for that
    (5000); while Redis is away the reply comes at once. It says how far the change came ("ack"; "all" from
    a node alone), in a cluster whether it is in the log ("replicated"), and for "all" which live nodes
    had not applied it ("not_applied").

    "only_unknown" refuses a client that ever had a certificate, also one that was revoked. Times are
    "2026-12-31T00:00:00Z". Every member but "command" may be absent. "id" is any integer;
    the reply carries it back, so that requests can be pipelined.

    A reply is a JSON object with "id" and either "error" (the error's name) and "message", or the
    result ("resolve": "certificate", an object as --json prints it; also when it is refused because it
    was revoked or has expired); a second frame holds the record (or, for "list" and "conflicts", a run of dump entries);
    after register and rotate a third one holds secrets: the hello key, and the client secret key if
    the node made it.
*/
#ifndef CKV_REQUEST_H
#define CKV_REQUEST_H

#include "core/octets.h"
#include "node/registry.h"
#include "replication/replicator.h"
#include <jansson.h>

enum {
    CKV_REQUEST_MAX = 131072,          /* octets of the JSON frame */
    CKV_REQUEST_ENTRIES_MAX = 2097152, /* octets of the second frame */
    CKV_REQUEST_PAGE_MAX = 1048576,    /* octets of a list reply, but for its last record */
    CKV_REQUEST_LIMIT_MAX = 10000,     /* records of one list reply */
};

enum ckv_request_command {
    CKV_REQUEST_REGISTER = 1,
    CKV_REQUEST_RESOLVE,
    CKV_REQUEST_REVOKE,
    CKV_REQUEST_ROTATE,
    CKV_REQUEST_LIST,
    CKV_REQUEST_CONFLICTS,
    CKV_REQUEST_IMPORT,
    CKV_REQUEST_STATUS,
    CKV_REQUEST_FORGET,
};

struct ckv_request {
    enum ckv_request_command command;
    int64_t id;
    struct ckv_storage_key storage_key; /* size 0: none */
    bool has_client_public_key;
    uint8_t client_public_key[32];
    bool has_server_key, dedicated;
    bool keep_client_key, only_unknown;
    bool has_not_after;
    uint64_t not_before, not_after;
    struct ckv_octets organisation, number; /* borrowed from JSON */
    uint8_t metadata[CKV_METADATA_MAX];
    size_t metadata_size;
    enum ckv_ack ack; /* 0: the default */
    uint64_t wait_ms;
    struct ckv_octets node; /* borrowed from JSON */
    uint64_t position;
    size_t limit;
    uint8_t after[64];
    size_t after_size;
    json_t *json;
};

/*  Reads the JSON frame TEXT. SELF owns what it refers to; destroy it in any case. Returns
    CKV_ERROR_REQUEST for what is no such object, or the error that names the member at fault. The
    id is set whenever it could be read.  */
int ckv_request_read(struct ckv_request *self, struct ckv_octets text);

void ckv_request_clear(struct ckv_request *self);

#endif
