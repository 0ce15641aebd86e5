/* load: a closed-loop generator on our own ring. `load --help`. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "load_options.h"
#include "load_report.h"
#include "load_run.h"
#include "load_template.h"

enum { EXIT_WRONG = 1, EXIT_USAGE = 2 };

static bool pin(int cpu) {
    if (cpu < 0) {
        return true;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

static bool write_json(const struct load_options *options, const struct load_result *result) {
    if (strcmp(options->json, "-") == 0) {
        load_report_json(stdout, options, result);
        return fflush(stdout) == 0;
    }
    FILE *file = fopen(options->json, "w");
    if (file == NULL) {
        return false;
    }
    load_report_json(file, options, result);
    return fclose(file) == 0;
}

static struct load_result result; /* tens of KiB: too much for a stack, not worth a heap */

static int report(const struct load_options *options) {
    if (options->json == NULL || strcmp(options->json, "-") != 0) {
        load_report_text(stdout, options, &result);
    }
    if (options->json != NULL && !write_json(options, &result)) {
        fprintf(stderr, "load: %s: %s\n", options->json, strerror(errno));
        return EXIT_USAGE;
    }
    return load_result_errors(&result) == 0 ? EXIT_SUCCESS : EXIT_WRONG;
}

static int load(const struct load_options *options, struct load_template *template, struct load_tape *tape) {
    char why[LOAD_WHY_BYTES];
    if (!load_template_read(options->template_path, template, why) ||
        !load_tape_make(template, options->depth, options->seed, tape, why)) {
        fprintf(stderr, "load: %s\n", why);
        return EXIT_USAGE;
    }
    if (!pin(options->cpu)) {
        fprintf(stderr, "load: --cpu %d: %s\n", options->cpu, strerror(errno));
        return EXIT_USAGE;
    }
    int failed = load_run(options, template, tape, &result);
    return failed != 0 ? failed : report(options);
}

int main(int argc, char **argv) {
    struct load_options options;
    enum load_parsed parsed = load_options_parse(argc, argv, &options);
    if (parsed != LOAD_RUN) {
        return parsed == LOAD_HELPED ? EXIT_SUCCESS : EXIT_USAGE;
    }
    struct load_template template = { 0 };
    struct load_tape tape = { 0 };
    int code = load(&options, &template, &tape);
    load_tape_release(&tape);
    load_template_release(&template);
    return code;
}
