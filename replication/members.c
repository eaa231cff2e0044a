#include "replication/members.h"
#include "core/text.h"

#include <stdio.h>

static void set_text(char *to, size_t capacity, struct ckv_octets text)
{
    size_t size = text.size < capacity ? text.size : capacity - 1;
    if (size)
        memcpy(to, text.data, size);
    to[size] = 0;
}

struct ckv_member *ckv_members_find(struct ckv_members *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i].id == id)
            return &self->list[i];
    return NULL;
}

struct ckv_member *ckv_members_named(struct ckv_members *self, struct ckv_octets text)
{
    uint8_t id[8];
    for (size_t i = 0; i < self->count; i++)
        if (ckv_octets_equal(ckv_octets_text(self->list[i].name), text))
            return &self->list[i];
    return ckv_text_unhex(id, sizeof(id), text) ? ckv_members_find(self, ckv_get64(id)) : NULL;
}

static void remember(struct ckv_members *self, uint64_t id)
{
    for (size_t i = 0; i < self->forgotten_count; i++)
        if (self->forgotten[i].id == id)
            self->forgotten[i] = self->forgotten[--self->forgotten_count];
}

struct ckv_member *ckv_members_add(struct ckv_members *self, uint64_t id)
{
    struct ckv_member *found = ckv_members_find(self, id);
    if (found)
        return found;
    if (self->count == CKV_MEMBERS_MAX)
        return NULL;
    remember(self, id);
    found = &self->list[self->count++];
    *found = (struct ckv_member){ .id = id };
    snprintf(found->name, sizeof(found->name), "%016llx", (unsigned long long)id);
    return found;
}

uint64_t ckv_members_forgotten_at(const struct ckv_members *self, uint64_t id)
{
    for (size_t i = 0; i < self->forgotten_count; i++)
        if (self->forgotten[i].id == id)
            return self->forgotten[i].forgotten_at;
    return 0;
}

bool ckv_members_forget(struct ckv_members *self, uint64_t id, uint64_t at)
{
    struct ckv_member *found = ckv_members_find(self, id);
    if (found && found->heard_at > at)
        return false;
    if (found)
        *found = self->list[--self->count];
    remember(self, id);
    if (self->forgotten_count < CKV_FORGOTTEN_MAX)
        self->forgotten[self->forgotten_count++] = (struct ckv_membership){ id, at };
    return true;
}

static int write_one(struct ckv_buffer *buffer, uint64_t id, uint64_t forgotten_at)
{
    uint8_t item[CKV_MEMBERSHIP_SIZE];
    ckv_put64(item, id);
    ckv_put64(item + 8, forgotten_at);
    return ckv_buffer_add(buffer, ckv_octets(item, sizeof(item)));
}

int ckv_members_write(const struct ckv_members *self, struct ckv_buffer *buffer)
{
    int rc = CKV_OK;
    for (size_t i = 0; i < self->count && rc == CKV_OK; i++)
        rc = write_one(buffer, self->list[i].id, 0);
    for (size_t i = 0; i < self->forgotten_count && rc == CKV_OK; i++)
        rc = write_one(buffer, self->forgotten[i].id, self->forgotten[i].forgotten_at);
    return rc;
}

static void read_row(struct ckv_members *self, uint64_t id, uint64_t at, struct ckv_octets name)
{
    struct ckv_member *member = name.size ? ckv_members_add(self, id) : NULL;
    if (member) {
        member->heard_at = at;
        set_text(member->name, sizeof(member->name), name);
    } else if (!name.size) {
        ckv_members_forget(self, id, at);
    }
}

int ckv_members_open(struct ckv_members *self, struct ckv_kv *kv, uint64_t self_id,
                     const char *self_name)
{
    struct ckv_kv_txn *txn;
    struct ckv_octets key = ckv_octets(NULL, 0), name;
    self->count = self->forgotten_count = 0;
    int rc = ckv_kv_begin(kv, CKV_KV_READ, &txn);
    if (rc != CKV_OK)
        return rc;
    while ((rc = ckv_kv_table_next(txn, CKV_KV_MEMBERS, &key, &name)) == CKV_OK) {
        if (key.size == sizeof(uint64_t) && name.size >= sizeof(uint64_t))
            read_row(self, ckv_get64(key.data), ckv_get64(name.data),
                     ckv_octets(name.data + sizeof(uint64_t), name.size - sizeof(uint64_t)));
    }
    ckv_kv_abort(&txn);
    if (rc != CKV_ERROR_NOT_FOUND)
        return rc;
    struct ckv_member *myself = ckv_members_add(self, self_id);
    if (!myself)
        return CKV_ERROR_STORE;
    set_text(myself->name, sizeof(myself->name), ckv_octets_text(self_name));
    return CKV_OK;
}

/*  Of two instances that are heard at one time the one that was started later counts: the other is
    an echo of the past. So is the end of a life that is not the one that was heard last, which would make
    a node that runs look gone, and whatever is heard of a life that has ended.  */
static bool is_echo(const struct ckv_member *self, const struct ckv_message *message,
                    const struct ckv_announcement *said, uint64_t now_ms)
{
    if (self->left && message->instance == self->left)
        return true;
    if (message->instance == self->instance)
        return message->number <= self->number;
    return !said->ttl_ms ||
           (said->started < self->said.started && ckv_member_is_live(self, now_ms));
}

int ckv_members_hear(struct ckv_member *self, const struct ckv_message *message,
                     const struct ckv_announcement *said, uint64_t now_ms, uint64_t now)
{
    if (is_echo(self, message, said, now_ms))
        return 0;
    if (!said->ttl_ms)
        self->left = message->instance;
    self->instance = message->instance;
    self->number = message->number;
    self->heard_ms = now_ms;
    self->heard_at = now;
    self->said = *said;
    set_text(self->name, sizeof(self->name), said->name);
    set_text(self->endpoint, sizeof(self->endpoint), said->endpoint);
    self->said.name = self->said.endpoint = ckv_octets(NULL, 0);
    if (said->flags & CKV_ANNOUNCES_CONFIRMED)
        self->confirmed_epoch = said->epoch;
    return 1;
}

bool ckv_member_is_live(const struct ckv_member *self, uint64_t now_ms)
{
    return self->heard_ms && now_ms - self->heard_ms < self->said.ttl_ms;
}

uint64_t ckv_members_sum(const struct ckv_members *self)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < self->count; i++)
        sum += self->list[i].id;
    return sum;
}

bool ckv_members_agree(const struct ckv_members *self, uint64_t self_id, uint64_t epoch,
                       uint64_t now_ms)
{
    uint64_t sum = ckv_members_sum(self);
    for (size_t i = 0; i < self->count; i++) {
        const struct ckv_member *member = &self->list[i];
        if (member->confirmed_epoch != epoch)
            return false;
        if (member->id != self_id && ckv_member_is_live(member, now_ms) &&
            member->said.members != sum)
            return false;
    }
    return true;
}

int ckv_members_put(struct ckv_kv_txn *txn, uint64_t id, uint64_t at, const char *name)
{
    uint8_t key[sizeof(id)], value[sizeof(at) + CKV_NODE_NAME_MAX];
    size_t size = strnlen(name, CKV_NODE_NAME_MAX);
    ckv_put64(key, id);
    ckv_put64(value, at);
    memcpy(value + sizeof(at), name, size); /* NOLINT(bugprone-not-null-terminated-result) */
    return ckv_kv_table_put(txn, CKV_KV_MEMBERS, ckv_octets(key, sizeof(key)),
                            ckv_octets(value, sizeof(at) + size));
}
