/* The doctor's verdicts and advice, from facts that are made up: judging is a pure function. */
#include "server/doctor.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "rows.h"

/* --------------------------------------------------------------------------------------------- a machine to alter ---- */

static char *no_arguments[] = { NULL };

/* Everything as it should be: 2 CPUs, 2 workers, both backends. */
static struct doctor_facts healthy(void) {
    return (struct doctor_facts){
        .program = "./hello",
        .argv = no_arguments,
        .io = RING_AUTO,
        .workers = 2,
        .max_connections = 15000,
        .worker_bytes = 100 << 20,
        .release = "6.12.9",
        .kernel_major = 6,
        .kernel_minor = 12,
        .has_proc = true,
        .seccomp = { true, 0 },
        .uring_disabled = { true, 0 },
        .uring_group = { true, -1 },
        .features_tried = true,
        .rings_open = 2,
        .rings_cq = 2048,
        .locked_bytes = 8 << 20,
        .files = 20000,
        .files_needed = 15082,
        .files_connections = 19918,
        .somaxconn = { true, 4096 },
        .port_first = { true, 32768 },
        .port_last = { true, 60999 },
        .overcommit = { true, 0 },
        .ram_bytes = (uint64_t)8 << 30,
        .huge_pages = "madvise",
        .cpus = 2,
        .cpus_online = 2,
        .clock_ns = 25,
        .call_ns = 150,
        .clock_source = "tsc",
        .perf_paranoid = { true, 2 },
        .uring = { .compiled = true, .tried = true, .fine = true, .first_ns = 800000 },
        .epoll = { .compiled = true, .tried = true, .fine = true, .first_ns = 300000 },
    };
}

static const struct doctor_check *find(const struct doctor_report *report, const char *name) {
    for (uint32_t i = 0; i < report->count; i++) {
        if (strcmp(report->checks[i].name, name) == 0) {
            return &report->checks[i];
        }
    }
    return NULL;
}

/* What io_uring_setup said, and what follows from it. */
static void refuse(struct doctor_facts *f, int error) {
    for (unsigned i = 0; i < RING_FEATURES_COUNT; i++) {
        f->features[i].result = -error;
    }
    f->rings_open = 0;
    f->uring.fine = false;
    snprintf(f->uring.why, sizeof f->uring.why, "io_uring: no");
}

#define ALTER(name, ...)                                                                                               \
    static void name(struct doctor_facts *f) {                                                                         \
        __VA_ARGS__;                                                                                                   \
    }

