/* A store for tests: opened with few words, filled and looked at in one call, with a clock that stands still. */
#ifndef RM_TESTS_STORE_RIG_H
#define RM_TESTS_STORE_RIG_H

#include <stdio.h>

#include "mem/store_priv.h"
#include "rows.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

enum { STORE_MIB = 1 << 20 };

struct store_rig {
    struct store *store;
    uint64_t now_ns;
    int64_t wall_ms;
    struct store_report report;
};

static inline struct store_config store_rig_config(const char *path) {
    return (struct store_config){
        .path = path,
        .bytes = STORE_MIB,
        .objects = 4096,
        .readers = 2,
        .now_ns = 1000 * SECOND,
        .wall_ms = 1700000000000,
    };
}

static inline void store_rig_open(struct store_rig *rig, const struct store_config *config) {
    *rig = (struct store_rig){ .now_ns = config->now_ns, .wall_ms = config->wall_ms };
    int32_t error = store_open(config, &rig->store, &rig->report);
    if (error != 0) {
        fail_msg("store_open: %d: %s", error, rig->report.why);
    }
}

/* The same hashes in each run. Before the first object. */
static inline void store_rig_fix(struct store_rig *rig) {
    rig->store->key[0] = rig->store->key[1] = 1;
}

static inline void store_rig_close(struct store_rig *rig) {
    store_close(rig->store, rig->now_ns, rig->wall_ms);
    rig->store = NULL;
}

static inline struct store_figures store_rig_figures(const struct store_rig *rig) {
    struct store_figures figures;
    store_figures(rig->store, &figures);
    return figures;
}

/* A fill, written: what store_reserve said. */
static inline enum store_result store_rig_fill(struct store_rig *rig, struct span key, struct span meta, struct span body,
                                               struct store_fill *fill) {
    enum store_result result =
        store_reserve(rig->store, key, store_hash(rig->store, key), (uint32_t)meta.len, (uint32_t)body.len, fill);
    if (result == STORE_OK) {
        assert_true(store_fill_write(rig->store, fill->meta, meta.data, meta.len));
        assert_true(store_fill_write(rig->store, fill->body, body.data, body.len));
    }
    return result;
}

static inline enum store_result store_rig_put_for(struct store_rig *rig, const char *key, struct span body, uint64_t ttl_ns,
                                                  uint64_t grace_ns) {
    struct span name = span_text(key);
    struct store_token token = store_token(rig->store, store_hash(rig->store, name));
    struct store_fill fill;
    enum store_result result = store_rig_fill(rig, name, SPAN("meta"), body, &fill);
    return result != STORE_OK ? result : store_publish(rig->store, &fill, token, ttl_ns, grace_ns, rig->now_ns);
}

static inline enum store_result store_rig_put(struct store_rig *rig, const char *key, struct span body) {
    return store_rig_put_for(rig, key, body, 1000 * SECOND, 0);
}

/* As reader 0, who is online. */
static inline bool store_rig_get(struct store_rig *rig, const char *key, struct store_object *object) {
    struct span name = span_text(key);
    return store_get(rig->store, 0, name, store_hash(rig->store, name), rig->now_ns, object);
}

static inline bool store_rig_confirm(struct store_rig *rig, const char *key, const struct store_object *object) {
    return store_confirm(rig->store, object, span_text(key), rig->now_ns);
}

static inline bool store_rig_has(struct store_rig *rig, const char *key) {
    struct store_object object;
    return store_rig_get(rig, key, &object);
}

static inline uint64_t store_rig_resident(const struct store_rig *rig) {
    uint64_t bytes;
    assert_true(store_count_resident(rig->store, UINT64_MAX, &bytes));
    return bytes;
}

static inline bool store_rig_drop(struct store_rig *rig, const char *key) {
    return store_invalidate(rig->store, span_text(key), store_hash(rig->store, span_text(key)));
}

#endif
