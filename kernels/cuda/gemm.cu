/* gemm.cu - matrix products through cuBLASLt: plans, choices of algorithms, the calls.
 *
 * A product here is 2 m n k operations on m k + k n + m n elements: tensor cores are the roof above
 * about 300 operations a byte (H100: 990 T/s of bf16 against 3.35 TB/s), the copy bandwidth below.
 *
 * Row-major against column-major: what we call D [m,n] is to cuBLASLt the column-major D' [n,m] = op(B)'
 * op(A)', so the operands are swapped: its A is our B, its B our A. A bias along n is one along the rows
 * of D' (what its epilogues take), and the row sums of op(A) are its BGRADB.
 *
 * A choice is an algorithm for (description, alignment of the operands); a plan is a choice with descriptors
 * for one bias and aux address, which are attributes there: addresses never change while a tape lives, so
 * after one pass every call finds its plan and makes no descriptor call.
 *
 * Which algorithms are allowed. Split-K sums partial products in one of three ways: INPLACE adds them to D
 * in D's type, in a sequence kept by counters; OUTPUT_TYPE keeps them in D's type; COMPUTE_TYPE keeps them
 * as floats in the workspace, and a second kernel adds them. We allow no split or COMPUTE_TYPE: partial sums
 * are never rounded to bf16 and their order does not depend on which block is ready first. NVIDIA promises
 * equal bits for equal version, GPU and algorithm as long as streams do not share a workspace: each of the two
 * streams of a device has its own. Added to a bfloat16 D (beta 1), a product may be rounded before it is: kernels for
 * sm_90 do that.
 *
 * Alignment: cuBLASLt takes addresses to be multiples of 256 bytes unless it is told; it is told the real
 * alignment up to 16, which is all that vector loads and the tensor copy engine want.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/lt_api.h"

extern "C" {
#include "core/mem.h"
}

#if !defined(GQ_ON_HOST) && __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define SAME(ours, theirs) static_assert((int)(ours) == (int)(theirs), #ours " is not " #theirs)
SAME(GQ_LT_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED);
SAME(GQ_LT_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE);
SAME(GQ_LT_INTERNAL_ERROR, CUBLAS_STATUS_INTERNAL_ERROR);
SAME(GQ_LT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(GQ_LT_R_32F, CUDA_R_32F);
SAME(GQ_LT_R_16BF, CUDA_R_16BF);
SAME(GQ_LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(GQ_LT_OP_N, CUBLAS_OP_N);
SAME(GQ_LT_OP_T, CUBLAS_OP_T);
SAME(GQ_LT_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(GQ_LT_LAYOUT_BATCH_STRIDE, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(GQ_LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(GQ_LT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(GQ_LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(GQ_LT_DESC_BIAS, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(GQ_LT_DESC_AUX, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
SAME(GQ_LT_DESC_AUX_LD, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
SAME(GQ_LT_DESC_BIAS_TYPE, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
SAME(GQ_LT_PREF_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(GQ_LT_PREF_REDUCTION, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(GQ_LT_PREF_ALIGN_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(GQ_LT_PREF_ALIGN_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(GQ_LT_PREF_ALIGN_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(GQ_LT_PREF_ALIGN_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(GQ_LT_REDUCTION_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
SAME(GQ_LT_EPI_DEFAULT, CUBLASLT_EPILOGUE_DEFAULT);
SAME(GQ_LT_EPI_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(GQ_LT_EPI_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_BIAS);
SAME(GQ_LT_EPI_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
SAME(GQ_LT_EPI_DGELU_BGRAD, CUBLASLT_EPILOGUE_DGELU_BGRAD);
SAME(GQ_LT_EPI_BGRADB, CUBLASLT_EPILOGUE_BGRADB);
SAME(sizeof(gq_lt_algo), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(gq_lt_result), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(gq_lt_result, workspace), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(gq_lt_result, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
/* Same number of arguments, each passed in the same number of bytes: enums are int on our side. */
template <class R, class... A, class S, class... B>
static constexpr bool same_call(R (*)(A...), S (*)(B...))
{
    return sizeof(R) == sizeof(S) && ((sizeof(A) == sizeof(B)) && ...);
}
#define SAME_CALL(result, name, arguments)                                                         \
    static_assert(same_call((result (*) arguments)nullptr, (decltype(&cublasLt##name))nullptr), "cublasLt" #name);
GQ_LT_CALLS(SAME_CALL)
#endif

enum { CANDIDATES = 8, TIMED_RUNS = 5, PLANS_MOST = 8192 };

/* All that an algorithm depends on, then the addresses that a descriptor holds. No padding: compared as bytes. */
typedef struct key {
    gq_gemm  g;
    uint64_t align;                     /* 5 fields of 8 bits: a, b, d and addend, bias, aux      */
    const void *bias, *aux;             /* NULL in a choice                                       */
} key;
static_assert(sizeof(key) == sizeof(gq_gemm) + 24 && sizeof(gq_gemm) == 120, "no padding in a key");

typedef enum chosen { BY_NOBODY, BY_FILE, BY_LIBRARY, BY_CLOCK } chosen;

typedef struct choice {
    key        k;
    gq_lt_algo algo;
    chosen     by;                      /* BY_FILE: not checked yet; BY_NOBODY: there is none     */
    int        status;                  /* why there is none                                      */
} choice;

typedef struct plan {
    key        k;
    gq_lt_algo algo;
    void      *op, *a, *b, *d;          /* in the library's sense of a and b                      */
} plan;

/* Open addressing over entries that begin with their key; at most half full. */
typedef struct table { void **slot; size_t slots, used; } table;

struct gq_lt {
    gq_lt_table call;
    void       *library, *handle;
    char       *workspace;              /* one for each of gq_cuda.lane                           */
    size_t      workspace_bytes, version;
    char        gpu[256];
    bool        tunes, gelu_pays;
    table       plans, choices;
    uint64_t    descriptor_calls;
    const char *last;                   /* of them: what it was, up to a parenthesis              */
};

/* ---- tables ---------------------------------------------------------------------------------- */

static uint64_t hash64(const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t             h = 0x9e3779b97f4a7c15u ^ bytes;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, bytes - i < 8 ? bytes - i : 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static void **slot_of(const table *t, const key *k)
{
    for (size_t i = hash64(k, sizeof *k);; i++) {
        void **s = &t->slot[i & (t->slots - 1)];
        if (!*s || memcmp(*s, k, sizeof *k) == 0)
            return s;
    }
}

static void *found(const table *t, const key *k) { return t->slots ? *slot_of(t, k) : NULL; }

/* A zeroed entry of `bytes` with this key, which is not there yet; NULL: no memory. */
static void *added(table *t, const key *k, size_t bytes)
{
    if (t->used * 2 >= t->slots) {
        table wider = {NULL, t->slots ? t->slots * 2 : 256, t->used};
        wider.slot = (void **)gq_calloc(wider.slots, sizeof *wider.slot);
        if (!wider.slot)
            return NULL;
        for (size_t i = 0; i < t->slots; i++)
            if (t->slot[i])
                *slot_of(&wider, (const key *)t->slot[i]) = t->slot[i];
        gq_free(t->slot);
        *t = wider;
    }
    void *entry = gq_calloc(1, bytes);
    if (entry) {
        memcpy(entry, k, sizeof *k);
        *slot_of(t, k) = entry;
        t->used++;
    }
    return entry;
}

static void drop_plan(gq_lt *lt, plan *p)
{
    if (p->op)
        lt->call.MatmulDescDestroy(p->op);
    void *layouts[] = {p->a, p->b, p->d};
    for (void *l : layouts)
        if (l)
            lt->call.MatrixLayoutDestroy(l);
    p->op = p->a = p->b = p->d = NULL;
}

static void drop_table(table *t)
{
    for (size_t i = 0; i < t->slots; i++)
        gq_free(t->slot[i]);
    gq_free(t->slot);
    *t = table{};
}

static void drop_plans(gq_lt *lt)
{
    for (size_t i = 0; i < lt->plans.slots; i++)
        if (lt->plans.slot[i])
            drop_plan(lt, (plan *)lt->plans.slot[i]);
    drop_table(&lt->plans);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void failed(gq_cuda *d, int status, const char *what, const gq_gemm *g)
{
    static const char *const epilogue[] = {"", " + bias", " + bias, GELU", " + bias, GELU, aux", ", GELU gradient",
                                           ", bias gradient"};
    gq_fail(&d->error, status == GQ_LT_ALLOC_FAILED ? GQ_ENOMEM : GQ_EBUG,
            "cublasLt%.*s on GPU %d, %s product [%" PRId64 ",%" PRId64 "] over %" PRId64 " (A%s, B%s, batch %d%s): %s",
            (int)strcspn(what, "("), what, d->index, g->type_ab == GQ_BF16 ? "bf16" : "float", g->m, g->n, g->k, g->ta ? " transposed" : "",
            g->tb ? " transposed" : "", (int)g->batch, epilogue[g->epilogue], d->lt->call.GetStatusString(status));
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static bool has_bias(const gq_gemm *g) { return g->epilogue != GQ_EPI_NONE; }
static bool has_aux(const gq_gemm *g)
{
    return g->epilogue == GQ_EPI_BIAS_GELU_AUX || g->epilogue == GQ_EPI_DGELU_BGRAD;
}

static uint32_t epilogue_of(const gq_gemm *g)
{
    switch (g->epilogue) {
    case GQ_EPI_BIAS:          return GQ_LT_EPI_BIAS;
    case GQ_EPI_BIAS_GELU:     return GQ_LT_EPI_GELU_BIAS;
    case GQ_EPI_BIAS_GELU_AUX: return GQ_LT_EPI_GELU_AUX_BIAS;
    case GQ_EPI_DGELU_BGRAD:   return GQ_LT_EPI_DGELU_BGRAD;
    case GQ_EPI_BGRAD_A:       return GQ_LT_EPI_BGRADB;
    default:                   return GQ_LT_EPI_DEFAULT;
    }
}

static int type_of(int32_t dtype) { return dtype == GQ_BF16 ? GQ_LT_R_16BF : GQ_LT_R_32F; }

/* The first failure in a row of calls; every one that is made is counted. */
#define STEP(lt, status, expression)                                                               \
    do {                                                                                           \
        if ((status) == GQ_LT_OK) {                                                                \
            (lt)->descriptor_calls++;                                                              \
            (lt)->last = #expression;                                                              \
            (status) = (lt)->call.expression;                                                      \
        }                                                                                          \
    } while (0)

static int make_layout(gq_lt *lt, void **layout, int32_t dtype, int64_t rows, int64_t cols, int64_t ld, int32_t batch,
                       int64_t stride)
{
    int s = GQ_LT_OK;
    STEP(lt, s, MatrixLayoutCreate(layout, type_of(dtype), (uint64_t)rows, (uint64_t)cols, ld));
    if (batch > 1) {
        STEP(lt, s, MatrixLayoutSetAttribute(*layout, GQ_LT_LAYOUT_BATCH_COUNT, &batch, sizeof batch));
        STEP(lt, s, MatrixLayoutSetAttribute(*layout, GQ_LT_LAYOUT_BATCH_STRIDE, &stride, sizeof stride));
    }
    return s;
}

static int make_op(gq_lt *lt, void **op, const key *k)
{
    const gq_gemm *g = &k->g;
    int32_t        ta = g->tb ? GQ_LT_OP_T : GQ_LT_OP_N, tb = g->ta ? GQ_LT_OP_T : GQ_LT_OP_N;
    int32_t        bias_type = type_of(g->type_bias);
    uint32_t       epilogue = epilogue_of(g);
    int            s = GQ_LT_OK;
    STEP(lt, s, MatmulDescCreate(op, GQ_LT_COMPUTE_32F, GQ_LT_R_32F));
    STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_TRANSA, &ta, sizeof ta));
    STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_TRANSB, &tb, sizeof tb));
    STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_EPILOGUE, &epilogue, sizeof epilogue));
    if (has_bias(g)) {
        STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_BIAS_TYPE, &bias_type, sizeof bias_type));
        STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_BIAS, &k->bias, sizeof k->bias));
    }
    if (has_aux(g)) {
        STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_AUX, &k->aux, sizeof k->aux));
        STEP(lt, s, MatmulDescSetAttribute(*op, GQ_LT_DESC_AUX_LD, &g->ld_aux, sizeof g->ld_aux));
    }
    return s;
}

