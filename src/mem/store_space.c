/* Where objects lie: extents side by side, free ones in lists by size. Neighbours that are free are one. Masmano, Ripoll,
 * Crespo and Real, "TLSF: a new dynamic memory allocator for real-time systems" (2004) is where the size classes come from. */
#include "mem/store_priv.h"

/* ----------------------------------------------------------------------------------------------------- numbers ---- */

static void numbers_init(struct store_numbers *numbers, uint32_t first, uint32_t count) {
    *numbers = (struct store_numbers){ .head = STORE_NONE, .fresh = first, .end = first + count, .unused = count };
}

static uint32_t numbers_take(struct store *store, struct store_numbers *numbers) {
    uint32_t taken = numbers->head;
    if (numbers->unused == 0) {
        return STORE_NONE;
    }
    numbers->unused--;
    if (taken == STORE_NONE) {
        rm_assert(numbers->fresh < numbers->end);
        return numbers->fresh++;
    }
    numbers->head = store->extents[taken].next;
    return taken;
}

static void numbers_give(struct store *store, struct store_numbers *numbers, uint32_t number) {
    store->extents[number].next = numbers->head;
    numbers->head = number;
    numbers->unused++;
}

/* ----------------------------------------------------------------------------------------------------- classes ---- */

/* All of one size up to 32 units; then 16 classes for each power of two. */
static uint32_t class_of(uint32_t units) {
    if (units < 1 << STORE_CLASS_BITS) {
        return units;
    }
    uint32_t log = 31 - (uint32_t)__builtin_clz(units), shift = log - STORE_CLASS_BITS;
    return ((shift + 1) << STORE_CLASS_BITS) | ((units >> shift) & ((1u << STORE_CLASS_BITS) - 1));
}

/* The first class all of whose extents are at least so long. */
static uint32_t class_above(uint32_t units) {
    if (units < 1 << STORE_CLASS_BITS) {
        return units;
    }
    uint32_t shift = 31 - (uint32_t)__builtin_clz(units) - STORE_CLASS_BITS;
    return class_of(units + (1u << shift) - 1);
}

/* The first class from `from` on that has any; STORE_NONE: none has. */
static uint32_t class_used(const struct store *store, uint32_t from) {
    if (from >= STORE_CLASSES) {
        return STORE_NONE;
    }
    uint32_t word = from / 64;
    uint64_t bits = store->classes_used[word] & (UINT64_MAX << from % 64);
    while (bits == 0) {
        if (++word == STORE_CLASSES / 64) {
            return STORE_NONE;
        }
        bits = store->classes_used[word];
    }
    return word * 64 + (uint32_t)__builtin_ctzll(bits);
}

static void list_add(struct store *store, uint32_t number) {
    struct store_extent *extent = &store->extents[number];
    uint32_t class = class_of(extent->units), head = store->class_heads[class];
    extent->prev = STORE_NONE;
    extent->next = head;
    if (head != STORE_NONE) {
        store->extents[head].prev = number;
    }
    store->class_heads[class] = number;
    store->classes_used[class / 64] |= UINT64_C(1) << class % 64;
}

static void list_remove(struct store *store, uint32_t number) {
    struct store_extent *extent = &store->extents[number];
    if (extent->next != STORE_NONE) {
        store->extents[extent->next].prev = extent->prev;
    }
    if (extent->prev != STORE_NONE) {
        store->extents[extent->prev].next = extent->next;
        return;
    }
    uint32_t class = class_of(extent->units);
    store->class_heads[class] = extent->next;
    if (extent->next == STORE_NONE) {
        store->classes_used[class / 64] &= ~(UINT64_C(1) << class % 64);
    }
}

/* ----------------------------------------------------------------------------------------------------- extents ---- */

/* Makes `number` the extent behind `before` (STORE_NONE: the first) and before `after`. */
static void place(struct store *store, uint32_t number, uint32_t before, uint32_t after) {
    store->extents[number].before = before;
    store->extents[number].after = after;
    if (before == STORE_NONE) {
        store->first = number;
    } else {
        store->extents[before].after = number;
    }
    if (after != STORE_NONE) {
        store->extents[after].before = number;
    }
}

/* Takes `number` out of the row. A hand that is there goes to `heir`; when that is the extent before, grown by this one, it
 * will be counted again. */
static void displace(struct store *store, uint32_t number, uint32_t heir) {
    struct store_extent *extent = &store->extents[number];
    if (extent->before == STORE_NONE) {
        store->first = extent->after;
    } else {
        store->extents[extent->before].after = extent->after;
    }
    if (extent->after != STORE_NONE) {
        store->extents[extent->after].before = extent->before;
    }
    if (store->hand == number) {
        uint32_t unit = store->extents[heir].unit, back = extent->unit > unit ? extent->unit - unit : 0;
        store->hand = heir;
        store->run -= back < store->run ? back : store->run;
    }
}

static bool is_free(const struct store *store, uint32_t number) {
    return number != STORE_NONE && store->extents[number].state == STORE_FREE;
}

void store_space_init(struct store *store) {
    numbers_init(&store->records_unused, 0, store->objects);
    numbers_init(&store->frees_unused, store->objects, store->objects + 1); /* an object is between two that are free */
    for (uint32_t i = 0; i < STORE_CLASSES; i++) {
        store->class_heads[i] = STORE_NONE;
    }
    uint32_t all = numbers_take(store, &store->frees_unused);
    store->extents[all] = (struct store_extent){ .units = store->units };
    place(store, all, STORE_NONE, STORE_NONE);
    list_add(store, all);
    store->hand = all;
    store->free_units = store->units;
}

