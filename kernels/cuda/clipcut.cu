/* clipcut.cu - CLIP-Cut: distances of frames and of groups of frames to a question, and the choice of k.
 *
 *   measure   one block per group (3 frames): norms of its frames and of the question by one thread each, the
 *             group's vector by columns, then all distances by one thread each. Reads 4 (members + 1) dim bytes
 *             three times (from L1 after the first), and 8 dim of temp twice.
 *   mark      one thread per frame: is it chosen? Its rank is the number of groups (frames) before it in the
 *             order (distance, index): n/3 comparisons, n where there are fewer groups than k.
 *   list      one warp: the chosen frames in the order of time, and the first embedding that is of no use.
 *
 * Sums follow one another as on the host, so a sum is one chain of dim double additions, and latency is what it
 * costs: about 3 dim of them in sequence, whatever the number of frames. That is little beside the CLIP
 * tower that made the embeddings (9 GFLOP a frame). Not measured.
 */
#include "kernels/cuda/clipcut.h"
#include "kernels/cuda/cuda.h"

namespace {

enum { MEAN, MAXIMUM, FIRST, THREADS = 128 };      /* the first three: gq_clipcut_reduce          */

/* nvcc fuses a * b + c unless it is told not to. */
#ifdef GQ_ON_HOST
static inline double plus_square(double sum, double x) { return sum + x * x; }
#else
static __device__ __forceinline__ double plus_square(double sum, double x) { return __dadd_rn(sum, __dmul_rn(x, x)); }
#endif

/* What a call is for the kernels. */
struct search {
    const float *frames, *question;
    int64_t      n, dim, groups;
    int32_t      k, group, normalize, reduce;
    int32_t     *frame, *bad;
    int32_t     *best, *chosen;                    /* [n] 0 or 1; best: the nearest of its group  */
    double      *frame_distance, *group_distance;
    double      *norm, *vector;                    /* [n+1], of the question last; [groups,dim]    */
};

static __device__ double length(const float *x, int64_t dim)
{
    double sum = 0;
    for (int64_t i = 0; i < dim; i++)
        sum = plus_square(sum, (double)x[i]);
    return sqrt(sum);
}

/* Of x / by to q / by_q; X: float or double */
template <class X>
static __device__ double distance(const X *x, double by, const float *q, double by_q, int64_t dim)
{
    double sum = 0;
    for (int64_t i = 0; i < dim; i++)
        sum = plus_square(sum, (double)x[i] / by - (double)q[i] / by_q);
    return sqrt(sum);
}

/* Column i of the group of `members` frames that begins with x, not yet of length one. */
static __device__ double group_column(const search &s, const float *x, const double *by, int64_t members, int64_t i)
{
    double sum = (double)x[i] / by[0];
    for (int64_t j = 1; j < members && s.reduce != FIRST; j++) {
        double next = (double)x[j * s.dim + i] / by[j];
        if (s.reduce == MEAN)
            sum += next;
        else
            sum = next > sum ? next : sum;
    }
    return s.reduce == MEAN ? sum / (double)members : sum;
}

static __device__ double group_distance(const search &s, const double *vector, double question)
{
    double sum = 0, by;
    for (int64_t i = 0; i < s.dim; i++)
        sum = plus_square(sum, vector[i]);
    by = sqrt(sum);
    return distance(vector, s.normalize && by > 0 ? by : 1.0, s.question, question, s.dim);
}

/* by: shared, what the members' embeddings are divided by, then the question's */
__global__ void __launch_bounds__(THREADS) measure(search s)
{
    GQ_DYNAMIC(double, by);
    int64_t      g = blockIdx.x, first = g * s.group, members = s.n - first < s.group ? s.n - first : s.group;
    const float *x = s.frames + first * s.dim;
    double      *vector = s.vector + g * s.dim;
    for (int64_t j = threadIdx.x; j <= members; j += THREADS) {
        double norm = j < members ? length(x + j * s.dim, s.dim) : length(s.question, s.dim);
        by[j] = s.normalize ? norm : 1.0;
        if (j < members)
            s.norm[first + j] = norm;
        else if (g == 0)
            s.norm[s.n] = norm;
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < s.dim; i += THREADS)
        vector[i] = group_column(s, x, by, members, i);
    __syncthreads();
    for (int64_t j = threadIdx.x; j <= members; j += THREADS)
        if (j < members)
            s.frame_distance[first + j] = distance(x + j * s.dim, by[j], s.question, by[members], s.dim);
        else
            s.group_distance[g] = group_distance(s, vector, by[members]);
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    int64_t best = first;
    for (int64_t f = first + 1; f < first + members; f++)
        if (s.frame_distance[f] < s.frame_distance[best])
            best = f;
    for (int64_t f = first; f < first + members; f++)
        s.best[f] = f == best;
}

/* Of n distances, how many come before that of index i? except: NULL, or those to leave out */
static __device__ int32_t rank(const double *d, int64_t n, int64_t i, const int32_t *except)
{
    double  mine = d[i];
    int32_t before = 0;
    for (int64_t j = 0; j < n; j++)
        if (d[j] < mine || (d[j] == mine && j < i))
            before += !(except && except[j]);
    return before;
}

/* Frames that are not the best of their group are taken only when all the best are. */
__global__ void __launch_bounds__(THREADS) mark(search s)
{
    int64_t f = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (f >= s.n)
        return;
    if (s.best[f])
        s.chosen[f] = rank(s.group_distance, s.groups, f / s.group, NULL) < s.k;
    else
        s.chosen[f] = s.groups < s.k && s.groups + rank(s.frame_distance, s.n, f, s.best) < s.k;
}

static __device__ bool usable(double norm, int normalize) { return isfinite(norm) && !(normalize && norm == 0); }

/* Looked for as on the host: the question first, then the frames in order. */
static __device__ int32_t first_bad(const search &s)
{
    if (!usable(s.norm[s.n], s.normalize))
        return (int32_t)s.n;
    for (int64_t base = 0; base < s.n; base += 32) {
        int64_t  f = base + threadIdx.x;
        unsigned bad = __ballot_sync(0xffffffffu, f < s.n && !usable(s.norm[f], s.normalize));
        for (int b = 0; b < 32; b++)
            if (bad >> b & 1u)
                return (int32_t)base + b;
    }
    return -1;
}

/* One warp. Distances that are not numbers may mark any number of frames: what is written stays within [k]. */
__global__ void __launch_bounds__(32) list(search s)
{
    int32_t at = 0, last = 0, bad = first_bad(s);
    for (int64_t base = 0; base < s.n; base += 32) {
        int64_t  f = base + threadIdx.x;
        bool     mine = f < s.n && s.chosen[f];
        unsigned mask = __ballot_sync(0xffffffffu, mine);
        int32_t  before = 0, all = 0;
        for (int b = 0; b < 32; b++)
            if (mask >> b & 1u) {
                before += b < (int)threadIdx.x;
                all++;
                last = (int32_t)base + b;
            }
        if (mine && at + before < s.k)
            s.frame[at + before] = (int32_t)f;
        at += all;
    }
    for (int32_t i = at + (int32_t)threadIdx.x; i < s.k; i += 32)
        s.frame[i] = last;
    if (threadIdx.x == 0)
        *s.bad = bad;
}

/* temp: norm [n+1], vector [groups,dim], then best and chosen [n] */
static size_t flags_at(int64_t n, int64_t dim, int64_t groups)
{
    return (size_t)(n + 1 + groups * dim) * sizeof(double);
}

} // namespace

