/* shim.cpp - the machine: fibres, barriers, warp collectives, shared memory, one block at a time.
 *
 * A warp goes on until all its lanes have ended, wait at a barrier, or wait for lanes that do not come;
 * then comes the next warp in the order of this phase. Warps meet at barriers only, so when the last
 * one has stopped, either all threads are at the barrier (or have ended) or they will never be.
 * All state is global: the runtime lets one thread in at a time.
 */
#include "tests/cuda_on_cpu/machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

/* This file itself is built without sanitizers, for speed; GQ_SHIM_ASAN: the kernels have them. */
#ifdef GQ_SHIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

uint3          threadIdx, blockIdx;
dim3           blockDim, gridDim;
gq_shim_counts gq_shim_counted;

namespace {

enum { WARP = 32, WARPS = GQ_SHIM_THREADS / WARP, PAGE = 4096, STACK = 128 * 1024, GUARD = 64, DYNAMIC_GUARD = 1024,
       MAX_STATIC = 64 };
constexpr size_t   STACKS = (size_t)GQ_SHIM_THREADS * (STACK + PAGE);
constexpr uint32_t GUARD_WORD = 0x7fb67fb6u;        /* NaN too: a read beyond the end shows */

struct copy { void *to; uint4 data; int group; };

struct fibre {
    void *sp;
    uint3 index;
    unsigned char *stack;
    int warp, lane, line;
    gq_shim_kind at;                     /* waits there; GQ_SHIM_NONE: runs, may run, or has ended */
    int groups;                          /* of copies, committed                                  */
    std::vector<copy> copies;
};
struct operands { float *d; const uint32_t *a, *b; uint32_t *r; const void *row; };
struct warp {
    uint32_t ready, live;                /* bits: positions in `lane`; lanes                      */
    int arrived, phase, line, first;
    gq_shim_kind kind;
    uint64_t slot[2][WARP];              /* two: a lane may be one collective ahead               */
    uint32_t yes[2];
    operands with[WARP];
};
struct variable { const void *key; const char *name; size_t at, bytes; };

struct machine {
    fibre threads[GQ_SHIM_THREADS];
    warp  warps[WARPS];
    int   order[WARPS], lane[WARP], place[WARP], turn;       /* place: of a lane in `lane`        */
    int   nwarps;
    fibre *now;
    void  *main_sp, *gone;
    const void *main_stack;
    size_t main_stack_bytes;
    unsigned char *stacks;
    bool   running, entered, failed;
    uint64_t random, launches;           /* launches: since gq_shim_order()                      */
    unsigned seed;
    uint32_t fill;                       /* what shared memory of this block holds at first         */

    const char *name;
    void (*call)(const void *);
    const void *args;

    unsigned char *fixed, *dynamic_end;  /* the static area; the end of the dynamic one           */
    size_t dynamic_bytes, used;
    variable vars[MAX_STATIC];
    int    nvars;

