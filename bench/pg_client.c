/* pg_client: see --help. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "pg_client.h"

enum { EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_UNAVAILABLE = 69 };

static const char help[] =
    "usage: pg_client --url URL --arm ARM [options]\n"
    "\n"
    "Looks up rows of the table items by their primary key, nine columns each, from one thread, and prints as JSON what\n"
    "a query costs: CPU of the client and of the backends, system calls of the client. Every answer's id is checked.\n"
    "\n"
    "  --arm ARM         ours, ours-shared: our client, a Sync for each query, or one for the queries of a turn\n"
    "                    libpq: one query at a time; libpq-each, libpq-batch: its pipeline mode, a Sync for each query, or\n"
    "                    one for each batch of --depth\n"
    "  --url URL         of the database, no password\n"
    "  --depth N         queries in flight per connection, 1..256 (1)\n"
    "  --connections N   1..16 (1)\n"
    "  --queries N       that are measured (100000)\n"
    "  --warm N          before them (10000)\n"
    "  --rows N          of items (100000)\n"
    "  --fail N          of 1000 queries so many fail with a division by zero (0)\n"
    "  --io NAME         auto, uring, epoll: of our client (auto)\n"
    "  --ring SPEC       as arena's --ring\n"
    "  --cpu N           the client's\n"
    "  --backend-cpu N   the backends'; needs the right to move them\n"
    "\n"
    "Exit codes: 0; 1 an answer was wrong; 2 usage; 69 no database, no ring, or built without libpq.\n";

static const char *const arm_names[ARMS_COUNT] = { "ours", "ours-shared", "libpq", "libpq-each", "libpq-batch" };

/* ------------------------------------------------------------------------------------------------------ measuring ---- */

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t time_us(struct timeval time) {
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

/* CPU of a process, as the scheduler counts it; 0: it can't be read. */
static uint64_t cpu_ns(uint32_t pid) {
    char path[64];
    uint64_t ns = 0;
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%" SCNu64, &ns) != 1) {
        ns = 0;
    }
    fclose(file);
    return ns;
}

/* Adds what was used so far with a sign: once at the begin, once at the end. */
static void add_used(struct pg_client_run *run, uint64_t sign) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    run->user_us += sign * time_us(usage.ru_utime);
    run->system_us += sign * time_us(usage.ru_stime);
    run->calls_made += sign * run->calls(run->calls_arg);
    run->again_made += sign * run->again;
    for (uint32_t i = 0; i < run->options->connections; i++) {
        run->backend_ns += sign * cpu_ns(run->backends[i]);
    }
}

bool pg_client_answered(struct pg_client_run *run) {
    const struct pg_client_options *o = run->options;
    run->answered++;
    if (run->answered == o->warm) {
        add_used(run, UINT64_MAX); /* minus */
        run->begin_ns = now_ns();
    } else if (run->answered == o->warm + o->queries) {
        run->end_ns = now_ns();
        add_used(run, 1);
        run->over = true;
    }
    return !run->over;
}

uint32_t pg_client_next_id(struct pg_client_run *run, bool *fails) {
    uint64_t x = run->random += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    run->asked++;
    *fails = (x >> 40) % 1000 < run->options->fail;
    return 1 + (uint32_t)(x & 0xffffffff) % run->options->rows;
}

static bool pin(int pid, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return cpu < 0 || sched_setaffinity(pid, sizeof set, &set) == 0;
}

void pg_client_pin_backends(struct pg_client_run *run) {
    for (uint32_t i = 0; i < run->options->connections; i++) {
        if (!pin((int)run->backends[i], run->options->backend_cpu)) {
            fprintf(stderr, "pg_client: --backend-cpu %d: %s\n", run->options->backend_cpu, strerror(errno));
            exit(EXIT_UNAVAILABLE);
        }
    }
}

static void report(const struct pg_client_run *run) {
    const struct pg_client_options *o = run->options;
    double queries = (double)o->queries, seconds = (double)(run->end_ns - run->begin_ns) / 1e9;
    printf("{\"arm\":\"%s\",\"io\":\"%s\",\"depth\":%" PRIu32 ",\"connections\":%" PRIu32 ",\"fail\":%" PRIu32
           ",\"queries\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"queries_per_second\":%.0f"
           ",\"client_us\":%.4f,\"client_user_us\":%.4f,\"client_system_us\":%.4f,\"backend_us\":%.4f"
           ",\"calls_per_query\":%.4f,\"again_per_query\":%.4f}\n",
           arm_names[o->arm], o->arm >= ARM_LIBPQ ? "-" : o->io == RING_EPOLL ? "epoll" : "uring", o->depth, o->connections,
           o->fail, o->queries, run->wrong, run->failed, queries / seconds, (double)(run->user_us + run->system_us) / queries,
           (double)run->user_us / queries, (double)run->system_us / queries, (double)run->backend_ns / 1e3 / queries,
           (double)run->calls_made / queries, (double)run->again_made / queries);
}

