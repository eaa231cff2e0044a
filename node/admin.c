#include "node/admin.h"
#include "core/z85.h"
#include "kv/clock.h"
#include "kv/log.h"
#include "node/dump.h"
#include "node/present.h"
#include "node/replies.h"
#include "node/request.h"
#include "node/status.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

/*  Operations at the writer at one time; beyond that, requests wait in their sockets.  */
enum { OPERATIONS_MAX = 1024 };

/*  Octets of imports that they may hold together, likewise.  */
enum { HELD_MAX = 64 * 1048576 };

/*  Requests taken between two looks at what else there is to do.  */
enum { ROUND_MAX = 256 };

struct counts {
    uint64_t merged[CKV_KV_LOST + 1]; /* by enum ckv_kv_merged */
    uint64_t refused;
};

/*  A change on its way through the writer.  */
struct operation {
    struct ckv_write write; /* first, so that the writer's pointer is ours */
    struct ckv_admin *admin;
    zmq_msg_t client; /* the routing id to answer to */
    zmq_msg_t entries;
    bool has_entries;
    struct ckv_request request;
    struct ckv_registered registered;
    struct counts counts;
    int first_refusal; /* of an import */
    uint64_t created;  /* when it was asked for */
    bool reserved;     /* its storage key is, in the whole cluster */
    struct ckv_reservation reservation;
    struct ckv_delivery delivery;
    uint64_t forgotten; /* node id */
};

struct ckv_admin {
    struct ckv_admin_parts parts;
    void *context;
    struct ckv_replies replies; /* and the router that they go to */
    bool is_bound;
    struct ckv_kv_txn *txn; /* for reading */
    uint64_t started, requests;
    size_t running; /* operations at the writer */
    size_t held;    /* octets of the entries that they hold */

    /*  Operations that are done, from the writer's thread to this one's.  */
    pthread_mutex_t lock;
    struct ckv_write *done;
    bool woken; /* for what is in done */
    int wake;   /* eventfd */
};

/*  ---- replies ----  */

static json_t *reply_to(const struct ckv_request *request)
{
    return json_pack("{sI}", "id", (json_int_t)request->id);
}

static json_t *refusal(const struct ckv_request *request, int error)
{
    return json_pack("{sIssss}", "id", (json_int_t)request->id, "error", ckv_error_name(error),
                     "message", ckv_strerror(error));
}

/*  Refuses; RECORD, if any, is the certificate that stands in the way.  */
static void refuse(struct ckv_admin *self, zmq_msg_t *client, const struct ckv_request *request,
                   int error, struct ckv_octets record)
{
    ckv_replies_begin(&self->replies, client, refusal(request, error), record.size != 0);
    if (record.size)
        ckv_replies_frame(&self->replies, record.data, record.size, false);
}

/*  ---- what only reads ----  */

static void resolve(struct ckv_admin *self, zmq_msg_t *client, const struct ckv_request *request)
{
    struct ckv_certificate found;
    int rc = CKV_ERROR_REQUEST;
    if (request->storage_key.size)
        rc = ckv_kv_resolve(self->txn, ckv_storage_key_octets(&request->storage_key), &found);
    else if (request->has_client_public_key)
        rc = ckv_kv_resolve_client(self->txn, request->client_public_key, &found);
    if (rc == CKV_OK)
        rc = ckv_certificate_verify(&found, self->parts.datadir->cluster_key);
    if (rc != CKV_OK) {
        refuse(self, client, request, rc, ckv_octets(NULL, 0));
        return;
    }
    uint64_t now = ckv_clock_wall();
    rc = ckv_certificate_valid_at(&found, now);
    json_t *reply = rc == CKV_OK ? reply_to(request) : refusal(request, rc);
    json_object_set_new(reply, "certificate", ckv_present_json(&found, now));
    ckv_replies_begin(&self->replies, client, reply, true);
    ckv_replies_frame(&self->replies, found.record.data, found.record.size, false);
}

