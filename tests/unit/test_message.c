/*  Messages between nodes: replication/message.h. What is read is put at the end of an allocation of
    its own size, so that AddressSanitizer sees a read beyond it.  */
#include "replication/message.h"
#include "tests/unit/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const enum ckv_message_type types[] = {
    CKV_MESSAGE_RECORD,      CKV_MESSAGE_FORGET,  CKV_MESSAGE_ANNOUNCEMENT, CKV_MESSAGE_APPLIED,
    CKV_MESSAGE_ASK_DIGESTS, CKV_MESSAGE_DIGESTS, CKV_MESSAGE_RANGES,       CKV_MESSAGE_ASK_RANGES,
    CKV_MESSAGE_NUDGE,       CKV_MESSAGE_MEMBERS,
};

enum { TYPES = sizeof(types) / sizeof(*types) };

static struct ckv_cluster_key *cluster_key, *another_key;

/*  ---- helpers ----  */

static struct ckv_octets exact(struct ckv_octets octets)
{
    uint8_t *copy = malloc(octets.size + !octets.size);
    assert_non_null(copy);
    if (octets.size)
        memcpy(copy, octets.data, octets.size);
    return ckv_octets(copy + !octets.size, octets.size);
}

static void release(struct ckv_octets octets)
{
    free((void *)(uintptr_t)(octets.data - !octets.size));
}

static void add_message(struct ckv_buffer *buffer, const struct ckv_message *message)
{
    size_t start = buffer->size;
    assert_int_equal(ckv_message_begin(buffer, message, cluster_key), CKV_OK);
    assert_int_equal(ckv_buffer_add(buffer, message->payload), CKV_OK);
    assert_int_equal(ckv_message_end(buffer, start, cluster_key), CKV_OK);
}

static int read_message(struct ckv_octets octets, const struct ckv_cluster_key *key)
{
    struct ckv_message message;
    struct ckv_octets copy = exact(octets);
    int rc = ckv_message_read(&message, key, copy);
    release(copy);
    return rc;
}

static struct ckv_message a_message(struct ckv_octets payload)
{
    return (struct ckv_message){ .type = CKV_MESSAGE_RECORD,
                                 .flags = CKV_MESSAGE_NOTIFY,
                                 .sender = UINT64_C(0x1122334455667788),
                                 .instance = 2,
                                 .number = UINT64_MAX,
                                 .payload = payload };
}

/*  ---- messages ----  */

static void assert_round_trip(const struct ckv_message *message)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message again;
    size_t start, size = CKV_MESSAGE_MIN + message->payload.size;
    assert_int_equal(ckv_buffer_add(&buffer, ckv_octets_text("what stands before")), CKV_OK);
    start = buffer.size;
    add_message(&buffer, message);
    assert_int_equal(buffer.size, start + size);
    struct ckv_octets octets = ckv_octets(buffer.data + start, size);
    assert_int_equal(ckv_message_read(&again, cluster_key, octets), CKV_OK);
    assert_int_equal(again.type, message->type);
    assert_int_equal(again.flags, message->flags);
    assert_true(again.sender == message->sender && again.instance == message->instance &&
                again.number == message->number);
    assert_true(ckv_octets_equal(again.payload, message->payload));
    assert_ptr_equal(again.payload.data, octets.data + CKV_MESSAGE_HEAD_SIZE);
    ckv_buffer_clear(&buffer);
}

static void every_type_of_message_is_read_as_it_was_written(void **state)
{
    static const size_t sizes[] = { 0, 1, 8, 4095 };
    uint8_t payload[4096];
    (void)state;
    randombytes_buf(payload, sizeof(payload));
    for (size_t i = 0; i < TYPES; i++)
        for (size_t j = 0; j < sizeof(sizes) / sizeof(*sizes); j++)
            for (uint8_t flags = 0; flags <= CKV_MESSAGE_NOTIFY; flags++) {
                struct ckv_message message = a_message(ckv_octets(payload, sizes[j]));
                message.type = types[i];
                message.flags = flags;
                message.instance = i << 40 | j;
                assert_round_trip(&message);
            }
}

