/* A counter as server-sent events: GET /events sends one each --interval, until the client leaves or the server drains; GET
 * /clients says how many listen, how many left by themselves and how many were sent home.
 *
 *     build/examples/sse & curl -N http://127.0.0.1:8080/events */
#include <ringmain.h>
#include <stdatomic.h>
#include <stdio.h>

static const char *interval_text = "1000";
static int64_t interval_ms;

/* Of all workers together: that is why they are atomic. */
static atomic_long listening, left, sent_home;

static struct span text(const char *buffer, int len) {
    return (struct span){ buffer, (size_t)len };
}

/* Runs instead of the next tick when there is a reason to end. */
static enum rm_step end(struct rm_exchange *x) {
    atomic_fetch_sub(&listening, 1);
    if ((rm_ended(x) & RM_END_DRAIN) != 0) {
        atomic_fetch_add(&sent_home, 1);
        rm_sse_event(x, "end", NULL, text("the server goes", 15));
    } else {
        atomic_fetch_add(&left, 1);
    }
    return RM_DONE; /* and the last chunk is written */
}

static enum rm_step tick(struct rm_exchange *x) {
    int64_t *count = rm_state(x);
    char id[24], data[48];
    snprintf(id, sizeof id, "%lld", (long long)++*count);
    int len = snprintf(data, sizeof data, "%s from worker %u", id, rm_worker_index(rm_worker(x)));
    rm_sse_event(x, "count", id, text(data, len));
    rm_flush(x); /* one that reads slowly gets fewer events, instead of a pile of them in our memory */
    rm_sleep(x, (uint64_t)interval_ms * 1000000);
    rm_then(x, tick);
    return RM_PARK;
}

static enum rm_step events(struct rm_exchange *x) {
    int64_t *count = rm_alloc(x, sizeof *count);
    struct span last;
    if (count == NULL) {
        return RM_DONE;
    }
    /* A browser that lost its connection says where it was. */
    if (rm_header(x, "Last-Event-ID", &last) && !rm_int(last, count)) {
        return rm_text(x, 400, "Last-Event-ID is no number\n");
    }
    rm_set_state(x, count);
    atomic_fetch_add(&listening, 1);
    rm_sse(x);
    rm_on_end(x, end);
    return tick(x);
}

static enum rm_step clients(struct rm_exchange *x) {
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "listening", atomic_load(&listening));
    rm_json_int(x, "left", atomic_load(&left));
    rm_json_int(x, "sent_home", atomic_load(&sent_home));
    rm_json_close(x);
    return RM_DONE;
}

static int start(void) {
    struct span value = { interval_text, 0 };
    while (interval_text[value.len] != '\0') {
        value.len++;
    }
    if (!rm_int(value, &interval_ms) || interval_ms < 1 || interval_ms > 3600000) {
        fprintf(stderr, "sse: --interval must be 1 to 3600000 milliseconds\n");
        return 78;
    }
    return 0;
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/events", .handler = events },
    { .method = "GET", .path = "/clients", .handler = clients },
    { 0 },
};

static const struct rm_option options[] = {
    { .name = "interval", .argument = "MS", .help = "milliseconds from one event to the next", .value = &interval_text },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "sse", .routes = routes, .options = options, .start = start });
}
