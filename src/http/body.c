#include "http/http_priv.h"
#include "http/scan.h"
#include "mem/assert.h"

/* ------------------------------------------------------------------------------------------------ framing of chunks ---- */

enum { DIGITS_MAX = 16 }; /* of a chunk size: 64 bits, leading zeros included */

/* What a byte is to the grammar of chunked coding. */
enum byte_class {
    IS_HEX,
    IS_TOKEN, /* any other tchar */
    IS_BLANK, /* SP, HTAB */
    IS_CR,
    IS_LF,
    IS_SEMICOLON,
    IS_EQUALS,
    IS_COLON,
    IS_QUOTE,
    IS_BACKSLASH,
    IS_TEXT, /* anything else that a field value may hold */
    IS_BAD,
    BYTE_CLASSES_COUNT,
};

static enum byte_class class_of(char byte) {
    switch (byte) {
    case ' ':
    case '\t': return IS_BLANK;
    case '\r': return IS_CR;
    case '\n': return IS_LF;
    case ';': return IS_SEMICOLON;
    case '=': return IS_EQUALS;
    case ':': return IS_COLON;
    case '"': return IS_QUOTE;
    case '\\': return IS_BACKSLASH;
    default:
        return scan_is(byte, SCAN_HEX)     ? IS_HEX
               : scan_is(byte, SCAN_TOKEN) ? IS_TOKEN
               : scan_is(byte, SCAN_TEXT)  ? IS_TEXT
                                           : IS_BAD;
    }
}

#define TOKEN(state) [IS_HEX] = state, [IS_TOKEN] = state
#define TEXT(state)                                                                                                    \
    TOKEN(state), [IS_BLANK] = state, [IS_SEMICOLON] = state, [IS_EQUALS] = state, [IS_COLON] = state, [IS_TEXT] = state

/* The next state by state and byte; 0 (BODY_NONE) is an error. RFC 9112 §7.1: chunk, chunk-ext, trailer-section. Blanks are
 * taken where BWS is allowed and nowhere else; a CR is good only before its LF. */
static const uint8_t next_state[BODY_STATES_COUNT][BYTE_CLASSES_COUNT] = {
    [BODY_SIZE] = { [IS_HEX] = BODY_DIGITS },
    [BODY_DIGITS] = { [IS_HEX] = BODY_DIGITS, [IS_CR] = BODY_SIZE_LF, [IS_SEMICOLON] = BODY_EXTENSION,
                      [IS_BLANK] = BODY_SIZE_BLANK },
    [BODY_SIZE_BLANK] = { [IS_BLANK] = BODY_SIZE_BLANK, [IS_SEMICOLON] = BODY_EXTENSION },
    [BODY_EXTENSION] = { [IS_BLANK] = BODY_EXTENSION, TOKEN(BODY_NAME) },
    [BODY_NAME] = { TOKEN(BODY_NAME), [IS_BLANK] = BODY_NAME_BLANK, [IS_EQUALS] = BODY_VALUE,
                    [IS_SEMICOLON] = BODY_EXTENSION, [IS_CR] = BODY_SIZE_LF },
    [BODY_NAME_BLANK] = { [IS_BLANK] = BODY_NAME_BLANK, [IS_EQUALS] = BODY_VALUE, [IS_SEMICOLON] = BODY_EXTENSION },
    [BODY_VALUE] = { [IS_BLANK] = BODY_VALUE, TOKEN(BODY_VALUE_TOKEN), [IS_QUOTE] = BODY_VALUE_QUOTED },
    [BODY_VALUE_TOKEN] = { TOKEN(BODY_VALUE_TOKEN), [IS_SEMICOLON] = BODY_EXTENSION, [IS_CR] = BODY_SIZE_LF,
                           [IS_BLANK] = BODY_VALUE_BLANK },
    [BODY_VALUE_QUOTED] = { TEXT(BODY_VALUE_QUOTED), [IS_QUOTE] = BODY_VALUE_END, [IS_BACKSLASH] = BODY_VALUE_ESCAPE },
    [BODY_VALUE_ESCAPE] = { TEXT(BODY_VALUE_QUOTED), [IS_QUOTE] = BODY_VALUE_QUOTED,
                            [IS_BACKSLASH] = BODY_VALUE_QUOTED },
    [BODY_VALUE_END] = { [IS_SEMICOLON] = BODY_EXTENSION, [IS_CR] = BODY_SIZE_LF, [IS_BLANK] = BODY_VALUE_BLANK },
    [BODY_VALUE_BLANK] = { [IS_BLANK] = BODY_VALUE_BLANK, [IS_SEMICOLON] = BODY_EXTENSION },
    [BODY_SIZE_LF] = { [IS_LF] = BODY_DATA }, /* or BODY_TRAILER, when the size is 0 */
    [BODY_DATA_CR] = { [IS_CR] = BODY_DATA_LF },
    [BODY_DATA_LF] = { [IS_LF] = BODY_SIZE },
    [BODY_TRAILER] = { TOKEN(BODY_TRAILER_NAME), [IS_CR] = BODY_END_LF },
    [BODY_TRAILER_NAME] = { TOKEN(BODY_TRAILER_NAME), [IS_COLON] = BODY_TRAILER_VALUE },
    [BODY_TRAILER_VALUE] = { TEXT(BODY_TRAILER_VALUE), [IS_QUOTE] = BODY_TRAILER_VALUE,
                             [IS_BACKSLASH] = BODY_TRAILER_VALUE, [IS_CR] = BODY_TRAILER_LF },
    [BODY_TRAILER_LF] = { [IS_LF] = BODY_TRAILER },
    [BODY_END_LF] = { [IS_LF] = BODY_END },
};

