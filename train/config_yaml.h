/* config_yaml.h - strict YAML into a small tree, private to train/config*.c.
 *
 * Invariants: limits hold while scanning, so that no input up to 1 MiB takes more than milliseconds: 1 MiB, depth 32,
 * 10,000 nodes; anchors, aliases, tags, directives and second documents are refused. Nodes are numbered in document
 * order; a map's children alternate key and value. All text is owned by the tree: gq_yaml_free().
 */
#ifndef GIFQA_TRAIN_CONFIG_YAML_H
#define GIFQA_TRAIN_CONFIG_YAML_H

#include "train/config.h"

enum { GQ_YAML_BYTES = 1 << 20, GQ_YAML_DEPTH = 32, GQ_YAML_NODES = 10000 };

typedef enum gq_yaml_kind { GQ_YAML_SCALAR, GQ_YAML_LIST, GQ_YAML_MAP } gq_yaml_kind;

typedef struct gq_yaml_node {
    gq_yaml_kind kind;
    bool         plain;                 /* a scalar without quotes                                */
    int          line, column;          /* from 1                                                 */
    char        *text;                  /* scalar: no NUL inside                                  */
    int          first, next;        /* node index of the first child, the next sibling; -1: none */
} gq_yaml_node;

typedef struct gq_yaml {
    gq_yaml_node *node;                 /* node 0 is the root                                     */
    int           n, cap;               /* nodes; 0: an empty document                            */
} gq_yaml;

/* On failure line and column (0: unknown) and `why`; `out` holds nothing then. GQ_ECONFIG or GQ_ENOMEM. */
gq_status gq_yaml_read(const char *text, size_t bytes, gq_yaml *out, int *line, int *column, char why[GQ_PROBLEM_TEXT]);
void      gq_yaml_free(gq_yaml *y);

#endif
