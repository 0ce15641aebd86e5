/* Opening and releasing a ring: flags that this kernel has, memory limits, and a probe by trying. See io_uring_setup(2). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "ring/uring_priv.h"

enum {
    CQ_MIN = 256,
    SQ_MIN = 64,
    PAGE = 4096,
    CQ_LAG_MAX = 256,
    PARKED_MIN = LISTENERS_MAX,
    RELEASE_TURNS = 4,
    RELEASE_WAIT_NS = 1000000,
    NOTICE_TURNS_MAX = 2000,
};

/* ------------------------------------------------------------------------------------------------------ memory ---- */

/* Between two looks at the completion queue the kernel can accept as many connections as the queue holds; stopping takes
 * effect within one more. So this many places to park always suffice. */
static uint32_t parked_max(const struct ring_tuning *tuning) {
    return tuning->accept_multi ? 2 * tuning->cq_entries + PARKED_MIN : PARKED_MIN;
}

static size_t plan(const struct ring_config *config) {
    const struct ring_tuning *tuning = &config->tuning;
    size_t entries = tuning->buffers_max;
    size_t bytes = slab_round(sizeof(struct uring));
    bytes += slab_round(config->sockets_max * sizeof(struct uring_slot));
    bytes += slab_round(tuning->sq_entries * 2 * sizeof(union submission)); /* the kernel rounds up to a power of two */
    bytes += slab_round(entries * sizeof(struct io_uring_buf) + PAGE);
    bytes += slab_round(entries * (tuning->buffer_bytes + BUFFER_GAP) + PAGE);
    bytes += 2 * slab_round(entries * sizeof(uint16_t)) + slab_round(entries * sizeof(uint32_t));
    bytes += slab_round(parked_max(tuning) * sizeof(struct parked));
    return bytes + ring_peers_bytes(config);
}

size_t uring_memory_bytes(const struct ring_config *config) {
    return plan(config);
}

static void *take_page_aligned(struct slab *slab, size_t bytes) {
    uintptr_t memory = (uintptr_t)slab_take(slab, bytes + PAGE);
    return (void *)((memory + PAGE - 1) / PAGE * PAGE);
}

static void carve_buffers(struct buffers *buffers, struct slab *slab, const struct ring_tuning *tuning) {
    buffers->entries = tuning->buffers_max;
    buffers->bytes = tuning->buffer_bytes;
    buffers->ring = take_page_aligned(slab, buffers->entries * sizeof(struct io_uring_buf));
    buffers->memory = take_page_aligned(slab, (size_t)buffers->entries * (buffers->bytes + BUFFER_GAP));
    buffers->lent = slab_take(slab, buffers->entries * sizeof(uint16_t));
    buffers->next = slab_take(slab, buffers->entries * sizeof(uint16_t));
    buffers->len = slab_take(slab, buffers->entries * sizeof(uint32_t));
}

static struct uring *carve(const struct ring_config *config, void **slots) {
    struct slab slab;
    if (!slab_map(&slab, plan(config))) return NULL;
    struct uring *uring = slab_take(&slab, sizeof *uring);
    uring->tuning = config->tuning;
    *slots = slab_take(&slab, config->sockets_max * sizeof(struct uring_slot));
    uring->submissions = slab_take(&slab, config->tuning.sq_entries * 2 * sizeof(union submission));
    carve_buffers(&uring->buffers, &slab, &config->tuning);
    uring->parked_max = parked_max(&config->tuning);
    uring->parked = slab_take(&slab, uring->parked_max * sizeof(struct parked));
    if (config->peers) uring->base.peers = slab_take(&slab, ring_peers_bytes(config));
    uring->zc_report = config->tuning.kernel == 0 || config->tuning.kernel >= 602;
    uring->zc_segments = config->tuning.kernel == 0 || config->tuning.kernel >= 615;
    uring->ask_peers = config->peers && (config->tuning.kernel == 0 || config->tuning.kernel >= 607);
    slab_seal(&slab);
    uring->slab = slab;
    uring->ring.ring_fd = -1;
    slot_list_init(&uring->closed);
    slot_list_init(&uring->starved);
    slot_list_init(&uring->kept);
    return uring;
}

