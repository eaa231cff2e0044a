/*  What has arrived is resolved before it is stored: kv/arrivals.h, and how kv reads it.  */
#include "tests/unit/stores.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

static uint64_t arrive(struct fixture *self, struct plan plan)
{
    make_record(&self->b, self->key, plan);
    return ckv_kv_enter_arrival(self->kv, &self->b.view);
}

/*  The revision that TXN resolves for NUMBER, or 0.  */
static uint64_t resolved(struct ckv_kv_txn *txn, unsigned number)
{
    struct ckv_certificate view;
    char text[16];
    int rc = ckv_kv_resolve(txn, number_key(number, text), &view);
    assert_true(rc == CKV_OK || rc == CKV_ERROR_NOT_FOUND);
    return rc == CKV_OK ? view.revision : 0;
}

/*  The number of the certificate that TXN resolves for CLIENT, or 0.  */
static unsigned resolved_client(struct ckv_kv_txn *txn, unsigned client)
{
    struct ckv_certificate view;
    uint8_t key[32];
    char text[16] = "";
    client_key(client, key);
    int rc = ckv_kv_resolve_client(txn, key, &view);
    assert_true(rc == CKV_OK || rc == CKV_ERROR_NOT_FOUND);
    if (rc == CKV_OK)
        memcpy(text, view.storage_key.data, view.storage_key.size);
    return (unsigned)atoi(text);
}

static void what_has_arrived_is_resolved_until_it_has_left_and_then_if_it_is_stored(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_RESOLVE);
    assert_int_equal(resolved(txn, 7), 0);
    uint64_t ticket = arrive(self, (struct plan){ .number = 7, .revision = 3 });
    assert_true(ticket != 0);
    assert_int_equal(resolved(txn, 7), 3);
    assert_int_equal(resolved_client(txn, 8), 7);
    assert_int_equal(count_records(self), 0);
    ckv_kv_leave_arrival(self->kv, ticket);
    assert_int_equal(resolved(txn, 7), 0);
    assert_int_equal(resolved_client(txn, 8), 0);

    ticket = arrive(self, (struct plan){ .number = 7, .revision = 3 });
    assert_int_equal(merge_alone(self, (struct plan){ .number = 7, .revision = 3 }), CKV_KV_NEW);
    ckv_kv_leave_arrival(self->kv, ticket);
    assert_int_equal(resolved(txn, 7), 3);
    ckv_kv_abort(&txn);
}

static void what_arrives_is_a_change_before_it_is_stored(void **state)
{
    struct fixture *self = *state;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_RESOLVE);
    uint64_t before, after;
    assert_int_equal(ckv_kv_changes(txn, &before), CKV_OK);
    uint64_t ticket = arrive(self, (struct plan){ .number = 7, .revision = 3 });
    assert_int_equal(ckv_kv_changes(txn, &after), CKV_OK);
    assert_true(after > before);
    ckv_kv_leave_arrival(self->kv, ticket);
    assert_int_equal(ckv_kv_changes(txn, &before), CKV_OK);
    assert_true(after == before);
    ckv_kv_abort(&txn);
}

