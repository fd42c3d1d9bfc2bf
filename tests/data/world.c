/* The toy world: every answer is found again from the pixels alone, balance, splits, files. */
#include "support.h"

#include <gif_lib.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/world.h"

enum { T = GQ_WORLD_FRAMES, S = GQ_WORLD_SIZE, N = 8000 };

static const char *const colors[] = {"red", "green", "blue", "yellow", "purple", "white"};

static gq_world_clip get(const gq_world_spec *spec, gq_world_split split, uint64_t i)
{
    gq_world_clip c;
    gq_error      err = {0};
    assert_ok(gq_world_sample(spec, split, i, &c, &err), &err);
    return c;
}

/* ---- an oracle that sees pixels only --------------------------------------------------------- */

static int area(const gq_world_clip *c, int t)
{
    int n = 0;
    for (int p = 0; p < S * S; p++)
        n += c->index[t * S * S + p] != 0;
    return n;
}

static int color_in(const gq_world_clip *c, int t)
{
    for (int p = 0; p < S * S; p++)
        if (c->index[t * S * S + p])
            return c->index[t * S * S + p] - 1;
    return -1;
}

/* Shape of the one object of frame t when it is at normal size; cells are multiples of 4. */
static const char *shape_in(const gq_world_clip *c, int t, int *cell_y, int *cell_x)
{
    for (int y = 0; y < S; y += 4)
        for (int x = 0; x < S; x += 4) {
            const uint8_t *f = c->index + t * S * S + y * S + x;
            int            n = 0;
            for (int p = 0; p < 16; p++)
                n += f[p / 4 * S + p % 4] != 0;
            if (!n)
                continue;
            *cell_y = y / 4;
            *cell_x = x / 4;
            return n == 16   ? "square"
                   : n == 10 ? "triangle"
                   : n == 8  ? (f[0] ? "cross" : "circle")
                             : "?";
        }
    return "none";
}

static int normal_frame(const gq_world_clip *c)
{
    for (int t = 0; t < T; t++)
        if (area(c, t) > 4 && area(c, t) <= 16)
            return t;
    return -1;
}

static const char *action_in(const gq_world_clip *c, int t)
{
    int a = area(c, t);
    return a == 0 ? "hide" : a == 4 ? "shrink" : a > 16 ? "grow" : "";
}

/* The actions in order of their beginnings; two frames each when `pairs`, else runs. */
static int actions(const gq_world_clip *c, bool pairs, const char *list[T])
{
    int n = 0;
    for (int t = 0; t < T; t++) {
        const char *a = action_in(c, t);
        if (!*a)
            continue;
        if (pairs)
            assert_string_equal(action_in(c, ++t), a);
        else
            while (t + 1 < T && strcmp(action_in(c, t + 1), a) == 0)
                t++;
        list[n++] = a;
    }
    return n;
}

static const char *direction_of(int dy, int dx)
{
    return dy < 0 ? "up" : dy > 0 ? "down" : dx < 0 ? "left" : "right";
}

static const char *oracle(const gq_world_clip *c)
{
    const char *list[T], *word[16], *counts[] = {"", "one", "two", "three"};
    char        q[64];
    int         nw = 0, y0, x0, y1, x1, t = normal_frame(c);
    snprintf(q, sizeof q, "%s", c->question);
    for (char *p = strtok(q, " ?"); p; p = strtok(NULL, " ?"))
        word[nw++] = p;
    assert_true(t >= 0);
    switch (c->kind) {
    case GQ_WORLD_COLOUR:
        assert_string_equal(shape_in(c, t, &y0, &x0), word[4]);
        return colors[color_in(c, t)];
    case GQ_WORLD_OBJECT:
        assert_string_equal(colors[color_in(c, t)], word[4]);
        return shape_in(c, t, &y0, &x0);
    case GQ_WORLD_WHERE:
        assert_string_equal(shape_in(c, 3, &y0, &x0), word[3]);
        return direction_of(y0 - 1, x0 - 1);
    case GQ_WORLD_ACTION:
        assert_string_equal(shape_in(c, t, &y0, &x0), word[3]);
        assert_int_equal(actions(c, true, list), 1);
        return list[0];
    case GQ_WORLD_DIRECTION:
        assert_string_equal(shape_in(c, 0, &y0, &x0), word[4]);
        shape_in(c, T - 1, &y1, &x1);
        assert_int_equal(abs(y1 - y0) + abs(x1 - x0), 2);
        return direction_of(y1 - y0, x1 - x0);
    case GQ_WORLD_COUNT:
        assert_string_equal(shape_in(c, t, &y0, &x0), word[5]);
        nw = actions(c, false, list);
        assert_string_equal(list[0], word[6]);
        return counts[nw];
    case GQ_WORLD_TRANSITION:
        assert_string_equal(shape_in(c, t, &y0, &x0), word[3]);
        assert_int_equal(actions(c, true, list), 3);
        for (int k = 0; k < 3; k++)
            if (strcmp(list[k], word[6]) == 0) {
                assert_int_equal(k, 1);
                return list[strcmp(word[5], "before") == 0 ? k - 1 : k + 1];
            }
        return "?";
    default:
        if (strcmp(word[3], "last") == 0)
            return colors[color_in(c, T - 1)];
        return colors[color_in(c, t)];
    }
}