    bool catching, noted;
    char fault[1024], last[1024];
} m;

uint32_t below(uint32_t n)               /* xorshift64*, from the seed and the launch             */
{
    m.random ^= m.random >> 12;
    m.random ^= m.random << 25;
    m.random ^= m.random >> 27;
    return (uint32_t)((m.random * 0x2545F4914F6CDD1Dull >> 32) * n >> 32);
}
void shuffle(int *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = i;
    if (m.seed)
        for (int i = n - 1; i > 0; i--) {
            int j = (int)below((uint32_t)i + 1), t = x[i];
            x[i] = x[j];
            x[j] = t;
        }
}

/* ---- switching -------------------------------------------------------------------------------- */

#if defined(__x86_64__) && !defined(GQ_SHIM_UCONTEXT)
/* Callee-saved registers to the stack, its pointer to *from; the same from `to`. Rounding modes and the signal
 * mask are those of the whole program: swapcontext() spends two system calls on the latter. */
extern "C" void gq_shim_jump(void **from, void *to);
asm(".text\n.p2align 4\n.hidden gq_shim_jump\n.globl gq_shim_jump\n.type gq_shim_jump,@function\ngq_shim_jump:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
    ".size gq_shim_jump,.-gq_shim_jump\n");
void *fresh(fibre *f, size_t bytes, void (*entry)())
{
    void **sp = reinterpret_cast<void **>(f->stack + bytes);
    *--sp = nullptr;                     /* where entry() would return to: it never does          */
    *--sp = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--sp = nullptr;
    return sp;
}
#else
ucontext_t contexts[GQ_SHIM_THREADS + 2];
void gq_shim_jump(void **from, void *to)
{
    int i = from == &m.main_sp ? GQ_SHIM_THREADS : from == &m.gone ? GQ_SHIM_THREADS + 1 :
                                                           (int)(reinterpret_cast<fibre *>(from) - m.threads);
    *from = &contexts[i];
    swapcontext(&contexts[i], static_cast<ucontext_t *>(to));
}
void *fresh(fibre *f, size_t bytes, void (*entry)())
{
    ucontext_t *c = &contexts[f - m.threads];
    getcontext(c);
    c->uc_stack.ss_sp = f->stack;
    c->uc_stack.ss_size = bytes;
    c->uc_link = nullptr;
    makecontext(c, entry, 0);
    return c;
}
#endif

/* The sanitizer must know which stack is in use. It is told that all fibres have one, m.stacks: a word to it at every
 * switch would cost more than the switch. */
void to_fibres(void **fake)
{
    m.entered = false;
#ifdef GQ_SHIM_ASAN
    __sanitizer_start_switch_fiber(fake, m.stacks, STACKS);
#else
    (void)fake;
#endif
}
void among_fibres()
{
    if (m.entered)
        return;
    m.entered = true;
#ifdef GQ_SHIM_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &m.main_stack, &m.main_stack_bytes);
#endif
}
void from_fibres(void *fake)
{
#ifdef GQ_SHIM_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
    if (m.failed)                        /* frames that were left without returning               */
        __asan_unpoison_memory_region(m.stacks, STACKS);
#else
    (void)fake;
#endif
}

/* Not inlined: every fibre comes back to the same place, so the returns of all are predicted. */
__attribute__((noinline)) void go(fibre *to)
{
    fibre *from = m.now;
    if (to == from)
        return;
    m.now = to;
    threadIdx = to->index;
    gq_shim_counted.switches++;
    gq_shim_jump(&from->sp, to->sp);
}
void go_home()                           /* of a fibre that ended or will not be resumed          */
{
#ifdef GQ_SHIM_ASAN
    __sanitizer_start_switch_fiber(nullptr, m.main_stack, m.main_stack_bytes);
#endif
    gq_shim_jump(&m.gone, m.main_sp);
}

/* ---- who runs next ---------------------------------------------------------------------------- */

const char *kind_name(gq_shim_kind k)
{
    static const char *const names[] = {
        "nothing",        "__syncthreads",    "__syncwarp",    "__shfl_sync", "__shfl_xor_sync",
        "__shfl_up_sync", "__shfl_down_sync", "__ballot_sync", "__any_sync",  "__all_sync",
        "gq_mma_16816",   "gq_ldmatrix_x4",   "gq_ldmatrix_x4_trans"};
    return names[k];
}

void fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fault(const char *fmt, ...)         /* ends the launch: does not return from within a fibre  */
{
    char    what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    gq_shim_note("%s, block (%u,%u,%u)%s", m.name, blockIdx.x, blockIdx.y, blockIdx.z, what);
    m.failed = true;
    if (m.running)
        go_home();
}
#define THREAD_FAULT(fmt, ...)                                                                     \
    fault(", thread (%u,%u,%u), line %d: " fmt, threadIdx.x, threadIdx.y, threadIdx.z, __VA_ARGS__)

/* Nobody can go on and not everybody is at the barrier: who is where. */
void stuck()
{
    const fibre *first = nullptr, *other = nullptr;
    int          n = 0, same = 0, ended = 0;
    for (int i = 0; i < m.nwarps * WARP; i++) {
        const fibre *f = &m.threads[i];
        bool         live = m.warps[f->warp].live >> f->lane & 1;
        n++;
        ended += !live;
        if (live && !first)
            first = f;
        if (live && f->at == first->at && f->line == first->line)
            same++;
        else if (live && !other)
            other = f;
    }
    char where[160] = "";
    if (other)
        snprintf(where, sizeof where, ", thread (%u,%u,%u) waits at %s in line %d", other->index.x,
                 other->index.y, other->index.z, kind_name(other->at), other->line);
    fault(", thread (%u,%u,%u): waits for ever at %s in line %d: %d of %d threads came there, %d "
          "have ended%s",
          first->index.x, first->index.y, first->index.z, kind_name(first->at), first->line, same,
          n, ended, where);
}

void new_phase()
{
    shuffle(m.order, m.nwarps);
    shuffle(m.lane, WARP);
    for (int i = 0; i < WARP; i++)
        m.place[m.lane[i]] = i;
    for (int w = 0; w < m.nwarps; w++) {
        m.warps[w].ready = 0;
        for (int i = 0; i < WARP; i++)
            m.warps[w].ready |= (m.warps[w].live >> m.lane[i] & 1) << i;
    }
    m.turn = 0;
}

bool barrier_complete()                  /* all that live are there, in one line of the source    */
{
    const fibre *first = nullptr;
    for (int i = 0; i < m.nwarps * WARP; i++) {
        const fibre *f = &m.threads[i];
        if (!(m.warps[f->warp].live >> f->lane & 1))
            continue;
        if (!first)
            first = f;
        if (f->at != GQ_SHIM_SYNCTHREADS || f->line != first->line)
            return false;
    }
    return true;
}

fibre *next()                            /* NULL: all have ended, or there was a fault            */
{
    for (;;) {
        while (m.turn < m.nwarps) {
            warp *w = &m.warps[m.order[m.turn]];
            if (w->ready) {
                int p = __builtin_ctz(w->ready);
                w->ready &= w->ready - 1;
                return &m.threads[w->first + m.lane[p]];
            }
            m.turn++;
        }
        uint32_t live = 0;
        for (int w = 0; w < m.nwarps; w++)
            live |= m.warps[w].live;
        if (!live)
            return nullptr;
        if (!barrier_complete()) {
            stuck();
            return nullptr;
        }
        for (int i = 0; i < m.nwarps * WARP; i++)
            m.threads[i].at = GQ_SHIM_NONE;
        new_phase();
    }
}

void entry()
{
    among_fibres();
    m.call(m.args);
    m.warps[m.now->warp].live &= ~(1u << m.now->lane);
    fibre *to = next();
    if (to) {
        m.now = to;
        threadIdx = to->index;
        gq_shim_counted.switches++;
        gq_shim_jump(&m.gone, to->sp);
    }
    go_home();
}

/* ---- collectives ------------------------------------------------------------------------------ */

/* Waits for the other lanes. true for the one that came last: it goes on at once and must do what is done for all;
 * the others go on after it. */
bool meet(gq_shim_kind kind, int line)
{
    fibre *f = m.now;
    warp  *w = &m.warps[f->warp];
    if (w->arrived == 0) {
        w->kind = kind;
        w->line = line;
    } else if (w->kind != kind || w->line != line) {
        THREAD_FAULT("at %s while other lanes of its warp wait at %s in line %d", line,
                     kind_name(kind), kind_name(w->kind), w->line);
    }
    if (++w->arrived == WARP) {
        w->arrived = 0;
        w->phase ^= 1;
        w->ready = ~(1u << m.place[f->lane]);
        return true;
    }
    f->at = kind;
    f->line = line;
    fibre *to = next();
    if (!to)
        go_home();
    go(to);
    f->at = GQ_SHIM_NONE;
    return false;
}

void whole_warp(unsigned mask, gq_shim_kind kind, int line)
{
    if (mask != 0xffffffffu)
        THREAD_FAULT("%s with mask %08x: collectives take the full mask", line, kind_name(kind), mask);
}

float bf16(uint32_t bits) { return __uint_as_float(bits << 16); }

/* d += a b for the whole warp: products are exact in float, sums go up in k. */
void multiply(const operands with[WARP])
{
    float a[16][16], b[16][8], d[16][8];
    for (int l = 0; l < WARP; l++) {
        int g = l / 4, t = l % 4 * 2;
        for (int i = 0; i < 4; i++) {
            int row = g + (i & 1) * 8, col = t + (i >> 1) * 8;
            a[row][col] = bf16(with[l].a[i] & 0xffffu);
            a[row][col + 1] = bf16(with[l].a[i] >> 16);
            d[g + (i >> 1) * 8][t + (i & 1)] = with[l].d[i];
        }
        for (int i = 0; i < 2; i++) {
            b[t + i * 8][g] = bf16(with[l].b[i] & 0xffffu);
            b[t + i * 8 + 1][g] = bf16(with[l].b[i] >> 16);
        }
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++)
                d[i][j] += a[i][k] * b[k][j];
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++)
            with[l].d[i] = d[l / 4 + (i >> 1) * 8][l % 4 * 2 + (i & 1)];
}

