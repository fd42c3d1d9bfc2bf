/* CLIP-Cut against an independent formulation: cosine similarity in long double (for unit vectors
 * the nearest is the most similar), choice by repeated scanning instead of sorting. Hand-made
 * geometry where the answer is known. */
#include "support.h"

#include "core/mem.h"
#include "data/clipcut.h"

/* ---- the oracle ------------------------------------------------------------------------------ */

enum { MOST = 64, DIM_MOST = 40 };

typedef struct oracle {
    int64_t     frame[MOST];
    long double frame_d[MOST], group_d[MOST];
    int64_t     n, groups;
} oracle;

static long double dot(const long double *a, const long double *b, int dim)
{
    long double s = 0;
    for (int d = dim - 1; d >= 0; d--)
        s += a[d] * b[d];
    return s;
}

/* |a - b|^2 = |a|^2 + |b|^2 - 2 a.b: another road than subtracting */
static long double distance(const long double *a, const long double *b, int dim)
{
    long double s = dot(a, a, dim) + dot(b, b, dim) - 2 * dot(a, b, dim);
    return sqrtl(s > 0 ? s : 0);
}

static void unit(long double *x, int dim)
{
    long double r = sqrtl(dot(x, x, dim));
    for (int d = 0; r > 0 && d < dim; d++)
        x[d] /= r;
}

static int64_t least(const long double *d, int64_t n, const bool *taken)
{
    int64_t best = -1;
    for (int64_t i = n - 1; i >= 0; i--)
        if (!taken[i] && (best < 0 || d[i] <= d[best]))
            best = i;
    return best;
}

static void group_vector(long double x[][DIM_MOST], int64_t first, int64_t last, int dim,
                         const gq_clipcut_opts *o, long double *g)
{
    for (int d = 0; d < dim; d++) {
        long double sum = 0, most = x[first][d];
        for (int64_t f = first; f < last; f++) {
            sum += x[f][d];
            most = fmaxl(most, x[f][d]);
        }
        g[d] = o->reduce == GQ_CLIPCUT_MEAN ? sum / (long double)(last - first)
               : o->reduce == GQ_CLIPCUT_MAXIMUM ? most : x[first][d];
    }
    if (o->normalize)
        unit(g, dim);
}

static void brute(const float *frames, int64_t n, int dim, const float *question,
                  const gq_clipcut_opts *o, oracle *r)
{
    static long double x[MOST][DIM_MOST];
    long double        q[DIM_MOST], g[DIM_MOST];
    bool               frame_taken[MOST] = {false}, group_taken[MOST] = {false};
    int64_t            got = 0;

    for (int d = 0; d < dim; d++)
        q[d] = question[d];
    if (o->normalize)
        unit(q, dim);
    for (int64_t f = 0; f < n; f++) {
        for (int d = 0; d < dim; d++)
            x[f][d] = frames[f * dim + d];
        if (o->normalize)
            unit(x[f], dim);
        r->frame_d[f] = distance(x[f], q, dim);
    }
    r->groups = 0;
    for (int64_t f = 0; f < n; f += o->group) {
        group_vector(x, f, f + o->group < n ? f + o->group : n, dim, o, g);
        r->group_d[r->groups++] = distance(g, q, dim);
    }
    while (got < o->k && got < r->groups) {
        int64_t pick = least(r->group_d, r->groups, group_taken), best = pick * o->group;
        group_taken[pick] = true;
        for (int64_t f = best; f < n && f < (pick + 1) * o->group; f++)
            if (r->frame_d[f] < r->frame_d[best])
                best = f;
        frame_taken[best] = true;
        got++;
    }
    for (; got < o->k && got < n; got++)
        frame_taken[least(r->frame_d, n, frame_taken)] = true;
    r->n = 0;
    for (int64_t f = 0; f < n; f++)
        if (frame_taken[f])
            r->frame[r->n++] = f;
    while (r->n < o->k) {
        r->frame[r->n] = r->frame[r->n - 1];
        r->n++;
    }
}

/* ---- random cases ---------------------------------------------------------------------------- */

static float gaussian(uint64_t *state)
{
    double u = 0;
    for (int i = 0; i < 12; i++) {
        *state = *state * 6364136223846793005ull + 1442695040888963407ull;
        u += (double)(*state >> 40) / 16777216.0;
    }
    return (float)(u - 6.0);
}

