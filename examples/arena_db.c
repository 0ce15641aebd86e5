#include "arena_db.h"

#include <stdio.h>
#include <string.h>

#include "arena_input.h"

enum { LIMIT_MAX = 50, CATEGORY_BYTES_MAX = 256 };

#define COLUMNS                                           \
    "id, name, category, price, quantity, active, tags, " \
    "rating_score AS \"rating.score\", rating_count AS \"rating.count\""
#define ONE_ITEM "SELECT " COLUMNS " FROM items WHERE id = $1"

const struct rm_statement db_statements[DB_STATEMENTS] = {
    [DB_PRICES] = { "SELECT " COLUMNS " FROM items WHERE price BETWEEN $1 AND $2 LIMIT $3",
                    RM_TYPES(RM_INT4, RM_INT4, RM_INT8), RM_READ_ONLY | RM_NESTED, "prices" },
    [DB_CATEGORY] = { "SELECT " COLUMNS " FROM items WHERE category = $1 ORDER BY id LIMIT $2 OFFSET $3",
                      RM_TYPES(RM_TEXT, RM_INT8, RM_INT8), RM_READ_ONLY | RM_NESTED, "category" },
    [DB_ITEM] = { ONE_ITEM, RM_TYPES(RM_INT4), RM_READ_ONLY | RM_NESTED, "item" },
    [DB_ITEM_SHARED] = { ONE_ITEM, RM_TYPES(RM_INT4), RM_READ_ONLY | RM_NESTED | RM_SHARED_SYNC, "item_shared" },
    [DB_AFTER] = { "SELECT id, name FROM items WHERE id > $1 ORDER BY id LIMIT 3", RM_TYPES(RM_INT4), RM_READ_ONLY,
                   "after" },
    [DB_UPSERT] = { "INSERT INTO items (id, name, category, price, quantity, active, tags, rating_score, rating_count) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
                    "category = excluded.category, price = excluded.price, quantity = excluded.quantity, "
                    "active = excluded.active, tags = excluded.tags, rating_score = excluded.rating_score, "
                    "rating_count = excluded.rating_count RETURNING " COLUMNS,
                    RM_TYPES(RM_INT4, RM_TEXT, RM_TEXT, RM_INT4, RM_INT4, RM_BOOL, RM_JSONB, RM_FLOAT8, RM_INT4),
                    RM_NESTED, "upsert" },
    [DB_UPDATE] = { "UPDATE items SET name = $2, price = $3, quantity = $4, category = coalesce($5, category) WHERE id = $1 "
                    "RETURNING " COLUMNS,
                    RM_TYPES(RM_INT4, RM_TEXT, RM_INT4, RM_INT4, RM_TEXT), RM_NESTED, "update" },
    [DB_TAKE] = { "UPDATE items SET quantity = quantity - $2 WHERE id = $1 RETURNING quantity",
                  RM_TYPES(RM_INT4, RM_INT4), 0, "take" },
    [DB_GIVE] = { "UPDATE items SET quantity = quantity + $2 WHERE id = $1 RETURNING quantity",
                  RM_TYPES(RM_INT4, RM_INT4), 0, "give" },
};

static bool sync_is_shared;

void db_share_sync(bool share) {
    sync_is_shared = share;
}

int db_worker_start(struct rm_worker *worker) {
    struct input *input = input_open();
    if (input == NULL) {
        fprintf(stderr, "arena: no memory for JSON bodies\n");
        return 70;
    }
    rm_set_worker_state(worker, input);
    return 0;
}

void db_worker_stop(struct rm_worker *worker) {
    input_close(rm_worker_state(worker));
}

/* -------------------------------------------------------------------------------------------------- requests ---- */

static enum rm_step not_found(struct rm_exchange *x) {
    return rm_text(x, 404, "there is no such item\n");
}

/* A decimal parameter of the query, moved into its range; `missing` when it is not given. False: it is answered. */
static bool read_number(struct rm_exchange *x, const char *name, int64_t min, int64_t max, int64_t missing,
                        int64_t *out) {
    struct span text;
    char why[80];
    *out = missing;
    if (rm_query_value(x, name, &text) && !rm_int(text, out)) {
        snprintf(why, sizeof why, "%s must be an integer\n", name);
        rm_text(x, 400, why);
        return false;
    }
    *out = *out < min ? min : *out > max ? max : *out;
    return true;
}

