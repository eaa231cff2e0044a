#include "replication/channel.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*  How long one step of opening may take.  */
static const struct timeval patience = { 2, 0 };

enum { VERSION_MIN = 5 };

void ckv_channel_names(struct ckv_channel_names *self, const char *cluster, uint64_t node_id)
{
    snprintf(self->prefix, sizeof(self->prefix), "{curvekv:%.64s}:", cluster);
    for (int i = 0; i < CKV_KEYS; i++)
        snprintf(self->keys[i], CKV_KEY_MAX, "%.100s%s", self->prefix, ckv_key_suffixes[i]);
    snprintf(self->log_channel, CKV_KEY_MAX, "%.100slog", self->prefix);
    snprintf(self->nodes_channel, CKV_KEY_MAX, "%.100snodes", self->prefix);
    ckv_channel_of(self, node_id, self->own_channel);
}

void ckv_channel_of(const struct ckv_channel_names *self, uint64_t node_id,
                    char channel[CKV_KEY_MAX])
{
    snprintf(channel, CKV_KEY_MAX, "%.100sto:%016llx", self->prefix, (unsigned long long)node_id);
}

/*  ---- sentences ----  */

__attribute__((format(printf, 2, 3))) static void say(char reason[CKV_REASON_MAX],
                                                      const char *format, ...)
{
    char raw[CKV_REASON_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(raw, sizeof(raw), format, list);
    va_end(list);
    ckv_text_escape(ckv_octets_text(raw), reason, CKV_REASON_MAX);
}

void ckv_channel_explain(const char *error, char reason[CKV_REASON_MAX])
{
    static const struct {
        const char *begins, *sentence;
    } known[] = {
        { "NOAUTH", "Redis wants a password; give one in the URL or with --redis-password-file" },
        { "WRONGPASS", "Redis refuses this user or password; correct the URL or the file of "
                       "--redis-password-file" },
        { "ERR invalid password", "Redis refuses this password; correct the URL or the file of "
                                  "--redis-password-file" },
        { "ERR AUTH", "Redis has no password set and was given one; take it out of the URL" },
        { "ERR Client sent AUTH", "Redis has no password set and was given one; take it out of the "
                                  "URL" },
        { "NOPERM", "this user of Redis lacks a permission; the README has the ACL that works" },
        { "READONLY", "this Redis is a read-only replica; name its master, or use sentinel://" },
        { "OOM", "Redis is out of memory; raise its maxmemory, or lower --log-length" },
        { "LOADING", "Redis is still loading its data; it will be tried again" },
        { "MISCONF", "Redis cannot write its dump and refuses changes; see its log and its disk" },
        { "MASTERDOWN", "this replica has lost its master and refuses; name the master, or use "
                        "sentinel://" },
        { "NOREPLICAS", "Redis misses replicas that it is configured to need (min-replicas)" },
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strstr(error, known[i].begins)) {
            say(reason, "%s", known[i].sentence);
            return;
        }
    say(reason, "Redis says: %.200s", error);
}

/*  ---- opening ----  */

static redisContext *connect_host(const char *host, int port, char reason[CKV_REASON_MAX])
{
    redisContext *context = redisConnectWithTimeout(host, port, patience);
    if (context && !context->err) {
        int on = 1;
        setsockopt(context->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return context;
    }
    say(reason, "cannot connect to %.200s port %d: %.100s", host, port,
        context ? context->errstr : "out of memory");
    if (context)
        redisFree(context);
    return NULL;
}

static redisContext *connect_unix(const char *path, char reason[CKV_REASON_MAX])
{
    redisContext *context = redisConnectUnixWithTimeout(path, patience);
    if (context && !context->err)
        return context;
    say(reason, "cannot connect to %.150s: %.100s", path,
        context ? context->errstr : "out of memory");
    if (context)
        redisFree(context);
    return NULL;
}

/*  The reply to a command, or NULL with REASON set, also for an error reply.  */
static redisReply *reply_of(redisContext *context, redisReply *reply, char reason[CKV_REASON_MAX])
{
    if (!reply) {
        say(reason, "Redis does not answer: %.200s",
            context->err == REDIS_ERR_IO && errno == EAGAIN ? "timed out" : context->errstr);
        return NULL;
    }
    if (reply->type != REDIS_REPLY_ERROR)
        return reply;
    ckv_channel_explain(reply->str, reason);
    freeReplyObject(reply);
    return NULL;
}

static int authenticate(redisContext *context, const struct ckv_url *url,
                        char reason[CKV_REASON_MAX])
{
    redisReply *reply;
    if (url->password[0] || url->user[0]) {
        const char *const argv[] = { "AUTH", url->user[0] ? url->user : url->password,
                                     url->password };
        reply = reply_of(context,
                         redisCommandArgv(context, url->user[0] ? 3 : 2, (const char **)argv, NULL),
                         reason);
        if (!reply)
            return CKV_ERROR_REDIS;
        freeReplyObject(reply);
    }
    if (url->db) {
        reply = reply_of(context, redisCommand(context, "SELECT %d", url->db), reason);
        if (!reply)
            return CKV_ERROR_REDIS;
        freeReplyObject(reply);
    }
    return CKV_OK;
}

static redisContext *connect_to(const struct ckv_url *url, const struct ckv_url_host *host,
                                char reason[CKV_REASON_MAX])
{
    redisContext *context = url->kind == CKV_URL_UNIX
                                ? connect_unix(url->path, reason)
                                : connect_host(host->name, host->port, reason);
    if (!context)
        return NULL;
    redisSetTimeout(context, patience);
    if (authenticate(context, url, reason) == CKV_OK)
        return context;
    redisFree(context);
    return NULL;
}

/*  Asks one sentinel for the address of the master.  */
static int ask_sentinel(const struct ckv_url *url, const struct ckv_url_host *sentinel,
                        struct ckv_url_host *master, char reason[CKV_REASON_MAX])
{
    redisContext *context = connect_host(sentinel->name, sentinel->port, reason);
    if (!context)
        return CKV_ERROR_REDIS;
    redisSetTimeout(context, patience);
    redisReply *reply = reply_of(
        context, redisCommand(context, "SENTINEL get-master-addr-by-name %s", url->master), reason);
    int rc = CKV_ERROR_REDIS;
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING) {
        snprintf(master->name, sizeof(master->name), "%s", reply->element[0]->str);
        master->port = atoi(reply->element[1]->str);
        rc = CKV_OK;
    } else if (reply) {
        say(reason, "the sentinel at %.150s port %d knows no master called '%.100s'",
            sentinel->name, sentinel->port, url->master);
    }
    if (reply)
        freeReplyObject(reply);
    redisFree(context);
    return rc;
}

static int find_host(const struct ckv_url *url, struct ckv_url_host *host,
                     char reason[CKV_REASON_MAX])
{
    if (url->kind != CKV_URL_SENTINEL) {
        *host = url->hosts[0];
        return CKV_OK;
    }
    for (unsigned i = 0; i < url->host_count; i++)
        if (ask_sentinel(url, &url->hosts[i], host, reason) == CKV_OK)
            return CKV_OK;
    return CKV_ERROR_REDIS;
}

/*  The value of NAME in the text of INFO, cut at the end of its line.  */
static int find_info(const char *info, const char *name, char *value, size_t capacity)
{
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "\n%s:", name);
    const char *found = strstr(info, wanted);
    if (!found)
        return CKV_ERROR_REDIS;
    found += strlen(wanted);
    snprintf(value, capacity, "%.*s", (int)strcspn(found, "\r\n"), found);
    return CKV_OK;
}

