/* bench_profile.h - where the time of a step goes, op by op, and how far each op is from its roof.
 *
 * Nodes of the recorded passes are grouped by op, direction, parameter (numbers as *) and sizes. An
 * op's roof is the larger of its FLOPs at the rate of fused multiply-adds in registers and its
 * bytes at the bandwidth (bytes on the bus) of a triad that no cache holds; operands found in a
 * cache can beat the second. Beside the ops: writing the inputs, the gradient norm, AdamW, and what
 * lies between the ops.
 *
 * Life: begin, then a step and bench_profile_add() as often as wished, then the reports, then free.
 */
#ifndef GIFQA_TOOLS_BENCH_PROFILE_H
#define GIFQA_TOOLS_BENCH_PROFILE_H

#include <jansson.h>

#include "train/step.h"

typedef struct bench_profile bench_profile;

enum { BENCH_NAME = 96 };

/* Of the machine, a second; 0: unknown. Of a GPU: large matrix products, and a copy. */
typedef struct bench_roof { double gflops, gbytes; bool gpu; } bench_roof;

/* The row a node belongs to: "linear gpt2.h.*.mlp.fc1.w", "512x3072x768". */
void      bench_profile_name(const gq_tape *t, const gq_node *n, char what[BENCH_NAME], char sizes[BENCH_NAME]);

gq_status bench_profile_begin(const gq_step *s, bench_profile **out, gq_error *err);
/* After a step that took `seconds`. */
gq_status bench_profile_add(bench_profile *p, double seconds, gq_error *err);
void      bench_profile_free(bench_profile *p);              /* NULL allowed                      */

/* A Markdown table, rows of less than 0.5 % of the step together in one. */
void      bench_profile_print(const bench_profile *p, bench_roof roof);
/* All rows; NULL: memory. */
json_t   *bench_profile_json(const bench_profile *p, bench_roof roof);
/* The last step as Chrome trace events (chrome://tracing, Perfetto). */
gq_status bench_profile_trace(const bench_profile *p, const char *path, gq_error *err);

#endif
