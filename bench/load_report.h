/* What a load found, as JSON for scripts and in words for people.
 * Depends on: load_run.h. */
#ifndef RM_BENCH_LOAD_REPORT_H
#define RM_BENCH_LOAD_REPORT_H

#include <stdio.h>

#include "load_run.h"

void load_report_json(FILE *out, const struct load_options *options, const struct load_result *result);
void load_report_text(FILE *out, const struct load_options *options, const struct load_result *result);

#endif
