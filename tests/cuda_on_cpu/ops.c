/* ops.c - every op of the CUDA column on the machine of shim.h, against the reference and against the
 * formulas, in float and in bfloat16: check.h says how.
 */
#include "tests/cuda_on_cpu/shim_api.h"
#include "tests/ops/check.h"

static contender column[2];              /* cuda-fp32, cuda-bf16                                  */

static void other_order(int i) { gq_shim_order((unsigned)i); }

static void test_op(void **state)
{
    gq_op op = (gq_op)(intptr_t)*state;
    const gq_op_kernels *k = &column[0].be->ops[op];
    if (!k->fwd || (!k->bwd && !(op_flags[op] & GQ_OP_NOGRAD))) {
        print_message("skipped: op '%s' has no CUDA kernel yet\n", op_names[op]);
        skip();
    }
    check_op(op, column, 2, next_case);
}

int main(int argc, char **argv)          /* [OP]: this one alone                                   */
{
    struct CMUnitTest group[GQ_OP_COUNT];
    gq_error          err = {0};
    RUN_PER_OP(group, test_op);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        column[bf16] = (contender){.be = gq_backend_on_host(bf16, &err), .unit = 0x1p-24,
                                   .intermediate = bf16 ? BF16_ERROR : 0, .turn = other_order};
        if (!column[bf16].be) {
            print_error("%s\n", err.text);
            return 1;
        }
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("cuda ops", group, NULL, NULL);
}
