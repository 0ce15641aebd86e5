#include "fake_pg.h"

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------------------- words ---- */

/* One word of a line: blanks and ';' end it, quotes hold it together and stay. Returns what is behind it. */
static const char *word_end(const char *at) {
    bool quoted = false;
    for (; *at != '\0' && (quoted || (!isspace((unsigned char)*at) && *at != ';')); at++) {
        if (*at == '\'') {
            quoted = !quoted;
        } else if (*at == '\\' && at[1] != '\0') {
            at++;
        }
    }
    return at;
}

/* Cuts a copy of the line into words. */
static uint32_t split_words(char *line, char **words) {
    uint32_t count = 0;
    while (*line != '\0') {
        while (isspace((unsigned char)*line)) {
            line++;
        }
        if (*line == '\0' || count == FAKE_WORDS_MAX) {
            break;
        }
        char *end = line + (word_end(line) - line);
        words[count++] = line;
        line = *end == '\0' ? end : end + 1;
        *end = '\0';
    }
    return count;
}

/* ------------------------------------------------------------------------------------------------- server's messages ---- */

struct say {
    char *out;
    size_t room, len;
    bool bad;
};

static void put(struct say *say, const void *bytes, size_t n) {
    if (n > say->room - say->len) {
        say->bad = true;
        return;
    }
    memcpy(say->out + say->len, bytes, n);
    say->len += n;
}

static void put_number(struct say *say, uint64_t value, uint32_t bytes) {
    for (uint32_t i = bytes; i-- > 0;) {
        char byte = (char)(value >> 8 * i);
        put(say, &byte, 1);
    }
}

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef", *found = c != '\0' ? strchr(digits, c) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

/* A word as bytes: quoted with escapes, or as it is; of big:LENGTH so many. */
static void put_bytes(struct say *say, const char *word) {
    if (strncmp(word, "big:", 4) == 0) {
        static const char many[4096] = { [0 ... 4095] = 'x' };
        for (size_t left = strtoul(word + 4, NULL, 10), n; left > 0 && !say->bad; left -= n) {
            n = left < sizeof many ? left : sizeof many;
            put(say, many, n);
        }
        return;
    }
    if (*word != '\'') {
        put(say, word, strlen(word));
        return;
    }
    for (word++; *word != '\0' && *word != '\''; word++) {
        char c = *word;
        if (c == '\\') {
            word++;
            c = *word == 'n' ? '\n' : *word == '0' ? '\0' : *word;
            if (*word == 'x') {
                int high = hex_digit(word[1]), low = high < 0 ? -1 : hex_digit(word[2]);
                say->bad |= low < 0;
                c = (char)(high * 16 + low);
                word += low < 0 ? 0 : 2;
            }
        }
        put(say, &c, 1);
    }
    say->bad |= *word != '\'';
}

static void put_text(struct say *say, const char *word) {
    put_bytes(say, word);
    put(say, "", 1);
}

static void put_field(struct say *say, const char *word) {
    if (strcmp(word, "null") == 0) {
        put_number(say, UINT32_MAX, 4);
    } else if (strncmp(word, "big:", 4) == 0) {
        put_number(say, strtoul(word + 4, NULL, 10), 4);
        put_bytes(say, word);
    } else if (*word == '\'') {
        size_t at = say->len;
        put_number(say, 0, 4);
        put_bytes(say, word);
        size_t end = say->len;
        say->len = at;
        put_number(say, end - at - 4, 4);
        say->len = end;
    } else {
        put_number(say, 4, 4);
        put_number(say, strtoul(word, NULL, 10), 4);
    }
}

static void put_column(struct say *say, const char *word) {
    const char *colon = strchr(word, ':');
    if (colon == NULL) {
        say->bad = true;
        return;
    }
    put(say, word, (size_t)(colon - word));
    put(say, "", 1);
    put_number(say, 0, 6); /* table, number in it */
    put_number(say, strtoul(colon + 1, NULL, 10), 4);
    put_number(say, 4, 2);
    put_number(say, UINT32_MAX, 4);
    put_number(say, 0, 2);
}

