#include "node/status.h"
#include "core/z85.h"
#include "kv/clock.h"
#include "node/gateway/report.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void set_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void set_text(json_t *object, const char *name, const char *text)
{
    json_object_set_new(object, name, json_string(text));
}

static void set_id(json_t *object, const char *name, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof(text), "%016" PRIx64, id);
    set_text(object, name, text);
}

static void set_digest(json_t *object, const char *name, struct ckv_digest digest)
{
    char text[33];
    snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, digest.lanes[0], digest.lanes[1]);
    set_text(object, name, text);
}

static const char *state_name(enum ckv_replication_state state)
{
    static const char *const names[] = { "away", "connecting", "catching_up", "live", "refused" };
    return names[state];
}

static json_t *counters_of(const struct ckv_replication_counters *counters)
{
    json_t *object = json_object();
    set_number(object, "appended", counters->appended);
    set_number(object, "applied", counters->applied);
    set_number(object, "dropped", counters->dropped);
    set_number(object, "forged", counters->forged);
    set_number(object, "gaps", counters->gaps);
    set_number(object, "trimmed", counters->trimmed);
    set_number(object, "epochs", counters->epochs);
    set_number(object, "reconnects", counters->reconnects);
    set_number(object, "repairs", counters->repairs);
    set_number(object, "repair_records_received", counters->repair_records_received);
    set_number(object, "repair_octets_received", counters->repair_octets_received);
    set_number(object, "repair_records_sent", counters->repair_records_sent);
    set_number(object, "repair_octets_sent", counters->repair_octets_sent);
    return object;
}

static json_t *repair_of(const struct ckv_repair_progress *repair)
{
    if (!repair->running)
        return json_null();
    json_t *object = json_object();
    set_text(object, "peer", repair->peer);
    set_number(object, "done", repair->done);
    set_number(object, "of", repair->of);
    set_number(object, "records", repair->records);
    return object;
}

static json_t *replication_of(const struct ckv_replication_status *status,
                              const struct ckv_kv_stats *stats)
{
    json_t *object = json_object();
    set_text(object, "state", state_name(status->state));
    set_text(object, "reason", status->reason);
    set_text(object, "redis", status->redis);
    set_id(object, "epoch", status->epoch);
    set_number(object, "sequence", status->sequence);
    set_number(object, "head", status->head);
    set_number(object, "lag", status->head - status->sequence);
    set_number(object, "outbox", stats->outbox);
    json_object_set_new(object, "complete", json_boolean(status->complete));
    json_object_set_new(object, "chosen_keys", json_boolean(status->chosen_keys));
    set_digest(object, "digest", status->digest);
    json_object_set_new(object, "counters", counters_of(&status->counters));
    json_object_set_new(object, "repair", repair_of(&status->repair));
    return object;
}

/*  This node speaks for itself; of others we have what they announced last.  */
static json_t *node_of(const struct ckv_replication_status *status,
                       const struct ckv_kv_stats *stats, const struct ckv_member *member,
                       bool is_this)
{
    const struct ckv_announcement *said = &member->said;
    bool live = is_this || ckv_member_is_live(member, status->now_ms);
    bool same_epoch = said->epoch == status->epoch;
    uint64_t sequence = is_this ? status->sequence : same_epoch ? said->sequence : 0;
    json_t *object = json_object();
    set_text(object, "node", member->name);
    set_id(object, "node_id", member->id);
    json_object_set_new(object, "this", json_boolean(is_this));
    set_text(object, "state",
             is_this                               ? state_name(status->state)
             : !live                               ? "down"
             : said->state == CKV_NODE_CATCHING_UP ? "catching_up"
                                                   : "live");
    set_number(object, "sequence", sequence);
    set_number(object, "lag", status->head > sequence ? status->head - sequence : 0);
    set_number(object, "certificates", is_this ? stats->records : said->records);
    set_number(object, "outbox", is_this ? stats->outbox : said->outbox);
    set_digest(object, "digest", is_this ? status->digest : said->digest);
    json_object_set_new(
        object, "equal",
        !live ? json_null()
              : json_boolean(is_this || ckv_digest_equal(said->digest, status->digest)));
    set_number(object, "heard_ms",
               is_this || !member->heard_ms ? 0 : status->now_ms - member->heard_ms);
    set_text(object, "endpoint", member->endpoint);
    return object;
}

static int add_cluster(json_t *object, const struct ckv_admin_parts *parts,
                       const struct ckv_kv_stats *stats)
{
    json_t *nodes = json_array();
    json_object_set_new(object, "nodes", nodes);
    if (!parts->replicator) {
        json_object_set_new(object, "replication", json_null());
        return CKV_OK;
    }
    struct ckv_replication_status *status = malloc(sizeof(*status));
    if (!status)
        return CKV_ERROR_MEMORY;
    ckv_replicator_status(parts->replicator, status);
    json_object_set_new(object, "replication", replication_of(status, stats));
    for (size_t i = 0; i < status->members.count; i++) {
        const struct ckv_member *member = &status->members.list[i];
        json_array_append_new(
            nodes, node_of(status, stats, member, member->id == parts->datadir->node_id));
    }
    free(status);
    return CKV_OK;
}

int ckv_status_fill(json_t *object, const struct ckv_admin_parts *parts,
                    const struct ckv_status_counts *counts)
{
    const struct ckv_datadir *datadir = parts->datadir;
    struct ckv_writer_stats writer = ckv_writer_stats(parts->writer);
    struct ckv_kv_stats stats;
    char key_id[2 * CKV_CLUSTER_KEY_ID_SIZE + 1], z85[CKV_Z85_TEXT_SIZE];
    int rc = ckv_kv_stats(parts->kv, &stats);
    if (rc != CKV_OK)
        return rc;
    set_text(object, "version", CKV_VERSION);
    set_text(object, "node", parts->name);
    set_text(object, "cluster", parts->cluster);
    set_id(object, "node_id", datadir->node_id);
    sodium_bin2hex(key_id, sizeof(key_id), datadir->cluster_key->id, CKV_CLUSTER_KEY_ID_SIZE);
    set_text(object, "cluster_key_id", key_id);
    set_text(object, "server_public_key",
             ckv_z85_text(datadir->cluster_key->server_public_key, z85));
    set_number(object, "process", (uint64_t)getpid());
    set_number(object, "uptime_ms", ckv_clock_wall() - counts->started);
    set_number(object, "requests", counts->requests);
    set_number(object, "running", counts->running);
    set_text(object, "store", stats.engine);
    set_number(object, "certificates", stats.records);
    set_number(object, "conflicts", stats.conflicts);
    set_number(object, "bytes", stats.bytes);
    set_number(object, "max_size", stats.max_size);
    json_object_set_new(object, "filter_ready", json_boolean(stats.filter_ready));
    set_number(object, "writes", writer.writes);
    set_number(object, "commits", writer.commits);
    set_number(object, "largest_batch", writer.largest);
    json_object_set_new(object, "gateway",
                        parts->gateway ? ckv_gateway_report(parts->gateway) : json_null());
    return add_cluster(object, parts, &stats);
}