static void a_message_with_any_one_bit_changed_is_refused(void **state)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = a_message(ckv_octets_text("a payload")), read;
    const size_t id = offsetof(struct ckv_message_head, cluster_key_id);
    (void)state;
    add_message(&buffer, &message);
    for (size_t bit = 0; bit < 8 * buffer.size; bit++) {
        bool names_key = bit / 8 >= id && bit / 8 < id + CKV_CLUSTER_KEY_ID_SIZE;
        buffer.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(ckv_message_read(&read, cluster_key, ckv_buffer_octets(&buffer)),
                         names_key ? CKV_ERROR_WRONG_CLUSTER_KEY : CKV_ERROR_MESSAGE);
        buffer.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(ckv_message_read(&read, cluster_key, ckv_buffer_octets(&buffer)), CKV_OK);
    ckv_buffer_clear(&buffer);
}

static void a_message_of_another_cluster_is_told_from_a_forgery(void **state)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = a_message(ckv_octets_text("a payload"));
    (void)state;
    add_message(&buffer, &message);
    assert_int_equal(read_message(ckv_buffer_octets(&buffer), another_key),
                     CKV_ERROR_WRONG_CLUSTER_KEY);
    /*  Naming the key is not having it.  */
    memcpy(((struct ckv_message_head *)buffer.data)->cluster_key_id, another_key->id,
           CKV_CLUSTER_KEY_ID_SIZE);
    assert_int_equal(read_message(ckv_buffer_octets(&buffer), another_key), CKV_ERROR_MESSAGE);
    ckv_buffer_clear(&buffer);
}

static void a_message_cut_off_anywhere_or_with_more_behind_is_refused(void **state)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = a_message(ckv_octets_text("a payload of some octets"));
    (void)state;
    add_message(&buffer, &message);
    for (size_t size = 0; size < buffer.size; size++) {
        int rc = read_message(ckv_octets(buffer.data, size), cluster_key);
        assert_int_equal(rc, CKV_ERROR_MESSAGE);
        rc = read_message(ckv_octets(buffer.data + buffer.size - size, size), cluster_key);
        assert_true(rc == CKV_ERROR_MESSAGE || rc == CKV_ERROR_WRONG_CLUSTER_KEY);
    }
    assert_int_equal(read_message(ckv_buffer_octets(&buffer), cluster_key), CKV_OK);
    ckv_buffer_add(&buffer, ckv_octets("", 1));
    assert_int_equal(read_message(ckv_buffer_octets(&buffer), cluster_key), CKV_ERROR_MESSAGE);
    ckv_buffer_clear(&buffer);
}

static void a_message_has_a_largest_size(void **state)
{
    static const uint8_t payload[CKV_MESSAGE_MAX];
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct ckv_buffer buffer = { 0 };
        struct ckv_message message =
            a_message(ckv_octets(payload, CKV_MESSAGE_MAX - CKV_MESSAGE_MIN + more));
        add_message(&buffer, &message);
        assert_int_equal(read_message(ckv_buffer_octets(&buffer), cluster_key),
                         more ? CKV_ERROR_MESSAGE : CKV_OK);
        ckv_buffer_clear(&buffer);
    }
}

/*  A message whose head has VALUE at OFFSET, under the right mac.  */
static int read_with(size_t offset, uint8_t value)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_message message = a_message(ckv_octets(NULL, 0));
    assert_int_equal(ckv_message_begin(&buffer, &message, cluster_key), CKV_OK);
    buffer.data[offset] = value;
    assert_int_equal(ckv_message_end(&buffer, 0, cluster_key), CKV_OK);
    int rc = read_message(ckv_buffer_octets(&buffer), cluster_key);
    ckv_buffer_clear(&buffer);
    return rc;
}