static void put_error(struct say *say, char **words, uint32_t count) {
    static const char letters[] = "VCM";
    for (uint32_t i = 0; i < count; i++) {
        bool lettered = i >= 3 && words[i][1] == '=';
        say->bad |= i >= 3 && !lettered;
        put(say, lettered ? words[i] : &letters[i], 1);
        put_text(say, lettered ? words[i] + 2 : words[i]);
    }
    put(say, "", 1);
}

static uint64_t number(char **words, uint32_t count, uint32_t i) {
    return i < count ? strtoull(words[i], NULL, 0) : 0;
}

/* The body of a message whose arguments are `words`. */
static void put_body(struct say *say, char type, char **words, uint32_t count) {
    bool listed = strchr("TtD", type) != NULL;
    if (listed) {
        put_number(say, count, 2);
    } else if (strchr("RKvA", type) != NULL) {
        put_number(say, number(words, count, 0), 4);
    }
    if (type == 'v') {
        put_number(say, count - 1, 4);
    } else if (strchr("GHW", type) != NULL) {
        uint64_t columns = number(words, count, 0);
        put(say, "", 1);
        put_number(say, columns, 2);
        for (uint64_t i = 0; i < columns; i++) {
            put_number(say, 0, 2);
        }
        return;
    } else if (type == 'E' || type == 'N') {
        put_error(say, words, count);
        return;
    }
    for (uint32_t i = strchr("RKvA", type) != NULL ? 1 : 0; i < count; i++) {
        switch (type) {
        case 'T': put_column(say, words[i]); break;
        case 't': put_number(say, strtoul(words[i], NULL, 10), 4); break;
        case 'D': put_field(say, words[i]); break;
        case 'R':
        case 'K':
        case 'Z':
        case 'd': put_bytes(say, words[i]); break;
        default: put_text(say, words[i]); break;
        }
    }
}

static void put_message(struct say *say, char **words, uint32_t count) {
    if (count >= 3 && strcmp(words[1], "*") == 0) {
        for (unsigned long n = strtoul(words[0], NULL, 10); n > 0 && !say->bad; n--) {
            put_message(say, words + 2, count - 2);
        }
    } else if (strcmp(words[0], "raw") == 0) {
        for (uint32_t i = 1; i < count; i++) {
            put_number(say, strtoul(words[i], NULL, 16), 1);
        }
    } else if (strcmp(words[0], "text") == 0 && count == 2) {
        put_bytes(say, words[1]);
    } else if (strlen(words[0]) == 1) {
        size_t at = say->len;
        put(say, words[0], 1);
        put_number(say, 0, 4);
        put_body(say, words[0][0], words + 1, count - 1);
        size_t end = say->len;
        if (!say->bad) {
            say->len = at + 1;
            put_number(say, end - at - 1, 4);
            say->len = end;
        }
    } else {
        say->bad = true;
    }
}

bool fake_say(const char *line, char *out, size_t room, size_t *len) {
    struct say say = { out, room, 0, false };
    while (*line != '\0' && !say.bad) {
        char copy[4096], *words[FAKE_WORDS_MAX];
        const char *end = line;
        while (*end != '\0' && *end != ';') {
            end = *end == '\'' ? word_end(end) : end + 1;
        }
        if ((size_t)(end - line) >= sizeof copy) {
            return false;
        }
        memcpy(copy, line, (size_t)(end - line));
        copy[end - line] = '\0';
        uint32_t count = split_words(copy, words);
        say.bad |= count == 0;
        if (count > 0) {
            put_message(&say, words, count);
        }
        line = *end == ';' ? end + 1 : end;
    }
    *len = say.len;
    return !say.bad;
}

/* ------------------------------------------------------------------------------------------------ client's messages ---- */