/* -------------------------------------------------------------------------------------------------------- options ---- */

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
    return span_u64(span_text(text), out) && *out >= min && *out <= max;
}

static bool set_arm(struct pg_client_options *o, const char *value) {
    for (int i = 0; i < ARMS_COUNT; i++) {
        if (strcmp(value, arm_names[i]) == 0) {
            o->arm = (enum pg_client_arm)i;
            return true;
        }
    }
    return false;
}

static bool set_io(struct pg_client_options *o, const char *value) {
    static const char *const names[] = { [RING_AUTO] = "auto", [RING_URING] = "uring", [RING_EPOLL] = "epoll" };
    for (int i = 0; i < 3; i++) {
        if (strcmp(value, names[i]) == 0) {
            o->io = (enum ring_choice)i;
            return true;
        }
    }
    return false;
}

static bool set_url(struct pg_client_options *o, const char *value) {
    char why[PG_SETTINGS_WHY_BYTES];
    o->url = value;
    if (pg_settings_read(&o->settings, span_text(value), why) && pg_settings_finish(&o->settings, getenv("USER"), why)) {
        return true;
    }
    fprintf(stderr, "pg_client: %s\n", why);
    return false;
}

static bool set_ring(struct pg_client_options *o, const char *value) {
    char why[256];
    if (ring_tuning_parse(span_text(value), &o->tuning, why, sizeof why)) {
        return true;
    }
    fprintf(stderr, "pg_client: --ring: %s\n", why);
    return false;
}

static bool set_number(struct pg_client_options *o, const char *flag, const char *value) {
    uint64_t n = 0;
    bool fine = true;
    if (strcmp(flag, "--depth") == 0) {
        fine = number(value, 1, PG_CLIENT_DEPTH_MAX, &n);
        o->depth = (uint32_t)n;
    } else if (strcmp(flag, "--connections") == 0) {
        fine = number(value, 1, PG_CLIENT_CONNECTIONS_MAX, &n);
        o->connections = (uint32_t)n;
    } else if (strcmp(flag, "--queries") == 0) {
        fine = number(value, 1, UINT32_MAX, &o->queries);
    } else if (strcmp(flag, "--warm") == 0) {
        fine = number(value, 1, UINT32_MAX, &o->warm);
    } else if (strcmp(flag, "--rows") == 0) {
        fine = number(value, 1, INT32_MAX, &n);
        o->rows = (uint32_t)n;
    } else if (strcmp(flag, "--fail") == 0) {
        fine = number(value, 0, 1000, &n);
        o->fail = (uint32_t)n;
    } else if (strcmp(flag, "--cpu") == 0) {
        fine = number(value, 0, CPU_SETSIZE - 1, &n);
        o->cpu = (int)n;
    } else if (strcmp(flag, "--backend-cpu") == 0) {
        fine = number(value, 0, CPU_SETSIZE - 1, &n);
        o->backend_cpu = (int)n;
    } else {
        fine = false;
    }
    return fine;
}

static bool set(struct pg_client_options *o, const char *flag, const char *value) {
    return strcmp(flag, "--arm") == 0    ? set_arm(o, value)
           : strcmp(flag, "--io") == 0   ? set_io(o, value)
           : strcmp(flag, "--url") == 0  ? set_url(o, value)
           : strcmp(flag, "--ring") == 0 ? set_ring(o, value)
                                         : set_number(o, flag, value);
}

static bool parse(struct pg_client_options *o, int argc, char **argv) {
    *o = (struct pg_client_options){
        .io = RING_AUTO, .connections = 1, .depth = 1, .warm = 10000, .queries = 100000, .rows = 100000, .cpu = -1,
        .backend_cpu = -1,
    };
    ring_tuning_default(&o->tuning);
    pg_settings_default(&o->settings);
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !set(o, argv[i], argv[i + 1])) {
            fprintf(stderr, "pg_client: %s%s%s is wrong; --help tells\n", argv[i], i + 1 < argc ? " " : "",
                    i + 1 < argc ? argv[i + 1] : "");
            return false;
        }
    }
    if (o->url == NULL) {
        fputs("pg_client: --url is missing\n", stderr);
    }
    return o->url != NULL;
}

int main(int argc, char **argv) {
    struct pg_client_options options;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (!parse(&options, argc, argv)) {
        return EXIT_USAGE;
    }
    if (!pin(0, options.cpu)) {
        fprintf(stderr, "pg_client: --cpu %d: %s\n", options.cpu, strerror(errno));
        return EXIT_USAGE;
    }
    struct pg_client_run run = { .options = &options, .random = 4711 };
    int failed = options.arm >= ARM_LIBPQ ? pg_client_libpq(&run) : pg_client_ours(&run);
    if (failed != 0) {
        return failed;
    }
    report(&run);
    return run.wrong == 0 ? 0 : EXIT_WRONG;
}