static void answers_are_in_the_pixels(void **state)
{
    (void)state;
    gq_world_spec spec = {.seed = 5};
    for (int split = 0; split < GQ_WORLD_SPLITS; split++)
        for (uint64_t i = 0; i < 2000; i++) {
            gq_world_clip c = get(&spec, (gq_world_split)split, i);
            assert_string_equal(oracle(&c), c.answer);
        }
}

/* ---- balance --------------------------------------------------------------------------------- */

typedef struct tally { char key[96]; int n; } tally;

static int *tally_at(tally *list, int *n, const char *key)
{
    int k = 0;
    while (k < *n && strcmp(list[k].key, key) != 0)
        k++;
    if (k == *n)
        snprintf(list[(*n)++].key, sizeof list->key, "%s", key);
    return &list[k].n;
}

/* Share of the samples that the most frequent answer of each question string gets right. */
static double question_only(const tally *pairs, int n, int samples)
{
    int right = 0;
    for (int i = 0; i < n; i++) {
        size_t q = (size_t)(strchr(pairs[i].key, '?') - pairs[i].key);
        bool   best = true;
        for (int j = 0; j < n; j++)
            if (strncmp(pairs[i].key, pairs[j].key, q + 1) == 0 &&
                (pairs[j].n > pairs[i].n || (pairs[j].n == pairs[i].n && j < i)))
                best = false;
        right += best ? pairs[i].n : 0;
    }
    return (double)right / samples;
}

static void answers_are_balanced(void **state)
{
    (void)state;
    /* What the question alone can know. colour: P(colour | shape) is 1/4 for square and cross,
     * 1/5 for the others up to the unequal weights below; object: 3 shapes a colour, likewise.
     * The rest: chance. */
    static const double ceiling[] = {2. / 9, 0, .25, 1. / 3, .25, 1. / 3, .5, 1. / 6};
    for (int kind = 0; kind < GQ_WORLD_KINDS; kind++) {
        gq_world_spec spec = {.seed = 9};
        tally         answers[16] = {0}, pairs[128] = {0};
        int           na = 0, np = 0;
        double        entropy = 0, want = ceiling[kind];
        char          key[96];
        spec.weight[kind] = 1;
        for (int i = 0; i < N; i++) {
            gq_world_clip c = get(&spec, GQ_WORLD_TRAIN, (uint64_t)i);
            assert_int_equal(c.kind, kind);
            snprintf(key, sizeof key, "%s%s", c.question, c.answer);
            ++*tally_at(answers, &na, c.answer);
            ++*tally_at(pairs, &np, key);
        }
        assert_int_equal(na, gq_world_kind_answers((gq_world_kind)kind));
        for (int k = 0; k < na; k++)
            entropy -= (double)answers[k].n / N * log2((double)answers[k].n / N);
        assert_true(fabs(entropy - log2(na)) < 0.01);
        /* shape given colour is 1/3: pairs weigh 1/18 */
        if (kind == GQ_WORLD_COLOUR)
            want = 4. / 18;
        /* pairs weigh 1/16 for square and cross, 1/20 for circle and triangle */
        if (kind == GQ_WORLD_OBJECT)
            want = 6. / 16;
        assert_true(question_only(pairs, np, N) < want + 0.02);
        assert_true(question_only(pairs, np, N) > want - 0.01);
    }
}

