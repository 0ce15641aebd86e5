/* Proving who we are: trust, cleartext (only when allowed by name), md5, SCRAM-SHA-256. The messages are read and written
 * here; what costs time, hashing, is a job that somebody else runs (pg_crypto.h) on a thread that may block.
 *
 *     trust:     IDLE --R Ok--> DONE
 *     cleartext: IDLE --R--> SENT --R Ok--> DONE
 *     md5:       IDLE --R--> WORKING (a job is out) --done--> SENT --R Ok--> DONE
 *     SCRAM:     IDLE --R SASL--> FIRST --R Continue--> WORKING --done--> SENT --R Final, verified--> SENT --R Ok--> DONE
 *
 * Whatever else comes is refused, and the connection is to be closed. As libpq, SCRAM's client-first has an empty user:
 * the server takes the one of StartupMessage.
 *
 * RFC 5802, RFC 7677 (SCRAM-SHA-256); PostgreSQL documentation, "SASL Authentication". Depends on: mem, pg_wire.h,
 * pg_settings.h. One thread. */
#ifndef RM_PG_AUTH_H
#define RM_PG_AUTH_H

#include "pg/pg_settings.h"
#include "pg/pg_wire.h"

enum {
    PG_NONCE_RANDOM_BYTES = 18,      /* of ours; 24 characters as base64 */
    PG_SCRAM_MESSAGE_BYTES = 2048,   /* of a server's message, and of what is signed */
    PG_SCRAM_SALT_BYTES = 256,
    PG_SCRAM_NONCE_BYTES = 256,      /* of the combined one */
    PG_SCRAM_ITERATIONS_MAX = 1000000, /* more is refused: a hostile server must not keep us busy */
    PG_SHA256_BYTES = 32,
};

enum pg_auth_state { PG_AUTH_IDLE, PG_AUTH_FIRST, PG_AUTH_WORKING, PG_AUTH_SENT, PG_AUTH_DONE };

/* What is to be computed. In: kind .. message; out: the rest. Lives in its connection; `password` borrows the settings. */
struct pg_auth_job {
    enum { PG_JOB_MD5, PG_JOB_SCRAM } kind;
    const char *user, *password;         /* NUL-terminated */
    uint8_t salt[PG_SCRAM_SALT_BYTES];   /* md5: 4 */
    uint32_t salt_len;
    uint32_t iterations;
    char message[PG_SCRAM_MESSAGE_BYTES]; /* SCRAM: client-first-bare,server-first,client-final-without-proof */
    uint32_t message_len;

    bool failed;                          /* no memory, or the library refuses */
    char md5[36];                         /* "md5" and 32 hexadecimal digits, NUL */
    uint8_t proof[PG_SHA256_BYTES];       /* SCRAM: ClientProof */
    uint8_t signature[PG_SHA256_BYTES];   /* SCRAM: the ServerSignature that the server must send */
};

struct pg_auth {
    const struct pg_settings *settings;
    uint8_t state;     /* enum pg_auth_state */
    uint8_t method;    /* enum pg_auth_bit that was begun; 0: none */
    bool verified;     /* SCRAM: the server's signature was right */
    char nonce[36];    /* ours, base64, NUL */
    char final_bare[PG_SCRAM_NONCE_BYTES + 16]; /* client-final-without-proof */
    struct pg_auth_job job;
};

/* `random` is copied. */
void pg_auth_init(struct pg_auth *auth, const struct pg_settings *settings, const uint8_t random[static
    PG_NONCE_RANDOM_BYTES]);

enum pg_auth_result {
    PG_AUTH_MORE,   /* something was written, or nothing is to be done: the server's next message is awaited */
    PG_AUTH_JOB,    /* auth->job is to be run: then pg_auth_job_done */
    PG_AUTH_PASSED, /* AuthenticationOk, and everything that we asked for was shown */
    PG_AUTH_FAILED, /* *why, static: the connection must be closed. Nothing more of the password was sent */
    PG_AUTH_FULL,   /* no block is free: likewise */
};

/* An Authentication message. Fails, before anything is sent, when the method is not allowed (require_auth), is unknown,
 * when no password is there, when the server asks twice, when it skips its part of SCRAM, when a field of SCRAM is
 * malformed, out of its bounds or does not extend our nonce, or when its signature (compared in constant time) is wrong.
 * Not while a job is out: the caller keeps the input until then. */
[[gnu::warn_unused_result]] enum pg_auth_result pg_auth_message(struct pg_auth *auth, const struct pg_authentication *message,
                                                                struct chain *out, const char **why);

/* The job has been run. */
[[gnu::warn_unused_result]] enum pg_auth_result pg_auth_job_done(struct pg_auth *auth, struct chain *out, const char **why);

/* Base64, RFC 4648 §4, strict: padded, no other character, no bit set that is not used. Encoding ends with NUL; decoding
 * returns the bytes, or -1: malformed, or more than `room`. */
void pg_base64_encode(const uint8_t *in, uint32_t n, char *out);
int pg_base64_decode(struct span in, uint8_t *out, uint32_t room);

#endif