/* The first of the free extent `from` are the object's; what is left stays free. */
static uint32_t cut(struct store *store, uint32_t from, uint32_t units) {
    uint32_t object = numbers_take(store, &store->records_unused);
    if (object == STORE_NONE) {
        return STORE_NONE;
    }
    struct store_extent *free = &store->extents[from], *extent = &store->extents[object];
    rm_assert(free->state == STORE_FREE);
    rm_assert(free->units >= units);
    list_remove(store, from);
    *extent = (struct store_extent){ .unit = free->unit, .units = units, .state = STORE_FILLING };
    place(store, object, free->before, from);
    free->unit += units;
    free->units -= units;
    if (free->units > 0) {
        list_add(store, from);
    } else {
        displace(store, from, free->after != STORE_NONE ? free->after : store->first);
        numbers_give(store, &store->frees_unused, from);
    }
    store->free_units -= units;
    store->filling++;
    return object;
}

/* A free extent of the class that `units` belongs to, and long enough: a few are looked at. */
static uint32_t fit_in_class(const struct store *store, uint32_t units) {
    uint32_t number = store->class_heads[class_of(units)];
    for (uint32_t i = 0; i < STORE_FIT_MAX && number != STORE_NONE; i++) {
        if (store->extents[number].units >= units) {
            return number;
        }
        number = store->extents[number].next;
    }
    return STORE_NONE;
}

/* At most what is behind the object can still be in the run before the hand. */
void store_space_stays(struct store *store, uint32_t object) {
    uint32_t hand = store->extents[store->hand].unit, unit = store->extents[object].unit + store->extents[object].units;
    if (unit <= hand && hand - unit < store->run) {
        store->run = hand - unit;
    }
}

uint32_t store_space_take(struct store *store, uint32_t units) {
    rm_assert(units > 0);
    uint32_t from = fit_in_class(store, units);
    if (from == STORE_NONE) {
        uint32_t class = class_used(store, class_above(units));
        if (class == STORE_NONE) {
            return STORE_NONE;
        }
        from = store->class_heads[class];
    }
    uint32_t object = cut(store, from, units);
    if (object != STORE_NONE) {
        store_space_stays(store, object);
    }
    return object;
}

uint32_t store_space_take_at(struct store *store, uint32_t unit, uint32_t units) {
    uint32_t rest = store->hand; /* the last extent, as long as nothing else was taken */
    struct store_extent *free = &store->extents[rest];
    rm_assert(free->state == STORE_FREE);
    rm_assert(free->after == STORE_NONE);
    rm_assert(free->unit <= unit);
    if (free->unit < unit) {
        uint32_t behind = numbers_take(store, &store->frees_unused), gap = unit - free->unit;
        rm_assert(behind != STORE_NONE);
        list_remove(store, rest);
        store->extents[behind] = (struct store_extent){ .unit = unit, .units = free->units - gap };
        free->units = gap;
        place(store, behind, rest, free->after);
        list_add(store, rest);
        list_add(store, behind);
        store->hand = rest = behind;
    }
    return cut(store, rest, units);
}

void store_space_give(struct store *store, uint32_t object) {
    struct store_extent *extent = &store->extents[object];
    uint32_t before = extent->before, after = extent->after, units = extent->units, merged = before;
    rm_assert(object < store->objects);
    rm_assert(extent->state != STORE_FREE);
    if (is_free(store, before)) {
        list_remove(store, before);
        store->extents[before].units += units;
        displace(store, object, before);
    } else {
        merged = numbers_take(store, &store->frees_unused);
        rm_assert(merged != STORE_NONE);
        store->extents[merged] = (struct store_extent){ .unit = extent->unit, .units = units };
        place(store, merged, before, after);
        if (store->hand == object) {
            store->hand = merged;
        }
    }
    if (is_free(store, after)) {
        list_remove(store, after);
        store->extents[merged].units += store->extents[after].units;
        displace(store, after, merged);
        numbers_give(store, &store->frees_unused, after);
    }
    list_add(store, merged);
    extent->state = STORE_FREE;
    numbers_give(store, &store->records_unused, object);
    store->free_units += units;
}

bool store_space_fits(const struct store *store, uint32_t units) {
    return fit_in_class(store, units) != STORE_NONE || class_used(store, class_above(units)) != STORE_NONE;
}

uint32_t store_space_long(const struct store *store) {
    uint32_t word = STORE_CLASSES / 64;
    while (word-- > 0) {
        uint64_t bits = store->classes_used[word];
        if (bits != 0) {
            return store->class_heads[word * 64 + 63 - (uint32_t)__builtin_clzll(bits)];
        }
    }
    return STORE_NONE;
}

/* Extents of the highest class differ by a 16th at most, so not all need be looked at. */
uint32_t store_space_largest(const struct store *store) {
    uint32_t number = store_space_long(store), largest = 0;
    for (uint32_t i = 0; i < STORE_RECLAIM_MAX && number != STORE_NONE; i++) {
        const struct store_extent *extent = &store->extents[number];
        largest = extent->units > largest ? extent->units : largest;
        number = extent->next;
    }
    return largest;
}