/* p's descriptors for p->k; what was made before a failure is p's too. */
static int make_descriptors(gq_lt *lt, plan *p)
{
    const gq_gemm *g = &p->k.g;
    int            s = make_op(lt, &p->op, &p->k);
    if (s == GQ_LT_OK)
        s = g->tb ? make_layout(lt, &p->a, g->type_ab, g->k, g->n, g->ldb, g->batch, g->stride_b)
                  : make_layout(lt, &p->a, g->type_ab, g->n, g->k, g->ldb, g->batch, g->stride_b);
    if (s == GQ_LT_OK)
        s = g->ta ? make_layout(lt, &p->b, g->type_ab, g->m, g->k, g->lda, g->batch, g->stride_a)
                  : make_layout(lt, &p->b, g->type_ab, g->k, g->m, g->lda, g->batch, g->stride_a);
    if (s == GQ_LT_OK)
        s = make_layout(lt, &p->d, g->type_d, g->n, g->m, g->ldd, g->batch, g->stride_d);
    return s;
}

static int multiply(gq_cuda *d, const plan *p, const gq_lt_algo *algo, const void *a, const void *b, void *out,
                    const void *addend)
{
    gq_lt *lt = d->lt;
    return lt->call.Matmul(lt->handle, p->op, &p->k.g.alpha, b, p->a, a, p->b, &p->k.g.beta, addend, p->d, out, p->d,
                           algo, lt->workspace + (size_t)d->lane * lt->workspace_bytes, lt->workspace_bytes, d->stream);
}

