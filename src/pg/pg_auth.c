#include "pg/pg_auth.h"

#include "mem/assert.h"

static const char client_first[] = "n,,n=,r=", channel[] = "c=biws,r=", mechanism[] = "SCRAM-SHA-256";
enum { BARE_AT = 3 }; /* in client_first: what is signed begins behind the header of GS2 */

_Static_assert(sizeof channel + PG_SCRAM_NONCE_BYTES <= sizeof(((struct pg_auth *)NULL)->final_bare), "a nonce fits");

/* -------------------------------------------------------------------------------------------------------- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void pg_base64_encode(const uint8_t *in, uint32_t n, char *out) {
    for (uint32_t i = 0; i < n; i += 3) {
        uint32_t left = n - i;
        uint32_t bits = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *out = '\0';
}

/* The six bits of a character; 64 and more: it has none. */
static uint32_t sextet(char c) {
    const char *place = c != '\0' ? strchr(alphabet, c) : NULL;
    return place != NULL ? (uint32_t)(place - alphabet) : 64;
}

int pg_base64_decode(struct span in, uint8_t *out, uint32_t room) {
    uint32_t n = 0;
    if (in.len % 4 != 0) {
        return -1;
    }
    for (size_t i = 0; i < in.len; i += 4) {
        const char *c = in.data + i;
        bool last = i + 4 == in.len;
        uint32_t pads = last && c[3] == '=' ? c[2] == '=' ? 2 : 1 : 0;
        uint32_t c2 = pads > 1 ? 0 : sextet(c[2]), c3 = pads > 0 ? 0 : sextet(c[3]);
        uint32_t bits = sextet(c[0]) << 18 | sextet(c[1]) << 12 | c2 << 6 | c3;
        if (sextet(c[0]) > 63 || sextet(c[1]) > 63 || c2 > 63 || c3 > 63 || (bits & ((1u << 8 * pads) - 1)) != 0 ||
            room - n < 3 - pads) {
            return -1;
        }
        for (uint32_t k = 0; k < 3 - pads; k++) {
            out[n++] = (uint8_t)(bits >> (16 - 8 * k));
        }
    }
    return (int)n;
}

/* -------------------------------------------------------------------------------------------------------- methods ---- */

void pg_auth_init(struct pg_auth *auth, const struct pg_settings *settings,
                  const uint8_t random[static PG_NONCE_RANDOM_BYTES]) {
    auth->settings = settings;
    auth->state = PG_AUTH_IDLE;
    auth->method = 0;
    auth->verified = false;
    auth->job = (struct pg_auth_job){ .user = settings->user, .password = settings->password };
    pg_base64_encode(random, PG_NONCE_RANDOM_BYTES, auth->nonce);
}

static enum pg_auth_result fail(const char **why, const char *text) {
    *why = text;
    return PG_AUTH_FAILED;
}

/* Something was to be written; a server's message is awaited in `state` then. */
static enum pg_auth_result sent(struct pg_auth *auth, enum pg_auth_state state, bool written, const char **why) {
    if (!written) {
        *why = "no memory is left for authentication";
        return PG_AUTH_FULL;
    }
    auth->state = (uint8_t)state;
    return PG_AUTH_MORE;
}

/* Begins a method that is allowed and has what it needs; NULL: it may, else what is wrong. */
static const char *begin(struct pg_auth *auth, enum pg_auth_bit method) {
    if (auth->state != PG_AUTH_IDLE) {
        return "the server asks for a proof again";
    }
    if ((auth->settings->may & (unsigned)method) == 0) {
        switch (method) {
        case PG_MAY_PASSWORD: return "the server asks for the password in clear text, which require_auth has to allow by name";
        case PG_MAY_MD5: return "the server asks for md5, which require_auth does not allow";
        case PG_MAY_SCRAM: return "the server asks for SCRAM, which require_auth does not allow";
        case PG_MAY_NONE: return "the server asks for no proof of who we are, which require_auth does not allow";
        }
    }
    if (method != PG_MAY_NONE && !auth->settings->has_password) {
        return "the server asks for a password, and none is given";
    }
    auth->method = (uint8_t)method;
    return NULL;
}

static enum pg_auth_result take_ok(struct pg_auth *auth, const char **why) {
    const char *wrong = auth->state == PG_AUTH_IDLE ? begin(auth, PG_MAY_NONE) : NULL;
    if (wrong != NULL) {
        return fail(why, wrong);
    }
    if (auth->method != PG_MAY_NONE && auth->state != PG_AUTH_SENT) {
        return fail(why, "the server lets us in before we have proved who we are");
    }
    if (auth->method == PG_MAY_SCRAM && !auth->verified) {
        return fail(why, "the server has not proved that it knows the password");
    }
    auth->state = PG_AUTH_DONE;
    return PG_AUTH_PASSED;
}

