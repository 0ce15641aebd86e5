/* Fields of responses that are stored, and what is kept of them: rendered, in the order in which they are sent. First what
 * only a whole response has, then what a 304 has, too (RFC 9110 §15.4.5). */
#include "http/cache_priv.h"
#include "http/http_priv.h"
#include "http/parse.h"
#include "mem/copy.h"
#include "mem/hash.h"
#include "mem/number.h"

/* What a field of a handler's is to the cache. */
enum kind {
    KIND_OTHER,
    KIND_METADATA, /* of the representation: not in a 304 */
    KIND_MODIFIED, /* likewise */
    KIND_ETAG,
    KIND_CACHE_CONTROL,
    KIND_VARY,     /* replaced by the rule's */
    KIND_AGE,      /* kept as a number: it grows */
    KIND_STATE,    /* X-Cache: ours */
    KIND_NEVER,    /* a response with it is not stored */
};

static const struct {
    struct span name;
    enum kind kind;
} kinds[] = {
    { SPAN("content-type"), KIND_METADATA },
    { SPAN("content-encoding"), KIND_METADATA },
    { SPAN("content-language"), KIND_METADATA },
    { SPAN("content-disposition"), KIND_METADATA },
    { SPAN("content-range"), KIND_METADATA },
    { SPAN("content-digest"), KIND_METADATA },
    { SPAN("repr-digest"), KIND_METADATA },
    { SPAN("last-modified"), KIND_MODIFIED },
    { SPAN("etag"), KIND_ETAG },
    { SPAN("cache-control"), KIND_CACHE_CONTROL },
    { SPAN("vary"), KIND_VARY },
    { SPAN("age"), KIND_AGE },
    { SPAN("x-cache"), KIND_STATE },
    { SPAN("set-cookie"), KIND_NEVER },
    { SPAN("keep-alive"), KIND_NEVER }, /* RFC 9110 §7.6.1; the others of it are reserved */
    { SPAN("proxy-connection"), KIND_NEVER },
    { SPAN("te"), KIND_NEVER },
    { SPAN("upgrade"), KIND_NEVER },
    { SPAN("proxy-authenticate"), KIND_NEVER }, /* RFC 9111 §3.1 */
    { SPAN("proxy-authentication-info"), KIND_NEVER },
    { SPAN("proxy-authorization"), KIND_NEVER },
};

static enum kind kind_of(struct span name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (span_equal_nocase(name, kinds[i].name)) {
            return kinds[i].kind;
        }
    }
    return KIND_OTHER;
}

/* A line as http_response_field has written it. */
struct line {
    struct span all; /* with its CRLF */
    struct span value;
    enum kind kind;
};

/* Takes the first line off *rest; false when there is none. */
static bool line_next(struct span *rest, struct line *line) {
    if (rest->len == 0) {
        return false;
    }
    const char *end = memchr(rest->data, '\r', rest->len), *colon = memchr(rest->data, ':', rest->len);
    rm_assert(end != NULL);
    rm_assert(colon != NULL);
    rm_assert(colon + 2 <= end);
    line->all = span_of(rest->data, (size_t)(end + 2 - rest->data));
    line->value = span_of(colon + 2, (size_t)(end - colon - 2));
    line->kind = kind_of(span_of(rest->data, (size_t)(colon - rest->data)));
    *rest = span_from(*rest, line->all.len);
    return true;
}

/* -------------------------------------------------------------------------------------------------- what is storable ---- */

/* RFC 9111 §5.2.2.5, §5.2.2.7; also with an argument. Quotes are not looked at: at worst it is not stored, and no harm done. */
static bool control_allows(struct span value) {
    for (struct span rest = value; rest.data != NULL;) {
        struct span directive = http_list_next(&rest);
        const char *equals = directive.len > 0 ? memchr(directive.data, '=', directive.len) : NULL;
        struct span name = equals != NULL ? span_first(directive, (size_t)(equals - directive.data)) : directive;
        if (span_equal_nocase(name, SPAN("no-store")) || span_equal_nocase(name, SPAN("private"))) {
            return false;
        }
    }
    return true;
}

static bool has_member(struct span list, struct span name) {
    for (struct span rest = list; rest.data != NULL;) {
        if (span_equal_nocase(http_list_next(&rest), name)) {
            return true;
        }
    }
    return false;
}

