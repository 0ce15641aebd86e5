/* nullcall: what one system call that does nothing costs on this machine: getppid(2), which no library caches. Prints
 * nanoseconds as JSON: the median and the range of several rounds.
 *
 * usage: nullcall [CPU] */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 21, CALLS = 100000 };

static uint64_t cpu_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* what others take of this CPU is not counted */
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static double round_ns(void) {
    uint64_t begin = cpu_ns();
    for (int i = 0; i < CALLS; i++) {
        syscall(SYS_getppid);
    }
    return (double)(cpu_ns() - begin) / (double)CALLS;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)strtoul(argv[1], NULL, 10), &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0) {
            perror("nullcall: pin");
            return 1;
        }
    }
    double rounds[ROUNDS];
    round_ns();
    for (int i = 0; i < ROUNDS; i++) {
        rounds[i] = round_ns();
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare);
    printf("{\"call\": \"getppid\", \"ns\": %.1f, \"min_ns\": %.1f, \"max_ns\": %.1f}\n", rounds[ROUNDS / 2], rounds[0],
           rounds[ROUNDS - 1]);
    return 0;
}