static bool is_type(unsigned value)
{
    for (size_t i = 0; i < TYPES; i++)
        if (value == (unsigned)types[i])
            return true;
    return false;
}

static void what_this_version_does_not_know_is_refused_even_if_authentic(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        uint8_t octet = (uint8_t)value;
        assert_int_equal(read_with(offsetof(struct ckv_message_head, format), octet),
                         value == CKV_MESSAGE_FORMAT ? CKV_OK : CKV_ERROR_MESSAGE);
        assert_int_equal(read_with(offsetof(struct ckv_message_head, type), octet),
                         is_type(value) ? CKV_OK : CKV_ERROR_MESSAGE);
        assert_int_equal(read_with(offsetof(struct ckv_message_head, flags), octet),
                         value <= CKV_MESSAGE_NOTIFY ? CKV_OK : CKV_ERROR_MESSAGE);
        assert_int_equal(read_with(offsetof(struct ckv_message_head, reserved), octet),
                         value == 0 ? CKV_OK : CKV_ERROR_MESSAGE);
    }
}

/*  ---- announcements ----  */

static struct ckv_announcement an_announcement(const char *name, const char *endpoint)
{
    return (struct ckv_announcement){
        .started = 1,
        .epoch = UINT64_C(0x0102030405060708),
        .sequence = 3,
        .records = 4,
        .outbox = 5,
        .members = UINT64_MAX,
        .digest = { { 6, 7 } },
        .ttl_ms = UINT32_MAX - 1,
        .state = CKV_NODE_CATCHING_UP,
        .flags = CKV_ANNOUNCES_ASKS,
        .name = ckv_octets_text(name),
        .endpoint = ckv_octets_text(endpoint),
    };
}

static int read_announcement(struct ckv_octets payload)
{
    struct ckv_announcement said;
    struct ckv_octets copy = exact(payload);
    int rc = ckv_announcement_read(&said, copy);
    release(copy);
    return rc;
}

static int read_again(const struct ckv_announcement *said)
{
    struct ckv_buffer buffer = { 0 };
    assert_int_equal(ckv_announcement_write(said, &buffer), CKV_OK);
    int rc = read_announcement(ckv_buffer_octets(&buffer));
    ckv_buffer_clear(&buffer);
    return rc;
}

static void an_announcement_is_read_as_it_was_written(void **state)
{
    struct ckv_buffer buffer = { 0 };
    struct ckv_announcement said = an_announcement("n\xc3\xb6rd", "tcp://10.0.0.1:5670"), again;
    (void)state;
    assert_int_equal(ckv_announcement_write(&said, &buffer), CKV_OK);
    assert_int_equal(ckv_announcement_read(&again, ckv_buffer_octets(&buffer)), CKV_OK);
    assert_true(again.started == 1 && again.epoch == said.epoch && again.sequence == 3 &&
                again.records == 4 && again.outbox == 5 && again.members == UINT64_MAX);
    assert_true(ckv_digest_equal(again.digest, said.digest));
    assert_true(again.ttl_ms == said.ttl_ms && again.state == said.state &&
                again.flags == said.flags);
    assert_true(ckv_octets_equal(again.name, said.name) &&
                ckv_octets_equal(again.endpoint, said.endpoint));
    for (size_t size = 0; size < buffer.size; size++)
        assert_int_equal(read_announcement(ckv_octets(buffer.data, size)), CKV_ERROR_MESSAGE);
    ckv_buffer_add(&buffer, ckv_octets_text("x"));
    assert_int_equal(read_announcement(ckv_buffer_octets(&buffer)), CKV_ERROR_MESSAGE);
    ckv_buffer_clear(&buffer);
}

