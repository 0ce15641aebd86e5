#include "http/http.h"

#include "http/parse.h"
#include "mem/assert.h"

/* Routes become a tree of path segments. Its edges live in one hash table, keyed by (parent node, segment). Paths without
 * {names} are in a table of their own, whole: a request for one is found by one probe, without looking at segments. So are
 * those that only end with one, up to its slash: they take a second probe. */

enum { NODE_NONE = UINT32_MAX };

/* Invariant: allow has a bit for each method that `by_method` answers, HEAD by GET included, and OPTIONS. */
struct node {
    const struct http_route *by_method[HTTP_METHODS_COUNT];
    uint32_t allow; /* 0: no route ends here */
    uint32_t named; /* the child for a {name}, or NODE_NONE */
    bool branches;  /* there are edges */
};

struct edge {
    const char *text; /* NULL: free */
    uint32_t len;
    uint32_t parent;
    uint32_t child;
};

/* A path without {names}. Invariant: `first` and `last` are its ends as load_ends gives them; node or tail is one. */
struct whole {
    const char *text; /* NULL: free */
    uint64_t first, last;
    uint32_t len;
    uint32_t node; /* that it leads to, or NODE_NONE */
    uint32_t tail; /* that it leads to with one {name} behind it, or NODE_NONE */
};

struct http_router {
    struct node *nodes;
    struct edge *edges;
    struct whole *wholes;
    uint32_t node_count;
    uint32_t mask;       /* edges - 1, a power of two */
    uint32_t whole_mask; /* likewise */
    char *why;     /* while compiling */
    size_t why_bytes;
};

/* ------------------------------------------------------------------------------------------------------ hash ---- */

