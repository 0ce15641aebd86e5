/* `PROGRAM doctor`: the command line and the table of checks. */
#include "server/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/assert.h"
#include "server/log.h"

/* ------------------------------------------------------------------------------------------------------ the table ---- */

/* A check judges by `judge`, or, when that is NULL, by doctor_judge_feature. In the order in which they are printed. */
static const struct {
    const char *name; /* NULL: the feature's */
    doctor_judge_fn *judge;
    enum ring_feature feature;
} checks[] = {
    { "proc", doctor_judge_proc, 0 },
    { "kernel", doctor_judge_kernel, 0 },
    { "container", doctor_judge_container, 0 },
    { "io_uring", doctor_judge_uring, 0 },
    { "opcodes", doctor_judge_opcodes, 0 },
    { NULL, NULL, RING_FEATURE_CQSIZE },
    { NULL, NULL, RING_FEATURE_SUBMIT_ALL },
    { NULL, NULL, RING_FEATURE_COOP_TASKRUN },
    { NULL, NULL, RING_FEATURE_SINGLE_ISSUER },
    { NULL, NULL, RING_FEATURE_DEFER_TASKRUN },
    { NULL, NULL, RING_FEATURE_NO_IOWAIT },
    { NULL, NULL, RING_FEATURE_RING_FD },
    { NULL, NULL, RING_FEATURE_BUFFER_RING },
    { NULL, NULL, RING_FEATURE_ACCEPT_MULTI },
    { NULL, NULL, RING_FEATURE_RECEIVE_MULTI },
    { NULL, NULL, RING_FEATURE_DIRECT },
    { NULL, NULL, RING_FEATURE_INCREMENTAL },
    { NULL, NULL, RING_FEATURE_BUNDLES },
    { NULL, NULL, RING_FEATURE_SEND_ZC },
    { NULL, NULL, RING_FEATURE_MIN_WAIT },
    { NULL, NULL, RING_FEATURE_NAPI },
    { NULL, NULL, RING_FEATURE_SOCKET_OPTIONS },
    { "locked-memory", doctor_judge_locked_memory, 0 },
    { "zero-copy", doctor_judge_zero_copy, 0 },
    { "descriptors", doctor_judge_files, 0 },
    { "backlog", doctor_judge_backlog, 0 },
    { "ports", doctor_judge_ports, 0 },
    { "memory", doctor_judge_memory, 0 },
    { "huge-pages", doctor_judge_huge_pages, 0 },
    { "cpu-quota", doctor_judge_quota, 0 },
    { "affinity", doctor_judge_affinity, 0 },
    { "reuse-port", doctor_judge_reuse_port, 0 },
    { "listen", doctor_judge_listen, 0 },
    { "clock", doctor_judge_clock, 0 },
    { "call-count", doctor_judge_counting, 0 },
    { "serve-uring", doctor_judge_serve_uring, 0 },
    { "serve-epoll", doctor_judge_serve_epoll, 0 },
};
enum { CHECKS_COUNT = sizeof checks / sizeof checks[0] };
_Static_assert((int)CHECKS_COUNT <= (int)DOCTOR_CHECKS_MAX, "a report has room for every check");

void doctor_judge(const struct doctor_facts *facts, struct doctor_report *report) {
    report->count = 0;
    for (size_t i = 0; i < CHECKS_COUNT; i++) {
        struct doctor_check *check = &report->checks[report->count];
        *check = (struct doctor_check){ .name = checks[i].name };
        bool applies;
        if (checks[i].judge != NULL) {
            applies = checks[i].judge(facts, &check->verdict);
        } else {
            check->name = ring_feature_name(checks[i].feature);
            applies = doctor_judge_feature(facts, checks[i].feature, &check->verdict);
        }
        if (applies) {
            rm_assert((check->verdict.result == DOCTOR_PASS) == (check->verdict.fix[0] == '\0'));
            report->count++;
        }
    }
    doctor_advise(facts, report->recommended, report->reason);
}

