#include "mem/hash.h"

enum { WORD = 8, ROUNDS_END = 3 };

static inline uint64_t rotate(uint64_t x, unsigned by) {
    return (x << by) | (x >> (64 - by));
}

static inline void round_of(uint64_t v[static 4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* One round for each word: the 1 of SipHash-1-3. */
static inline void add_word(uint64_t v[static 4], uint64_t word) {
    v[3] ^= word;
    round_of(v);
    v[0] ^= word;
}

/* Words are little-endian. */
static inline uint64_t word_at(const char *data) {
    uint64_t word;
    memcpy(&word, data, WORD);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Fewer than WORD bytes, the first of them lowest. */
static inline uint64_t tail_at(const char *data, size_t len) {
    uint64_t tail = 0;
    for (size_t i = 0; i < len; i++) {
        tail |= (uint64_t)(unsigned char)data[i] << (WORD * i);
    }
    return tail;
}

/* The last word: what is left, and the length modulo 256 in the highest byte. */
static inline uint64_t finish(uint64_t v[static 4], uint64_t tail, uint64_t len) {
    add_word(v, tail | len << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < ROUNDS_END; i++) {
        round_of(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline void begin(uint64_t v[static 4], const uint64_t key[static 2]) {
    v[0] = key[0] ^ 0x736f6d6570736575u; /* "somepseudorandomlygeneratedbytes" */
    v[1] = key[1] ^ 0x646f72616e646f6du;
    v[2] = key[0] ^ 0x6c7967656e657261u;
    v[3] = key[1] ^ 0x7465646279746573u;
}

/* tail_at of the last bytes of what has a word at least: that word's highest bytes. */
static inline uint64_t tail_of(struct span bytes) {
    size_t len = bytes.len % WORD;
    return len == 0 ? 0 : word_at(bytes.data + bytes.len - WORD) >> (WORD * (WORD - len));
}

uint64_t hash_keyed(const uint64_t key[static 2], struct span bytes) {
    uint64_t v[4];
    begin(v, key);
    size_t whole = bytes.len / WORD * WORD;
    for (size_t i = 0; i < whole; i += WORD) {
        add_word(v, word_at(bytes.data + i));
    }
    return finish(v, whole > 0 ? tail_of(bytes) : tail_at(bytes.data, bytes.len), bytes.len);
}

void hash_begin(struct hash *hash, const uint64_t key[static 2]) {
    begin(hash->v, key);
    hash->tail = 0;
    hash->len = 0;
}

void hash_add(struct hash *hash, struct span bytes) {
    size_t at = 0, have = hash->len % WORD;
    hash->len += bytes.len;
    if (have > 0) {
        while (have < WORD && at < bytes.len) {
            hash->tail |= (uint64_t)(unsigned char)bytes.data[at++] << (WORD * have++);
        }
        if (have < WORD) {
            return;
        }
        add_word(hash->v, hash->tail);
        hash->tail = 0;
    }
    for (; bytes.len - at >= WORD; at += WORD) {
        add_word(hash->v, word_at(bytes.data + at));
    }
    hash->tail = tail_at(bytes.data + at, bytes.len - at);
}

uint64_t hash_end(struct hash *hash) {
    return finish(hash->v, hash->tail, hash->len);
}