static void one_case(uint64_t *rng, int64_t n, int dim, const gq_clipcut_opts *o)
{
    static float frames[MOST * DIM_MOST], question[DIM_MOST];
    gq_clipcut   c;
    gq_error     err = {0};
    oracle       want;

    for (int64_t i = 0; i < n * dim; i++)
        frames[i] = gaussian(rng);
    for (int d = 0; d < dim; d++)
        question[d] = gaussian(rng);
    brute(frames, n, dim, question, o, &want);
    assert_ok(gq_clipcut_select(frames, n, dim, question, o, &c, &err), &err);
    assert_int_equal(c.k, o->k);
    assert_int_equal(c.frames, n);
    assert_int_equal(c.groups, want.groups);
    for (int64_t i = 0; i < c.k; i++) {
        assert_int_equal(c.pick[i].frame, want.frame[i]);
        assert_int_equal(c.pick[i].group, want.frame[i] / o->group);
        assert_true(c.pick[i].distance == c.frame_distance[want.frame[i]]);
        assert_true(c.pick[i].group_distance == c.group_distance[c.pick[i].group]);
    }
    /* 40 terms of magnitude up to 100: about dim * eps * |x|^2 / distance, 1e-11 is far above it */
    for (int64_t f = 0; f < n; f++)
        assert_true(fabs(c.frame_distance[f] - (double)want.frame_d[f]) < 1e-11);
    for (int64_t g = 0; g < c.groups; g++)
        assert_true(fabs(c.group_distance[g] - (double)want.group_d[g]) < 1e-11);
    gq_clipcut_free(&c);
}

static void equals_brute_force(void **state)
{
    uint64_t rng = 7;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        gq_clipcut_opts o = {.k = 1 + i % 7, .group = 1 + i / 7 % 5, .normalize = i % 3 != 0,
                             .reduce = (gq_clipcut_reduce)(i / 11 % 3)};
        one_case(&rng, 1 + i * 13 % MOST, 1 + i * 29 % DIM_MOST, &o);
    }
}

/* ---- known geometry -------------------------------------------------------------------------- */

static void expect(const float *frames, int64_t n, int64_t dim, const float *q, gq_clipcut_opts o,
                   const int64_t *want)
{
    gq_clipcut c;
    gq_error   err = {0};

    assert_ok(gq_clipcut_select(frames, n, dim, q, &o, &c, &err), &err);
    for (int64_t i = 0; i < o.k; i++)
        assert_int_equal(c.pick[i].frame, want[i]);
    gq_clipcut_free(&c);
}

static const float east[2] = {1, 0};
/*                               0      1       2       3      4      5       6     */
static const float path[7][2] = {{0, 1}, {1, 3}, {-1, 1}, {1, 0}, {-5, 1}, {-1, -2}, {3, 1}};

static void a_group_gives_its_best_frame(void **state)
{
    (void)state;
    /* groups (0 1 2) (3 4 5) (6): the lone frame 6 is nearest, then the mean of 0..2, which points
     * up while that of 3..5 points back; its best is 1 */
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(1), (int64_t[]){6});
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(2), (int64_t[]){1, 6});
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(3), (int64_t[]){1, 3, 6});
    /* alone, frame 3 is the question itself */
    expect(path[0], 7, 2, east, (gq_clipcut_opts){.k = 1, .group = 1, .normalize = true},
           (int64_t[]){3});
    /* the first frame stands for its group: 3 is nearest although its companions point away */
    expect(path[0], 7, 2, east,
           (gq_clipcut_opts){.k = 1, .group = 3, .normalize = true, .reduce = GQ_CLIPCUT_FIRST},
           (int64_t[]){3});
}

static void fills_up_and_repeats(void **state)
{
    (void)state;
    /* three groups, five frames: the best of each and then the nearest others, 0 at a right angle
     * before 5 */
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(4), (int64_t[]){0, 1, 3, 6});
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(5), (int64_t[]){0, 1, 3, 5, 6});
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(7), (int64_t[]){0, 1, 2, 3, 4, 5, 6});
    expect(path[0], 7, 2, east, GQ_CLIPCUT_DEFAULT(9), (int64_t[]){0, 1, 2, 3, 4, 5, 6, 6, 6});
    expect(path[0], 1, 2, east, GQ_CLIPCUT_DEFAULT(3), (int64_t[]){0, 0, 0});
}

static void ties_go_to_the_lower_index(void **state)
{
    float same[9][3];
    (void)state;
    for (int f = 0; f < 9; f++)
        memcpy(same[f], (float[]){0.3F, -0.7F, 0.1F}, sizeof same[f]);
    expect(same[0], 9, 3, (float[]){1, 2, 3}, GQ_CLIPCUT_DEFAULT(2), (int64_t[]){0, 3});
    expect(same[0], 9, 3, (float[]){1, 2, 3}, GQ_CLIPCUT_DEFAULT(5), (int64_t[]){0, 1, 2, 3, 6});
    /* length does not matter to unit vectors, and does without them */
    same[4][0] *= 2; same[4][1] *= 2; same[4][2] *= 2;
    expect(same[0], 9, 3, (float[]){1, 2, 3}, GQ_CLIPCUT_DEFAULT(2), (int64_t[]){0, 3});
    expect(same[0], 9, 3, (float[]){1, -2, 1}, (gq_clipcut_opts){.k = 1, .group = 1},
           (int64_t[]){4});
}

