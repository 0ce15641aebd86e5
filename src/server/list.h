/* Intrusive doubly linked lists: being in a state is being on a list.
 * Depends on nothing. One thread. */
#ifndef RM_SERVER_LIST_H
#define RM_SERVER_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* A head or a member. Invariant: a head and its members form a ring; a link that is on no list points at itself. */
struct link {
    struct link *next, *prev;
};

/* The struct around a member. */
#define LIST_OWNER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct link *link) {
    link->next = link;
    link->prev = link;
}

static inline bool list_empty(const struct link *head) {
    return head->next == head;
}

static inline void list_append(struct link *head, struct link *link) {
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* All members of `from` become those of `to`, which is no list yet. */
static inline void list_move(struct link *to, struct link *from) {
    list_init(to);
    if (!list_empty(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}

/* Also right for a link that is on no list. */
static inline void list_remove(struct link *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

#endif