void matrices(const operands with[WARP], bool transposed)
{
    uint16_t e[4][8][8];
    for (int l = 0; l < WARP; l++)
        memcpy(e[l / 8][l % 8], with[l].row, 16);
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++) {
            int g = l / 4, t = l % 4 * 2;
            with[l].r[i] = transposed ? (uint32_t)e[i][t][g] | (uint32_t)e[i][t + 1][g] << 16
                                      : (uint32_t)e[i][g][t] | (uint32_t)e[i][g][t + 1] << 16;
        }
}

/* ---- shared memory ---------------------------------------------------------------------------- */

void *area(size_t bytes)                 /* between pages that may not be touched                 */
{
    size_t         inner = (bytes + PAGE - 1) / PAGE * PAGE;
    unsigned char *p = static_cast<unsigned char *>(
        mmap(nullptr, inner + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (p == MAP_FAILED || mprotect(p + PAGE, inner, PROT_READ | PROT_WRITE) != 0) {
        perror("cuda_on_cpu: no memory for the machine");
        abort();
    }
    return p + PAGE;
}

void words(void *p, uint32_t word, size_t bytes)
{
    unsigned char *q = static_cast<unsigned char *>(p);
    for (; bytes >= 4; bytes -= 4, q += 4)
        memcpy(q, &word, 4);
    memcpy(q, &word, bytes);
}
bool whole(const unsigned char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 4)
        if (memcmp(p + i, &GUARD_WORD, 4) != 0)
            return false;
    return true;
}
unsigned char *dynamic() { return m.dynamic_end - (m.dynamic_bytes + 15) / 16 * 16; }
size_t         dynamic_slack() { return (m.dynamic_bytes + 15) / 16 * 16 - m.dynamic_bytes; }

bool is_shared(const void *p, size_t bytes)
{
    const unsigned char *q = static_cast<const unsigned char *>(p);
    if (q >= dynamic() && q + bytes <= dynamic() + m.dynamic_bytes)
        return true;
    for (int i = 0; i < m.nvars; i++)
        if (q >= m.fixed + m.vars[i].at && q + bytes <= m.fixed + m.vars[i].at + m.vars[i].bytes)
            return true;
    return false;
}

/* NaN passes where it loses a comparison (fmaxf) and where a large integer is right; hence under another order, block
 * by block: NaN; the largest float, bf16 and about the largest integer; the most negative ones; a small integer. */
const uint32_t fills[] = {GQ_SHIM_POISON, 0x7f7f7f7fu, 0xff7fff7fu, 0x00010001u};

void fill_shared()
{
    words(m.fixed, GUARD_WORD, m.used);
    for (int i = 0; i < m.nvars; i++)
        words(m.fixed + m.vars[i].at, m.fill, m.vars[i].bytes);
    words(dynamic() - DYNAMIC_GUARD, GUARD_WORD, DYNAMIC_GUARD);
    words(m.dynamic_end - 16, GUARD_WORD, 16 + DYNAMIC_GUARD);
    words(dynamic(), m.fill, m.dynamic_bytes);
}

void check_shared()
{
    size_t from = 0;
    for (int i = 0; i <= m.nvars && !m.failed; i++) {           /* the gaps between variables         */
        const char *before = i > 0 ? m.vars[i - 1].name : "the first",
                   *after = i < m.nvars ? m.vars[i].name : "the end";
        if (!whole(m.fixed + from, (i < m.nvars ? m.vars[i].at : m.used) - from))
            fault(": bytes between %s and %s of the shared variables were written", before, after);
        if (i < m.nvars)
            from = m.vars[i].at + (m.vars[i].bytes + 3) / 4 * 4;
    }
    if (!m.failed && !whole(dynamic() - DYNAMIC_GUARD, DYNAMIC_GUARD))
        fault(": bytes before the dynamic shared memory were written");
    if (!m.failed && !whole(dynamic() + (m.dynamic_bytes + 3) / 4 * 4, dynamic_slack() / 4 * 4 + DYNAMIC_GUARD))
        fault(": bytes after the %zu of dynamic shared memory were written", m.dynamic_bytes);
}

/* ---- a grid ----------------------------------------------------------------------------------- */

void build()                             /* once: stacks and shared memory                        */
{
    if (m.fixed)
        return;
    m.fixed = static_cast<unsigned char *>(area(GQ_SHIM_STATIC_BYTES + MAX_STATIC * (GUARD + 256) + GUARD));
    /* the end of the dynamic area is the end of its pages but for the guard */
    size_t pages = (GQ_SHIM_SHARED_BYTES + 2 * DYNAMIC_GUARD + PAGE - 1) / PAGE * PAGE;
    m.dynamic_end = static_cast<unsigned char *>(area(pages)) + pages - DYNAMIC_GUARD;
    m.stacks = static_cast<unsigned char *>(area(STACKS));
    for (int i = 0; i < GQ_SHIM_THREADS; i++) {
        fibre *f = &m.threads[i];
        f->stack = m.stacks + (size_t)i * (STACK + PAGE) + PAGE;
        mprotect(f->stack - PAGE, PAGE, PROT_NONE);
        f->warp = i / WARP;
        f->lane = i % WARP;
    }
}

void run_block()
{
    int n = (int)(blockDim.x * blockDim.y * blockDim.z);
    gq_shim_counted.blocks++;
    m.fill = m.seed ? fills[below(sizeof fills / sizeof *fills)] : GQ_SHIM_POISON;
    fill_shared();
    m.nwarps = n / WARP;
    for (int i = 0; i < n; i++) {
        fibre *f = &m.threads[i];
        f->index = {(unsigned)i % blockDim.x, (unsigned)i / blockDim.x % blockDim.y,
                    (unsigned)i / (blockDim.x * blockDim.y)};
        /* tops differ in their cache sets, or a warp's stacks would throw each other out */
        f->sp = fresh(f, STACK - (size_t)(i % WARP) * 320, entry);
        f->at = GQ_SHIM_NONE;
        f->groups = 0;
        f->copies.clear();
    }
    for (int w = 0; w < m.nwarps; w++) {
        warp *v = &m.warps[w];
        v->live = 0xffffffffu;
        v->arrived = v->phase = 0;
        v->yes[0] = v->yes[1] = 0;
        v->first = w * WARP;
    }
    new_phase();
    m.now = next();
    threadIdx = m.now->index;
    m.running = true;
    void *fake = nullptr;
    to_fibres(&fake);
    gq_shim_jump(&m.main_sp, m.now->sp);
    from_fibres(fake);
    m.running = false;
    if (!m.failed)
        check_shared();
}

uint64_t divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

} // namespace

