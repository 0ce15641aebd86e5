#include "server/access.h"

#include <string.h>

#include "mem/assert.h"
#include "mem/copy.h"
#include "mem/number.h"

static const char *const names[ACCESS_FORMATS_COUNT] = { "common", "combined", "json" };

const char *access_format_name(enum access_format format) {
    rm_assert(format < ACCESS_FORMATS_COUNT);
    return names[format];
}

bool access_format_parse(const char *text, enum access_format *out) {
    for (unsigned i = 0; i < ACCESS_FORMATS_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum access_format)i;
            return true;
        }
    }
    return false;
}

/* -------------------------------------------------------------------------------------------------- escaping ---- */

#define ONES UINT64_C(0x0101010101010101)
#define TOPS (ONES << 7)

/* Not zero when one of 8 bytes is to be escaped, or might be: not ASCII, below a blank, DEL, a quote or a backslash. */
static inline uint64_t suspects(uint64_t bytes) {
    uint64_t quote = bytes ^ ONES * '"', backslash = bytes ^ ONES * '\\', del = bytes ^ ONES * 0x7f;
    uint64_t zeroes = (quote - ONES) | (backslash - ONES) | (del - ONES);
    return (zeroes | (bytes - ONES * 0x20) | bytes) & TOPS;
}

static inline uint64_t load(const char *p) {
    uint64_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return bytes;
}

/* True when nothing is to be escaped; false is no promise. Two words overlap at the end. */
static bool surely_clean(struct span text) {
    if (text.len < 8) {
        uint64_t found = 0;
        for (size_t i = 0; i < text.len; i++) {
            found |= suspects(ONES * (uint8_t)text.data[i]);
        }
        return found == 0;
    }
    uint64_t found = suspects(load(text.data + text.len - 8));
    for (size_t i = 0; i + 8 <= text.len; i += 8) {
        found |= suspects(load(text.data + i));
    }
    return found == 0;
}

static const char hex[] = "0123456789ABCDEF";

static char *put_hex(char *p, const char *prefix, size_t len, uint8_t byte) {
    memcpy(p, prefix, len);
    p[len] = hex[byte >> 4];
    p[len + 1] = hex[byte & 15];
    return p + len + 2;
}

[[gnu::noinline]] static char *put_unclean_text(char *p, struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') {
            p = put_hex(p, "\\x", 2, byte);
        } else {
            *p++ = (char)byte;
        }
    }
    return p;
}

static char *put_text(char *p, struct span text) {
    return surely_clean(text) ? copy_put_span(p, text) : put_unclean_text(p, text);
}

