#include "arena_input.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

struct input {
    yyjson_alc memory;
    void *pool;
    size_t pool_bytes;
    yyjson_val *object; /* whose members are asked for; NULL: it has none */
    char within[32];    /* its name and a dot, for `why` */
    char why[160];      /* empty while nothing is wrong */
};

/* What the largest body needs to be read, and one of its arrays to be written again: a control character takes six bytes. */
static size_t pool_bytes(void) {
    return yyjson_read_max_memory_usage(INPUT_BYTES_MAX, YYJSON_READ_NOFLAG) + 8 * INPUT_BYTES_MAX + 4096;
}

struct input *input_open(void) {
    struct input *input = calloc(1, sizeof *input);
    if (input == NULL) {
        return NULL;
    }
    input->pool_bytes = pool_bytes();
    input->pool = malloc(input->pool_bytes);
    if (input->pool == NULL) {
        free(input);
        return NULL;
    }
    return input;
}

void input_close(struct input *input) {
    if (input != NULL) {
        free(input->pool);
        free(input);
    }
}

/* Keeps the first complaint. */
[[gnu::format(printf, 2, 3)]] static void complain(struct input *input, const char *format, ...) {
    if (input->why[0] == '\0') {
        va_list list;
        va_start(list, format);
        vsnprintf(input->why, sizeof input->why, format, list);
        va_end(list);
    }
}

const char *input_why(const struct input *input) {
    return input->why[0] == '\0' ? NULL : input->why;
}

void input_read(struct input *input, struct span body) {
    yyjson_read_err error;
    input->why[0] = '\0';
    input->within[0] = '\0';
    input->object = NULL;
    if (body.len > INPUT_BYTES_MAX) {
        complain(input, "the body must be at most %d bytes\n", INPUT_BYTES_MAX);
        return;
    }
    yyjson_alc_pool_init(&input->memory, input->pool, input->pool_bytes);
    /* Without YYJSON_READ_INSITU the text is only read. */
    yyjson_doc *document = yyjson_read_opts((char *)(uintptr_t)body.data, body.len, YYJSON_READ_NOFLAG, &input->memory,
                                            &error);
    if (document == NULL) {
        complain(input, "the body is not JSON: %s at byte %zu\n", body.len == 0 ? "it is empty" : error.msg, error.pos);
        return;
    }
    input->object = yyjson_doc_get_root(document);
    if (!yyjson_is_obj(input->object)) {
        complain(input, "the body must be a JSON object\n");
    }
}

/* NULL when it is not there; a complaint then, unless it may be missing. */
static yyjson_val *member(struct input *input, const char *name, bool may_miss) {
    yyjson_val *value = yyjson_obj_get(input->object, name);
    if (value == NULL && !may_miss) {
        complain(input, "%s%s is missing\n", input->within, name);
    }
    return value;
}

int64_t input_integer(struct input *input, const char *name, int64_t min, int64_t max, const int64_t *missing) {
    yyjson_val *value = member(input, name, missing != NULL);
    if (value == NULL) {
        return missing != NULL ? *missing : 0;
    }
    bool fits = yyjson_is_sint(value) || (yyjson_is_uint(value) && yyjson_get_uint(value) <= INT64_MAX);
    if (!fits || yyjson_get_sint(value) < min || yyjson_get_sint(value) > max) {
        complain(input, "%s%s must be an integer from %lld to %lld\n", input->within, name, (long long)min,
                 (long long)max);
        return 0;
    }
    return yyjson_get_sint(value);
}

double input_number(struct input *input, const char *name, const double *missing) {
    yyjson_val *value = member(input, name, missing != NULL);
    if (value == NULL) {
        return missing != NULL ? *missing : 0;
    }
    if (!yyjson_is_num(value) || !isfinite(yyjson_get_num(value))) {
        complain(input, "%s%s must be a number\n", input->within, name);
        return 0;
    }
    return yyjson_get_num(value);
}

bool input_boolean(struct input *input, const char *name, const bool *missing) {
    yyjson_val *value = member(input, name, missing != NULL);
    if (value == NULL) {
        return missing != NULL && *missing;
    }
    if (!yyjson_is_bool(value)) {
        complain(input, "%s%s must be true or false\n", input->within, name);
    }
    return yyjson_is_true(value);
}

static bool is_text(yyjson_val *value) {
    return yyjson_is_str(value) && memchr(yyjson_get_str(value), '\0', yyjson_get_len(value)) == NULL;
}

struct span input_string(struct input *input, const char *name, const struct span *missing) {
    yyjson_val *value = member(input, name, missing != NULL);
    if (value == NULL) {
        return missing != NULL ? *missing : (struct span){ "", 0 };
    }
    if (!is_text(value)) {
        complain(input, "%s%s must be a string without U+0000\n", input->within, name);
        return (struct span){ "", 0 };
    }
    return (struct span){ yyjson_get_str(value), yyjson_get_len(value) };
}

static bool are_texts(yyjson_val *array) {
    size_t i, count;
    yyjson_val *element;
    if (!yyjson_is_arr(array)) {
        return false;
    }
    yyjson_arr_foreach(array, i, count, element) {
        if (!is_text(element)) {
            return false;
        }
    }
    return true;
}

struct span input_strings(struct input *input, const char *name, const struct span *missing) {
    yyjson_val *value = member(input, name, missing != NULL);
    if (value == NULL) {
        return missing != NULL ? *missing : (struct span){ "", 0 };
    }
    size_t len = 0;
    const char *text = are_texts(value) ? yyjson_val_write_opts(value, YYJSON_WRITE_NOFLAG, &input->memory, &len, NULL)
                                        : NULL;
    if (text == NULL) {
        complain(input, "%s%s must be an array of strings without U+0000\n", input->within, name);
        return (struct span){ "", 0 };
    }
    return (struct span){ text, len };
}

void input_enter(struct input *input, const char *name) {
    yyjson_val *value = member(input, name, true);
    if (value != NULL && !yyjson_is_obj(value)) {
        complain(input, "%s must be an object\n", name);
    }
    snprintf(input->within, sizeof input->within, "%s.", name);
    input->object = value;
}
