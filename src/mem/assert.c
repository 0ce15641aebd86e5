#include "mem/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void rm_assert_failed(const char *file, int line, const char *function, const char *text) {
    char message[512];
    int len = snprintf(message, sizeof message, "%s:%d: %s: assertion failed: %s\n", file, line, function, text);
    if (len > 0) {
        size_t bytes = (size_t)len < sizeof message ? (size_t)len : sizeof message - 1;
        ssize_t written = write(STDERR_FILENO, message, bytes);
        (void)written; /* there is nobody left to tell */
    }
    abort();
}
