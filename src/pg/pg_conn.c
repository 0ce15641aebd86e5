#include "pg/pg_conn.h"

#include "mem/assert.h"
#include "mem/counter.h"
#include "pg/pg_conn_priv.h"

/* --------------------------------------------------------------------------------------------------------- words ---- */

void words_span(struct words *words, struct span text) {
    for (size_t i = 0; i < text.len && words->len + 1 < words->room; i++) {
        unsigned char c = (unsigned char)text.data[i];
        words->out[words->len++] = c < ' ' || c == 127 ? '?' : (char)c;
    }
    if (words->len + 1 == words->room) { /* cut: perhaps within a character */
        words->len = (uint32_t)pg_text_cut(span_of(words->out, words->len), words->len).len;
    }
    words->out[words->len] = '\0';
}

void words_text(struct words *words, const char *text) {
    words_span(words, span_text(text));
}

void words_number(struct words *words, uint32_t number) {
    char digits[10];
    uint32_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    words_span(words, span_of(digits + at, sizeof digits - at));
}

static struct words words_why(struct pg_conn *conn) {
    return (struct words){ conn->why, sizeof conn->why, 0 };
}

/* ------------------------------------------------------------------------------------------------------- breaking ---- */

void conn_break(struct pg_conn *conn, const char *why) {
    if (conn->state == PG_CONN_BROKEN) {
        return;
    }
    conn->state = PG_CONN_BROKEN;
    struct words words = words_why(conn);
    words_text(&words, why);
}

/* Somebody has to do something about the server or the settings first. */
static void refuse(struct pg_conn *conn, const char *why) {
    conn->refused = conn->state != PG_CONN_BROKEN;
    conn_break(conn, why);
}

static const char *type_name(char type) {
    switch (type) {
    case '1': return "ParseComplete";
    case '2': return "BindComplete";
    case '3': return "CloseComplete";
    case 'A': return "NotificationResponse";
    case 'C': return "CommandComplete";
    case 'D': return "DataRow";
    case 'E': return "ErrorResponse";
    case 'G': return "CopyInResponse";
    case 'H': return "CopyOutResponse";
    case 'I': return "EmptyQueryResponse";
    case 'K': return "BackendKeyData";
    case 'N': return "NoticeResponse";
    case 'R': return "Authentication";
    case 'S': return "ParameterStatus";
    case 'T': return "RowDescription";
    case 'V': return "FunctionCallResponse";
    case 'W': return "CopyBothResponse";
    case 'Z': return "ReadyForQuery";
    case 'c': return "CopyDone";
    case 'd': return "CopyData";
    case 'n': return "NoData";
    case 's': return "PortalSuspended";
    case 't': return "ParameterDescription";
    case 'v': return "NegotiateProtocolVersion";
    default: return NULL;
    }
}

void conn_break_at(struct pg_conn *conn, char type, const char *why) {
    if (conn->state == PG_CONN_BROKEN) {
        return;
    }
    conn->state = PG_CONN_BROKEN;
    struct words words = words_why(conn);
    words_text(&words, "out of step with the server: ");
    const char *name = type_name(type);
    if (name != NULL) {
        words_text(&words, name);
    } else {
        words_text(&words, "a message of type ");
        words_number(&words, (unsigned char)type);
    }
    words_text(&words, " ");
    words_text(&words, why);
}

void conn_break_error(struct pg_conn *conn, const struct pg_error *error) {
    conn->state = PG_CONN_BROKEN;
    conn_copy_text(conn->sqlstate, sizeof conn->sqlstate, error->sqlstate);
    struct words words = words_why(conn);
    words_span(&words, error->severity.len > 0 ? error->severity : SPAN("ERROR"));
    words_text(&words, ": ");
    words_span(&words, error->message);
    words_text(&words, " (");
    words_span(&words, error->sqlstate);
    words_text(&words, ")");
}

/* ----------------------------------------------------------------------------------------------------------- life ---- */

uint32_t pg_conn_slots(uint32_t inflight) {
    uint32_t slots = 1;
    while (slots < inflight + PG_CONN_SPARE) {
        slots *= 2;
    }
    return slots;
}

void pg_conn_init(struct pg_conn *conn, struct pg_shared *shared, struct pg_slot *slots, char *carry) {
    rm_assert(shared->message_bytes >= PG_CONN_MESSAGE_BYTES);
    *conn = (struct pg_conn){ .shared = shared,
                              .slots = slots,
                              .slot_mask = pg_conn_slots(shared->inflight) - 1,
                              .carry = carry };
}

