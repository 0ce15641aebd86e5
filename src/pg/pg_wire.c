#include "pg/pg_wire.h"

/* -------------------------------------------------------------------------------------------------------- frames ---- */

enum { LONG_BYTES_MAX = 1 << 30 };

const struct pg_frame_rule pg_frame_rules[256] = {
    ['1'] = { 4, 4 },                    /* ParseComplete */
    ['2'] = { 4, 4 },                    /* BindComplete */
    ['3'] = { 4, 4 },                    /* CloseComplete */
    ['A'] = { 10, LONG_BYTES_MAX },      /* NotificationResponse */
    ['C'] = { 5, PG_CONTROL_BYTES_MAX }, /* CommandComplete */
    ['D'] = { 6, LONG_BYTES_MAX },       /* DataRow */
    ['E'] = { 5, LONG_BYTES_MAX },       /* ErrorResponse */
    ['G'] = { 7, PG_CONTROL_BYTES_MAX }, /* CopyInResponse */
    ['H'] = { 7, PG_CONTROL_BYTES_MAX }, /* CopyOutResponse */
    ['I'] = { 4, 4 },                    /* EmptyQueryResponse */
    ['K'] = { 12, 8 + PG_KEY_BYTES_MAX }, /* BackendKeyData */
    ['N'] = { 5, LONG_BYTES_MAX },       /* NoticeResponse */
    ['R'] = { 8, PG_CONTROL_BYTES_MAX }, /* Authentication... */
    ['S'] = { 6, PG_CONTROL_BYTES_MAX }, /* ParameterStatus */
    ['T'] = { 6, LONG_BYTES_MAX },       /* RowDescription */
    ['V'] = { 8, LONG_BYTES_MAX },       /* FunctionCallResponse */
    ['W'] = { 7, PG_CONTROL_BYTES_MAX }, /* CopyBothResponse */
    ['Z'] = { 5, 5 },                    /* ReadyForQuery */
    ['c'] = { 4, 4 },                    /* CopyDone */
    ['d'] = { 4, LONG_BYTES_MAX },       /* CopyData */
    ['n'] = { 4, 4 },                    /* NoData */
    ['s'] = { 4, 4 },                    /* PortalSuspended */
    ['t'] = { 6, LONG_BYTES_MAX },       /* ParameterDescription */
    ['v'] = { 12, PG_CONTROL_BYTES_MAX }, /* NegotiateProtocolVersion */
};

/* ------------------------------------------------------------------------------------------------------- readers ---- */

/* A string up to its NUL, from *body, which is advanced behind it. */
static bool take_text(struct span *body, struct span *out) {
    const char *end = body->len > 0 ? memchr(body->data, '\0', body->len) : NULL;
    if (end == NULL) {
        return false;
    }
    *out = span_of(body->data, (size_t)(end - body->data));
    *body = span_from(*body, out->len + 1);
    return true;
}

bool pg_read_authentication(struct span body, struct pg_authentication *out) {
    if (body.len < 4) {
        return false;
    }
    int32_t kind = (int32_t)pg_get_u32(body.data);
    struct span data = span_from(body, 4);
    if ((kind == PG_AUTH_OK || kind == PG_AUTH_CLEARTEXT) && data.len != 0) {
        return false;
    }
    if (kind == PG_AUTH_MD5 && data.len != 4) {
        return false;
    }
    *out = (struct pg_authentication){ kind, data };
    return true;
}

bool pg_read_key(struct span body, struct pg_cancel_key *out) {
    if (body.len < 4 + 4 || body.len > 4 + PG_KEY_BYTES_MAX) {
        return false;
    }
    out->pid = pg_get_u32(body.data);
    out->key_bytes = (uint32_t)body.len - 4;
    memcpy(out->key, body.data + 4, out->key_bytes);
    return true;
}

bool pg_read_parameter(struct span body, struct span *name, struct span *value) {
    struct span first, second;
    if (!take_text(&body, &first) || !take_text(&body, &second) || body.len != 0) {
        return false;
    }
    *name = first;
    *value = second;
    return true;
}

bool pg_read_parameter_cut(struct span body, struct span *name, struct span *value) {
    struct span first, second = { NULL, 0 };
    if (!take_text(&body, &first)) {
        first = body;
    } else if (take_text(&body, &second)) {
        return false;
    } else {
        second = body;
    }
    *name = first;
    *value = second;
    return true;
}

bool pg_read_negotiation(struct span body, struct pg_negotiation *out) {
    if (body.len < 8) {
        return false;
    }
    struct pg_negotiation read = { pg_get_u32(body.data), pg_get_u32(body.data + 4) };
    body = span_from(body, 8);
    for (uint32_t i = 0; i < read.options; i++) {
        struct span option;
        if (!take_text(&body, &option)) {
            return false;
        }
    }
    if (body.len != 0) {
        return false;
    }
    *out = read;
    return true;
}

