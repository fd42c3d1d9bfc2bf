/* update.c - the optimiser of the CUDA column against ref64: AdamW on one tensor, the sum of squares, and
 * the update of all parameters that runs without the host.
 *
 * Bounds: what float roundings may do to the formula. With u = 2^-24, m and v are sums of two products of
 * rounded factors (at most 4 u of the sum of their magnitudes); the step is m / c1 / (sqrt(v / c2) + eps)
 * with six more roundings, and what m may be off by carries over; w is off by 3 u and the step's error.
 */
#include "core/bf16.h"
#include "core/mem.h"
#include "core/philox.h"
#include "kernels/kernels.h"
#include "tests/cuda_on_cpu/column.h"

enum { MOST = 3 * 65536 + 4099, PARTS = 300 };

static const double u = 0x1p-24;

/* ---- arenas on both sides -------------------------------------------------------------------- */

/* w is bf16 or float by `real`; master is there or not; all on the host. */
typedef struct arenas {
    int64_t   n;
    int32_t   real;
    bool      master;
    uint16_t *w16;
    float    *w32, *x, *g, *m, *v;      /* x: master                                              */
} arenas;

static void *weights(const arenas *a) { return a->real == GQ_BF16 ? (void *)a->w16 : (void *)a->w32; }
static size_t weight_bytes(const arenas *a) { return a->real == GQ_BF16 ? 2 : 4; }

static void make(arenas *a, int64_t n, int32_t real, bool master)
{
    float **all[] = {&a->w32, &a->x, &a->g, &a->m, &a->v};
    *a = (arenas){.n = n, .real = real, .master = master};
    a->w16 = gq_malloc((size_t)n, sizeof *a->w16);
    for (uint32_t k = 0; k < 5; k++) {
        *all[k] = gq_malloc((size_t)n, sizeof(float));
        for (int64_t i = 0; i < n; i++)
            (*all[k])[i] = gq_normal_at(7, (uint64_t)i, GQ_RNG_TEST + k, 0);
    }
    for (int64_t i = 0; i < n; i++) {
        a->v[i] = a->v[i] * a->v[i];
        a->w16[i] = gq_f32_to_bf16(master ? a->x[i] : a->w32[i]);
        if (master)
            a->w32[i] = a->x[i];
    }
}

static void drop(arenas *a)
{
    void *all[] = {a->w16, a->w32, a->x, a->g, a->m, a->v};
    for (int k = 0; k < 6; k++)
        gq_free(all[k]);
}

static double weight_before(const arenas *a, int64_t i)
{
    return a->master ? a->x[i] : a->real == GQ_BF16 ? gq_bf16_to_f32(a->w16[i]) : a->w32[i];
}

/* The same in device memory, `shift` elements off the alignment an allocation has. */
typedef struct on_device { void *base[5], *w, *x, *g, *m, *v; } on_device;

static void *sent(gq_device *d, void **base, const void *src, int64_t n, size_t size, size_t shift)
{
    *base = d->alloc(d, ((size_t)n + shift) * size);
    assert_non_null(*base);
    d->upload(d, (char *)*base + shift * size, src, (size_t)n * size);
    return (char *)*base + shift * size;
}

static on_device send(gq_device *d, const arenas *a, size_t shift)
{
    on_device o = {.x = NULL};
    o.w = sent(d, &o.base[0], weights(a), a->n, weight_bytes(a), shift);
    o.g = sent(d, &o.base[1], a->g, a->n, 4, shift);
    o.m = sent(d, &o.base[2], a->m, a->n, 4, shift);
    o.v = sent(d, &o.base[3], a->v, a->n, 4, shift);
    if (a->master)
        o.x = sent(d, &o.base[4], a->x, a->n, 4, shift);
    return o;
}

/* What the device has now, into arenas of the same sizes; frees it there. */
static void fetch(gq_device *d, on_device *o, arenas *to)
{
    gq_error err = {0};
    d->download(d, weights(to), o->w, (size_t)to->n * weight_bytes(to));
    d->download(d, to->g, o->g, (size_t)to->n * 4);
    d->download(d, to->m, o->m, (size_t)to->n * 4);
    d->download(d, to->v, o->v, (size_t)to->n * 4);
    if (to->master)
        d->download(d, to->x, o->x, (size_t)to->n * 4);
    for (int k = 0; k < 5; k++)
        d->release(d, o->base[k]);
    assert_ok(d->finish(d, &err), &err);
}