void pg_conn_reset(struct pg_conn *conn) {
    rm_assert(conn->head == conn->tail);
    pg_conn_init(conn, conn->shared, conn->slots, conn->carry);
}

bool pg_conn_start(struct pg_conn *conn, struct chain *out, const uint8_t random[static PG_NONCE_RANDOM_BYTES]) {
    rm_assert(conn->state == PG_CONN_DOWN);
    const struct pg_settings *settings = conn->shared->settings;
    const char *program = settings->has_application_name ? settings->application_name : conn->shared->application_name;
    struct pg_startup_pair pairs[6] = { { "user", settings->user },
                                        { "database", settings->name },
                                        { "client_encoding", "UTF8" } };
    uint32_t count = 3;
    if (program != NULL && program[0] != '\0') {
        pairs[count++] = (struct pg_startup_pair){ "application_name", program };
    }
    if (settings->options[0] != '\0') {
        pairs[count++] = (struct pg_startup_pair){ "options", settings->options };
    }
    size_t before = out->bytes;
    if (!pg_write_startup(out, PG_VERSION_3_0, pairs)) {
        return false;
    }
    conn->written += out->bytes - before;
    conn->out = out;
    conn->state = PG_CONN_STARTING;
    conn->failure.statement = UINT16_MAX;
    pg_auth_init(&conn->auth, settings, random);
    return true;
}

/* ---------------------------------------------------------------------------------------------- at any moment ---- */

bool conn_read_error(const struct pg_conn *conn, struct span body, struct pg_error *out) {
    return conn->drain_left > 0 ? pg_read_error_cut(body, out) : pg_read_error(body, out);
}

bool conn_take_notice(struct pg_conn *conn, struct span body, struct pg_conn_event *event) {
    if (!conn_read_error(conn, body, &event->error)) {
        conn_break_at(conn, 'N', "is malformed");
        return false;
    }
    counter_add(&conn->shared->notices, 1);
    event->type = PG_CONN_NOTICE;
    return true;
}

/* "15.4 (Debian 15.4-1)", "9.6.24", "16beta1" as 150004, 90624, 160000. */
static int version_number(struct span text) {
    int parts[3] = { 0, 0, 0 };
    uint32_t count = 0;
    for (size_t i = 0; i < text.len && count < 3; i++) {
        char c = text.data[i];
        if (c >= '0' && c <= '9') {
            parts[count] = parts[count] > 9999 ? parts[count] : parts[count] * 10 + (c - '0');
        } else if (c == '.') {
            count++;
        } else {
            break;
        }
    }
    return parts[0] >= 10 ? parts[0] * 10000 + parts[1] : parts[0] * 10000 + parts[1] * 100 + parts[2];
}

void conn_take_parameter(struct pg_conn *conn, struct span body) {
    struct span name, value;
    bool cut = conn->drain_left > 0;
    if (!(cut ? pg_read_parameter_cut(body, &name, &value) : pg_read_parameter(body, &name, &value))) {
        conn_break_at(conn, 'S', "is malformed");
    } else if (span_equal(name, SPAN("server_version"))) {
        conn->server_version = version_number(value);
    } else if (span_equal(name, SPAN("client_encoding"))) {
        conn->foreign = !span_equal_nocase(value, SPAN("UTF8"));
        conn->tainted |= conn->foreign && conn->state == PG_CONN_READY;
    } else if (span_equal(name, SPAN("integer_datetimes")) && !span_equal(value, SPAN("on"))) {
        refuse(conn, "the server was built without integer_datetimes: its times can't be read");
    }
}

void conn_take_notification(struct pg_conn *conn, struct span body) {
    struct pg_notification notification;
    if (!pg_read_notification(body, &notification)) {
        conn_break_at(conn, 'A', "is malformed");
        return;
    }
    counter_add(&conn->shared->notifications, 1);
}

/* -------------------------------------------------------------------------------------------------------- startup ---- */

/* What authentication made of a message or of a job. True: event is set. */
static bool authenticated(struct pg_conn *conn, enum pg_auth_result result, const char *why, struct pg_conn_event *event) {
    switch (result) {
    case PG_AUTH_MORE: return false;
    case PG_AUTH_JOB:
        conn->job = true;
        event->type = PG_CONN_JOB;
        return true;
    case PG_AUTH_PASSED: conn->passed = true; return false;
    case PG_AUTH_FAILED: refuse(conn, why); return false;
    case PG_AUTH_FULL: conn_break(conn, "no memory is free for authentication"); return false;
    }
    return false;
}