/* ------------------------------------------------------------------------------------------------------- setup ---- */

static unsigned setup_flags(const struct ring_tuning *tuning) {
    unsigned flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    if (tuning->taskrun == RING_TASKRUN_NONE && !tuning->single_issuer) return flags; /* naive: no flags */
    flags |= IORING_SETUP_SUBMIT_ALL;
    if (tuning->single_issuer) flags |= IORING_SETUP_SINGLE_ISSUER;
    if (tuning->taskrun == RING_TASKRUN_DEFER) flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    if (tuning->taskrun == RING_TASKRUN_COOP) flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    return flags;
}

/* The next rung down; false when there is none. DEFER_TASKRUN needs SINGLE_ISSUER (6.1), which needs 6.0. */
static bool step_down(struct ring_tuning *tuning) {
    if (tuning->taskrun == RING_TASKRUN_DEFER) {
        tuning->taskrun = RING_TASKRUN_COOP;
        return true;
    }
    if (tuning->single_issuer) {
        tuning->single_issuer = false;
        return true;
    }
    if (tuning->taskrun == RING_TASKRUN_COOP) {
        tuning->taskrun = RING_TASKRUN_NONE;
        return true;
    }
    return false;
}

static bool shrink(struct ring_tuning *tuning) {
    if (tuning->cq_entries > CQ_MIN && tuning->cq_entries / 2 >= tuning->sq_entries) {
        tuning->cq_entries /= 2;
        return true;
    }
    if (tuning->sq_entries > SQ_MIN) {
        tuning->sq_entries /= 2;
        return true;
    }
    return false;
}

/* A ring that has just been released still counts against the limit for a moment. */
static void pause_for_release(void) {
    nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000000 }, NULL);
}

static int32_t setup(struct uring *uring) {
    struct ring_tuning *tuning = &uring->tuning;
    if (tuning->taskrun == RING_TASKRUN_DEFER) tuning->single_issuer = true;
    for (bool waited = false;;) {
        struct io_uring_params params = { .flags = setup_flags(tuning), .cq_entries = tuning->cq_entries };
        if (tuning->cq_entries < tuning->sq_entries) params.cq_entries = tuning->sq_entries;
        int error = io_uring_queue_init_params(tuning->sq_entries, &uring->ring, &params);
        if (error == 0) return 0;
        uring->ring.ring_fd = -1; /* liburing has cleared it */
        if (error == -EINVAL && step_down(tuning)) continue;
        if (error == -ENOMEM && shrink(tuning)) continue;
        if (error != -ENOMEM || waited) return error;
        waited = true;
        pause_for_release();
    }
}

static int32_t register_file_table(struct uring *uring, uint32_t sockets_max) {
    if (!uring->tuning.files_direct) return 0;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t wanted = (uint64_t)sockets_max + uring->parked_max;
    if (wanted > limit.rlim_max && sockets_max + PARKED_MIN <= limit.rlim_max) {
        uring->tuning.accept_multi = false; /* one at a time needs few places to park */
        uring->parked_max = PARKED_MIN;
        wanted = sockets_max + PARKED_MIN;
    }
    if (wanted > limit.rlim_max) return -EMFILE;
    ring_count_call(&uring->base, RING_CALL_io_uring_register);
    return io_uring_register_files_sparse(&uring->ring, (unsigned)wanted);
}

