/*  The admin protocol: any JSON frame is read or refused, and what was read is within its bounds.  */
#include "core/properties.h"
#include "node/request.h"

#include <stdlib.h>

static void require(int truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ckv_request request;
    struct ckv_property property;
    int rc = ckv_request_read(&request, ckv_octets(data, size));
    require(rc <= 0);
    if (rc == CKV_OK) {
        struct ckv_octets metadata = ckv_octets(request.metadata, request.metadata_size);
        int more;
        require(request.command >= CKV_REQUEST_REGISTER && request.command <= CKV_REQUEST_FORGET);
        require((unsigned)request.ack <= CKV_ACK_ALL && request.wait_ms <= 3600000);
        require(request.storage_key.size <= CKV_STORAGE_KEY_MAX);
        require(request.limit > 0 && request.limit <= CKV_REQUEST_LIMIT_MAX);
        require(request.after_size <= sizeof(request.after));
        require(request.metadata_size <= sizeof(request.metadata));
        while ((more = ckv_properties_next(&metadata, &property)) == 1)
            ;
        require(more == 0);
    }
    ckv_request_clear(&request);
    return 0;
}