/* ---- splits ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void splits_share_nothing(void **state)
{
    (void)state;
    gq_world_spec spec = {.seed = 3}, other = {.seed = 4};
    uint64_t     *train = gq_malloc(N, sizeof *train);
    for (int i = 0; i < N; i++)
        train[i] = get(&spec, GQ_WORLD_TRAIN, (uint64_t)i).identity;
    qsort(train, N, sizeof *train, compare);
    for (int split = GQ_WORLD_VAL; split <= GQ_WORLD_NOVEL; split++)
        for (int k = 0; k < GQ_WORLD_KINDS; k++) {
            tally answers[16] = {0};
            int   na = 0;
            memset(other.weight, 0, sizeof other.weight);
            other.weight[k] = 3;
            for (uint64_t i = 0; i < 300; i++) {
                gq_world_clip c = get(&other, (gq_world_split)split, i);
                assert_null(bsearch(&c.identity, train, N, sizeof *train, compare));
                ++*tally_at(answers, &na, c.answer);
            }
            assert_int_equal(na, gq_world_kind_answers((gq_world_kind)k)); /* none missing */
        }
    gq_free(train);
}

static void novel_pairs_are_novel(void **state)
{
    (void)state;
    static const char *const held[] = {"square red",    "square purple", "circle yellow",
                                       "triangle blue", "cross green",   "cross white"};
    gq_world_spec spec = {.seed = 11};
    for (int split = 0; split < GQ_WORLD_SPLITS; split++)
        for (uint64_t i = 0; i < 1500; i++) {
            gq_world_clip c = get(&spec, (gq_world_split)split, i);
            for (int t = 0; t < T; t++) {
                char pair[32];
                int  y, x, found = 0, a = area(&c, t);
                if (a <= 4 || a > 16)
                    continue;
                snprintf(pair, sizeof pair, "%s %s", shape_in(&c, t, &y, &x),
                         colors[color_in(&c, t)]);
                for (size_t k = 0; k < sizeof held / sizeof *held; k++)
                    found += strcmp(pair, held[k]) == 0;
                assert_int_equal(found, split == GQ_WORLD_NOVEL);
            }
        }
}

static void a_clip_is_a_pure_function(void **state)
{
    (void)state;
    gq_world_spec spec = {.seed = 77};
    gq_world_clip a = get(&spec, GQ_WORLD_TEST, 123456789), b;
    uint64_t      sum = 0;
    get(&spec, GQ_WORLD_TRAIN, 5);
    memset(&b, 0xAA, sizeof b);
    b = get(&spec, GQ_WORLD_TEST, 123456789);
    assert_memory_equal(a.index, b.index, sizeof a.index);
    assert_memory_equal(a.palette, b.palette, sizeof a.palette);
    assert_string_equal(a.question, b.question);
    for (uint64_t i = 0; i < 2000; i++)
        sum = sum * 31 + get(&spec, (gq_world_split)(i % 4), i).identity;
    /* pins version micro-1: a change of any clip must change GQ_WORLD_VERSION and this number */
    assert_string_equal(GQ_WORLD_VERSION, "micro-1");
    assert_int_equal(sum, 0x79d5c602be9d274full);
}

static void bad_weights_are_refused(void **state)
{
    (void)state;
    gq_world_spec spec = {.weight = {1001}};
    gq_world_clip c;
    gq_error      err;
    assert_fails(gq_world_sample(&spec, GQ_WORLD_TRAIN, 0, &c, &err), GQ_EUSAGE, &err, "0..1000");
}

static void weights_mix_kinds(void **state)
{
    (void)state;
    gq_world_spec spec = {.seed = 2, .weight = {[GQ_WORLD_COUNT] = 1, [GQ_WORLD_ORDER] = 3}};
    int           order = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        gq_world_clip c = get(&spec, GQ_WORLD_TRAIN, i);
        assert_true(c.kind == GQ_WORLD_COUNT || c.kind == GQ_WORLD_ORDER);
        order += c.kind == GQ_WORLD_ORDER;
    }
    assert_true(abs(order - 3000) < 5 * 27);      /* five standard deviations of a binomial */
}

/* ---- files ----------------------------------------------------------------------------------- */

static void check_gif(const char *path, const gq_world_clip *c, int scale)
{
    int          failed;
    GifFileType *g = DGifOpenFileName(path, &failed);
    assert_non_null(g);
    assert_int_equal(DGifSlurp(g), GIF_OK);
    assert_int_equal(g->ImageCount, T);
    assert_int_equal(g->SWidth, S * scale);
    for (int t = 0; t < T; t++)
        for (int p = 0; p < S * S * scale * scale; p++) {
            int            y = p / (S * scale) / scale, x = p % (S * scale) / scale;
            GifColorType   got = g->SColorMap->Colors[g->SavedImages[t].RasterBits[p]];
            const uint8_t *want = c->palette[c->index[(t * S + y) * S + x]];
            assert_int_equal(got.Red << 16 | got.Green << 8 | got.Blue,
                             want[0] << 16 | want[1] << 8 | want[2]);
        }
    assert_int_equal(DGifCloseFile(g, &failed), GIF_OK);
}