/*  A run of entries that grows.  */
struct run {
    uint8_t *data;
    size_t size, capacity;
    size_t damaged; /* records that were left out */
};

static int append_entry(struct run *self, int type, struct ckv_octets record)
{
    size_t need = self->size + CKV_DUMP_HEAD_SIZE + record.size;
    if (need > self->capacity || !self->data) {
        size_t capacity = 2 * need + 65536;
        uint8_t *data = realloc(self->data, capacity);
        if (!data)
            return CKV_ERROR_MEMORY;
        self->data = data;
        self->capacity = capacity;
    }
    ckv_dump_head(self->data + self->size, type, record.size);
    memcpy(self->data + self->size + CKV_DUMP_HEAD_SIZE, record.data, record.size);
    self->size = need;
    return CKV_OK;
}

/*  A page that grows. Damaged records are left out and counted.  */
static int add_to_page(struct ckv_admin *self, struct run *run, int type, struct ckv_octets record)
{
    struct ckv_certificate certificate;
    int rc = ckv_certificate_parse(&certificate, record.data, record.size);
    if (rc == CKV_OK)
        rc = ckv_certificate_verify(&certificate, self->parts.datadir->cluster_key);
    if (rc == CKV_OK)
        return append_entry(run, type, record);
    run->damaged++;
    return CKV_OK;
}

/*  Answers with a page: RC is CKV_OK when the page is full, CKV_ERROR_NOT_FOUND when the last row was
    reached. CURSOR, whose reference is taken, is where the next page begins.  */
static void reply_run(struct ckv_admin *self, zmq_msg_t *client, const struct ckv_request *request,
                      int rc, const char *name, json_t *cursor, struct run *run)
{
    json_t *reply = reply_to(request);
    json_object_set_new(reply, name, cursor);
    json_object_set_new(reply, "more", json_boolean(rc == CKV_OK));
    json_object_set_new(reply, "damaged", json_integer((json_int_t)run->damaged));
    if (rc == CKV_OK || rc == CKV_ERROR_NOT_FOUND) {
        ckv_replies_begin(&self->replies, client, reply, true);
        ckv_replies_frame(&self->replies, run->data, run->size, false);
    } else {
        json_decref(reply);
        refuse(self, client, request, rc, ckv_octets(NULL, 0));
    }
    free(run->data);
}

static void list(struct ckv_admin *self, zmq_msg_t *client, const struct ckv_request *request)
{
    struct run run = { 0 };
    struct ckv_certificate found;
    uint64_t position = request->position, last;
    int rc = CKV_OK;
    for (size_t i = 0; i < request->limit && run.size < CKV_REQUEST_PAGE_MAX && rc == CKV_OK; i++) {
        last = position;
        rc = ckv_kv_next(self->txn, &position, &found);
        if (rc == CKV_OK) {
            rc = add_to_page(self, &run, CKV_DUMP_RECORD, found.record);
        } else if (rc != CKV_ERROR_NOT_FOUND && position != last) {
            run.damaged++; /* it does not even parse; the position is behind it */
            rc = CKV_OK;
        }
    }
    reply_run(self, client, request, rc, "position", json_integer((json_int_t)position), &run);
}

static void list_conflicts(struct ckv_admin *self, zmq_msg_t *client,
                           const struct ckv_request *request)
{
    struct run run = { 0 };
    struct ckv_octets key = ckv_octets(request->after, request->after_size), record;
    char after[2 * sizeof(request->after) + 1] = "";
    int rc = CKV_OK;
    for (size_t i = 0; i < request->limit && run.size < CKV_REQUEST_PAGE_MAX && rc == CKV_OK; i++) {
        rc = ckv_kv_table_next(self->txn, CKV_KV_CONFLICTS, &key, &record);
        if (rc == CKV_OK)
            rc = add_to_page(self, &run, CKV_DUMP_CONFLICT, record);
    }
    sodium_bin2hex(after, sizeof(after), key.data, key.size);
    reply_run(self, client, request, rc, "after", json_string(after), &run);
}