extern "C" size_t gq_cuda_clipcut_temp(int64_t n, int64_t dim, int32_t group)
{
    return flags_at(n, dim, (n - 1) / group + 1) + (size_t)n * 2 * sizeof(int32_t);
}

extern "C" void gq_cuda_clipcut(gq_device *device, const gq_cuda_clipcut_call *c)
{
    gq_cuda *d = reinterpret_cast<gq_cuda *>(device);
    search   s = {};
    s.frames = c->frames;
    s.question = c->question;
    s.n = c->n;
    s.dim = c->dim;
    s.groups = (c->n - 1) / c->group + 1;
    s.k = c->k;
    s.group = c->group;
    s.normalize = c->normalize;
    s.reduce = c->reduce;
    s.frame = c->frame;
    s.bad = c->bad;
    s.frame_distance = c->frame_distance;
    s.group_distance = c->group_distance;
    s.norm = (double *)c->temp;
    s.vector = s.norm + s.n + 1;
    s.best = (int32_t *)((char *)c->temp + flags_at(s.n, s.dim, s.groups));
    s.chosen = s.best + s.n;
    GQ_LAUNCH(d, measure, (unsigned)s.groups, THREADS, (size_t)(c->group + 1) * sizeof(double), s);
    GQ_LAUNCH(d, mark, gq_blocks(s.n, THREADS), THREADS, 0, s);
    GQ_LAUNCH(d, list, 1, 32, 0, s);
}
