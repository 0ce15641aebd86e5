/* `--ring key=value,...`: one row is one text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ring/ring.h"

static struct ring_tuning parsed(const char *text) {
    struct ring_tuning tuning;
    char why[256] = "";
    ring_tuning_default(&tuning);
    if (!ring_tuning_parse(span_text(text), &tuning, why, sizeof why)) fail_msg("'%s': %s", text, why);
    return tuning;
}

static void test_switches(void **state) {
    (void)state;
    assert_int_equal(parsed("taskrun=coop").taskrun, RING_TASKRUN_COOP);
    assert_int_equal(parsed("taskrun=none").taskrun, RING_TASKRUN_NONE);
    assert_int_equal(parsed("taskrun=none,taskrun=defer").taskrun, RING_TASKRUN_DEFER);
    assert_false(parsed("accept=single").accept_multi);
    assert_false(parsed("recv=single").receive_multi);
    assert_false(parsed("files=normal").files_direct);
    assert_false(parsed("ring-fd=off").ring_fd);
    assert_false(parsed("submit=each").submit_batch);
    assert_false(parsed("wait=one").wait_quiet);
    assert_false(parsed("issuer=any").single_issuer);
    assert_false(parsed("iowait=on").no_iowait);
    assert_int_equal(parsed("sq=8,cq=16").cq_entries, 16);
    assert_int_equal(parsed("send=zc:2048").send_zc, 2048);
    assert_int_equal(parsed("send=zc:16K,slab=8M").send_zc, 16384);
    assert_int_equal(parsed("send=zc:16K,slab=8M").slab_bytes, 8 << 20);
    assert_int_equal(parsed("send=zc:1,send=copy").send_zc, 0);
    assert_int_equal(parsed("").send_zc, 0);
    assert_int_equal(parsed("").slab_bytes, 4 << 20);
    assert_true(parsed("store=registered").store_registered);
    assert_false(parsed("").store_registered);
    assert_int_equal(parsed("buffers=2,buffers-max=4,buffer-bytes=64").buffers_max, 4);
    assert_true(parsed("").accept_multi);
}

static void test_presets_come_first(void **state) {
    (void)state;
    struct ring_tuning naive = parsed("naive");
    assert_false(naive.submit_batch);
    assert_false(naive.accept_multi);
    assert_int_equal(naive.taskrun, RING_TASKRUN_NONE);
    assert_true(parsed("naive,recv=multi").receive_multi);
    assert_false(parsed("recv=multi,naive").receive_multi);
    assert_true(parsed("naive,default").submit_batch);
    assert_int_equal(parsed("kernel=6.1").kernel, 601);
    assert_int_equal(parsed("kernel=6.12").kernel, 612);
    assert_false(parsed("kernel=6.6").files_direct);
    assert_true(parsed("kernel=6.6,files=direct").files_direct);
}

/* What is refused, and the word that the message must contain. */
static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
    } rows[] = {
        { "taskrun=fast", "defer, coop or none" }, { "recv=double", "multi or single" }, { "speed=11", "no switch 'speed'" },
        { "kernel=5.4", "6.1, 6.6 or 6.12" },       { "sq=0", "4 to" },                   { "sq=many", "4 to" },
        { "buffers=3", "power of two" },            { "buffers=128,buffers-max=64", "more than buffers-max" },
        { "send=zc", "zc:BYTES" },                  { "send=zc:0", "zc:BYTES" },             { "send=zc:2000M", "zc:BYTES" },
        { "send=zc:K", "zc:BYTES" },                { "slab=1K", "4K to 1024M" },             { "slab=2000M", "4K to 1024M" },
        { "slab=18446744073709551615M", "4K to" },  { "store=yes", "registered or plain" },
        { "recv", "multi or single" },              { "=", "no switch ''" },              { "buffer-bytes=1000000", "16 to" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_tuning before, tuning;
        char why[512] = "";
        ring_tuning_default(&tuning);
        before = tuning;
        if (ring_tuning_parse(span_text(rows[i].text), &tuning, why, sizeof why)) fail_msg("'%s' was taken", rows[i].text);
        if (strstr(why, rows[i].word) == NULL) fail_msg("'%s' says '%s'", rows[i].text, why);
        assert_memory_equal(&before, &tuning, sizeof tuning);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_presets_come_first),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
