#include "server/resolver.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/assert.h"

/* Invariant: under `lock`: asks are those that are neither answered nor left; busy: a lookup is under way, without the lock. */
struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t some; /* signalled: somebody has asked, or `stopping` was set */
    struct link asks;
    bool busy, stopping;
    bool abandoned; /* nobody joins the thread: what it has it releases itself */
    pthread_t thread;
    struct pg_settings settings; /* its host and its port */
    struct resolved found;       /* the thread's */
};

/* --------------------------------------------------------------------------------------------------- the lookup ---- */

void resolved_add(struct resolved *resolved, const void *address, size_t len) {
    if (resolved->count < RESOLVED_MAX && len <= sizeof resolved->addresses[0].storage) {
        struct ring_address *out = &resolved->addresses[resolved->count++];
        memcpy(&out->storage, address, len);
        out->len = (socklen_t)len;
    }
}

void resolver_look_up(const struct pg_settings *settings, struct resolved *out) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", settings->port);
    out->count = 0;
    out->why[0] = '\0';
    int error = getaddrinfo(settings->host, port, &hints, &found);
    if (error != 0) {
        snprintf(out->why, sizeof out->why, "cannot look up '%.100s': %s", settings->host,
                 error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
        return;
    }
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        resolved_add(out, info->ai_addr, info->ai_addrlen);
    }
    freeaddrinfo(found);
}

/* --------------------------------------------------------------------------------------------------- the thread ---- */

static void release(struct resolver *resolver) {
    pthread_cond_destroy(&resolver->some);
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

/* With the lock. */
static void answer_all(struct resolver *resolver) {
    while (!list_empty(&resolver->asks)) {
        struct resolver_ask *ask = LIST_OWNER(resolver->asks.next, struct resolver_ask, line);
        list_remove(&ask->line);
        *ask->out = resolver->found;
        atomic_store_explicit(&ask->answered, true, memory_order_release);
        ring_wake(ask->ring); /* open: who has seen the answer waits for the lock */
    }
}

static void *resolver_main(void *arg) {
    struct resolver *resolver = arg;
    pthread_setname_np(pthread_self(), "rm-resolver");
    pthread_mutex_lock(&resolver->lock);
    while (!resolver->stopping) {
        if (list_empty(&resolver->asks)) {
            pthread_cond_wait(&resolver->some, &resolver->lock);
            continue;
        }
        resolver->busy = true;
        pthread_mutex_unlock(&resolver->lock);
        resolver_look_up(&resolver->settings, &resolver->found);
        pthread_mutex_lock(&resolver->lock);
        resolver->busy = false;
        answer_all(resolver);
    }
    bool abandoned = resolver->abandoned;
    pthread_mutex_unlock(&resolver->lock);
    if (abandoned) {
        release(resolver);
    }
    return NULL;
}

struct resolver *resolver_start(const struct pg_settings *settings) {
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) {
        return NULL;
    }
    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->some, NULL);
    list_init(&resolver->asks);
    memcpy(resolver->settings.host, settings->host, sizeof settings->host);
    resolver->settings.port = settings->port;
    int error = pthread_create(&resolver->thread, NULL, resolver_main, resolver);
    if (error != 0) {
        release(resolver);
        errno = error;
        return NULL;
    }
    return resolver;
}

void resolver_stop(struct resolver *resolver) {
    if (resolver == NULL) {
        return;
    }
    pthread_mutex_lock(&resolver->lock);
    rm_assert(list_empty(&resolver->asks));
    pthread_t thread = resolver->thread;
    bool busy = resolver->busy; /* it may release all as soon as the lock is free */
    resolver->stopping = true;
    resolver->abandoned = busy;
    pthread_cond_signal(&resolver->some);
    pthread_mutex_unlock(&resolver->lock);
    if (busy) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    release(resolver);
}

/* ----------------------------------------------------------------------------------------------------- questions ---- */

void resolver_ask(struct resolver *resolver, struct resolver_ask *ask, struct ring *ring, struct resolved *out) {
    ask->ring = ring;
    ask->out = out;
    atomic_store_explicit(&ask->answered, false, memory_order_relaxed);
    pthread_mutex_lock(&resolver->lock);
    rm_assert(!resolver->stopping);
    list_append(&resolver->asks, &ask->line);
    pthread_cond_signal(&resolver->some);
    pthread_mutex_unlock(&resolver->lock);
}

bool resolver_answered(struct resolver *resolver, struct resolver_ask *ask) {
    if (!atomic_load_explicit(&ask->answered, memory_order_acquire)) {
        return false;
    }
    resolver_leave(resolver, ask);
    return true;
}

void resolver_leave(struct resolver *resolver, struct resolver_ask *ask) {
    pthread_mutex_lock(&resolver->lock);
    list_remove(&ask->line);
    pthread_mutex_unlock(&resolver->lock);
}
