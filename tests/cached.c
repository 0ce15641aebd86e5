/* A server with a route that caches, and nothing else: for the tests of the store's life. */
#include <ringmain.h>

static enum rm_step item(struct rm_exchange *x) {
    return rm_text(x, 200, "an item\n");
}

static const struct rm_cache items = { .name = "items", .ttl_ns = 60000000000 };

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/items/{id}", .handler = item, .cache = &items },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "cached", .routes = routes });
}
