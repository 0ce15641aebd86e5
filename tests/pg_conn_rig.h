/* A connection that transcripts of fake_pg.h drive. What they can say:
 *
 *     set prepare off | inflight N | message BYTES | blocks N | name TEXT | options TEXT |
 *     password TEXT                    before start and up
 *     start                            the startup packet
 *     up [STATEMENT...]                a startup that nobody looks at; these statements are prepared. Of all but "new" the
 *                                      columns are known
 *     query N STATEMENT[:BYTES] [session] [skipped]      BYTES: of parameters
 *     group [session] N STATEMENT[:BYTES], N STATEMENT[:BYTES]...
 *     describe STATEMENT | ping | flush | leave N | discard N | job [fails] | lost TEXT | terminate | drop UNSENT | reset |
 *     time NS
 *     forget STATEMENT | known STATEMENT    its plan
 *     show tainted | prepared STATEMENT | version | why | idle | key | head | since | room N | status | counts
 *
 * Statements: items (id int4, name text; read-only), more (id; read-only), shared and twin (id; they share a Sync), update
 * (no columns), returning (id; not read-only), new (items, not known yet), local (SET LOCAL), and ours: begin, commit, rollback. */
#ifndef RM_TESTS_PG_CONN_RIG_H
#define RM_TESTS_PG_CONN_RIG_H

#include "fake_pg.h"
#include "pg/pg_conn.h"

enum rig_statement { RIG_ITEMS, RIG_MORE, RIG_SHARED, RIG_TWIN, RIG_UPDATE, RIG_RETURNING, RIG_NEW, RIG_LOCAL, RIG_OWN_COUNT };

enum { RIG_STATEMENTS = (int)RIG_OWN_COUNT + (int)PG_INTERNAL_COUNT, RIG_QUERIES = 64, RIG_SLOTS = 128, RIG_BLOCKS = 64 };

/* One set of memory: plans are large, so it is made once and opened again and again. */
struct pg_rig {
    struct pg_settings settings;
    struct pg_statement statements[RIG_STATEMENTS];
    struct pg_plan plans[RIG_STATEMENTS];
    uint32_t at[PG_COLUMNS_MAX];
    struct pg_shared shared;
    struct pg_slot slots[RIG_SLOTS];
    char *carry; /* message_bytes, of its own, so that one byte too many is seen */
    struct pg_conn conn;
    struct pool pool;
    struct chain out;
    struct pg_query queries[RIG_QUERIES];
    struct pg_session *session; /* somebody's address */
    bool down;
    void *block_memory, *plan_memory;
};

void pg_rig_make(struct pg_rig *rig);
void pg_rig_release(struct pg_rig *rig);

/* Ready for a connection; blocks: of its output. */
void pg_rig_open(struct pg_rig *rig, uint32_t inflight, uint32_t message_bytes, uint32_t blocks, bool prepare);
void pg_rig_close(struct pg_rig *rig);

/* Through a startup that nobody looks at; plans are known but of RIG_NEW. */
void pg_rig_up(struct pg_rig *rig);

/* The plan of a statement as its own table says. */
void pg_rig_know(struct pg_rig *rig, uint32_t statement);

/* Its index; RIG_STATEMENTS: there is none. */
uint32_t pg_rig_find(const struct pg_rig *rig, const char *label);

/* Aborts when the connection is what it may never be. */
void pg_rig_check(const struct pg_rig *rig);

struct fake_client pg_rig_client(struct pg_rig *rig);

#endif
