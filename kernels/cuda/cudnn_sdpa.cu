/* cudnn_sdpa.cu - the op sdpa through cuDNN, where cuDNN can: bfloat16, heads of 64 columns, no mask but causal and
 * lengths, no dropout, nothing added to a gradient. Everything else is left to the caller (false).
 *
 * cuDNN reads q, k, v where they are, as columns of their sources, and writes o, lse and the gradients where they
 * belong: what moves is 2 (Tq + 2 Tk) C bytes a sequence in and 2 Tq C out (backward: about three times that), against
 * 4 Tq Tk C flops (backward 10): at 50 to 300 rows neither copy bandwidth nor the tensor cores but latency is the roof.
 *
 * What cuDNN's padding does not promise is done here, with lengths only, by two kernels around its own:
 *  - limits: keys[b] = lengths[b] held within 1..Tk, queries[b] = Tq, because a sequence of length 0 would leave o and
 *    lse undefined. 12 B bytes; one thread a sequence.
 *  - clear: then gives such a sequence its zeros (o and lse; dq), and the rows of dk and dv beyond the length theirs.
 *    Writes what is cleared and nothing else; a block for every sequence, operand and quarter of its rows.
 *
 * Plans, and the workspace they run in, are made when a shape is first seen outside of a capture and live as long as
 * the process, so that a captured step may name them. All plans of a device run one after the other, so they share one
 * buffer; a plan that needs a larger one brings it along and leaves the old one to those before it. What 9.19 asks for
 * on an sm_90: 256 bytes forward; backward 2 B H Tq Tk bytes more, Tq rounded up to 64 and Tk to 128 (dS in bfloat16,
 * the price of a dQ without atomics): 189 MB for 64 sequences of 296 and 12 heads, written once and read once.
 */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cudnn_graph.h"

enum { PLANS = 64, HEAD = 64, THREADS = 128, SLICES = 4 };

struct cudnn_entry {
    gq_cudnn_case   what;
    gq_cudnn_plan *plan;                /* NULL: cuDNN refused                                    */
    char          *memory;              /* scratch of the plan, then what scratch_of() lists      */
};

struct gq_cudnn {
    const gq_cudnn_api *api;            /* NULL: not there                                        */
    void               *handle;
    char               *memory;         /* the largest so far                                     */
    size_t              bytes;
    int                 plans;
    cudnn_entry         entry[PLANS];
};

