/* arena: the workload that ringmain is measured with. Every route has one job; together they use all that the
 * server can do.
 *
 *     GET  /pipeline              ok
 *     GET  /baseline11?a=1&b=2    3
 *     POST /baseline11?a=1&b=2    3 and the integer that is the body
 *     GET  /json/{count}?m=3      the first 0..50 items of the data set, each with total = price * quantity * m
 *     POST /upload                how many bytes of body arrived, whatever their number
 *     POST /echo                  the body
 *     GET  /bytes/{n}             0..262144 bytes of constant memory, lent
 *     GET  /bytes/{n}/copied      the same, copied into the server's output blocks
 *     GET  /sleep/{ms}            answers after 0..60000 ms
 *     GET  /stats /metrics        the server's own figures, JSON and Prometheus text
 *     GET  /healthz               ok
 *
 * those of arena_cache.h, whose answers are kept, and those of arena_db.h, which ask a database. */
#include <ringmain.h>

#include <stdio.h>
#include <string.h>

#include "arena_cache.h"
#include "arena_data.h"
#include "arena_db.h"
#include "arena_files.h"

enum { JSON_ITEMS_MAX = 50, SLEEP_MS_MAX = 60000, BYTES_MAX = 256 * 1024 };

static const char *data_path;           /* --dataset */
static const char *shared_sync = "off"; /* --shared-sync */
static const char *item_ttl = "200ms";  /* --item-ttl */
static const char *item_gap = "0";      /* --item-gap */
static const char *cached_ttl = "60s";  /* --cached-ttl */
static struct data_set data;
static char letters[BYTES_MAX];

static enum rm_step bad_request(struct rm_exchange *x, const char *why) {
    return rm_text(x, 400, why);
}

static enum rm_step answer_int(struct rm_exchange *x, int64_t value) {
    rm_begin(x, 200, "text/plain");
    rm_write_int(x, value);
    return RM_DONE;
}

static enum rm_step pipeline(struct rm_exchange *x) {
    return rm_text(x, 200, "ok");
}

/* Adds the integers of the query. False when a value is none, or when the sum is too large. */
static bool sum_query(const struct rm_exchange *x, int64_t *sum) {
    struct span name, value;
    *sum = 0;
    for (size_t cursor = 0; rm_query_next(x, &cursor, &name, &value);) {
        int64_t number;
        if (!rm_int(value, &number) || __builtin_add_overflow(*sum, number, sum)) {
            return false;
        }
    }
    return true;
}

static enum rm_step baseline_get(struct rm_exchange *x) {
    int64_t sum;
    if (!sum_query(x, &sum)) {
        return bad_request(x, "the query must be integers\n");
    }
    return answer_int(x, sum);
}

static enum rm_step baseline_post(struct rm_exchange *x) {
    int64_t sum, number;
    if (!sum_query(x, &sum) || !rm_int(rm_body(x), &number) || __builtin_add_overflow(sum, number, &sum)) {
        return bad_request(x, "query and body must be integers\n");
    }
    return answer_int(x, sum);
}

static void write_item(struct rm_exchange *x, const struct data_item *item, int64_t total) {
    rm_json_object(x, NULL);
    rm_json_int(x, "id", item->id);
    rm_json_string(x, "name", item->name);
    rm_json_string(x, "category", item->category);
    rm_json_int(x, "price", item->price);
    rm_json_int(x, "quantity", item->quantity);
    rm_json_bool(x, "active", item->active);
    rm_json_array(x, "tags");
    for (uint32_t i = 0; i < item->tag_count; i++) {
        rm_json_string(x, NULL, item->tags[i]);
    }
    rm_json_close(x);
    rm_json_object(x, "rating");
    rm_json_double(x, "score", item->rating_score);
    rm_json_int(x, "count", item->rating_count);
    rm_json_close(x);
    rm_json_int(x, "total", total);
    rm_json_close(x);
}

