/* cudnn_plan.c - opens cuDNN, hands it a graph, and keeps the execution plan it makes.
 *
 * A plan is the first engine configuration of cuDNN's heuristics (mode A, then the fallback list) that
 * can be built and does not call itself non-deterministic. Building compiles a kernel (0.3 to 0.7 s), so
 * plans are made once and kept; running one is a pack of pointers and one call.
 */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cudnn_graph.h"

#if defined __has_include
#if __has_include(<cudnn.h>) && __has_include(<cuda_runtime_api.h>)
#include <cudnn.h>
#if CUDNN_MAJOR == 9 && CUDNN_MINOR >= 16
#define GQ_DNN_CHECK(ours, theirs, value) _Static_assert((int)theirs == value, #ours " is not " #theirs);
GQ_CUDNN_LIST(GQ_DNN_CHECK)
#endif
#endif
#endif

/* Before 9.16 the backward graph without lengths is wrong when Tk is no multiple of 128 (NVIDIA's own frontend puts a
 * mask there up to 9.15), and before 9.10 masks want another minus infinity. */
enum { OLDEST = 91600, CONFIGS = 16 };

/* cuDNN's results are numbered by thousands of one kind. */
enum { EXECUTION_FAILED = 5 };

struct gq_cudnn_plan {
    const gq_cudnn_api *api;
    void               *tensor[GQ_GRAPH_TENSORS], *node[2 * GQ_GRAPH_NODES], *graph, *device, *heuristics, *plan;
    void               *config[CONFIGS];
    gq_graph            what;
    int32_t             nodes, configs;
    int64_t             engine, workspace;
};

/* ---- the library ------------------------------------------------------------------------------ */

static gq_cudnn_api    library;
static gq_error        library_error;
static pthread_once_t  library_once = PTHREAD_ONCE_INIT;

static void open_library(void)
{
    void *so = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!so) {
        gq_fail(&library_error, GQ_ECONFIG, "cuDNN 9 is not here: %s", dlerror());
        return;
    }
