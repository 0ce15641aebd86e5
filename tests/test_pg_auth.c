/* Authentication, message by message: what is sent, what is refused before anything is sent, and every bound of SCRAM. */
#include <stdio.h>

#include "guard.h"
#include "pg/pg_auth.h"
#include "random.h"
#include "rows.h"

#define B(literal) { "" literal, sizeof(literal) - 1 }

#define OURS "AAAAAAAAAAAAAAAAAAAAAAAA" /* the nonce of 18 zero bytes */
#define SASL B("SCRAM-SHA-256\0\0")
#define SERVER_FIRST B("r=" OURS "xyz,s=AQIDBA==,i=4096")
/* The signature that run_job makes up: 0, 1, 2 ... 31. */
#define SIGNATURE "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define CLIENT_FIRST B("p\0\0\0\x36SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=" OURS)
#define CLIENT_FINAL B("p\0\0\0\x57" "c=biws,r=" OURS "xyz,p=ERERERERERERERERERERERERERERERERERERERERERE=")

static char memory[4 * BLOCK_BYTES] __attribute__((aligned(64)));
static struct pool pool;
static struct chain out;
static struct guard guard;
static struct pg_settings settings;
static struct pg_auth auth;
static const char *why;

static void open_auth(unsigned may, const char *password, uint32_t blocks) {
    static const uint8_t zeros[PG_NONCE_RANDOM_BYTES];
    pool_init(&pool, "blocks", memory, BLOCK_BYTES, blocks);
    chain_init(&out, &pool);
    pg_settings_default(&settings);
    strcpy(settings.user, "user");
    strcpy(settings.password, password);
    settings.has_password = *password != '\0';
    settings.may = may;
    memset(&auth, 0xee, sizeof auth);
    pg_auth_init(&auth, &settings, zeros);
    why = NULL;
}

static enum pg_auth_result say(int32_t kind, struct span data) {
    struct pg_authentication message = { kind, span_of(guard_copy(&guard, data.data, data.len), data.len) };
    return pg_auth_message(&auth, &message, &out, &why);
}

static enum pg_auth_result run_job(void) {
    strcpy(auth.job.md5, "md50123456789abcdef0123456789abcdef");
    for (unsigned i = 0; i < PG_SHA256_BYTES; i++) {
        auth.job.signature[i] = (uint8_t)i;
        auth.job.proof[i] = 0x11;
    }
    auth.job.failed = false;
    return pg_auth_job_done(&auth, &out, &why);
}

/* What was written since, compared; and taken out. */
static void check_out(struct span expected) {
    assert_int_equal(out.bytes, expected.len);
    if (expected.len > 0) {
        assert_memory_equal(out.head->data + out.head->start, expected.data, expected.len);
    }
    chain_consume(&out, out.bytes);
}

/* ------------------------------------------------------------------------------------------------------ dialogues ---- */

enum { ALL = PG_MAY_NONE | PG_MAY_PASSWORD | PG_MAY_MD5 | PG_MAY_SCRAM, USUAL = ALL - PG_MAY_PASSWORD, STEPS_MAX = 6, JOB = -1 };

struct step {
    int32_t kind; /* of the server's message; JOB: the job has been run */
    struct span data;
    enum pg_auth_result result;
    struct span sent;
};

struct dialogue {
    const char *name;
    unsigned may;
    const char *password;
    const char *says; /* of the last step, when that fails */
    struct step steps[STEPS_MAX];
};

