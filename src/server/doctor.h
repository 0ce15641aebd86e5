/* `PROGRAM doctor`: says what on this machine helps, slows or stops the server, and how to mend it.
 *
 *     doctor_try:    tries everything out and writes down what it found: struct doctor_facts
 *     doctor_judge:  a pure function from the facts to one verdict per check
 *     doctor_advise: a pure function from the facts to a command line that works on this machine as it is
 *     doctor_print:  lines for people, or one JSON object
 *
 * Nothing is concluded from a version where it can be tried. Depends on: config.h, plan.h, ring/probe.h. Main thread,
 * before any other starts. */
#ifndef RM_SERVER_DOCTOR_H
#define RM_SERVER_DOCTOR_H

#include <stdio.h>

#include "ring/probe.h"
#include "server/config.h"

enum { DOCTOR_TEXT_BYTES = 512, DOCTOR_NAME_BYTES = 80, DOCTOR_LINE_BYTES = 4096, DOCTOR_BACKLOG = 4096 };

/* ---------------------------------------------------------------------------------------------------------- facts ---- */

/* A setting below /proc/sys or /sys. */
struct doctor_setting {
    bool known;
    int64_t value;
};

/* How one backend served one request, in this process. */
struct doctor_serving {
    bool compiled; /* in; else nothing was tried */
    bool tried;
    bool fine;     /* the answer came and was right */
    uint64_t first_ns; /* from the first step of the start to the last byte of the answer */
    char why[DOCTOR_TEXT_BYTES]; /* when not fine */
};

/* What was found out. Everything that a verdict says comes from here. */
struct doctor_facts {
    /* what was asked for */
    const char *program;
    int argc; /* the server's own arguments, as they were given */
    char **argv;
    enum ring_choice io;
    uint32_t workers, max_connections; /* as resolved; at least 1, even when resolving failed */
    uint32_t workers_given;            /* --workers; 0: auto */
    uint32_t connections_given;        /* --max-connections; 0: from NOFILE */
    bool access_log;                   /* there is one */
    uint32_t send_zc;                  /* --ring send=zc:N; 0: send=copy */
    size_t worker_bytes;               /* of the plan: slab, ring and stack */

    /* the kernel and what guards it */
    char release[DOCTOR_NAME_BYTES];
    uint32_t kernel_major, kernel_minor; /* 0: could not be read */
    bool has_proc;                       /* /proc is mounted */
    char container[DOCTOR_NAME_BYTES];   /* "docker", ...; "" when there is no sign of one */
    struct doctor_setting seccomp;       /* of /proc/self/status: 0 off, 1 strict, 2 filter */
    bool admin;                          /* CAP_SYS_ADMIN */
    struct doctor_setting uring_disabled, uring_group; /* kernel.io_uring_disabled, .io_uring_group */
    bool in_uring_group;

    /* io_uring */
    int setup_signal; /* that killed a process which only tried; 0: none */
    struct ring_finding features[RING_FEATURES_COUNT]; /* valid when setup_signal is 0 and `features_tried` is set */
    bool features_tried;
    uint32_t rings_open; /* of `workers` that could be opened at a time, as the server opens them */
    int32_t rings_error; /* of the one after these; 0: all could */
    uint32_t rings_cq;   /* entries of the smallest completion queue of them */
    uint64_t slab_bytes, slabs_locked; /* with send_zc: what each ring is to register, and what all of them could together */
    char slabs_why[DOCTOR_TEXT_BYTES]; /* of the first that could not have all */
    uint64_t locked_bytes; /* RLIMIT_MEMLOCK; UINT64_MAX: no limit */

    /* limits and settings */
    uint64_t files;           /* RLIMIT_NOFILE as the server would raise it */
    uint64_t files_needed;    /* for what was asked for */
    char files_why[DOCTOR_TEXT_BYTES]; /* config_resolve refused; "" when it did not */
    uint32_t files_connections; /* connections that `files` has room for with these workers; 0: none */
    struct doctor_setting somaxconn, port_first, port_last, overcommit;
    uint64_t ram_bytes;       /* of the machine, with swap */
    int map_error;            /* errno of mapping the whole plan; 0: fine */
    char huge_pages[DOCTOR_NAME_BYTES]; /* "always", "madvise", "never"; "" unknown */
    uint32_t cpus, cpus_online;         /* in the affinity mask; of the machine */
    double quota_cpus;        /* of the tightest cgroup; 0: none, or unknown */
    int reuse_port_error;     /* errno of two listeners on one port; 0: fine */
    int listen_code;          /* exit code of taking the addresses; 0: fine */
    char listen_why[DOCTOR_TEXT_BYTES];
    uint32_t listen_port;     /* the first one that lies within the ephemeral ports; 0: none does */
    double clock_ns, call_ns; /* of one reading of the clock; of one cheap system call */
    char clock_source[DOCTOR_NAME_BYTES]; /* "tsc", ...; "" unknown */
    int count_error;          /* errno of counting system calls with perf_event_open(2); 0: fine */
    struct doctor_setting perf_paranoid;

