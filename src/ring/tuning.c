#include <stdio.h>

#include "mem/assert.h"
#include "ring/ring.h"

void ring_tuning_default(struct ring_tuning *out) {
    *out = (struct ring_tuning){
        .taskrun = RING_TASKRUN_DEFER,
        .accept_multi = true,
        .receive_multi = true,
        .files_direct = true,
        .ring_fd = true,
        .submit_batch = true,
        .wait_quiet = true,
        .single_issuer = true,
        .no_iowait = true,
        .sq_entries = 512,
        .cq_entries = 2048,
        .buffers = 64,
        .buffers_max = 512,
        .buffer_bytes = 16384,
        .slab_bytes = 4 * 1024 * 1024,
    };
}

/* One submission per operation, single-shot, no flags: what a first port from epoll looks like. */
static void preset_naive(struct ring_tuning *out) {
    out->taskrun = RING_TASKRUN_NONE;
    out->accept_multi = false;
    out->receive_multi = false;
    out->files_direct = false;
    out->ring_fd = false;
    out->submit_batch = false;
    out->wait_quiet = false;
    out->single_issuer = false;
    out->no_iowait = false;
}

/* What a kernel lacks, newest first: FIXED_FD_INSTALL came with 6.8, but up to 6.12 a closed direct descriptor is only let go
 * when all requests that were armed before it have ended (resource nodes are recycled in order), so 6.12 runs without direct
 * descriptors, too; a sleeping ring can be told from a disk wait since 6.15. */
static bool preset_kernel(struct span value, struct ring_tuning *out) {
    static const struct {
        struct span name;
        uint32_t kernel;
    } known[] = { { SPAN("6.1"), 601 }, { SPAN("6.6"), 606 }, { SPAN("6.12"), 612 } };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!span_equal(value, known[i].name)) continue;
        ring_tuning_default(out);
        out->kernel = known[i].kernel;
        out->files_direct = false;
        out->no_iowait = false;
        return true;
    }
    return false;
}

enum { KEY_TASKRUN, KEY_BOOL, KEY_NUMBER, KEY_SEND, KEY_SLAB };

enum { SEND_ZC_MAX = 1 << 30, SLAB_MIN = 4096, SLAB_MAX = 1 << 30 }; /* a registered buffer has at most 1 GiB */

struct key {
    struct span name;
    int type;
    size_t offset;
    const char *yes, *no;   /* KEY_BOOL */
    uint32_t min, max;      /* KEY_NUMBER */
    bool power_of_two;
};

#define BOOL(name, field, yes, no) { SPAN(name), KEY_BOOL, offsetof(struct ring_tuning, field), yes, no, 0, 0, false }
#define NUMBER(name, field, min, max, power) \
    { SPAN(name), KEY_NUMBER, offsetof(struct ring_tuning, field), NULL, NULL, min, max, power }

static const struct key keys[] = {
    { SPAN("taskrun"), KEY_TASKRUN, 0, NULL, NULL, 0, 0, false },
    BOOL("accept", accept_multi, "multi", "single"),
    BOOL("recv", receive_multi, "multi", "single"),
    BOOL("files", files_direct, "direct", "normal"),
    BOOL("ring-fd", ring_fd, "on", "off"),
    BOOL("submit", submit_batch, "batch", "each"),
    BOOL("wait", wait_quiet, "quiet", "one"),
    BOOL("issuer", single_issuer, "single", "any"),
    BOOL("iowait", no_iowait, "off", "on"),
    BOOL("store", store_registered, "registered", "plain"),
    { SPAN("send"), KEY_SEND, 0, NULL, NULL, 0, 0, false },
    { SPAN("slab"), KEY_SLAB, 0, NULL, NULL, 0, 0, false },
    NUMBER("sq", sq_entries, 4, 32768, false),
    NUMBER("cq", cq_entries, 8, 65536, false),
    NUMBER("buffers", buffers, 2, 32768, true),
    NUMBER("buffers-max", buffers_max, 2, 32768, true),
    NUMBER("buffer-bytes", buffer_bytes, 16, RING_RECEIVE_BYTES_MAX, false),
};

static bool set_taskrun(struct span value, struct ring_tuning *out, char *why, size_t why_bytes) {
    static const struct span names[] = {
        [RING_TASKRUN_DEFER] = SPAN("defer"), [RING_TASKRUN_COOP] = SPAN("coop"), [RING_TASKRUN_NONE] = SPAN("none")
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!span_equal(value, names[i])) continue;
        out->taskrun = i == 0 ? RING_TASKRUN_DEFER : i == 1 ? RING_TASKRUN_COOP : RING_TASKRUN_NONE;
        return true;
    }
    snprintf(why, why_bytes, "taskrun is defer, coop or none, not '%.*s'", (int)value.len, value.data);
    return false;
}

static bool set_bool(const struct key *key, struct span value, struct ring_tuning *out, char *why, size_t why_bytes) {
    bool yes = span_equal(value, span_text(key->yes));
    if (yes || span_equal(value, span_text(key->no))) {
        *(bool *)((char *)out + key->offset) = yes;
        return true;
    }
    snprintf(why, why_bytes, "%s is %s or %s, not '%.*s'", key->name.data, key->yes, key->no, (int)value.len, value.data);
    return false;
}

