/* What the files of the cache's rules tell each other.
 * Depends on: http/cache.h. */
#ifndef RM_HTTP_CACHE_PRIV_H
#define RM_HTTP_CACHE_PRIV_H

#include "http/cache.h"

/* ------------------------------------------------------------------------------------------------ entity tags ---- */

/* RFC 9110 §8.8.3: [ W/ ] DQUOTE *etagc DQUOTE, nothing around it. */
bool cache_tag_valid(struct span tag);

/* What the conditions of a request come to for a representation with this tag (empty: it has none). RFC 9110 §13.2.2. */
enum cache_condition { CACHE_PERFORM, CACHE_NOT_MODIFIED, CACHE_PRECONDITION_FAILED };
enum cache_condition cache_condition(const struct http_request *request, struct span etag);

/* ----------------------------------------------------------------------------------------------------- fields ---- */

/* May a response with these fields be stored? RFC 9111 §3, §3.1 */
bool cache_fields_storable(struct span fields, struct span vary);

/* The same fields without X-Cache, to `out`, which has room for all of them; returns what is behind. */
char *cache_fields_put_without_state(char *out, struct span fields);

#endif
