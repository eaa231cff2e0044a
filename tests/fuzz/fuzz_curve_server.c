/*  A CURVE server, fed by a stranger: core/curve.h, core/hello.h. Nobody without the client's secret key
    gets past INITIATE; a refusal leaves no secret behind; a HELLO costs no curve operation before it
    is let in, and nothing costs more than four.  */
#include "tests/fuzz/curve_stream.h"

static bool is_dead(const struct ckv_curve_server *server)
{
    return sodium_is_zero(server->session.key, sizeof(server->session.key)) &&
           sodium_is_zero(server->cookie_nonce, sizeof(server->cookie_nonce)) &&
           server->session.curve_operations <= 4;
}

static void require_hello(const struct ckv_hello *hello, const uint8_t *command)
{
    struct ckv_hello_octets again;
    if (!hello->modified)
        return;
    require(hello->storage_key.size >= 1 && hello->storage_key.size <= CKV_STORAGE_KEY_MAX);
    require_within(hello->storage_key, command, CKV_HELLO_SIZE);
    memcpy(&again, command, sizeof(again));
    require(ckv_hello_modify(&again, hello->storage_key, hello->clock, hello_key) == CKV_OK);
    bool same = memcmp(&again, command, sizeof(again)) == 0;
    require((ckv_hello_verify(hello, hello_key) == CKV_OK) == same);
    require(ckv_hello_check_clock(hello, hello->clock, 0) == CKV_OK);
}

/*  Whether the server answers with a WELCOME.  */
static bool take_hello(struct ckv_curve_server *server, struct ckv_octets *input)
{
    struct ckv_curve_server_random random = fixed_random();
    struct ckv_curve_welcome welcome;
    struct ckv_hello hello;
    uint8_t *command;
    size_t size;
    if (!next_command(input, &command, &size))
        return false;
    int rc = ckv_hello_parse(&hello, command, size);
    if (rc == CKV_OK) {
        require_hello(&hello, command);
        require(server->session.curve_operations == 0);
        rc = ckv_curve_server_welcome(server, &hello, server_keys.public_key,
                                      server_keys.secret_key, &random, cookie_key, &welcome);
        require(rc == CKV_OK || is_dead(server));
    }
    free(command);
    return rc == CKV_OK;
}

/*  Whether the server answers with a READY.  */
static bool take_initiate(struct ckv_curve_server *server, struct ckv_octets *input)
{
    uint8_t ready[CKV_CURVE_READY_OVERHEAD], *command;
    const uint8_t *client_key;
    struct ckv_octets metadata;
    size_t size;
    if (!next_command(input, &command, &size))
        return false;
    int rc = ckv_curve_server_initiate(server, command, size, cookie_key, &client_key, &metadata);
    if (rc == CKV_OK) {
        require_within(metadata, command, size);
        require(are_properties(metadata));
        require(memcmp(client_key, client_keys.public_key, 32) == 0);
        require(server->session.curve_operations == 4);
        require(ckv_curve_server_ready(server, ckv_octets(NULL, 0), ready) == CKV_OK);
    } else {
        require(is_dead(server));
    }
    free(command);
    return rc == CKV_OK;
}

/*  Our client up to an INITIATE without metadata.  */
static void make_initiate(struct ckv_curve_client *client, struct ckv_curve_server *server,
                          uint8_t *initiate)
{
    struct ckv_curve_identity identity = identity_of(&client_keys, &server_keys, NULL);
    struct ckv_curve_server_random random = fixed_random();
    struct ckv_curve_welcome welcome;
    struct ckv_hello_octets octets;
    struct ckv_hello hello;
    uint8_t transient_secret[32], vouch_nonce[16] = { 0 };
    fill(transient_secret, sizeof(transient_secret), FIRST_OF_TRANSIENT);
    require(ckv_curve_client_start(client, &identity, 0, transient_secret, &octets) == CKV_OK);
    require(ckv_hello_parse(&hello, &octets, sizeof(octets)) == CKV_OK);
    require(ckv_curve_server_welcome(server, &hello, server_keys.public_key, server_keys.secret_key,
                                     &random, cookie_key, &welcome) == CKV_OK);
    require(ckv_curve_client_initiate(client, &identity, &welcome, sizeof(welcome),
                                      ckv_octets(NULL, 0), vouch_nonce, initiate) == CKV_OK);
}

/*  A client with good keys and INPUT as metadata, then as a message.  */
static void take_inside(struct ckv_octets input)
{
    static uint8_t command[CKV_CURVE_INITIATE_OVERHEAD + STREAM_BOUND];
    struct ckv_curve_initiate *initiate = (struct ckv_curve_initiate *)command;
    struct ckv_curve_client client = { 0 };
    struct ckv_curve_server server = { 0 };
    struct ckv_octets metadata;
    const uint8_t *client_key;
    uint8_t nonce[24] = "CurveZMQINITIATE", ready[CKV_CURVE_READY_OVERHEAD];
    if (input.size > STREAM_BOUND)
        return;
    make_initiate(&client, &server, command);
    memcpy(nonce + 16, initiate->nonce, 8);
    require(crypto_box_open_detached_afternm(initiate->client_key, initiate->client_key,
                                             initiate->mac, 128, nonce, client.session.key) == 0);
    if (input.size)
        memcpy(initiate->metadata, input.data, input.size);
    crypto_box_detached_afternm(initiate->client_key, initiate->mac, initiate->client_key,
                                128 + input.size, nonce, client.session.key);
    int rc = ckv_curve_server_initiate(&server, command, CKV_CURVE_INITIATE_OVERHEAD + input.size,
                                       cookie_key, &client_key, &metadata);
    require((rc == CKV_OK) == (input.size <= CKV_CURVE_METADATA_MAX && are_properties(input)));
    require(rc == CKV_OK || is_dead(&server));
    if (rc != CKV_OK)
        return;
    require(ckv_octets_equal(metadata, input));
    require(ckv_curve_server_ready(&server, ckv_octets(NULL, 0), ready) == CKV_OK);
    require(ckv_curve_client_ready(&client, ready, sizeof(ready), &metadata) == CKV_OK);
    open_sealed(&client.session, &server.session, input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_octets input = ckv_octets(data, size);
    struct ckv_curve_server server = { 0 };
    if (size > 0 && data[0] == INSIDE)
        take_inside(ckv_octets(data + 1, size - 1));
    else if (take_hello(&server, &input) && take_initiate(&server, &input))
        take_messages(&server.session, &input);
    ckv_curve_server_wipe(&server);
    require(is_dead(&server));
    return 0;
}
