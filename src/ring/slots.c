#include "ring/slots.h"

void slots_init(struct slots *slots, void *memory, size_t item_bytes, uint32_t count) {
    rm_assert(item_bytes >= sizeof(struct slot));
    rm_assert(count > 0);
    *slots = (struct slots){ .memory = memory, .item_bytes = item_bytes, .count = count, .free_head = SLOT_NONE };
}

struct slot *slots_take(struct slots *slots, enum slot_kind kind, void *user) {
    rm_assert(kind != SLOT_FREE);
    struct slot *slot;
    if (slots->free_head != SLOT_NONE) {
        slot = slots_at(slots, slots->free_head);
        slots->free_head = slot->next;
    } else if (slots->fresh < slots->count) {
        slot = slots_at(slots, slots->fresh++);
        slot->generation = 1;
    } else {
        return NULL;
    }
    rm_assert(slot->kind == SLOT_FREE);
    slot->kind = (uint8_t)kind;
    slot->user = user;
    slot->closing = false;
    slot->on_list = 0;
    slots->in_use++;
    return slot;
}

void slots_give(struct slots *slots, struct slot *slot) {
    rm_assert(slot->kind != SLOT_FREE);
    rm_assert(slot->on_list == 0);
    rm_assert(slots->in_use > 0);
    slot->kind = SLOT_FREE;
    slot->closing = false;
    slot->generation = slot->generation == SLOT_GENERATION_MAX ? 1 : slot->generation + 1;
    slot->next = slots->free_head;
    slots->free_head = slots_index(slots, slot);
    slots->in_use--;
}

void slot_list_init(struct slot_list *list) {
    *list = (struct slot_list){ SLOT_NONE, SLOT_NONE, 0 };
}

void slot_list_append(struct slots *slots, struct slot_list *list, struct slot *slot, uint8_t which) {
    rm_assert(slot->on_list == 0);
    rm_assert(which != 0);
    uint32_t index = slots_index(slots, slot);
    slot->on_list = which;
    slot->next = SLOT_NONE;
    slot->prev = list->tail;
    if (list->tail == SLOT_NONE)
        list->head = index;
    else
        slots_at(slots, list->tail)->next = index;
    list->tail = index;
    list->count++;
}

void slot_list_remove(struct slots *slots, struct slot_list *list, struct slot *slot) {
    rm_assert(slot->on_list != 0);
    rm_assert(list->count > 0);
    if (slot->prev == SLOT_NONE)
        list->head = slot->next;
    else
        slots_at(slots, slot->prev)->next = slot->next;
    if (slot->next == SLOT_NONE)
        list->tail = slot->prev;
    else
        slots_at(slots, slot->next)->prev = slot->prev;
    slot->on_list = 0;
    list->count--;
}

struct slot *slot_list_pop(struct slots *slots, struct slot_list *list) {
    if (list->head == SLOT_NONE) return NULL;
    struct slot *slot = slots_at(slots, list->head);
    slot_list_remove(slots, list, slot);
    return slot;
}
