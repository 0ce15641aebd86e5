/* Zero-copy sends: SENT and CLOSED mean that nobody looks at the data any more, whatever ends the send and in whatever order. The
 * rig fills what is its own again with other bytes at once and uses it for the next send, and the other end checks each byte. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_contract.h"

enum { PIECE = ZONE_PIECE_BYTES, KIB = 1024 };

static const struct ring_counters *counters(const struct rig *rig, enum side side) {
    return ring_counters(rig->ring[side]);
}

/* Large enough goes without a copy, and the kernel says what became of it. */
static void zc_sends(struct rig *rig) {
    uint32_t workers = process_kernel_workers();
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    for (uint32_t i = 1; i <= 20; i++) {
        link_send_segments(server, PIECE - i, 1 + i % 7, i % 2 == 0 ? RING_SEND_LOUD : RING_SEND_QUIET);
        RIG_UNTIL(rig, server->sents == i && client->received == server->sent);
    }
    RIG_CHECK(rig, process_kernel_workers() <= workers);
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc >= 20);
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc_fallback == 0);
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc_copied <= counters(rig, SERVER)->sends_zc);
    RIG_CHECK(rig, counters(rig, SERVER)->sends == 20 && counters(rig, SERVER)->sent_bytes == client->received);
    if (rig_is(rig, ROW_URING)) RIG_CHECK(rig, counters(rig, SERVER)->sends_zc_copied > 0); /* loopback copies */
}

/* Below the limit, and from other memory: copied. */
static void zc_leaves_small_sends_alone(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    for (uint32_t i = 1; i <= 10; i++) {
        rig->zone_off = i % 2 == 0;
        link_send_segments(server, rig->zone_off ? PIECE : 60, 1 + i % 3, RING_SEND_QUIET);
        RIG_UNTIL(rig, server->sents == i && client->received == server->sent);
    }
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc == 0);
}

/* A head, a body, a tail: registered or not in turns, in one send. The segments of the record's own piece are mixed with copies
 * of them elsewhere; the order of bytes must not suffer. */
static void zc_mixes_memory(struct rig *rig) {
    enum { ROUNDS = 60 };
    static char elsewhere[PIECE];
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        uint32_t bytes = 1 + rig_below(rig, PIECE), n = 1 + rig_below(rig, bytes < 16 ? 1 : 16);
        link_prepare(server, bytes, n);
        memcpy(elsewhere, server->out, bytes);
        for (uint32_t i = 0; i < n; i++)
            if (rig_below(rig, 2) == 0) server->iov[i].iov_base = elsewhere + ((char *)server->iov[i].iov_base - server->out);
        ring_send(rig->ring[SERVER], server->id, server->iov, n, RING_SEND_LOUD);
        RIG_UNTIL(rig, server->sents == round);
    }
    RIG_UNTIL(rig, client->received == server->sent);
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc > 0);
    RIG_CHECK(rig, counters(rig, SERVER)->sends == ROUNDS);
}

/* The peer has stopped to read and more is sent than any buffer holds: no SENT; the rest of the bytes come all the same. */
static void zc_slow_reader(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(client, RING_METERED);
    uint32_t sents = 0;
    for (uint32_t i = 0; i < 100 && server->sents == sents; i++) {
        sents = server->sents + 1;
        link_send_segments(server, PIECE, 3, RING_SEND_LOUD);
        rig_pump_ms(rig, 60); /* longer than an acknowledgement is put off */
    }
    RIG_CHECK(rig, server->in_flight > 0);
    uint64_t all = server->sent + server->in_flight;
    link_mode(client, RING_FREE);
    RIG_UNTIL(rig, client->received == all && server->in_flight == 0);
}

enum ending { CLOSE, RESET, PEER_RESETS, PEER_CLOSES, PEER_CLOSES_UNREAD, ENDINGS };

/* The send is stuck, or taken and not acknowledged yet, or has just been asked for, when the connection ends in one of these ways:
 * RING_SENT (with an error) or RING_CLOSED comes soon, and the piece is somebody else's at once. */
