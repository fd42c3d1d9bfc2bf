/* cudnn_api.h - as much of cuDNN's backend interface as attention needs, under our own names, so that
 * building needs no cuDNN headers and running no cuDNN: the library is opened when a GPU asks for it.
 * Numbers are those of cuDNN 9; where <cudnn.h> is present they are compared with it below.
 *
 * cuDNN's interface in one sentence: everything is a descriptor, created by kind, given attributes by
 * number and type, and finalised; a finalised execution plan is executed with a pack of pointers.
 */
#ifndef GIFQA_KERNELS_CUDA_CUDNN_API_H
#define GIFQA_KERNELS_CUDA_CUDNN_API_H

#include <stddef.h>
#include <stdint.h>

/* GQ_CUDNN_LIST(X): X(our name, cuDNN's name, value) */
#define GQ_CUDNN_LIST(X)                                                                           \
    /* what a call returns */                                                                      \
    X(GQ_DNN_SUCCESS, CUDNN_STATUS_SUCCESS, 0)                                                     \
    /* types of elements */                                                                        \
    X(GQ_DNN_FLOAT, CUDNN_DATA_FLOAT, 0)                                                           \
    X(GQ_DNN_INT32, CUDNN_DATA_INT32, 4)                                                           \
    X(GQ_DNN_BFLOAT16, CUDNN_DATA_BFLOAT16, 9)                                                     \
    X(GQ_DNN_BOOLEAN, CUDNN_DATA_BOOLEAN, 11)                                                      \
    /* element-wise operations and reductions */                                                   \
    X(GQ_DNN_ADD, CUDNN_POINTWISE_ADD, 0)                                                          \
    X(GQ_DNN_MUL, CUDNN_POINTWISE_MUL, 1)                                                          \
    X(GQ_DNN_DIV, CUDNN_POINTWISE_DIV, 6)                                                          \
    X(GQ_DNN_SUB, CUDNN_POINTWISE_SUB, 9)                                                          \
    X(GQ_DNN_EXP, CUDNN_POINTWISE_EXP, 13)                                                         \
    X(GQ_DNN_LOG, CUDNN_POINTWISE_LOG, 15)                                                         \
    X(GQ_DNN_GE, CUDNN_POINTWISE_CMP_GE, 303)                                                      \
    X(GQ_DNN_LT, CUDNN_POINTWISE_CMP_LT, 304)                                                      \
    X(GQ_DNN_AND, CUDNN_POINTWISE_LOGICAL_AND, 400)                                                \
    X(GQ_DNN_INDEX, CUDNN_POINTWISE_GEN_INDEX, 501)                                                \
    X(GQ_DNN_SELECT, CUDNN_POINTWISE_BINARY_SELECT, 601)                                           \
    X(GQ_DNN_SUM, CUDNN_REDUCE_TENSOR_ADD, 0)                                                      \
    X(GQ_DNN_MAX, CUDNN_REDUCE_TENSOR_MAX, 3)                                                      \
    /* how engine configurations are looked for */                                                 \
    X(GQ_DNN_HEUR_FALLBACK, CUDNN_HEUR_MODE_FALLBACK, 2)                                           \
    X(GQ_DNN_HEUR_A, CUDNN_HEUR_MODE_A, 3)                                                         \
    X(GQ_DNN_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, 4)                      \
    /* kinds of descriptors */                                                                     \
    X(GQ_DNN_D_POINTWISE, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, 0)                                   \
    X(GQ_DNN_D_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 2)                                         \
    X(GQ_DNN_D_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, 3)                                      \
    X(GQ_DNN_D_HEUR, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, 4)                                       \
    X(GQ_DNN_D_PLAN, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, 5)                                   \
    X(GQ_DNN_D_OP_POINTWISE, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, 13)                     \
    X(GQ_DNN_D_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, 15)                                 \
    X(GQ_DNN_D_PACK, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, 16)                                    \
    X(GQ_DNN_D_TENSOR, CUDNN_BACKEND_TENSOR_DESCRIPTOR, 17)                                        \
    X(GQ_DNN_D_MATMUL, CUDNN_BACKEND_MATMUL_DESCRIPTOR, 18)                                        \
    X(GQ_DNN_D_OP_MATMUL, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, 19)                           \
    X(GQ_DNN_D_REDUCTION, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, 21)                                  \
    X(GQ_DNN_D_OP_REDUCTION, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, 22)                     \
    X(GQ_DNN_D_OP_RESHAPE, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, 31)                         \
    X(GQ_DNN_D_DEVICE, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, 38)                                    \
    /* types of attributes */                                                                      \
    X(GQ_DNN_T_HANDLE, CUDNN_TYPE_HANDLE, 0)                                                       \
    X(GQ_DNN_T_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1)                                                 \
    X(GQ_DNN_T_BOOLEAN, CUDNN_TYPE_BOOLEAN, 2)                                                     \
    X(GQ_DNN_T_INT64, CUDNN_TYPE_INT64, 3)                                                         \
    X(GQ_DNN_T_VOID_PTR, CUDNN_TYPE_VOID_PTR, 6)                                                   \
    X(GQ_DNN_T_HEUR_MODE, CUDNN_TYPE_HEUR_MODE, 8)                                                 \
    X(GQ_DNN_T_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, 11)                                      \
    X(GQ_DNN_T_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 14)                                      \
    X(GQ_DNN_T_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 15)                                      \
    X(GQ_DNN_T_REDUCTION, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 18)                                  \
    X(GQ_DNN_T_CHAR, CUDNN_TYPE_CHAR, 24)                                                          \
    /* attributes */                                                                               \
    X(GQ_DNN_POINTWISE_MODE, CUDNN_ATTR_POINTWISE_MODE, 0)                                         \
    X(GQ_DNN_POINTWISE_MATH, CUDNN_ATTR_POINTWISE_MATH_PREC, 1)                                    \
    X(GQ_DNN_POINTWISE_AXIS, CUDNN_ATTR_POINTWISE_AXIS, 9)                                         \
    X(GQ_DNN_HEUR_MODE, CUDNN_ATTR_ENGINEHEUR_MODE, 200)                                           \
    X(GQ_DNN_HEUR_GRAPH, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 201)                               \
    X(GQ_DNN_HEUR_RESULTS, CUDNN_ATTR_ENGINEHEUR_RESULTS, 202)                                     \
    X(GQ_DNN_HEUR_DEVICE, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, 204)                                   \
    X(GQ_DNN_CONFIG_ENGINE, CUDNN_ATTR_ENGINECFG_ENGINE, 300)                                      \
    X(GQ_DNN_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, 400)                                   \
    X(GQ_DNN_PLAN_CONFIG, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 401)                            \
    X(GQ_DNN_PLAN_WORKSPACE, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 402)                        \
    X(GQ_DNN_PLAN_DEVICE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, 407)                               \
    X(GQ_DNN_OP_POINTWISE_DESC, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, 750)                 \
    X(GQ_DNN_OP_POINTWISE_X, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, 751)                            \
    X(GQ_DNN_OP_POINTWISE_B, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, 752)                            \
    X(GQ_DNN_OP_POINTWISE_Y, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, 753)                            \
    X(GQ_DNN_OP_POINTWISE_T, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, 758)                            \
    X(GQ_DNN_GRAPH_HANDLE, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, 800)                                  \
    X(GQ_DNN_GRAPH_OPS, CUDNN_ATTR_OPERATIONGRAPH_OPS, 801)                                        \
    X(GQ_DNN_TENSOR_ALIGNMENT, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 900)                              \
    X(GQ_DNN_TENSOR_TYPE, CUDNN_ATTR_TENSOR_DATA_TYPE, 901)                                        \
    X(GQ_DNN_TENSOR_DIMENSIONS, CUDNN_ATTR_TENSOR_DIMENSIONS, 902)                                 \
    X(GQ_DNN_TENSOR_STRIDES, CUDNN_ATTR_TENSOR_STRIDES, 903)                                       \
    X(GQ_DNN_TENSOR_ID, CUDNN_ATTR_TENSOR_UNIQUE_ID, 906)                                          \
    X(GQ_DNN_TENSOR_VIRTUAL, CUDNN_ATTR_TENSOR_IS_VIRTUAL, 907)                                    \
    X(GQ_DNN_TENSOR_BY_VALUE, CUDNN_ATTR_TENSOR_IS_BY_VALUE, 908)                                  \
    X(GQ_DNN_PACK_IDS, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, 1000)                                   \
    X(GQ_DNN_PACK_POINTERS, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, 1001)                           \
    X(GQ_DNN_PACK_WORKSPACE, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, 1003)                              \
    X(GQ_DNN_ENGINE_INDEX, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1301)                                   \
    X(GQ_DNN_ENGINE_NOTE, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, 1303)                                  \
    X(GQ_DNN_MATMUL_MATH, CUDNN_ATTR_MATMUL_COMP_TYPE, 1500)                                       \
    X(GQ_DNN_OP_MATMUL_A, CUDNN_ATTR_OPERATION_MATMUL_ADESC, 1520)                                 \
    X(GQ_DNN_OP_MATMUL_B, CUDNN_ATTR_OPERATION_MATMUL_BDESC, 1521)                                 \
    X(GQ_DNN_OP_MATMUL_C, CUDNN_ATTR_OPERATION_MATMUL_CDESC, 1522)                                 \
    X(GQ_DNN_OP_MATMUL_DESC, CUDNN_ATTR_OPERATION_MATMUL_DESC, 1523)                               \
    X(GQ_DNN_OP_MATMUL_M, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, 1525)                  \
    X(GQ_DNN_OP_MATMUL_N, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, 1526)                  \
    X(GQ_DNN_OP_MATMUL_K, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, 1527)                  \
    X(GQ_DNN_REDUCTION_OP, CUDNN_ATTR_REDUCTION_OPERATOR, 1600)                                    \
    X(GQ_DNN_REDUCTION_MATH, CUDNN_ATTR_REDUCTION_COMP_TYPE, 1601)                                 \
    X(GQ_DNN_OP_REDUCTION_X, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, 1610)                           \
    X(GQ_DNN_OP_REDUCTION_Y, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, 1611)                           \
    X(GQ_DNN_OP_REDUCTION_DESC, CUDNN_ATTR_OPERATION_REDUCTION_DESC, 1612)                         \
    X(GQ_DNN_OP_RESHAPE_X, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, 2200)                               \
    X(GQ_DNN_OP_RESHAPE_Y, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, 2201)                               \
    X(GQ_DNN_DEVICE_JSON, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, 2702)

