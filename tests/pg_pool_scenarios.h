/* Scenarios of a pool against a simulated server: each runs three times, with the network's bytes whole, one by one, and in
 * pieces of seven. One pool at a time: `rig`. */
#ifndef RM_TESTS_PG_POOL_SCENARIOS_H
#define RM_TESTS_PG_POOL_SCENARIOS_H

#include "pg_pool_rig.h"
#include "rows.h"

#define TIMEOUT (1000 * RIG_MS)

#define assert_status(query, expected) \
    assert_string_equal((query)->pending ? "pending" : pg_status_name((query)->q.status), pg_status_name(expected))
#define figure(name) ((int)rig.pool.figures.name)

static struct rig rig;

struct scenario {
    const char *name;
    void (*run)(size_t piece);
};

/* As rig_init. */
static inline void begin(uint32_t connections, uint32_t inflight, size_t piece) {
    rig_init(&rig, connections, inflight, 1);
    rig.piece = piece;
}

/* Everybody is up. `n` queries of these statements run for `ns` at the most: they are known from here on. */
static inline void start_knowing(const enum rig_statement *statements, uint32_t n, uint64_t ns) {
    struct rig_query *queries[8];
    rig_start(&rig);
    rig_run(&rig, 2 * RIG_MS);
    assert_int_equal(rig.pool.figures.up, rig.config.connections);
    for (uint32_t i = 0; i < n; i++) {
        queries[i] = rig_submit(&rig, statements[i], 5 * TIMEOUT);
    }
    rig_run(&rig, ns);
    for (uint32_t i = 0; i < n; i++) {
        assert_false(queries[i]->pending);
    }
}

/* Nothing is left, and nothing has happened that can't be. */
static inline void end(void) {
    rig_release(&rig);
    assert_string_equal(rig.fault, "");
}

static inline struct pg_session *open_session(uint32_t i) {
    pg_pool_open(&rig.pool, &rig.sessions[i], PG_BEGIN, rig.now_ns + 500 * RIG_MS);
    return &rig.sessions[i];
}

static inline void scenario_test(void **state) {
    const struct scenario *scenario = *state;
    for (size_t i = 0; i < 3; i++) {
        scenario->run((size_t[]){ 0, 1, 7 }[i]);
    }
}

#define SCENARIOS_RUN(group, scenarios) scenarios_run(group, scenarios, sizeof(scenarios) / sizeof *(scenarios))

static inline int scenarios_run(const char *group, const struct scenario *scenarios, size_t count) {
    static struct rows rows;
    rows_add_table(&rows, scenario_test, scenarios, sizeof *scenarios, count);
    return rows_run(group, &rows);
}

#endif