/* All of up to 7 bytes. */
static uint64_t load_up_to_8(const char *p, size_t len) {
    uint64_t value = 0;
    if (len >= 4) { /* two loads that overlap */
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        value = (uint64_t)high << 32 | low;
    } else if (len > 0) {
        value = (uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[len / 2] << 8 | (uint64_t)(uint8_t)p[len - 1] << 16;
    }
    return value;
}

static uint64_t load_8(const char *p) {
    uint64_t value;
    memcpy(&value, p, 8);
    return value;
}

/* The table is filled at start and never grows, so a client can't fill it with collisions. */
static uint32_t hash_of(uint32_t parent, const char *p, size_t len) {
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = ((uint64_t)parent << 32 | len) * odd;
    if (len < 8) {
        hash = (hash ^ load_up_to_8(p, len)) * odd;
    } else {
        for (size_t i = 0; i + 8 < len; i += 8) {
            hash = (hash ^ load_8(p + i)) * odd;
            hash ^= hash >> 32;
        }
        hash = (hash ^ load_8(p + len - 8)) * odd;
    }
    return (uint32_t)(hash >> 32);
}

static bool same_bytes(const char *a, const char *b, size_t len) {
    if (len < 8) {
        return load_up_to_8(a, len) == load_up_to_8(b, len);
    }
    for (size_t i = 0; i + 8 < len; i += 8) {
        if (load_8(a + i) != load_8(b + i)) {
            return false;
        }
    }
    return load_8(a + len - 8) == load_8(b + len - 8);
}

static uint64_t rotate(uint64_t value) {
    return value << 23 | value >> 41;
}

/* The place of a path: only its ends count, which for up to 16 bytes is all of it. */
static uint32_t whole_hash(uint64_t first, uint64_t last, size_t len) {
    uint64_t hash = (first ^ rotate(last) ^ len) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(hash >> 40);
}

static void load_ends(const char *p, size_t len, uint64_t *first, uint64_t *last) {
    *first = len >= 8 ? load_8(p) : load_up_to_8(p, len);
    *last = len >= 8 ? load_8(p + len - 8) : 0;
}

/* The entry of that path, or the free one where it would be. */
[[gnu::always_inline]] static inline struct whole *whole_at(const struct http_router *router, const char *path, size_t len) {
    uint64_t first, last;
    load_ends(path, len, &first, &last);
    uint32_t at = whole_hash(first, last, len) & router->whole_mask;
    for (;;) {
        struct whole *whole = &router->wholes[at];
        if (whole->text == NULL) {
            return whole;
        }
        if (whole->first == first && whole->last == last && whole->len == len
            && (len <= 16 || memcmp(whole->text, path, len) == 0)) {
            return whole;
        }
        at = (at + 1) & router->whole_mask;
    }
}

/* The edge of that key, or the free place where it would be. */
static struct edge *edge_at(const struct http_router *router, uint32_t parent, const char *text, size_t len) {
    uint32_t at = hash_of(parent, text, len) & router->mask;
    for (;;) {
        struct edge *edge = &router->edges[at];
        if (edge->text == NULL || (edge->len == len && edge->parent == parent && same_bytes(edge->text, text, len))) {
            return edge;
        }
        at = (at + 1) & router->mask;
    }
}

/* ------------------------------------------------------------------------------------------------------ find ---- */

struct walk {
    const struct http_router *router;
    const char *path; /* behind its first '/' */
    size_t len;
    uint32_t depth; /* {name} segments on the way here */
    uint32_t first; /* the offset of `path` in the request */
    struct http_view *params; /* the request's */
};

/* The segment at `at`; *next is where the one behind it begins, or len + 1 when it is the last. */
static struct span segment_at(const struct walk *walk, size_t at, size_t *next) {
    const char *slash = at < walk->len ? memchr(walk->path + at, '/', walk->len - at) : NULL;
    size_t stop = slash != NULL ? (size_t)(slash - walk->path) : walk->len;
    *next = stop + 1;
    return span_of(walk->path + at, stop - at);
}

static uint32_t child_of(const struct http_router *router, uint32_t index, struct span segment) {
    if (!router->nodes[index].branches) {
        return NODE_NONE;
    }
    const struct edge *edge = edge_at(router, index, segment.data, segment.len);
    return edge->text != NULL ? edge->child : NODE_NONE;
}

/* The node that the rest of the path from `at` leads to; static segments first. At most one visit for each node: it calls
 * itself only where both ways are open. */
static const struct node *walk_on(struct walk *walk, uint32_t index, size_t at) {
    while (at <= walk->len) {
        const struct node *node = &walk->router->nodes[index];
        size_t next;
        struct span segment = segment_at(walk, at, &next);
        uint32_t child = child_of(walk->router, index, segment);
        uint32_t depth = walk->depth;
        if (child != NODE_NONE && node->named != NODE_NONE) {
            const struct node *found = walk_on(walk, child, next);
            if (found != NULL) {
                return found;
            }
            child = NODE_NONE;
        }
        if (child == NODE_NONE) {
            if (node->named == NODE_NONE || segment.len == 0) {
                return NULL;
            }
            walk->params[depth] = (struct http_view){ (uint16_t)(walk->first + at), (uint16_t)segment.len };
            walk->depth = depth + 1;
            child = node->named;
        }
        index = child;
        at = next;
    }
    return walk->router->nodes[index].allow != 0 ? &walk->router->nodes[index] : NULL;
}

static enum http_found choose(const struct node *node, const struct http_request *request, const struct http_route **route,
                              uint32_t *allow) {
    if (request->method < HTTP_METHODS_COUNT && node->by_method[request->method] != NULL) {
        *route = node->by_method[request->method];
        return HTTP_FOUND;
    }
    *allow = node->allow;
    return HTTP_FOUND_NO_METHOD;
}

/* Behind the last slash is a {name}, and before it there is none: NULL when that is no route. What the tree would find, too:
 * of all ways through it this one has the most static segments in front. */
static const struct node *find_tail(const struct http_router *router, struct http_request *request, const char *path,
                                    size_t len) {
    size_t at = len;
    while (path[at - 1] != '/') { /* the first is one */
        at--;
    }
    const struct whole *whole = whole_at(router, path, at);
    if (whole->text == NULL || whole->tail == NODE_NONE || at == len) {
        return NULL;
    }
    request->params[0] = (struct http_view){ (uint16_t)(request->path.offset + at), (uint16_t)(len - at) };
    request->param_count = 1;
    return &router->nodes[whole->tail];
}

/* By segments. */
[[gnu::noinline]] static enum http_found find_named(const struct http_router *router, struct http_request *request,
                                                    const struct http_route **route, uint32_t *allow) {
    const char *path = request->head + request->path.offset;
    size_t len = request->path.len;
    if (len == 0 || path[0] != '/') {
        return HTTP_FOUND_NO_PATH;
    }
    const struct node *tail = find_tail(router, request, path, len);
    if (tail != NULL) {
        return choose(tail, request, route, allow);
    }
    struct walk walk = { .router = router, .path = path + 1, .len = len - 1, .first = request->path.offset + 1u,
                         .params = request->params };
    const struct node *node = walk_on(&walk, 0, 0);
    if (node == NULL) {
        return HTTP_FOUND_NO_PATH;
    }
    request->param_count = (uint8_t)walk.depth;
    return choose(node, request, route, allow);
}

enum http_found http_router_find(const struct http_router *router, struct http_request *request,
                                 const struct http_route **route, uint32_t *allow) {
    const struct whole *whole = whole_at(router, request->head + request->path.offset, request->path.len);
    request->param_count = 0;
    if (whole->text != NULL && whole->node != NODE_NONE) {
        return choose(&router->nodes[whole->node], request, route, allow);
    }
    return find_named(router, request, route, allow);
}

/* --------------------------------------------------------------------------------------------------- compile ---- */

/* A table for `n` keys: at most half full. */
static uint32_t places_for(uint32_t n) {
    uint32_t places = 16;
    while (places < 2 * n) {
        places *= 2;
    }
    return places;
}

static uint32_t edges_for(uint32_t n) {
    return places_for(n * HTTP_SEGMENTS_MAX);
}

static uint32_t nodes_for(uint32_t n) {
    return 1 + n * HTTP_SEGMENTS_MAX;
}

static size_t rounded(size_t bytes) {
    return (bytes + 15) / 16 * 16;
}

size_t http_router_bytes(uint32_t n) {
    rm_assert(n <= HTTP_ROUTES_MAX);
    return rounded(sizeof(struct http_router)) + rounded(nodes_for(n) * sizeof(struct node))
           + places_for(n) * sizeof(struct whole) + edges_for(n) * sizeof(struct edge);
}

/* "what: /path" into the caller's `why`, cut to its size. */
static bool refuse(struct http_router *router, const char *what, const struct http_route *route) {
    struct span parts[] = { span_text(what), SPAN(": "), route->method, SPAN(" "), route->path };
    size_t used = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && router->why_bytes > 0; i++) {
        struct span part = span_first(parts[i], router->why_bytes - 1 - used);
        if (part.len > 0) {
            memcpy(router->why + used, part.data, part.len);
        }
        used += part.len;
        router->why[used] = '\0';
    }
    return false;
}

