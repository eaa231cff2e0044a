#include "core/properties.h"
#include "core/text.h"

#include <stdbool.h>

enum { NAME_MAX_SIZE = 255, VALUE_SIZE_SIZE = 4 };

int ckv_properties_next(struct ckv_octets *properties, struct ckv_property *property)
{
    if (properties->size == 0)
        return 0;
    size_t name_size = properties->data[0];
    size_t value_at = 1 + name_size + VALUE_SIZE_SIZE;
    if (name_size == 0 || properties->size < value_at)
        return CKV_ERROR_METADATA;
    size_t value_size = ckv_get32(properties->data + 1 + name_size);
    if (properties->size - value_at < value_size)
        return CKV_ERROR_METADATA;

    property->name = ckv_octets(properties->data + 1, name_size);
    property->value = ckv_octets(properties->data + value_at, value_size);
    *properties =
        ckv_octets(property->value.data + value_size, properties->size - value_at - value_size);
    return 1;
}

/*  CZMQ refuses a whole certificate file for one name with other characters, or with a slash at an
    end.  */
static bool is_name(struct ckv_octets name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-_.+$@&/";
    if (name.size < 1 || name.size > NAME_MAX_SIZE || name.data[0] == '/' ||
        name.data[name.size - 1] == '/')
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] == 0 || !strchr(allowed, name.data[i]))
            return false;
    return true;
}

int ckv_properties_put(uint8_t *buffer, size_t capacity, size_t *size, struct ckv_octets name,
                       struct ckv_octets value)
{
    size_t room = capacity - *size;
    if (!is_name(name) || room < 1 + name.size + VALUE_SIZE_SIZE ||
        room - 1 - name.size - VALUE_SIZE_SIZE < value.size || value.size > UINT32_MAX)
        return CKV_ERROR_METADATA;
    uint8_t *end = buffer + *size;
    *end++ = (uint8_t)name.size;
    memcpy(end, name.data, name.size);
    end += name.size;
    ckv_put32(end, (uint32_t)value.size);
    if (value.size)
        memcpy(end + VALUE_SIZE_SIZE, value.data, value.size);
    *size += 1 + name.size + VALUE_SIZE_SIZE + value.size;
    return CKV_OK;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/*  RFC 23 compares names without regard to case; they are ASCII, so no locale has a say.  */
static bool same_name(struct ckv_octets a, struct ckv_octets b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

static int find(struct ckv_octets properties, struct ckv_octets name, struct ckv_octets *value)
{
    struct ckv_property property;
    while (ckv_properties_next(&properties, &property) == 1)
        if (same_name(property.name, name)) {
            *value = property.value;
            return 1;
        }
    return 0;
}

static bool is_value(struct ckv_octets value)
{
    return ckv_text_printable(value) && !(value.size && memchr(value.data, '"', value.size) &&
                                          memchr(value.data, '\'', value.size));
}

int ckv_properties_check(struct ckv_octets properties)
{
    struct ckv_property property;
    struct ckv_octets ignored;
    int rc;
    /*  Each name is looked for in all that follow: quadratic, but 8192 octets hold about 1200
        names, and that is 3 ms at worst, once, when a certificate comes in.  */
    while ((rc = ckv_properties_next(&properties, &property)) == 1)
        if (!is_name(property.name) || !is_value(property.value) ||
            find(properties, property.name, &ignored))
            return CKV_ERROR_METADATA;
    return rc;
}

int ckv_properties_get(struct ckv_octets properties, const char *name, struct ckv_octets *value)
{
    return find(properties, ckv_octets_text(name), value);
}