static bool take_authentication(struct pg_conn *conn, struct span body, struct pg_conn_event *event) {
    struct pg_authentication message;
    if (conn->passed) {
        conn_break_at(conn, 'R', "came when authentication was over");
        return false;
    }
    if (!pg_read_authentication(body, &message)) {
        conn_break_at(conn, 'R', "is malformed");
        return false;
    }
    const char *why = "";
    size_t before = conn->out->bytes;
    enum pg_auth_result result = pg_auth_message(&conn->auth, &message, conn->out, &why);
    conn->written += conn->out->bytes - before;
    return authenticated(conn, result, why, event);
}

void pg_conn_job_done(struct pg_conn *conn) {
    if (conn->state != PG_CONN_STARTING) {
        conn->job = false;
        return;
    }
    rm_assert(conn->job);
    conn->job = false;
    const char *why = "";
    struct pg_conn_event ignored;
    size_t before = conn->out->bytes;
    enum pg_auth_result result = pg_auth_job_done(&conn->auth, conn->out, &why);
    conn->written += conn->out->bytes - before;
    bool again = authenticated(conn, result, why, &ignored);
    rm_assert(!again); /* one job at a time */
}

static void take_key(struct pg_conn *conn, struct span body) {
    /* A key of another length is for later versions of the protocol, which nobody has asked for. */
    if (!conn->passed) {
        conn_break_at(conn, 'K', "came before authentication was over");
    } else if (!pg_read_key(body, &conn->key) || conn->key.key_bytes != 4) {
        conn_break_at(conn, 'K', "has a key that is not 4 bytes long");
    }
}

static void take_negotiation(struct pg_conn *conn, struct span body) {
    struct pg_negotiation negotiation;
    if (conn->passed || !pg_read_negotiation(body, &negotiation)) {
        conn_break_at(conn, 'v', conn->passed ? "came when authentication was over" : "is malformed");
    } else if (negotiation.version != PG_VERSION_3_0 && negotiation.version != 0) {
        refuse(conn, "the server does not speak version 3.0 of the protocol");
    }
}

static bool take_first_ready(struct pg_conn *conn, struct span body, struct pg_conn_event *event) {
    if (!conn->passed || !pg_read_ready(body, &conn->status)) {
        conn_break_at(conn, 'Z', conn->passed ? "is malformed" : "came before authentication was over");
        return false;
    }
    if (conn->foreign) {
        refuse(conn, "the server does not speak UTF-8: client_encoding was asked for, and another was given");
        return false;
    }
    if (conn->status != 'I') {
        conn_break_at(conn, 'Z', "tells of a transaction where none was begun");
        return false;
    }
    conn->state = PG_CONN_READY;
    event->type = PG_CONN_UP;
    return true;
}

/* A message while starting. True: event is set. */
static bool take_starting(struct pg_conn *conn, char type, struct span body, struct pg_conn_event *event) {
    struct pg_error error;
    switch (type) {
    case 'R': return take_authentication(conn, body, event);
    case 'N': return conn_take_notice(conn, body, event);
    case 'Z': return take_first_ready(conn, body, event);
    case 'S': conn_take_parameter(conn, body); return false;
    case 'A': conn_take_notification(conn, body); return false;
    case 'K': take_key(conn, body); return false;
    case 'v': take_negotiation(conn, body); return false;
    case 'E':
        if (conn_read_error(conn, body, &error)) {
            conn_break_error(conn, &error);
        } else {
            conn_break_at(conn, 'E', "is malformed");
        }
        return false;
    default: conn_break_at(conn, type, "came before the server was ready"); return false;
    }
}

/* ---------------------------------------------------------------------------------------------------------- input ---- */

/* A server that can't even start a process for us says so as older protocols did: 'E', then text up to a NUL. */
static bool is_old_error(const struct pg_conn *conn, struct span data) {
    return conn->state == PG_CONN_STARTING && data.len >= PG_HEADER_BYTES && data.data[0] == 'E' &&
           pg_get_u32(data.data + 1) > PG_CONTROL_BYTES_MAX;
}

