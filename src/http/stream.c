/* Streamed responses and lent bytes. A chunk (RFC 9112 §7.1) is written where it will be sent from: in a block, behind a size
 * of four digits that is filled in when the chunk is closed. So nothing is copied twice, and a chunk is as long as what was
 * written between two flushes, up to a block:
 *
 *     [00a4 CRLF  bytes ... CRLF] [0fd0 CRLF  bytes ... CRLF] [40000 CRLF][lent bytes][CRLF ...
 *
 * Invariant: while a chunk is open, it holds at least one byte and ends where its block, the last one of x->out, ends; and
 * that block has room for the CRLF behind it. */
#include "http/http_priv.h"
#include "mem/assert.h"
#include "mem/copy.h"

enum {
    SIZE_DIGITS = 4,
    SIZE_BYTES = SIZE_DIGITS + 2, /* and CRLF */
    END_BYTES = 2,                /* CRLF */
    SLIVER_BYTES = 64,            /* a rest of a block that is too short to begin a part of a long write in it */
    COPY_BYTES_MAX = 1024,        /* of another chain: more is worth a segment of its own */
    LENT_BYTES_MAX = 1 << 30,     /* in one block, which counts by 32 bits */
};

_Static_assert(BLOCK_BYTES <= 0xffff, "four digits hold the size of any chunk");
_Static_assert(HTTP_RESERVE_BYTES_MAX + SIZE_BYTES + END_BYTES <= BLOCK_ROOM, "any reservation fits into one chunk");

static const char hex[] = "0123456789abcdef";

/* ------------------------------------------------------------------------------------------------------ one chunk ---- */

static void chunk_close(struct http_exchange *x) {
    if (x->chunk_at == NULL) {
        return;
    }
    struct block *tail = x->out->tail;
    size_t size = (size_t)(tail->room + tail->len - x->chunk_at) - SIZE_BYTES;
    rm_assert(size > 0);
    rm_assert(size <= BLOCK_ROOM);
    for (int i = 0; i < SIZE_DIGITS; i++) {
        x->chunk_at[i] = hex[size >> (4 * (SIZE_DIGITS - 1 - i)) & 15];
    }
    memcpy(tail->room + tail->len, "\r\n", END_BYTES);
    chain_commit(x->out, END_BYTES);
    x->chunk_at = NULL;
}

/* Bytes of content that the last block can still take. */
static uint32_t room_left(const struct http_exchange *x) {
    const struct block *tail = x->out->tail;
    uint32_t framing = END_BYTES + (x->chunk_at == NULL ? SIZE_BYTES : 0);
    if (tail == NULL || tail->data != tail->room || BLOCK_ROOM - tail->len < framing) {
        return 0;
    }
    return BLOCK_ROOM - tail->len - framing;
}

char *stream_reserve(struct http_exchange *x, uint32_t n) {
    if (!x->chunked) {
        return chain_reserve(x->out, n);
    }
    if (n > room_left(x)) {
        chunk_close(x);
    }
    uint32_t before = x->chunk_at == NULL ? SIZE_BYTES : 0;
    char *p = chain_reserve(x->out, before + n + END_BYTES);
    return p != NULL ? p + before : NULL;
}

void stream_commit(struct http_exchange *x, uint32_t n) {
    if (n > 0 && x->chunked && x->chunk_at == NULL) {
        struct block *tail = x->out->tail;
        x->chunk_at = tail->room + tail->len;
        memcpy(x->chunk_at, "0000\r\n", SIZE_BYTES);
        chain_commit(x->out, SIZE_BYTES);
    }
    chain_commit(x->out, n);
}

void stream_write(struct http_exchange *x, struct span bytes) {
    while (bytes.len > 0) {
        uint32_t room = room_left(x);
        size_t most = room >= SLIVER_BYTES || room >= bytes.len ? room : HTTP_RESERVE_BYTES_MAX;
        struct span part = span_first(bytes, most);
        char *p = stream_reserve(x, (uint32_t)part.len);
        if (p == NULL) {
            http_response_fail(x, 503); /* no block for the rest */
            return;
        }
        memcpy(p, part.data, part.len);
        stream_commit(x, (uint32_t)part.len);
        bytes = span_from(bytes, part.len);
    }
}

/* ----------------------------------------------------------------------------------------------------------- lent ---- */

/* "1a2b" CRLF, without leading zeros. */
static bool put_size(struct chain *out, size_t size) {
    char text[2 * sizeof size + 2];
    char *end = text + sizeof text, *p = end - 2;
    memcpy(p, "\r\n", 2);
    do {
        *--p = hex[size & 15];
        size >>= 4;
    } while (size > 0);
    return chain_append(out, span_of(p, (size_t)(end - p)));
}

