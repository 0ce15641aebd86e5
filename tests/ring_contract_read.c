/* Reads of plain files: every byte, to the end of the file and not beyond, and nothing that blocks the ring. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring_contract.h"

enum { FILE_SEED = 7, FILE_BYTES = 300001, READS = 64, READ_BYTES_MAX = 70000, UNTOUCHED = 0x5a };

struct reading {
    struct ring_read read;
    uint64_t offset;
    uint32_t bytes;
    uint32_t ends; /* RING_READ events */
    int32_t result;
    char *to; /* bytes + 1: what lies behind must stay as it is */
};

static void on_read(struct rig *rig, enum side side, struct link *link, const struct ring_event *event) {
    if (event->type != RING_READ)
        return;
    RIG_CHECK(rig, side == SERVER && link == NULL);
    struct reading *reading = event->read->user;
    RIG_CHECK(rig, event->read == &reading->read);
    reading->ends++;
    reading->result = event->result;
}

static void fill_file(struct rig *rig, int fd) {
    static char bytes[FILE_BYTES];
    for (uint32_t i = 0; i < FILE_BYTES; i++)
        bytes[i] = (char)pattern_byte(FILE_SEED, i);
    RIG_CHECK(rig, pwrite(fd, bytes, FILE_BYTES, 0) == FILE_BYTES);
}

/* A file on a disk, where the build is. */
static int disk_file(struct rig *rig) {
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        skip(); /* no file system that has it */
    fill_file(rig, fd);
    return fd;
}

/* A file in memory. */
static int memory_file(struct rig *rig) {
    int fd = memfd_create("contract", MFD_CLOEXEC);
    RIG_CHECK(rig, fd >= 0);
    fill_file(rig, fd);
    return fd;
}

static void start(struct rig *rig, struct reading *reading, int fd, uint64_t offset, uint32_t bytes) {
    *reading = (struct reading){ .offset = offset, .bytes = bytes, .to = malloc(bytes + 1) };
    assert_non_null(reading->to);
    memset(reading->to, UNTOUCHED, bytes + 1);
    reading->read.user = reading;
    ring_read(rig->ring[SERVER], fd, offset, reading->to, bytes, &reading->read);
}

static void check_bytes(struct rig *rig, const struct reading *reading) {
    uint64_t left = reading->offset < FILE_BYTES ? FILE_BYTES - reading->offset : 0;
    uint32_t there = left < reading->bytes ? (uint32_t)left : reading->bytes;
    RIG_CHECK(rig, reading->ends == 1);
    RIG_CHECK(rig, reading->result == (int32_t)there);
    for (uint32_t i = 0; i < there; i++)
        RIG_CHECK(rig, (uint8_t)reading->to[i] == pattern_byte(FILE_SEED, reading->offset + i));
    for (uint32_t i = there; i <= reading->bytes; i++)
        RIG_CHECK(rig, reading->to[i] == UNTOUCHED);
}

static bool all_ended(const struct reading *readings) {
    for (uint32_t i = 0; i < READS; i++)
        if (readings[i].ends == 0)
            return false;
    return true;
}

/* Many at once, of any size and from any place, some of them at the end of the file and behind it. */
static void read_pieces(struct rig *rig, int fd) {
    struct reading readings[READS];
    uint32_t workers = process_kernel_workers();
    rig->on_event = on_read;
    uint64_t total = 0;
    for (uint32_t i = 0; i < READS; i++)
        start(rig, &readings[i], fd, rig_below(rig, FILE_BYTES + 50), 1 + rig_below(rig, READ_BYTES_MAX));
    RIG_UNTIL(rig, all_ended(readings));
    RIG_CHECK(rig, process_kernel_workers() <= workers);
    for (uint32_t i = 0; i < READS; i++) {
        check_bytes(rig, &readings[i]);
        total += (uint64_t)readings[i].result;
        free(readings[i].to);
    }
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->reads == READS);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->read_bytes == total);
    RIG_CHECK(rig, rig->finished[SERVER] == 0);
    close(fd);
}

static void reads_what_is_cached(struct rig *rig) {
    rig_open(rig, &(struct rig_options){ .helpers = true });
    read_pieces(rig, disk_file(rig));
}

/* The ring does it itself where it can: no helper is there to be asked. Where the memory is registered it is a fixed read. */
static void reads_without_helpers(struct rig *rig) {
    enum { BYTES = 100000 };
    struct reading reading = { .bytes = BYTES, .read.user = &reading };
    char *own = malloc(BYTES + 1);
    assert_non_null(own);
    rig_open(rig, NULL);
    rig->on_event = on_read;
    int fd = disk_file(rig);
    for (uint32_t i = 0; i < 3; i++) {
        reading.to = rig->zone != NULL && i > 0 ? rig->zone + i * 1000 : own;
        reading.offset = i * 777;
        reading.ends = 0;
        memset(reading.to, UNTOUCHED, BYTES + 1);
        ring_read(rig->ring[SERVER], fd, reading.offset, reading.to, BYTES, &reading.read);
        RIG_UNTIL(rig, reading.ends == 1);
        check_bytes(rig, &reading);
    }
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->reads_helped == 0);
    RIG_CHECK(rig, ring_counters(rig->ring[SERVER])->calls[RING_CALL_pread64] == 0);
    free(own);
    close(fd);
}

