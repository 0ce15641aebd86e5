/* What the parts of a connection share: pg_conn.c (input, startup), pg_conn_read.c (messages when it is READY),
 * pg_conn_end.c (errors, ends of queries), pg_conn_send.c. */
#ifndef RM_PG_CONN_PRIV_H
#define RM_PG_CONN_PRIV_H

#include "pg/pg_conn.h"

/* Set when a slot is appended, but for the last four; cleared with it. */
enum slot_flag {
    SLOT_CLOSE = 1,      /* Close went in front of Parse, */
    SLOT_PARSE = 2,      /* Parse in front of Bind, */
    SLOT_CHECK = 4,      /* and Describe: its columns are compared with the plan */
    SLOT_DESCRIBE = 8,   /* Parse and Describe alone: no query */
    SLOT_PING = 16,      /* Sync alone: no query */
    SLOT_GROUP = 32,     /* of a group of the application's */
    SLOT_SESSION = 64,   /* of a session: transactions may be open behind it */
    SLOT_SYNC = 128,     /* its Sync follows it; cleared when COPY has swallowed that */
    SLOT_MISREAD = 256,  /* a row came that can't be read: its columns are not those of the plan */
    SLOT_UNDOES = 512,   /* its error came so late, or is such, that what ran before it under the same Sync counts for
                            nothing either */
};

/* The first that is awaited; in this order. */
enum slot_state {
    AWAIT_CLOSE,       /* CloseComplete */
    AWAIT_PARSE,       /* ParseComplete */
    AWAIT_PARAMETERS,  /* ParameterDescription */
    AWAIT_DESCRIPTION, /* RowDescription, NoData */
    AWAIT_BIND,        /* BindComplete */
    AWAIT_ROWS,        /* DataRow, CommandComplete, EmptyQueryResponse, CopyInResponse, CopyOutResponse */
    AWAIT_COPY,        /* CopyData, CopyDone */
    AWAIT_COMPLETE,    /* CommandComplete, behind CopyDone */
    AWAIT_ERROR,       /* ErrorResponse: the answer to CopyFail */
    AWAIT_READY,       /* ReadyForQuery; or, without SLOT_SYNC, what answers the next slot */
};

enum slot_fate {
    FATE_OK,
    FATE_FAILED,      /* the query's sqlstate and message, or conn->failure, are set */
    FATE_ROLLED_BACK,
    FATE_SKIPPED,
};

static inline struct pg_slot *conn_slot(const struct pg_conn *conn, uint32_t index) {
    return &conn->slots[index & conn->slot_mask];
}

/* The slot that the server answers now: behind one that is done but has no Sync comes the next. NULL: none. */
static inline struct pg_slot *conn_current(struct pg_conn *conn) {
    if (conn->cursor == conn->tail) {
        return NULL;
    }
    struct pg_slot *slot = conn_slot(conn, conn->cursor);
    if (slot->state == AWAIT_READY && (slot->flags & SLOT_SYNC) == 0 && conn->cursor + 1 != conn->tail) {
        conn->cursor++;
        slot = conn_slot(conn, conn->cursor);
    }
    return slot;
}

static inline bool bit_is_set(const uint64_t *bits, uint32_t i) {
    return (bits[i / 64] >> i % 64 & 1) != 0;
}
static inline void bit_set(uint64_t *bits, uint32_t i) {
    bits[i / 64] |= 1ull << i % 64;
}
static inline void bit_clear(uint64_t *bits, uint32_t i) {
    bits[i / 64] &= ~(1ull << i % 64);
}

/* The statement is to be prepared anew; `close`: its name may be in use at the server. */
static inline void conn_forget(struct pg_conn *conn, uint16_t statement, bool close) {
    conn->planned[statement] = 0;
    if (close) {
        bit_set(conn->close, statement);
    }
}

/* ---------------------------------------------------------------------------------------------------- pg_conn.c ---- */

/* Writes a sentence into `out`, cut to `room` with its NUL. Bytes that don't print become '?'. */
struct words {
    char *out;
    uint32_t room, len;
};
void words_span(struct words *words, struct span text);
void words_text(struct words *words, const char *text);
void words_number(struct words *words, uint32_t number);

/* BROKEN, for the reason that is put together from `why` and, when it is not NULL, "TYPE's name". */
void conn_break(struct pg_conn *conn, const char *why);
void conn_break_at(struct pg_conn *conn, char type, const char *why);

/* A FATAL error, or one while starting: BROKEN by it. */
void conn_break_error(struct pg_conn *conn, const struct pg_error *error);

/* The body of an ErrorResponse or a NoticeResponse, or the beginning of one that is larger than the carry. */
[[gnu::warn_unused_result]] bool conn_read_error(const struct pg_conn *conn, struct span body, struct pg_error *out);

/* A message that may come at any time: N, S, A. True: event is set. */
bool conn_take_notice(struct pg_conn *conn, struct span body, struct pg_conn_event *event);
void conn_take_parameter(struct pg_conn *conn, struct span body);
void conn_take_notification(struct pg_conn *conn, struct span body);

/* ----------------------------------------------------------------------------------------------- pg_conn_read.c ---- */

/* A message, when READY. True: event is set. The connection may be BROKEN afterwards. */
bool conn_take(struct pg_conn *conn, char type, struct span body, struct pg_conn_event *event);

/* A message of the type is larger than the carry. False: BROKEN; else its bytes are to be dropped. */
[[gnu::warn_unused_result]] bool conn_take_large(struct pg_conn *conn, char type);

/* ------------------------------------------------------------------------------------------------ pg_conn_end.c ---- */

/* ErrorResponse, when READY. */
void conn_take_error(struct pg_conn *conn, struct span body);

/* A slot behind that at `index` prepares its statement anew. */
bool conn_parses_behind(const struct pg_conn *conn, uint32_t index);

/* The server does not know the statement of the slot at `index`, or not as we do, unless a slot behind it prepares it again;
 * `close`: its name may be in use there. */
void conn_unprepare(struct pg_conn *conn, uint32_t index, bool close);

/* The rows of the slot at `index`, and of those behind it that count on its Parse, are read by this version of the plan; 0: by
 * none. */
void conn_rebind(struct pg_conn *conn, uint32_t index, uint32_t version);

/* The query of a slot (or the slot's Describe) fails by an error of ours. */
void conn_fail(struct pg_conn *conn, struct pg_slot *slot, const char *sqlstate, const char *message);

/* Copies at most room - 1 bytes and a NUL; never half of a character. */
void conn_copy_text(char *out, uint32_t room, struct span text);

/* ReadyForQuery has come for the slots from head to `end`, inclusive: gives each its fate. */
void conn_settle(struct pg_conn *conn, uint32_t end, char status);

/* Pops the head, which is over. True: event says so. */
bool conn_deliver(struct pg_conn *conn, struct pg_conn_event *event);

/* ----------------------------------------------------------------------------------------------- pg_conn_send.c ---- */

/* CopyInResponse for the slot at the cursor: makes the server end it. False: no block is free. */
[[gnu::warn_unused_result]] bool conn_refuse_copy(struct pg_conn *conn);

#endif