#define OK_PASSED { PG_AUTH_OK, { "", 0 }, PG_AUTH_PASSED, { "", 0 } }
#define OK_FAILED { PG_AUTH_OK, { "", 0 }, PG_AUTH_FAILED, { "", 0 } }
#define FAILED(kind, data) { kind, data, PG_AUTH_FAILED, { "", 0 } }
#define SASL_STEP { PG_AUTH_SASL, SASL, PG_AUTH_MORE, CLIENT_FIRST }
#define CONTINUE_STEP { PG_AUTH_SASL_CONTINUE, SERVER_FIRST, PG_AUTH_JOB, { "", 0 } }
#define JOB_STEP { JOB, { "", 0 }, PG_AUTH_MORE, CLIENT_FINAL }
#define FINAL_STEP { PG_AUTH_SASL_FINAL, B("v=" SIGNATURE), PG_AUTH_MORE, { "", 0 } }
#define MD5_STEP { PG_AUTH_MD5, B("\1\2\3\4"), PG_AUTH_JOB, { "", 0 } }
#define MD5_JOB_STEP { JOB, { "", 0 }, PG_AUTH_MORE, B("p\0\0\0\x28md50123456789abcdef0123456789abcdef\0") }
#define CLEAR_STEP { PG_AUTH_CLEARTEXT, { "", 0 }, PG_AUTH_MORE, B("p\0\0\0\x0bpencil\0") }
#define NOTHING B("")