void gq_shim_poison(void *p, size_t bytes) { words(p, GQ_SHIM_POISON, bytes); }

void gq_shim_note(const char *fmt, ...)
{
    char    text[sizeof m.fault];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!m.catching) {
        fprintf(stderr, "cuda_on_cpu: %s (order %u)\n", text, m.seed);
        abort();
    }
    if (!m.noted)
        memcpy(m.fault, text, sizeof text);
    m.noted = true;
}

bool gq_shim_grid(const char *name, dim3 grid, dim3 block, size_t bytes, void (*call)(const void *), const void *args)
{
    build();
    uint64_t n = (uint64_t)grid.x * grid.y * grid.z, at = 0, step = 1;
    m.name = name;
    m.call = call;
    m.args = args;
    m.failed = false;
    m.dynamic_bytes = bytes;
    m.nvars = 0;
    m.used = GUARD;
    m.random = (m.seed + 1) * 0x9E3779B97F4A7C15ull + m.launches++;
    gq_shim_counted.launches++;
    gridDim = grid;
    blockDim = block;
    if (m.seed && n > 1) {               /* a walk through all blocks: step has no common divisor with n */
        at = below(n < 0xffffffffu ? (uint32_t)n : 0xffffffffu);
        do
            step = 1 + below(n < 0xffffffffu ? (uint32_t)n : 0xffffffffu);
        while (divisor(step, n) != 1);
    }
    for (uint64_t i = 0; i < n && !m.failed; i++, at = (at + step) % n) {
        blockIdx = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / grid.x / grid.y)};
        run_block();
    }
    return !m.failed;
}

