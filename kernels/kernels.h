/* kernels.h - the one door between the engine and the kernels: what an op is given, and what a
 * backend offers.
 *
 * A kernel is a function of one gq_call: operand buffers, attributes, the step's scalars and a
 * workspace. It knows nothing of tapes, models or arenas. All buffers are dense and row-major.
 * Operands and their gradients are of the backend's `real` (float in ref32, cpu and cuda-fp32,
 * double in ref64, bfloat16 in cuda-bf16) unless the line says `stat`: statistics, losses, masks and
 * the gradients of parameters are of the backend's `stat`, which is float where real is bfloat16 and
 * real elsewhere. Index operands are int32. "rows" is the product of all dimensions but the last, D
 * the last dimension.
 *
 * Rules every kernel keeps
 *  - An absent optional operand, an unwanted gradient, a missing saved tensor has p == NULL.
 *  - Forward writes out[] and those save[] that are there. save[] is absent when the tape runs no
 *    backward.
 *  - Backward reads dout[k] (p == NULL: that output has no gradient, treat as zero), the forward
 *    tensors named in the op's line "bwd reads", and writes din[k] for each k with din[k].p: stores
 *    when bit k of `acc` is 0, adds when it is 1. It writes every element of din[k] (stores zeros
 *    where nothing flows).
 *  - No two of din[] overlap, and none overlaps dout[].
 *  - No allocation: scratch memory is work->temp, at least temp(call, backward, threads) bytes,
 *    64-byte aligned.
 *  - The result does not depend on the number of threads; no atomics on floats; every sum has a
 *    fixed order.
 *  - NaN and infinity in the input may reach the output, never crash or hang. Indices were checked
 *    before.
 *
 * Operands, in the order of core/oplist.h
 *
 * linear       in: x [rows,K], w [N,K], b [N]?, r [rows,N]?   out: y [rows,N]
 *              save: u [rows,N] if act != none
 *              u = x w^T + b; y = act(u) + r.   attr: act.   bwd reads x, w, u.
 * patch_embed  in: frames u8 [B,S,S,3], w [D,3*p*p], cls [D]?, pos [n+c,D]?   out: y [B,n+c,D]
 *              n = (S/p)^2 patches in row-major order, c = 1 if cls is there (row 0, before the
 *              patches), value of a pixel v = (u8/255 - mean[ch]) / std[ch] in float: (float)u8 *
 *              (1/255.f), minus mean, divided by std; w's columns are ordered (ch, y, x). attr:
 *              patch, mean, std.   bwd reads frames (dw, dcls, dpos; no dframes).
 * embed        in: ids i32 [rows], table [V,D], base [rows,D]?   out: y [rows,D]
 *              bwd reads ids. Rows in order.
 * layernorm    in: x [rows,D], g [D], b [D]?   out: y   save: stat mean [rows], rstd [rows]
 *              attr: eps; rms: RMSNorm (Zhang & Sennrich 2019), mean is 0 (stored as such) and rstd =
 *              1/sqrt(sum x^2 / D + eps).   bwd reads x, g, mean, rstd.
 * add_norm     in: a [rows,D], b [rows,D], g [D], beta [D]?   out: s = a + b, y = layernorm(s)
 *              save: stat mean, rstd
 *              attr: eps, rms.
 *              bwd reads s, g, mean, rstd. din a and din b both get dout s + the norm's gradient.
 * sdpa         in: q source [B,Tq,Wq], kv source [B,Tk,Wk]? (absent: the q source), lengths i32
 *              [B]?, visible stat [B,Tk]?, table [buckets,H]?
 *              out: o [B,Tq,C]
 *              save: lse stat [B,H,Tq] (natural log of the sum of exp of scaled, biased, masked scores)
 *              q = columns qoff..qoff+C of the q source, k and v = columns koff.. and voff.. of the
 *              kv source; head h owns columns h*C/H..(h+1)*C/H of each. Key j is visible to query i
 *              when all hold: mask == GQ_MASK_CAUSAL implies j <= i (then Tq == Tk); lengths given
 *              implies j < lengths[b]; visible given implies visible[b,j] != 0 or i == j
 *              (self-attention). A query without visible key gives 0 and lse = 0.
 *              table: the score of (i, j) after scaling gets table[bucket(j - at(i))][h] added, at(i) = i, or
 *              lengths[b] - Tq + i with rel.last (queries at the end of a cache); kernels/relative.h has bucket().
 *              attr: heads, mask, scale, qoff, koff, voff, width (C), p (dropout on the
 *              probabilities after softmax, element index ((b*H+h)*Tq+i)*Tk+j, kept ones scaled by
 *              1/(1-p)), rel (of the table). bwd reads q source, kv source, lengths, visible, table, o, lse.
 *              din[4] = the sums of the scores' gradients over batch, queries and keys of a bucket.
 *              din[0] and din[1] are written whole (self-attention: only din[0]); without backward
 *              Wq may exceed what is read; with backward the q source has exactly the columns in
 *              use.
 * glu          in: u [rows,2F]   out: y [rows,F] = act(u[:,:F]) * u[:,F:]   attr: act.   bwd reads u.
 * scale        in: x   out: y = scale x   attr: scale.
 * dropout      in: x   out: y
 *              attr: p. Element e (flat index) is kept when u01(philox(seed, e, rng_op, step)) >=
 *              p.
 * mask_rows    in: x [rows,D], u stat [rows] or [rows,D]   out: y = x * u   bwd reads u.
 * gather_rows  in: x [n,D], idx i32 [R]   out: y [R,D]   bwd reads idx; repeats add in order.
 * concat_rows  in: a [B,N,D], b [B,P,D]   out: y [B,N+P,D]
 * expand_rows  in: x [n,D]   out: y [B,n,D]   bwd: sum over B in a fixed order.
 * lm_loss      in: hidden [n,D], wte [V,D], rows i32 [R], labels i32 [R] (-100: not counted),
 *              inv_denom stat [1]
 *              out: loss stat [1] = inv_denom * sum of nll over counted rows, stat stats [R,2] =
 *              (nll, 1 if argmax == label; zeros for rows not counted)
 *              save: stat lse [R], logits [min(R, GQ_LM_CHUNK), V] (workspace of both directions; when R
 *              <= GQ_LM_CHUNK it holds the logits of all rows and backward may reuse them)
 *              dlogits = (softmax - onehot) * inv_denom * dout; bwd reads hidden, wte, rows,
 *              labels, inv_denom, lse, logits.
 *              argmax takes the lowest index on ties. Rows may repeat; their gradients add in
 *              order.
 * mvm_loss     in: h [R,D], t [R,D], u stat [R], inv_denom stat [1]   out: loss stat [1]
 *              attr: kind (sse, mse, cos)
 *              sse: inv_denom * sum_r u_r |h_r - t_r|^2; mse: that / D; cos: inv_denom * sum_r u_r
 *              (2 - 2 <h,t>/(|h||t|)), norms clamped below at 1e-8. bwd: dh only (t never has a
 *              gradient).   bwd reads h, t, u, inv_denom.
 * combine      in: 1..4 stat scalars [1]   out: stat [1] = sum w[k] in[k]   attr: w.
 * kv_append    in: qkv [B,T,W], cache [B,cap,2C], pos i32 [B]
 *              writes cache[b, pos[b]+t] = (k, v columns of row t)
 *              attr: koff, voff, width. Forward only; the cache is written in place; rows beyond
 *              cap are not written.
 */
