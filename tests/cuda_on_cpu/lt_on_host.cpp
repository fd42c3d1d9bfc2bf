/* lt_on_host.cpp - the few calls of cuBLASLt that gemm.cu makes, done by the host.
 *
 * It computes what the attributes say and refuses what it does not know: an attribute, a size, a type, a
 * layout that does not fit the others, an address that is less aligned than the heuristics were told, too
 * little workspace. So our use of the library is checked, not only our numbers. Elements outside of the
 * layouts are neither read nor written; C is not read when beta is 0. As on a GPU, the product is done
 * when the stream comes to it.
 *
 * Column-major, as cuBLASLt is. Blocks of KC x IC of op(A) and KC x JC of op(B) are copied to panels of
 * floats; a kernel of 16 rows by 6 columns keeps its sums in registers. Sums over k are in order, block
 * after block, so a result does not depend on the machine (contraction is off in this library).
 */
#include <math.h>
#include <stdlib.h>
#include <vector>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/lt_api.h"
#include "tests/cuda_on_cpu/lt_on_host.h"

extern "C" {
#include "core/mem.h"
}

#if defined(__x86_64__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

namespace {

enum { LAYOUT = 0x4c41, DESC, PREF, HANDLE };
enum { TOP_ALGORITHM = 3, REFUSED_ALGORITHM = 3, ALGORITHM_MARK = 0x6c74686f };

struct object { int kind; };
struct layout : object { int type; uint64_t rows, cols; int64_t ld; int32_t batch; int64_t stride; };
struct desc : object {
    int32_t  ta, tb;
    uint32_t epilogue;
    void    *bias, *aux;
    int64_t  aux_ld;
    int32_t  bias_type;
};
struct pref : object { uint64_t workspace; uint32_t reduction, align[4]; };

int fail_in, offered = TOP_ALGORITHM, last_used, alive;

#define MAY_FAIL()                                                                                 \
    do {                                                                                           \
        if (fail_in > 0 && --fail_in == 0)                                                         \
            return GQ_LT_INTERNAL_ERROR;                                                           \
    } while (0)

template <class T> T *checked(void *p, int kind)
{
    T *object = static_cast<T *>(p);
    return object && object->kind == kind ? object : NULL;
}
template <class T> int made(void **p, int kind)
{
    T *object = new T();
    object->kind = kind;
    *p = object;
    alive++;
    return GQ_LT_OK;
}
template <class T> int dropped(void *p, int kind)
{
    T *object = checked<T>(p, kind);
    if (!object)
        return GQ_LT_INVALID_VALUE;
    object->kind = 0;
    delete object;
    alive--;
    return GQ_LT_OK;
}
template <class T> int set(T *field, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof *field)
        return GQ_LT_INVALID_VALUE;
    memcpy(field, value, bytes);
    return GQ_LT_OK;
}

/* ---- objects --------------------------------------------------------------------------------- */

int create(void **handle) { MAY_FAIL(); return made<object>(handle, HANDLE); }
int destroy(void *handle) { return dropped<object>(handle, HANDLE); }
size_t version() { return GQ_LT_OLDEST; }
const char *status_string(int status)
{
    switch (status) {
    case GQ_LT_OK:             return "success";
    case GQ_LT_ALLOC_FAILED:   return "the resource allocation failed";
    case GQ_LT_INVALID_VALUE:  return "an unsupported value or parameter was passed to the function";
    case GQ_LT_INTERNAL_ERROR: return "an internal operation failed";
    case GQ_LT_NOT_SUPPORTED:  return "the functionality requested is not supported";
    default:                   return "unknown status";
    }
}