static void an_announcement_has_a_name_and_an_endpoint_within_bounds(void **state)
{
    char text[CKV_ENDPOINT_MAX + 1];
    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t size = 0; size <= CKV_ENDPOINT_MAX; size++) {
        struct ckv_announcement said = an_announcement("", "");
        said.name = ckv_octets(text, size);
        assert_int_equal(read_again(&said),
                         size && size <= CKV_NODE_NAME_MAX ? CKV_OK : CKV_ERROR_MESSAGE);
        said.name = ckv_octets(text, CKV_NODE_NAME_MAX);
        said.endpoint = ckv_octets(text, size);
        assert_int_equal(read_again(&said), CKV_OK);
    }
}

static void an_announcement_cannot_disturb_a_terminal(void **state)
{
    static const char *const texts[] = { "\x1b[2J", "a\nb", "\xff", "\xc2\x9b", "\xe2\x80\xae" };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct ckv_announcement said = an_announcement(texts[i], "");
        assert_int_equal(read_again(&said), CKV_ERROR_MESSAGE);
        said = an_announcement("node", texts[i]);
        assert_int_equal(read_again(&said), CKV_ERROR_MESSAGE);
    }
}

static void a_node_is_in_a_state_that_is_known(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        struct ckv_announcement said = an_announcement("node", "");
        said.state = (enum ckv_node_state)value;
        assert_int_equal(read_again(&said), value == CKV_NODE_LIVE || value == CKV_NODE_CATCHING_UP
                                                ? CKV_OK
                                                : CKV_ERROR_MESSAGE);
    }
}

/*  ---- the other payloads ----  */

/*  How many items of a kind PAYLOAD has, or the error; what was read must be within it.  */
typedef int counter(struct ckv_octets payload);

static bool is_within(struct ckv_octets part, struct ckv_octets whole)
{
    return part.data >= whole.data && part.data + part.size <= whole.data + whole.size;
}

static int count_digests(struct ckv_octets payload)
{
    struct ckv_digests_item item;
    int rc, count = 0;
    while ((rc = ckv_digests_item_next(&payload, &item)) == 1)
        count++;
    return rc < 0 ? rc : count;
}

static int count_asked(struct ckv_octets payload)
{
    struct ckv_octets whole = payload;
    struct ckv_asked_range item;
    int rc, count = 0;
    while ((rc = ckv_asked_range_next(&payload, &item)) == 1) {
        assert_true(item.range < CKV_RANGES && is_within(item.ids, whole));
        assert_int_equal(item.ids.size % CKV_RECORD_ID_SIZE, 0);
        count++;
    }
    return rc < 0 ? rc : count;
}

static int count_records(struct ckv_octets payload)
{
    struct ckv_octets whole = payload, record;
    struct ckv_ranges_head head;
    int rc = ckv_ranges_head_read(&payload, &head), count = 0;
    if (rc != CKV_OK)
        return rc;
    assert_true(is_within(head.lacking, whole));
    assert_int_equal(head.lacking.size % CKV_LACKING_SIZE, 0);
    while ((rc = ckv_ranges_record_next(&payload, &record)) == 1) {
        assert_true(is_within(record, whole));
        count++;
    }
    return rc < 0 ? rc : count;
}

static int count_exact(counter *count, struct ckv_octets payload)
{
    struct ckv_octets copy = exact(payload);
    int rc = count(copy);
    release(copy);
    return rc;
}

/*  PAYLOAD has as many items as there are ENDS, each at the end of one: what ends there has fewer, and
    what ends elsewhere is no payload.  */
static void assert_items(counter *count, struct ckv_octets payload, const size_t *ends)
{
    int items = 0;
    for (size_t size = 0; size <= payload.size; size++) {
        int rc = count_exact(count, ckv_octets(payload.data, size));
        if (size == ends[items])
            assert_int_equal(rc, items++);
        else
            assert_int_equal(rc, CKV_ERROR_MESSAGE);
    }
    assert_int_equal(ends[items], 0);
}

static int count_members(struct ckv_octets payload)
{
    struct ckv_membership item;
    int rc, count = 0;
    while ((rc = ckv_membership_next(&payload, &item)) == 1)
        count++;
    return rc < 0 ? rc : count;
}

