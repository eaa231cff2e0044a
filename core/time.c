#include "core/time.h"

#include <stdbool.h>
#include <stdio.h>

enum { YEAR_MIN = 1970, YEAR_MAX = 9999, SECONDS_OF_DAY = 24 * 60 * 60 };

static bool is_leap(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/*  Days of the years before YEAR, from the year 1 of the proleptic Gregorian calendar.  */
static unsigned days_before_year(unsigned year)
{
    unsigned past = year - 1;
    return 365 * past + past / 4 - past / 100 + past / 400;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return days[month - 1] + (month == 2 && is_leap(year) ? 1u : 0u);
}

char *ckv_time_text(uint64_t ms, char text[CKV_TIME_TEXT_SIZE])
{
    uint64_t seconds = (ms < CKV_TIME_MAX ? ms : CKV_TIME_MAX) / 1000;
    unsigned second = (unsigned)(seconds % SECONDS_OF_DAY);
    unsigned day = (unsigned)(seconds / SECONDS_OF_DAY) + days_before_year(YEAR_MIN);
    unsigned year = day / 366 + 1, month = 1;
    /*  The guess takes all years for leap years, so it is never late, and a few years early.  */
    while (days_before_year(year + 1) <= day)
        year++;
    for (day -= days_before_year(year); day >= days_of_month(year, month); month++)
        day -= days_of_month(year, month);
    /*  The remainders change nothing; they show the compiler that the text fits.  */
    snprintf(text, CKV_TIME_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000, month % 100,
             (day + 1) % 100, second / 3600 % 100, second / 60 % 60, second % 60);
    return text;
}

/*  Takes SIZE digits and then the character AFTER (none when 0) off the front of TEXT.  */
static bool take_number(struct ckv_octets *text, unsigned size, char after, unsigned *number)
{
    size_t taken = size + (after ? 1u : 0u);
    if (text->size < taken || (after && text->data[size] != (uint8_t)after))
        return false;
    *number = 0;
    for (unsigned i = 0; i < size; i++) {
        if (text->data[i] < '0' || text->data[i] > '9')
            return false;
        *number = *number * 10 + (text->data[i] - '0');
    }
    text->data += taken;
    text->size -= taken;
    return true;
}

int ckv_time_read(uint64_t *ms, struct ckv_octets text)
{
    unsigned year, month, day, hour = 0, minute = 0, second = 0;
    bool date_alone = text.size == strlen("2026-12-31");
    if (!take_number(&text, 4, '-', &year) || !take_number(&text, 2, '-', &month) ||
        !take_number(&text, 2, date_alone ? 0 : 'T', &day))
        return CKV_ERROR_ARGUMENT;
    if (!date_alone &&
        (!take_number(&text, 2, ':', &hour) || !take_number(&text, 2, ':', &minute) ||
         !take_number(&text, 2, 'Z', &second)))
        return CKV_ERROR_ARGUMENT;
    if (text.size || year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 || day < 1 ||
        day > days_of_month(year, month) || hour > 23 || minute > 59 || second > 59)
        return CKV_ERROR_ARGUMENT;

    uint64_t days = days_before_year(year) - days_before_year(YEAR_MIN) + day - 1;
    for (unsigned earlier = 1; earlier < month; earlier++)
        days += days_of_month(year, earlier);
    *ms = (days * SECONDS_OF_DAY + hour * 3600u + minute * 60u + second) * 1000;
    return CKV_OK;
}