int desc_create(void **p, int compute, int scale)
{
    MAY_FAIL();
    if (compute != GQ_LT_COMPUTE_32F || scale != GQ_LT_R_32F)
        return GQ_LT_INVALID_VALUE;
    made<desc>(p, DESC);
    desc *d = static_cast<desc *>(*p);
    d->epilogue = GQ_LT_EPI_DEFAULT;
    d->bias_type = -1;
    return GQ_LT_OK;
}
int desc_destroy(void *p) { return dropped<desc>(p, DESC); }
int desc_set(void *p, int attribute, const void *value, size_t bytes)
{
    MAY_FAIL();
    desc *d = checked<desc>(p, DESC);
    if (!d)
        return GQ_LT_INVALID_VALUE;
    switch (attribute) {
    case GQ_LT_DESC_TRANSA:    return set(&d->ta, value, bytes);
    case GQ_LT_DESC_TRANSB:    return set(&d->tb, value, bytes);
    case GQ_LT_DESC_EPILOGUE:  return set(&d->epilogue, value, bytes);
    case GQ_LT_DESC_BIAS:      return set(&d->bias, value, bytes);
    case GQ_LT_DESC_AUX:       return set(&d->aux, value, bytes);
    case GQ_LT_DESC_AUX_LD:    return set(&d->aux_ld, value, bytes);
    case GQ_LT_DESC_BIAS_TYPE: return set(&d->bias_type, value, bytes);
    default:                   return GQ_LT_INVALID_VALUE;
    }
}

int layout_create(void **p, int type, uint64_t rows, uint64_t cols, int64_t ld)
{
    MAY_FAIL();
    if ((type != GQ_LT_R_32F && type != GQ_LT_R_16BF) || rows == 0 || cols == 0 || ld < (int64_t)rows ||
        rows > INT32_MAX || cols > INT32_MAX)
        return GQ_LT_INVALID_VALUE;
    made<layout>(p, LAYOUT);
    layout *l = static_cast<layout *>(*p);
    l->type = type;
    l->rows = rows;
    l->cols = cols;
    l->ld = ld;
    l->batch = 1;
    return GQ_LT_OK;
}
int layout_destroy(void *p) { return dropped<layout>(p, LAYOUT); }
int layout_set(void *p, int attribute, const void *value, size_t bytes)
{
    MAY_FAIL();
    layout *l = checked<layout>(p, LAYOUT);
    if (!l)
        return GQ_LT_INVALID_VALUE;
    switch (attribute) {
    case GQ_LT_LAYOUT_BATCH_COUNT:  return set(&l->batch, value, bytes);
    case GQ_LT_LAYOUT_BATCH_STRIDE: return set(&l->stride, value, bytes);
    default:                        return GQ_LT_INVALID_VALUE;
    }
}

int pref_create(void **p)
{
    MAY_FAIL();
    made<pref>(p, PREF);
    pref *f = static_cast<pref *>(*p);
    f->reduction = 7;
    f->align[0] = f->align[1] = f->align[2] = f->align[3] = 256;
    return GQ_LT_OK;
}
int pref_destroy(void *p) { return dropped<pref>(p, PREF); }
int pref_set(void *p, int attribute, const void *value, size_t bytes)
{
    MAY_FAIL();
    pref *f = checked<pref>(p, PREF);
    if (!f)
        return GQ_LT_INVALID_VALUE;
    switch (attribute) {
    case GQ_LT_PREF_WORKSPACE: return set(&f->workspace, value, bytes);
    case GQ_LT_PREF_REDUCTION: return set(&f->reduction, value, bytes);
    case GQ_LT_PREF_ALIGN_A: case GQ_LT_PREF_ALIGN_B: case GQ_LT_PREF_ALIGN_C: case GQ_LT_PREF_ALIGN_D:
        return set(&f->align[attribute - GQ_LT_PREF_ALIGN_A], value, bytes);
    default: return GQ_LT_INVALID_VALUE;
    }
}

/* ---- what fits together ---------------------------------------------------------------------- */

struct product {
    layout a, b, c, d;
    desc   op;
    int64_t m, n, k;
};

