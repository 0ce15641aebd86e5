/* Entity tags and the conditions made of them. If-Modified-Since and its kin are not looked at: what is stored has an entity
 * tag, a client that knows it sends that (RFC 9110 §13.1.3), and one that does not gets all of it. */
#include "http/cache_priv.h"
#include "http/parse.h"

struct tag {
    bool weak;
    struct span opaque; /* with its quotes; data NULL: there is none */
};

/* etagc: RFC 9110 §8.8.3. A comma is one, too. */
static bool is_tag_byte(char byte) {
    uint8_t c = (uint8_t)byte;
    return c == 0x21 || (c >= 0x23 && c != 0x7f);
}

/* The tag that `text` begins with. */
static struct tag tag_first(struct span text) {
    bool weak = text.len >= 2 && text.data[0] == 'W' && text.data[1] == '/';
    struct span opaque = span_from(text, weak ? 2 : 0);
    size_t len = 1;
    if (opaque.len < 2 || opaque.data[0] != '"') {
        return (struct tag){ false, { NULL, 0 } };
    }
    while (len < opaque.len && is_tag_byte(opaque.data[len])) {
        len++;
    }
    if (len == opaque.len || opaque.data[len] != '"') {
        return (struct tag){ false, { NULL, 0 } };
    }
    return (struct tag){ weak, span_first(opaque, len + 1) };
}

bool cache_tag_valid(struct span text) {
    struct tag tag = tag_first(text);
    return tag.opaque.data != NULL && tag.opaque.data + tag.opaque.len == text.data + text.len;
}

/* -------------------------------------------------------------------------------------------------------- lists ---- */

/* What the field lines of one name say together: they are one list, RFC 9110 §5.3. */
struct tag_list {
    uint32_t lines, members;
    bool star;  /* "*" is among them: good when it is the only one */
    bool bad;   /* it is no list of entity tags */
    bool found; /* the tag is in it */
};

static struct span without_blanks(struct span text) {
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = span_from(text, 1);
    }
    return text;
}

/* Bytes of the member that the list begins with; 0: it is none. */
static size_t member(struct tag_list *list, struct span rest, struct tag wanted, bool strong) {
    list->members++;
    if (rest.data[0] == '*') {
        list->star = true;
        return 1;
    }
    struct tag tag = tag_first(rest);
    if (tag.opaque.data == NULL) {
        return 0;
    }
    bool comparable = wanted.opaque.data != NULL && !(strong && (tag.weak || wanted.weak)); /* RFC 9110 §8.8.3.2 */
    list->found |= comparable && span_equal(tag.opaque, wanted.opaque);
    return tag.opaque.len + (tag.weak ? 2 : 0);
}

/* One line. Empty elements don't count: RFC 9110 §5.6.1.2. */
static void add_line(struct tag_list *list, struct span value, struct tag wanted, bool strong) {
    struct span rest = without_blanks(value);
    list->lines++;
    while (rest.len > 0) {
        if (rest.data[0] != ',') {
            size_t len = member(list, rest, wanted, strong);
            rest = without_blanks(span_from(rest, len));
            if (len == 0 || (rest.len > 0 && rest.data[0] != ',')) {
                list->bad = true;
                return;
            }
        }
        rest = without_blanks(span_from(rest, 1));
    }
}

static struct tag_list read_list(const struct http_request *request, struct span name, struct tag wanted, bool strong) {
    struct tag_list list = { .lines = 0 };
    for (uint32_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        if (field->name.len == name.len && span_equal_nocase(http_span(request, field->name), name)) {
            add_line(&list, http_span(request, field->value), wanted, strong);
        }
    }
    return list;
}

/* "*", or a list that has it; neither is what is malformed: "otherwise" in RFC 9110 §13.1.1, §13.1.2. */
static bool matches(const struct tag_list *list) {
    return !list->bad && (list->star ? list->members == 1 : list->found);
}

enum cache_condition cache_condition(const struct http_request *request, struct span etag) {
    struct tag wanted = tag_first(etag);
    struct tag_list match = read_list(request, SPAN("if-match"), wanted, true);
    if (match.lines > 0 && !matches(&match)) {
        return CACHE_PRECONDITION_FAILED;
    }
    struct tag_list none_match = read_list(request, SPAN("if-none-match"), wanted, false);
    return matches(&none_match) ? CACHE_NOT_MODIFIED : CACHE_PERFORM;
}
