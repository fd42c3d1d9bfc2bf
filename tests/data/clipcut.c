/* CLIP-Cut against an independent formulation: distances in long double by another formula, choice
 * by repeated scanning of everything instead of one sorted list. What must hold of every choice.
 * Hand-made geometry where the answer is known. */
#include "support.h"

#include "core/mem.h"
#include "data/build.h"
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

/* The frame of f's group that is nearest, the first of equals. */
static int64_t best_beside(const oracle *r, int64_t n, int64_t f, int64_t group)
{
    int64_t best = f / group * group;
    for (int64_t i = best; i < n && i / group == f / group; i++)
        if (r->frame_d[i] < r->frame_d[best])
            best = i;
    return best;
}

/* Does frame a come before frame b in the list of candidates? */
static bool before(const oracle *r, int64_t n, int64_t a, int64_t b, int64_t group)
{
    bool        a_leads = best_beside(r, n, a, group) == a;
    bool        b_leads = best_beside(r, n, b, group) == b;
    long double x = a_leads ? r->group_d[a / group] : r->frame_d[a],
                y = b_leads ? r->group_d[b / group] : r->frame_d[b];
    if (a_leads != b_leads)
        return a_leads;
    return x < y || (x == y && a < b);
}

/* Frames between f and the nearest one that is taken. */
static int64_t room_around(const bool *taken, int64_t n, int64_t f)
{
    int64_t room = INT64_MAX;
    for (int64_t i = 0; i < n; i++)
        if (taken[i] && llabs(i - f) < room)
            room = llabs(i - f);
    return room;
}

