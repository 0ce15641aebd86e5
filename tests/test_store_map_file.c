#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/hash.h"
#include "store_map_rig.h"

/* ------------------------------------------------------------------------------------------- files that are wrong ---- */

static int file;

static void put(off_t at, const void *bytes, size_t len) {
    assert_int_equal(pwrite(file, bytes, len, at), len);
}

static void put64(off_t at, uint64_t value) {
    put(at, &value, sizeof value);
}

/* Gives the head the checksum of what is in it now. */
static void seal(void) {
    char head[HEAD];
    const uint64_t key[2] = { UINT64_C(0x52494e474d41494e), 0 };
    assert_int_equal(pread(file, head, sizeof head, 0), sizeof head);
    put64(96, hash_keyed(key, span_of(head, 96)));
}

static void flip(off_t at) {
    char byte;
    assert_int_equal(pread(file, &byte, 1, at), 1);
    byte ^= 0x10;
    put(at, &byte, 1);
}

static void set_size(off_t size) {
    assert_int_equal(ftruncate(file, size), 0);
}

static void nothing(void) {
}

static void other_magic(void) {
    put(0, "rMSTORE", 8);
}

static void other_version(void) {
    put64(8, (uint64_t)PAGE << 32 | (STORE_VERSION + 1));
}

static void other_byte_order(void) {
    put64(8, __builtin_bswap64((uint64_t)STORE_VERSION << 32 | PAGE));
    seal();
}

static void other_page(void) {
    put64(8, UINT64_C(65536) << 32 | STORE_VERSION);
    seal();
}

static void other_data(void) {
    put64(16, 2 * DATA);
    seal();
}

static void other_objects(void) {
    put64(24, IMAGE_BYTES + sizeof(struct store_image_entry));
    seal();
}

static void other_generation(void) {
    put64(32, 7);
    seal();
}

static void in_use(void) {
    put64(40, 1);
    seal();
}

static void odd_state(void) {
    put64(40, 3);
    seal();
}

static void flipped_key(void) {
    flip(48);
}

static void flipped_checksum(void) {
    flip(96);
}

static void too_many(void) {
    put64(80, ENTRIES + 1);
    seal();
}

static void far_too_many(void) {
    put64(80, UINT64_MAX / sizeof(struct store_image_entry) + 2); /* their bytes overflow */
    seal();
}

static void one_less(void) {
    put64(80, 2);
    seal();
}

static void one_more(void) {
    put64(80, 4);
    seal();
}

static void flipped_first(void) {
    flip(IMAGE_AT);
}

static void flipped_last(void) {
    flip(IMAGE_AT + (off_t)sizeof entries - 1);
}

static void flipped_witness(void) {
    flip(WITNESS_AT);
}

static void cut_to_nothing(void) {
    set_size(0);
}

static void cut_in_magic(void) {
    set_size(7);
}

static void cut_behind_magic(void) {
    set_size(8);
}

static void cut_in_head(void) {
    set_size(HEAD - 1);
}

static void cut_behind_head(void) {
    set_size(HEAD);
}

static void cut_in_data(void) {
    set_size(PAGE + DATA / 2 + 1);
}

static void cut_in_image(void) {
    set_size(IMAGE_AT + 1);
}

static void cut_at_end(void) {
    set_size(TOTAL - 1);
}

static void grown(void) {
    set_size(TOTAL + 1);
}

static void cut_and_grown(void) {
    set_size(PAGE + 5);
    set_size(TOTAL);
}

static void text(void) {
    set_size(0);
    put(0, "a letter to a friend\n", 21);
}

static void zeros(void) {
    set_size(0);
    set_size(TOTAL);
}

struct damage {
    const char *name;
    void (*damage)(void);
    int32_t result;
    enum store_start start;
    const char *why; /* a part of it */
};