/* Takes the first segment off *rest, which begins behind a '/'; rest->data is NULL after the last one. */
static struct span segment_take(struct span *rest) {
    const char *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    struct span segment = span_first(*rest, slash != NULL ? (size_t)(slash - rest->data) : rest->len);
    *rest = slash != NULL ? span_from(*rest, segment.len + 1) : span_of(NULL, 0);
    return segment;
}

static bool is_named(struct span segment) {
    return segment.len > 0 && segment.data[0] == '{';
}

/* The name in "{name}". */
static struct span name_of(struct span segment) {
    return span_of(segment.data + 1, segment.len - 2);
}

static bool segment_sound(struct span segment) {
    const char *open = segment.len > 0 ? memchr(segment.data, '{', segment.len) : NULL;
    const char *close = segment.len > 0 ? memchr(segment.data, '}', segment.len) : NULL;
    if (open == NULL && close == NULL) {
        return true;
    }
    bool whole = open == segment.data && close == segment.data + segment.len - 1 && segment.len > 2;
    return whole && memchr(segment.data + 1, '{', segment.len - 1) == NULL;
}

/* The message, or NULL when the path is well formed. */
static const char *fault_of(const struct http_route *route) {
    if (http_method_of(route->method) == HTTP_METHOD_UNKNOWN) {
        return "unknown method";
    }
    if (route->path.len == 0 || route->path.data[0] != '/') {
        return "a path begins with '/'";
    }
    uint32_t segments = 0, names = 0;
    for (struct span rest = span_from(route->path, 1); rest.data != NULL; segments++) {
        struct span segment = segment_take(&rest);
        if (!segment_sound(segment)) {
            return "a {name} is a whole segment";
        }
        names += is_named(segment) ? 1 : 0;
        if (is_named(segment) && http_route_param(route, name_of(segment)) != (int)names - 1) {
            return "a {name} twice";
        }
    }
    if (segments > HTTP_SEGMENTS_MAX) {
        return "too many segments";
    }
    return names > HTTP_PARAMS_MAX ? "too many {name} segments" : NULL;
}

static uint32_t node_add(struct http_router *router) {
    struct node *node = &router->nodes[router->node_count];
    memset(node, 0, sizeof *node);
    node->named = NODE_NONE;
    return router->node_count++;
}

