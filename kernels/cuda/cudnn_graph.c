/* cudnn_graph.c - attention written as a graph of matrix products, element-wise operations and reductions.
 *
 * cuDNN recognises these graphs and runs each as one fused kernel; it never executes the nodes one by one.
 * What may be changed is therefore little: the order of the nodes and the places of the masks are those
 * that its engines know. Dimensions are always (batch, head, row, column).
 *
 * Forward, s = Q K^T scale [masks]; m = max s; p = exp(s - m); l = sum p; lse = m + log l; O = (p / l) V
 *      10 operations, 4 more for a causal mask, 6 more for lengths.
 * Backward, D = sum(dO O); p = exp([masks] (Q K^T scale - lse)); dV = p^T dO;
 *      dS = (dO V^T - D) p scale; dK = dS^T Q; dQ = dS K.   17 operations, + 4, + 6.
 *      dQ is written by its product and not added up in a float buffer: the form without atomics.
 *
 * Lengths. cuDNN's padding has a length for the rows and one for the columns of the scores; ours
 * hide keys only, so the rows' is Tq (operand QUERIES). Both are also given to the products, which then
 * skip whole tiles: their results beyond the lengths are nobody's promise, see cudnn_sdpa.cu.
 */
#include "kernels/cuda/cudnn_graph.h"

typedef int32_t ref;                            /* index of a tensor                              */
enum { NONE = -1 };

static ref add_tensor(gq_graph *g, int32_t id, int32_t type, const int64_t dim[4], const int64_t stride[4])
{
    gq_graph_tensor *t = &g->tensor[g->tensors];
    t->id = id;
    t->type = type;
    t->by_value = id == GQ_AT_SCALE || id == GQ_AT_HIDDEN || id == GQ_AT_ONE;
    for (int i = 0; i < 4; i++) {
        t->dim[i] = dim[i];
        t->stride[i] = stride[i];
    }
    return g->tensors++;
}

/* [B,H,rows,columns], densely packed */
static ref packed(gq_graph *g, const gq_cudnn_case *a, int32_t id, int32_t type, int64_t rows, int64_t columns)
{
    return add_tensor(g, id, type, (int64_t[]){a->batch, a->heads, rows, columns},
                      (int64_t[]){a->heads * rows * columns, rows * columns, columns, 1});
}

/* An operand of the op: columns of a source [B,rows,step], head h at column h*width. */
static ref columns(gq_graph *g, const gq_cudnn_case *a, int32_t id, int64_t rows, int64_t step)
{
    return add_tensor(g, id, GQ_DNN_BFLOAT16, (int64_t[]){a->batch, a->heads, rows, a->width},
                      (int64_t[]){rows * step, a->width, step, 1});
}

/* The same elements with rows and columns exchanged. */
static ref transposed(gq_graph *g, ref x, int32_t id, int32_t type)
{
    const gq_graph_tensor *t = &g->tensor[x];
    return add_tensor(g, id, type, (int64_t[]){t->dim[0], t->dim[1], t->dim[3], t->dim[2]},
                      (int64_t[]){t->stride[0], t->stride[1], t->stride[3], t->stride[2]});
}

static ref scalar(gq_graph *g, int32_t id)
{
    static const int64_t one[4] = {1, 1, 1, 1};
    return add_tensor(g, id, GQ_DNN_FLOAT, one, one);
}

static ref per_batch(gq_graph *g, const gq_cudnn_case *a, int32_t id)
{
    return add_tensor(g, id, GQ_DNN_INT32, (int64_t[]){a->batch, 1, 1, 1}, (int64_t[]){1, 1, 1, 1});
}

static ref add_node(gq_graph *g, gq_graph_node n)
{
    g->node[g->nodes++] = n;
    return n.y;
}

static ref apply_to(gq_graph *g, int32_t mode, ref x, ref b, ref y)
{
    return add_node(g, (gq_graph_node){GQ_NODE_POINTWISE, mode, GQ_DNN_FLOAT, 0, x, b, NONE, y, NONE, NONE, NONE});
}

static ref product(gq_graph *g, ref x, ref b, ref y, ref m, ref n, ref k)
{
    return add_node(g, (gq_graph_node){GQ_NODE_MATMUL, 0, GQ_DNN_FLOAT, 0, x, b, NONE, y, m, n, k});
}