namespace {

struct piece {                          /* rows of 4-byte words of one operand                    */
    uint32_t *p;
    int64_t   batch, row, words, rows;  /* words from sequence to sequence and row to row, in a row; rows */
    bool      whole;                    /* all rows when nothing is visible; else rows from the length on */
};
struct pieces { piece p[3]; };

__global__ void limits_kernel(const int32_t *lengths, int32_t *keys, int32_t *queries, int B, int Tq, int Tk)
{
    int b = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (b >= B)
        return;
    int n = lengths[b];
    keys[b] = n < 1 ? 1 : n > Tk ? Tk : n;
    queries[b] = Tq;
}

/* grid (B, pieces, SLICES) */
__global__ void clear_kernel(const int32_t *lengths, pieces all)
{
    const piece &x = all.p[blockIdx.y];
    int64_t      n = lengths[blockIdx.x], first = x.whole && n > 0 ? x.rows : n < 0 ? 0 : n;
    uint32_t    *p = x.p + (int64_t)blockIdx.x * x.batch;
    for (int64_t row = first + blockIdx.z; row < x.rows; row += SLICES)
        for (int64_t i = threadIdx.x; i < x.words; i += THREADS)
            p[row * x.row + i] = 0;
}

/* Scratch behind the plan's own workspace, each part on 256 bytes. */
struct scratch { size_t statistic, keys, queries, bytes; };

scratch scratch_of(const gq_cudnn_case *a, size_t workspace)
{
    const size_t line = 256;
    scratch      s;
    s.statistic = (workspace + line - 1) / line * line;
    s.keys = s.statistic + ((size_t)(a->batch * a->heads * a->tq) * sizeof(float) + line - 1) / line * line;
    s.queries = s.keys + ((size_t)a->batch * sizeof(int32_t) + line - 1) / line * line;
    s.bytes = s.queries + (size_t)a->batch * sizeof(int32_t);
    return s;
}

void note(gq_cuda *d, const gq_error *e)
{
    if (e->code != GQ_OK && d->error.code == GQ_OK)
        gq_fail(&d->error, e->code, "attention on GPU %d: %s", d->index, e->text);
}

bool column_fits(const gq_buf *source, int32_t first)
{
    return gq_aligned16((const gq_bf16 *)source->p + first) && source->shape[2] % 8 == 0;
}

/* The call as cuDNN would see it; false: it would not. */
bool describe(const gq_call *c, bool backward, gq_cudnn_case *a)
{
    const gq_buf  *qs = &c->in[0], *ks = c->in[1].p ? &c->in[1] : &c->in[0];
    const gq_attr *t = &c->attr;
    if (qs->dtype != GQ_BF16 || ks->dtype != GQ_BF16 || t->width != t->heads * HEAD || t->p != 0 || c->in[3].p ||
        c->in[4].p)
        return false;
    if (gq_size(qs) == 0 || gq_size(ks) == 0 || !column_fits(qs, t->qoff) || !column_fits(ks, t->koff) ||
        !column_fits(ks, t->voff) || !gq_aligned16(c->out[0].p) || !gq_aligned16(c->save[0].p))
        return false;
    a->batch = qs->shape[0];
    a->heads = t->heads;
    a->tq = qs->shape[1];
    a->tk = ks->shape[1];
    a->width = HEAD;
    a->q_row = qs->shape[2];
    a->kv_row = ks->shape[2];
    a->causal = t->mask == GQ_MASK_CAUSAL;
    a->lengths = c->in[2].p != NULL;
    a->backward = backward;
    return true;
}

/* cuDNN stores all of dq, dk and dv, and nothing in columns that are none of them. */
bool gradients_fit(const gq_call *c)
{
    bool           cross = c->in[1].p != NULL;
    const gq_attr *t = &c->attr;
    const gq_buf  *dkv = cross ? &c->din[1] : &c->din[0];
    if (c->acc & 3u || !c->dout[0].p || !c->save[0].p || !c->din[0].p || !dkv->p)
        return false;
    if (c->din[0].dtype != GQ_BF16 || dkv->dtype != GQ_BF16 || !column_fits(&c->din[0], t->qoff) ||
        !column_fits(dkv, t->koff) || !column_fits(dkv, t->voff) || !gq_aligned16(c->dout[0].p))
        return false;
    return cross ? gq_cols(&c->in[0]) == t->width && gq_cols(&c->in[1]) == 2 * t->width
                 : gq_cols(&c->in[0]) == 3 * t->width;
}

/* Opened at the first use. A cuDNN that is not there is no error, one that does not work is where it was named. */
gq_cudnn *state_of(gq_cuda *d)
{
    gq_error err = {GQ_OK, ""};
    if (d->cudnn || d->capturing)
        return d->cudnn;
    d->cudnn = (gq_cudnn *)calloc(1, sizeof *d->cudnn);
    if (!d->cudnn)
        return NULL;
    const gq_cudnn_api *api = gq_cudnn_open(&err);
    if (!api)
        return d->cudnn;
    GQ_CUDA(d, cudaSetDevice(d->index));
    int status = api->open(&d->cudnn->handle);
    if (status == GQ_DNN_SUCCESS)
        status = api->set_stream(d->cudnn->handle, d->stream);
    if (status == GQ_DNN_SUCCESS)
        d->cudnn->api = api;
    else
        gq_fail(&err, GQ_EBUG, "cuDNN %zu cannot use the GPU: %s", api->version(), api->error_name(status));
    if (d->attention == GQ_ATTENTION_CUDNN)
        note(d, &err);
    return d->cudnn;
}

/* Compares members: a structure has bytes between them. */
bool same(const gq_cudnn_case *a, const gq_cudnn_case *b)
{
    return a->batch == b->batch && a->heads == b->heads && a->tq == b->tq && a->tk == b->tk && a->width == b->width &&
           a->q_row == b->q_row && a->kv_row == b->kv_row && a->causal == b->causal && a->lengths == b->lengths &&
           a->backward == b->backward;
}

/* A refusal is kept too. It is an error only where the user named cuDNN: else others do the work. */
void add_plan(gq_cuda *d, gq_cudnn *s, cudnn_entry *e)
{
    gq_error err = {GQ_OK, ""};
    GQ_CUDA(d, cudaSetDevice(d->index));
    e->plan = gq_cudnn_plan_make(s->api, s->handle, NULL, &e->what, GQ_PLAN_BUILD, &err);
    if (!e->plan) {
        if (d->attention == GQ_ATTENTION_CUDNN)
            note(d, &err);
        return;
    }
    size_t bytes = scratch_of(&e->what, gq_cudnn_plan_workspace(e->plan)).bytes;
    if (bytes > s->bytes) {
        void       *memory = NULL;
        cudaError_t code = cudaMalloc(&memory, bytes);
        if (code != cudaSuccess) {
            (void)cudaGetLastError();
            gq_fail(&err, GQ_ENOMEM, "no %zu bytes for cuDNN's workspace: %s", bytes, cudaGetErrorString(code));
            if (d->attention == GQ_ATTENTION_CUDNN)
                note(d, &err);
            gq_cudnn_plan_free(e->plan);
            e->plan = NULL;
            return;
        }
        s->memory = (char *)memory;
        s->bytes = bytes;
    }
    e->memory = s->memory;
}

cudnn_entry *plan_for(gq_cuda *d, const gq_cudnn_case *a)
{
    gq_cudnn *s = state_of(d);
    if (!s || !s->api)
        return NULL;
    for (int i = 0; i < s->plans; i++)
        if (same(&s->entry[i].what, a))
            return s->entry[i].plan ? &s->entry[i] : NULL;
    if (d->capturing || s->plans == PLANS)
        return NULL;
    cudnn_entry *e = &s->entry[s->plans++];
    e->what = *a;
    add_plan(d, s, e);
    return e->plan ? e : NULL;
}

gq_bf16 *column(const gq_buf *source, int32_t first) { return (gq_bf16 *)source->p + first; }

/* The operands that both directions have. */
void common_operands(const gq_call *c, cudnn_entry *e, const scratch *s, const float constants[3], void **operand)
{
    const gq_buf *ks = c->in[1].p ? &c->in[1] : &c->in[0];
    operand[GQ_AT_Q] = column(&c->in[0], c->attr.qoff);
    operand[GQ_AT_K] = column(ks, c->attr.koff);
    operand[GQ_AT_V] = column(ks, c->attr.voff);
    operand[GQ_AT_O] = c->out[0].p;
    operand[GQ_AT_LSE] = c->save[0].p ? c->save[0].p : e->memory + s->statistic;
    operand[GQ_AT_SCALE] = (void *)&constants[0];
    if (e->what.causal || e->what.lengths)
        operand[GQ_AT_HIDDEN] = (void *)&constants[1];
    if (e->what.lengths) {
        operand[GQ_AT_KEYS] = e->memory + s->keys;
        operand[GQ_AT_QUERIES] = e->memory + s->queries;
    }
}

piece piece_of(void *p, int64_t rows, int64_t step, int64_t columns, bool whole)
{
    return piece{(uint32_t *)p, rows * step / 2, step / 2, columns / 2, rows, whole};
}

void run(gq_cuda *d, const gq_call *c, cudnn_entry *e, const scratch *s, void **operand, const pieces *clear,
         unsigned count)
{
    const gq_cudnn_case *a = &e->what;
    const int32_t      *lengths = (const int32_t *)c->in[2].p;
    gq_error            err = {GQ_OK, ""};
    if (lengths)
        GQ_LAUNCH(d, limits_kernel, dim3(gq_blocks(a->batch, THREADS)), dim3(THREADS), 0, lengths,
                  (int32_t *)(e->memory + s->keys), (int32_t *)(e->memory + s->queries), (int)a->batch, (int)a->tq,
                  (int)a->tk);
    d->launches++;
    if (gq_cudnn_plan_run(e->plan, d->cudnn->handle, operand, e->memory, &err) != GQ_OK)
        note(d, &err);
    if (lengths)
        GQ_LAUNCH(d, clear_kernel, dim3((unsigned)a->batch, count, SLICES), dim3(THREADS), 0, lengths, *clear);
}

} // namespace