/* Is the key made of all that the response depends on? "*" is never. RFC 9111 §4.1 */
static bool vary_covered(struct span value, struct span vary) {
    for (struct span rest = value; rest.data != NULL;) {
        struct span name = http_list_next(&rest);
        if (name.len > 0 && !has_member(vary, name)) {
            return false;
        }
    }
    return true;
}

bool cache_fields_storable(struct span fields, struct span vary) {
    struct line line;
    while (line_next(&fields, &line)) {
        bool good = line.kind == KIND_CACHE_CONTROL ? control_allows(line.value)
                    : line.kind == KIND_VARY        ? vary_covered(line.value, vary)
                                                    : line.kind != KIND_NEVER;
        if (!good) {
            return false;
        }
    }
    return true;
}

char *cache_fields_put_without_state(char *out, struct span fields) {
    struct line line;
    while (line_next(&fields, &line)) {
        if (line.kind != KIND_STATE) {
            out = copy_put_span(out, line.all);
        }
    }
    return out;
}

/* ------------------------------------------------------------------------------------------------------------ meta ---- */

enum { META_MARK = 0x314d5248 }; /* "HRM1" */

/* The beginning of what is stored beside a body; the lines follow. Read again by later
 * builds, too (a warm start): who changes it changes the mark, and what is there then is not found. */
struct meta {
    uint32_t mark;
    uint16_t status;
    uint16_t lines;    /* bytes */
    uint16_t not_304;  /* bytes of them, at their beginning, that a 304 leaves out */
    uint16_t etag_at;  /* in lines */
    uint16_t etag_len; /* 0: none that a condition could name */
    uint16_t unused;
    uint32_t age_s;    /* as the handler said */
    uint32_t unused_too;
    uint64_t body_bytes;
};
_Static_assert(sizeof(struct meta) == 32, "no holes: they would be stored");
_Static_assert(HTTP_META_BYTES_MAX - sizeof(struct meta) <= RESPONSE_LINES_BYTES_MAX, "lines fit into a head");

/* Counts, and writes when there is a place. */
struct sink {
    char *out;
    size_t len;
};

static void put(struct sink *sink, struct span bytes) {
    if (sink->out != NULL) {
        copy_put_span(sink->out + sink->len, bytes);
    }
    sink->len += bytes.len;
}

static void put_number(struct sink *sink, struct span name, uint64_t value) {
    char digits[NUMBER_BYTES_MAX];
    put(sink, name);
    put(sink, span_of(digits, (size_t)(number_put_u64(digits, value) - digits)));
    put(sink, SPAN("\r\n"));
}

static void put_field(struct sink *sink, struct span name, struct span value) {
    put(sink, name);
    put(sink, value);
    put(sink, SPAN("\r\n"));
}

/* Notes the tag that ends at the end of the sink, before `behind` bytes, unless no condition can name it. */
static void note_tag(struct sink *sink, struct meta *meta, struct span tag) {
    bool good = cache_tag_valid(tag) && tag.len <= HTTP_ETAG_BYTES_MAX;
    meta->etag_len = good ? (uint16_t)tag.len : 0;
    meta->etag_at = good ? (uint16_t)(sink->len - 2 - tag.len) : 0;
}

/* RFC 9111 §1.2.2: what is too large is 2^31. What is no number is none. */
static uint32_t seconds_of(struct span value) {
    uint64_t seconds = 0;
    (void)span_u64(value, &seconds);
    return seconds < UINT32_C(1) << 31 ? (uint32_t)seconds : UINT32_C(1) << 31;
}

/* What only a whole response has. */
static void put_metadata(struct sink *sink, const struct http_captured *captured) {
    if (captured->type.len > 0) {
        put_field(sink, SPAN("Content-Type: "), captured->type);
    }
    put_number(sink, SPAN("Content-Length: "), captured->body_bytes);
    struct span rest = captured->fields, modified = captured->modified;
    for (struct line line; line_next(&rest, &line);) {
        if (line.kind == KIND_METADATA || line.kind == KIND_MODIFIED) {
            put(sink, line.all);
        }
        if (line.kind == KIND_MODIFIED) {
            modified.len = 0;
        }
    }
    if (modified.len > 0) {
        put_field(sink, SPAN("Last-Modified: "), modified);
    }
}

