/* Three ways to answer with a file for the first time, for bench/files: each request has a key of its own, ?k=N.
 *
 *     GET /file     rm_file: the ring reads it to where the store sends it from
 *     GET /bytes    a helper reads it into a buffer; rm_bytes copies that
 *     GET /lend     the same buffer, lent: the least that a handler of one's own can do without the store
 *     GET /private  rm_file on a route that keeps nothing
 *
 * /bytes and /file are kept, /lend and /private are not. */
#include <ringmain.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path; /* --path */

struct buffer {
    char *data;
    size_t len;
};

/* On a helper thread. */
static void read_all(void *arg) {
    struct buffer *buffer = arg;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        abort();
    }
    buffer->len = (size_t)status.st_size;
    buffer->data = malloc(buffer->len + 1);
    if (buffer->data == NULL || read(fd, buffer->data, buffer->len) != (ssize_t)buffer->len) {
        abort();
    }
    close(fd);
}

static enum rm_step copied(struct rm_exchange *x) {
    struct buffer *buffer = rm_state(x);
    enum rm_step step = rm_bytes(x, 200, "text/plain", (struct span){ buffer->data, buffer->len });
    free(buffer->data);
    return step;
}

static enum rm_step lent(struct rm_exchange *x) {
    struct buffer *buffer = rm_state(x);
    return rm_lend(x, 200, "text/plain", (struct span){ buffer->data, buffer->len }, free, buffer->data);
}

static enum rm_step read_then(struct rm_exchange *x, rm_handler_fn *next) {
    struct buffer *buffer = rm_alloc(x, sizeof *buffer);
    rm_set_state(x, buffer);
    rm_offload(x, read_all, buffer);
    rm_then(x, next);
    return RM_PARK;
}

static enum rm_step file(struct rm_exchange *x) {
    return rm_file(x, "text/plain", path);
}

static enum rm_step bytes(struct rm_exchange *x) {
    return read_then(x, copied);
}

static enum rm_step lend(struct rm_exchange *x) {
    return read_then(x, lent);
}

static const struct rm_cache file_cache = { .name = "file", .parts = RM_PARTS("?k"), .ttl_ns = 60000000000 };
static const struct rm_cache bytes_cache = { .name = "bytes", .parts = RM_PARTS("?k"), .ttl_ns = 60000000000 };

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/file", .handler = file, .cache = &file_cache },
    { .method = "GET", .path = "/bytes", .handler = bytes, .cache = &bytes_cache },
    { .method = "GET", .path = "/lend", .handler = lend },
    { .method = "GET", .path = "/private", .handler = file },
    { 0 },
};

static const struct rm_option options[] = {
    { "path", "FILE", "what is answered with", &path },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "file_ways", .routes = routes, .options = options });
}
