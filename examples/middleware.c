/* Authentication and a rate limit as plain functions that handlers call first: no framework, no order of registration to
 * remember, and what a handler needs is in its first line.
 *
 *     build/examples/middleware & curl -i -H 'Authorization: Bearer sesame' http://127.0.0.1:8080/hello */
#include <ringmain.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { CLIENTS = 2, PER_SECOND = 10, BURST = 20 }; /* of each client, all workers together */

static const struct client {
    const char *name;
    const char *token;
} clients[CLIENTS] = {
    { "ali baba", "sesame" },
    { "the wolf", "grandmother" },
};

/* A token for each request; they come back with time. */
struct bucket {
    int64_t filled_ms;
    int64_t level; /* thousandths of a token */
};

/* ------------------------------------------------------------------------------------------- who is it? RFC 6750 ---- */

/* Takes as long for a nearly right token as for a wrong one, so that nobody can guess it byte by byte. */
static bool same_secret(struct span given, const char *secret) {
    size_t len = strlen(secret);
    unsigned char different = given.len != len;
    for (size_t i = 0; i < given.len; i++) {
        different |= (unsigned char)(given.data[i] ^ secret[i % len]);
    }
    return different == 0;
}

/* The client, or NULL: then it is answered already. */
static const struct client *authenticate(struct rm_exchange *x) {
    static const char scheme[] = "Bearer ";
    struct span value;
    const struct client *found = NULL;
    if (rm_header(x, "Authorization", &value) && value.len > sizeof scheme - 1 &&
        strncasecmp(value.data, scheme, sizeof scheme - 1) == 0) {
        struct span token = { value.data + sizeof scheme - 1, value.len - (sizeof scheme - 1) };
        for (size_t i = 0; i < CLIENTS; i++) {
            found = same_secret(token, clients[i].token) ? &clients[i] : found;
        }
    }
    if (found == NULL) {
        rm_set_header(x, "WWW-Authenticate", (struct span){ "Bearer", 6 });
        rm_text(x, 401, "who are you?\n");
    }
    return found;
}

/* --------------------------------------------------------------------------------------- not so fast: RFC 6585 §4 ---- */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* the vDSO: no system call */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t burst_of(const struct rm_worker *worker) {
    int64_t burst = BURST * 1000 / rm_workers(worker);
    return burst > 1000 ? burst : 1000;
}

/* Each worker has its own buckets and its share of the rate: nothing is locked, and a client whose connections are spread
 * unevenly gets a little less than it might. False: it is answered already. */
static bool take_token(struct rm_exchange *x, const struct client *client) {
    struct rm_worker *worker = rm_worker(x);
    struct bucket *bucket = (struct bucket *)rm_worker_state(worker) + (client - clients);
    int64_t now = now_ms(), most = burst_of(worker);
    int64_t level = bucket->level + (now - bucket->filled_ms) * PER_SECOND / rm_workers(worker);
    bucket->filled_ms = now;
    bucket->level = level < most ? level : most;
    if (bucket->level < 1000) {
        rm_set_header(x, "Retry-After", (struct span){ "1", 1 });
        rm_text(x, 429, "not so fast\n");
        return false;
    }
    bucket->level -= 1000;
    return true;
}

static int fill_buckets(struct rm_worker *worker) {
    struct bucket *buckets = calloc(CLIENTS, sizeof *buckets);
    if (buckets == NULL) {
        return 70;
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        buckets[i] = (struct bucket){ now_ms(), burst_of(worker) };
    }
    rm_set_worker_state(worker, buckets);
    return 0;
}

static void drop_buckets(struct rm_worker *worker) {
    free(rm_worker_state(worker));
}

/* --------------------------------------------------------------------------------------------------- handlers ---- */

/* What every handler here begins with. */
static const struct client *enter(struct rm_exchange *x) {
    const struct client *client = authenticate(x);
    return client != NULL && take_token(x, client) ? client : NULL;
}

static enum rm_step hello(struct rm_exchange *x) {
    const struct client *client = enter(x);
    if (client == NULL) {
        return RM_DONE;
    }
    char text[64];
    snprintf(text, sizeof text, "welcome, %s\n", client->name);
    return rm_text(x, 200, text);
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/hello", .handler = hello },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv,
                   &(struct rm_app){ .name = "middleware",
                                     .routes = routes,
                                     .worker_start = fill_buckets,
                                     .worker_stop = drop_buckets });
}
