/* The hashing of authentication: vectors, SASLprep, and keys that are derived once, whoever asks. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pg/pg_crypto.h"
#include "rows.h"

static struct pg_auth_job make_job(const char *user, const char *password, const char *salt, uint32_t iterations,
                                   const char *message) {
    struct pg_auth_job job = { .kind = PG_JOB_SCRAM, .user = user, .password = password, .iterations = iterations };
    int salt_len = pg_base64_decode(span_text(salt), job.salt, sizeof job.salt);
    assert_true(salt_len > 0);
    job.salt_len = (uint32_t)salt_len;
    job.message_len = (uint32_t)strlen(message);
    memcpy(job.message, message, job.message_len);
    return job;
}

static void check_base64(const uint8_t *bytes, const char *expected) {
    char text[64];
    pg_base64_encode(bytes, PG_SHA256_BYTES, text);
    assert_string_equal(text, expected);
}

/* ---------------------------------------------------------------------------------------------------------- SCRAM ---- */

struct scram_row {
    const char *name, *user, *password, *salt;
    uint32_t iterations;
    const char *message, *proof, *signature;
};

#define NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="

static const struct scram_row scram_rows[] = {
    { "RFC 7677 section 3", "user", "pencil", SALT, 4096,
      "n=user,r=rOprNGfwEbeRWgbNEkqO,r=" NONCE ",s=" SALT ",i=4096,c=biws,r=" NONCE,
      "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
    { "with the empty user of libpq", "user", "pencil", SALT, 4096,
      "n=,r=rOprNGfwEbeRWgbNEkqO,r=" NONCE ",s=" SALT ",i=4096,c=biws,r=" NONCE,
      "qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=", "3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=" },
};

static void test_scram(void **state) {
    const struct scram_row *row = *state;
    pg_crypto_reset();
    for (int cached = 0; cached < 2; cached++) {
        struct pg_auth_job job = make_job(row->user, row->password, row->salt, row->iterations, row->message);
        job.failed = true;
        pg_crypto_run(&job);
        assert_false(job.failed);
        check_base64(job.proof, row->proof);
        check_base64(job.signature, row->signature);
    }
}

/* A whole exchange by pg_auth: what it signs, and that it takes the server's signature. */
static void test_exchange(void **state) {
    (void)state;
    static char memory[4 * BLOCK_BYTES] __attribute__((aligned(64)));
    struct pool pool;
    struct chain out;
    struct pg_settings settings;
    struct pg_auth auth;
    const char *why = "";
    pool_init(&pool, "blocks", memory, BLOCK_BYTES, 4);
    chain_init(&out, &pool);
    pg_settings_default(&settings);
    strcpy(settings.user, "user");
    strcpy(settings.password, "pencil");
    settings.has_password = true;
    pg_auth_init(&auth, &settings, (const uint8_t[PG_NONCE_RANDOM_BYTES]){ 0 });
    strcpy(auth.nonce, "rOprNGfwEbeRWgbNEkqO"); /* the one of the vector */
    struct pg_authentication sasl = { PG_AUTH_SASL, SPAN("SCRAM-SHA-256\0\0") };
    struct pg_authentication first = { PG_AUTH_SASL_CONTINUE, SPAN("r=" NONCE ",s=" SALT ",i=4096") };
    struct pg_authentication final = { PG_AUTH_SASL_FINAL, SPAN("v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=") };
    struct pg_authentication ok = { PG_AUTH_OK, SPAN("") };
    assert_int_equal(pg_auth_message(&auth, &sasl, &out, &why), PG_AUTH_MORE);
    assert_int_equal(pg_auth_message(&auth, &first, &out, &why), PG_AUTH_JOB);
    pg_crypto_run(&auth.job);
    chain_consume(&out, out.bytes);
    assert_int_equal(pg_auth_job_done(&auth, &out, &why), PG_AUTH_MORE);
    static const char expected[] = "c=biws,r=" NONCE ",p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=";
    assert_int_equal(out.bytes, 5 + sizeof expected - 1);
    assert_memory_equal(out.head->data + out.head->start + 5, expected, sizeof expected - 1);
    assert_int_equal(pg_auth_message(&auth, &final, &out, &why), PG_AUTH_MORE);
    assert_int_equal(pg_auth_message(&auth, &ok, &out, &why), PG_AUTH_PASSED);
    chain_reset(&out);
}

/* ------------------------------------------------------------------------------------------------------------ md5 ---- */

struct md5_row {
    const char *name, *user, *password;
    uint8_t salt[4];
    const char *expected;
};

static const struct md5_row md5_rows[] = {
    { "bench", "bench", "bench", { 1, 2, 3, 4 }, "md593ee4a3c08b5146fb2be874219a8415e" },
    { "postgres", "postgres", "secret", { 0xde, 0xad, 0xbe, 0xef }, "md5c546d0bbed2af888b328536b45c76348" },
    { "user", "user", "pencil", { 0, 0, 0, 0 }, "md5caf3ec479b79db76b0266a7dabb63091" },
};

static void test_md5(void **state) {
    const struct md5_row *row = *state;
    struct pg_auth_job job = { .kind = PG_JOB_MD5, .user = row->user, .password = row->password, .salt_len = 4, .failed = true };
    memcpy(job.salt, row->salt, 4);
    pg_crypto_run(&job);
    assert_false(job.failed);
    assert_string_equal(job.md5, row->expected);
}

/* -------------------------------------------------------------------------------------------------------- SASLprep ---- */

struct prepare_row {
    const char *name; /* RFC 4013 §3, and what PostgreSQL does with what is prohibited */
    const char *in, *out;
};

static const struct prepare_row prepare_rows[] = {
    { "soft hyphen is mapped to nothing", "I\xc2\xadX", "IX" },
    { "ASCII stays", "user", "user" },
    { "case stays", "USER", "USER" },
    { "compatibility: feminine ordinal", "\xc2\xaa", "a" },
    { "compatibility: roman nine", "\xe2\x85\xa8", "IX" },
    { "a control character is prohibited", "\x07", "\x07" },
    { "also beside what would change", "\xc2\xaa\x07", "\xc2\xaa\x07" },
    { "two directions", "\xd8\xa7" "1", "\xd8\xa7" "1" },
    { "a blank of another kind", "a\xc2\xa0" "b", "a b" },
    { "decomposed is composed", "e\xcc\x81", "\xc3\xa9" },
    { "nothing is left", "\xc2\xad", "\xc2\xad" },
    { "not assigned in Unicode 3.2", "\xe2\x85\xa8\xf0\x9f\x98\x80", "\xe2\x85\xa8\xf0\x9f\x98\x80" },
    { "no UTF-8: Latin-1", "caf\xe9", "caf\xe9" },
    { "no UTF-8: cut off", "\xe2\x85\xa8\xe2\x85", "\xe2\x85\xa8\xe2\x85" },
    { "no UTF-8: overlong", "\xe2\x85\xa8\xc0\xaf", "\xe2\x85\xa8\xc0\xaf" },
    { "no UTF-8: a surrogate", "\xe2\x85\xa8\xed\xa0\x80", "\xe2\x85\xa8\xed\xa0\x80" },
    { "no UTF-8: beyond U+10FFFF", "\xe2\x85\xa8\xf4\x90\x80\x80", "\xe2\x85\xa8\xf4\x90\x80\x80" },
    { "nothing", "", "" },
};

static void test_prepare(void **state) {
    const struct prepare_row *row = *state;
    char out[64];
    int len = pg_crypto_prepare(row->in, out, sizeof out);
    assert_int_equal(len, (int)strlen(row->out));
    assert_memory_equal(out, row->out, (size_t)len);
    if (len > 0) {
        assert_int_equal(pg_crypto_prepare(row->in, out, (uint32_t)len), len);
        assert_int_equal(pg_crypto_prepare(row->in, out, (uint32_t)len - 1), -1);
    }
}

/* The longest password of the characters that grow most is not too long to be hashed. */
static void test_growth(void **state) {
    (void)state;
    char password[PG_SETTING_BYTES] = "";
    for (int i = 0; i < 85; i++) {
        strcat(password, "\xef\xb7\xba"); /* U+FDFA */
    }
    struct pg_auth_job job = make_job("u", password, SALT, 1, "m");
    pg_crypto_run(&job);
    assert_false(job.failed);
}

/* The password is prepared before it is hashed. */
static void test_prepared_keys(void **state) {
    (void)state;
    struct pg_auth_job a = make_job("u", "\xe2\x85\xa8", SALT, 2, "m"), b = make_job("u", "IX", SALT, 2, "m");
    pg_crypto_run(&a);
    pg_crypto_run(&b);
    assert_memory_equal(a.proof, b.proof, sizeof a.proof);
}

/* ------------------------------------------------------------------------------------------------------------ keys ---- */

static uint64_t derived_by(struct pg_auth_job *job) {
    uint64_t before = pg_crypto_derivations();
    pg_crypto_run(job);
    assert_false(job->failed);
    return pg_crypto_derivations() - before;
}

/* Each of the four makes keys of their own. */
static void test_once(void **state) {
    (void)state;
    static const struct {
        const char *user, *password, *salt;
        uint32_t iterations;
    } rows[] = {
        { "u", "p", "AQID", 2 }, { "v", "p", "AQID", 2 }, { "u", "q", "AQID", 2 },
        { "u", "p", "AQIE", 2 }, { "u", "p", "AQIDBA==", 2 }, { "u", "p", "AQID", 3 }, { "up", "", "AQID", 2 },
    };
    enum { COUNT = sizeof rows / sizeof *rows };
    struct pg_auth_job first[COUNT];
    pg_crypto_reset();
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < COUNT; i++) {
            struct pg_auth_job job = make_job(rows[i].user, rows[i].password, rows[i].salt, rows[i].iterations, "m");
            assert_int_equal(derived_by(&job), again == 0 ? 1 : 0);
            if (again == 0) {
                first[i] = job;
            }
            assert_memory_equal(job.proof, first[i].proof, sizeof job.proof);
        }
    }
    pg_crypto_reset();
    struct pg_auth_job job = make_job("u", "p", "AQID", 2, "m");
    assert_int_equal(derived_by(&job), 1);
}