static const struct damage damages[] = {
    { "none", nothing, 0, STORE_WARM, "" },
    { "magic", other_magic, -EEXIST, STORE_EMPTY, "is not empty and is not a store: it is left alone" },
    { "version", other_version, 0, STORE_LOST, "has version 2 and this program writes 1" },
    { "byte order", other_byte_order, 0, STORE_LOST, "has version " },
    { "page size", other_page, 0, STORE_LOST, "was made for" },
    { "bytes", other_data, 0, STORE_LOST, "was made for 524288 bytes and 100 objects, and is now to hold 262144 and 100" },
    { "objects", other_objects, 0, STORE_LOST, "was made for 262144 bytes and 101 objects" },
    { "generation", other_generation, 0, STORE_LOST, "has lost its end" },
    { "in use", in_use, 0, STORE_LOST, "was not closed" },
    { "odd state", odd_state, 0, STORE_LOST, "was not closed" },
    { "flipped bit of the key", flipped_key, 0, STORE_LOST, "has a head whose checksum is wrong" },
    { "flipped bit of the checksum", flipped_checksum, 0, STORE_LOST, "has a head whose checksum is wrong" },
    { "more entries than there is room", too_many, 0, STORE_LOST, "more objects than it can hold" },
    { "more entries than memory", far_too_many, 0, STORE_LOST, "more objects than it can hold" },
    { "an entry less", one_less, 0, STORE_LOST, "a list of objects whose checksum is wrong" },
    { "an entry more", one_more, 0, STORE_LOST, "a list of objects whose checksum is wrong" },
    { "flipped bit of the first entry", flipped_first, 0, STORE_LOST, "a list of objects whose checksum is wrong" },
    { "flipped bit of the last entry", flipped_last, 0, STORE_LOST, "a list of objects whose checksum is wrong" },
    { "flipped bit of the witness", flipped_witness, 0, STORE_LOST, "has lost its end" },
    { "cut to nothing", cut_to_nothing, 0, STORE_EMPTY, "" },
    { "cut in the magic", cut_in_magic, -EEXIST, STORE_EMPTY, "is not a store" },
    { "cut behind the magic", cut_behind_magic, 0, STORE_LOST, "is cut off in its head" },
    { "cut in the head", cut_in_head, 0, STORE_LOST, "is cut off in its head" },
    { "cut behind the head", cut_behind_head, 0, STORE_LOST, "has 104 bytes and should have 278528" },
    { "cut in the data", cut_in_data, 0, STORE_LOST, "has 135169 bytes and should have" },
    { "cut in the image", cut_in_image, 0, STORE_LOST, "has 266241 bytes and should have" },
    { "cut at the end", cut_at_end, 0, STORE_LOST, "has 278527 bytes" },
    { "grown", grown, 0, STORE_LOST, "has 278529 bytes" },
    { "cut and grown again", cut_and_grown, 0, STORE_LOST, "has lost its end" },
    { "somebody else's", text, -EEXIST, STORE_EMPTY, "give another path, or remove it" },
    { "zeros", zeros, -EEXIST, STORE_EMPTY, "is not a store" },
};

static void read_file_whole(char **out, size_t *len) {
    *len = (size_t)lseek(file, 0, SEEK_END);
    *out = malloc(*len + 1);
    assert_int_equal(pread(file, *out, *len, 0), *len);
}

/* The next start says why, works, and leaves a file that the one after it takes. */
static void test_damage(void **state) {
    const struct damage *row = *state;
    make_closed();
    file = open(path, O_RDWR);
    row->damage();
    char *before, *after;
    size_t before_len, after_len;
    read_file_whole(&before, &before_len);
    assert_int_equal(open_at(path, DATA), row->result);
    assert_int_equal(report.start, row->start);
    assert_non_null(strstr(report.why, row->why));
    assert_int_equal(report.why[0] != '\0', row->result != 0 || row->start == STORE_LOST);
    if (row->result == 0) {
        assert_int_equal(image.count, row->start == STORE_WARM ? 3 : 0);
        assert_true(row->start == STORE_WARM || image.entries == NULL);
        fill();
        store_map_close(&map, &closed);
        assert_int_equal(open_at(path, DATA), 0);
        assert_int_equal(report.start, STORE_WARM);
        assert_filled();
        store_map_close(&map, NULL);
    } else {
        read_file_whole(&after, &after_len);
        assert_int_equal(after_len, before_len);
        assert_memory_equal(after, before, after_len);
        free(after);
    }
    free(before);
    close(file);
}

/* Each byte of the head behind the magic, and of the image. */
static void test_each_byte(void **state) {
    (void)state;
    char *bytes;
    size_t len;
    make_closed();
    file = open(path, O_RDWR);
    read_file_whole(&bytes, &len);
    for (off_t at = 8; at < IMAGE_AT + (off_t)sizeof entries; at = at == HEAD - 1 ? IMAGE_AT : at + 1) {
        put(0, bytes, HEAD);
        put(IMAGE_AT, bytes + IMAGE_AT, sizeof entries);
        put(WITNESS_AT, bytes + WITNESS_AT, 8);
        flip(at);
        assert_int_equal(open_at(path, DATA), 0);
        assert_int_equal(report.start, STORE_LOST);
        store_map_close(&map, NULL);
    }
    free(bytes);
    close(file);
}

