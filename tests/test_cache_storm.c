/* Two workers, clients that read, change and leave, and a rough network, by seed. What must hold whatever happens: an answer has
 * its own key; a GET that is sent behind the answer to a change never shows what was before it, whichever worker takes it; in
 * calm worlds one handler runs for a key, whoever asks; in the end nobody waits, no flight runs, and every item of every pool
 * is back. `test_cache_storm SEED` repeats one. */
#include "cache_rig.h"
#include "random.h"

enum { CLIENTS = 14, REQUESTS = 60, KEYS = 4, SEEDS = 12, REPLACED_MAX = 60, RUN_MS_MAX = 120000 };

enum kind { GET_ITEM, HEAD_ITEM, IF_NONE_MATCH, CHANGE };

static struct client {
    struct rig_client *rig;
    uint32_t left;       /* requests */
    bool asking;
    enum kind kind;
    uint32_t key;
    unsigned floor;      /* the version that somebody was told of before this was sent */
    bool may_fail;       /* the handler was asked for something else than a 200 */
    uint64_t leave_at_ns; /* 0: it waits for its answer */
} clients[CLIENTS];

static struct random storm_random;
static bool calm;                /* no changes, no failures, nobody leaves */
static unsigned told[KEYS];      /* the newest version that a client was told of */
static uint32_t replaced, answers, changes, stale, hits, gone;

static uint32_t below(uint32_t n) {
    return random_below(&storm_random, n);
}

static void connect_anew(struct client *client) {
    client->rig = rig_connect_to(&rig, below(2));
}

static const char *draw_target(struct client *client, char out[static 96]) {
    static const char *const routes[] = { "item", "grace", "long" };
    static const char *const others[] = { "&as=404", "&as=503", "&as=stream", "&as=private", "&as=cookie", "&bytes=9000" };
    client->may_fail = !calm && below(5) == 0;
    snprintf(out, 96, "/%s/%u?ms=%u%s", calm ? "long" : routes[below(3)], client->key, below(3) * below(40),
             client->may_fail ? others[below(6)] : "");
    return out;
}

static void ask(struct client *client) {
    char target[96], text[256];
    client->key = below(KEYS);
    client->kind = !calm && below(12) == 0 ? CHANGE : (enum kind)below(CHANGE);
    client->floor = told[client->key];
    client->asking = true;
    client->left--;
    client->leave_at_ns = !calm && below(12) == 0 && replaced < REPLACED_MAX ? sim_now(rig.world) + below(30) * NS_PER_MS : 0;
    if (client->kind == CHANGE) {
        snprintf(text, sizeof text, "POST /change/%u HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", client->key);
        client->leave_at_ns = 0;
    } else {
        snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", client->kind == HEAD_ITEM ? "HEAD" : "GET",
                 draw_target(client, target), client->kind == IF_NONE_MATCH ? "If-None-Match: \"x\"\r\n" : "");
    }
    rig_forget(client->rig);
    rig_send(&rig, client->rig, text);
}

/* Where the answer's body begins; NULL: it is not all there. */
static const char *whole_answer(const struct client *client) {
    const char *text = client->rig->text, *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
    if (end == NULL) {
        return NULL;
    }
    end += 4;
    if (client->kind == HEAD_ITEM || strncmp(text, "HTTP/1.1 204", 12) == 0) {
        return end;
    }
    if (strstr(text, "Transfer-Encoding: chunked") != NULL) {
        return strstr(end, "\r\n0\r\n\r\n") != NULL ? strstr(end, "\r\n") + 2 : NULL;
    }
    assert_non_null(length);
    return client->rig->len >= (size_t)(end - text) + strtoul(length + 16, NULL, 10) ? end : NULL;
}

static void judge_version(const struct client *client, const char *body) {
    unsigned key = 99, version = 0;
    assert_int_equal(sscanf(body, "%u v%u", &key, &version), 2);
    if (key != client->key || version < client->floor || version > cache_items[key].version) {
        fail_msg("%u v%u for key %u, of which v%u was told before and v%u is the newest:\n%s", key, version, client->key,
                 client->floor, cache_items[client->key].version, client->rig->text);
    }
}

