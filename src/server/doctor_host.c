/* What the doctor finds out about the machine: the kernel, what guards it, its settings, the clock. */
#include "server/doctor.h"

#include <errno.h>
#include <grp.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------------------- files ---- */

static void read_setting(const char *path, struct doctor_setting *out) {
    char text[64];
    char *end;
    *out = (struct doctor_setting){ 0 };
    if (doctor_read_text(path, text, sizeof text)) {
        out->value = strtoll(text, &end, 10);
        out->known = end != text;
    }
}

/* The number behind "NAME:" in /proc/self/status. */
static bool status_number(const char *name, int base, uint64_t *out) {
    char text[8192];
    if (!doctor_read_text("/proc/self/status", text, sizeof text)) {
        return false;
    }
    const char *at = strstr(text, name);
    if (at == NULL) {
        return false;
    }
    *out = strtoull(at + strlen(name), NULL, base);
    return true;
}

/* --------------------------------------------------------------------------------------------- kernel and guards ---- */

static void try_kernel(struct doctor_facts *facts) {
    struct utsname host;
    if (uname(&host) == 0) {
        snprintf(facts->release, sizeof facts->release, "%.*s", DOCTOR_NAME_BYTES - 1, host.release);
        if (sscanf(host.release, "%u.%u", &facts->kernel_major, &facts->kernel_minor) != 2) {
            facts->kernel_major = facts->kernel_minor = 0;
        }
    }
    facts->has_proc = access("/proc/self/status", R_OK) == 0;
}

/* A sign of a container, as its runtime leaves it. */
static void try_container(struct doctor_facts *facts) {
    static const char *const in_cgroup[] = { "docker", "kubepods", "containerd", "libpod", "lxc" };
    char text[1024];
    const char *name = getenv("container"); /* systemd-nspawn, podman, lxc */
    if (access("/.dockerenv", F_OK) == 0) {
        name = "docker";
    } else if (access("/run/.containerenv", F_OK) == 0) {
        name = "podman";
    } else if (name == NULL && doctor_read_text("/proc/self/cgroup", text, sizeof text)) {
        for (size_t i = 0; i < sizeof in_cgroup / sizeof in_cgroup[0] && name == NULL; i++) {
            name = strstr(text, in_cgroup[i]) != NULL ? in_cgroup[i] : NULL;
        }
    }
    snprintf(facts->container, sizeof facts->container, "%s", name != NULL ? name : "");
}

static bool in_group(gid_t wanted) {
    static gid_t groups[1024];
    int n = getgroups(sizeof groups / sizeof groups[0], groups);
    for (int i = 0; i < n; i++) {
        if (groups[i] == wanted) {
            return true;
        }
    }
    return getegid() == wanted;
}

static void try_guards(struct doctor_facts *facts) {
    enum { CAP_SYS_ADMIN_BIT = 21 }; /* capabilities(7) */
    uint64_t number;
    facts->seccomp.known = status_number("\nSeccomp:", 10, &number);
    facts->seccomp.value = facts->seccomp.known ? (int64_t)number : 0;
    facts->admin = status_number("\nCapEff:", 16, &number) && (number >> CAP_SYS_ADMIN_BIT & 1) != 0;
    read_setting("/proc/sys/kernel/io_uring_disabled", &facts->uring_disabled);
    read_setting("/proc/sys/kernel/io_uring_group", &facts->uring_group);
    facts->in_uring_group = facts->uring_group.known && facts->uring_group.value >= 0 &&
                            in_group((gid_t)facts->uring_group.value);
}

/* ------------------------------------------------------------------------------------------------------- settings ---- */

static void try_ports(struct doctor_facts *facts) {
    char text[64];
    facts->port_first = facts->port_last = (struct doctor_setting){ 0 };
    if (doctor_read_text("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof text) &&
        sscanf(text, "%ld %ld", &facts->port_first.value, &facts->port_last.value) == 2) {
        facts->port_first.known = facts->port_last.known = true;
    }
}

/* "always [madvise] never" */
static void try_huge_pages(struct doctor_facts *facts) {
    char text[DOCTOR_NAME_BYTES];
    facts->huge_pages[0] = '\0';
    if (!doctor_read_text("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text)) {
        return;
    }
    char *chosen = strchr(text, '[');
    if (chosen != NULL) {
        chosen[strcspn(chosen, "]")] = '\0';
        snprintf(facts->huge_pages, sizeof facts->huge_pages, "%.*s", DOCTOR_NAME_BYTES - 1, chosen + 1);
    }
}

static double try_quota(void) {
    char text[4096];
    return doctor_read_text("/proc/self/cgroup", text, sizeof text) ? doctor_quota("/sys/fs/cgroup", text)
                                                                    : doctor_quota("/sys/fs/cgroup", "0::/\n");
}

static void try_settings(struct doctor_facts *facts) {
    read_setting("/proc/sys/net/core/somaxconn", &facts->somaxconn);
    read_setting("/proc/sys/vm/overcommit_memory", &facts->overcommit);
    read_setting("/proc/sys/kernel/perf_event_paranoid", &facts->perf_paranoid);
    try_ports(facts);
    try_huge_pages(facts);
    facts->quota_cpus = try_quota();
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    facts->cpus_online = online > 0 ? (uint32_t)online : 1;
    struct sysinfo info;
    if (sysinfo(&info) == 0) {
        facts->ram_bytes = (uint64_t)(info.totalram + info.totalswap) * info.mem_unit;
    }
}

/* ---------------------------------------------------------------------------------------------------------- clock ---- */

enum { CLOCK_READS = 1000, CLOCK_ROUNDS = 5 };

static double elapsed_ns(const struct timespec *from, const struct timespec *to) {
    return (double)(to->tv_sec - from->tv_sec) * 1e9 + (double)(to->tv_nsec - from->tv_nsec);
}

static void read_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
}

static void call_kernel(void) {
    (void)syscall(SYS_getppid);
}

/* Nanoseconds of one call: the best of some rounds, because others use the machine, too. */
static double price_of(void (*call)(void)) {
    double best = 0;
    for (int round = 0; round < CLOCK_ROUNDS; round++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < CLOCK_READS; i++) {
            call();
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        double price = elapsed_ns(&from, &to) / (double)CLOCK_READS;
        best = round == 0 || price < best ? price : best;
    }
    return best;
}

static void try_clock(struct doctor_facts *facts) {
    facts->clock_ns = price_of(read_clock);
    facts->call_ns = price_of(call_kernel);
    char text[DOCTOR_NAME_BYTES] = "";
    (void)doctor_read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource", text, sizeof text);
    snprintf(facts->clock_source, sizeof facts->clock_source, "%.*s", (int)strcspn(text, "\n"), text);
}

/* ------------------------------------------------------------------------------------- the kernel's count of calls ---- */

/* Counts the system calls of this process with the tracepoint that bench/compare uses. 0 or errno. */
static int try_counting(void) {
    struct doctor_setting id;
    read_setting("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", &id);
    if (!id.known) {
        read_setting("/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id", &id);
    }
    if (!id.known) {
        return access("/sys/kernel/tracing/events", F_OK) == 0 || errno == EACCES ? EACCES : ENOENT;
    }
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_TRACEPOINT, .size = sizeof attributes, .config = (uint64_t)id.value,
    };
    long fd = syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    close((int)fd);
    return 0;
}

void doctor_try_host(struct doctor_facts *facts) {
    try_kernel(facts);
    try_container(facts);
    try_guards(facts);
    try_settings(facts);
    try_clock(facts);
    facts->count_error = try_counting();
}