/* ---- choosing an algorithm ------------------------------------------------------------------- */

static int candidates(gq_lt *lt, const plan *p, gq_lt_result *result, int *got)
{
    uint32_t mask = GQ_LT_REDUCTION_COMPUTE_TYPE;
    uint32_t align_a = p->k.align >> 8 & 255, align_b = p->k.align & 255, align_d = p->k.align >> 16 & 255;
    uint64_t room = lt->workspace_bytes;
    void    *pref = NULL;
    int      s = GQ_LT_OK;
    STEP(lt, s, MatmulPreferenceCreate(&pref));
    STEP(lt, s, MatmulPreferenceSetAttribute(pref, GQ_LT_PREF_WORKSPACE, &room, sizeof room));
    STEP(lt, s, MatmulPreferenceSetAttribute(pref, GQ_LT_PREF_REDUCTION, &mask, sizeof mask));
    STEP(lt, s, MatmulPreferenceSetAttribute(pref, GQ_LT_PREF_ALIGN_A, &align_a, sizeof align_a));
    STEP(lt, s, MatmulPreferenceSetAttribute(pref, GQ_LT_PREF_ALIGN_B, &align_b, sizeof align_b));
    STEP(lt, s, MatmulPreferenceSetAttribute(pref, GQ_LT_PREF_ALIGN_C, &align_d, sizeof align_d));
    STEP(lt, s, MatmulPreferenceSetAttribute(pref, GQ_LT_PREF_ALIGN_D, &align_d, sizeof align_d));
    STEP(lt, s, MatmulAlgoGetHeuristic(lt->handle, p->op, p->a, p->b, p->d, p->d, pref, CANDIDATES, result, got));
    if (pref)
        lt->call.MatmulPreferenceDestroy(pref);
    return s == GQ_LT_OK && *got == 0 ? GQ_LT_NOT_SUPPORTED : s;
}

