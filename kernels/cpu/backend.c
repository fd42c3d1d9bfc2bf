/* backend.c - the object of one rung: gq_backend_cpu_scalar, gq_backend_cpu_avx2, ... */
#include "kernels/cpu/backend.h"

#include "kernels/cpu/cpu.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

#define OTHER_OPS                                                                                  \
    [GQ_OP_PATCH_EMBED] = {CPU(patch_embed_fwd), CPU(patch_embed_bwd), CPU(patch_embed_temp)},     \
    [GQ_OP_EMBED]       = {CPU(embed_fwd), CPU(embed_bwd), NULL},                                  \
    [GQ_OP_LAYERNORM]   = {CPU(layernorm_fwd), CPU(layernorm_bwd), CPU(norm_temp)},                \
    [GQ_OP_ADD_NORM]    = {CPU(add_norm_fwd), CPU(add_norm_bwd), CPU(norm_temp)},                  \
    [GQ_OP_SDPA]        = {CPU(sdpa_fwd), CPU(sdpa_bwd), CPU(sdpa_temp)},                          \
    [GQ_OP_GLU]         = {CPU(glu_fwd), CPU(glu_bwd), NULL},                                      \
    [GQ_OP_SCALE]       = {CPU(scale_fwd), CPU(scale_bwd), NULL},                                  \
    [GQ_OP_DROPOUT]     = {CPU(dropout_fwd), CPU(dropout_bwd), NULL},                              \
    [GQ_OP_MASK_ROWS]   = {CPU(mask_rows_fwd), CPU(mask_rows_bwd), NULL},                          \
    [GQ_OP_GATHER_ROWS] = {CPU(gather_rows_fwd), CPU(gather_rows_bwd), NULL},                      \
    [GQ_OP_CONCAT_ROWS] = {CPU(concat_rows_fwd), CPU(concat_rows_bwd), NULL},                      \
    [GQ_OP_EXPAND_ROWS] = {CPU(expand_rows_fwd), CPU(expand_rows_bwd), NULL},                      \
    [GQ_OP_LM_LOSS]     = {CPU(lm_loss_fwd), CPU(lm_loss_bwd), CPU(lm_loss_temp)},                 \
    [GQ_OP_MVM_LOSS]    = {CPU(mvm_loss_fwd), CPU(mvm_loss_bwd), CPU(mvm_loss_temp)},              \
    [GQ_OP_COMBINE]     = {CPU(combine_fwd), CPU(combine_bwd), NULL},                              \
    [GQ_OP_KV_APPEND]   = {CPU(kv_append_fwd), NULL, NULL},

const gq_backend GQ_NAME(gq_backend_cpu) = {
    .name = "cpu-" TEXT(GQ_RUNG),
    .real = GQ_F32,
    .stat = GQ_F32,
    .ops = {[GQ_OP_LINEAR] = {CPU(linear_fwd), CPU(linear_bwd), CPU(linear_temp)}, OTHER_OPS},
    .adamw = CPU(adamw),
    .sumsq = CPU(sumsq),
};

#ifdef GQ_BF16_DOT
const gq_backend GQ_NAME(gq_backend_cpu_pairs) = {
    .name = "cpu-" TEXT(GQ_RUNG) "-operands",
    .real = GQ_F32,
    .stat = GQ_F32,
    .ops = {[GQ_OP_LINEAR] = {CPU(linear_pairs_fwd), CPU(linear_pairs_bwd), CPU(linear_pairs_temp)},
            OTHER_OPS},
    .adamw = CPU(adamw),
    .sumsq = CPU(sumsq),
};
#endif

#ifdef GQ_AMX
const gq_backend GQ_NAME(gq_backend_cpu_amx) = {
    .name = "cpu-amx-operands",
    .real = GQ_F32,
    .stat = GQ_F32,
    .ops = {[GQ_OP_LINEAR] = {CPU(linear_amx_fwd), CPU(linear_amx_bwd), CPU(linear_amx_temp)},
            OTHER_OPS},
    .adamw = CPU(adamw),
    .sumsq = CPU(sumsq),
};
#endif
