/* The judge: takes apart what a client received, slowly and simply, and holds it against what was asked. */
#include "whole.h"

#include <ctype.h>
#include <time.h>

enum { WALL_EPOCH_S = 1767225600, HEAD_BYTES_MAX = 4096, FIELDS_MAX = 16 };

struct field {
    struct span name, value;
    bool seen; /* the judge knows what it is for */
};

/* An answer as it came. */
struct answer {
    int status;
    struct span reason;
    struct field fields[FIELDS_MAX];
    uint32_t count;
    size_t head; /* bytes, with the empty line */
    bool has_length, chunked, close, keep_alive;
    uint64_t length;
    struct span body; /* without its chunks */
    bool cut;         /* its end is missing */
};

/* ------------------------------------------------------------------------------------------------------- messages ---- */

static void complain(struct whole_client *c, const char *what) {
    const struct whole_request *r = c->next < c->count ? &c->requests[c->next] : NULL;
    size_t shown = c->in_len < 300 ? c->in_len : 300;
    size_t asked = r == NULL ? 0 : r->end - r->start < 200 ? r->end - r->start : 200;
    whole_fail(c->w, "client %u, request %u of %u (%s, %s%s%s%s, wants %d): %s\n  it received: \"%.*s\"\n  it asked: \"%.*s\"",
               c->index, c->next, c->count, r != NULL ? r->kind : "none", r != NULL && r->first_ns != 0 ? "sent" : "not sent",
               r != NULL && r->last_ns != 0 ? " whole" : "", c->half_closed ? ", half-closed" : "",
               c->w->drain_ns != 0 ? ", draining" : "", r != NULL ? r->status : 0, what, (int)shown, c->in, (int)asked,
               r != NULL ? c->out + r->start : "");
}

/* --------------------------------------------------------------------------------------------------------- taking apart ---- */

static bool same_name(struct span a, const char *b) {
    return a.len == strlen(b) && strncasecmp(a.data, b, a.len) == 0;
}

static struct field *find(struct answer *answer, const char *name) {
    for (uint32_t i = 0; i < answer->count; i++) {
        if (same_name(answer->fields[i].name, name)) {
            answer->fields[i].seen = true;
            return &answer->fields[i];
        }
    }
    return NULL;
}

static bool value_is(const struct field *field, const char *text) {
    return field != NULL && field->value.len == strlen(text) && memcmp(field->value.data, text, field->value.len) == 0;
}

/* "Name: value"; each name once: the server repeats none. */
static void read_field(struct whole_client *c, struct answer *answer, struct span line) {
    const char *colon = memchr(line.data, ':', line.len);
    if (colon == NULL || colon == line.data || answer->count == FIELDS_MAX) {
        complain(c, "a field is malformed, or there are too many");
    }
    struct field field = { .name = span_of(line.data, (size_t)(colon - line.data)) };
    const char *value = colon + 1, *end = line.data + line.len;
    while (value < end && *value == ' ') {
        value++;
    }
    field.value = span_of(value, (size_t)(end - value));
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)field.name.len, field.name.data);
    if (find(answer, name) != NULL) {
        complain(c, "a field comes twice");
    }
    for (size_t i = 0; i < field.value.len; i++) {
        if ((unsigned char)field.value.data[i] < ' ') {
            complain(c, "a control character in a field");
        }
    }
    answer->fields[answer->count++] = field;
}

static void read_length(struct whole_client *c, struct answer *answer) {
    const struct field *field = find(answer, "Content-Length");
    if (field == NULL) {
        return;
    }
    answer->has_length = true;
    if (field->value.len == 0 || field->value.len > 10) {
        complain(c, "a Content-Length that is no number");
    }
    for (size_t i = 0; i < field->value.len; i++) {
        char digit = field->value.data[i];
        if (digit < '0' || digit > '9') {
            complain(c, "a Content-Length that is no number");
        }
        answer->length = answer->length * 10 + (uint64_t)(digit - '0');
    }
}

