#include "mem/flights.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "mem/assert.h"

enum { SHARDS = 16, LINE_BYTES = 64, NOBODY = UINT32_MAX };

enum place_state {
    PLACE_FREE,
    PLACE_RUNNING,
    PLACE_DOOMED, /* running, but in no bucket */
    PLACE_HELD,   /* nobody runs, and nobody waits: until held_until_ns */
};

/* Invariant: RUNNING and HELD are in the bucket of their hash, at most one for each hash; FREE is on the free list, HELD in
 * the line of its shard. Links are places of the shard, by their number there. */
struct place {
    uint64_t hash;
    uint64_t held_until_ns;
    uint32_t generation; /* written under the lock, read without: odd while it runs */
    uint32_t next;       /* in its bucket, or on the free list */
    uint32_t state;      /* enum place_state */
    union {
        struct flight_workers waiting; /* while it runs */
        struct {
            uint32_t older, newer; /* HELD: in the line of its shard */
        };
    };
};
_Static_assert(sizeof(struct place) == LINE_BYTES, "two flights share no line");

/* On lines of its own. */
struct shard {
    pthread_mutex_t lock;
    uint32_t *buckets; /* as many as places */
    struct place *places;
    uint32_t count;
    uint32_t free;           /* the first one */
    uint32_t oldest, newest; /* that are held off */
    struct flights_figures figures;
} __attribute__((aligned(2 * LINE_BYTES)));

struct flights {
    uint32_t shard_places; /* a power of two */
    struct shard shards[SHARDS];
};

