/* The file of a store is truncated while it is used: what is got is right or is not there, and what the kernel sends from it
 * ends with EFAULT (send(2)) where the file ends. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store_rig.h"

enum { OBJECTS = 40, BODY_BYTES = 5000, PINNED_BYTES = 100000, PAGE = 4096 };

struct cut {
    const char *name;
    off_t size, again; /* and then again, unless -1 */
};

static const struct cut cuts[] = {
    { "to nothing", 0, -1 },
    { "behind the head", PAGE, -1 },
    { "in the first object", PAGE + 100, -1 },
    { "at a page", 20 * PAGE, -1 },
    { "inside a page", 20 * PAGE + 1234, -1 },
    { "behind all objects", 100 * PAGE, -1 },
    { "at the last byte but a page", (1 << 20) + PAGE, -1 },
    { "to nothing and grown again", 0, 4 << 20 },
    { "inside a page and grown again", 20 * PAGE + 1234, 4 << 20 },
};

static char body[PINNED_BYTES], found[PINNED_BYTES];

static struct span body_of(uint32_t key, size_t len) {
    for (size_t i = 0; i < len; i++) {
        body[i] = (char)(1 + (key * 31 + i) % 255); /* no zeros: those are what is wrong */
    }
    return span_of(body, len);
}

/* What the kernel takes from there: bytes, and then the error. */
static size_t send_all(const char *from, size_t bytes, int *error) {
    int ends[2];
    size_t sent = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    *error = 0;
    while (sent < bytes && *error == 0) {
        ssize_t n = send(ends[0], from + sent, bytes - sent, MSG_DONTWAIT);
        *error = n < 0 ? errno : 0;
        for (ssize_t got = 0; n > 0 && got < n;) {
            got += read(ends[1], found + sent + got, (size_t)(n - got));
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    close(ends[0]);
    close(ends[1]);
    return sent;
}

static void check_sent(const struct store_rig *rig, const struct store_object *pinned, const struct cut *row) {
    int error;
    size_t from = PAGE + (size_t)(pinned->body.data - store_mapping(rig->store).data);
    size_t sent = send_all(pinned->body.data, PINNED_BYTES, &error);
    struct span right = body_of(1000, PINNED_BYTES);
    size_t end = (size_t)row->size > from ? (size_t)row->size - from : 0;
    size_t whole = end < PINNED_BYTES ? end : PINNED_BYTES;
    assert_memory_equal(found, right.data, sent < whole ? sent : whole);
    if (row->again < 0) {
        assert_int_equal(error, end < PINNED_BYTES && sent < PINNED_BYTES ? EFAULT : 0);
        assert_true(sent <= (end + PAGE - 1) / PAGE * PAGE + PAGE); /* no more than the page that was cut */
    }
}

static void test_cut(void **state) {
    const struct cut *row = *state;
    char path[] = "/tmp/ringmain-cut-XXXXXX", key[16];
    close(mkstemp(path));
    struct store_rig rig;
    struct store_object object, pinned;
    struct store_config config = store_rig_config(path);
    store_rig_open(&rig, &config);
    store_online(rig.store, 0);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(store_rig_put(&rig, key, body_of(i, BODY_BYTES)), STORE_OK);
    }
    assert_int_equal(store_rig_put(&rig, "pinned", body_of(1000, PINNED_BYTES)), STORE_OK);
    assert_true(store_rig_get(&rig, "pinned", &pinned));
    assert_true(store_pin(rig.store, &pinned));
    assert_true(store_rig_get(&rig, "k0", &object)); /* before, and copied after it */
    assert_int_equal(truncate(path, row->size), 0);
    if (row->again >= 0) {
        assert_int_equal(truncate(path, row->again), 0);
    }
    assert_false(store_copy(rig.store, found, object.body.data, BODY_BYTES));
    for (uint32_t i = 0; i < OBJECTS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        assert_false(store_rig_has(&rig, key));
    }
    assert_true(store_rig_figures(&rig).broken);
    assert_int_equal(store_rig_put(&rig, "new", SPAN("x")), STORE_BROKEN);
    assert_false(store_populate(rig.store, pinned.body.data, PINNED_BYTES));
    (void)store_resident(rig.store, &pinned);
    (void)store_rig_resident(&rig);
    (void)store_refresh(rig.store, rig.now_ns, UINT64_MAX);
    check_sent(&rig, &pinned, row);
    store_unpin(rig.store, pinned.record);
    store_offline(rig.store, 0);
    store_rig_close(&rig);
    unlink(path);
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_cut, cuts);
    return rows_run("store_cut", &rows);
}
