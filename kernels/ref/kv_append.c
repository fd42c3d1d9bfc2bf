/* kv_append.c - decoding: the new keys and values go into the cache, each sequence at its own
 * position. */
#include "kernels/ref/ref.h"

void REF(kv_append_fwd)(const gq_call *c)
{
    const real    *qkv = c->in[0].p;
    const int32_t *pos = c->in[2].p;
    real          *cache = c->in[1].p;
    int64_t        B = c->in[0].shape[0], T = c->in[0].shape[1], W = c->in[0].shape[2];
    int64_t        cap = c->in[1].shape[1], C = c->attr.width;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T && pos[b] + t < cap; t++) {
            const real *from = qkv + (b * T + t) * W;
            real       *to = cache + (b * cap + pos[b] + t) * 2 * C;
            for (int64_t d = 0; d < C; d++) {
                to[d] = from[c->attr.koff + d];
                to[C + d] = from[c->attr.voff + d];
            }
        }
}
