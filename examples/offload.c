/* Work that takes long, on a helper thread: GET /digest/{text} stirs a text a few million times, as a password hash would
 * (and as no password hash should: this one is a toy). Others are served meanwhile, by the same worker: GET /quick.
 *
 *     build/examples/offload --workers 1 & curl http://127.0.0.1:8080/digest/secret */
#include <ringmain.h>
#include <stdio.h>
#include <string.h>

enum { ROUNDS = 20 * 1000 * 1000 };

struct job {
    uint64_t digest;
    size_t len;
    char text[]; /* a copy: what the request points at moves when its handler parks */
};

/* On a helper thread: it has its argument, and nothing else of the server. */
static void stir(void *arg) {
    struct job *job = arg;
    uint64_t digest = 0xcbf29ce484222325u; /* FNV-1a, over and over */
    for (size_t round = 0; round < ROUNDS; round++) {
        digest = (digest ^ (unsigned char)job->text[round % job->len]) * 0x100000001b3u;
    }
    job->digest = digest;
}

static enum rm_step stirred(struct rm_exchange *x) {
    struct job *job = rm_state(x);
    char text[32];
    snprintf(text, sizeof text, "%016llx\n", (unsigned long long)job->digest);
    return rm_text(x, 200, text);
}

static enum rm_step digest(struct rm_exchange *x) {
    struct span text = rm_param(x, "text"); /* a segment is never empty */
    struct job *job = rm_alloc(x, sizeof *job + text.len);
    if (job == NULL) {
        return RM_DONE; /* and the answer is 500 */
    }
    job->len = text.len;
    memcpy(job->text, text.data, text.len);
    rm_set_state(x, job);
    rm_offload(x, stir, job);
    rm_then(x, stirred);
    return RM_PARK;
}

static enum rm_step quick(struct rm_exchange *x) {
    return rm_text(x, 200, "quick\n");
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/digest/{text}", .handler = digest },
    { .method = "GET", .path = "/quick", .handler = quick },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "offload", .routes = routes });
}