ALTER(nothing, (void)f)
ALTER(no_proc, f->has_proc = false)
ALTER(old_kernel, f->kernel_major = 5; f->kernel_minor = 15; strcpy(f->release, "5.15.0"))
ALTER(old_kernel_epoll, old_kernel(f); f->io = RING_EPOLL)
ALTER(odd_kernel, f->kernel_major = 0; strcpy(f->release, "weird"))
ALTER(in_docker, strcpy(f->container, "docker"); f->seccomp.value = 2)
ALTER(strict, f->seccomp.value = 1)
ALTER(filtered, refuse(f, EPERM); f->seccomp.value = 2)
ALTER(filtered_uring, filtered(f); f->io = RING_URING)
ALTER(filtered_epoll, filtered(f); f->io = RING_EPOLL)
ALTER(filtered_alone, filtered(f); f->epoll = (struct doctor_serving){ 0 })
ALTER(filtered_docker, filtered(f); strcpy(f->container, "docker"))
ALTER(filtered_admin, filtered(f); f->uring_disabled.value = 1; f->admin = true)
ALTER(filtered_old, filtered(f); f->uring_disabled.known = false)
ALTER(module, refuse(f, EACCES))
ALTER(disabled_2, refuse(f, EPERM); f->uring_disabled.value = 2; f->admin = true)
ALTER(disabled_1, refuse(f, EPERM); f->uring_disabled.value = 1)
ALTER(disabled_1_group, disabled_1(f); f->uring_group.value = 117)
ALTER(disabled_1_member, disabled_1_group(f); f->in_uring_group = true; f->seccomp.value = 2)
ALTER(refused_no_proc, refuse(f, EPERM); no_proc(f); f->seccomp.known = f->uring_disabled.known = false)
ALTER(killed, refuse(f, EPERM); f->features_tried = false; f->setup_signal = SIGSYS; f->uring.tried = false)
ALTER(killed_epoll, killed(f); f->io = RING_EPOLL)
ALTER(absent, refuse(f, ENOSYS))
ALTER(absent_filtered, refuse(f, ENOSYS); f->seccomp.value = 2)
ALTER(no_memory, refuse(f, ENOMEM); f->locked_bytes = 0)
ALTER(strange_error, refuse(f, EIO))
ALTER(not_compiled, refuse(f, EOPNOTSUPP); f->features_tried = false; f->uring = (struct doctor_serving){ 0 })
ALTER(not_compiled_wanted, not_compiled(f); f->io = RING_URING)
ALTER(no_opcode, f->features[RING_FEATURE_OPCODES] = (struct ring_finding){ -EOPNOTSUPP, 30 })
ALTER(no_defer, f->features[RING_FEATURE_DEFER_TASKRUN].result = -EINVAL)
ALTER(no_register, f->features[RING_FEATURE_BUFFER_RING].result = -EPERM)
ALTER(no_loopback, f->features[RING_FEATURE_ACCEPT_MULTI].result = -EIO)
ALTER(no_room, f->features[RING_FEATURE_BUFFER_RING].result = -ENOMEM)
ALTER(no_bundles, f->features[RING_FEATURE_BUNDLES].result = -EINVAL)
ALTER(bundles_no_memory, f->features[RING_FEATURE_BUNDLES].result = -ENOMEM)
ALTER(no_options, f->features[RING_FEATURE_SOCKET_OPTIONS].result = -EINVAL)
ALTER(no_options_logged, no_options(f); f->access_log = true)
ALTER(logged, f->access_log = true)
ALTER(few_connections, strcpy(f->files_why, "--max-connections 1 is less than one per worker (2)"); f->connections_given = 1)
ALTER(copied, f->features[RING_FEATURE_SEND_ZC].value = 1)
ALTER(zero_copy, f->send_zc = 16384; f->slab_bytes = 4 << 20; f->slabs_locked = 8 << 20)
ALTER(zero_copy_copied, zero_copy(f); copied(f))
ALTER(zero_copy_epoll, zero_copy(f); f->io = RING_EPOLL)
ALTER(zero_copy_old, zero_copy(f); f->features[RING_FEATURE_SEND_ZC].result = -EINVAL)
ALTER(zero_copy_poor, zero_copy(f); f->slabs_locked = 5 << 20; strcpy(f->slabs_why, "output: ENOMEM: 1024K of 4096K"))
ALTER(zero_copy_refused, zero_copy(f); refuse(f, EPERM))
ALTER(one_ring, f->rings_open = 1; f->rings_error = -ENOMEM; f->locked_bytes = 64 << 10)
ALTER(one_ring_wanted, one_ring(f); f->io = RING_URING)
ALTER(small_rings, f->rings_cq = 256)
ALTER(unlimited, f->locked_bytes = UINT64_MAX)
ALTER(few_files, strcpy(f->files_why, "need 82 descriptors"); f->files = 64; f->files_needed = 84; f->files_connections = 0)
ALTER(some_files, f->files = 256; f->max_connections = 174)
ALTER(some_files_asked, some_files(f); f->connections_given = 174)
ALTER(short_backlog, f->somaxconn.value = 128)
ALTER(no_backlog, f->somaxconn.known = false)
ALTER(few_ports, f->port_first.value = 60000)
ALTER(port_within, f->listen_port = 40000)
ALTER(unknown_ports, f->port_first.known = false)
ALTER(cannot_map, f->map_error = ENOMEM)
ALTER(cannot_map_strict, f->map_error = ENOMEM; f->overcommit.value = 2)
ALTER(little_ram, f->ram_bytes = 64 << 20)
ALTER(always_huge, strcpy(f->huge_pages, "always"))
ALTER(no_huge, f->huge_pages[0] = '\0')
ALTER(small_quota, f->quota_cpus = 0.5)
ALTER(large_quota, f->quota_cpus = 4)
ALTER(many_workers, f->workers = 8; f->rings_open = 8; f->workers_given = 8)
ALTER(no_reuse, f->reuse_port_error = ENOPROTOOPT)
ALTER(no_reuse_one, no_reuse(f); f->workers = 1)
ALTER(taken, f->listen_code = EXIT_UNAVAILABLE; strcpy(f->listen_why, "cannot listen on 127.0.0.1:8080: in use"))
ALTER(slow_clock, f->clock_ns = 260; f->call_ns = 200; strcpy(f->clock_source, "hpet"))
ALTER(slow_machine, f->clock_ns = 120; f->call_ns = 900)
ALTER(no_counting, f->count_error = EACCES)
ALTER(no_tracefs, f->count_error = ENOENT)
ALTER(uring_mute, f->uring.fine = false; strcpy(f->uring.why, "no answer"))
ALTER(uring_mute_wanted, uring_mute(f); f->io = RING_URING)
ALTER(mute_epoll, f->epoll.fine = false; strcpy(f->epoll.why, "no answer"))
ALTER(both_mute, uring_mute(f); mute_epoll(f))
ALTER(slow_start, f->uring.first_ns = 900000000)