static const struct dialogue dialogues[] = {
    { "trust", USUAL, "", NULL, { OK_PASSED } },
    { "cleartext", ALL, "pencil", NULL, { CLEAR_STEP, OK_PASSED } },
    { "md5", USUAL, "pencil", NULL, { MD5_STEP, MD5_JOB_STEP, OK_PASSED } },
    { "SCRAM", USUAL, "pencil", NULL, { SASL_STEP, CONTINUE_STEP, JOB_STEP, FINAL_STEP, OK_PASSED } },
    { "SCRAM only", PG_MAY_SCRAM, "pencil", NULL, { SASL_STEP, CONTINUE_STEP, JOB_STEP, FINAL_STEP, OK_PASSED } },
    { "SCRAM among others", USUAL, "pencil", NULL,
      { { PG_AUTH_SASL, B("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0OAUTHBEARER\0\0"), PG_AUTH_MORE, CLIENT_FIRST } } },

    /* What is not allowed is refused before a byte is sent. */
    { "trust, and SCRAM demanded", PG_MAY_SCRAM, "pencil", "the server asks for no proof", { OK_FAILED } },
    { "cleartext, not by name", USUAL, "pencil", "the server asks for the password in clear text",
      { FAILED(PG_AUTH_CLEARTEXT, NOTHING) } },
    { "cleartext, and SCRAM demanded", PG_MAY_SCRAM, "pencil", "the server asks for the password in clear text",
      { FAILED(PG_AUTH_CLEARTEXT, NOTHING) } },
    { "md5, and SCRAM demanded", PG_MAY_SCRAM, "pencil", "the server asks for md5", { FAILED(PG_AUTH_MD5, B("abcd")) } },
    { "SCRAM, and md5 demanded", PG_MAY_MD5, "pencil", "the server asks for SCRAM", { FAILED(PG_AUTH_SASL, SASL) } },
    { "SCRAM, and none demanded", PG_MAY_NONE, "pencil", "the server asks for SCRAM", { FAILED(PG_AUTH_SASL, SASL) } },
    { "Kerberos", ALL, "pencil", "the server asks for a proof that is not supported", { FAILED(2, NOTHING) } },
    { "GSSAPI", ALL, "pencil", "the server asks for a proof that is not supported", { FAILED(7, NOTHING) } },
    { "GSSAPI goes on", ALL, "pencil", "the server asks for a proof that is not supported", { FAILED(8, B("x")) } },
    { "SSPI", ALL, "pencil", "the server asks for a proof that is not supported", { FAILED(9, NOTHING) } },
    { "99", ALL, "pencil", "the server asks for a proof that is not supported", { FAILED(99, B("xyz")) } },
    { "-1", ALL, "pencil", "the server asks for a proof that is not supported", { FAILED(-2, NOTHING) } },
    { "cleartext without a password", ALL, "", "the server asks for a password, and none", { FAILED(PG_AUTH_CLEARTEXT, NOTHING) } },
    { "md5 without a password", ALL, "", "the server asks for a password, and none", { FAILED(PG_AUTH_MD5, B("abcd")) } },
    { "SCRAM without a password", ALL, "", "the server asks for a password, and none", { FAILED(PG_AUTH_SASL, SASL) } },
    { "salt of 3", ALL, "pencil", "the server's salt for md5", { FAILED(PG_AUTH_MD5, B("abc")) } },

    /* Lists of mechanisms. */
    { "only OAUTHBEARER", ALL, "pencil", "the server offers no SASL mechanism", { FAILED(PG_AUTH_SASL, B("OAUTHBEARER\0\0")) } },
    { "only PLUS", ALL, "pencil", "the server offers no SASL", { FAILED(PG_AUTH_SASL, B("SCRAM-SHA-256-PLUS\0\0")) } },
    { "a shorter name", ALL, "pencil", "the server offers no SASL", { FAILED(PG_AUTH_SASL, B("SCRAM-SHA-25\0\0")) } },
    { "an empty list", ALL, "pencil", "the server offers no SASL", { FAILED(PG_AUTH_SASL, B("\0")) } },
    { "no list", ALL, "pencil", "the server's list of SASL", { FAILED(PG_AUTH_SASL, NOTHING) } },
    { "a list that does not end", ALL, "pencil", "the server's list", { FAILED(PG_AUTH_SASL, B("SCRAM-SHA-256\0")) } },
    { "a name that does not end", ALL, "pencil", "the server's list", { FAILED(PG_AUTH_SASL, B("SCRAM-SHA-256")) } },
    { "more behind the list", ALL, "pencil", "the server's list", { FAILED(PG_AUTH_SASL, B("SCRAM-SHA-256\0\0x")) } },

    /* The order. */
    { "Ok after SASL", USUAL, "pencil", "the server lets us in before", { SASL_STEP, OK_FAILED } },
    { "Ok without server-final", USUAL, "pencil", "the server has not proved",
      { SASL_STEP, CONTINUE_STEP, JOB_STEP, OK_FAILED } },
    { "server-final at once", USUAL, "pencil", "the server's messages of SCRAM are out of order",
      { SASL_STEP, FAILED(PG_AUTH_SASL_FINAL, B("v=" SIGNATURE)) } },
    { "server-final first of all", USUAL, "pencil", "the server's messages of SCRAM",
      { FAILED(PG_AUTH_SASL_FINAL, B("v=" SIGNATURE)) } },
    { "server-first first of all", USUAL, "pencil", "the server's messages of SCRAM",
      { FAILED(PG_AUTH_SASL_CONTINUE, SERVER_FIRST) } },
    { "server-first twice", USUAL, "pencil", "the server's messages of SCRAM",
      { SASL_STEP, CONTINUE_STEP, JOB_STEP, FAILED(PG_AUTH_SASL_CONTINUE, SERVER_FIRST) } },
    { "server-final twice", USUAL, "pencil", "the server's messages of SCRAM",
      { SASL_STEP, CONTINUE_STEP, JOB_STEP, FINAL_STEP, FAILED(PG_AUTH_SASL_FINAL, B("v=" SIGNATURE)) } },
    { "server-final after md5", USUAL, "pencil", "the server's messages of SCRAM",
      { MD5_STEP, MD5_JOB_STEP, FAILED(PG_AUTH_SASL_FINAL, B("v=" SIGNATURE)) } },
    { "SASL twice", USUAL, "pencil", "the server asks for a proof again", { SASL_STEP, FAILED(PG_AUTH_SASL, SASL) } },
    { "SASL after server-final", USUAL, "pencil", "the server asks for a proof again",
      { SASL_STEP, CONTINUE_STEP, JOB_STEP, FINAL_STEP, FAILED(PG_AUTH_SASL, SASL) } },
    { "cleartext after SASL", ALL, "pencil", "the server asks for a proof again",
      { SASL_STEP, FAILED(PG_AUTH_CLEARTEXT, NOTHING) } },
    { "cleartext twice", ALL, "pencil", "the server asks for a proof again",
      { CLEAR_STEP, FAILED(PG_AUTH_CLEARTEXT, NOTHING) } },
    { "md5 twice", ALL, "pencil", "the server asks for a proof again",
      { MD5_STEP, MD5_JOB_STEP, FAILED(PG_AUTH_MD5, B("abcd")) } },
    { "SASL after Ok", ALL, "pencil", "the server asks for a proof again", { OK_PASSED, FAILED(PG_AUTH_SASL, SASL) } },
    { "Ok twice", ALL, "pencil", "the server asks for a proof again", { OK_PASSED, OK_FAILED } },
};