/* The factor is 1 when it is not given. False when it is not an integer, or so large that a total would not be one. */
static bool read_factor(const struct rm_exchange *x, int64_t *factor) {
    struct span text;
    *factor = 1;
    if (rm_query_value(x, "m", &text) && !rm_int(text, factor)) {
        return false;
    }
    return *factor >= -1000000 && *factor <= 1000000;
}

static enum rm_step json(struct rm_exchange *x) {
    int64_t count, factor;
    if (!rm_int(rm_param(x, "count"), &count) || count < 0 || count > JSON_ITEMS_MAX || count > data.count) {
        return bad_request(x, "count must be a number from 0 to 50\n");
    }
    if (!read_factor(x, &factor)) {
        return bad_request(x, "m must be a number up to a million\n");
    }
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_array(x, "items");
    for (int64_t i = 0; i < count; i++) {
        const struct data_item *item = &data.items[i];
        write_item(x, item, item->price * item->quantity * factor);
    }
    rm_json_close(x);
    rm_json_int(x, "count", count);
    rm_json_close(x);
    return RM_DONE;
}

/* Nothing is kept of the body: it may be of any length. */
static bool upload_piece(struct rm_exchange *x, struct span piece) {
    (void)x, (void)piece;
    return true;
}

static enum rm_step upload(struct rm_exchange *x) {
    return answer_int(x, (int64_t)rm_body_received(x));
}

static enum rm_step echo(struct rm_exchange *x) {
    return rm_bytes(x, 200, "application/octet-stream", rm_body(x));
}

static enum rm_step slept(struct rm_exchange *x) {
    rm_begin(x, 200, "text/plain");
    rm_write(x, rm_param(x, "ms"));
    return RM_DONE;
}

static enum rm_step sleep_ms(struct rm_exchange *x) {
    int64_t ms;
    if (!rm_int(rm_param(x, "ms"), &ms) || ms < 0 || ms > SLEEP_MS_MAX) {
        return bad_request(x, "ms must be a number from 0 to 60000\n");
    }
    rm_sleep(x, (uint64_t)ms * 1000000);
    rm_then(x, slept);
    return RM_PARK;
}

/* The first n letters; false when n is none. */
static bool first_letters(const struct rm_exchange *x, struct span *out) {
    int64_t n;
    bool fine = rm_int(rm_param(x, "n"), &n) && n >= 0 && n <= BYTES_MAX;
    *out = (struct span){ letters, fine ? (size_t)n : 0 };
    return fine;
}

static enum rm_step bytes_lent(struct rm_exchange *x) {
    struct span body;
    if (!first_letters(x, &body)) {
        return bad_request(x, "n must be a number from 0 to 262144\n");
    }
    return rm_lend(x, 200, "text/plain", body, NULL, NULL);
}

static enum rm_step bytes_copied(struct rm_exchange *x) {
    struct span body;
    if (!first_letters(x, &body)) {
        return bad_request(x, "n must be a number from 0 to 262144\n");
    }
    return rm_bytes(x, 200, "text/plain", body);
}

static enum rm_step healthz(struct rm_exchange *x) {
    return rm_text(x, 200, "ok\n");
}

static struct rm_route routes[] = {
    { "GET", "/pipeline", pipeline },
    { "GET", "/baseline11", baseline_get },
    { "POST", "/baseline11", baseline_post, RM_BODY_BUFFERED },
    { "GET", "/json/{count}", json },
    { "POST", "/upload", upload, RM_BODY_STREAMED, upload_piece },
    { "POST", "/echo", echo, RM_BODY_BUFFERED },
    { "GET", "/sleep/{ms}", sleep_ms },
    { "GET", "/bytes/{n}", bytes_lent },
    { "GET", "/bytes/{n}/copied", bytes_copied },
    { "GET", "/stats", rm_stats },
    { "GET", "/metrics", rm_metrics },
    { "GET", "/healthz", healthz },
    { "GET", "/cached/{n}", cached, .cache = &cached_cache },
    { "GET", "/slow/{key}", slow, .cache = &slow_cache },
    { "GET", "/slow-grace/{key}", slow, .cache = &slow_grace_cache },
    { "GET", "/slow-count/{key}", slow_count },
    { "GET", "/files/{name}", files_get, .cache = &files_cache },
    { "GET", "/async-db", db_prices },
    { "GET", "/crud/items", db_category },
    { "GET", "/crud/items/{id}", db_item, .cache = &db_item_cache },
    { "POST", "/crud/items", db_upsert, RM_BODY_BUFFERED },
    { "PUT", "/crud/items/{id}", db_update, RM_BODY_BUFFERED },
    { "GET", "/db/two", db_two },
    { "POST", "/db/transfer", db_transfer, RM_BODY_BUFFERED },
    { 0 },
};