static void judge(struct client *client, const char *body) {
    int status = atoi(client->rig->text + 9);
    answers++;
    hits += strstr(client->rig->text, "X-Cache: HIT") != NULL;
    stale += strstr(client->rig->text, "X-Cache: STALE") != NULL;
    if (client->kind == CHANGE) {
        assert_int_equal(status, 204);
        changes++;
        return;
    }
    if (status != 200) {
        /* what a failure is asked for by, others may get who wait for it no more: each runs its own handler */
        assert_true(client->may_fail || status == 503);
        assert_false(calm);
        return;
    }
    if (client->kind != HEAD_ITEM) {
        judge_version(client, body);
    }
}

/* Told: by the time that its answer is here, the change was made and purged. */
static void tell(const struct client *client) {
    const char *text = client->kind == CHANGE ? strstr(client->rig->text, "X-Version: ") : NULL;
    unsigned version = text != NULL ? (unsigned)atoi(text + 11) : 0;
    if (version > told[client->key]) {
        told[client->key] = version;
    }
}

static void turn_client(struct client *client) {
    const char *body = client->asking ? whole_answer(client) : NULL;
    if (client->asking && body == NULL) {
        if (client->leave_at_ns != 0 && sim_now(rig.world) >= client->leave_at_ns) {
            rig_drop(&rig, client->rig, below(2) == 0);
            client->asking = false;
            replaced++;
            gone++;
            connect_anew(client);
        }
        return;
    }
    if (client->asking) {
        judge(client, body);
        tell(client);
        client->asking = false;
    }
    if (client->left > 0 && below(8) == 0) {
        ask(client);
    }
}

static bool all_done(void) {
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (clients[i].left > 0 || clients[i].asking) {
            return false;
        }
    }
    return true;
}

static void assert_all_is_back(void) {
    assert_idle();
    assert_nothing_taken(&rig);
    for (unsigned i = 0; i < PLAN_POOLS_COUNT; i++) {
        assert_true(i == PLAN_CONNS || cache_second->pools[i].free_count == cache_second->pools[i].count);
    }
}

/* Each request to a route that caches is counted once, those without an answer left out. */
static void assert_counted(void) {
    uint64_t counted = FIGURE(hits) + FIGURE(stale) + FIGURE(misses) + FIGURE(passed) + FIGURE(refused) - FIGURE(refreshes);
    assert_in_range(counted, answers - changes - gone, answers - changes + gone + FIGURE(refreshes));
    if (calm) {
        assert_int_equal(counted, answers);
    }
}

static void storm(uint64_t seed) {
    struct sim_options options;
    print_message("seed %u\n", (unsigned)seed);
    storm_random = (struct random){ seed };
    calm = seed % 3 == 0;
    sim_options_rough(&options);
    options.turn_ns = 20000; /* quicker: nothing leaps while the second worker polls */
    cache_open_world(&rig, calm ? "--store-bytes 1M" : "--store-bytes 1M --cache-wait 40ms --cache-waiters 5", seed, &options);
    memset(told, 0, sizeof told);
    replaced = answers = changes = gone = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){ .left = REQUESTS };
        connect_anew(&clients[i]);
    }
    for (int ms = 0; !all_done(); ms++) {
        assert_true(ms < RUN_MS_MAX);
        rig_run(&rig, 1);
        for (uint32_t i = 0; i < CLIENTS; i++) {
            turn_client(&clients[i]);
        }
    }
    for (uint32_t i = 0; i < KEYS && calm; i++) {
        assert_int_equal(cache_items[i].runs, 1);
    }
    rig_run(&rig, 2000);
    assert_all_is_back();
    assert_counted();
    cache_close(&rig);
}

static uint64_t only_seed;

static void test_storms(void **state) {
    (void)state;
    if (only_seed != 0) {
        storm(only_seed);
        return;
    }
    hits = stale = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        storm(seed);
    }
    assert_true(hits > 1000);
    assert_true(stale > 100);
    print_message("%u hits, %u stale\n", hits, stale);
}

int main(int argc, char **argv) {
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_storms) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
