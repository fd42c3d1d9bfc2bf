/* backend.cu - the column of the op table: gq_backend_cuda(). */
#include "kernels/cuda/cuda.h"

enum { GQ_CUDA_DEVICES = 16 };

static void fill_column(gq_backend *b)
{
    static const struct { gq_op op; gq_op_kernels k; } column[] = {
#define ROW(ID, op) {GQ_OP_##ID, {gq_cuda_##op##_fwd, gq_cuda_##op##_bwd, gq_cuda_##op##_temp}}
        ROW(LINEAR, linear), ROW(PATCH_EMBED, patch_embed), ROW(EMBED, embed), ROW(LAYERNORM, layernorm),
        ROW(ADD_NORM, add_norm), ROW(SDPA, sdpa), ROW(DROPOUT, dropout), ROW(MASK_ROWS, mask_rows),
        ROW(GATHER_ROWS, gather_rows), ROW(CONCAT_ROWS, concat_rows), ROW(EXPAND_ROWS, expand_rows),
        ROW(LM_LOSS, lm_loss), ROW(MVM_LOSS, mvm_loss), ROW(COMBINE, combine),
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
