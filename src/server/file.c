#include "server/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http/cache.h"
#include "mem/assert.h"
#include "server/cache.h"
#include "server/exchange.h"
#include "server/log.h"
#include "server/waits.h"
#include "server/worker.h"

static struct filing *filing_of(const struct rm_exchange *x) {
    return x->caching->filing;
}

/* ------------------------------------------------------------------------------------------------------ stamps ---- */

/* Without a grain it would be a strong validator as it is. */
struct file_stamp file_stamp(const struct stat *status, int64_t now_ns) {
    struct file_stamp stamp = {
        .bytes = (uint64_t)status->st_size,
        .changed_ns = (int64_t)status->st_mtim.tv_sec * (int64_t)NS_PER_SECOND + status->st_mtim.tv_nsec,
    };
    int64_t since_ns = now_ns - stamp.changed_ns;
    if (since_ns >= 0 && since_ns < FILE_RECENT_MS * (int64_t)NS_PER_MS) {
        stamp.seen_ns = now_ns;
    }
    return stamp;
}

uint32_t file_etag(const struct file_stamp *stamp, char out[static FILE_ETAG_BYTES_MAX + 1]) {
    unsigned long bytes = stamp->bytes, changed = (unsigned long)stamp->changed_ns,
                  seen = (unsigned long)stamp->seen_ns;
    int len = stamp->seen_ns == 0 ? snprintf(out, FILE_ETAG_BYTES_MAX + 1, "\"%lx-%lx\"", bytes, changed)
                                  : snprintf(out, FILE_ETAG_BYTES_MAX + 1, "\"%lx-%lx-%lx\"", bytes, changed, seen);
    rm_assert(len > 0 && len <= FILE_ETAG_BYTES_MAX);
    return (uint32_t)len;
}

/* ---------------------------------------------------------------------------------------- on a helper's thread ---- */

static int32_t ask(int fd, struct stat *status) {
    return fstat(fd, status) == 0 ? 0 : -errno;
}

static void shut(void *arg) {
    struct filing *filing = arg;
    (void)close(filing->fd); /* it was only read */
    filing->fd = -1;
}

/* O_NONBLOCK: a FIFO would wait for its writer. */
static void look(void *arg) {
    struct filing *filing = arg;
    struct stat status;
    struct timespec now;
    filing->tries++;
    filing->fd = open(filing->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    filing->error = filing->fd < 0 ? -errno : ask(filing->fd, &status);
    if (filing->error != 0) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    filing->plain = S_ISREG(status.st_mode);
    filing->stamp = file_stamp(&status, (int64_t)now.tv_sec * (int64_t)NS_PER_SECOND + now.tv_nsec);
}

/* Is what was read what it still is? If not, what there is now is looked at. The file is open afterwards in that case only. */
static void check(void *arg) {
    struct filing *filing = arg;
    struct stat status;
    int32_t error = ask(filing->fd, &status);
    struct file_stamp stamp = error == 0 ? file_stamp(&status, 0) : (struct file_stamp){ 0 };
    bool same = error == 0 && filing->done == stamp.bytes && stamp.bytes == filing->stamp.bytes &&
                stamp.changed_ns == filing->stamp.changed_ns;
    shut(filing);
    if (!same && filing->tries < FILE_TRIES) {
        look(filing);
    } else if (!same) {
        filing->error = -ESTALE;
    }
}

/* ---------------------------------------------------------------------------------------------------- its end ---- */

void file_finish(struct rm_exchange *x) {
    struct filing *filing = filing_of(x);
    struct worker *worker = worker_of(x->http.shared);
    if (filing->fd >= 0) {
        shut(filing);
    }
    if (filing->fills) {
        store_abandon(worker->store, &filing->fill);
    }
    pool_give(&worker->pools[PLAN_OFFLOADS], filing->offload);
    x->caching->filing = NULL;
}

static void leave_all(const struct link *exchanges) {
    for (struct link *link = exchanges->next; link != exchanges; link = link->next) {
        struct rm_exchange *x = LIST_OWNER(link, struct rm_exchange, parked);
        if (x->caching != NULL && x->caching->filing != NULL) {
            file_finish(x);
        }
    }
}

void file_leave(struct worker *worker) {
    leave_all(&worker->due);
    leave_all(&worker->parked);
}

static enum rm_step done(struct rm_exchange *x) {
    (void)x;
    return RM_DONE;
}

static enum rm_step hand_over(struct rm_exchange *x, void (*run)(void *arg), rm_handler_fn *next) {
    struct filing *filing = filing_of(x);
    wait_offload(x, filing->offload, WAIT_FILE, run, filing);
    x->next = next;
    return RM_PARK;
}

/* Nothing more happens but that the file is closed. */
static enum rm_step leave(struct rm_exchange *x) {
    return filing_of(x)->fd >= 0 ? hand_over(x, shut, done) : RM_DONE;
}

/* ------------------------------------------------------------------------------------------------------ errors ---- */

static void fail(struct rm_exchange *x, int status) {
    x->shed = true; /* it has been logged, or is no mistake of the handler's */
    http_response_fail(&x->http, status);
}

/* Fields that were meant for the file are not for what is answered in its place. */
static void answer_missing(struct rm_exchange *x) {
    x->http.extra_fields = span_of(NULL, 0);
    http_response_whole(&x->http, 404, SPAN("text/plain"), SPAN("no such file\n"));
}

static void tell(const struct filing *filing, const char *what, int32_t error) {
    log_line(LOG_ERROR, "rm_file: '%s': %s: %s", filing->path, what, strerror(-error));
}

static void answer_error(struct rm_exchange *x, const char *what, int32_t error) {
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EACCES:
    case EPERM:
    case ENXIO: answer_missing(x); break; /* ENXIO: a socket */
    case ESTALE: fail(x, 503); break;     /* it changes all the time */
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        tell(filing_of(x), what, error);
        fail(x, 503);
        break;
    default:
        tell(filing_of(x), what, error);
        fail(x, 500);
        break;
    }
}