extern "C" bool gq_cuda_cudnn_sdpa_fwd(const gq_call *c)
{
    gq_cuda     *d = gq_cuda_of(c);
    gq_cudnn_case a;
    cudnn_entry *e = describe(c, false, &a) ? plan_for(d, &a) : NULL;
    if (!e)
        return false;
    scratch     s = scratch_of(&a, gq_cudnn_plan_workspace(e->plan));
    const float constants[3] = {c->attr.scale, -INFINITY, 1};
    void       *operand[GQ_AT_OPERANDS] = {};
    common_operands(c, e, &s, constants, operand);
    int64_t C = a.heads * a.width;
    pieces  clear = {};
    clear.p[0] = piece_of(c->out[0].p, a.tq, C, C, true);
    clear.p[1] = piece{(uint32_t *)operand[GQ_AT_LSE], a.heads * a.tq, a.tq, a.tq, a.heads, true};
    run(d, c, e, &s, operand, &clear, 2);
    return true;
}

extern "C" bool gq_cuda_cudnn_sdpa_bwd(const gq_call *c)
{
    gq_cuda     *d = gq_cuda_of(c);
    gq_cudnn_case a;
    cudnn_entry *e = gradients_fit(c) && describe(c, true, &a) ? plan_for(d, &a) : NULL;
    if (!e)
        return false;
    scratch       s = scratch_of(&a, gq_cudnn_plan_workspace(e->plan));
    const float   constants[3] = {c->attr.scale, -INFINITY, 1};
    const gq_buf *dkv = c->in[1].p ? &c->din[1] : &c->din[0];
    void         *operand[GQ_AT_OPERANDS] = {};
    common_operands(c, e, &s, constants, operand);
    operand[GQ_AT_ONE] = (void *)&constants[2];
    operand[GQ_AT_DO] = c->dout[0].p;
    operand[GQ_AT_DQ] = column(&c->din[0], c->attr.qoff);
    operand[GQ_AT_DK] = column(dkv, c->attr.koff);
    operand[GQ_AT_DV] = column(dkv, c->attr.voff);
    operand[GQ_AT_ROWSUM] = e->memory + s.statistic;
    int64_t C = a.heads * a.width;
    pieces  clear = {};
    clear.p[0] = piece_of(operand[GQ_AT_DQ], a.tq, a.q_row, C, true);
    clear.p[1] = piece_of(operand[GQ_AT_DK], a.tk, a.kv_row, C, false);
    clear.p[2] = piece_of(operand[GQ_AT_DV], a.tk, a.kv_row, C, false);
    run(d, c, e, &s, operand, &clear, 3);
    return true;
}