static void assert_same(const arenas *a, const arenas *b, const char *what)
{
    size_t n = (size_t)a->n;
    if (memcmp(weights(a), weights(b), n * weight_bytes(a)) || memcmp(a->m, b->m, n * 4) ||
        memcmp(a->v, b->v, n * 4) || memcmp(a->g, b->g, n * 4) || (a->master && memcmp(a->x, b->x, n * 4)))
        fail_msg("%s: not the same bytes", what);
}

/* Element i after one step of ref64 from `was` with these scalars is what `got` has, within the bound. */
static void check_element(const arenas *was, const arenas *got, int64_t i, const gq_adamw_call *scalars)
{
    gq_adamw_call c = *scalars;
    double        w0 = weight_before(was, i), g = was->g[i], m = was->m[i], v = was->v[i], w = w0;
    double        grad = fabs(g * c.gscale), m_off, v_off, step, root, off, new_w;
    c.w = &w;
    c.g = &g;
    c.m = &m;
    c.v = &v;
    c.n = 1;
    gq_backend_ref64.adamw(&c, NULL);
    m_off = 4 * u * (c.beta1 * fabs((double)was->m[i]) + (1 - c.beta1) * grad);
    v_off = 6 * u * v;
    root = sqrt(v / c.c2) + c.eps;
    step = fabs(m) / c.c1 / root;
    off = 3 * u * fabs(w0) + c.lr * (m_off / c.c1 / root + (6 + 3 + 6) * u * step) +
          c.lr * c.decay * 3 * u * fabs(w0);
    if (fabs((double)got->m[i] - m) > m_off || fabs((double)got->v[i] - v) > v_off)
        fail_msg("element %lld: moments %.9g %.9g, want %.9g %.9g", (long long)i, (double)got->m[i],
                 (double)got->v[i], m, v);
    if (got->master && got->real == GQ_BF16)
        assert_int_equal(got->w16[i], gq_f32_to_bf16(got->x[i]));
    if (got->master && got->real == GQ_F32)
        assert_true(got->w32[i] == got->x[i]);
    new_w = weight_before(got, i);
    if (!got->master && got->real == GQ_BF16)
        off += 0x1p-8 * (fabs(w) + off);
    if (!(fabs(new_w - w) <= off))
        fail_msg("element %lld: weight %.9g, want %.9g, off by %.3g, may be by %.3g", (long long)i, new_w, w,
                 new_w - w, off);
}

static const gq_backend *backend(int bf16)
{
    const gq_backend *be[2];
    need_column(be);
    return be[bf16];
}

/* ---- one tensor ------------------------------------------------------------------------------ */

static void test_adamw(void **state)
{
    static const int64_t sizes[] = {1, 7, 8, 1023, 16384, 16384 + 8, 3 * 16384 + 13};
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int master = 0; master < 2; master++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                const gq_backend *be = backend(bf16);
                gq_work           work = {.device = be->device};
                arenas            was, got[2];
                gq_adamw_call     c = {.n = sizes[s], .lr = 3e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8,
                                       .decay = 0.1, .gscale = 0.7, .c1 = 1 - 0.9 * 0.9 * 0.9,
                                       .c2 = 1 - 0.95 * 0.95 * 0.95, .real = (int32_t)be->real};
                make(&was, sizes[s], c.real, master);
                for (size_t shift = 0; shift < 2; shift++) {
                    on_device o = send(be->device, &was, shift);
                    make(&got[shift], sizes[s], c.real, master);
                    c.w = o.w;
                    c.master = o.x;
                    c.g = o.g;
                    c.m = o.m;
                    c.v = o.v;
                    be->adamw(&c, &work);
                    fetch(be->device, &o, &got[shift]);
                }
                for (int64_t i = 0; i < sizes[s]; i++)
                    check_element(&was, &got[0], i, &c);
                assert_memory_equal(was.g, got[0].g, (size_t)sizes[s] * 4);
                assert_same(&got[0], &got[1], "adamw at another address");
                drop(&was);
                drop(&got[0]);
                drop(&got[1]);
            }
}

/* ---- sum of squares -------------------------------------------------------------------------- */

