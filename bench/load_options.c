#include "load_options.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "usage: load --template FILE [--connect ADDR] [options]\n"
    "\n"
    "A closed-loop generator: each of N connections keeps D requests in flight, reads all that is ready, then writes all\n"
    "that is due, once per turn. With --rate the loop is open: requests are due at their times, connection by connection, at\n"
    "most D in flight each, and latencies count from when a request was due, not from when it could be sent.\n"
    "Every response is checked for its status and length (and body, where the template gives it).\n"
    "\n"
    "  --template FILE     requests and what their responses must be (bench/templates; format: bench/README.md)\n"
    "  --connect ADDR      127.0.0.1:8080, [::1]:8080 or unix:/path (127.0.0.1:8080)\n"
    "  --connections N     1..60000 (64)\n"
    "  --depth D           requests in flight per connection, 1..1024 (1)\n"
    "  --reconnect R       close each connection after R responses and make it anew; 0: never (0)\n"
    "  --duration TIME     500ms, 5s, 2m: then no more is sent, and what is in flight is awaited (5s)\n"
    "  --requests N        send N requests instead\n"
    "  --rate N            requests per second, all connections together; 0: closed loop (0)\n"
    "  --seed S            the template's requests in a random order that S decides; 0: in turn (0)\n"
    "  --io NAME           auto, uring, epoll (auto)\n"
    "  --ring SPEC         the generator's own ring, as arena's --ring\n"
    "  --cpu N             pin to one CPU\n"
    "  --json FILE|-       write figures as JSON\n"
    "\n"
    "Exit codes: 0; 1 a response was wrong or missing; 2 usage; 69 no ring or nobody to connect to.\n";

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
    return span_u64(span_text(text), out) && *out >= min && *out <= max;
}

static bool number32(const char *text, uint32_t min, uint32_t max, uint32_t *out) {
    uint64_t value = 0;
    bool fine = number(text, min, max, &value);
    *out = (uint32_t)value;
    return fine;
}

static bool duration(const char *text, uint64_t *out) {
    static const struct {
        const char *suffix;
        uint64_t ns;
    } units[] = { { "us", 1000 }, { "ms", 1000 * 1000 }, { "s", 1000 * 1000 * 1000 }, { "m", 60ull * 1000 * 1000 * 1000 } };
    size_t digits = strspn(text, "0123456789");
    uint64_t value = 0;
    if (!span_u64(span_of(text, digits), &value) || value == 0 || value > 1000000) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + digits, units[i].suffix) == 0) {
            *out = value * units[i].ns;
            return true;
        }
    }
    return false;
}

static bool set_connect(struct load_options *o, const char *value) {
    o->connect = value;
    return ring_address_parse(span_text(value), &o->address);
}

static bool set_template(struct load_options *o, const char *value) {
    o->template_path = value;
    return true;
}

static bool set_connections(struct load_options *o, const char *value) {
    return number32(value, 1, LOAD_CONNECTIONS_MAX, &o->connections);
}

static bool set_depth(struct load_options *o, const char *value) {
    return number32(value, 1, LOAD_DEPTH_MAX, &o->depth);
}

static bool set_reconnect(struct load_options *o, const char *value) {
    return number32(value, 0, UINT32_MAX, &o->reconnect);
}

static bool set_duration(struct load_options *o, const char *value) {
    return duration(value, &o->duration_ns);
}

static bool set_requests(struct load_options *o, const char *value) {
    return number(value, 1, UINT64_MAX, &o->requests);
}

static bool set_rate(struct load_options *o, const char *value) {
    return number(value, 0, 100 * 1000 * 1000, &o->rate);
}

static bool set_seed(struct load_options *o, const char *value) {
    return number(value, 0, UINT64_MAX, &o->seed);
}

static bool set_io(struct load_options *o, const char *value) {
    static const struct {
        const char *name;
        enum ring_choice choice;
    } names[] = { { "auto", RING_AUTO }, { "uring", RING_URING }, { "epoll", RING_EPOLL } };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(value, names[i].name) == 0) {
            o->io = names[i].choice;
            return true;
        }
    }
    return false;
}

static bool set_ring(struct load_options *o, const char *value) {
    char why[256];
    if (!ring_tuning_parse(span_text(value), &o->tuning, why, sizeof why)) {
        fprintf(stderr, "load: --ring: %s\n", why);
        return false;
    }
    return true;
}

static bool set_cpu(struct load_options *o, const char *value) {
    uint64_t cpu = 0;
    bool fine = number(value, 0, 1023, &cpu);
    o->cpu = (int)cpu;
    return fine;
}

static bool set_json(struct load_options *o, const char *value) {
    o->json = value;
    return true;
}

static const struct flag {
    const char *name;
    bool (*set)(struct load_options *o, const char *value);
} flags[] = {
    { "--connect", set_connect },     { "--template", set_template }, { "--connections", set_connections },
    { "--depth", set_depth },         { "--reconnect", set_reconnect }, { "--duration", set_duration },
    { "--requests", set_requests },   { "--seed", set_seed },         { "--io", set_io },
    { "--ring", set_ring },           { "--cpu", set_cpu },           { "--json", set_json },
    { "--rate", set_rate },
};

static const struct flag *find_flag(const char *name) {
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(flags[i].name, name) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

enum load_parsed load_options_parse(int argc, char **argv, struct load_options *out) {
    *out = (struct load_options){ .connect = "127.0.0.1:8080", .connections = 64, .depth = 1, .cpu = -1 };
    ring_tuning_default(&out->tuning);
    if (!ring_address_parse(span_text(out->connect), &out->address)) {
        return LOAD_WRONG;
    }
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return LOAD_HELPED;
        }
        const struct flag *flag = find_flag(argv[i]);
        if (flag == NULL || i + 1 == argc) {
            fprintf(stderr, "load: %s %s (--help lists the flags)\n", argv[i], flag == NULL ? "is no flag" : "needs a value");
            return LOAD_WRONG;
        }
        if (!flag->set(out, argv[i + 1])) {
            fprintf(stderr, "load: %s does not take '%s' (--help says what it takes)\n", argv[i], argv[i + 1]);
            return LOAD_WRONG;
        }
    }
    if (out->template_path == NULL) {
        fprintf(stderr, "load: --template FILE is needed (bench/templates has some)\n");
        return LOAD_WRONG;
    }
    if (out->duration_ns == 0 && out->requests == 0) {
        out->duration_ns = 5ull * 1000 * 1000 * 1000;
    }
    return LOAD_RUN;
}
