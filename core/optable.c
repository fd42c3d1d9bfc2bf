/* The op table: one row per op of oplist.h, joined with the rule that its file in core/ops/
 * defines. */
#include "core/tape.h"

#define GQ_RULE(id, name, lo, hi, out, save, flags, doc) extern const gq_op_rule gq__rule_##id;
GQ_OPS(GQ_RULE)
#undef GQ_RULE

const gq_op_info gq_op_table[GQ_OP_COUNT] = {
#define GQ_ROW(id, name, lo, hi, out, save, flags, doc) \
    [GQ_OP_##id] = {name, doc, lo, hi, out, save, flags, &gq__rule_##id},
    GQ_OPS(GQ_ROW)
#undef GQ_ROW
};