static void end_in_flight(struct rig *rig, enum ending ending, size_t bytes, uint32_t turns) {
    struct link *client = rig_pair(rig), *server = client->peer;
    link_mode(client, RING_METERED);
    if (ending == PEER_CLOSES_UNREAD) link_send(client, 5000); /* what we have not read when we close */
    for (uint32_t sents = 0; bytes > 4 * PIECE && server->sents == sents && sents < 100; sents++) {
        link_send_segments(server, PIECE, 1 + sents % 3, RING_SEND_LOUD);
        for (uint32_t i = 0; i < 120 && server->sents == sents; i++) rig_turn(rig);
    }
    if (server->in_flight == 0) link_send_segments(server, bytes < PIECE ? bytes : PIECE, 2, RING_SEND_LOUD);
    for (uint32_t i = 0; i < turns; i++) rig_turn(rig);
    if (ending == CLOSE) link_close(server);
    if (ending == RESET) link_reset(server);
    if (ending == PEER_RESETS) link_reset(client);
    if (ending == PEER_CLOSES || ending == PEER_CLOSES_UNREAD) link_close(client);
    struct link *other = rig_pair(rig); /* its sends take the piece as soon as it is free */
    for (uint32_t i = 0; i < 3; i++) {
        if (other->peer->in_flight == 0) link_send(other->peer, PIECE);
        rig_turn(rig);
    }
    uint64_t start = ring_now(rig->ring[SERVER]);
    if (!server->closing) RIG_UNTIL(rig, server->in_flight == 0);
    if (!server->closing) link_close(server);
    RIG_UNTIL(rig, server->closed); /* though the peer does not read */
    if (!client->closing) link_mode(client, RING_FREE);
    RIG_CHECK(rig, ring_now(rig->ring[SERVER]) - start < UINT64_C(2000000000));
    if (!client->closing) RIG_UNTIL(rig, client->ended);
    if (!client->closing) link_close(client);
    RIG_UNTIL(rig, other->peer->in_flight == 0);
    link_close(other);
    link_close(other->peer);
    RIG_UNTIL(rig, client->closed && other->closed && other->peer->closed);
}

static void zc_ends_in_flight(struct rig *rig) {
    static const size_t sizes[] = { 5000, 60000, 100 * PIECE };
    rig_open_listening(rig, NULL);
    for (uint32_t i = 0; i < ENDINGS * 3; i++) end_in_flight(rig, i % ENDINGS, sizes[i / ENDINGS], rig_below(rig, 3));
    RIG_CHECK(rig, ring_sockets(rig->ring[SERVER]) == 1 && ring_sockets(rig->ring[CLIENT]) == 0);
}

/* Ours is taken to the last byte, nobody reads it, and the ring goes: it takes the kernel off our memory before it returns. */
static void zc_release_with_notices_out(struct rig *rig) {
    rig_open_listening(rig, NULL);
    struct link *clients[4];
    for (uint32_t i = 0; i < 4; i++) {
        clients[i] = rig_pair(rig);
        link_mode(clients[i], RING_METERED);
        link_send_segments(clients[i]->peer, i % 2 == 0 ? 60000 : PIECE, 1 + i, RING_SEND_LOUD);
        if (i == 2) link_close(clients[i]->peer);
    }
    rig_wait(rig, SERVER, 1);
    uint64_t start = wall_ns();
    ring_release(rig->ring[SERVER]);
    rig->ring[SERVER] = NULL;
    RIG_CHECK(rig, wall_ns() - start < UINT64_C(1000000000));
    memset(rig->zone, 0xee, (size_t)ZONE_PIECES * ZONE_PIECE_BYTES);
    for (uint32_t i = 0; i < 4; i++) link_mode(clients[i], RING_FREE);
    for (uint32_t i = 0; i < 4; i++) RIG_UNTIL(rig, clients[i]->ended); /* and no wrong byte came: the record checks */
}

/* A Unix socket copies always: told by its first send, remembered for the others. */
static void zc_unix_socket(struct rig *rig) {
    char address[64];
    snprintf(address, sizeof address, "unix:/tmp/contract-%d.sock", (int)getpid());
    rig_open(rig, NULL);
    rig->listener = rig_listen(rig, SERVER, address, 8);
    RIG_CHECK(rig, ring_local(rig->ring[SERVER], rig->listener->id, &rig->address) == 0);
    struct link *client = rig_pair(rig), *server = client->peer;
    unlink(address + 5);
    for (uint32_t i = 1; i <= 5; i++) {
        link_send_segments(server, PIECE, i, RING_SEND_LOUD);
        RIG_UNTIL(rig, server->sents == i && client->received == server->sent);
    }
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc_fallback == 1);
    RIG_CHECK(rig, counters(rig, SERVER)->sends_zc == 0 && counters(rig, SERVER)->sends_zc_copied == 0);
}

/* Of several segments older kernels pin the pages for each send: 6.1 to 6.14; and 6.1 does not report what it copied. */
static void zc_on_older_kernels(struct rig *rig) {
    static const char *const kernels[] = {
        "kernel=6.1,send=zc:4096,slab=16M",
        "kernel=6.12,send=zc:4096,slab=16M",
        "naive,send=zc:4096,slab=16M",
    };
    for (uint32_t k = 0; k < 3; k++) {
        rig_open_listening(rig, &(struct rig_options){ .tuning = { kernels[k], NULL } });
        struct link *client = rig_pair(rig), *server = client->peer;
        for (uint32_t i = 1; i <= 4; i++) {
            link_send_segments(server, PIECE, 1 + i % 2 * 4, RING_SEND_LOUD);
            RIG_UNTIL(rig, server->sents == i && client->received == server->sent);
        }
        RIG_CHECK(rig, counters(rig, SERVER)->sends_zc >= 4 && counters(rig, SERVER)->sends_zc_fallback == 0);
        rig_reopen(rig);
    }
}

/* -------------------------------------------------------------------------------------------------- registering ---- */

