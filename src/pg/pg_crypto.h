/* The hashing of authentication, by OpenSSL; SASLprep by libidn. The only file of src/pg that allocates and takes time: it
 * runs on threads that may block, never on a worker. A library of its own. Depends on: pg_auth.h. Any thread; keys that
 * were derived are kept for all, behind a lock. */
#ifndef RM_PG_CRYPTO_H
#define RM_PG_CRYPTO_H

#include "pg/pg_auth.h"

enum { PG_CRYPTO_KEYS_MAX = 64 }; /* derived keys that are kept: user, password, salt, iterations; the oldest goes */

/* A password as SASLprep (RFC 4013) wants it, into out[]; its bytes as they are where they are no UTF-8, are
 * prohibited there, or nothing is left of them. Returns their length, or -1: more than `room`. For tests, too. */
int pg_crypto_prepare(const char *password, char *out, uint32_t room);

/* Runs a job: everything in its second half is written. ClientKey and ServerKey are derived once for a user, password, salt
 * and count of iterations, whichever worker's connection asks (RFC 5802 §3; PBKDF2: RFC 8018 §5.2). The password is
 * prepared with SASLprep (RFC 4013) when it is UTF-8 and allowed there, else its bytes are taken, as the server does. */
void pg_crypto_run(struct pg_auth_job *job);

/* Times keys were derived, for tests and metrics. */
uint64_t pg_crypto_derivations(void);

/* Forgets all keys, and wipes them. */
void pg_crypto_reset(void);

#endif
