/* What a ring does to its process: descriptors, memory limits, threads, assertions, counters. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_contract.h"

/* ------------------------------------------------------------------------------------------------------- release ---- */

/* Listening, connecting, receiving in both modes, a send that cannot end, watches, a wake: all of it is dropped at once. */
static void arm_everything(struct rig *rig, int fds[2]) {
    rig_open_listening(rig, &(struct rig_options){ .helpers = true });
    for (uint32_t i = 0; i < 10; i++) {
        struct link *client = rig_pair(rig);
        if (i % 2 == 0) link_mode(client, RING_METERED);
        if (i % 3 == 0) link_send(client->peer, 4 * 1024 * 1024);
        if (i % 5 == 0) link_close(client->peer);
    }
    link_connect(rig);
    if (rig->world == NULL) {
        struct link *watch = link_new(rig, SERVER);
        RIG_CHECK(rig, ring_watch(rig->ring[SERVER], fds[0], RING_READABLE, true, watch, &watch->id) == 0);
    }
    ring_wake(rig->ring[SERVER]);
    rig_wait(rig, CLIENT, 1);
}

static void release_with_everything_armed(struct rig *rig) {
    const struct rig saved = *rig;
    int fds[2];
    RIG_CHECK(rig, pipe2(fds, O_CLOEXEC) == 0);
    uint32_t before = process_descriptors();
    for (uint32_t i = 0; i < 3; i++) {
        *rig = saved;
        arm_everything(rig, fds);
        struct ring_address address = rig->address;
        rig_close(rig);
        RIG_CHECK(rig, process_descriptors() == before);
        if (saved.row->choice == RING_SIM) continue;
        int again = -1; /* the port is free again */
        for (uint32_t try = 0; try < 100 && again < 0; try++) {
            again = raw_listen(&address);
            if (again < 0) usleep(10000);
        }
        RIG_CHECK(rig, again >= 0);
        close(again);
    }
    *rig = saved;
    close(fds[0]);
    close(fds[1]);
}

/* ---------------------------------------------------------------------------------------------------- open, plan ---- */

static void reports_what_it_is(struct rig *rig) {
    static const char *const names[] = { [RING_URING] = "uring", [RING_EPOLL] = "epoll", [RING_SIM] = "sim" };
    rig_open(rig, NULL);
    RIG_CHECK(rig, strcmp(rig->report[SERVER].backend, names[rig->row->choice]) == 0);
    RIG_CHECK(rig, !rig->report[SERVER].fallback);
    RIG_CHECK(rig, rig->report[SERVER].features[0] != 0);
    RIG_CHECK(rig, strchr(rig->report[SERVER].features, '\n') == NULL);
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 0);
    RIG_CHECK(rig, ring_sockets_max(rig->ring[SERVER]) == 256);
}

static void plans_its_memory(struct rig *rig) {
    struct ring_config config = { .choice = rig->row->choice, .sockets_max = 1 };
    ring_tuning_default(&config.tuning);
    size_t last = ring_memory_bytes(&config);
    RIG_CHECK(rig, last > 0);
    for (config.sockets_max = 16; config.sockets_max <= 65536; config.sockets_max *= 16) {
        size_t bytes = ring_memory_bytes(&config);
        RIG_CHECK(rig, bytes > last);
        last = bytes;
    }
    RIG_CHECK(rig, rig->row->choice == RING_SIM || last < 65536 * 300 + 16 * 1024 * 1024);
}