static void status(struct ckv_admin *self, zmq_msg_t *client, const struct ckv_request *request)
{
    json_t *reply = reply_to(request);
    struct ckv_status_counts counts = { .started = self->started,
                                        .requests = self->requests,
                                        .running = self->running };
    int rc = ckv_status_fill(reply, &self->parts, &counts);
    if (rc == CKV_OK) {
        ckv_replies_begin(&self->replies, client, reply, false);
        return;
    }
    json_decref(reply);
    refuse(self, client, request, rc, ckv_octets(NULL, 0));
}

/*  ---- what changes the store ----  */

static void free_operation(struct operation *self)
{
    zmq_msg_close(&self->client);
    if (self->has_entries)
        zmq_msg_close(&self->entries);
    ckv_request_clear(&self->request);
    sodium_memzero(&self->registered, sizeof(self->registered));
    free(self);
}

static int apply_register(struct operation *self, struct ckv_kv_txn *txn)
{
    const struct ckv_request *request = &self->request;
    struct ckv_registration registration = {
        .dedicated = request->dedicated || !request->has_server_key,
        .storage_key = request->storage_key,
        .organisation = request->organisation,
        .number = request->number,
        .metadata = ckv_octets(request->metadata, request->metadata_size),
        .not_before = request->not_before,
        .not_after = request->not_after,
        .only_unknown = request->only_unknown,
    };
    return ckv_registry_register(self->admin->parts.registry, txn, &registration, self->created,
                                 &self->registered);
}

static int apply_rotate(struct operation *self, struct ckv_kv_txn *txn)
{
    const struct ckv_request *request = &self->request;
    struct ckv_rotation rotation = {
        .keeps_client_key = request->keep_client_key,
        .changes_server_key = request->has_server_key,
        .dedicated = request->dedicated,
        .changes_not_after = request->has_not_after,
        .not_after = request->not_after,
    };
    return ckv_registry_rotate(self->admin->parts.registry, txn,
                               ckv_storage_key_octets(&request->storage_key), &rotation,
                               ckv_clock_wall(), &self->registered);
}

/*  For the other nodes, if there are any.  */
static int put_in_outbox(struct operation *self, struct ckv_kv_txn *txn, uint8_t flags,
                         struct ckv_octets content)
{
    const struct ckv_admin_parts *parts = &self->admin->parts;
    if (!parts->replicator)
        return CKV_OK;
    return ckv_outbox_put(parts->outbox, txn, flags, content, &self->delivery.number);
}

/*  Merges one record of an import, which was verified.  */
static int merge_entry(struct operation *self, struct ckv_kv_txn *txn,
                       const struct ckv_certificate *certificate)
{
    int rc = ckv_kv_merge_verified(txn, certificate, self->admin->parts.datadir->cluster_key);
    if (rc < 0)
        return rc;
    self->counts.merged[rc]++;
    bool news = rc == CKV_KV_NEW || rc == CKV_KV_NEWER || rc == CKV_KV_WON;
    if (news && (rc = put_in_outbox(self, txn, 0, certificate->storage_key)) != CKV_OK)
        return rc;
    return ckv_registry_witness(self->admin->parts.registry, txn, certificate->revision);
}

