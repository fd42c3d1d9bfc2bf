/* harness.h - running one op of one backend on buffers that tell when a kernel reads or writes what
 * it must not.
 *
 * A test case (op_case) describes operands; its values are kept once as doubles that are exact in
 * float (`values`) and copied into fresh buffers for every run, in the element type of the backend:
 * its `real`, or its `stat` for statistics and the gradients of parameters (kernels/kernels.h). For a
 * backend whose real is bfloat16 round_values() makes them exact in that first.
 * Every buffer
 *  - stands between guard bytes, which are checked after the run (under ASan they are also
 *    poisoned, so that reading them is an error at once),
 *  - is filled with NaNs when the kernel shall write it: a read of it, or an element that was not
 *    written, shows in the result,
 *  - is compared with its source when the kernel shall only read it.
 * Memory of a case (owned doubles, guarded buffers) is released by drop_all() at the end of the
 * case.
 */
#ifndef GIFQA_TESTS_OPS_HARNESS_H
#define GIFQA_TESTS_OPS_HARNESS_H

#include "core/bf16.h"
#include "core/mem.h"
#include "core/philox.h"
#include "kernels/kernels.h"
#include "tests/support.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* ---- memory ---------------------------------------------------------------------------------- */

enum { GUARD = 128, GUARD_BYTE = 0xA7, MAX_BLOCKS = 4096 };

static struct owned_block {
    unsigned char *base;                /* start of the allocation                                */
    size_t head, bytes;                /* guard bytes in front, usable bytes; head 0: not guarded */
} blocks[MAX_BLOCKS];
static int nblocks;

static inline unsigned char *own(size_t bytes, size_t head)
{
    struct owned_block *b = &blocks[nblocks++];
    assert_true(nblocks < MAX_BLOCKS);
    *b = (struct owned_block){gq_aligned(64, head + bytes + GUARD), head, bytes};
    assert_non_null(b->base);
    return b->base;
}

static inline void *zeros(int64_t n, size_t size)
{
    return memset(own((size_t)n * size, 0), 0, (size_t)n * size);
}
static inline double *doubles(int64_t n) { return zeros(n, sizeof(double)); }

/* A buffer whose address is 64-byte aligned plus `shift`, between guards and full of NaNs. */
static inline void *guarded(size_t bytes, size_t shift)
{
    size_t               head = GUARD + shift;
    unsigned char       *base = own(bytes, head), *p = base + head;
    static const uint16_t nan_in_any_type = 0x7ff4;      /* as bfloat16, and two or four of them  */
    memset(base, GUARD_BYTE, head + bytes + GUARD);
    for (size_t i = 0; i + 2 <= bytes; i += 2)
        memcpy(p + i, &nan_in_any_type, 2);
    ASAN_POISON_MEMORY_REGION(base, head);
    ASAN_POISON_MEMORY_REGION(p + bytes, GUARD);
    return p;
}

