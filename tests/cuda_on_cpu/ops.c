/* ops.c - every op of the CUDA column against the reference and against the formulas, in float and in
 * bfloat16: check.h says how. On the machine of shim.h kernels mostly work in the guarded buffers
 * themselves, where ASan sees every read; on a GPU, and in one run of each case here, in device memory.
 */
#include "tests/cuda_on_cpu/column.h"
#include "tests/ops/check.h"

static void other_order(int i)
{
    column_order((unsigned)i);
#ifndef GQ_TEST_ON_GPU
    in_device_memory = i == 1;
#endif
}

/* ---- cases beyond those of ops.h ------------------------------------------------------------- */

/* Rows of whole 16-byte pieces (at shift 0 wide accesses, at shift 1 one element at a time), more rows
 * than blocks of a grid share evenly, rows that are longer than a block holds. */
#define WIDE(op)                                                                                   \
    static bool op##_wide(int i, op_case *c)                                                       \
    {                                                                                              \
        if (i >= COUNT(op##_wide_shapes))                                                          \
            return false;                                                                          \
        op##_of(&op##_wide_shapes[i], c);                                                          \
        return true;                                                                               \
    }

static const linear_shape linear_wide_shapes[] = {
    {37, 64, 128, GQ_GELU_TANH, 1, 1, 1}, {8, 768, 96, GQ_NONE, 1, 0, 1}, {130, 128, 72, GQ_QUICK_GELU, 0, 0, 1},
    {3, 64, 1408, GQ_GELU, 1, 1, 1},      {300, 8, 64, GQ_NONE, 1, 1, 1}, {5, 64, 4104, GQ_GELU_TANH, 1, 0, 1},
};
static const patch_embed_shape patch_embed_wide_shapes[] = {{2, 32, 16, 64, 1, 1}, {1, 16, 8, 128, 0, 0}};
static const embed_shape embed_wide_shapes[] = {{3, 40, 50, 64, 1}, {2, 9, 5, 768, 0}, {1, 3, 7, 4104, 1}};
static const layernorm_shape layernorm_wide_shapes[] = {
    {1600, 8, 1, 1e-5f, FILL_NORMAL, 0}, {33, 64, 0, 1e-5f, FILL_EQUAL_ROWS, 0}, {13, 768, 1, 1e-5f, FILL_NORMAL, 0},
    {3, 1024, 1, 1e-5f, FILL_NORMAL, 0}, {5, 1408, 1, 1e-5f, FILL_FAR, 0},       {2, 4104, 0, 1e-5f, FILL_NORMAL, 0},
    {2, 2051, 1, 1e-5f, FILL_NORMAL, 0}, {1600, 8, 0, 1e-6f, FILL_NORMAL, 1},    {13, 768, 0, 1e-6f, FILL_FAR, 1},
    {3, 1024, 1, 1e-6f, FILL_NORMAL, 1}, {2, 2051, 0, 1e-6f, FILL_NORMAL, 1},    {2, 4104, 0, 1e-6f, FILL_NORMAL, 1},
};
static const add_norm_shape add_norm_wide_shapes[] = {
    {1600, 8, 1, 3, 0}, {13, 768, 1, 3, 0}, {3, 768, 0, 1, 0}, {5, 1408, 1, 3, 0}, {2, 4104, 1, 2, 0},
    {1600, 8, 0, 3, 1}, {13, 768, 0, 3, 1}, {3, 1024, 0, 1, 1}, {3, 2051, 0, 2, 1}, {2, 4104, 0, 3, 1},
};
static const sdpa_shape sdpa_wide_shapes[] = {
    {1, 1, 70, 0, 64, GQ_MASK_CAUSAL, 0, 0, 0, 0, 1, 0, 0, 0}, {1, 2, 8, 50, 64, GQ_MASK_NONE, 51, 0, 0, 0.1f, 1, 0, 0, 0},
    /* the table of T5, more queries and keys than a block of its gradient has, the largest table */
    {1, 3, 40, 0, 96, GQ_MASK_NONE, 41, 0, 0, 0, 1, BOTH, 32, 128},
    {2, 1, 66, 270, 4, GQ_MASK_NONE, 271, 0, 0, 0, 1, LAST, 32, 128},
    {1, 1, 130, 0, 4, GQ_MASK_NONE, 0, 1, 0, 0.1f, 1, BOTH, 128, 100},
};
static const glu_shape glu_wide_shapes[] = {
    {3, 2048, GQ_GELU_TANH}, {2, 2051, GQ_GELU}, {33, 64, GQ_GELU_TANH}, {2, 4104, GQ_QUICK_GELU}, {5, 12, GQ_RELU},
};
static const scale_shape scale_wide_shapes[] = {{33, 768, 0.0360843918f}, {3, 4104, -2.0f}, {1, 2051, 0.5f}};
static const dropout_shape dropout_wide_shapes[] = {{33, 768, 0.1f}, {3, 4104, 0.5f}};
static const mask_rows_shape mask_rows_wide_shapes[] = {
    {5, 41, 64, 0, FILL_BITS}, {1, 9, 1408, 0, FILL_NORMAL}, {2, 5, 768, 1, FILL_NORMAL}, {1, 3, 4104, 0, FILL_BITS},
};
static const gather_rows_shape gather_rows_wide_shapes[] = {{67, 64, 11, 13}, {9, 768, 5, 7}, {3, 4104, 2, 5}};
static const concat_rows_shape concat_rows_wide_shapes[] = {{9, 40, 32, 64}, {3, 5, 7, 768}, {1, 2, 1, 4104}};
static const expand_rows_shape expand_rows_wide_shapes[] = {{9, 32, 64, 1}, {5, 3, 768, 0}, {130, 1, 128, 1},
                                                            {3, 2, 4104, 0}};
static const lm_loss_shape lm_loss_wide_shapes[] = {
    {9, 64, 264, 12, FILL_NORMAL}, {3, 768, 72, 5, FILL_NORMAL}, {40, 16, 40, 140, FILL_NORMAL},
    {2, 8, 4104, 3, FILL_NORMAL},
};
static const mvm_loss_shape mvm_loss_wide_shapes[] = {
    {300, 64, GQ_MVM_COS, FILL_NORMAL, FILL_BITS},    {33, 768, GQ_MVM_SSE, FILL_NORMAL, FILL_NORMAL},
    {9, 1408, GQ_MVM_COS, FILL_TINY_ROWS, FILL_BITS}, {3, 4104, GQ_MVM_MSE, FILL_NORMAL, FILL_BITS},
};
static const kv_append_shape kv_append_wide_shapes[] = {{3, 2, 9, 64, 8, FILL_INDEX}, {2, 3, 5, 768, 5, FILL_LAST}};
WIDE(linear) WIDE(patch_embed) WIDE(embed) WIDE(layernorm) WIDE(add_norm) WIDE(sdpa) WIDE(glu) WIDE(scale)
WIDE(dropout) WIDE(mask_rows) WIDE(gather_rows) WIDE(concat_rows) WIDE(expand_rows) WIDE(lm_loss) WIDE(mvm_loss)
WIDE(kv_append)

static bool (*const wide[GQ_OP_COUNT])(int, op_case *) = {
    [GQ_OP_LINEAR] = linear_wide,           [GQ_OP_PATCH_EMBED] = patch_embed_wide, [GQ_OP_EMBED] = embed_wide,
    [GQ_OP_LAYERNORM] = layernorm_wide,     [GQ_OP_ADD_NORM] = add_norm_wide,       [GQ_OP_SDPA] = sdpa_wide,
    [GQ_OP_GLU] = glu_wide,                 [GQ_OP_SCALE] = scale_wide,
    [GQ_OP_DROPOUT] = dropout_wide,         [GQ_OP_MASK_ROWS] = mask_rows_wide,     [GQ_OP_LM_LOSS] = lm_loss_wide,
    [GQ_OP_GATHER_ROWS] = gather_rows_wide, [GQ_OP_CONCAT_ROWS] = concat_rows_wide, [GQ_OP_MVM_LOSS] = mvm_loss_wide,
    [GQ_OP_EXPAND_ROWS] = expand_rows_wide, [GQ_OP_KV_APPEND] = kv_append_wide,
};

static bool next_cuda_case(gq_op op, int i, op_case *c)
{
    int first = 0;
    while (next_case(op, first, c))
        first++;
    return i < first ? next_case(op, i, c) : wide[op] && case_of(op, wide[op], "wide case", i - first, c);
}

/* ---- the tests ------------------------------------------------------------------------------- */

/* Kernels of cuBLASLt for sm_90 round a bfloat16 product before they add it to what is there (seen: nvjet, tiles of
 * 64 x 8); the host's stand-in does not. */
#ifdef GQ_TEST_ON_GPU
#define ADDED BF16_ERROR
#else
#define ADDED 0
#endif

static void test_op(void **state)
{
    gq_op op = (gq_op)(intptr_t)*state;
    const gq_backend    *be[2];
    const gq_op_kernels *k;
    contender            column[2];
    need_column(be);
    for (int bf16 = 0; bf16 < 2; bf16++)
        column[bf16] = (contender){.be = be[bf16], .unit = 0x1p-24, .intermediate = bf16 ? BF16_ERROR : 0,
                                   .added = bf16 ? ADDED : 0, .turn = other_order};
    k = &be[0]->ops[op];
    if (!k->fwd || (!k->bwd && !(op_flags[op] & GQ_OP_NOGRAD)))
        fail_msg("op '%s' has no CUDA kernel", op_names[op]);
    check_op(op, column, 2, next_cuda_case);
}

int main(int argc, char **argv)          /* [OP]: this one alone                                   */
{
    struct CMUnitTest group[GQ_OP_COUNT];
    RUN_PER_OP(group, test_op);
#ifdef GQ_TEST_ON_GPU
    in_device_memory = true;
#endif
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("cuda ops", group, NULL, NULL);
}
