/* What a ring does to its process: descriptors, memory limits, threads, assertions, counters. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
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
    for (uint32_t i = 0; i < 5; i++) {
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

static uint32_t io_workers(void) {
    uint32_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL) continue;
        if (fgets(name, sizeof name, file) != NULL && strncmp(name, "iou-wrk", 7) == 0) count++;
        fclose(file);
    }
    closedir(dir);
    return count;
}

/* Each kind of operation once; none of them may make the kernel start a worker thread for it. */
static void no_worker_threads(struct rig *rig) {
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < 10; i++) {
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
        RIG_CHECK(rig, io_workers() == 0);
    }
    link_close(rig->listener);
    RIG_UNTIL(rig, rig->listener->closed);
    RIG_CHECK(rig, io_workers() == 0);
}

const struct contract_scenario contract_process[] = {
    { .name = "release_with_everything_armed", .run = release_with_everything_armed },
    { .name = "reports_what_it_is", .run = reports_what_it_is },
    { .name = "plans_its_memory", .run = plans_its_memory },
    { .name = "counts_exactly", .run = counts_exactly },
    { .name = "mistakes_assert", .run = mistakes_assert },
    { .name = "rings_of_nobody", .run = rings_of_nobody, .needs = ROW_REAL,
      .skip_reason = "the simulator locks no memory" },
    { .name = "no_worker_threads", .run = no_worker_threads },
    { 0 },
};
