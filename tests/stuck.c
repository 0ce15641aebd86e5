/* A server whose handler blocks its worker, as handlers must not: for the test of the watchdog. */
#include <unistd.h>

#include <ringmain.h>

static enum rm_step quick(struct rm_exchange *x) {
    return rm_text(x, 200, "quick\n");
}

static enum rm_step stuck(struct rm_exchange *x) {
    sleep(2);
    return rm_text(x, 200, "free again\n");
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/", .handler = quick },
    { .method = "GET", .path = "/stuck", .handler = stuck },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "stuck", .routes = routes });
}
