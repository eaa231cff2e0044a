/*  A dump: entries are taken off or refused, never read past the end, and always get fewer.  */
#include "core/certificate.h"
#include "node/dump.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_octets rest = ckv_octets(data, size);
    struct ckv_dump_entry entry;
    struct ckv_certificate certificate;
    size_t before = rest.size;
    while (ckv_dump_next(&rest, &entry) == 1) {
        if (rest.size >= before || entry.octets.data < data ||
            entry.octets.data + entry.octets.size > data + size)
            abort();
        before = rest.size;
        (void)ckv_certificate_parse(&certificate, entry.octets.data, entry.octets.size);
    }
    return 0;
}
