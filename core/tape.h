/* tape.h - the recorded linear tape: tensors, nodes, schedule, and how they run.
 *
 * A model calls ops (core/ops.h) once; each call appends one node. gq_tape_finish() walks the nodes
 * backwards to decide what needs a gradient, gives every tensor a lifetime and an offset, and binds
 * addresses. From then on gq_forward() and gq_backward() are loops over one array: no allocation,
 * no lookup, no decision on the host.
 *
 * Invariants
 *  - Tensors are dense and row-major; a reshape or gq_stop_grad is another tensor with the same
 *    storage (`root`).
 *  - Errors are sticky: after the first one every op does nothing and returns handle 0;
 *    gq_tape_finish() reports it with the file and line of the model code that asked.
 *  - `acc` is decided when the tape is finished: the first writer of a gradient stores, later ones
 *    add, in reverse tape order. That order is the documented order of gradient accumulation; for
 *    parameters micro-batches come first (micro 0 stores, later ones add).
 *  - Handles die with their tape. The engine owns arenas, the tape owns nodes and tensors, the
 *    caller owns nothing.
 */
#ifndef GIFQA_CORE_TAPE_H
#define GIFQA_CORE_TAPE_H

#include "core/engine.h"
#include "core/params.h"

typedef struct gq_t { int32_t i; } gq_t;           /* handle: index into tape->tensor; 0 = "none" */
#define GQ_T_NONE ((gq_t){0})

enum {                                              /* gq_tensor.flags                            */
    GQ_TF_PARAM = 1, GQ_TF_INPUT = 2, GQ_TF_EXTERN = 4, GQ_TF_NEEDS_GRAD = 8, GQ_TF_GRAD = 16,
    GQ_TF_SAVE = 32, GQ_TF_KEEP = 64,
};

typedef struct gq_tensor {
    void    *data;                      /* set when bound: what kernels get                       */
    int64_t  shape[GQ_MAX_RANK];        /* elements; unused dimensions are 1                      */
    int32_t  rank, dtype;
    uint32_t flags;
    int32_t  root;                      /* tensor that owns storage and gradient; itself for most */
    int32_t  grad;                      /* of a root: its gradient tensor, 0 none                 */
    int32_t  node;                      /* producer, -1 none                                      */
    int32_t  param;                     /* index in the registry, -1 none                         */
    int32_t  life[2][2];          /* first and last schedule entry; second pair for recomputation */
    size_t   bytes, offset;             /* in ACT (or HOST for inputs)                            */
    const char *name;                   /* owned by the tape; "" when unnamed                     */
} gq_tensor;

typedef struct gq_node {
    uint16_t    op, segment;
    uint8_t     nin, nout, nsave;
    bool        bwd, again;             /* has a backward entry; is run again before it           */
    uint32_t    acc, acc_param;      /* bit k: gradient of input k is added; ... is a parameter's */
    int32_t     in[GQ_MAX_IN], out[GQ_MAX_OUT], save[GQ_MAX_SAVE];
    uint32_t    rng_op;                 /* Philox purpose word                                    */
    int32_t     line;
    const char *file;                   /* where the model asked for it                           */
    gq_attr     attr;
} gq_node;

typedef enum gq_phase { GQ_FORWARD, GQ_REFORWARD, GQ_BACKWARD } gq_phase;
typedef struct gq_entry { int32_t node; int32_t phase; } gq_entry;

typedef enum gq_ckpt_policy { GQ_KEEP, GQ_SEGMENT } gq_ckpt_policy;

typedef struct gq_plan_opts {
    gq_ckpt_policy policy;              /* keep all activations, or only segment inputs           */
    bool           separate;          /* every tensor its own storage: the oracle for the planner */
} gq_plan_opts;

typedef struct gq_cost { double fwd_flops, bwd_flops, fwd_bytes, bwd_bytes; } gq_cost;

