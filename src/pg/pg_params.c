#include "pg/pg_params.h"

#include "mem/assert.h"
#include "mem/number.h"
#include "pg/pg_row.h"
#include "pg/pg_wire.h"

static const size_t BYTES_MAX = (size_t)1 << 30;

/* How an argument is sent. */
struct shape {
    size_t bytes; /* of the value */
    bool binary;
};

static enum pg_params_result in_range(int64_t value, int64_t least, int64_t most, uint32_t bytes, struct shape *out) {
    *out = (struct shape){ bytes, true };
    return value >= least && value <= most ? PG_PARAMS_OK : PG_PARAMS_RANGE;
}

/* Days and microseconds, counted as the server does. False: the type has no such value. */
static bool date_of(int64_t days, int32_t *out) {
    bool infinite = days == INT32_MIN || days == INT32_MAX;
    if (!infinite && (days < INT32_MIN + PG_EPOCH_DAYS || days > INT32_MAX)) {
        return false;
    }
    *out = (int32_t)(infinite ? days : days - PG_EPOCH_DAYS);
    return infinite || pg_date_is_valid(*out);
}

static bool timestamp_of(int64_t us, int64_t *out) {
    bool infinite = us == INT64_MIN || us == INT64_MAX;
    *out = us;
    return infinite || (!__builtin_sub_overflow(us, PG_EPOCH_US, out) && pg_timestamp_is_valid(*out));
}

static enum pg_params_result shape_int(uint32_t type, int64_t value, struct shape *out) {
    char digits[NUMBER_BYTES_MAX];
    int32_t date;
    int64_t timestamp;
    switch (type) {
    case PG_INT2: return in_range(value, INT16_MIN, INT16_MAX, 2, out);
    case PG_INT4: return in_range(value, INT32_MIN, INT32_MAX, 4, out);
    case PG_INT8: case PG_FLOAT8: *out = (struct shape){ 8, true }; return PG_PARAMS_OK;
    case PG_FLOAT4: *out = (struct shape){ 4, true }; return PG_PARAMS_OK;
    case PG_NUMERIC: *out = (struct shape){ (size_t)(number_put_i64(digits, value) - digits), false }; return PG_PARAMS_OK;
    case PG_DATE:
        *out = (struct shape){ 4, true };
        return date_of(value, &date) ? PG_PARAMS_OK : PG_PARAMS_RANGE;
    case PG_TIMESTAMP: case PG_TIMESTAMPTZ:
        *out = (struct shape){ 8, true };
        return timestamp_of(value, &timestamp) ? PG_PARAMS_OK : PG_PARAMS_RANGE;
    default: return PG_PARAMS_TYPE;
    }
}

static enum pg_params_result shape_real(uint32_t type, double value, struct shape *out) {
    *out = (struct shape){ type == PG_FLOAT4 ? 4 : 8, true };
    if (type != PG_FLOAT4 && type != PG_FLOAT8) {
        return PG_PARAMS_TYPE;
    }
    bool overflows = type == PG_FLOAT4 && __builtin_isfinite(value) && !__builtin_isfinite((float)value);
    return overflows ? PG_PARAMS_RANGE : PG_PARAMS_OK;
}

static bool takes_text(uint32_t type) {
    switch (type) {
    case PG_BOOL: case PG_INT2: case PG_INT4: case PG_INT8: case PG_FLOAT4: case PG_FLOAT8: case PG_BYTEA: return false;
    default: return true;
    }
}

static enum pg_params_result shape_text(uint32_t type, struct span text, struct shape *out) {
    *out = (struct shape){ text.len, false };
    if (!takes_text(type)) {
        return PG_PARAMS_TYPE;
    }
    return text.len > 0 && memchr(text.data, '\0', text.len) != NULL ? PG_PARAMS_TEXT : PG_PARAMS_OK;
}

static enum pg_params_result shape_of(uint32_t type, const struct pg_arg *arg, struct shape *out) {
    switch (arg->kind) {
    case PG_ARG_NULL: *out = (struct shape){ 0, false }; return PG_PARAMS_OK;
    case PG_ARG_BOOL: *out = (struct shape){ 1, true }; return type == PG_BOOL ? PG_PARAMS_OK : PG_PARAMS_TYPE;
    case PG_ARG_INT: return shape_int(type, arg->integer, out);
    case PG_ARG_DOUBLE: return shape_real(type, arg->real, out);
    case PG_ARG_TEXT: return shape_text(type, arg->bytes, out);
    case PG_ARG_BYTES:
        *out = (struct shape){ arg->bytes.len, true };
        return type == PG_BYTEA || (type == PG_UUID && arg->bytes.len == 16) ? PG_PARAMS_OK : PG_PARAMS_TYPE;
    }
    return PG_PARAMS_TYPE;
}

