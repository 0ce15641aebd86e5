/* The data set of arena: read once at start, read-only afterwards, so that all workers may look at it.
 *
 * A text file. The first line names the columns, the others hold one item each, with a tab between columns:
 *
 *     id  name  category  price  quantity  active  tags  rating_score  rating_count
 *
 * id, price, quantity and rating_count are integers, active is true or false, tags are separated by commas (none:
 * empty), rating_score is a decimal number. Texts hold no tabs and no line ends. scripts/make-dataset writes such
 * a file.
 *
 * Depends on libc. */
#ifndef ARENA_DATA_H
#define ARENA_DATA_H

#include <ringmain.h>

enum { DATA_ITEMS_MAX = 4096, DATA_TAGS_MAX = 8 };

struct data_item {
    int64_t id, price, quantity, rating_count;
    double rating_score;
    struct span name, category;
    struct span tags[DATA_TAGS_MAX];
    uint32_t tag_count;
    bool active;
};

struct data_set {
    struct data_item *items;
    uint32_t count;
    char *text; /* of the file: items point into it */
};

/* Reads a file. False, after a line on stderr that says what is wrong and where. The memory is never given back:
 * it lives as long as the process. */
bool data_read(struct data_set *set, const char *path);

/* "NAME" beside the running program, in `out`. */
bool data_beside_program(const char *name, char *out, size_t out_bytes);

#endif
