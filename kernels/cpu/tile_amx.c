/* tile_amx.c - the register tile of AMX: 2 x 2 accumulators of 16 x 16, fewer where C ends. */
#include "kernels/cpu/tile.h"

#ifdef GQ_AMX

enum { SIDE = 16, ROW_BYTES = 64 };

/* All eight tiles: 16 rows of 64 bytes, which are 16 floats or 16 pairs. */
static const struct {
    uint8_t  palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
} layout = {.palette = 1,
            .row_bytes = {ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES,
                          ROW_BYTES, ROW_BYTES},
            .rows = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE}};

void tile_amx_begin(void) { _tile_loadconfig(&layout); }
void tile_amx_end(void) { _tile_release(); }

/* c = sum (+ init) (+ bias) where the tile is inside C */
static void finish(const tile_job *t, const float *sum)
{
    for (int64_t j = 0; j < t->cols; j += VL) {
        int64_t n = t->cols - j < VL ? t->cols - j : VL;
        vf      bias = t->bias ? vload_n(t->bias + j, n) : (vf){0};
        for (int i = 0; i < t->hi; i++) {
            vf x = vload(sum + i * NR + j);
            if (t->init)
                x += vload_n(t->init + i * t->ldi + j, n);
            if (t->bias)
                x += bias;
            vstore_n(t->c + i * t->ldc + j, x, n);
        }
    }
}

/* mt x nt accumulators: constants after inlining. Tiles 0..3 sum, 4 and 5 hold A, 6 and 7 B. */
GQ_INLINE void tile_run(const tile_job *t, int mt, int nt)
{
    _Alignas(64) float sum[AMX_ROWS * NR];
    const float *a = t->a, *b = t->b;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < t->k; k += AMX_PAIRS) {
        _tile_loadd(6, b, NR * sizeof(float));
        _tile_loadd(4, a, ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        if (nt > 1) {
            _tile_loadd(7, b + SIDE, NR * sizeof(float));
            _tile_dpbf16ps(1, 4, 7);
        }
        if (mt > 1) {
            _tile_loadd(5, a + SIDE * AMX_PAIRS, ROW_BYTES);
            _tile_dpbf16ps(2, 5, 6);
            if (nt > 1)
                _tile_dpbf16ps(3, 5, 7);
        }
        a += AMX_ROWS * AMX_PAIRS;
        b += NR * AMX_PAIRS;
    }
    _tile_stored(0, sum, NR * sizeof(float));
    if (nt > 1)
        _tile_stored(1, sum + SIDE, NR * sizeof(float));
    if (mt > 1) {
        _tile_stored(2, sum + SIDE * NR, NR * sizeof(float));
        if (nt > 1)
            _tile_stored(3, sum + SIDE * NR + SIDE, NR * sizeof(float));
    }
    finish(t, sum);
}

void tile_amx(const tile_job *t)
{
    if (t->hi > SIDE) {
        if (t->cols > SIDE)
            tile_run(t, 2, 2);
        else
            tile_run(t, 2, 1);
    } else {
        if (t->cols > SIDE)
            tile_run(t, 1, 2);
        else
            tile_run(t, 1, 1);
    }
}

#endif