static int look_around(struct ckv_channel *self, char reason[CKV_REASON_MAX])
{
    char version[32] = "0";
    redisReply *reply =
        reply_of(self->commands, redisCommand(self->commands, "INFO server"), reason);
    if (!reply)
        return CKV_ERROR_REDIS;
    int rc = reply->type == REDIS_REPLY_STRING &&
                     find_info(reply->str, "run_id", self->run, sizeof(self->run)) == CKV_OK &&
                     find_info(reply->str, "redis_version", version, sizeof(version)) == CKV_OK
                 ? CKV_OK
                 : CKV_ERROR_REDIS;
    freeReplyObject(reply);
    if (rc != CKV_OK)
        say(reason, "this server does not describe itself as a Redis does (INFO server)");
    else if (atoi(version) < VERSION_MIN) {
        say(reason, "Redis %.20s has no streams; version %d or later is needed", version,
            VERSION_MIN);
        rc = CKV_ERROR_REDIS;
    }
    return rc;
}

static int load_script(struct ckv_channel *self, const char *script, char sha[CKV_SHA_SIZE],
                       char reason[CKV_REASON_MAX])
{
    redisReply *reply =
        reply_of(self->commands, redisCommand(self->commands, "SCRIPT LOAD %s", script), reason);
    if (!reply)
        return CKV_ERROR_REDIS;
    snprintf(sha, CKV_SHA_SIZE, "%s", reply->type == REDIS_REPLY_STRING ? reply->str : "");
    freeReplyObject(reply);
    return CKV_OK;
}