static void counts_exactly(struct rig *rig) {
    enum { CONNECTIONS = 20, EACH = 12345 };
    rig_open_listening(rig, NULL);
    struct link *clients[CONNECTIONS];
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        clients[i] = rig_pair(rig);
        link_send(clients[i], EACH);
        link_send_segments(clients[i]->peer, 2 * EACH, 3, RING_SEND_QUIET);
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct link *client = clients[i];
        RIG_UNTIL(rig, client->received == 2 * EACH && client->peer->received == EACH);
        RIG_UNTIL(rig, client->sents == 1 && client->peer->sents == 1);
        link_close(i % 2 == 0 ? client : client->peer);
        RIG_UNTIL(rig, client->closed || client->peer->closed);
    }
    const struct ring_counters *server = ring_counters(rig->ring[SERVER]);
    const struct ring_counters *client = ring_counters(rig->ring[CLIENT]);
    RIG_CHECK(rig, server->accepted == CONNECTIONS && client->connected == CONNECTIONS);
    RIG_CHECK(rig, server->closed == CONNECTIONS / 2 && client->closed == CONNECTIONS / 2);
    RIG_CHECK(rig, server->received_bytes == CONNECTIONS * EACH);
    RIG_CHECK(rig, client->received_bytes == 2 * CONNECTIONS * EACH);
    RIG_CHECK(rig, server->sent_bytes == client->received_bytes && client->sent_bytes == server->received_bytes);
    RIG_CHECK(rig, server->sends == CONNECTIONS && client->sends == CONNECTIONS);
    RIG_CHECK(rig, server->receives >= CONNECTIONS);
    uint64_t batches = 0;
    for (uint32_t i = 0; i < RING_BATCH_BUCKETS; i++) batches += server->batches[i];
    RIG_CHECK(rig, batches == server->turns);
    if (rig_is(rig, ROW_REAL)) RIG_CHECK(rig, rig_calls(rig, SERVER) > 0);
}

/* ---------------------------------------------------------------------------------------------------------- calls ---- */

#ifndef SYS_epoll_wait
#define SYS_epoll_wait SYS_epoll_pwait /* newer architectures have one of them */
#endif

static const long call_numbers[RING_CALLS_COUNT] = {
#define CALL_NUMBER(name) [RING_CALL_##name] = SYS_##name,
    RING_CALLS(CALL_NUMBER)
#undef CALL_NUMBER
};

/* Each kind of call at least once, where the backend needs it. Nothing but the rings calls the kernel by these names. */
static void call_everything(struct rig *rig) {
    struct ring_address address;
    rig->listener = rig_listen(rig, SERVER, "127.0.0.1:0", 64);
    RIG_CHECK(rig, ring_local(rig->ring[SERVER], rig->listener->id, &rig->address) == 0);
    for (uint32_t i = 0; i < 30; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        link_send_segments(client, 20000, 1 + i % 3, i % 2 == 0 ? RING_SEND_LOUD : RING_SEND_QUIET);
        link_send(server, 300000);
        RIG_UNTIL(rig, client->received == 300000 && server->received == 20000 && client->sents == 1);
        RIG_CHECK(rig, ring_peer(rig->ring[SERVER], server->id, &address) == 0);
        if (i % 3 == 0) link_shutdown(client);
        if (i % 2 == 0)
            link_close(server);
        else
            link_reset(server);
        RIG_UNTIL(rig, client->ended && server->closed);
        link_close(client);
        ring_wake(rig->ring[SERVER]);
    }
    struct link *watch = link_new(rig, SERVER);
    RIG_CHECK(rig, ring_watch(rig->ring[SERVER], rig->pipe_fd, RING_READABLE, false, watch, &watch->id) == 0);
    link_close(watch);
    link_close(rig->listener);
    RIG_UNTIL(rig, rig->listener->closed && watch->closed);
}

static void add_calls(const struct rig *rig, uint64_t calls[static RING_CALLS_COUNT], uint64_t factor) {
    for (enum side side = SERVER; side < SIDES; side++)
        for (uint32_t i = 0; i < RING_CALLS_COUNT; i++) calls[i] += factor * ring_counters(rig->ring[side])->calls[i];
}

/* getppid(2) marks the begin and the end for whoever traces us. */
_Noreturn static void be_traced(struct rig *rig, int report_fd) {
    uint64_t calls[RING_CALLS_COUNT] = { 0 };
    rig_open(rig, NULL);
    rig_turn(rig);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(2);
    raise(SIGSTOP);
    add_calls(rig, calls, (uint64_t)-1);
    syscall(SYS_getppid);
    call_everything(rig);
    rig_turn(rig); /* writes by ring_wake are counted when a turn ends */
    syscall(SYS_getppid);
    add_calls(rig, calls, 1);
    if (write(report_fd, calls, sizeof calls) != sizeof calls) _exit(3);
    _exit(0);
}

/* Counts the calls of a stopped child between its marks, by name; its exit status. */
static int trace(pid_t pid, uint64_t calls[static RING_CALLS_COUNT]) {
    uint32_t marks = 0;
    int status = 0, signal_to_pass = 0;
    bool entering = true;
    ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD);
    for (;; entering = !entering) {
        ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal_to_pass);
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) return status;
        signal_to_pass = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
        if (signal_to_pass != 0) entering = !entering;
        struct __ptrace_syscall_info info;
        if (signal_to_pass != 0 || ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) <= 0) continue;
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
        if ((long)info.entry.nr == SYS_getppid) marks++;
        for (uint32_t i = 0; i < RING_CALLS_COUNT && marks == 1; i++) calls[i] += (long)info.entry.nr == call_numbers[i];
    }
}

