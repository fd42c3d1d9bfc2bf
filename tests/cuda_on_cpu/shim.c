/* shim.c - the machine that runs CUDA kernels on the host (shim.h): does it do what a GPU does, and does it tell when a
 * kernel is wrong? */
#include "tests/cuda_on_cpu/shim_kernels.h"
#include "tests/support.h"

static void test_barriers(void **state)
{
    float x[512], out[2];
    (void)state;
    for (int i = 0; i < 512; i++)
        x[i] = (float)i;
    for (unsigned seed = 0; seed < 8; seed++) {
        gq_shim_order(seed);
        assert_int_equal(shim_block_sums(x, 2, 0, out), 0);
        assert_true(out[0] == 32640.0f && out[1] == 98176.0f);
    }
    for (int without = 1; without <= 2; without++) {
        int found = 0;
        for (unsigned seed = 0; seed < 8; seed++) {
            gq_shim_order(seed);
            assert_int_equal(shim_block_sums(x, 2, without, out), 0);
            found += out[0] != 32640.0f || out[1] != 98176.0f;
        }
        assert_true(found >= 6);
    }
    gq_shim_order(0);
    printf("%.1f ns a switch\n", shim_nanoseconds_a_switch());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_barriers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
