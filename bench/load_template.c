#include "load_template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem/assert.h"

enum { RANDOM_PERIOD = 1024, FILE_BYTES_MAX = 16 * 1024 * 1024, TIMES_MAX = 1000, FILL_MAX = 16 * 1024 * 1024 };

static const char marker[] = "=== ";

static void *must_allocate(size_t count, size_t bytes) {
    void *memory = calloc(count == 0 ? 1 : count, bytes);
    if (memory == NULL) {
        fprintf(stderr, "load: out of memory\n");
        exit(70);
    }
    return memory;
}

/* ------------------------------------------------------------------------------------------------- the file ---- */

struct reader {
    const char *name;
    struct span rest;
    uint32_t line; /* of the last line taken, from 1 */
    char *why;
};

static bool fail(const struct reader *reader, const char *what) {
    snprintf(reader->why, LOAD_WHY_BYTES, "%s:%u: %s", reader->name, reader->line, what);
    return false;
}

static bool is_marker(struct span line) {
    return line.len >= sizeof marker - 1 && memcmp(line.data, marker, sizeof marker - 1) == 0;
}

/* The next line without its end; false at the end of the file. */
static bool next_line(struct reader *reader, struct span *line) {
    if (reader->rest.len == 0) {
        return false;
    }
    const char *end = memchr(reader->rest.data, '\n', reader->rest.len);
    size_t len = end == NULL ? reader->rest.len : (size_t)(end - reader->rest.data);
    *line = span_first(reader->rest, len);
    reader->rest = span_from(reader->rest, len + 1);
    if (line->len > 0 && line->data[line->len - 1] == '\r') {
        line->len--;
    }
    reader->line++;
    return true;
}

static struct span next_word(struct span *line) {
    while (line->len > 0 && line->data[0] == ' ') {
        *line = span_from(*line, 1);
    }
    const char *end = line->len == 0 ? NULL : memchr(line->data, ' ', line->len);
    struct span word = end == NULL ? *line : span_first(*line, (size_t)(end - line->data));
    *line = span_from(*line, word.len);
    return word;
}

static bool starts_with(struct span s, struct span prefix) {
    return s.len >= prefix.len && memcmp(s.data, prefix.data, prefix.len) == 0;
}

/* "name=NUMBER" with min <= NUMBER <= max. */
static bool number_item(struct span word, struct span name, uint64_t min, uint64_t max, uint64_t *out) {
    return starts_with(word, name) && span_u64(span_from(word, name.len), out) && *out >= min && *out <= max;
}

struct marker_line {
    uint64_t status, times, fill;
    struct reply_expect expect;
};

static bool marker_item(struct span word, struct span line_from_word, struct marker_line *out, bool *last) {
    struct reply_expect *expect = &out->expect;
    if (number_item(word, SPAN("times="), 1, TIMES_MAX, &out->times) ||
        number_item(word, SPAN("fill="), 1, FILL_MAX, &out->fill) || span_equal(word, SPAN("length=same"))) {
        return true;
    }
    if (number_item(word, SPAN("length="), 0, UINT32_MAX, &expect->length)) {
        expect->length_known = true;
        return true;
    }
    if (starts_with(word, SPAN("body="))) {
        expect->body = span_from(line_from_word, 5);
        expect->length = expect->body.len;
        expect->has_body = true;
        expect->length_known = true;
        *last = true;
        return true;
    }
    return false;
}

static bool parse_marker(const struct reader *reader, struct span line, struct marker_line *out) {
    *out = (struct marker_line){ .times = 1 };
    line = span_from(line, sizeof marker - 1);
    if (!span_u64(next_word(&line), &out->status) || out->status < 200 || out->status > 599) {
        return fail(reader, "a marker is '=== STATUS ...' with a status from 200 to 599");
    }
    out->expect.status = (uint32_t)out->status;
    for (bool last = false; !last;) {
        struct span word = next_word(&line);
        if (word.len == 0) {
            return true;
        }
        struct span from_word = span_of(word.data, word.len + line.len);
        if (!marker_item(word, from_word, out, &last)) {
            return fail(reader, "after the status come times=N fill=N length=N|same body=TEXT");
        }
    }
    return true;
}

/* The request behind a marker: lines up to the next marker. *line is that marker (or *more false). */
static bool parse_request(struct reader *reader, const struct marker_line *mark, struct load_request *out,
                          struct span *line, bool *more) {
    size_t room = reader->rest.len * 2 + mark->fill + 2;
    char *bytes = must_allocate(room, 1);
    size_t len = 0, lines = 0;
    bool last_empty = false;
    while ((*more = next_line(reader, line)) && !is_marker(*line)) {
        if (lines++ > 0) {
            memcpy(bytes + len, "\r\n", 2);
            len += 2;
        }
        memcpy(bytes + len, line->data, line->len);
        len += line->len;
        last_empty = line->len == 0;
    }
    if (last_empty) {
        memcpy(bytes + len, "\r\n", 2);
        len += 2;
    }
    if (memmem(bytes, len, "\r\n\r\n", 4) == NULL) {
        free(bytes);
        return fail(reader, "the request before this line has no empty line behind its head");
    }
    memset(bytes + len, 'x', mark->fill);
    len += mark->fill;
    rm_assert(len <= room);
    char *shrunk = realloc(bytes, len);
    *out = (struct load_request){ shrunk == NULL ? bytes : shrunk, len, (uint32_t)mark->times, mark->expect };
    return true;
}

