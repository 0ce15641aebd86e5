#include "mem/assert.h"
#include "mem/copy.h"
#include "pg/pg_json_priv.h"
#include "pg/pg_row.h"
#include "pg/pg_wire.h"

/* ------------------------------------------------------------------------------------------------------- numbers ---- */

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

bool pg_json_is_number(struct span text) {
    const char *p = text.data, *end = p + text.len;
    p += p < end && *p == '-' ? 1 : 0;
    const char *whole = p;
    p = skip_digits(p, end);
    bool good = p > whole && (*whole != '0' || p == whole + 1);
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p, end);
        good = good && p > fraction;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-') ? 1 : 0;
        const char *exponent = p;
        p = skip_digits(p, end);
        good = good && p > exponent;
    }
    return good && p == end;
}

char *pg_json_put_hex(char *p, const char *data, size_t len) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *p++ = hex[(uint8_t)data[i] >> 4];
        *p++ = hex[(uint8_t)data[i] & 15];
    }
    return p;
}

static char *put_bool(char *p, struct span field) {
    if (field.len != 1 || (uint8_t)field.data[0] > 1) {
        return NULL;
    }
    return field.data[0] != 0 ? COPY_PUT(p, "true") : COPY_PUT(p, "false");
}

static char *put_int2(char *p, struct span field) {
    return field.len != 2 ? NULL : number_put_i64(p, (int16_t)pg_get_u16(field.data));
}

static char *put_int4(char *p, struct span field) {
    return field.len != 4 ? NULL : number_put_i64(p, (int32_t)pg_get_u32(field.data));
}

static char *put_int8(char *p, struct span field) {
    return field.len != 8 ? NULL : number_put_i64(p, (int64_t)pg_get_u64(field.data));
}

static char *put_oid(char *p, struct span field) {
    return field.len != 4 ? NULL : number_put_u64(p, pg_get_u32(field.data));
}

static char *put_uuid(char *p, struct span field) {
    static const uint8_t groups[] = { 4, 2, 2, 2, 6 };
    if (field.len != 16) {
        return NULL;
    }
    const char *data = field.data;
    *p++ = '"';
    for (size_t i = 0; i < sizeof groups; i++) {
        p = pg_json_put_hex(p, data, groups[i]);
        data += groups[i];
        *p++ = '-';
    }
    p[-1] = '"';
    return p;
}

/* --------------------------------------------------------------------------------------------------------- dates ---- */

static char *put_padded(char *p, uint32_t value, uint32_t digits) {
    for (uint32_t i = digits; i-- > 0; value /= 10) {
        p[i] = (char)('0' + value % 10);
    }
    return p + digits;
}

/* A day of the proleptic Gregorian calendar. */
struct day {
    int32_t year; /* 0: 1 BC */
    uint32_t month, day; /* from 1 */
};

/* Counted in cycles of 400 years that begin on March 1, so that a leap day is the last of its year, of its four years, and
 * of its cycle. `days` since 2000-01-01 is a valid date. */
static struct day day_of(int64_t days) {
    enum { CYCLE = 146097, CENTURY = 36524, FOUR_YEARS = 1461, YEAR = 365, /* days */
           BACK = 12 }; /* cycles, to begin before all dates */
    uint64_t left = (uint64_t)(days + 730425 + (int64_t)BACK * CYCLE); /* 2000-01-01 is 730425 since 0000-03-01 */
    uint32_t cycles = (uint32_t)(left / CYCLE), rest = (uint32_t)(left % CYCLE);
    uint32_t centuries = rest / CENTURY < 4 ? rest / CENTURY : 3;
    rest -= centuries * CENTURY;
    uint32_t fours = rest / FOUR_YEARS;
    rest -= fours * FOUR_YEARS;
    uint32_t years = rest / YEAR < 4 ? rest / YEAR : 3;
    rest -= years * YEAR;
    uint32_t month = (5 * rest + 2) / 153; /* March: 0; five months have 153 days */
    int32_t year = (int32_t)(cycles * 400 + centuries * 100 + fours * 4 + years) - BACK * 400;
    return (struct day){ year + (month >= 10 ? 1 : 0), month < 10 ? month + 3 : month - 9,
                         rest - (153 * month + 2) / 5 + 1 };
}

