/* pg_client where libpq is not installed. */
#include <stdio.h>

#include "pg_client.h"

int pg_client_libpq(struct pg_client_run *run) {
    (void)run;
    fputs("pg_client: built without libpq\n", stderr);
    return 69;
}
