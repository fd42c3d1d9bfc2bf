/* backend.c - the object gq_backend_ref32 or gq_backend_ref64. */
#include "kernels/ref/ref.h"

#define BACKEND_PASTE(name) gq_backend_##name
#define BACKEND(name) BACKEND_PASTE(name)
#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

const gq_backend BACKEND(GQ_REF_NAME) = {
    .name = TEXT(GQ_REF_NAME),
    .real = sizeof(real) == sizeof(double) ? GQ_F64 : GQ_F32,
    .stat = sizeof(real) == sizeof(double) ? GQ_F64 : GQ_F32,
    .ops = {
        [GQ_OP_LINEAR]      = {REF(linear_fwd), REF(linear_bwd), REF(linear_temp)},
        [GQ_OP_PATCH_EMBED] = {REF(patch_embed_fwd), REF(patch_embed_bwd), NULL},
        [GQ_OP_EMBED]       = {REF(embed_fwd), REF(embed_bwd), REF(embed_temp)},
        [GQ_OP_LAYERNORM]   = {REF(layernorm_fwd), REF(layernorm_bwd), NULL},
        [GQ_OP_ADD_NORM]    = {REF(add_norm_fwd), REF(add_norm_bwd), NULL},
        [GQ_OP_SDPA]        = {REF(sdpa_fwd), REF(sdpa_bwd), REF(sdpa_temp)},
        [GQ_OP_GLU]         = {REF(glu_fwd), REF(glu_bwd), NULL},
        [GQ_OP_SCALE]       = {REF(scale_fwd), REF(scale_bwd), NULL},
        [GQ_OP_DROPOUT]     = {REF(dropout_fwd), REF(dropout_bwd), NULL},
        [GQ_OP_MASK_ROWS]   = {REF(mask_rows_fwd), REF(mask_rows_bwd), NULL},
        [GQ_OP_GATHER_ROWS] = {REF(gather_rows_fwd), REF(gather_rows_bwd), REF(gather_rows_temp)},
        [GQ_OP_CONCAT_ROWS] = {REF(concat_rows_fwd), REF(concat_rows_bwd), NULL},
        [GQ_OP_EXPAND_ROWS] = {REF(expand_rows_fwd), REF(expand_rows_bwd), NULL},
        [GQ_OP_LM_LOSS]     = {REF(lm_loss_fwd), REF(lm_loss_bwd), REF(lm_loss_temp)},
        [GQ_OP_MVM_LOSS]    = {REF(mvm_loss_fwd), REF(mvm_loss_bwd), NULL},
        [GQ_OP_COMBINE]     = {REF(combine_fwd), REF(combine_bwd), NULL},
        [GQ_OP_KV_APPEND]   = {REF(kv_append_fwd), NULL, NULL},
    },
    .adamw = REF(adamw),
    .sumsq = REF(sumsq),
};
