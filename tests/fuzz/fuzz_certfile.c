/*  Reading certificate files. What reads is written, and must read back as the same.  */
#include "core/certfile.h"
#include "core/properties.h"

#include <sodium.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

/*  The case of a metadata name may change (core/certfile.h), its value not.  */
static void require_same_metadata(const struct ckv_certfile *a, const struct ckv_certfile *b)
{
    struct ckv_octets rest = ckv_octets(a->metadata, a->metadata_size), value;
    struct ckv_property property;
    char name[256];
    require(a->metadata_size == b->metadata_size);
    while (ckv_properties_next(&rest, &property) == 1) {
        memcpy(name, property.name.data, property.name.size);
        name[property.name.size] = 0;
        require(ckv_properties_get(ckv_octets(b->metadata, b->metadata_size), name, &value) == 1);
        require(ckv_octets_equal(property.value, value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ckv_certfile first, second;
    static char text[CKV_CERTFILE_MAX];
    size_t text_size;
    unsigned line;
    if (ckv_certfile_read(&first, ckv_octets(data, size), &line) != CKV_OK) {
        require(sodium_is_zero((const uint8_t *)&first, sizeof(first)));
        return 0;
    }
    require(line == 0);
    int rc = ckv_certfile_write(&first, text, sizeof(text), &text_size);
    if (rc == CKV_ERROR_ORGANISATION || rc == CKV_ERROR_NUMBER || rc == CKV_ERROR_ARGUMENT)
        return 0; /* a text with both kinds of quotes and a #, which no file of ours can hold */
    require(rc == CKV_OK && text_size == strlen(text));
    require(ckv_certfile_read(&second, ckv_octets(text, text_size), &line) == CKV_OK);
    require_same_metadata(&first, &second);
    memcpy(second.metadata, first.metadata, sizeof(first.metadata));
    require(memcmp(&first, &second, sizeof(first)) == 0);
    return 0;
}
