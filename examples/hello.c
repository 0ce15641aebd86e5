/* The smallest server: one route, one handler. Everything else is rm_main's. */
#include <ringmain.h>

static enum rm_step hello(struct rm_exchange *x) {
    return rm_text(x, 200, "hello, ring\n");
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/", .handler = hello },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "hello", .routes = routes });
}