/* The {id} of the path. False: it is answered; an integer that no id can be is an item that is not there. */
static bool read_id(struct rm_exchange *x, int64_t *id) {
    if (!rm_int(rm_param(x, "id"), id)) {
        rm_text(x, 400, "id must be an integer\n");
        return false;
    }
    if (*id < INT32_MIN || *id > INT32_MAX) {
        not_found(x);
        return false;
    }
    return true;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* Percent-encoding, RFC 3986 §2.1, and the form's '+'. False when it is none, too long, or says NUL. */
static bool decode(struct span text, char out[static CATEGORY_BYTES_MAX], struct span *decoded) {
    *decoded = (struct span){ out, 0 };
    for (size_t i = 0; i < text.len; i++, decoded->len++) {
        int c = text.data[i] == '+' ? ' ' : text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c == 0 || decoded->len == CATEGORY_BYTES_MAX) {
            return false;
        }
        out[decoded->len] = (char)c;
    }
    return true;
}

static struct input *input_of(const struct rm_exchange *x) {
    return rm_worker_state(rm_worker(x));
}

/* True when something is wrong with the body: it is answered. */
static bool refuse_body(struct rm_exchange *x, const struct input *input) {
    const char *why = input_why(input);
    if (why != NULL) {
        rm_text(x, 400, why);
    }
    return why != NULL;
}

/* --------------------------------------------------------------------------------------------------- answers ---- */

/* A query that did not end well. Class 22, data exception: it is the value that was sent. */
static enum rm_step failed(struct rm_exchange *x, const struct rm_query *query) {
    if (rm_db_status(query) == RM_DB_ERROR && strncmp(rm_db_sqlstate(query), "22", 2) == 0) {
        return rm_text(x, 400, "the database can't store or compare such a value\n");
    }
    return rm_db_answer(x, query);
}

static enum rm_step answer_with(struct rm_exchange *x, int status, struct rm_query *query) {
    if (rm_db_status(query) != RM_DB_OK) {
        return failed(x, query);
    }
    if (rm_db_rows(query) == 0) {
        return not_found(x);
    }
    rm_begin(x, status, "application/json");
    rm_json_row(x, NULL, query);
    return RM_DONE;
}

/* --------------------------------------------------------------------------------------------------- keeping ---- */

/* By the number, so that 1 and 01 are one item. What can't be an id is told so by the handler, each time. */
static bool item_key(const struct rm_exchange *x, struct rm_key *key) {
    int64_t id;
    if (!rm_int(rm_param(x, "id"), &id) || id < INT32_MIN || id > INT32_MAX) {
        return false;
    }
    rm_key_int(key, id);
    return true;
}

struct rm_cache db_item_cache = { .name = "items", .ttl_ns = 200000000, .key = item_key };
uint64_t db_item_gap_ns;

/* An item may have changed. Called whatever became of the statement: one whose connection was lost, or that took too long, may
 * have run. Without a cache there is nothing to remove. */
static void item_changed(struct rm_exchange *x, int64_t id) {
    struct rm_key key;
    if (db_item_cache.ttl_ns > 0) {
        rm_key_begin(&key, &db_item_cache);
        rm_key_int(&key, id);
        rm_purge(rm_worker(x), &key);
    }
}

static enum rm_step done(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

static enum rm_step answer_item(struct rm_exchange *x) {
    enum rm_step step = answer_with(x, 200, rm_result(x, 0));
    if (db_item_gap_ns == 0) {
        return step;
    }
    rm_sleep(x, db_item_gap_ns);
    rm_then(x, done);
    return RM_PARK;
}

/* The id is the state of an exchange that changes an item. */
static enum rm_step answer_changed(struct rm_exchange *x, int status) {
    const int64_t *id = rm_state(x);
    item_changed(x, *id);
    return answer_with(x, status, rm_result(x, 0));
}

static enum rm_step answer_updated(struct rm_exchange *x) {
    return answer_changed(x, 200);
}

static enum rm_step answer_created(struct rm_exchange *x) {
    return answer_changed(x, 201);
}

/* False: there is no memory; 500 is answered. */
static bool remember_id(struct rm_exchange *x, int64_t id) {
    int64_t *kept = rm_alloc(x, sizeof *kept);
    if (kept == NULL) {
        return false;
    }
    *kept = id;
    rm_set_state(x, kept);
    return true;
}

/* --------------------------------------------------------------------------------------------------- reading ---- */

static enum rm_step answer_prices(struct rm_exchange *x) {
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) != RM_DB_OK) {
        return failed(x, query);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_rows(x, "items", query);
    rm_json_int(x, "count", (int64_t)rm_db_rows(query));
    rm_json_close(x);
    return RM_DONE;
}

