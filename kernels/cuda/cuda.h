/* cuda.h - private to kernels/cuda: the device a call runs on, launches, matrix products, the column.
 *
 * A kernel of this column has the signature of all columns, void f(const gq_call *), extern "C"; its
 * buffers are in device memory, c->work->device is the gq_cuda below, everything it starts goes to
 * that stream in order, and it returns before the work is done. It never waits, allocates, or reads
 * device memory on the host: a step must be capturable as a graph. What changes from step to step
 * (seed, step, micro) is read by the kernel from d->step, in device memory. A failed call is noted
 * once (gq_cuda_fail) and shows at gq_device.finish().
 */
#ifndef GIFQA_KERNELS_CUDA_CUDA_H
#define GIFQA_KERNELS_CUDA_CUDA_H

#include "kernels/cuda/gpu.h"

extern "C" {
#include "kernels/kernels.h"
}
#include "kernels/cuda/gemm.h"

enum { GQ_STEP_RING = 256, GQ_POINTS = 64 };

typedef struct gq_cuda {
    gq_device     device;               /* first: what the engine sees                            */
    int           index;                /* of the GPU                                             */
    char          name[64];
    int           multiprocessors;
    size_t        shared_bytes;         /* dynamic shared memory a block may ask for              */
    cudaStream_t  stream, copies;       /* the work; copies that run ahead of it                  */
    cudaStream_t  side;                 /* what runs beside the work: gq_cuda_fork()              */
    cudaEvent_t   forked, joined;
    int           lane;                 /* 1 while stream is the side one, and side the other     */
    cudaEvent_t   event[GQ_POINTS];     /* of the last points, by number                          */
    uint64_t      points;
    gq_step_block *step;                /* in device memory                                       */
    void         *step_host;            /* page-locked copies it is uploaded from, GQ_STEP_RING   */
    int           step_slot;            /* the next one                                           */
    gq_error      error;                /* the first one since finish()                           */
    uint64_t      launches;
    struct gq_lt *lt;                   /* matrix products, gemm.cu                               */
    struct gq_cudnn *cudnn;             /* attention plans, cudnn_sdpa.cu                         */
    int           capturing;
    int           attention;            /* gq_cuda_attention                                      */
} gq_cuda;

typedef enum gq_cuda_attention { GQ_ATTENTION_AUTO, GQ_ATTENTION_OWN, GQ_ATTENTION_CUDNN,
                                 GQ_ATTENTION_UNFUSED } gq_cuda_attention;

static inline gq_cuda *gq_cuda_of(const gq_call *c) { return reinterpret_cast<gq_cuda *>(c->work->device); }

/* The device of this index, opened once; NULL with an error. device.cu. */
gq_device *gq_cuda_open(int index, gq_error *err);