/*  Records that do not verify, or cannot be in this store, are passed over and counted.  */
static int apply_import(struct operation *self, struct ckv_kv_txn *txn)
{
    struct ckv_octets rest = ckv_octets(zmq_msg_data(&self->entries), zmq_msg_size(&self->entries));
    const struct ckv_cluster_key *cluster_key = self->admin->parts.datadir->cluster_key;
    struct ckv_dump_entry entry;
    struct ckv_certificate certificate;
    memset(&self->counts, 0, sizeof(self->counts));
    self->first_refusal = CKV_OK;
    int rc;
    while ((rc = ckv_dump_next(&rest, &entry)) == 1) {
        if (entry.type == CKV_DUMP_END)
            continue;
        rc = ckv_certificate_parse(&certificate, entry.octets.data, entry.octets.size);
        if (rc == CKV_OK)
            rc = ckv_certificate_verify(&certificate, cluster_key);
        bool verified = rc == CKV_OK;
        if (verified)
            rc = merge_entry(self, txn, &certificate);
        if (verified && rc != CKV_OK && rc != CKV_ERROR_ARRAY_KEY)
            return rc;
        if (rc != CKV_OK) {
            self->counts.refused++;
            self->first_refusal = self->first_refusal ? self->first_refusal : rc;
        }
    }
    return rc;
}

static int apply_revoke(struct operation *self, struct ckv_kv_txn *txn)
{
    return ckv_registry_revoke(self->admin->parts.registry, txn,
                               ckv_storage_key_octets(&self->request.storage_key), ckv_clock_wall(),
                               &self->registered);
}

static int apply_forget(struct operation *self, struct ckv_kv_txn *txn)
{
    uint8_t content[CKV_MEMBERSHIP_SIZE];
    ckv_put64(content, self->forgotten);
    ckv_put64(content + 8, self->created);
    int rc = ckv_members_put(txn, self->forgotten, self->created, "");
    return rc == CKV_OK
               ? put_in_outbox(self, txn, CKV_OUTBOX_FORGET, ckv_octets(content, sizeof(content)))
               : rc;
}

/*  A change of one certificate, and its row in the outbox.  */
static int apply_change(struct operation *self, struct ckv_kv_txn *txn,
                        int (*change)(struct operation *self, struct ckv_kv_txn *txn))
{
    struct ckv_certificate certificate;
    int rc = change(self, txn);
    if (rc == CKV_OK)
        rc = ckv_certificate_parse(&certificate, self->registered.record,
                                   self->registered.record_size);
    if (rc != CKV_OK)
        return rc;
    uint8_t flags = (uint8_t)((self->delivery.wanted == CKV_ACK_ALL ? CKV_OUTBOX_NOTIFY : 0) |
                              (self->reserved ? CKV_OUTBOX_RESERVED : 0));
    return put_in_outbox(self, txn, flags, certificate.storage_key);
}

static int apply(struct ckv_write *write, struct ckv_kv_txn *txn)
{
    struct operation *self = (struct operation *)write;
    switch (self->request.command) {
    case CKV_REQUEST_REGISTER:
        return apply_change(self, txn, apply_register);
    case CKV_REQUEST_REVOKE:
        return apply_change(self, txn, apply_revoke);
    case CKV_REQUEST_ROTATE:
        return apply_change(self, txn, apply_rotate);
    case CKV_REQUEST_FORGET:
        return apply_forget(self, txn);
    default:
        return apply_import(self, txn);
    }
}

/*  From any thread: hands the operation back.  */
static void hand_back(struct operation *self)
{
    struct ckv_admin *admin = self->admin;
    pthread_mutex_lock(&admin->lock);
    self->write.next = admin->done;
    admin->done = &self->write;
    bool woken = admin->woken; /* one wake-up is enough for all that are handed back at once */
    admin->woken = true;
    pthread_mutex_unlock(&admin->lock);
    if (!woken && eventfd_write(admin->wake, 1) != 0)
        ckv_log(CKV_LOG_ERROR, "cannot wake the admin service");
}

static struct operation *operation_of(struct ckv_delivery *delivery)
{
    return (struct operation *)((char *)delivery - offsetof(struct operation, delivery));
}

static void delivered(struct ckv_delivery *delivery)
{
    hand_back(operation_of(delivery));
}