#ifndef GIFQA_KERNELS_H
#define GIFQA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "core/oplist.h"
#include "core/status.h"
#include "core/threads.h"

typedef enum gq_dtype { GQ_F32, GQ_F64, GQ_I32, GQ_U8, GQ_BF16 } gq_dtype;
typedef enum gq_act { GQ_NONE, GQ_GELU, GQ_GELU_TANH, GQ_QUICK_GELU, GQ_RELU } gq_act;
typedef enum gq_mask { GQ_MASK_NONE, GQ_MASK_CAUSAL } gq_mask;
typedef enum gq_mvm_kind { GQ_MVM_COS, GQ_MVM_SSE, GQ_MVM_MSE } gq_mvm_kind;

enum { GQ_MAX_IN = 6, GQ_MAX_OUT = 2, GQ_MAX_SAVE = 2, GQ_MAX_RANK = 4, GQ_LM_CHUNK = 128 };

typedef struct gq_buf {
    void   *p;                          /* NULL: absent                                           */
    int64_t shape[GQ_MAX_RANK];         /* elements; unused dimensions are 1                      */
    int32_t rank;                       /* 1..4                                                   */
    int32_t dtype;                      /* gq_dtype                                               */
} gq_buf;

/* Buckets of relative positions (T5): kernels/relative.h. */
typedef struct gq_relative {
    int32_t both;                       /* not 0: keys after the query have the upper half of the buckets */
    int32_t last;                       /* not 0: the queries are the last positions of `lengths` */
    int32_t exact, edges;               /* distances with a bucket of their own; buckets after them, less one */
    int32_t edge[31];                   /* smallest distance of each bucket after the first of those */
} gq_relative;

typedef struct gq_attr {
    int32_t act, mask, kind;            /* gq_act, gq_mask, gq_mvm_kind                           */
    int32_t heads, width;               /* sdpa: H, C                                             */
    int32_t qoff, koff, voff;           /* sdpa, kv_append: first column                          */
    int32_t patch;                      /* patch_embed: side in pixels                            */
    float   eps, scale, p;              /* norms; sdpa, scale; dropout probability in [0,1)       */
    int32_t rms;                        /* norms: no mean                                         */
    gq_relative rel;                    /* sdpa with a table                                      */
    float   w[4];                       /* combine: weights                                       */
    float   mean[3], std[3];            /* patch_embed: per channel, in units of 0..1             */
} gq_attr;

