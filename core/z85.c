#include "core/z85.h"

static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               ".-:+=^!/*?&<>()[]{}@%$#";

char *ckv_z85_text(const uint8_t key[32], char text[CKV_Z85_TEXT_SIZE])
{
    for (size_t group = 0; group < 8; group++) {
        uint32_t value = ckv_get32(key + 4 * group);
        for (size_t i = 5; i-- > 0; value /= 85)
            text[5 * group + i] = alphabet[value % 85];
    }
    text[CKV_Z85_SIZE] = 0;
    return text;
}

int ckv_z85_read(uint8_t key[32], struct ckv_octets text)
{
    if (text.size != CKV_Z85_SIZE)
        return CKV_ERROR_Z85;
    for (size_t group = 0; group < 8; group++) {
        uint64_t value = 0;
        for (size_t i = 0; i < 5; i++) {
            uint8_t character = text.data[5 * group + i];
            const char *found = character ? strchr(alphabet, character) : NULL;
            if (!found)
                return CKV_ERROR_Z85;
            value = value * 85 + (uint64_t)(found - alphabet);
        }
        if (value > UINT32_MAX)
            return CKV_ERROR_Z85;
        ckv_put32(key + 4 * group, (uint32_t)value);
    }
    return CKV_OK;
}