static uint32_t edge_add(struct http_router *router, uint32_t parent, struct span text) {
    struct edge *edge = edge_at(router, parent, text.data, text.len);
    if (edge->text == NULL) {
        *edge = (struct edge){ text.data, (uint32_t)text.len, parent, node_add(router) };
        router->nodes[parent].branches = true;
    }
    return edge->child;
}

/* The entry of a path without {names}, made when it is not there yet. */
static struct whole *whole_add(struct http_router *router, struct span path) {
    struct whole *whole = whole_at(router, path.data, path.len);
    if (whole->text == NULL) {
        *whole = (struct whole){ .text = path.data, .len = (uint32_t)path.len, .node = NODE_NONE, .tail = NODE_NONE };
        load_ends(path.data, path.len, &whole->first, &whole->last);
    }
    return whole;
}

/* The node at the end of a path, made when it is not there yet. */
static uint32_t node_of(struct http_router *router, struct span path) {
    uint32_t index = 0, names = 0;
    struct span last = { NULL, 0 };
    for (struct span rest = span_from(path, 1); rest.data != NULL;) {
        struct span segment = last = segment_take(&rest);
        if (!is_named(segment)) {
            index = edge_add(router, index, segment);
            continue;
        }
        names++;
        if (router->nodes[index].named == NODE_NONE) {
            uint32_t child = node_add(router);
            router->nodes[index].named = child;
        }
        index = router->nodes[index].named;
    }
    if (names == 0) {
        whole_add(router, path)->node = index;
    } else if (names == 1 && is_named(last)) {
        whole_add(router, span_first(path, path.len - last.len))->tail = index;
    }
    return index;
}

static bool route_add(struct http_router *router, const struct http_route *route) {
    const char *fault = fault_of(route);
    if (fault != NULL) {
        return refuse(router, fault, route);
    }
    struct node *node = &router->nodes[node_of(router, route->path)];
    enum http_method method = http_method_of(route->method);
    if (node->by_method[method] != NULL) {
        return refuse(router, "matches the same requests as another", route);
    }
    node->by_method[method] = route;
    node->allow |= 1u << method;
    return true;
}

/* GET answers HEAD where no route of its own does. OPTIONS is answered everywhere: RFC 9110 §9.3.7. */
static void answer_more(struct http_router *router) {
    for (uint32_t i = 0; i < router->node_count; i++) {
        struct node *node = &router->nodes[i];
        if (node->allow != 0) {
            node->allow |= 1u << HTTP_OPTIONS;
        }
        if (node->by_method[HTTP_GET] != NULL && node->by_method[HTTP_HEAD] == NULL) {
            node->by_method[HTTP_HEAD] = node->by_method[HTTP_GET];
            node->allow |= 1u << HTTP_HEAD;
        }
    }
}

struct http_router *http_router_init(void *memory, const struct http_route *routes, uint32_t n, char *why, size_t why_bytes) {
    rm_assert(((uintptr_t)memory & 7) == 0);
    struct http_router *router = memory;
    char *behind = (char *)memory + rounded(sizeof *router);
    *router = (struct http_router){ .why = why, .why_bytes = why_bytes };
    router->nodes = (struct node *)(void *)behind;
    behind += rounded(nodes_for(n) * sizeof(struct node));
    router->whole_mask = places_for(n) - 1;
    router->wholes = (struct whole *)(void *)behind;
    behind += places_for(n) * sizeof(struct whole);
    router->mask = edges_for(n) - 1;
    router->edges = (struct edge *)(void *)behind;
    memset(router->wholes, 0, ((size_t)router->whole_mask + 1) * sizeof(struct whole));
    memset(router->edges, 0, ((size_t)router->mask + 1) * sizeof(struct edge));
    node_add(router);
    for (uint32_t i = 0; i < n; i++) {
        if (!route_add(router, &routes[i])) {
            return NULL;
        }
    }
    answer_more(router);
    rm_assert(router->node_count <= nodes_for(n));
    return router;
}

int http_route_param(const struct http_route *route, struct span name) {
    int position = 0;
    for (struct span rest = span_from(route->path, 1); rest.data != NULL;) {
        struct span segment = segment_take(&rest);
        if (!is_named(segment)) {
            continue;
        }
        if (span_equal(name_of(segment), name)) {
            return position;
        }
        position++;
    }
    return -1;
}