static ref reduce(gq_graph *g, int32_t mode, ref x, ref y)
{
    return add_node(g, (gq_graph_node){GQ_NODE_REDUCE, mode, GQ_DNN_FLOAT, 0, x, NONE, NONE, y, NONE, NONE, NONE});
}

static ref reshape(gq_graph *g, ref x, ref y)
{
    return add_node(g, (gq_graph_node){GQ_NODE_RESHAPE, 0, GQ_DNN_FLOAT, 0, x, NONE, NONE, y, NONE, NONE, NONE});
}

static ref scores(gq_graph *g, const gq_cudnn_case *a, int32_t type)
{
    return packed(g, a, GQ_AT_NONE, type, a->tq, a->tk);
}

static ref statistic(gq_graph *g, const gq_cudnn_case *a, int32_t id)
{
    return packed(g, a, id, GQ_DNN_FLOAT, a->tq, 1);
}

/* What the masks need, made when there are any. */
typedef struct limits { ref queries, keys, hidden; } limits;

static limits masks(gq_graph *g, const gq_cudnn_case *a)
{
    limits l = {NONE, NONE, NONE};
    if (a->lengths) {
        l.queries = per_batch(g, a, GQ_AT_QUERIES);
        l.keys = per_batch(g, a, GQ_AT_KEYS);
    }
    if (a->lengths || a->causal)
        l.hidden = scalar(g, GQ_AT_HIDDEN);
    return l;
}

static ref index_of(gq_graph *g, const gq_cudnn_case *a, ref x, int32_t axis)
{
    return add_node(g, (gq_graph_node){GQ_NODE_POINTWISE, GQ_DNN_INDEX, GQ_DNN_INT32, axis, x, NONE, NONE,
                                       scores(g, a, GQ_DNN_INT32), NONE, NONE, NONE});
}

static ref compare(gq_graph *g, const gq_cudnn_case *a, int32_t mode, ref x, ref b)
{
    return add_node(g, (gq_graph_node){GQ_NODE_POINTWISE, mode, GQ_DNN_BOOLEAN, 0, x, b, NONE,
                                       scores(g, a, GQ_DNN_BOOLEAN), NONE, NONE, NONE});
}

static ref hide(gq_graph *g, const gq_cudnn_case *a, ref s, ref hidden, ref visible)
{
    return add_node(g, (gq_graph_node){GQ_NODE_POINTWISE, GQ_DNN_SELECT, GQ_DNN_FLOAT, 0, s, hidden, visible,
                                       scores(g, a, GQ_DNN_FLOAT), NONE, NONE, NONE});
}

static ref masked(gq_graph *g, const gq_cudnn_case *a, ref s, limits l)
{
    if (a->lengths) {
        ref row = index_of(g, a, s, 2), column = index_of(g, a, s, 3);
        ref used = compare(g, a, GQ_DNN_LT, row, l.queries), there = compare(g, a, GQ_DNN_LT, column, l.keys);
        s = hide(g, a, s, l.hidden, compare(g, a, GQ_DNN_AND, used, there));
    }
    if (a->causal) {
        ref row = index_of(g, a, s, 2), column = index_of(g, a, s, 3);
        s = hide(g, a, s, l.hidden, compare(g, a, GQ_DNN_GE, row, column));
    }
    return s;
}

static void forward(gq_graph *g, const gq_cudnn_case *a)
{
    ref q = columns(g, a, GQ_AT_Q, a->tq, a->q_row), v = columns(g, a, GQ_AT_V, a->tk, a->kv_row);
    ref o = columns(g, a, GQ_AT_O, a->tq, a->heads * a->width), lse = statistic(g, a, GQ_AT_LSE);
    /* K is described as its transpose */
    ref kt = add_tensor(g, GQ_AT_K, GQ_DNN_BFLOAT16, (int64_t[]){a->batch, a->heads, a->width, a->tk},
                        (int64_t[]){a->tk * a->kv_row, a->width, 1, a->kv_row});
    ref    scale = scalar(g, GQ_AT_SCALE);
    limits l = masks(g, a);

    ref s = product(g, q, kt, scores(g, a, GQ_DNN_FLOAT), l.queries, l.keys, NONE);
    s = apply_to(g, GQ_DNN_MUL, s, scale, scores(g, a, GQ_DNN_FLOAT));
    s = masked(g, a, s, l);
    ref top = reduce(g, GQ_DNN_MAX, s, statistic(g, a, GQ_AT_NONE));
    ref p = apply_to(g, GQ_DNN_SUB, s, top, scores(g, a, GQ_DNN_FLOAT));
    p = apply_to(g, GQ_DNN_EXP, p, NONE, scores(g, a, GQ_DNN_FLOAT));
    ref sum = reduce(g, GQ_DNN_SUM, p, statistic(g, a, GQ_AT_NONE));
    ref log = apply_to(g, GQ_DNN_LOG, sum, NONE, statistic(g, a, GQ_AT_NONE));
    apply_to(g, GQ_DNN_ADD, top, log, lse);
    p = apply_to(g, GQ_DNN_DIV, p, sum, scores(g, a, GQ_DNN_BFLOAT16));
    product(g, p, v, o, l.queries, NONE, l.keys);
}