static void brute_choice(oracle *r, int64_t n, const gq_clipcut_opts *o, bool *taken)
{
    int64_t got = 0, parts = o->mode == GQ_CLIPCUT_MIX ? o->k / 2 : 0;

    for (int64_t i = 0, f = 0; i < parts; i++) {
        while (2 * parts * (f + 1) <= (2 * i + 1) * n)
            f++; /* until the middle (2i+1)n/2parts lies in [f, f+1) */
        got += !taken[f];
        taken[f] = true;
    }
    for (int64_t apart = o->apart; got < o->k && got < n;) {
        int64_t next = -1;
        for (int64_t f = 0; f < n; f++)
            if (room_around(taken, n, f) >= (apart > 1 ? apart : 1) &&
                (next < 0 || before(r, n, f, next, o->group)))
                next = f;
        if (next < 0)
            apart /= 2;
        else
            taken[next] = true;
        got += next >= 0;
    }
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
    bool               taken[MOST] = {false};

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
    brute_choice(r, n, o, taken);
    r->n = 0;
    for (int64_t f = 0; f < n; f++)
        if (taken[f])
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

static float drawn[MOST * DIM_MOST], asked[DIM_MOST];

/* whole: small whole numbers, for use without `normalize`: sums are exact in both formulations, and
 * ties abound. */
static void draw(uint64_t *rng, int64_t n, int dim, bool whole)
{
    for (int64_t i = 0; i < n * dim; i++)
        drawn[i] = whole ? roundf(gaussian(rng)) : gaussian(rng);
    for (int d = 0; d < dim; d++)
        asked[d] = whole ? roundf(gaussian(rng)) : gaussian(rng);
}

static void one_case(int64_t n, int dim, const gq_clipcut_opts *o)
{
    gq_clipcut c;
    gq_error   err = {0};
    oracle     want;

    brute(drawn, n, dim, asked, o, &want);
    assert_ok(gq_clipcut_select(drawn, n, dim, asked, o, &c, &err), &err);
    assert_int_equal(c.k, o->k);
    assert_int_equal(c.frames, n);
    assert_int_equal(c.groups, want.groups);
    for (int64_t i = 0; i < c.k; i++) {
        if (c.pick[i].frame != want.frame[i])
            fail_msg("%d of %d frames, groups of %d, mode %d, apart %d: pick %d is %d, want %d",
                     (int)o->k, (int)n, (int)o->group, (int)o->mode, (int)o->apart, (int)i,
                     (int)c.pick[i].frame, (int)want.frame[i]);
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
        int64_t n = 1 + i * 13 % MOST;
        int     dim = 1 + i * 29 % DIM_MOST;
        draw(&rng, n, dim, false);
        one_case(n, dim, &o);
    }
}

/* Every mode and many distances, few frames and many, ties and none. */
static void suppression_and_mix_equal_brute_force(void **state)
{
    uint64_t rng = 11;
    (void)state;
    for (int i = 0; i < 6000; i++) {
        bool            whole = i / 3 % 2;
        gq_clipcut_opts o = {.k = 1 + i % 9, .group = whole ? 1 : 1 + i / 9 % 4,
                             .normalize = !whole, .mode = i % 2 ? GQ_CLIPCUT_MIX : GQ_CLIPCUT_CLIP,
                             .apart = i / 5 % 3 ? i / 7 % 19 : i / 15 % 1025};
        int64_t n = i % 4 ? 1 + i * 13 % MOST : 1 + i / 4 % 6;
        int     dim = whole ? 2 : 6; /* in 6 no group's mean is near zero by chance */
        draw(&rng, n, dim, whole);
        one_case(n, dim, &o);
    }
}

static void chosen(int64_t n, int dim, const gq_clipcut_opts *o, int64_t *frame)
{
    gq_clipcut c;
    gq_error   err = {0};
    assert_ok(gq_clipcut_select(drawn, n, dim, asked, o, &c, &err), &err);
    for (int64_t i = 0; i < o->k; i++)
        frame[i] = c.pick[i].frame;
    gq_clipcut_free(&c);
}

/* k frames of the animation, ascending, none twice unless there are fewer: then all of them. Where
 * greedy choice cannot fail - a chosen frame keeps out 2 apart - 1 at most - the distance is
 * kept. */
static void every_choice_is_a_choice(void **state)
{
    uint64_t rng = 5;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        gq_clipcut_opts o = {.k = 1 + i % 12, .group = 1 + i / 12 % 5, .normalize = true,
                             .mode = (gq_clipcut_mode)(i % 3), .apart = i / 3 % 14};
        int64_t n = 1 + i * 7 % MOST, frame[12], all = 0;
        bool    roomy = o.mode == GQ_CLIPCUT_CLIP && o.apart > 1 &&
                     n > (o.k - 1) * (2 * o.apart - 1);
        draw(&rng, n, 3, false);
        chosen(n, 3, &o, frame);
        for (int64_t j = 0; j < o.k; j++) {
            assert_in_range(frame[j], j ? frame[j - 1] + (n >= o.k) : 0, n - 1);
            if (j && roomy)
                assert_true(frame[j] - frame[j - 1] >= o.apart);
            all += !j || frame[j] != frame[j - 1];
        }
        assert_int_equal(all, n < o.k ? n : o.k);
    }
}

