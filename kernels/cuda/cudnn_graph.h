/* cudnn_graph.h - attention as cuDNN is told of it: a description, the graph of operations it means,
 * and the plan cuDNN makes of the graph. Plain C: cudnn_graph.c writes graphs (data, no cuDNN),
 * cudnn_plan.c opens the library and turns graphs into plans; cudnn_sdpa.cu is the op.
 *
 * A graph is data so that it can be looked at without a GPU: the tests compute it on the CPU and
 * compare with kernels/ref, and hand it to cuDNN's heuristics, which need only a GPU's properties.
 */
#ifndef GIFQA_KERNELS_CUDA_CUDNN_GRAPH_H
#define GIFQA_KERNELS_CUDA_CUDNN_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "kernels/cuda/cudnn_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All that a plan depends on; pointers and the scale are given when it is run. */
typedef struct gq_cudnn_case {
    int64_t batch, heads, tq, tk, width;        /* width: columns of one head                     */
    int64_t q_row, kv_row;                      /* elements from row to row of the q and kv source */
    bool    causal, lengths, backward;
} gq_cudnn_case;

/* The tensors a plan reads and writes; their number is cuDNN's unique id. q, k, v, o and the gradients
 * point at the first column of head 0; gradients have the strides of what they are gradients of. */
typedef enum gq_cudnn_operand {
    GQ_AT_NONE, GQ_AT_Q, GQ_AT_K, GQ_AT_V, GQ_AT_O, GQ_AT_LSE, GQ_AT_QUERIES, GQ_AT_KEYS, GQ_AT_SCALE, GQ_AT_HIDDEN,
    GQ_AT_ONE, GQ_AT_DO, GQ_AT_DQ, GQ_AT_DK, GQ_AT_DV, GQ_AT_ROWSUM, GQ_AT_OPERANDS
} gq_cudnn_operand;
/* LSE float [B,H,Tq]; QUERIES, KEYS int32 [B]: rows and keys in use, with `lengths` only; SCALE, HIDDEN (minus
 * infinity) and ONE are floats on the host; ROWSUM float [B,H,Tq] is scratch of the backward pass. */

typedef enum gq_node_kind { GQ_NODE_MATMUL, GQ_NODE_POINTWISE, GQ_NODE_REDUCE, GQ_NODE_RESHAPE } gq_node_kind;

typedef struct gq_graph_tensor {
    int32_t id;                                 /* gq_cudnn_operand; NONE: lives in the engine */
    int32_t type;                               /* GQ_DNN_FLOAT ...                               */
    bool    by_value;
    int64_t dim[4], stride[4];                  /* batch, head, row, column                       */
} gq_graph_tensor;

typedef struct gq_graph_node {                  /* y = x op b; tensors by index, -1: none         */
    gq_node_kind kind;
    int32_t      mode, math, axis;              /* GQ_DNN_ADD ..., the type it is computed in, of an index */
    int32_t      x, b, t, y;                    /* select: y = t ? x : b                          */
    int32_t      m, n, k;                       /* matmul: sizes in use, per batch                */
} gq_graph_node;

enum { GQ_GRAPH_TENSORS = 48, GQ_GRAPH_NODES = 32 };
typedef struct gq_graph {
    int32_t         tensors, nodes;
    gq_graph_tensor tensor[GQ_GRAPH_TENSORS];
    gq_graph_node   node[GQ_GRAPH_NODES];
} gq_graph;

void gq_cudnn_graph(const gq_cudnn_case *a, gq_graph *g);

/* ---- the library ------------------------------------------------------------------------------ */

typedef struct gq_cudnn_plan gq_cudnn_plan;

/* cuDNN's functions; NULL with an error when there is no cuDNN, or one older than the graphs need. Opened once. */
const gq_cudnn_api *gq_cudnn_open(gq_error *err);

/* How far gq_cudnn_plan_make goes: to the choice of an engine, which needs no GPU, or to a plan that can run. */
typedef enum gq_plan_depth { GQ_PLAN_ACCEPT, GQ_PLAN_BUILD } gq_plan_depth;

/* A plan for the GPU of `handle`, or, with handle NULL, for the one that `device` describes (cuDNN's own JSON form of a
 * GPU's properties). NULL with cuDNN's reason. */
gq_cudnn_plan *gq_cudnn_plan_make(const gq_cudnn_api *api, void *handle, const char *device, const gq_cudnn_case *a,
                                  gq_plan_depth depth, gq_error *err);
void   gq_cudnn_plan_free(gq_cudnn_plan *p);
size_t gq_cudnn_plan_workspace(const gq_cudnn_plan *p);       /* bytes of device memory           */
int64_t gq_cudnn_plan_engine(const gq_cudnn_plan *p);         /* cuDNN's number of the engine     */
/* Runs on the stream of `handle`. pointer[]: by gq_cudnn_operand, NULL where the graph has none. */
gq_status gq_cudnn_plan_run(gq_cudnn_plan *p, void *handle, void *const pointer[GQ_AT_OPERANDS], void *workspace,
                            gq_error *err);

#ifdef __cplusplus
}
#endif
#endif
