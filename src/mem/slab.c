#include "mem/slab.h"

#include <sys/mman.h>
#include <unistd.h>

#include "mem/assert.h"
#include "mem/poison.h"

bool slab_map(struct slab *slab, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (bytes + page - 1) / page * page;
    if (mapped == 0) {
        mapped = page;
    }
    void *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return false;
    }
    *slab = (struct slab){ .base = base, .bytes = mapped };
    return true;
}

void *slab_take(struct slab *slab, size_t bytes) {
    rm_assert(!slab->sealed);
    rm_assert(slab->used <= slab->bytes);
    rm_assert(bytes <= slab->bytes - slab->used);
    void *taken = slab->base + slab->used;
    size_t used = slab->used + slab_round(bytes);
    slab->used = used < slab->bytes ? used : slab->bytes;
    return taken;
}

void slab_seal(struct slab *slab) {
    rm_assert(!slab->sealed);
    slab->sealed = true;
}

void slab_release(struct slab *slab) {
    if (slab->base != NULL) {
        poison_clear(slab->base, slab->bytes); /* whoever is mapped here next knows nothing of our pools */
        int failed = munmap(slab->base, slab->bytes);
        rm_assert(failed == 0);
    }
    *slab = (struct slab){ 0 };
}