/* ------------------------------------------------------------------------------------------------------- verdicts ---- */

enum { ABSENT = 99 };

/* Facts, and what one check says of them. `fix` NULL: none. */
struct verdict_row {
    const char *name;
    void (*alter)(struct doctor_facts *f);
    const char *check;
    int result;
    const char *finding, *fix;
};

static const struct verdict_row verdict_rows[] = {
    { "proc", nothing, "proc", DOCTOR_PASS, "mounted", NULL },
    { "no proc", no_proc, "proc", DOCTOR_WARN, "not mounted", "mount -t proc" },
    { "kernel", nothing, "kernel", DOCTOR_PASS, "6.12.9", NULL },
    { "old kernel", old_kernel, "kernel", DOCTOR_WARN, "5.15.0", "6.1" },
    { "old kernel is fine for epoll", old_kernel_epoll, "kernel", DOCTOR_PASS, "5.15.0", NULL },
    { "odd kernel", odd_kernel, "kernel", DOCTOR_PASS, "weird", NULL },
    { "no container", nothing, "container", DOCTOR_PASS, "no sign of one; seccomp: off", NULL },
    { "container", in_docker, "container", DOCTOR_PASS, "docker; seccomp: a filter is on", NULL },
    { "strict seccomp", strict, "container", DOCTOR_PASS, "strict", NULL },
    { "container unknown without proc", no_proc, "container", ABSENT, NULL, NULL },

    { "uring", nothing, "io_uring", DOCTOR_PASS, "allowed", NULL },
    { "seccomp, auto", filtered, "io_uring", DOCTOR_WARN, "seccomp filter", "SystemCallFilter" },
    { "seccomp, auto says what happens", filtered, "io_uring", DOCTOR_WARN, "falls back to epoll", "--io epoll" },
    { "seccomp, uring wanted", filtered_uring, "io_uring", DOCTOR_FAIL, "EPERM", "io_uring_setup" },
    { "seccomp, epoll wanted", filtered_epoll, "io_uring", DOCTOR_PASS, "--io epoll does without", NULL },
    { "seccomp, epoll not compiled in", filtered_alone, "io_uring", DOCTOR_FAIL, "seccomp", "io_uring_enter" },
    { "seccomp in docker", filtered_docker, "io_uring", DOCTOR_WARN, "seccomp", "docker run --security-opt seccomp=" },
    { "seccomp beside disabled=1 for root", filtered_admin, "io_uring", DOCTOR_WARN, "seccomp filter", "io_uring_register" },
    { "seccomp before 6.6", filtered_old, "io_uring", DOCTOR_WARN, "does not exist here", "SystemCallFilter" },
    { "security module", module, "io_uring", DOCTOR_WARN, "EACCES: a security module", "SELinux" },
    { "disabled=2", disabled_2, "io_uring", DOCTOR_WARN, "io_uring_disabled is 2", "sysctl -w kernel.io_uring_disabled=0" },
    { "disabled=1", disabled_1, "io_uring", DOCTOR_WARN, "names no group", "kernel.io_uring_group" },
    { "disabled=1, group", disabled_1_group, "io_uring", DOCTOR_WARN, "group 117", "member of that group" },
    { "disabled=1, member", disabled_1_member, "io_uring", DOCTOR_WARN, "a seccomp filter forbids it", "SystemCallFilter" },
    { "refused, no proc", refused_no_proc, "io_uring", DOCTOR_WARN, "not known which", "kernel.io_uring_disabled" },
    { "killed", killed, "io_uring", DOCTOR_FAIL, "SIGSYS", "--io epoll" },
    { "killed, epoll wanted", killed_epoll, "io_uring", DOCTOR_WARN, "SIGSYS", "io_uring_setup" },
    { "ENOSYS", absent, "io_uring", DOCTOR_WARN, "this kernel has no io_uring", "CONFIG_IO_URING" },
    { "ENOSYS by a filter", absent_filtered, "io_uring", DOCTOR_WARN, "pretends", "SystemCallFilter" },
    { "ENOMEM", no_memory, "io_uring", DOCTOR_WARN, "locked memory of 0 KiB", "LimitMEMLOCK" },
    { "another error", strange_error, "io_uring", DOCTOR_WARN, "EIO: Input/output error", "--io epoll" },
    { "not compiled in", not_compiled, "io_uring", DOCTOR_WARN, "not compiled in", "-During=true" },
    { "not compiled in, but wanted", not_compiled_wanted, "io_uring", DOCTOR_FAIL, "not compiled in", "-During=true" },

    { "opcodes", nothing, "opcodes", DOCTOR_PASS, "all that the server submits", NULL },
    { "opcode missing", no_opcode, "opcodes", DOCTOR_WARN, "30 operations; one", "5.19" },
    { "features are not judged when refused", filtered, "defer-taskrun", ABSENT, NULL, NULL },
    { "opcodes are not judged when refused", filtered, "opcodes", ABSENT, NULL, NULL },
    { "locked memory is not judged when refused", filtered, "locked-memory", ABSENT, NULL, NULL },
    { "defer", nothing, "defer-taskrun", DOCTOR_PASS, "when the worker asks", NULL },
    { "no defer", no_defer, "defer-taskrun", DOCTOR_WARN, "EINVAL", "Linux 6.1" },
    { "registering is refused", no_register, "buffer-ring", DOCTOR_WARN, "EPERM", "io_uring_register" },
    { "no memory for buffers", no_room, "buffer-ring", DOCTOR_WARN, "ENOMEM", "LimitMEMLOCK" },
    { "no loopback", no_loopback, "accept-multi", DOCTOR_WARN, "could not be tried", "ip link set lo up" },
    { "what is not used may be missing", no_bundles, "bundles", DOCTOR_PASS, "6.10", NULL },
    { "no memory for what is not used", bundles_no_memory, "bundles", DOCTOR_PASS, "could not be tried", NULL },
    { "zero copy", nothing, "send-zc", DOCTOR_PASS, "were not copied", NULL },
    { "zero copy that copies", copied, "send-zc", DOCTOR_PASS, "copied after all", NULL },

    { "zero copy is off", nothing, "send-zc", DOCTOR_PASS, "with --ring send=zc:BYTES only", NULL },
    { "zero copy is on", zero_copy, "send-zc", DOCTOR_PASS, "were not copied", NULL },
    { "zero copy is on, but not here", zero_copy_old, "send-zc", DOCTOR_WARN, "EINVAL", "Linux 6.0" },
    { "no slab", nothing, "zero-copy", ABSENT, NULL, NULL },
    { "no slab is judged when refused", zero_copy_refused, "zero-copy", ABSENT, NULL, NULL },
    { "slab", zero_copy, "zero-copy", DOCTOR_PASS, "16384 bytes and more from 8192 KiB", NULL },
    { "slab, for nothing", zero_copy_copied, "zero-copy", DOCTOR_PASS, "copied after all", NULL },
    { "slab on epoll", zero_copy_epoll, "zero-copy", DOCTOR_WARN, "--io epoll", "leave send=zc out" },
    { "slab on an old kernel", zero_copy_old, "zero-copy", DOCTOR_WARN, "EINVAL", "leave send=zc out" },
    { "half a slab", zero_copy_poor, "zero-copy", DOCTOR_WARN, "5120 of 8192 KiB", "lower slab=" },

    { "locked memory", nothing, "locked-memory", DOCTOR_PASS, "a limit of 8192 KiB", NULL },
    { "unlimited", unlimited, "locked-memory", DOCTOR_PASS, "no limit", NULL },
    { "one ring fits", one_ring, "locked-memory", DOCTOR_WARN, "1 of 2 rings could be opened: ENOMEM with a limit of 64 KiB",
      "ulimit -l" },
    { "one ring fits, uring wanted", one_ring_wanted, "locked-memory", DOCTOR_FAIL, "1 of 2", "fewer workers" },
    { "small rings fit", small_rings, "locked-memory", DOCTOR_WARN, "256 entries only", "ulimit -l" },

    { "descriptors", nothing, "descriptors", DOCTOR_PASS, "room for 15000", NULL },
    { "few descriptors", few_files, "descriptors", DOCTOR_FAIL, "need 82", "ulimit -n 84" },
    { "some descriptors", some_files, "descriptors", DOCTOR_WARN, "174 connections only", "ulimit -Hn" },
    { "as many as asked for", some_files_asked, "descriptors", DOCTOR_PASS, "174", NULL },
    { "backlog", nothing, "backlog", DOCTOR_PASS, "4096", NULL },
    { "short backlog", short_backlog, "backlog", DOCTOR_WARN, "128", "net.core.somaxconn=4096" },
    { "backlog unknown", no_backlog, "backlog", ABSENT, NULL, NULL },
    { "ports", nothing, "ports", DOCTOR_PASS, "28232", NULL },
    { "few ports", few_ports, "ports", DOCTOR_WARN, "1000 ephemeral", "ip_local_port_range" },
    { "fewer connections than workers", few_connections, "descriptors", DOCTOR_FAIL, "less than one", "--workers 1" },
    { "socket options", logged, "socket-options", DOCTOR_PASS, "clients' addresses without", NULL },
    { "socket options, no log", nothing, "socket-options", DOCTOR_PASS, "with --access-log only", NULL },
    { "no socket options, no log", no_options, "socket-options", DOCTOR_PASS, "with --access-log only", NULL },
    { "no socket options", no_options_logged, "socket-options", DOCTOR_WARN, "calls for each client", "Linux 6.7" },
    { "port within", port_within, "ports", DOCTOR_WARN, "port 40000", "add 40000 to the list" },
    { "ports unknown", unknown_ports, "ports", ABSENT, NULL, NULL },
    { "memory", nothing, "memory", DOCTOR_PASS, "200 MiB can be mapped", NULL },
    { "cannot map", cannot_map, "memory", DOCTOR_FAIL, "cannot be mapped", "--max-connections" },
    { "cannot map, strict", cannot_map_strict, "memory", DOCTOR_FAIL, "cannot be mapped", "vm.overcommit_memory=0" },
    { "little memory", little_ram, "memory", DOCTOR_WARN, "more than the machine's 64 MiB", "--plan" },
    { "huge pages", nothing, "huge-pages", DOCTOR_PASS, "madvise", NULL },
    { "huge pages always", always_huge, "huge-pages", DOCTOR_WARN, "2 MiB", "echo madvise" },
    { "huge pages unknown", no_huge, "huge-pages", ABSENT, NULL, NULL },

    { "no quota", nothing, "cpu-quota", DOCTOR_PASS, "no cgroup", NULL },
    { "small quota", small_quota, "cpu-quota", DOCTOR_WARN, "0.50 CPUs to 2 workers", "--workers 1" },
    { "large quota", large_quota, "cpu-quota", DOCTOR_PASS, "4.00", NULL },
    { "quota unknown", no_proc, "cpu-quota", ABSENT, NULL, NULL },
    { "affinity", nothing, "affinity", DOCTOR_PASS, "2 workers on 2 of 2 CPUs", NULL },
    { "many workers", many_workers, "affinity", DOCTOR_WARN, "8 workers share 2", "--workers 2" },
    { "reuse port", nothing, "reuse-port", DOCTOR_PASS, "its own", NULL },
    { "no reuse port", no_reuse, "reuse-port", DOCTOR_FAIL, "Protocol not available", "unix:" },
    { "no reuse port, one worker", no_reuse_one, "reuse-port", DOCTOR_WARN, "Protocol", "unix:" },
    { "listen", nothing, "listen", DOCTOR_PASS, "free", NULL },
    { "address taken", taken, "listen", DOCTOR_FAIL, "127.0.0.1:8080", "ss -ltnp" },
    { "clock", nothing, "clock", DOCTOR_PASS, "25 ns", NULL },
    { "slow clock", slow_clock, "clock", DOCTOR_WARN, "hpet", "available_clocksource" },
    { "slow machine", slow_machine, "clock", DOCTOR_PASS, "120 ns", NULL },
    { "counting", nothing, "call-count", DOCTOR_PASS, "can be read", NULL },
    { "no counting", no_counting, "call-count", DOCTOR_WARN, "kernel.perf_event_paranoid is 2", "CAP_PERFMON" },
    { "no tracefs", no_tracefs, "call-count", DOCTOR_WARN, "No such file", "mount -t tracefs" },

    { "serves", nothing, "serve-uring", DOCTOR_PASS, "0.8 ms", NULL },
    { "uring does not serve, auto", uring_mute, "serve-uring", DOCTOR_WARN, "no answer", "other backend" },
    { "uring does not serve, wanted", uring_mute_wanted, "serve-uring", DOCTOR_FAIL, "no answer", "mend" },
    { "epoll does not serve, auto", mute_epoll, "serve-epoll", DOCTOR_WARN, "no answer", "other backend" },
    { "none serves", both_mute, "serve-epoll", DOCTOR_FAIL, "no answer", "mend" },
    { "serves late", slow_start, "serve-uring", DOCTOR_WARN, "900 ms", "busy" },
    { "was not tried", killed, "serve-uring", ABSENT, NULL, NULL },
    { "is not there", not_compiled, "serve-uring", ABSENT, NULL, NULL },
};

