/*  time: points in time as text, as ISO 8601 and RFC 3339 write them, in UTC and nothing else.

    A time is milliseconds since 1970-01-01T00:00:00Z, without leap seconds, as in a record. The
    calendar is computed here, not asked of the C library: that one's depends on locale, time zone
    and environment.
*/
#ifndef CKV_TIME_H
#define CKV_TIME_H

#include "core/error.h"
#include "core/octets.h"

enum {
    CKV_TIME_TEXT_SIZE = 21, /* "2026-12-31T00:00:00Z" and the terminating zero */
};

/*  The last millisecond of the year 9999, the last time that has a text.  */
#define CKV_TIME_MAX UINT64_C(253402300799999)

/*  Writes MS as "2026-12-31T00:00:00Z" into TEXT and returns TEXT. Milliseconds are left out; what
    is later than CKV_TIME_MAX is written as that.  */
CKV_EXPORT char *ckv_time_text(uint64_t ms, char text[CKV_TIME_TEXT_SIZE]);

/*  Reads "2026-12-31T00:00:00Z", or a date alone, "2026-12-31", which is the begin of that day.
    Years are 1970 to 9999. Returns CKV_ERROR_ARGUMENT, and leaves *MS, for any other text, another
    time zone, or a day that the calendar has not.

    "1970-01-01" reads as 0, which means "for ever" in a not-after: a caller that reads one refuses
    it.  */
CKV_EXPORT int ckv_time_read(uint64_t *ms, struct ckv_octets text);

#endif
