#include "core/zmtp.h"

_Static_assert(sizeof(struct ckv_zmtp_greeting_octets) == CKV_ZMTP_GREETING_SIZE, "no holes");

enum { MAJOR = 3, MINOR = 1, LONG = 2, SHORT_HEADER = 2, LONG_HEADER = 9, NAME_MAX_SIZE = 255 };

/* ---- the greeting ---- */

void ckv_zmtp_greeting_write(struct ckv_zmtp_greeting_octets *greeting, const char *mechanism,
                             bool as_server)
{
    size_t size = strlen(mechanism);
    memset(greeting, 0, sizeof(*greeting));
    greeting->signature[0] = 0xff;
    greeting->signature[9] = 0x7f;
    greeting->major = MAJOR;
    greeting->minor = MINOR;
    memcpy(greeting->mechanism, mechanism,
           size < CKV_ZMTP_MECHANISM_SIZE ? size : CKV_ZMTP_MECHANISM_SIZE);
    greeting->as_server = as_server;
}

static bool is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_mechanism_char(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
           c == '+';
}

/*  Whether octet AT of a greeting may be what it is, given those before it. Octet by octet, so that
    a peer that talks something else is told from a slow one at its first wrong octet.  */
static bool may_be_greeting(const uint8_t *octets, size_t at)
{
    enum {
        SIGNATURE_END = 9,
        MAJOR_AT = 10,
        MECHANISM_AT = 12,
        AS_SERVER_AT = MECHANISM_AT + CKV_ZMTP_MECHANISM_SIZE,
    };
    uint8_t c = octets[at];
    if (at == 0)
        return c == 0xff;
    if (at == SIGNATURE_END)
        return c == 0x7f;
    if (at == MAJOR_AT)
        return c >= MAJOR;
    if (at == MECHANISM_AT)
        return is_mechanism_char(c);
    if (at > MECHANISM_AT && at < AS_SERVER_AT)
        return c == 0 || (is_mechanism_char(c) && octets[at - 1] != 0);
    return at != AS_SERVER_AT || c <= 1;
}

int ckv_zmtp_greeting_next(struct ckv_octets *input, struct ckv_zmtp_greeting *greeting)
{
    const struct ckv_zmtp_greeting_octets *octets =
        (const struct ckv_zmtp_greeting_octets *)input->data;
    for (size_t at = 0; at < input->size && at < CKV_ZMTP_GREETING_SIZE; at++)
        if (!may_be_greeting(input->data, at))
            return CKV_ERROR_ZMTP;
    if (input->size < CKV_ZMTP_GREETING_SIZE)
        return 0;

    memset(greeting, 0, sizeof(*greeting));
    greeting->minor = octets->major > MAJOR || octets->minor > MINOR ? MINOR : octets->minor;
    greeting->as_server = octets->as_server == 1;
    memcpy(greeting->mechanism, octets->mechanism, CKV_ZMTP_MECHANISM_SIZE);
    *input = ckv_octets(input->data + CKV_ZMTP_GREETING_SIZE, input->size - CKV_ZMTP_GREETING_SIZE);
    return 1;
}

/* ---- frames ---- */

int ckv_zmtp_frame_next(struct ckv_octets *input, size_t max, struct ckv_zmtp_frame *frame)
{
    *frame = (struct ckv_zmtp_frame){ 0 };
    if (input->size < 1)
        return 0;
    uint8_t flags = input->data[0];
    if ((flags & ~(CKV_ZMTP_MORE | LONG | CKV_ZMTP_COMMAND)) != 0 ||
        (flags & (CKV_ZMTP_MORE | CKV_ZMTP_COMMAND)) == (CKV_ZMTP_MORE | CKV_ZMTP_COMMAND))
        return CKV_ERROR_ZMTP;
    size_t header_size = flags & LONG ? LONG_HEADER : SHORT_HEADER;
    if (input->size < header_size)
        return 0;
    uint64_t size = flags & LONG ? ckv_get64(input->data + 1) : input->data[1];
    if (size > max || size > INT64_MAX)
        return CKV_ERROR_FRAME_SIZE;

    frame->flags = flags & (CKV_ZMTP_MORE | CKV_ZMTP_COMMAND);
    frame->header_size = (uint8_t)header_size;
    frame->size = (size_t)size;
    if (input->size - header_size < frame->size)
        return 0;
    frame->body = ckv_octets(input->data + header_size, frame->size);
    *input = ckv_octets(frame->body.data + frame->size, input->size - header_size - frame->size);
    return 1;
}

size_t ckv_zmtp_header_write(uint8_t header[CKV_ZMTP_HEADER_MAX], uint8_t flags, size_t size)
{
    if (size <= UINT8_MAX) {
        header[0] = flags;
        header[1] = (uint8_t)size;
        return SHORT_HEADER;
    }
    header[0] = flags | LONG;
    ckv_put64(header + 1, size);
    return LONG_HEADER;
}