static void answer_no_room(struct rm_exchange *x, enum store_result result) {
    const struct filing *filing = filing_of(x);
    switch (result) {
    case STORE_TOO_LARGE:
        log_line(LOG_ERROR, "rm_file: '%s': its %lu bytes and its head are more than an eighth of --store-bytes, or 4G",
                 filing->path, (unsigned long)filing->stamp.bytes);
        fail(x, 500);
        break;
    case STORE_OK:
    case STORE_FULL:
    case STORE_OUTDATED: fail(x, 503); break;
    case STORE_BROKEN:
        log_line(LOG_ERROR, "rm_file: '%s': the store was truncated: it takes nothing any more", filing->path);
        fail(x, 500);
        break;
    }
}

/* --------------------------------------------------------------------------------------------------- the store ---- */

/* Is the client there, or somebody else who waits for this response? */
static bool is_wanted(const struct rm_exchange *x) {
    return (x->http.conn != NULL || x->caching->leads) && !x->http.failed;
}

/* A clock that was wrong may have left a time that is still to come. RFC 9110 §8.8.2.1 */
static struct span last_modified(const struct rm_exchange *x, char out[static HTTP_DATE_BYTES + 1]) {
    int64_t seconds = filing_of(x)->stamp.changed_ns / (int64_t)NS_PER_SECOND;
    int64_t now = ring_wall_seconds(worker_of(x->http.shared)->ring);
    http_date(seconds < now ? seconds : now, out);
    return span_of(out, filing_of(x)->stamp.changed_ns >= 0 ? HTTP_DATE_BYTES : 0);
}

/* All of the response but its body. Returns its bytes; 0: the handler has set more fields than a head has room for. */
static uint32_t make_meta(struct rm_exchange *x, char out[static HTTP_META_BYTES_MAX]) {
    struct filing *filing = filing_of(x);
    struct http_cache_rule rule = cache_fill_rule(x);
    char date[HTTP_DATE_BYTES + 1], tag[FILE_ETAG_BYTES_MAX + 1];
    struct span etag = span_of(tag, file_etag(&filing->stamp, tag));
    struct http_captured captured;
    filing->storable = http_captured_elsewhere(&x->http, &rule, filing->type, filing->stamp.bytes, &captured);
    captured.as_it_is |= !x->caching->captures;
    captured.modified = last_modified(x, date);
    uint32_t bytes = http_meta_bytes(&captured, &rule, etag);
    if (bytes > 0) {
        http_meta_put(&captured, &rule, etag, out);
    }
    return bytes;
}

static enum store_result reserve(struct rm_exchange *x, struct span meta) {
    struct filing *filing = filing_of(x);
    struct store *store = worker_of(x->http.shared)->store;
    const struct caching *caching = x->caching;
    if (filing->stamp.bytes > UINT32_MAX) {
        return STORE_TOO_LARGE;
    }
    enum store_result result = store_reserve(store, caching->key, caching->hash, (uint32_t)meta.len,
                                             (uint32_t)filing->stamp.bytes, &filing->fill);
    filing->fills = result == STORE_OK;
    if (filing->fills && !store_fill_write(store, filing->fill.meta, meta.data, meta.len)) {
        return STORE_BROKEN;
    }
    return result;
}

/* ---------------------------------------------------------------------------------------------------- the steps ---- */

static enum rm_step opened(struct rm_exchange *x);

static enum rm_step checked(struct rm_exchange *x) {
    struct filing *filing = filing_of(x);
    if (filing->error != 0 || filing->fd >= 0) { /* it has changed */
        store_abandon(worker_of(x->http.shared)->store, &filing->fill);
        filing->fills = false;
        return opened(x);
    }
    filing->fills = false;
    cache_answer_fill(x, &filing->fill, filing->storable);
    return RM_DONE;
}

static enum rm_step read_on(struct rm_exchange *x);