bool has_aux(const product &p)
{
    return p.op.epilogue == GQ_LT_EPI_GELU_AUX_BIAS || p.op.epilogue == GQ_LT_EPI_DGELU_BGRAD;
}
bool same_layout(const layout &x, const layout &y)
{
    return x.type == y.type && x.rows == y.rows && x.cols == y.cols && x.ld == y.ld && x.batch == y.batch &&
           x.stride == y.stride;
}

int epilogue_status(const product &p)
{
    switch (p.op.epilogue) {
    case GQ_LT_EPI_DEFAULT: return GQ_LT_OK;
    case GQ_LT_EPI_BIAS: case GQ_LT_EPI_GELU_BIAS: case GQ_LT_EPI_GELU_AUX_BIAS: case GQ_LT_EPI_DGELU_BGRAD:
    case GQ_LT_EPI_BGRADB: break;
    default: return GQ_LT_NOT_SUPPORTED;
    }
    if (!p.op.bias || p.d.batch != 1)
        return GQ_LT_INVALID_VALUE;
    if (p.op.bias_type != -1 && p.op.bias_type != p.d.type)          /* so it is documented       */
        return GQ_LT_NOT_SUPPORTED;
    if (has_aux(p) && (!p.op.aux || p.op.aux_ld % 8 != 0 || p.op.aux_ld < p.m))
        return GQ_LT_INVALID_VALUE;
    return GQ_LT_OK;
}

/* m, n, k and the objects, when they fit. */
int understand(void *handle, void *op, void *a, void *b, void *c, void *d, product *p)
{
    desc   *o = checked<desc>(op, DESC);
    layout *l[] = {checked<layout>(a, LAYOUT), checked<layout>(b, LAYOUT), checked<layout>(c, LAYOUT),
                   checked<layout>(d, LAYOUT)};
    if (!checked<object>(handle, HANDLE) || !o || !l[0] || !l[1] || !l[2] || !l[3])
        return GQ_LT_INVALID_VALUE;
    *p = {*l[0], *l[1], *l[2], *l[3], *o, (int64_t)l[3]->rows, (int64_t)l[3]->cols, 0};
    if ((o->ta != GQ_LT_OP_N && o->ta != GQ_LT_OP_T) || (o->tb != GQ_LT_OP_N && o->tb != GQ_LT_OP_T))
        return GQ_LT_INVALID_VALUE;
    p->k = (int64_t)(o->ta ? p->a.rows : p->a.cols);
    if ((int64_t)(o->ta ? p->a.cols : p->a.rows) != p->m || (int64_t)(o->tb ? p->b.rows : p->b.cols) != p->n ||
        (int64_t)(o->tb ? p->b.cols : p->b.rows) != p->k || !same_layout(p->c, p->d))
        return GQ_LT_INVALID_VALUE;
    for (const layout *x : l)
        if (x->batch != p->d.batch || x->batch < 1 || x->stride < 0)
            return GQ_LT_INVALID_VALUE;
    if (p->d.batch > 1 && p->d.stride < p->d.ld * (p->n - 1) + p->m)        /* results would overlap */
        return GQ_LT_INVALID_VALUE;
    if (p->a.type != p->b.type || (p->a.type == GQ_LT_R_32F && p->d.type != GQ_LT_R_32F))
        return GQ_LT_NOT_SUPPORTED;
    return epilogue_status(*p);
}

size_t workspace_of(const gq_lt_algo *algo) { return algo->data[0] == 2 ? 1 << 20 : 0; }

int heuristic(void *handle, void *op, void *a, void *b, void *c, void *d, void *preference, int wanted,
              gq_lt_result *result, int *got)
{
    MAY_FAIL();
    product p;
    pref   *f = checked<pref>(preference, PREF);
    int     status = understand(handle, op, a, b, c, d, &p);
    *got = 0;
    if (!f || wanted < 1 || (f->reduction & ~7u))
        return GQ_LT_INVALID_VALUE;
    if (status != GQ_LT_OK)
        return status;
    if (f->reduction & 5)                         /* sums in the order of a race, or rounded ones */
        return GQ_LT_INVALID_VALUE;
    for (int id = 1; id <= offered && *got < wanted; id++) {
        gq_lt_result *r = &result[*got];
        *r = gq_lt_result{};
        r->algo.data[0] = (uint64_t)id;
        for (int i = 0; i < 4; i++)
            r->algo.data[1] |= (uint64_t)f->align[i] << 12 * i;
        r->algo.data[7] = ALGORITHM_MARK;
        r->workspace = workspace_of(&r->algo);
        *got += r->workspace <= f->workspace;
    }
    return *got ? GQ_LT_OK : GQ_LT_NOT_SUPPORTED;
}