/* Bytes of the UTF-8 sequence at text[i], 0 when it is none: RFC 3629 §4, without surrogates and overlong forms. */
static size_t sequence(struct span text, size_t i) {
    const uint8_t *p = (const uint8_t *)text.data + i;
    size_t left = text.len - i;
    size_t len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > left) {
        return 0;
    }
    for (size_t k = 1; k < len; k++) {
        if ((p[k] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 0 : len;
}

/* A byte that begins no UTF-8 sequence becomes U+FFFD: text that is not UTF-8 is no JSON. DEL is escaped for terminals. */
char *access_escape_json(char *p, struct span text) {
    for (size_t i = 0; i < text.len;) {
        uint8_t byte = (uint8_t)text.data[i];
        size_t len = byte < 0x80 ? 1 : sequence(text, i);
        if (len == 0) {
            p = COPY_PUT(p, "\\ufffd");
            i++;
            continue;
        }
        if (byte == '"' || byte == '\\') {
            *p++ = '\\';
        }
        if (byte < 0x20 || byte == 0x7f) {
            p = put_hex(p, "\\u00", 4, byte);
        } else {
            p = copy_put(p, text.data + i, len);
        }
        i += len;
    }
    return p;
}

static char *put_json(char *p, struct span text) {
    *p++ = '"';
    p = surely_clean(text) ? copy_put_span(p, text) : access_escape_json(p, text);
    *p++ = '"';
    return p;
}

/* --------------------------------------------------------------------------------------------------- formats ---- */

/* Fixed texts, numbers and quotes of any format; number_put_* write ahead. */
enum { FIXED_BYTES = 512 };

size_t access_bytes_max(const struct access_entry *e, enum access_format format) {
    size_t sent = e->method.len + e->referer.len + e->agent.len;
    sent += format == ACCESS_JSON ? e->path.len + e->query.len + e->route.len : e->target.len;
    return FIXED_BYTES + e->stamp.len + e->address.len + ACCESS_ESCAPED_BYTES_MAX * sent;
}

static char *put_common(char *p, const struct access_entry *e) {
    p = e->address.len > 0 ? copy_put_span(p, e->address) : COPY_PUT(p, "-");
    p = COPY_PUT(p, " - - [");
    p = copy_put_span(p, e->stamp);
    p = COPY_PUT(p, "] \"");
    if (e->method.len == 0) {
        p = COPY_PUT(p, "-\" ");
    } else {
        p = put_text(p, e->method);
        *p++ = ' ';
        p = put_text(p, e->target);
        p = COPY_PUT(p, " HTTP/1.");
        *p++ = (char)('0' + e->version_minor);
        p = COPY_PUT(p, "\" ");
    }
    p = number_put_u64(p, (uint64_t)e->status);
    *p++ = ' ';
    return number_put_u64(p, e->bytes_out);
}

static char *put_quoted(char *p, struct span text) {
    p = COPY_PUT(p, " \"");
    p = text.len > 0 ? put_text(p, text) : COPY_PUT(p, "-");
    *p++ = '"';
    return p;
}

#define PUT_MEMBER(p, name, value) number_put_u64(COPY_PUT((p), ",\"" name "\":"), (value))

static char *put_request(char *p, const struct access_entry *e) {
    if (e->method.len == 0) {
        return p;
    }
    p = put_json(COPY_PUT(p, ",\"method\":"), e->method);
    p = put_json(COPY_PUT(p, ",\"path\":"), e->path);
    p = put_json(COPY_PUT(p, ",\"query\":"), e->query);
    if (e->route.len > 0) {
        p = put_json(COPY_PUT(p, ",\"route\":"), e->route);
    }
    p = COPY_PUT(p, ",\"proto\":\"HTTP/1.");
    *p++ = (char)('0' + e->version_minor);
    *p++ = '"';
    if (e->referer.len > 0) {
        p = put_json(COPY_PUT(p, ",\"referer\":"), e->referer);
    }
    return e->agent.len > 0 ? put_json(COPY_PUT(p, ",\"user_agent\":"), e->agent) : p;
}

static char *put_object(char *p, const struct access_entry *e) {
    p = put_json(COPY_PUT(p, "{\"ts\":"), e->stamp);
    if (e->address.len > 0) {
        p = put_json(COPY_PUT(p, ",\"remote_addr\":"), e->address);
    }
    p = put_request(p, e);
    p = PUT_MEMBER(p, "status", (uint64_t)e->status);
    p = PUT_MEMBER(p, "bytes_in", e->bytes_in);
    p = PUT_MEMBER(p, "bytes_out", e->bytes_out);
    p = PUT_MEMBER(p, "dur_us", e->duration_us);
    p = PUT_MEMBER(p, "worker", e->worker);
    p = number_put_u64(COPY_PUT(p, ",\"conn\":\""), e->conn_slot);
    p = number_put_u64(COPY_PUT(p, "."), e->conn_generation);
    return COPY_PUT(p, "\"}");
}

char *access_write(char *out, const struct access_entry *entry, enum access_format format) {
    char *p;
    switch (format) {
    case ACCESS_JSON: p = put_object(out, entry); break;
    case ACCESS_COMBINED: p = put_quoted(put_quoted(put_common(out, entry), entry->referer), entry->agent); break;
    case ACCESS_COMMON:
    case ACCESS_FORMATS_COUNT:
    default: p = put_common(out, entry); break;
    }
    *p++ = '\n';
    return p;
}
