/* Connection strings: a URL, or key=value pairs. */
#include "pg/pg_settings_priv.h"

/* What a value can be at most before the setting itself says how long it may be. */
enum { VALUE_BYTES = PG_OPTIONS_BYTES };

/* A value that is put together; `full`: it was longer than any may be. */
struct value {
    char bytes[VALUE_BYTES];
    size_t len;
    bool full;
};

static void value_add(struct value *value, char c) {
    value->full |= value->len == VALUE_BYTES;
    if (!value->full) {
        value->bytes[value->len++] = c;
    }
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The first place of any of the two in the text, or its length. */
static size_t find_either(struct span text, char a, char b) {
    size_t i = 0;
    while (i < text.len && text.data[i] != a && text.data[i] != b) {
        i++;
    }
    return i;
}

/* ------------------------------------------------------------------------------------------------------- address ---- */

/* One number of an IPv4 address, and the dot behind it when there has to be one. */
static bool take_byte(struct span *text, bool dot) {
    uint64_t number;
    size_t n = find_either(*text, '.', '.');
    if (n > 3 || !span_u64(span_first(*text, n), &number) || number > 255 || dot != (n < text->len)) {
        return false;
    }
    *text = span_from(*text, n + 1);
    return true;
}

static bool is_v4(struct span text) {
    return take_byte(&text, true) && take_byte(&text, true) && take_byte(&text, true) && take_byte(&text, false);
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Groups of hexadecimal digits between colons; the last may be an IPv4 address, which is two. -1: malformed. */
static int count_groups(struct span text) {
    int groups = 0;
    bool more = text.len > 0;
    while (more) {
        size_t n = find_either(text, ':', ':');
        struct span group = span_first(text, n);
        more = n < text.len;
        text = span_from(text, n + 1);
        if (!more && is_v4(group)) {
            return groups + 2;
        }
        for (size_t i = 0; i < n; i++) {
            n = hex_digit(group.data[i]) < 0 ? 0 : n;
        }
        if (n < 1 || n > 4) {
            return -1;
        }
        groups++;
    }
    return groups;
}

/* At most one "::" stands for what is missing; an IPv4 address can be at the very end only. */
static bool is_v6(struct span text) {
    size_t gap = 0;
    while (gap + 1 < text.len && (text.data[gap] != ':' || text.data[gap + 1] != ':')) {
        gap++;
    }
    if (gap + 1 >= text.len) {
        return count_groups(text) == 8;
    }
    struct span head = span_first(text, gap);
    int left = count_groups(head), right = count_groups(span_from(text, gap + 2));
    return left >= 0 && right >= 0 && left + right < 8 && (head.len == 0 || memchr(head.data, '.', head.len) == NULL);
}

bool pg_settings_is_address(struct span text) {
    return is_v4(text) || is_v6(text);
}

/* ----------------------------------------------------------------------------------------------- key=value pairs ---- */

/* A value in quotes: `text` begins with the one that opens it, and is what follows the one that closes it afterwards. */
static bool read_quoted(struct span *text, struct value *value) {
    size_t i = 1;
    while (i < text->len && text->data[i] != '\'') {
        i += text->data[i] == '\\';
        if (i < text->len) {
            value_add(value, text->data[i++]);
        }
    }
    bool closed = i < text->len;
    *text = span_from(*text, i + 1);
    return closed;
}

static void read_bare(struct span *text, struct value *value) {
    size_t i = 0;
    while (i < text->len && !is_space(text->data[i])) {
        i += text->data[i] == '\\';
        if (i < text->len) {
            value_add(value, text->data[i++]);
        }
    }
    *text = span_from(*text, i);
}

static struct span skip_spaces(struct span text) {
    size_t i = 0;
    while (i < text.len && is_space(text.data[i])) {
        i++;
    }
    return span_from(text, i);
}

/* Up to a blank or the equals sign. */
static struct span take_key(struct span *text) {
    size_t n = 0;
    while (n < text->len && text->data[n] != '=' && !is_space(text->data[n])) {
        n++;
    }
    struct span key = span_first(*text, n);
    *text = skip_spaces(span_from(*text, n));
    return key;
}

static bool is_secret(struct span key) {
    return span_equal(key, SPAN("password")) || span_equal(key, SPAN("sslpassword"));
}

static bool read_pairs(struct pg_settings *settings, struct span text, char *why) {
    bool hide = false;
    for (text = skip_spaces(text); text.len > 0; text = skip_spaces(text)) {
        struct span key = take_key(&text);
        if (text.len == 0 || text.data[0] != '=') {
            return pg_settings_say(why, "must be a URL, postgres://USER@HOST/NAME, or key=value pairs; a value with blanks is "
                                        "quoted, as in password='two words'", NULL);
        }
        text = skip_spaces(span_from(text, 1));
        struct value value;
        value.len = 0;
        value.full = false;
        bool quoted = text.len > 0 && text.data[0] == '\'';
        if (quoted && !read_quoted(&text, &value)) {
            return pg_settings_say(why, "a quote is not closed; one in a value is written \\'", NULL);
        }
        if (!quoted) {
            read_bare(&text, &value);
        }
        hide |= is_secret(key); /* what follows may be a rest of it that should have been quoted */
        if (value.full) {
            return pg_settings_say(why, "a value is longer than 1024 bytes", NULL);
        }
        if (!pg_settings_set(settings, key, span_of(value.bytes, value.len), hide, why)) {
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------------------------------------------------------- URLs ---- */

/* RFC 3986 §2.1. False: a bad escape, %00, or too long. */
static bool decode(struct span text, struct value *value) {
    value->len = 0;
    value->full = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0) {
                return false;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        value_add(value, c);
    }
    return !value->full;
}

/* Sets a part of the URL that is not empty. */
static bool set_part(struct pg_settings *settings, const char *name, struct span text, char *why) {
    struct value value;
    if (text.len == 0) {
        return true;
    }
    if (!decode(text, &value)) {
        return pg_settings_say(why, name, ": '%' must be followed by two hexadecimal digits, and these not 00; and at most "
                                          "1024 bytes", NULL);
    }
    return pg_settings_set(settings, span_text(name), span_of(value.bytes, value.len), false, why);
}

/* "user:password@", when there is an '@' in front of the first '/'. */
static bool read_credentials(struct pg_settings *settings, struct span *text, bool *there, char *why) {
    size_t end = find_either(*text, '@', '/');
    *there = end < text->len && text->data[end] == '@';
    if (!*there) {
        return true;
    }
    struct span both = span_first(*text, end);
    size_t colon = find_either(both, ':', ':');
    *text = span_from(*text, end + 1);
    return set_part(settings, "user", span_first(both, colon), why) &&
           set_part(settings, "password", span_from(both, colon + 1), why);
}

/* "host", "[v6]", "host:port"; ends at the '/', the '?' or the end. */
static bool read_place(struct pg_settings *settings, struct span *text, char *why) {
    struct span place = span_first(*text, find_either(*text, '/', '?'));
    struct span host = place, rest = { "", 0 };
    *text = span_from(*text, place.len);
    if (memchr(place.data, '@', place.len) != NULL) {
        return pg_settings_say(why, "host: an '@' in a user, a password or a host must be written %40", NULL);
    }
    if (place.len > 0 && place.data[0] == '[') {
        size_t end = find_either(place, ']', ']');
        rest = span_from(place, end + 1);
        if (end == place.len || end == 1 || (rest.len > 0 && rest.data[0] != ':' && rest.data[0] != ',')) {
            return pg_settings_say(why, "host: an IPv6 address is written as [2001:db8::1], or [2001:db8::1]:5432", NULL);
        }
        host = span_of(place.data + 1, end - 1);
    } else {
        size_t end = find_either(place, ':', ',');
        host = span_first(place, end);
        rest = span_from(place, end);
    }
    if (memchr(place.data, ',', place.len) != NULL) {
        return pg_settings_say(why, "host: several hosts are not supported yet: name one", NULL);
    }
    return set_part(settings, "host", host, why) && set_part(settings, "port", span_from(rest, 1), why);
}

/* "key=value", both percent-encoded. */
static bool read_query_pair(struct pg_settings *settings, struct span pair, bool hide, char *why) {
    struct value key, value;
    size_t equals = find_either(pair, '=', '=');
    struct span rest = span_from(pair, equals + 1);
    if (equals == pair.len || memchr(rest.data, '=', rest.len) != NULL) {
        return pg_settings_say(why, "behind the '?' stand key=value pairs with '&' between them; a '=' in a value is written "
                                    "%3D", NULL);
    }
    if (!decode(span_first(pair, equals), &key) || !decode(rest, &value)) {
        return pg_settings_say(why, "behind the '?', a '%' must be followed by two hexadecimal digits, and these not 00; and "
                                    "a value has at most 1024 bytes", NULL);
    }
    return pg_settings_set(settings, span_of(key.bytes, key.len), span_of(value.bytes, value.len), hide, why);
}

static bool read_query(struct pg_settings *settings, struct span text, char *why) {
    bool hide = text.len > 0 && memchr(text.data, '@', text.len) != NULL;
    while (text.len > 0) {
        struct span pair = span_first(text, find_either(text, '&', '&'));
        text = span_from(text, pair.len + 1);
        if (!read_query_pair(settings, pair, hide, why)) {
            return false;
        }
        hide |= is_secret(span_first(pair, find_either(pair, '=', '=')));
    }
    return true;
}

static bool read_url(struct pg_settings *settings, struct span text, char *why) {
    bool has_credentials;
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] <= ' ' || text.data[i] == 0x7f) {
            return pg_settings_say(why, "a blank or a control character is in the URL: write it percent-encoded, as %20", NULL);
        }
    }
    if (!read_credentials(settings, &text, &has_credentials, why) || !read_place(settings, &text, why)) {
        return false;
    }
    struct span path = span_first(text, find_either(text, '?', '?'));
    text = span_from(text, path.len);
    if (!has_credentials && path.len > 0 && memchr(path.data, '@', path.len) != NULL) {
        return pg_settings_say(why, "a '/' in a user or a password must be written %2F, and an '@' in a name %40", NULL);
    }
    return set_part(settings, "dbname", span_from(path, 1), why) && read_query(settings, span_from(text, 1), why);
}

/* ------------------------------------------------------------------------------------------------------- together ---- */

bool pg_settings_read(struct pg_settings *settings, struct span text, char why[static PG_SETTINGS_WHY_BYTES]) {
    static const struct span schemes[] = { SPAN("postgres://"), SPAN("postgresql://") };
    why[0] = '\0';
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
        return pg_settings_say(why, "a byte of it is NUL", NULL);
    }
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (span_equal(span_first(text, schemes[i].len), schemes[i])) {
            return read_url(settings, span_from(text, schemes[i].len), why);
        }
    }
    return read_pairs(settings, text, why);
}
