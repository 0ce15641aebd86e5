#include "pg/pg_crypto.h"

#include <idn-free.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stringprep.h>

#include "mem/assert.h"

enum {
    MD5_BYTES = 16,
    HEX_BYTES = 2 * MD5_BYTES,
    PREPARED_BYTES = 12 * PG_SETTING_BYTES, /* U+FDFA, 3 bytes, is written out as 33; no other grows more */
};

/* ----------------------------------------------------------------------------------------------------------- md5 ---- */

/* md5(a, b) in hexadecimal digits. */
static bool md5_hex(struct span a, struct span b, char out[static HEX_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[MD5_BYTES];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fine = context != NULL && EVP_DigestInit_ex(context, EVP_md5(), NULL) == 1 &&
                EVP_DigestUpdate(context, a.data, a.len) == 1 && EVP_DigestUpdate(context, b.data, b.len) == 1 &&
                EVP_DigestFinal_ex(context, hash, NULL) == 1;
    EVP_MD_CTX_free(context);
    for (size_t i = 0; i < MD5_BYTES && fine; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    return fine;
}

/* "md5", md5(md5(password, user), salt): PostgreSQL documentation, "Password Authentication". */
static bool run_md5(struct pg_auth_job *job) {
    char inner[HEX_BYTES];
    bool fine = md5_hex(span_text(job->password), span_text(job->user), inner) &&
                md5_hex(span_of(inner, sizeof inner), span_of((const char *)job->salt, job->salt_len), job->md5 + 3);
    memcpy(job->md5, "md5", 3);
    job->md5[3 + HEX_BYTES] = '\0';
    OPENSSL_cleanse(inner, sizeof inner);
    return fine;
}

/* ------------------------------------------------------------------------------------------------------ SASLprep ---- */

/* Length of the UTF-8 character in front, RFC 3629 §4; 0: there is none. The text ends with NUL. */
static size_t utf8_len(const unsigned char *s) {
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        uint8_t len;
    } forms[] = { { 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
                  { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
                  { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 } };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last) {
            continue;
        }
        size_t n = 1;
        while (n < forms[i].len && s[n] >= (n == 1 ? forms[i].low : 0x80) && s[n] <= (n == 1 ? forms[i].high : 0xbf)) {
            n++;
        }
        return n == forms[i].len ? n : 0;
    }
    return 0;
}

static bool is_utf8(const char *text, bool *ascii) {
    const unsigned char *s = (const unsigned char *)text;
    *ascii = true;
    while (*s != '\0') {
        size_t n = utf8_len(s);
        if (n == 0) {
            return false;
        }
        *ascii &= n == 1;
        s += n;
    }
    return true;
}

int pg_crypto_prepare(const char *password, char *out, uint32_t room) {
    char *prepared = NULL;
    const char *result = password;
    bool ascii;
    if (is_utf8(password, &ascii) && !ascii &&
        stringprep_profile(password, &prepared, "SASLprep", STRINGPREP_NO_UNASSIGNED) == STRINGPREP_OK && *prepared != '\0') {
        result = prepared;
    }
    size_t len = strlen(result);
    bool fits = len <= room;
    if (fits) {
        memcpy(out, result, len);
    }
    if (prepared != NULL) {
        OPENSSL_cleanse(prepared, strlen(prepared));
        idn_free(prepared);
    }
    return fits ? (int)len : -1;
}

/* ------------------------------------------------------------------------------------------------- keys of SCRAM ---- */

struct keys {
    uint8_t client[PG_SHA256_BYTES], server[PG_SHA256_BYTES];
};

static _Atomic uint64_t derivations;

static bool hmac(const uint8_t *key, struct span data, uint8_t out[static PG_SHA256_BYTES]) {
    return HMAC(EVP_sha256(), key, PG_SHA256_BYTES, (const unsigned char *)data.data, data.len, out, NULL) != NULL;
}

static bool derive(const struct pg_auth_job *job, struct keys *out) {
    char password[PREPARED_BYTES];
    uint8_t salted[PG_SHA256_BYTES];
    int len = pg_crypto_prepare(job->password, password, sizeof password);
    bool fine = len >= 0 &&
                PKCS5_PBKDF2_HMAC(password, len, job->salt, (int)job->salt_len, (int)job->iterations, EVP_sha256(),
                                  PG_SHA256_BYTES, salted) == 1 &&
                hmac(salted, SPAN("Client Key"), out->client) && hmac(salted, SPAN("Server Key"), out->server);
    OPENSSL_cleanse(password, sizeof password);
    OPENSSL_cleanse(salted, sizeof salted);
    atomic_fetch_add(&derivations, 1);
    return fine;
}

/* What keys are derived from, as one hash: a password is kept nowhere. */
static bool name_of(const struct pg_auth_job *job, uint8_t out[static PG_SHA256_BYTES]) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool fine = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(context, job->user, strlen(job->user) + 1) == 1 &&
                EVP_DigestUpdate(context, job->password, strlen(job->password) + 1) == 1 &&
                EVP_DigestUpdate(context, &job->iterations, sizeof job->iterations) == 1 &&
                EVP_DigestUpdate(context, job->salt, job->salt_len) == 1 && EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return fine;
}