typedef struct gq_tape {
    gq_engine *engine;
    gq_params *params;
    char      *name;
    gq_error   err;                     /* sticky                                                 */
    const char *file; int line;         /* of the op being recorded                               */
    gq_tensor *tensor; int32_t ntensor, tensor_cap;
    gq_node   *node;   int32_t nnode, node_cap;
    gq_entry  *entry;  int32_t nentry, forward_entries;
    gq_call   *call;                    /* [nnode], buffers bound                                 */
    char     **names;  int32_t nnames, names_cap;            /* strings owned by the tape         */
    char     **segment; int32_t nsegment;                    /* names; segment 0 is "start"       */
    int32_t    loss;                    /* tensor, 0 for an inference tape                        */
    int32_t   *unreached; int32_t nunreached;       /* trainable parameters without gradient here */
    void      *host; size_t host_bytes; /* inputs, written by the caller                          */
    void      *input;                   /* where kernels read them: host, or its copy on the device */
    void      *spare, *stage; /* of gq_tape_step(): inputs of the step before, and where new ones wait on the device */
    uint64_t   spare_free, stage_free;  /* points of the device (gq_device.mark)                  */
    size_t     act_bytes, temp_bytes;   /* what this tape needs of ACT and TEMP                   */
    uint32_t   bound_act;               /* generation of ACT the calls were bound to              */
    bool       finished, eager, planned_separate;
    bool       capturing;               /* what runs now is recorded by the device, not done      */
    void      *graph[4]; bool warm[4]; /* of gq_tape_step(), by accumulate + 2 update              */
    uint32_t   graph_act, graph_temp;   /* generations of the arenas they were captured with      */
    bool       inference, paused; /* no gradients on this tape; none through what is recorded now */
    void     **eager_mem; int32_t neager, eager_cap;         /* storage of an eager tape          */
    double    *seconds;                 /* [nnode*3] per phase, NULL unless profiling             */
} gq_tape;

/* ---- life ------------------------------------------------------------------------------------ */

gq_status gq_tape_new(gq_engine *e, gq_params *p, const char *name, gq_tape **out, gq_error *err);
void      gq_tape_free(gq_tape *t);                          /* NULL allowed                      */
void      gq_tape_eager(gq_tape *t);                    /* debug mode: ops also run when recorded */
/* Inference tapes save nothing for backward and treat parameters as constants. Default: gradients
 * on. */
void      gq_tape_no_grad(gq_tape *t);
/* While paused, recorded ops are constants for backward: the teacher pass is the same model code
 * under a pause. */
void      gq_grad_pause(gq_tape *t, bool paused);
/* loss: a scalar, or none for an inference tape. */
gq_status gq_tape_finish(gq_tape *t, gq_t loss, const gq_plan_opts *o, gq_error *err);

/* ---- leaves ---------------------------------------------------------------------------------- */

gq_t      gq_input(gq_tape *t, const char *name, gq_dtype d, int rank, const int64_t *shape);
gq_t      gq_input_real(gq_tape *t, const char *name, int rank, const int64_t *shape);  /* the backend's real */
gq_t      gq_input_stat(gq_tape *t, const char *name, int rank, const int64_t *shape);  /* the backend's stat */
/* Memory from gq_engine_alloc() that outlives the tape (key/value caches shared by two tapes). */
gq_t      gq_extern(gq_tape *t, const char *name, gq_dtype d, int rank, const int64_t *shape, void *data);
gq_t      gq_p(gq_tape *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* parameter by name */
gq_t      gq_p_opt(gq_tape *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));  /* or none     */
gq_t      gq_reshape(gq_tape *t, gq_t x, int rank, const int64_t *shape);
gq_t      gq_stop_grad(gq_tape *t, gq_t x);
void      gq_segment(gq_tape *t, const char *name);          /* checkpoint boundary               */
/* Keeps a tensor alive to the end of the run and names it, so that the host may read it with
 * gq_data(). */
void      gq_keep(gq_tape *t, gq_t x, const char *name);
gq_t      gq_find(const gq_tape *t, const char *name);       /* an input or kept tensor by name   */

int64_t   gq_dim(const gq_tape *t, gq_t x, int axis);        /* negative axis counts from the end */
int       gq_rank(const gq_tape *t, gq_t x);

/* ---- running --------------------------------------------------------------------------------- */

/* Storage of a finished tape's tensor. Of an input: on the host, to be written before gq_forward(); of
 * anything else: where kernels work, which the host can read only when the backend has no device. */
void     *gq_data(gq_tape *t, gq_t x);
/* Elements first..first+n-1 of an input, converted to its type. */
void      gq_put_real(gq_tape *t, gq_t x, int64_t first, const float *src, int64_t n);
void      gq_get_real(gq_tape *t, gq_t x, int64_t first, float *dst, int64_t n);
double    gq_scalar(gq_tape *t, gq_t x);             /* first element of a real or stat tensor    */
/* The first n elements of a stat tensor, floats, to dst; on a device dst is page-locked and they are there
 * once the work asked for so far is done. */
