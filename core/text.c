#include "core/text.h"

/*  Takes one code point off the front of TEXT. Returns it, or -1 when the octets there are not the
    shortest UTF-8 form of a scalar value (RFC 3629, section 4).  */
static int32_t take_code_point(struct ckv_octets *text)
{
    static const int32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
    uint8_t first = text->data[0];
    size_t more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    int32_t code = more == 0 ? first : first & (0x3f >> more);
    if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || text->size < more + 1)
        return -1;
    for (size_t i = 1; i <= more; i++) {
        if ((text->data[i] & 0xc0) != 0x80)
            return -1;
        code = (code << 6) | (text->data[i] & 0x3f);
    }
    if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return -1;
    text->data += more + 1;
    text->size -= more + 1;
    return code;
}

/*  Unicode's general categories Cc, Zl and Zp, and those of Cf that hide or turn text.  */
static bool disturbs(int32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x061c ||
           code == 0x180e || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
           code == 0xfeff || (code >= 0xfff9 && code <= 0xfffb) || code >= 0xe0000;
}

bool ckv_text_valid(struct ckv_octets octets)
{
    while (octets.size)
        if (take_code_point(&octets) <= 0)
            return false;
    return true;
}

bool ckv_text_printable(struct ckv_octets octets)
{
    while (octets.size)
        if (disturbs(take_code_point(&octets)))
            return false;
    return true;
}

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool ckv_text_unhex(uint8_t *out, size_t size, struct ckv_octets hex)
{
    if (hex.size != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = digit(hex.data[2 * i]);
        int low = digit(hex.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