static void enter_options(struct uring *uring) {
    uring->enter_fd = uring->ring.ring_fd;
    uring->enter_flags = 0;
    if (uring->tuning.ring_fd) {
        ring_count_call(&uring->base, RING_CALL_io_uring_register);
        uring->tuning.ring_fd = io_uring_register_ring_fd(&uring->ring) == 1;
    }
    if (uring->tuning.ring_fd) {
        uring->enter_fd = uring->ring.enter_ring_fd;
        uring->enter_flags |= IORING_ENTER_REGISTERED_RING;
    }
    if ((uring->ring.features & IORING_FEAT_NO_IOWAIT) == 0) uring->tuning.no_iowait = false;
    if (uring->tuning.no_iowait) uring->enter_flags |= IORING_ENTER_NO_IOWAIT;
}

/* ------------------------------------------------------------------------------------------------------- probe ---- */

/* Two socket pairs stand in for two clients. pairs[i][0] goes to the ring, [1] is ours. */
struct probe {
    struct uring *uring;
    int pairs[2][2];
    bool direct;
};

enum { PROBE_RECEIVE = 1, PROBE_WAIT_MS = 200 };

static void probe_file(const struct probe *probe, struct io_uring_sqe *sqe, int which) {
    if (!probe->direct) return;
    sqe->fd = which;
    sqe->flags |= IOSQE_FIXED_FILE;
}

/* Waits for one completion with the tag; its result, flags in *flags. -ETIME after PROBE_WAIT_MS. */
static int32_t probe_wait(struct uring *uring, uint64_t tag, uint32_t *flags) {
    struct __kernel_timespec timeout = { .tv_nsec = PROBE_WAIT_MS * 1000000 };
    for (int tries = 0; tries < 16; tries++) {
        struct io_uring_cqe *cqe;
        ring_count_call(&uring->base, RING_CALL_io_uring_enter);
        int error = io_uring_submit_and_wait_timeout(&uring->ring, &cqe, 1, &timeout, NULL);
        if (error < 0 && error != -EINTR) return error;
        if (io_uring_peek_cqe(&uring->ring, &cqe) < 0) continue;
        uint64_t got = cqe->user_data;
        int32_t result = cqe->res;
        *flags = cqe->flags;
        io_uring_cqe_seen(&uring->ring, cqe);
        if (got == tag) return result;
    }
    return -ETIME;
}

static void probe_arm(struct probe *probe, int which) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&probe->uring->ring);
    if (probe->uring->tuning.receive_multi)
        io_uring_prep_recv_multishot(sqe, probe->pairs[which][0], NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, probe->pairs[which][0], NULL, probe->uring->buffers.bytes, 0);
    sqe->buf_group = BUFFER_GROUP;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    probe_file(probe, sqe, which);
    sqe->user_data = PROBE_RECEIVE + (uint64_t)which;
}

/* Receives into a ring buffer what was sent: a byte, or two when the try before was refused. A multishot must stay armed.
 * Returns the buffer. */
static int32_t probe_receive(struct probe *probe) {
    struct uring *uring = probe->uring;
    uint32_t flags = 0;
    probe_arm(probe, 0);
    if (send(probe->pairs[0][1], "x", 1, MSG_NOSIGNAL) != 1) return -errno;
    int32_t result = probe_wait(uring, PROBE_RECEIVE, &flags);
    if (result < 0) return result;
    if (result == 0 || (flags & IORING_CQE_F_BUFFER) == 0) return -EIO;
    (void)buffers_lend(&uring->buffers, (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT));
    buffers_return(&uring->buffers);
    bool armed = (flags & IORING_CQE_F_MORE) != 0;
    return armed == uring->tuning.receive_multi ? 0 : -EOPNOTSUPP;
}

/* Does closing one direct descriptor end its connection while an older request on another one is still armed? Up to 6.12 it
 * does not: such a client would wait for its FIN until a stranger's request ends. */
static bool probe_close_is_prompt(struct probe *probe) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&probe->uring->ring);
    io_uring_prep_close_direct(sqe, 1);
    sqe->user_data = 99;
    uint32_t flags;
    if (probe_wait(probe->uring, 99, &flags) != 0) return false;
    char byte;
    for (int tries = 0; tries < 20; tries++) {
        if (recv(probe->pairs[1][1], &byte, 1, MSG_DONTWAIT) == 0) return true;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return false;
}