struct fake_run {
    const struct fake_client *client;
    const struct fake_transcript *transcript;
    size_t cut;   /* FAKE_SPLITS: the byte of all that the server says where a piece ends */
    bool bytes;   /* byte by byte */
    size_t said;  /* bytes of the server's that were delivered */
    int line;
    bool started; /* the client's first packet, which has no type, was seen */
    char events[FAKE_LOG_BYTES], heard[FAKE_LOG_BYTES];
    size_t events_len, heard_len;
    char *sent;   /* bytes of the client's that are not looked at yet */
    size_t sent_len, sent_room;
    char *say;
    size_t say_len;
    char *why;
};

static void log_text(char *log, size_t *len, const char *format, va_list list) {
    int n = vsnprintf(log + *len, FAKE_LOG_BYTES - *len, format, list);
    *len += n > 0 && (size_t)n < FAKE_LOG_BYTES - *len ? (size_t)n : 0;
}

void fake_event(struct fake_run *run, const char *format, ...) {
    va_list list;
    va_start(list, format);
    log_text(run->events, &run->events_len, format, list);
    va_end(list);
    while (run->events_len > 0 && run->events[run->events_len - 1] == ' ') {
        run->events_len--; /* as the transcripts have none */
    }
    if (run->events_len + 1 < FAKE_LOG_BYTES) {
        run->events[run->events_len++] = '\n';
        run->events[run->events_len] = '\0';
    }
}

[[gnu::format(printf, 2, 3)]] static void hear(struct fake_run *run, const char *format, ...) {
    va_list list;
    va_start(list, format);
    log_text(run->heard, &run->heard_len, format, list);
    va_end(list);
}

static uint32_t get_u32(const char *p) {
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* The name of a statement, from the first string of `text` on. */
static void hear_name(struct fake_run *run, char type, const char *text, size_t room) {
    struct span name = span_of(text, strnlen(text, room));
    const char *known = name.len == 0 ? "-" : run->client->statement(run->client->arg, name);
    hear(run, " %c %s", type, known != NULL ? known : "?");
}

static void hear_message(struct fake_run *run, char type, const char *body, size_t len) {
    switch (type) {
    case 'P': hear_name(run, type, body, len); break;
    case 'B': hear_name(run, type, body + 1, len - 1); break;
    case 'D':
    case 'C': hear_name(run, type, body + 1, len - 1); break;
    case 'f': hear(run, " f"); break;
    case 'p': hear(run, " p %.*s", (int)strnlen(body, len), body); break;
    default: hear(run, " %c", type); break;
    }
}

static void hear_start(struct fake_run *run, const char *body, size_t len) {
    hear(run, " start %u", get_u32(body));
    for (size_t at = 4; at < len && body[at] != '\0'; at += strlen(body + at) + 1) {
        hear(run, " %s", body + at);
    }
}

/* Whole messages of what the client has sent become words in `heard`. */
static void hear_all(struct fake_run *run) {
    size_t at = 0;
    for (;;) {
        size_t head = run->started ? 1 : 0, left = run->sent_len - at;
        if (left < head + 4) {
            break;
        }
        uint32_t length = get_u32(run->sent + at + head);
        if (length < 4 || left < head + length) {
            break;
        }
        if (run->started) {
            hear_message(run, run->sent[at], run->sent + at + 5, length - 4);
        } else {
            hear_start(run, run->sent + at + 4, length - 4);
        }
        run->started = true;
        at += head + length;
    }
    memmove(run->sent, run->sent + at, run->sent_len - at);
    run->sent_len -= at;
}

void fake_output(struct fake_run *run, struct chain *chain) {
    for (const struct block *block = chain->head; block != NULL; block = block->next) {
        size_t n = block->len - block->start;
        if (run->sent_len + n > run->sent_room) {
            run->sent_room = 2 * (run->sent_len + n);
            run->sent = realloc(run->sent, run->sent_room);
            if (run->sent == NULL) {
                abort();
            }
        }
        memcpy(run->sent + run->sent_len, block->data + block->start, n);
        run->sent_len += n;
    }
    chain_consume(chain, chain->bytes);
    if (run->sent_len > 0) {
        hear_all(run);
    }
}

void fake_ignore_output(struct fake_run *run, struct chain *chain) {
    chain_consume(chain, chain->bytes);
    run->started = true;
}

/* --------------------------------------------------------------------------------------------------------- playing ---- */

static bool differ(struct fake_run *run, const char *what, const char *expected, const char *got) {
    char way[40] = "byte by byte";
    if (!run->bytes) {
        snprintf(way, sizeof way, "cut at %zu", run->cut);
    }
    snprintf(run->why, FAKE_WHY_BYTES, "%s:%d (%s): %s\nexpected:\n%.1500s\ngot:\n%.1500s", run->transcript->file,
             run->line, way, what, expected, got);
    return false;
}

/* A piece in memory of its own. */
static void deliver_piece(struct fake_run *run, const char *bytes, size_t len) {
    char *copy = malloc(len);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, bytes, len);
    run->client->input(run, run->client->arg, span_of(copy, len));
    free(copy);
    run->said += len;
}