    struct doctor_serving uring, epoll;
};

/* What a command line asks for. */
struct doctor_subject {
    const struct config *config; /* as config_read left it */
    const char *program;         /* argv[0] */
    int argc;                    /* the server's own arguments */
    char **argv;
    uint32_t cpus;  /* in the affinity mask */
    uint64_t files; /* RLIMIT_NOFILE as raised */
};

/* Tries everything; takes about a second, most of it for the first requests. */
void doctor_try(const struct doctor_subject *subject, struct doctor_facts *facts);

/* The parts of doctor_try. */
void doctor_try_host(struct doctor_facts *facts);                                 /* kernel, container, settings, clock */
void doctor_try_limits(const struct config *config, struct doctor_facts *facts);  /* descriptors, memory, addresses */
void doctor_try_rings(const struct config *config, struct doctor_facts *facts);   /* io_uring's features and memory */
void doctor_try_serving(const struct config *config, enum ring_choice io, struct doctor_serving *out);

/* CPUs that the cgroups grant: `cgroups` is /proc/self/cgroup as text, `root` where they are mounted (/sys/fs/cgroup). The
 * least of all limits from our own up to the root, of both versions; 0: none. */
double doctor_quota(const char *root, const char *cgroups);

/* The first bytes of a file as text with a NUL; false when it can't be read, the text is empty then. */
bool doctor_read_text(const char *path, char *out, size_t room);

/* ------------------------------------------------------------------------------------------------------- verdicts ---- */

enum doctor_result { DOCTOR_PASS, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_verdict {
    enum doctor_result result;
    char finding[DOCTOR_TEXT_BYTES];
    char fix[DOCTOR_TEXT_BYTES]; /* empty exactly when PASS */
};

/* False: the check does not apply here, `out` is not to be read. */
typedef bool doctor_judge_fn(const struct doctor_facts *facts, struct doctor_verdict *out);

/* Sets result, finding and fix by printf; returns true. The fix is a text, NULL with PASS. */
[[gnu::format(printf, 4, 5)]] bool doctor_say(struct doctor_verdict *out, enum doctor_result result, const char *fix,
                                              const char *finding, ...);

/* io_uring (doctor_judge_ring.c). */
doctor_judge_fn doctor_judge_uring, doctor_judge_opcodes, doctor_judge_locked_memory, doctor_judge_zero_copy;
bool doctor_judge_feature(const struct doctor_facts *facts, enum ring_feature feature, struct doctor_verdict *out);

/* The machine (doctor_judge_host.c). */
doctor_judge_fn doctor_judge_proc, doctor_judge_kernel, doctor_judge_container, doctor_judge_files, doctor_judge_backlog,
    doctor_judge_ports, doctor_judge_memory, doctor_judge_huge_pages, doctor_judge_quota, doctor_judge_affinity,
    doctor_judge_reuse_port, doctor_judge_listen, doctor_judge_clock, doctor_judge_counting;

/* One request on each backend, and both together (doctor_judge_ring.c). */
doctor_judge_fn doctor_judge_serve_uring, doctor_judge_serve_epoll;

/* True when the server would run, on whatever backend --io allows. */
bool doctor_few_connections(const struct doctor_facts *facts); /* fewer were asked for than there are workers */
bool doctor_uring_works(const struct doctor_facts *facts);

/* A command line that works on this machine as it is, and in `reason` why it is not the plain one ("" when it is). An
 * empty line when none works. */
void doctor_advise(const struct doctor_facts *facts, char line[static DOCTOR_LINE_BYTES],
                   char reason[static DOCTOR_TEXT_BYTES]);

/* --------------------------------------------------------------------------------------------------------- report ---- */

/* One line of the report. */
struct doctor_check {
    const char *name;
    struct doctor_verdict verdict;
};

enum { DOCTOR_CHECKS_MAX = 48 };

/* What is printed. */
struct doctor_report {
    struct doctor_check checks[DOCTOR_CHECKS_MAX];
    uint32_t count;
    char recommended[DOCTOR_LINE_BYTES];
    char reason[DOCTOR_TEXT_BYTES];
};

/* Runs every check of the table over the facts, in order. */
void doctor_judge(const struct doctor_facts *facts, struct doctor_report *report);

/* 0, or 1 when something failed. */
int doctor_exit_code(const struct doctor_report *report);

void doctor_print_text(const struct doctor_report *report, bool colours, FILE *out);
void doctor_print_json(const struct doctor_report *report, FILE *out);

/* ---------------------------------------------------------------------------------------------------------- entry ---- */

/* True when the command line is `PROGRAM doctor ...`. */
bool doctor_asked(int argc, char **argv);

/* Does it all; `cpus` and `files` as for config_resolve. The exit code: 0; 1 something failed; 2 usage. */
int doctor_main(int argc, char **argv, const struct rm_app *app, uint32_t cpus, uint64_t files);

#endif
