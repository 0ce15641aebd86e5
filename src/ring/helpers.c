#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "ring/ring_priv.h"

enum { HELPERS_MAX = 16 };

struct ring_helpers {
    pthread_mutex_t lock;
    pthread_cond_t some; /* signalled: a job was queued, or `stopping` was set */
    struct ring_job *first, *last;
    bool stopping;
    uint32_t count;
    pthread_t threads[HELPERS_MAX];
};

/* The next job; NULL when the pool stops and none is left. */
static struct ring_job *take_job(struct ring_helpers *helpers) {
    pthread_mutex_lock(&helpers->lock);
    while (helpers->first == NULL && !helpers->stopping) pthread_cond_wait(&helpers->some, &helpers->lock);
    struct ring_job *job = helpers->first;
    if (job != NULL) helpers->first = job->next;
    pthread_mutex_unlock(&helpers->lock);
    return job;
}

static void *helper_main(void *arg) {
    struct ring_helpers *helpers = arg;
    pthread_setname_np(pthread_self(), "rm-helper");
    for (;;) {
        struct ring_job *job = take_job(helpers);
        if (job == NULL) return NULL;
        job->run(job);
        ring_job_finished(job);
    }
}

void ring_helpers_submit(struct ring_helpers *helpers, struct ring_job *job) {
    rm_assert(helpers != NULL);
    job->next = NULL;
    atomic_fetch_add_explicit(&job->home->jobs_out, 1, memory_order_relaxed);
    pthread_mutex_lock(&helpers->lock);
    rm_assert(!helpers->stopping);
    if (helpers->first == NULL)
        helpers->first = job;
    else
        helpers->last->next = job;
    helpers->last = job;
    pthread_cond_signal(&helpers->some);
    pthread_mutex_unlock(&helpers->lock);
}

/* Helpers take no signals: those are the main thread's. But one that comes of what a thread does itself can't wait: SIGBUS has
 * a handler (mem/holes.h), and blocked it ends the process. */
static bool start_thread(struct ring_helpers *helpers) {
    sigset_t most, before;
    sigfillset(&most);
    sigdelset(&most, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &most, &before);
    int error = pthread_create(&helpers->threads[helpers->count], NULL, helper_main, helpers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        errno = error;
        return false;
    }
    helpers->count++;
    return true;
}

struct ring_helpers *ring_helpers_start(uint32_t threads) {
    rm_assert(threads >= 1);
    rm_assert(threads <= HELPERS_MAX);
    struct ring_helpers *helpers = calloc(1, sizeof *helpers);
    if (helpers == NULL) return NULL;
    pthread_mutex_init(&helpers->lock, NULL);
    pthread_cond_init(&helpers->some, NULL);
    for (uint32_t i = 0; i < threads; i++) {
        if (start_thread(helpers)) continue;
        int error = errno;
        ring_helpers_stop(helpers);
        errno = error;
        return NULL;
    }
    return helpers;
}

void ring_helpers_stop(struct ring_helpers *helpers) {
    pthread_mutex_lock(&helpers->lock);
    helpers->stopping = true;
    pthread_cond_broadcast(&helpers->some);
    pthread_mutex_unlock(&helpers->lock);
    for (uint32_t i = 0; i < helpers->count; i++) pthread_join(helpers->threads[i], NULL);
    pthread_cond_destroy(&helpers->some);
    pthread_mutex_destroy(&helpers->lock);
    free(helpers);
}