static bool old_error_ends(struct span data, size_t *end) {
    for (*end = 1; *end < data.len && *end < PG_CONN_WHY_BYTES; ++*end) {
        if (data.data[*end] == '\0' || data.data[*end] == '\n') {
            return true;
        }
    }
    return *end == PG_CONN_WHY_BYTES;
}

static void break_by_old_error(struct pg_conn *conn, struct span data) {
    size_t end;
    (void)old_error_ends(data, &end);
    conn->state = PG_CONN_BROKEN;
    struct words words = words_why(conn);
    words_text(&words, "the server refuses: ");
    words_span(&words, span_of(data.data + 1, end - 1));
}

static void break_by_frame(struct pg_conn *conn, struct span data) {
    struct pg_frame frame;
    /* Whether the type alone was the reason must not depend on how much was there to be looked at. */
    bool known = pg_frame_read(span_first(data, 1), &frame) == PG_FRAME_MORE;
    bool starting = conn->state == PG_CONN_STARTING;
    conn_break_at(conn, data.data[0], known ? "has an impossible length" : "is unknown");
    if (starting && !conn->passed) {
        struct words words = { conn->why, sizeof conn->why, (uint32_t)strlen(conn->why) };
        words_text(&words, " (is it a PostgreSQL server without TLS?)");
    }
}

/* Moves what is left in the carry to its beginning. */
static void carry_compact(struct pg_conn *conn) {
    if (conn->carry_start > 0) {
        conn->carry_len -= conn->carry_start;
        memmove(conn->carry, conn->carry + conn->carry_start, conn->carry_len);
        conn->carry_start = 0;
    }
}

/* Takes up to `n` bytes of the input into the carry. */
static void carry_fill(struct pg_conn *conn, struct span *input, size_t n) {
    carry_compact(conn);
    struct span bytes = span_first(*input, n);
    rm_assert(bytes.len <= conn->shared->message_bytes - conn->carry_len);
    if (bytes.len > 0) {
        memcpy(conn->carry + conn->carry_len, bytes.data, bytes.len);
    }
    conn->carry_len += (uint32_t)bytes.len;
    *input = span_from(*input, bytes.len);
}

/* Where the next message begins: in the carry, or, when that is empty, in the input. */
static struct span unread(const struct pg_conn *conn, const struct span *input) {
    return conn->carry_len > 0 ? span_of(conn->carry + conn->carry_start, conn->carry_len - conn->carry_start) : *input;
}

static void consume(struct pg_conn *conn, struct span *input, size_t n) {
    if (conn->carry_len == 0) {
        *input = span_from(*input, n);
        return;
    }
    conn->carry_start += (uint32_t)n;
    if (conn->carry_start == conn->carry_len) {
        conn->carry_start = conn->carry_len = 0;
    }
}

/* A message is incomplete: more of it goes to the carry, up to `bytes` of it. False: there is no more. */
static bool carry_more(struct pg_conn *conn, struct span *input, size_t bytes) {
    size_t have = conn->carry_len - conn->carry_start;
    rm_assert(bytes > have);
    if (input->len == 0) {
        return false;
    }
    carry_fill(conn, input, bytes - have);
    return true;
}

/* Errors, notices and parameters say in their beginning what counts. */
static bool says_enough(char type) {
    return type == 'E' || type == 'N' || type == 'S';
}

/* The message is larger than the carry: what is there of it is dropped, and the rest when it comes. */
static bool drain_begin(struct pg_conn *conn, struct span *input, const struct pg_frame *frame) {
    bool ready = conn->state == PG_CONN_READY;
    if (!ready && frame->type != 'A') {
        conn_break_at(conn, frame->type, "is larger than what is taken");
        return false;
    }
    if (ready && !conn_take_large(conn, frame->type)) {
        return false;
    }
    size_t here = span_first(unread(conn, input), frame->bytes).len;
    consume(conn, input, here);
    conn->drain_left = frame->bytes - here;
    return true;
}

static bool drain(struct pg_conn *conn, struct span *input) {
    size_t n = input->len < conn->drain_left ? input->len : (size_t)conn->drain_left;
    *input = span_from(*input, n);
    conn->drain_left -= n;
    return conn->drain_left == 0;
}

/* The next whole message, or as much of it as the carry holds: drain_left tells what is missing, and is dropped when it comes.
 * False: there is none yet, or the connection is BROKEN. Each byte is looked at once, and copied only when its message comes in
 * pieces. */
