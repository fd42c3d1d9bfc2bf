/* lt_api.h - the part of cuBLASLt that gemm.cu uses, in names of our own.
 *
 * The library is opened with dlopen and the build needs no <cublasLt.h>; where there is one, gemm.cu
 * checks every number below against it. They are the same in 12.4 (the oldest one taken) to 13.
 */
#ifndef GIFQA_KERNELS_CUDA_LT_API_H
#define GIFQA_KERNELS_CUDA_LT_API_H

#include <stddef.h>
#include <stdint.h>

enum { GQ_LT_OLDEST = 120400 };         /* 10000 major + 100 minor + patch                        */

enum { GQ_LT_OK = 0, GQ_LT_ALLOC_FAILED = 3, GQ_LT_INVALID_VALUE = 7, GQ_LT_INTERNAL_ERROR = 14,
       GQ_LT_NOT_SUPPORTED = 15 };      /* cublasStatus_t                                         */
enum { GQ_LT_R_32F = 0, GQ_LT_R_16BF = 14 };                                /* cudaDataType       */
enum { GQ_LT_COMPUTE_32F = 68 };        /* cublasComputeType_t: plain float, no TF32              */
enum { GQ_LT_OP_N = 0, GQ_LT_OP_T = 1 };                                    /* cublasOperation_t  */

enum { GQ_LT_LAYOUT_BATCH_COUNT = 5,    /* int32: cublasLtMatrixLayoutAttribute_t                 */
       GQ_LT_LAYOUT_BATCH_STRIDE = 6 }; /* int64, elements                                        */
enum { GQ_LT_DESC_TRANSA = 3,           /* int32: cublasLtMatmulDescAttributes_t                  */
       GQ_LT_DESC_TRANSB = 4,           /* int32                                                  */
       GQ_LT_DESC_EPILOGUE = 7,         /* uint32                                                 */
       GQ_LT_DESC_BIAS = 8,             /* pointer                                                */
       GQ_LT_DESC_AUX = 11,             /* pointer                                                */
       GQ_LT_DESC_AUX_LD = 12,          /* int64, divisible by 8                                  */
       GQ_LT_DESC_BIAS_TYPE = 26 };     /* int32                                                  */
enum { GQ_LT_PREF_WORKSPACE = 1,        /* uint64: cublasLtMatmulPreferenceAttributes_t           */
       GQ_LT_PREF_REDUCTION = 3,        /* uint32, mask                                           */
       GQ_LT_PREF_ALIGN_A = 5, GQ_LT_PREF_ALIGN_B = 6, GQ_LT_PREF_ALIGN_C = 7,      /* uint32, bytes */
       GQ_LT_PREF_ALIGN_D = 8 };
enum { GQ_LT_REDUCTION_COMPUTE_TYPE = 2 };               /* cublasLtReductionScheme_t, a bit      */
enum { GQ_LT_EPI_DEFAULT = 1, GQ_LT_EPI_BIAS = 4, GQ_LT_EPI_GELU_BIAS = 36, GQ_LT_EPI_GELU_AUX_BIAS = 164,
       GQ_LT_EPI_DGELU_BGRAD = 208, GQ_LT_EPI_BGRADB = 512 };               /* cublasLtEpilogue_t */

typedef struct gq_lt_algo { uint64_t data[8]; } gq_lt_algo;                 /* may be stored      */
typedef struct gq_lt_result {
    gq_lt_algo algo;
    size_t     workspace;               /* bytes it needs                                         */
    int        state;                   /* cublasStatus_t                                         */
    float      waves;
    int        reserved[4];
} gq_lt_result;

/* X(result, name without cublasLt, arguments) */
#define GQ_LT_CALLS(X)                                                                             \
    X(int, Create, (void **handle))                                                                \
    X(int, Destroy, (void *handle))                                                                \
    X(size_t, GetVersion, (void))                                                                  \
    X(const char *, GetStatusString, (int status))                                                 \
    X(int, MatmulDescCreate, (void **desc, int compute, int scale))                                \
    X(int, MatmulDescDestroy, (void *desc))                                                        \
    X(int, MatmulDescSetAttribute, (void *desc, int attribute, const void *value, size_t bytes))   \
    X(int, MatrixLayoutCreate, (void **layout, int type, uint64_t rows, uint64_t cols, int64_t ld)) \
    X(int, MatrixLayoutDestroy, (void *layout))                                                    \
    X(int, MatrixLayoutSetAttribute, (void *layout, int attribute, const void *value, size_t bytes)) \
    X(int, MatmulPreferenceCreate, (void **pref))                                                  \
    X(int, MatmulPreferenceDestroy, (void *pref))                                                  \
    X(int, MatmulPreferenceSetAttribute, (void *pref, int attribute, const void *value, size_t bytes)) \
    X(int, MatmulAlgoGetHeuristic, (void *handle, void *desc, void *a, void *b, void *c, void *d, void *pref,  \
                                    int wanted, gq_lt_result *result, int *got))                   \
    X(int, MatmulAlgoCheck, (void *handle, void *desc, void *a, void *b, void *c, void *d, const gq_lt_algo *algo, \
                             gq_lt_result *result))                                                \
    X(int, Matmul, (void *handle, void *desc, const void *alpha, const void *A, void *a, const void *B, void *b, \
                    const void *beta, const void *C, void *c, void *D, void *d, const gq_lt_algo *algo,          \
                    void *workspace, size_t bytes, cudaStream_t stream))

typedef struct gq_lt_table {
#define GQ_LT_FIELD(result, name, arguments) result (*name) arguments;
    GQ_LT_CALLS(GQ_LT_FIELD)
#undef GQ_LT_FIELD
} gq_lt_table;

/* The stand-in that the host build uses, tests/cuda_on_cpu/lt_on_host.cpp. */
const gq_lt_table *gq_lt_table_on_host(void);

#endif
