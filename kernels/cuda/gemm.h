/* gemm.h - matrix products of the CUDA column: D = epilogue(alpha op(A) op(B) + beta C), through cuBLASLt.
 *
 * Everything here is row-major. The library is opened at run time; what it is told about a product (a
 * plan: descriptors and the algorithm) is made at the first use of a description and kept, so that a
 * step that ran once makes no descriptor call any more, and a captured step none at all.
 *
 * The same bits come out every time: the algorithm is a function of the description, the alignment of
 * the operands, the version of the library and the GPU - or of the table of choices that a run stored.
 */
#ifndef GIFQA_KERNELS_CUDA_GEMM_H
#define GIFQA_KERNELS_CUDA_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum gq_epilogue {
    GQ_EPI_NONE,
    GQ_EPI_BIAS,                        /* + bias[n]                                              */
    GQ_EPI_BIAS_GELU,                   /* D = gelu_tanh(x + bias): what cuBLASLt calls GELU      */
    GQ_EPI_BIAS_GELU_AUX,               /* the same, and aux = x + bias                           */
    GQ_EPI_DGELU_BGRAD,                 /* D = x * gelu_tanh'(aux); bias[n] = column sums of D    */
    GQ_EPI_BGRAD_A,                     /* bias[m] = row sums of op(A): bias gradient beside a weight gradient */
} gq_epilogue;

/* D[m,n] = epilogue(alpha * op(A)[m,k] op(B)[k,n] + beta C), everything row-major.
 * op(A) = A [m,k], or with ta its transpose, A stored [k,m]; likewise B [k,n], with tb stored [n,k]. Row strides in
 * elements. batch: products at these strides, 1 for one. Sums are float. C has the layout of D. k 0: no epilogue and,
 * with beta 0, zeros from the first element of D to the last; with beta 1 C is D. */
typedef struct gq_gemm {
    int64_t m, n, k, lda, ldb, ldd, ld_aux;
    int64_t stride_a, stride_b, stride_d;        /* between the products of a batch               */
    int32_t batch, ta, tb;
    int32_t type_ab, type_d;                     /* gq_dtype: GQ_BF16 or GQ_F32; aux is like D    */
    int32_t type_bias;
    int32_t epilogue;                            /* gq_epilogue; with a batch none                */
    float   alpha, beta;                         /* beta 0 or 1                                   */
    int32_t unused;                              /* no padding: descriptions are compared as bytes */
} gq_gemm;

#ifdef __cplusplus
/* addend: C when it is not D itself (beta 1). Inside a capture only known descriptions may appear. */
void gq_cuda_gemm(struct gq_cuda *d, const gq_gemm *g, const void *a, const void *b, void *out, void *bias, void *aux,
                  const void *addend = NULL);
/* Is there a plan with this epilogue, and is it worth having, when all operands are at multiples of 16
 * bytes? Who hears no does a plain product and uses kernels of its own. */
bool gq_cuda_gemm_has(struct gq_cuda *d, const gq_gemm *g);

/* Opens the library for the device (its stream is there already); GQ_EUSAGE when it is missing or too old. device.cu. */
gq_status gq_lt_open(struct gq_cuda *d, gq_error *err);
void      gq_lt_close(struct gq_cuda *d);

/* From now on, the library's candidates for a new description are timed and the fastest is kept. Off at
 * first: timings differ from run to run, and with them the last bits, unless the choices are stored. */
void gq_cuda_gemm_tune(struct gq_cuda *d, bool on);
/* The choices as text, to be stored with a run and taken back before its first step. text: gq_free(); NULL: no memory.
 * take: GQ_EINPUT with the reason, and nothing taken, for a text of another GPU or version or a damaged one. */
char     *gq_cuda_gemm_choices(const struct gq_cuda *d);
gq_status gq_cuda_gemm_choices_take(struct gq_cuda *d, const char *text, gq_error *err);

/* Calls that made, changed, or asked about descriptors, so far: stands still while steps repeat. */
uint64_t gq_cuda_gemm_descriptor_calls(const struct gq_cuda *d);
/* Descriptors alive; algorithms chosen. */
void     gq_cuda_gemm_count(const struct gq_cuda *d, size_t *plans, size_t *choices);
#endif

#endif