/* The ring's own count of its system calls is the kernel's, name by name and to the last one. */
static void counts_its_system_calls(struct rig *rig) {
    uint64_t own[RING_CALLS_COUNT] = { 0 }, kernels[RING_CALLS_COUNT] = { 0 };
    int fds[2], status = 0;
    RIG_CHECK(rig, pipe2(fds, O_CLOEXEC) == 0);
    rig->pipe_fd = fds[0];
    pid_t pid = fork();
    RIG_CHECK(rig, pid >= 0);
    if (pid == 0) be_traced(rig, fds[1]);
    RIG_CHECK(rig, waitpid(pid, &status, 0) == pid);
    bool may_trace = WIFSTOPPED(status);
    if (may_trace) status = trace(pid, kernels);
    close(fds[1]);
    bool reported = read(fds[0], own, sizeof own) == (ssize_t)sizeof own;
    close(fds[0]);
    if (!may_trace) skip(); /* a sandbox without ptrace(2) */
    RIG_CHECK(rig, status == 0);
    RIG_CHECK(rig, reported);
    uint64_t all = 0;
    for (uint32_t i = 0; i < RING_CALLS_COUNT; i++) {
        all += kernels[i];
        if (own[i] == kernels[i]) continue;
        print_error("%s: the ring counted %llu, the kernel %llu\n", ring_call_name((enum ring_call)i),
                    (unsigned long long)own[i], (unsigned long long)kernels[i]);
        RIG_CHECK(rig, own[i] == kernels[i]);
    }
    RIG_CHECK(rig, all > 100);
}

/* ------------------------------------------------------------------------------------------------------- mistakes ---- */

static void send_twice(struct rig *rig) {
    struct link *client = rig_pair(rig);
    link_send(client, 4000000);
    client->in_flight = 0; /* the record would not let it pass */
    link_send(client, 10);
}

static void send_on_closed(struct rig *rig) {
    struct link *client = rig_pair(rig);
    link_close(client);
    link_send(client, 10);
}

static void close_twice(struct rig *rig) {
    struct link *client = rig_pair(rig);
    link_close(client);
    RIG_UNTIL(rig, client->closed);
    link_close(client);
}

static void send_on_reused(struct rig *rig) {
    struct link *client = rig_pair(rig);
    link_close(client);
    RIG_UNTIL(rig, client->closed);
    struct link *next = rig_pair(rig);
    if (next->id.slot != client->id.slot) return;
    link_send(client, 10); /* its slot is somebody else's now */
}

static void shutdown_while_sending(struct rig *rig) {
    struct link *client = rig_pair(rig);
    link_mode(client->peer, RING_METERED);
    link_send(client, 16000000);
    link_shutdown(client);
}

static void wait_with_events_left(struct rig *rig) {
    struct ring *ring = rig->ring[SERVER];
    struct ring_event event;
    ring_wake(ring);
    if (ring_wait(ring, ring_now(ring) + 1000000000) != 0) return;
    if (!ring_next(ring, &event)) return;
    if (ring_wait(ring, 1) != 0) return;
}

static void nothing_wrong(struct rig *rig) {
    struct link *client = rig_pair(rig);
    link_send(client, 10);
    RIG_UNTIL(rig, client->sents == 1);
}