static void deliver(struct fake_run *run) {
    size_t at = 0, len = run->say_len;
    run->say_len = 0;
    if (run->bytes) {
        for (; at < len; at++) {
            deliver_piece(run, run->say + at, 1);
        }
        return;
    }
    if (run->cut > run->said && run->cut < run->said + len) {
        at = run->cut - run->said;
        deliver_piece(run, run->say, at);
    }
    if (at < len) {
        deliver_piece(run, run->say + at, len - at);
    }
}

/* The first line of `log` is `text`: it is taken away. */
static bool take_line(char *log, size_t *len, const char *text) {
    char *end = strchr(log, '\n');
    if (end == NULL || (size_t)(end - log) != strlen(text) || memcmp(log, text, strlen(text)) != 0) {
        return false;
    }
    *len -= (size_t)(end + 1 - log);
    memmove(log, end + 1, *len + 1);
    return true;
}

/* What the client has sent must begin with these words. */
static bool take_words(struct fake_run *run, const char *text) {
    size_t n = strlen(text);
    if (run->heard_len < n + 1 || memcmp(run->heard + 1, text, n) != 0 || (run->heard[n + 1] != ' ' && run->heard[n + 1] != 0)) {
        return false;
    }
    run->heard_len -= n + 1;
    memmove(run->heard, run->heard + n + 1, run->heard_len + 1);
    return true;
}

/* What was looked at last was all that has happened. */
static bool quiet(struct fake_run *run) {
    return run->events_len == 0 || differ(run, "more has happened", "", run->events);
}

static bool all_heard(struct fake_run *run) {
    return run->heard_len == 0 || differ(run, "more was sent", "", run->heard);
}

/* A step that is none of the server's. */
static bool act(struct fake_run *run, const char *line) {
    char copy[4096], *words[FAKE_WORDS_MAX];
    snprintf(copy, sizeof copy, "%s", line);
    uint32_t count = split_words(copy, words);
    return run->client->act(run, run->client->arg, words, count) || differ(run, "nobody knows how to", line, "");
}

static bool step(struct fake_run *run, const char *line) {
    size_t len;
    if (line[0] == '<' && line[1] == ' ') {
        if (!fake_say(line + 2, run->say + run->say_len, FAKE_SAY_BYTES - run->say_len, &len)) {
            return differ(run, "no message", line, "");
        }
        run->say_len += len;
        return true;
    }
    deliver(run);
    if (line[0] == '=' && line[1] == ' ') {
        return take_line(run->events, &run->events_len, line + 2) || differ(run, "something else", line + 2, run->events);
    }
    if (line[0] == '>' && line[1] == ' ') {
        return take_words(run, line + 2) || differ(run, "something else was sent", line + 2, run->heard);
    }
    return quiet(run) && act(run, line);
}

