#include "arena_data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ID, NAME, CATEGORY, PRICE, QUANTITY, ACTIVE, TAGS, RATING_SCORE, RATING_COUNT, COLUMNS_COUNT };

static const char *const columns[COLUMNS_COUNT] = {
    "id", "name", "category", "price", "quantity", "active", "tags", "rating_score", "rating_count",
};

static bool say(const char *path, unsigned line, const char *problem) {
    fprintf(stderr, "arena: %s:%u: %s\n", path, line, problem);
    return false;
}

/* The whole file with a NUL behind it; NULL with errno. */
static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    char *text = NULL;
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0 && (text = calloc(1, (size_t)size + 1)) != NULL) {
        if (fread(text, 1, (size_t)size, file) != (size_t)size) {
            free(text);
            text = NULL;
        }
    }
    fclose(file);
    return text;
}

/* Cuts `line` at its tabs. False when there are not as many columns as there should be. */
static bool cut(char *line, char *fields[static COLUMNS_COUNT]) {
    for (int i = 0; i < COLUMNS_COUNT; i++) {
        fields[i] = line;
        char *tab = strchr(line, '\t');
        if ((tab == NULL) != (i == COLUMNS_COUNT - 1)) {
            return false;
        }
        if (tab != NULL) {
            *tab = '\0';
            line = tab + 1;
        }
    }
    return true;
}

static struct span text_of(const char *text) {
    return (struct span){ text, strlen(text) };
}

static bool read_tags(struct data_item *item, char *text) {
    char *rest = NULL;
    for (char *tag = strtok_r(text, ",", &rest); tag != NULL; tag = strtok_r(NULL, ",", &rest)) {
        if (item->tag_count == DATA_TAGS_MAX) {
            return false;
        }
        item->tags[item->tag_count++] = text_of(tag);
    }
    return true;
}

static bool read_decimal(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0';
}

static bool read_item(struct data_item *item, char *fields[static COLUMNS_COUNT]) {
    item->name = text_of(fields[NAME]);
    item->category = text_of(fields[CATEGORY]);
    item->active = strcmp(fields[ACTIVE], "true") == 0;
    return rm_int(text_of(fields[ID]), &item->id) && rm_int(text_of(fields[PRICE]), &item->price) &&
           rm_int(text_of(fields[QUANTITY]), &item->quantity) && read_tags(item, fields[TAGS]) &&
           (item->active || strcmp(fields[ACTIVE], "false") == 0) &&
           read_decimal(fields[RATING_SCORE], &item->rating_score) &&
           rm_int(text_of(fields[RATING_COUNT]), &item->rating_count);
}

static bool check_header(char *line) {
    char *fields[COLUMNS_COUNT];
    if (!cut(line, fields)) {
        return false;
    }
    for (int i = 0; i < COLUMNS_COUNT; i++) {
        if (strcmp(fields[i], columns[i]) != 0) {
            return false;
        }
    }
    return true;
}

bool data_read(struct data_set *set, const char *path) {
    set->count = 0;
    set->text = read_text(path);
    set->items = calloc(DATA_ITEMS_MAX, sizeof *set->items);
    if (set->text == NULL || set->items == NULL) {
        return say(path, 0, strerror(errno));
    }
    unsigned number = 1;
    char *rest = NULL;
    for (char *line = strtok_r(set->text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), number++) {
        char *fields[COLUMNS_COUNT];
        if (number == 1) {
            if (!check_header(line)) {
                return say(path, number, "the first line must name the columns; see examples/arena_data.h");
            }
        } else if (set->count == DATA_ITEMS_MAX) {
            return say(path, number, "too many items");
        } else if (!cut(line, fields) || !read_item(&set->items[set->count++], fields)) {
            return say(path, number, "not an item");
        }
    }
    return set->count > 0 || say(path, number, "no items");
}

bool data_beside_program(const char *name, char *out, size_t out_bytes) {
    ssize_t n = readlink("/proc/self/exe", out, out_bytes);
    if (n <= 0 || (size_t)n >= out_bytes) {
        return false;
    }
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL) {
        return false;
    }
    size_t room = out_bytes - (size_t)(slash + 1 - out);
    return (size_t)snprintf(slash + 1, room, "%s", name) < room;
}
