/*  A CURVE client, fed by whoever says it is the server: core/curve.h. Nobody without the server's secret
    key gets past WELCOME; a refusal leaves no secret behind.  */
#include "tests/fuzz/curve_stream.h"

enum { INSIDE_WELCOME = 0xfe, WELCOME_TEXT_SIZE = 128 };

static bool is_dead(const struct ckv_curve_client *client)
{
    return sodium_is_zero(client->session.key, sizeof(client->session.key)) &&
           sodium_is_zero(client->transient_secret, sizeof(client->transient_secret)) &&
           client->session.curve_operations <= 4;
}

static void start(struct ckv_curve_client *client, struct ckv_hello_octets *hello)
{
    struct ckv_curve_identity identity = identity_of(&client_keys, &server_keys, hello_key);
    uint8_t transient_secret[32];
    fill(transient_secret, sizeof(transient_secret), FIRST_OF_TRANSIENT);
    require(ckv_curve_client_start(client, &identity, FIXED_CLOCK, transient_secret, hello) ==
            CKV_OK);
}

static int initiate(struct ckv_curve_client *client, const uint8_t *welcome, size_t size)
{
    struct ckv_curve_identity identity = identity_of(&client_keys, &server_keys, hello_key);
    uint8_t vouch_nonce[16] = { 0 }, command[CKV_CURVE_INITIATE_OVERHEAD];
    struct ckv_octets reason;
    int rc = ckv_curve_client_initiate(client, &identity, welcome, size, ckv_octets(NULL, 0),
                                       vouch_nonce, command);
    require(rc == CKV_OK || is_dead(client));
    require((rc == CKV_ERROR_REFUSED) == (ckv_curve_error_parse(welcome, size, &reason) == CKV_OK));
    require(sodium_is_zero(client->transient_secret, sizeof(client->transient_secret)));
    return rc;
}

static bool take_welcome(struct ckv_curve_client *client, struct ckv_octets *input)
{
    uint8_t *command;
    size_t size;
    if (!next_command(input, &command, &size))
        return false;
    int rc = initiate(client, command, size);
    free(command);
    return rc == CKV_OK;
}

static bool take_ready(struct ckv_curve_client *client, struct ckv_octets *input)
{
    uint8_t *command;
    size_t size;
    struct ckv_octets metadata;
    if (!next_command(input, &command, &size))
        return false;
    int rc = ckv_curve_client_ready(client, command, size, &metadata);
    if (rc == CKV_OK) {
        require_within(metadata, command, size);
        require(are_properties(metadata));
    } else {
        require(is_dead(client));
    }
    free(command);
    return rc == CKV_OK;
}

/*  A server with the secret key of S, and TEXT as S' and cookie.  */
static void take_welcome_inside(struct ckv_curve_client *client, struct ckv_octets text)
{
    struct ckv_curve_welcome welcome = { .command = "\7WELCOME" };
    struct ckv_curve_client before = *client;
    uint8_t nonce[24] = "WELCOME-", key[32];
    if (text.size != WELCOME_TEXT_SIZE)
        return;
    crypto_box_detached_afternm(welcome.server_key, welcome.mac, text.data, text.size, nonce,
                                client->session.key);
    int rc = initiate(client, (const uint8_t *)&welcome, sizeof(welcome));
    bool good = crypto_box_beforenm(key, text.data, before.transient_secret) == 0;
    require(rc == (good ? CKV_OK : CKV_ERROR_WEAK_KEY));
}

/*  Our server up to a READY with INPUT as metadata, which our server would not send; then a message.  */
static void take_inside(struct ckv_curve_client *client, const struct ckv_hello_octets *octets,
                        struct ckv_octets input)
{
    static uint8_t command[CKV_CURVE_READY_OVERHEAD + STREAM_BOUND];
    struct ckv_curve_ready *ready = (struct ckv_curve_ready *)command;
    struct ckv_curve_server_random random = fixed_random();
    struct ckv_curve_server server = { 0 };
    struct ckv_curve_welcome welcome;
    struct ckv_hello hello;
    struct ckv_octets metadata;
    uint8_t nonce[24] = "CurveZMQREADY---";
    if (input.size > STREAM_BOUND)
        return;
    require(ckv_hello_parse(&hello, octets, sizeof(*octets)) == CKV_OK);
    require(ckv_curve_server_welcome(&server, &hello, server_keys.public_key,
                                     server_keys.secret_key, &random, cookie_key,
                                     &welcome) == CKV_OK);
    require(initiate(client, (const uint8_t *)&welcome, sizeof(welcome)) == CKV_OK);
    memcpy(ready->command, "\5READY", 6);
    ckv_put64(ready->nonce, 1);
    memcpy(nonce + 16, ready->nonce, 8);
    crypto_box_detached_afternm(ready->metadata, ready->mac, input.data, input.size, nonce,
                                client->session.key);
    int rc =
        ckv_curve_client_ready(client, command, CKV_CURVE_READY_OVERHEAD + input.size, &metadata);
    require((rc == CKV_OK) == (input.size <= CKV_CURVE_METADATA_MAX && are_properties(input)));
    require(rc == CKV_OK || is_dead(client));
    if (rc != CKV_OK)
        return;
    require(ckv_octets_equal(metadata, input));
    struct ckv_curve_session from = client->session;
    from.as_server = 1;
    from.nonce = 1;
    open_sealed(&from, &client->session, input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_octets input = ckv_octets(data, size);
    struct ckv_curve_client client = { 0 };
    struct ckv_hello_octets hello;
    start(&client, &hello);
    if (size > 0 && data[0] == INSIDE)
        take_inside(&client, &hello, ckv_octets(data + 1, size - 1));
    else if (size > 0 && data[0] == INSIDE_WELCOME)
        take_welcome_inside(&client, ckv_octets(data + 1, size - 1));
    else if (take_welcome(&client, &input) && take_ready(&client, &input))
        take_messages(&client.session, &input);
    ckv_curve_client_wipe(&client);
    require(is_dead(&client));
    return 0;
}
