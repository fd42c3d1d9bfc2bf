/* gifqa-bench gemm: the matrix product of `linear`, forward and both backward ones, beside
 * OpenBLAS.
 *
 * Product C[M,N] = A B over K: NT has B as [N,K] (forward), NN as [K,N] (gradient of the input), TN
 * has A as [K,M] and B as [K,N] (gradient of the weights). Ours is called as the tape calls it,
 * through the op `linear` with only one gradient wanted. Both sides take turns in one process; the
 * fastest repetition of all rounds counts.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/mem.h"
#include "tools/bench.h"
#include "tools/bench_blas.h"
#include "train/net.h"

enum { ALIGN = 64, SHAPES_MAX = 32, COUNTS = 2, PRODUCTS = 3 };

static const char         *blas_path;
static bool                no_blas, bf16, layers, json;
static int64_t             threads, rounds = 5;
static gq_cli_list         set;
static const gq_cli_option options[] = {
    {"threads", 't', GQ_CLI_INT, &threads, "N", "threads (default: one, then all cores)", 1, 256},
    {"rounds", 'r', GQ_CLI_INT, &rounds, "N", "turns of each side, spread over the run (default: 5)",
     1, 1000},
    {"layers", 0, GQ_CLI_FLAG, &layers, NULL,
     "shapes are rows x outputs x inputs of a layer and its three products", 0, 0},
    {"bf16", 0, GQ_CLI_FLAG, &bf16, NULL, "our bf16 operands beside our fp32", 0, 0},
    {"blas", 0, GQ_CLI_TEXT, &blas_path, "FILE", "the OpenBLAS to open (default: libopenblas.so.0)",
     0, 0},
    {"no-blas", 0, GQ_CLI_FLAG, &no_blas, NULL, "our own numbers only", 0, 0},
    {"set", 's', GQ_CLI_LIST, &set, "KEY=V", "engine.cpu=RUNG and the like", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of a table", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench gemm",
    .summary = "matrix products of the engine, beside OpenBLAS",
    .usage = "[options] [MxNxK ...]",
    .examples = "gifqa-bench gemm\n"
                "gifqa-bench gemm --threads 2 24x50257x768 512x3072x768",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .most = SHAPES_MAX,
    .notes = "Without shapes: the linear layers of the real sizes, 12 of them.\n"
             "Exit codes: 0 done, 2 usage, 3 configuration, 4 no such library, 6 memory, "
             "7 the results differ.",
};

typedef struct shape {
    int64_t m, n, k;
} shape;
typedef enum product { NT, NN, TN } product;

static const char *const product_name[PRODUCTS] = {"NT", "NN", "TN"};
static const shape       usual[] = {
    {160, 768, 768},                    /* a small batch                                          */
    {600, 3072, 768},                   /* CLIP: 12 frames of 50 rows                             */
    {300, 50257, 768},                  /* the LM head on many rows                               */
    {24, 50257, 768},                   /* on the labelled rows of 4 samples                      */
    {512, 2304, 768},                   /* GPT-2: 4 samples of 96 visual and 32 text rows         */
    {512, 768, 768},                    /* likewise, and the next two                             */
    {512, 3072, 768},
    {512, 768, 3072},
    {384, 3072, 768},                   /* Q-Former: 12 frames of 32 queries; the teacher         */
    {384, 768, 3072},
    {600, 1408, 768},                   /* the bridge                                             */
    {600, 1536, 1408},                  /* keys and values of cross-attention                     */
};

/* ---- one product ----------------------------------------------------------------------------- */

typedef struct job {
    shape   s;
    product p;
    float  *a, *b, *c, *d;              /* [m*k], [n*k]; [m*n] of the first and the second side   */
    gq_call call;
    gq_work work;
} job;

typedef struct pair { double first, second; } pair; /* seconds of the fastest repetition */

typedef struct bench {
    const gq_backend *own, *half;       /* half: bf16 operands, NULL: not asked for               */
    bench_blas        blas;
    gq_pool          *pool[COUNTS];
    double            peak[COUNTS];     /* GFLOP/s of fused multiply-adds, 0 unknown              */
    int               count[COUNTS], counts;
    shape             list[SHAPES_MAX];
    int               shapes;
    pair              best[SHAPES_MAX * PRODUCTS][COUNTS];
} bench;

