/* What the doctor thinks of io_uring, and of the requests that were served. Pure functions of the facts. */
#include "server/doctor.h"

#include <errno.h>
#include <string.h>

enum { SECCOMP_FILTER = 2 };

static const char *error_name(int32_t result) {
    const char *name = strerrorname_np(-result);
    return name != NULL ? name : "an unknown error";
}

/* Nothing stops the server when epoll can stand in. */
static enum doctor_result without_uring(const struct doctor_facts *facts) {
    if (facts->io == RING_EPOLL) {
        return DOCTOR_PASS;
    }
    return facts->io == RING_URING || !facts->epoll.compiled ? DOCTOR_FAIL : DOCTOR_WARN;
}

/* As doctor_say, for what only matters when io_uring is asked for: with --io epoll it is worth no fix. */
static bool say_without(const struct doctor_facts *facts, struct doctor_verdict *out, const char *fix, const char *finding) {
    enum doctor_result result = without_uring(facts);
    if (result == DOCTOR_PASS) {
        return doctor_say(out, result, NULL, "%s; --io epoll does without", finding);
    }
    return doctor_say(out, result, fix, "%s%s", finding, result == DOCTOR_WARN ? "; --io auto falls back to epoll" : "");
}

/* --------------------------------------------------------------------------------------------------- is it allowed? */

#define ALLOW_CALLS "allow io_uring_setup, io_uring_enter and io_uring_register"

static const char *seccomp_fix(const struct doctor_facts *facts) {
    if (facts->container[0] != '\0') {
        return ALLOW_CALLS " in the container's seccomp profile (docker run --security-opt seccomp=PROFILE, Kubernetes: "
                           "seccompProfile of type Localhost), or use --io epoll";
    }
    return ALLOW_CALLS " in the seccomp filter (systemd: SystemCallFilter=@system-service io_uring_setup io_uring_enter "
                       "io_uring_register), or use --io epoll";
}

/* kernel.io_uring_disabled, in the order in which the kernel looks: io_uring_allowed() in io_uring/io_uring.c, 6.6. */
static bool switched_off(const struct doctor_facts *facts, struct doctor_verdict *out) {
    char finding[DOCTOR_TEXT_BYTES];
    if (!facts->uring_disabled.known || facts->uring_disabled.value == 0) {
        return false;
    }
    if (facts->uring_disabled.value >= 2) {
        return say_without(facts, out,
                           "sysctl -w kernel.io_uring_disabled=0 (for good: a line in /etc/sysctl.d), or use --io epoll",
                           "EPERM: kernel.io_uring_disabled is 2: io_uring is switched off for everybody");
    }
    if (facts->admin || facts->in_uring_group) {
        return false;
    }
    bool has_group = facts->uring_group.known && facts->uring_group.value >= 0;
    if (has_group) {
        snprintf(finding, sizeof finding, "EPERM: kernel.io_uring_disabled is 1: only CAP_SYS_ADMIN and members of group "
                 "%ld (kernel.io_uring_group) may use io_uring", (long)facts->uring_group.value);
        return say_without(facts, out, "run the server as a member of that group, or set kernel.io_uring_disabled=0, or use "
                           "--io epoll", finding);
    }
    return say_without(facts, out, "set kernel.io_uring_group to a group of the server's user, or "
                       "kernel.io_uring_disabled=0, or use --io epoll", "EPERM: kernel.io_uring_disabled is 1 and "
                       "kernel.io_uring_group names no group: only CAP_SYS_ADMIN may use io_uring");
}

static bool judge_refused(const struct doctor_facts *facts, int32_t result, struct doctor_verdict *out) {
    char finding[DOCTOR_TEXT_BYTES];
    const char *name = error_name(result);
    if (switched_off(facts, out)) {
        return true;
    }
    if (!facts->has_proc) {
        snprintf(finding, sizeof finding, "%s: a seccomp filter, a security module or kernel.io_uring_disabled forbids it; "
                 "without /proc it is not known which", name);
        return say_without(facts, out, ALLOW_CALLS ", look at kernel.io_uring_disabled, or use --io epoll", finding);
    }
    if (facts->seccomp.known && facts->seccomp.value == SECCOMP_FILTER) {
        snprintf(finding, sizeof finding, "%s: a seccomp filter forbids it (kernel.io_uring_disabled %s)", name,
                 facts->uring_disabled.known ? "is not the reason" : "does not exist here");
        return say_without(facts, out, seccomp_fix(facts), finding);
    }
    snprintf(finding, sizeof finding, "%s: a security module forbids it (no seccomp filter, io_uring is not switched off)",
             name);
    return say_without(facts, out, "allow io_uring in the policy of SELinux, AppArmor or the like, or use --io epoll", finding);
}