static int check(gq_lt *lt, const plan *p, const gq_lt_algo *algo)
{
    gq_lt_result r = {};
    int          s = GQ_LT_OK;
    STEP(lt, s, MatmulAlgoCheck(lt->handle, p->op, p->a, p->b, p->d, p->d, algo, &r));
    return s == GQ_LT_OK && r.workspace > lt->workspace_bytes ? GQ_LT_NOT_SUPPORTED : s;
}

typedef struct trial { plan p; void *a, *b, *out; cudaEvent_t from, to; } trial;

static size_t extent(int64_t rows, int64_t cols, int64_t ld, int64_t stride, int32_t batch, int32_t dtype)
{
    return (size_t)((rows - 1) * ld + cols + (batch - 1) * stride) * (dtype == GQ_BF16 ? 2 : 4);
}

static void *scratch(gq_cuda *d, size_t bytes)
{
    void *p = NULL;
    GQ_CUDA(d, cudaMalloc(&p, bytes));
    if (p)
        GQ_CUDA(d, cudaMemsetAsync(p, 0x3c, bytes, d->stream));          /* 0.0115 as either type */
    return p;
}

static void drop_trial(gq_cuda *d, trial *t)
{
    void *buffers[] = {t->a, t->b, t->out, (void *)t->p.k.bias, (void *)t->p.k.aux};
    for (void *p : buffers)
        if (p)
            GQ_CUDA(d, cudaFree(p));
    if (t->from)
        GQ_CUDA(d, cudaEventDestroy(t->from));
    if (t->to)
        GQ_CUDA(d, cudaEventDestroy(t->to));
    drop_plan(d->lt, &t->p);
}