static void frames_that_cancel_are_no_fault(void **state)
{
    const float frames[4][2] = {{0, 1}, {0, -1}, {-1, 1}, {-1, -1}};
    gq_clipcut  c;
    gq_error    err = {0};
    (void)state;
    /* the mean of the first group is zero: one away from every unit vector, and nearer than the
     * second */
    assert_ok(gq_clipcut_select(frames[0], 4, 2, east,
                                &(gq_clipcut_opts){.k = 1, .group = 2, .normalize = true}, &c,
                                &err),
              &err);
    assert_true(c.group_distance[0] == 1.0);
    assert_true(fabs(c.group_distance[1] - 2.0) < 1e-15);
    assert_int_equal(c.pick[0].frame, 0);
    gq_clipcut_free(&c);
}

static void unit_distances_are_those_of_the_angle(void **state)
{
    const float frames[3][2] = {{7, 0}, {0, 0.01F}, {-3, 0}};
    gq_clipcut  c;
    gq_error    err = {0};
    (void)state;
    assert_ok(gq_clipcut_select(frames[0], 3, 2, east,
                                &(gq_clipcut_opts){.k = 1, .group = 1, .normalize = true}, &c,
                                &err),
              &err);
    assert_true(c.frame_distance[0] == 0.0);
    assert_true(fabs(c.frame_distance[1] - sqrt(2.0)) < 1e-15);
    assert_true(c.frame_distance[2] == 2.0);
    gq_clipcut_free(&c);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void refuses_what_is_no_embedding(void **state)
{
    float           frames[4][2] = {{1, 0}, {0, 1}, {1, 1}, {2, 1}}, q[2] = {1, 2};
    gq_clipcut_opts o = GQ_CLIPCUT_DEFAULT(2);
    gq_clipcut      c;
    gq_error        err = {0};
    (void)state;

    frames[2][1] = NAN;
    assert_fails(gq_clipcut_select(frames[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "frame 2: element 1");
    assert_null(c.pick);
    frames[2][1] = -INFINITY;
    assert_fails(gq_clipcut_select(frames[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err, "-inf");
    frames[2][0] = frames[2][1] = 0;
    assert_fails(gq_clipcut_select(frames[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "frame 2: its CLIP");
    frames[2][0] = 3.4e38F;                     /* squares overflow a float, not a double */
    frames[2][1] = 1e38F;
    assert_ok(gq_clipcut_select(frames[0], 4, 2, q, &o, &c, &err), &err);
    gq_clipcut_free(&c);
    q[0] = INFINITY;
    assert_fails(gq_clipcut_select(frames[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "the question");
    q[0] = q[1] = 0;
    assert_fails(gq_clipcut_select(frames[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "the question");
}

static void refuses_sizes_that_mean_nothing(void **state)
{
    const float q[2] = {1, 2};
    gq_clipcut  c;
    gq_error    err = {0};
    (void)state;
    assert_fails(gq_clipcut_select(q, 0, 2, q, &GQ_CLIPCUT_DEFAULT(1), &c, &err), GQ_EINPUT, &err,
                 "0 frames");
    assert_fails(gq_clipcut_select(q, 1, 0, q, &GQ_CLIPCUT_DEFAULT(1), &c, &err), GQ_EINPUT, &err,
                 "0 numbers");
    assert_fails(gq_clipcut_select(q, 1, 2, q, &GQ_CLIPCUT_DEFAULT(0), &c, &err), GQ_EUSAGE, &err,
                 "0 frames wanted");
    assert_fails(gq_clipcut_select(q, 1, 2, q, &GQ_CLIPCUT_DEFAULT(1025), &c, &err), GQ_EUSAGE,
                 &err, "1025");
    assert_fails(gq_clipcut_select(q, 1, 2, q, &(gq_clipcut_opts){.k = 1}, &c, &err), GQ_EUSAGE,
                 &err, "groups of 0");
}

static void survives_every_failed_allocation(void **state)
{
    gq_clipcut_opts o = GQ_CLIPCUT_DEFAULT(2);
    gq_clipcut      c;
    gq_error        err = {0};
    int             n = 1;
    (void)state;

    for (;; n++) {
        gq_status s;
        gq_mem_fail_at((uint64_t)n, false);
        gq_error_clear(&err);
        s = gq_clipcut_select(path[0], 7, 2, east, &o, &c, &err);
        gq_mem_fail_at(0, false);
        if (s == GQ_OK)
            break;
        assert_int_equal(s, GQ_ENOMEM);
        assert_null(c.pick);
    }
    gq_clipcut_free(&c);
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_brute_force),
        cmocka_unit_test(a_group_gives_its_best_frame),
        cmocka_unit_test(fills_up_and_repeats),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(frames_that_cancel_are_no_fault),
        cmocka_unit_test(unit_distances_are_those_of_the_angle),
        cmocka_unit_test(refuses_what_is_no_embedding),
        cmocka_unit_test(refuses_sizes_that_mean_nothing),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