static enum pg_auth_result take_cleartext(struct pg_auth *auth, struct chain *out, const char **why) {
    const char *wrong = begin(auth, PG_MAY_PASSWORD);
    if (wrong != NULL) {
        return fail(why, wrong);
    }
    return sent(auth, PG_AUTH_SENT, pg_write_password(out, span_text(auth->settings->password)), why);
}

static enum pg_auth_result take_md5(struct pg_auth *auth, struct span salt, const char **why) {
    const char *wrong = begin(auth, PG_MAY_MD5);
    if (wrong != NULL) {
        return fail(why, wrong);
    }
    if (salt.len != 4) {
        return fail(why, "the server's salt for md5 does not have 4 bytes");
    }
    auth->job.kind = PG_JOB_MD5;
    memcpy(auth->job.salt, salt.data, salt.len);
    auth->job.salt_len = 4;
    auth->state = PG_AUTH_WORKING;
    return PG_AUTH_JOB;
}

/* --------------------------------------------------------------------------------------------------------- SCRAM ---- */

/* Whether the list, names that end with NUL and one more NUL, has our mechanism. False in *fine: it is malformed. */
static bool offers_scram(struct span list, bool *fine) {
    bool found = false;
    size_t end = 0;
    while (list.len > 0 && list.data[0] != '\0') {
        const char *nul = memchr(list.data, '\0', list.len);
        end = nul != NULL ? (size_t)(nul - list.data) : list.len;
        found |= span_equal(span_first(list, end), span_text(mechanism));
        list = span_from(list, end + 1);
    }
    *fine = list.len == 1;
    return found;
}

static enum pg_auth_result take_sasl(struct pg_auth *auth, struct span list, struct chain *out, const char **why) {
    const char *wrong = begin(auth, PG_MAY_SCRAM);
    bool fine, found = offers_scram(list, &fine);
    char first[sizeof client_first + sizeof auth->nonce];
    if (wrong != NULL) {
        return fail(why, wrong);
    }
    if (!fine) {
        return fail(why, "the server's list of SASL mechanisms is malformed");
    }
    if (!found) {
        return fail(why, "the server offers no SASL mechanism that is supported; SCRAM-SHA-256 is");
    }
    size_t nonce_len = strlen(auth->nonce), len = sizeof client_first - 1 + nonce_len;
    memcpy(first, client_first, sizeof client_first - 1);
    memcpy(first + sizeof client_first - 1, auth->nonce, nonce_len);
    return sent(auth, PG_AUTH_FIRST, pg_write_sasl_initial(out, mechanism, span_of(first, len)), why);
}

/* Takes "X=value" off the front, and the comma behind it when there is one; false: it does not begin so. */
static bool take_field(struct span *message, char name, struct span *value) {
    if (message->len < 2 || message->data[0] != name || message->data[1] != '=') {
        return false;
    }
    const char *comma = memchr(message->data, ',', message->len);
    size_t end = comma != NULL ? (size_t)(comma - message->data) : message->len;
    *value = span_of(message->data + 2, end - 2);
    *message = span_from(*message, comma != NULL ? end + 1 : end);
    return true;
}

/* RFC 5802 §5.1: printable, no comma. */
static bool is_nonce(struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x21 || text.data[i] > 0x7e) {
            return false;
        }
    }
    return text.len <= PG_SCRAM_NONCE_BYTES;
}

static void job_append(struct pg_auth_job *job, struct span text) {
    rm_assert(text.len <= sizeof job->message - job->message_len);
    memcpy(job->message + job->message_len, text.data, text.len);
    job->message_len += (uint32_t)text.len;
}

/* client-first-bare,server-first,client-final-without-proof */
static void make_signed_text(struct pg_auth *auth, struct span server_first, struct span nonce) {
    struct pg_auth_job *job = &auth->job;
    memcpy(auth->final_bare, channel, sizeof channel - 1);
    memcpy(auth->final_bare + sizeof channel - 1, nonce.data, nonce.len);
    auth->final_bare[sizeof channel - 1 + nonce.len] = '\0';
    job->message_len = 0;
    job_append(job, span_text(client_first + BARE_AT));
    job_append(job, span_text(auth->nonce));
    job_append(job, SPAN(","));
    job_append(job, server_first);
    job_append(job, SPAN(","));
    job_append(job, span_text(auth->final_bare));
}

