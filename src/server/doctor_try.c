/* What the doctor finds out by doing what the server would do: rings, descriptors, memory, addresses. */
#include "server/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/plan.h"
#include "server/server.h"
#include "server/sockets.h"

/* --------------------------------------------------------------------------------------------------------- limits ---- */

static uint64_t files_reserved(const struct config *config) {
    return CONFIG_FILES_RESERVE + (uint64_t)config->workers * (CONFIG_FILES_PER_WORKER + config_listeners(config));
}

/* What the server would map, all workers together, with the flags of mem/slab.c. 0 or errno. */
static int try_map(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return errno;
    }
    munmap(memory, bytes);
    return 0;
}

static int reuse_socket(struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    socklen_t len = sizeof *address;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)address, len) == 0 && listen(fd, 1) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &len) == 0) {
        return fd;
    }
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
    return -1;
}

/* Two listeners on one port. 0 or errno. */
static int try_reuse_port(void) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int first = reuse_socket(&address);
    int second = first < 0 ? -1 : reuse_socket(&address);
    int error = second < 0 ? errno : 0;
    if (first >= 0) {
        close(first);
    }
    if (second >= 0) {
        close(second);
    }
    return error;
}

static uint32_t port_of(const struct ring_address *address) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;
    return address->storage.ss_family == AF_INET    ? ntohs(v4->sin_port)
           : address->storage.ss_family == AF_INET6 ? ntohs(v6->sin6_port)
                                                    : 0;
}

/* One more address to try; and is its port one that an outgoing connection may have? */
static void note_place(struct server *server, const struct ring_address *address, bool admin, struct doctor_facts *facts) {
    server->places[server->place_count++] = (struct listen_place){ .address = *address, .admin = admin, .socket = -1 };
    uint32_t port = port_of(address);
    if (facts->port_first.known && port >= facts->port_first.value && port <= facts->port_last.value) {
        facts->listen_port = port;
    }
}

static void try_addresses(const struct config *config, struct doctor_facts *facts) {
    static struct server server; /* what sockets_prepare looks at */
    server = (struct server){ .config = config };
    for (uint32_t i = 0; i < config->listen_count; i++) {
        note_place(&server, &config->listen[i], false, facts);
    }
    if (config->admin.len > 0) {
        note_place(&server, &config->admin, true, facts);
    }
    struct sockets_held held;
    char why[CONFIG_WHY_BYTES] = "";
    facts->listen_code = sockets_prepare(&server, &held, why);
    snprintf(facts->listen_why, sizeof facts->listen_why, "%s", why);
    if (facts->listen_code == EXIT_FINE) {
        sockets_release_held(&held);
        sockets_release(&server);
    }
}

void doctor_try_limits(const struct config *config, struct doctor_facts *facts) {
    uint64_t reserved = files_reserved(config);
    uint64_t room = facts->files > reserved ? facts->files - reserved : 0;
    facts->files_needed = reserved + facts->max_connections;
    facts->files_connections = room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
    struct plan plan;
    plan_make(&plan, config);
    facts->worker_bytes = plan.slab_bytes + plan.ring_bytes + PLAN_STACK_BYTES;
    facts->map_error = try_map(facts->worker_bytes * config->workers);
    facts->reuse_port_error = try_reuse_port();
    try_addresses(config, facts);
}

/* ---------------------------------------------------------------------------------------------------------- rings ---- */

