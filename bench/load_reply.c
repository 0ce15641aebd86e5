#include "load_reply.h"

#include "mem/assert.h"

static const char *const verdict_names[REPLY_VERDICTS_COUNT] = {
    [REPLY_MORE] = "more",     [REPLY_RIGHT] = "right", [REPLY_STATUS] = "status",
    [REPLY_LENGTH] = "length", [REPLY_BODY] = "body",   [REPLY_MALFORMED] = "malformed",
};

const char *reply_verdict_name(enum reply_verdict verdict) {
    rm_assert(verdict < REPLY_VERDICTS_COUNT);
    return verdict_names[verdict];
}

void reply_reset(struct reply_reader *reader) {
    reader->carry_len = 0;
    reader->in_body = false;
    reader->wrong_body = false;
}

/* ----------------------------------------------------------------------------------------------------- heads ---- */

/* What a parsed head says. */
struct head {
    uint32_t bytes;
    uint32_t status;
    uint32_t date; /* offset of its value, or REPLY_NO_DATE */
    bool has_length;
    uint64_t length;
};

/* Bytes up to and with the empty line; 0 when it is not there. */
static size_t head_end(struct span s) {
    const char *found = s.len == 0 ? NULL : memmem(s.data, s.len, "\r\n\r\n", 4);
    return found == NULL ? 0 : (size_t)(found - s.data) + 4;
}

static struct span trimmed(struct span s) {
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s = span_from(s, 1);
    }
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* "HTTP/1.1 200 ...": RFC 9112 §4. */
static bool status_line(struct span line, uint32_t *status) {
    if (line.len < 12 || memcmp(line.data, "HTTP/1.1 ", 9) != 0 || (line.len > 12 && line.data[12] != ' ')) {
        return false;
    }
    uint64_t value = 0;
    if (!span_u64(span_of(line.data + 9, 3), &value) || value < 100 || value > 599) {
        return false;
    }
    *status = (uint32_t)value;
    return true;
}

static bool field_line(struct span line, const char *head_start, struct head *head) {
    const char *colon = memchr(line.data, ':', line.len);
    if (colon == NULL || colon == line.data) {
        return false;
    }
    struct span name = span_of(line.data, (size_t)(colon - line.data));
    struct span value = trimmed(span_from(line, name.len + 1));
    if (span_equal_nocase(name, SPAN("content-length"))) {
        bool first = !head->has_length;
        head->has_length = true;
        return first && span_u64(value, &head->length);
    }
    if (span_equal_nocase(name, SPAN("date")) && value.len == REPLY_DATE_BYTES) {
        head->date = (uint32_t)(value.data - head_start);
    }
    return !span_equal_nocase(name, SPAN("transfer-encoding"));
}

/* `s` is a whole head with its empty line. False: not one that can be framed. */
static bool parse_head(struct span s, struct head *head) {
    *head = (struct head){ .bytes = (uint32_t)s.len, .date = REPLY_NO_DATE };
    struct span rest = span_first(s, s.len - 2);
    for (bool first = true; rest.len > 0; first = false) {
        const char *end = memmem(rest.data, rest.len, "\r\n", 2);
        rm_assert(end != NULL);
        struct span line = span_of(rest.data, (size_t)(end - rest.data));
        if (first ? !status_line(line, &head->status) : !field_line(line, s.data, head)) {
            return false;
        }
        rest = span_from(rest, line.len + 2);
    }
    if (head->status < 200) {
        return false; /* nothing we send asks for an interim response */
    }
    bool bodiless = head->status == 204 || head->status == 304;
    if (bodiless) {
        head->length = 0;
    }
    return bodiless || head->has_length;
}

/* -------------------------------------------------------------------------------------------------- verdicts ---- */

static bool matches_known(const struct reply_known *known, struct span input) {
    if (known->bytes == 0 || input.len < known->bytes) {
        return false;
    }
    if (known->date == REPLY_NO_DATE) {
        return memcmp(input.data, known->head, known->bytes) == 0;
    }
    uint32_t after = known->date + REPLY_DATE_BYTES;
    return memcmp(input.data, known->head, known->date) == 0 &&
           memcmp(input.data + after, known->head + after, known->bytes - after) == 0;
}

