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

/*  What hides, turns or breaks text: Unicode's general categories Cc, Zl, Zp and Cf, the letters
    and marks that are drawn as nothing, and noncharacters.  */
static bool disturbs(int32_t code)
{
    static const struct {
        int32_t first, last;
    } ranges[] = {
        { -1, 0x1f },          { 0x7f, 0x9f },     { 0xad, 0xad },       { 0x34f, 0x34f },
        { 0x61c, 0x61c },      { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 },   { 0x180b, 0x180f },
        { 0x200b, 0x200f },    { 0x2028, 0x202e }, { 0x2060, 0x206f },   { 0x2800, 0x2800 },
        { 0x3164, 0x3164 },    { 0xfdd0, 0xfdef }, { 0xfe00, 0xfe0f },   { 0xfeff, 0xfeff },
        { 0xffa0, 0xffa0 },    { 0xfff0, 0xfffb }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
        { 0xe0000, 0x10ffff },
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && code >= ranges[i].first; i++)
        if (code <= ranges[i].last)
            return true;
    return (code & 0xfffe) == 0xfffe;
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

char *ckv_text_escape(struct ckv_octets octets, char *out, size_t capacity)
{
    static const char digits[] = "0123456789abcdef";
    char *end = out, *limit = out + capacity - 1;
    while (octets.size) {
        struct ckv_octets before = octets;
        bool shown = !disturbs(take_code_point(&octets));
        size_t size = shown ? before.size - octets.size : 4;
        if (size > (size_t)(limit - end))
            break;
        if (shown) {
            memcpy(end, before.data, size);
        } else {
            memcpy(end, "\\x", 2);
            end[2] = digits[before.data[0] >> 4];
            end[3] = digits[before.data[0] & 15];
            octets = ckv_octets(before.data + 1, before.size - 1);
        }
        end += size;
    }
    *end = 0;
    return out;
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