/* A filter may kill who only tries: a process of its own does. The signal, or 0. */
static int try_in_child(void) {
    pid_t child = fork();
    if (child == 0) {
        _exit(ring_probe(RING_URING, RING_FEATURE_SETUP).result == 0 ? 0 : 1);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return 0;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static uint32_t cq_of(const struct ring_report *report) {
    const char *at = strstr(report->features, " cq=");
    return at != NULL ? (uint32_t)strtoul(at + 4, NULL, 10) : 0;
}

/* What a worker registers of its output blocks, from memory that stands in for them: theirs is not made yet. */
static void try_slab(struct ring *ring, const struct plan *plan, struct ring_report *report, struct doctor_facts *facts) {
    size_t blocks = plan_row_bytes(plan, PLAN_BLOCKS);
    if (!ring_wants(ring, RING_REGION_OUTPUT)) {
        return;
    }
    facts->slab_bytes = facts->slab_bytes < blocks ? facts->slab_bytes : blocks;
    void *memory = mmap(NULL, facts->slab_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return;
    }
    facts->slabs_locked += ring_register(ring, RING_REGION_OUTPUT, memory, facts->slab_bytes, report);
    if (facts->slabs_why[0] == '\0') {
        snprintf(facts->slabs_why, sizeof facts->slabs_why, "%s", report->unregistered);
    }
    munmap(memory, facts->slab_bytes); /* the ring has its pages until it goes */
}

/* As many rings as there will be workers, all open at the same time, as each worker opens its own. */
static void try_all_rings(const struct config *config, struct doctor_facts *facts) {
    struct plan plan;
    plan_make(&plan, config);
    struct ring_config wanted = { .choice = RING_URING, .tuning = config->tuning, .sockets_max = plan.sockets_max };
    static struct ring *rings[CONFIG_WORKERS_MAX];
    facts->rings_open = 0;
    facts->rings_error = 0;
    facts->rings_cq = UINT32_MAX;
    while (facts->rings_open < config->workers && facts->rings_error == 0) {
        struct ring_report report;
        facts->rings_error = ring_open(&wanted, &rings[facts->rings_open], &report);
        if (facts->rings_error == 0) {
            uint32_t cq = cq_of(&report);
            facts->rings_cq = cq < facts->rings_cq ? cq : facts->rings_cq;
            try_slab(rings[facts->rings_open], &plan, &report, facts);
            facts->rings_open++;
        }
    }
    for (uint32_t i = 0; i < facts->rings_open; i++) {
        ring_release(rings[i]);
    }
}

void doctor_try_rings(const struct config *config, struct doctor_facts *facts) {
    rm_assert(config->workers <= CONFIG_WORKERS_MAX);
    struct rlimit limit;
    facts->locked_bytes = UINT64_MAX;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        facts->locked_bytes = limit.rlim_cur;
    }
    facts->features_tried = false;
    if (!ring_has_backend(RING_URING)) {
        return;
    }
    facts->setup_signal = try_in_child();
    if (facts->setup_signal != 0) {
        return;
    }
    facts->features_tried = true;
    facts->features[RING_FEATURE_SETUP] = ring_probe(RING_URING, RING_FEATURE_SETUP);
    if (facts->features[RING_FEATURE_SETUP].result != 0) {
        return;
    }
    try_all_rings(config, facts); /* before the others, whose locked memory is given back in the kernel's own time */
    for (unsigned i = 0; i < RING_FEATURES_COUNT; i++) {
        if (i != RING_FEATURE_SETUP) {
            facts->features[i] = ring_probe(RING_URING, (enum ring_feature)i);
        }
    }
}

/* -------------------------------------------------------------------------------------------------------- the whole */

/* The configuration as the server would run it; where it would not run at all, the next smaller one that can be tried. */
static void resolve(const struct doctor_subject *subject, struct config *config, struct doctor_facts *facts) {
    char why[CONFIG_WHY_BYTES];
    *config = *subject->config;
    facts->workers_given = config->workers;
    facts->connections_given = config->max_connections;
    facts->files_why[0] = '\0';
    if (config_resolve(config, subject->cpus, subject->files, why) == EXIT_FINE) {
        facts->workers = config->workers;
        facts->max_connections = config->max_connections;
        return;
    }
    snprintf(facts->files_why, sizeof facts->files_why, "%s", why);
    if (config->max_connections < config->workers) {
        config->max_connections = config->workers;
    }
    facts->workers = config->workers;
    facts->max_connections = config->max_connections;
}

void doctor_try(const struct doctor_subject *subject, struct doctor_facts *facts) {
    static struct config config;
    *facts = (struct doctor_facts){
        .program = subject->program,
        .argc = subject->argc,
        .argv = subject->argv,
        .io = subject->config->io,
        .access_log = subject->config->access_log != NULL,
        .send_zc = subject->config->tuning.send_zc,
        .slab_bytes = subject->config->tuning.slab_bytes,
        .cpus = subject->cpus,
        .files = subject->files,
    };
    resolve(subject, &config, facts);
    doctor_try_host(facts);
    doctor_try_rings(&config, facts);
    doctor_try_limits(&config, facts);
    if (facts->setup_signal == 0) {
        doctor_try_serving(&config, RING_URING, &facts->uring);
    }
    facts->uring.compiled = ring_has_backend(RING_URING);
    doctor_try_serving(&config, RING_EPOLL, &facts->epoll);
}