static void test_sumsq(void **state)
{
    static const int64_t sizes[] = {1, 7, 1023, 65536, MOST};
    const gq_backend    *be = backend(1);
    gq_device           *d = be->device;
    gq_work              work = {.device = d};
    float               *x = gq_malloc(MOST, sizeof *x);
    double              *wide = gq_malloc(MOST, sizeof *wide);
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int64_t n = sizes[s];
        double  got[2], want;
        for (int64_t i = 0; i < n; i++)
            wide[i] = x[i] = gq_normal_at(9, (uint64_t)i, GQ_RNG_TEST, 0);
        want = gq_backend_ref64.sumsq(wide, n, NULL);
        for (size_t shift = 0; shift < 2; shift++) {
            void *base, *p = sent(d, &base, x, n, 4, shift);
            got[shift] = be->sumsq(p, n, &work);
            d->release(d, base);
        }
        assert_true(fabs(got[0] - want) <= (double)n * 0x1p-53 * want);
        assert_true(got[0] == got[1]);
        for (int k = 0; k < 2; k++) {
            void *base, *p;
            x[n / 2] = k ? NAN : INFINITY;
            p = sent(d, &base, x, n, 4, 0);
            assert_false(isfinite(be->sumsq(p, n, &work)));
            d->release(d, base);
        }
    }
    assert_true(be->sumsq(NULL, 0, &work) == 0);
    gq_free(x);
    gq_free(wide);
}

#ifndef GQ_TEST_ON_GPU
static void test_sumsq_without_memory(void **state)
{
    const gq_backend *be = backend(1);
    gq_work           work = {.device = be->device};
    gq_error          err = {0};
    (void)state;
    gq_shim_fail_malloc(1);
    assert_true(isnan(be->sumsq(NULL, 0, &work)));
    gq_shim_fail_malloc(0);
    assert_fails(be->device->finish(be->device, &err), GQ_ENOMEM, &err, "sum of squares");
}
#endif

/* ---- the update ------------------------------------------------------------------------------ */

/* Parts that begin and end anywhere, with gaps between most of them; one is longer than the rest together. */
static int32_t lay_out(gq_update_part *part, int64_t *n)
{
    int64_t at = 3;
    for (int32_t p = 0; p < PARTS; p++) {
        part[p] = (gq_update_part){.first = at, .n = p == 5 ? 2 * 65536 + 21 : 1 + p * 37 % 301,
                                   .lr_mult = p % 3 ? 1.0f : 0.5f, .decay = p % 2 ? 0.1f : 0.0f};
        at += part[p].n + p % 4;
    }
    *n = at + 2;
    assert_true(*n <= MOST);
    return PARTS;
}

static int32_t halted;                  /* what updated() begins with and leaves                  */

/* One update of a copy of `was` on the device; the norm. got has the same shape as was. */
static double updated(const gq_backend *be, const arenas *was, const gq_update_part *part, int32_t parts,
                      const gq_update_scalars *s, size_t shift, arenas *got)
{
    gq_device     *d = be->device;
    on_device      o = send(d, was, shift);
    double         norm = -1;
    int32_t        bad = halted;
    void          *base[4];
    gq_work        work = {.device = d, .temp_bytes = be->update_temp(was->n, parts)};
    gq_update_call c = {.w = o.w, .master = o.x, .g = o.g, .m = o.m, .v = o.v, .n = was->n, .parts = parts,
                        .real = was->real};
    work.temp = d->alloc(d, work.temp_bytes);
    d->fill(d, work.temp, 0xA5, work.temp_bytes);
    c.part = sent(d, &base[0], part, parts, sizeof *part, 0);
    c.scalars = sent(d, &base[1], s, 1, sizeof *s, 0);
    c.norm = sent(d, &base[2], &norm, 1, sizeof norm, 0);
    c.halted = sent(d, &base[3], &bad, 1, sizeof bad, 0);
    be->update(&c, &work);
    d->download(d, &norm, c.norm, sizeof norm);
    d->download(d, &halted, c.halted, sizeof halted);
    for (int k = 0; k < 4; k++)
        d->release(d, base[k]);
    d->release(d, work.temp);
    fetch(d, &o, got);
    return norm;
}

static double norm_of(const arenas *a)
{
    double sum = 0;
    for (int64_t i = 0; i < a->n; i++)
        sum += (double)a->g[i] * a->g[i];
    return sqrt(sum);
}