static void test_verdict(void **state) {
    const struct verdict_row *row = *state;
    static struct doctor_report report;
    struct doctor_facts facts = healthy();
    row->alter(&facts);
    doctor_judge(&facts, &report);
    const struct doctor_check *check = find(&report, row->check);
    if (row->result == ABSENT) {
        assert_null(check);
        return;
    }
    assert_non_null(check);
    const struct doctor_verdict *v = &check->verdict;
    if ((int)v->result != row->result || strstr(v->finding, row->finding) == NULL ||
        (row->fix == NULL ? v->fix[0] != '\0' : strstr(v->fix, row->fix) == NULL)) {
        fail_msg("%d '%s' fix '%s'", (int)v->result, v->finding, v->fix);
    }
    assert_int_equal(doctor_exit_code(&report), row->result == DOCTOR_FAIL ? 1 : 0);
}

/* --------------------------------------------------------------------------------------------------------- advice ---- */

static char *asked[] = { "--io=uring", "--workers", "8", "--listen", "unix:/tmp/a b.sock", "--io", "auto", NULL };
static char *asked_connections[] = { "--max-connections", "90000", "--log-level", "warn", NULL };

ALTER(many_workers_asked, many_workers(f); f->argv = asked; f->argc = 7)
ALTER(too_many_connections, strcpy(f->files_why, "no"); f->argv = asked_connections; f->argc = 4)
ALTER(few_connections_and_quota, few_connections(f); small_quota(f))
ALTER(asked_epoll, f->io = RING_EPOLL)
ALTER(asked_mute_epoll, mute_epoll(f); f->io = RING_EPOLL)