/*  The writer's thread: the change is durable, and goes on to the log; or it is not.  */
static void done(struct ckv_write *write, int rc)
{
    struct operation *self = (struct operation *)write;
    struct ckv_replicator *replicator = self->admin->parts.replicator;
    write->rc = rc;
    self->delivery.reached = replicator ? CKV_ACK_LOCAL : CKV_ACK_ALL; /* alone, it is all */
    if (rc != CKV_OK && self->reserved && rc != CKV_ERROR_TAKEN)
        ckv_replicator_release(replicator, &self->reservation);
    if (rc == CKV_OK && replicator && self->delivery.number &&
        self->delivery.wanted != CKV_ACK_LOCAL) {
        ckv_replicator_deliver(replicator, &self->delivery);
        return;
    }
    if (rc == CKV_OK && replicator)
        ckv_replicator_wake(replicator);
    hand_back(self);
}

static void reply_import(struct ckv_admin *self, struct operation *operation)
{
    const struct counts *counts = &operation->counts;
    uint64_t conflicts = counts->merged[CKV_KV_WON] + counts->merged[CKV_KV_LOST];
    json_t *reply = reply_to(&operation->request);
    json_object_set_new(reply, "new", json_integer((json_int_t)counts->merged[CKV_KV_NEW]));
    json_object_set_new(reply, "newer", json_integer((json_int_t)counts->merged[CKV_KV_NEWER]));
    json_object_set_new(reply, "unchanged",
                        json_integer((json_int_t)counts->merged[CKV_KV_UNCHANGED]));
    json_object_set_new(reply, "conflicts", json_integer((json_int_t)conflicts));
    json_object_set_new(reply, "refused", json_integer((json_int_t)counts->refused));
    if (operation->first_refusal)
        json_object_set_new(reply, "refusal", json_string(ckv_strerror(operation->first_refusal)));
    ckv_replies_begin(&self->replies, &operation->client, reply, false);
}

/*  How far the change has come.  */
static void add_ack(struct ckv_admin *self, json_t *reply, const struct ckv_delivery *delivery)
{
    static const char *const names[] = { "", "local", "logged", "all" };
    json_object_set_new(reply, "ack", json_string(names[delivery->reached]));
    if (!self->parts.replicator)
        return;
    json_object_set_new(reply, "replicated", json_boolean(delivery->reached != CKV_ACK_LOCAL));
    if (delivery->wanted != CKV_ACK_ALL || delivery->reached == CKV_ACK_ALL)
        return;
    json_t *laggards = json_array();
    for (unsigned i = 0; i < delivery->laggard_count; i++)
        json_array_append_new(laggards, json_string(delivery->laggards[i]));
    json_object_set_new(reply, "not_applied", laggards);
}

static void reply_change(struct ckv_admin *self, struct operation *operation)
{
    struct ckv_registered *registered = &operation->registered;
    bool secrets = operation->request.command != CKV_REQUEST_REVOKE;
    json_t *reply = reply_to(&operation->request);
    json_object_set_new(reply, "cluster", json_string(self->parts.cluster));
    add_ack(self, reply, &operation->delivery);
    ckv_replies_begin(&self->replies, &operation->client, reply, true);
    ckv_replies_frame(&self->replies, registered->record, registered->record_size, secrets);
    if (secrets) {
        uint8_t both[CKV_HELLO_KEY_SIZE + 32];
        memcpy(both, registered->hello_key, CKV_HELLO_KEY_SIZE);
        memcpy(both + CKV_HELLO_KEY_SIZE, registered->client_secret_key, 32);
        ckv_replies_frame(&self->replies, both,
                          registered->has_client_secret_key ? sizeof(both) : CKV_HELLO_KEY_SIZE,
                          false);
        sodium_memzero(both, sizeof(both));
    }
}

