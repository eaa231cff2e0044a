#include "node/commands/source.h"
#include "core/z85.h"
#include "node/datadir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 2000 }; /* records of one list request */

static int open_store(struct ckv_source *self, const struct ckv_arguments *arguments)
{
    static const char *const engines[] = { "lmdb", "sqlite" };
    struct ckv_kv_options options = { .directory = arguments->data, .read_only = true };
    int rc = CKV_ERROR_NO_STORE;
    for (size_t i = 0; i < 2; i++)
        if (ckv_datadir_has_store(arguments->data, engines[i])) {
            rc = ckv_kv_open(&self->kv, engines[i], &options);
            break;
        }
    if (rc == CKV_OK)
        rc = ckv_kv_begin(self->kv, CKV_KV_READ, &self->txn);
    if (rc == CKV_OK && ckv_datadir_cluster_key(&self->cluster_key, arguments->data) != CKV_OK)
        fprintf(stderr,
                "curvekv: %s/cluster.key cannot be read; certificates are shown without "
                "being verified\n",
                arguments->data);
    return rc;
}

int ckv_source_open(struct ckv_source *self, const struct ckv_arguments *arguments)
{
    memset(self, 0, sizeof(*self));
    int rc = ckv_client_new(&self->client, arguments->data, ckv_timeout(arguments));
    if (rc == CKV_OK)
        return CKV_EXIT_DONE;
    if (rc == CKV_ERROR_NOT_REACHABLE) {
        rc = open_store(self, arguments);
        if (rc == CKV_OK) {
            fprintf(stderr, "curvekv: the node is down; read from its store in %s\n",
                    arguments->data);
            return CKV_EXIT_DONE;
        }
    }
    ckv_source_close(self);
    ckv_complain(arguments, rc, "%s", arguments->data);
    return rc == CKV_ERROR_NO_STORE ? CKV_EXIT_NOT_REACHABLE : CKV_EXIT_REFUSED;
}

void ckv_source_close(struct ckv_source *self)
{
    ckv_client_destroy(&self->client);
    if (self->txn)
        ckv_kv_abort(&self->txn);
    if (self->kv)
        ckv_kv_close(&self->kv);
    ckv_cluster_key_destroy(&self->cluster_key);
}

/*  A record from outside, parsed, and its content checked: it goes to a terminal.  */
static int view_record(struct ckv_octets record, struct ckv_certificate *view)
{
    int rc = ckv_certificate_parse(view, record.data, record.size);
    return rc == CKV_OK && ckv_certificate_check(view) != CKV_OK ? CKV_ERROR_DAMAGED : rc;
}

static int resolve_in_store(struct ckv_source *self, const struct ckv_storage_key *storage_key,
                            const uint8_t *client_public_key, struct ckv_certificate *view)
{
    int rc = storage_key ? ckv_kv_get(self->txn, ckv_storage_key_octets(storage_key), view)
                         : ckv_kv_find(self->txn, client_public_key, view);
    if (rc == CKV_OK)
        rc = view_record(view->record, view);
    if (rc == CKV_OK && self->cluster_key)
        rc = ckv_certificate_verify(view, self->cluster_key);
    return rc == CKV_OK ? ckv_certificate_valid_at(view, ckv_now()) : rc;
}

static int resolve_at_node(struct ckv_source *self, const struct ckv_storage_key *storage_key,
                           const uint8_t *client_public_key, struct ckv_certificate *view)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE], z85[CKV_Z85_TEXT_SIZE];
    struct ckv_reply reply;
    json_t *request = json_pack("{ss}", "command", "resolve");
    if (storage_key)
        json_object_set_new(
            request, "storage_key",
            json_string(ckv_storage_key_text(ckv_storage_key_octets(storage_key), key)));
    else
        json_object_set_new(request, "client_public_key",
                            json_string(ckv_z85_text(client_public_key, z85)));
    int rc = ckv_client_call(self->client, request, &reply);
    struct ckv_octets record = ckv_reply_record(&reply);
    if (record.size && record.size <= sizeof(self->record)) {
        memcpy(self->record, record.data, record.size);
        int viewed = view_record(ckv_octets(self->record, record.size), view);
        rc = viewed == CKV_OK ? rc : viewed;
    } else if (rc == CKV_OK) {
        rc = CKV_ERROR_REQUEST;
    }
    ckv_reply_clear(&reply);
    return rc;
}