static void only_those_who_resolve_see_arrivals(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate view;
    uint64_t position = 0;
    arrive(self, (struct plan){ .number = 7 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_READ);
    assert_int_equal(get(txn, 7, &view), CKV_ERROR_NOT_FOUND);
    assert_int_equal(find(txn, 8, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
    txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(get(txn, 7, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
    txn = begin(self, CKV_KV_RESOLVE);
    assert_int_equal(ckv_kv_next(txn, &position, &view), CKV_ERROR_NOT_FOUND);
    ckv_kv_abort(&txn);
}

static void of_what_is_stored_and_what_arrived_that_stands_which_merging_would_keep(void **state)
{
    struct fixture *self = *state;
    merge_alone(self, (struct plan){ .number = 7, .revision = 5 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_RESOLVE);
    uint64_t old = arrive(self, (struct plan){ .number = 7, .revision = 4 });
    assert_int_equal(resolved(txn, 7), 5);
    uint64_t newer = arrive(self, (struct plan){ .number = 7, .revision = 6 });
    assert_int_equal(resolved(txn, 7), 6);
    assert_int_equal(arrive(self, (struct plan){ .number = 7, .revision = 4 }), 0);
    ckv_kv_leave_arrival(self->kv, old); /* its place was taken */
    assert_int_equal(resolved(txn, 7), 6);
    uint64_t revoked =
        arrive(self, (struct plan){ .number = 7, .revision = 2, .state = CKV_STATE_REVOKED });
    assert_int_equal(resolved(txn, 7), 2);
    ckv_kv_leave_arrival(self->kv, newer);
    assert_int_equal(resolved(txn, 7), 2);
    ckv_kv_leave_arrival(self->kv, revoked);
    assert_int_equal(resolved(txn, 7), 5);
    /*  Another certificate that was given the same storage key later.  */
    arrive(self, (struct plan){ .number = 7, .client = 99, .created = 2000, .revision = 9 });
    assert_int_equal(resolved(txn, 7), 5);
    assert_int_equal(resolved_client(txn, 99), 0);
    ckv_kv_abort(&txn);
}

static void a_client_is_resolved_by_what_arrived_of_its_certificates(void **state)
{
    struct fixture *self = *state;
    merge_alone(self, (struct plan){ .number = 1, .client = 50, .revision = 5 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_RESOLVE);
    assert_int_equal(resolved_client(txn, 50), 1);
    /*  It was rotated to another client key …  */
    arrive(self, (struct plan){ .number = 1, .client = 51, .revision = 6 });
    assert_int_equal(resolved_client(txn, 50), 0);
    assert_int_equal(resolved_client(txn, 51), 1);
    /*  … and the old key got a certificate of its own, then another that is newer.  */
    arrive(self, (struct plan){ .number = 2, .client = 50, .revision = 7 });
    assert_int_equal(resolved_client(txn, 50), 2);
    arrive(self, (struct plan){ .number = 3, .client = 50, .revision = 8 });
    assert_int_equal(resolved_client(txn, 50), 3);
    arrive(self,
           (struct plan){ .number = 3, .client = 50, .revision = 9, .state = CKV_STATE_REVOKED });
    assert_int_equal(resolved_client(txn, 50), 2);
    ckv_kv_abort(&txn);
}

static void views_of_arrivals_live_until_the_snapshot_ends(void **state)
{
    struct fixture *self = *state;
    struct ckv_certificate views[3];
    uint64_t tickets[3];
    struct ckv_kv_txn *txn = begin(self, CKV_KV_RESOLVE);
    for (unsigned i = 0; i < 3; i++) {
        tickets[i] = arrive(self, (struct plan){ .number = i, .revision = 10 + i });
        assert_int_equal(get(txn, i, &views[i]), CKV_OK);
    }
    for (unsigned i = 0; i < 3; i++)
        ckv_kv_leave_arrival(self->kv, tickets[i]);
    for (unsigned i = 0; i < 3; i++) {
        make_record(&self->a, self->key, (struct plan){ .number = i, .revision = 10 + i });
        assert_octets(views[i].record, self->a.view.record);
    }
    ckv_kv_reset(txn);
    ckv_kv_abort(&txn);
}

static void what_finds_no_room_is_left_to_the_store(void **state)
{
    enum { MANY = 5000 };
    struct fixture *self = *state;
    uint64_t *tickets = calloc(MANY, sizeof(*tickets));
    unsigned entered = 0;
    struct ckv_kv_txn *txn = begin(self, CKV_KV_RESOLVE);
    assert_int_equal(arrive(self, (struct plan){ .number = 1, .padding = 2000 }), 0);
    for (unsigned i = 0; i < MANY; i++) {
        tickets[i] = arrive(self, (struct plan){ .number = i, .revision = 1 + i });
        entered += tickets[i] != 0;
        assert_int_equal(resolved(txn, i), tickets[i] ? 1 + i : 0);
    }
    assert_in_range(entered, 900, 1024);
    for (unsigned i = 0; i < MANY; i++) {
        ckv_kv_leave_arrival(self->kv, tickets[i]);
        assert_int_equal(resolved(txn, i), 0);
    }
    assert_true(arrive(self, (struct plan){ .number = 4999 }) != 0);
    ckv_kv_abort(&txn);
    free(tickets);
}

/*  What a process that only reads resolves for NUMBER. It kills itself, since to exit would end what it
    has of this process, too.  */
static uint64_t resolved_elsewhere(struct fixture *self, unsigned number)
{
    uint64_t revision = UINT64_MAX;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct ckv_kv_options options = self->options;
        struct ckv_kv *kv;
        struct ckv_kv_txn *txn;
        options.read_only = true;
        if (ckv_kv_open(&kv, self->engine->name, &options) == CKV_OK &&
            ckv_kv_begin(kv, CKV_KV_RESOLVE, &txn) == CKV_OK)
            revision = resolved(txn, number);
        ssize_t sent = write(ends[1], &revision, sizeof(revision));
        kill(getpid(), sent == sizeof(revision) ? SIGKILL : SIGABRT);
    }
    assert_int_equal(read(ends[0], &revision, sizeof(revision)), sizeof(revision));
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
    return revision;
}

static void other_processes_resolve_arrivals_until_the_node_begins_anew(void **state)
{
    struct fixture *self = *state;
    arrive(self, (struct plan){ .number = 7, .revision = 3 });
    assert_int_equal(resolved_elsewhere(self, 7), 3);
    ckv_kv_close(&self->kv); /* as when it was killed: nothing has left */
    assert_int_equal(resolved_elsewhere(self, 7), 3);
    open_store(self);
    assert_int_equal(resolved_elsewhere(self, 7), 0);
}

static void a_change_is_made_to_what_has_arrived(void **state)
{
    struct fixture *self = *state;
    uint8_t key[32];
    uint64_t revision;
    arrive(self, (struct plan){ .number = 7, .client = 50, .revision = 3 });
    arrive(self, (struct plan){ .number = 8, .client = 51, .revision = 4 });
    arrive(self, (struct plan){ .number = 9, .client = 51, .revision = 6 });
    struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
    assert_int_equal(ckv_kv_merge_arrivals(txn, ckv_octets_text("6"), NULL, &revision), CKV_OK);
    assert_int_equal(revision, 0);
    assert_int_equal(ckv_kv_merge_arrivals(txn, ckv_octets_text("7"), NULL, &revision), CKV_OK);
    assert_int_equal(revision, 3);
    assert_revision(txn, 7, 3);
    client_key(51, key);
    assert_int_equal(ckv_kv_merge_arrivals(txn, ckv_octets(NULL, 0), key, &revision), CKV_OK);
    assert_int_equal(revision, 6);
    assert_revision(txn, 8, 4);
    assert_revision(txn, 9, 6);
    commit(txn);
    assert_int_equal(count_records(self), 3);
}

/*  As after a reboot, when the application starts before the node.  */
static void who_opened_the_store_before_the_node_sees_arrivals_too(void **state)
{
    enum { BOOT_ID = 8, LOOKS = 5000 };
    struct fixture *self = *state;
    char path[512];
    int ends[2][2];
    uint64_t revision = UINT64_MAX;
    ckv_kv_close(&self->kv);
    snprintf(path, sizeof(path), "%s/certificates.arrivals", self->directory);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, BOOT_ID), 1);
    close(fd);
    assert_int_equal(pipe(ends[0]) + pipe(ends[1]), 0);
    pid_t child = fork();
    if (child == 0) {
        struct ckv_kv_options options = self->options;
        struct ckv_kv *kv;
        struct ckv_kv_txn *txn;
        options.read_only = true;
        if (ckv_kv_open(&kv, self->engine->name, &options) != CKV_OK ||
            ckv_kv_begin(kv, CKV_KV_RESOLVE, &txn) != CKV_OK || write(ends[1][1], "o", 1) != 1 ||
            read(ends[0][0], path, 1) != 1)
            abort();
        for (int i = 0; i < LOOKS; i++)
            revision = resolved(txn, 7);
        ssize_t sent = write(ends[1][1], &revision, sizeof(revision));
        kill(getpid(), sent == sizeof(revision) ? SIGKILL : SIGABRT);
    }
    assert_int_equal(read(ends[1][0], path, 1), 1); /* it has opened */
    open_store(self);
    arrive(self, (struct plan){ .number = 7, .revision = 3 });
    assert_int_equal(write(ends[0][1], "g", 1), 1);
    assert_int_equal(read(ends[1][0], &revision, sizeof(revision)), sizeof(revision));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(revision, 3);
    for (int i = 0; i < 2; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}

/*  One octet of the head of the file, before its magic is looked at again.  */
static void arrivals_of_another_boot_or_of_a_damaged_file_are_not_believed(void **state)
{
    enum { BOOT_ID = 8 };
    struct fixture *self = *state;
    char path[512];
    arrive(self, (struct plan){ .number = 7, .revision = 3 });
    snprintf(path, sizeof(path), "%s/certificates.arrivals", self->directory);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, BOOT_ID), 1);
    assert_int_equal(resolved_elsewhere(self, 7), 0);
    ckv_kv_close(&self->kv);
    assert_int_equal(ftruncate(fd, 5000), 0);
    assert_int_equal(resolved_elsewhere(self, 7), 0);
    close(fd);
    open_store(self); /* made whole */
    arrive(self, (struct plan){ .number = 7, .revision = 4 });
    assert_int_equal(resolved_elsewhere(self, 7), 4);
}

/*  ---- while it changes ----  */

enum { KEYS = 8, ROUNDS = 2000, STATES = 400, TIMES = 100 };

struct watch {
    struct fixture *fixture;
    atomic_bool stop;
    atomic_uint went_back, torn;
    atomic_ullong looks;
};

/*  Resolves all keys again and again; none may be in an older state than before.  */
static void *watch(void *argument)
{
    struct watch *self = argument;
    struct ckv_kv_txn *txn;
    struct ckv_certificate view;
    uint64_t last[KEYS] = { 0 };
    char text[16];
    if (ckv_kv_begin(self->fixture->kv, CKV_KV_RESOLVE, &txn) != CKV_OK)
        return NULL;
    while (!atomic_load(&self->stop))
        for (unsigned i = 0; i < KEYS; i++) {
            int rc = ckv_kv_resolve(txn, number_key(i, text), &view);
            uint64_t revision = rc == CKV_OK ? view.revision : 0;
            if (revision < last[i])
                atomic_fetch_add(&self->went_back, 1);
            if (rc == CKV_OK && ckv_certificate_verify(&view, self->fixture->key) != CKV_OK)
                atomic_fetch_add(&self->torn, 1);
            last[i] = revision;
            atomic_fetch_add(&self->looks, 1);
        }
    ckv_kv_abort(&txn);
    return NULL;
}

static pthread_t start_watch(struct watch *self)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, self), 0);
    return thread;
}