/* --------------------------------------------------------------------------------------------------- cache of keys ---- */

/* A place is free, being filled by one thread while others may wait for it, or full. */
struct entry {
    enum { ENTRY_FREE, ENTRY_FILLING, ENTRY_FULL } state;
    bool forget; /* set by pg_crypto_reset: free when it is filled */
    uint8_t name[PG_SHA256_BYTES];
    uint64_t used; /* when it was filled, in order: the least goes first */
    struct keys keys;
};

static struct entry entries[PG_CRYPTO_KEYS_MAX]; /* all that follows is guarded by `lock` */
static uint64_t uses;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;

static struct entry *find(const uint8_t *name) {
    for (size_t i = 0; i < PG_CRYPTO_KEYS_MAX; i++) {
        struct entry *entry = &entries[i];
        bool usable = entry->state != ENTRY_FREE && !entry->forget;
        if (usable && CRYPTO_memcmp(entry->name, name, PG_SHA256_BYTES) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void wipe(struct entry *entry) {
    OPENSSL_cleanse(entry, sizeof *entry);
    entry->state = ENTRY_FREE;
    entry->forget = false;
}

/* A place to fill: a free one, or the oldest full one; NULL: all are being filled. */
static struct entry *claim(const uint8_t *name) {
    struct entry *best = NULL;
    for (size_t i = 0; i < PG_CRYPTO_KEYS_MAX; i++) {
        struct entry *entry = &entries[i];
        bool usable = entry->state != ENTRY_FILLING;
        bool better = best == NULL || entry->state == ENTRY_FREE || entry->used < best->used;
        if (usable && better && (best == NULL || best->state != ENTRY_FREE)) {
            best = entry;
        }
    }
    if (best != NULL) {
        wipe(best);
        best->state = ENTRY_FILLING;
        best->used = ++uses;
        memcpy(best->name, name, PG_SHA256_BYTES);
    }
    return best;
}

/* The keys, when somebody has derived them or is about to; else false, with the place that the caller has to fill. */
static bool look_up(const uint8_t *name, struct keys *out, struct entry **place) {
    bool found = false;
    *place = NULL;
    pthread_mutex_lock(&lock);
    struct entry *entry = find(name);
    while (entry != NULL && entry->state == ENTRY_FILLING) {
        pthread_cond_wait(&filled, &lock);
        entry = find(name);
    }
    if (entry != NULL) {
        *out = entry->keys;
        found = true;
    } else {
        *place = claim(name);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void fill(struct entry *place, const struct keys *keys, bool fine) {
    pthread_mutex_lock(&lock);
    rm_assert(place->state == ENTRY_FILLING);
    place->keys = *keys;
    place->state = ENTRY_FULL;
    if (!fine || place->forget) {
        wipe(place);
    }
    pthread_cond_broadcast(&filled);
    pthread_mutex_unlock(&lock);
}

static bool find_keys(const struct pg_auth_job *job, struct keys *out) {
    uint8_t name[PG_SHA256_BYTES];
    struct entry *place;
    if (!name_of(job, name)) {
        return false;
    }
    if (look_up(name, out, &place)) {
        return true;
    }
    bool fine = derive(job, out);
    if (place != NULL) {
        fill(place, out, fine);
    }
    return fine;
}

uint64_t pg_crypto_derivations(void) {
    return atomic_load(&derivations);
}

void pg_crypto_reset(void) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < PG_CRYPTO_KEYS_MAX; i++) {
        entries[i].forget = entries[i].state == ENTRY_FILLING;
        if (!entries[i].forget) {
            wipe(&entries[i]);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* --------------------------------------------------------------------------------------------------------- SCRAM ---- */

/* ClientProof := ClientKey XOR HMAC(H(ClientKey), AuthMessage); ServerSignature := HMAC(ServerKey, AuthMessage). */
static bool run_scram(struct pg_auth_job *job) {
    struct keys keys = { 0 };
    uint8_t stored[PG_SHA256_BYTES];
    struct span message = span_of(job->message, job->message_len);
    bool fine = find_keys(job, &keys) &&
                EVP_Digest(keys.client, sizeof keys.client, stored, NULL, EVP_sha256(), NULL) == 1 &&
                hmac(stored, message, job->proof) && hmac(keys.server, message, job->signature);
    for (size_t i = 0; i < PG_SHA256_BYTES && fine; i++) {
        job->proof[i] ^= keys.client[i];
    }
    OPENSSL_cleanse(&keys, sizeof keys);
    OPENSSL_cleanse(stored, sizeof stored);
    return fine;
}

void pg_crypto_run(struct pg_auth_job *job) {
    rm_assert(job->kind == PG_JOB_MD5 || job->iterations > 0);
    job->failed = !(job->kind == PG_JOB_MD5 ? run_md5(job) : run_scram(job));
}