static bool set_number(const struct key *key, struct span value, struct ring_tuning *out, char *why, size_t why_bytes) {
    uint64_t number;
    bool ok = span_u64(value, &number);
    if (ok) ok = number >= key->min && number <= key->max;
    if (ok && key->power_of_two) ok = (number & (number - 1)) == 0;
    if (ok) {
        *(uint32_t *)(void *)((char *)out + key->offset) = (uint32_t)number;
        return true;
    }
    snprintf(why, why_bytes, "%s is %s%u to %u, not '%.*s'", key->name.data, key->power_of_two ? "a power of two, " : "",
             key->min, key->max, (int)value.len, value.data);
    return false;
}

/* "16384", "16K", "4M". */
static bool read_bytes(struct span text, uint32_t min, uint32_t max, uint32_t *out) {
    uint64_t unit = 1, number;
    if (text.len > 0 && text.data[text.len - 1] == 'K') unit = 1024;
    if (text.len > 0 && text.data[text.len - 1] == 'M') unit = 1024 * 1024;
    if (!span_u64(unit == 1 ? text : span_first(text, text.len - 1), &number)) return false;
    if (number > max || number * unit > max || number * unit < min) return false;
    *out = (uint32_t)(number * unit);
    return true;
}

static bool set_send(struct span value, struct ring_tuning *out, char *why, size_t why_bytes) {
    static const struct span zc = SPAN("zc:");
    if (span_equal(value, SPAN("copy"))) {
        out->send_zc = 0;
        return true;
    }
    if (value.len > zc.len && span_equal(span_first(value, zc.len), zc) &&
        read_bytes(span_from(value, zc.len), 1, SEND_ZC_MAX, &out->send_zc))
        return true;
    snprintf(why, why_bytes, "send is copy or zc:BYTES, 1 to 1024M, not '%.*s'", (int)value.len, value.data);
    return false;
}

static bool set_slab(struct span value, struct ring_tuning *out, char *why, size_t why_bytes) {
    if (read_bytes(value, SLAB_MIN, SLAB_MAX, &out->slab_bytes)) return true;
    snprintf(why, why_bytes, "slab is 4K to 1024M, not '%.*s'", (int)value.len, value.data);
    return false;
}

static bool set_key(struct span name, struct span value, struct ring_tuning *out, char *why, size_t why_bytes) {
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!span_equal(name, keys[i].name)) continue;
        if (keys[i].type == KEY_TASKRUN) return set_taskrun(value, out, why, why_bytes);
        if (keys[i].type == KEY_SEND) return set_send(value, out, why, why_bytes);
        if (keys[i].type == KEY_SLAB) return set_slab(value, out, why, why_bytes);
        if (keys[i].type == KEY_BOOL) return set_bool(&keys[i], value, out, why, why_bytes);
        return set_number(&keys[i], value, out, why, why_bytes);
    }
    snprintf(why, why_bytes,
             "no switch '%.*s'; there are default, naive, kernel, taskrun, accept, recv, files, ring-fd, submit, wait, "
             "issuer, iowait, send, slab, store, sq, cq, buffers, buffers-max, buffer-bytes",
             (int)name.len, name.data);
    return false;
}

static bool set_item(struct span item, struct ring_tuning *out, char *why, size_t why_bytes) {
    if (span_equal(item, SPAN("default"))) {
        ring_tuning_default(out);
        return true;
    }
    if (span_equal(item, SPAN("naive"))) {
        preset_naive(out);
        return true;
    }
    const char *equals = item.len == 0 ? NULL : memchr(item.data, '=', item.len);
    if (equals == NULL) return set_key(item, SPAN(""), out, why, why_bytes);
    struct span name = span_first(item, (size_t)(equals - item.data));
    struct span value = span_from(item, name.len + 1);
    if (!span_equal(name, SPAN("kernel"))) return set_key(name, value, out, why, why_bytes);
    if (preset_kernel(value, out)) return true;
    snprintf(why, why_bytes, "kernel is 6.1, 6.6 or 6.12, not '%.*s'", (int)value.len, value.data);
    return false;
}

bool ring_tuning_parse(struct span text, struct ring_tuning *out, char *why, size_t why_bytes) {
    struct ring_tuning result = *out;
    while (text.len > 0) {
        const char *comma = memchr(text.data, ',', text.len);
        struct span item = comma == NULL ? text : span_first(text, (size_t)(comma - text.data));
        if (!set_item(item, &result, why, why_bytes)) return false;
        text = span_from(text, item.len + 1);
    }
    if (result.buffers > result.buffers_max) {
        snprintf(why, why_bytes, "buffers (%u) is more than buffers-max (%u)", result.buffers, result.buffers_max);
        return false;
    }
    rm_assert(result.buffer_bytes <= RING_RECEIVE_BYTES_MAX);
    *out = result;
    return true;
}