/* Buffers of its own: beta 1 would change the real ones. */
static bool make_trial(gq_cuda *d, const key *k, trial *t)
{
    const gq_gemm *g = &k->g;
    *t = trial{};
    t->p.k = *k;
    t->a = g->ta ? scratch(d, extent(g->k, g->m, g->lda, g->stride_a, g->batch, g->type_ab))
                 : scratch(d, extent(g->m, g->k, g->lda, g->stride_a, g->batch, g->type_ab));
    t->b = g->tb ? scratch(d, extent(g->n, g->k, g->ldb, g->stride_b, g->batch, g->type_ab))
                 : scratch(d, extent(g->k, g->n, g->ldb, g->stride_b, g->batch, g->type_ab));
    t->out = scratch(d, extent(g->m, g->n, g->ldd, g->stride_d, g->batch, g->type_d));
    t->p.k.bias = has_bias(g) ? scratch(d, (size_t)(g->m > g->n ? g->m : g->n) * 4) : NULL;
    t->p.k.aux = has_aux(g) ? scratch(d, extent(g->m, g->n, g->ld_aux, 0, 1, g->type_d)) : NULL;
    GQ_CUDA(d, cudaEventCreate(&t->from));
    GQ_CUDA(d, cudaEventCreate(&t->to));
    return d->error.code == GQ_OK && make_descriptors(d->lt, &t->p) == GQ_LT_OK;
}

static float milliseconds(gq_cuda *d, const trial *t, const gq_lt_algo *algo)
{
    float ms = INFINITY;
    if (multiply(d, &t->p, algo, t->a, t->b, t->out, t->out) != GQ_LT_OK)
        return INFINITY;
    GQ_CUDA(d, cudaEventRecord(t->from, d->stream));
    for (int i = 0; i < TIMED_RUNS; i++)
        if (multiply(d, &t->p, algo, t->a, t->b, t->out, t->out) != GQ_LT_OK)
            return INFINITY;
    GQ_CUDA(d, cudaEventRecord(t->to, d->stream));
    GQ_CUDA(d, cudaEventSynchronize(t->to));
    GQ_CUDA(d, cudaEventElapsedTime(&ms, t->from, t->to));
    return ms;
}

/* The index of the fastest; 0 when timing is not possible. */
static int fastest(gq_cuda *d, const key *k, const gq_lt_result *result, int n)
{
    trial t;
    int   best = 0;
    float best_ms = INFINITY;
    bool  clean = d->error.code == GQ_OK;
    if (make_trial(d, k, &t))
        for (int i = 0; i < n; i++) {
            float ms = milliseconds(d, &t, &result[i].algo);
            if (ms < best_ms) {
                best_ms = ms;
                best = i;
            }
        }
    drop_trial(d, &t);
    if (clean && d->error.code == GQ_ENOMEM)        /* no room to try: no failure of the product  */
        gq_error_clear(&d->error);
    return best;
}

/* Fills c for the descriptors of p (which has real or stand-in addresses). */
static void choose(gq_cuda *d, choice *c, const plan *p)
{
    gq_lt       *lt = d->lt;
    gq_lt_result result[CANDIDATES] = {};
    int          got = 0, n = 0;
    if (c->by == BY_FILE && check(lt, p, &c->algo) == GQ_LT_OK) {
        c->by = BY_CLOCK;
        return;
    }
    c->by = BY_NOBODY;
    c->status = candidates(lt, p, result, &got);
    if (c->status != GQ_LT_OK)
        return;
    c->status = GQ_LT_NOT_SUPPORTED;
    for (int i = 0; i < got; i++)
        if (result[i].state == GQ_LT_OK && check(lt, p, &result[i].algo) == GQ_LT_OK)
            result[n++] = result[i];
    if (n == 0)
        return;
    bool timed = lt->tunes && !d->capturing && n > 1;
    c->algo = result[timed ? fastest(d, &c->k, result, n) : 0].algo;
    c->by = timed ? BY_CLOCK : BY_LIBRARY;
    c->status = GQ_LT_OK;
}

static key choice_key(const key *k)
{
    key c = *k;
    c.bias = c.aux = NULL;
    return c;
}

/* Must the library be asked (again)? Out of memory today is no answer for tomorrow. */
static bool open_question(const choice *c)
{
    return !c || c->by == BY_FILE ||
           (c->by == BY_NOBODY && (c->status == GQ_LT_ALLOC_FAILED || c->status == GQ_LT_INTERNAL_ERROR));
}

