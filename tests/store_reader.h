/* For tests of one store at a time, `rig`: small, in memory, the same in each run, with reader 0 online. */
#ifndef RM_TESTS_STORE_READER_H
#define RM_TESTS_STORE_READER_H

#include "store_rig.h"

static struct store_rig rig;
static char bytes[STORE_MIB];

static inline int setup(void **state) {
    (void)state;
    struct store_config config = store_rig_config(NULL);
    store_rig_open(&rig, &config);
    store_rig_fix(&rig);
    store_online(rig.store, 0);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    store_offline(rig.store, 0);
    store_offline(rig.store, 1);
    store_rig_close(&rig);
    return 0;
}

static inline struct store_figures figures(void) {
    return store_rig_figures(&rig);
}

static inline struct span body_of(uint32_t len, char fill) {
    memset(bytes, fill, len);
    return span_of(bytes, len);
}

static inline void assert_body(const struct store_object *object, uint32_t len, char fill) {
    static char copy[STORE_MIB];
    assert_int_equal(object->body.len, len);
    assert_true(store_copy(rig.store, copy, object->body.data, len));
    assert_memory_equal(copy, body_of(len, fill).data, len);
}

#endif