/*  Subscribes, and waits for the confirmation of each channel.  */
static int subscribe(struct ckv_channel *self, const struct ckv_channel_names *names,
                     char reason[CKV_REASON_MAX])
{
    redisReply *reply =
        reply_of(self->subscription,
                 redisCommand(self->subscription, "SUBSCRIBE %s %s %s", names->log_channel,
                              names->nodes_channel, names->own_channel),
                 reason);
    for (int i = 1; reply && i < 3; i++) {
        void *next = NULL;
        freeReplyObject(reply);
        reply = redisGetReply(self->subscription, &next) == REDIS_OK ? next : NULL;
        reply = reply_of(self->subscription, reply, reason);
    }
    if (!reply)
        return CKV_ERROR_REDIS;
    freeReplyObject(reply);
    return CKV_OK;
}

int ckv_channel_open(struct ckv_channel *self, const struct ckv_url *url,
                     const struct ckv_channel_names *names, char reason[CKV_REASON_MAX])
{
    struct ckv_url_host host;
    *self = (struct ckv_channel){ 0 };
    int rc = find_host(url, &host, reason);
    if (rc == CKV_OK)
        self->commands = connect_to(url, &host, reason);
    if (rc == CKV_OK && self->commands)
        self->subscription = connect_to(url, &host, reason);
    if (rc == CKV_OK && !self->subscription)
        rc = CKV_ERROR_REDIS;
    if (rc == CKV_OK)
        rc = look_around(self, reason);
    if (rc == CKV_OK)
        rc = load_script(self, ckv_script_open, self->open_sha, reason);
    if (rc == CKV_OK)
        rc = load_script(self, ckv_script_change, self->change_sha, reason);
    if (rc == CKV_OK)
        rc = subscribe(self, names, reason);
    if (rc != CKV_OK)
        ckv_channel_close(self);
    return rc;
}

void ckv_channel_close(struct ckv_channel *self)
{
    if (self->commands)
        redisFree(self->commands);
    if (self->subscription)
        redisFree(self->subscription);
    self->commands = self->subscription = NULL;
}

redisReply *ckv_channel_call(struct ckv_channel *self, int argc, const char **argv,
                             const size_t *sizes, char reason[CKV_REASON_MAX])
{
    return reply_of(self->commands, redisCommandArgv(self->commands, argc, argv, sizes), reason);
}

/*  ---- not blocking ----  */

static int unblock(redisContext *context)
{
    int flags = fcntl(context->fd, F_GETFL);
    if (flags < 0 || fcntl(context->fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return CKV_ERROR_REDIS;
    context->flags &= ~REDIS_BLOCK;
    return CKV_OK;
}

int ckv_channel_go(struct ckv_channel *self)
{
    int rc = unblock(self->commands);
    return rc == CKV_OK ? unblock(self->subscription) : rc;
}

int ckv_channel_send(struct ckv_channel *self, int argc, const char **argv, const size_t *sizes)
{
    return redisAppendCommandArgv(self->commands, argc, argv, sizes) == REDIS_OK ? CKV_OK
                                                                                 : CKV_ERROR_MEMORY;
}

int ckv_channel_flush(struct ckv_channel *self)
{
    int done = 0;
    if (redisBufferWrite(self->commands, &done) != REDIS_OK)
        return CKV_ERROR_REDIS;
    return done ? 0 : 1;
}

int ckv_channel_receive(redisContext *context)
{
    return redisBufferRead(context) == REDIS_OK ? CKV_OK : CKV_ERROR_REDIS;
}

int ckv_channel_next(redisContext *context, redisReply **reply)
{
    void *next = NULL;
    if (redisGetReplyFromReader(context, &next) != REDIS_OK)
        return CKV_ERROR_REDIS;
    *reply = next;
    return next ? 1 : 0;
}
