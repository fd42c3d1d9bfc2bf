/* core/status.c: the first failure stays, context goes in front, exit codes are those of the
 * design. */
#include "core/status.h"

#include "support.h"

static void first_failure_stays(void **state)
{
    gq_error err = {0};
    (void)state;
    assert_int_equal(gq_fail(&err, GQ_EINPUT, "%s: line %d", "a.tsv", 7), GQ_EINPUT);
    assert_int_equal(gq_fail(&err, GQ_ENOMEM, "later"), GQ_ENOMEM);
    assert_int_equal(err.code, GQ_EINPUT);
    assert_string_equal(err.text, "a.tsv: line 7");
    gq_error_clear(&err);
    assert_int_equal(err.code, GQ_OK);
    assert_string_equal(err.text, "");
    gq_fail(&err, GQ_ENOMEM, "now");
    assert_string_equal(err.text, "now");
    assert_int_equal(gq_fail(NULL, GQ_EDISK, "nobody listens"), GQ_EDISK);
    gq_error_clear(NULL);
}

static void context_goes_in_front(void **state)
{
    gq_error err = {0};
    (void)state;
    assert_int_equal(gq_context(&err, "nothing failed"), GQ_OK);
    assert_string_equal(err.text, "");
    assert_int_equal(gq_context(NULL, "x"), GQ_EBUG);
    gq_fail(&err, GQ_EWEIGHTS, "tensor 'w': missing");
    assert_int_equal(gq_context(&err, "%s", "model.safetensors"), GQ_EWEIGHTS);
    assert_string_equal(err.text, "model.safetensors: tensor 'w': missing");
}

static void long_texts_are_cut(void **state)
{
    char     text[3000];
    gq_error err = {0};
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    gq_fail(&err, GQ_EINPUT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    gq_context(&err, "where");
    assert_memory_equal(err.text, "where: xxx", 10);
    assert_true(strlen(err.text) < sizeof err.text);
    gq_error_clear(&err);
    gq_fail(&err, GQ_EINPUT, "what");
    gq_context(&err, "%s", text);                            /* a prefix that fills the room */
    assert_true(strlen(err.text) < sizeof err.text);
    assert_int_equal(err.code, GQ_EINPUT);
}

static void codes(void **state)
{
    static const struct { gq_status s; int exit;
    } want[] = {
        {GQ_OK, 0},       {GQ_EBUG, 1},     {GQ_EUSAGE, 2}, {GQ_ECONFIG, 3},
        {GQ_EINPUT, 4},   {GQ_EWEIGHTS, 5}, {GQ_ENOMEM, 6}, {GQ_EDISK, 6},
        {GQ_ENUMERIC, 7}, {GQ_ERANK, 8},    {GQ_EBUSY, 9},  {GQ_ESTOPPED, 75},
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(gq_exit_code(want[i].s), want[i].exit);
        assert_true(strlen(gq_status_text(want[i].s)) > 1);
        assert_string_not_equal(gq_status_text(want[i].s), "unknown status");
    }
    assert_int_equal(gq_exit_code((gq_status)-99), 1);
    assert_string_equal(gq_status_text((gq_status)-99), "unknown status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_stays),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(codes),
    };
    return cmocka_run_group_tests_name("core/status", tests, NULL, NULL);
}
