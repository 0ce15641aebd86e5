#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/chain.h"
#include "random.h"

enum { BLOCKS = 12 };

static _Alignas(64) char memory[BLOCKS * BLOCK_BYTES];
static struct pool pool;

static int set_up(void **state) {
    (void)state;
    pool_init(&pool, "blocks", memory, BLOCK_BYTES, BLOCKS);
    return 0;
}

/* All bytes of a chain, by chain_iov. */
static size_t flatten(const struct chain *chain, char *out) {
    struct iovec iov[64];
    size_t sum, len = 0;
    uint32_t n = chain_iov(chain, iov, 64, &sum);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_not_equal(iov[i].iov_len, 0);
        memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    assert_int_equal(sum, len);
    assert_int_equal(chain->bytes, len);
    return len;
}

static void check(const struct chain *chain, const char *expected) {
    char text[1024];
    size_t len = flatten(chain, text);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
}

static void append(struct chain *chain, const char *text) {
    assert_true(chain_append(chain, span_text(text)));
}

static void test_reserve(void **state) {
    (void)state;
    struct chain chain;
    chain_init(&chain, &pool);
    char *at = chain_reserve(&chain, 10);
    memcpy(at, "hello", 5);
    chain_commit(&chain, 5);
    assert_ptr_equal(chain_reserve(&chain, BLOCK_ROOM - 5), at + 5);
    char *next = chain_reserve(&chain, BLOCK_ROOM - 4); /* one too many for this block */
    assert_ptr_not_equal(next, at + 5);
    memcpy(next, "world", 5);
    chain_commit(&chain, 5);
    check(&chain, "helloworld");
    chain_reset(&chain);
    assert_int_equal(pool.free_count, BLOCKS);
}

static void test_append_is_all_or_nothing(void **state) {
    (void)state;
    static char big[BLOCKS * BLOCK_ROOM];
    struct chain chain;
    chain_init(&chain, &pool);
    append(&chain, "x");
    assert_false(chain_append(&chain, span_of(big, sizeof big)));
    check(&chain, "x");
    assert_int_equal(pool.free_count, BLOCKS - 1);
    assert_true(chain_append(&chain, span_of(big, sizeof big - 1)));
    assert_int_equal(pool.free_count, 0);
    assert_null(chain_reserve(&chain, 1));
    assert_false(chain_append_foreign(&chain, SPAN("y"), NULL, NULL));
    chain_reset(&chain);
    assert_false(chain_append(&chain, span_of(big, sizeof big + 1)));
    assert_null(chain.head);
    assert_null(chain.tail);
    assert_int_equal(pool.free_count, BLOCKS);
}

static void count(void *arg) {
    ++*(int *)arg;
}

static void test_foreign(void **state) {
    (void)state;
    int released = 0;
    struct chain chain;
    chain_init(&chain, &pool);
    append(&chain, "a");
    assert_true(chain_append_foreign(&chain, SPAN("foreign"), count, &released));
    append(&chain, "b");
    assert_true(chain_append_foreign(&chain, SPAN(""), count, &released));
    check(&chain, "aforeignb");
    chain_consume(&chain, 7);
    assert_int_equal(released, 0);
    check(&chain, "nb");
    chain_consume(&chain, 1);
    assert_int_equal(released, 1);
    chain_consume(&chain, 1);
    assert_int_equal(released, 2); /* the empty one goes with the last byte */
    assert_null(chain.head);
    assert_int_equal(pool.free_count, BLOCKS);
}

static void test_rollback(void **state) {
    (void)state;
    int released = 0;
    struct chain chain;
    chain_init(&chain, &pool);
    struct chain_mark empty = chain_mark(&chain);
    append(&chain, "keep");
    struct chain_mark mark = chain_mark(&chain);
    append(&chain, "drop");
    assert_true(chain_append_foreign(&chain, SPAN("drop"), count, &released));
    append(&chain, "drop");
    chain_rollback(&chain, mark);
    assert_int_equal(released, 1);
    check(&chain, "keep");
    append(&chain, " on");
    check(&chain, "keep on");
    chain_rollback(&chain, empty);
    assert_null(chain.tail);
    assert_int_equal(pool.free_count, BLOCKS);
}

static void test_splice(void **state) {
    (void)state;
    struct chain a, b;
    chain_init(&a, &pool);
    chain_init(&b, &pool);
    chain_splice(&a, &b);
    assert_null(a.head);
    append(&b, "two");
    chain_splice(&a, &b);
    check(&a, "two");
    assert_null(b.head);
    append(&b, "three");
    chain_splice(&a, &b);
    check(&a, "twothree");
    append(&a, "!");
    check(&a, "twothree!");
    chain_reset(&a);
    assert_int_equal(pool.free_count, BLOCKS);
}

