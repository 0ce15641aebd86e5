#include "server/stamp.h"

#include <string.h>

#include "mem/assert.h"

struct civil {
    unsigned year, month, day; /* month, day: 1 .. */
    unsigned hour, minute, second;
};

/* Eras of 400 years that begin on a first of March: leap days come last. */
static struct civil civil_of(int64_t seconds) {
    rm_assert(seconds >= 0);
    uint64_t days = (uint64_t)seconds / 86400 + 719468; /* since 0000-03-01 */
    unsigned rest = (unsigned)((uint64_t)seconds % 86400);
    unsigned day_of_era = (unsigned)(days % 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0: March */
    return (struct civil){
        .year = (unsigned)(days / 146097 * 400) + year_of_era + (month >= 10),
        .month = month < 10 ? month + 3 : month - 9,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
        .hour = rest / 3600,
        .minute = rest / 60 % 60,
        .second = rest % 60,
    };
}

/* The last `digits` digits. */
static void put(char *out, unsigned value, unsigned digits) {
    for (unsigned i = digits; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
}

void stamp_rfc3339(int64_t seconds, uint32_t ms, char out[static STAMP_RFC3339_BYTES + 1]) {
    struct civil at = civil_of(seconds);
    memcpy(out, "0000-00-00T00:00:00.000Z", STAMP_RFC3339_BYTES + 1);
    put(out, at.year, 4);
    put(out + 5, at.month, 2);
    put(out + 8, at.day, 2);
    put(out + 11, at.hour, 2);
    put(out + 14, at.minute, 2);
    put(out + 17, at.second, 2);
    put(out + 20, ms, 3);
}

void stamp_common(int64_t seconds, char out[static STAMP_COMMON_BYTES + 1]) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil at = civil_of(seconds);
    memcpy(out, "00/Mon/0000:00:00:00 +0000", STAMP_COMMON_BYTES + 1);
    put(out, at.day, 2);
    memcpy(out + 3, months + 3 * (at.month - 1), 3);
    put(out + 7, at.year, 4);
    put(out + 12, at.hour, 2);
    put(out + 15, at.minute, 2);
    put(out + 18, at.second, 2);
}