struct advice_row {
    const char *name;
    void (*alter)(struct doctor_facts *f);
    const char *line, *reason; /* the reason: a part, NULL: none */
};

static const struct advice_row advice_rows[] = {
    { "fewer connections than workers", few_connections, "./hello --io uring --max-connections 2", "each worker" },
    { "enough for the workers that are advised", few_connections_and_quota, "./hello --io uring --workers 1", "cgroup" },
    { "plain", nothing, "./hello --io uring", NULL },
    { "seccomp", filtered, "./hello --io epoll", "io_uring does not work" },
    { "not compiled in", not_compiled, "./hello --io epoll", "not compiled in" },
    { "not compiled in alone", filtered_alone, "", "no backend" },
    { "memlock", one_ring, "./hello --io epoll", "locked memory" },
    { "quota", small_quota, "./hello --io uring --workers 1", "cgroup" },
    { "own flags are kept, overruled ones said anew", many_workers_asked,
      "./hello --io uring --workers 2 --listen 'unix:/tmp/a b.sock'", "fewer CPUs" },
    { "descriptors", too_many_connections, "./hello --io uring --max-connections 19918 --log-level warn", "descriptors" },
    { "no descriptors at all", few_files, "", "not even one" },
    { "epoll was asked for", asked_epoll, "./hello --io epoll", "as asked" },
    { "epoll was asked for and fails", asked_mute_epoll, "./hello --io uring", NULL },
    { "address taken", taken, "./hello --io uring", "once its address is free" },
    { "killed", killed, "./hello --io epoll", "does not work" },
    { "nothing serves", both_mute, "", "no backend" },
};

