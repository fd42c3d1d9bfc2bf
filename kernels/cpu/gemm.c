/* gemm.c - plan, pack, multiply.
 *
 * A product is cut into blocks whose packed A fits the workspace. Per block two parallel phases run:
 * one packs panels, one multiplies a grid of tiles. A large B is not packed in a phase of its own:
 * every tile of the grid is a few panels wide and the block high, and packs the piece of B it is
 * about to use into a small buffer of its thread, where it stays in cache. A small B is packed once
 * for all. Operands that are small and whose layout suits the register tile are read in place, and
 * then no packing phase runs at all: that is the case of small models.
 */
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/act.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/tile.h"

enum {
    KC = 384,                           /* steps along k per pass over a tile: a panel of A stays
                                         * in L1, of AMX_ROWS in L2                               */
    K_BLOCK = 4096,                     /* k per block                                            */
    A_FLOATS = 2 << 20,                 /* packed A per block, floats: with B inside a shared L3  */
    B_FLOATS = 65536,                   /* up to here B is packed once, before the tiles          */
    TALL = 1024,                        /* rows of a tile that packs its own B, at most ...       */
    WIDE = 4,                           /* ... and panels of B                                    */
    FEW_TILES = 12,                     /* ... but as many tiles, for balance                     */
    GROUP = 8,                          /* panels of A that stay in L2 while panels of B change   */
    PACK_TASK = 16384,                  /* floats a packing task copies at least                  */
    TILE_FLOPS = 1000000,               /* a tile of the grid does at least this much work        */
    TILES = 48,                         /* and there are not many more tiles than this            */
    MAX_PANELS = 8,                     /* panels of a tile along either side                     */
#ifndef GQ_AMX                          /* never planned then                                     */
    AMX_ROWS = MR,
    AMX_PAIRS = 1,
#endif
};

typedef struct gemm_plan {
    bool    pack_a, pack_b;
    bool    own_b;                      /* tiles pack B themselves; not together with pack_b      */
    gemm_operands operands;             /* what panels hold                                       */
    int64_t mr;                         /* rows of a panel of A                                   */
    int64_t unit, whole;                /* k of a step along a panel; steps come by so many       */
    int64_t mb, nb, kb;                 /* block                                                  */
    int64_t tm, tn;                     /* own_b: panels per tile                                 */
} gemm_plan;

typedef struct gemm_block {
    const gemm_call *g;
    gemm_plan p;
    float    *pa, *pb;                  /* packed panels; own_b: pb is a buffer for each thread   */
    int64_t   i0, j0, k0, m, n, k;      /* this block                                             */
    int64_t   steps;                    /* along k in a panel                                     */
    bool      first, last;              /* along k                                                */
    int64_t   a_group, b_group;         /* panels per packing task                                */
    int64_t   b_tasks;                  /* tasks that pack B; those of A follow                   */
    int64_t   tm, tn, across;           /* panels per tile, tiles per row of tiles                */
} gemm_block;

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Even parts: the last one is not a crumb. */
static int64_t even_part(int64_t size, int64_t limit, int64_t step)
{
    size = most(size, 1);
    int64_t parts = ceil_div(size, most(limit, step));
    return least(ceil_div(ceil_div(size, parts), step) * step, ceil_div(size, step) * step);
}

/* Steps along a panel that hold k; beyond k they hold zeros. */
static int64_t steps_of(const gemm_plan *p, int64_t k)
{
    return ceil_div(k, p->unit * p->whole) * p->whole;
}

static gemm_plan make_plan(gemm_kind kind, int64_t m, int64_t n, int64_t k, gemm_operands operands)
{
    bool      bf16 = operands != GEMM_FLOATS, amx = operands == GEMM_AMX;
    gemm_plan p = {.operands = operands,
                   .mr = amx ? AMX_ROWS : MR,
                   .unit = bf16 ? 2 : 1,
                   .whole = amx ? AMX_PAIRS : 1};
    bool      pack = bf16 || kind == GEMM_NT || n % VL != 0 || (m > 64 && n * k > 65536);
    p.own_b = pack && n * k > B_FLOATS;
    p.pack_b = pack && !p.own_b;
    p.pack_a = bf16 || n > 4 * NR || m < MR;
    p.kb = even_part(k, K_BLOCK, most(8, p.unit * p.whole));
    p.nb = n;
    p.mb = p.pack_a ? most(p.mr, even_part(m, A_FLOATS / steps_of(&p, p.kb), p.mr)) : m;
    if (p.own_b) {
        p.tm = ceil_div(even_part(p.mb, TALL, p.mr), p.mr);
        p.tn = ceil_div(n, NR) * ceil_div(p.mb, p.tm * p.mr) / FEW_TILES;
        p.tn = least(most(p.tn, 1), WIDE);
    }
    return p;
}

