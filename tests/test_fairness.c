/* One client that floods does not keep the others waiting: a turn runs a bounded number of its requests. */
#include "server_rig.h"

static struct rig rig;

enum { FLOOD = 1000, ALLOWANCE = 64 };

static struct {
    uint32_t turn, in_turn;   /* of requests for /flood in one turn */
    uint32_t in_turn_max, all;
    uint32_t all_before_polite; /* requests for /flood that ran before the one for /polite */
    uint32_t first_turn, last_turn;
    uint32_t behind_polite; /* requests for /flood in the turn behind the one of /polite */
    uint32_t polite_turn;
} seen;

static enum rm_step flood(struct rm_exchange *x) {
    if (seen.turn != rig.worker->turn) {
        seen.turn = rig.worker->turn;
        seen.in_turn = 0;
    }
    seen.in_turn++;
    if (seen.polite_turn != 0 && rig.worker->turn == seen.polite_turn + 1) {
        seen.behind_polite++;
    }
    seen.all++;
    seen.in_turn_max = seen.in_turn > seen.in_turn_max ? seen.in_turn : seen.in_turn_max;
    return rm_text(x, 200, "flood");
}

static enum rm_step polite(struct rm_exchange *x) {
    seen.all_before_polite = seen.all;
    seen.polite_turn = rig.worker->turn;
    return rm_text(x, 200, "polite");
}

static enum rm_step mark(struct rm_exchange *x) {
    seen.first_turn = seen.first_turn == 0 ? rig.worker->turn : seen.first_turn;
    seen.last_turn = rig.worker->turn;
    return rm_text(x, 200, "mark");
}

static const struct rm_route routes[] = {
    { "GET", "/flood", flood, RM_BODY_NONE, NULL },
    { "GET", "/polite", polite, RM_BODY_NONE, NULL },
    { "GET", "/mark", mark, RM_BODY_NONE, NULL },
    { 0 },
};
static const struct rm_app app = { .name = "test", .routes = routes };

static int open_rig(void **state) {
    (void)state;
    memset(&seen, 0, sizeof seen);
    rig_open(&rig, &app, "");
    return 0;
}

static int close_rig(void **state) {
    (void)state;
    rig_close(&rig);
    return 0;
}

static void send_times(struct rig_client *client, const char *request, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        rig_send(&rig, client, request);
    }
}

static void test_a_turn_is_bounded(void **state) {
    (void)state;
    struct rig_client *greedy = rig_connect(&rig), *other = rig_connect(&rig);
    send_times(greedy, GET("/flood"), FLOOD);
    rig_send(&rig, other, GET("/polite"));
    rig_run(&rig, 1000);
    assert_int_equal(count_of(greedy->text, "200 OK"), FLOOD);
    assert_int_equal(count_of(other->text, "200 OK"), 1);
    assert_int_equal(seen.all, FLOOD);
    assert_int_equal(seen.in_turn_max, ALLOWANCE);
    assert_in_range(seen.all_before_polite, 0, 4 * ALLOWANCE);
}

/* While others are served, whoever floods gets less. */
static void test_others_come_first(void **state) {
    (void)state;
    struct rig_client *greedy = rig_connect(&rig), *other = rig_connect(&rig);
    send_times(greedy, GET("/flood"), FLOOD);
    rig_send(&rig, other, GET("/polite"));
    rig_run(&rig, 1000);
    assert_has(other->text, "polite");
    assert_int_equal(count_of(greedy->text, "200 OK"), FLOOD);
    assert_in_range(seen.behind_polite, 1, ALLOWANCE / CONN_GREEDY_PART);
}

/* Requests that no handler sees cost a turn as well. */
static void test_errors_count(void **state) {
    (void)state;
    struct rig_client *greedy = rig_connect(&rig);
    rig_send(&rig, greedy, GET("/mark"));
    send_times(greedy, GET("/nothing"), FLOOD);
    rig_send(&rig, greedy, GET("/mark"));
    rig_run(&rig, 1000);
    assert_int_equal(count_of(greedy->text, "404 Not Found"), FLOOD);
    assert_int_equal(count_of(greedy->text, "mark"), 2);
    assert_in_range(seen.last_turn - seen.first_turn, FLOOD / ALLOWANCE, FLOOD);
}

/* One that has stopped flooding gets its input as it comes again. */
static void test_greed_passes(void **state) {
    (void)state;
    struct rig_client *greedy = rig_connect(&rig);
    send_times(greedy, GET("/flood"), FLOOD);
    rig_run(&rig, 1000);
    struct conn_state *conn = LIST_OWNER(rig.worker->open.next, struct conn_state, open);
    assert_false(conn->full);
    rig_send(&rig, greedy, GET("/flood"));
    rig_run(&rig, 100);
    assert_int_equal(count_of(greedy->text, "200 OK"), FLOOD + 1);
    assert_false(conn->greedy);
    assert_false(conn->stream.metered);
}

/* A connection that dies while it waits for its next turn takes nothing with it. */
static void test_death_between_turns(void **state) {
    (void)state;
    struct rig_client *greedy = rig_connect(&rig), *other = rig_connect(&rig);
    send_times(greedy, GET("/flood"), FLOOD);
    rig_drop(&rig, greedy, true);
    rig_run(&rig, 1000);
    rig_send(&rig, other, GET("/polite"));
    rig_run(&rig, 100);
    assert_has(other->text, "polite");
    assert_true(list_empty(&rig.worker->again));
    assert_int_equal(rig.worker->pools[PLAN_CARRIES].free_count, rig.worker->pools[PLAN_CARRIES].count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_turn_is_bounded, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(test_others_come_first, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(test_errors_count, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(test_greed_passes, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(test_death_between_turns, open_rig, close_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