void __syncthreads(int line)
{
    fibre *f = m.now;
    f->at = GQ_SHIM_SYNCTHREADS;
    f->line = line;
    fibre *to = next();
    if (!to)
        go_home();
    go(to);
}

void __syncwarp(unsigned mask, int line)
{
    whole_warp(mask, GQ_SHIM_SYNCWARP, line);
    meet(GQ_SHIM_SYNCWARP, line);
}

uint64_t gq_shim_shuffle(gq_shim_kind kind, unsigned mask, uint64_t bits, int by, int width, int line)
{
    whole_warp(mask, kind, line);
    if (width != 32 && width != 16 && width != 8 && width != 4 && width != 2 && width != 1)
        THREAD_FAULT("%s of width %d: a power of two up to 32", line, kind_name(kind), width);
    int   lane = m.now->lane, first = lane & ~(width - 1), from = lane;
    warp *w = &m.warps[m.now->warp];
    uint64_t *slot = w->slot[w->phase];
    slot[lane] = bits;
    meet(kind, line);
    switch (kind) {
    case GQ_SHIM_SHFL:      return slot[first + (by & (width - 1))];
    case GQ_SHIM_SHFL_XOR:  from = lane ^ by; break;
    case GQ_SHIM_SHFL_UP:   from = lane - by; break;
    default:                from = lane + by; break;
    }
    /* out of the segment: its own value (xor may reach down into an earlier segment) */
    if (kind == GQ_SHIM_SHFL_XOR ? from >= first + width || from < 0 : from < first || from >= first + width)
        from = lane;
    return slot[from];
}