/* Checks all guards and releases everything from block `first` on. */
static inline void drop_from(int first, const char *what)
{
    while (nblocks > first) {
        struct owned_block *b = &blocks[--nblocks];
        if (b->head) {
            ASAN_UNPOISON_MEMORY_REGION(b->base, b->head + b->bytes + GUARD);
            for (size_t i = 0; i < b->head + b->bytes + GUARD; i++)
                if ((i < b->head || i >= b->head + b->bytes) && b->base[i] != GUARD_BYTE)
                    fail_msg("%s: wrote at byte %ld of a buffer of %zu", what,
                             (long)i - (long)b->head, b->bytes);
        }
        gq_free(b->base);
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

typedef enum fill {
    FILL_NORMAL,                        /* standard normal                                        */
    FILL_GAIN,                          /* 1 + normal/4                                           */
    FILL_FAR,                           /* +-40 + normal: keeps relu away from its corner         */
    FILL_SMALL_INT,                     /* -2..2: sums are exact in any order, so ties are ties   */
    FILL_POSITIVE,                      /* uniform in [1/4, 1)                                    */
    FILL_BITS,                          /* 0 or 1                                                 */
    FILL_ZERO_ROWS,                     /* normal, every third row all zeros                      */
    FILL_TINY_ROWS,                     /* normal, every third row times 1e-10                    */
    FILL_EQUAL_ROWS,                    /* normal, every third row one value                      */
    FILL_INDEX,                         /* 0..hi-1                                                */
    FILL_INDEX_OR_NONE,                 /* -1..hi-1                                               */
    FILL_LAST,                          /* hi-1                                                   */
    FILL_LABEL,                         /* 0..hi-1, a quarter -100                                */
    FILL_PIXEL,                         /* 0..255                                                 */
} fill;

typedef struct operand {
    int32_t rank;                       /* 0: absent                                              */
    int32_t dtype;                      /* GQ_F32 stands for the backend's real or stat           */
    int64_t shape[GQ_MAX_RANK];
    fill    how;
    int64_t hi;                         /* FILL_INDEX...: one above the largest                   */
    bool    stat;                       /* of the backend's stat                                  */
    bool    parameter;                  /* its gradient is                                        */
} operand;

typedef struct op_case {
    gq_op    op;
    char     name[64];
    operand  in[GQ_MAX_IN], out[GQ_MAX_OUT], save[GQ_MAX_SAVE];
    gq_attr  attr;
    uint32_t wants;                     /* bit k: din[k] exists                                   */
    uint32_t gives;                     /* bit k: out[k] may carry a gradient                     */
    int      in_place;                /* in[1] is what the op writes, out[0] describes its result */
    int      far;                     /* sdpa with a table of relative positions: see core/ops.h  */
    int      rough;                 /* no finite differences: large, or not smooth on their scale */
} op_case;

typedef struct values {                 /* one case's numbers; all arrays owned                   */
    double *in[GQ_MAX_IN], *prior[GQ_MAX_IN];               /* inputs; what acc = 1 adds to       */
    double *out[GQ_MAX_OUT], *save[GQ_MAX_SAVE], *dout[GQ_MAX_OUT];
} values;

static inline int64_t count(const operand *o)
{
    int64_t n = o->rank ? 1 : 0;
    for (int i = 0; i < o->rank; i++)
        n *= o->shape[i];
    return n;
}

static inline int64_t columns(const operand *o) { return o->shape[o->rank - 1]; }

static inline operand reals(fill how, int rank, int64_t a, int64_t b, int64_t c)
{
    return (operand){.rank = rank, .dtype = GQ_F32, .how = how,
                     .shape = {a, rank > 1 ? b : 1, rank > 2 ? c : 1, 1}};
}

static inline operand stats(fill how, int rank, int64_t a, int64_t b, int64_t c)
{
    operand o = reals(how, rank, a, b, c);
    o.stat = true;
    return o;
}

static inline operand parameters(fill how, int rank, int64_t a, int64_t b)
{
    operand o = reals(how, rank, a, b, 1);
    o.parameter = true;
    return o;
}

/* What din[k] of an input is. */
static inline operand gradient_of(operand o)
{
    o.stat |= o.parameter;
    return o;
}

static inline operand ints(fill how, int64_t hi, int rank, int64_t a, int64_t b)
{
    return (operand){.rank = rank, .dtype = GQ_I32, .how = how, .hi = hi,
                     .shape = {a, rank > 1 ? b : 1, 1, 1}};
}

static inline double fill_value(const operand *o, uint64_t seed, int64_t i, uint32_t stream)
{
    double   z = gq_normal_at(seed, (uint64_t)i, GQ_RNG_TEST + stream, 0);
    uint32_t w = gq_philox_at(seed, (uint64_t)i, GQ_RNG_TEST + stream, 1);
    int64_t  row = i / columns(o);
    switch (o->how) {
    case FILL_GAIN:          return 1 + z / 4;
    case FILL_FAR:           return (w & 1 ? 40 : -40) + z;
    case FILL_SMALL_INT:     return (double)(w % 5) - 2;
    case FILL_POSITIVE:      return 0.25 + 0.75 * gq_u01(w);
    case FILL_BITS:          return w % 4 != 0;
    case FILL_ZERO_ROWS:     return row % 3 == 1 ? 0 : z;
    case FILL_TINY_ROWS:     return row % 3 == 1 ? z * 1e-10 : z;
    case FILL_EQUAL_ROWS:    return row % 3 == 1 ? 0.75 : z;
    case FILL_INDEX:         return (double)(w % (uint64_t)o->hi);
    case FILL_INDEX_OR_NONE: return (double)(w % (uint64_t)(o->hi + 1)) - 1;
    case FILL_LAST:          return (double)(o->hi - 1);
    case FILL_LABEL:         return w % 4 == 0 ? -100 : (double)(w / 4 % (uint64_t)o->hi);
    case FILL_PIXEL:         return w % 256;
    default:                 return z;
    }
}

/* Numbers that float holds exactly, the same for every backend. */
static inline double *filled(const operand *o, uint64_t seed, uint32_t stream)
{
    double *x = o->rank ? doubles(count(o)) : NULL;
    for (int64_t i = 0; i < count(o); i++)
        x[i] = (float)fill_value(o, seed, i, stream);
    return x;
}

static inline values values_of(const op_case *c, uint64_t seed)
{
    values v = {0};
    for (uint32_t k = 0; k < GQ_MAX_IN; k++) {
        operand prior = c->in[k];
        prior.how = FILL_NORMAL;
        v.in[k] = filled(&c->in[k], seed, k);
        v.prior[k] = filled(&prior, seed, 100 + k);
    }
    for (uint32_t k = 0; k < GQ_MAX_OUT; k++) {
        operand gradient = c->out[k];
        gradient.how = FILL_NORMAL;
        v.out[k] = c->out[k].rank ? doubles(count(&c->out[k])) : NULL;
        v.dout[k] = filled(&gradient, seed, 200 + k);
    }
    for (uint32_t k = 0; k < GQ_MAX_SAVE; k++)
        v.save[k] = c->save[k].rank ? doubles(count(&c->save[k])) : NULL;
    return v;
}

/* ---- buffers in the element type of a backend ------------------------------------------------ */

static inline int32_t element_type(const operand *o, const gq_backend *be)
{
    return o->dtype != GQ_F32 ? o->dtype : (int32_t)(o->stat ? be->stat : be->real);
}

static inline size_t element_bytes(int32_t type)
{
    return type == GQ_U8 ? 1 : type == GQ_BF16 ? 2 : type == GQ_F64 ? 8 : 4;
}

/* x as an element of this type. A double is first rounded to odd in float, so that it is rounded to bfloat16 once. */
static inline double as_stored(int32_t type, double x)
{
    float f = (float)x;
    if (type != GQ_BF16)
        return type == GQ_F32 ? f : x;
    if (isfinite(x) && (double)f != x) {
        uint32_t bits;
        if (fabs((double)f) > fabs(x))
            f = nextafterf(f, 0);
        memcpy(&bits, &f, sizeof bits);
        bits |= 1;
        memcpy(&f, &bits, sizeof f);
    }
    return gq_bf16_to_f32(gq_f32_to_bf16(f));
}

static inline void round_to(int32_t type, double *x, int64_t n)
{
    for (int64_t i = 0; x && i < n; i++)
        x[i] = as_stored(type, x[i]);
}

/* Makes the inputs, and what gradients are added to, exact in the element types of the backend. */
static inline void round_values(const op_case *c, const gq_backend *be, values *v)
{
    for (int k = 0; k < GQ_MAX_IN; k++) {
        operand gradient = gradient_of(c->in[k]);
        round_to(element_type(&c->in[k], be), v->in[k], count(&c->in[k]));
        round_to(element_type(&gradient, be), v->prior[k], count(&c->in[k]));
    }
    for (int k = 0; k < GQ_MAX_OUT; k++)
        round_to(element_type(&c->out[k], be), v->dout[k], count(&c->out[k]));
}

static inline void to_buffer(const operand *o, const gq_backend *be, const double *x, void *p)
{
    int32_t type = element_type(o, be);
    for (int64_t i = 0; i < count(o); i++)
        switch (type) {
        case GQ_U8:   ((uint8_t *)p)[i] = (uint8_t)x[i]; break;
        case GQ_I32:  ((int32_t *)p)[i] = (int32_t)x[i]; break;
        case GQ_F64:  ((double *)p)[i] = x[i]; break;
        case GQ_BF16: ((uint16_t *)p)[i] = gq_f32_to_bf16((float)x[i]); break;
        default:      ((float *)p)[i] = (float)x[i];
        }
}

static inline void from_buffer(const gq_buf *b, double *x)
{
    for (int64_t i = 0; i < gq_size(b); i++)
        x[i] = b->dtype == GQ_F64    ? ((const double *)b->p)[i]
               : b->dtype == GQ_BF16 ? (double)gq_bf16_to_f32(((const uint16_t *)b->p)[i])
                                     : (double)((const float *)b->p)[i];
}

/* x NULL: poisoned. shift: elements by which the address is off its 64-byte alignment. */
static inline gq_buf make_buffer(const operand *o, const gq_backend *be, const double *x,
                                 size_t shift)
{
    int32_t type = element_type(o, be);
    size_t  size = element_bytes(type);
    gq_buf  b = {.p = guarded((size_t)count(o) * size, shift * size), .rank = o->rank, .dtype = type};
    memcpy(b.shape, o->shape, sizeof b.shape);
    if (x)
        to_buffer(o, be, x, b.p);
    return b;
}

static inline void check_untouched(const operand *o, const gq_backend *be, const double *x,
                                   const gq_buf *b, const char *what)
{
    size_t         bytes = (size_t)count(o) * element_bytes(element_type(o, be));
    unsigned char *again = own(bytes, 0);
    to_buffer(o, be, x, again);
    if (memcmp(again, b->p, bytes) != 0)
        fail_msg("%s: the kernel wrote into an operand it may only read", what);
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct how_to_run {
    const gq_backend *be;
    gq_pool *pool;                      /* NULL: one thread                                       */
    size_t   shift;                     /* elements, see make_buffer                              */
    uint32_t wants, gives, acc;       /* backward: which din and dout are there, what is added to */
    int      no_saves;                  /* forward: as in a tape without backward                 */
} how_to_run;

static const gq_step_block test_step = {0x0123456789abcdefu, 7, 3};
enum { TEST_RNG_OP = 41 };

static inline void what_runs(char *text, size_t size, const op_case *c, const how_to_run *how,
                             const char *direction)
{
    snprintf(text, size, "%s, %s, %s, %d thread(s)", c->name, how->be->name, direction,
             gq_pool_size(how->pool));
}

static inline void with_workspace(gq_call *call, gq_work *work, const op_case *c,
                                  const how_to_run *how, int backward)
{
    const gq_op_kernels *k = &how->be->ops[c->op];
    size_t               bytes;
    call->work = work;
    call->step = &test_step;
    call->rng_op = TEST_RNG_OP;
    call->attr = c->attr;
    bytes = k->temp ? k->temp(call, backward, gq_pool_size(how->pool)) : 0;
    *work = (gq_work){how->pool, guarded(bytes, 0), bytes, how->be->device};
    if (work->device)
        work->device->set_step(work->device, call->step);
}

/* A guarded buffer, guards included, in the memory of a device for the time of one kernel. */
typedef struct sent_block { struct owned_block *on_host; unsigned char *base; void **pointer; } sent_block;

static inline size_t block_bytes(const struct owned_block *b) { return b->head + b->bytes + GUARD; }

/* Copies the buffer that *pointer is in and makes *pointer its address there. */
static inline sent_block send_block(gq_device *d, void **pointer)
{
    sent_block s = {.pointer = pointer};
    for (int i = nblocks - 1; i >= 0 && !s.on_host; i--)
        if (blocks[i].head && blocks[i].base + blocks[i].head == *pointer)
            s.on_host = &blocks[i];
    assert_non_null(s.on_host);
    ASAN_UNPOISON_MEMORY_REGION(s.on_host->base, block_bytes(s.on_host));
    s.base = d->alloc(d, block_bytes(s.on_host));
    assert_non_null(s.base);
    d->upload(d, s.base, s.on_host->base, block_bytes(s.on_host));
    *pointer = s.base + s.on_host->head;
    return s;
}

static inline void run_in_device_memory(gq_kernel kernel, const gq_call *host)
{
    gq_device *d = host->work->device;
    gq_work    work = *host->work;
    gq_call    call = *host;
    gq_buf    *part[] = {call.in, call.din, call.out, call.dout, call.save};
    const int  parts[] = {GQ_MAX_IN, GQ_MAX_IN, GQ_MAX_OUT, GQ_MAX_OUT, GQ_MAX_SAVE};
    sent_block sent[2 * GQ_MAX_IN + 2 * GQ_MAX_OUT + GQ_MAX_SAVE + 1];
    int        n = 0;
    call.work = &work;
    sent[n++] = send_block(d, &work.temp);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < parts[i]; k++)
            if (part[i][k].p)
                sent[n++] = send_block(d, &part[i][k].p);
    kernel(&call);
    for (int i = 0; i < n; i++) {
        d->download(d, sent[i].on_host->base, sent[i].base, block_bytes(sent[i].on_host));
        d->release(d, sent[i].base);
    }
}

/* Where the kernels of a backend with a device work; false: in the buffers of the host (shim_api.h). */
static bool in_device_memory;

/* Starts the kernel and waits for it. */
static inline void run_kernel(gq_kernel kernel, const gq_call *call, const char *what)
{
    gq_device *d = call->work->device;
    gq_error   err = {0};
    if (!kernel)
        fail_msg("%s: this backend has no kernel", what);
    if (d && in_device_memory)
        run_in_device_memory(kernel, call);
    else
        kernel(call);
    if (d && d->finish(d, &err) != GQ_OK)
        fail_msg("%s: %s", what, err.text);
}

/* Runs forward on v->in; results go to out[] and save[] (images as in v; may be v's own). */
static inline void run_forward(const op_case *c, const values *v, const how_to_run *how,
                               double *const out[], double *const save[])
{
    gq_call call = {0};
    gq_work work;
    int     first = nblocks;
    char    what[160];
    what_runs(what, sizeof what, c, how, "forward");
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (c->in[k].rank)
            call.in[k] = make_buffer(&c->in[k], how->be, v->in[k], how->shift);
    for (int k = 0; k < GQ_MAX_OUT; k++)
        if (c->out[k].rank && !c->in_place)
            call.out[k] = make_buffer(&c->out[k], how->be, NULL, how->shift);
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        if (c->save[k].rank && !how->no_saves)
            call.save[k] = make_buffer(&c->save[k], how->be, NULL, how->shift);
    with_workspace(&call, &work, c, how, 0);
    run_kernel(how->be->ops[c->op].fwd, &call, what);
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (c->in[k].rank && !(c->in_place && k == 1))
            check_untouched(&c->in[k], how->be, v->in[k], &call.in[k], what);
    for (int k = 0; k < GQ_MAX_OUT; k++)
        if (c->out[k].rank)
            from_buffer(c->in_place ? &call.in[1] : &call.out[k], out[k]);
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        if (call.save[k].p)
            from_buffer(&call.save[k], save[k]);
    drop_from(first, what);
}

/* Runs backward on v's in, out, save and dout; din[k] receives the gradients asked for. */
static inline void run_backward(const op_case *c, const values *v, const how_to_run *how,
                                double *const din[])
{
    static const uint32_t saves_are_workspace[GQ_OP_COUNT] = {[GQ_OP_LM_LOSS] = 2};
    gq_call call = {.acc = how->acc};
    gq_work work;
    int     first = nblocks;
    char    what[160];
    what_runs(what, sizeof what, c, how, "backward");
    for (int k = 0; k < GQ_MAX_IN; k++) {
        if (c->in[k].rank)
            call.in[k] = make_buffer(&c->in[k], how->be, v->in[k], how->shift);
        if (c->in[k].rank && how->wants >> k & 1) {
            operand gradient = gradient_of(c->in[k]);
            call.din[k] =
                make_buffer(&gradient, how->be, how->acc >> k & 1 ? v->prior[k] : NULL, how->shift);
        }
    }
    for (int k = 0; k < GQ_MAX_OUT; k++)
        if (c->out[k].rank) {
            call.out[k] = make_buffer(&c->out[k], how->be, v->out[k], how->shift);
            if (how->gives >> k & 1)
                call.dout[k] = make_buffer(&c->out[k], how->be, v->dout[k], how->shift);
        }
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        if (c->save[k].rank)
            call.save[k] = make_buffer(&c->save[k], how->be, v->save[k], how->shift);
    with_workspace(&call, &work, c, how, 1);
    run_kernel(how->be->ops[c->op].bwd, &call, what);
    for (int k = 0; k < GQ_MAX_IN; k++) {
        if (c->in[k].rank)
            check_untouched(&c->in[k], how->be, v->in[k], &call.in[k], what);
        if (call.din[k].p)
            from_buffer(&call.din[k], din[k]);
    }
    for (int k = 0; k < GQ_MAX_OUT; k++) {
        if (call.out[k].p)
            check_untouched(&c->out[k], how->be, v->out[k], &call.out[k], what);
        if (call.dout[k].p)
            check_untouched(&c->out[k], how->be, v->dout[k], &call.dout[k], what);
    }
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        if (call.save[k].p && !(saves_are_workspace[c->op] >> k & 1))
            check_untouched(&c->save[k], how->be, v->save[k], &call.save[k], what);
    drop_from(first, what);
}

#endif