static void test_dialogue(void **state) {
    const struct dialogue *row = *state;
    bool passed = false;
    open_auth(row->may, row->password, 4);
    for (const struct step *step = row->steps; step < row->steps + STEPS_MAX && step->data.data != NULL; step++) {
        enum pg_auth_result result = step->kind == JOB ? run_job() : say(step->kind, step->data);
        if (result != step->result) {
            fail_msg("step %d: result %d: %s", (int)(step - row->steps), (int)result, why != NULL ? why : "-");
        }
        check_out(step->sent);
        passed |= result == PG_AUTH_PASSED;
        assert_int_equal(result == PG_AUTH_FAILED, why != NULL);
    }
    assert_int_equal(why != NULL, row->says != NULL);
    if (why != NULL && strncmp(why, row->says, strlen(row->says)) != 0) {
        fail_msg("says: %s", why);
    }
    assert_int_equal(auth.state == PG_AUTH_DONE, passed);
}

/* --------------------------------------------------------------------------------------------------- server-first ---- */

#define X8 "xxxxxxxx"
#define X32 X8 X8 X8 X8
#define X232 X32 X32 X32 X32 X32 X32 X32 X8
#define A4 "AAAA"
#define A16 A4 A4 A4 A4
#define A340 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A16 A4

struct first_row {
    const char *name;
    struct span text;
    const char *says;    /* NULL: it is taken, and: */
    uint32_t salt_len, iterations;
};