bool known(const gq_lt_algo *algo)
{
    return algo && algo->data[7] == ALGORITHM_MARK && algo->data[0] >= 1 && algo->data[0] <= TOP_ALGORITHM;
}

int algorithm_check(void *handle, void *op, void *a, void *b, void *c, void *d, const gq_lt_algo *algo, gq_lt_result *r)
{
    MAY_FAIL();
    product p;
    int     status = understand(handle, op, a, b, c, d, &p);
    if (status != GQ_LT_OK)
        return status;
    if (!known(algo) || !r)
        return GQ_LT_INVALID_VALUE;
    if (algo->data[0] == REFUSED_ALGORITHM)
        return GQ_LT_NOT_SUPPORTED;
    r->workspace = workspace_of(algo);
    return GQ_LT_OK;
}

/* ---- the product ----------------------------------------------------------------------------- */

enum { IR = 16, JR = 6, KC = 256, IC = 768, JC = 96 };

typedef float lanes __attribute__((vector_size(IR * sizeof(float))));

struct job {
    product p;
    float   alpha, beta;
    const void *A, *B, *C;
    void   *D;
};

inline int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
inline float bf16_value(uint16_t bits) { return __uint_as_float((uint32_t)bits << 16); }
inline float get(const void *p, int type, int64_t i)
{
    return type == GQ_LT_R_16BF ? bf16_value(static_cast<const uint16_t *>(p)[i]) : static_cast<const float *>(p)[i];
}
inline void put(void *p, int type, int64_t i, float v)
{
    if (type == GQ_LT_R_16BF)
        static_cast<gq_bf16 *>(p)[i] = gq_to_bf16(v);
    else
        static_cast<float *>(p)[i] = v;
}

inline float value(float x) { return x; }
inline float value(uint16_t x) { return bf16_value(x); }

/* to[panel][k][width] = x(i0 + i, k0 + k), zeros beyond `count`; element (i, k) of x is at i * si + k * sk. */
template <class T>
CLONES void pack(float *__restrict to, const T *__restrict x, int64_t si, int64_t sk, int64_t count, int64_t depth, int width)
{
    for (int64_t i0 = 0; i0 < count; i0 += width) {
        int64_t n = count - i0 < width ? count - i0 : width;
        for (int64_t k = 0; k < depth; k++, to += width) {
            const T *from = x + i0 * si + k * sk;
            for (int64_t i = 0; i < n; i++)
                to[i] = value(from[i * si]);
            for (int64_t i = n; i < width; i++)
                to[i] = 0.0f;
        }
    }
}

void pack_any(float *to, const void *x, int type, int64_t first, int64_t si, int64_t sk, int64_t count, int64_t depth, int width)
{
    if (type == GQ_LT_R_16BF)
        pack(to, static_cast<const uint16_t *>(x) + first, si, sk, count, depth, width);
    else
        pack(to, static_cast<const float *>(x) + first, si, sk, count, depth, width);
}

/* sum[j * ld + i] += over k of a[k][i] b[k][j], whole tiles */
CLONES void tile(float *__restrict sum, int64_t ld, const float *__restrict a, const float *__restrict b, int64_t depth)
{
    lanes s[JR], x;
    for (int j = 0; j < JR; j++)
        memcpy(&s[j], sum + j * ld, sizeof s[j]);
    for (int64_t k = 0; k < depth; k++) {
        memcpy(&x, a + k * IR, sizeof x);
#pragma GCC unroll 6
        for (int j = 0; j < JR; j++)
            s[j] += x * b[k * JR + j];
    }
    for (int j = 0; j < JR; j++)
        memcpy(sum + j * ld, &s[j], sizeof s[j]);
}

