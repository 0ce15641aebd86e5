/* Counts what a process asks of the allocator and of the kernel's memory calls: preload this library and name a
 * file.
 *
 *     LD_PRELOAD=libmalloc_count.so MALLOC_COUNT_FILE=/tmp/counts build/examples/arena
 *
 * The file (made and grown here) is mapped shared and holds one 64-bit counter per call, in the order of enum
 * call, so that another process can read it at any time: see tests/malloc_count.py. Without the variable it counts
 * into private memory. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call { MALLOC, CALLOC, REALLOC, MEMALIGN, FREE, MMAP, MUNMAP, CALLS_COUNT };

static _Atomic uint64_t own[CALLS_COUNT];
static _Atomic uint64_t *counts = own;

static void count(enum call call) {
    atomic_fetch_add_explicit(&counts[call], 1, memory_order_relaxed);
}

/* The kernel's mmap(2): ours, below, would count it. */
static void *raw_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset); // NOLINT
}

__attribute__((constructor)) static void open_file(void) {
    const char *path = getenv("MALLOC_COUNT_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    if (ftruncate(fd, sizeof own) == 0) {
        void *memory = raw_mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED) {
            counts = memory;
        }
    }
    close(fd);
}

/* dlsym itself may call calloc before it has found ours: it gets memory from here, which is never given back. */
static _Alignas(16) char early[4096];
static size_t early_used;

static void *take_early(size_t bytes) {
    size_t rounded = (bytes + 15) / 16 * 16;
    if (rounded > sizeof early - early_used) {
        abort();
    }
    void *memory = early + early_used;
    early_used += rounded;
    return memory;
}

static int is_early(const void *memory) {
    return (uintptr_t)memory - (uintptr_t)early < sizeof early;
}

/* The next definition of a symbol. */
static void *next_of(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (symbol == NULL) {
        abort();
    }
    return symbol;
}

void *malloc(size_t bytes) {
    static void *(*next)(size_t);
    if (next == NULL) {
        void *symbol = next_of("malloc");
        memcpy(&next, &symbol, sizeof next);
    }
    count(MALLOC);
    return next(bytes);
}

void *calloc(size_t n, size_t bytes) {
    static void *(*next)(size_t, size_t);
    static int looking;
    if (next == NULL) {
        if (looking) {
            return take_early(n * bytes);
        }
        looking = 1;
        void *symbol = next_of("calloc");
        memcpy(&next, &symbol, sizeof next);
    }
    count(CALLOC);
    return next(n, bytes);
}

void *realloc(void *memory, size_t bytes) {
    static void *(*next)(void *, size_t);
    if (next == NULL) {
        void *symbol = next_of("realloc");
        memcpy(&next, &symbol, sizeof next);
    }
    count(REALLOC);
    return next(memory, bytes);
}

void free(void *memory) {
    static void (*next)(void *);
    if (memory == NULL || is_early(memory)) {
        return;
    }
    if (next == NULL) {
        void *symbol = next_of("free");
        memcpy(&next, &symbol, sizeof next);
    }
    count(FREE);
    next(memory);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    static int (*next)(void **, size_t, size_t);
    if (next == NULL) {
        void *symbol = next_of("posix_memalign");
        memcpy(&next, &symbol, sizeof next);
    }
    count(MEMALIGN);
    return next(memory, alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    static void *(*next)(size_t, size_t);
    if (next == NULL) {
        void *symbol = next_of("aligned_alloc");
        memcpy(&next, &symbol, sizeof next);
    }
    count(MEMALIGN);
    return next(alignment, bytes);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
    count(MMAP);
    return raw_mmap(address, bytes, protection, flags, fd, offset);
}

int munmap(void *address, size_t bytes) {
    count(MUNMAP);
    return (int)syscall(SYS_munmap, address, bytes);
}
