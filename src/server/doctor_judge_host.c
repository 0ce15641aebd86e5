/* What the doctor thinks of the machine: limits, settings, clock. Pure functions of the facts. */
#include "server/doctor.h"

#include <errno.h>
#include <string.h>

bool doctor_judge_proc(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->has_proc) {
        return doctor_say(out, DOCTOR_PASS, NULL, "/proc is mounted");
    }
    return doctor_say(out, DOCTOR_WARN, "mount -t proc proc /proc, for a full report; the server itself does without",
                      "/proc is not mounted: kernel settings, cgroups and seccomp could not be read");
}

/* Only what was tried counts; but a number tells a person what to expect. */
bool doctor_judge_kernel(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->kernel_major == 0) {
        return doctor_say(out, DOCTOR_PASS, NULL, "%s: a release that says nothing",
                          facts->release[0] != '\0' ? facts->release : "unknown");
    }
    uint32_t version = facts->kernel_major * 100 + facts->kernel_minor;
    if (version < 601 && facts->io != RING_EPOLL && facts->uring.compiled) {
        return doctor_say(out, DOCTOR_WARN, "use Linux 6.1 or newer (6.12 has all that matters), or --io epoll",
                          "%s: io_uring is recommended from 6.1 on", facts->release);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "%s", facts->release);
}

bool doctor_judge_container(const struct doctor_facts *facts, struct doctor_verdict *out) {
    static const char *const modes[] = { "off", "strict", "a filter is on" };
    if (!facts->has_proc && facts->container[0] == '\0') {
        return false;
    }
    bool known = facts->seccomp.known && facts->seccomp.value >= 0 && facts->seccomp.value <= 2;
    return doctor_say(out, DOCTOR_PASS, NULL, "%s; seccomp: %s",
                      facts->container[0] != '\0' ? facts->container : "no sign of one",
                      known ? modes[facts->seccomp.value] : "unknown");
}

/* --------------------------------------------------------------------------------------------------------- limits ---- */

/* Asked for fewer connections than workers: no limit of the machine's. */
bool doctor_few_connections(const struct doctor_facts *facts) {
    uint32_t given = facts->connections_given;
    return given > 0 && given < facts->workers && given <= facts->files_connections;
}

bool doctor_judge_files(const struct doctor_facts *facts, struct doctor_verdict *out) {
    enum { CONNECTIONS_FEW = 1000 };
    char fix[DOCTOR_TEXT_BYTES];
    if (doctor_few_connections(facts)) {
        snprintf(fix, sizeof fix, "--max-connections %u or more, or --workers %u", facts->workers, facts->connections_given);
        return doctor_say(out, DOCTOR_FAIL, fix, "%s", facts->files_why);
    }
    if (facts->files_why[0] != '\0') {
        snprintf(fix, sizeof fix, "ulimit -n %lu (LimitNOFILE=%lu), or lower --max-connections or --workers",
                 (unsigned long)facts->files_needed, (unsigned long)facts->files_needed);
        return doctor_say(out, DOCTOR_FAIL, fix, "%s", facts->files_why);
    }
    if (facts->connections_given == 0 && facts->max_connections < CONNECTIONS_FEW) {
        return doctor_say(out, DOCTOR_WARN, "raise the hard limit (ulimit -Hn 65536, LimitNOFILE=65536)",
                          "%lu: room for %u connections only", (unsigned long)facts->files, facts->max_connections);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "%lu: room for %u connections", (unsigned long)facts->files,
                      facts->max_connections);
}

bool doctor_judge_backlog(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (!facts->somaxconn.known) {
        return false;
    }
    long most = (long)facts->somaxconn.value;
    if (most < DOCTOR_BACKLOG) {
        return doctor_say(out, DOCTOR_WARN, "sysctl -w net.core.somaxconn=4096 (for good: a line in /etc/sysctl.d)",
                          "net.core.somaxconn is %ld: of a burst of clients fewer can wait than the %d that the server asks "
                          "for", most, DOCTOR_BACKLOG);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "net.core.somaxconn is %ld; the server asks for %d", most, DOCTOR_BACKLOG);
}

