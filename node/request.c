#include "node/request.h"
#include "core/properties.h"
#include "core/text.h"
#include "core/time.h"
#include "core/z85.h"

static const struct {
    const char *name;
    enum ckv_request_command command;
} commands[] = {
    { "register", CKV_REQUEST_REGISTER }, { "resolve", CKV_REQUEST_RESOLVE },
    { "revoke", CKV_REQUEST_REVOKE },     { "rotate", CKV_REQUEST_ROTATE },
    { "list", CKV_REQUEST_LIST },         { "conflicts", CKV_REQUEST_CONFLICTS },
    { "import", CKV_REQUEST_IMPORT },     { "status", CKV_REQUEST_STATUS },
    { "forget", CKV_REQUEST_FORGET },
};

enum { LIMIT_DEFAULT = 1000, WAIT_DEFAULT_MS = 5000, WAIT_MAX_MS = 3600000 };

/*  The text of member NAME. Returns 1, 0 when it is absent, or ERROR when it is no text.  */
static int get_text(const json_t *json, const char *name, int error, struct ckv_octets *text)
{
    const json_t *member = json_object_get(json, name);
    *text = ckv_octets("", 0);
    if (!member)
        return 0;
    if (!json_is_string(member))
        return error;
    *text = ckv_octets(json_string_value(member), json_string_length(member));
    return 1;
}

static int read_command(struct ckv_request *self)
{
    struct ckv_octets name;
    if (get_text(self->json, "command", CKV_ERROR_REQUEST, &name) != 1)
        return CKV_ERROR_REQUEST;
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
        if (ckv_octets_equal(name, ckv_octets_text(commands[i].name))) {
            self->command = commands[i].command;
            return CKV_OK;
        }
    return CKV_ERROR_REQUEST;
}

static int read_keys(struct ckv_request *self)
{
    struct ckv_octets text;
    int rc = get_text(self->json, "storage_key", CKV_ERROR_STORAGE_KEY, &text);
    if (rc == 1)
        rc = ckv_storage_key_read(&self->storage_key, text);
    if (rc < 0)
        return rc;
    rc = get_text(self->json, "client_public_key", CKV_ERROR_Z85, &text);
    self->has_client_public_key = rc == 1;
    if (rc == 1)
        rc = ckv_z85_read(self->client_public_key, text);
    if (rc < 0)
        return rc;
    rc = get_text(self->json, "server_key", CKV_ERROR_REQUEST, &text);
    self->has_server_key = rc == 1;
    self->dedicated = ckv_octets_equal(text, ckv_octets_text("dedicated"));
    if (rc == 1 && !self->dedicated && !ckv_octets_equal(text, ckv_octets_text("shared")))
        rc = CKV_ERROR_REQUEST;
    return rc < 0 ? rc : CKV_OK;
}

static int read_time(const json_t *json, const char *name, uint64_t *time, bool *present)
{
    struct ckv_octets text;
    int rc = get_text(json, name, CKV_ERROR_REQUEST, &text);
    *present = rc == 1;
    if (rc == 1)
        rc = ckv_time_read(time, text);
    return rc < 0 ? CKV_ERROR_REQUEST : CKV_OK;
}

static int read_metadata(struct ckv_request *self)
{
    const json_t *object = json_object_get(self->json, "metadata");
    const char *name;
    json_t *value;
    if (!object)
        return CKV_OK;
    if (!json_is_object(object))
        return CKV_ERROR_METADATA;
    json_object_foreach((json_t *)object, name, value)
    {
        if (!json_is_string(value))
            return CKV_ERROR_METADATA;
        int rc = ckv_properties_put(
            self->metadata, sizeof(self->metadata), &self->metadata_size, ckv_octets_text(name),
            ckv_octets(json_string_value(value), json_string_length(value)));
        if (rc != CKV_OK)
            return rc;
    }
    return CKV_OK;
}

static int read_details(struct ckv_request *self)
{
    bool has_not_before;
    int rc = get_text(self->json, "organisation", CKV_ERROR_ORGANISATION, &self->organisation);
    if (rc >= 0)
        rc = get_text(self->json, "client_number", CKV_ERROR_NUMBER, &self->number);
    if (rc >= 0)
        rc = read_metadata(self);
    if (rc >= 0)
        rc = read_time(self->json, "not_before", &self->not_before, &has_not_before);
    if (rc >= 0)
        rc = read_time(self->json, "not_after", &self->not_after, &self->has_not_after);
    self->keep_client_key = json_is_true(json_object_get(self->json, "keep_client_key"));
    self->only_unknown = json_is_true(json_object_get(self->json, "only_unknown"));
    return rc < 0 ? rc : CKV_OK;
}

static int read_number(const json_t *json, const char *name, uint64_t otherwise, uint64_t *number)
{
    const json_t *member = json_object_get(json, name);
    *number = otherwise;
    if (!member)
        return CKV_OK;
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return CKV_ERROR_REQUEST;
    *number = (uint64_t)json_integer_value(member);
    return CKV_OK;
}

static int read_paging(struct ckv_request *self)
{
    uint64_t limit;
    struct ckv_octets after;
    int rc = read_number(self->json, "position", 0, &self->position);
    if (rc == CKV_OK)
        rc = read_number(self->json, "limit", LIMIT_DEFAULT, &limit);
    if (rc == CKV_OK && get_text(self->json, "after", CKV_ERROR_REQUEST, &after) < 0)
        rc = CKV_ERROR_REQUEST;
    if (rc != CKV_OK)
        return rc;
    if (limit == 0 || limit > CKV_REQUEST_LIMIT_MAX)
        return CKV_ERROR_REQUEST;
    self->limit = (size_t)limit;
    self->after_size = after.size / 2;
    if (self->after_size > sizeof(self->after) ||
        !ckv_text_unhex(self->after, self->after_size, after))
        return CKV_ERROR_REQUEST;
    return CKV_OK;
}

/*  How far the change is to come, and which node is meant.  */
static int read_cluster(struct ckv_request *self)
{
    static const char *const names[] = { "", "local", "logged", "all" };
    struct ckv_octets text;
    int rc = get_text(self->json, "ack", CKV_ERROR_REQUEST, &text);
    for (unsigned i = CKV_ACK_LOCAL; rc == 1 && i <= CKV_ACK_ALL; i++)
        if (ckv_octets_equal(text, ckv_octets_text(names[i])))
            self->ack = (enum ckv_ack)i;
    if (rc < 0 || (rc == 1 && !self->ack))
        return CKV_ERROR_REQUEST;
    rc = get_text(self->json, "node", CKV_ERROR_REQUEST, &self->node);
    if (rc < 0)
        return rc;
    rc = read_number(self->json, "wait_ms", WAIT_DEFAULT_MS, &self->wait_ms);
    return self->wait_ms <= WAIT_MAX_MS ? rc : CKV_ERROR_REQUEST;
}

int ckv_request_read(struct ckv_request *self, struct ckv_octets text)
{
    memset(self, 0, sizeof(*self));
    if (text.size > CKV_REQUEST_MAX)
        return CKV_ERROR_REQUEST;
    self->json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(self->json))
        return CKV_ERROR_REQUEST;
    self->id = json_integer_value(json_object_get(self->json, "id"));
    int rc = read_command(self);
    if (rc == CKV_OK)
        rc = read_keys(self);
    if (rc == CKV_OK)
        rc = read_details(self);
    if (rc == CKV_OK)
        rc = read_paging(self);
    if (rc == CKV_OK)
        rc = read_cluster(self);
    return rc;
}

void ckv_request_clear(struct ckv_request *self)
{
    json_decref(self->json);
    self->json = NULL;
}