typedef struct gq_step_block {          /* scalars that change from step to step                  */
    uint64_t seed;                      /* of the run                                             */
    uint32_t step;              /* optimiser step, counts from 0; micro-batches differ by `micro` */
    uint32_t micro;              /* micro-batch within the step: Philox step word = step*64+micro */
} gq_step_block;

typedef struct gq_device gq_device;

typedef struct gq_work {
    gq_pool *pool;                      /* NULL: single thread                                    */
    void    *temp;                      /* workspace, 64-byte aligned                             */
    size_t   temp_bytes;
    gq_device *device;                  /* of the backend; NULL: the host                         */
} gq_work;

typedef struct gq_call {
    gq_buf   in[GQ_MAX_IN], out[GQ_MAX_OUT], save[GQ_MAX_SAVE];
    gq_buf   din[GQ_MAX_IN], dout[GQ_MAX_OUT];       /* backward only                             */
    uint32_t acc;                       /* bit k: din[k] is added to                              */
    uint32_t rng_op;                    /* Philox purpose word of this node                       */
    gq_attr  attr;
    const gq_step_block *step;
    gq_work *work;
} gq_call;

typedef void (*gq_kernel)(const gq_call *);

typedef struct gq_op_kernels {
    gq_kernel fwd, bwd;                 /* bwd NULL: none in this backend                         */
    size_t  (*temp)(const gq_call *, int backward, int threads);   /* workspace bytes; NULL: none */
} gq_op_kernels;

/* One AdamW step (decoupled weight decay, bias-corrected) on elements [0,n) of flat arrays:
 * g' = g * gscale; m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'^2;
 * w -= lr * (m/c1 / (sqrt(v/c2) + eps) + decay * w) */
typedef struct gq_adamw_call {
    void   *w, *g, *m, *v;              /* w real [n], the others stat [n]                        */
    int64_t n;
    double  lr, beta1, beta2, eps, decay, gscale, c1, c2;       /* c1 = 1-beta1^t, c2 = 1-beta2^t */
    void   *master;                     /* stat [n]: what w is a rounding of; NULL: w itself      */
    int32_t real;                       /* gq_dtype of w, for kernels shared by two backends      */
} gq_adamw_call;

/* The update of all parameters in one call, for backends that run steps without the host: the gradient
 * norm of elements [0,n), then AdamW on the parts (which do not overlap), both where the arenas are, with
 * gradients scaled by min(1, clip / (norm + 1e-6)). Nothing is changed when the norm or the
 * loss is not finite, nor by later updates until the host, which learns of it later, clears `halted`. */
typedef struct gq_update_part {         /* one active parameter                                   */
    int64_t first, n;                   /* elements of the flat arenas                            */
    float   lr_mult, decay;
} gq_update_part;

typedef struct gq_update_scalars {      /* of one step                                            */
    float lr, beta1, beta2, eps, clip, c1, c2;   /* clip 0: none; c1 = 1-beta1^t, c2 = 1-beta2^t  */
} gq_update_scalars;

typedef struct gq_update_call {
    void   *w, *master, *g, *m, *v;     /* bases, as in gq_adamw_call                             */
    int64_t n;
    const gq_update_part *part;         /* [parts], in the backend's memory                       */
    int32_t parts;
    const gq_update_scalars *scalars;   /* in the backend's memory                                */
    double *norm;                       /* [1], in the backend's memory: result                   */
    int32_t *halted;                    /* [1], in the backend's memory: not 0 after a bad step   */
    const void *loss;                   /* stat [1], in the backend's memory; NULL: not looked at */
    int32_t real;                       /* gq_dtype of w                                          */
} gq_update_call;

/* Memory and time of a backend whose kernels do not work in the host's memory. All work is in one
 * order: copies, fills and kernels happen one after the other, the host waits only where it says so. */