/* What there is among the arguments decides how many format codes are written. */
struct formats {
    bool text, binary;
};

static uint32_t codes_of(struct formats formats, uint32_t count) {
    return !formats.binary ? 0 : !formats.text ? 1 : count;
}

static void add_format(struct formats *formats, const struct pg_arg *arg, bool binary) {
    if (arg->kind != PG_ARG_NULL) {
        formats->binary |= binary;
        formats->text |= !binary;
    }
}

enum pg_params_result pg_params_check(const struct pg_statement *statement, const struct pg_arg *args, uint32_t count,
                                      size_t *bytes) {
    struct formats formats = { false, false };
    size_t sum = 2 + 2 + (size_t)count * 4;
    if (count != statement->type_count || count > PG_PARAMETERS_MAX) {
        return PG_PARAMS_COUNT;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct shape shape;
        enum pg_params_result result = shape_of(statement->types[i], &args[i], &shape);
        if (result != PG_PARAMS_OK) {
            return result;
        }
        if (shape.bytes > BYTES_MAX) {
            return PG_PARAMS_LARGE;
        }
        sum += shape.bytes;
        add_format(&formats, &args[i], shape.binary);
    }
    sum += (size_t)codes_of(formats, count) * 2;
    if (sum > BYTES_MAX) {
        return PG_PARAMS_LARGE;
    }
    *bytes = sum;
    return PG_PARAMS_OK;
}

/* ------------------------------------------------------------------------------------------------------ encoding ---- */

static char *put_float4(char *p, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return pg_put_u32(p, bits);
}

static char *put_float8(char *p, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return pg_put_u64(p, bits);
}

static char *put_int(char *p, uint32_t type, int64_t value) {
    int32_t date = 0;
    int64_t timestamp = 0;
    bool valid = type == PG_DATE ? date_of(value, &date) : timestamp_of(value, &timestamp);
    switch (type) {
    case PG_INT2: return pg_put_u16(p, (uint16_t)value);
    case PG_INT4: return pg_put_u32(p, (uint32_t)value);
    case PG_INT8: return pg_put_u64(p, (uint64_t)value);
    case PG_FLOAT4: return put_float4(p, (float)value);
    case PG_FLOAT8: return put_float8(p, (double)value);
    case PG_DATE: rm_assert(valid); return pg_put_u32(p, (uint32_t)date);
    case PG_TIMESTAMP: case PG_TIMESTAMPTZ: rm_assert(valid); return pg_put_u64(p, (uint64_t)timestamp);
    default: break;
    }
    char digits[NUMBER_BYTES_MAX]; /* the last one may be the last of the memory */
    size_t len = (size_t)(number_put_i64(digits, value) - digits);
    memcpy(p, digits, len);
    return p + len;
}

static char *put_value(char *p, uint32_t type, const struct pg_arg *arg) {
    switch (arg->kind) {
    case PG_ARG_NULL: return p;
    case PG_ARG_BOOL: *p = arg->boolean ? 1 : 0; return p + 1;
    case PG_ARG_INT: return put_int(p, type, arg->integer);
    case PG_ARG_DOUBLE: return type == PG_FLOAT4 ? put_float4(p, (float)arg->real) : put_float8(p, arg->real);
    case PG_ARG_TEXT: case PG_ARG_BYTES: break;
    }
    if (arg->bytes.len > 0) {
        memcpy(p, arg->bytes.data, arg->bytes.len);
    }
    return p + arg->bytes.len;
}

static bool is_binary(uint32_t type, const struct pg_arg *arg) {
    struct shape shape = { 0, false };
    enum pg_params_result result = shape_of(type, arg, &shape);
    rm_assert(result == PG_PARAMS_OK);
    return shape.binary;
}

static char *put_formats(char *p, const struct pg_statement *statement, const struct pg_arg *args, uint32_t count) {
    struct formats formats = { false, false };
    for (uint32_t i = 0; i < count; i++) {
        add_format(&formats, &args[i], is_binary(statement->types[i], &args[i]));
    }
    uint32_t codes = codes_of(formats, count);
    p = pg_put_u16(p, (uint16_t)codes);
    for (uint32_t i = 0; i < codes; i++) {
        p = pg_put_u16(p, codes == 1 || is_binary(statement->types[i], &args[i]) ? 1 : 0);
    }
    return p;
}

char *pg_params_encode(char *out, const struct pg_statement *statement, const struct pg_arg *args, uint32_t count) {
    char *p = put_formats(out, statement, args, count);
    p = pg_put_u16(p, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        char *value = p + 4;
        p = put_value(value, statement->types[i], &args[i]);
        pg_put_u32(value - 4, args[i].kind == PG_ARG_NULL ? UINT32_MAX : (uint32_t)(p - value));
    }
    return p;
}