static double gflop(shape s)
{
    return 2e-9 * (double)s.m * (double)s.n * (double)s.k;
}

static gq_buf matrix(float *p, int64_t rows, int64_t cols)
{
    return (gq_buf){.p = p, .shape = {rows, cols, 1, 1}, .rank = 2, .dtype = GQ_F32};
}

/* The call of `linear` whose product this is, with its result in `c`. Operands that the product
 * does not read are d. */
static void bind(job *j, float *c)
{
    shape    s = j->s;
    gq_call *g = &j->call;

    memset(g, 0, sizeof *g);
    g->work = &j->work;
    if (j->p == NT) {
        g->in[0] = matrix(j->a, s.m, s.k);
        g->in[1] = matrix(j->b, s.n, s.k);
        g->out[0] = matrix(c, s.m, s.n);
    } else if (j->p == NN) {
        g->in[0] = matrix(j->d, s.m, s.n);
        g->in[1] = matrix(j->b, s.k, s.n);
        g->dout[0] = matrix(j->a, s.m, s.k);
        g->din[0] = matrix(c, s.m, s.n);
    } else {
        g->in[0] = matrix(j->b, s.k, s.n);
        g->in[1] = matrix(j->d, s.m, s.n);
        g->dout[0] = matrix(j->a, s.k, s.m);
        g->din[1] = matrix(c, s.m, s.n);
    }
}

static gq_status workspace(job *j, const gq_backend *b, gq_pool *pool, gq_error *err)
{
    const gq_op_kernels *op = &b->ops[GQ_OP_LINEAR];
    size_t               bytes = op->temp ? op->temp(&j->call, j->p != NT, gq_pool_size(pool)) : 0;

    j->work.pool = pool;
    if (bytes > j->work.temp_bytes) {
        gq_free(j->work.temp);
        j->work.temp = gq_aligned(ALIGN, bytes);
        j->work.temp_bytes = j->work.temp ? bytes : 0;
    }
    return j->work.temp || !bytes ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no memory for a workspace");
}

static void run_own(job *j, const gq_backend *b)
{
    const gq_op_kernels *op = &b->ops[GQ_OP_LINEAR];
    (j->p == NT ? op->fwd : op->bwd)(&j->call);
}

static void run_blas(job *j, const bench_blas *b)
{
    int m = (int)j->s.m, n = (int)j->s.n, k = (int)j->s.k;

    b->sgemm(BENCH_ROW_MAJOR, j->p == TN ? BENCH_TRANSPOSED : BENCH_PLAIN,
             j->p == NT ? BENCH_TRANSPOSED : BENCH_PLAIN, m, n, k, 1, j->a, j->p == TN ? m : k,
             j->b, j->p == NT ? k : n, 0, j->d, n);
}

/* ---- two sides taking turns ------------------------------------------------------------------ */

/* The second side: OpenBLAS, or our fp32 beside our bf16. */
static bool has_second(const bench *b)
{
    return b->half || b->blas.library;
}

static void run_second(job *j, const bench *b)
{
    if (b->half)
        run_own(j, b->own);
    else
        run_blas(j, &b->blas);
}

static void turn(job *j, const bench *b, bool second, double *best)
{
    enum { LEAST = 2 };
    const double least_s = 0.02;
    double       begin = gq_now();

    bind(j, second ? j->d : j->c);
    for (int k = 0; k < LEAST || gq_now() - begin < least_s; k++) {
        double t = gq_now();
        if (second)
            run_second(j, b);
        else
            run_own(j, b->half ? b->half : b->own);
        t = gq_now() - t;
        *best = t < *best ? t : *best;
    }
}

/* A pool's workers look for more work a while after a call (OpenBLAS: 2^26 clocks); the other
 * side waits for that. */
static void settle(int count)
{
    struct timespec t = {.tv_nsec = 40000000};
    if (count > 1)
        nanosleep(&t, NULL);
}

/* Operands lie in (-1,1): sums stay near sqrt(K), so fp32 rounds by about K 2^-24 in all and
 * bf16 operands, each off by up to 2^-9, by about sqrt(K) 2^-9. Sixteen times that is no
 * rounding. */
