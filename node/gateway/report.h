/*  report: what a gateway that runs tells of itself, in `curvekv status` and when it ends.  */
#ifndef CKV_REPORT_H
#define CKV_REPORT_H

#include "node/gateway/gateway.h"
#include <jansson.h>

/*  The totals of a gateway as an object; the caller owns it. Of refusals and ends only those that have
    happened.  */
json_t *ckv_gateway_report(struct ckv_gateway *gateway);

/*  Logs it, in one line.  */
void ckv_gateway_log_report(struct ckv_gateway *gateway);

#endif