int ckv_source_resolve(struct ckv_source *self, const struct ckv_storage_key *storage_key,
                       const uint8_t *client_public_key, struct ckv_certificate *view)
{
    return self->client ? resolve_at_node(self, storage_key, client_public_key, view)
                        : resolve_in_store(self, storage_key, client_public_key, view);
}

/*  Visits a record of the store, or counts it as damaged.  */
static int visit_record(struct ckv_source *self, int type, struct ckv_octets record,
                        ckv_source_visit *visit, void *argument)
{
    struct ckv_certificate view;
    int rc = view_record(record, &view);
    if (rc == CKV_OK && self->cluster_key)
        rc = ckv_certificate_verify(&view, self->cluster_key);
    if (rc == CKV_OK)
        return visit(argument, type, &view);
    self->damaged++;
    return CKV_OK;
}

static int walk_records(struct ckv_source *self, ckv_source_visit *visit, void *argument)
{
    struct ckv_certificate view;
    uint64_t position = 0, last;
    int rc = CKV_OK;
    while (rc == CKV_OK) {
        last = position;
        rc = ckv_kv_next(self->txn, &position, &view);
        if (rc == CKV_OK) {
            rc = visit_record(self, CKV_DUMP_RECORD, view.record, visit, argument);
        } else if (rc != CKV_ERROR_NOT_FOUND && position != last) {
            self->damaged++;
            rc = CKV_OK;
        }
    }
    return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
}

static int walk_conflicts(struct ckv_source *self, ckv_source_visit *visit, void *argument)
{
    struct ckv_octets key = ckv_octets(NULL, 0), record;
    int rc;
    while ((rc = ckv_kv_table_next(self->txn, CKV_KV_CONFLICTS, &key, &record)) == CKV_OK) {
        rc = visit_record(self, CKV_DUMP_CONFLICT, record, visit, argument);
        if (rc != CKV_OK)
            return rc;
    }
    return rc == CKV_ERROR_NOT_FOUND ? CKV_OK : rc;
}

static int walk_store(struct ckv_source *self, bool conflicts, ckv_source_visit *visit,
                      void *argument)
{
    int rc = walk_records(self, visit, argument);
    return rc == CKV_OK && conflicts ? walk_conflicts(self, visit, argument) : rc;
}

static int visit_entries(struct ckv_octets entries, ckv_source_visit *visit, void *argument)
{
    struct ckv_dump_entry entry;
    struct ckv_certificate view;
    int rc;
    while ((rc = ckv_dump_next(&entries, &entry)) == 1) {
        rc = view_record(entry.octets, &view);
        if (rc == CKV_OK)
            rc = visit(argument, entry.type, &view);
        if (rc != CKV_OK)
            return rc;
    }
    return rc;
}

/*  Asks for page after page with COMMAND; each reply says in its member CURSOR where the next one
    begins.  */
static int walk_pages(struct ckv_source *self, const char *command, const char *cursor,
                      ckv_source_visit *visit, void *argument)
{
    json_t *next = NULL;
    bool more = true;
    int rc = CKV_OK;
    while (more && rc == CKV_OK) {
        struct ckv_reply reply;
        json_t *request = json_pack("{sssi}", "command", command, "limit", PAGE);
        if (next)
            json_object_set_new(request, cursor, next);
        rc = ckv_client_call(self->client, request, &reply);
        if (rc == CKV_OK)
            rc = visit_entries(ckv_reply_record(&reply), visit, argument);
        next = json_incref(json_object_get(reply.json, cursor));
        more = json_is_true(json_object_get(reply.json, "more"));
        self->damaged += (uint64_t)json_integer_value(json_object_get(reply.json, "damaged"));
        ckv_reply_clear(&reply);
    }
    json_decref(next);
    return rc;
}

static int walk_node(struct ckv_source *self, bool conflicts, ckv_source_visit *visit,
                     void *argument)
{
    int rc = walk_pages(self, "list", "position", visit, argument);
    if (rc == CKV_OK && conflicts)
        rc = walk_pages(self, "conflicts", "after", visit, argument);
    return rc;
}

int ckv_source_walk(struct ckv_source *self, bool conflicts, ckv_source_visit *visit,
                    void *argument)
{
    int rc = (self->client ? walk_node : walk_store)(self, conflicts, visit, argument);
    if (rc == CKV_OK && self->damaged) {
        fprintf(
            stderr,
            "curvekv: %llu damaged records were left out; import a dump that has them, and they "
            "are replaced\n",
            (unsigned long long)self->damaged);
        rc = CKV_ERROR_DAMAGED;
    }
    return rc;
}
