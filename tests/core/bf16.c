/* bf16.c - conversion to and from bfloat16, against its definition in double. */
#include "core/bf16.h"

#include <math.h>

#include "support.h"

static float of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* What 8 exponent and 7 fraction bits mean. */
static double meaning(uint16_t h)
{
    int    exponent = h >> 7 & 0xff, fraction = h & 0x7f;
    double size = exponent ? ldexp(128 + fraction, exponent - 134) : ldexp(fraction, -133);
    return h >> 15 ? -size : size;
}

static void every_bfloat16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = gq_bf16_to_f32((uint16_t)h);
        if ((h & 0x7f80) == 0x7f80) {                         /* infinity, or NaN that stays one */
            assert_true(h & 0x7f ? isnan(f) : isinf(f) && (f < 0) == (h >> 15));
            assert_true(h & 0x7f ? isnan(gq_bf16_to_f32(gq_f32_to_bf16(f))) : gq_f32_to_bf16(f) == h);
            continue;
        }
        assert_true((double)f == meaning((uint16_t)h));
        assert_int_equal(gq_f32_to_bf16(f), h);
    }
}

/* Between two neighbours: the nearer one, at the middle the even one; beyond the largest, infinity. */
static void every_interval(void **state)
{
    static const uint32_t inside[] = {1, 0x1234, 0x7fff, 0x8000, 0x8001, 0xedcb, 0xffff};
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++)
        for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
            uint32_t want = inside[i] < 0x8000 ? h : inside[i] > 0x8000 ? h + 1 : h + (h & 1);
            assert_int_equal(gq_f32_to_bf16(of_bits(h << 16 | inside[i])), want);
            assert_int_equal(gq_f32_to_bf16(-of_bits(h << 16 | inside[i])), want | 0x8000);
        }
}

static void nan_without_upper_bits(void **state)
{
    (void)state;
    assert_true(isnan(gq_bf16_to_f32(gq_f32_to_bf16(of_bits(0x7f800001)))));
    assert_true(isnan(gq_bf16_to_f32(gq_f32_to_bf16(of_bits(0xffffffff)))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bfloat16),
        cmocka_unit_test(every_interval),
        cmocka_unit_test(nan_without_upper_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