static void stop_watch(struct watch *self, pthread_t thread)
{
    atomic_store(&self->stop, true);
    pthread_join(thread, NULL);
}

static void who_resolves_while_records_arrive_and_are_stored_never_goes_back(void **state)
{
    struct fixture *self = *state;
    struct watch watcher = { .fixture = self };
    uint64_t tickets[KEYS];
    pthread_t thread = start_watch(&watcher);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (unsigned i = 0; i < KEYS; i++)
            tickets[i] = arrive(self, (struct plan){ .number = i, .revision = round });
        struct ckv_kv_txn *txn = begin(self, CKV_KV_WRITE);
        for (unsigned i = 0; i < KEYS; i++)
            merge_plan(self, txn, (struct plan){ .number = i, .revision = round });
        commit(txn);
        for (unsigned i = 0; i < KEYS; i++)
            ckv_kv_leave_arrival(self->kv, tickets[i]);
    }
    stop_watch(&watcher, thread);
    assert_true(atomic_load(&watcher.looks) > KEYS);
    assert_int_equal(atomic_load(&watcher.went_back), 0);
    assert_int_equal(atomic_load(&watcher.torn), 0);
}

/*  Records of very different sizes come into one slot and leave it, as fast as they can.  */
static void no_record_is_read_in_parts_while_others_take_its_slot(void **state)
{
    struct fixture *self = *state;
    struct watch watcher = { .fixture = self };
    struct sealed *states = calloc(STATES, sizeof(*states));
    for (unsigned i = 0; i < STATES; i++)
        make_record(&states[i], self->key,
                    (struct plan){ .number = 0, .revision = 1 + i, .padding = 7 * (i % 97) });
    pthread_t thread = start_watch(&watcher);
    for (unsigned time = 0; time < TIMES || atomic_load(&watcher.looks) <= KEYS; time++) {
        uint64_t ticket = 0;
        for (unsigned i = 0; i < STATES; i++)
            ticket = ckv_kv_enter_arrival(self->kv, &states[i].view);
        ckv_kv_leave_arrival(self->kv, ticket);
    }
    stop_watch(&watcher, thread);
    free(states);
    assert_true(atomic_load(&watcher.looks) > KEYS);
    assert_int_equal(atomic_load(&watcher.torn), 0);
}