static size_t a_floats(const gemm_plan *p)
{
    int64_t floats = ceil_div(p->mb, p->mr) * p->mr * steps_of(p, p->kb);
    return p->pack_a ? (size_t)(floats + 2 * VL) / 16 * 16 + 16 : 0;
}

/* of one thread where tiles pack B */
static size_t b_floats(const gemm_plan *p)
{
    int64_t panels = p->own_b ? p->tn : ceil_div(p->nb, NR);
    int64_t steps = p->own_b ? KC + 8 : steps_of(p, p->kb);
    return p->own_b || p->pack_b ? (size_t)(panels * NR * steps + 2 * VL) / 16 * 16 + 16 : 0;
}

size_t gemm_temp(gemm_kind kind, int64_t m, int64_t n, int64_t k, gemm_operands operands,
                 int threads)
{
    gemm_plan p = make_plan(kind, m, n, k, operands);
    size_t    buffers = p.own_b ? (size_t)threads : 1;
    return gemm_is_thin(kind, m, n, k) ? 0
                                       : (a_floats(&p) + buffers * b_floats(&p)) * sizeof(float);
}

/* ---- packing --------------------------------------------------------------------------------- */

/* `panels` panels of k rows from src: rows along k (turned), or columns. */
GQ_INLINE void pack_panels(const gemm_plan *plan, int width, bool turned, float *dst,
                           int64_t panels, const float *src, int64_t ld, int64_t left, int64_t k)
{
    int64_t steps = steps_of(plan, k), stride = width * steps;
#ifdef GQ_BF16_DOT
    if (plan->operands != GEMM_FLOATS) {
        pack_pairs(dst, width, false, steps, panels, src, ld, turned, left, k);
        return;
    }
#endif
    if (!turned)
        pack_cols(dst, width, stride, panels, src, ld, left, k);
    for (int64_t p = 0; turned && p < panels; p++)
        pack_rows(dst + p * stride, width, src + p * width * ld, ld, left - p * width, k);
}

/* Rows kk .. kk+k-1 of `panels` panels of B, from panel p of the block on */
static void pack_b(const gemm_block *b, int64_t p, int64_t panels, int64_t kk, int64_t k,
                   float *dst)
{
    const gemm_call *g = b->g;
    int64_t          j = b->j0 + p * NR, at = b->k0 + kk;
    bool             turned = g->kind == GEMM_NT;
    pack_panels(&b->p, NR, turned, dst, panels,
                turned ? g->b + j * g->ldb + at : g->b + at * g->ldb + j, g->ldb, b->n - p * NR, k);
}

static void pack_a(const gemm_block *b, int64_t p, int64_t panels)
{
    const gemm_call *g = b->g;
    int64_t          mr = b->p.mr, i = b->i0 + p * mr, left = b->m - p * mr;
    bool             turned = g->kind != GEMM_TN;
    float           *dst = b->pa + p * mr * b->steps;
    const float     *src = turned ? g->a + i * g->lda + b->k0 : g->a + b->k0 * g->lda + i;
#ifdef GQ_AMX
    if (b->p.operands == GEMM_AMX) {
        pack_pairs(dst, AMX_ROWS, true, b->steps, panels, src, g->lda, turned, left, b->k);
        return;
    }
#endif
    pack_panels(&b->p, MR, turned, dst, panels, src, g->lda, left, b->k);
}

static void pack_task(void *ctx, int64_t task, int thread)
{
    const gemm_block *b = ctx;
    (void)thread;
    if (task < b->b_tasks) {
        int64_t p = task * b->b_group;
        pack_b(b, p, least(b->b_group, ceil_div(b->n, NR) - p), 0, b->k,
               b->pb + p * NR * b->steps);
    } else {
        int64_t p = (task - b->b_tasks) * b->a_group;
        pack_a(b, p, least(b->a_group, ceil_div(b->m, b->p.mr) - p));
    }
}

