/* cudnn_on_cpu.cpp - see cudnn_on_cpu.h: an interpreter of the graphs of kernels/cuda/cudnn_graph.c. */
#include "tests/cuda_on_cpu/cudnn_on_cpu.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cudnn_graph.h"

#include <memory>
#include <vector>

struct gq_cudnn_plan { gq_graph graph; };

namespace {

bool there;

/* One run: the operands' addresses, the scalars' values, and the tensors that live in the engine. */
struct run_state {
    gq_graph           graph;
    void              *pointer[GQ_AT_OPERANDS];
    float              scalar[GQ_AT_OPERANDS];
    std::vector<float> inner[GQ_GRAPH_TENSORS];
};

struct place { int64_t at[4]; };

int64_t offset(const gq_graph_tensor &t, const place &p)
{
    int64_t o = 0;
    for (int i = 0; i < 4; i++)
        o += (t.dim[i] == 1 ? 0 : p.at[i]) * t.stride[i];        /* dimensions of one are spread         */
    return o;
}

float load(const run_state &r, int32_t index, int64_t o)
{
    const gq_graph_tensor &t = r.graph.tensor[index];
    if (t.id == GQ_AT_NONE)
        return r.inner[index][(size_t)o];
    if (t.by_value)
        return r.scalar[t.id];
    const void *p = r.pointer[t.id];
    return t.type == GQ_DNN_BFLOAT16 ? gq_load(((const gq_bf16 *)p)[o])
           : t.type == GQ_DNN_INT32  ? (float)((const int32_t *)p)[o]
                                     : ((const float *)p)[o];
}

void store(run_state &r, int32_t index, int64_t o, float v)
{
    const gq_graph_tensor &t = r.graph.tensor[index];
    if (t.type == GQ_DNN_BFLOAT16)
        v = gq_load(gq_to_bf16(v));
    if (t.id == GQ_AT_NONE)
        r.inner[index][(size_t)o] = v;
    else if (t.type == GQ_DNN_BFLOAT16)
        ((gq_bf16 *)r.pointer[t.id])[o] = gq_to_bf16(v);
    else
        ((float *)r.pointer[t.id])[o] = v;
}

float value(const run_state &r, int32_t index, const place &p)
{
    return load(r, index, offset(r.graph.tensor[index], p));
}

template <class F> void each(const gq_graph_tensor &t, F f)
{
    place p;
    for (p.at[0] = 0; p.at[0] < t.dim[0]; p.at[0]++)
        for (p.at[1] = 0; p.at[1] < t.dim[1]; p.at[1]++)
            for (p.at[2] = 0; p.at[2] < t.dim[2]; p.at[2]++)
                for (p.at[3] = 0; p.at[3] < t.dim[3]; p.at[3]++)
                    f(p);
}

float pointwise(const run_state &r, const gq_graph_node &n, const place &p)
{
    if (n.mode == GQ_DNN_INDEX)
        return (float)p.at[n.axis];
    float x = value(r, n.x, p), b = n.b < 0 ? 0 : value(r, n.b, p);
    switch (n.mode) {
    case GQ_DNN_ADD:    return x + b;
    case GQ_DNN_SUB:    return x - b;
    case GQ_DNN_MUL:    return x * b;
    case GQ_DNN_DIV:    return x / b;
    case GQ_DNN_EXP:    return expf(x);
    case GQ_DNN_LOG:    return logf(x);
    case GQ_DNN_LT:     return x < b;
    case GQ_DNN_GE:     return x >= b;
    case GQ_DNN_AND:    return x != 0 && b != 0;
    case GQ_DNN_SELECT: return value(r, n.t, p) != 0 ? x : b;
    default:            return NAN;
    }
}

/* The size in use of one side of a product for the sequence of p. */
int64_t in_use(const run_state &r, int32_t limit, const place &p, int64_t all)
{
    return limit < 0 ? all : (int64_t)value(r, limit, p);
}

float product(const run_state &r, const gq_graph_node &n, const place &p)
{
    const gq_graph_tensor &x = r.graph.tensor[n.x], &y = r.graph.tensor[n.y];
    double                 sum = 0;
    if (p.at[2] >= in_use(r, n.m, p, y.dim[2]) || p.at[3] >= in_use(r, n.n, p, y.dim[3]))
        return NAN;
    for (int64_t k = 0; k < in_use(r, n.k, p, x.dim[3]); k++) {
        place left = p, right = p;
        left.at[3] = right.at[2] = k;
        sum += (double)value(r, n.x, left) * value(r, n.b, right);
    }
    return (float)sum;
}

float reduction(const run_state &r, const gq_graph_node &n, place p)
{
    float v = n.mode == GQ_DNN_MAX ? -INFINITY : 0;
    for (p.at[3] = 0; p.at[3] < r.graph.tensor[n.x].dim[3]; p.at[3]++)
        v = n.mode == GQ_DNN_MAX ? fmaxf(v, value(r, n.x, p)) : v + value(r, n.x, p);
    return v;
}

void compute(run_state &r)
{
    for (int32_t i = 0; i < r.graph.tensors; i++) {
        const gq_graph_tensor &t = r.graph.tensor[i];
        size_t                 size = 1;
        for (int d = 0; d < 4; d++)
            size += (size_t)((t.dim[d] - 1) * t.stride[d]);
        if (t.id == GQ_AT_NONE)
            r.inner[i].assign(size, NAN);
    }
    for (int32_t i = 0; i < r.graph.nodes; i++) {
        const gq_graph_node   &n = r.graph.node[i];
        const gq_graph_tensor &y = r.graph.tensor[n.y];
        each(y, [&](const place &p) {
            int64_t o = offset(y, p);
            store(r, n.y, o, n.kind == GQ_NODE_MATMUL      ? product(r, n, p)
                             : n.kind == GQ_NODE_POINTWISE ? pointwise(r, n, p)
                             : n.kind == GQ_NODE_REDUCE    ? reduction(r, n, p)
                                                           : load(r, n.x, o));       /* reshape: the same memory */
        });
    }
}

int open_handle(void **handle)
{
    static int here;
    *handle = &here;
    return GQ_DNN_SUCCESS;
}
cudaStream_t stream_of_handle;
int          set_stream(void *, void *stream)
{
    stream_of_handle = (cudaStream_t)stream;
    return GQ_DNN_SUCCESS;
}

} // namespace