unsigned gq_shim_vote(gq_shim_kind kind, unsigned mask, bool yes, int line)
{
    whole_warp(mask, kind, line);
    warp *w = &m.warps[m.now->warp];
    int   phase = w->phase;
    if (w->arrived == 0)
        w->yes[phase] = 0;
    w->yes[phase] |= (uint32_t)yes << m.now->lane;
    meet(kind, line);
    return w->yes[phase];
}

void gq_mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], int line)
{
    warp *w = &m.warps[m.now->warp];
    operands *o = &w->with[m.now->lane];
    o->d = d;
    o->a = a;
    o->b = b;
    if (meet(GQ_SHIM_MMA, line))
        multiply(w->with);
}

static void load_matrices(gq_shim_kind kind, uint32_t r[4], const void *row, int line)
{
    warp *w = &m.warps[m.now->warp];
    operands *o = &w->with[m.now->lane];
    if ((uintptr_t)row % 16 != 0 || !is_shared(row, 16))
        THREAD_FAULT("%s of row %p, which is not 16 aligned bytes of shared memory", line, kind_name(kind), row);
    o->r = r;
    o->row = row;
    if (meet(kind, line))
        matrices(w->with, kind == GQ_SHIM_LDMATRIX_TRANS);
}
void gq_ldmatrix_x4(uint32_t r[4], const void *row, int line) { load_matrices(GQ_SHIM_LDMATRIX, r, row, line); }
void gq_ldmatrix_x4_trans(uint32_t r[4], const void *row, int line)
{
    load_matrices(GQ_SHIM_LDMATRIX_TRANS, r, row, line);
}