static gq_status compare(const job *j, bool half, const char *what, gq_error *err)
{
    double k = (double)j->s.k, bound = 16 * (half ? sqrt(k) / 512 : k / 16777216), worst = 0;

    for (int64_t i = 0; i < j->s.m * j->s.n; i++) {
        double e = fabs((double)j->c[i] - (double)j->d[i]);
        worst = e <= worst ? worst : e; /* NaN is taken */
    }
    if (worst <= bound)
        return GQ_OK;
    return gq_fail(err, GQ_ENUMERIC,
                   "%lldx%lldx%lld %s: the results differ from those of %s by %g, "
                   "rounding explains %g",
                   (long long)j->s.m, (long long)j->s.n, (long long)j->s.k, product_name[j->p],
                   what, worst, bound);
}

/* One turn of each side; the first round also compares the results. */
static gq_status measure(job *j, bench *b, int i, bool first, pair *out, gq_error *err)
{
    gq_status s;

    bind(j, j->c);
    s = workspace(j, b->own, b->pool[i], err);
    if (s == GQ_OK && b->half)
        s = workspace(j, b->half, b->pool[i], err);
    if (s != GQ_OK)
        return s;
    if (b->blas.library)
        b->blas.set_threads(b->count[i]);
    turn(j, b, false, &out->first);
    if (!has_second(b))
        return GQ_OK;
    turn(j, b, true, &out->second);
    settle(b->blas.library ? b->count[i] : 1);
    return first ? compare(j, b->half, b->half ? "fp32" : "OpenBLAS", err) : GQ_OK;
}

static void job_free(job *j)
{
    gq_free(j->a);
    gq_free(j->b);
    gq_free(j->c);
    gq_free(j->d);
    gq_free(j->work.temp);
}

static gq_status job_new(job *j, shape s, product p, gq_error *err)
{
    size_t m = (size_t)s.m, n = (size_t)s.n, k = (size_t)s.k;

    *j = (job){.s = s, .p = p};
    j->a = gq_aligned(ALIGN, m * k * sizeof(float));
    j->b = gq_aligned(ALIGN, n * k * sizeof(float));
    j->c = gq_aligned(ALIGN, m * n * sizeof(float));
    j->d = gq_aligned(ALIGN, m * n * sizeof(float));
    if (!j->a || !j->b || !j->c || !j->d) {
        job_free(j);
        return gq_fail(err, GQ_ENOMEM, "no memory for a product of %lldx%lldx%lld", (long long)s.m,
                       (long long)s.n, (long long)s.k);
    }
    bench_fill(j->a, m * k, 1);
    bench_fill(j->b, n * k, 2);
    memset(j->d, 0, m * n * sizeof(float));
    return GQ_OK;
}

/* ---- all of them ----------------------------------------------------------------------------- */

typedef struct summary {
    double log_sum, worst;
    int    n;
} summary;

static void add_ratio(summary *m, double ratio)
{
    m->worst = m->n == 0 || ratio < m->worst ? ratio : m->worst;
    m->log_sum += log(ratio);
    m->n++;
}

static double geomean(const summary *m)
{
    return m->n ? exp(m->log_sum / m->n) : 0;
}

/* The product of shape s, or with --layers of the layer s: rows x outputs x inputs. */
static shape shape_for(shape s, product p)
{
    if (!layers || p == NT)
        return s;
    return p == NN ? (shape){s.m, s.k, s.n} : (shape){s.n, s.k, s.m};
}

/* Case number k: which product of which shape. */
static shape case_shape(const bench *b, int k)
{
    return shape_for(b->list[k / PRODUCTS], (product)(k % PRODUCTS));
}

static void print_case(const bench *b, int k)
{
    const pair *t = b->best[k];
    shape       s = case_shape(b, k);

    printf("| %lldx%lldx%lld | %s |", (long long)s.m, (long long)s.n, (long long)s.k,
           product_name[k % PRODUCTS]);
    for (int i = 0; i < b->counts; i++) {
        double g = gflop(s) / t[i].first;
        printf(" %.1f |", g);
        if (has_second(b))
            printf(" %.1f | %.2f |", gflop(s) / t[i].second, t[i].second / t[i].first);
        if (b->peak[i] > 0)
            printf(" %.0f %% |", 100 * g / b->peak[i]);
    }
    putchar('\n');
}