static void pack_block(gemm_block *b, gq_pool *pool, bool a, bool bb)
{
    int64_t a_tasks = 0;
    b->b_tasks = 0;
    if (bb && b->p.pack_b) {
        b->b_group = most(1, PACK_TASK / (NR * most(b->k, 1)));
        b->b_tasks = ceil_div(ceil_div(b->n, NR), b->b_group);
    }
    if (a && b->p.pack_a) {
        b->a_group = most(1, PACK_TASK / (b->p.mr * most(b->k, 1)));
        a_tasks = ceil_div(ceil_div(b->m, b->p.mr), b->a_group);
    }
    gq_parallel(pool, a_tasks + b->b_tasks, pack_task, b);
}

/* ---- multiplying ----------------------------------------------------------------------------- */

/* One register tile: panel ip of the block's rows, panel jp of its columns, steps kk .. kk+kn-1;
 * own: the tile's packed B, NULL: it lies in the block's panels or is read in place. */
static void one_tile(const gemm_block *b, int64_t ip, int64_t jp, int64_t kk, int64_t kn,
                     const float *own)
{
    const gemm_call *g = b->g;
    int64_t  i = ip * b->p.mr, j = jp * NR;
    int64_t  rows = least(b->p.mr, b->m - i), cols = least(NR, b->n - j);
    int      step = (int)ceil_div(rows, MR_STEP), nv = cols > VL ? 2 : 1, mr = step * MR_STEP;
    bool     by_row = !b->p.pack_a && g->kind != GEMM_TN, start = b->first && kk == 0;
    tile_job t = {.k = kn, .lo = 0, .hi = (int)rows, .cols = cols, .ldc = g->ldc, .ldi = g->ldc};
    if (b->p.pack_a) {
        t.a = b->pa + i * b->steps + kk * b->p.mr;
        t.as = MR;
    } else {                            /* the last panel moves up to have all its rows inside    */
        t.lo = (int)(mr - rows);
        t.hi = mr;
        i -= t.lo;
        t.a = by_row ? g->a + (b->i0 + i) * g->lda + b->k0 + kk
                     : g->a + (b->k0 + kk) * g->lda + b->i0 + i;
        t.as = g->lda;
    }
    t.b = own           ? own
          : b->p.pack_b ? b->pb + j * b->steps + kk * NR
                        : g->b + (b->k0 + kk) * g->ldb + b->j0 + j;
    t.bs = own || b->p.pack_b ? NR : g->ldb;
    t.c = g->c + (b->i0 + i) * g->ldc + b->j0 + j;
    if (!start || g->add) {
        t.init = t.c;
    } else if (g->r && g->act == GQ_NONE) {
        t.init = g->r + (b->i0 + i) * g->ldr + b->j0 + j;
        t.ldi = g->ldr;
    }
    t.bias = start && g->bias ? g->bias + b->j0 + j : NULL;
#ifdef GQ_AMX
    if (b->p.operands == GEMM_AMX) {
        tile_amx(&t);
        return;
    }
#endif
#ifdef GQ_BF16_DOT
    if (b->p.operands == GEMM_PAIRS) {
        tile_kernels_pairs[nv - 1][step - 1](&t);
        return;
    }
#endif
    tile_kernels[by_row][nv - 1][step - 1](&t);
}

void gemm_activate(const gemm_call *g, int64_t i, int64_t j, int64_t m, int64_t n)
{
    for (int64_t end = i + m; i < end; i++) {
        const float *z = g->c + i * g->ldc + j, *r = g->r ? g->r + i * g->ldr + j : NULL;
        float       *y = g->y + i * g->ldc + j;
        for (int64_t l = 0; l < n; l += VL) {
            int64_t left = n - l;
            vf      v = act_value(g->act, left >= VL ? vload(z + l) : vload_n(z + l, left));
            if (r)
                v += left >= VL ? vload(r + l) : vload_n(r + l, left);
            if (left >= VL)
                vstore(y + l, v);
            else
                vstore_n(y + l, v, left);
        }
    }
}

