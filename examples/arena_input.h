/* JSON bodies: an object is read into a worker's own memory, and its members are asked for one by one; the first that is
 * missing or of another type is what the client is told.
 *
 * Each worker has its own input; what is read is valid until the next input_read. */
#ifndef ARENA_INPUT_H
#define ARENA_INPUT_H

#include <ringmain.h>

enum { INPUT_BYTES_MAX = 16384 };

struct input;

/* NULL when there is no memory. For a worker's life; input_close gives it back (NULL: nothing). */
struct input *input_open(void);
void input_close(struct input *input);

/* Reads a body, which must be an object. RFC 8259; of members with the same name the first one counts. */
void input_read(struct input *input, struct span body);

/* What is wrong with it, a line that names the member; NULL: nothing so far. */
const char *input_why(const struct input *input);

/* Members, or what `missing` says, which is NULL for those that must be there. What is wrong is 0, an empty text, and so on.
 * Texts hold no NUL, which Postgres could not store; input_strings is an array of them, as JSON again. */
int64_t input_integer(struct input *input, const char *name, int64_t min, int64_t max, const int64_t *missing);
double input_number(struct input *input, const char *name, const double *missing);
bool input_boolean(struct input *input, const char *name, const bool *missing);
struct span input_string(struct input *input, const char *name, const struct span *missing);
struct span input_strings(struct input *input, const char *name, const struct span *missing);

/* From here on members are those of this one, which is an object, or missing, and then they all are. */
void input_enter(struct input *input, const char *name);

#endif