struct gq_device {
    void   *(*alloc)(gq_device *d, size_t bytes);        /* zero-filled; NULL: no room            */
    void    (*release)(gq_device *d, void *p);           /* NULL allowed                          */
    void   *(*alloc_host)(gq_device *d, size_t bytes);   /* page-locked, zero-filled; NULL: no room */
    void    (*release_host)(gq_device *d, void *p);
    /* src may change when it is not page-locked, else after finish() */
    void    (*upload)(gq_device *d, void *dst, const void *src, size_t bytes);
    void    (*download)(gq_device *d, void *dst, const void *src, size_t bytes);     /* waits     */
    void    (*copy)(gq_device *d, void *dst, const void *src, size_t bytes);         /* device to device */
    void    (*fill)(gq_device *d, void *dst, int byte, size_t bytes);
    void    (*set_step)(gq_device *d, const gq_step_block *step);   /* for kernels that follow    */
    gq_status (*finish)(gq_device *d, gq_error *err);    /* waits; the first error since the last one */
    void    (*room)(gq_device *d, size_t *free_bytes, size_t *total_bytes);
    /* Between begin and end work is recorded, not done; run does it again as often as wanted, with
     * the memory as it is then. NULL after a failure, which finish() reports. */
    void    (*capture_begin)(gq_device *d);
    void   *(*capture_end)(gq_device *d);
    void    (*graph_run)(gq_device *d, void *graph);
    void    (*graph_free)(gq_device *d, void *graph);    /* NULL allowed                          */
    double  (*seconds)(gq_device *d);                    /* waits; a clock of the device          */
    /* Products may be tried in several ways and the fastest kept, which differs from run to run, and with it
     * the last bits. choices: what was kept, as text (gq_free(); NULL: no memory); choices_take: uses it
     * instead of trying, GQ_EINPUT and nothing taken when it is damaged or of another GPU or library. */
    void    (*tune)(gq_device *d, int on);
    char   *(*choices)(gq_device *d);
    gq_status (*choices_take)(gq_device *d, const char *text, gq_error *err);
    void    (*attention)(gq_device *d, int which);       /* for calls that follow: 0 auto, 1 own, 2 cuDNN, 3 unfused */
    /* What lets the host run ahead of the work: a second queue for copies, and points in the queues, numbered
     * from 1 (0 is passed). ahead: src, page-locked, to dst, once the work has passed `after`; the point is the
     * copy's end. follow: work goes on after that point. fetch: to page-locked dst, in the work's order. mark: the
     * end of what has been asked of the work so far. wait: the host; with the first error since the last one. */
    uint64_t  (*ahead)(gq_device *d, void *dst, const void *src, size_t bytes, uint64_t after);
    void      (*follow)(gq_device *d, uint64_t point);
    void      (*fetch)(gq_device *d, void *dst, const void *src, size_t bytes);
    uint64_t  (*mark)(gq_device *d);
    gq_status (*wait)(gq_device *d, uint64_t point, gq_error *err);
};

typedef struct gq_backend {
    const char    *name;                /* "ref32", "ref64", "cpu-avx2", "cuda-bf16", ...         */
    gq_dtype       real, stat;          /* see above                                              */
    gq_device     *device;              /* NULL: buffers are in the host's memory                 */
    gq_op_kernels  ops[GQ_OP_COUNT];
    void         (*adamw)(const gq_adamw_call *, gq_work *);
    /* sum of squares in double of stat [n], fixed order: chunks of 65,536 elements, partial sums
     * added by index; NaN or infinity in x gives a non-finite result */
    double       (*sumsq)(const void *x, int64_t n, gq_work *);
    void         (*update)(const gq_update_call *, gq_work *);      /* NULL: not offered          */
    size_t       (*update_temp)(int64_t n, int32_t parts);          /* bytes of temp it needs     */
} gq_backend;

extern const gq_backend gq_backend_ref32, gq_backend_ref64;

/* The CPU backend of this machine. rung: NULL or "auto" = the best one supported; else "scalar",
 * "avx2", "avx512", "avx512bf16". NULL result: the machine (or this build) does not have that
 * rung. */
const gq_backend *gq_backend_cpu(const char *rung);

/* bf16 GEMM operands with fp32 accumulation for `linear`, all else as in the rung avx512bf16 (off
 * by default: fp32 promised). how: NULL or "auto" = the fastest one supported; else "amx" (tiles;
 * asks Linux for the right to use them), "avx512bf16" (vectors). NULL result as above. */
const gq_backend *gq_backend_cpu_bf16(const char *how);

/* The backend of GPU `index`: real is bfloat16 with float masters, or float. It belongs to the process,
 * one for each (index, bf16). NULL with an error that says what is missing: no GPU in this build, no
 * driver, no such device, no cuBLASLt. */
const gq_backend *gq_backend_cuda(int index, int bf16, gq_error *err);

/* ---- small helpers shared by all backends ---------------------------------------------------- */

static inline int64_t gq_cols(const gq_buf *b) { return b->shape[b->rank - 1]; }
static inline int64_t gq_size(const gq_buf *b)
{
    int64_t n = 1;
    for (int i = 0; i < b->rank; i++)
        n *= b->shape[i];
    return n;
}
static inline int64_t gq_rows(const gq_buf *b)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < b->rank; i++)
        n *= b->shape[i];
    return n;
}
static inline uint32_t gq_step_word(const gq_call *c)
{
    return c->step->step * 64u + c->step->micro;
}

#endif