/* One more than fit: the oldest goes, the others stay. */
static void test_oldest_goes(void **state) {
    (void)state;
    pg_crypto_reset();
    for (uint32_t i = 1; i <= PG_CRYPTO_KEYS_MAX + 1; i++) {
        struct pg_auth_job job = make_job("u", "p", "AQID", i, "m");
        assert_int_equal(derived_by(&job), 1);
    }
    for (uint32_t i = 2; i <= PG_CRYPTO_KEYS_MAX + 1; i++) {
        struct pg_auth_job job = make_job("u", "p", "AQID", i, "m");
        assert_int_equal(derived_by(&job), 0);
    }
    struct pg_auth_job job = make_job("u", "p", "AQID", 1, "m");
    assert_int_equal(derived_by(&job), 1);
}

enum { THREADS = 8 };

static void *run_one(void *arg) {
    pg_crypto_run(arg);
    return NULL;
}

/* Connections that begin at the same time cost one derivation. */
static void test_threads(void **state) {
    (void)state;
    for (int round = 0; round < 10; round++) {
        pthread_t threads[THREADS];
        static struct pg_auth_job jobs[THREADS];
        pg_crypto_reset();
        uint64_t before = pg_crypto_derivations();
        for (int i = 0; i < THREADS; i++) {
            jobs[i] = make_job("user", "pencil", SALT, 4096, "m");
            assert_int_equal(pthread_create(&threads[i], NULL, run_one, &jobs[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_false(jobs[i].failed);
            assert_memory_equal(jobs[i].proof, jobs[0].proof, sizeof jobs[i].proof);
        }
        assert_int_equal(pg_crypto_derivations() - before, 1);
    }
}

/* Until the thread has worked for 10 ms: it is deriving, then. False when it has ended meanwhile. */
static bool wait_for_work(pthread_t thread) {
    clockid_t clock;
    struct timespec used = { 0, 0 };
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    while (used.tv_sec == 0 && used.tv_nsec < 10000000) {
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        if (clock_gettime(clock, &used) != 0) {
            return false;
        }
    }
    return true;
}

/* False when all were forgotten too late. */
static bool forget_meanwhile(struct pg_auth_job *job) {
    pthread_t thread;
    pg_crypto_reset();
    uint64_t before = pg_crypto_derivations();
    *job = make_job("user", "pencil", SALT, PG_SCRAM_ITERATIONS_MAX, "m");
    assert_int_equal(pthread_create(&thread, NULL, run_one, job), 0);
    bool meanwhile = wait_for_work(thread);
    pg_crypto_reset();
    pthread_join(thread, NULL);
    assert_false(job->failed);
    assert_int_equal(pg_crypto_derivations() - before, 1);
    return meanwhile;
}

/* What is derived while all are forgotten is right, and is forgotten as well. */
static void test_forgotten_meanwhile(void **state) {
    (void)state;
    static struct pg_auth_job job;
    for (int tries = 1; !forget_meanwhile(&job); tries++) {
        assert_true(tries < 20);
    }
    assert_int_equal(derived_by(&job), 1);
    assert_int_equal(derived_by(&job), 0);
}

struct mixed {
    struct pg_auth_job job;
    uint32_t seed;
};

static void *run_many(void *arg) {
    struct mixed *mixed = arg;
    for (uint32_t i = 0; i < 300; i++) {
        mixed->seed = mixed->seed * 1664525 + 1013904223;
        mixed->job.iterations = 1 + (mixed->seed >> 16) % (PG_CRYPTO_KEYS_MAX + 16);
        pg_crypto_run(&mixed->job);
        if (mixed->job.failed) {
            return arg;
        }
        if (i % 64 == 0) {
            pg_crypto_reset();
        }
    }
    return NULL;
}

/* More names than places, and somebody who forgets them all the while: nobody gets keys of another. */
static void test_mixed_threads(void **state) {
    (void)state;
    static struct mixed mixed[THREADS];
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        mixed[i] = (struct mixed){ make_job("user", "pencil", SALT, 1, "m"), i };
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &mixed[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    pg_crypto_reset();
    for (int i = 0; i < THREADS; i++) {
        struct pg_auth_job alone = make_job("user", "pencil", SALT, mixed[i].job.iterations, "m");
        pg_crypto_run(&alone);
        assert_memory_equal(alone.proof, mixed[i].job.proof, sizeof alone.proof);
    }
}

int main(void) {
    static struct rows all;
    ROWS_ADD(&all, test_scram, scram_rows);
    ROWS_ADD(&all, test_md5, md5_rows);
    ROWS_ADD(&all, test_prepare, prepare_rows);
    ROWS_TEST(&all, test_exchange);
    ROWS_TEST(&all, test_growth);
    ROWS_TEST(&all, test_prepared_keys);
    ROWS_TEST(&all, test_once);
    ROWS_TEST(&all, test_oldest_goes);
    ROWS_TEST(&all, test_threads);
    ROWS_TEST(&all, test_mixed_threads);
    ROWS_TEST(&all, test_forgotten_meanwhile);
    return rows_run("pg_crypto", &all);
}
