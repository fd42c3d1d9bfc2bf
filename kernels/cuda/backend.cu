/* backend.cu - the column of the op table: gq_backend_cuda(). */
#include "kernels/cuda/cuda.h"

enum { GQ_CUDA_DEVICES = 16 };

static void fill_column(gq_backend *b)
{
    static const struct { gq_op op; gq_op_kernels k; } column[] = {
#define ROW(ID, op, temp) {GQ_OP_##ID, {gq_cuda_##op##_fwd, gq_cuda_##op##_bwd, temp}}
        ROW(LINEAR, linear, gq_cuda_linear_temp),
        ROW(PATCH_EMBED, patch_embed, gq_cuda_patch_embed_temp),
        ROW(EMBED, embed, NULL),
        ROW(LAYERNORM, layernorm, gq_cuda_layernorm_temp),
        ROW(ADD_NORM, add_norm, gq_cuda_add_norm_temp),
        ROW(SDPA, sdpa, gq_cuda_sdpa_temp),
        ROW(GLU, glu, NULL),
        ROW(SCALE, scale, NULL),
        ROW(DROPOUT, dropout, NULL),
        ROW(MASK_ROWS, mask_rows, NULL),
        ROW(GATHER_ROWS, gather_rows, NULL),
        ROW(CONCAT_ROWS, concat_rows, NULL),
        ROW(EXPAND_ROWS, expand_rows, NULL),
        ROW(LM_LOSS, lm_loss, gq_cuda_lm_loss_temp),
        ROW(MVM_LOSS, mvm_loss, gq_cuda_mvm_loss_temp),
        ROW(COMBINE, combine, NULL),
#undef ROW
        {GQ_OP_KV_APPEND, {gq_cuda_kv_append_fwd, NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof column / sizeof *column; i++)
        b->ops[column[i].op] = column[i].k;
    b->adamw = gq_cuda_adamw;
    b->sumsq = gq_cuda_sumsq;
    b->update = gq_cuda_update;
    b->update_temp = gq_cuda_update_temp;
}

extern "C" const gq_backend *gq_backend_cuda(int index, int bf16, gq_error *err)
{
    static gq_backend made[GQ_CUDA_DEVICES][2];

    if (index < 0 || index >= GQ_CUDA_DEVICES) {
        gq_fail(err, GQ_EUSAGE, "no GPU %d: they are numbered 0 to %d", index, GQ_CUDA_DEVICES - 1);
        return NULL;
    }
    gq_backend *b = &made[index][bf16 != 0];
    if (b->name)
        return b;
    b->device = gq_cuda_open(index, err);
    if (!b->device)
        return NULL;
    b->real = bf16 ? GQ_BF16 : GQ_F32;
    b->stat = GQ_F32;
    fill_column(b);
    b->name = bf16 ? "cuda-bf16" : "cuda-fp32";
    return b;
}