static void learn(struct reply_expect *expect, struct span head_text, const struct head *head) {
    bool right = head->status == expect->status && (!expect->length_known || head->length == expect->length);
    if (!right || head->bytes > REPLY_KNOWN_BYTES_MAX) {
        return;
    }
    memcpy(expect->known.head, head_text.data, head->bytes);
    expect->known.bytes = head->bytes;
    expect->known.date = head->date;
    expect->known.body_bytes = head->length;
}

static void begin_body(struct reply_reader *reader, uint32_t status, uint64_t bytes) {
    reader->in_body = true;
    reader->wrong_body = false;
    reader->status = status;
    reader->body_bytes = bytes;
    reader->body_seen = 0;
}

static enum reply_verdict verdict(const struct reply_reader *reader, struct reply_expect *expect) {
    if (reader->status != expect->status) {
        return REPLY_STATUS;
    }
    if (!expect->length_known) {
        expect->length_known = true;
        expect->length = reader->body_bytes;
    }
    if (reader->body_bytes != expect->length) {
        return REPLY_LENGTH;
    }
    return reader->wrong_body ? REPLY_BODY : REPLY_RIGHT;
}

static enum reply_verdict take_body(struct reply_reader *reader, struct span *input, struct reply_expect *expect) {
    uint64_t left = reader->body_bytes - reader->body_seen;
    struct span piece = span_first(*input, left < input->len ? (size_t)left : input->len);
    if (expect->has_body && reader->body_bytes == expect->length && piece.len > 0 &&
        memcmp(piece.data, expect->body.data + reader->body_seen, piece.len) != 0) {
        reader->wrong_body = true;
    }
    reader->body_seen += piece.len;
    *input = span_from(*input, piece.len);
    if (reader->body_seen < reader->body_bytes) {
        return REPLY_MORE;
    }
    reader->in_body = false;
    return verdict(reader, expect);
}

/* ------------------------------------------------------------------------------------------------- the reader ---- */

/* A head that lies whole in `text`. */
static enum reply_verdict head_found(struct reply_reader *reader, struct span text, struct reply_expect *expect) {
    struct head head;
    if (!parse_head(text, &head)) {
        return REPLY_MALFORMED;
    }
    learn(expect, text, &head);
    begin_body(reader, head.status, head.length);
    return REPLY_MORE;
}

/* Adds input to the carry until a head is whole; what belongs to the body stays in *input. */
static enum reply_verdict head_in_carry(struct reply_reader *reader, struct span *input, struct reply_expect *expect) {
    uint32_t before = reader->carry_len;
    size_t room = REPLY_HEAD_BYTES_MAX - before;
    struct span piece = span_first(*input, room);
    memcpy(reader->carry + before, piece.data, piece.len);
    reader->carry_len += (uint32_t)piece.len;

    size_t end = head_end(span_of(reader->carry, reader->carry_len));
    if (end == 0) {
        *input = span_from(*input, piece.len);
        return reader->carry_len == REPLY_HEAD_BYTES_MAX ? REPLY_MALFORMED : REPLY_MORE;
    }
    rm_assert(end > before);
    *input = span_from(*input, end - before);
    reader->carry_len = 0;
    return head_found(reader, span_of(reader->carry, end), expect);
}

static enum reply_verdict take_head(struct reply_reader *reader, struct span *input, struct reply_expect *expect) {
    if (reader->carry_len > 0) {
        return head_in_carry(reader, input, expect);
    }
    if (matches_known(&expect->known, *input)) {
        *input = span_from(*input, expect->known.bytes);
        begin_body(reader, expect->status, expect->known.body_bytes);
        return REPLY_MORE;
    }
    size_t end = head_end(*input);
    if (end == 0 || end > REPLY_HEAD_BYTES_MAX) {
        return head_in_carry(reader, input, expect);
    }
    struct span text = span_first(*input, end);
    *input = span_from(*input, end);
    return head_found(reader, text, expect);
}

enum reply_verdict reply_next(struct reply_reader *reader, struct span *input, struct reply_expect *expect) {
    if (!reader->in_body) {
        if (input->len == 0) {
            return REPLY_MORE;
        }
        enum reply_verdict found = take_head(reader, input, expect);
        if (found != REPLY_MORE || !reader->in_body) {
            return found;
        }
    }
    return take_body(reader, input, expect);
}