static void finish(struct ckv_admin *self, struct operation *operation)
{
    int rc = operation->write.rc;
    if (rc != CKV_OK)
        refuse(self, &operation->client, &operation->request, rc,
               ckv_octets(operation->registered.record, rc == CKV_ERROR_CLIENT_KEY_TAKEN
                                                            ? operation->registered.record_size
                                                            : 0));
    else if (operation->request.command == CKV_REQUEST_IMPORT)
        reply_import(self, operation);
    else if (operation->request.command == CKV_REQUEST_FORGET)
        ckv_replies_begin(&self->replies, &operation->client, reply_to(&operation->request), false);
    else
        reply_change(self, operation);
    self->running--;
    self->held -= operation->has_entries ? zmq_msg_size(&operation->entries) : 0;
    free_operation(operation);
}

/*  Answers what the writer has done, oldest first.  */
static void finish_all(struct ckv_admin *self)
{
    struct ckv_write *write, *oldest = NULL, *next;
    eventfd_t ignored;
    eventfd_read(self->wake, &ignored);
    pthread_mutex_lock(&self->lock);
    write = self->done;
    self->done = NULL;
    self->woken = false;
    pthread_mutex_unlock(&self->lock);
    for (; write; write = next) {
        next = write->next;
        write->next = oldest;
        oldest = write;
    }
    for (write = oldest; write; write = next) {
        next = write->next;
        finish(self, (struct operation *)write);
    }
}

/*  What must be right before the writer is troubled.  */
static int prepare(struct operation *self)
{
    const struct ckv_request *request = &self->request;
    struct ckv_replicator *replicator = self->admin->parts.replicator;
    int refusal = replicator ? ckv_replicator_refusal(replicator) : CKV_OK;
    if (refusal != CKV_OK)
        return refusal;
    if (request->command == CKV_REQUEST_IMPORT)
        return self->has_entries ? CKV_OK : CKV_ERROR_REQUEST;
    if (request->command == CKV_REQUEST_FORGET)
        return replicator ? ckv_replicator_find(replicator, request->node, &self->forgotten)
                          : CKV_ERROR_NO_CLUSTER;
    if (request->command != CKV_REQUEST_REGISTER && !request->storage_key.size)
        return CKV_ERROR_STORAGE_KEY;
    if (request->command == CKV_REQUEST_REVOKE)
        return CKV_OK;
    bool shared = request->has_server_key && !request->dedicated;
    return ckv_registry_prepare(&self->registered,
                                request->has_client_public_key ? request->client_public_key : NULL,
                                !shared);
}

/*  The replicator's thread: the chosen storage key is this operation's, or is not.  */
static void reserved(struct ckv_reservation *reservation, int rc)
{
    struct operation *self =
        (struct operation *)((char *)reservation - offsetof(struct operation, reservation));
    self->write.rc = rc;
    if (rc == CKV_OK) {
        self->reserved = true;
        ckv_writer_submit(self->admin->parts.writer, &self->write);
    } else {
        hand_back(self);
    }
}

/*  A chosen storage key is reserved in the whole cluster first; all else goes to the writer.  */
static void go(struct ckv_admin *self, struct operation *operation)
{
    const struct ckv_request *request = &operation->request;
    if (request->command != CKV_REQUEST_REGISTER || !request->storage_key.size ||
        !self->parts.replicator) {
        ckv_writer_submit(self->parts.writer, &operation->write);
        return;
    }
    operation->reservation.done = reserved;
    operation->reservation.storage_key = request->storage_key;
    operation->reservation.created = operation->created;
    ckv_replicator_reserve(self->parts.replicator, &operation->reservation);
}

