/* train/compare.c: which elements differ, by how much, and what is missing. */
#include "train/compare.h"

#include "core/io.h"
#include "support.h"

static gq_st_tensor f32(const char *name, const float *v, uint64_t n)
{
    return (gq_st_tensor){.name = name,
                          .dtype = GQ_ST_F32,
                          .rank = 1,
                          .shape = {n},
                          .count = n,
                          .data = v,
                          .bytes = n * sizeof *v,
                          .file = "f"};
}

static void values(void **state)
{
    static float   a[10000], b[10000];
    gq_compare_row r;
    (void)state;
    for (int i = 0; i < 10000; i++)
        a[i] = b[i] = (float)i;
    gq_st_tensor x = f32("w", a, 10000), y = f32("w", b, 10000);
    gq_compare_tensor(&x, &y, &r);
    assert_int_equal(r.kind, GQ_CMP_EQUAL);
    b[4095] += 0.5f;                                         /* either side of a piece's border */
    b[4096] -= 2;
    b[9999] += 1;
    gq_compare_tensor(&x, &y, &r);
    assert_int_equal(r.kind, GQ_CMP_VALUES);
    assert_true(r.elements == 3 && r.first == 4095 && r.nan == 0 && r.max_abs == 2);
    a[7] = -0.0f;
    b[7] = 0.0f;                                             /* equal numbers, other bits */
    b[8] = NAN;
    gq_compare_tensor(&x, &y, &r);
    assert_true(r.elements == 5 && r.first == 7 && r.nan == 1 && r.max_abs == 2);
    a[8] = NAN;                                           /* the same bits are equal, also of NaN */
    gq_compare_tensor(&x, &y, &r);
    assert_true(r.elements == 4 && r.nan == 0);
}

static void other_types(void **state)
{
    static const int64_t i[3] = {1, 2, 3}, k[3] = {1, 9, 3};
    static const uint16_t h[2] = {0x3c00, 0x3c00}, g[2] = {0x3c00, 0x4000};
    gq_compare_row       r;
    gq_st_tensor          x = {.name = "i",
                               .dtype = GQ_ST_I64,
                               .rank = 1,
                               .shape = {3},
                               .count = 3,
                               .data = i,
                               .bytes = 24};
    gq_st_tensor         y = x;
    (void)state;
    y.data = k;
    gq_compare_tensor(&x, &y, &r);
    assert_true(r.kind == GQ_CMP_VALUES && r.elements == 1 && r.first == 1 && r.max_abs == 0);
    y.dtype = GQ_ST_U64;
    gq_compare_tensor(&x, &y, &r);
    assert_int_equal(r.kind, GQ_CMP_SHAPE);
    y = x;
    y.rank = 2;
    y.shape[1] = 1;
    gq_compare_tensor(&x, &y, &r);
    assert_int_equal(r.kind, GQ_CMP_SHAPE);
    x = (gq_st_tensor){.name = "h",
                       .dtype = GQ_ST_F16,
                       .rank = 1,
                       .shape = {2},
                       .count = 2,
                       .data = h,
                       .bytes = 4};
    y = x;
    y.data = g;
    gq_compare_tensor(&x, &y, &r);
    assert_true(r.elements == 1 && r.first == 1 && r.max_abs == 1);
    x.count = y.count = x.bytes = y.bytes = x.shape[0] = y.shape[0] = 0;
    gq_compare_tensor(&x, &y, &r);
    assert_int_equal(r.kind, GQ_CMP_EQUAL);
}

static void write_set(const char *path, const char *const *names, size_t n, float value)
{
    gq_st_tensor  t[4] = {0};
    gq_st_writer *w;
    gq_error      err = {0};
    for (size_t i = 0; i < n; i++)
        t[i] = f32(names[i], NULL, 1);
    assert_ok(gq_st_writer_open(path, t, n, NULL, 0, &w, &err), &err);
    for (size_t i = 0; i < n; i++)
        assert_ok(gq_st_put(w, names[i], &value, sizeof value, &err), &err);
    assert_ok(gq_st_commit(w, &err), &err);
}

static bool spell(void *ctx, const gq_compare_row *r)
{
    char *at = ctx;
    sprintf(at + strlen(at), "%s%d ", r->a ? r->a->name : r->b->name, (int)r->kind);
    return strlen(at) < 12;
}

static void sets(void **state)
{
    static const char *const ab[] = {"c", "a", "b"}, *const bd[] = {"b", "d", "a", "e"};
    gq_safetensors          *x, *y;
    gq_error                 err = {0};
    char                     path[2][128], seen[64] = "";
    const char              *dir = gq_scratch();
    (void)state;
    snprintf(path[0], 128, "%s/x.safetensors", dir);
    snprintf(path[1], 128, "%s/y.safetensors", dir);
    write_set(path[0], ab, 3, 1);
    write_set(path[1], bd, 4, 1);
    assert_ok(gq_safetensors_open(path[0], &x, &err), &err);
    assert_ok(gq_safetensors_open(path[1], &y, &err), &err);
    assert_int_equal(gq_compare_sets(x, x, spell, seen), 0);
    assert_string_equal(seen, "c0 a0 b0 ");
    seen[0] = 0;
    assert_int_equal(gq_compare_sets(x, y, spell, seen),
                     2); /* stopped by the callback before "e" */
    assert_string_equal(seen, "c3 a0 b0 d4 ");
    gq_safetensors_close(x);
    gq_safetensors_close(y);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(other_types),
        cmocka_unit_test(sets),
    };
    return cmocka_run_group_tests_name("train/compare", tests, NULL, NULL);
}