bool doctor_judge_ports(const struct doctor_facts *facts, struct doctor_verdict *out) {
    enum { PORTS_FEW = 10000 };
    char fix[DOCTOR_TEXT_BYTES];
    if (!facts->port_first.known || !facts->port_last.known) {
        return false;
    }
    long first = (long)facts->port_first.value, last = (long)facts->port_last.value;
    if (facts->listen_port != 0) {
        snprintf(fix, sizeof fix, "add %u to the list in net.ipv4.ip_local_reserved_ports (sysctl), or listen below %ld",
                 facts->listen_port, first);
        return doctor_say(out, DOCTOR_WARN, fix, "port %u is one of the ephemeral ports %ld to %ld: an outgoing connection may "
                          "have it when the server starts", facts->listen_port, first, last);
    }
    if (last - first + 1 < PORTS_FEW) {
        return doctor_say(out, DOCTOR_WARN, "sysctl -w net.ipv4.ip_local_port_range='15000 64999'",
                          "%ld to %ld: %ld ephemeral ports, so few outgoing connections to one address (a database, a load "
                          "generator)", first, last, last - first + 1);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "%ld to %ld: %ld ephemeral ports", first, last, last - first + 1);
}

bool doctor_judge_memory(const struct doctor_facts *facts, struct doctor_verdict *out) {
    double mib = (double)facts->worker_bytes * facts->workers / (1024.0 * 1024.0);
    const char *fix = "lower --max-connections or --workers (--plan shows what they cost)";
    if (facts->map_error != 0) {
        return doctor_say(out, DOCTOR_FAIL, facts->overcommit.known && facts->overcommit.value == 2
                                                ? "sysctl -w vm.overcommit_memory=0, or lower --max-connections or --workers"
                                                : fix,
                          "the plan of %.0f MiB cannot be mapped: %s", mib, strerror(facts->map_error));
    }
    const char *mode = !facts->overcommit.known         ? "unknown"
                       : facts->overcommit.value == 2   ? "2 (none: each planned page counts)"
                       : facts->overcommit.value == 1   ? "1 (always)"
                                                        : "0 (pages count when they are used)";
    if (facts->ram_bytes > 0 && mib * 1024 * 1024 > (double)facts->ram_bytes) {
        return doctor_say(out, DOCTOR_WARN, fix, "the plan of %.0f MiB is more than the machine's %.0f MiB, if all connections "
                          "come and all are busy; vm.overcommit_memory is %s", mib,
                          (double)facts->ram_bytes / (1024.0 * 1024.0), mode);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "the plan of %.0f MiB can be mapped; vm.overcommit_memory is %s", mib, mode);
}

bool doctor_judge_huge_pages(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->huge_pages[0] == '\0') {
        return false;
    }
    if (strcmp(facts->huge_pages, "always") == 0) {
        return doctor_say(out, DOCTOR_WARN, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
                          "transparent huge pages are always on: a pool that is planned large and used a little may take 2 MiB "
                          "where 4 KiB would do");
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "transparent huge pages: %s", facts->huge_pages);
}

/* ----------------------------------------------------------------------------------------------------------- CPUs ---- */

bool doctor_judge_quota(const struct doctor_facts *facts, struct doctor_verdict *out) {
    char fix[DOCTOR_TEXT_BYTES];
    if (facts->quota_cpus <= 0) {
        return facts->has_proc && doctor_say(out, DOCTOR_PASS, NULL, "no cgroup limits the CPU");
    }
    uint32_t whole = facts->quota_cpus >= 1 ? (uint32_t)facts->quota_cpus : 1;
    if (facts->workers > whole) {
        snprintf(fix, sizeof fix, "--workers %u, or raise the quota (cpu.max, docker run --cpus, Kubernetes: limits.cpu)",
                 whole);
        return doctor_say(out, DOCTOR_WARN, fix, "a cgroup grants %.2f CPUs to %u workers: all of them stand still when it is "
                          "used up", facts->quota_cpus, facts->workers);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "a cgroup grants %.2f CPUs, enough for %u worker%s", facts->quota_cpus,
                      facts->workers, facts->workers == 1 ? "" : "s");
}

