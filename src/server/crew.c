#include "server/crew.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/log.h"
#include "server/worker.h"

/* -------------------------------------------------------------------------------------------- on the threads ---- */

static void pin(const struct crew_member *member) {
    if (member->cpu < 0) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)member->cpu, &set);
    int error = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (error != 0) {
        log_line(LOG_WARN, "worker %u cannot be pinned to CPU %d: %s", member->index, member->cpu, strerror(error));
    }
}

static void note_failure(struct crew *crew, int code, const char *why) {
    if (crew->code == EXIT_FINE) {
        crew->code = code;
        memcpy(crew->why, why, sizeof crew->why);
    }
}

/* Reports how a step went and waits for the word behind `heard`. */
static enum crew_word report(struct crew *crew, enum crew_word heard, int code, const char *why) {
    pthread_mutex_lock(&crew->lock);
    rm_assert(crew->answered < crew->server->config->workers);
    crew->answered++;
    if (code != EXIT_FINE) {
        note_failure(crew, code, why);
    } else if (heard == CREW_WAIT) {
        crew->opened++;
    }
    pthread_cond_broadcast(&crew->changed);
    while (crew->word == heard) {
        pthread_cond_wait(&crew->changed, &crew->lock);
    }
    enum crew_word word = crew->word;
    pthread_mutex_unlock(&crew->lock);
    return word;
}

static int serve(struct worker *worker, char *why) {
    while (!worker_done(worker)) {
        int32_t result = worker_turn(worker);
        if (result < 0) {
            snprintf(why, CONFIG_WHY_BYTES, "worker %u: the ring is broken: %s", worker->index, strerror(-result));
            return EXIT_INTERNAL;
        }
    }
    return EXIT_FINE;
}

/* Says that this worker has ended and waits for the others and for crew_join: nobody may look at its memory, or
 * wake it, when it is released. */
static void wait_for_all(struct crew *crew, int code, const char *why) {
    pthread_mutex_lock(&crew->lock);
    rm_assert(crew->ended < crew->opened);
    crew->ended++;
    if (code != EXIT_FINE) {
        note_failure(crew, code, why);
    }
    uint64_t one = 1;
    (void)!write(crew->event, &one, sizeof one); /* an eventfd takes 2^64 - 2 of them */
    pthread_cond_broadcast(&crew->changed);
    while (crew->ended < crew->opened || crew->word != CREW_STOP) {
        pthread_cond_wait(&crew->changed, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
}

static void *run(void *arg) {
    struct crew_member *member = arg;
    struct crew *crew = member->crew;
    char why[CONFIG_WHY_BYTES] = "";
    pin(member);
    int code = worker_open(member->worker, crew->server, member->index, why);
    enum crew_word word = report(crew, CREW_WAIT, code, why);
    if (code != EXIT_FINE) {
        return NULL;
    }
    if (word == CREW_LISTEN) {
        code = worker_listen(member->worker, why);
        word = report(crew, CREW_LISTEN, code, why);
    }
    int end = word == CREW_GO ? serve(member->worker, why) : EXIT_FINE;
    wait_for_all(crew, end, why);
    worker_release(member->worker);
    return NULL;
}

/* ------------------------------------------------------------------------------------------- on the main one ---- */

/* The i-th CPU of the inherited mask; -1 when there are more workers than CPUs. */
static int cpu_of(uint32_t i, uint32_t workers) {
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0 || workers > (uint32_t)CPU_COUNT(&mask)) {
        return -1;
    }
    uint32_t seen = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &mask) && seen++ == i) {
            return cpu;
        }
    }
    return -1;
}

static int start_thread(struct crew *crew, uint32_t i) {
    struct crew_member *member = &crew->members[i];
    *member = (struct crew_member){ .crew = crew, .worker = &crew->server->workers[i], .index = i };
    member->cpu = cpu_of(i, crew->server->config->workers);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PLAN_STACK_BYTES);
    int error = pthread_create(&member->thread, &attributes, run, member);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        snprintf(crew->why, sizeof crew->why, "cannot start worker thread %u: %s", i, strerror(error));
        return EXIT_INTERNAL;
    }
    char name[16];
    snprintf(name, sizeof name, "rm-%u", i);
    pthread_setname_np(member->thread, name);
    crew->started++;
    return EXIT_FINE;
}

/* All have answered, and there has been no failure. */
static bool all_fine(struct crew *crew) {
    pthread_mutex_lock(&crew->lock);
    while (crew->answered < crew->started) {
        pthread_cond_wait(&crew->changed, &crew->lock);
    }
    bool fine = crew->code == EXIT_FINE;
    pthread_mutex_unlock(&crew->lock);
    return fine;
}

static void say(struct crew *crew, enum crew_word word) {
    pthread_mutex_lock(&crew->lock);
    crew->word = word;
    crew->answered = 0;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
}

int crew_start(struct crew *crew, struct server *server) {
    *crew = (struct crew){ .server = server, .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    crew->members = calloc(server->config->workers, sizeof *crew->members);
    if (crew->members == NULL || crew->event < 0) {
        snprintf(crew->why, sizeof crew->why, "cannot start: %m");
        return crew->code = EXIT_INTERNAL;
    }
    int code = EXIT_FINE;
    for (uint32_t i = 0; i < server->config->workers && code == EXIT_FINE; i++) {
        code = start_thread(crew, i);
    }
    if (all_fine(crew) && code == EXIT_FINE) {
        say(crew, CREW_LISTEN);
        (void)all_fine(crew); /* crew->code has it */
    }
    return crew->code = code != EXIT_FINE ? code : crew->code;
}

void crew_go(struct crew *crew) {
    rm_assert(crew->code == EXIT_FINE);
    say(crew, CREW_GO);
}

uint32_t crew_serving(struct crew *crew) {
    pthread_mutex_lock(&crew->lock);
    uint32_t n = crew->opened - crew->ended;
    pthread_mutex_unlock(&crew->lock);
    return n;
}

int crew_join(struct crew *crew) {
    say(crew, CREW_STOP);
    for (uint32_t i = 0; i < crew->started; i++) {
        pthread_join(crew->members[i].thread, NULL);
    }
    free(crew->members);
    if (crew->event >= 0) {
        close(crew->event);
    }
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    return crew->code;
}
