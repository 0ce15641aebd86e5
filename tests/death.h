/* Runs a function that must end in a failed assertion. */
#ifndef RM_TESTS_DEATH_H
#define RM_TESTS_DEATH_H

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when `fn(arg)`, run in a child, ended with SIGABRT and wrote "assertion failed" on stderr. */
static inline bool asserts(void (*fn)(void *), void *arg) {
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        fn(arg);
        _exit(0);
    }
    close(ends[1]);
    char text[1024];
    size_t len = 0;
    for (ssize_t n; len < sizeof text - 1 && (n = read(ends[0], text + len, sizeof text - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    text[len] = '\0';
    close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return false;
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && __builtin_strstr(text, "assertion failed") != NULL;
}

#endif
