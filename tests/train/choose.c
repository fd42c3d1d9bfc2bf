/* Likelihoods of given answers: those of the right answers are the teacher-forced loss of evaluation, and what is asked
 * beside them changes nothing. */
#include "core/mem.h"
#include "little.h"
#include "train/choose.h"
#include "train/evaluate.h"
#include "train/session.h"

typedef struct opened {
    gq_session *session;
    gq_dataset *data;
    gq_chooser *chooser;
} opened;

static opened open_all(void)
{
    opened   o;
    gq_error err = {0};
    assert_ok(gq_session_open(little("run"), NULL, &o.session, &err), &err);
    assert_ok(gq_dataset_open(little("test"), &o.data, &err), &err);
    assert_ok(gq_chooser_new(o.session->net, o.data, o.session->tokenizer, &o.chooser, &err), &err);
    return o;
}

static void close_all(opened *o)
{
    gq_chooser_free(o->chooser);
    gq_dataset_close(o->data);
    gq_session_close(o->session);
}

static void right_answers_have_the_loss_of_evaluation(void **state)
{
    (void)state;
    opened           o = open_all();
    gq_evaluate_opts how = {.loss = true};
    gq_evaluation    e;
    gq_error         err = {0};
    double           nll = 0.0;
    int              tokens = 0;
    assert_ok(gq_evaluate(o.session->net, o.data, o.session->tokenizer, &how, &e, &err), &err);
    for (int64_t i = 0; i < gq_dataset_count(o.data); i++) {
        gq_qa  qa;
        double logprob;
        int    n;
        gq_dataset_qa(o.data, i, &qa);
        assert_ok(gq_chooser_score(o.chooser, i, &qa.answer, 1, &logprob, &n, &err), &err);
        assert_int_equal(n, qa.na + 1);
        assert_true(logprob < 0.0);
        nll -= logprob;
        tokens += n;
    }
    /* Single losses are floats, 2^-24 off; a pass of another batch may sum its products in another order, which moves
     * logits by a few such units. */
    assert_true(fabs(nll / tokens - e.lm_loss) <= 1e-6 * fabs(e.lm_loss));
    gq_evaluation_free(&e);
    close_all(&o);
}

/* Five answers at once have the values they have alone; so have equal ones. */
static void choices_do_not_touch_each_other(void **state)
{
    (void)state;
    static const char *const answer[] = {"red", "two", "up", "red", "grow"};
    opened   o = open_all();
    gq_error err = {0};
    for (int64_t i = 0; i < 4; i++) {
        double together[5], alone;
        int    tokens[5], n;
        assert_ok(gq_chooser_score(o.chooser, i, answer, 5, together, tokens, &err), &err);
        assert_true(together[0] == together[3]);
        assert_true(together[0] != together[1]);
        for (int k = 0; k < 5; k++) {
            assert_ok(gq_chooser_score(o.chooser, i, answer + k, 1, &alone, &n, &err), &err);
            assert_int_equal(n, tokens[k]);
            assert_true(fabs(alone - together[k]) <= 1e-6 * fabs(alone));
        }
    }
    close_all(&o);
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    opened      o = open_all();
    const char *answer[GQ_CHOOSE_MAX + 1] = {"red"};
    double      logprob[GQ_CHOOSE_MAX + 1];
    int         tokens[GQ_CHOOSE_MAX + 1];
    gq_error    err = {0};
    assert_fails(gq_chooser_score(o.chooser, 0, answer, 0, logprob, tokens, &err), GQ_EUSAGE, &err,
                 "0 answers");
    assert_fails(gq_chooser_score(o.chooser, 0, answer, GQ_CHOOSE_MAX + 1, logprob, tokens, &err),
                 GQ_EUSAGE, &err, "17 answers");
    gq_chooser_free(NULL);
    close_all(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_answers_have_the_loss_of_evaluation),
        cmocka_unit_test(choices_do_not_touch_each_other),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, little_make, little_drop);
}