/* Until it is waited for, the place holds what memory holds at first: neither what was there nor what comes may be read. */
void gq_shim_copy16(void *shared, uint4 data, int line)
{
    if ((uintptr_t)shared % 16 != 0 || !is_shared(shared, 16))
        THREAD_FAULT("gq_copy16 to %p, which is not 16 aligned bytes of shared memory", line, shared);
    words(shared, m.fill, 16);
    m.now->copies.push_back({shared, data, m.now->groups});
}
void gq_copy_commit() { m.now->groups++; }
void gq_shim_copy_wait(int groups)
{
    std::vector<copy> &list = m.now->copies;
    size_t             kept = 0;
    for (size_t i = 0; i < list.size(); i++) {
        if (list[i].group < m.now->groups - groups)
            memcpy(list[i].to, &list[i].data, 16);
        else
            list[kept++] = list[i];
    }
    list.resize(kept);
}

void *gq_shim_shared(const void *key, const char *name, size_t bytes, size_t align)
{
    for (int i = 0; i < m.nvars; i++)
        if (m.vars[i].key == key)
            return m.fixed + m.vars[i].at;
    size_t step = align > 16 ? align : 16, at = (m.used + step - 1) / step * step,
           end = at + (bytes + 15) / 16 * 16 + GUARD;
    size_t sum = bytes;
    for (int i = 0; i < m.nvars; i++)
        sum += m.vars[i].bytes;
    if (m.nvars == MAX_STATIC || sum > GQ_SHIM_STATIC_BYTES || align > 256)
        fault(": shared variable %s: %zu bytes of static shared memory, a block may have %d", name,
              sum, GQ_SHIM_STATIC_BYTES);
    if (sum + m.dynamic_bytes > GQ_SHIM_SHARED_BYTES)
        fault(": %zu static and %zu dynamic bytes of shared memory, a block may have %d", sum, m.dynamic_bytes,
              GQ_SHIM_SHARED_BYTES);
    words(m.fixed + m.used, GUARD_WORD, end - m.used);
    words(m.fixed + at, m.fill, bytes);
    m.vars[m.nvars++] = {key, name, at, bytes};
    m.used = end;
    return m.fixed + at;
}

void *gq_shim_dynamic(size_t align)
{
    if (align > 16)
        fault(": dynamic shared memory is aligned to 16, not to %zu", align);
    if (m.dynamic_bytes == 0)
        fault(": it uses dynamic shared memory and was launched with none");
    return dynamic();
}

void gq_shim_order(unsigned seed)
{
    m.seed = seed;
    m.launches = 0;
}
void gq_shim_catch(int on)
{
    m.catching = on != 0;
    m.noted = false;
}
const char *gq_shim_fault(void)
{
    if (!m.noted)
        return nullptr;
    m.noted = false;
    memcpy(m.last, m.fault, sizeof m.last);
    return m.last;
}
