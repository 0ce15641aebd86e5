/* A Postgres server that says what a text tells it to, byte by byte, and looks at what the client sends. What is driven is
 * behind `struct fake_client`: a connection, or a whole pool.
 *
 * A file holds transcripts. Each line is one step; '#' begins a comment.
 *
 *     == NAME                  a transcript begins
 *     < 2; D 7 'x'; Z I        the server says these messages. Lines that follow each other arrive together
 *     > P items B items E S    what the client has sent, as far as it was not looked at yet: type and name of each message
 *     = ok 1 rows 1            all that has happened since, one line each, in order
 *     anything else            what the client is to do, word by word (fake_client.act)
 *
 * Messages of the server: 1 2 3 n I s c | Z STATUS | R KIND [BYTES] | K PID BYTES | S NAME VALUE | v VERSION OPTION... |
 * T NAME:OID... | t OID... | D FIELD... | C TAG | E or N SEVERITY CODE TEXT [LETTER=TEXT...] | A PID CHANNEL PAYLOAD |
 * G H W COLUMNS | d BYTES | raw HEX... | text BYTES | COUNT * one of these. A FIELD is null, a decimal (int4, binary), 'bytes'
 * or big:LENGTH, as all texts can be. Quoted bytes know \n, \0, \\, \' and \xHH.
 *
 * Every transcript runs whole, cut in two at each byte of what the server says, and byte by byte: what happens must be the
 * same. Each piece of input lies in memory of its own, which is gone afterwards. */
#ifndef RM_TESTS_FAKE_PG_H
#define RM_TESTS_FAKE_PG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/chain.h"
#include "mem/span.h"

enum {
    FAKE_LOG_BYTES = 16384,
    FAKE_WHY_BYTES = 4096,
    FAKE_WORDS_MAX = 40,
    FAKE_SAY_BYTES = 4 << 20, /* between two steps that are none of the server's */
    FAKE_TRANSCRIPTS_MAX = 512,
};

struct fake_run;

/* What is driven. `act` does what the words say: false when it does not know them. */
struct fake_client {
    void (*open)(struct fake_run *run, void *arg);
    bool (*act)(struct fake_run *run, void *arg, char **words, uint32_t count);
    void (*input)(struct fake_run *run, void *arg, struct span bytes);
    const char *(*close)(struct fake_run *run, void *arg); /* what is wrong at the end (a leak, say); or NULL */
    const char *(*statement)(void *arg, struct span name); /* what a statement's name on the wire means; NULL: unknown */
    void *arg;
};

struct fake_transcript {
    const char *name; /* first: a row of a cmocka table */
    const char *text; /* its lines; ends with NUL */
    const char *file;
    int line;         /* of its first line in the file */
};

struct fake_file {
    struct fake_transcript transcripts[FAKE_TRANSCRIPTS_MAX];
    uint32_t count;
};

/* Adds the transcripts of all *.txt files of a folder. Aborts when it can't. Nothing is freed before the end. */
void fake_load(struct fake_file *file, const char *folder);

enum fake_way { FAKE_WHOLE, FAKE_SPLITS, FAKE_BYTES };

/* Runs it; for FAKE_SPLITS once for each place. False: `why` says where it went another way. */
bool fake_play(const struct fake_transcript *transcript, const struct fake_client *client, enum fake_way way,
               char why[FAKE_WHY_BYTES]);

/* For clients: something has happened (as for printf, without an end of line); bytes leave. */
[[gnu::format(printf, 2, 3)]] void fake_event(struct fake_run *run, const char *format, ...);
void fake_output(struct fake_run *run, struct chain *chain);

/* The client's bytes so far are nobody's business; its first packet was one of them. */
void fake_ignore_output(struct fake_run *run, struct chain *chain);

/* The bytes of the messages of one line, as after '<'. False: it has a mistake. */
bool fake_say(const char *line, char *out, size_t room, size_t *len);

#endif
