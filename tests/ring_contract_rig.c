#include "ring_contract.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS UINT64_C(1000000)

enum {
    SOCKETS_DEFAULT = 256,
    LIMIT_S = 10,             /* of RIG_UNTIL: of the simulator's time */
    LIMIT_REAL_S = 40,        /* of ours, on a busy machine */
    FAR_MS = 1500,            /* of rig_far, in the same way */
    FAR_REAL_MS = 30 * 1000,
    ROUNDS_MAX = 4 * 1000000, /* in a world whose clock hardly moves */
    IDLE_NS = 500 * 1000,
    ZONE_BYTES = ZONE_PIECES * ZONE_PIECE_BYTES,
};

uint64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t rig_random(struct rig *rig) {
    uint64_t x = rig->seed += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t rig_below(struct rig *rig, uint32_t n) {
    return (uint32_t)(rig_random(rig) % n);
}

void rig_fail(struct rig *rig, const char *file, int line, const char *text) {
    print_error("%s:%d: %s%s%s (seed %llu)\n", file, line, text, rig->violation[0] == 0 ? "" : "; rule broken: ",
                rig->violation, (unsigned long long)rig->first_seed);
    _fail(file, line);
    abort(); /* not reached */
}

static void violate(struct link *link, const struct ring_event *event, const char *rule) {
    struct rig *rig = link->rig;
    if (rig->violation[0] != 0) return;
    snprintf(rig->violation, sizeof rig->violation, "%s (%s %d on the %s's slot %u generation %u)", rule,
             ring_event_name(event->type), event->result, link->side == SERVER ? "server" : "client",
             event->id.slot, event->id.generation);
}

/* ------------------------------------------------------------------------------------------------------- record ---- */

struct link *link_new(struct rig *rig, enum side side) {
    assert_true(rig->links_used < RIG_LINKS_MAX);
    struct link *link = &rig->links[rig->links_used++];
    *link = (struct link){ .rig = rig, .side = side, .used = true, .in_seed = LINK_LEARNS };
    link->out_seed = (uint8_t)rig->links_used;
    return link;
}

static void on_accepted(struct rig *rig, enum side side, const struct ring_event *event) {
    struct link *listener = event->user;
    if (!ring_id_equal(listener->id, event->listener)) violate(listener, event, "user is not the listener's");
    if (listener->closing) violate(listener, event, "accepted after ring_close of the listener");
    listener->accepts++;
    struct link *link = link_new(rig, side);
    link->id = event->id;
    link->connected = true;
    rig->newest = link;
    ring_set_user(rig->ring[side], event->id, link);
}

static void on_bytes(struct link *link, const struct ring_event *event) {
    if (event->bytes.len != (size_t)event->result) violate(link, event, "result is not the length");
    if (event->result > RING_RECEIVE_BYTES_MAX) violate(link, event, "more than RING_RECEIVE_BYTES_MAX");
    if (link->mode == RING_METERED && !link->asked) violate(link, event, "METERED, and nobody asked");
    link->asked = false;
    if (link->in_seed == LINK_LEARNS) link->in_seed = (uint8_t)event->bytes.data[0];
    for (size_t i = 0; i < event->bytes.len; i++)
        if ((uint8_t)event->bytes.data[i] != pattern_byte((uint8_t)link->in_seed, link->received + i)) {
            violate(link, event, "bytes are not what was sent");
            break;
        }
    link->received += event->bytes.len;
    link->receives++;
}

static void on_received(struct link *link, const struct ring_event *event) {
    if (link->ended) violate(link, event, "RECEIVED after the last RECEIVED");
    if (!link->connected) violate(link, event, "RECEIVED before CONNECTED");
    if (event->result > 0) {
        on_bytes(link, event);
        return;
    }
    link->ended = true;
    link->end_result = event->result;
}

/* What was sent is ours again: nobody may read it now. */
static void take_back(struct link *link) {
    memset(link->out, 0xee, link->in_flight);
    if (link->out != link->own) link->rig->zone_used[(link->out - link->rig->zone) / ZONE_PIECE_BYTES] = false;
    link->in_flight = 0;
}

static void on_sent(struct link *link, const struct ring_event *event) {
    if (link->in_flight == 0) violate(link, event, "SENT without a send");
    if (event->result >= 0 && (size_t)event->result != link->in_flight) violate(link, event, "SENT is not all bytes");
    if (event->result > 0) link->sent += (uint64_t)event->result;
    if (event->result < 0) link->send_error = event->result;
    take_back(link);
    link->sents++;
}

static void on_link(struct link *link, const struct ring_event *event) {
    if (link->closed) violate(link, event, "an event after CLOSED");
    if (!ring_id_equal(link->id, event->id)) violate(link, event, "user of another id");
    if (link->closing && event->type != RING_CLOSED) violate(link, event, "an event after ring_close");
    switch (event->type) {
    case RING_CONNECTED:
        if (link->answered) violate(link, event, "CONNECTED twice");
        link->answered = true;
        link->connect_result = event->result;
        link->connected = event->result == 0;
        return;
    case RING_RECEIVED: on_received(link, event); return;
    case RING_SENT: on_sent(link, event); return;
    case RING_CLOSED:
        if (!link->closing) violate(link, event, "CLOSED without ring_close");
        link->closed = true;
        if (link->in_flight > 0) take_back(link);
        return;
    case RING_READY:
        link->ready = (uint32_t)event->result;
        link->readies++;
        return;
    case RING_ACCEPTED:
    case RING_WOKEN:
    case RING_FINISHED:
    case RING_READ:
    case RING_TICK: break;
    }
    violate(link, event, "an event that no link has");
}

static struct link *record(struct rig *rig, enum side side, const struct ring_event *event) {
    switch (event->type) {
    case RING_WOKEN: rig->wokens[side]++; return NULL;
    case RING_FINISHED: rig->finished[side]++; return NULL;
    case RING_READ: rig->reads[side]++; return NULL;
    case RING_TICK: rig->ticks[side]++; return NULL;
    case RING_ACCEPTED: on_accepted(rig, side, event); return rig->newest;
    case RING_CONNECTED:
    case RING_RECEIVED:
    case RING_SENT:
    case RING_CLOSED:
    case RING_READY: break;
    }
    struct link *link = event->user;
    rig_fail_unless_link(rig, link);
    on_link(link, event);
    return link;
}

uint32_t rig_wait(struct rig *rig, enum side side, uint64_t deadline_ns) {
    struct ring_event event;
    uint32_t events = 0;
    bool ticked = false;
    int32_t error = ring_wait(rig->ring[side], deadline_ns);
    if (error != 0) rig_fail(rig, __FILE__, __LINE__, strerror(-error));
    while (ring_next(rig->ring[side], &event)) {
        RIG_CHECK(rig, !ticked); /* TICK is the last of its turn */
        ticked = event.type == RING_TICK;
        if (!ticked) events++;
        struct link *link = record(rig, side, &event);
        if (rig->violation[0] != 0) rig_fail(rig, __FILE__, __LINE__, "the contract");
        if (rig->on_event != NULL) rig->on_event(rig, side, link, &event);
    }
    return events;
}

void rig_fail_unless_link(struct rig *rig, const struct link *link) {
    bool is_ours = link >= rig->links && link < rig->links + rig->links_used;
    if (!is_ours) rig_fail(rig, __FILE__, __LINE__, "an event with a user that was never set");
}

/* --------------------------------------------------------------------------------------------------------- pump ---- */

void rig_turn(struct rig *rig) {
    uint32_t events = 0;
    for (enum side side = SERVER; side < SIDES; side++)
        if (rig->ring[side] != NULL) events += rig_wait(rig, side, 1); /* long past: a poll */
    if (events != 0) return;
    for (enum side side = SERVER; side < SIDES; side++)
        if (rig->ring[side] != NULL) rig_wait(rig, side, ring_now(rig->ring[side]) + IDLE_NS);
}

static uint64_t rig_now(const struct rig *rig) {
    return rig->world != NULL ? sim_now(rig->world) : wall_ns();
}

uint64_t rig_limit(const struct rig *rig) {
    uint64_t seconds = rig->world != NULL ? LIMIT_S : LIMIT_REAL_S;
    return rig_now(rig) + seconds * 1000 * NS_PER_MS;
}

uint64_t rig_far(const struct rig *rig, enum side side) {
    uint64_t ms = rig->world != NULL ? FAR_MS : FAR_REAL_MS;
    return ring_now(rig->ring[side]) + ms * NS_PER_MS;
}

bool rig_late(const struct rig *rig, uint64_t limit, uint64_t rounds) {
    return rig_now(rig) >= limit || rounds >= ROUNDS_MAX;
}

void rig_pump_ms(struct rig *rig, uint32_t ms) {
    uint64_t until = rig_now(rig) + ms * NS_PER_MS;
    while (rig_now(rig) < until) rig_turn(rig);
}

/* ------------------------------------------------------------------------------------------------ open and close ---- */

static void open_side(struct rig *rig, enum side side, const struct rig_options *options) {
    char text[256], why[RING_TEXT_BYTES] = "";
    const char *more = options->tuning[side];
    snprintf(text, sizeof text, "%s%s%s", rig->row->tuning, more != NULL && rig->row->tuning[0] != 0 ? "," : "",
             more != NULL ? more : "");
    struct ring_config config = {
        .choice = rig->row->choice,
        .peers = options->peers && side == SERVER,
        .sockets_max = options->sockets_max[side] != 0 ? options->sockets_max[side] : SOCKETS_DEFAULT,
        .helpers = rig->helpers,
        .world = rig->world,
    };
    ring_tuning_default(&config.tuning);
    if (text[0] != 0 && !ring_tuning_parse(span_text(text), &config.tuning, why, sizeof why))
        rig_fail(rig, __FILE__, __LINE__, why);
    int32_t error = ring_open(&config, &rig->ring[side], &rig->report[side]);
    if (error == 0) return;
    rig->ring[side] = NULL;
    rig_fail(rig, __FILE__, __LINE__, rig->report[side].why);
}

static void open_zone(struct rig *rig) {
    rig->zone = mmap(NULL, ZONE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(rig->zone != MAP_FAILED);
    for (enum side side = SERVER; side < SIDES; side++)
        if (ring_register(rig->ring[side], RING_REGION_OUTPUT, rig->zone, ZONE_BYTES, &rig->report[side]) != ZONE_BYTES)
            rig_fail(rig, __FILE__, __LINE__, rig->report[side].unregistered);
}

void rig_open(struct rig *rig, const struct rig_options *options) {
    static const struct rig_options defaults;
    if (options == NULL) options = &defaults;
    rig->links = calloc(RIG_LINKS_MAX, sizeof *rig->links);
    assert_non_null(rig->links);
    if (rig->row->choice == RING_SIM) {
        struct sim_options world;
        if (rig_is(rig, ROW_ROUGH))
            sim_options_rough(&world);
        else
            sim_options_calm(&world);
        rig->world = sim_world_new(rig->seed, &world);
        assert_non_null(rig->world);
    } else if (options->helpers) {
        rig->helpers = ring_helpers_start(2);
        assert_non_null(rig->helpers);
    }
    for (enum side side = SERVER; side < SIDES; side++) open_side(rig, side, options);
    if (rig_is(rig, ROW_ZC)) open_zone(rig);
}

void rig_close(struct rig *rig) {
    for (enum side side = SERVER; side < SIDES; side++)
        if (rig->ring[side] != NULL) ring_release(rig->ring[side]);
    if (rig->helpers != NULL) ring_helpers_stop(rig->helpers);
    if (rig->world != NULL) sim_world_free(rig->world);
    for (uint32_t i = 0; i < rig->links_used; i++) free(rig->links[i].own);
    if (rig->zone != NULL) munmap(rig->zone, ZONE_BYTES);
    free(rig->links);
    memset(rig, 0, sizeof *rig);
}

void rig_reopen(struct rig *rig) {
    const struct contract_row *row = rig->row;
    uint64_t seed = rig->first_seed;
    rig_close(rig);
    rig->row = row;
    rig->seed = rig->first_seed = seed;
}

struct link *rig_listen(struct rig *rig, enum side side, const char *address, uint32_t backlog) {
    struct ring_listen listen = { .fd = -1, .backlog = backlog };
    RIG_CHECK(rig, ring_address_parse(span_text(address), &listen.address));
    struct link *link = link_new(rig, side);
    listen.user = link;
    int32_t error = ring_listen(rig->ring[side], &listen, &link->id);
    if (error != 0) rig_fail(rig, __FILE__, __LINE__, strerror(-error));
    return link;
}

void rig_open_listening(struct rig *rig, const struct rig_options *options) {
    rig_open(rig, options);
    rig->listener = rig_listen(rig, SERVER, "127.0.0.1:0", 1024);
    RIG_CHECK(rig, ring_local(rig->ring[SERVER], rig->listener->id, &rig->address) == 0);
}

/* -------------------------------------------------------------------------------------------------------- links ---- */

struct link *link_connect(struct rig *rig) {
    struct link *link = link_new(rig, CLIENT);
    int32_t error = ring_connect(rig->ring[CLIENT], &rig->address, link, &link->id);
    if (error != 0) rig_fail(rig, __FILE__, __LINE__, strerror(-error));
    return link;
}

struct link *rig_pair(struct rig *rig) {
    struct link *client = link_connect(rig);
    rig->newest = NULL;
    RIG_UNTIL(rig, client->answered && rig->newest != NULL);
    RIG_CHECK(rig, client->connect_result == 0);
    client->peer = rig->newest;
    rig->newest->peer = client;
    return client;
}

/* NULL: too large, or no piece is free. */
static char *zone_piece(struct rig *rig, size_t bytes) {
    for (uint32_t i = 0; rig->zone != NULL && !rig->zone_off && bytes <= ZONE_PIECE_BYTES && i < ZONE_PIECES; i++) {
        if (rig->zone_used[i]) continue;
        rig->zone_used[i] = true;
        return rig->zone + (size_t)i * ZONE_PIECE_BYTES;
    }
    return NULL;
}

static void fill(struct link *link, size_t bytes) {
    char *out = zone_piece(link->rig, bytes);
    if (out == NULL) {
        out = realloc(link->own, bytes);
        assert_non_null(out);
        link->own = out;
    }
    link->out = out;
    for (size_t i = 0; i < bytes; i++) out[i] = (char)pattern_byte(link->out_seed, link->out_position + i);
    link->out_position += bytes;
    link->in_flight = bytes;
}

void link_prepare(struct link *link, size_t bytes, uint32_t segments) {
    assert_true(link->in_flight == 0);
    assert_true(bytes >= segments);
    fill(link, bytes);
    size_t each = bytes / segments;
    for (uint32_t i = 0; i < segments; i++) {
        size_t len = i + 1 == segments ? bytes - each * i : each;
        link->iov[i] = (struct iovec){ link->out + each * i, len };
    }
}

void link_send_segments(struct link *link, size_t bytes, uint32_t segments, enum ring_send how) {
    link_prepare(link, bytes, segments);
    ring_send(link_ring(link), link->id, link->iov, segments, how);
}

void link_mode(struct link *link, enum ring_receive mode) {
    link->mode = mode;
    link->asked = false;
    ring_receive_mode(link_ring(link), link->id, mode);
}

void link_more(struct link *link) {
    link->asked = true;
    ring_receive_more(link_ring(link), link->id);
}

void link_shutdown(struct link *link) {
    ring_shutdown_write(link_ring(link), link->id);
}

void link_close(struct link *link) {
    link->closing = true;
    ring_close(link_ring(link), link->id);
}

void link_reset(struct link *link) {
    link->closing = true;
    ring_reset(link_ring(link), link->id);
}

/* ------------------------------------------------------------------------------------------------------ process ---- */

uint32_t process_descriptors(void) {
    uint32_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the directory itself */
}

uint32_t process_kernel_workers(void) {
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

uint64_t rig_calls(const struct rig *rig, enum side side) {
    const struct ring_counters *counters = ring_counters(rig->ring[side]);
    uint64_t sum = 0;
    for (int i = 0; i < RING_CALLS_COUNT; i++) sum += counters->calls[i];
    return sum;
}

int raw_connect(const struct ring_address *address) {
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (const struct sockaddr *)&address->storage, address->len) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int raw_listen(struct ring_address *address) {
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->len) == 0 && listen(fd, 64) == 0) {
        address->len = sizeof address->storage;
        if (getsockname(fd, (struct sockaddr *)&address->storage, &address->len) == 0) return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}
