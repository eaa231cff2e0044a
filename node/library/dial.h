/*  dial: a connection to an endpoint, by a deadline, for those who block.  */
#ifndef CKV_DIAL_H
#define CKV_DIAL_H

#include "core/error.h"

#include <stdint.h>

/*  Connects to ENDPOINT (node/library/endpoint.h) until DEADLINE (node/library/wire.h), trying a host's addresses one
    after the other. The name service is asked before that, and takes the time it takes. *FD is the
    caller's, non-blocking, closed on exec. Errors: those of ckv_endpoint_read_all,
    CKV_ERROR_NO_SERVER, CKV_ERROR_TIMEOUT, CKV_ERROR_PERMISSION, CKV_ERROR_IO.  */
int ckv_dial(const char *endpoint, uint64_t deadline, int *fd);

#endif
