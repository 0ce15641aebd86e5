#include <stdio.h>

#include "guard.h"
#include "pg/pg_wire.h"
#include "rows.h"

/* Bytes of a literal, with NULs in it. */
#define B(literal) { "" literal, sizeof(literal) - 1 }

/* -------------------------------------------------------------------------------------------------------- frames ---- */

struct frame_row {
    const char *name;
    struct span in;
    enum pg_framing framing;
    char type;
    uint32_t bytes;
};

static const struct frame_row frame_rows[] = {
    { "nothing", B(""), PG_FRAME_MORE, 0, 0 },
    { "a type alone", B("Z"), PG_FRAME_MORE, 0, 0 },
    { "two bytes of a length", B("Z\0\0"), PG_FRAME_MORE, 0, 0 },
    { "four of five", B("Z\0\0\0"), PG_FRAME_MORE, 0, 0 },
    { "a header", B("Z\0\0\0\5"), PG_FRAME_OK, 'Z', 6 },
    { "a header and more", B("Z\0\0\0\5IZ"), PG_FRAME_OK, 'Z', 6 },
    { "unknown type '?'", B("?"), PG_FRAME_BAD, 0, 0 },
    { "unknown type 0", B("\0"), PG_FRAME_BAD, 0, 0 },
    { "unknown type 0x80", B("\x80"), PG_FRAME_BAD, 0, 0 },
    { "unknown type 0xff", B("\xff"), PG_FRAME_BAD, 0, 0 },
    { "a type of the client's", B("Q"), PG_FRAME_BAD, 0, 0 },
    { "length 0", B("D\0\0\0\0"), PG_FRAME_BAD, 0, 0 },
    { "length 3", B("D\0\0\0\3"), PG_FRAME_BAD, 0, 0 },
    { "length 0x80000000", B("D\x80\0\0\0"), PG_FRAME_BAD, 0, 0 },
    { "length 0xffffffff", B("D\xff\xff\xff\xff"), PG_FRAME_BAD, 0, 0 },
    { "1 GiB of DataRow", B("D\x40\0\0\0"), PG_FRAME_OK, 'D', (1u << 30) + 1 },
    { "more than 1 GiB of DataRow", B("D\x40\0\0\1"), PG_FRAME_BAD, 0, 0 },
    { "1 GiB of ReadyForQuery", B("Z\x40\0\0\0"), PG_FRAME_BAD, 0, 0 },
    { "1 GiB of CommandComplete", B("C\x40\0\0\0"), PG_FRAME_BAD, 0, 0 },
    { "1 GiB of ParameterStatus", B("S\x40\0\0\0"), PG_FRAME_BAD, 0, 0 },
    { "30000 of CommandComplete", B("C\0\0\x75\x30"), PG_FRAME_OK, 'C', 30001 },
    { "30001 of CommandComplete", B("C\0\0\x75\x31"), PG_FRAME_BAD, 0, 0 },
    { "ReadyForQuery of 4", B("Z\0\0\0\4"), PG_FRAME_BAD, 0, 0 },
    { "ReadyForQuery of 6", B("Z\0\0\0\6"), PG_FRAME_BAD, 0, 0 },
    { "ParseComplete of 5", B("1\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "BindComplete of 5", B("2\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "CloseComplete of 5", B("3\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "NoData of 5", B("n\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "EmptyQueryResponse of 5", B("I\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "PortalSuspended of 5", B("s\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "CopyDone of 5", B("c\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "a key of 3", B("K\0\0\0\x0b"), PG_FRAME_BAD, 0, 0 },
    { "a key of 4", B("K\0\0\0\x0c"), PG_FRAME_OK, 'K', 13 },
    { "a key of 256", B("K\0\0\1\x08"), PG_FRAME_OK, 'K', 265 },
    { "a key of 257", B("K\0\0\1\x09"), PG_FRAME_BAD, 0, 0 },
    { "an error of the protocol before this one", B("Ecould not fork"), PG_FRAME_BAD, 0, 0 },
    { "an HTTP server", B("HTTP/1.1 400"), PG_FRAME_BAD, 0, 0 },
    { "Authentication of 4", B("R\0\0\0\4"), PG_FRAME_BAD, 0, 0 },
    { "a row of no columns", B("D\0\0\0\6"), PG_FRAME_OK, 'D', 7 },
    { "a row without a count", B("D\0\0\0\5"), PG_FRAME_BAD, 0, 0 },
    { "an error of one byte", B("E\0\0\0\5"), PG_FRAME_OK, 'E', 6 },
    { "an empty error", B("E\0\0\0\4"), PG_FRAME_BAD, 0, 0 },
    { "empty CopyData", B("d\0\0\0\4"), PG_FRAME_OK, 'd', 5 },
};

static struct guard guard;

static struct span guarded(struct span in) {
    return span_of(guard_copy(&guard, in.data, in.len), in.len);
}

static void test_frame(void **state) {
    const struct frame_row *row = *state;
    struct pg_frame frame = { 'x', 77 };
    assert_int_equal(pg_frame_read(guarded(row->in), &frame), row->framing);
    if (row->framing == PG_FRAME_OK) {
        assert_int_equal(frame.type, row->type);
        assert_int_equal(frame.bytes, row->bytes);
    } else {
        assert_int_equal(frame.bytes, 77);
    }
}

/* ------------------------------------------------------------------------------------------------------- readers ---- */

/* One table for all: what a reader makes of a body, as text. "-": refused. */
enum reader {
    AUTH, KEY, PARAMETER, PARAMETER_CUT, NEGOTIATION, READY, PARAMETERS, COLUMNS, COMPLETE, ERROR_, ERROR_CUT, NOTIFICATION, COPY
};

struct reader_row {
    const char *name;
    enum reader reader;
    struct span in;
    const char *expected;
};

#define COLUMN_TAIL "\0\0\0\0" "\0\1" "\0\0\0\x17" "\0\4" "\xff\xff\xff\xff" "\0\0"

static const struct reader_row reader_rows[] = {
    { "auth: ok", AUTH, B("\0\0\0\0"), "0 " },
    { "auth: ok with more", AUTH, B("\0\0\0\0x"), "-" },
    { "auth: three bytes", AUTH, B("\0\0\0"), "-" },
    { "auth: cleartext", AUTH, B("\0\0\0\3"), "3 " },
    { "auth: cleartext with more", AUTH, B("\0\0\0\3x"), "-" },
    { "auth: md5", AUTH, B("\0\0\0\5abcd"), "5 abcd" },
    { "auth: md5, salt of 3", AUTH, B("\0\0\0\5abc"), "-" },
    { "auth: md5, salt of 5", AUTH, B("\0\0\0\5abcde"), "-" },
    { "auth: SASL", AUTH, B("\0\0\0\12SCRAM"), "10 SCRAM" },
    { "auth: unknown", AUTH, B("\0\0\0\x63"), "99 " },
    { "auth: negative", AUTH, B("\xff\xff\xff\xff"), "-1 " },
    { "key: 4", KEY, B("\0\0\1\0abcd"), "256 abcd" },
    { "key: 8", KEY, B("\0\0\1\0abcdefgh"), "256 abcdefgh" },
    { "key: 3", KEY, B("\0\0\1\0abc"), "-" },
    { "key: none", KEY, B("\0\0\1\0"), "-" },
    { "parameter", PARAMETER, B("TimeZone\0UTC\0"), "TimeZone=UTC" },
    { "parameter: empty", PARAMETER, B("\0\0"), "=" },
    { "parameter: one string", PARAMETER, B("TimeZone\0"), "-" },
    { "parameter: second without an end", PARAMETER, B("TimeZone\0UTC"), "-" },
    { "parameter: three strings", PARAMETER, B("a\0b\0c\0"), "-" },
    { "parameter: nothing", PARAMETER, B(""), "-" },
    { "negotiation: whole", NEGOTIATION, B("\0\3\0\0\0\0\0\0"), "196608 0" },
    { "negotiation: minor", NEGOTIATION, B("\0\0\0\2\0\0\0\0"), "2 0" },
    { "negotiation: options", NEGOTIATION, B("\0\3\0\0\0\0\0\2a\0b\0"), "196608 2" },
    { "negotiation: fewer options than said", NEGOTIATION, B("\0\3\0\0\0\0\0\2a\0"), "-" },
    { "negotiation: more options than said", NEGOTIATION, B("\0\3\0\0\0\0\0\1a\0b\0"), "-" },
    { "negotiation: 2^31 options", NEGOTIATION, B("\0\3\0\0\x80\0\0\0a\0"), "-" },
    { "negotiation: short", NEGOTIATION, B("\0\3\0\0\0\0\0"), "-" },
    { "ready: idle", READY, B("I"), "I" },
    { "ready: transaction", READY, B("T"), "T" },
    { "ready: failed", READY, B("E"), "E" },
    { "ready: other", READY, B("X"), "-" },
    { "ready: two", READY, B("II"), "-" },
    { "parameters: none", PARAMETERS, B("\0\0"), "0" },
    { "parameters: two", PARAMETERS, B("\0\2\0\0\0\1\0\0\0\2"), "2" },
    { "parameters: fewer than said", PARAMETERS, B("\0\2\0\0\0\1"), "-" },
    { "parameters: more than said", PARAMETERS, B("\0\0\0\0\0\1"), "-" },
    { "parameters: one byte", PARAMETERS, B("\0"), "-" },
    { "columns: none", COLUMNS, B("\0\0"), "0:" },
    { "columns: one", COLUMNS, B("\0\1" "id\0" COLUMN_TAIL), "1: id/23/4/-1" },
    { "columns: two", COLUMNS, B("\0\2" "id\0" COLUMN_TAIL "\0" COLUMN_TAIL), "2: id/23/4/-1 /23/4/-1" },
    { "columns: a byte less", COLUMNS, B("\0\1" "id\0" "\0\0\0\0" "\0\1" "\0\0\0\x17" "\0\4" "\xff\xff\xff\xff" "\0"), "-" },
    { "columns: a byte more", COLUMNS, B("\0\1" "id\0" COLUMN_TAIL "x"), "-" },
    { "columns: name without an end", COLUMNS, B("\0\1" "id"), "-" },
    { "columns: one byte", COLUMNS, B("\0"), "-" },
    { "columns: nothing", COLUMNS, B(""), "-" },
    { "complete: select", COMPLETE, B("SELECT 12\0"), "SELECT 12|12" },
    { "complete: insert", COMPLETE, B("INSERT 0 3\0"), "INSERT 0 3|3" },
    { "complete: no number", COMPLETE, B("BEGIN\0"), "BEGIN|0" },
    { "complete: digits without a blank", COMPLETE, B("X12\0"), "X12|0" },
    { "complete: digits only", COMPLETE, B("12\0"), "12|0" },
    { "complete: empty", COMPLETE, B("\0"), "|0" },
    { "complete: the largest number", COMPLETE, B("SELECT 18446744073709551615\0"),
      "SELECT 18446744073709551615|18446744073709551615" },
    { "complete: a larger number", COMPLETE, B("SELECT 18446744073709551616\0"), "SELECT 18446744073709551616|0" },
    { "complete: without an end", COMPLETE, B("SELECT 12"), "-" },
    { "complete: NUL inside", COMPLETE, B("SELECT\0 12\0"), "-" },
    { "error: all", ERROR_,
      B("SFEHLER\0VERROR\0C23505\0Mtwice\0Ddetail\0ntab_pkey\0Fx.c\0L1\0R_bt_check\0\0"),
      "ERROR/23505/twice/tab_pkey/_bt_check" },
    { "error: severity of old servers", ERROR_, B("SERROR\0C23505\0Mx\0\0"), "ERROR/23505/x//" },
    { "error: V before S", ERROR_, B("VFATAL\0SFEHLER\0C57P01\0Mx\0\0"), "FATAL/57P01/x// fatal" },
    { "error: panic", ERROR_, B("VPANIC\0Mx\0\0"), "PANIC/XX000/x// fatal" },
    { "error: no code", ERROR_, B("SERROR\0Mx\0\0"), "ERROR/XX000/x//" },
    { "error: a code of 4", ERROR_, B("C2350\0\0"), "/XX000///" },
    { "error: no field", ERROR_, B("\0"), "/XX000///" },
    { "error: unknown fields", ERROR_, B("?q\0\x01w\0\xffz\0Mx\0\0"), "/XX000/x//" },
    { "error: empty text", ERROR_, B("M\0\0"), "/XX000///" },
    { "error: field without an end", ERROR_, B("Mx"), "-" },
    { "error: list without an end", ERROR_, B("Mx\0"), "-" },
    { "error: more behind the end", ERROR_, B("Mx\0\0y"), "-" },
    { "error: nothing", ERROR_, B(""), "-" },
    { "cut error: within its message", ERROR_CUT, B("SERROR\0VERROR\0C22P02\0Mwrong is"), "ERROR/22P02/wrong is//" },
    { "cut error: within a character of it", ERROR_CUT, B("VERROR\0C22P02\0Mf\xc3\xbcnf\xe2\x82"),
      "ERROR/22P02/f\xc3\xbcnf//" },
    { "cut error: behind it", ERROR_CUT, B("VERROR\0C22P02\0Mwrong\0Dde"), "ERROR/22P02/wrong//" },
    { "cut error: between two fields", ERROR_CUT, B("VERROR\0C22P02\0Mwrong\0"), "ERROR/22P02/wrong//" },
    { "cut error: behind a field's letter", ERROR_CUT, B("VERROR\0C22P02\0M"), "ERROR/22P02///" },
    { "cut error: within its code", ERROR_CUT, B("VERROR\0C22P"), "ERROR/XX000///" },
    { "cut error: within its severity", ERROR_CUT, B("SFEHLER\0VFATA"), "FEHLER/XX000///" },
    { "cut error: within its constraint", ERROR_CUT, B("VERROR\0C23505\0Mx\0ntab_"), "ERROR/23505/x//" },
    { "cut error: fatal", ERROR_CUT, B("VFATAL\0C57P01\0Mx\0D"), "FATAL/57P01/x// fatal" },
    { "cut error: nothing", ERROR_CUT, B(""), "/XX000///" },
    { "cut error: over at the cut", ERROR_CUT, B("Mx\0\0"), "-" },
    { "cut error: over before it", ERROR_CUT, B("Mx\0\0y"), "-" },
    { "cut parameter: within its value", PARAMETER_CUT, B("TimeZone\0Eur"), "TimeZone=Eur" },
    { "cut parameter: behind its name", PARAMETER_CUT, B("TimeZone\0"), "TimeZone=" },
    { "cut parameter: within its name", PARAMETER_CUT, B("Time"), "Time=" },
    { "cut parameter: nothing", PARAMETER_CUT, B(""), "=" },
    { "cut parameter: over at the cut", PARAMETER_CUT, B("TimeZone\0Europe\0"), "-" },
    { "cut parameter: over before it", PARAMETER_CUT, B("TimeZone\0Europe\0x"), "-" },
    { "notification", NOTIFICATION, B("\0\0\0\7chan\0load\0"), "7/chan/load" },
    { "notification: no payload", NOTIFICATION, B("\0\0\0\7chan\0"), "-" },
    { "notification: more", NOTIFICATION, B("\0\0\0\7chan\0load\0x"), "-" },
    { "notification: short", NOTIFICATION, B("\0\0\0"), "-" },
    { "copy: no columns", COPY, B("\0\0\0"), "yes" },
    { "copy: two", COPY, B("\0\0\2\0\0\0\0"), "yes" },
    { "copy: one of two", COPY, B("\0\0\2\0\0"), "-" },
    { "copy: three of two", COPY, B("\0\0\2\0\0\0\0\0\0"), "-" },
    { "copy: short", COPY, B("\0\0"), "-" },
};

#define TEXT(s) (int)(s).len, (s).data

static void read_columns(struct span in, char *out) {
    size_t cursor = 0;
    uint32_t columns = 77, count = 0;
    struct pg_column_text column;
    char *p = out;
    while (pg_read_column(in, &cursor, &columns, &column)) {
        count++;
        p += sprintf(p, " %.*s/%u/%d/%d", TEXT(column.name), column.oid, column.bytes, column.modifier);
    }
    if (cursor != in.len || count != columns) {
        strcpy(out, "-");
        return;
    }
    memmove(out + 2, out, (size_t)(p - out) + 1);
    out[0] = (char)('0' + count);
    out[1] = ':';
    out[count == 0 ? 2 : (p - out) + 2] = '\0';
}

static void read_error(enum reader reader, struct span in, char *out) {
    struct pg_error e;
    if (reader == ERROR_ ? pg_read_error(in, &e) : pg_read_error_cut(in, &e)) {
        sprintf(out, "%.*s/%.*s/%.*s/%.*s/%.*s%s", TEXT(e.severity), TEXT(e.sqlstate), TEXT(e.message), TEXT(e.constraint),
                TEXT(e.routine), e.fatal ? " fatal" : "");
    }
}

static void read_text_messages(enum reader reader, struct span in, char *out) {
    struct span name, value;
    struct pg_complete complete;
    struct pg_notification n;
    struct pg_authentication auth;
    struct pg_cancel_key key;
    if (reader == AUTH && pg_read_authentication(in, &auth)) {
        sprintf(out, "%d %.*s", auth.kind, TEXT(auth.data));
    } else if (reader == KEY && pg_read_key(in, &key)) {
        sprintf(out, "%u %.*s", key.pid, (int)key.key_bytes, key.key);
    } else if (reader == PARAMETER && pg_read_parameter(in, &name, &value)) {
        sprintf(out, "%.*s=%.*s", TEXT(name), TEXT(value));
    } else if (reader == PARAMETER_CUT && pg_read_parameter_cut(in, &name, &value)) {
        sprintf(out, "%.*s=%.*s", TEXT(name), TEXT(value));
    } else if (reader == COMPLETE && pg_read_complete(in, &complete)) {
        sprintf(out, "%.*s|%llu", TEXT(complete.tag), (unsigned long long)complete.affected);
    } else if (reader == NOTIFICATION && pg_read_notification(in, &n)) {
        sprintf(out, "%u/%.*s/%.*s", n.pid, TEXT(n.channel), TEXT(n.payload));
    }
}

static void test_reader(void **state) {
    const struct reader_row *row = *state;
    struct span in = guarded(row->in);
    char out[512] = "-", status;
    struct pg_negotiation negotiation;
    uint32_t count;
    if (row->reader == NEGOTIATION && pg_read_negotiation(in, &negotiation)) {
        sprintf(out, "%u %u", negotiation.version, negotiation.options);
    } else if (row->reader == READY && pg_read_ready(in, &status)) {
        sprintf(out, "%c", status);
    } else if (row->reader == PARAMETERS && pg_read_parameters(in, &count)) {
        sprintf(out, "%u", count);
    } else if (row->reader == COPY && pg_read_copy(in)) {
        strcpy(out, "yes");
    } else if (row->reader == COLUMNS) {
        read_columns(in, out);
    } else if (row->reader == ERROR_ || row->reader == ERROR_CUT) {
        read_error(row->reader, in, out);
    } else {
        read_text_messages(row->reader, in, out);
    }
    assert_string_equal(out, row->expected);
}

/* Every reader at every cut of every body: nothing is read beyond the end. */
static void test_readers_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof reader_rows / sizeof *reader_rows; i++) {
        struct span in = reader_rows[i].in;
        for (size_t len = 0; len < in.len; len++) {
            struct span cut = guarded(span_first(in, len));
            char out[512] = "";
            read_columns(cut, out);
            read_error(ERROR_, cut, out);
            read_error(ERROR_CUT, cut, out);
            for (enum reader reader = AUTH; reader <= COPY; reader++) {
                read_text_messages(reader, cut, out);
            }
            struct pg_negotiation negotiation;
            uint32_t count;
            (void)(pg_read_negotiation(cut, &negotiation) || pg_read_parameters(cut, &count) || pg_read_copy(cut));
        }
    }
}

static const struct cut_row {
    const char *name;
    struct span text;
    size_t n;
    struct span expected;
} cut_rows[] = {
    { "cut text: shorter", B("abc"), 9, B("abc") },
    { "cut text: to nothing", B("abc"), 0, B("") },
    { "cut text: nothing", B(""), 9, B("") },
    { "cut text: ASCII", B("abc"), 2, B("ab") },
    { "cut text: behind 2", B("a\xc3\xbc"), 3, B("a\xc3\xbc") },
    { "cut text: within 2", B("a\xc3\xbc"), 2, B("a") },
    { "cut text: within 3", B("\xe2\x82\xac" "x"), 2, B("") },
    { "cut text: behind 3", B("\xe2\x82\xac" "x"), 3, B("\xe2\x82\xac") },
    { "cut text: within 4", B("x\xf0\x9f\x98\x80"), 4, B("x") },
    { "cut text: behind 4", B("x\xf0\x9f\x98\x80"), 5, B("x\xf0\x9f\x98\x80") },
    { "cut text: no UTF-8", B("\x80\x80\x80\x80\x80"), 4, B("\x80\x80\x80\x80") },
};

static void test_cut(void **state) {
    const struct cut_row *row = *state;
    struct span cut = pg_text_cut(guarded(row->text), row->n);
    assert_int_equal(cut.len, row->expected.len);
    assert_memory_equal(cut.data, row->expected.data, cut.len);
}

/* Writes only when it returns true. */
static void test_out_is_left_alone(void **state) {
    (void)state;
    char status = 'x';
    uint32_t count = 77;
    struct pg_cancel_key key = { .pid = 77 };
    assert_false(pg_read_ready(SPAN("?"), &status));
    assert_false(pg_read_parameters(SPAN("?"), &count));
    assert_false(pg_read_key(SPAN("?"), &key));
    assert_int_equal(status, 'x');
    assert_int_equal(count, 77);
    assert_int_equal(key.pid, 77);
}

int main(void) {
    static struct rows rows;
    guard = guard_open(4096);
    ROWS_ADD(&rows, test_frame, frame_rows);
    ROWS_ADD(&rows, test_reader, reader_rows);
    ROWS_ADD(&rows, test_cut, cut_rows);
    ROWS_TEST(&rows, test_readers_cut);
    ROWS_TEST(&rows, test_out_is_left_alone);
    int failed = rows_run("pg_wire", &rows);
    guard_close(&guard);
    return failed;
}
