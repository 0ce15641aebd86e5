/* The slot table of a ring: who is who. A slot is taken with a fresh generation, and given back once; an id with an old
 * generation finds nothing. Slots are recycled most recently used first, and one that was never used is never touched.
 * A backend puts `struct slot` first in its own slot struct and keeps slots on at most one intrusive list at a time.
 * Depends on: ring/ring.h, mem/assert.h. */
#ifndef RM_RING_SLOTS_H
#define RM_RING_SLOTS_H

#include "mem/assert.h"
#include "ring/ring.h"

enum { SLOT_NONE = UINT32_MAX, SLOT_GENERATION_MAX = (1 << 24) - 1 };

enum slot_kind { SLOT_FREE, SLOT_LISTENER, SLOT_SOCKET, SLOT_WATCH };

/* Invariant: kind == SLOT_FREE <=> the slot is on the table's free list or was never taken. */
struct slot {
    void *user;
    uint32_t generation; /* 1 .. SLOT_GENERATION_MAX */
    uint8_t kind;        /* enum slot_kind */
    bool closing;        /* set by ring_close, cleared by slots_give */
    uint8_t on_list;     /* backend's enum; 0: on none */
    uint8_t spare;
    uint32_t next, prev; /* in the list it is on, or in the free list */
};
_Static_assert(sizeof(struct slot) == 24, "a slot's head is hot: keep it small");

/* Invariant: in_use <= fresh <= count. */
struct slots {
    char *memory;
    size_t item_bytes;
    uint32_t count;
    uint32_t fresh;  /* slots [fresh, count) were never taken */
    uint32_t in_use;
    uint32_t free_head; /* LIFO, SLOT_NONE when empty */
};

/* An intrusive FIFO of slots. */
struct slot_list {
    uint32_t head, tail; /* SLOT_NONE when empty */
    uint32_t count;
};

/* Keeps `memory`, count * item_bytes of zeroes. */
void slots_init(struct slots *slots, void *memory, size_t item_bytes, uint32_t count);

static inline struct slot *slots_at(const struct slots *slots, uint32_t index) {
    rm_assert(index < slots->count);
    return (struct slot *)(void *)(slots->memory + (size_t)index * slots->item_bytes);
}

static inline uint32_t slots_index(const struct slots *slots, const struct slot *slot) {
    return (uint32_t)((size_t)((const char *)slot - slots->memory) / slots->item_bytes);
}

/* NULL when all are taken. The backend's part of the slot is as its last user left it (zeroes at first). */
struct slot *slots_take(struct slots *slots, enum slot_kind kind, void *user);

/* The slot must be on no list. Moves the generation on, so that every id of it is stale. */
void slots_give(struct slots *slots, struct slot *slot);

/* The slot of a live id; NULL when the id is stale. */
static inline struct slot *slots_find(const struct slots *slots, struct ring_id id) {
    if (id.slot >= slots->fresh) return NULL;
    struct slot *slot = slots_at(slots, id.slot);
    if (slot->generation != id.generation) return NULL;
    return slot->kind == SLOT_FREE ? NULL : slot;
}

/* The slot of an id that the caller says is live and not closing: anything else is our mistake. */
static inline struct slot *slots_get(const struct slots *slots, struct ring_id id) {
    struct slot *slot = slots_find(slots, id);
    rm_assert(slot != NULL);
    rm_assert(!slot->closing);
    return slot;
}

static inline struct ring_id slots_id(const struct slots *slots, const struct slot *slot) {
    return (struct ring_id){ slots_index(slots, slot), slot->generation };
}

void slot_list_init(struct slot_list *list);
void slot_list_append(struct slots *slots, struct slot_list *list, struct slot *slot, uint8_t which);
void slot_list_remove(struct slots *slots, struct slot_list *list, struct slot *slot);
/* Removes and returns the first; NULL when empty. */
struct slot *slot_list_pop(struct slots *slots, struct slot_list *list);

#endif