/* The choice for p's description, made with p's descriptors if it is new; NULL: no memory. */
static choice *choice_of(gq_cuda *d, const plan *p)
{
    key     k = choice_key(&p->k);
    choice *c = (choice *)found(&d->lt->choices, &k);
    bool    open = open_question(c);
    if (!c)
        c = (choice *)added(&d->lt->choices, &k, sizeof *c);
    if (c && open)
        choose(d, c, p);
    else
        d->lt->last = "MatmulAlgoGetHeuristic";
    return c;
}

/* ---- products -------------------------------------------------------------------------------- */

/* The bytes at whose multiples p is, at most 16. */
static uint64_t alignment(const void *p) { return ((uintptr_t)p | 16) & (~((uintptr_t)p | 16) + 1); }

static key key_of(const gq_gemm *g, const void *a, const void *b, const void *out, const void *addend, const void *bias,
                  const void *aux)
{
    key k = {};
    k.g = *g;
    if (!has_aux(g))
        k.g.ld_aux = 0;
    if (!has_bias(g))
        k.g.type_bias = 0;
    if (g->batch == 1)
        k.g.stride_a = k.g.stride_b = k.g.stride_d = 0;
    k.g.unused = 0;
    k.g.ta = g->ta != 0;
    k.g.tb = g->tb != 0;
    k.bias = has_bias(g) ? bias : NULL;
    k.aux = has_aux(g) ? aux : NULL;
    k.align = alignment(a) | alignment(b) << 8 | alignment((const void *)((uintptr_t)out | (uintptr_t)addend)) << 16 |
              alignment(k.bias) << 24 | alignment(k.aux) << 32;
    return k;
}

/* NULL: it cannot be had, and the error is noted. */
static plan *make_plan(gq_cuda *d, const key *k)
{
    gq_lt  *lt = d->lt;
    if (d->capturing) {
        gq_fail(&d->error, GQ_EBUG, "a matrix product [%" PRId64 ",%" PRId64 "] over %" PRId64 " is new inside a capture on "
                "GPU %d: the work must have run once before", k->g.m, k->g.n, k->g.k, d->index);
        return NULL;
    }
    if (lt->plans.used >= PLANS_MOST)             /* addresses of tapes that are gone: begin anew */
        drop_plans(lt);
    plan p = {};
    p.k = *k;
    int           s = make_descriptors(lt, &p);
    const choice *c = s == GQ_LT_OK ? choice_of(d, &p) : NULL;
    if (c && c->by == BY_NOBODY)
        s = c->status;
    plan *kept = c && s == GQ_LT_OK ? (plan *)added(&lt->plans, k, sizeof *kept) : NULL;
    if (!kept) {
        drop_plan(lt, &p);
        failed(d, s == GQ_LT_OK ? GQ_LT_ALLOC_FAILED : s, lt->last, &k->g);
        return NULL;
    }
    *kept = p;
    kept->algo = c->algo;
    return kept;
}

/* beta 1: what is there stays. */
static void nothing(gq_cuda *d, const gq_gemm *g, void *out)
{
    if (g->beta == 0.0f)
        GQ_CUDA(d, cudaMemsetAsync(out, 0, extent(g->m, g->n, g->ldd, g->stride_d, g->batch, g->type_d), d->stream));
}

void gq_cuda_gemm(gq_cuda *d, const gq_gemm *g, const void *a, const void *b, void *out, void *bias, void *aux,
                  const void *addend)
{
    if (g->m == 0 || g->n == 0 || g->batch == 0)
        return;
    if (g->k == 0) {                    /* a sum of nothing, which the library refuses            */
        nothing(d, g, out);
        return;
    }
    key   k = key_of(g, a, b, out, addend, bias, aux);
    plan *p = (plan *)found(&d->lt->plans, &k);
    if (!p)
        p = make_plan(d, &k);
    if (!p)
        return;
    d->launches++;
    int s = multiply(d, p, &p->algo, a, b, out, addend ? addend : out);
    if (s != GQ_LT_OK)
        failed(d, s, "Matmul", g);
}

/* Epilogues that no library can do, or that do not pay, are not asked for. GELU: measured by others to be slower than a
 * kernel of one's own on sm_80, sm_89 and sm_120 and a little faster on sm_90. */