/* "2026-01-31"; years before the first one as the server counts them, put_era says so. */
static char *put_day(char *p, struct day day) {
    uint32_t year = day.year > 0 ? (uint32_t)day.year : (uint32_t)(1 - day.year);
    p = year < 10000 ? put_padded(p, year, 4) : number_put_u64(p, year);
    *p++ = '-';
    p = put_padded(p, day.month, 2);
    *p++ = '-';
    return put_padded(p, day.day, 2);
}

static char *put_era(char *p, struct day day) {
    return day.year > 0 ? p : COPY_PUT(p, " BC");
}

static char *put_infinity(char *p, bool negative) {
    return negative ? COPY_PUT(p, "\"-infinity\"") : COPY_PUT(p, "\"infinity\"");
}

static char *put_date(char *p, struct span field) {
    if (field.len != 4) {
        return NULL;
    }
    int32_t days = (int32_t)pg_get_u32(field.data);
    if (days == INT32_MIN || days == INT32_MAX) {
        return put_infinity(p, days < 0);
    }
    if (!pg_date_is_valid(days)) {
        return NULL;
    }
    struct day day = day_of(days);
    *p++ = '"';
    p = put_era(put_day(p, day), day);
    *p++ = '"';
    return p;
}

/* "12:34:56.5": without zeros at the end. */
static char *put_time(char *p, uint64_t us) {
    uint32_t seconds = (uint32_t)(us / 1000000), fraction = (uint32_t)(us % 1000000), digits = 6;
    p = put_padded(p, seconds / 3600, 2);
    *p++ = ':';
    p = put_padded(p, seconds / 60 % 60, 2);
    *p++ = ':';
    p = put_padded(p, seconds % 60, 2);
    if (fraction == 0) {
        return p;
    }
    for (; fraction % 10 == 0; fraction /= 10) {
        digits--;
    }
    *p++ = '.';
    return put_padded(p, fraction, digits);
}

static char *put_timestamp(char *p, struct span field, bool zone) {
    const int64_t day_us = INT64_C(86400000000);
    if (field.len != 8) {
        return NULL;
    }
    int64_t us = (int64_t)pg_get_u64(field.data);
    if (us == INT64_MIN || us == INT64_MAX) {
        return put_infinity(p, us < 0);
    }
    if (!pg_timestamp_is_valid(us)) {
        return NULL;
    }
    int64_t days = us / day_us - (us % day_us < 0 ? 1 : 0);
    struct day day = day_of(days);
    *p++ = '"';
    p = put_day(p, day);
    *p++ = 'T';
    p = put_time(p, (uint64_t)(us - days * day_us));
    if (zone) {
        *p++ = 'Z';
    }
    p = put_era(p, day);
    *p++ = '"';
    return p;
}

char *pg_json_put_value(char *p, enum pg_writer writer, struct span field) {
    switch (writer) {
    case WRITE_BOOL: return put_bool(p, field);
    case WRITE_INT2: return put_int2(p, field);
    case WRITE_INT4: return put_int4(p, field);
    case WRITE_INT8: return put_int8(p, field);
    case WRITE_OID: return put_oid(p, field);
    case WRITE_UUID: return put_uuid(p, field);
    case WRITE_DATE: return put_date(p, field);
    case WRITE_TIMESTAMP: return put_timestamp(p, field, false);
    case WRITE_TIMESTAMPTZ: return put_timestamp(p, field, true);
    case WRITE_STRING: case WRITE_NUMBER: case WRITE_JSON: case WRITE_JSONB: case WRITE_BYTEA: break;
    }
    rm_assert(writer >= WRITE_BOOL);
    return NULL;
}
