/* The receive buffers shared with the kernel: io_uring_register_buf_ring(3), kernel 5.19. */
#include "ring/uring_priv.h"

static char *at(const struct buffers *buffers, uint16_t id) {
    return buffers->memory + (size_t)id * (buffers->bytes + BUFFER_GAP);
}

static void give(struct buffers *buffers, uint16_t id, int offset) {
    io_uring_buf_ring_add(buffers->ring, at(buffers, id), buffers->bytes, id, io_uring_buf_ring_mask(buffers->entries),
                          offset);
}

static void add(struct buffers *buffers, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) give(buffers, (uint16_t)(buffers->count + i), (int)i);
    io_uring_buf_ring_advance(buffers->ring, (int)n);
    buffers->count += n;
    buffers->with_kernel += n;
}

int32_t buffers_register(struct buffers *buffers, struct io_uring *ring, uint32_t count) {
    rm_assert(count <= buffers->entries);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffers->ring,
        .ring_entries = buffers->entries,
        .bgid = BUFFER_GROUP,
    };
    int error = io_uring_register_buf_ring(ring, &registration, 0);
    if (error < 0) return error;
    io_uring_buf_ring_init(buffers->ring);
    add(buffers, count);
    return 0;
}

char *buffers_lend(struct buffers *buffers, uint16_t id) {
    rm_assert(id < buffers->count);
    rm_assert(buffers->with_kernel > 0);
    buffers->with_kernel--;
    buffers->lent[buffers->lent_count++] = id;
    return at(buffers, id);
}

void buffers_return(struct buffers *buffers) {
    if (buffers->lent_count == 0) return;
    /* Backwards: the one that was filled last is used next, while its lines are warm. */
    for (uint32_t i = 0; i < buffers->lent_count; i++)
        give(buffers, buffers->lent[buffers->lent_count - 1 - i], (int)i);
    io_uring_buf_ring_advance(buffers->ring, (int)buffers->lent_count);
    buffers->with_kernel += buffers->lent_count;
    buffers->lent_count = 0;
    rm_assert(buffers->with_kernel + buffers->kept == buffers->count);
}

bool buffers_grow(struct buffers *buffers) {
    if (buffers->count == buffers->entries) return false;
    add(buffers, buffers->count);
    return true;
}

void buffers_keep(struct buffers *buffers, struct uring_slot *slot, uint16_t id, uint32_t len) {
    rm_assert(buffers->lent_count > 0);
    rm_assert(buffers->lent[buffers->lent_count - 1] == id);
    buffers->lent_count--;
    buffers->kept++;
    buffers->len[id] = len;
    buffers->next[id] = BUFFER_NONE;
    if (slot->kept_head == BUFFER_NONE)
        slot->kept_head = id;
    else
        buffers->next[slot->kept_tail] = id;
    slot->kept_tail = id;
    slot->kept_bytes += len;
    slot->kept_buffers++;
}

struct span buffers_unkeep(struct buffers *buffers, struct uring_slot *slot) {
    uint16_t id = slot->kept_head;
    rm_assert(id != BUFFER_NONE);
    rm_assert(buffers->kept > 0);
    slot->kept_head = buffers->next[id];
    slot->kept_bytes -= buffers->len[id];
    slot->kept_buffers--;
    buffers->kept--;
    buffers->lent[buffers->lent_count++] = id;
    return span_of(at(buffers, id), buffers->len[id]);
}

void buffers_forget(struct buffers *buffers, struct uring_slot *slot) {
    while (slot->kept_head != BUFFER_NONE) (void)buffers_unkeep(buffers, slot);
}