static void print_head(const bench *b)
{
    const char *first = b->half ? "bf16" : "ours", *second = b->half ? "fp32" : "OpenBLAS";
    int         columns = b->counts;

    printf("| M x N x K | product |");
    for (int i = 0; i < b->counts; i++) {
        printf(" %s, %d thread%s |", first, b->count[i], b->count[i] > 1 ? "s" : "");
        if (has_second(b))
            printf(" %s | ratio |", second);
        if (b->peak[i] > 0)
            printf(" of fp32 FMA |");
        columns += (has_second(b) ? 2 : 0) + (b->peak[i] > 0);
    }
    printf("\n|---|---|");
    while (columns--)
        printf("--:|");
    putchar('\n');
}

static json_t *case_json(const bench *b, int k, int i)
{
    const pair *t = &b->best[k][i];
    shape       s = case_shape(b, k);
    json_t     *o = json_pack("{s:[I,I,I], s:s, s:i, s:f}", "shape", (json_int_t)s.m,
                              (json_int_t)s.n, (json_int_t)s.k, "product",
                              product_name[k % PRODUCTS], "threads", b->count[i], "gflops",
                              gflop(s) / t->first);

    if (has_second(b)) {
        json_object_set_new(o, b->half ? "fp32_gflops" : "openblas_gflops",
                            json_real(gflop(s) / t->second));
        json_object_set_new(o, "ratio", json_real(t->second / t->first));
    }
    if (b->peak[i] > 0)
        json_object_set_new(o, "fma_share", json_real(gflop(s) / t->first / b->peak[i]));
    return o;
}

/* Rounds are outermost: a neighbour who takes a core for some seconds spoils one turn of a case,
 * not all of them. */
static gq_status run_all(bench *b, gq_error *err)
{
    gq_status s = GQ_OK;

    for (int k = 0; k < b->shapes * PRODUCTS; k++)
        for (int i = 0; i < b->counts; i++)
            b->best[k][i] = (pair){INFINITY, INFINITY};
    for (int r = 0; s == GQ_OK && r < (int)rounds; r++)
        for (int k = 0; s == GQ_OK && k < b->shapes * PRODUCTS; k++) {
            job j;
            s = job_new(&j, case_shape(b, k), (product)(k % PRODUCTS), err);
            if (s != GQ_OK)
                return s;
            for (int i = 0; s == GQ_OK && i < b->counts; i++)
                s = measure(&j, b, i, r == 0, &b->best[k][i], err);
            job_free(&j);
        }
    return s;
}

static void summarise(const bench *b, summary all[COUNTS])
{
    for (int k = 0; has_second(b) && k < b->shapes * PRODUCTS; k++)
        for (int i = 0; i < b->counts; i++)
            add_ratio(&all[i], b->best[k][i].second / b->best[k][i].first);
}

static void print_all(const bench *b, const summary *all)
{
    char machine[192];

    print_head(b);
    for (int k = 0; k < b->shapes * PRODUCTS; k++)
        print_case(b, k);
    bench_machine(machine, sizeof machine);
    printf("\nGFLOP/s, the fastest repetition of %lld turns. %s; ours: %s", (long long)rounds,
           machine, b->half ? b->half->name : b->own->name);
    if (b->blas.library)
        printf("; %s, kernels: %s", b->blas.config, b->blas.core);
    printf(".\n");
    for (int i = 0; i < b->counts; i++) {
        printf("%d thread%s:", b->count[i], b->count[i] > 1 ? "s" : "");
        if (b->peak[i] > 0)
            printf(" fused multiply-adds in registers %.1f GFLOP/s", b->peak[i]);
        if (has_second(b))
            printf("%s ratio: geometric mean %.3f, worst %.3f", b->peak[i] > 0 ? ";" : "",
                   geomean(&all[i]), all[i].worst);
        printf(".\n");
    }
}

