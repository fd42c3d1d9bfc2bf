/* cli_model.h - options of the programs that open a trained model, and opening it by them.
 *
 * A gq_cli_model starts zeroed; its overrides point into argv.
 */
#ifndef GIFQA_TOOLS_CLI_MODEL_H
#define GIFQA_TOOLS_CLI_MODEL_H

#include "tools/cli.h"
#include "train/session.h"

typedef struct gq_cli_model {
    int64_t     beams, threads;         /* 0: as configured */
    bool        last;
    const char *device;                 /* NULL: as configured */
    gq_cli_list set;                    /* overrides of its configuration */
} gq_cli_model;

/* Rows of an option table; m is a gq_cli_model in static memory. */
#define GQ_CLI_MODEL_BEAMS(m)                                                                      \
    {"beams", 'b', GQ_CLI_INT, &(m).beams, "N",                                                    \
     "beam search; 1 is greedy (default: decode.beams of the run)", 1, 64}
#define GQ_CLI_MODEL_REST(m)                                                                       \
    {"last", 0, GQ_CLI_FLAG, &(m).last, NULL, "the newest checkpoint of a run, not the best", 0,   \
     0},                                                                                           \
    {"set", 's', GQ_CLI_LIST, &(m).set, "KEY=V", "overrides a key of its config.yaml", 0, 0},      \
    GQ_CLI_DEVICE((m).device),                                                                     \
    {"threads", 0, GQ_CLI_INT, &(m).threads, "N", "threads (default: all cores)", 1, 256}

/* Opens a run or an export as the options say, $GIFQA_CPU included. */
gq_status gq_cli_open_model(const gq_cli_model *m, const char *path, gq_session **out, gq_error *err);

#endif