/*  Appends a frame whose body is PREFIX and DATA.  */
static int put_frame(uint8_t *buffer, size_t capacity, size_t *size, uint8_t flags,
                     struct ckv_octets prefix, struct ckv_octets data)
{
    uint8_t header[CKV_ZMTP_HEADER_MAX];
    size_t room = capacity - *size;
    if (room < prefix.size || room - prefix.size < data.size)
        return CKV_ERROR_ARGUMENT;
    size_t header_size = ckv_zmtp_header_write(header, flags, prefix.size + data.size);
    if (room - prefix.size - data.size < header_size)
        return CKV_ERROR_ARGUMENT;

    uint8_t *end = buffer + *size;
    memcpy(end, header, header_size);
    memcpy(end + header_size, prefix.data, prefix.size);
    if (data.size)
        memcpy(end + header_size + prefix.size, data.data, data.size);
    *size += header_size + prefix.size + data.size;
    return CKV_OK;
}

/* ---- commands ---- */

static bool is_name(struct ckv_octets name)
{
    if (name.size < 1 || name.size > NAME_MAX_SIZE)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (!is_letter(name.data[i]))
            return false;
    return true;
}

int ckv_zmtp_command_parse(struct ckv_octets body, struct ckv_zmtp_command *command)
{
    if (body.size < 1 || body.size - 1 < body.data[0])
        return CKV_ERROR_ZMTP;
    struct ckv_octets name = ckv_octets(body.data + 1, body.data[0]);
    if (!is_name(name))
        return CKV_ERROR_ZMTP;
    command->name = name;
    command->data = ckv_octets(name.data + name.size, body.size - 1 - name.size);
    return CKV_OK;
}

bool ckv_zmtp_command_is(const struct ckv_zmtp_command *command, const char *name)
{
    return ckv_octets_equal(command->name, ckv_octets_text(name));
}

int ckv_zmtp_command_put(uint8_t *buffer, size_t capacity, size_t *size, const char *name,
                         struct ckv_octets data)
{
    uint8_t prefix[1 + NAME_MAX_SIZE];
    struct ckv_octets text = ckv_octets_text(name);
    if (!is_name(text))
        return CKV_ERROR_ARGUMENT;
    prefix[0] = (uint8_t)text.size;
    memcpy(prefix + 1, text.data, text.size);
    return put_frame(buffer, capacity, size, CKV_ZMTP_COMMAND, ckv_octets(prefix, 1 + text.size),
                     data);
}

int ckv_zmtp_error_parse(struct ckv_octets data, struct ckv_octets *reason)
{
    if (data.size < 1 || data.size - 1 != data.data[0])
        return CKV_ERROR_ZMTP;
    for (size_t i = 1; i < data.size; i++)
        if (data.data[i] < ' ' || data.data[i] > '~')
            return CKV_ERROR_ZMTP;
    *reason = ckv_octets(data.data + 1, data.size - 1);
    return CKV_OK;
}

int ckv_zmtp_ping_parse(struct ckv_octets data, struct ckv_zmtp_ping *ping)
{
    enum { TTL_SIZE = 2, TENTH_MS = 100 };
    if (data.size < TTL_SIZE || data.size - TTL_SIZE > CKV_ZMTP_PING_CONTEXT_MAX)
        return CKV_ERROR_ZMTP;
    ping->ttl_ms = (uint32_t)ckv_get16(data.data) * TENTH_MS;
    ping->context = ckv_octets(data.data + TTL_SIZE, data.size - TTL_SIZE);
    return CKV_OK;
}

size_t ckv_zmtp_pong_write(uint8_t body[CKV_ZMTP_PONG_MAX], struct ckv_octets context)
{
    enum { NAME_SIZE = 5 };
    memcpy(body, "\4PONG", NAME_SIZE);
    memcpy(body + NAME_SIZE, context.data, context.size);
    return NAME_SIZE + context.size;
}

/* ---- subscriptions ---- */

static int parse_subscription_command(struct ckv_octets body,
                                      struct ckv_zmtp_subscription *subscription)
{
    struct ckv_zmtp_command command;
    if (ckv_zmtp_command_parse(body, &command) != CKV_OK)
        return 0;
    bool cancel = ckv_zmtp_command_is(&command, "CANCEL");
    if (!cancel && !ckv_zmtp_command_is(&command, "SUBSCRIBE"))
        return 0;
    *subscription = (struct ckv_zmtp_subscription){ cancel, command.data };
    return 1;
}

int ckv_zmtp_subscription_parse(uint8_t flags, struct ckv_octets body,
                                struct ckv_zmtp_subscription *subscription)
{
    if (flags & CKV_ZMTP_COMMAND)
        return parse_subscription_command(body, subscription);
    if (flags != 0 || body.size < 1 || body.data[0] > 1)
        return 0;
    *subscription = (struct ckv_zmtp_subscription){
        body.data[0] == 0,
        ckv_octets(body.data + 1, body.size - 1),
    };
    return 1;
}

int ckv_zmtp_subscription_put(uint8_t *buffer, size_t capacity, size_t *size, uint8_t minor,
                              const struct ckv_zmtp_subscription *subscription)
{
    if (minor > 0)
        return ckv_zmtp_command_put(buffer, capacity, size,
                                    subscription->cancel ? "CANCEL" : "SUBSCRIBE",
                                    subscription->topic);
    return put_frame(buffer, capacity, size, 0, ckv_octets(subscription->cancel ? "\0" : "\1", 1),
                     subscription->topic);
}