/* Foreign tail at the mark, shared block, several blocks, nothing at all. */
static void test_cut(void **state) {
    (void)state;
    struct chain a, b;
    const char *from;
    char *to;
    chain_init(&a, &pool);
    chain_init(&b, &pool);
    append(&a, "old");
    struct chain_mark mark = chain_mark(&a);
    assert_true(chain_cut(&a, mark, &b, &from, &to));
    assert_null(from);
    assert_null(b.head);
    append(&a, "new");
    assert_true(chain_append_foreign(&a, SPAN("er"), NULL, NULL));
    assert_true(chain_cut(&a, mark, &b, &from, &to));
    check(&a, "old");
    check(&b, "newer");
    assert_ptr_equal(from, a.head->room + 3);
    assert_ptr_equal(to, b.head->room);
    append(&a, "est");
    check(&a, "oldest");
    chain_reset(&b);
    assert_true(chain_append_foreign(&a, SPAN("F"), NULL, NULL));
    mark = chain_mark(&a);
    append(&a, "rest");
    assert_true(chain_cut(&a, mark, &b, &from, &to));
    assert_null(from);
    check(&a, "oldestF");
    check(&b, "rest");
    chain_reset(&b);
    chain_reset(&a);
    mark = chain_mark(&a);
    append(&a, "all");
    assert_true(chain_cut(&a, mark, &b, &from, &to));
    assert_null(a.head);
    check(&b, "all");
    chain_reset(&b);
    assert_int_equal(pool.free_count, BLOCKS);
}

static void test_cut_without_blocks(void **state) {
    (void)state;
    struct chain a, b, rest;
    const char *from;
    char *to;
    chain_init(&a, &pool);
    chain_init(&b, &pool);
    chain_init(&rest, &pool);
    append(&a, "old");
    struct chain_mark mark = chain_mark(&a);
    append(&a, "new");
    while (chain_append_foreign(&rest, SPAN("."), NULL, NULL)) {
        ;
    }
    assert_false(chain_cut(&a, mark, &b, &from, &to));
    check(&a, "oldnew");
    assert_null(b.head);
    chain_reset(&a);
    chain_reset(&rest);
}

static void test_iov_limit(void **state) {
    (void)state;
    struct chain chain;
    chain_init(&chain, &pool);
    for (int i = 0; i < 5; i++) {
        assert_true(chain_append_foreign(&chain, SPAN("ab"), NULL, NULL));
    }
    struct iovec iov[3];
    size_t bytes;
    assert_int_equal(chain_iov(&chain, iov, 3, &bytes), 3);
    assert_int_equal(bytes, 6);
    chain_reset(&chain);
    assert_int_equal(chain_iov(&chain, iov, 3, &bytes), 0);
    assert_int_equal(bytes, 0);
}

enum { APPEND_BYTES_MAX = 9000 }; /* a foreign block may hold them all */
_Static_assert((int)APPEND_BYTES_MAX > (int)BLOCK_ROOM, "else a chain may hold more than the model");

/* The plainest model: one buffer. */
struct model {
    char bytes[BLOCKS * APPEND_BYTES_MAX];
    size_t len;
};

static struct model model;
static char flat[sizeof model.bytes];

static void random_append(struct random *random, struct chain *chain, struct span bytes) {
    bool done = false;
    uint32_t how = random_below(random, 3);
    if (how == 0 && bytes.len <= BLOCK_ROOM) {
        char *at = chain_reserve(chain, (uint32_t)bytes.len);
        done = at != NULL;
        if (done) {
            memcpy(at, bytes.data, bytes.len);
            chain_commit(chain, (uint32_t)bytes.len);
        }
    } else if (how == 1) {
        done = chain_append_foreign(chain, bytes, NULL, NULL);
    } else {
        done = chain_append(chain, bytes);
    }
    if (done) {
        memcpy(model.bytes + model.len, bytes.data, bytes.len);
        model.len += bytes.len;
    }
}

static void random_step(struct random *random, struct chain *chain, struct chain *other, struct span source) {
    struct span bytes = span_first(span_from(source, random_below(random, 4096)),
                                   random_below(random, random_below(random, 8) == 0 ? APPEND_BYTES_MAX : 300));
    struct chain_mark mark = chain_mark(chain);
    size_t mark_len = model.len;
    const char *from;
    char *to;
    switch (random_below(random, 6)) {
    case 0:
    case 1: random_append(random, chain, bytes); break;
    case 2: /* away and back */
        random_append(random, chain, bytes);
        random_append(random, chain, bytes);
        if (chain_cut(chain, mark, other, &from, &to)) {
            assert_int_equal(chain->bytes, mark_len);
            chain_splice(chain, other);
        }
        break;
    case 3:
        random_append(random, chain, bytes);
        random_append(random, chain, bytes);
        chain_rollback(chain, mark);
        model.len = mark_len;
        break;
    default: {
        size_t n = random_below(random, (uint32_t)model.len + 1);
        chain_consume(chain, n);
        memmove(model.bytes, model.bytes + n, model.len - n);
        model.len -= n;
    }
    }
}

static void test_random(void **state) {
    (void)state;
    static char source[16384];
    struct random random = random_seeded("chain");
    for (size_t i = 0; i < sizeof source; i++) {
        source[i] = (char)random_next(&random);
    }
    struct chain chain, other;
    chain_init(&chain, &pool);
    chain_init(&other, &pool);
    model.len = 0;
    for (int step = 0; step < 30000; step++) {
        random_step(&random, &chain, &other, span_of(source, sizeof source));
        assert_int_equal(flatten(&chain, flat), model.len);
        assert_memory_equal(flat, model.bytes, model.len);
    }
    chain_reset(&chain);
    assert_int_equal(pool.free_count, BLOCKS);
}

#define ROW(test) cmocka_unit_test_setup(test, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        ROW(test_reserve), ROW(test_append_is_all_or_nothing),
        ROW(test_foreign), ROW(test_rollback),
        ROW(test_splice),  ROW(test_cut),
        ROW(test_random),  ROW(test_cut_without_blocks),
        ROW(test_iov_limit),
    };
    return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}