bool pg_read_ready(struct span body, char *status) {
    if (body.len != 1) {
        return false;
    }
    char read = body.data[0];
    if (read != 'I' && read != 'T' && read != 'E') {
        return false;
    }
    *status = read;
    return true;
}

bool pg_read_parameters(struct span body, uint32_t *count) {
    if (body.len < 2) {
        return false;
    }
    uint32_t read = pg_get_u16(body.data);
    if (body.len != 2 + (size_t)4 * read) {
        return false;
    }
    *count = read;
    return true;
}

bool pg_read_column(struct span body, size_t *cursor, uint32_t *columns, struct pg_column_text *out) {
    enum { FIXED_BYTES = 4 + 2 + 4 + 2 + 4 + 2 }; /* table, number, type, bytes, modifier, format */
    *columns = 0;
    if (body.len < 2) {
        *cursor = body.len + 1; /* never equal to body.len: malformed */
        return false;
    }
    *columns = pg_get_u16(body.data);
    if (*cursor == 0) {
        *cursor = 2;
    }
    struct span rest = span_from(body, *cursor), name;
    if (rest.len == 0 || !take_text(&rest, &name) || rest.len < FIXED_BYTES) {
        return false;
    }
    *out = (struct pg_column_text){ .name = name,
                                    .oid = pg_get_u32(rest.data + 6),
                                    .bytes = (int16_t)pg_get_u16(rest.data + 10),
                                    .modifier = (int32_t)pg_get_u32(rest.data + 12) };
    *cursor += name.len + 1 + FIXED_BYTES;
    return true;
}

bool pg_read_complete(struct span body, struct pg_complete *out) {
    struct span rest = body, tag;
    if (!take_text(&rest, &tag) || rest.len != 0) {
        return false;
    }
    size_t at = tag.len;
    while (at > 0 && tag.data[at - 1] >= '0' && tag.data[at - 1] <= '9') {
        at--;
    }
    uint64_t affected = 0;
    if (at == tag.len || at == 0 || tag.data[at - 1] != ' ' || !span_u64(span_from(tag, at), &affected)) {
        affected = 0;
    }
    *out = (struct pg_complete){ tag, affected };
    return true;
}

static void error_field(struct pg_error *error, char field, struct span text) {
    switch (field) {
    case 'V': error->severity = text; break;
    case 'S': error->severity = error->severity.len == 0 ? text : error->severity; break;
    case 'C': error->sqlstate = text; break;
    case 'M': error->message = text; break;
    case 'n': error->constraint = text; break;
    case 'R': error->routine = text; break;
    default: break; /* "frontends should silently ignore fields of unrecognized type" */
    }
}

struct span pg_text_cut(struct span text, size_t n) {
    const unsigned char *bytes = (const unsigned char *)text.data;
    n = text.len < n ? text.len : n;
    size_t behind = 0; /* of the last character's first byte */
    while (behind < n && behind < 3 && (bytes[n - 1 - behind] & 0xc0) == 0x80) {
        behind++;
    }
    unsigned char first = behind < n ? bytes[n - 1 - behind] : 0;
    size_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    return span_first(text, wanted > behind + 1 ? n - 1 - behind : n);
}

/* The fields up to the list's end, of which *body is behind then; or up to one that is cut. False: there is no end. */
static bool read_fields(struct span *body, struct pg_error *out) {
    while (body->len > 0 && body->data[0] != '\0') {
        char field = body->data[0];
        struct span text;
        *body = span_from(*body, 1);
        if (!take_text(body, &text)) {
            if (field == 'M') {
                out->message = pg_text_cut(*body, body->len);
            }
            return false;
        }
        error_field(out, field, text);
    }
    bool ends = body->len > 0;
    *body = span_from(*body, 1);
    return ends;
}

static void judge_error(struct pg_error *read) {
    if (read->sqlstate.len != PG_SQLSTATE_BYTES - 1) {
        read->sqlstate = SPAN("XX000");
    }
    read->fatal = span_equal(read->severity, SPAN("FATAL")) || span_equal(read->severity, SPAN("PANIC"));
}

bool pg_read_error(struct span body, struct pg_error *out) {
    struct pg_error read = { 0 };
    if (!read_fields(&body, &read) || body.len != 0) {
        return false;
    }
    judge_error(&read);
    *out = read;
    return true;
}

bool pg_read_error_cut(struct span body, struct pg_error *out) {
    struct pg_error read = { 0 };
    if (read_fields(&body, &read)) {
        return false;
    }
    judge_error(&read);
    *out = read;
    return true;
}

bool pg_read_notification(struct span body, struct pg_notification *out) {
    if (body.len < 4) {
        return false;
    }
    struct pg_notification read = { .pid = pg_get_u32(body.data) };
    body = span_from(body, 4);
    if (!take_text(&body, &read.channel) || !take_text(&body, &read.payload) || body.len != 0) {
        return false;
    }
    *out = read;
    return true;
}

bool pg_read_copy(struct span body) {
    return body.len >= 3 && body.len == 3 + (size_t)2 * pg_get_u16(body.data + 1);
}