static void members_are_read_one_by_one(void **state)
{
    uint8_t octets[] = { 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0,
                         1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9 };
    static const size_t ends[] = { 0, 16, 32, 0 };
    struct ckv_octets payload = ckv_octets(octets, sizeof(octets));
    struct ckv_membership item;
    (void)state;
    assert_items(count_members, payload, ends);
    assert_int_equal(ckv_membership_next(&payload, &item), 1);
    assert_true(item.id == 7 && item.forgotten_at == 0);
    assert_int_equal(ckv_membership_next(&payload, &item), 1);
    assert_true(item.id == UINT64_C(0x0102030405060708) && item.forgotten_at == 9);
}

static void digests_are_read_row_by_row(void **state)
{
    enum { ITEM = 1 + CKV_DIGEST_ROW_RANGES * CKV_DIGEST_SIZE };
    static const size_t ends[] = { 0, ITEM, 2 * ITEM, 0 };
    uint8_t octets[2 * ITEM];
    struct ckv_digests_item item;
    struct ckv_octets payload = ckv_octets(octets, sizeof(octets));
    (void)state;
    randombytes_buf(octets, sizeof(octets));
    octets[ITEM] = 255;
    assert_items(count_digests, payload, ends);
    assert_int_equal(ckv_digests_item_next(&payload, &item), 1);
    assert_int_equal(item.row, octets[0]);
    assert_int_equal(ckv_digests_item_next(&payload, &item), 1);
    assert_int_equal(item.row, 255);
    for (size_t i = 0; i < CKV_DIGEST_ROW_RANGES; i++) {
        const uint8_t *digest = octets + ITEM + 1 + i * CKV_DIGEST_SIZE;
        assert_true(item.digests[i].lanes[0] == ckv_get64(digest));
        assert_true(item.digests[i].lanes[1] == ckv_get64(digest + 8));
    }
    assert_int_equal(ckv_digests_item_next(&payload, &item), 0);
}

static void asked_ranges_are_read_one_by_one(void **state)
{
    static const uint8_t octets[] = {
        0x3f, 0xff, 0,   2,   'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a',
        'b',  'b',  'b', 'b', 'b', 'b', 'b', 'b', /* one */
        0,    0,    0,   0,                       /* two */
        0,    1,    0,   1,   'c', 'c', 'c', 'c', 'c', 'c', 'c', 'c'
    };
    static const size_t ends[] = { 0, 20, 24, 36, 0 };
    struct ckv_octets payload = ckv_octets(octets, sizeof(octets));
    struct ckv_asked_range item;
    (void)state;
    assert_items(count_asked, payload, ends);
    assert_int_equal(ckv_asked_range_next(&payload, &item), 1);
    assert_int_equal(item.range, CKV_RANGES - 1);
    assert_true(ckv_octets_equal(item.ids, ckv_octets_text("aaaaaaaabbbbbbbb")));
    assert_int_equal(ckv_asked_range_next(&payload, &item), 1);
    assert_true(item.range == 0 && item.ids.size == 0);
    assert_int_equal(ckv_asked_range_next(&payload, &item), 1);
    assert_true(item.range == 1 && ckv_octets_equal(item.ids, ckv_octets_text("cccccccc")));
}

static void a_range_that_is_none_cannot_be_asked_for(void **state)
{
    (void)state;
    for (unsigned range = 0; range <= UINT16_MAX; range++) {
        uint8_t octets[4] = { 0 };
        ckv_put16(octets, (uint16_t)range);
        assert_int_equal(count_asked(ckv_octets(octets, sizeof(octets))),
                         range < CKV_RANGES ? 1 : CKV_ERROR_MESSAGE);
    }
}