static void reads_what_is_cold(struct rig *rig) {
    rig_open(rig, &(struct rig_options){ .helpers = true });
    int fd = disk_file(rig);
    RIG_CHECK(rig, fsync(fd) == 0);
    RIG_CHECK(rig, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    read_pieces(rig, fd);
}

static void reads_files_in_memory(struct rig *rig) {
    rig_open(rig, &(struct rig_options){ .helpers = true });
    read_pieces(rig, memory_file(rig));
}

static void reads_the_whole_file(struct rig *rig) {
    struct reading whole, behind;
    rig_open(rig, &(struct rig_options){ .helpers = true });
    rig->on_event = on_read;
    int fd = disk_file(rig);
    start(rig, &whole, fd, 0, FILE_BYTES + 100000);
    start(rig, &behind, fd, FILE_BYTES, 10);
    RIG_UNTIL(rig, whole.ends == 1 && behind.ends == 1);
    check_bytes(rig, &whole);
    check_bytes(rig, &behind);
    free(whole.to);
    free(behind.to);
    close(fd);
}

/* What cannot be read says so, with its own errno, and a read after it works. */
static void read_errors(struct rig *rig) {
    struct reading readings[3];
    rig_open(rig, &(struct rig_options){ .helpers = true });
    rig->on_event = on_read;
    int fd = disk_file(rig), folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), closed = dup(fd);
    close(closed);
    start(rig, &readings[0], closed, 0, 10);
    start(rig, &readings[1], folder, 0, 10);
    start(rig, &readings[2], fd, 5, 10);
    RIG_UNTIL(rig, readings[0].ends == 1 && readings[1].ends == 1 && readings[2].ends == 1);
    RIG_CHECK(rig, readings[0].result == -EBADF);
    RIG_CHECK(rig, readings[1].result == -EISDIR);
    check_bytes(rig, &readings[2]);
    for (uint32_t i = 0; i < 3; i++)
        free(readings[i].to);
    close(folder);
    close(fd);
}

/* After the release the memory is the owner's: nothing writes to it any more. */
static void release_waits_for_reads(struct rig *rig) {
    struct reading readings[READS];
    for (uint32_t turns = 0; turns < 2; turns++) {
        rig_open(rig, &(struct rig_options){ .helpers = true });
        int fd = turns == 0 ? disk_file(rig) : memory_file(rig);
        for (uint32_t i = 0; i < READS; i++)
            start(rig, &readings[i], fd, 0, READ_BYTES_MAX);
        if (turns == 0)
            rig_wait(rig, SERVER, 1);
        ring_release(rig->ring[SERVER]);
        rig->ring[SERVER] = NULL;
        for (uint32_t i = 0; i < READS; i++)
            memset(readings[i].to, UNTOUCHED, READ_BYTES_MAX);
        usleep(2000);
        for (uint32_t i = 0; i < READS; i++) {
            for (uint32_t k = 0; k < READ_BYTES_MAX; k++)
                RIG_CHECK(rig, readings[i].to[k] == UNTOUCHED);
            free(readings[i].to);
        }
        close(fd);
        rig_reopen(rig);
    }
}

/* A disk that fails: all of a read, or an error. */
static void reads_fail_by_chance(struct rig *rig) {
    struct reading readings[READS];
    rig_open(rig, NULL);
    rig->on_event = on_read;
    sim_world_options(rig->world)->read_fail_ppm = SIM_PPM / 4;
    int fd = disk_file(rig);
    for (uint32_t i = 0; i < READS; i++)
        start(rig, &readings[i], fd, i, 100);
    RIG_UNTIL(rig, all_ended(readings));
    uint64_t failed = 0;
    for (uint32_t i = 0; i < READS; i++) {
        failed += readings[i].result == -EIO;
        if (readings[i].result != -EIO)
            check_bytes(rig, &readings[i]);
        free(readings[i].to);
    }
    RIG_CHECK(rig, failed > 0 && failed < READS);
    RIG_CHECK(rig, failed == sim_faults(rig->world)->failed_reads);
    close(fd);
}

const struct contract_scenario contract_read[] = {
    { .name = "reads_what_is_cached", .run = reads_what_is_cached, .threads = true },
    { .name = "reads_without_helpers", .run = reads_without_helpers, .needs = ROW_URING,
      .skip_reason = "the others have helpers read" },
    { .name = "reads_what_is_cold", .run = reads_what_is_cold, .threads = true },
    { .name = "reads_files_in_memory", .run = reads_files_in_memory, .threads = true },
    { .name = "reads_the_whole_file", .run = reads_the_whole_file },
    { .name = "read_errors", .run = read_errors },
    { .name = "release_waits_for_reads", .run = release_waits_for_reads, .threads = true },
    { .name = "reads_fail_by_chance",
      .run = reads_fail_by_chance,
      .excludes = ROW_REAL,
      .skip_reason = "only the simulator fails on demand" },
    { 0 },
};
