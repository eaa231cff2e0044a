#include "node/gateway/introduction.h"

#include "core/properties.h"
#include "core/storage_key.h"
#include "core/zmtp.h"
#include <stdbool.h>
#include <strings.h>

/*  Properties being written, in place of what will be the body of a frame.  */
struct writing {
    uint8_t octets[CKV_INTRODUCTION_MAX];
    size_t size;
};

static int put(struct writing *self, struct ckv_octets name, struct ckv_octets value)
{
    return ckv_properties_put(self->octets, sizeof(self->octets), &self->size, name, value);
}

static bool is_one_of(struct ckv_octets name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (name.size == strlen(names[i]) &&
            strncasecmp((const char *)name.data, names[i], name.size) == 0)
            return true;
    return false;
}

static bool begins(struct ckv_octets name, const char *prefix)
{
    size_t size = strlen(prefix);
    return name.size >= size && strncasecmp((const char *)name.data, prefix, size) == 0;
}

/*  Names that ZMTP gives a meaning (RFC 23, RFC 37).  */
static bool is_of_zmtp(struct ckv_octets name)
{
    static const char *const names[] = { "Socket-Type", "Identity", "Resource" };
    return is_one_of(name, names, sizeof(names) / sizeof(*names));
}

/*  Names that libzmq has a say in: zmq_msg_gets(3).  */
static bool is_of_libzmq(struct ckv_octets name)
{
    static const char *const names[] = { "User-Id", "Peer-Address", "Routing-Id" };
    return is_one_of(name, names, sizeof(names) / sizeof(*names));
}

static bool is_of_ours(struct ckv_octets name)
{
    return begins(name, "X-Curvekv-");
}

/*  What is passed on of the client's own properties, first or last.  */
static int put_own(struct writing *self, struct ckv_octets client, struct ckv_octets certificates,
                   bool of_zmtp)
{
    struct ckv_property property;
    int rc = CKV_OK;
    while (rc == CKV_OK && ckv_properties_next(&client, &property) == 1) {
        struct ckv_octets name = property.name, ignored;
        char text[256] = "";
        memcpy(text, name.data, name.size);
        bool passes = of_zmtp ? is_of_zmtp(name)
                              : begins(name, "X-") && !is_of_ours(name) &&
                                    ckv_properties_get(certificates, text, &ignored) == 0;
        if (passes)
            rc = put(self, name, property.value);
    }
    return rc;
}

static int put_named(struct writing *self, const char *name, struct ckv_octets value)
{
    return value.size ? put(self, ckv_octets_text(name), value) : CKV_OK;
}

static int put_certificate(struct writing *self, const struct ckv_certificate *certificate)
{
    char key[CKV_STORAGE_KEY_TEXT_SIZE];
    struct ckv_octets metadata = certificate->metadata;
    struct ckv_property property;
    int rc = put_named(self, "X-Curvekv-Key",
                       ckv_octets_text(ckv_storage_key_text(certificate->storage_key, key)));
    if (rc == CKV_OK)
        rc = put_named(self, "X-Curvekv-Organisation", certificate->organisation);
    if (rc == CKV_OK)
        rc = put_named(self, "X-Curvekv-Number", certificate->number);
    while (rc == CKV_OK && ckv_properties_next(&metadata, &property) == 1)
        if (!is_of_zmtp(property.name) && !is_of_libzmq(property.name) &&
            !is_of_ours(property.name))
            rc = put(self, property.name, property.value);
    return rc;
}

int ckv_introduction_write(uint8_t frame[CKV_INTRODUCTION_MAX],
                           const struct ckv_certificate *certificate, struct ckv_octets client)
{
    struct writing writing = { .size = 0 };
    size_t size = 0;
    int rc = put_own(&writing, client, certificate->metadata, true);
    if (rc == CKV_OK)
        rc = put_certificate(&writing, certificate);
    if (rc == CKV_OK)
        rc = put_own(&writing, client, certificate->metadata, false);
    if (rc == CKV_OK)
        rc = ckv_zmtp_command_put(frame, CKV_INTRODUCTION_MAX, &size, "READY",
                                  ckv_octets(writing.octets, writing.size));
    return rc == CKV_OK ? (int)size : CKV_ERROR_METADATA;
}
