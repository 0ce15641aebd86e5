/* A server whose database has a name that no name server tells anything about: getaddrinfo(3) does not come back while the
 * process lives. For the test of what waits for it. */
#include <netdb.h>
#include <unistd.h>

#include <ringmain.h>

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    (void)name, (void)service, (void)hints, (void)out;
    for (;;) {
        pause();
    }
}

static const struct rm_statement statements[] = { { .sql = "SELECT 1" } };

static enum rm_step answer(struct rm_exchange *x) {
    return rm_db_answer(x, rm_result(x, 0));
}

static enum rm_step ask(struct rm_exchange *x) {
    rm_query(x, &statements[0]);
    rm_then(x, answer);
    return RM_PARK;
}

static void work(void *arg) {
    (void)arg;
}

static enum rm_step worked(struct rm_exchange *x) {
    return rm_text(x, 200, "a helper was free\n");
}

static enum rm_step offload(struct rm_exchange *x) {
    rm_offload(x, work, NULL);
    rm_then(x, worked);
    return RM_PARK;
}

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/ask", .handler = ask },
    { .method = "GET", .path = "/offload", .handler = offload },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "nameless", .routes = routes, .statements = statements, .statement_count = 1 });
}
