/*  vectors: octets under names, read from a text file in tests/data/curve.

        # a comment
        name
            hex digits, indented, over as many lines as it takes

    A name may come several times: the first, the second, ... Run from the root of the sources.
*/
#ifndef CKV_TESTS_VECTORS_H
#define CKV_TESTS_VECTORS_H

#include "core/octets.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define VECTORS "tests/data/curve/"

enum { VECTORS_MAX = 32, VECTOR_NAME_SIZE = 32, VECTOR_SIZE = 1024 };

struct vectors {
    size_t count;
    struct {
        char name[VECTOR_NAME_SIZE];
        uint8_t octets[VECTOR_SIZE];
        size_t size;
    } entry[VECTORS_MAX];
};

static inline void vectors_take_line(struct vectors *self, char *line)
{
    size_t size = 0;
    line[strcspn(line, "\n")] = 0;
    if (line[0] == '#' || line[0] == 0)
        return;
    if (line[0] != ' ') {
        assert_true(self->count < VECTORS_MAX && strlen(line) < VECTOR_NAME_SIZE);
        memcpy(self->entry[self->count++].name, line, strlen(line) + 1);
        return;
    }
    assert_true(self->count > 0);
    uint8_t *octets = self->entry[self->count - 1].octets;
    size_t *end = &self->entry[self->count - 1].size;
    assert_int_equal(
        sodium_hex2bin(octets + *end, VECTOR_SIZE - *end, line, strlen(line), " ", &size, NULL), 0);
    *end += size;
}

/*  The caller frees it.  */
static inline struct vectors *vectors_load(const char *name)
{
    char path[256], line[256];
    struct vectors *self = calloc(1, sizeof(*self));
    snprintf(path, sizeof(path), VECTORS "%s", name);
    FILE *file = fopen(path, "r");
    if (!self || !file)
        fail_msg("%s is not there; run this from the root of the sources", path);
    while (fgets(line, sizeof(line), file))
        vectors_take_line(self, line);
    fclose(file);
    return self;
}

/*  The NTH, from 0, of NAME. Borrows.  */
static inline struct ckv_octets vector_nth(const struct vectors *self, const char *name, size_t nth)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->entry[i].name, name) == 0 && nth-- == 0)
            return ckv_octets(self->entry[i].octets, self->entry[i].size);
    fail_msg("there is no vector %s", name);
    return ckv_octets(NULL, 0);
}

static inline struct ckv_octets vector(const struct vectors *self, const char *name)
{
    return vector_nth(self, name, 0);
}

#endif
