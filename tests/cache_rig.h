/* What the tests of the cache have in common. */
#ifndef TESTS_CACHE_RIG_H
#define TESTS_CACHE_RIG_H

#include "cache_app.h"
#include "rows.h"

static struct rig rig;

static inline int set_up(void **state) {
    (void)state;
    cache_open(&rig, "--cache-waiters 8 --cache-wait 2s --store-bytes 4M");
    return 0;
}

static inline uint64_t both(size_t offset) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 2; i++) {
        sum += *(const uint64_t *)(const void *)((const char *)&rig.server.workers[i].figures.cached + offset);
    }
    return sum;
}
#define FIGURE(name) both(offsetof(struct cache_figures, name))

static inline void assert_idle(void) {
    struct flights_figures flights;
    flights_figures(rig.server.flights, &flights);
    assert_int_equal(flights.running, 0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(rig.server.workers[i].cache.waiters, 0);
        assert_true(list_empty(&rig.server.workers[i].cache.waiting));
    }
}

static inline int tear_down(void **state) {
    (void)state;
    cache_in_handler = NULL;
    rig_run(&rig, 10000);
    if (!rig.worker_gone) {
        assert_nothing_taken(&rig);
        assert_idle();
    }
    cache_close(&rig);
    return 0;
}

static inline const char *get(const char *target) {
    return cache_get(&rig, 0, target);
}

/* A GET that is under way. */
static inline struct rig_client *start(uint32_t place, const char *target) {
    char text[1024];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    struct rig_client *client = rig_connect_to(&rig, place);
    rig_send(&rig, client, text);
    rig_run(&rig, 2);
    return client;
}

static inline const char *post(const char *target) {
    char text[1024];
    snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", target);
    struct rig_client *client = rig_connect_to(&rig, 1); /* by the other worker */
    rig_send(&rig, client, text);
    rig_run(&rig, 5);
    assert_has(client->text, "HTTP/1.1 204 ");
    return client->text;
}

static inline void assert_answer(const char *text, const char *cache, const char *body) {
    char end[256];
    assert_has(text, "HTTP/1.1 200 OK\r\n");
    snprintf(end, sizeof end, "X-Cache: %s\r\n", cache);
    if (*cache != '\0') {
        assert_has(text, end);
    } else {
        assert_null(strstr(text, "X-Cache"));
    }
    snprintf(end, sizeof end, "\r\n\r\n%s", body);
    assert_has(text, end);
}

#endif