/* The last part has the hook. */
static bool append_parts(struct chain *out, struct span bytes, block_release_fn *release, void *arg) {
    while (bytes.len > LENT_BYTES_MAX) {
        if (!chain_append_foreign(out, span_first(bytes, LENT_BYTES_MAX), NULL, NULL)) {
            return false;
        }
        bytes = span_from(bytes, LENT_BYTES_MAX);
    }
    return chain_append_foreign(out, bytes, release, arg);
}

/* All of it, as a chunk of its own in a chunked body, or nothing. The CRLF goes first where it can fail, so that a hook is in
 * the chain only when nothing can go wrong any more. */
static bool append_lent(struct http_exchange *x, struct span bytes, block_release_fn *release, void *arg) {
    struct chain end;
    chain_init(&end, x->out->blocks);
    bool framed = x->streamed && x->chunked;
    if (framed && !chain_append(&end, SPAN("\r\n"))) {
        return false;
    }
    chunk_close(x);
    struct chain_mark mark = chain_mark(x->out);
    if ((framed && !put_size(x->out, bytes.len)) || !append_parts(x->out, bytes, release, arg)) {
        chain_rollback(x->out, mark);
        chain_reset(&end);
        return false;
    }
    chain_splice(x->out, &end);
    return true;
}

static void let_go(block_release_fn *release, void *arg) {
    if (release != NULL) {
        release(arg);
    }
}

void http_response_lend(struct http_exchange *x, struct span bytes, block_release_fn *release, void *arg) {
    if (!response_writable(x)) {
        let_go(release, arg);
        return;
    }
    x->body_written += bytes.len;
    if (x->silent || bytes.len == 0) {
        let_go(release, arg);
    } else if (!append_lent(x, bytes, release, arg)) {
        let_go(release, arg);
        http_response_fail(x, 503);
    }
}

/* All of it or nothing, likewise. */
static bool append_chain(struct http_exchange *x, struct chain *from) {
    struct chain end;
    chain_init(&end, x->out->blocks);
    bool framed = x->streamed && x->chunked;
    if (framed && !chain_append(&end, SPAN("\r\n"))) {
        return false;
    }
    chunk_close(x);
    if (framed && !put_size(x->out, from->bytes)) {
        chain_reset(&end);
        return false;
    }
    chain_splice(x->out, from);
    chain_splice(x->out, &end);
    return true;
}

void http_response_splice(struct http_exchange *x, struct chain *from) {
    const struct block *head = from->head;
    if (head == NULL) {
        return;
    }
    if (head == from->tail && from->bytes <= COPY_BYTES_MAX) {
        http_response_write(x, span_of(head->data + head->start, from->bytes));
    } else if (response_writable(x)) {
        x->body_written += from->bytes;
        if (!x->silent && !append_chain(x, from)) {
            http_response_fail(x, 503);
        }
    }
    chain_reset(from);
}

void http_response_whole_lent(struct http_exchange *x, int status, struct span content_type, struct span body,
                              block_release_fn *release, void *arg) {
    if (!response_open_whole(x, status, content_type, body.len)) {
        let_go(release, arg);
    } else if (!append_lent(x, body, release, arg)) {
        let_go(release, arg);
        http_response_fail(x, 503);
    }
}

/* --------------------------------------------------------------------------------------------------------- stream ---- */

void http_response_stream(struct http_exchange *x, int status, struct span content_type) {
    response_open_stream(x, status, content_type);
}

/* Nothing of it leaves while its own body is read: how that ends decides whether the connection goes on after it. */
static bool is_its_turn(const struct http_exchange *x) {
    return x->conn != NULL && x->conn->first == x && x->conn->reading != x;
}

void stream_turn(struct http_exchange *x) {
    rm_assert(is_its_turn(x));
    chunk_close(x);
    if (x->out == &x->own) {
        exchange_move_out(x);
        x->out = x->conn->out;
    }
    x->left = true;
}

void stream_pause(struct http_exchange *x) {
    chunk_close(x);
    if (is_its_turn(x)) {
        stream_turn(x);
    }
}

void http_response_flush(struct http_exchange *x) {
    if (x->streamed && !x->failed) {
        stream_pause(x);
    }
}

void http_response_cut(struct http_exchange *x) {
    if (x->failed) {
        return;
    }
    if (!x->streamed) {
        http_response_fail(x, 500);
        return;
    }
    chunk_close(x);
    x->failed = true;
    x->cut = true;
}

void stream_end(struct http_exchange *x) {
    if (x->failed) {
        return;
    }
    chunk_close(x);
    if (x->chunked && !x->silent && !chain_append(x->out, SPAN("0\r\n\r\n"))) {
        http_response_fail(x, 503);
    }
}

size_t http_exchange_waiting(const struct http_exchange *x) {
    return x->conn == NULL || x->conn->first == x ? 0 : x->own.bytes;
}