/* p and ds arrive as [Tq,Tk]; their transposes, rounded to bfloat16, are the left sides of dV and dK. */
static void key_gradient(gq_graph *g, ref p, ref other, ref out, limits l)
{
    ref pt = reshape(g, p, transposed(g, p, GQ_AT_NONE, GQ_DNN_BFLOAT16));
    product(g, pt, other, out, l.keys, NONE, l.queries);
}

static void backward(gq_graph *g, const gq_cudnn_case *a)
{
    int64_t C = a->heads * a->width;
    ref     q = columns(g, a, GQ_AT_Q, a->tq, a->q_row), o = columns(g, a, GQ_AT_O, a->tq, C);
    ref     d_o = columns(g, a, GQ_AT_DO, a->tq, C), dq = columns(g, a, GQ_AT_DQ, a->tq, a->q_row);
    ref     dk = columns(g, a, GQ_AT_DK, a->tk, a->kv_row), dv = columns(g, a, GQ_AT_DV, a->tk, a->kv_row);
    ref     lse = statistic(g, a, GQ_AT_LSE), rowsum = statistic(g, a, GQ_AT_ROWSUM);
    int64_t dim[4] = {a->batch, a->heads, a->width, a->tk}, stride[4] = {a->tk * a->kv_row, a->width, 1, a->kv_row};
    ref     kt = add_tensor(g, GQ_AT_K, GQ_DNN_BFLOAT16, dim, stride);
    ref     vt = add_tensor(g, GQ_AT_V, GQ_DNN_BFLOAT16, dim, stride);
    ref     scale = scalar(g, GQ_AT_SCALE), one = scalar(g, GQ_AT_ONE);
    limits  l = masks(g, a);

    /* the factor one is where dropout's scale would be: the engine's pattern has it */
    ref x = apply_to(g, GQ_DNN_MUL, d_o, o, packed(g, a, GQ_AT_NONE, GQ_DNN_FLOAT, a->tq, a->width));
    x = reduce(g, GQ_DNN_SUM, x, statistic(g, a, GQ_AT_NONE));
    apply_to(g, GQ_DNN_MUL, x, one, rowsum);

    ref p = product(g, q, kt, scores(g, a, GQ_DNN_FLOAT), l.queries, l.keys, NONE);
    p = apply_to(g, GQ_DNN_MUL, p, scale, scores(g, a, GQ_DNN_FLOAT));
    p = apply_to(g, GQ_DNN_SUB, p, lse, scores(g, a, GQ_DNN_FLOAT));
    p = masked(g, a, p, l);
    p = apply_to(g, GQ_DNN_EXP, p, NONE, scores(g, a, GQ_DNN_FLOAT));
    key_gradient(g, p, d_o, dv, l);

    ref ds = product(g, d_o, vt, scores(g, a, GQ_DNN_FLOAT), l.queries, l.keys, NONE);
    ds = apply_to(g, GQ_DNN_SUB, ds, rowsum, scores(g, a, GQ_DNN_FLOAT));
    ds = apply_to(g, GQ_DNN_MUL, ds, p, scores(g, a, GQ_DNN_FLOAT));
    ds = apply_to(g, GQ_DNN_MUL, ds, scale, scores(g, a, GQ_DNN_BFLOAT16));
    key_gradient(g, ds, q, dk, l);
    ref k = reshape(g, kt, transposed(g, kt, GQ_AT_NONE, GQ_DNN_BFLOAT16));
    product(g, ds, k, dq, l.queries, NONE, l.keys);
}

void gq_cudnn_graph(const gq_cudnn_case *a, gq_graph *g)
{
    g->tensors = g->nodes = 0;
    if (a->backward)
        backward(g, a);
    else
        forward(g, a);
}