static void tile_task(void *ctx, int64_t task, int thread)
{
    const gemm_block *b = ctx;
    int64_t ip0 = task / b->across * b->tm, ip1 = least(ip0 + b->tm, ceil_div(b->m, b->p.mr));
    int64_t jp0 = task % b->across * b->tn, jp1 = least(jp0 + b->tn, ceil_div(b->n, NR));
    int64_t kc = even_part(b->steps, KC, most(8, b->p.whole)), unit = b->p.unit;
    float  *own = b->p.own_b ? b->pb + (size_t)thread * b_floats(&b->p) : NULL;
#ifdef GQ_AMX
    if (b->p.operands == GEMM_AMX)
        tile_amx_begin();
#endif
    for (int64_t kk = 0; kk < b->steps || kk == 0; kk += kc) {
        int64_t kn = least(kc, b->steps - kk);
        if (own)
            pack_b(b, jp0, jp1 - jp0, kk * unit, least(kn * unit, b->k - kk * unit), own);
        for (int64_t ig = ip0; ig < ip1; ig += GROUP)
            for (int64_t jp = jp0; jp < jp1; jp++)
                for (int64_t ip = ig; ip < least(ig + GROUP, ip1); ip++)
                    one_tile(b, ip, jp, kk, kn, own ? own + (jp - jp0) * NR * kn : NULL);
    }
#ifdef GQ_AMX
    if (b->p.operands == GEMM_AMX)
        tile_amx_end();
#endif
    if (b->last && b->g->act != GQ_NONE) {
        int64_t i = ip0 * b->p.mr, j = jp0 * NR;
        gemm_activate(b->g, b->i0 + i, b->j0 + j, least(ip1 * b->p.mr, b->m) - i,
                      least(jp1 * NR, b->n) - j);
    }
}

/* Chooses the grid: enough tiles for balance, none too small to be worth a visit. */
static int64_t make_grid(gemm_block *b)
{
    int64_t mr = b->p.mr, pm = ceil_div(b->m, mr), pn = ceil_div(b->n, NR),
            flops = 2 * mr * NR * most(1, b->steps);
    int64_t want = most(ceil_div(TILE_FLOPS, flops), pm * pn / TILES), tn = 1, tm;
    while (tn * tn * NR < want * mr)
        tn++;
    tn = most(1, least(least(tn, pn), MAX_PANELS));
    tm = least(most(1, want / tn), pm);
    if (tm == pm)
        tn = most(1, least(pn, want / tm));
    if (b->p.own_b) {
        tm = least(b->p.tm, pm);
        tn = b->p.tn;
    }
    b->tm = ceil_div(pm, ceil_div(pm, tm));
    b->tn = ceil_div(pn, ceil_div(pn, tn));
    b->across = ceil_div(pn, b->tn);
    return b->across * ceil_div(pm, b->tm);
}

void gemm(const gemm_call *g, gq_pool *pool, void *temp)
{
    gemm_block b = {.g = g, .p = make_plan(g->kind, g->m, g->n, g->k, g->operands)};
    bool       one_a = g->m <= b.p.mb && g->k <= b.p.kb;
    if (gemm_is_thin(g->kind, g->m, g->n, g->k)) {
        gemm_thin(g, pool);
        return;
    }
    b.pa = temp;
    b.pb = b.pa ? b.pa + a_floats(&b.p) : NULL;
    for (b.j0 = 0; b.j0 < g->n; b.j0 += b.p.nb) {
        b.n = least(b.p.nb, g->n - b.j0);
        for (b.k0 = 0; b.k0 < g->k || b.k0 == 0; b.k0 += b.p.kb) {
            b.k = least(b.p.kb, g->k - b.k0);
            b.steps = steps_of(&b.p, b.k);
            b.first = b.k0 == 0;
            b.last = b.k0 + b.k >= g->k;
            for (b.i0 = 0; b.i0 < g->m; b.i0 += b.p.mb) {
                b.m = least(b.p.mb, g->m - b.i0);
                pack_block(&b, pool, !one_a || b.j0 == 0, b.i0 == 0);
                gq_parallel(pool, make_grid(&b), tile_task, &b);
            }
        }
    }
}