static bool worth_asking(const gq_lt *lt, const gq_gemm *g)
{
    if (g->epilogue == GQ_EPI_NONE)
        return true;
    if (g->k == 0 || g->batch != 1 || (has_aux(g) && g->ld_aux % 8 != 0))
        return false;
    if ((g->epilogue == GQ_EPI_BIAS_GELU || g->epilogue == GQ_EPI_BIAS_GELU_AUX) && !lt->gelu_pays)
        return false;
    return true;
}

bool gq_cuda_gemm_has(gq_cuda *d, const gq_gemm *g)
{
    gq_lt      *lt = d->lt;
    const void *aligned = lt->workspace;      /* never read: the library looks at addresses alone */
    key         k = key_of(g, aligned, aligned, aligned, aligned, aligned, aligned);
    key         ck = choice_key(&k);
    if (!worth_asking(lt, g))
        return false;
    const choice *c = (const choice *)found(&lt->choices, &ck);
    if (open_question(c)) {
        plan p = {};
        p.k = k;
        c = make_descriptors(lt, &p) == GQ_LT_OK ? choice_of(d, &p) : NULL;
        drop_plan(lt, &p);
    }
    return c && c->by != BY_NOBODY;
}

void gq_cuda_gemm_tune(gq_cuda *d, bool on) { d->lt->tunes = on; }
uint64_t gq_cuda_gemm_descriptor_calls(const gq_cuda *d) { return d->lt->descriptor_calls; }
void gq_cuda_gemm_count(const gq_cuda *d, size_t *plans, size_t *choices)
{
    *plans = d->lt->plans.used;
    *choices = d->lt->choices.used;
}

/* ---- choices as text -------------------------------------------------------------------------
 * gifqa gemm choices 1
 * cublaslt VERSION workspace BYTES gpu NAME
 * one line a choice: the key and the algorithm, as 64-bit words in hexadecimal
 * end COUNT HASH           the hash is of everything before this line                            */

enum { KEY_WORDS = (sizeof(gq_gemm) + 8) / 8, ALGO_WORDS = 8, LINE_WORDS = KEY_WORDS + ALGO_WORDS,
       LINE_BYTES = LINE_WORDS * 17, HEAD_BYTES = 512 };

static int print_head(const gq_lt *lt, char *text)
{
    return snprintf(text, HEAD_BYTES, "gifqa gemm choices 1\ncublaslt %zu workspace %zu gpu %s\n", lt->version,
                    lt->workspace_bytes, lt->gpu);
}

char *gq_cuda_gemm_choices(const gq_cuda *d)
{
    const gq_lt *lt = d->lt;
    size_t       count = 0;
    char        *text = (char *)gq_malloc(lt->choices.used * LINE_BYTES + 2 * HEAD_BYTES, 1), *at = text;
    if (!text)
        return NULL;
    at += print_head(lt, at);
    for (size_t i = 0; i < lt->choices.slots; i++) {
        const choice *c = (const choice *)lt->choices.slot[i];
        if (!c || c->by == BY_NOBODY)
            continue;
        uint64_t word[LINE_WORDS];
        memcpy(word, &c->k, KEY_WORDS * 8);
        memcpy(word + KEY_WORDS, &c->algo, sizeof c->algo);
        for (int w = 0; w < LINE_WORDS; w++)
            at += sprintf(at, "%016" PRIx64 "%c", word[w], w + 1 < LINE_WORDS ? ' ' : '\n');
        count++;
    }
    sprintf(at, "end %zu %016" PRIx64 "\n", count, hash64(text, (size_t)(at - text)));
    return text;
}

static gq_status take_line(gq_lt *lt, const char *line, gq_error *err)
{
    uint64_t word[LINE_WORDS];
    key      k = {};
    for (int w = 0; w < LINE_WORDS; w++)
        word[w] = strtoull(line + w * 17, NULL, 16);
    memcpy(&k, word, KEY_WORDS * 8);
    choice *c = (choice *)found(&lt->choices, &k);
    if (!c)
        c = (choice *)added(&lt->choices, &k, sizeof *c);
    if (!c)
        return gq_fail(err, GQ_ENOMEM, "choices of matrix products: out of memory");
    memcpy(&c->algo, word + KEY_WORDS, sizeof c->algo);
    c->by = BY_FILE;
    return GQ_OK;
}