/* Another size: it starts empty, and the file has that size. */
static void test_resized(void **state) {
    (void)state;
    static const uint64_t sizes[] = { DATA, 2 * DATA, DATA / 2 };
    struct stat status;
    make_closed();
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(open_at(path, sizes[i]), 0);
        assert_int_equal(report.start, STORE_LOST);
        assert_int_equal(image.generation, i + 1);
        assert_int_equal(fstat(map.fd, &status), 0);
        assert_int_equal(status.st_size, TOTAL - DATA + sizes[i]);
        assert_true(status.st_blocks * 512 >= status.st_size);
        store_map_close(&map, &closed);
    }
    assert_int_equal(open_at(path, sizes[2]), 0);
    assert_int_equal(report.start, STORE_WARM);
    store_map_close(&map, NULL);
}

/* ------------------------------------------------------------------------------------------- files that are refused ---- */

static void assert_refused(const char *where, int32_t result, const char *why) {
    assert_int_equal(open_at(where, DATA), result);
    assert_non_null(strstr(report.why, why));
    assert_int_equal(report.start, STORE_EMPTY);
    assert_int_equal(map.fd, -1);
}

static void test_in_use(void **state) {
    (void)state;
    assert_int_equal(open_at(path, DATA), 0);
    struct store_map other = map;
    assert_refused(path, -EWOULDBLOCK, "is in use by another process");
    assert_int_equal(access(path, F_OK), 0);
    assert_true(store_map_copy(&other, other.data, "a", 1));
    store_map_close(&other, &closed);
    assert_int_equal(open_at(path, DATA), 0);
    assert_int_equal(report.start, STORE_WARM);
    store_map_close(&map, NULL);
}

static void test_not_a_file(void **state) {
    (void)state;
    assert_refused(folder, -EISDIR, "cannot be opened");
    assert_refused("/dev/null", -EINVAL, "is not a plain file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(path, -EINVAL, "is not a plain file");
    unlink(path);
    assert_int_equal(symlink("nothing/here", path), 0);
    assert_refused(path, -ENOENT, "a symbolic link to nothing");
    unlink(path);
    assert_refused("/nothing/here", -ENOENT, "No such file or directory");
}

/* Runs in a child, which may change what it is; true when `fn` returned true. */
static bool in_child(bool (*fn)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        _exit(fn() ? 0 : 1);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_denied(void) {
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
        return false;
    }
    return open_at(path, DATA) == -EACCES && strstr(report.why, "Permission denied") != NULL;
}

static void test_read_only(void **state) {
    (void)state;
    assert_int_equal(chmod(folder, 0500), 0);
    assert_true(in_child(is_denied));
    assert_int_equal(chmod(folder, 0755), 0);
    make_closed();
    assert_int_equal(chmod(path, 0400), 0);
    assert_true(in_child(is_denied));
}

/* getrlimit(2): beyond RLIMIT_FSIZE is SIGXFSZ; we say so before. */
static bool is_too_long(void) {
    struct rlimit limit = { TOTAL - 1, TOTAL - 1 };
    bool refused = setrlimit(RLIMIT_FSIZE, &limit) == 0 && open_at(path, DATA) == -EFBIG &&
                   strstr(report.why, "ulimit -f") != NULL && access(path, F_OK) != 0;
    return refused && open_at(path, DATA / 2) == 0;
}

static void test_file_limit(void **state) {
    (void)state;
    assert_true(in_child(is_too_long));
    /* What was there is not lost because it cannot grow. */
    unlink(path);
    assert_int_equal(open_at(path, DATA / 2), 0);
    store_map_close(&map, &closed);
    (void)!in_child(is_too_long);
    assert_int_equal(access(path, F_OK), 0);
}

static bool mount_small(void) {
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", folder, "tmpfs", 0, "size=512k") == 0;
}

/* A new file is removed again; an old one that cannot grow is what it was. */
static bool is_disk_full(void) {
    if (!mount_small() || open_at(path, 4 * DATA) != -ENOSPC || access(path, F_OK) == 0 ||
        strstr(report.why, "needs 1060864 bytes more, and its file system has 520192 free") == NULL) {
        return false;
    }
    make_closed();
    return open_at(path, 4 * DATA) == -ENOSPC && open_at(path, DATA) == 0 && report.start == STORE_WARM;
}

static void test_disk_full(void **state) {
    (void)state;
    if (!in_child(mount_small)) {
        skip(); /* only root may mount */
    }
    assert_true(in_child(is_disk_full));
}

int main(void) {
    static struct rows rows;
    ROWS_ADD(&rows, test_damage, damages);
    ROWS_TEST(&rows, test_each_byte);
    ROWS_TEST(&rows, test_resized);
    ROWS_TEST(&rows, test_in_use);
    ROWS_TEST(&rows, test_not_a_file);
    ROWS_TEST(&rows, test_read_only);
    ROWS_TEST(&rows, test_file_limit);
    ROWS_TEST(&rows, test_disk_full);
    rig_folders(&rows, NULL);
    return rows_run("store_map_file", &rows);
}
