/* normals.c - standard normals in bulk: the stream of gq_normal_pair(), a few vectors of eight pairs at a time.
 *
 * Logarithm, sine and cosine are the polynomials of fdlibm (Sun Microsystems, 1993) with arguments
 * already reduced, in plain double arithmetic without fused operations: the same bits for every
 * instruction set. Each is within 1 ulp, as is libm's, so a value differs from gq_normal_pair()'s by
 * 4 ulp of double at most; rounded to float almost none does.
 */
#include "core/philox.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INTO_CLONES static inline __attribute__((always_inline))

#pragma GCC diagnostic ignored "-Wpsabi"            /* no vector crosses a call: all of it is inlined */

enum { LANES = 8, AT_ONCE = 4 };        /* pairs in a vector; vectors whose rounds overlap         */
typedef double   vd __attribute__((vector_size(64)));
typedef uint64_t vu __attribute__((vector_size(64)));
typedef int64_t  vi __attribute__((vector_size(64)));

INTO_CLONES vd choose(vi mask, vd yes, vd no) { return (vd)((mask & (vi)yes) | (~mask & (vi)no)); }

/* An integer below 2^52 as a double: it becomes the fraction of 2^52 + x. */
INTO_CLONES vd to_double(vu x) { return (vd)(x | 0x4330000000000000u) - 0x1p52; }

/* The four words of the blocks from `first` on. The rounds of one block wait for each other, those of
 * several do not. */
INTO_CLONES void blocks(uint64_t seed, uint64_t first, uint32_t purpose, uint32_t step,
                        vu w[AT_ONCE][4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int b = 0; b < AT_ONCE; b++) {
        vu at = (vu){0, 1, 2, 3, 4, 5, 6, 7} + (first + (uint64_t)(b * LANES));
        w[b][0] = at & 0xffffffffu;
        w[b][1] = at >> 32;
        w[b][2] = (vu){0} + purpose;
        w[b][3] = (vu){0} + step;
    }
    for (int round = 0; round < 10; round++) {
#pragma GCC unroll 4
        for (int b = 0; b < AT_ONCE; b++) {
            vu p0 = w[b][0] * 0xD2511F53u, p1 = w[b][2] * 0xCD9E8D57u;
            w[b][0] = (p1 >> 32) ^ w[b][1] ^ k0;
            w[b][1] = p1 & 0xffffffffu;
            w[b][2] = (p0 >> 32) ^ w[b][3] ^ k1;
            w[b][3] = p0 & 0xffffffffu;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* log x for normal x > 0: x = 2^k (1 + f), sqrt(1/2) < 1 + f < sqrt(2) */
INTO_CLONES vd log_of(vd x)
{
    vi bits = (vi)x, up = ((bits & 0x000fffffffffffff) + 0x00095f6400000000) & 0x0010000000000000;
    vd dk = to_double((vu)(((bits >> 52) + (up >> 52)) & 0xfff)) - 1023.0;
    vd f = (vd)((bits & 0x000fffffffffffff) | (up ^ 0x3ff0000000000000)) - 1.0;
    vd s = f / (2.0 + f), z = s * s, w = z * z, half = 0.5 * f * f;
    vd even = w * (3.999999999940941908e-01 +
                   w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    vd odd = z * (6.666666666666735130e-01 +
                  w * (2.857142874366239149e-01 +
                       w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    return dk * 6.93147180369123816490e-01 -
           ((half - (s * (half + (even + odd)) + dk * 1.90821492927058770002e-10)) - f);
}

/* sine and cosine of 0 <= a < 2 pi */
INTO_CLONES void turn(vd a, vd *sine, vd *cosine)
{
    vd big = a * 6.36619772367581382433e-01 + 0x1.8p52, q = big - 0x1.8p52;      /* nearest quarter */
    vd x = (a - q * 1.57079632673412561417e+00) - q * 6.07710050650619224932e-11;
    vi quarter = (vi)big & 3;
    vd z = x * x, half = 0.5 * z, one = 1.0 - half;
    vd s = x + z * x * (-1.66666666666666324348e-01 + z * (8.33333333332248946124e-03 +
                        z * (-1.98412698298579493134e-04 + z * (2.75573137070700676789e-06 +
                        z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
    vd r = z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 +
           z * (2.48015872894767294178e-05 + z * (-2.75573143513906633035e-07 +
           z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
    vd c = one + (((1.0 - one) - half) + z * r);
    vi odd = -(quarter & 1);
    vd sn = choose(odd, c, s), cs = choose(odd, s, c);
    *sine = (vd)((vi)sn ^ (quarter >> 1 << 63));
    *cosine = (vd)((vi)cs ^ (((quarter + 1) & 2) << 62));
}

/* The pairs of eight blocks */
INTO_CLONES void pairs_of(const vu w[4], vd both[2])
{
    vd     u = (to_double(w[0]) * 0x1p21 + to_double(w[1] >> 11) + 0.5) * 0x1p-53;
    vd     r = -2.0 * log_of(u), sine, cosine;
    double root[LANES];

    memcpy(root, &r, sizeof root);
    for (int l = 0; l < LANES; l++)
        root[l] = sqrt(root[l]);
    memcpy(&r, root, sizeof r);
    turn((to_double(w[2]) * 0x1p21 + to_double(w[3] >> 11)) * 0x1p-53 * 6.283185307179586476925,
         &sine, &cosine);
    cosine *= r;
    sine *= r;
    both[0] = __builtin_shufflevector(cosine, sine, 0, 8, 1, 9, 2, 10, 3, 11);
    both[1] = __builtin_shufflevector(cosine, sine, 4, 12, 5, 13, 6, 14, 7, 15);
}

CLONES void gq_normal_pairs(uint64_t seed, uint64_t first, uint32_t purpose, uint32_t step,
                            size_t pairs, double *out)
{
    for (size_t i = 0; i < pairs; i += AT_ONCE * LANES) {
        vu     w[AT_ONCE][4];
        vd     both[AT_ONCE][2];
        size_t n = pairs - i < AT_ONCE * LANES ? pairs - i : AT_ONCE * LANES;

        blocks(seed, first + i, purpose, step, w);
        for (int b = 0; b < AT_ONCE; b++)
            pairs_of(w[b], both[b]);
        memcpy(out + 2 * i, both, 2 * n * sizeof *out);
    }
}