static void an_answer_about_ranges_is_read_part_by_part(void **state)
{
    static const uint8_t octets[] = { 0, 3, 0, 0, 0,   2,                     /* head */
                                      0, 1, 1, 1, 1,   1,   1,   1,   1,   1, /* lacking */
                                      0, 2, 2, 2, 2,   2,   2,   2,   2,   2, /* lacking */
                                      0, 0, 0, 5, 'f', 'i', 'r', 's', 't',    /* record */
                                      0, 0, 0, 0,                             /* record */
                                      0, 0, 0, 6, 's', 'e', 'c', 'o', 'n', 'd' /* record */ };
    static const size_t ends[] = { 26, 35, 39, 49, 0 };
    struct ckv_octets payload = ckv_octets(octets, sizeof(octets)), record;
    struct ckv_ranges_head head;
    (void)state;
    assert_items(count_records, payload, ends);
    assert_int_equal(ckv_ranges_head_read(&payload, &head), CKV_OK);
    assert_int_equal(head.answered, 3);
    assert_true(head.lacking.data == octets + 6 && head.lacking.size == 20);
    assert_int_equal(ckv_ranges_record_next(&payload, &record), 1);
    assert_true(ckv_octets_equal(record, ckv_octets_text("first")));
    assert_int_equal(ckv_ranges_record_next(&payload, &record), 1);
    assert_int_equal(record.size, 0);
    assert_int_equal(ckv_ranges_record_next(&payload, &record), 1);
    assert_true(ckv_octets_equal(record, ckv_octets_text("second")));
    assert_int_equal(ckv_ranges_record_next(&payload, &record), 0);
}

static void a_length_beyond_the_payload_is_refused(void **state)
{
    static const uint32_t lengths[] = { 1, 0x7fffffff, 0x80000000, 0x1999999a, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        uint8_t lacking[6] = { 0 }, record[10] = { 0 };
        ckv_put32(lacking + 2, lengths[i]);
        ckv_put32(record + 6, lengths[i]);
        assert_int_equal(count_exact(count_records, ckv_octets(lacking, sizeof(lacking))),
                         CKV_ERROR_MESSAGE);
        assert_int_equal(count_exact(count_records, ckv_octets(record, sizeof(record))),
                         CKV_ERROR_MESSAGE);
    }
}

int main(void)
{
    static const uint8_t raw[CKV_CLUSTER_KEY_SIZE] = "the key of quite another cluster";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_message_is_read_as_it_was_written),
        cmocka_unit_test(a_message_with_any_one_bit_changed_is_refused),
        cmocka_unit_test(a_message_of_another_cluster_is_told_from_a_forgery),
        cmocka_unit_test(a_message_cut_off_anywhere_or_with_more_behind_is_refused),
        cmocka_unit_test(a_message_has_a_largest_size),
        cmocka_unit_test(what_this_version_does_not_know_is_refused_even_if_authentic),
        cmocka_unit_test(an_announcement_is_read_as_it_was_written),
        cmocka_unit_test(an_announcement_has_a_name_and_an_endpoint_within_bounds),
        cmocka_unit_test(an_announcement_cannot_disturb_a_terminal),
        cmocka_unit_test(a_node_is_in_a_state_that_is_known),
        cmocka_unit_test(members_are_read_one_by_one),
        cmocka_unit_test(digests_are_read_row_by_row),
        cmocka_unit_test(asked_ranges_are_read_one_by_one),
        cmocka_unit_test(a_range_that_is_none_cannot_be_asked_for),
        cmocka_unit_test(an_answer_about_ranges_is_read_part_by_part),
        cmocka_unit_test(a_length_beyond_the_payload_is_refused),
    };
    if (sodium_init() < 0 || !(cluster_key = make_cluster_key()) ||
        ckv_cluster_key_new(&another_key, raw) != CKV_OK)
        return 1;
    int failed = cmocka_run_group_tests_name("message", tests, NULL, NULL);
    ckv_cluster_key_destroy(&cluster_key);
    ckv_cluster_key_destroy(&another_key);
    return failed;
}
