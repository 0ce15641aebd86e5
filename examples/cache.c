/* Prices that take long to find, kept for a second: GET /price/{item} sleeps as a slow query would, once for all who ask.
 * For ten seconds more clients get the old one while one handler looks anew. PUT /price/{item}?cents=N changes it: whoever has
 * seen its answer sees the new price, whichever worker is asked. The prices themselves are in RAM: with --store PATH, what was
 * kept of them outlives them by its time.
 *
 *     build/examples/cache & curl -i http://127.0.0.1:8080/price/7; curl -X PUT http://127.0.0.1:8080/price/007?cents=5 */
#include <ringmain.h>
#include <stdatomic.h>

enum { ITEMS = 1000 };

static _Atomic int64_t cents[ITEMS];

static bool item_of(const struct rm_exchange *x, int64_t *item) {
    return rm_int(rm_param(x, "item"), item) && *item >= 0 && *item < ITEMS;
}

/* One key for "7" and "007"; none for what is no item. */
static bool price_key(const struct rm_exchange *x, struct rm_key *key) {
    int64_t item;
    if (!item_of(x, &item)) {
        return false;
    }
    rm_key_int(key, item);
    return true;
}

static const struct rm_cache prices = {
    .name = "prices",
    .key = price_key,
    .ttl_ns = 1000000000,
    .grace_ns = 10000000000,
};

static enum rm_step found(struct rm_exchange *x) {
    int64_t item;
    (void)item_of(x, &item);
    rm_begin(x, 200, "application/json");
    rm_json_object(x, NULL);
    rm_json_int(x, "item", item);
    rm_json_int(x, "cents", atomic_load(&cents[item]));
    rm_json_close(x);
    return RM_DONE;
}

static enum rm_step get_price(struct rm_exchange *x) {
    int64_t item;
    if (!item_of(x, &item)) {
        return rm_text(x, 404, "no such item\n");
    }
    rm_sleep(x, 100000000);
    rm_then(x, found);
    return RM_PARK;
}

static enum rm_step put_price(struct rm_exchange *x) {
    struct span text;
    int64_t item, value;
    if (!item_of(x, &item)) {
        return rm_text(x, 404, "no such item\n");
    }
    if (!rm_query_value(x, "cents", &text) || !rm_int(text, &value)) {
        return rm_text(x, 400, "?cents=N, please\n");
    }
    atomic_store(&cents[item], value);
    struct rm_key key;
    rm_key_begin(&key, &prices);
    rm_key_int(&key, item);
    rm_purge(rm_worker(x), &key); /* behind the change, before the answer */
    return rm_status(x, 204);
}

static const struct rm_route routes[] = {
    { "GET", "/price/{item}", get_price, .cache = &prices },
    { "PUT", "/price/{item}", put_price },
    { 0 },
};

int main(int argc, char **argv) {
    return rm_main(argc, argv, &(struct rm_app){ .name = "cache", .routes = routes });
}
