/*  The array engine: for a fleet whose storage keys are its client numbers, "0" to "16777215". The
    number is the index; nothing is hashed, and nothing is probed.
*/
#include "kv/held.h"

enum { DIGITS_MAX = 8 };
static const uint64_t number_max = 16777215;

/*  Reads a decimal number without leading zeros, so that one number has one storage key.  */
static bool read_number(struct ckv_octets storage_key, uint64_t *number)
{
    if (storage_key.size > DIGITS_MAX || (storage_key.size > 1 && storage_key.data[0] == '0'))
        return false;
    *number = 0;
    for (size_t i = 0; i < storage_key.size; i++) {
        if (storage_key.data[i] < '0' || storage_key.data[i] > '9')
            return false;
        *number = *number * 10 + (storage_key.data[i] - '0');
    }
    return *number <= number_max;
}

static int array_find(const struct ckv_held_view *view, struct ckv_octets storage_key,
                      uint64_t *slot)
{
    uint64_t number, word;
    if (!read_number(storage_key, &number) || !(word = ckv_vector_get(&view->numbers, number)))
        return CKV_ERROR_NOT_FOUND;
    *slot = word - 1;
    return CKV_OK;
}

static int array_accepts(struct ckv_octets storage_key)
{
    uint64_t number;
    return read_number(storage_key, &number) ? CKV_OK : CKV_ERROR_ARRAY_KEY;
}

static int array_enter(struct ckv_held_view *view, struct ckv_batch *batch,
                       struct ckv_octets storage_key, uint64_t slot)
{
    uint64_t number;
    if (!read_number(storage_key, &number))
        return CKV_ERROR_ARRAY_KEY;
    return ckv_vector_set(&view->numbers, batch, number, slot + 1);
}

static int array_open(struct ckv_kv **self_p, const struct ckv_kv_options *options)
{
    static const struct ckv_held_index index = { array_find, array_enter };
    return ckv_held_open(self_p, options, &ckv_kv_array, &index);
}

const struct ckv_kv_engine ckv_kv_array = {
    .name = "array",
    .in_memory = true,
    .open = array_open,
    .close = ckv_held_close,
    .stats = ckv_held_stats,
    .begin = ckv_held_begin,
    .reset = ckv_held_reset,
    .renew = ckv_held_renew,
    .commits = ckv_held_commits,
    .commit = ckv_held_commit,
    .abort = ckv_held_abort,
    .accepts = array_accepts,
    .get = ckv_held_get,
    .find = ckv_held_find,
    .next = ckv_held_next,
    .put = ckv_held_put,
    .table_get = ckv_held_table_get,
    .table_put = ckv_held_table_put,
    .table_del = ckv_held_table_del,
    .table_next = ckv_held_table_next,
};