static bool judge_absent(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->seccomp.known && facts->seccomp.value == SECCOMP_FILTER && facts->kernel_major >= 6) {
        return say_without(facts, out, seccomp_fix(facts), "ENOSYS: a seccomp filter or sandbox pretends that this kernel "
                           "has no io_uring (or it was built without CONFIG_IO_URING)");
    }
    return say_without(facts, out, "use a kernel with CONFIG_IO_URING=y (6.1 or newer), and no emulation of system calls "
                       "(gVisor, qemu-user); or use --io epoll", "ENOSYS: this kernel has no io_uring");
}

static bool judge_memory_error(const struct doctor_facts *facts, struct doctor_verdict *out) {
    char finding[DOCTOR_TEXT_BYTES];
    snprintf(finding, sizeof finding, "ENOMEM: not even a ring of 8 entries fits into the locked memory of %lu KiB that this "
             "user may have (all its processes together)", (unsigned long)(facts->locked_bytes / 1024));
    return say_without(facts, out, "raise the limit (ulimit -l, LimitMEMLOCK=8M), or use --io epoll", finding);
}

bool doctor_judge_uring(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (!facts->uring.compiled) {
        return say_without(facts, out, "build with -During=true (needs liburing), or use --io epoll",
                           "not compiled in");
    }
    if (facts->setup_signal != 0) {
        return doctor_say(out, facts->io == RING_EPOLL ? DOCTOR_WARN : DOCTOR_FAIL,
                          facts->container[0] != '\0' ? seccomp_fix(facts) : ALLOW_CALLS ", or use --io epoll, which does not "
                                                                                         "try",
                          "signal %d (SIG%s) ends a process that calls io_uring_setup: a seccomp filter kills instead of "
                          "refusing", facts->setup_signal, sigabbrev_np(facts->setup_signal));
    }
    int32_t result = facts->features[RING_FEATURE_SETUP].result;
    switch (-result) {
    case 0: return doctor_say(out, DOCTOR_PASS, NULL, "io_uring_setup is allowed");
    case EPERM:
    case EACCES: return judge_refused(facts, result, out);
    case ENOSYS: return judge_absent(facts, out);
    case ENOMEM: return judge_memory_error(facts, out);
    default: break;
    }
    char finding[DOCTOR_TEXT_BYTES];
    snprintf(finding, sizeof finding, "%s: %s", error_name(result), strerror(-result));
    return say_without(facts, out, "look into the kernel's log, or use --io epoll", finding);
}

/* ------------------------------------------------------------------------------------------------------- features ---- */

static bool can_setup(const struct doctor_facts *facts) {
    return facts->features_tried && facts->features[RING_FEATURE_SETUP].result == 0;
}

bool doctor_judge_opcodes(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (!can_setup(facts)) {
        return false;
    }
    const struct ring_finding *finding = &facts->features[RING_FEATURE_OPCODES];
    if (finding->result == 0) {
        return doctor_say(out, DOCTOR_PASS, NULL, "%u operations, with all that the server submits", finding->value);
    }
    return doctor_say(out, without_uring(facts) == DOCTOR_PASS ? DOCTOR_WARN : without_uring(facts),
                      "use Linux 5.19 or newer (6.1 is recommended), or --io epoll",
                      "%u operations; one that the server submits is missing (%s)", finding->value,
                      error_name(finding->result));
}

/* What a feature is good for. `lost` is what happens without it; NULL: the server does not use it. */
static const struct {
    const char *gain;
    const char *lost;
} uses[RING_FEATURES_COUNT] = {
    [RING_FEATURE_CQSIZE] = { "completion queues of their own size", "bursts overflow the completion queue" },
    [RING_FEATURE_SUBMIT_ALL] = { "one bad submission does not stop a batch", "batches are split after an error" },
    [RING_FEATURE_COOP_TASKRUN] = { "no interrupts between CPUs", "completions interrupt the worker" },
    [RING_FEATURE_SINGLE_ISSUER] = { "fewer locks per call", "each call takes locks that nobody else wants" },
    [RING_FEATURE_DEFER_TASKRUN] = { "completions run when the worker asks for them", "more wake-ups per request" },
    [RING_FEATURE_NO_IOWAIT] = { "an idle worker is shown as idle", "an idle worker is shown as 100 % iowait: harmless" },
    [RING_FEATURE_RING_FD] = { "cheaper calls with many threads", "each call looks the ring up" },
    [RING_FEATURE_BUFFER_RING] = { "receive buffers shared by all connections", "io_uring cannot be used" },
    [RING_FEATURE_ACCEPT_MULTI] = { "one submission accepts all clients (tried on loopback)",
                                    "one submission per client" },
    [RING_FEATURE_RECEIVE_MULTI] = { "one submission receives all of a client (tried on loopback)",
                                     "one submission per receive" },
    [RING_FEATURE_DIRECT] = { "direct descriptors, installed when a real one is needed",
                              "normal descriptors; each operation looks one up" },
    [RING_FEATURE_INCREMENTAL] = { "buffers consumed in slices", NULL },
    [RING_FEATURE_BUNDLES] = { "one completion for several buffers", NULL },
    [RING_FEATURE_SEND_ZC] = { "sends without a copy", "sends are copied, whatever --ring says" },
    [RING_FEATURE_MIN_WAIT] = { "waits for several events with a least and a most time", NULL },
    [RING_FEATURE_NAPI] = { "busy polling of a network card", NULL },
    [RING_FEATURE_SOCKET_OPTIONS] = { "clients' addresses without a system call", "calls for each client's address" },
};

