#include "mem/holes.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "mem/assert.h"

enum { PAGE_BYTES_MIN = 4096 }; /* some kernels say in which page it was, and not where in it */

/* What is being touched on a thread, and where to go on when it is not there. */
struct guard {
    uintptr_t from[3], end[3];
    sigjmp_buf jump;
};

/* Set by the functions that touch, cleared by them and by the handler. */
static _Thread_local struct guard *volatile armed;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t users; /* under the lock */
static struct sigaction previous;

/* ------------------------------------------------------------------------------------------------- the handler ---- */

static bool is_ours(const struct guard *guard, uintptr_t address) {
    for (unsigned i = 0; i < 3; i++) {
        if (address >= guard->from[i] / PAGE_BYTES_MIN * PAGE_BYTES_MIN && address < guard->end[i]) {
            return true;
        }
    }
    return false;
}

/* The one that was there before us; without one, the process ends: at the instruction that is run again, or by the signal that
 * somebody has sent. */
static void pass_on(int number, siginfo_t *info, void *context) {
    bool sent = info->si_code <= 0;
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else if (previous.sa_handler == SIG_DFL || !sent) {
        signal(number, SIG_DFL);
        if (sent) {
            raise(number); /* blocked until we return */
        }
    }
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
    struct guard *guard = armed;
    if (guard != NULL && info->si_code > 0 && is_ours(guard, (uintptr_t)info->si_addr)) {
        /* As returning would do. The jump buffer has no mask, because saving one is a system call. */
        pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
        armed = NULL;
        siglongjmp(guard->jump, 1);
    }
    pass_on(number, info, context);
}

void holes_begin(void) {
    sigset_t unblocked;
    sigemptyset(&unblocked);
    sigaddset(&unblocked, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &unblocked, NULL);
    pthread_mutex_lock(&lock);
    if (users++ == 0) {
        struct sigaction current;
        sigaction(SIGBUS, NULL, &current);
        if ((current.sa_flags & SA_SIGINFO) == 0 || current.sa_sigaction != on_sigbus) {
            struct sigaction ours = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
            sigemptyset(&ours.sa_mask);
            previous = current;
            sigaction(SIGBUS, &ours, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
}

void holes_end(void) {
    pthread_mutex_lock(&lock);
    rm_assert(users > 0);
    if (--users == 0) {
        struct sigaction current;
        sigaction(SIGBUS, NULL, &current);
        if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == on_sigbus) {
            sigaction(SIGBUS, &previous, NULL); /* else somebody stands before us, and goes on through us */
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------------------------------------------ touching ---- */

static inline void prepare(struct guard *guard, const struct holes_witness *witness, const void *a, const void *b,
                           size_t bytes) {
    guard->from[0] = (uintptr_t)a;
    guard->end[0] = (uintptr_t)a + bytes;
    guard->from[1] = (uintptr_t)b;
    guard->end[1] = (uintptr_t)b + bytes;
    guard->from[2] = (uintptr_t)witness->word;
    guard->end[2] = (uintptr_t)witness->word + sizeof *witness->word;
}

static inline void arm(struct guard *guard) {
    armed = guard;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* The witness is looked at when the bytes are there. The thread sanitizer knows no fences, but runs where loads keep order. */
static inline bool disarm(const struct holes_witness *witness) {
#if !defined(__SANITIZE_THREAD__)
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    bool whole = __atomic_load_n(witness->word, __ATOMIC_RELAXED) == witness->value;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    armed = NULL;
    return whole;
}

bool holes_copy(const struct holes_witness *witness, void *to, const void *from, size_t bytes) {
    struct guard guard;
    prepare(&guard, witness, to, from, bytes);
    if (sigsetjmp(guard.jump, 0) != 0) {
        return false;
    }
    arm(&guard);
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
    return disarm(witness);
}

bool holes_compare(const struct holes_witness *witness, const void *a, const void *b, size_t bytes, bool *equal) {
    struct guard guard;
    prepare(&guard, witness, a, b, bytes);
    if (sigsetjmp(guard.jump, 0) != 0) {
        return false;
    }
    arm(&guard);
    *equal = bytes == 0 || memcmp(a, b, bytes) == 0;
    return disarm(witness);
}