bool load_template_parse(char *text, size_t len, const char *name, struct load_template *out, char why[LOAD_WHY_BYTES]) {
    struct reader reader = { name, span_of(text, len), 0, why };
    struct span line = { 0 };
    bool more;
    do {
        more = next_line(&reader, &line);
    } while (more && !is_marker(line));

    *out = (struct load_template){ .requests = must_allocate(LOAD_REQUESTS_MAX, sizeof *out->requests), .text = text };
    while (more) {
        struct marker_line mark;
        if (out->count == LOAD_REQUESTS_MAX) {
            return fail(&reader, "too many requests in one file (256)");
        }
        if (!parse_marker(&reader, line, &mark) ||
            !parse_request(&reader, &mark, &out->requests[out->count], &line, &more)) {
            return false;
        }
        out->count++;
    }
    return out->count > 0 || fail(&reader, "no request: a line '=== STATUS' begins one");
}

void load_template_release(struct load_template *template) {
    for (uint32_t i = 0; i < template->count; i++) {
        free(template->requests[i].bytes);
    }
    free(template->requests);
    free(template->text);
    *template = (struct load_template){ 0 };
}

bool load_template_read(const char *path, struct load_template *out, char why[LOAD_WHY_BYTES]) {
    *out = (struct load_template){ 0 };
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        snprintf(why, LOAD_WHY_BYTES, "%s: %s", path, strerror(errno));
        return false;
    }
    char *text = must_allocate(FILE_BYTES_MAX, 1);
    size_t len = fread(text, 1, FILE_BYTES_MAX, file);
    bool whole = feof(file) && !ferror(file);
    fclose(file);
    if (!whole) {
        free(text);
        snprintf(why, LOAD_WHY_BYTES, "%s: cannot be read, or is larger than %d bytes", path, FILE_BYTES_MAX);
        return false;
    }
    return load_template_parse(text, len, path, out, why);
}

/* ------------------------------------------------------------------------------------------------- the tape ---- */

uint64_t load_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t weight_sum(const struct load_template *template) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < template->count; i++) {
        sum += template->requests[i].times;
    }
    return sum;
}

/* Smooth weighted round robin: each step every request gains its weight, the richest is taken and pays the sum. */
static void order_in_turn(const struct load_template *template, struct load_tape *tape) {
    int64_t credit[LOAD_REQUESTS_MAX] = { 0 };
    for (uint32_t p = 0; p < tape->period; p++) {
        uint32_t best = 0;
        for (uint32_t i = 0; i < template->count; i++) {
            credit[i] += template->requests[i].times;
            best = credit[i] > credit[best] ? i : best;
        }
        credit[best] -= (int64_t)tape->period;
        tape->which[p] = (uint16_t)best;
    }
}

static void order_at_random(const struct load_template *template, uint64_t seed, struct load_tape *tape) {
    uint32_t sum = weight_sum(template);
    for (uint32_t p = 0; p < tape->period; p++) {
        uint64_t ticket = load_random(&seed) % sum;
        uint32_t i = 0;
        while (ticket >= template->requests[i].times) {
            ticket -= template->requests[i++].times;
        }
        tape->which[p] = (uint16_t)i;
    }
}

bool load_tape_make(const struct load_template *template, uint32_t depth, uint64_t seed, struct load_tape *out,
                    char why[LOAD_WHY_BYTES]) {
    uint32_t period = seed == 0 ? weight_sum(template) : RANDOM_PERIOD;
    uint32_t entries = period + depth;
    *out = (struct load_tape){ .period = period, .depth = depth };
    out->which = must_allocate(entries, sizeof *out->which);
    out->offsets = must_allocate(entries + 1, sizeof *out->offsets);
    if (seed == 0) {
        order_in_turn(template, out);
    } else {
        order_at_random(template, seed, out);
    }

    for (uint32_t p = 0; p < entries; p++) {
        out->which[p] = out->which[p % period];
        out->offsets[p + 1] = out->offsets[p] + template->requests[out->which[p]].len;
    }
    if (out->offsets[entries] > LOAD_TAPE_BYTES_MAX) {
        snprintf(why, LOAD_WHY_BYTES, "the requests make a tape of %zu bytes; the limit is %d", out->offsets[entries],
                 LOAD_TAPE_BYTES_MAX);
        return false;
    }
    out->bytes = must_allocate(out->offsets[entries], 1);
    for (uint32_t p = 0; p < entries; p++) {
        const struct load_request *request = &template->requests[out->which[p]];
        memcpy(out->bytes + out->offsets[p], request->bytes, request->len);
    }
    return true;
}

void load_tape_release(struct load_tape *tape) {
    free(tape->bytes);
    free(tape->offsets);
    free(tape->which);
    *tape = (struct load_tape){ 0 };
}
