/* Questions and answers between threads; getaddrinfo() is ours. */
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/resolver.h"

enum { GIVE_UP_S = 20 };

/* What getaddrinfo() does: waits for the gate, then finds so many addresses, or fails. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
    int addresses, error;
    unsigned calls, back;
} world = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out);
void __wrap_freeaddrinfo(struct addrinfo *info);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    assert_string_equal(name, "db.example");
    assert_string_equal(service, "5433");
    assert_int_equal(hints->ai_socktype, SOCK_STREAM);
    pthread_mutex_lock(&world.lock);
    world.calls++;
    pthread_cond_broadcast(&world.changed);
    while (world.closed) {
        pthread_cond_wait(&world.changed, &world.lock);
    }
    int addresses = world.addresses, error = world.error;
    world.back++;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    *out = NULL;
    while (error == 0 && addresses-- > 0) {
        struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
        assert_non_null(info);
        struct sockaddr_in *address = (struct sockaddr_in *)(void *)(info + 1);
        *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)(addresses + 1)) };
        info->ai_addr = (struct sockaddr *)(void *)address;
        info->ai_addrlen = sizeof *address;
        info->ai_next = *out;
        *out = info;
    }
    return error;
}

void __wrap_freeaddrinfo(struct addrinfo *info) {
    for (struct addrinfo *next; info != NULL; info = next) {
        next = info->ai_next;
        free(info);
    }
}

static void set_world(bool closed, int addresses, int error) {
    pthread_mutex_lock(&world.lock);
    world.closed = closed;
    world.addresses = addresses;
    world.error = error;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void reset_world(bool closed, int addresses, int error) {
    set_world(closed, addresses, error);
    world.calls = world.back = 0;
}

static void await(const unsigned *count, unsigned wanted) {
    pthread_mutex_lock(&world.lock);
    while (*count < wanted) {
        pthread_cond_wait(&world.changed, &world.lock);
    }
    pthread_mutex_unlock(&world.lock);
}

/* ---------------------------------------------------------------------------------------------------------- rig ---- */

static struct pg_settings settings;

static struct resolver *start(void) {
    pg_settings_default(&settings);
    strcpy(settings.host, "db.example");
    settings.port = 5433;
    struct resolver *resolver = resolver_start(&settings);
    assert_non_null(resolver);
    return resolver;
}

static struct ring *open_ring(void) {
    struct ring_config config = { .choice = ring_has_backend(RING_EPOLL) ? RING_EPOLL : RING_URING, .sockets_max = 4 };
    struct ring *ring = NULL;
    struct ring_report report;
    ring_tuning_default(&config.tuning);
    if (ring_open(&config, &ring, &report) != 0) {
        fail_msg("%s", report.why);
    }
    return ring;
}

static void await_answer(struct resolver *resolver, struct ring *ring, struct resolver_ask *ask) {
    uint64_t give_up = ring_now(ring) + GIVE_UP_S * UINT64_C(1000000000);
    while (!resolver_answered(resolver, ask)) {
        struct ring_event event;
        assert_int_equal(ring_wait(ring, give_up), 0);
        assert_true(ring_now(ring) < give_up);
        while (ring_next(ring, &event)) {
            assert_int_equal(event.type, RING_WOKEN);
        }
    }
}

static uint16_t port_of(const struct resolved *resolved, uint32_t i) {
    return ntohs(((const struct sockaddr_in *)(const void *)&resolved->addresses[i].storage)->sin_port);
}

/* -------------------------------------------------------------------------------------------------------- tests ---- */

static void each_question_is_answered_anew(void **state) {
    (void)state;
    struct resolver *resolver = start();
    struct ring *ring = open_ring();
    for (int i = 0; i < 50; i++) {
        struct resolver_ask ask;
        struct resolved out;
        reset_world(false, i % (RESOLVED_MAX + 2), i % 5 == 4 ? EAI_NONAME : 0);
        resolver_ask(resolver, &ask, ring, &out);
        await_answer(resolver, ring, &ask);
        assert_int_equal(world.calls, 1);
        uint32_t wanted = i % 5 == 4 ? 0 : (uint32_t)(i % (RESOLVED_MAX + 2));
        assert_int_equal(out.count, wanted < RESOLVED_MAX ? wanted : RESOLVED_MAX);
        for (uint32_t k = 0; k < out.count; k++) {
            assert_int_equal(port_of(&out, k), k + 1);
        }
        assert_int_equal(strncmp(out.why, "cannot look up 'db.example': ", 29) == 0, i % 5 == 4);
    }
    resolver_stop(resolver);
    ring_release(ring);
}

/* A name server that is slow is not asked by each of them. */
static void many_have_one_answer(void **state) {
    (void)state;
    enum { ASKS = 40 };
    static struct resolver_ask asks[ASKS];
    static struct resolved out[ASKS];
    struct resolver *resolver = start();
    struct ring *rings[2] = { open_ring(), open_ring() };
    reset_world(true, 3, 0);
    for (int i = 0; i < ASKS; i++) {
        resolver_ask(resolver, &asks[i], rings[i % 2], &out[i]);
    }
    await(&world.calls, 1);
    for (int i = 0; i < ASKS; i++) {
        assert_false(resolver_answered(resolver, &asks[i]));
    }
    set_world(false, 3, 0);
    for (int i = 0; i < ASKS; i++) {
        await_answer(resolver, rings[i % 2], &asks[i]);
        assert_int_equal(out[i].count, 3);
    }
    assert_int_equal(world.calls, 1);
    resolver_stop(resolver);
    ring_release(rings[0]);
    ring_release(rings[1]);
}

/* What was asked by somebody who has left is his own again at once, his ring, too. */
static void who_leaves_is_not_answered(void **state) {
    (void)state;
    struct resolver *resolver = start();
    struct ring *ring = open_ring(), *other = open_ring();
    struct resolver_ask *left = calloc(1, sizeof *left), stays;
    struct resolved *gone = calloc(1, sizeof *gone), out;
    reset_world(true, 1, 0);
    resolver_ask(resolver, left, ring, gone);
    resolver_ask(resolver, &stays, other, &out);
    await(&world.calls, 1);
    resolver_leave(resolver, left);
    ring_release(ring);
    free(left);
    free(gone);
    set_world(false, 1, 0);
    await_answer(resolver, other, &stays);
    assert_int_equal(out.count, 1);
    resolver_leave(resolver, &stays); /* nothing happens */
    resolver_stop(resolver);
    ring_release(other);
}

static void the_end_waits_for_no_lookup(void **state) {
    (void)state;
    struct resolver *resolver = start();
    struct ring *ring = open_ring();
    struct resolver_ask ask;
    struct resolved out = { .count = 77 };
    reset_world(true, 1, 0);
    resolver_ask(resolver, &ask, ring, &out);
    await(&world.calls, 1);
    resolver_leave(resolver, &ask);
    ring_release(ring);
    resolver_stop(resolver);
    assert_int_equal(world.back, 0);
    assert_int_equal(out.count, 77);
    set_world(false, 1, 0); /* it ends by itself */
    await(&world.back, 1);
    resolver_stop(NULL);
}

static void nobody_ever_asks(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        resolver_stop(start());
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_question_is_answered_anew),
        cmocka_unit_test(many_have_one_answer),
        cmocka_unit_test(who_leaves_is_not_answered),
        cmocka_unit_test(the_end_waits_for_no_lookup),
        cmocka_unit_test(nobody_ever_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