/*  Takes over REQUEST, and ENTRIES if not NULL.  */
static void start(struct ckv_admin *self, zmq_msg_t *client, struct ckv_request *request,
                  zmq_msg_t *entries)
{
    struct operation *operation = calloc(1, sizeof(*operation));
    if (!operation) {
        refuse(self, client, request, CKV_ERROR_MEMORY, ckv_octets(NULL, 0));
        return;
    }
    operation->admin = self;
    operation->write.apply = apply;
    operation->write.done = done;
    zmq_msg_init(&operation->client);
    zmq_msg_copy(&operation->client, client);
    operation->request = *request;
    request->json = NULL;
    if (entries) {
        operation->has_entries = true;
        zmq_msg_init(&operation->entries);
        zmq_msg_move(&operation->entries, entries);
    }
    operation->created = ckv_clock_wall();
    operation->delivery.done = delivered;
    operation->delivery.wanted = operation->request.ack   ? operation->request.ack
                                 : self->parts.replicator ? CKV_ACK_LOGGED
                                                          : CKV_ACK_LOCAL;
    operation->delivery.deadline_ms = ckv_clock_monotonic() + operation->request.wait_ms;
    int rc = prepare(operation);
    if (rc == CKV_OK) {
        self->running++;
        self->held += operation->has_entries ? zmq_msg_size(&operation->entries) : 0;
        go(self, operation);
        return;
    }
    refuse(self, client, &operation->request, rc, ckv_octets(NULL, 0));
    free_operation(operation);
}

/*  ---- the service ----  */

static void answer(struct ckv_admin *self, zmq_msg_t *client, struct ckv_request *request,
                   zmq_msg_t *entries)
{
    int rc = CKV_OK;
    switch (request->command) {
    case CKV_REQUEST_RESOLVE:
        resolve(self, client, request);
        ckv_kv_reset(self->txn);
        break;
    case CKV_REQUEST_LIST:
    case CKV_REQUEST_CONFLICTS:
        rc = ckv_kv_renew(self->txn);
        if (rc != CKV_OK)
            break;
        if (request->command == CKV_REQUEST_LIST)
            list(self, client, request);
        else
            list_conflicts(self, client, request);
        ckv_kv_reset(self->txn);
        break;
    case CKV_REQUEST_STATUS:
        status(self, client, request);
        break;
    default:
        start(self, client, request, entries);
    }
    if (rc != CKV_OK)
        refuse(self, client, request, rc, ckv_octets(NULL, 0));
}

/*  Takes the frames of one message: routing id, JSON, and perhaps entries; more are dropped.  */
enum { FRAMES = 3 };

static int take_frames(struct ckv_admin *self, zmq_msg_t frames[FRAMES])
{
    int count = 0, more = 1;
    zmq_msg_t surplus;
    for (int i = 0; i < FRAMES; i++)
        zmq_msg_init(&frames[i]);
    zmq_msg_init(&surplus);
    while (more) {
        zmq_msg_t *frame = count < FRAMES ? &frames[count] : &surplus;
        if (zmq_msg_recv(frame, self->replies.router, count ? 0 : ZMQ_DONTWAIT) < 0)
            break;
        more = zmq_msg_more(frame);
        count++;
    }
    zmq_msg_close(&surplus);
    return count;
}

/*  Returns whether there was a message.  */
static bool serve_one(struct ckv_admin *self)
{
    zmq_msg_t frames[FRAMES];
    struct ckv_request request;
    int count = take_frames(self, frames);
    if (count >= 2) {
        self->requests++;
        int rc = ckv_request_read(&request,
                                  ckv_octets(zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1])));
        if (rc == CKV_OK && count > FRAMES)
            rc = CKV_ERROR_REQUEST;
        if (rc == CKV_OK)
            answer(self, &frames[0], &request, count > 2 ? &frames[2] : NULL);
        else
            refuse(self, &frames[0], &request, rc, ckv_octets(NULL, 0));
        ckv_request_clear(&request);
    }
    for (int i = 0; i < FRAMES; i++)
        zmq_msg_close(&frames[i]);
    return count > 0;
}

/*  Reads the signal. Returns its number, or 0 for one that was dealt with here.  */
static int take_signal(struct ckv_admin *self, int signals)
{
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof(info)) != sizeof(info))
        return 0;
    if (info.ssi_signo == SIGHUP)
        self->parts.reload(self->parts.signal_argument);
    else if (info.ssi_signo == SIGUSR1)
        self->parts.report(self->parts.signal_argument);
    else
        return (int)info.ssi_signo;
    return 0;
}