static void check_update(const arenas *was, const arenas *got, const gq_update_part *part, int32_t parts,
                         const gq_update_scalars *s, double norm)
{
    int64_t end = 0;
    double  gscale = s->clip > 0 ? fmin(1, s->clip / (norm + 1e-6)) : 1;
    for (int32_t p = 0; p <= parts; p++) {
        int64_t       first = p < parts ? part[p].first : was->n;
        gq_adamw_call c = {.beta1 = s->beta1, .beta2 = s->beta2, .eps = s->eps, .gscale = gscale, .c1 = s->c1,
                           .c2 = s->c2};
        for (int64_t i = end; i < first; i++)
            if (got->m[i] != was->m[i] || got->v[i] != was->v[i] || got->x[i] != was->x[i] ||
                got->w16[i] != was->w16[i] || got->w32[i] != was->w32[i])
                fail_msg("element %lld is of no part and has changed", (long long)i);
        if (p == parts)
            break;
        c.lr = (double)s->lr * part[p].lr_mult;
        c.decay = part[p].decay;
        end = first + part[p].n;
        for (int64_t i = first; i < end; i++)
            check_element(was, got, i, &c);
    }
}

static const gq_update_scalars usual = {.lr = 3e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .clip = 1.0f,
                                        .c1 = 0.271f, .c2 = 0.142625f};

static void test_update(void **state)
{
    static const float clips[] = {1.0f, 0.0f, 1e6f};
    gq_update_part     part[PARTS];
    int64_t            n;
    int32_t            parts = lay_out(part, &n);
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int k = 0; k < 3; k++) {
            const gq_backend *be = backend(bf16);
            arenas            was, got, again;
            gq_update_scalars s = usual;
            double            norm, want;
            s.clip = clips[k];
            make(&was, n, (int32_t)be->real, bf16);
            make(&got, n, (int32_t)be->real, bf16);
            make(&again, n, (int32_t)be->real, bf16);
            want = norm_of(&was);
            norm = updated(be, &was, part, parts, &s, 0, &got);
            assert_true(fabs(norm - want) <= (double)n * 0x1p-53 * want);
            check_update(&was, &got, part, parts, &s, norm);
            for (unsigned seed = 1; seed < 4; seed++) {
                column_order(seed);
                assert_true(updated(be, &was, part, parts, &s, seed - 1, &again) == norm);
                assert_same(&got, &again, "update again");
            }
            column_order(0);
            drop(&was);
            drop(&got);
            drop(&again);
        }
}

static void test_not_finite(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const gq_backend  *be = backend(1);
    gq_update_part     part[PARTS];
    int64_t            n;
    int32_t            parts = lay_out(part, &n);
    arenas             was, got;
    double             norm;
    (void)state;
    make(&was, n, GQ_BF16, true);
    make(&got, n, GQ_BF16, true);
    for (int k = 0; k < 3; k++) {
        int64_t at = k == 0 ? 0 : k == 1 ? n - 1 : n / 2;
        float   good = was.g[at];
        was.g[at] = bad[k];
        halted = 0;
        assert_false(isfinite(updated(be, &was, part, parts, &usual, 0, &got)));
        assert_same(&was, &got, "update with a gradient that is not finite");
        was.g[at] = good;
        assert_true(halted && isfinite(updated(be, &was, part, parts, &usual, 0, &got)));
        assert_same(&was, &got, "update after one with a gradient that is not finite");
    }
    halted = 0;
    norm = updated(be, &was, part, parts, &usual, 0, &got);
    check_update(&was, &got, part, parts, &usual, norm);
    drop(&was);
    drop(&got);
}

/* No part at all, one part that is everything, one element. */
static void test_few_parts(void **state)
{
    const gq_backend *be = backend(1);
    (void)state;
    for (int64_t n = 1; n <= 16384 * 2; n = n == 1 ? 16384 : n * 2) {
        gq_update_part all = {.n = n, .lr_mult = 1, .decay = 0.1f};
        arenas         was, got;
        double         norm;
        make(&was, n, GQ_BF16, true);
        make(&got, n, GQ_BF16, true);
        norm = updated(be, &was, &all, 0, &usual, 0, &got);
        assert_true(fabs(norm - norm_of(&was)) <= (double)n * 0x1p-53 * norm);
        assert_same(&was, &got, "update without parts");
        norm = updated(be, &was, &all, 1, &usual, 0, &got);
        check_update(&was, &got, &all, 1, &usual, norm);
        drop(&was);
        drop(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_sumsq),
#ifndef GQ_TEST_ON_GPU
        cmocka_unit_test(test_sumsq_without_memory),
#endif
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_few_parts),
    };
    return cmocka_run_group_tests_name("update", tests, NULL, NULL);
}