/* One line without comment and blanks; false at the end. */
static bool next_line(const char **text, char *line, size_t room) {
    if (**text == '\0') {
        return false;
    }
    size_t n = strcspn(*text, "\n"), len = n < room ? n : room - 1;
    memcpy(line, *text, len);
    line[len] = '\0';
    *text += (*text)[n] == '\n' ? n + 1 : n;
    char *comment = line[0] == '#' ? line : strstr(line, " # ");
    if (comment != NULL) {
        *comment = '\0';
    }
    for (len = strlen(line); len > 0 && isspace((unsigned char)line[len - 1]); len--) {
        line[len - 1] = '\0';
    }
    return true;
}

static bool play(struct fake_run *run) {
    const char *text = run->transcript->text;
    char line[4096];
    run->line = run->transcript->line;
    run->client->open(run, run->client->arg);
    bool right = true;
    for (; right && next_line(&text, line, sizeof line); run->line++) {
        right = line[0] == '\0' || step(run, line);
    }
    if (right) {
        deliver(run);
        right = quiet(run) && all_heard(run);
    }
    const char *wrong = run->client->close(run, run->client->arg);
    if (right && wrong != NULL) {
        right = differ(run, wrong, "", "");
    }
    return right;
}

static bool play_once(const struct fake_transcript *transcript, const struct fake_client *client, size_t cut, bool bytes,
                      char *say, char *why, size_t *said) {
    static struct fake_run run;
    run = (struct fake_run){ .client = client, .transcript = transcript, .cut = cut, .bytes = bytes, .say = say, .why = why };
    bool right = play(&run);
    *said = run.said;
    free(run.sent);
    return right;
}

bool fake_play(const struct fake_transcript *transcript, const struct fake_client *client, enum fake_way way,
               char why[FAKE_WHY_BYTES]) {
    enum { DENSE = 1500, STRIDE = 997 }; /* of what is long only the beginning is cut at each byte */
    char *say = malloc(FAKE_SAY_BYTES);
    size_t said = 0, ignored;
    if (say == NULL) {
        abort();
    }
    bool right = play_once(transcript, client, 0, way == FAKE_BYTES, say, why, &said);
    for (size_t cut = 1; right && way == FAKE_SPLITS && cut < said; cut += cut < DENSE ? 1 : STRIDE) {
        right = play_once(transcript, client, cut, false, say, why, &ignored);
    }
    free(say);
    return right;
}

/* --------------------------------------------------------------------------------------------------------- loading ---- */

static char *read_text(const char *path) {
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    if (file == NULL || text == NULL || fread(text, 1, (1 << 20) - 1, file) == 0) {
        fprintf(stderr, "%s: can't be read\n", path);
        abort();
    }
    fclose(file);
    return text;
}

/* Cuts the text at its "== NAME" lines. */
static void add_transcripts(struct fake_file *file, const char *path, char *text) {
    int line = 1;
    for (char *at = text; at != NULL && *at != '\0';) {
        char *end = strchr(at, '\n');
        if (strncmp(at, "== ", 3) == 0 && end != NULL) {
            if (file->count == FAKE_TRANSCRIPTS_MAX) {
                abort();
            }
            *at = '\0'; /* the end of the one before */
            *end = '\0';
            file->transcripts[file->count++] = (struct fake_transcript){ at + 3, end + 1, path, line + 1 };
        }
        line++;
        at = end != NULL ? end + 1 : NULL;
    }
}

static int is_transcript(const struct dirent *entry) {
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

void fake_load(struct fake_file *file, const char *folder) {
    struct dirent **entries;
    int count = scandir(folder, &entries, is_transcript, alphasort);
    if (count <= 0) {
        fprintf(stderr, "%s: no transcripts\n", folder);
        abort();
    }
    for (int i = 0; i < count; i++) {
        char *path = malloc(strlen(folder) + strlen(entries[i]->d_name) + 2);
        if (path == NULL) {
            abort();
        }
        sprintf(path, "%s/%s", folder, entries[i]->d_name);
        add_transcripts(file, path, read_text(path));
        free(entries[i]);
    }
    free(entries);
}
