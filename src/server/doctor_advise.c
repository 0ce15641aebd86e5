/* The doctor's last line: a command line that works on this machine as it is. A pure function of the facts. */
#include "server/doctor.h"

#include <stdarg.h>
#include <string.h>

/* What is advised of the three flags that the facts can overrule. */
struct advice {
    const char *io;       /* "uring" or "epoll"; NULL: nothing works */
    uint32_t workers;     /* 0: as it was asked for */
    uint32_t connections; /* 0: likewise */
};

/* A text that grows up to its room; what does not fit is cut. */
struct text {
    char *out;
    size_t len, room;
};

[[gnu::format(printf, 2, 3)]] static void add(struct text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text->out + text->len, text->room - text->len, format, args);
    va_end(args);
    size_t len = n > 0 ? (size_t)n : 0;
    text->len = len < text->room - text->len ? text->len + len : text->room - 1;
}

static void add_reason(struct text *text, const char *why) {
    add(text, "%s%s", text->len > 0 ? "; " : "", why);
}

/* ------------------------------------------------------------------------------------------------------ what to say */

static const char *choose_io(const struct doctor_facts *facts, struct text *reason) {
    if (facts->io == RING_EPOLL && facts->epoll.fine) {
        add_reason(reason, doctor_uring_works(facts) ? "as asked; io_uring works here, too" : "as asked");
        return "epoll";
    }
    if (doctor_uring_works(facts)) {
        return "uring";
    }
    if (!facts->epoll.fine) {
        return NULL;
    }
    if (!facts->uring.compiled) {
        add_reason(reason, "io_uring is not compiled in");
    } else if (facts->uring.fine) {
        add_reason(reason, "the locked memory does not hold a ring for each worker");
    } else {
        add_reason(reason, "io_uring does not work here");
    }
    return "epoll";
}

static uint32_t choose_workers(const struct doctor_facts *facts, struct text *reason) {
    uint32_t most = facts->cpus;
    bool quota = facts->quota_cpus > 0 && facts->quota_cpus < most;
    if (quota) {
        most = facts->quota_cpus >= 1 ? (uint32_t)facts->quota_cpus : 1;
    }
    if (facts->workers <= most) {
        return 0;
    }
    add_reason(reason, quota ? "a cgroup limits the CPU" : "there are fewer CPUs than workers");
    return most;
}

/* With fewer workers there may be room for more connections; what the limit holds with all of them works in any case. */
static uint32_t choose_connections(const struct doctor_facts *facts, uint32_t workers, struct text *reason) {
    if (facts->files_why[0] == '\0') {
        return 0;
    }
    if (doctor_few_connections(facts)) {
        if (facts->connections_given >= workers) {
            return 0;
        }
        add_reason(reason, "each worker needs room for a connection");
        return workers;
    }
    add_reason(reason, "the limit of descriptors holds no more connections");
    return facts->files_connections;
}

/* -------------------------------------------------------------------------------------------------- writing it down */

/* One word for a shell. */
static void add_word(struct text *text, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+[]";
    if (*word != '\0' && word[strspn(word, plain)] == '\0' && strpbrk(word, "[]") == NULL) {
        add(text, "%s", word);
        return;
    }
    add(text, "'");
    for (const char *at = word; *at != '\0'; at++) {
        if (*at == '\'') {
            add(text, "'\\''");
        } else {
            add(text, "%c", *at);
        }
    }
    add(text, "'");
}

/* True when `word` is --NAME or --NAME=VALUE; *alone: its value is the next word. */
static bool is_flag(const char *word, const char *name, bool *alone) {
    size_t len = strlen(name);
    if (strncmp(word, "--", 2) != 0 || strncmp(word + 2, name, len) != 0) {
        return false;
    }
    *alone = word[2 + len] == '\0';
    return *alone || word[2 + len] == '=';
}

/* The user's own arguments, but those that are said anew. */
static void add_arguments(struct text *text, const struct doctor_facts *facts, const struct advice *advice) {
    for (int i = 0; i < facts->argc; i++) {
        bool alone = false;
        bool anew = is_flag(facts->argv[i], "io", &alone) ||
                    (advice->workers > 0 && is_flag(facts->argv[i], "workers", &alone)) ||
                    (advice->connections > 0 && is_flag(facts->argv[i], "max-connections", &alone));
        if (anew) {
            i += alone ? 1 : 0;
            continue;
        }
        add(text, " ");
        add_word(text, facts->argv[i]);
    }
}

void doctor_advise(const struct doctor_facts *facts, char line[static DOCTOR_LINE_BYTES],
                   char reason[static DOCTOR_TEXT_BYTES]) {
    struct text why = { .out = reason, .room = DOCTOR_TEXT_BYTES }, text = { .out = line, .room = DOCTOR_LINE_BYTES };
    line[0] = reason[0] = '\0';
    struct advice advice = { .io = choose_io(facts, &why) };
    if (advice.io == NULL) {
        add_reason(&why, "no backend could serve a request");
        return;
    }
    advice.workers = choose_workers(facts, &why);
    uint32_t workers = advice.workers > 0 ? advice.workers : facts->workers;
    advice.connections = choose_connections(facts, workers, &why);
    if (facts->files_why[0] != '\0' && facts->files_connections < workers) {
        add_reason(&why, "and not even one for each worker");
        return;
    }
    add_word(&text, facts->program);
    add(&text, " --io %s", advice.io);
    if (advice.workers > 0) {
        add(&text, " --workers %u", advice.workers);
    }
    if (advice.connections > 0) {
        add(&text, " --max-connections %u", advice.connections);
    }
    add_arguments(&text, facts, &advice);
    if (facts->listen_code != 0) {
        add_reason(&why, "once its address is free");
    }
}
