/*  connect: subscribe first, then join the epoch, then read what was missed from the log.

    The epoch is the identity of one life of the log. It is bound to the Redis process (its run_id):
    a process that was restarted, or a replica that took over, may have lost the end of what was
    acknowledged, and nobody can say; so a new epoch begins, and all nodes compare what they have
    (repair.c). In the same epoch the entry at the last position is compared by its hash: another
    one there, or none, is a log that lost its end all the same.
*/
#include "core/text.h"
#include "kv/log.h"
#include "replication/parts.h"

#include <stdio.h>

enum { OPEN_ARGS = 3 + CKV_KEYS + 5 };

/*  The cluster in this Redis has another key, the one of KEY_ID. A node that has been a member knows its
    key to be right, and somebody else has begun a cluster in a Redis that lost its memory: it waits, as
    for a Redis that is away. A node that never was one is refused, and does not try again, or it would
    be the one to begin when Redis loses its memory.  */
static int meet_other_key(struct ckv_replicator *self, const char *key_id, const char *own_key_id)
{
    bool is_member = self->position.epoch != 0;
    char shown[64];
    snprintf(self->reason, sizeof(self->reason),
             "the cluster '%.64s' in this Redis has another cluster key (id %.8s, this node's is "
             "%s); %s",
             self->options.cluster, ckv_text_escape(ckv_octets_text(key_id), shown, sizeof(shown)),
             own_key_id,
             is_member ? "another cluster of this name uses this Redis; give it another --cluster, "
                         "or another Redis"
                       : "start in an empty directory with --cluster-key FILE, or choose another "
                         "--cluster");
    if (is_member)
        return CKV_ERROR_REDIS;
    atomic_store(&self->refusal, CKV_ERROR_CLUSTER_KEY);
    ckv_log(CKV_LOG_ERROR, "replication: %s", self->reason);
    return CKV_ERROR_CLUSTER_KEY;
}

/*  Runs the open script; LEFT is an epoch to be left, or 0. Sets *EPOCH, *HEAD and *IS_NEW.  */
static int open_epoch(struct ckv_replicator *self, uint64_t left, uint64_t *epoch, uint64_t *head,
                      bool *is_new)
{
    const char *argv[OPEN_ARGS] = { "EVALSHA", self->channel.open_sha, "6" };
    size_t sizes[OPEN_ARGS];
    char key_id[2 * CKV_CLUSTER_KEY_ID_SIZE + 1], fresh[17], id[17], old[17] = "";
    uint64_t random;
    int argc = 3, rc = CKV_ERROR_REDIS;
    randombytes_buf(&random, sizeof(random));
    sodium_bin2hex(key_id, sizeof(key_id), self->options.cluster_key->id, CKV_CLUSTER_KEY_ID_SIZE);
    snprintf(fresh, sizeof(fresh), "%016llx", (unsigned long long)(random | 1));
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)self->options.node_id);
    if (left)
        snprintf(old, sizeof(old), "%016llx", (unsigned long long)left);
    for (int i = 0; i < CKV_KEYS; i++)
        argv[argc++] = self->names.keys[i];
    argv[argc++] = self->channel.run;
    argv[argc++] = key_id;
    argv[argc++] = fresh;
    argv[argc++] = id;
    argv[argc++] = old;
    for (int i = 0; i < argc; i++)
        sizes[i] = strlen(argv[i]);
    redisReply *reply = ckv_channel_call(&self->channel, argc, argv, sizes, self->reason);
    if (!reply)
        return rc;
    bool whole = reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2 &&
                 reply->element[0]->type == REDIS_REPLY_STRING &&
                 reply->element[1]->type == REDIS_REPLY_STRING;
    if (whole && strcmp(reply->element[0]->str, "KEY") == 0) {
        rc = meet_other_key(self, reply->element[1]->str, key_id);
    } else if (whole && reply->elements == 3 && reply->element[2]->type == REDIS_REPLY_STRING) {
        *is_new = strcmp(reply->element[0]->str, "NEW") == 0;
        *epoch = strtoull(reply->element[1]->str, NULL, 16);
        *head = strtoull(reply->element[2]->str, NULL, 10);
        rc = CKV_OK;
    }
    freeReplyObject(reply);
    return rc;
}

/*  What the log has at this node's position.  */
enum found { FOUND_SAME, FOUND_OTHER, FOUND_LATER };

