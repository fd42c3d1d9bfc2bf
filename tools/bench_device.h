/* bench_device.h - private to gifqa-bench: time on a device, and what it can do at best.
 *
 * A piece of work is captured as often as it takes some milliseconds, so that launching it and waiting
 * for it vanish beside it; the median of several runs of that graph counts. Operands that fit into the
 * device's cache stay there from one repetition to the next.
 */
#ifndef GIFQA_TOOLS_BENCH_DEVICE_H
#define GIFQA_TOOLS_BENCH_DEVICE_H

#include "train/step.h"

/* Starts the work; called often, in the same order of everything else. */
typedef void (*bench_work)(void *ctx);

/* Seconds of one `work`, into *seconds. */
gq_status bench_device_time(gq_device *d, bench_work work, void *ctx, double *seconds, gq_error *err);

/* GB/s, read and written, of copying what no cache holds, by the device's copy or by a kernel, whichever is
 * faster; 0: no room. */
double    bench_device_copy(const gq_backend *b);

/* Times every op of a pass that a step has run, where it stands in the pass: inputs are those of the step.
 * Ops of one kind, name and sizes are timed once. For bench_profile_add(): t is being profiled. */
gq_status bench_device_ops(gq_tape *t, gq_error *err);

/* Seconds of the gradient norm and AdamW of all parameters; weights move as in a step. */
gq_status bench_device_update(gq_params *p, double *seconds, gq_error *err);

#endif
