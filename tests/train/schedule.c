/* The learning rate, against PyTorch's schedulers (tests/reference/optim.py) and by hand. */
#include <jansson.h>

#include "support.h"
#include "train/schedule.h"

static json_t *reference;

static int read_reference(void **state)
{
    json_error_t e;
    (void)state;
    reference = json_load_file(GQ_SOURCE_DIR "/tests/reference/adamw_tiny.json", 0, &e);
    return reference ? 0 : -1;
}

static int drop_reference(void **state)
{
    (void)state;
    json_decref(reference);
    return 0;
}

static const gq_config *config(const char *schedule, const char *lr, const char *floor,
                               const char *warmup)
{
    static gq_config c;
    char             text[4][64];
    const char      *set[4] = {text[0], text[1], text[2], text[3]};
    gq_error         err = {0};

    snprintf(text[0], 64, "train.schedule=%s", schedule);
    snprintf(text[1], 64, "train.lr=%s", lr);
    snprintf(text[2], 64, "train.lr_min=%s", floor);
    snprintf(text[3], 64, "train.warmup=%s", warmup);
    assert_ok(gq_config_load(NULL, set, 4, &c, NULL, &err), &err);
    return &c;
}

/* Both sides are a handful of double operations on values up to `lr`. */
static void compare(const gq_config *c, const json_t *want, const char *what)
{
    int64_t total = (int64_t)json_array_size(want);
    assert_true(total > 1);
    for (int64_t step = 0; step < total; step++) {
        double w = json_number_value(json_array_get(want, (size_t)step));
        double got = gq_learning_rate(c, step, total);
        if (!(fabs(got - w) <= 8 * 2.3e-16 * c->train.lr))
            fail_msg("%s, step %d: %.17g, want %.17g", what, (int)step, got, w);
    }
}

static void shapes(void **state)
{
    static const char *const names[] = {"cosine", "linear", "constant"};
    const json_t            *s = json_object_get(reference, "schedules");
    (void)state;

    for (size_t i = 0; i < 3; i++)
        compare(config(names[i], "1", "0", "3"), json_object_get(s, names[i]), names[i]);
    compare(config("cosine", "0.03", "0.1", "2"), json_object_get(reference, "lr"), "floor");
}

static void warmup_is_a_share_of_the_run(void **state)
{
    const gq_config *c = config("constant", "2", "0", "25%");
    (void)state;

    assert_true(gq_learning_rate(c, 0, 8) == 1.0 && gq_learning_rate(c, 1, 8) == 2.0);
    assert_true(gq_learning_rate(c, 0, 40) == 0.2 && gq_learning_rate(c, 9, 40) == 2.0);
}

static void edges(void **state)
{
    (void)state;
    assert_true(gq_learning_rate(config("cosine", "1", "0", "0"), 0, 1) == 1.0);
    /* a run that is all warm-up never leaves it */
    assert_true(gq_learning_rate(config("linear", "1", "0", "4"), 3, 4) == 1.0);
    assert_true(gq_learning_rate(config("linear", "1", "0", "9"), 3, 4) == 4.0 / 9.0);
    /* the floor is reached at the end */
    assert_true(fabs(gq_learning_rate(config("cosine", "1", "0.25", "0"), 10, 10) - 0.25) < 1e-15);
    assert_true(gq_learning_rate(config("linear", "1", "0.25", "0"), 10, 10) == 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(warmup_is_a_share_of_the_run),
        cmocka_unit_test(edges),
    };
    return cmocka_run_group_tests(tests, read_reference, drop_reference);
}