int doctor_exit_code(const struct doctor_report *report) {
    for (uint32_t i = 0; i < report->count; i++) {
        if (report->checks[i].verdict.result == DOCTOR_FAIL) {
            return 1;
        }
    }
    return EXIT_FINE;
}

bool doctor_say(struct doctor_verdict *out, enum doctor_result result, const char *fix, const char *finding, ...) {
    rm_assert((result == DOCTOR_PASS) == (fix == NULL));
    *out = (struct doctor_verdict){ .result = result };
    va_list args;
    va_start(args, finding);
    vsnprintf(out->finding, sizeof out->finding, finding, args);
    va_end(args);
    snprintf(out->fix, sizeof out->fix, "%s", fix != NULL ? fix : "");
    return true;
}

/* --------------------------------------------------------------------------------------------------- command line ---- */

bool doctor_asked(int argc, char **argv) {
    return argc > 1 && strcmp(argv[1], "doctor") == 0;
}

static void print_help(const struct rm_app *app) {
    printf("usage: %s doctor [--json] [flags]\n\n"
           "Tries out what the server needs on this machine and what makes it fast, and prints a line for each check:\n"
           "PASS, WARN (it runs, but slower or with less room) or FAIL (it does not run as asked), and how to mend it. The\n"
           "last line is a command line that works on this machine as it is. The flags are the server's own (%s --help):\n"
           "--workers, --listen, --io, --ring and --max-connections change what is tried.\n\n"
           "  --json   one object: {\"version\", \"checks\": [{\"name\", \"result\", \"finding\", \"fix\"}], \"recommended\",\n"
           "           \"reason\"}\n\n"
           "exit codes: 0 nothing failed (there may be warnings), 1 a check failed, 2 usage\n",
           app->name, app->name);
}

static int usage(const struct rm_app *app, const char *why) {
    log_line(LOG_ERROR, "%s doctor: %s", app->name, why);
    return EXIT_USAGE;
}

/* The server's own arguments: without "doctor" and "--json". Writes argc of them at most; returns how many. */
static int take_own(int argc, char **argv, char **own, bool *json) {
    int n = 0;
    own[n++] = argv[0];
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            *json = true;
        } else {
            own[n++] = argv[i];
        }
    }
    own[n] = NULL;
    return n;
}

static int examine(const struct doctor_subject *subject, bool json) {
    static struct doctor_facts facts; /* large, and there is one doctor in a process */
    static struct doctor_report report;
    doctor_try(subject, &facts);
    doctor_judge(&facts, &report);
    if (json) {
        doctor_print_json(&report, stdout);
    } else {
        doctor_print_text(&report, isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL, stdout);
    }
    fflush(stdout);
    return doctor_exit_code(&report);
}

int doctor_main(int argc, char **argv, const struct rm_app *app, uint32_t cpus, uint64_t files) {
    rm_assert(doctor_asked(argc, argv));
    char **own = calloc((size_t)argc + 1, sizeof *own);
    if (own == NULL) {
        return EXIT_INTERNAL;
    }
    bool json = false;
    int own_count = take_own(argc, argv, own, &json);
    struct config config;
    char why[CONFIG_WHY_BYTES];
    int code = config_read(&config, own_count, own, app, why);
    if (code != EXIT_FINE) {
        code = usage(app, why);
    } else if (config.action == CONFIG_HELP) {
        print_help(app);
    } else if (config.action != CONFIG_RUN) {
        code = usage(app, "only the flags of a server that runs make sense here, not --plan or --version");
    } else {
        struct doctor_subject subject = {
            .config = &config, .program = argv[0], .argc = own_count - 1, .argv = own + 1, .cpus = cpus, .files = files,
        };
        log_set_level(LOG_ERROR); /* what goes wrong is in the report */
        code = examine(&subject, json);
    }
    free(own);
    return code;
}