static bool probe_direct(struct probe *probe) {
    struct io_uring_probe *ops = io_uring_get_probe_ring(&probe->uring->ring);
    bool can = ops != NULL && io_uring_opcode_supported(ops, IORING_OP_FIXED_FD_INSTALL);
    io_uring_free_probe(ops);
    if (!can) return false;
    int files[2] = { probe->pairs[0][0], probe->pairs[1][0] };
    if (io_uring_register_files_update(&probe->uring->ring, 0, files, 2) != 2) return false;
    close(probe->pairs[1][0]);
    probe->pairs[1][0] = -1;
    return true;
}

/* Takes the probe's file out of the table and swallows what its request still says. */
static void probe_end(struct probe *probe) {
    struct uring *uring = probe->uring;
    uint32_t flags;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    io_uring_prep_cancel64(sqe, PROBE_RECEIVE, 0);
    sqe->user_data = 98;
    (void)probe_wait(uring, 98, &flags);
    if (uring->tuning.receive_multi) (void)probe_wait(uring, PROBE_RECEIVE, &flags);
    int none[2] = { -1, -1 };
    if (uring->tuning.files_direct || probe->direct) (void)io_uring_register_files_update(&uring->ring, 0, none, 2);
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) io_uring_cqe_seen(&uring->ring, cqe);
}

static int32_t probe_features(struct probe *probe) {
    struct ring_tuning *tuning = &probe->uring->tuning;
    if (tuning->files_direct) tuning->files_direct = probe->direct = probe_direct(probe);
    int32_t error = probe_receive(probe);
    if (error == -EINVAL || error == -EOPNOTSUPP) {
        tuning->receive_multi = false; /* before 6.0 */
        error = probe_receive(probe);
    }
    if (error != 0) return error;
    if (probe->direct) tuning->files_direct = probe_close_is_prompt(probe);
    probe_end(probe);
    return 0;
}

static int32_t probe_run(struct uring *uring) {
    struct probe probe = { .uring = uring, .pairs = { { -1, -1 }, { -1, -1 } } };
    int32_t error = 0;
    for (int i = 0; i < 2 && error == 0; i++)
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, probe.pairs[i]) < 0) error = -errno;
    if (error == 0) error = probe_features(&probe);
    for (int i = 0; i < 4; i++)
        if (probe.pairs[i / 2][i % 2] >= 0) close(probe.pairs[i / 2][i % 2]);
    return error;
}

/* ------------------------------------------------------------------------------------------------------- report ---- */

static void read_line(const char *path, char *out, size_t bytes) {
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(out, (int)bytes, file) == NULL) snprintf(out, bytes, "absent");
    out[strcspn(out, "\n")] = '\0';
    if (file != NULL) fclose(file);
}

static void explain(int32_t error, struct ring_report *report) {
    char disabled[32];
    read_line("/proc/sys/kernel/io_uring_disabled", disabled, sizeof disabled);
    struct rlimit locked;
    getrlimit(RLIMIT_MEMLOCK, &locked);
    const char *name = strerrorname_np(-error);
    size_t room = sizeof report->why;
    switch (-error) {
    case EPERM:
    case EACCES:
        if (strcmp(disabled, "0") == 0 || strcmp(disabled, "absent") == 0)
            snprintf(report->why, room, "io_uring: %s while kernel.io_uring_disabled is %s: a seccomp profile or security "
                     "module forbids it; allow io_uring_setup, io_uring_enter and io_uring_register", name, disabled);
        else
            snprintf(report->why, room, "io_uring: %s: kernel.io_uring_disabled is %s; set it to 0, or join the group in "
                     "kernel.io_uring_group", name, disabled);
        return;
    case ENOSYS:
        snprintf(report->why, room, "io_uring: %s: this kernel or sandbox has no io_uring (CONFIG_IO_URING)", name);
        return;
    case ENOMEM:
        snprintf(report->why, room, "io_uring: %s: the locked-memory limit of %llu KiB is used up; raise it (ulimit -l, "
                 "LimitMEMLOCK=) or start fewer workers", name, (unsigned long long)locked.rlim_cur / 1024);
        return;
    case EMFILE:
        snprintf(report->why, room, "io_uring: %s: the limit of open files is below the connections asked for; raise it "
                 "(ulimit -n, LimitNOFILE=) or lower --max-connections", name);
        return;
    default: snprintf(report->why, room, "io_uring: %s (%s)", name == NULL ? "?" : name, strerror(-error));
    }
}