static json_t *to_json(const bench *b, const summary *all)
{
    char    machine[192];
    json_t *o, *list = json_array(), *cases = json_array();

    for (int k = 0; k < b->shapes * PRODUCTS; k++)
        for (int i = 0; i < b->counts; i++)
            json_array_append_new(cases, case_json(b, k, i));
    bench_machine(machine, sizeof machine);
    for (int i = 0; i < b->counts; i++) {
        json_t *of = json_pack("{s:i, s:f}", "threads", b->count[i], "fma_gflops", b->peak[i]);
        if (has_second(b)) {
            json_object_set_new(of, "geomean", json_real(geomean(&all[i])));
            json_object_set_new(of, "worst", json_real(all[i].worst));
        }
        json_array_append_new(list, of);
    }
    o = json_pack("{s:b, s:s, s:s, s:o, s:o}", "ok", 1, "machine", machine, "kernels",
                  b->half ? b->half->name : b->own->name, "cases", cases, "threads", list);
    if (o && b->blas.library) {
        json_object_set_new(o, "openblas", gq_cli_string(b->blas.config));
        json_object_set_new(o, "openblas_kernels", gq_cli_string(b->blas.core));
    }
    return o;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* "512x3072x768" */
static bool parse_shape(const char *text, shape *s)
{
    enum { MOST = 1 << 20 }; /* a product of two sizes stays far below 2^63            */
    int64_t *to[3] = {&s->m, &s->n, &s->k};

    for (int i = 0; i < 3; i++) {
        char *end;
        *to[i] = strtoll(text, &end, 10);
        if (end == text || *to[i] < 1 || *to[i] > MOST || *end != (i < 2 ? 'x' : 0))
            return false;
        text = end + 1;
    }
    return true;
}

static gq_status open_all(bench *b, gq_error *err)
{
    static gq_config c; /* large: not on the stack                                */
    gq_status        s;

    gq_cli_rung(&set);
    s = gq_config_load(NULL, set.item, set.n, &c, NULL, err);
    if (s != GQ_OK)
        return s;
    b->own = gq_net_backend(&c, err);
    if (!b->own)
        return GQ_ECONFIG;
    if (bf16 && !(b->half = gq_backend_cpu_bf16(NULL)))
        return gq_fail(err, GQ_ECONFIG, "this machine or build has no bf16 operands");
    if (!no_blas && !bf16 && bench_blas_open(&b->blas, blas_path, err) != GQ_OK) {
        if (blas_path)
            return GQ_EINPUT;
        gq_cli_warn(program.name, "no OpenBLAS here, our own numbers only: %s", err->text);
        *err = (gq_error){0};
    }
    b->counts = threads || gq_cpu_count() == 1 ? 1 : COUNTS;
    b->count[0] = threads ? (int)threads : 1;
    b->count[1] = gq_cpu_count();
    for (int i = 0; i < b->counts; i++) {
        s = gq_pool_new(b->count[i], &b->pool[i], err);
        if (s != GQ_OK)
            return s;
        b->peak[i] = bench_fma_peak(b->pool[i], b->own->name, 0.2);
    }
    return GQ_OK;
}

static int run(bench *b)
{
    summary   all[COUNTS] = {0};
    gq_error  err = {0};
    gq_status s = open_all(b, &err);

    if (s == GQ_OK)
        s = run_all(b, &err);
    if (s == GQ_OK)
        summarise(b, all);
    if (s == GQ_OK && json)
        s = gq_cli_json(to_json(b, all), &err);
    else if (s == GQ_OK)
        print_all(b, all);
    bench_blas_close(&b->blas);
    for (int i = 0; i < b->counts; i++)
        gq_pool_free(b->pool[i]);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}

int bench_gemm(int argc, char **argv)
{
    static bench b;
    gq_cli_list  rest;
    int          code = gq_cli_parse(&program, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    if (blas_path && (no_blas || bf16))
        return gq_cli_usage(program.name, "--blas excludes --no-blas and --bf16");
    for (size_t i = 0; i < rest.n; i++)
        if (!parse_shape(rest.item[i], &b.list[b.shapes++]))
            return gq_cli_usage(program.name, "'%s' is no shape like 512x3072x768", rest.item[i]);
    if (rest.n == 0) {
        memcpy(b.list, usual, sizeof usual);
        b.shapes = sizeof usual / sizeof *usual;
    }
    return run(&b);
}