static bool read_message(struct pg_conn *conn, struct span *input, char *type, struct span *body) {
    while (conn->state != PG_CONN_BROKEN && (conn->drain_left == 0 || drain(conn, input))) {
        struct span data = unread(conn, input);
        struct pg_frame frame;
        size_t wanted = PG_HEADER_BYTES, end;
        if (is_old_error(conn, data)) {
            if (old_error_ends(data, &end)) {
                break_by_old_error(conn, data);
                return false;
            }
            wanted = PG_CONN_WHY_BYTES;
        } else {
            enum pg_framing framing = pg_frame_read(data, &frame);
            if (framing == PG_FRAME_BAD) {
                break_by_frame(conn, data);
                return false;
            }
            bool large = framing == PG_FRAME_OK && frame.bytes > conn->shared->message_bytes;
            if (large && !says_enough(frame.type)) {
                if (!drain_begin(conn, input, &frame)) {
                    return false;
                }
                continue;
            }
            wanted = framing != PG_FRAME_OK ? PG_HEADER_BYTES : large ? conn->shared->message_bytes : frame.bytes;
            if (framing == PG_FRAME_OK && data.len >= wanted) {
                *type = frame.type;
                *body = span_of(data.data + PG_HEADER_BYTES, wanted - PG_HEADER_BYTES);
                consume(conn, input, wanted);
                conn->drain_left = frame.bytes - wanted;
                return true;
            }
        }
        if (!carry_more(conn, input, wanted)) {
            return false;
        }
    }
    return false;
}

/* The input has to wait for the job: servers say nothing meanwhile. */
static void keep_for_job(struct pg_conn *conn, struct span *input) {
    carry_compact(conn);
    if (input->len > conn->shared->message_bytes - conn->carry_len) {
        conn_break(conn, "the server talks on while it has to wait for our proof");
        return;
    }
    carry_fill(conn, input, input->len);
}

/* The usual way: whole messages, in place. True: event is set; else there is another way to be gone. */
static bool take_whole(struct pg_conn *conn, struct span *input, struct pg_conn_event *event) {
    struct pg_frame frame;
    while (conn->state == PG_CONN_READY && conn->head == conn->ending && pg_frame_read(*input, &frame) == PG_FRAME_OK) {
        if (frame.bytes > input->len || frame.bytes > conn->shared->message_bytes) {
            return false;
        }
        const char *body = input->data + PG_HEADER_BYTES;
        input->data += frame.bytes;
        input->len -= frame.bytes;
        if (conn_take(conn, frame.type, span_of(body, frame.bytes - PG_HEADER_BYTES), event)) {
            return true;
        }
    }
    return false;
}

void pg_conn_next(struct pg_conn *conn, struct span *input, struct pg_conn_event *event) {
    rm_assert(conn->state != PG_CONN_DOWN);
    char type = 0;
    struct span body = { NULL, 0 };
    for (;;) {
        if (conn->head != conn->ending) {
            if (conn_deliver(conn, event)) {
                return;
            }
            continue;
        }
        if (conn->carry_len == 0 && conn->drain_left == 0 && take_whole(conn, input, event)) {
            return;
        }
        if (conn->head != conn->ending) {
            continue;
        }
        if (conn->job && conn->state == PG_CONN_STARTING) {
            keep_for_job(conn, input);
        }
        if (conn->state == PG_CONN_BROKEN) {
            *input = span_from(*input, input->len);
            event->type = PG_CONN_DOWNED;
            return;
        }
        if (conn->job || !read_message(conn, input, &type, &body)) {
            if (conn->state == PG_CONN_BROKEN) {
                continue;
            }
            event->type = PG_CONN_MORE;
            return;
        }
        bool told = conn->state == PG_CONN_READY ? conn_take(conn, type, body, event)
                                                 : take_starting(conn, type, body, event);
        if (told && event->type == PG_CONN_JOB) {
            keep_for_job(conn, input);
            told = conn->state != PG_CONN_BROKEN;
        }
        if (told) {
            return;
        }
    }
}

void pg_conn_lost(struct pg_conn *conn, const char *why) {
    struct span data = span_of(conn->carry + conn->carry_start, conn->carry_len - conn->carry_start);
    if (is_old_error(conn, data)) {
        break_by_old_error(conn, data);
    }
    conn_break(conn, why);
}