/* RFC 9112 §4: "HTTP/1.1 SP 3DIGIT SP reason" */
static void read_status(struct whole_client *c, struct answer *answer, struct span line) {
    if (line.len < 13 || memcmp(line.data, "HTTP/1.1 ", 9) != 0 || line.data[12] != ' ') {
        complain(c, "no status line");
    }
    for (int i = 9; i < 12; i++) {
        if (line.data[i] < '0' || line.data[i] > '9') {
            complain(c, "no status");
        }
        answer->status = answer->status * 10 + (line.data[i] - '0');
    }
    answer->reason = span_from(line, 13);
}

/* The head in front of `bytes`. False when it is not whole yet. */
static bool read_head(struct whole_client *c, struct span bytes, struct answer *answer) {
    const char *end = bytes.len == 0 ? NULL : memmem(bytes.data, bytes.len, "\r\n\r\n", 4);
    if (end == NULL) {
        if (bytes.len > HEAD_BYTES_MAX) {
            complain(c, "a head without an end");
        }
        return false;
    }
    *answer = (struct answer){ .head = (size_t)(end - bytes.data) + 4 };
    const char *line = bytes.data;
    for (bool first = true; line < end + 2; first = false) {
        const char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        struct span text = span_of(line, (size_t)(stop - line));
        if (first) {
            read_status(c, answer, text);
        } else {
            read_field(c, answer, text);
        }
        line = stop + 2;
    }
    read_length(c, answer);
    const struct field *coding = find(answer, "Transfer-Encoding");
    answer->chunked = value_is(coding, "chunked");
    if (coding != NULL && (!answer->chunked || answer->has_length)) {
        complain(c, "a wrong Transfer-Encoding"); /* RFC 9112 §6.1, §6.2 */
    }
    const struct field *connection = find(answer, "Connection");
    answer->close = value_is(connection, "close");
    answer->keep_alive = value_is(connection, "keep-alive");
    if (connection != NULL && !answer->close && !answer->keep_alive) {
        complain(c, "Connection says something else");
    }
    return true;
}

/* --------------------------------------------------------------------------------------------------------- timeouts ---- */

/* May the server have lost patience with it? Times of sending are before those of receiving, so nothing is too strict. */
static bool timed_out(const struct whole_client *c, const struct whole_request *r) {
    const struct config *config = &c->w->config;
    uint64_t now = whole_now(c->w), slack = whole_slack(c->w);
    if (r->first_ns == 0) {
        return false;
    }
    bool head_late = r->head_ns == 0 || r->head_ns - r->first_ns + slack >= config->header_timeout_ns;
    if (head_late && now - r->first_ns >= config->header_timeout_ns) {
        return true;
    }
    uint64_t gap = r->gap_ns;
    if (r->last_ns == 0 && now - r->piece_ns > gap) {
        gap = now - r->piece_ns;
    }
    return r->head_ns != 0 && gap + slack >= config->body_timeout_ns;
}

/* The client took nothing for so long that its connection may have been reset. Taking a little now and then is fine. */
static bool too_slow(const struct whole_client *c) {
    return c->pause_max_ns + whole_slack(c->w) >= c->w->config.write_timeout_ns;
}

/* It took so long for the last answers that the server did not wait any more for it to stop sending: RFC 9112 §9.6 */
static bool lingered_out(const struct whole_client *c) {
    uint64_t ms = c->w->drain_ns != 0 ? CONN_LINGER_DRAINING_MS : CONN_LINGER_MS;
    return c->paused_ns + whole_slack(c->w) >= ms * NS_PER_MS;
}

static bool drain_over(const struct whole *w) {
    return w->drain_ns != 0 && whole_now(w) >= w->drain_ns + w->config.drain_timeout_ns;
}

/* Takes that found a pool empty, and connections that got one of the last slots. */
static uint64_t shortages(const struct whole *w) {
    uint64_t n = w->worker->figures.shed;
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        n += w->worker->pools[i].refused;
    }
    return n;
}

/* ----------------------------------------------------------------------------------------------------------- fields ---- */

