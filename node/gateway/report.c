#include "node/gateway/report.h"
#include "kv/log.h"

#include <stdlib.h>

static void set_number(json_t *object, const char *name, uint64_t number)
{
    json_object_set_new(object, name, json_integer((json_int_t)number));
}

/*  Those of COUNTS, one for each verdict, that are not 0.  */
static json_t *by_verdict(const uint64_t counts[CKV_VERDICTS])
{
    json_t *object = json_object();
    for (int i = 0; i < CKV_VERDICTS; i++)
        if (counts[i])
            set_number(object, ckv_verdict_name((enum ckv_verdict)i), counts[i]);
    return object;
}

json_t *ckv_gateway_report(struct ckv_gateway *gateway)
{
    char text[CKV_ENDPOINT_TEXT_SIZE];
    struct ckv_gateway_totals totals;
    json_t *object = json_object();
    ckv_gateway_count(gateway, &totals);
    json_object_set_new(object, "listen",
                        json_string(ckv_endpoint_text(ckv_gateway_endpoint(gateway), text)));
    json_object_set_new(object, "backend_mode",
                        json_string(totals.shares_backend ? "shared" : "client"));
    set_number(object, "clients", totals.clients);
    if (totals.shares_backend) {
        set_number(object, "shared_clients", totals.shared);
        set_number(object, "dropped", totals.dropped);
    }
    set_number(object, "pending", totals.pending);
    set_number(object, "accepted", totals.accepted);
    set_number(object, "handshakes", totals.handshakes);
    set_number(object, "known_hellos", totals.known);
    set_number(object, "stock_hellos", totals.stock);
    set_number(object, "curve_operations", totals.curve_operations);
    set_number(object, "told", totals.told);
    set_number(object, "frames_in", totals.frames_in);
    set_number(object, "frames_out", totals.frames_out);
    set_number(object, "octets_in", totals.octets_in);
    set_number(object, "octets_out", totals.octets_out);
    json_object_set_new(object, "refused", by_verdict(totals.refused));
    json_object_set_new(object, "ended", by_verdict(totals.ended));
    return object;
}

void ckv_gateway_log_report(struct ckv_gateway *gateway)
{
    json_t *report = ckv_gateway_report(gateway);
    char *text = json_dumps(report, JSON_COMPACT);
    ckv_log(CKV_LOG_INFO, "%s", text ? text : "");
    free(text);
    json_decref(report);
}