static uint64_t rounded(uint64_t bytes) {
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

/* sizeof(struct flights) is a multiple of its alignment, which the memory need not have: so much is left for that. */
enum { ALIGN_BYTES = LINE_BYTES };

uint64_t flights_bytes(uint32_t places) {
    return ALIGN_BYTES + sizeof(struct flights) + rounded(places * sizeof(uint32_t)) + places * sizeof(struct place);
}

static void init_shard(struct shard *shard, uint32_t *buckets, struct place *places, uint32_t count) {
    int error = pthread_mutex_init(&shard->lock, NULL);
    rm_assert(error == 0); /* a plain mutex asks for nothing: pthread_mutex_init(3) */
    shard->buckets = buckets;
    shard->places = places;
    shard->count = count;
    shard->oldest = shard->newest = NOBODY;
    for (uint32_t i = 0; i < count; i++) {
        buckets[i] = NOBODY;
        places[i].next = i + 1 < count ? i + 1 : NOBODY;
    }
}

struct flights *flights_init(void *memory, uint32_t places) {
    rm_assert((uintptr_t)memory % LINE_BYTES == 0);
    rm_assert(places >= 64);
    rm_assert((places & (places - 1)) == 0);
    char *p = (char *)memory + (uintptr_t)memory % _Alignof(struct flights);
    struct flights *flights = (struct flights *)(void *)p;
    p += sizeof *flights;
    uint32_t *buckets = (uint32_t *)(void *)p;
    p += rounded(places * sizeof *buckets);
    struct place *all = (struct place *)(void *)p;
    uint32_t each = places / SHARDS;
    flights->shard_places = each;
    for (uint32_t i = 0; i < SHARDS; i++) {
        init_shard(&flights->shards[i], buckets + i * each, all + i * each, each);
    }
    return flights;
}

/* ------------------------------------------------------------------------------------------------------ shards ---- */

static struct shard *lock_of(struct flights *flights, uint64_t hash) {
    struct shard *shard = &flights->shards[hash >> 60];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

static uint32_t *bucket_of(struct shard *shard, uint64_t hash) {
    return &shard->buckets[(uint32_t)hash & (shard->count - 1)];
}

static struct place *find(struct shard *shard, uint64_t hash) {
    for (uint32_t i = *bucket_of(shard, hash); i != NOBODY; i = shard->places[i].next) {
        if (shard->places[i].hash == hash) {
            return &shard->places[i];
        }
    }
    return NULL;
}

static uint32_t number_of(const struct shard *shard, const struct place *place) {
    return (uint32_t)(place - shard->places);
}

static void leave_bucket(struct shard *shard, struct place *place) {
    uint32_t *link = bucket_of(shard, place->hash), number = number_of(shard, place);
    while (*link != number) {
        rm_assert(*link != NOBODY);
        link = &shard->places[*link].next;
    }
    *link = place->next;
}

static void enter_line(struct shard *shard, struct place *place) {
    uint32_t number = number_of(shard, place);
    place->older = shard->newest;
    place->newer = NOBODY;
    *(shard->newest != NOBODY ? &shard->places[shard->newest].newer : &shard->oldest) = number;
    shard->newest = number;
}

static void leave_line(struct shard *shard, struct place *place) {
    *(place->older != NOBODY ? &shard->places[place->older].newer : &shard->oldest) = place->newer;
    *(place->newer != NOBODY ? &shard->places[place->newer].older : &shard->newest) = place->older;
}

static void give(struct shard *shard, struct place *place) {
    place->state = PLACE_FREE;
    place->next = shard->free;
    shard->free = number_of(shard, place);
}

static void end_hold(struct shard *shard, struct place *place) {
    leave_line(shard, place);
    leave_bucket(shard, place);
    give(shard, place);
}

/* A flight is worth more than the memory of one that failed: the oldest of these goes first. */
static struct place *take(struct shard *shard) {
    if (shard->free == NOBODY && shard->oldest != NOBODY) {
        end_hold(shard, &shard->places[shard->oldest]);
    }
    if (shard->free == NOBODY) {
        return NULL;
    }
    struct place *place = &shard->places[shard->free];
    shard->free = place->next;
    return place;
}

/* Who waits reads it without the lock, and then what the leader has stored. */
static void set_generation(struct place *place, uint32_t generation) {
    __atomic_store_n(&place->generation, generation, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------------------------------------------ flights ---- */

static struct flight flight_of(const struct flights *flights, const struct shard *shard, const struct place *place) {
    uint32_t before = (uint32_t)(shard - flights->shards) * flights->shard_places;
    return (struct flight){ before + number_of(shard, place), place->generation };
}

static enum flight_role lead(struct shard *shard, struct place *place, uint64_t hash) {
    uint32_t *bucket = bucket_of(shard, hash);
    place->hash = hash;
    place->state = PLACE_RUNNING;
    place->next = *bucket;
    memset(&place->waiting, 0, sizeof place->waiting);
    *bucket = number_of(shard, place);
    set_generation(place, place->generation + 1);
    shard->figures.led++;
    shard->figures.running++;
    return FLIGHT_LEAD;
}

/* WAIT: *out is the flight that is under way. */
static enum flight_role join(struct shard *shard, uint64_t hash, uint64_t now_ns, struct place **out) {
    struct place *place = find(shard, hash);
    if (place != NULL && place->state == PLACE_HELD) {
        if (now_ns < place->held_until_ns) {
            return FLIGHT_ALONE;
        }
        end_hold(shard, place);
        place = NULL;
    }
    if (place != NULL) {
        *out = place;
        return FLIGHT_WAIT;
    }
    *out = take(shard);
    return *out != NULL ? lead(shard, *out, hash) : FLIGHT_ALONE;
}

enum flight_role flights_join(struct flights *flights, uint64_t hash, uint32_t worker, uint64_t now_ns, struct flight *out) {
    rm_assert(worker < FLIGHTS_WORKERS_MAX);
    struct shard *shard = lock_of(flights, hash);
    struct place *place = NULL;
    enum flight_role role = join(shard, hash, now_ns, &place);
    if (role == FLIGHT_ALONE) {
        shard->figures.alone++;
    } else {
        *out = flight_of(flights, shard, place);
    }
    if (role == FLIGHT_WAIT) {
        place->waiting.bits[worker / 64] |= UINT64_C(1) << worker % 64;
        shard->figures.waited++;
    }
    pthread_mutex_unlock(&shard->lock);
    return role;
}

bool flights_lead(struct flights *flights, uint64_t hash, uint64_t now_ns, struct flight *out) {
    struct shard *shard = lock_of(flights, hash);
    struct place *place = NULL;
    bool leads = join(shard, hash, now_ns, &place) == FLIGHT_LEAD;
    if (leads) {
        *out = flight_of(flights, shard, place);
    }
    pthread_mutex_unlock(&shard->lock);
    return leads;
}

static struct place *place_of(struct shard *shard, const struct flights *flights, struct flight flight) {
    return &shard->places[flight.place & (flights->shard_places - 1)];
}

static struct shard *lock_place(struct flights *flights, struct flight flight) {
    rm_assert(flight.place / flights->shard_places < SHARDS);
    struct shard *shard = &flights->shards[flight.place / flights->shard_places];
    pthread_mutex_lock(&shard->lock);
    return shard;
}

/* It runs no more. What becomes of the place is the caller's to say. */
static void end(struct shard *shard, struct place *place, struct flight flight, struct flight_workers *wake) {
    rm_assert(place->generation == flight.generation); /* a flight ends once */
    rm_assert(place->state == PLACE_RUNNING || place->state == PLACE_DOOMED);
    *wake = place->waiting;
    set_generation(place, place->generation + 1);
    shard->figures.running--;
}

static void free_place(struct shard *shard, struct place *place) {
    if (place->state == PLACE_RUNNING) {
        leave_bucket(shard, place);
    }
    give(shard, place);
}

void flights_land(struct flights *flights, struct flight flight, struct flight_workers *wake) {
    struct shard *shard = lock_place(flights, flight);
    struct place *place = place_of(shard, flights, flight);
    end(shard, place, flight, wake);
    free_place(shard, place);
    pthread_mutex_unlock(&shard->lock);
}

void flights_fail(struct flights *flights, struct flight flight, uint64_t now_ns, uint64_t hold_ns,
                  struct flight_workers *wake) {
    struct shard *shard = lock_place(flights, flight);
    struct place *place = place_of(shard, flights, flight);
    end(shard, place, flight, wake);
    shard->figures.failed++;
    if (place->state == PLACE_RUNNING) {
        place->state = PLACE_HELD;
        place->held_until_ns = now_ns + hold_ns;
        enter_line(shard, place);
    } else { /* doomed: its key may have another flight by now */
        free_place(shard, place);
    }
    pthread_mutex_unlock(&shard->lock);
}

void flights_doom(struct flights *flights, uint64_t hash) {
    struct shard *shard = lock_of(flights, hash);
    struct place *place = find(shard, hash);
    if (place != NULL && place->state == PLACE_HELD) {
        end_hold(shard, place);
    } else if (place != NULL) {
        leave_bucket(shard, place);
        place->state = PLACE_DOOMED;
        shard->figures.doomed++;
    }
    pthread_mutex_unlock(&shard->lock);
}

bool flights_running(const struct flights *flights, struct flight flight) {
    const struct shard *shard = &flights->shards[flight.place / flights->shard_places];
    const struct place *place = &shard->places[flight.place & (flights->shard_places - 1)];
    return __atomic_load_n(&place->generation, __ATOMIC_ACQUIRE) == flight.generation;
}

void flights_figures(struct flights *flights, struct flights_figures *out) {
    *out = (struct flights_figures){ 0 };
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &flights->shards[i];
        pthread_mutex_lock(&shard->lock);
        struct flights_figures one = shard->figures;
        pthread_mutex_unlock(&shard->lock);
        out->running += one.running;
        out->led += one.led;
        out->waited += one.waited;
        out->alone += one.alone;
        out->failed += one.failed;
        out->doomed += one.doomed;
    }
}