static int add_digit(struct http_conn *conn, char byte) {
    uint32_t digit = byte <= '9' ? (uint32_t)(byte - '0') : (uint32_t)((byte | 0x20) - 'a') + 10;
    if (conn->chunk_digits == DIGITS_MAX) { /* 16 of them can't overflow */
        return 400;
    }
    conn->chunk_digits++;
    conn->body_left = conn->body_left << 4 | digit;
    return BODY_OK;
}

/* Bytes that carry nothing for us: extensions and trailers of one request have the limit of a header together. */
static int add_extra(struct http_conn *conn, uint8_t state) {
    if (++conn->chunk_extra <= conn->shared->limits.header_bytes) {
        return BODY_OK;
    }
    return state >= BODY_TRAILER ? 431 : 400;
}

/* A trailer begins: RFC 9112 §7.1.2. */
static int add_trailer(struct http_conn *conn) {
    _Static_assert(HTTP_FIELDS_MAX < UINT8_MAX, "trailers are counted in a byte");
    return ++conn->trailers <= conn->shared->limits.fields ? add_extra(conn, BODY_TRAILER_NAME) : 431;
}

/* One byte of framing. */
static int step(struct http_conn *conn, char byte) {
    uint8_t before = conn->state, state = next_state[before][class_of(byte)];
    conn->state = state;
    switch (state) {
    case BODY_NONE: return 400;
    case BODY_DIGITS: return add_digit(conn, byte);
    case BODY_DATA: conn->state = conn->body_left == 0 ? BODY_TRAILER : BODY_DATA; return BODY_OK;
    case BODY_SIZE:
        conn->body_left = 0;
        conn->chunk_digits = 0;
        return BODY_OK;
    case BODY_SIZE_LF:
    case BODY_DATA_LF:
    case BODY_END_LF:
    case BODY_END: return BODY_OK;
    case BODY_TRAILER_NAME:
        if (before == BODY_TRAILER) {
            return add_trailer(conn);
        }
        return add_extra(conn, state);
    default: return add_extra(conn, state);
    }
}

/* ---------------------------------------------------------------------------------------------------------- content ---- */

static bool is_collected(const struct http_exchange *x) {
    return !x->failed && x->route != NULL && x->route->body == HTTP_BODY_BUFFERED;
}

/* Where a collected body can be written to. */
static char *collected(struct http_exchange *x) {
    return x->body_slot != NULL ? x->body_slot : x->workspace.base + (x->body.data - x->workspace.base);
}

/* From now on the body is in a slot. False when none is free: 503 then, and the rest is dropped. */
static bool take_slot(struct http_exchange *x) {
    struct pool *bodies = x->shared->bodies;
    char *slot = bodies != NULL ? pool_take(bodies) : NULL;
    if (slot == NULL) {
        http_response_fail(x, 503);
        x->body = span_of(NULL, 0);
        return false;
    }
    if (x->body.len > 0) {
        memcpy(slot, x->body.data, x->body.len);
    }
    x->body_slot = slot;
    x->body.data = slot;
    return true;
}