static enum rm_step begin_read(struct rm_exchange *x) {
    struct filing *filing = filing_of(x);
    uint32_t left = filing->fill.body_len - filing->done;
    uint32_t bytes = left < FILE_PIECE_BYTES ? left : (uint32_t)FILE_PIECE_BYTES;
    filing->read = (struct ring_read){ .user = &filing->offload->owner };
    wait_begin(&filing->offload->wait, x, WAIT_FILE);
    ring_read(worker_of(x->http.shared)->ring, filing->fd, filing->done, filing->fill.body + filing->done, bytes,
              &filing->read);
    x->next = read_on;
    return RM_PARK;
}

/* A piece is there. Fewer bytes than were asked for: the file has become shorter, which the check will see. */
static enum rm_step read_on(struct rm_exchange *x) {
    struct filing *filing = filing_of(x);
    if (!is_wanted(x)) {
        return leave(x);
    }
    if (filing->read.error != 0) {
        answer_error(x, "read", filing->read.error);
        return leave(x);
    }
    filing->done += filing->read.done;
    bool ended = filing->read.done < filing->read.bytes || filing->done == filing->fill.body_len;
    return ended ? hand_over(x, check, checked) : begin_read(x);
}

/* An answer of which nobody needs the body: HEAD, 304, 412. Not when it may be shared: then it is read. */
static bool answer_without_body(struct rm_exchange *x, struct span meta) {
    struct http_stored stored;
    if (x->caching->captures || !http_meta_read(meta, &stored)) {
        return false;
    }
    x->http.extra_fields = span_of(NULL, 0);
    if (http_stored_begin(&x->http, &stored) != HTTP_STORED_FOLLOWS) {
        return true;
    }
    http_stored_undo(&x->http);
    x->http.extra_fields = filing_of(x)->fields;
    return false;
}

static enum rm_step opened(struct rm_exchange *x) {
    struct filing *filing = filing_of(x);
    char meta[HTTP_META_BYTES_MAX];
    if (!is_wanted(x)) {
        return leave(x);
    }
    if (x->http.status != 0) {
        exchange_mistake(x, "began a response of its own beside rm_file");
        return leave(x);
    }
    if (filing->error != 0 || !filing->plain) {
        answer_error(x, "open", filing->error != 0 ? filing->error : -ENOENT);
        return leave(x);
    }
    uint32_t meta_bytes = make_meta(x, meta);
    if (meta_bytes == 0) {
        exchange_mistake(x, "has set more fields than a file's head has room for");
        return leave(x);
    }
    if (answer_without_body(x, span_of(meta, meta_bytes))) {
        return leave(x);
    }
    enum store_result result = reserve(x, span_of(meta, meta_bytes));
    if (result != STORE_OK) {
        answer_no_room(x, result);
        return leave(x);
    }
    filing->done = 0;
    return filing->fill.body_len > 0 ? begin_read(x) : hand_over(x, check, checked);
}

/* -------------------------------------------------------------------------------------------------- the call ---- */

static const char *mistake_of(const struct rm_exchange *x, struct span type) {
    return worker_of(x->http.shared)->store == NULL           ? "called rm_file, but no route caches: there is no store"
           : x->http.status != 0                              ? "called rm_file when its response was begun"
           : x->caching != NULL && x->caching->filing != NULL ? "called rm_file twice"
           : !http_type_fits(type)                            ? "called rm_file with a content type that can't be sent"
                                                              : NULL;
}

/* NULL: the workspace is full, or the jobs are all under way. The response has failed then. */
static struct filing *begin(struct rm_exchange *x, struct span type, struct span path) {
    struct worker *worker = worker_of(x->http.shared);
    struct caching *caching = x->caching != NULL ? x->caching : cache_remember(x, SPAN(""), 0);
    struct filing *filing = rm_alloc(x, sizeof *filing);
    char *texts = rm_alloc(x, type.len + path.len + 2);
    if (caching == NULL || filing == NULL || texts == NULL) {
        http_response_fail(&x->http, 500);
        return NULL;
    }
    *filing = (struct filing){ .fd = -1, .type = { texts, type.len }, .fields = x->http.extra_fields };
    memcpy(texts, type.data, type.len);
    filing->path = memcpy(texts + type.len + 1, path.data, path.len);
    filing->offload = pool_take(&worker->pools[PLAN_OFFLOADS]);
    if (filing->offload == NULL) {
        exchange_shed(x);
        return NULL;
    }
    caching->filing = filing;
    return filing;
}

enum rm_step rm_file(struct rm_exchange *x, const char *content_type, const char *path) {
    struct span type = span_text(content_type);
    if (!exchange_may_wait(x, "called rm_file from its piece function") || x->http.failed) {
        return RM_DONE;
    }
    const char *mistake = mistake_of(x, type);
    if (mistake != NULL) {
        exchange_mistake(x, mistake);
        return RM_DONE;
    }
    if (begin(x, type, span_text(path)) == NULL) {
        return RM_DONE;
    }
    x->end = NULL;
    return hand_over(x, look, opened);
}