void gq_shim_cudnn(int is) { there = is != 0; }

const gq_cudnn_api *gq_cudnn_open(gq_error *err)
{
    static gq_cudnn_api api;
    api.open = open_handle;
    api.set_stream = set_stream;
    if (there)
        return &api;
    gq_fail(err, GQ_ECONFIG, "cuDNN 9 is not here: this is a CPU");
    return NULL;
}

gq_cudnn_plan *gq_cudnn_plan_make(const gq_cudnn_api *, void *, const char *, const gq_cudnn_case *a, gq_plan_depth,
                                  gq_error *)
{
    gq_cudnn_plan *p = new gq_cudnn_plan;
    gq_cudnn_graph(a, &p->graph);
    return p;
}
void   gq_cudnn_plan_free(gq_cudnn_plan *p) { delete p; }
size_t gq_cudnn_plan_workspace(const gq_cudnn_plan *) { return 1000; }       /* no multiple of 256 */

gq_status gq_cudnn_plan_run(gq_cudnn_plan *p, void *, void *const pointer[GQ_AT_OPERANDS], void *, gq_error *)
{
    std::shared_ptr<run_state> r(new run_state);
    r->graph = p->graph;
    memcpy(r->pointer, pointer, sizeof r->pointer);
    for (int id : {GQ_AT_SCALE, GQ_AT_HIDDEN, GQ_AT_ONE})
        r->scalar[id] = pointer[id] ? *(const float *)pointer[id] : NAN;
    gq_shim_host(stream_of_handle, [r]() { compute(*r); });
    return GQ_OK;
}

int gq_shim_cudnn_sdpa(const gq_call *call, int backward, int twice, gq_error *err)
{
    static gq_cuda d;                   /* plans are kept from call to call, as on a GPU          */
    gq_call        c = *call;
    gq_work        work = {};
    auto           direction = backward ? gq_cuda_cudnn_sdpa_bwd : gq_cuda_cudnn_sdpa_fwd;
    d.attention = GQ_ATTENTION_CUDNN;
    if (!d.stream)
        GQ_CUDA(&d, cudaStreamCreateWithFlags(&d.stream, cudaStreamNonBlocking));
    work.device = &d.device;
    c.work = &work;
    bool did = direction(&c);
    GQ_CUDA(&d, cudaStreamSynchronize(d.stream));
    if (did && twice) {
        cudaGraph_t     graph = {};
        cudaGraphExec_t exec = {};
        GQ_CUDA(&d, cudaStreamBeginCapture(d.stream, cudaStreamCaptureModeGlobal));
        d.capturing = 1;
        did = direction(&c);
        d.capturing = 0;
        GQ_CUDA(&d, cudaStreamEndCapture(d.stream, &graph));
        GQ_CUDA(&d, cudaGraphInstantiate(&exec, graph, 0));
        GQ_CUDA(&d, cudaGraphLaunch(exec, d.stream));
        GQ_CUDA(&d, cudaStreamSynchronize(d.stream));
        GQ_CUDA(&d, cudaGraphExecDestroy(exec));
        GQ_CUDA(&d, cudaGraphDestroy(graph));
    }
    gq_status failed = d.error.code;
    if (failed != GQ_OK)
        gq_fail(err, failed, "%s", d.error.text);
    gq_error_clear(&d.error);
    return failed != GQ_OK ? (int)failed : did;
}