void      gq_fetch(gq_tape *t, gq_t x, float *dst, int64_t n);
const void *gq_grad_data(gq_tape *t, gq_t x);                /* NULL: has none (valid after backward, separate plan) */

gq_status gq_forward(gq_tape *t, gq_error *err);
/* accumulate: parameter gradients are added to what is there (later micro-batches). Runs after
 * gq_forward. */
gq_status gq_backward(gq_tape *t, bool accumulate, gq_error *err);
/* On a backend with a device: asks for forward, backward and (update) gq_params_update_run(), and does not
 * wait. The inputs are given away: all of them are written anew for the next step, into other memory, while
 * this one runs; then they are copied beside it. graph: the second such step is captured and every later
 * one is launched as a whole; the bits are the same. What it computes is to be had by gq_fetch(). */
gq_status gq_tape_step(gq_tape *t, bool accumulate, bool update, bool graph, gq_error *err);
/* Where gq_data() writes inputs now: of the last two steps the inputs are kept, for gq_tape_recall(), which makes
 * them the ones that the next forward reads. */
void     *gq_tape_inputs(const gq_tape *t);
void      gq_tape_recall(gq_tape *t, void *inputs);
/* Runs forward and backward again with a check after every entry and names the first op with a
 * non-finite output; false: all finite. For the message after something went wrong. */
bool      gq_find_nonfinite(gq_tape *t, char *text, size_t size);

/* ---- looking --------------------------------------------------------------------------------- */

gq_cost   gq_tape_cost(const gq_tape *t);
gq_status gq_tape_profile(gq_tape *t, bool on, gq_error *err);
/* One text line per node: number, op, name, output shape, bytes, flops, model file:line, seconds.
 */
int       gq_tape_line(const gq_tape *t, int32_t node, char *text, size_t size);

/* ---- for core/ops ---------------------------------------------------------------------------- */

enum { GQ_IGNORE = -100 };           /* a label that is not counted                               */

typedef struct gq_op_rule {
    bool   (*infer)(gq_tape *t, gq_node *n);          /* checks shapes, creates outputs and saves */
    void   (*cost)(const gq_tape *t, const gq_node *n, gq_cost *c);
    uint32_t bwd_in, bwd_out;                         /* bit k: backward reads input k / output k */
    uint32_t no_grad;                                     /* bit k: input k never gets a gradient */
    /* Input k holds indices in [*lo, *hi): checked before every run, because they come from data. NULL: none. */
    bool   (*range)(const gq_tape *t, const gq_node *n, int k, int64_t *lo, int64_t *hi);
    uint32_t ignore;                                    /* bit k: input k may also hold GQ_IGNORE */
} gq_op_rule;

typedef struct gq_op_info {
    const char *name, *doc;
    int         min_in, max_in, nout, nsave;
    uint32_t    flags;
    const gq_op_rule *rule;
} gq_op_info;
extern const gq_op_info gq_op_table[GQ_OP_COUNT];

gq_tape  *gq__at(gq_tape *t, const char *file, int line);
/* Appends a node with these inputs (trailing ones may be none); NULL after an error. */
gq_node  *gq__record(gq_tape *t, gq_op op, int nin, const gq_t *in, const gq_attr *attr);
int32_t   gq__out(gq_tape *t, gq_node *n, int rank, const int64_t *shape);         /* real output */
int32_t   gq__out_stat(gq_tape *t, gq_node *n, int rank, const int64_t *shape);    /* stat output */
int32_t   gq__save_real(gq_tape *t, gq_node *n, int rank, const int64_t *shape);
int32_t   gq__save(gq_tape *t, gq_node *n, int rank, const int64_t *shape);
bool      gq__fail(gq_tape *t, const gq_node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* elements of a tensor */
static inline int64_t gq__count(const gq_tensor *x) { return (int64_t)(x->bytes / gq_dtype_size(x->dtype)); }
static inline gq_tensor *gq__in(const gq_tape *t, const gq_node *n, int k) { return &t->tensor[n->in[k]]; }
const char *gq__shape(const gq_tensor *x, char buf[64]);     /* "[4,32,768]"                      */

int32_t   gq__grad_tensor(gq_tape *t, int32_t root);                         /* tape.c            */
gq_status gq__plan(gq_tape *t, const gq_plan_opts *o, gq_error *err);        /* plan.c            */
gq_status gq__bind(gq_tape *t, gq_error *err);                               /* exec.c            */
void      gq__free_inputs(gq_tape *t);                                       /* exec.c            */
void      gq__eager_run(gq_tape *t, int32_t node);                           /* exec.c            */

#endif
