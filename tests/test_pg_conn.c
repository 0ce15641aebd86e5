#include <stdio.h>
#include <stdlib.h>

#include "pg_conn_rig.h"
#include "rows.h"

static struct pg_rig rig;
static struct fake_file transcripts;

static void play(void **state, enum fake_way way) {
    static char why[FAKE_WHY_BYTES];
    struct fake_client client = pg_rig_client(&rig);
    if (!fake_play(*state, &client, way, why)) {
        fail_msg("%s", why);
    }
}

static void test_whole(void **state) {
    play(state, FAKE_WHOLE);
}

static void test_splits(void **state) {
    play(state, FAKE_SPLITS);
}

static void test_bytes(void **state) {
    play(state, FAKE_BYTES);
}

/* All transcripts in one way: a group of tests. */
static int run_way(const char *way, CMUnitTestFunction test) {
    struct rows rows = { .count = 0 };
    static char names[FAKE_TRANSCRIPTS_MAX][160];
    for (uint32_t i = 0; i < transcripts.count; i++) {
        snprintf(names[i], sizeof names[i], "%s, %s", transcripts.transcripts[i].name, way);
        rows_add(&rows, names[i], test, &transcripts.transcripts[i]);
    }
    return rows_run("pg_conn", &rows);
}

/* usage: test_pg_conn FOLDER-OF-TRANSCRIPTS */
int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    pg_rig_make(&rig);
    fake_load(&transcripts, argv[1]);
    int failed = run_way("whole", test_whole);
    failed += run_way("cut in two", test_splits);
    failed += run_way("byte by byte", test_bytes);
    pg_rig_release(&rig);
    return failed;
}
