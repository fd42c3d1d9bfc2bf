/* linear.cu - y = act(x w^T + b) + r. x [rows,K], w [N,K], y [rows,N]: one product forward, 2 rows N K
 * operations, two backward; tensor cores are the roof of all but thin ones (gemm.cu).
 *
 * Forward: the bias is the product's epilogue. Without activation the residual is its C (beta 1), so that
 * y is written once and nothing else moves. With one, u = x w^T + b is written (where backward will read
 * it, else into y) and bias_act makes y of it: 2 to 3 more passes over [rows,N]; for the tanh form of
 * GELU with bias and without residual the epilogue does that too, where cuBLASLt has it and it pays.
 *
 * Backward: du = dy act'(u) goes to temp (3 passes over [rows,N]); dx = du w, dw = du^T x, both with beta 1
 * where they are added; db = column sums of du, as an epilogue of dw's product where cuBLASLt has it and
 * db is not added to, else by a kernel that reads du once more. The two products run side by side when neither has
 * tiles enough for the whole GPU.
 *
 * An epilogue wants its vectors at multiples of 16 bytes; arenas give that, and others take the kernels.
 * The same call takes the same way every time: the bits do not depend on the run.
 */
#include "kernels/cuda/lanes.h"

namespace {

struct shape { int64_t rows, n, k; int32_t real; };

shape shape_of(const gq_call *c)
{
    return {gq_rows(&c->in[0]), c->in[1].shape[0], c->in[1].shape[1], c->in[0].dtype};
}

gq_gemm product(const shape &s, int64_t m, int64_t n, int64_t k)
{
    gq_gemm g = {};
    g.m = m;
    g.n = g.ldd = n;
    g.k = k;
    g.batch = 1;
    g.type_ab = g.type_d = g.type_bias = s.real;
    g.alpha = 1.0f;
    return g;
}

gq_gemm forward_product(const shape &s)
{
    gq_gemm g = product(s, s.rows, s.n, s.k);
    g.lda = g.ldb = s.k;
    g.tb = 1;
    return g;
}

/* to = x w^T + b (+ r); false: only x w^T (the sum with b and r is to be done). */
bool sums_of(const gq_call *c, const shape &s, void *to, const void *r)
{
    gq_cuda *d = gq_cuda_of(c);
    void    *b = c->in[2].p;
    gq_gemm  g = forward_product(s), plain = g;
    g.epilogue = b ? GQ_EPI_BIAS : GQ_EPI_NONE;
    g.beta = r ? 1.0f : 0.0f;
    bool whole = !b || (gq_aligned16(b) && gq_cuda_gemm_has(d, &g));
    gq_cuda_gemm(d, whole ? &g : &plain, c->in[0].p, c->in[1].p, to, b, NULL, whole ? r : NULL);
    return whole;
}

/* y = gelu(x w^T + b) and u in one go, if that can be had. */
bool fused_gelu(const gq_call *c, const shape &s)
{
    gq_cuda *d = gq_cuda_of(c);
    void    *b = c->in[2].p, *u = c->save[0].p;
    gq_gemm  g = forward_product(s);
    if (c->attr.act != GQ_GELU_TANH || !b || c->in[3].p || !gq_aligned16(b) || !gq_aligned16(u))
        return false;
    g.epilogue = u ? GQ_EPI_BIAS_GELU_AUX : GQ_EPI_BIAS_GELU;
    g.ld_aux = s.n;
    if (!gq_cuda_gemm_has(d, &g))
        return false;
    gq_cuda_gemm(d, &g, c->in[0].p, c->in[1].p, c->out[0].p, b, u);
    return true;
}

/* du, which is dy where there is no activation. */
const void *gradient_of_u(const gq_call *c, const shape &s, char **temp)
{
    void *du = *temp;
    if (c->attr.act == GQ_NONE)
        return c->dout[0].p;
    *temp += ((size_t)(s.rows * s.n) * gq_dtype_bytes(s.real) + 255) / 256 * 256;
    gq_cuda_act_backward(gq_cuda_of(c), s.real, c->attr.act, c->dout[0].p, c->save[0].p, du, s.rows * s.n);
    return du;
}

void weight_gradient(const gq_call *c, const shape &s, const void *du, bool *bias_done)
{
    gq_cuda *d = gq_cuda_of(c);
    gq_buf   dw = c->din[1], db = c->din[2];
    gq_gemm  g = product(s, s.n, s.k, s.rows), with = g;
    g.lda = s.n;
    g.ldb = s.k;
    g.ta = 1;
    g.type_d = dw.dtype;
    g.beta = gq_adds(c, 1) ? 1.0f : 0.0f;
    with = g;
    with.epilogue = GQ_EPI_BGRAD_A;
    with.type_bias = db.dtype;
    *bias_done = db.p && !gq_adds(c, 2) && gq_aligned16(db.p) && gq_cuda_gemm_has(d, &with);
    gq_cuda_gemm(d, *bias_done ? &with : &g, du, c->in[0].p, dw.p, *bias_done ? db.p : NULL, NULL);
}

void input_gradient(const gq_call *c, const shape &s, const void *du)
{
    gq_gemm g = product(s, s.rows, s.k, s.n);
    g.lda = s.n;
    g.ldb = s.k;
    g.type_d = c->din[0].dtype;
    g.beta = gq_adds(c, 0) ? 1.0f : 0.0f;
    gq_cuda_gemm(gq_cuda_of(c), &g, du, c->in[1].p, c->din[0].p, NULL, NULL);
}

void parameter_gradients(const gq_call *c, const shape &s, const void *du, char *temp)
{
    gq_cuda *d = gq_cuda_of(c);
    bool     bias_done = false;
    if (c->din[1].p)
        weight_gradient(c, s, du, &bias_done);
    if (c->din[2].p && !bias_done)
        gq_cuda_column_sums(d, s.real, du, s.rows, s.n, c->din[2].p, c->din[2].dtype, gq_adds(c, 2), temp);
}

int64_t tiles(int64_t m, int64_t n)
{
    enum { TILE = 128 };
    return (m + TILE - 1) / TILE * ((n + TILE - 1) / TILE);
}

/* Do the products of backward, of the usual tiles, each leave multiprocessors without work for much of their time? */
bool few_tiles(const gq_cuda *d, const shape &s)
{
    return tiles(s.rows, s.k) < 2 * d->multiprocessors && tiles(s.n, s.k) < 2 * d->multiprocessors;
}

}  // namespace

