/* The CPU quota of cgroups of both versions, read from a folder that is made up. */
#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rows.h"
#include "server/doctor.h"

static char root[] = "/tmp/doctor-quota-XXXXXX";

/* Files of a row: "path=text", at most four. */
struct quota_row {
    const char *name;
    const char *files[4];
    const char *cgroups; /* /proc/self/cgroup */
    double quota;
};

static const struct quota_row rows[] = {
    { "none", { NULL }, "0::/\n", 0 },
    { "nothing known", { NULL }, "", 0 },
    { "version 2", { "cpu.max=200000 100000\n" }, "0::/\n", 2 },
    { "version 2, no limit", { "cpu.max=max 100000\n" }, "0::/\n", 0 },
    { "version 2, below one", { "a/cpu.max=25000 100000\n" }, "0::/a\n", 0.25 },
    { "the tightest counts: above", { "a/cpu.max=100000 100000\n", "a/b/cpu.max=400000 100000\n" }, "0::/a/b\n", 1 },
    { "the tightest counts: below", { "a/cpu.max=400000 100000\n", "a/b/cpu.max=100000 100000\n" }, "0::/a/b\n", 1 },
    { "a folder that the container can't see", { "cpu.max=150000 100000\n" }, "0::/x/y/z\n", 1.5 },
    { "version 1", { "cpu/a/cpu.cfs_quota_us=50000\n", "cpu/a/cpu.cfs_period_us=100000\n" }, "4:cpu:/a\n", 0.5 },
    { "version 1, with others", { "cpu/a/cpu.cfs_quota_us=50000\n", "cpu/a/cpu.cfs_period_us=100000\n" },
      "5:memory:/m\n4:cpuacct,cpu:/a\n0::/\n", 0.5 },
    { "version 1, no limit", { "cpu/cpu.cfs_quota_us=-1\n", "cpu/cpu.cfs_period_us=100000\n" }, "4:cpu,cpuacct:/\n", 0 },
    { "another controller's name begins alike", { "cpu/a/cpu.cfs_quota_us=50000\n", "cpu/a/cpu.cfs_period_us=100000\n" },
      "3:cpuset:/a\n2:cpuacct:/a\n", 0 },
    { "nonsense", { "cpu.max=\n" }, "0::/\nxyz\n::\n4:cpu\n", 0 },
};

static void write_file(const char *entry) {
    char path[256];
    const char *text = strchr(entry, '=') + 1;
    int len = snprintf(path, sizeof path, "%s/%.*s", root, (int)(text - 1 - entry), entry);
    for (int i = (int)strlen(root) + 1; i < len; i++) {
        if (path[i] == '/') {
            path[i] = '\0';
            mkdir(path, 0700);
            path[i] = '/';
        }
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void remove_file(const char *entry) {
    char path[256];
    snprintf(path, sizeof path, "%s/%.*s", root, (int)strcspn(entry, "="), entry);
    unlink(path);
}

static void test_quota(void **state) {
    const struct quota_row *row = *state;
    for (int i = 0; i < 4 && row->files[i] != NULL; i++) {
        write_file(row->files[i]);
    }
    double quota = doctor_quota(root, row->cgroups);
    for (int i = 0; i < 4 && row->files[i] != NULL; i++) {
        remove_file(row->files[i]);
    }
    if (quota < row->quota - 0.001 || quota > row->quota + 0.001) {
        fail_msg("%f, not %f", quota, row->quota);
    }
}

int main(void) {
    static struct rows all;
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    ROWS_ADD(&all, test_quota, rows);
    int failed = rows_run("doctor_quota", &all);
    static const char *const folders[] = { "a/b", "a", "cpu/a", "cpu", "" };
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        rmdir(path);
    }
    return failed;
}