/* The embeddings do not matter, and the frames are those of a build that knows no question. */
static void uniform_is_what_knows_no_question(void **state)
{
    uint64_t rng = 3;
    (void)state;
    for (int i = 0; i < 500; i++) {
        gq_clipcut_opts o = {.k = 1 + i % 12, .group = 1 + i % 5, .normalize = i % 2,
                             .mode = GQ_CLIPCUT_UNIFORM, .apart = i % 7};
        int64_t n = 1 + i * 7 % MOST, frame[12];
        int32_t even[12];
        draw(&rng, n, 3, false);
        chosen(n, 3, &o, frame);
        gq_frames_evenly((uint32_t)n, (int32_t)o.k, even);
        for (int64_t j = 0; j < o.k; j++)
            assert_int_equal(frame[j], even[j]);
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

static void suppression_takes_the_next_best_shot(void **state)
{
    /* angles from the question in hundredths: two shots near it, of frames that hardly differ */
    static const int angle[12] = {50, 50, 50, 10, 11, 12, 50, 50, 20, 21, 22, 50};
    float            x[12][2];
    gq_clipcut_opts  o = {.k = 2, .group = 1, .normalize = true};
    (void)state;
    for (int f = 0; f < 12; f++) {
        x[f][0] = cosf((float)angle[f] / 100);
        x[f][1] = sinf((float)angle[f] / 100);
    }
    expect(x[0], 12, 2, east, o, (int64_t[]){3, 4});
    o.apart = 1;
    expect(x[0], 12, 2, east, o, (int64_t[]){3, 4});
    o.apart = 2;
    expect(x[0], 12, 2, east, o, (int64_t[]){3, 5});
    o.apart = 3;
    expect(x[0], 12, 2, east, o, (int64_t[]){3, 8});
    o.k = 4;
    expect(x[0], 12, 2, east, o, (int64_t[]){0, 3, 8, 11});
    o.k = 5; /* nothing else is 3 apart, and 3 / 2 is 1: the nearest that is left */
    expect(x[0], 12, 2, east, o, (int64_t[]){0, 3, 4, 8, 11});
    o.mode = GQ_CLIPCUT_MIX; /* 3 and 9 are the middles of halves; nearest from there: 0, 6 at 50 */
    o.k = 4;
    expect(x[0], 12, 2, east, o, (int64_t[]){0, 3, 6, 9});
    o.apart = 0;
    expect(x[0], 12, 2, east, o, (int64_t[]){3, 4, 5, 9});
    o.k = 1;
    expect(x[0], 12, 2, east, o, (int64_t[]){3});
    o.mode = GQ_CLIPCUT_UNIFORM;
    o.k = 3;
    expect(x[0], 12, 2, east, o, (int64_t[]){2, 6, 10});
}

static void a_description_follows_the_question(void **state)
{
    char *alone = gq_clipcut_text("what?", NULL), *both = gq_clipcut_text("what?", "a cat.");
    (void)state;
    assert_string_equal(alone, "what?");
    assert_string_equal(both, "what? a cat.");
    gq_free(alone);
    gq_free(both);
}

static void frames_that_cancel_are_no_fault(void **state)
{
    const float x[4][2] = {{0, 1}, {0, -1}, {-1, 1}, {-1, -1}};
    gq_clipcut  c;
    gq_error    err = {0};
    (void)state;
    /* the mean of the first group is zero: one away from every unit vector, and nearer than the
     * second */
    assert_ok(gq_clipcut_select(x[0], 4, 2, east,
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
    const float x[3][2] = {{7, 0}, {0, 0.01F}, {-3, 0}};
    gq_clipcut  c;
    gq_error    err = {0};
    (void)state;
    assert_ok(gq_clipcut_select(x[0], 3, 2, east,
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
    float           few[4][2] = {{1, 0}, {0, 1}, {1, 1}, {2, 1}}, q[2] = {1, 2};
    gq_clipcut_opts o = GQ_CLIPCUT_DEFAULT(2);
    gq_clipcut      c;
    gq_error        err = {0};
    (void)state;

    few[2][1] = NAN;
    assert_fails(gq_clipcut_select(few[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "frame 2: element 1");
    assert_null(c.pick);
    few[2][1] = -INFINITY;
    assert_fails(gq_clipcut_select(few[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err, "-inf");
    few[2][0] = few[2][1] = 0;
    assert_fails(gq_clipcut_select(few[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "frame 2: its CLIP");
    few[2][0] = 3.4e38F;                     /* squares overflow a float, not a double */
    few[2][1] = 1e38F;
    assert_ok(gq_clipcut_select(few[0], 4, 2, q, &o, &c, &err), &err);
    gq_clipcut_free(&c);
    q[0] = INFINITY;
    assert_fails(gq_clipcut_select(few[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
                 "the question");
    q[0] = q[1] = 0;
    assert_fails(gq_clipcut_select(few[0], 4, 2, q, &o, &c, &err), GQ_ENUMERIC, &err,
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
    assert_fails(gq_clipcut_select(q, 1, 2, q, &(gq_clipcut_opts){.k = 1, .group = 1, .apart = -1},
                                   &c, &err),
                 GQ_EUSAGE, &err, "-1 apart");
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
        cmocka_unit_test(suppression_and_mix_equal_brute_force),
        cmocka_unit_test(every_choice_is_a_choice),
        cmocka_unit_test(uniform_is_what_knows_no_question),
        cmocka_unit_test(suppression_takes_the_next_best_shot),
        cmocka_unit_test(a_description_follows_the_question),
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