/* NULL: with these flags the server does not use it. */
static const char *lost_without(const struct doctor_facts *facts, enum ring_feature feature) {
    bool unused = feature == RING_FEATURE_SOCKET_OPTIONS && !facts->access_log;
    unused |= feature == RING_FEATURE_SEND_ZC && facts->send_zc == 0;
    return unused ? NULL : uses[feature].lost;
}

static const char *not_used(enum ring_feature feature) {
    if (feature == RING_FEATURE_SEND_ZC) {
        return "the server uses it with --ring send=zc:BYTES only";
    }
    return uses[feature].lost == NULL ? "the server does not use it" : "the server uses it with --access-log only";
}

static bool feature_is_there(const struct doctor_facts *facts, enum ring_feature feature, struct doctor_verdict *out) {
    bool used = lost_without(facts, feature) != NULL;
    const char *stop = used ? "" : "; ", *unused = used ? "" : not_used(feature);
    if (feature == RING_FEATURE_SEND_ZC) {
        const char *copied = facts->features[feature].value != 0 ? "the kernel copied after all" : "were not copied";
        return doctor_say(out, DOCTOR_PASS, NULL, "%s, which %s on loopback%s%s", uses[feature].gain, copied, stop, unused);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "%s%s%s", uses[feature].gain, stop, unused);
}

static bool feature_is_missing(const struct doctor_facts *facts, enum ring_feature feature, struct doctor_verdict *out) {
    int32_t result = facts->features[feature].result;
    const char *kernel = ring_feature_kernel(feature), *lost = lost_without(facts, feature);
    if (result == -ENOMEM && lost == NULL) {
        return doctor_say(out, DOCTOR_PASS, NULL, "could not be tried (ENOMEM: little locked memory); %s", not_used(feature));
    }
    if (lost == NULL) {
        return doctor_say(out, DOCTOR_PASS, NULL, "not here (%s; Linux %s has it); %s", error_name(result), kernel,
                          not_used(feature));
    }
    if (result == -EIO) {
        return doctor_say(out, DOCTOR_WARN, "bring the loopback interface up (ip link set lo up) and run doctor again",
                          "could not be tried: no sockets over loopback");
    }
    char fix[DOCTOR_TEXT_BYTES];
    if (result == -EPERM || result == -EACCES) {
        snprintf(fix, sizeof fix, ALLOW_CALLS ": all three are needed; or use --io epoll");
    } else if (result == -ENOMEM) {
        snprintf(fix, sizeof fix, "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=8M)");
    } else {
        snprintf(fix, sizeof fix, "use Linux %s or newer; until then the server does without", kernel);
    }
    return doctor_say(out, DOCTOR_WARN, fix, "not here (%s): %s", error_name(result), lost);
}

bool doctor_judge_feature(const struct doctor_facts *facts, enum ring_feature feature, struct doctor_verdict *out) {
    if (!can_setup(facts) || uses[feature].gain == NULL) {
        return false;
    }
    return facts->features[feature].result == 0 ? feature_is_there(facts, feature, out)
                                                : feature_is_missing(facts, feature, out);
}

/* -------------------------------------------------------------------------------------------------- locked memory ---- */

static void locked_text(uint64_t bytes, char out[static DOCTOR_NAME_BYTES]) {
    if (bytes == UINT64_MAX) {
        snprintf(out, DOCTOR_NAME_BYTES, "no limit");
    } else {
        snprintf(out, DOCTOR_NAME_BYTES, "a limit of %lu KiB", (unsigned long)(bytes / 1024));
    }
}