enum {
#define GQ_DNN_ENUM(ours, theirs, value) ours = value,
    GQ_CUDNN_LIST(GQ_DNN_ENUM)
#undef GQ_DNN_ENUM
};

/* The functions, as members of a table that dlsym fills: X(member, cuDNN's name, result, arguments) */
#define GQ_CUDNN_FUNCTIONS(X)                                                                      \
    X(version, cudnnGetVersion, size_t, (void))                                                    \
    X(last_error, cudnnGetLastErrorString, void, (char *text, size_t size))                        \
    X(error_name, cudnnGetErrorString, const char *, (int status))                                 \
    X(open, cudnnCreate, int, (void **handle))                                                     \
    X(close, cudnnDestroy, int, (void *handle))                                                    \
    X(set_stream, cudnnSetStream, int, (void *handle, void *stream))                               \
    X(create, cudnnBackendCreateDescriptor, int, (int kind, void **descriptor))                    \
    X(destroy, cudnnBackendDestroyDescriptor, int, (void *descriptor))                             \
    X(finalize, cudnnBackendFinalize, int, (void *descriptor))                                     \
    X(set, cudnnBackendSetAttribute, int,                                                          \
      (void *descriptor, int name, int type, int64_t count, const void *values))                   \
    X(get, cudnnBackendGetAttribute, int,                                                          \
      (void *descriptor, int name, int type, int64_t room, int64_t *count, void *values))          \
    X(execute, cudnnBackendExecute, int, (void *handle, void *plan, void *pack))

typedef struct gq_cudnn_api {
#define GQ_DNN_MEMBER(member, name, result, arguments) result (*member) arguments;
    GQ_CUDNN_FUNCTIONS(GQ_DNN_MEMBER)
#undef GQ_DNN_MEMBER
} gq_cudnn_api;

#endif