enum rm_step db_prices(struct rm_exchange *x) {
    int64_t min, max, limit;
    if (!read_number(x, "min", INT32_MIN, INT32_MAX, 10, &min) ||
        !read_number(x, "max", INT32_MIN, INT32_MAX, 50, &max) ||
        !read_number(x, "limit", 1, LIMIT_MAX, LIMIT_MAX, &limit)) {
        return RM_DONE;
    }
    rm_query_json(x, &db_statements[DB_PRICES], rm_int_arg(min), rm_int_arg(max), rm_int_arg(limit));
    rm_then(x, answer_prices);
    return RM_PARK;
}

struct page {
    int64_t number, limit;
};

static enum rm_step answer_category(struct rm_exchange *x) {
    const struct page *page = rm_state(x);
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) != RM_DB_OK) {
        return failed(x, query);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_rows(x, "items", query);
    rm_json_int(x, "total", (int64_t)rm_db_rows(query));
    rm_json_int(x, "page", page->number);
    rm_json_int(x, "limit", page->limit);
    rm_json_close(x);
    return RM_DONE;
}

enum rm_step db_category(struct rm_exchange *x) {
    char text[CATEGORY_BYTES_MAX];
    struct span value, category;
    struct page *page = rm_alloc(x, sizeof *page);
    if (page == NULL) {
        return RM_DONE;
    }
    if (!rm_query_value(x, "category", &value) || !decode(value, text, &category)) {
        return rm_text(x, 400, "category must be given, percent-encoded\n");
    }
    if (!read_number(x, "page", 1, INT32_MAX, 1, &page->number) ||
        !read_number(x, "limit", 1, LIMIT_MAX, 10, &page->limit)) {
        return RM_DONE;
    }
    rm_set_state(x, page);
    rm_query_json(x, &db_statements[DB_CATEGORY], rm_text_arg(category), rm_int_arg(page->limit),
                  rm_int_arg((page->number - 1) * page->limit));
    rm_then(x, answer_category);
    return RM_PARK;
}

static const struct rm_statement *item_statement(void) {
    return &db_statements[sync_is_shared ? DB_ITEM_SHARED : DB_ITEM];
}

enum rm_step db_item(struct rm_exchange *x) {
    int64_t id;
    if (!read_id(x, &id)) {
        return RM_DONE;
    }
    rm_query_json(x, item_statement(), rm_int_arg(id));
    rm_then(x, answer_item);
    return RM_PARK;
}