/* Notes that `call` returned `code`; the first one is kept. */
void gq_cuda_fail(gq_cuda *d, cudaError_t code, const char *call, const char *file, int line);
#define GQ_CUDA(d, call)                                                                           \
    do {                                                                                           \
        cudaError_t gq_code = (call);                                                              \
        if (gq_code != cudaSuccess)                                                                \
            gq_cuda_fail((d), gq_code, #call, __FILE__, __LINE__);                                 \
    } while (0)

/* The one launch. GQ_LAUNCH(d, kernel, grid, block, dynamic_bytes, arguments...); a kernel that is a template with a
 * comma in its arguments is put into parentheses. An empty grid is no launch. */
#define GQ_LAUNCH(d, kernel, grid, block, bytes, ...)                                              \
    gq_launch((d), #kernel, __FILE__, __LINE__, kernel, (grid), (block), (bytes), __VA_ARGS__)

template <class... P, class... A>
static inline void gq_launch(gq_cuda *d, const char *name, const char *file, int line, void (*kernel)(P...),
                             dim3 grid, dim3 block, size_t bytes, A... a)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return;
    d->launches++;
    if (bytes > 48 * 1024) {
        cudaError_t code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
        if (code != cudaSuccess)
            gq_cuda_fail(d, code, name, file, line);
    }
#ifdef GQ_ON_HOST
    gq_shim_launch(d->stream, name, kernel, grid, block, bytes, a...);
#else
    kernel<<<grid, block, bytes, d->stream>>>(static_cast<P>(a)...);
#endif
    cudaError_t code = cudaGetLastError();
    if (code != cudaSuccess)
        gq_cuda_fail(d, code, name, file, line);
}

/* Two pieces of an op that do not need each other and are too small to fill the GPU: fork(), then in any order the
 * one piece and, between beside() and back(), the other, which goes to a second stream with a workspace of its own;
 * join() makes the order of calls the order of work again. device.cu. */
void gq_cuda_fork(gq_cuda *d);
void gq_cuda_beside(gq_cuda *d);
void gq_cuda_back(gq_cuda *d);
void gq_cuda_join(gq_cuda *d);

static inline unsigned gq_blocks(int64_t n, int64_t per) { return (unsigned)((n + per - 1) / per); }

/* Picks the instantiation for a backend's real: GQ_REAL(dtype, T, statement with T). */
#define GQ_REAL(dtype, T, ...)                                                                     \
    do {                                                                                           \
        if ((dtype) == GQ_BF16) { typedef gq_bf16 T; __VA_ARGS__; }                                \
        else                    { typedef float T;   __VA_ARGS__; }                                \
    } while (0)

/* ---- own kernels that others call ------------------------------------------------------------ */

/* elementwise.cu: y = act(x + bias) + r, u = x + bias when wanted (absent ones NULL); real [rows,n]. x may be y
 * or u. */
void gq_cuda_bias_act(gq_cuda *d, int32_t real, int act, const void *x, const void *bias, const void *r, void *y,
                      void *u, int64_t rows, int64_t n);
/* du = dy * act'(u); real [count]. du may be dy. */
void gq_cuda_act_backward(gq_cuda *d, int32_t real, int act, const void *dy, const void *u, void *du, int64_t count);
/* out[n] (+)= column sums of x [rows,n]: x of type `real`, out float or real (out_type); fixed order: rows are cut into
 * chunks of GQ_COLUMN_CHUNK, chunk sums are added in a fixed order. temp: gq_cuda_column_sums_temp() bytes. */
enum { GQ_COLUMN_CHUNK = 256 };
size_t gq_cuda_column_sums_temp(int64_t rows, int64_t n);
void   gq_cuda_column_sums(gq_cuda *d, int32_t real, const void *x, int64_t rows, int64_t n, void *out, int32_t out_type,
                           bool adds, void *temp);
/* dst (+)= src, or dst = src converted; count elements of types gq_dtype. */
void gq_cuda_convert(gq_cuda *d, void *dst, int32_t dst_type, const void *src, int32_t src_type, int64_t count, bool adds);

/* rows.cu: dst[i] (+)= sum over b < B of src[b * stride + i], i < n, in an order that depends on B alone; src of
 * type `real`. */
void gq_cuda_sum_over(gq_cuda *d, int32_t real, const void *src, int64_t B, int64_t stride, int64_t n, void *dst,
                      int32_t dst_type, bool adds);

/* cudnn_sdpa.cu: sdpa by cuDNN; false: not done, cuDNN is not there or does not do this case. */
extern "C" bool gq_cuda_cudnn_sdpa_fwd(const gq_call *c);
extern "C" bool gq_cuda_cudnn_sdpa_bwd(const gq_call *c);

/* ---- the column: backend.cu puts these into the table ------------------------------------------ */

extern "C" {
#define GQ_CUDA_DECLARE(op)                                                                        \
    void gq_cuda_##op##_fwd(const gq_call *c);                                                     \
    void gq_cuda_##op##_bwd(const gq_call *c);
#define GQ_CUDA_DECLARE_TEMP(op)                                                                   \
    GQ_CUDA_DECLARE(op)                                                                            \
    size_t gq_cuda_##op##_temp(const gq_call *c, int backward, int threads);
GQ_CUDA_DECLARE_TEMP(linear)
GQ_CUDA_DECLARE_TEMP(patch_embed)
GQ_CUDA_DECLARE(embed)
GQ_CUDA_DECLARE_TEMP(layernorm)
GQ_CUDA_DECLARE_TEMP(add_norm)
GQ_CUDA_DECLARE_TEMP(sdpa)
GQ_CUDA_DECLARE(glu)
GQ_CUDA_DECLARE(scale)
GQ_CUDA_DECLARE(dropout)
GQ_CUDA_DECLARE(mask_rows)
GQ_CUDA_DECLARE(gather_rows)
GQ_CUDA_DECLARE(concat_rows)
GQ_CUDA_DECLARE(expand_rows)
GQ_CUDA_DECLARE_TEMP(lm_loss)
GQ_CUDA_DECLARE_TEMP(mvm_loss)
GQ_CUDA_DECLARE(combine)
void   gq_cuda_kv_append_fwd(const gq_call *c);
void   gq_cuda_adamw(const gq_adamw_call *c, gq_work *work);
double gq_cuda_sumsq(const void *x, int64_t n, gq_work *work);
void   gq_cuda_update(const gq_update_call *c, gq_work *work);
size_t gq_cuda_update_temp(int64_t n, int32_t parts);
}

#endif