static void describe(const struct uring *uring, struct ring_report *report) {
    static const char *const taskrun[] = { "defer", "coop", "none" };
    const struct ring_tuning *t = &uring->tuning;
    struct utsname host;
    uname(&host);
    char emulated[64] = "";
    if (t->kernel != 0)
        snprintf(emulated, sizeof emulated, " (using only what %u.%u has: an emulation)", t->kernel / 100, t->kernel % 100);
    char send[32] = "copy";
    if (t->send_zc > 0) snprintf(send, sizeof send, "zc:%u", t->send_zc);
    snprintf(report->features, sizeof report->features,
             "taskrun=%s accept=%s recv=%s files=%s ring-fd=%s submit=%s wait=%s issuer=%s iowait=%s send=%s sq=%u cq=%u "
             "buffers=%ux%u kernel=%s%s",
             taskrun[t->taskrun], t->accept_multi ? "multi" : "single", t->receive_multi ? "multi" : "single",
             t->files_direct ? "direct" : "normal", t->ring_fd ? "on" : "off", t->submit_batch ? "batch" : "each",
             t->wait_quiet ? "quiet" : "one", t->single_issuer ? "single" : "any", t->no_iowait ? "off" : "on", send,
             uring->ring.sq.ring_entries, uring->ring.cq.ring_entries, t->buffers, t->buffer_bytes, host.release, emulated);
}

/* ---------------------------------------------------------------------------------------------- open and release ---- */

static int32_t build(struct uring *uring, const struct ring_config *config) {
    int32_t error = setup(uring);
    if (error != 0) return error;
    error = register_file_table(uring, config->sockets_max);
    if (error == -EINVAL || error == -EMFILE) { /* before 5.19; a low limit, which counts watches only when they are open */
        uring->tuning.files_direct = false;
        error = 0;
    }
    if (error != 0) return error;
    ring_count_call(&uring->base, RING_CALL_io_uring_register);
    error = buffers_register(&uring->buffers, &uring->ring, uring->tuning.buffers);
    if (error != 0) return error;
    error = probe_run(uring);
    if (error != 0) return error;
    if (!uring->tuning.files_direct) (void)io_uring_unregister_files(&uring->ring);
    enter_options(uring);
    return 0;
}

static void settle_counters(struct uring *uring) {
    uint32_t cq_entries = uring->ring.cq.ring_entries;
    uring->cq_head = *uring->ring.cq.khead;
    uring->cq_tail = uring->cq_head;
    uring->cq_released = uring->cq_head;
    bool deferred = uring->tuning.taskrun == RING_TASKRUN_DEFER && uring->tuning.wait_quiet;
    if (deferred) uring->cq_lag_max = cq_entries / 8 < CQ_LAG_MAX ? cq_entries / 8 : CQ_LAG_MAX;
}

int32_t uring_open(const struct ring_config *config, struct ring **out, struct ring_report *report) {
    void *slots;
    struct uring *uring = carve(config, &slots);
    if (uring == NULL) {
        snprintf(report->why, sizeof report->why, "cannot map %zu bytes for the ring", plan(config));
        return -ENOMEM;
    }
    int32_t error = ring_common_open(&uring->base, &ring_uring_backend, config, slots, sizeof(struct uring_slot));
    if (error == 0) error = build(uring, config);
    if (error != 0) {
        explain(error, report);
        uring_release(&uring->base);
        return error;
    }
    settle_counters(uring);
    uring->opened = true;
    describe(uring, report);
    *out = &uring->base;
    return 0;
}