static bool stop_at_once(void *ctx, const gq_progress *p)
{
    return p->done < *(uint64_t *)ctx;
}

static void files_are_the_same_clips(void **state)
{
    (void)state;
    const char     *dir = gq_scratch();
    gq_world_files  files = {.spec = {.seed = 8}, .count = {30, 5, 12, 7}, .scale = 3};
    gq_world_report r, again;
    gq_error        err = {0};
    gq_bytes        table;
    char            path[256], want[256];
    uint64_t        limit = 0;

    assert_fails(gq_world_write(dir, &files, stop_at_once, &limit, &r, &err), GQ_ESTOPPED, &err,
                 "stopped");
    gq_error_clear(&err);
    assert_ok(gq_world_write(dir, &files, NULL, NULL, &r, &err), &err);
    for (int split = 0; split < GQ_WORLD_SPLITS; split++) {
        uint32_t n = 0;
        for (int k = 0; k < GQ_WORLD_KINDS; k++) {
            n += r.samples[split][k];
            assert_int_equal(r.shared[split][k], 0);
            assert_true(r.distinct[split][k] <= r.samples[split][k]);
        }
        assert_int_equal(n, files.count[split]);
        snprintf(path, sizeof path, "%s/%s.tsv", dir, gq_world_split_name((gq_world_split)split));
        assert_ok(gq_read_file(path, 1 << 20, &table, &err), &err);
        char *line = strchr((char *)table.data, '\n') + 1;
        for (uint64_t i = 0; i < n; i++) {
            gq_world_clip c = get(&files.spec, (gq_world_split)split, i);
            snprintf(want, sizeof want, "%s-%06u.gif\t%s\t%s\t%s\n",
                     gq_world_split_name((gq_world_split)split), (unsigned)i, c.question, c.answer,
                     gq_world_kind_name(c.kind));
            assert_memory_equal(line, want, strlen(want));
            line += strlen(want);
            snprintf(path, sizeof path, "%s/gif/%.*s", dir, (int)(strchr(want, '\t') - want), want);
            check_gif(path, &c, 3);
        }
        assert_int_equal(*line, 0);
        gq_bytes_free(&table);
    }
    assert_ok(gq_world_write(dir, &files, NULL, NULL, &again, &err), &err);      /* nothing to do */
    assert_memory_equal(again.samples, r.samples, sizeof r.samples);
    assert_memory_equal(again.distinct, r.distinct, sizeof r.distinct);
    assert_int_equal(again.gif_bytes, r.gif_bytes);
    files.spec.seed++;
    assert_fails(gq_world_write(dir, &files, NULL, NULL, NULL, &err), GQ_EINPUT, &err,
                 "another world");
    gq_error_clear(&err);
    files.scale = 65;
    assert_fails(gq_world_write(dir, &files, NULL, NULL, NULL, &err), GQ_EUSAGE, &err, "scale");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

static void the_vocabulary_is_closed(void **state)
{
    (void)state;
    gq_world_spec spec = {.seed = 21};
    for (uint64_t i = 0; i < 4000; i++) {
        gq_world_clip c = get(&spec, (gq_world_split)(i % 4), i);
        char          text[96];
        snprintf(text, sizeof text, "%s %s", c.question, c.answer);
        assert_non_null(strstr(text, "? "));
        for (char *w = strtok(text, " ?"); w; w = strtok(NULL, " ?")) {
            int k = 0;
            while (gq_world_word(k) && strcmp(gq_world_word(k), w) != 0)
                k++;
            assert_non_null(gq_world_word(k));
        }
    }
    assert_string_equal(gq_world_word(0), "?");
    assert_null(gq_world_word(-1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_in_the_pixels), cmocka_unit_test(answers_are_balanced),
        cmocka_unit_test(splits_share_nothing),      cmocka_unit_test(novel_pairs_are_novel),
        cmocka_unit_test(a_clip_is_a_pure_function), cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(weights_mix_kinds),
        cmocka_unit_test(files_are_the_same_clips),  cmocka_unit_test(the_vocabulary_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
