/* What a clean close leaves to the next start: an entry for each object, in the order of the mapping. That they are what was
 * written is store_map's to check; that they make sense, before the first of them is believed, is checked here. */
#include "mem/store_priv.h"

#include <stdio.h>

enum { ENTRY_REFERENCED = 1 };

/* What is wrong with it, or NULL. `end`: where the one before it ends. */
static const char *wrong(const struct store *store, const struct store_image_entry *entry, uint64_t end) {
    if (entry->key_len > STORE_KEY_BYTES_MAX || entry->meta_len > STORE_META_BYTES_MAX ||
        entry->body_len > store->bytes / STORE_OBJECT_PART) {
        return "its lengths are beyond the limits";
    }
    if (entry->units != store_units(entry->key_len, entry->meta_len, entry->body_len)) {
        return "its lengths do not make its size";
    }
    if (entry->units > store->units / STORE_OBJECT_PART || entry->unit > store->units - entry->units) {
        return "it is not inside the store";
    }
    if (entry->unit < end) {
        return "it overlaps the one before it";
    }
    if (entry->stored_ms > entry->fresh_until_ms || entry->fresh_until_ms > entry->grace_until_ms) {
        return "its times are not in order";
    }
    if ((entry->flags & ~(uint32_t)ENTRY_REFERENCED) != 0) {
        return "its flags are unknown";
    }
    return NULL;
}

/* Links one, unless its bucket is full: it was so at the close, too, only if it has another entry of the same hash. */
static bool adopt(struct store *store, const struct store_image_entry *entry) {
    struct store_bucket *bucket = store_bucket(store, entry->hash);
    if (store_index_find(store, entry->hash) != NULL) {
        return false;
    }
    uint64_t *word = NULL;
    for (uint32_t i = 0; i < STORE_WAYS && word == NULL; i++) {
        word = bucket->words[i] == 0 ? &bucket->words[i] : NULL;
    }
    uint32_t object = word != NULL ? store_space_take_at(store, entry->unit, entry->units) : STORE_NONE;
    if (object == STORE_NONE) {
        return false;
    }
    store->records[object] = (struct store_record){
        .hash = entry->hash,
        .stored_ms = entry->stored_ms,
        .fresh_until_ms = entry->fresh_until_ms,
        .grace_until_ms = entry->grace_until_ms,
        .unit = entry->unit,
        .units = entry->units,
        .key_len = entry->key_len,
        .meta_len = entry->meta_len,
        .body_len = entry->body_len,
    };
    *word = store_word(entry->hash, object) | ((entry->flags & ENTRY_REFERENCED) != 0 ? STORE_REF : 0);
    store->extents[object].state = STORE_LINKED;
    store->filling--;
    store->linked++;
    if (store->ticks != NULL) {
        store->ticks[object] = (uint16_t)(store_tick(store->clock_ms) - UINT16_MAX / 2 - 1); /* cold */
    }
    return true;
}

bool store_warm_adopt(struct store *store, const struct store_image *image, char why[static STORE_WHY_BYTES]) {
    uint64_t end = 0;
    const char *what = image->count > store->objects ? "there are more of them than objects" : NULL;
    for (uint64_t i = 0; i < image->count && what == NULL; i++) {
        what = wrong(store, &image->entries[i], end);
        end = (uint64_t)image->entries[i].unit + image->entries[i].units;
        if (what != NULL) {
            snprintf(why, STORE_WHY_BYTES, "object %llu of the store's file makes no sense: %s; it starts empty",
                     (unsigned long long)i, what);
            return false;
        }
    }
    if (what != NULL) {
        snprintf(why, STORE_WHY_BYTES, "the objects of the store's file make no sense: %s; it starts empty", what);
        return false;
    }
    for (uint64_t i = 0; i < image->count; i++) {
        if (image->entries[i].grace_until_ms > store->clock_ms) {
            (void)adopt(store, &image->entries[i]);
        }
    }
    store->hand = store->first;
    return true;
}

uint64_t store_warm_entries(const struct store *store, uint64_t now_ms, struct store_image_entry *entries) {
    uint64_t count = 0;
    for (uint32_t at = store->first; at != STORE_NONE; at = store->extents[at].after) {
        if (store->extents[at].state != STORE_LINKED || store->records[at].grace_until_ms <= now_ms) {
            continue;
        }
        const struct store_record *record = &store->records[at];
        const uint64_t *word = store_index_find(store, record->hash);
        rm_assert(word != NULL);
        entries[count++] = (struct store_image_entry){
            .hash = record->hash,
            .stored_ms = record->stored_ms,
            .fresh_until_ms = record->fresh_until_ms,
            .grace_until_ms = record->grace_until_ms,
            .unit = record->unit,
            .units = record->units,
            .key_len = record->key_len,
            .meta_len = record->meta_len,
            .body_len = record->body_len,
            .flags = (*word & STORE_REF) != 0 ? ENTRY_REFERENCED : 0,
        };
    }
    return count;
}
