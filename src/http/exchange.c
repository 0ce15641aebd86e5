#include "http/http_priv.h"
#include "http/parse.h"
#include "mem/assert.h"

/* A response up to this goes into the connection's last block by copy: a block of its own would make one more segment to
 * send, and 4 KiB of memory for a few bytes. */
enum { SPLICE_BYTES_MIN = 1024 };

/* Also what a response's own fields may take in the workspace, besides the application's part. */
enum { FIELDS_BYTES = 2048 };

uint32_t http_workspace_bytes(const struct http_limits *limits) {
    uint32_t head_bytes = exchange_rounded(http_parse_bytes_max(limits));
    return head_bytes + HTTP_BODY_IN_WORKSPACE_BYTES + FIELDS_BYTES + HTTP_WORKSPACE_FREE_BYTES;
}

/* ------------------------------------------------------------------------------------------------------- the line ---- */

static struct http_exchange *dequeue(struct http_conn *conn) {
    struct http_exchange *x = conn->first;
    conn->first = x->next;
    if (conn->first == NULL) {
        conn->last = NULL;
    }
    rm_assert(conn->unfinished > 0);
    conn->unfinished--;
    return x;
}

static void tell_done(struct http_exchange *x) {
    if (x->shared->done != NULL) {
        x->shared->done(x);
    }
}

void exchange_give_up(struct http_exchange *x) {
    x->conn = NULL;
    x->next = NULL;
    tell_done(x);
    exchange_give(x);
}

void exchanges_drop(struct http_conn *conn) {
    struct http_exchange *reading = conn->reading;
    conn->reading = NULL;
    conn->waiting = 0;
    while (conn->first != NULL) {
        struct http_exchange *x = dequeue(conn);
        if (x->finished) {
            exchange_give(x);
        } else if (x == reading) {
            exchange_give_up(x);
        } else {
            if (x->shared->lost != NULL) {
                x->shared->lost(x);
            }
            x->conn = NULL;
            x->next = NULL;
            response_orphan(x);
        }
    }
}

/* ----------------------------------------------------------------------------------------------------------- settle ---- */

static bool in_workspace(const struct http_exchange *x, const char *p) {
    return p >= x->workspace.base && p < x->workspace.base + x->shared->workspace_bytes;
}

void exchange_settle(struct http_exchange *x) {
    struct http_request *request = &x->request;
    if (request->settled) {
        return;
    }
    x->workspace.size = x->shared->workspace_bytes;
    struct span head = arena_copy(&x->workspace, span_of(request->head, request->head_bytes));
    rm_assert(head.data != NULL);
    request->head = head.data;
    request->settled = true;
    x->shared->head_copies++;
    if (x->body.len > 0 && x->body_slot == NULL && !in_workspace(x, x->body.data)) {
        x->body = arena_copy(&x->workspace, x->body);
        rm_assert(x->body.data != NULL);
    }
}

/* ------------------------------------------------------------------------------------------------------------- park ---- */

/* What was written of the response leaves the connection's output. */
static void withdraw(struct http_exchange *x) {
    const char *from;
    char *to;
    if (!chain_cut(x->out, x->start, &x->own, &from, &to)) {
        http_response_fail(x, 503);
        return;
    }
    if (from != NULL && x->length_at != NULL) {
        size_t offset = (size_t)((uintptr_t)x->length_at - (uintptr_t)from);
        if (offset < x->own.head->len) { /* right after the cut this block holds the copied bytes only */
            x->length_at = to + offset;
        }
    }
    x->out = &x->own;
    x->start = (struct chain_mark){ NULL, 0, 0 };
}

void http_exchange_park(struct http_exchange *x) {
    rm_assert(!x->finished);
    exchange_settle(x);
    x->parked = true;
    if (x->streamed) {
        stream_pause(x);
    } else if (x->conn != NULL && x->out == x->conn->out) {
        withdraw(x);
    }
}

/* ----------------------------------------------------------------------------------------------------------- finish ---- */

void exchange_continue(struct http_conn *conn) {
    struct http_exchange *x = conn->reading;
    if (x == NULL || x != conn->first || !x->continue_owed || x->status != 0 || x->body_received > 0) {
        return;
    }
    /* Without a block the client waits until its patience or our timeout ends: it may send without being asked. */
    x->continue_owed = !chain_append(conn->out, SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
}

void exchange_move_out(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    struct block *tail = conn->out->tail;
    if (x->own.bytes <= SPLICE_BYTES_MIN && x->own.head == x->own.tail && tail != NULL && tail->data == tail->room
        && x->own.bytes <= BLOCK_ROOM - tail->len) {
        struct block *block = x->own.head;
        bool fits = block == NULL || chain_append(conn->out, span_of(block->data, block->len));
        rm_assert(fits);
        chain_reset(&x->own);
        return;
    }
    chain_splice(conn->out, &x->own);
}

/* Another one is at the head of the line now. */
static void next_turn(struct http_conn *conn) {
    struct http_exchange *x = conn->first;
    if (x == conn->reading) {
        exchange_continue(conn);
    } else if (x->streamed) {
        stream_turn(x);
    }
}

/* All that can leave in order leaves. */
static void advance(struct http_conn *conn) {
    while (conn->first != NULL && conn->first->finished) {
        struct http_exchange *x = dequeue(conn);
        if (x->own.head != NULL) {
            conn->waiting -= x->own.bytes;
            exchange_move_out(x);
        }
        bool close = x->close_after, wanted = x->request.keep_alive;
        exchange_give(x);
        if (close) {
            conn->abrupt |= wanted;
            conn->closing = true;
            exchanges_drop(conn);
            return;
        }
    }
    if (conn->first != NULL) {
        next_turn(conn);
    }
}

void http_exchange_finish(struct http_exchange *x) {
    struct http_conn *conn = x->conn;
    rm_assert(!x->finished);
    if (conn == NULL) {
        tell_done(x);
        exchange_give(x);
        return;
    }
    rm_assert(conn->reading != x);
    if (x->barred != 0 || x->status == 0 || x->length_at != NULL || x->streamed) {
        response_complete(x);
    }
    conn->shared->responses[x->status / 100]++;
    x->finished = true;
    x->parked = false;
    tell_done(x);
    if (x->own.head != NULL) {
        conn->waiting += x->own.bytes;
    }
    if (conn->first == x) {
        advance(conn);
    }
}

void exchange_refuse(struct http_exchange *x, int status) {
    struct http_conn *conn = x->conn;
    x->request.keep_alive = false;
    x->close_after = true;
    conn->closing = true;
    if (conn->reading == x) {
        conn->reading = NULL;
        conn->state = BODY_NONE;
    }
    if (status != 0) {
        http_response_fail(x, status);
    }
    response_end_connection(x);
    http_exchange_finish(x);
}
