#include "http/host.h"

#include "http/scan.h"

enum { PORT_MAX = 65535 };

/* ------------------------------------------------------------------------------------------------------- literals ---- */

/* A number of up to 3 digits without zeros before it, below 256. Moves *p behind it. */
static bool take_octet(const char **p, const char *end) {
    const char *stop = scan_while(*p, end, SCAN_DIGIT);
    size_t digits = (size_t)(stop - *p);
    unsigned value = 0;
    if (digits == 0 || digits > 3 || (digits > 1 && **p == '0')) {
        return false;
    }
    for (; *p < stop; (*p)++) {
        value = value * 10 + (unsigned)(**p - '0');
    }
    return value < 256;
}

/* IPv4address: RFC 3986 §3.2.2 */
static bool is_ipv4(const char *p, const char *end) {
    for (int i = 0; i < 4; i++) {
        if (i > 0 && (p == end || *p++ != '.')) {
            return false;
        }
        if (!take_octet(&p, end)) {
            return false;
        }
    }
    return p == end;
}

/* IPv6address: eight groups of up to four digits; one "::" stands for the missing ones, an IPv4 address for the last two. */
static bool is_ipv6(const char *p, const char *end) {
    enum { GROUPS = 8 };
    int groups = 0;
    bool gap = end - p >= 2 && p[0] == ':' && p[1] == ':';
    p += gap ? 2 : 0;
    while (p < end) {
        const char *stop = scan_while(p, end, SCAN_HEX);
        if (stop < end && *stop == '.') {
            groups += 2;
            return is_ipv4(p, end) && (gap ? groups < GROUPS : groups == GROUPS);
        }
        if (stop == p || stop - p > 4 || (stop < end && *stop != ':')) {
            return false;
        }
        groups++;
        p = stop;
        if (p == end) {
            break;
        }
        p++;
        if (p == end) {
            return false; /* a lone colon at the end */
        }
        if (*p == ':') {
            if (gap) {
                return false;
            }
            gap = true;
            p++;
        }
    }
    return gap ? groups < GROUPS : groups == GROUPS;
}

static bool is_name(const char *p, const char *end);

/* IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static bool is_future(const char *p, const char *end) {
    const char *dot = scan_while(p + 1, end, SCAN_HEX);
    if (dot == p + 1 || dot == end || *dot != '.' || dot + 1 == end) {
        return false;
    }
    for (p = dot + 1; p < end; p++) {
        if (*p != ':' && (*p == '%' || !is_name(p, p + 1))) {
            return false;
        }
    }
    return true;
}

/* "[...]". Returns what is behind it; NULL when it is malformed. A zone (RFC 6874) is not for others to see. */
static const char *skip_literal(const char *p, const char *end) {
    const char *close = memchr(p, ']', (size_t)(end - p));
    if (close == NULL || close == p + 1) {
        return NULL;
    }
    bool future = (p[1] | 0x20) == 'v';
    return (future ? is_future(p + 1, close) : is_ipv6(p + 1, close)) ? close + 1 : NULL;
}

/* ---------------------------------------------------------------------------------------------------------- names ---- */

/* reg-name = *( unreserved / pct-encoded / sub-delims ), without the comma */
static bool is_name(const char *p, const char *end) {
    for (; p < end; p++) {
        if (!scan_is(*p, SCAN_HOST) || *p == ',') {
            return false;
        }
        if (*p == '%') {
            if (end - p < 3 || !scan_is(p[1], SCAN_HEX) || !scan_is(p[2], SCAN_HEX)) {
                return false;
            }
            p += 2;
        }
    }
    return true;
}

static const char *skip_name(const char *p, const char *end) {
    const char *colon = memchr(p, ':', (size_t)(end - p));
    const char *stop = colon != NULL ? colon : end;
    return stop > p && is_name(p, stop) ? stop : NULL;
}

/* Nothing, or ":" and digits: none are the default port. */
static bool is_port(const char *p, const char *end) {
    if (p == end) {
        return true;
    }
    uint64_t port = 0;
    return *p == ':' && (p + 1 == end || (span_u64(span_of(p + 1, (size_t)(end - p - 1)), &port) && port <= PORT_MAX));
}

bool http_host_valid(struct span host) {
    if (host.len == 0) {
        return true;
    }
    const char *end = host.data + host.len;
    const char *behind = host.data[0] == '[' ? skip_literal(host.data, end) : skip_name(host.data, end);
    return behind != NULL && is_port(behind, end);
}