static void test_advice(void **state) {
    const struct advice_row *row = *state;
    struct doctor_facts facts = healthy();
    char line[DOCTOR_LINE_BYTES], reason[DOCTOR_TEXT_BYTES];
    row->alter(&facts);
    doctor_advise(&facts, line, reason);
    assert_string_equal(line, row->line);
    if (row->reason == NULL ? reason[0] != '\0' : strstr(reason, row->reason) == NULL) {
        fail_msg("'%s'", reason);
    }
}

/* Quotes and endless arguments: what does not fit is cut, nothing is overrun. */
static void test_advice_quotes(void **state) {
    (void)state;
    static char *odd[] = { "--listen", "it's", "", NULL };
    static char huge[2 * DOCTOR_LINE_BYTES];
    static char *endless[] = { huge, NULL };
    char line[DOCTOR_LINE_BYTES], reason[DOCTOR_TEXT_BYTES];
    struct doctor_facts facts = healthy();
    facts.argv = odd, facts.argc = 3;
    doctor_advise(&facts, line, reason);
    assert_string_equal(line, "./hello --io uring --listen 'it'\\''s' ''");
    memset(huge, '\'', sizeof huge - 1);
    facts.argv = endless, facts.argc = 1;
    doctor_advise(&facts, line, reason);
    assert_int_equal(strlen(line), DOCTOR_LINE_BYTES - 1);
}