/*  The first word of a slot is its sequence, the second the size; the record follows.  */
enum { HEAD = 4096, SLOT = 1024, SLOTS = 1024, REWRITES = 100000 };

static void rewrite(_Atomic(uint64_t) *slot, struct ckv_octets record)
{
    atomic_fetch_add(&slot[0], 1);
    for (size_t at = 0; at < record.size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, record.data + at, record.size - at < 8 ? record.size - at : 8);
        atomic_store(&slot[2 + at / 8], word);
    }
    atomic_store(&slot[1], record.size);
    atomic_fetch_add(&slot[0], 1);
}

static void who_reads_a_slot_that_is_written_meanwhile_reads_it_again(void **state)
{
    struct fixture *self = *state;
    struct watch watcher = { .fixture = self };
    char path[512];
    snprintf(path, sizeof(path), "%s/certificates.arrivals", self->directory);
    int fd = open(path, O_RDWR);
    arrive(self, (struct plan){ .number = 0, .revision = 2 });
    make_record(&self->a, self->key, (struct plan){ .number = 0, .revision = 3, .padding = 600 });
    uint8_t *map = mmap(NULL, HEAD + SLOT * SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    _Atomic(uint64_t) *slot = (_Atomic(uint64_t) *)(void *)(map + HEAD);
    while (!atomic_load(&slot[1]))
        slot += SLOT / 8;
    pthread_t thread = start_watch(&watcher);
    for (int i = 0; i < REWRITES; i++)
        rewrite(slot, i % 2 ? self->b.view.record : self->a.view.record);
    stop_watch(&watcher, thread);
    munmap(map, HEAD + SLOT * SLOTS);
    close(fd);
    assert_int_equal(atomic_load(&watcher.torn), 0);
}

static void newer_states_that_arrive_one_after_the_other_never_let_go_of_the_last(void **state)
{
    struct fixture *self = *state;
    struct watch watcher = { .fixture = self };
    struct sealed *states = calloc(STATES, sizeof(*states));
    assert_int_equal(merge_alone(self, (struct plan){ .number = 0, .revision = 1 }), CKV_KV_NEW);
    for (unsigned i = 0; i < STATES; i++)
        make_record(&states[i], self->key, (struct plan){ .number = 0, .revision = 2 + i });
    pthread_t thread = start_watch(&watcher);
    for (unsigned i = 0; i < STATES; i++) {
        uint64_t looks = atomic_load(&watcher.looks);
        assert_true(ckv_kv_enter_arrival(self->kv, &states[i].view) != 0);
        while (i % 4 == 0 && atomic_load(&watcher.looks) < looks + KEYS)
            ;
    }
    stop_watch(&watcher, thread);
    free(states);
    assert_int_equal(atomic_load(&watcher.went_back), 0);
    assert_int_equal(atomic_load(&watcher.torn), 0);
}

static const struct test tests[] = {
    TEST(what_has_arrived_is_resolved_until_it_has_left_and_then_if_it_is_stored, DURABLE),
    TEST(what_arrives_is_a_change_before_it_is_stored, DURABLE),
    TEST(only_those_who_resolve_see_arrivals, DURABLE),
    TEST(of_what_is_stored_and_what_arrived_that_stands_which_merging_would_keep, DURABLE),
    TEST(a_client_is_resolved_by_what_arrived_of_its_certificates, DURABLE),
    TEST(views_of_arrivals_live_until_the_snapshot_ends, DURABLE),
    TEST(what_finds_no_room_is_left_to_the_store, DURABLE),
    TEST(other_processes_resolve_arrivals_until_the_node_begins_anew, DURABLE),
    TEST(arrivals_of_another_boot_or_of_a_damaged_file_are_not_believed, DURABLE),
    TEST(a_change_is_made_to_what_has_arrived, DURABLE),
    TEST(who_opened_the_store_before_the_node_sees_arrivals_too, DURABLE),
    TEST(newer_states_that_arrive_one_after_the_other_never_let_go_of_the_last, DURABLE),
    TEST(who_reads_a_slot_that_is_written_meanwhile_reads_it_again, DURABLE),
    TEST(no_record_is_read_in_parts_while_others_take_its_slot, DURABLE),
    TEST(who_resolves_while_records_arrive_and_are_stored_never_goes_back, DURABLE),
};

int main(void)
{
    return run_over_engines(tests, sizeof(tests) / sizeof(*tests));
}
