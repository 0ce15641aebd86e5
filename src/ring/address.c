#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "ring/ring.h"

static bool parse_unix(struct span path, struct ring_address *out) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (path.len == 0) return false;
    if (path.len >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path.data, path.len);
    *out = (struct ring_address){ .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1) };
    memcpy(&out->storage, &address, sizeof address);
    return true;
}

static bool parse_ipv4(const char *host, uint16_t port, struct ring_address *out) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    if (host[0] != '\0' && inet_pton(AF_INET, host, &address.sin_addr) != 1) return false;
    *out = (struct ring_address){ .len = sizeof address };
    memcpy(&out->storage, &address, sizeof address);
    return true;
}

static bool parse_ipv6(const char *host, uint16_t port, struct ring_address *out) {
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (inet_pton(AF_INET6, host, &address.sin6_addr) != 1) return false;
    *out = (struct ring_address){ .len = sizeof address };
    memcpy(&out->storage, &address, sizeof address);
    return true;
}

bool ring_address_parse(struct span text, struct ring_address *out) {
    struct span scheme = SPAN("unix:");
    if (span_equal(span_first(text, scheme.len), scheme)) return parse_unix(span_from(text, scheme.len), out);
    const char *colon = text.len == 0 ? NULL : memrchr(text.data, ':', text.len);
    if (colon == NULL) return false;
    struct span host = span_of(text.data, (size_t)(colon - text.data));
    uint64_t port;
    if (!span_u64(span_from(text, host.len + 1), &port)) return false;
    if (port > UINT16_MAX) return false;
    bool v6 = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (v6) host = span_of(host.data + 1, host.len - 2);
    char name[INET6_ADDRSTRLEN];
    if (host.len >= sizeof name) return false;
    memcpy(name, host.data, host.len);
    name[host.len] = '\0';
    if (strlen(name) != host.len) return false;
    return v6 ? parse_ipv6(name, (uint16_t)port, out) : parse_ipv4(name, (uint16_t)port, out);
}

static void text_ipv4(const struct ring_address *address, char *out) {
    struct sockaddr_in in;
    char host[INET_ADDRSTRLEN];
    memcpy(&in, &address->storage, sizeof in);
    inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
    snprintf(out, RING_ADDRESS_BYTES, "%s:%u", host, ntohs(in.sin_port));
}

static void text_ipv6(const struct ring_address *address, char *out) {
    struct sockaddr_in6 in;
    char host[INET6_ADDRSTRLEN];
    memcpy(&in, &address->storage, sizeof in);
    inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
    snprintf(out, RING_ADDRESS_BYTES, "[%s]:%u", host, ntohs(in.sin6_port));
}

static void text_unix(const struct ring_address *address, char *out) {
    struct sockaddr_un un;
    memcpy(&un, &address->storage, sizeof un);
    size_t room = address->len - offsetof(struct sockaddr_un, sun_path);
    snprintf(out, RING_ADDRESS_BYTES, "unix:%.*s", (int)strnlen(un.sun_path, room), un.sun_path);
}

const char *ring_address_text(const struct ring_address *address, char out[static RING_ADDRESS_BYTES]) {
    snprintf(out, RING_ADDRESS_BYTES, "unknown");
    if (address->len == 0) return out;
    if (address->storage.ss_family == AF_INET) text_ipv4(address, out);
    if (address->storage.ss_family == AF_INET6) text_ipv6(address, out);
    if (address->storage.ss_family == AF_UNIX) text_unix(address, out);
    return out;
}