bool doctor_judge_affinity(const struct doctor_facts *facts, struct doctor_verdict *out) {
    char fix[DOCTOR_TEXT_BYTES];
    if (facts->workers > facts->cpus) {
        snprintf(fix, sizeof fix, "--workers %u, or a wider mask (taskset, CPUAffinity=)", facts->cpus);
        return doctor_say(out, DOCTOR_WARN, fix, "%u workers share %u CPU%s of the affinity mask, and are not pinned",
                          facts->workers, facts->cpus, facts->cpus == 1 ? "" : "s");
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "%u worker%s on %u of %u CPUs, pinned", facts->workers,
                      facts->workers == 1 ? "" : "s", facts->cpus, facts->cpus_online);
}

/* -------------------------------------------------------------------------------------------------------- network ---- */

bool doctor_judge_reuse_port(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->reuse_port_error == 0) {
        return doctor_say(out, DOCTOR_PASS, NULL, "two listeners on one port: each worker has its own");
    }
    return doctor_say(out, facts->workers > 1 ? DOCTOR_FAIL : DOCTOR_WARN,
                      "listen on a Unix socket (--listen unix:PATH), which the workers share, or bring the loopback interface "
                      "up and run doctor again",
                      "two listeners on one port of 127.0.0.1: %s", strerror(facts->reuse_port_error));
}

bool doctor_judge_listen(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->listen_code == 0) {
        return doctor_say(out, DOCTOR_PASS, NULL, "every address is free");
    }
    return doctor_say(out, DOCTOR_FAIL, "stop who has it (ss -ltnp), or choose another --listen", "%s", facts->listen_why);
}

/* ------------------------------------------------------------------------------------------------------ measuring ---- */

/* A clock of the vDSO costs tens of nanoseconds; one that enters the kernel costs at least what a system call does. */
bool doctor_judge_clock(const struct doctor_facts *facts, struct doctor_verdict *out) {
    const double clock_cheap_ns = 100;
    const char *source = facts->clock_source[0] != '\0' ? facts->clock_source : "unknown";
    if (facts->clock_ns > clock_cheap_ns && facts->clock_ns > 0.8 * facts->call_ns) {
        return doctor_say(out, DOCTOR_WARN, "choose a clock source that the vDSO can read (tsc, kvm-clock): "
                          "/sys/devices/system/clocksource/clocksource0/available_clocksource",
                          "reading the clock takes %.0f ns, as a system call does (%.0f ns); clock source: %s", facts->clock_ns,
                          facts->call_ns, source);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "reading the clock takes %.0f ns, a system call %.0f ns; clock source: %s",
                      facts->clock_ns, facts->call_ns, source);
}

bool doctor_judge_counting(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->count_error == 0) {
        return doctor_say(out, DOCTOR_PASS, NULL, "the kernel's own count of system calls can be read (bench/compare)");
    }
    char paranoid[DOCTOR_NAME_BYTES] = "";
    if (facts->perf_paranoid.known) {
        snprintf(paranoid, sizeof paranoid, "; kernel.perf_event_paranoid is %ld", (long)facts->perf_paranoid.value);
    }
    const char *fix = facts->count_error == ENOENT
                          ? "mount -t tracefs tracefs /sys/kernel/tracing; needed by bench/compare only"
                          : "run bench/compare as root, or with CAP_PERFMON and kernel.perf_event_paranoid=-1; the server "
                            "needs neither";
    return doctor_say(out, DOCTOR_WARN, fix, "the kernel's own count of system calls cannot be read: %s%s",
                      strerror(facts->count_error), paranoid);
}
