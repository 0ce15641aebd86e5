/* How much CPU the cgroups grant that this process is in: cgroups(7), "CPU" in the kernel's cgroup-v2, sched-bwc. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/doctor.h"

enum { PATH_BYTES = 1024, FOLDER_BYTES = 512 };

bool doctor_read_text(const char *path, char *out, size_t room) {
    out[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, out, room - 1);
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

static bool read_in(const char *root, const char *folder, const char *name, char *out, size_t room) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return doctor_read_text(path, out, room);
}

/* Version 2: "200000 100000" or "max 100000". 0: no limit. */
static double quota_of_new(const char *root, const char *folder) {
    char text[64];
    double quota, period;
    bool limited = read_in(root, folder, "cpu.max", text, sizeof text) && sscanf(text, "%lf %lf", &quota, &period) == 2;
    return limited && quota > 0 && period > 0 ? quota / period : 0;
}

/* Version 1: a quota of -1 is none. */
static double quota_of_old(const char *root, const char *folder) {
    char quota_text[64], period_text[64];
    if (!read_in(root, folder, "cpu.cfs_quota_us", quota_text, sizeof quota_text) ||
        !read_in(root, folder, "cpu.cfs_period_us", period_text, sizeof period_text)) {
        return 0;
    }
    double quota = strtod(quota_text, NULL), period = strtod(period_text, NULL);
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* The tightest limit from a folder up to the root; a container may see neither its own folder nor those above. */
static double tightest(const char *root, char *folder, double (*quota_of)(const char *root, const char *folder)) {
    double least = 0;
    for (;;) {
        double quota = quota_of(root, folder);
        if (quota > 0 && (least == 0 || quota < least)) {
            least = quota;
        }
        char *slash = strrchr(folder, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

/* True when "cpu" is one of the controllers of a line, "4:cpu,cpuacct:/a/b". */
static bool has_cpu(const char *line) {
    const char *names = strchr(line, ':');
    for (const char *at = names; at != NULL && *at != '\0' && (*at != ':' || at == names); at++) {
        if ((*at == ':' || *at == ',') && strncmp(at + 1, "cpu", 3) == 0 && (at[4] == ',' || at[4] == ':')) {
            return true;
        }
    }
    return false;
}

double doctor_quota(const char *root, const char *cgroups) {
    double least = 0;
    for (const char *line = cgroups; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
        char folder[FOLDER_BYTES], mount[PATH_BYTES];
        const char *path = strchr(line, '/');
        bool is_new = strncmp(line, "0::", 3) == 0;
        if (path == NULL || path > line + strcspn(line, "\n") || (!is_new && !has_cpu(line))) {
            continue;
        }
        snprintf(folder, sizeof folder, "%.*s", (int)strcspn(path, "\n"), path);
        snprintf(mount, sizeof mount, "%s%s", root, is_new ? "" : "/cpu");
        double quota = tightest(mount, folder, is_new ? quota_of_new : quota_of_old);
        if (quota > 0 && (least == 0 || quota < least)) {
            least = quota;
        }
    }
    return least;
}