inline float gelu(float x)
{
    return 0.5f * x * (1.0f + tanhf(0.797884561f * (x + 0.044715f * x * x * x)));
}
inline float gelu_slope(float x)
{
    float t = tanhf(0.797884561f * (x + 0.044715f * x * x * x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.797884561f * (1.0f + 0.134145f * x * x);
}

/* Rows [i0, i0 + rows) and columns [j0, j0 + cols) of D from their sums, [cols][ld]. grad: [m] for DGELU_BGRAD. */
void finish(const job &w, const float *sum, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t cols, int64_t first,
            float *grad)
{
    const product &p = w.p;
    for (int64_t j = j0; j < j0 + cols; j++)
        for (int64_t i = i0; i < i0 + rows; i++) {
            int64_t e = first + j * p.d.ld + i, x = j * p.op.aux_ld + i;
            float   v = w.alpha * sum[(j - j0) * ld + i - i0];
            if (w.beta != 0.0f)
                v += w.beta * get(w.C, p.d.type, e);
            switch (p.op.epilogue) {
            case GQ_LT_EPI_BIAS:
                v += get(p.op.bias, p.d.type, i);
                break;
            case GQ_LT_EPI_GELU_BIAS:
                v = gelu(v + get(p.op.bias, p.d.type, i));
                break;
            case GQ_LT_EPI_GELU_AUX_BIAS:
                v += get(p.op.bias, p.d.type, i);
                put(p.op.aux, p.d.type, x, v);
                v = gelu(v);
                break;
            case GQ_LT_EPI_DGELU_BGRAD:
                v *= gelu_slope(get(p.op.aux, p.d.type, x));
                grad[i] += v;
                break;
            }
            put(w.D, p.d.type, e, v);
        }
}

/* bias[j] = sums over k of op(B) */
void sums_of_b(const job &w)
{
    const product &p = w.p;
    for (int64_t j = 0; j < p.n; j++) {
        float s = 0;
        for (int64_t k = 0; k < p.k; k++)
            s += get(w.B, p.b.type, p.op.tb ? k * p.b.ld + j : j * p.b.ld + k);
        put(p.op.bias, p.d.type, j, s);
    }
}

void one_product(const job &w, int64_t at, float *grad)
{
    const product &p = w.p;
    int64_t ai = p.op.ta ? p.a.ld : 1, ak = p.op.ta ? 1 : p.a.ld, bj = p.op.tb ? 1 : p.b.ld, bk = p.op.tb ? p.b.ld : 1;
    std::vector<float> a(IC * KC), b(JC * KC), sum(IC * JC);
    for (int64_t j0 = 0; j0 < p.n; j0 += JC)
        for (int64_t i0 = 0; i0 < p.m; i0 += IC) {
            int64_t cols = least(p.n - j0, JC), rows = least(p.m - i0, IC);
            memset(sum.data(), 0, sum.size() * sizeof(float));
            for (int64_t k0 = 0; k0 < p.k; k0 += KC) {
                int64_t depth = least(p.k - k0, KC);
                pack_any(a.data(), w.A, p.a.type, at * p.a.stride + i0 * ai + k0 * ak, ai, ak, rows, depth, IR);
                pack_any(b.data(), w.B, p.b.type, at * p.b.stride + j0 * bj + k0 * bk, bj, bk, cols, depth, JR);
                for (int64_t j = 0; j < cols; j += JR)
                    for (int64_t i = 0; i < rows; i += IR)
                        tile(&sum[j * IC + i], IC, &a[i * depth], &b[j * depth], depth);
            }
            finish(w, sum.data(), IC, i0, rows, j0, cols, at * p.d.stride, grad);
        }
}

void run(const job &w)
{
    std::vector<float> grad(w.p.op.epilogue == GQ_LT_EPI_DGELU_BGRAD ? w.p.m : 0);
    for (int32_t i = 0; i < w.p.d.batch; i++)
        one_product(w, i, grad.data());
    for (size_t i = 0; i < grad.size(); i++)
        put(w.p.op.bias, w.p.d.type, (int64_t)i, grad[i]);
    if (w.p.op.epilogue == GQ_LT_EPI_BGRADB)
        sums_of_b(w);
}

int matmul(void *handle, void *op, const void *alpha, const void *A, void *a, const void *B, void *b, const void *beta,
           const void *C, void *c, void *D, void *d, const gq_lt_algo *algo, void *workspace, size_t bytes,
           cudaStream_t stream)
{
    MAY_FAIL();
    job  w = {};
    int  status = understand(handle, op, a, b, c, d, &w.p);
    if (status != GQ_LT_OK)
        return status;
    if (!alpha || !beta || !A || !B || !C || !D || !known(algo) || algo->data[0] == REFUSED_ALGORITHM ||
        bytes < workspace_of(algo) || (bytes && !workspace))
        return GQ_LT_INVALID_VALUE;
    const void *address[] = {A, B, C, D};
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)address[i] % (algo->data[1] >> 12 * i & 4095) != 0)
            return GQ_LT_INVALID_VALUE;
    w.alpha = *static_cast<const float *>(alpha);
    w.beta = *static_cast<const float *>(beta);
    w.A = A;
    w.B = B;
    w.C = C;
    w.D = D;
    last_used = (int)algo->data[0];
    gq_shim_host(stream, [w] { run(w); });
    return GQ_LT_OK;
}