/* Closes accepted connections whose completions nobody has read, and counts notices. */
static void close_undelivered(struct uring *uring) {
    uint32_t tail = io_uring_smp_load_acquire(uring->ring.cq.ktail);
    for (; uring->cq_head != tail; uring->cq_head++) {
        const struct io_uring_cqe *cqe = &uring->ring.cq.cqes[uring->cq_head & uring->ring.cq.ring_mask];
        if (cqe->user_data >> 56 == OP_SEND_ZC && uring_ends_notice(cqe)) uring->notices--;
        if (cqe->user_data >> 56 == OP_ACCEPT && cqe->res >= 0 && !uring->tuning.files_direct) close(cqe->res);
    }
    io_uring_smp_store_release(uring->ring.cq.khead, uring->cq_head);
}

/* A listener is closed when its requests have ended, a socket by a submission as soon as it is asked for. */
static bool is_open(const struct uring_slot *slot) {
    if (slot->base.kind == SLOT_FREE || slot->base.kind == SLOT_WATCH || slot->fixed) return false;
    if (!slot->base.closing) return true;
    return slot->base.kind == SLOT_LISTENER && slot->base.on_list != LIST_CLOSED;
}

/* Connections from whose memory the kernel may still be sending are reset, so that it lets go: see uring_close. */
static void reset_holders(struct uring *uring) {
    for (uint32_t i = 0; i < uring->base.slots.fresh && uring->notices > 0; i++) {
        struct uring_slot *slot = uring_slot_of(slots_at(&uring->base.slots, i));
        if (slot->base.kind == SLOT_SOCKET && !slot->base.closing && slot->notices > 0) uring_linger_zero(uring, slot);
    }
}

/* Once nobody uses a connection, its reset brings the notices at once. Were one to stay away, nothing would be written to or
 * sent from wrong memory all the same: the pages stay the kernel's until then, mapped here or not. */
static void await_notices(struct uring *uring) {
    for (int i = 0; i < NOTICE_TURNS_MAX && uring->notices > 0; i++) {
        ring_common_turn(&uring->base);
        (void)uring_enter(uring, 1, uring->base.now_ns + RELEASE_WAIT_NS);
        close_undelivered(uring);
    }
}

/* The kernel tears a ring down in its own time; what others can see (ports, connections) is ended here first. */
static void end_everything(struct uring *uring) {
    reset_holders(uring);
    struct io_uring_sqe *sqe = uring_submission(uring);
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    uring_queue(uring, sqe, OP_CANCEL, NULL);
    uring_submit(uring);
    for (uint32_t i = 0; i < uring->base.slots.fresh; i++) {
        struct uring_slot *slot = uring_slot_of(slots_at(&uring->base.slots, i));
        if (is_open(slot)) close(slot->file);
    }
    for (uint32_t i = 0; i < uring->parked_count; i++) {
        struct parked parked = uring->parked[(uring->parked_head + i) % uring->parked_max];
        if (!parked.fixed) close(parked.file);
    }
    if (uring->tuning.files_direct) (void)io_uring_unregister_files(&uring->ring);
    for (int i = 0; i < RELEASE_TURNS; i++) {
        (void)uring_enter(uring, 0, 1);
        close_undelivered(uring);
    }
    await_notices(uring);
}

void uring_release(struct ring *ring) {
    struct uring *uring = uring_of(ring);
    if (uring->ring.ring_fd >= 0) {
        if (uring->opened) end_everything(uring);
        io_uring_queue_exit(&uring->ring);
    }
    ring_common_release(ring);
    struct slab slab = uring->slab;
    slab_release(&slab);
}