bool doctor_judge_locked_memory(const struct doctor_facts *facts, struct doctor_verdict *out) {
    enum { CQ_FEW = 1024 };
    if (!can_setup(facts)) {
        return false;
    }
    char limit[DOCTOR_NAME_BYTES];
    locked_text(facts->locked_bytes, limit);
    const char *fix = "raise the limit (ulimit -l, LimitMEMLOCK=8M; docker run --ulimit memlock=-1), start fewer workers, or "
                      "use --io epoll";
    if (facts->rings_open < facts->workers) {
        enum doctor_result result = without_uring(facts) == DOCTOR_FAIL ? DOCTOR_FAIL : DOCTOR_WARN;
        return doctor_say(out, result, facts->rings_error == -ENOMEM ? fix : "see the lines above, or use --io epoll",
                          "%u of %u rings could be opened: %s with %s of locked memory", facts->rings_open, facts->workers,
                          error_name(facts->rings_error), limit);
    }
    if (facts->rings_cq < CQ_FEW) {
        return doctor_say(out, DOCTOR_WARN, fix, "%u rings fit, with completion queues of %u entries only (%s)",
                          facts->workers, facts->rings_cq, limit);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "%u ring%s with their receive buffers fit (%s)", facts->workers,
                      facts->workers == 1 ? "" : "s", limit);
}

/* Asked for only; the server runs in any case. */
bool doctor_judge_zero_copy(const struct doctor_facts *facts, struct doctor_verdict *out) {
    if (facts->send_zc == 0 || !can_setup(facts)) {
        return false;
    }
    uint64_t wanted = facts->slab_bytes * facts->workers;
    const struct ring_finding *finding = &facts->features[RING_FEATURE_SEND_ZC];
    if (facts->io == RING_EPOLL || finding->result != 0) {
        return doctor_say(out, DOCTOR_WARN, "leave send=zc out of --ring", "%s: every send is copied",
                          facts->io == RING_EPOLL ? "--io epoll has no zero-copy sends" : error_name(finding->result));
    }
    if (facts->slabs_locked < wanted) {
        return doctor_say(out, DOCTOR_WARN,
                          "raise the limit (ulimit -l, LimitMEMLOCK=; docker run --ulimit memlock=-1), lower slab= in --ring, "
                          "start fewer workers, or leave send=zc out",
                          "%lu of %lu KiB of output blocks could be locked; what lies behind is copied (%.300s)",
                          (unsigned long)(facts->slabs_locked / 1024), (unsigned long)(wanted / 1024), facts->slabs_why);
    }
    const char *copied = finding->value != 0 ? "; on loopback the kernel copied after all: nothing to gain there" : "";
    return doctor_say(out, DOCTOR_PASS, NULL, "sends of %u bytes and more from %lu KiB of locked output blocks%s",
                      facts->send_zc, (unsigned long)(wanted / 1024), copied);
}

/* ------------------------------------------------------------------------------------------------ the first request */

static bool judge_serving(const struct doctor_facts *facts, const struct doctor_serving *serving, enum ring_choice io,
                          struct doctor_verdict *out) {
    const double slow_ms = 500;
    if (!serving->compiled || !serving->tried) {
        return false;
    }
    if (!serving->fine) {
        const struct doctor_serving *other = io == RING_URING ? &facts->epoll : &facts->uring;
        bool needed = facts->io == io || !other->fine;
        bool wanted = needed || (facts->io == RING_AUTO && io == RING_URING);
        const char *fix = needed ? "mend what is said above it" : "none is needed while the other backend serves";
        return doctor_say(out, needed && wanted ? DOCTOR_FAIL : DOCTOR_WARN, fix, "no request was served: %.400s",
                          serving->why);
    }
    double ms = (double)serving->first_ns / 1e6;
    if (ms > slow_ms) {
        return doctor_say(out, DOCTOR_WARN, "see whether the machine is busy, or its CPU throttled",
                          "the first request was answered %.0f ms after the start, a slow one", ms);
    }
    return doctor_say(out, DOCTOR_PASS, NULL, "the first request was answered %.1f ms after the start", ms);
}

bool doctor_judge_serve_uring(const struct doctor_facts *facts, struct doctor_verdict *out) {
    return judge_serving(facts, &facts->uring, RING_URING, out);
}

bool doctor_judge_serve_epoll(const struct doctor_facts *facts, struct doctor_verdict *out) {
    return judge_serving(facts, &facts->epoll, RING_EPOLL, out);
}

bool doctor_uring_works(const struct doctor_facts *facts) {
    return facts->uring.fine && facts->rings_open >= facts->workers;
}