#define FIND(member, name, result, arguments)                                                      \
    *(void **)&library.member = dlsym(so, #name);                                                  \
    if (!library.member)                                                                           \
        gq_fail(&library_error, GQ_ECONFIG, "libcudnn.so.9 has no function " #name);
    GQ_CUDNN_FUNCTIONS(FIND)
#undef FIND
    if (library_error.code == GQ_OK && library.version() < OLDEST)
        gq_fail(&library_error, GQ_ECONFIG, "cuDNN %zu.%zu is too old for attention, 9.16 or later is needed",
                library.version() / 10000, library.version() / 100 % 100);
}

const gq_cudnn_api *gq_cudnn_open(gq_error *err)
{
    pthread_once(&library_once, open_library);
    if (library_error.code == GQ_OK)
        return &library;
    gq_fail(err, library_error.code, "%s", library_error.text);
    return NULL;
}

/* ---- descriptors ------------------------------------------------------------------------------ */

static gq_status failed(const gq_cudnn_api *api, int status, const char *what, gq_error *err)
{
    char text[512] = "";
    api->last_error(text, sizeof text);
    text[strcspn(text, "\n")] = 0;
    return gq_fail(err, GQ_EBUG, "cuDNN %zu, %s: %s%s%s", api->version(), what, api->error_name(status),
                   text[0] ? ": " : "", text);
}

/* The state of one construction: after a failure nothing more is done, *err says what it was. */
typedef struct maker {
    const gq_cudnn_api *api;
    gq_error           *err;
    bool                bad;
    int                 status;                 /* of the failure                                 */
} maker;

static void check(maker *m, int status, const char *what)
{
    if (status != GQ_DNN_SUCCESS && !m->bad) {
        failed(m->api, status, what, m->err);
        m->bad = true;
        m->status = status;
    }
}

static void *create(maker *m, int kind, void **place)
{
    *place = NULL;
    if (!m->bad)
        check(m, m->api->create(kind, place), "creating a descriptor");
    return *place;
}

static void set(maker *m, void *d, int name, int type, int64_t count, const void *values, const char *what)
{
    if (!m->bad)
        check(m, m->api->set(d, name, type, count, values), what);
}

static void finish(maker *m, void *d, const char *what)
{
    if (!m->bad)
        check(m, m->api->finalize(d), what);
}

static void make_tensor(maker *m, const gq_graph_tensor *t, int32_t index, void **place)
{
    int64_t     id = t->id ? t->id : GQ_AT_OPERANDS + index, alignment = t->by_value ? 4 : 16;
    bool        in_engine = t->id == GQ_AT_NONE;
    const char *what = "a tensor";
    void       *d = create(m, GQ_DNN_D_TENSOR, place);
    set(m, d, GQ_DNN_TENSOR_TYPE, GQ_DNN_T_DATA_TYPE, 1, &t->type, what);
    set(m, d, GQ_DNN_TENSOR_DIMENSIONS, GQ_DNN_T_INT64, 4, t->dim, what);
    set(m, d, GQ_DNN_TENSOR_STRIDES, GQ_DNN_T_INT64, 4, t->stride, what);
    set(m, d, GQ_DNN_TENSOR_ID, GQ_DNN_T_INT64, 1, &id, what);
    set(m, d, GQ_DNN_TENSOR_ALIGNMENT, GQ_DNN_T_INT64, 1, &alignment, what);
    set(m, d, GQ_DNN_TENSOR_VIRTUAL, GQ_DNN_T_BOOLEAN, 1, &in_engine, what);
    set(m, d, GQ_DNN_TENSOR_BY_VALUE, GQ_DNN_T_BOOLEAN, 1, &t->by_value, what);
    finish(m, d, what);
}

static void set_tensor(maker *m, gq_cudnn_plan *p, void *node, int name, int32_t tensor)
{
    if (tensor >= 0)
        set(m, node, name, GQ_DNN_T_DESCRIPTOR, 1, &p->tensor[tensor], "an operand");
}

/* node[i] is the operation, node[GQ_GRAPH_NODES + i] what it says of its arithmetic. */
static void make_node(maker *m, gq_cudnn_plan *p, int32_t i)
{
    const gq_graph_node *n = &p->what.node[i];
    void               **how = &p->node[GQ_GRAPH_NODES + i], **node = &p->node[i];
    int64_t              axis = n->axis;
    switch (n->kind) {
    case GQ_NODE_MATMUL:
        create(m, GQ_DNN_D_MATMUL, how);
        set(m, *how, GQ_DNN_MATMUL_MATH, GQ_DNN_T_DATA_TYPE, 1, &n->math, "a product");
        finish(m, *how, "a product");
        create(m, GQ_DNN_D_OP_MATMUL, node);
        set(m, *node, GQ_DNN_OP_MATMUL_DESC, GQ_DNN_T_DESCRIPTOR, 1, how, "a product");
        set_tensor(m, p, *node, GQ_DNN_OP_MATMUL_A, n->x);
        set_tensor(m, p, *node, GQ_DNN_OP_MATMUL_B, n->b);
        set_tensor(m, p, *node, GQ_DNN_OP_MATMUL_C, n->y);
        set_tensor(m, p, *node, GQ_DNN_OP_MATMUL_M, n->m);
        set_tensor(m, p, *node, GQ_DNN_OP_MATMUL_N, n->n);
        set_tensor(m, p, *node, GQ_DNN_OP_MATMUL_K, n->k);
        break;
    case GQ_NODE_POINTWISE:
        create(m, GQ_DNN_D_POINTWISE, how);
        set(m, *how, GQ_DNN_POINTWISE_MODE, GQ_DNN_T_POINTWISE_MODE, 1, &n->mode, "an element-wise operation");
        set(m, *how, GQ_DNN_POINTWISE_MATH, GQ_DNN_T_DATA_TYPE, 1, &n->math, "an element-wise operation");
        if (n->mode == GQ_DNN_INDEX)
            set(m, *how, GQ_DNN_POINTWISE_AXIS, GQ_DNN_T_INT64, 1, &axis, "an index");
        finish(m, *how, "an element-wise operation");
        create(m, GQ_DNN_D_OP_POINTWISE, node);
        set(m, *node, GQ_DNN_OP_POINTWISE_DESC, GQ_DNN_T_DESCRIPTOR, 1, how, "an element-wise operation");
        set_tensor(m, p, *node, GQ_DNN_OP_POINTWISE_X, n->x);
        set_tensor(m, p, *node, GQ_DNN_OP_POINTWISE_B, n->b);
        set_tensor(m, p, *node, GQ_DNN_OP_POINTWISE_T, n->t);
        set_tensor(m, p, *node, GQ_DNN_OP_POINTWISE_Y, n->y);
        break;
    case GQ_NODE_REDUCE:
        create(m, GQ_DNN_D_REDUCTION, how);
        set(m, *how, GQ_DNN_REDUCTION_OP, GQ_DNN_T_REDUCTION, 1, &n->mode, "a reduction");
        set(m, *how, GQ_DNN_REDUCTION_MATH, GQ_DNN_T_DATA_TYPE, 1, &n->math, "a reduction");
        finish(m, *how, "a reduction");
        create(m, GQ_DNN_D_OP_REDUCTION, node);
        set(m, *node, GQ_DNN_OP_REDUCTION_DESC, GQ_DNN_T_DESCRIPTOR, 1, how, "a reduction");
        set_tensor(m, p, *node, GQ_DNN_OP_REDUCTION_X, n->x);
        set_tensor(m, p, *node, GQ_DNN_OP_REDUCTION_Y, n->y);
        break;
    case GQ_NODE_RESHAPE:
        create(m, GQ_DNN_D_OP_RESHAPE, node);
        set_tensor(m, p, *node, GQ_DNN_OP_RESHAPE_X, n->x);
        set_tensor(m, p, *node, GQ_DNN_OP_RESHAPE_Y, n->y);
        break;
    }
    finish(m, *node, "an operation");
}

static void make_graph(maker *m, gq_cudnn_plan *p, void *handle)
{
    for (int32_t i = 0; i < p->what.tensors; i++)
        make_tensor(m, &p->what.tensor[i], i, &p->tensor[i]);
    for (int32_t i = 0; i < p->what.nodes; i++)
        make_node(m, p, i);
    create(m, GQ_DNN_D_GRAPH, &p->graph);
    set(m, p->graph, GQ_DNN_GRAPH_OPS, GQ_DNN_T_DESCRIPTOR, p->what.nodes, p->node, "the graph");
    if (handle)
        set(m, p->graph, GQ_DNN_GRAPH_HANDLE, GQ_DNN_T_HANDLE, 1, &handle, "the graph");
    finish(m, p->graph, "the graph");
}

static void make_device(maker *m, gq_cudnn_plan *p, const char *json)
{
    create(m, GQ_DNN_D_DEVICE, &p->device);
    set(m, p->device, GQ_DNN_DEVICE_JSON, GQ_DNN_T_CHAR, (int64_t)strlen(json), json, "a description of a GPU");
    finish(m, p->device, "a description of a GPU");
}

/* ---- from a graph to a plan ------------------------------------------------------------------- */

static void find_configs(maker *m, gq_cudnn_plan *p, int32_t mode)
{
    int64_t found = 0;
    create(m, GQ_DNN_D_HEUR, &p->heuristics);
    set(m, p->heuristics, GQ_DNN_HEUR_GRAPH, GQ_DNN_T_DESCRIPTOR, 1, &p->graph, "heuristics");
    set(m, p->heuristics, GQ_DNN_HEUR_MODE, GQ_DNN_T_HEUR_MODE, 1, &mode, "heuristics");
    if (p->device)
        set(m, p->heuristics, GQ_DNN_HEUR_DEVICE, GQ_DNN_T_DESCRIPTOR, 1, &p->device, "heuristics");
    finish(m, p->heuristics, "heuristics");
    for (p->configs = 0; p->configs < CONFIGS && !m->bad; p->configs++)
        create(m, GQ_DNN_D_CONFIG, &p->config[p->configs]);
    if (!m->bad)
        check(m, m->api->get(p->heuristics, GQ_DNN_HEUR_RESULTS, GQ_DNN_T_DESCRIPTOR, CONFIGS, &found, p->config),
              "engines for the graph");
    for (int32_t i = m->bad ? 0 : (int32_t)found; i < p->configs; i++) {
        m->api->destroy(p->config[i]);
        p->config[i] = NULL;
    }
    p->configs = m->bad ? 0 : (int32_t)found;
}

static void drop_configs(gq_cudnn_plan *p)
{
    for (int32_t i = 0; i < p->configs; i++)
        p->api->destroy(p->config[i]);
    p->configs = 0;
    if (p->heuristics)
        p->api->destroy(p->heuristics);
    p->heuristics = NULL;
}

/* Which engine a configuration is of, and whether the engine promises the same bits every run. */
static bool look_at_engine(maker *m, void *config, int64_t *index)
{
    void   *engine = NULL;
    int32_t notes[16];
    int64_t count = 0, one = 0;
    bool    same_bits = true;
    create(m, GQ_DNN_D_ENGINE, &engine);
    if (!m->bad)
        check(m, m->api->get(config, GQ_DNN_CONFIG_ENGINE, GQ_DNN_T_DESCRIPTOR, 1, &one, &engine), "an engine");
    if (!m->bad)
        check(m, m->api->get(engine, GQ_DNN_ENGINE_INDEX, GQ_DNN_T_INT64, 1, &one, index), "an engine's number");
    if (!m->bad)
        check(m, m->api->get(engine, GQ_DNN_ENGINE_NOTE, GQ_DNN_T_NUMERICAL_NOTE, 16, &count, notes),
              "an engine's notes");
    for (int64_t i = 0; i < count && i < 16; i++)
        if (notes[i] == GQ_DNN_NOTE_NONDETERMINISTIC)
            same_bits = false;
    if (engine)
        m->api->destroy(engine);
    return same_bits && !m->bad;
}

static void build(maker *m, gq_cudnn_plan *p, void *handle, void *config)
{
    int64_t one = 0;
    create(m, GQ_DNN_D_PLAN, &p->plan);
    if (handle)
        set(m, p->plan, GQ_DNN_PLAN_HANDLE, GQ_DNN_T_HANDLE, 1, &handle, "a plan");
    if (p->device)
        set(m, p->plan, GQ_DNN_PLAN_DEVICE, GQ_DNN_T_DESCRIPTOR, 1, &p->device, "a plan");
    set(m, p->plan, GQ_DNN_PLAN_CONFIG, GQ_DNN_T_DESCRIPTOR, 1, &config, "a plan");
    finish(m, p->plan, "building a plan");
    if (!m->bad)
        check(m, m->api->get(p->plan, GQ_DNN_PLAN_WORKSPACE, GQ_DNN_T_INT64, 1, &one, &p->workspace),
              "a plan's workspace");
    if (m->bad && p->plan) {
        m->api->destroy(p->plan);
        p->plan = NULL;
    }
}

/* The first configuration that will do. A failure of the GPU or its driver would be that of all others too. */
static bool choose(gq_cudnn_plan *p, void *handle, gq_plan_depth depth, gq_error *why)
{
    for (int32_t i = 0; i < p->configs; i++) {
        maker m = {p->api, why, false, GQ_DNN_SUCCESS};
        if (!look_at_engine(&m, p->config[i], &p->engine)) {
            gq_fail(why, GQ_EBUG, "cuDNN %zu: its engine %lld does not give the same bits every run", p->api->version(),
                    (long long)p->engine);
            continue;
        }
        if (depth == GQ_PLAN_BUILD)
            build(&m, p, handle, p->config[i]);
        if (!m.bad)
            return true;
        if (m.status / 1000 == EXECUTION_FAILED)
            break;
    }
    return false;
}

gq_cudnn_plan *gq_cudnn_plan_make(const gq_cudnn_api *api, void *handle, const char *device, const gq_cudnn_case *a,
                                  gq_plan_depth depth, gq_error *err)
{
    static const int32_t modes[] = {GQ_DNN_HEUR_A, GQ_DNN_HEUR_FALLBACK};
    gq_cudnn_plan       *p = calloc(1, sizeof *p);
    gq_error             why = {GQ_OK, ""};
    maker                m = {api, &why, false, GQ_DNN_SUCCESS};
    if (!p) {
        gq_fail(err, GQ_ENOMEM, "no memory for an attention plan");
        return NULL;
    }
    p->api = api;
    gq_cudnn_graph(a, &p->what);
    if (!handle)
        make_device(&m, p, device);
    make_graph(&m, p, handle);
    for (int i = 0; i < 2 && !m.bad; i++) {
        maker search = {api, &why, false, GQ_DNN_SUCCESS};
        find_configs(&search, p, modes[i]);
        if (choose(p, handle, depth, &why))
            return p;
        drop_configs(p);
    }
    if (why.code == GQ_OK)
        gq_fail(&why, GQ_EBUG, "cuDNN %zu has no engine for this attention", api->version());
    gq_fail(err, why.code, "%s", why.text);
    gq_cudnn_plan_free(p);
    return NULL;
}

void gq_cudnn_plan_free(gq_cudnn_plan *p)
{
    if (!p)
        return;
    if (p->plan)
        p->api->destroy(p->plan);
    drop_configs(p);
    if (p->graph)
        p->api->destroy(p->graph);
    for (int i = 0; i < 2 * GQ_GRAPH_NODES; i++)
        if (p->node[i])
            p->api->destroy(p->node[i]);
    for (int i = 0; i < GQ_GRAPH_TENSORS; i++)
        if (p->tensor[i])
            p->api->destroy(p->tensor[i]);
    if (p->device)
        p->api->destroy(p->device);
    free(p);
}

size_t  gq_cudnn_plan_workspace(const gq_cudnn_plan *p) { return (size_t)p->workspace; }
int64_t gq_cudnn_plan_engine(const gq_cudnn_plan *p) { return p->engine; }

gq_status gq_cudnn_plan_run(gq_cudnn_plan *p, void *handle, void *const pointer[GQ_AT_OPERANDS], void *workspace,
                            gq_error *err)
{
    maker   m = {p->api, err, false, GQ_DNN_SUCCESS};
    void   *pack = NULL, *values[GQ_AT_OPERANDS];
    int64_t ids[GQ_AT_OPERANDS], count = 0;
    for (int64_t id = 1; id < GQ_AT_OPERANDS; id++)
        if (pointer[id]) {
            ids[count] = id;
            values[count++] = pointer[id];
        }
    create(&m, GQ_DNN_D_PACK, &pack);
    set(&m, pack, GQ_DNN_PACK_IDS, GQ_DNN_T_INT64, count, ids, "the operands");
    set(&m, pack, GQ_DNN_PACK_POINTERS, GQ_DNN_T_VOID_PTR, count, values, "the operands");
    set(&m, pack, GQ_DNN_PACK_WORKSPACE, GQ_DNN_T_VOID_PTR, 1, &workspace, "the workspace");
    finish(&m, pack, "the operands");
    if (!m.bad)
        check(&m, p->api->execute(handle, p->plan, pack), "running attention");
    if (pack)
        p->api->destroy(pack);
    return m.bad ? err->code : GQ_OK;
}