static size_t register_as(struct rig *rig, const char *tuning, enum ring_region region, size_t bytes, struct ring_report *report,
                          uint64_t *locked) {
    struct ring_config config = { .choice = rig->row->choice, .sockets_max = 4, .world = rig->world };
    char why[RING_TEXT_BYTES];
    struct ring *ring;
    ring_tuning_default(&config.tuning);
    if (!ring_tuning_parse(span_text(tuning), &config.tuning, why, sizeof why)) return SIZE_MAX;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || ring_open(&config, &ring, report) != 0) return SIZE_MAX;
    size_t got = ring_register(ring, region, memory, bytes, report);
    *locked = ring_counters(ring)->registered_bytes;
    ring_release(ring);
    munmap(memory, bytes);
    return got;
}

/* Only what is asked for, and no more of it. */
static void zc_registers_what_is_wanted(struct rig *rig) {
    rig_open(rig, NULL);
    static const struct {
        const char *tuning;
        enum ring_region region;
        size_t bytes, registered;
    } rows[] = {
        { "send=copy", RING_REGION_OUTPUT, 64 * KIB, 0 },
        { "send=zc:1", RING_REGION_OUTPUT, 64 * KIB, 64 * KIB },
        { "send=zc:1,slab=128K", RING_REGION_OUTPUT, 512 * KIB, 128 * KIB },
        { "send=zc:1", RING_REGION_STORE, 64 * KIB, 0 },
        { "store=registered", RING_REGION_STORE, 1024 * KIB, 1024 * KIB },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ring_report report = { 0 };
        uint64_t locked = 0;
        size_t got = register_as(rig, rows[i].tuning, rows[i].region, rows[i].bytes, &report, &locked);
        size_t real = rig->row->choice == RING_EPOLL ? 0 : rows[i].registered;
        RIG_CHECK(rig, got == real);
        RIG_CHECK(rig, locked == (rig_is(rig, ROW_URING) ? real : 0));
        RIG_CHECK(rig, (report.registered[0] != 0) == (got > 0) && report.unregistered[0] == 0);
    }
}

/* The child: what went wrong, or NULL. The limit has room for the ring and 2 MiB, but not for 16. */
static const char *register_as_nobody(struct rig *rig) {
    enum { NOBODY = 65533, MIB = 1024 * KIB };
    const struct rlimit limit = { 4 * MIB, 4 * MIB };
    static struct ring_report report;
    uint64_t locked;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "setrlimit";
    if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0) return "setuid";
    size_t got = register_as(rig, "send=zc:1,slab=16M", RING_REGION_OUTPUT, 16 * MIB, &report, &locked);
    if (got < 64 * KIB || got > 4 * MIB) return report.unregistered;
    if (strstr(report.unregistered, "ENOMEM") == NULL || strstr(report.unregistered, "LimitMEMLOCK") == NULL) return "why";
    got = register_as(rig, "store=registered", RING_REGION_STORE, 16 * MIB, &report, &locked);
    return got != 0 ? "half a store was registered" : NULL;
}

static void zc_locks_what_it_may(struct rig *rig) {
    if (geteuid() != 0) skip(); /* only root can become nobody */
    pid_t pid = fork();
    RIG_CHECK(rig, pid >= 0);
    if (pid == 0) {
        const char *error = register_as_nobody(rig);
        if (error != NULL) fprintf(stderr, "as nobody: %s\n", error);
        _exit(error != NULL);
    }
    int status = 0;
    RIG_CHECK(rig, waitpid(pid, &status, 0) == pid);
    RIG_CHECK(rig, status == 0);
}

#define ZC_ONLY "only rows with registered memory"

const struct contract_scenario contract_zc[] = {
    { .name = "zc_sends", .run = zc_sends, .needs = ROW_ZC, .skip_reason = ZC_ONLY },
    { .name = "zc_leaves_small_sends_alone", .run = zc_leaves_small_sends_alone, .needs = ROW_ZC, .skip_reason = ZC_ONLY },
    { .name = "zc_mixes_memory", .run = zc_mixes_memory, .needs = ROW_ZC, .skip_reason = ZC_ONLY },
    { .name = "zc_slow_reader", .run = zc_slow_reader, .needs = ROW_ZC, .skip_reason = ZC_ONLY },
    { .name = "zc_ends_in_flight", .run = zc_ends_in_flight, .needs = ROW_ZC, .skip_reason = ZC_ONLY },
    { .name = "zc_release_with_notices_out", .run = zc_release_with_notices_out, .needs = ROW_ZC, .skip_reason = ZC_ONLY },
    { .name = "zc_unix_socket", .run = zc_unix_socket, .needs = ROW_ZC | ROW_REAL, .skip_reason = ZC_ONLY },
    { .name = "zc_on_older_kernels", .run = zc_on_older_kernels, .needs = ROW_ZC | ROW_REAL, .skip_reason = ZC_ONLY },
    { .name = "zc_registers_what_is_wanted", .run = zc_registers_what_is_wanted, .needs = 0 },
    { .name = "zc_locks_what_it_may", .run = zc_locks_what_it_may, .needs = ROW_ZC | ROW_REAL, .skip_reason = ZC_ONLY },
    { 0 },
};
