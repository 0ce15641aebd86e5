#include "server/builtin.h"

#include "mem/span.h"
#include "server/exchange.h"
#include "server/worker.h"

/* The worker that answers lives, and so does the process. */
static enum rm_step healthz(struct rm_exchange *x) {
    rm_set_header(x, "Cache-Control", SPAN("no-store"));
    return rm_text(x, 200, "ok\n");
}

/* Who asks sends its clients elsewhere when the answer is 503, from the first moment of the end on. */
static enum rm_step readyz(struct rm_exchange *x) {
    rm_set_header(x, "Cache-Control", SPAN("no-store"));
    const struct server *server = worker_of(x->http.shared)->server;
    bool leaving = server_leaving(server);
    if (!leaving && server_has_database(server)) {
        return rm_text(x, 200, "ready\n");
    }
    rm_set_header(x, "Retry-After", SPAN("1"));
    return rm_text(x, 503, leaving ? "draining\n" : "database unreachable\n");
}

const struct rm_route builtin_routes[BUILTIN_ADMIN_COUNT] = {
    { "GET", "/healthz", healthz, RM_BODY_NONE, NULL },
    { "GET", "/readyz", readyz, RM_BODY_NONE, NULL },
    { "GET", "/metrics", rm_metrics, RM_BODY_NONE, NULL },
    { "GET", "/stats", rm_stats, RM_BODY_NONE, NULL },
};