/* --------------------------------------------------------------------------------------------------------- report ---- */

static struct doctor_report *small_report(void) {
    static struct doctor_report report;
    report = (struct doctor_report){ .count = 2, .recommended = "./a --io uring", .reason = "" };
    report.checks[0].name = "one";
    (void)doctor_say(&report.checks[0].verdict, DOCTOR_PASS, NULL, "fine");
    report.checks[1].name = "longer";
    (void)doctor_say(&report.checks[1].verdict, DOCTOR_WARN, "do \"it\"", "bad \\ \n \xff \xc3\xa9 \xed\xa0\x80 \xc3");
    return &report;
}

static char *printed(void (*print)(const struct doctor_report *report, FILE *out)) {
    static char text[8192];
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    print(small_report(), out);
    fclose(out);
    return text;
}

static void plain(const struct doctor_report *report, FILE *out) {
    doctor_print_text(report, false, out);
}

static void coloured(const struct doctor_report *report, FILE *out) {
    doctor_print_text(report, true, out);
}

static void test_text(void **state) {
    (void)state;
    const char *text = printed(plain);
    assert_non_null(strstr(text, "PASS  one     fine\nWARN  longer  bad"));
    assert_non_null(strstr(text, "\n              fix: do \"it\"\nrecommended: ./a --io uring\n"));
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(printed(coloured), "\033[32mPASS\033[0m  one"));
}

static void test_json(void **state) {
    (void)state;
    const char *text = printed(doctor_print_json);
    assert_non_null(strstr(text, "{\"name\": \"one\", \"result\": \"PASS\", \"finding\": \"fine\", \"fix\": \"\"}"));
    assert_non_null(strstr(text, "\"finding\": \"bad \\\\ \\u000a \\ufffd \xc3\xa9 \\ufffd\\ufffd\\ufffd \\ufffd\""));
    assert_non_null(strstr(text, "\"fix\": \"do \\\"it\\\"\"}"));
    assert_non_null(strstr(text, "\"recommended\": \"./a --io uring\", \"reason\": \"\"}\n"));
}

static void test_none_recommended(void **state) {
    (void)state;
    char text[1024] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    struct doctor_report report = { .count = 0, .reason = "no luck" };
    doctor_print_text(&report, false, out);
    fclose(out);
    assert_string_equal(text, "recommended: none works yet: no luck\n");
}

static void test_asked(void **state) {
    (void)state;
    assert_true(doctor_asked(2, (char *[]){ "a", "doctor", NULL }));
    assert_false(doctor_asked(1, (char *[]){ "doctor", NULL }));
    assert_false(doctor_asked(3, (char *[]){ "a", "--workers", "doctor", NULL }));
    assert_false(doctor_asked(2, (char *[]){ "a", "doctors", NULL }));
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_verdict, verdict_rows);
    ROWS_ADD(&rows, test_advice, advice_rows);
    ROWS_TEST(&rows, test_advice_quotes);
    ROWS_TEST(&rows, test_text);
    ROWS_TEST(&rows, test_json);
    ROWS_TEST(&rows, test_none_recommended);
    ROWS_TEST(&rows, test_asked);
    return rows_run("doctor", &rows);
}