gq_cuda *of(gq_device *d) { return reinterpret_cast<gq_cuda *>(d); }

}  // namespace

const gq_lt_table *gq_lt_table_on_host(void)
{
    static const gq_lt_table table = {
        create, destroy, version, status_string, desc_create, desc_destroy, desc_set, layout_create, layout_destroy,
        layout_set, pref_create, pref_destroy, pref_set, heuristic, algorithm_check, matmul,
    };
    return &table;
}

/* ---- the door for tests ---------------------------------------------------------------------- */

void gq_lt_test_gemm(gq_device *d, const gq_gemm *g, const void *a, const void *b, void *out, void *bias, void *aux,
                     const void *addend)
{
    gq_cuda_gemm(of(d), g, a, b, out, bias, aux, addend);
}
bool gq_lt_test_has(gq_device *d, const gq_gemm *g) { return gq_cuda_gemm_has(of(d), g); }
void gq_lt_test_tune(gq_device *d, bool on) { gq_cuda_gemm_tune(of(d), on); }
uint64_t gq_lt_test_descriptor_calls(gq_device *d) { return gq_cuda_gemm_descriptor_calls(of(d)); }
void gq_lt_test_count(gq_device *d, size_t *plans, size_t *choices) { gq_cuda_gemm_count(of(d), plans, choices); }
size_t gq_lt_test_choices(gq_device *d, char *text, size_t room)
{
    char  *made_text = gq_cuda_gemm_choices(of(d));
    size_t n = made_text ? strlen(made_text) : 0;
    if (n >= room)
        n = 0;
    if (n)
        memcpy(text, made_text, n + 1);
    gq_free(made_text);
    return n;
}
gq_status gq_lt_test_choices_take(gq_device *d, const char *text, gq_error *err)
{
    return gq_cuda_gemm_choices_take(of(d), text, err);
}
gq_status gq_lt_test_reopen(gq_device *d, gq_error *err)
{
    gq_lt_close(of(d));
    return gq_lt_open(of(d), err);
}

void gq_lt_on_host_fail(int n) { fail_in = n; }
void gq_lt_on_host_offer(int offers) { offered = offers; }
int  gq_lt_on_host_used(void) { return last_used; }
int  gq_lt_on_host_alive(void) { return alive; }