static enum rm_step answer_two(struct rm_exchange *x) {
    struct rm_query *item = rm_result(x, 0);
    struct rm_query *after = rm_result(x, 1);
    if (rm_db_status(item) != RM_DB_OK || rm_db_status(after) != RM_DB_OK) {
        return failed(x, rm_db_status(item) != RM_DB_OK ? item : after);
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_row(x, "item", item);
    rm_json_rows(x, "after", after);
    rm_json_close(x);
    return RM_DONE;
}

enum rm_step db_two(struct rm_exchange *x) {
    int64_t id;
    if (!read_number(x, "id", INT32_MIN, INT32_MAX, 1, &id)) {
        return RM_DONE;
    }
    rm_query_json(x, item_statement(), rm_int_arg(id));
    rm_query_json(x, &db_statements[DB_AFTER], rm_int_arg(id));
    rm_then(x, answer_two);
    return RM_PARK;
}

/* --------------------------------------------------------------------------------------------------- writing ---- */

enum rm_step db_upsert(struct rm_exchange *x) {
    static const bool yes = true;
    static const double no_score = 0;
    static const int64_t nobody = 0;
    static const struct span no_tags = { "[]", 2 };
    struct input *input = input_of(x);
    input_read(input, rm_body(x));
    int64_t id = input_integer(input, "id", 1, INT32_MAX, NULL);
    struct span name = input_string(input, "name", NULL);
    struct span category = input_string(input, "category", NULL);
    int64_t price = input_integer(input, "price", 0, INT32_MAX, NULL);
    int64_t quantity = input_integer(input, "quantity", 0, INT32_MAX, NULL);
    bool active = input_boolean(input, "active", &yes);
    struct span tags = input_strings(input, "tags", &no_tags);
    input_enter(input, "rating");
    double score = input_number(input, "score", &no_score);
    int64_t count = input_integer(input, "count", 0, INT32_MAX, &nobody);
    if (refuse_body(x, input) || !remember_id(x, id)) {
        return RM_DONE;
    }
    rm_query_json(x, &db_statements[DB_UPSERT], rm_int_arg(id), rm_text_arg(name), rm_text_arg(category),
                  rm_int_arg(price), rm_int_arg(quantity), rm_bool_arg(active), rm_text_arg(tags), rm_double_arg(score),
                  rm_int_arg(count));
    rm_then(x, answer_created);
    return RM_PARK;
}

enum rm_step db_update(struct rm_exchange *x) {
    static const struct span as_it_is = { NULL, 0 };
    int64_t id;
    struct input *input = input_of(x);
    input_read(input, rm_body(x));
    struct span name = input_string(input, "name", NULL);
    int64_t price = input_integer(input, "price", 0, INT32_MAX, NULL);
    int64_t quantity = input_integer(input, "quantity", 0, INT32_MAX, NULL);
    struct span category = input_string(input, "category", &as_it_is);
    if (refuse_body(x, input) || !read_id(x, &id) || !remember_id(x, id)) {
        return RM_DONE;
    }
    rm_query_json(x, &db_statements[DB_UPDATE], rm_int_arg(id), rm_text_arg(name), rm_int_arg(price),
                  rm_int_arg(quantity), category.data != NULL ? rm_text_arg(category) : rm_null());
    rm_then(x, answer_updated);
    return RM_PARK;
}

/* -------------------------------------------------------------------------------------------------- transfer ---- */

struct transfer {
    int64_t from, to, quantity;
    int64_t left; /* of `from`, after it */
    int64_t held; /* of `to`, after it */
    int status;   /* of the answer after a rollback */
    const char *why;
};

static enum rm_step rolled_back(struct rm_exchange *x) {
    const struct transfer *transfer = rm_state(x);
    return rm_text(x, transfer->status, transfer->why);
}

static enum rm_step roll_back(struct rm_exchange *x, int status, const char *why) {
    struct transfer *transfer = rm_state(x);
    transfer->status = status;
    transfer->why = why;
    rm_rollback(x);
    rm_then(x, rolled_back);
    return RM_PARK;
}

static enum rm_step committed(struct rm_exchange *x) {
    const struct transfer *transfer = rm_state(x);
    item_changed(x, transfer->from);
    item_changed(x, transfer->to);
    if (rm_db_status(rm_result(x, 0)) != RM_DB_OK) {
        return rm_db_answer(x, rm_result(x, 0));
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "from", transfer->from);
    rm_json_int(x, "left", transfer->left);
    rm_json_int(x, "to", transfer->to);
    rm_json_int(x, "held", transfer->held);
    rm_json_close(x);
    return RM_DONE;
}

/* The quantity that an UPDATE has left. False: `*step` is what the handler returns. */
static bool read_quantity(struct rm_exchange *x, int64_t *quantity, enum rm_step *step) {
    const struct rm_row *row;
    struct rm_query *query = rm_result(x, 0);
    if (rm_db_status(query) == RM_DB_ERROR && strcmp(rm_db_sqlstate(query), "22003") == 0) {
        *step = roll_back(x, 409, "there is no room for so many\n");
        return false;
    }
    if (rm_db_status(query) != RM_DB_OK) {
        *step = rm_db_answer(x, query); /* what an exchange leaves open is rolled back */
        return false;
    }
    if (!rm_next_row(query, &row) || !rm_get_int(row, 0, quantity)) {
        *step = roll_back(x, 404, "there is no such item\n");
        return false;
    }
    return true;
}

static enum rm_step given(struct rm_exchange *x) {
    enum rm_step step;
    struct transfer *transfer = rm_state(x);
    if (!read_quantity(x, &transfer->held, &step)) {
        return step;
    }
    rm_commit(x);
    rm_then(x, committed);
    return RM_PARK;
}

static enum rm_step taken(struct rm_exchange *x) {
    enum rm_step step;
    struct transfer *transfer = rm_state(x);
    if (!read_quantity(x, &transfer->left, &step)) {
        return step;
    }
    if (transfer->left < 0) {
        return roll_back(x, 409, "there are not so many\n");
    }
    rm_query(x, &db_statements[DB_GIVE], rm_int_arg(transfer->to), rm_int_arg(transfer->quantity));
    rm_then(x, given);
    return RM_PARK;
}

enum rm_step db_transfer(struct rm_exchange *x) {
    struct input *input = input_of(x);
    struct transfer *transfer = rm_alloc(x, sizeof *transfer);
    if (transfer == NULL) {
        return RM_DONE;
    }
    input_read(input, rm_body(x));
    transfer->from = input_integer(input, "from", 1, INT32_MAX, NULL);
    transfer->to = input_integer(input, "to", 1, INT32_MAX, NULL);
    transfer->quantity = input_integer(input, "quantity", 1, INT32_MAX, NULL);
    if (refuse_body(x, input)) {
        return RM_DONE;
    }
    rm_set_state(x, transfer);
    rm_transaction(x, RM_READ_COMMITTED);
    rm_query(x, &db_statements[DB_TAKE], rm_int_arg(transfer->from), rm_int_arg(transfer->quantity));
    rm_then(x, taken);
    return RM_PARK;
}