static const struct rm_option options[] = {
    { "dataset", "FILE", "items for /json, see examples/arena_data.h [dataset.tsv beside the program]", &data_path },
    { "shared-sync", "on|off", "/crud/items/{id} shares its Sync with other requests [off]", &shared_sync },
    { "item-ttl", "TIME", "/crud/items/{id} is kept for so long; 0: it is not kept [200ms]", &item_ttl },
    { "item-gap", "TIME", "and waits between having read its row and answering; for tests [0]", &item_gap },
    { "cached-ttl", "TIME", "/cached/{n} is kept for so long [60s]", &cached_ttl },
    { "files", "DIR", "whose files /files/{name} serves [none]", &files_folder },
    { 0 },
};

/* Totals must be right for every factor that is accepted. */
static bool totals_fit(const char *path) {
    for (uint32_t i = 0; i < data.count; i++) {
        int64_t total;
        const struct data_item *item = &data.items[i];
        if (__builtin_mul_overflow(item->price, item->quantity, &total) ||
            __builtin_mul_overflow(total, 1000000, &total)) {
            fprintf(stderr, "arena: %s: item %u: price and quantity are too large\n", path, i + 1);
            return false;
        }
    }
    return true;
}

/* False, after a line on stderr, when a time is none. */
static bool read_times(void) {
    const struct {
        const char *name, *text;
        bool zero;
        uint64_t *ns;
    } times[] = {
        { "item-ttl", item_ttl, true, &db_item_cache.ttl_ns },
        { "item-gap", item_gap, true, &db_item_gap_ns },
        { "cached-ttl", cached_ttl, false, &cached_cache.ttl_ns },
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        if (!cache_read_time(times[i].text, times[i].zero, times[i].ns)) {
            fprintf(stderr, "arena: --%s must be a time such as 250ms, 2s or 1m\n", times[i].name);
            return false;
        }
    }
    return true;
}

/* Without a time to live there is nothing that keeps the items. */
static void drop_item_cache(void) {
    for (size_t i = 0; routes[i].method != NULL; i++) {
        if (routes[i].cache == &db_item_cache) {
            routes[i].cache = NULL;
        }
    }
}

static int start(void) {
    char path[4096];
    if (!read_times()) {
        return 2;
    }
    if (db_item_cache.ttl_ns == 0) {
        drop_item_cache();
    }
    cache_start();
    if (strcmp(shared_sync, "on") != 0 && strcmp(shared_sync, "off") != 0) {
        fprintf(stderr, "arena: --shared-sync must be on or off\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof letters; i++) {
        letters[i] = (char)('a' + i % 26);
    }
    db_share_sync(strcmp(shared_sync, "on") == 0);
    if (data_path == NULL) {
        if (!data_beside_program("dataset.tsv", path, sizeof path)) {
            fprintf(stderr, "arena: where is the data set? Say --dataset FILE\n");
            return 78;
        }
        return data_read(&data, path) && totals_fit(path) ? 0 : 78;
    }
    return data_read(&data, data_path) && totals_fit(data_path) ? 0 : 78;
}

int main(int argc, char **argv) {
    return rm_main(argc, argv,
                   &(struct rm_app){ .name = "arena",
                                     .routes = routes,
                                     .options = options,
                                     .statements = db_statements,
                                     .statement_count = DB_STATEMENTS,
                                     .start = start,
                                     .worker_start = db_worker_start,
                                     .worker_stop = db_worker_stop });
}