static const struct first_row first_rows[] = {
    { "fine", SERVER_FIRST, NULL, 4, 4096 },
    { "the shortest", B("r=" OURS "x,s=AA==,i=1"), NULL, 1, 1 },
    { "the longest", B("r=" OURS X232 ",s=" A340 "AA==,i=1000000"), NULL, 256, 1000000 },
    { "nonce of 257", B("r=" OURS X232 "x,s=AA==,i=1"), "the server's first message of SCRAM is malformed", 0, 0 },
    { "salt of 257", B("r=" OURS "x,s=" A340 "AAA=,i=1"), "the server's salt", 0, 0 },
    { "salt of 258", B("r=" OURS "x,s=" A340 "AAAA,i=1"), "the server's salt", 0, 0 },
    { "nonce of somebody else", B("r=xyz" OURS ",s=AA==,i=1"), "the server's nonce does not", 0, 0 },
    { "nonce that is ours", B("r=" OURS ",s=AA==,i=1"), "the server's nonce does not", 0, 0 },
    { "nonce that is shorter", B("r=AAA,s=AA==,i=1"), "the server's nonce does not", 0, 0 },
    { "nonce that differs at the end", B("r=AAAAAAAAAAAAAAAAAAAAAAABxyz,s=AA==,i=1"), "the server's nonce does not", 0, 0 },
    { "no nonce", B("r=,s=AA==,i=1"), "the server's nonce does not", 0, 0 },
    { "a blank in the nonce", B("r=" OURS "x y,s=AA==,i=1"), "the server's first message", 0, 0 },
    { "a control character in the nonce", B("r=" OURS "x\x01,s=AA==,i=1"), "the server's first message", 0, 0 },
    { "a NUL in the nonce", B("r=" OURS "x\0,s=AA==,i=1"), "the server's first message", 0, 0 },
    { "a letter beyond ASCII in the nonce", B("r=" OURS "\xe9,s=AA==,i=1"), "the server's first message", 0, 0 },
    { "0 iterations", B("r=" OURS "x,s=AA==,i=0"), "the server's count of iterations", 0, 0 },
    { "-1 iterations", B("r=" OURS "x,s=AA==,i=-1"), "the server's count", 0, 0 },
    { "+1 iterations", B("r=" OURS "x,s=AA==,i=+1"), "the server's count", 0, 0 },
    { "01 iterations", B("r=" OURS "x,s=AA==,i=01"), "the server's count", 0, 0 },
    { "1000001 iterations", B("r=" OURS "x,s=AA==,i=1000001"), "the server's count", 0, 0 },
    { "2^31 iterations", B("r=" OURS "x,s=AA==,i=2147483648"), "the server's count", 0, 0 },
    { "2^32 + 1 iterations", B("r=" OURS "x,s=AA==,i=4294967297"), "the server's count", 0, 0 },
    { "99999999 iterations", B("r=" OURS "x,s=AA==,i=99999999"), "the server's count", 0, 0 },
    { "2^64 + 1 iterations", B("r=" OURS "x,s=AA==,i=18446744073709551617"), "the server's count", 0, 0 },
    { "iterations of hexadecimal digits", B("r=" OURS "x,s=AA==,i=0x10"), "the server's count", 0, 0 },
    { "iterations of nothing", B("r=" OURS "x,s=AA==,i="), "the server's count", 0, 0 },
    { "salt of nothing", B("r=" OURS "x,s=,i=1"), "the server's salt", 0, 0 },
    { "salt without its padding", B("r=" OURS "x,s=AA,i=1"), "the server's salt", 0, 0 },
    { "salt of other characters", B("r=" OURS "x,s=A-_=,i=1"), "the server's salt", 0, 0 },
    { "salt with bits that are not used", B("r=" OURS "x,s=AB==,i=1"), "the server's salt", 0, 0 },
    { "no salt", B("r=" OURS "x,i=1"), "the server's first message", 0, 0 },
    { "no iterations", B("r=" OURS "x,s=AA=="), "the server's first message", 0, 0 },
    { "another order", B("r=" OURS "x,i=1,s=AA=="), "the server's first message", 0, 0 },
    { "an extension that is mandatory", B("m=x,r=" OURS "x,s=AA==,i=1"), "the server's first message", 0, 0 },
    { "an extension", B("r=" OURS "x,s=AA==,i=1,x=y"), "the server's first message", 0, 0 },
    { "a comma at the end", B("r=" OURS "x,s=AA==,i=1,"), "the server's first message", 0, 0 },
    { "an error", B("e=other-error"), "the server's first message", 0, 0 },
    { "nothing", B(""), "the server's first message", 0, 0 },
    { "half a field", B("r"), "the server's first message", 0, 0 },
    { "commas", B(",,,"), "the server's first message", 0, 0 },
};

static void begin_scram(void) {
    open_auth(USUAL, "pencil", 4);
    assert_int_equal(say(PG_AUTH_SASL, (struct span)SASL), PG_AUTH_MORE);
    check_out((struct span)CLIENT_FIRST);
}

static void test_first(void **state) {
    const struct first_row *row = *state;
    begin_scram();
    enum pg_auth_result result = say(PG_AUTH_SASL_CONTINUE, row->text);
    assert_int_equal(result, row->says == NULL ? PG_AUTH_JOB : PG_AUTH_FAILED);
    assert_int_equal(out.bytes, 0);
    if (row->says != NULL) {
        if (strncmp(why, row->says, strlen(row->says)) != 0) {
            fail_msg("says: %s", why);
        }
        return;
    }
    char signed_text[PG_SCRAM_MESSAGE_BYTES + 1];
    int nonce_len = (int)strcspn(row->text.data, ",") - 2;
    int len = snprintf(signed_text, sizeof signed_text, "n=,r=" OURS ",%s,c=biws,r=%.*s", row->text.data, nonce_len,
                       row->text.data + 2);
    assert_int_equal(auth.job.kind, PG_JOB_SCRAM);
    assert_int_equal(auth.job.salt_len, row->salt_len);
    assert_int_equal(auth.job.iterations, row->iterations);
    assert_int_equal(auth.job.message_len, len);
    assert_memory_equal(auth.job.message, signed_text, (size_t)len);
    assert_string_equal(auth.job.user, "user");
    assert_string_equal(auth.job.password, "pencil");
    assert_int_equal(run_job(), PG_AUTH_MORE);
}