/* In a process of its own, with nothing on stderr. Returns the signal that ended it, 0 for none. */
static int signal_of(struct rig *rig, void (*mistake)(struct rig *)) {
    pid_t pid = fork();
    RIG_CHECK(rig, pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        signal(SIGABRT, SIG_DFL);
        rig_open_listening(rig, NULL);
        mistake(rig);
        _exit(0);
    }
    int status = 0;
    RIG_CHECK(rig, waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void mistakes_assert(struct rig *rig) {
    RIG_CHECK(rig, signal_of(rig, nothing_wrong) == 0);
    RIG_CHECK(rig, signal_of(rig, send_twice) == SIGABRT);
    RIG_CHECK(rig, signal_of(rig, send_on_closed) == SIGABRT);
    RIG_CHECK(rig, signal_of(rig, close_twice) == SIGABRT);
    RIG_CHECK(rig, signal_of(rig, send_on_reused) == SIGABRT);
    RIG_CHECK(rig, signal_of(rig, shutdown_while_sending) == SIGABRT);
    RIG_CHECK(rig, signal_of(rig, wait_with_events_left) == SIGABRT);
}

/* -------------------------------------------------------------------------------------------------- unprivileged ---- */

enum { RINGS = 64, NOBODY = 65534 };

/* The child: what went wrong, or NULL. */
static const char *open_as_nobody(struct rig *rig) {
    static struct ring *rings[RINGS];
    static struct ring_report report;
    struct ring_config config = { .choice = rig->row->choice, .sockets_max = 64 };
    char why[RING_TEXT_BYTES];
    ring_tuning_default(&config.tuning);
    if (rig->row->tuning[0] != 0 && !ring_tuning_parse(span_text(rig->row->tuning), &config.tuning, why, sizeof why))
        return "tuning";
    const struct rlimit locked = { 8 << 20, 8 << 20 };
    if (setrlimit(RLIMIT_MEMLOCK, &locked) != 0) return "setrlimit";
    if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0) return "setuid";
    /* The kernel gives back what rings of an earlier test had locked a moment after they are gone. */
    uint32_t tries = 0;
    for (uint32_t i = 0; i < RINGS;)
        if (ring_open(&config, &rings[i], &report) == 0)
            i++;
        else if (tries++ < 40)
            usleep(50000);
        else
            return report.why;
    for (uint32_t i = 0; i < RINGS; i++) {
        struct ring_event event;
        if (ring_wait(rings[i], 1) != 0) return "ring_wait";
        while (ring_next(rings[i], &event))
            if (event.type != RING_TICK) return "an event from nowhere";
    }
    for (uint32_t i = 0; i < RINGS; i++) ring_release(rings[i]);
    return NULL;
}

static void rings_of_nobody(struct rig *rig) {
    if (geteuid() != 0) skip(); /* only root can become nobody */
    pid_t pid = fork();
    RIG_CHECK(rig, pid >= 0);
    if (pid == 0) {
        const char *error = open_as_nobody(rig);
        if (error != NULL) fprintf(stderr, "as nobody: %s\n", error);
        _exit(error != NULL);
    }
    int status = 0;
    RIG_CHECK(rig, waitpid(pid, &status, 0) == pid);
    RIG_CHECK(rig, status == 0);
}

/* ------------------------------------------------------------------------------------------------------- threads ---- */

/* Each kind of operation once; none of them may make the kernel start a worker thread for it. */
static void no_worker_threads(struct rig *rig) {
    uint32_t before = process_kernel_workers(); /* of rings that are gone: idle ones stay for some seconds */
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        struct link *client = rig_pair(rig), *server = client->peer;
        link_send(client, 100000);
        link_send_segments(server, 3000000, 7, RING_SEND_LOUD);
        RIG_UNTIL(rig, client->received == 3000000 && server->received == 100000 && client->sents == 1);
        link_shutdown(client);
        RIG_UNTIL(rig, server->ended);
        link_mode(server, RING_METERED);
        link_mode(server, RING_FREE);
        if (i % 2 == 0)
            link_close(server);
        else
            link_reset(server);
        RIG_UNTIL(rig, client->ended && server->closed);
        RIG_CHECK(rig, process_kernel_workers() <= before);
    }
    link_close(rig->listener);
    RIG_UNTIL(rig, rig->listener->closed);
    RIG_CHECK(rig, process_kernel_workers() <= before);
}

const struct contract_scenario contract_process[] = {
    { .name = "release_with_everything_armed", .run = release_with_everything_armed },
    { .name = "reports_what_it_is", .run = reports_what_it_is },
    { .name = "plans_its_memory", .run = plans_its_memory },
    { .name = "counts_exactly", .run = counts_exactly },
    { .name = "counts_its_system_calls", .run = counts_its_system_calls, .needs = ROW_REAL,
      .skip_reason = "the simulator makes no system calls" },
    { .name = "mistakes_assert", .run = mistakes_assert },
    { .name = "rings_of_nobody", .run = rings_of_nobody, .needs = ROW_REAL,
      .skip_reason = "the simulator locks no memory" },
    { .name = "no_worker_threads", .run = no_worker_threads },
    { 0 },
};
