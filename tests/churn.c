/* Asks arena for /cached/N?bytes=B with more numbers than there is memory for, and looks at each byte of what comes. Every
 * connection has a thread, which waits for one answer before it asks again.
 *
 * usage: churn PORT FIRST COUNT BYTES CONNECTIONS RATE SECONDS
 *
 * SECONDS 0: each number from FIRST on once, in turn. Else numbers at random, for so long. RATE: requests per second, all together;
 * 0: as fast as answers come. Prints one line of JSON. Exit codes: 0; 1 nobody to ask, or an answer that is none; 2 usage. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

enum { LETTERS = 26, HEAD_BYTES = 1024, CONNECTIONS_MAX = 64, BYTES_MAX = 1 << 20 };

static uint64_t port, first, count, body_bytes, connections, rate, seconds;
static uint64_t begin_ns, next; /* next: atomic, how many were asked for */
static char letters[BYTES_MAX + LETTERS];

struct client {
    pthread_t thread;
    int fd;
    struct random random;
    uint64_t answers, hits, wrong;
    char *room; /* a head and a body */
};

static _Noreturn void die(const char *what) {
    fprintf(stderr, "churn: %s\n", what);
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void connect_to_server(struct client *client) {
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        die("nobody to connect to");
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

/* "N " and letters from one on that N decides: examples/arena_cache.c. */
static bool is_right(uint64_t n, const char *body) {
    char text[24];
    size_t len = (size_t)snprintf(text, sizeof text, "%lu ", (unsigned long)n);
    return memcmp(body, text, len) == 0 && memcmp(body + len, letters + n % LETTERS, body_bytes - len) == 0;
}

/* The whole answer, in client->room; where its body begins. */
static size_t receive(const struct client *client) {
    size_t have = 0, head = 0;
    while (head == 0 || have < head + body_bytes) {
        ssize_t n = recv(client->fd, client->room + have, HEAD_BYTES + body_bytes - have, 0);
        if (n <= 0) {
            die("a connection has ended, or an answer is too long");
        }
        have += (size_t)n;
        const char *end = head == 0 ? memmem(client->room, have, "\r\n\r\n", 4) : NULL;
        head = end == NULL ? head : (size_t)(end - client->room) + 4;
    }
    if (have != head + body_bytes || memcmp(client->room, "HTTP/1.1 200 ", 13) != 0) {
        die("an answer is none, or has another length");
    }
    return head;
}

static void ask(struct client *client, uint64_t n) {
    char text[100];
    size_t len = (size_t)snprintf(text, sizeof text, "GET /cached/%lu?bytes=%lu HTTP/1.1\r\nHost: a\r\n\r\n", (unsigned long)n,
                                  (unsigned long)body_bytes);
    if (send(client->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("a connection has ended");
    }
    size_t head = receive(client);
    client->answers++;
    client->hits += memmem(client->room, head, "\r\nX-Cache: HIT\r\n", 16) != NULL;
    client->wrong += !is_right(n, client->room + head);
}

static void sleep_until(uint64_t ns) {
    struct timespec until = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void *run(void *arg) {
    struct client *client = arg;
    connect_to_server(client);
    for (;;) {
        uint64_t k = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
        if (rate > 0) {
            sleep_until(begin_ns + (uint64_t)((unsigned __int128)k * 1000000000 / rate));
        }
        if (seconds == 0 ? k >= count : clock_ns() - begin_ns > seconds * 1000000000) {
            break;
        }
        ask(client, first + (seconds == 0 ? k : random_below(&client->random, (uint32_t)count)));
    }
    close(client->fd);
    return NULL;
}

int main(int argc, char **argv) {
    static struct client clients[CONNECTIONS_MAX];
    uint64_t *numbers[] = { &port, &first, &count, &body_bytes, &connections, &rate, &seconds };
    for (int i = 1; i < argc && argc == 8; i++) {
        *numbers[i - 1] = strtoull(argv[i], NULL, 10);
    }
    if (count == 0 || body_bytes < 32 || body_bytes > BYTES_MAX || connections == 0 || connections > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: churn PORT FIRST COUNT BYTES CONNECTIONS RATE SECONDS\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof letters; i++) {
        letters[i] = (char)('a' + i % LETTERS);
    }
    begin_ns = clock_ns();
    for (uint64_t i = 0; i < connections; i++) {
        clients[i].random.state = i + 1;
        clients[i].room = malloc(HEAD_BYTES + body_bytes);
        if (clients[i].room == NULL || pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0) {
            die("no memory, or no thread");
        }
    }
    struct client sum = { 0 };
    for (uint64_t i = 0; i < connections; i++) {
        pthread_join(clients[i].thread, NULL);
        sum.answers += clients[i].answers;
        sum.hits += clients[i].hits;
        sum.wrong += clients[i].wrong;
        free(clients[i].room);
    }
    printf("{\"answers\": %lu, \"hits\": %lu, \"wrong\": %lu, \"seconds\": %.3f}\n", (unsigned long)sum.answers,
           (unsigned long)sum.hits, (unsigned long)sum.wrong, (double)(clock_ns() - begin_ns) / 1e9);
    return 0;
}
