#include "arena_files.h"

#include <stdio.h>
#include <string.h>

const char *files_folder;

/* A name as the path has it is the key: what needs no percent-encoding and has one is another name, and is no file. */
const struct rm_cache files_cache = { .name = "files", .parts = RM_PARTS("{name}"), .ttl_ns = 1000000000 };

static const struct {
    const char *suffix, *type;
} types[] = {
    { ".html", "text/html; charset=utf-8" },
    { ".css", "text/css; charset=utf-8" },
    { ".js", "text/javascript; charset=utf-8" },
    { ".txt", "text/plain; charset=utf-8" },
    { ".md", "text/markdown; charset=utf-8" },
    { ".json", "application/json" },
    { ".svg", "image/svg+xml" },
    { ".png", "image/png" },
    { ".jpg", "image/jpeg" },
    { ".webp", "image/webp" },
    { ".wasm", "application/wasm" },
    { ".woff2", "font/woff2" },
};

static const char *type_of(struct span name) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t len = strlen(types[i].suffix);
        if (name.len > len && memcmp(name.data + name.len - len, types[i].suffix, len) == 0) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

static bool is_name(struct span name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return name.data[0] != '.';
}

enum rm_step files_get(struct rm_exchange *x) {
    char path[4096];
    struct span name = rm_param(x, "name");
    if (files_folder == NULL || !is_name(name) || strlen(files_folder) + name.len + 2 > sizeof path) {
        return rm_text(x, 404, "no such file\n");
    }
    snprintf(path, sizeof path, "%s/%.*s", files_folder, (int)name.len, name.data);
    return rm_file(x, type_of(name), path);
}
