/* The host of a request: the value of Host, the authority of an absolute target or of CONNECT.
 * Depends on: mem/span.h. Any thread. */
#ifndef RM_HTTP_HOST_H
#define RM_HTTP_HOST_H

#include "mem/span.h"

/* `uri-host [ ":" port ]`, or nothing: RFC 9110 §7.2, RFC 3986 §3.2. Stricter than the grammar where that allows what is no
 * host: a port without a host or above 65535 (RFC 9110 §4.2.1), and a comma, which is what two hosts look like that were
 * joined. */
[[gnu::warn_unused_result]] bool http_host_valid(struct span host);

#endif
