/* The keyed hash against values of another implementation: CPython 3.11, whose hash() of bytes is SipHash-1-3. The keys are those
 * that it makes of PYTHONHASHSEED 0, 1 and 4242; byte i of a message of n bytes is 7 i + n. */
#include "guard.h"
#include "mem/hash.h"
#include "random.h"
#include "rows.h"

enum { BYTES_MAX = 1024 };

struct row {
    const char *name;
    uint64_t key[2];
    uint32_t len;
    uint64_t hash;
};

static const struct row rows[] = {
    { "seed_0_len_1", { 0x0000000000000000u, 0x0000000000000000u }, 1, 0x44bc103b1f8540edu },
    { "seed_0_len_7", { 0x0000000000000000u, 0x0000000000000000u }, 7, 0x9fff4ac9ef420232u },
    { "seed_0_len_8", { 0x0000000000000000u, 0x0000000000000000u }, 8, 0xcaf590d4e8867659u },
    { "seed_0_len_9", { 0x0000000000000000u, 0x0000000000000000u }, 9, 0xdbc958e03a783083u },
    { "seed_0_len_15", { 0x0000000000000000u, 0x0000000000000000u }, 15, 0xade679b8aedd64c4u },
    { "seed_0_len_16", { 0x0000000000000000u, 0x0000000000000000u }, 16, 0xd16eb79de4d128d0u },
    { "seed_0_len_63", { 0x0000000000000000u, 0x0000000000000000u }, 63, 0x1bc1438de96eb7e0u },
    { "seed_0_len_64", { 0x0000000000000000u, 0x0000000000000000u }, 64, 0x5567a64c7eaaba34u },
    { "seed_0_len_1024", { 0x0000000000000000u, 0x0000000000000000u }, 1024, 0xd196bdc4d2eaa78du },
    { "seed_1_len_1", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 1, 0xc1147c52c3233753u },
    { "seed_1_len_7", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 7, 0x06d57fe30100f7b7u },
    { "seed_1_len_15", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 15, 0x875d8ad6734392d9u },
    { "seed_1_len_16", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 16, 0x0c4987b29aa63949u },
    { "seed_1_len_63", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 63, 0x2e854f9a43132836u },
    { "seed_1_len_64", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 64, 0x4ca303fd057d5a46u },
    { "seed_1_len_1024", { 0xaed66ce184be2329u, 0xebe9bbf1f1499052u }, 1024, 0x15bfbb893332b0f9u },
    { "seed_4242_len_1", { 0x41f6394f25dd9b43u, 0xc64ae48da2032d08u }, 1, 0x8557e56da2303f86u },
    { "seed_4242_len_15", { 0x41f6394f25dd9b43u, 0xc64ae48da2032d08u }, 15, 0x714e7bb6974ecf2eu },
    { "seed_4242_len_16", { 0x41f6394f25dd9b43u, 0xc64ae48da2032d08u }, 16, 0x60d5b59801b19289u },
    { "seed_4242_len_63", { 0x41f6394f25dd9b43u, 0xc64ae48da2032d08u }, 63, 0xf794a7226d1b2c8bu },
    { "seed_4242_len_64", { 0x41f6394f25dd9b43u, 0xc64ae48da2032d08u }, 64, 0xbf4865a42eb47fe7u },
    { "seed_4242_len_1024", { 0x41f6394f25dd9b43u, 0xc64ae48da2032d08u }, 1024, 0x0dc5a039dc86cc1cu },
    { "published_empty", { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u }, 0, 0xabac0158050fc4dcu },
};

static struct guard guard;

static struct span message(uint32_t len) {
    char bytes[BYTES_MAX];
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = (char)(7 * i + len);
    }
    return span_of(guard_copy(&guard, bytes, len), len);
}

/* Whole, at every cut, and byte by byte. */
static void test_row(void **state) {
    const struct row *row = *state;
    struct span bytes = message(row->len);
    struct hash hash;
    assert_int_equal(hash_keyed(row->key, bytes), row->hash);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        hash_begin(&hash, row->key);
        hash_add(&hash, span_first(bytes, cut));
        hash_add(&hash, span_from(bytes, cut));
        assert_int_equal(hash_end(&hash), row->hash);
    }
    hash_begin(&hash, row->key);
    for (size_t i = 0; i < bytes.len; i++) {
        hash_add(&hash, span_of(bytes.data + i, 1));
    }
    assert_int_equal(hash_end(&hash), row->hash);
}

static void test_empty_span(void **state) {
    (void)state;
    const uint64_t key[2] = { 1, 2 };
    struct hash hash;
    hash_begin(&hash, key);
    hash_add(&hash, span_of(NULL, 0));
    assert_int_equal(hash_end(&hash), hash_keyed(key, span_of(NULL, 0)));
}

static void test_pieces(void **state) {
    (void)state;
    struct random random = random_seeded("hash");
    for (int round = 0; round < 2000; round++) {
        const uint64_t key[2] = { random_next(&random), random_next(&random) };
        struct span bytes = message(random_below(&random, 200)), rest = bytes;
        struct hash hash;
        hash_begin(&hash, key);
        while (rest.len > 0) {
            size_t piece = random_below(&random, 20);
            hash_add(&hash, span_first(rest, piece));
            rest = span_from(rest, piece);
        }
        assert_int_equal(hash_end(&hash), hash_keyed(key, bytes));
    }
}

/* One bit of message or key changes about half of the result's bits: at least 8 of 64 here, where fewer would be one chance
 * in 10^10. */
static void test_each_bit_counts(void **state) {
    (void)state;
    char text[] = "/crud/items/4711?page=2";
    uint64_t key[2] = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };
    struct span bytes = { text, sizeof text - 1 };
    uint64_t plain = hash_keyed(key, bytes);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        assert_true(__builtin_popcountll(hash_keyed(key, bytes) ^ plain) >= 8);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t bit = 0; bit < 128; bit++) {
        key[bit / 64] ^= UINT64_C(1) << bit % 64;
        assert_true(__builtin_popcountll(hash_keyed(key, bytes) ^ plain) >= 8);
        key[bit / 64] ^= UINT64_C(1) << bit % 64;
    }
}

int main(void) {
    static struct rows tests;
    guard = guard_open(BYTES_MAX);
    ROWS_ADD(&tests, test_row, rows);
    ROWS_TEST(&tests, test_empty_span);
    ROWS_TEST(&tests, test_pieces);
    ROWS_TEST(&tests, test_each_bit_counts);
    int failed = rows_run("hash", &tests);
    guard_close(&guard);
    return failed;
}