/* Appends to a collected body. Room for a body of known length was taken at its beginning, or it is in the input, whole. */
static void collect(struct http_exchange *x, struct span bytes) {
    if (x->body.data == NULL) {
        rm_assert(bytes.len == x->request.content_length);
        x->body = bytes;
        return;
    }
    size_t len = x->body.len + bytes.len;
    if (x->body_slot == NULL && x->request.chunked) {
        if (len > HTTP_BODY_IN_WORKSPACE_BYTES) {
            if (!take_slot(x)) {
                return;
            }
        } else {
            bool extended = arena_extend(&x->workspace, x->body.data, len);
            rm_assert(extended); /* http_workspace_bytes counts it */
        }
    }
    memcpy(collected(x) + x->body.len, bytes.data, bytes.len);
    x->body.len = len;
}

/* Takes content, at most to the end of it or of the chunk. */
static int take_content(struct http_conn *conn, struct span data, size_t *used, struct span *piece) {
    struct http_exchange *x = conn->reading;
    struct span bytes = span_first(data, conn->body_left);
    x->continue_owed = false;
    x->body_received += bytes.len;
    *used += bytes.len;
    conn->body_left -= bytes.len;
    if (conn->body_left == 0) {
        conn->state = conn->state == BODY_LENGTH ? BODY_END : BODY_DATA_CR;
    }
    if (body_is_streamed(x)) {
        *piece = bytes;
        return BODY_PIECE;
    }
    if (x->body_received > conn->shared->limits.body_bytes) {
        return 413;
    }
    if (is_collected(x)) {
        collect(x, bytes);
    }
    return BODY_OK;
}

int body_take(struct http_conn *conn, struct span data, size_t *used, struct span *piece) {
    rm_assert(conn->reading != NULL);
    *used = 0;
    while (conn->state != BODY_END) {
        struct span rest = span_from(data, *used);
        if (rest.len == 0) {
            return BODY_MORE;
        }
        int result;
        if (conn->state == BODY_LENGTH || conn->state == BODY_DATA) {
            result = take_content(conn, rest, used, piece);
        } else {
            conn->reading->continue_owed = false;
            *used += 1;
            result = step(conn, rest.data[0]);
        }
        if (result != BODY_OK) {
            return result;
        }
    }
    return BODY_OK;
}

/* ------------------------------------------------------------------------------------------------------------ begin ---- */

/* The place for a body that is to be collected. It is the newest take of the workspace and nothing else is taken before it is
 * whole, so it can grow there; therefore the head goes first. */
static void prepare(struct http_exchange *x, struct span data) {
    struct http_request *request = &x->request;
    if (!request->chunked && request->content_length <= data.len
        && request->content_length <= HTTP_BODY_IN_WORKSPACE_BYTES) {
        exchange_reserve(x, (size_t)request->content_length); /* it is here already, in one piece */
        return;
    }
    exchange_settle(x);
    if (!request->chunked && request->content_length > HTTP_BODY_IN_WORKSPACE_BYTES) {
        take_slot(x);
        return;
    }
    x->body.data = arena_take(&x->workspace, request->chunked ? 0 : (size_t)request->content_length);
    rm_assert(x->body.data != NULL);
}

void body_begin(struct http_conn *conn, struct http_exchange *x, struct span data) {
    const struct http_request *request = &x->request;
    uint64_t limit = conn->shared->limits.body_bytes;
    if (!body_is_streamed(x) && !request->chunked && request->content_length > limit) {
        exchange_refuse(x, 413);
        return;
    }
    if (is_collected(x)) {
        prepare(x, data);
    }
    if (x->failed && request->expect_continue) { /* whether the body comes now is the client's choice: RFC 9110 §10.1.1 */
        exchange_refuse(x, x->status);
        return;
    }
    conn->reading = x;
    conn->state = request->chunked ? BODY_SIZE : BODY_LENGTH;
    conn->body_left = request->chunked ? 0 : request->content_length;
    if (conn->state == BODY_LENGTH && conn->body_left == 0) {
        conn->state = BODY_END;
    }
    conn->chunk_extra = 0;
    conn->chunk_digits = 0;
    conn->trailers = 0;
    x->continue_owed = request->expect_continue && conn->state != BODY_END;
}