/*  Looks; *FIRST receives the sequence of the first entry from there on, 0 for none.  */
static int look_at_position(struct ckv_replicator *self, enum found *found, uint64_t *first)
{
    char at[32];
    uint8_t mark[CKV_MARK_SIZE], none[CKV_MARK_SIZE] = { 0 };
    snprintf(at, sizeof(at), "%llu-1", (unsigned long long)self->position.sequence);
    const char *argv[] = { "XRANGE", self->names.keys[CKV_KEY_LOG], at, "+", "COUNT", "1" };
    redisReply *reply = ckv_channel_call(&self->channel, 6, argv, NULL, self->reason);
    if (!reply)
        return CKV_ERROR_REDIS;
    *found = FOUND_LATER;
    *first = 0;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
        const redisReply *element = reply->element[0];
        *first = strtoull(element->element[0]->str, NULL, 10);
        const redisReply *fields = element->element[1];
        if (*first == self->position.sequence && fields->type == REDIS_REPLY_ARRAY &&
            fields->elements > 1) {
            ckv_position_mark(mark,
                              ckv_octets(fields->element[1]->str, (size_t)fields->element[1]->len));
            bool same = memcmp(mark, self->position.mark, sizeof(mark)) == 0 ||
                        memcmp(none, self->position.mark, sizeof(none)) == 0;
            *found = same ? FOUND_SAME : FOUND_OTHER;
        }
    }
    freeReplyObject(reply);
    return CKV_OK;
}

/*  Who has repaired into this epoch.  */
static int read_confirmed(struct ckv_replicator *self)
{
    const char *argv[] = { "HGETALL", self->names.keys[CKV_KEY_CONFIRMED] };
    redisReply *reply = ckv_channel_call(&self->channel, 2, argv, NULL, self->reason);
    if (!reply)
        return CKV_ERROR_REDIS;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *id = reply->element[i], *epoch = reply->element[i + 1];
        if (id->type != REDIS_REPLY_STRING || epoch->type != REDIS_REPLY_STRING)
            continue;
        struct ckv_member *member = ckv_members_find(&self->members, strtoull(id->str, NULL, 16));
        if (member)
            member->confirmed_epoch = strtoull(epoch->str, NULL, 16);
    }
    freeReplyObject(reply);
    return CKV_OK;
}

/*  Begins at the start of EPOCH. Whoever began it is complete in it by that, if it ever was before:
    a node that has just been made knows neither the records nor who else is a member.  */
static void enter_epoch(struct ckv_replicator *self, uint64_t epoch, bool founder)
{
    struct entries *batch = ckv_entries_new(self);
    if (!batch)
        return;
    self->counters.epochs++;
    batch->before = self->position;
    bool settled = self->position.settled || (founder && self->alone);
    self->alone = false;
    self->position =
        (struct ckv_position){ .epoch = epoch, .complete = founder && settled, .settled = settled };
    batch->after = self->position;
    ckv_entries_submit(self, batch);
    ckv_log(CKV_LOG_INFO, "replication: %s epoch %016llx of the log", founder ? "began" : "joined",
            (unsigned long long)epoch);
}

/*  In an epoch that this node knows: what became of the log since.  */
static int resume(struct ckv_replicator *self, uint64_t head, bool *forked)
{
    enum found found = FOUND_SAME;
    uint64_t first = 0, sequence = self->position.sequence;
    *forked = sequence > head;
    if (*forked || sequence == 0)
        return CKV_OK;
    int rc = look_at_position(self, &found, &first);
    if (rc != CKV_OK)
        return rc;
    *forked = found == FOUND_OTHER;
    return CKV_OK;
}

/*  Joins the epoch, or with LEFT leaves that one: its log has lost its end, or nobody is here who has
    repaired into it.  */
static int join_epoch(struct ckv_replicator *self, uint64_t left)
{
    uint64_t epoch = 0, head = 0;
    bool is_new = false;
    int rc = open_epoch(self, left, &epoch, &head, &is_new);
    if (rc != CKV_OK)
        return rc;
    self->head = head;
    if (epoch != self->position.epoch)
        enter_epoch(self, epoch, is_new);
    return CKV_OK;
}

static int join(struct ckv_replicator *self)
{
    bool forked = false;
    int rc = join_epoch(self, self->leaving);
    self->leaving = 0;
    if (rc == CKV_OK)
        rc = resume(self, self->head, &forked);
    if (rc == CKV_OK && forked) {
        ckv_log(CKV_LOG_WARNING, "the log has lost entries that this node has applied; a new epoch "
                                 "begins, and they are repaired");
        rc = join_epoch(self, self->position.epoch);
    }
    return rc == CKV_OK ? read_confirmed(self) : rc;
}

/*  The one that was given last, if any was.  */
static void take_password(struct ckv_replicator *self)
{
    pthread_mutex_lock(&self->lock);
    struct ckv_url *newer = self->newer;
    self->newer = NULL;
    pthread_mutex_unlock(&self->lock);
    if (newer)
        memcpy(self->options.url->password, newer->password, sizeof(newer->password));
    ckv_url_destroy(&newer);
}

int ckv_connect(struct ckv_replicator *self)
{
    int refusal = atomic_load(&self->refusal);
    if (refusal != CKV_OK)
        return refusal;
    take_password(self);
    int rc = ckv_channel_open(&self->channel, self->options.url, &self->names, self->reason);
    if (rc != CKV_OK)
        return rc;
    rc = join(self);
    if (rc == CKV_OK)
        rc = ckv_channel_go(&self->channel);
    if (rc == CKV_OK)
        self->filling = true;
    return rc;
}
