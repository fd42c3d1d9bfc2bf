/* The vector loops against the loops that say what they do, at every small size, in memory that
 * ends where the data end. */
#include "support.h"

#include "core/mem.h"
#include "core/philox.h"
#include "data/pixels.h"

static uint32_t draws;

static uint32_t chance(uint32_t below)
{
    return gq_philox_at(3, draws++, GQ_RNG_TEST, 0) % below;
}

static uint8_t *random_bytes(size_t n)
{
    uint8_t *p = gq_malloc(n ? n : 1, 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)chance(256);
    return p;
}

/* Sums of |w| stay below 2^23, as those of the filter do. */
static void random_weights(int32_t *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        w[i] = (int32_t)chance((1 << 23) / n) - (1 << 21) / (int32_t)n;
}

static uint8_t blended(const uint8_t *from, size_t stride, const int32_t *w, uint32_t used)
{
    int64_t sum = 1 << (GQ_PIXELS_FRACTION - 1);
    for (uint32_t i = 0; i < used; i++)
        sum += (int64_t)from[i * stride] * w[i];
    sum >>= GQ_PIXELS_FRACTION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void rows_blend_at_every_length(void **state)
{
    (void)state;
    int32_t w[9];
    for (size_t n = 1; n < 3 * GQ_PIXELS_LANES + 3; n++) {
        uint32_t used = 1 + chance(9);
        uint8_t *rows = random_bytes(used * n), *out = random_bytes(n);
        random_weights(w, used);
        if (n % 3 == 0)
            memset(rows, n % 2 ? 255 : 0, used * n);
        gq_pixels_blend_row(rows, w, used, n, out);
        for (size_t x = 0; x < n; x++)
            if (out[x] != blended(rows + x, n, w, used))
                fail_msg("column %zu of %zu: %u, want %u", x, n, out[x],
                         blended(rows + x, n, w, used));
        gq_free(rows);
        gq_free(out);
    }
}

static void columns_blend_as_their_weights_say(void **state)
{
    (void)state;
    enum { PIXEL = 3 * GQ_PIXELS_LANES, COUNT = 7, TAPS = 6, FIRST = 11, INPUTS = 20 };
    for (int again = 0; again < 20; again++) {
        uint32_t   start[COUNT], used[COUNT];
        int32_t    weight[COUNT * TAPS];
        gq_weights w = {COUNT, TAPS, start, used, weight};
        uint8_t   *in = random_bytes(INPUTS * PIXEL), *out = random_bytes(COUNT * PIXEL);
        for (int k = 0; k < COUNT; k++) {
            used[k] = 1 + chance(TAPS);
            start[k] = FIRST + chance(INPUTS - used[k] + 1);
            random_weights(weight + k * TAPS, TAPS);
        }
        gq_pixels_blend_columns(in, &w, FIRST, out);
        for (int i = 0; i < COUNT * PIXEL; i++) {
            int k = i / PIXEL;
            assert_int_equal(out[i],
                             blended(in + (start[k] - FIRST) * PIXEL + i % PIXEL, PIXEL,
                                     weight + k * TAPS, used[k]));
        }
        gq_free(in);
        gq_free(out);
    }
}

static void turning_moves_every_byte_and_no_other(void **state)
{
    (void)state;
    for (size_t rows = 0; rows < 40; rows += 1 + rows / 20)
        for (size_t cols = 0; cols < 70; cols += 1 + cols / 20) {
            size_t   wide = cols + chance(5), high = rows + chance(5);
            uint8_t *from = random_bytes(rows * wide), *to = random_bytes(cols * high);
            uint8_t *want = random_bytes(cols * high);
            memcpy(want, to, cols * high);
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < cols; c++)
                    want[c * high + r] = from[r * wide + c];
            gq_pixels_turn(from, wide, rows, cols, to, high);
            assert_memory_equal(to, want, cols * high);
            gq_free(from);
            gq_free(to);
            gq_free(want);
        }
}

static void drawing_leaves_what_is_transparent(void **state)
{
    (void)state;
    uint32_t color[256], to[67], want[67];
    for (int again = 0; again < 300; again++) {
        size_t   n = chance(67);
        int      transparent = chance(3) ? (int)chance(256) : -1;
        uint8_t *index = random_bytes(n);
        for (int i = 0; i < 256; i++)
            color[i] = i == transparent || chance(9) == 0 ? 0 : 1 + chance(UINT32_MAX);
        for (size_t x = 0; x < n; x++) {
            if (x / 21 % 2)             /* long runs of it, or of the last colour                 */
                index[x] = (uint8_t)transparent;
            want[x] = to[x] = chance(UINT32_MAX);
            if (color[index[x]])
                want[x] = color[index[x]];
        }
        gq_pixels_draw(to, index, color, transparent, n);
        assert_memory_equal(to, want, n * sizeof *to);
        gq_free(index);
    }
}

static void matte_shows_where_alpha_is_zero(void **state)
{
    (void)state;
    static const uint8_t matte[3] = {250, 3, 128};
    for (size_t n = 0; n < 60; n++) {
        uint8_t *rgba = random_bytes(4 * n), *rgb = random_bytes(3 * n);
        for (size_t i = 0; i < n; i++)
            if (chance(3) == 0)
                memset(rgba + 4 * i, 0, 4);
        gq_pixels_over(rgba, n, matte, rgb);
        for (size_t i = 0; i < n; i++)
            assert_memory_equal(rgb + 3 * i, rgba[4 * i + 3] ? rgba + 4 * i : matte, 3);
        gq_free(rgba);
        gq_free(rgb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_blend_at_every_length),
        cmocka_unit_test(columns_blend_as_their_weights_say),
        cmocka_unit_test(turning_moves_every_byte_and_no_other),
        cmocka_unit_test(drawing_leaves_what_is_transparent),
        cmocka_unit_test(matte_shows_where_alpha_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
