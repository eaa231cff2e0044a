/*  channel: two connections to Redis, one for commands and one that is subscribed.

    Opening blocks, each step for a bounded time: find the master (sentinel), connect, authenticate,
    look at what is there (version, role, run_id), load the scripts, subscribe and wait for the
    confirmation. From then on nothing blocks: commands are queued, sent when the socket takes
    them, and answered in order; the caller polls the two descriptors.

    What went wrong is said in a sentence for the operator, without secrets.
*/
#ifndef CKV_CHANNEL_H
#define CKV_CHANNEL_H

#include "core/error.h"
#include "core/octets.h"
#include "replication/scripts.h"
#include "replication/url.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>

enum { CKV_SHA_SIZE = 41, CKV_RUN_SIZE = 41, CKV_REASON_MAX = 384, CKV_KEY_MAX = 128 };

/*  Names of a cluster's keys and channels.  */
struct ckv_channel_names {
    char keys[CKV_KEYS][CKV_KEY_MAX];
    char log_channel[CKV_KEY_MAX], nodes_channel[CKV_KEY_MAX], own_channel[CKV_KEY_MAX];
    char prefix[CKV_KEY_MAX]; /* "{curvekv:NAME}:" */
};

/*  Names for CLUSTER, as seen by node NODE_ID.  */
void ckv_channel_names(struct ckv_channel_names *self, const char *cluster, uint64_t node_id);

/*  The channel of another node.  */
void ckv_channel_of(const struct ckv_channel_names *self, uint64_t node_id,
                    char channel[CKV_KEY_MAX]);

struct ckv_channel {
    redisContext *commands, *subscription;
    char run[CKV_RUN_SIZE]; /* identity of the Redis process */
    char open_sha[CKV_SHA_SIZE], change_sha[CKV_SHA_SIZE];
};

/*  Opens. Returns CKV_OK or CKV_ERROR_REDIS with REASON set; SELF needs no closing then.  */
int ckv_channel_open(struct ckv_channel *self, const struct ckv_url *url,
                     const struct ckv_channel_names *names, char reason[CKV_REASON_MAX]);
void ckv_channel_close(struct ckv_channel *self);

/*  Sends a command and waits for the reply, which the caller frees; NULL with REASON set on any
    failure, an error reply too. Only until ckv_channel_go.  */
redisReply *ckv_channel_call(struct ckv_channel *self, int argc, const char **argv,
                             const size_t *sizes, char reason[CKV_REASON_MAX]);

/*  From now on nothing blocks.  */
int ckv_channel_go(struct ckv_channel *self);

/*  Queues a command. Returns CKV_ERROR_MEMORY.  */
int ckv_channel_send(struct ckv_channel *self, int argc, const char **argv, const size_t *sizes);

/*  Sends what the socket takes. Returns 1 when some is left, 0 when not, CKV_ERROR_REDIS.  */
int ckv_channel_flush(struct ckv_channel *self);

/*  Reads what the socket of CONTEXT, one of the two, has. Returns CKV_ERROR_REDIS when it broke.  */
int ckv_channel_receive(redisContext *context);

/*  Takes the next whole reply that was received. Returns 1, 0, CKV_ERROR_REDIS.  */
int ckv_channel_next(redisContext *context, redisReply **reply);

/*  A sentence for an error reply of Redis.  */
void ckv_channel_explain(const char *error, char reason[CKV_REASON_MAX]);

#endif