gq_status gq_cuda_gemm_choices_take(gq_cuda *d, const char *text, gq_error *err)
{
    gq_lt      *lt = d->lt;
    char        head[HEAD_BYTES], tail[HEAD_BYTES];
    int         head_bytes = print_head(lt, head);
    const char *end = strstr(text, "\nend "), *line = text + head_bytes;
    if (!end)
        return gq_fail(err, GQ_EINPUT, "choices of matrix products: the last line is missing");
    end++;
    size_t bytes = (size_t)(end - text), count = bytes > (size_t)head_bytes ? (bytes - head_bytes) / LINE_BYTES : 0;
    snprintf(tail, sizeof tail, "end %zu %016" PRIx64 "\n", count, hash64(text, bytes));
    if (strncmp(text, head, (size_t)head_bytes) != 0) {
        head[head_bytes - 1] = 0;
        return gq_fail(err, GQ_EINPUT, "choices of matrix products: they are not of this library and GPU (%s)",
                       strchr(head, '\n') + 1);
    }
    if (strcmp(end, tail) != 0 || bytes != (size_t)head_bytes + count * LINE_BYTES)
        return gq_fail(err, GQ_EINPUT, "choices of matrix products: the text is damaged");
    for (size_t i = 0; i < count; i++)
        if (take_line(lt, line + i * LINE_BYTES, err) != GQ_OK)
            return err ? err->code : GQ_ENOMEM;
    return GQ_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

#ifdef GQ_ON_HOST
static gq_status open_library(gq_lt *lt, gq_error *)
{
    lt->call = *gq_lt_table_on_host();
    return GQ_OK;
}
#else
static gq_status open_library(gq_lt *lt, gq_error *err)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !lt->library; i++)
        lt->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!lt->library)
        return gq_fail(err, GQ_EUSAGE, "cuBLASLt is missing (libcublasLt.so.13 or .so.12 of CUDA 12.4 or newer): %s",
                       dlerror());
    const struct { const char *name; void **call; } calls[] = {
#define ENTRY(result, name, arguments) {"cublasLt" #name, (void **)&lt->call.name},
        GQ_LT_CALLS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        *calls[i].call = dlsym(lt->library, calls[i].name);
        if (!*calls[i].call)
            return gq_fail(err, GQ_EUSAGE, "cuBLASLt is too old: it has no %s", calls[i].name);
    }
    return GQ_OK;
}
#endif

static gq_status start_library(gq_cuda *d, gq_error *err)
{
    gq_lt         *lt = d->lt;
    cudaDeviceProp gpu;
    cudaError_t    code = cudaGetDeviceProperties(&gpu, d->index);
    lt->version = lt->call.GetVersion();
    if (lt->version < GQ_LT_OLDEST)
        return gq_fail(err, GQ_EUSAGE, "cuBLASLt is version %zu, %d or newer is needed", lt->version, GQ_LT_OLDEST);
    if (code == cudaSuccess) {
        snprintf(lt->gpu, sizeof lt->gpu, "%s", gpu.name);
        lt->gelu_pays = gpu.major == 9;
        lt->workspace_bytes = (size_t)(gpu.major >= 9 ? 64 : 32) << 20;
        code = cudaMalloc((void **)&lt->workspace, 2 * lt->workspace_bytes);
    }
    if (code != cudaSuccess)
        return gq_fail(err, code == cudaErrorMemoryAllocation ? GQ_ENOMEM : GQ_EBUG,
                       "workspace for matrix products on GPU %d: %s", d->index, cudaGetErrorString(code));
    int s = lt->call.Create(&lt->handle);
    if (s != GQ_LT_OK)
        return gq_fail(err, s == GQ_LT_ALLOC_FAILED ? GQ_ENOMEM : GQ_EBUG, "cublasLtCreate on GPU %d: %s", d->index,
                       lt->call.GetStatusString(s));
    return GQ_OK;
}

gq_status gq_lt_open(gq_cuda *d, gq_error *err)
{
    d->lt = (gq_lt *)gq_calloc(1, sizeof *d->lt);
    if (!d->lt)
        return gq_fail(err, GQ_ENOMEM, "matrix products: out of memory");
    gq_status status = open_library(d->lt, err);
    if (status == GQ_OK)
        status = start_library(d, err);
    if (status != GQ_OK)
        gq_lt_close(d);
    return status;
}

void gq_lt_close(gq_cuda *d)
{
    gq_lt *lt = d->lt;
    if (!lt)
        return;
    drop_plans(lt);
    drop_table(&lt->choices);
    if (lt->handle)
        lt->call.Destroy(lt->handle);
    if (lt->workspace)
        cudaFree(lt->workspace);
    if (lt->library)
        dlclose(lt->library);
    gq_free(lt);
    d->lt = NULL;
}