static bool has_room(const struct ckv_admin *self)
{
    return self->running < OPERATIONS_MAX && self->held < HELD_MAX;
}

/*  As many as there are, but for a while only: signals and the writer's answers want to be seen too.  */
static void serve_some(struct ckv_admin *self)
{
    for (int i = 0; i < ROUND_MAX && has_room(self); i++)
        if (!serve_one(self))
            return;
}

int ckv_admin_run(struct ckv_admin *self, int signals)
{
    int stop = 0;
    while (!stop || self->running) {
        bool listens = !stop && has_room(self);
        zmq_pollitem_t items[] = {
            { .fd = self->wake, .events = ZMQ_POLLIN },
            { .fd = stop ? self->wake : signals, .events = ZMQ_POLLIN },
            { .socket = self->replies.router, .events = ZMQ_POLLIN },
        };
        if (zmq_poll(items, listens ? 3 : 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return CKV_ERROR_IO;
        }
        if (items[0].revents)
            finish_all(self);
        if (!stop && items[1].revents)
            stop = take_signal(self, signals);
        if (listens && items[2].revents)
            serve_some(self);
    }
    return stop;
}

static int bind_router(struct ckv_admin *self)
{
    char endpoint[CKV_PATH_MAX];
    int rc = ckv_datadir_admin_endpoint(self->parts.datadir->path, endpoint);
    if (rc != CKV_OK)
        return rc;
    int64_t most = CKV_REQUEST_ENTRIES_MAX;
    int linger = 1000, unbounded = 0; /* node/replies.h has the bound */
    zmq_setsockopt(self->replies.router, ZMQ_MAXMSGSIZE, &most, sizeof(most));
    zmq_setsockopt(self->replies.router, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(self->replies.router, ZMQ_SNDHWM, &unbounded, sizeof(unbounded));
    mode_t mask = umask(0177); /* the socket is made with mode 0600 */
    self->is_bound = zmq_bind(self->replies.router, endpoint) == 0;
    umask(mask);
    return self->is_bound ? CKV_OK : CKV_ERROR_IO;
}

int ckv_admin_new(struct ckv_admin **self_p, const struct ckv_admin_parts *parts)
{
    struct ckv_admin *self = *self_p = calloc(1, sizeof(*self));
    if (!self)
        return CKV_ERROR_MEMORY;
    self->parts = *parts;
    self->started = ckv_clock_wall();
    pthread_mutex_init(&self->lock, NULL);
    self->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->context = zmq_ctx_new();
    self->replies.router = self->context ? zmq_socket(self->context, ZMQ_ROUTER) : NULL;
    int rc = self->wake >= 0 && self->replies.router ? CKV_OK : CKV_ERROR_MEMORY;
    if (rc == CKV_OK)
        rc = ckv_kv_begin(parts->kv, CKV_KV_RESOLVE, &self->txn);
    if (rc == CKV_OK) {
        ckv_kv_reset(self->txn);
        rc = bind_router(self);
    }
    if (rc != CKV_OK)
        ckv_admin_destroy(self_p);
    return rc;
}

/*  libzmq leaves it there.  */
static void remove_socket(const struct ckv_admin *self)
{
    char endpoint[CKV_PATH_MAX];
    if (self->is_bound && ckv_datadir_admin_endpoint(self->parts.datadir->path, endpoint) == CKV_OK)
        unlink(endpoint + strlen("ipc://"));
}

void ckv_admin_destroy(struct ckv_admin **self_p)
{
    struct ckv_admin *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    if (self->txn)
        ckv_kv_abort(&self->txn);
    if (self->replies.router)
        zmq_close(self->replies.router);
    if (self->context)
        zmq_ctx_term(self->context);
    remove_socket(self);
    if (self->wake >= 0)
        close(self->wake);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