/* The other fields of the handler; counts those by kind. Of several entity tags none is known: that is a mistake. */
static void put_others(struct sink *sink, const struct http_captured *captured, struct meta *meta,
                       uint32_t counts[static KIND_NEVER + 1]) {
    struct span rest = captured->fields;
    for (struct line line; line_next(&rest, &line);) {
        counts[line.kind]++;
        bool metadata = line.kind == KIND_METADATA || line.kind == KIND_MODIFIED;
        bool kept = line.kind == KIND_OTHER || line.kind == KIND_CACHE_CONTROL || line.kind == KIND_ETAG;
        if (kept || (captured->as_it_is && !metadata)) {
            put(sink, line.all);
        }
        if (line.kind == KIND_ETAG) {
            note_tag(sink, meta, counts[KIND_ETAG] == 1 ? line.value : span_of(NULL, 0));
        } else if (line.kind == KIND_AGE && !captured->as_it_is) {
            meta->age_s = seconds_of(line.value);
        }
    }
}

static struct meta render(struct sink *sink, const struct http_captured *captured, const struct http_cache_rule *rule,
                          struct span etag) {
    struct meta meta = { .mark = META_MARK, .status = (uint16_t)captured->status, .body_bytes = captured->body_bytes };
    uint32_t counts[KIND_NEVER + 1] = { 0 };
    put_metadata(sink, captured);
    meta.not_304 = (uint16_t)sink->len;
    put_others(sink, captured, &meta, counts);
    if (counts[KIND_ETAG] == 0 && etag.len > 0) {
        put_field(sink, SPAN("ETag: "), etag);
        note_tag(sink, &meta, etag);
    }
    if (counts[KIND_CACHE_CONTROL] == 0 && rule->max_age_s == 0) {
        put(sink, SPAN("Cache-Control: no-cache\r\n"));
    } else if (counts[KIND_CACHE_CONTROL] == 0) {
        put_number(sink, SPAN("Cache-Control: max-age="), rule->max_age_s);
    }
    if (rule->vary.len > 0 && !(captured->as_it_is && counts[KIND_VARY] > 0)) {
        put_field(sink, SPAN("Vary: "), rule->vary);
    }
    meta.lines = (uint16_t)sink->len;
    return meta;
}

uint32_t http_meta_bytes(const struct http_captured *captured, const struct http_cache_rule *rule, struct span etag) {
    struct sink sink = { NULL, 0 };
    (void)render(&sink, captured, rule, etag);
    size_t bytes = sizeof(struct meta) + sink.len;
    return bytes <= HTTP_META_BYTES_MAX ? (uint32_t)bytes : 0;
}

void http_meta_put(const struct http_captured *captured, const struct http_cache_rule *rule, struct span etag, char *out) {
    struct sink sink = { out + sizeof(struct meta), 0 };
    struct meta meta = render(&sink, captured, rule, etag);
    memcpy(out, &meta, sizeof meta);
}

bool http_meta_read(struct span bytes, struct http_stored *out) {
    struct meta meta;
    if (bytes.len < sizeof meta) {
        return false;
    }
    memcpy(&meta, bytes.data, sizeof meta);
    const char *lines = bytes.data + sizeof meta;
    if (meta.mark != META_MARK || meta.status != 200 || bytes.len - sizeof meta != meta.lines
        || bytes.len > HTTP_META_BYTES_MAX || meta.not_304 > meta.lines || meta.etag_at > meta.lines
        || meta.etag_len > meta.lines - meta.etag_at) {
        return false;
    }
    *out = (struct http_stored){
        .status = meta.status,
        .etag = { lines + meta.etag_at, meta.etag_len },
        .lines = { lines, meta.lines },
        .lines_304 = { lines + meta.not_304, (size_t)meta.lines - meta.not_304 },
        .body_bytes = meta.body_bytes,
        .age_before_s = meta.age_s,
    };
    return true;
}

/* ------------------------------------------------------------------------------------------------------------- tags ---- */

void http_etag_make(const struct chain *body, char out[static HTTP_ETAG_MADE_BYTES]) {
    static const uint64_t key[2] = { UINT64_C(0x72696e676d61696e), UINT64_C(0x656e746974797461) }; /* the same at each start */
    static const char hex[] = "0123456789abcdef";
    struct hash hash;
    hash_begin(&hash, key);
    for (const struct block *block = body->head; block != NULL; block = block->next) {
        hash_add(&hash, span_of(block->data + block->start, block->len - block->start));
    }
    uint64_t value = hash_end(&hash);
    char *p = out;
    *p++ = '"';
    for (int shift = 60; shift >= 0; shift -= 4) {
        *p++ = hex[value >> shift & 15];
    }
    *p = '"';
}