/* RFC 9110 §6.6.1: between the request and now. */
static void judge_date(struct whole_client *c, struct answer *answer, uint64_t since_ns) {
    const struct field *date = find(answer, "Date");
    char text[64];
    struct tm tm = { 0 };
    if (date == NULL) {
        complain(c, "no Date");
    }
    snprintf(text, sizeof text, "%.*s", (int)date->value.len, date->value.data);
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (end == NULL || *end != '\0') {
        complain(c, "a malformed Date");
    }
    int64_t seconds = timegm(&tm), low = WALL_EPOCH_S + (int64_t)(since_ns / NS_PER_SECOND);
    char again[64];
    strftime(again, sizeof again, "%a, %d %b %Y %H:%M:%S GMT", &tm); /* with the right day of the week */
    if (seconds < low || seconds > WALL_EPOCH_S + (int64_t)(whole_now(c->w) / NS_PER_SECOND) || strcmp(text, again) != 0) {
        complain(c, "a wrong Date");
    }
}

static void judge_allow(struct whole_client *c, struct answer *answer, const char *allow) {
    const struct field *field = find(answer, "Allow");
    if (allow == NULL || field == NULL) {
        if (allow != NULL || field != NULL) {
            complain(c, "Allow is missing, or there for nothing");
        }
        return;
    }
    char got[128], want[128];
    snprintf(got, sizeof got, "%.*s", (int)field->value.len, field->value.data);
    snprintf(want, sizeof want, "%s", allow);
    uint32_t left = 0;
    char *rest = NULL;
    for (char *word = strtok_r(want, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        left++;
    }
    for (char *word = strtok_r(got, ", ", &rest); word != NULL; word = strtok_r(NULL, ", ", &rest)) {
        char spaced[128], needle[64];
        snprintf(spaced, sizeof spaced, " %s ", allow);
        snprintf(needle, sizeof needle, " %s ", word);
        left -= strstr(spaced, needle) != NULL ? 1 : 100;
    }
    if (left != 0) {
        complain(c, "Allow names other methods");
    }
}

static void judge_type(struct whole_client *c, struct answer *answer, const char *type) {
    const struct field *field = find(answer, "Content-Type");
    if (type == NULL ? field != NULL : !value_is(field, type)) {
        complain(c, "a wrong Content-Type");
    }
}

static void judge_salt(struct whole_client *c, struct answer *answer, const struct whole_request *want) {
    const struct field *field = find(answer, "X-Salt");
    char salt[16];
    snprintf(salt, sizeof salt, "%u", want->salt);
    if (want->salted ? !value_is(field, salt) : field != NULL) {
        complain(c, "a wrong X-Salt");
    }
}

static void judge_unknown(struct whole_client *c, const struct answer *answer) {
    for (uint32_t i = 0; i < answer->count; i++) {
        if (!answer->fields[i].seen) {
            complain(c, "a field that nobody expects");
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------- body ---- */

static bool bodiless(const struct whole_request *want) {
    return want->head_only || want->status == 204 || want->status == 304; /* RFC 9112 §6.3 */
}

/* Events from 0 on, as many as there were, and a farewell with their number. */
static void judge_events(struct whole_client *c, const struct answer *answer) {
    struct span rest = answer->body;
    for (unsigned n = 0; rest.len > 0; n++) {
        char event[64], bye[64];
        size_t len = (size_t)snprintf(event, sizeof event, "data: %u\n\n", n);
        size_t bye_len = (size_t)snprintf(bye, sizeof bye, "event: bye\ndata: %u\n\n", n);
        if (rest.len >= len && memcmp(rest.data, event, len) == 0) {
            rest = span_from(rest, len);
        } else if (rest.len == bye_len && memcmp(rest.data, bye, bye_len) == 0) {
            return;
        } else {
            break;
        }
    }
    complain(c, "wrong events");
}

/* RFC 9112 §6.3: how long it is, and how that is said. */
static void judge_framing(struct whole_client *c, const struct answer *answer, const struct whole_request *want) {
    bool none = want->status == 204 || want->status == 304;
    if (answer->chunked != (want->chunked && !want->old) || answer->has_length != (!none && !want->chunked)) {
        complain(c, "wrong framing");
    }
    if (answer->has_length && answer->length != want->len) {
        complain(c, "a wrong Content-Length");
    }
    if (answer->cut != want->cut || (!bodiless(want) && !want->endless && answer->body.len != want->len)) {
        complain(c, "a body of the wrong length");
    }
}

static void judge_body(struct whole_client *c, const struct answer *answer, const struct whole_request *want) {
    judge_framing(c, answer, want);
    if (want->endless) {
        judge_events(c, answer);
        return;
    }
    for (uint64_t i = 0; i < answer->body.len; i++) {
        char byte = want->body == WHOLE_TEXT ? want->text[i] : whole_fill(want->salt, i);
        if (answer->body.data[i] != byte) {
            complain(c, "a wrong body");
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- answers ---- */

/* Of a status that the model did not want. Two shapes: with a body of text, or with none, as no block was left for it. */
static void expect_failure(struct whole_client *c, struct answer *answer, struct whole_request *want) {
    whole_expect_error(want, answer->status);
    want->allow = NULL;
    if (find(answer, "Content-Type") == NULL) {
        want->type = NULL;
        want->len = 0;
    }
    if (answer->status == 503 && !value_is(find(answer, "Retry-After"), "1")) {
        complain(c, "503 without Retry-After");
    }
}

/* A pool was empty, or the database did not answer. */
static bool is_shed(struct whole_client *c, const struct answer *answer, const struct whole_request *want) {
    struct whole *w = c->w;
    bool failed = whole_db_failed(w, want, answer->status, w->scarce && shortages(w) > 0);
    bool shed = !failed && answer->status == 503 && want->status != 503;
    if (shed && ++w->shed > shortages(w)) {
        complain(c, "503, and nothing was short");
    }
    return failed || shed;
}

/* Not even an exchange was left to say 503 with: the last answer that was owed says that it is the last. */
static bool no_answer(const struct whole *w) {
    return w->worker->pools[PLAN_CARRIES].refused > 0 && w->worker->pools[PLAN_EXCHANGES].refused > 0;
}

/* RFC 9112 §9.3, §9.6 */
static void judge_connection(struct whole_client *c, const struct answer *answer, const struct whole_request *want, bool may) {
    bool ending = may || c->w->drain_ns != 0 || c->half_closed || no_answer(c->w);
    if (want->closes && !answer->close) {
        complain(c, "no Connection: close");
    }
    if (answer->close && !want->closes && !ending) {
        complain(c, "Connection: close without a reason");
    }
    if (answer->keep_alive != (want->old && !answer->close) && want->status != 503) {
        complain(c, "a wrong Connection: keep-alive");
    }
}

/* What is wanted of the next answer: what the model says, or what the times allow instead. */
static struct whole_request wanted(struct whole_client *c, struct answer *answer, bool *may_close) {
    struct whole_request nobody = { .kind = "none" };
    bool asked = c->next < c->count && c->requests[c->next].first_ns != 0;
    struct whole_request want = asked ? c->requests[c->next] : nobody;
    *may_close = false;
    if (is_shed(c, answer, &want)) {
        expect_failure(c, answer, &want);
        *may_close = true;
        want.closes = want.closes && asked && c->sent >= want.end;
        return want;
    }
    if (!asked) {
        complain(c, "an answer that nobody asked for");
    }
    if (answer->status == 408) {
        if (!timed_out(c, &want)) {
            complain(c, "408 too early");
        }
        whole_expect_error(&want, 408);
        want.allow = NULL;
        want.closes = true;
        want.old = false;
        return want;
    }
    bool late = want.decided && timed_out(c, &want); /* what was refused at its head needs no 408 */
    *may_close = late;
    if (c->sent < want.end && !want.early) {
        if (!late) {
            complain(c, "answered before it was sent");
        }
        want.closes = true;
    }
    return want;
}

/* What cut its wait short must have happened. */
static void expect_reasons(struct whole_client *c, const struct answer *answer, struct whole_request *want) {
    unsigned reasons = (c->w->drain_ns != 0 ? RM_END_DRAIN : 0) | (c->half_closed ? RM_END_HALF : 0);
    unsigned said = answer->body.len == 5 ? (unsigned)(answer->body.data[4] - '0') : 0;
    if (want->head_only && answer->length == 5) {
        said = reasons;
    }
    if (said != 0 && (said & ~reasons) == 0) {
        whole_expect_text(want, "text/plain", "end 0");
        want->text[4] = (char)('0' + said);
    }
}

/* Fields of one kind of answer only. */
static void judge_own_fields(struct whole_client *c, struct answer *answer, const struct whole_request *want) {
    bool events = want->type != NULL && strcmp(want->type, "text/event-stream") == 0;
    const struct field *cache = find(answer, "Cache-Control");
    if (events ? !value_is(cache, "no-store") : cache != NULL) {
        complain(c, "a wrong Cache-Control");
    }
    judge_allow(c, answer, want->allow);
    judge_salt(c, answer, want);
}

/* Who asks for one thing at a time and takes it at once gets it in time: nothing waits for what has happened already, but for
 * notices of sends without a copy: the answer before's, its own, one a flush. The first request may have waited for a slot. */
static void judge_time(struct whole_client *c, const struct whole_request *r) {
    const struct whole *w = c->w;
    bool plain = c->lockstep && c->slow_ppm == 0 && !w->scarce && !w->jumping && c->next > 0;
    if (!plain || r->last_ns == 0 || r->service_ns == UINT64_MAX) {
        return;
    }
    uint64_t bytes_ns = (r->len + r->end - r->start) * WHOLE_NS_PER_BYTE, took = whole_now(w) - r->last_ns;
    uint64_t notices_ns = (2 + r->flushes) * w->faults.notice_delay_ns_max;
    if (took > r->service_ns + WHOLE_SERVICE_NS + bytes_ns + notices_ns) {
        char what[80];
        snprintf(what, sizeof what, "it took %.3f ms", (double)took / 1e6);
        complain(c, what);
    }
}

static void judge_answer(struct whole_client *c, struct answer *answer) {
    bool may_close;
    struct whole_request want = wanted(c, answer, &may_close);
    if (want.watchful) {
        expect_reasons(c, answer, &want);
    }
    const char *reason = whole_reason(answer->status);
    if (answer->status != want.status) {
        complain(c, "a wrong status");
    }
    if (reason == NULL || answer->reason.len != strlen(reason) || memcmp(answer->reason.data, reason, answer->reason.len) != 0) {
        complain(c, "a wrong reason");
    }
    bool unasked = want.first_ns == 0 || answer->status == 503; /* one that came with the connection, perhaps */
    judge_date(c, answer, unasked ? c->start_ns : want.first_ns);
    judge_type(c, answer, want.type);
    judge_own_fields(c, answer, &want);
    judge_connection(c, answer, &want, may_close);
    judge_body(c, answer, &want);
    judge_unknown(c, answer);
    whole_judge_writes(c->w, &want, answer->status);
    if (c->next < c->count && answer->status == c->requests[c->next].status) {
        judge_time(c, &c->requests[c->next]);
    }
    whole_trace(c->w, "client %u: request %u (%s) is answered: %d%s", c->index, c->next, want.kind, answer->status,
                answer->close ? ", close" : "");
    c->w->statuses[answer->status / 100]++;
    c->w->answers++;
    c->next++;
    c->last_seen = answer->close || answer->cut;
    if (want.head_only && answer->close && (answer->status == 408 || answer->status == 503)) {
        c->body_left = want.len;
        memcpy(c->body_text, want.text, sizeof c->body_text);
    }
}

/* Behind the last answer nothing comes, but for the body of an answer to a HEAD that the server has not read. */
static void judge_rest(struct whole_client *c) {
    if (c->in_len > c->body_left || memcmp(c->in, c->body_text, c->in_len) != 0) {
        complain(c, "bytes behind the last answer");
    }
}

/* RFC 9110 §15.2.1: once, for a request that asked for it, before its answer. */
static void judge_interim(struct whole_client *c, const struct answer *answer) {
    struct whole_request *r = c->next < c->count ? &c->requests[c->next] : NULL;
    if (answer->status != 100 || answer->count > 0 || answer->reason.len != 8 || memcmp(answer->reason.data, "Continue", 8) != 0) {
        complain(c, "an interim answer that is not 100 (Continue)");
    }
    if (r == NULL || !r->interim || r->interim_seen || r->head_ns == 0) {
        complain(c, "100 (Continue) for nothing");
    }
    whole_trace(c->w, "client %u: request %u may go on", c->index, c->next);
    r->interim_seen = true;
}

/* ------------------------------------------------------------------------------------------------------- the stream ---- */

/* Takes the chunks off a body (RFC 9112 §7.1): the server writes no extensions and no trailers. Returns how many bytes they
 * take, up to the end of the last one or, when it is missing, of what there is; *whole says which. */
static size_t unchunk(struct whole_client *c, struct span bytes, struct span *body, bool *whole) {
    static char plain[2 * WHOLE_BODY_BYTES_MAX];
    size_t at = 0, len = 0;
    *whole = false;
    for (;;) {
        size_t digits = 0, size = 0;
        while (at + digits < bytes.len && isxdigit((unsigned char)bytes.data[at + digits])) {
            char digit = bytes.data[at + digits++];
            size = size * 16 + (size_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
        }
        const char *behind = bytes.data + at + digits;
        size_t left = bytes.len - at - digits;
        if (digits > 8 || (left > 0 && behind[0] != '\r') || (left > 1 && (behind[1] != '\n' || digits == 0))) {
            complain(c, "a malformed chunk");
        }
        bool there = left >= 2 && left - 2 >= size + 2;
        if (there && memcmp(behind + 2 + size, "\r\n", 2) != 0) {
            complain(c, "a chunk without its end");
        }
        if (!there || len + size > sizeof plain) {
            break;
        }
        memcpy(plain + len, behind + 2, size);
        len += size;
        at += digits + 2 + size + 2;
        if (size == 0) {
            *whole = true;
            break;
        }
    }
    *body = span_of(plain, len);
    return at;
}

/* Bytes of the answer in front of `bytes`; 0 when it is not whole yet. At the end of the connection it may be without its end. */
static size_t whole_answer(struct whole_client *c, struct span bytes, uint32_t index, struct answer *answer) {
    if (!read_head(c, bytes, answer)) {
        return 0;
    }
    const struct whole_request *r = index < c->count && c->requests[index].first_ns != 0 ? &c->requests[index] : NULL;
    struct whole_request shape = { .head_only = r != NULL && r->head_only, .status = answer->status };
    struct span rest = span_from(bytes, answer->head);
    if (bodiless(&shape) || answer->status < 200) {
        return answer->head;
    }
    if (answer->chunked) {
        bool whole;
        size_t len = unchunk(c, rest, &answer->body, &whole);
        answer->cut = !whole;
        return whole || (c->over && len == rest.len) ? answer->head + len : 0;
    }
    if (!answer->has_length) { /* up to the end of the connection */
        answer->body = rest;
        answer->cut = r != NULL && r->cut;
        return c->over ? bytes.len : 0;
    }
    if (answer->length > rest.len) {
        return 0;
    }
    answer->body = span_first(rest, (size_t)answer->length);
    return answer->head + (size_t)answer->length;
}

static void consume(struct whole_client *c, size_t bytes) {
    c->in_len -= bytes;
    memmove(c->in, c->in + bytes, c->in_len);
}

/* An answer is lost, or two have changed places. True: the stream has changed. */
static bool mutate_answers(struct whole_client *c, size_t first) {
    struct whole *w = c->w;
    if (w->mutated || (w->mutation != WHOLE_DROP && w->mutation != WHOLE_SWAP) || random_below(&w->random, 4) != 0) {
        return false;
    }
    if (w->mutation == WHOLE_DROP) {
        w->mutated = true;
        consume(c, first);
        return true;
    }
    struct answer answer;
    size_t second = whole_answer(c, span_of(c->in + first, c->in_len - first), c->next + 1, &answer);
    bool same = second == first && memcmp(c->in, c->in + first, first) == 0;
    if (second == 0 || same) {
        return false;
    }
    w->mutated = true;
    char *swapped = malloc(first + second);
    if (swapped == NULL) {
        whole_fail(w, "no memory");
    }
    memcpy(swapped, c->in + first, second);
    memcpy(swapped + second, c->in, first);
    memcpy(c->in, swapped, first + second);
    free(swapped);
    return true;
}

void whole_judge(struct whole_client *c) {
    while (c->in_len > 0) {
        struct answer answer;
        if (c->last_seen) {
            judge_rest(c);
            return;
        }
        size_t bytes = whole_answer(c, span_of(c->in, c->in_len), c->next, &answer);
        if (bytes == 0) {
            return;
        }
        if (mutate_answers(c, bytes)) {
            continue;
        }
        bytes = whole_answer(c, span_of(c->in, c->in_len), c->next, &answer); /* a mutation may have looked at another one */
        if (answer.status < 200) {
            judge_interim(c, &answer);
        } else {
            judge_answer(c, &answer);
        }
        consume(c, bytes);
    }
}

/* ------------------------------------------------------------------------------------------------------------ ends ---- */

/* RFC 9112 §9.6: who says that a request is its last and sends more has itself to blame when answers are lost to a reset. */
static bool careless(const struct whole_client *c) {
    for (uint32_t i = c->next; i < c->count && c->requests[i].end < c->sent; i++) {
        if (c->requests[i].asked_close) {
            return true;
        }
    }
    return false;
}

/* The client, the world or the clock broke it: then anything may be missing. */
static bool broken(const struct whole_client *c) {
    const struct whole *w = c->w;
    return sim_faults(w->world)->resets > 0 || drain_over(w) || too_slow(c) || lingered_out(c) || careless(c);
}

/* A keep-alive connection that was idle for long enough; a request may have crossed its end. RFC 9112 §9.5 */
static bool was_idle(const struct whole_client *c, const struct whole_request *r) {
    uint64_t since = c->next > 0 ? c->requests[c->next - 1].last_ns : c->start_ns; /* the server may know it first */
    uint64_t until = since + c->w->config.idle_timeout_ns;
    bool crossed = r == NULL || r->first_ns == 0 || r->first_ns + whole_slack(c->w) >= until;
    return whole_now(c->w) >= until && crossed;
}

/* Requests that were sent after the drain had begun may be lost; none before, but of those who were not accepted yet. */
static bool was_drained(const struct whole_client *c, const struct whole_request *r) {
    const struct whole *w = c->w;
    if (w->drain_ns == 0) {
        return false;
    }
    bool unaccepted = w->unaccepted > 0 && c->received == 0;
    return unaccepted || r == NULL || r->first_ns == 0 || r->first_ns >= w->drain_ns;
}

/* Nothing that was asked for is missing. */
static bool settled(const struct whole_client *c, const struct whole_request *r) {
    return c->half_closed && (r == NULL || r->last_ns == 0);
}

/* Pools were so short that not even a 503 could be written, or no slot was left. */
static bool was_silenced(const struct whole_client *c) {
    const struct worker *worker = c->w->worker;
    return no_answer(c->w) || worker->pools[PLAN_BLOCKS].refused > 0 || (worker->figures.refused > 0 && c->received == 0);
}

/* A streamed answer that a pool was too small for ends in the middle. */
static bool was_cut_short(const struct whole_client *c) {
    bool streamed = c->next < c->count && c->requests[c->next].chunked;
    return streamed && shortages(c->w) > 0;
}

void whole_judge_end(struct whole_client *c) {
    if (broken(c) || (c->in_len > 0 && was_cut_short(c))) {
        return;
    }
    c->over = c->error == 0;
    whole_judge(c);
    if (c->in_len > 0 && c->in_len != c->body_left) {
        complain(c, "the connection ends within an answer");
    }
    if (c->last_seen) {
        bool sending = c->next > 0 && c->sent > c->requests[c->next - 1].end;
        if (c->error < 0 && !sending) {
            complain(c, "a reset behind the last answer");
        }
        return;
    }
    const struct whole_request *r = c->next < c->count ? &c->requests[c->next] : NULL;
    if (settled(c, r) || was_idle(c, r) || was_drained(c, r) || was_silenced(c)) {
        return;
    }
    complain(c, c->error < 0 ? "a reset without a reason" : "the connection ends without a reason");
}