extern "C" void gq_cuda_linear_fwd(const gq_call *c)
{
    gq_cuda *d = gq_cuda_of(c);
    shape    s = shape_of(c);
    int      act = c->attr.act;
    void    *y = c->out[0].p, *u = act == GQ_NONE ? NULL : c->save[0].p;
    if (fused_gelu(c, s))
        return;
    void       *to = u ? u : y;
    const void *r = c->in[3].p;
    bool        whole = sums_of(c, s, to, act == GQ_NONE ? r : NULL);
    if (act != GQ_NONE || !whole)
        gq_cuda_bias_act(d, s.real, act, to, whole ? NULL : c->in[2].p, r, y, whole ? NULL : u, s.rows, s.n);
}

extern "C" void gq_cuda_linear_bwd(const gq_call *c)
{
    gq_cuda    *d = gq_cuda_of(c);
    shape       s = shape_of(c);
    char       *temp = (char *)c->work->temp;
    const void *dy = c->dout[0].p, *du;
    bool        both;
    if (gq_nothing_arrives(c))
        return;
    if (c->din[3].p)
        gq_cuda_convert(d, c->din[3].p, c->din[3].dtype, dy, s.real, s.rows * s.n, gq_adds(c, 3));
    if (!c->din[0].p && !c->din[1].p && !c->din[2].p)
        return;
    du = gradient_of_u(c, s, &temp);
    both = c->din[0].p && (c->din[1].p || c->din[2].p) && few_tiles(d, s);
    if (!both) {
        if (c->din[0].p)
            input_gradient(c, s, du);
        parameter_gradients(c, s, du, temp);
        return;
    }
    gq_cuda_fork(d);
    if (s.n > s.rows)                               /* longer sums first: the others fill the gaps */
        input_gradient(c, s, du);
    gq_cuda_beside(d);
    parameter_gradients(c, s, du, temp);
    gq_cuda_back(d);
    if (s.n <= s.rows)
        input_gradient(c, s, du);
    gq_cuda_join(d);
}

extern "C" size_t gq_cuda_linear_temp(const gq_call *c, int backward, int threads)
{
    shape  s = shape_of(c);
    size_t bytes = 0;
    (void)threads;
    if (!backward)
        return 0;
    if (c->attr.act != GQ_NONE)
        bytes += ((size_t)(s.rows * s.n) * gq_dtype_bytes(s.real) + 255) / 256 * 256;
    return bytes + gq_cuda_column_sums_temp(s.rows, s.n);
}
