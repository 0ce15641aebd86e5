/* A folder as a site: GET /{name} answers with the file of that name, from the store of responses, which the ring has read it
 * to. For a second after that nobody looks at the file; then the next request reads it again, while others wait for it or, for
 * ten seconds more, get what there was.
 *
 *     build/examples/file --folder docs & curl -i http://127.0.0.1:8080/handlers.md */
#include <ringmain.h>
#include <stdio.h>
#include <string.h>

static const char *folder = "."; /* --folder */

/* What a client may name: nothing that leads out of the folder, nothing hidden. */
static bool is_name(struct span name) {
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", name.data[i]) == NULL) {
            return false;
        }
    }
    return name.data[0] != '.';
}

static enum rm_step file(struct rm_exchange *x) {
    char path[4096];
    struct span name = rm_param(x, "name");
    if (!is_name(name)) {
        return rm_text(x, 404, "no such file\n");
    }
    int len = snprintf(path, sizeof path, "%s/%.*s", folder, (int)name.len, name.data);
    if (len >= (int)sizeof path) {
        return rm_text(x, 404, "no such file\n");
    }
    return rm_file(x, "text/plain", path);
}

static const struct rm_cache files = {
    .name = "files",
    .parts = RM_PARTS("{name}"),
    .ttl_ns = 1000000000,
    .grace_ns = 10000000000,
};

static const struct rm_route routes[] = {
    { .method = "GET", .path = "/{name}", .handler = file, .cache = &files },
    { 0 },
};

static const struct rm_option options[] = {
    { "folder", "DIR", "whose files are served [.]", &folder },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "file", .routes = routes, .options = options });
}
