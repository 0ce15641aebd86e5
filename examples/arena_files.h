/* The route of arena that serves files:
 *
 *     GET /files/{name}     the file of that name in --files DIR, kept for a second; 404 without one
 *
 * Names are made of letters, digits, '.', '_' and '-', and don't begin with a dot. */
#ifndef ARENA_FILES_H
#define ARENA_FILES_H

#include <ringmain.h>

extern const char *files_folder; /* --files; NULL: there are none */
extern const struct rm_cache files_cache;

enum rm_step files_get(struct rm_exchange *x);

#endif
