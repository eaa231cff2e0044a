#include "core/zpl.h"

#include <stdbool.h>

enum { INDENT = 4 };

static void skip(struct ckv_octets *text, size_t size)
{
    text->data += size;
    text->size -= size;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void trim_front(struct ckv_octets *text)
{
    while (text->size && is_blank(text->data[0]))
        skip(text, 1);
}

static void trim_end(struct ckv_octets *text)
{
    while (text->size && is_blank(text->data[text->size - 1]))
        text->size--;
}

void ckv_zpl_start(struct ckv_zpl *self, struct ckv_octets text)
{
    static const uint8_t byte_order_mark[] = { 0xef, 0xbb, 0xbf };
    *self = (struct ckv_zpl){ .rest = text };
    if (text.size >= sizeof(byte_order_mark) &&
        memcmp(text.data, byte_order_mark, sizeof(byte_order_mark)) == 0)
        skip(&self->rest, sizeof(byte_order_mark));
}

/*  Takes the next line, without its end, off the front of TEXT, which is not empty.  */
static struct ckv_octets take_line(struct ckv_octets *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->size);
    size_t size = end ? (size_t)(end - text->data) : text->size;
    struct ckv_octets line = ckv_octets(text->data, size);
    skip(text, end ? size + 1 : size);
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

static bool has_control(struct ckv_octets line)
{
    for (size_t i = 0; i < line.size; i++)
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f)
            return true;
    return false;
}

/*  Nothing, or a comment.  */
static bool says_nothing(struct ckv_octets line)
{
    trim_front(&line);
    return line.size == 0 || line.data[0] == '#';
}

static bool take_indent(struct ckv_octets *line, unsigned *depth)
{
    unsigned spaces = 0;
    for (*depth = 0; is_blank(line->data[0]); skip(line, 1)) {
        if (line->data[0] == '\t' && spaces % INDENT != 0)
            return false;
        spaces += line->data[0] == ' ';
        *depth += spaces % INDENT == 0;
    }
    return spaces % INDENT == 0;
}

static bool take_name(struct ckv_octets *line, struct ckv_octets *name)
{
    *name = ckv_octets(line->data, 0);
    while (line->size && line->data[0] > 0x20 && line->data[0] < 0x7f &&
           !strchr("=#\"'", line->data[0])) {
        name->size++;
        skip(line, 1);
    }
    return name->size > 0;
}

/*  The value between two quotes, of which the first is at the front of LINE.  */
static bool take_quoted(struct ckv_octets *line, struct ckv_octets *value)
{
    const uint8_t *end = memchr(line->data + 1, line->data[0], line->size - 1);
    if (!end)
        return false;
    *value = ckv_octets(line->data + 1, (size_t)(end - line->data) - 1);
    skip(line, value->size + 2);
    return says_nothing(*line);
}

/*  A bare value goes up to a comment, or to the end of the line.  */
static struct ckv_octets bare_value(struct ckv_octets line)
{
    const uint8_t *comment = line.size ? memchr(line.data, '#', line.size) : NULL;
    if (comment)
        line.size = (size_t)(comment - line.data);
    trim_end(&line);
    return line;
}

static bool take_value(struct ckv_octets *line, struct ckv_octets *value)
{
    *value = ckv_octets(NULL, 0);
    if (says_nothing(*line))
        return true;
    trim_front(line);
    if (line->data[0] != '=')
        return false;
    skip(line, 1);
    trim_front(line);
    if (line->size && (line->data[0] == '"' || line->data[0] == '\''))
        return take_quoted(line, value);
    *value = bare_value(*line);
    return true;
}

int ckv_zpl_next(struct ckv_zpl *self, struct ckv_zpl_line *line)
{
    while (self->rest.size) {
        struct ckv_octets octets = take_line(&self->rest);
        self->line++;
        if (has_control(octets))
            return CKV_ERROR_CERTFILE;
        if (says_nothing(octets))
            continue;
        if (!take_indent(&octets, &line->depth) || line->depth > self->depth_max ||
            !take_name(&octets, &line->name) || !take_value(&octets, &line->value))
            return CKV_ERROR_CERTFILE;
        self->depth_max = line->depth + 1;
        return 1;
    }
    return 0;
}