/* 10 kB where a nonce should be; and each length around the bound of the whole message. */
static void test_long_first(void **state) {
    (void)state;
    static char text[10000];
    memset(text, 'A', sizeof text);
    memcpy(text, "r=", 2);
    for (size_t len = 1600; len <= sizeof text; len = len < 2100 ? len + 1 : len * 2) {
        begin_scram();
        assert_int_equal(say(PG_AUTH_SASL_CONTINUE, span_of(text, len)), PG_AUTH_FAILED);
    }
}

/* --------------------------------------------------------------------------------------------------- server-final ---- */

struct final_row {
    const char *name;
    struct span text;
    const char *says;
};

static const struct final_row final_rows[] = {
    { "right", B("v=" SIGNATURE), NULL },
    { "wrong in its first byte", B("v=AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), "the server's signature is wrong" },
    { "wrong in its last byte", B("v=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh4="), "the server's signature is wrong" },
    { "an error", B("e=invalid-proof"), "the server refuses our proof" },
    { "nothing", B(""), "the server's last message of SCRAM is malformed" },
    { "no signature", B("v="), "the server's last message" },
    { "a short signature", B("v=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="), "the server's last message" },
    { "a long signature", B("v=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"), "the server's last message" },
    { "a signature without its padding", B("v=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"), "the server's last message" },
    { "an extension", B("v=" SIGNATURE ",x=y"), "the server's last message" },
    { "a comma at the end", B("v=" SIGNATURE ","), "the server's last message" },
    { "a NUL at the end", B("v=" SIGNATURE "\0"), "the server's last message" },
    { "another field", B("p=" SIGNATURE), "the server's last message" },
};

static void test_final(void **state) {
    const struct final_row *row = *state;
    begin_scram();
    assert_int_equal(say(PG_AUTH_SASL_CONTINUE, (struct span)SERVER_FIRST), PG_AUTH_JOB);
    assert_int_equal(run_job(), PG_AUTH_MORE);
    check_out((struct span)CLIENT_FINAL);
    enum pg_auth_result result = say(PG_AUTH_SASL_FINAL, row->text);
    assert_int_equal(result, row->says == NULL ? PG_AUTH_MORE : PG_AUTH_FAILED);
    assert_int_equal(auth.verified, row->says == NULL);
    if (row->says != NULL && strncmp(why, row->says, strlen(row->says)) != 0) {
        fail_msg("says: %s", why);
    }
}

/* ------------------------------------------------------------------------------------------------- jobs and memory ---- */

static void test_job_failed(void **state) {
    (void)state;
    open_auth(USUAL, "pencil", 4);
    assert_int_equal(say(PG_AUTH_MD5, SPAN("abcd")), PG_AUTH_JOB);
    assert_int_equal(auth.job.kind, PG_JOB_MD5);
    assert_int_equal(auth.job.salt_len, 4);
    assert_memory_equal(auth.job.salt, "abcd", 4);
    auth.job.failed = true;
    assert_int_equal(pg_auth_job_done(&auth, &out, &why), PG_AUTH_FAILED);
    assert_int_equal(out.bytes, 0);
}

/* Without a block nothing is half sent. */
static void test_no_memory(void **state) {
    (void)state;
    open_auth(ALL, "pencil", 1);
    struct block *last = pool_take(&pool);
    assert_int_equal(say(PG_AUTH_CLEARTEXT, SPAN("")), PG_AUTH_FULL);
    assert_non_null(why);
    open_auth(ALL, "pencil", 1);
    last = pool_take(&pool);
    assert_int_equal(say(PG_AUTH_SASL, (struct span)SASL), PG_AUTH_FULL);
    pool_give(&pool, last);
    open_auth(ALL, "pencil", 1);
    assert_int_equal(say(PG_AUTH_MD5, SPAN("abcd")), PG_AUTH_JOB);
    last = pool_take(&pool);
    assert_int_equal(run_job(), PG_AUTH_FULL);
    assert_int_equal(out.bytes, 0);
    pool_give(&pool, last);
}

/* -------------------------------------------------------------------------------------------------------- base64 ---- */

struct base64_row {
    const char *name; /* RFC 4648 §10 */
    struct span bytes;
    const char *text;
};
static const struct base64_row base64_rows[] = {
    { "nothing", B(""), "" },           { "f", B("f"), "Zg==" },           { "fo", B("fo"), "Zm8=" },
    { "foo", B("foo"), "Zm9v" },        { "foob", B("foob"), "Zm9vYg==" }, { "fooba", B("fooba"), "Zm9vYmE=" },
    { "foobar", B("foobar"), "Zm9vYmFy" }, { "all bits", B("\xff\xff\xfe\xfb\xef\xbe"), "///+++++" },
};

static void test_base64(void **state) {
    const struct base64_row *row = *state;
    char text[32];
    uint8_t bytes[32];
    pg_base64_encode((const uint8_t *)row->bytes.data, (uint32_t)row->bytes.len, text);
    assert_string_equal(text, row->text);
    assert_int_equal(pg_base64_decode(span_text(row->text), bytes, (uint32_t)row->bytes.len), (int)row->bytes.len);
    assert_memory_equal(bytes, row->bytes.data, row->bytes.len);
    if (row->bytes.len > 0) {
        assert_int_equal(pg_base64_decode(span_text(row->text), bytes, (uint32_t)row->bytes.len - 1), -1);
    }
}

static void test_base64_refused(void **state) {
    (void)state;
    static const struct span bad[] = {
        B("Z"), B("Zg"), B("Zg="), B("Zg==="), B("===="), B("Z==="), B("Zg==Zg=="), B("Zm=8"), B("=m9v"), B("Zh=="), B("Zm9="),
        B("Zm 8"), B("Zm8\n"), B("Zm8-"), B("Zm8_"), B("Zm8\0"), B("\0\0\0\0"), B("Zm8\xff"), B("Zm9v="), B(" Zm9"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t bytes[16];
        int n = pg_base64_decode(span_of(guard_copy(&guard, bad[i].data, bad[i].len), bad[i].len), bytes, sizeof bytes);
        if (n != -1) {
            fail_msg("row %zu is %d bytes", i, n);
        }
    }
}

/* What is decoded is what was encoded; and what can be decoded, in whatever way it came about, is encoded the same again. */
static void test_base64_random(void **state) {
    (void)state;
    struct random random = random_seeded("base64");
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[64], again[64];
        char text[96], second[96];
        uint32_t n = random_below(&random, sizeof bytes);
        for (uint32_t k = 0; k < n; k++) {
            bytes[k] = (uint8_t)random_next(&random);
        }
        pg_base64_encode(bytes, n, text);
        assert_int_equal(pg_base64_decode(span_text(text), again, n), (int)n);
        assert_memory_equal(bytes, again, n);
        if (n > 0) {
            text[random_below(&random, (uint32_t)strlen(text))] = "A/+=Zz09-\n"[random_below(&random, 10)];
            int m = pg_base64_decode(span_text(text), again, sizeof again);
            if (m >= 0) {
                pg_base64_encode(again, (uint32_t)m, second);
                assert_string_equal(second, text);
            }
        }
    }
}

int main(void) {
    static struct rows all;
    guard = guard_open(16384);
    ROWS_ADD(&all, test_dialogue, dialogues);
    ROWS_ADD(&all, test_first, first_rows);
    ROWS_ADD(&all, test_final, final_rows);
    ROWS_ADD(&all, test_base64, base64_rows);
    ROWS_TEST(&all, test_long_first);
    ROWS_TEST(&all, test_job_failed);
    ROWS_TEST(&all, test_no_memory);
    ROWS_TEST(&all, test_base64_refused);
    ROWS_TEST(&all, test_base64_random);
    int failed = rows_run("pg_auth", &all);
    guard_close(&guard);
    return failed;
}