/* Reads server-first; NULL: it is fine, and the job is written, else what is wrong. RFC 5802 §5.1, §7. */
static const char *read_server_first(struct pg_auth *auth, struct span message) {
    struct span rest = message, nonce, salt, iterations, ours = span_text(auth->nonce);
    uint64_t count;
    size_t fixed = sizeof client_first + sizeof auth->nonce + sizeof auth->final_bare;
    if (message.len > PG_SCRAM_MESSAGE_BYTES - fixed) {
        return "the server's first message of SCRAM is too long";
    }
    if (!take_field(&rest, 'r', &nonce) || !take_field(&rest, 's', &salt) || !take_field(&rest, 'i', &iterations) ||
        iterations.data + iterations.len != message.data + message.len || !is_nonce(nonce)) {
        return "the server's first message of SCRAM is malformed, or has an extension that is not known";
    }
    if (nonce.len <= ours.len || !span_equal(span_first(nonce, ours.len), ours)) {
        return "the server's nonce does not extend ours";
    }
    int salt_len = pg_base64_decode(salt, auth->job.salt, sizeof auth->job.salt);
    if (salt_len < 1) {
        return "the server's salt of SCRAM is malformed, or has no or too many bytes";
    }
    if (!span_u64(iterations, &count) || iterations.data[0] == '0' || count > PG_SCRAM_ITERATIONS_MAX) {
        return "the server's count of iterations for SCRAM is none from 1 to 1000000";
    }
    auth->job.kind = PG_JOB_SCRAM;
    auth->job.salt_len = (uint32_t)salt_len;
    auth->job.iterations = (uint32_t)count;
    make_signed_text(auth, message, nonce);
    return NULL;
}

static enum pg_auth_result take_continue(struct pg_auth *auth, struct span message, const char **why) {
    if (auth->state != PG_AUTH_FIRST) {
        return fail(why, "the server's messages of SCRAM are out of order");
    }
    const char *wrong = read_server_first(auth, message);
    if (wrong != NULL) {
        return fail(why, wrong);
    }
    auth->state = PG_AUTH_WORKING;
    return PG_AUTH_JOB;
}

/* As long for the first byte that differs as for the last. */
static bool is_signature(const uint8_t *a, const uint8_t *b) {
    uint8_t difference = 0;
    for (uint32_t i = 0; i < PG_SHA256_BYTES; i++) {
        difference |= a[i] ^ b[i];
    }
    return difference == 0;
}

static enum pg_auth_result take_final(struct pg_auth *auth, struct span message, const char **why) {
    uint8_t signature[PG_SHA256_BYTES];
    struct span value;
    if (auth->state != PG_AUTH_SENT || auth->method != PG_MAY_SCRAM || auth->verified) {
        return fail(why, "the server's messages of SCRAM are out of order");
    }
    if (take_field(&message, 'e', &value)) {
        return fail(why, "the server refuses our proof of SCRAM");
    }
    bool fine = take_field(&message, 'v', &value) && value.data + value.len == message.data + message.len;
    if (!fine || pg_base64_decode(value, signature, sizeof signature) != PG_SHA256_BYTES) {
        return fail(why, "the server's last message of SCRAM is malformed");
    }
    auth->verified = is_signature(signature, auth->job.signature);
    return auth->verified ? PG_AUTH_MORE : fail(why, "the server's signature is wrong: it does not know the password");
}

/* ------------------------------------------------------------------------------------------------------- together ---- */

enum pg_auth_result pg_auth_message(struct pg_auth *auth, const struct pg_authentication *message, struct chain *out,
                                    const char **why) {
    rm_assert(auth->state != PG_AUTH_WORKING);
    if (auth->state == PG_AUTH_DONE) {
        return fail(why, "the server asks for a proof again");
    }
    switch (message->kind) {
    case PG_AUTH_OK: return take_ok(auth, why);
    case PG_AUTH_CLEARTEXT: return take_cleartext(auth, out, why);
    case PG_AUTH_MD5: return take_md5(auth, message->data, why);
    case PG_AUTH_SASL: return take_sasl(auth, message->data, out, why);
    case PG_AUTH_SASL_CONTINUE: return take_continue(auth, message->data, why);
    case PG_AUTH_SASL_FINAL: return take_final(auth, message->data, why);
    default: return fail(why, "the server asks for a proof that is not supported (Kerberos, GSSAPI, SSPI)");
    }
}

enum pg_auth_result pg_auth_job_done(struct pg_auth *auth, struct chain *out, const char **why) {
    struct pg_auth_job *job = &auth->job;
    char final[sizeof auth->final_bare + 64], proof[48];
    rm_assert(auth->state == PG_AUTH_WORKING);
    if (job->failed) {
        return fail(why, "hashing for authentication failed");
    }
    if (job->kind == PG_JOB_MD5) {
        return sent(auth, PG_AUTH_SENT, pg_write_password(out, span_text(job->md5)), why);
    }
    size_t len = strlen(auth->final_bare);
    pg_base64_encode(job->proof, sizeof job->proof, proof);
    memcpy(final, auth->final_bare, len);
    memcpy(final + len, ",p=", 3);
    memcpy(final + len + 3, proof, strlen(proof));
    return sent(auth, PG_AUTH_SENT, pg_write_sasl_response(out, span_of(final, len + 3 + strlen(proof))), why);
}
