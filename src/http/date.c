#include "http/http.h"

static void put2(char *out, uint32_t value) {
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
}

struct day {
    uint32_t year, month, day; /* month 0..11, day 1..31 */
};

/* Days since 1970-01-01 to a date of the Gregorian calendar, by eras of 400 years that begin on March 1st. */
static struct day day_of(int64_t days) {
    int64_t shifted = days + 719468; /* since 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    uint32_t of_era = (uint32_t)(shifted - era * 146097);
    uint32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153; /* 0: March */
    uint32_t day = of_year - (153 * month + 2) / 5 + 1;
    uint32_t years = (uint32_t)(era * 400 + year + (month >= 10 ? 1 : 0));
    return (struct day){ years, (month + 2) % 12, day };
}

void http_date(int64_t seconds_since_1970, char out[static HTTP_DATE_BYTES + 1]) {
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t last = INT64_C(253402300799); /* 9999-12-31 23:59:59: the format has four digits */
    int64_t seconds = seconds_since_1970 < 0 ? 0 : seconds_since_1970 > last ? last : seconds_since_1970;
    int64_t days = seconds / 86400;
    uint32_t rest = (uint32_t)(seconds % 86400);
    struct day day = day_of(days);
    memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_BYTES + 1);
    memcpy(out, weekdays + days % 7 * 3, 3);
    put2(out + 5, day.day);
    memcpy(out + 8, months + (size_t)day.month * 3, 3);
    put2(out + 12, day.year / 100);
    put2(out + 14, day.year % 100);
    put2(out + 17, rest / 3600);
    put2(out + 20, rest / 60 % 60);
    put2(out + 23, rest % 60);
}
