/* Opening what was trained, and asking it: the state and the frames that are meant, the answers of
 * evaluation, and every missing piece named. */
#include "core/mem.h"
#include "little.h"
#include "train/ask.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/gifqa.h"
#include "train/rundir.h"
#include "train/snapshot.h"

/* A copy of DIR/run under another name, to be spoilt. */
static const char *copy_run(const char *name)
{
    char command[1024];
    snprintf(command, sizeof command, "cp -r %s/run %s/%s", little_dir, little_dir, name);
    assert_int_equal(system(command), 0);
    return little(name);
}

static void spoil(const char *name)
{
    gq_error err = {0};
    assert_ok(gq_write_file(little(name), "?", 1, &err), &err);
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* Adds checkpoint 6, whose state calls step 2 the best, with one weight changed. */
static void add_step_six(const char *run)
{
    static gq_config cfg;
    gq_run_state     state = {.step = 6, .best = 0.5, .best_step = 2};
    gq_net          *net;
    gq_net_report    report;
    gq_error         err = {0};
    float            x = 42.0f;

    assert_ok(gq_rundir_read_config(run, &cfg, &err), &err);
    assert_ok(gq_net_open(&cfg, GQ_NET_TRAIN, true, &net, &report, &err), &err);
    gq_param_set_f32(net->params, gq_params_find(net->params, "proj.b"), 0, &x, 1);
    assert_ok(gq_snapshot_save(net, run, &state, &err), &err);
    gq_net_close(net);
}

static float first_bias(const char *run, gq_session_which which, uint64_t step, bool note)
{
    gq_session_opts o = {.which = which};
    gq_session     *s;
    gq_error        err = {0};
    float           x;

    assert_ok(gq_session_open(run, &o, &s, &err), &err);
    assert_int_equal(s->step, step);
    assert_int_equal(*s->note != 0, note);
    assert_false(s->exported);
    gq_param_get_f32(s->net->params, gq_params_find(s->net->params, "proj.b"), 0, &x, 1);
    gq_session_close(s);
    return x;
}

static void best_and_last(void **state)
{
    char run[300];
    (void)state;

    snprintf(run, sizeof run, "%s", copy_run("best"));
    add_step_six(run);
    assert_true(first_bias(run, GQ_SESSION_LAST, 6, false) == 42.0f);
    assert_true(first_bias(run, GQ_SESSION_BEST, 2, false) != 42.0f);
    spoil("best/checkpoints/step-00000002/weights.safetensors"); /* the newest, and a word */
    assert_true(first_bias(run, GQ_SESSION_BEST, 6, true) == 42.0f);
    spoil("best/checkpoints/step-00000006/weights.safetensors"); /* the one before it */
    assert_true(first_bias(run, GQ_SESSION_LAST, 4, false) != 42.0f);
    assert_true(gq_is_dir(little("best/checkpoints/step-00000006"))); /* a reader renames nothing */
}

static void refusals(void **state)
{
    gq_session *s = NULL;
    gq_error    err = {0};
    (void)state;

    assert_fails(gq_session_open(little("nowhere"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "nowhere: there is no such");
    assert_fails(gq_session_open(little("world"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "neither a run");
    copy_run("poor");
    assert_ok(gq_remove_tree(little("poor/tokenizer"), &err), &err);
    assert_ok(gq_remove_tree(little("train-kept"), &err), &err);
    assert_ok(gq_rename(little("train"), little("train-kept"), &err), &err);
    assert_fails(gq_session_open(little("poor"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "poor/tokenizer is absent");
    gq_error_clear(&err);
    assert_ok(gq_rename(little("train-kept"), little("train"), &err), &err);
    spoil("poor/checkpoints/step-00000004/weights.safetensors");
    spoil("poor/checkpoints/step-00000002/weights.safetensors");
    assert_fails(gq_session_open(little("poor"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "step-00000004");
    gq_error_clear(&err);
    assert_ok(gq_remove_tree(little("poor/checkpoints"), &err), &err);
    assert_fails(gq_session_open(little("poor"), NULL, &s, &err), GQ_EWEIGHTS, &err, "train first");
    spoil("poor/config.yaml");
    assert_fails(gq_session_open(little("poor"), NULL, &s, &err), GQ_ECONFIG, &err,
                 "poor/config.yaml");
    assert_fails(
        gq_session_open(little("run"),
                        &(gq_session_opts){.set = (const char *[]){"gpt2.vocab=65"}, .n_set = 1},
                        &s, &err),
        GQ_EWEIGHTS, &err, "gpt2.wte");
    assert_null(s);
}

static void without_frozen(void **state)
{
    gq_session *s = NULL;
    gq_error    err = {0};
    (void)state;

    copy_run("thawed");
    assert_ok(gq_remove_tree(little("thawed/frozen.safetensors"), &err), &err);
    assert_fails(gq_session_open(little("thawed"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "frozen.safetensors");
}

/* ---- asking ---------------------------------------------------------------------------------- */

typedef struct seen {
    const char *text[LITTLE_TEST];
    double      confidence[LITTLE_TEST];
    int         n;
} seen;

static gq_status keep(void *ctx, const gq_answered *a, gq_error *err)
{
    seen *k = ctx;
    (void)err;
    assert_int_equal(a->index, k->n);
    k->text[k->n] = gq_strdup(a->prediction);
    k->confidence[k->n++] = a->confidence;
    return GQ_OK;
}

static gq_gif_bytes load(const char *path, gq_bytes *b)
{
    gq_error err = {0};
    assert_ok(gq_read_file(path, 1 << 20, b, &err), &err);
    return (gq_gif_bytes){b->data, b->size, path};
}

/* The road from a GIF file gives what the road through shards gives, greedy and with beams. */
static void same_as_evaluation(void **state)
{
    gq_error    err = {0};
    gq_dataset *d;
    (void)state;

    assert_ok(gq_dataset_open(little("test"), &d, &err), &err);
    for (int beams = 1; beams <= 3; beams += 2) {
        char             set[32];
        const char      *items[] = {set};
        gq_session      *s;
        gq_asker        *a;
        gq_evaluation    e;
        seen             k = {.n = 0};
        gq_evaluate_opts o = {.answered = keep, .ctx = &k};

        snprintf(set, sizeof set, "decode.beams=%d", beams);
        assert_ok(
            gq_session_open(little("run"), &(gq_session_opts){.set = items, .n_set = 1}, &s, &err),
            &err);
        assert_ok(gq_evaluate(s->net, d, s->tokenizer, &o, &e, &err), &err);
        gq_evaluation_free(&e);
        assert_ok(gq_asker_open(s, &(gq_ask_opts){.evenly = true}, &a, &err), &err);
        for (int i = 0; i < k.n; i++) {
            char         path[512];
            gq_bytes     b;
            gq_reply     r;
            gq_qa        qa;
            gq_gif_bytes gif;
            little_question(d, i, &qa, path);
            gif = load(path, &b);
            assert_ok(gq_asker_ask(a, &gif, qa.question, &r, &err), &err);
            assert_string_equal(r.answer, k.text[i]);
            assert_true(fabs(r.confidence - k.confidence[i]) < 1e-5 * k.confidence[i]);
            assert_true(r.confidence > 0 && r.confidence <= 1 && !r.retrieved &&
                        r.k == LITTLE_FRAMES);
            assert_true(r.frame[0] == 1 && r.frame[1] == 4 && r.frame[2] == 6 && r.frames == 8 &&
                        !r.cut);
            assert_true(isnan(r.distance[0]) && r.seconds.retrieve == 0 && r.seconds.decode > 0);
            gq_reply_free(&r);
            gq_bytes_free(&b);
            gq_free((char *)k.text[i]);
        }
        gq_asker_close(a);
        gq_session_close(s);
    }
    gq_dataset_close(d);
}

/* CLIP-Cut's choice is the retriever's own, and what is seen changes with it. */
static void nearest_frames(void **state)
{
    const char         *question = "where is the circle?";
    gq_session         *s;
    gq_asker           *a;
    gq_retriever       *retriever;
    gq_reply            r;
    gq_frame_set        frames;
    gq_clipcut          cut;
    gq_retrieve_seconds t = {0};
    gq_error            err = {0};
    gq_bytes            b;
    gq_gif_bytes        gif = load(little("world/gif/test-000002.gif"), &b);
    float               embed[8];
    (void)state;

    assert_ok(gq_session_open(little("run"), NULL, &s, &err), &err);
    assert_ok(gq_asker_open(s, NULL, &a, &err), &err);
    assert_ok(gq_asker_ask(a, &gif, question, &r, &err), &err);
    assert_ok(gq_retriever_share(s->net, &retriever, &err), &err);
    assert_ok(gq_retriever_question(retriever, question, embed, NULL, &t, &err), &err);
    assert_ok(gq_retriever_frames(retriever, &gif, 0, &frames, &t, &err), &err);
    assert_ok(gq_retriever_select(retriever, &frames, embed, &cut, &t, &err), &err);
    assert_true(r.retrieved && r.k == LITTLE_FRAMES && cut.k == LITTLE_FRAMES &&
                r.seconds.retrieve > 0);
    for (int i = 0; i < r.k; i++) {
        assert_int_equal(r.frame[i], cut.pick[i].frame);
        assert_true(r.distance[i] == cut.pick[i].distance);
    }
    gq_clipcut_free(&cut);
    gq_frame_set_free(&frames);
    gq_retriever_close(retriever);
    gq_reply_free(&r);
    gq_asker_close(a);
    gq_session_close(s);
    gq_bytes_free(&b);
}

static void bad_questions(void **state)
{
    gq_session  *s;
    gq_asker    *a = NULL;
    gq_reply     r;
    gq_error     err = {0};
    gq_bytes     b;
    gq_gif_bytes gif = load(little("world/gif/test-000000.gif"), &b), cut = gif;
    char        *novel = gq_malloc(1, 1 << 17);
    (void)state;

    memset(novel, 'a', (1 << 17) - 1);
    novel[(1 << 17) - 1] = 0;
    cut.size = 20;
    assert_ok(gq_session_open(little("run"), NULL, &s, &err), &err);
    assert_fails(gq_asker_open(s, &(gq_ask_opts){.clip = little("nowhere")}, &a, &err), GQ_EWEIGHTS,
                 &err, "nowhere");
    assert_fails(gq_asker_open(s, &(gq_ask_opts){.clip = "random:1"}, &a, &err), GQ_EWEIGHTS, &err,
                 "tokenizer");
    gq_error_clear(&err);
    assert_ok(gq_asker_open(s, &(gq_ask_opts){.evenly = true}, &a, &err), &err);
    assert_fails(gq_asker_ask(a, &gif, " \n", &r, &err), GQ_EUSAGE, &err, "empty");
    assert_fails(gq_asker_ask(a, &gif, novel, &r, &err), GQ_EINPUT, &err, "too long");
    assert_fails(gq_asker_ask(a, &cut, "what?", &r, &err), GQ_EINPUT, &err, "test-000000.gif");
    gq_error_clear(&err);
    assert_ok(gq_asker_ask(a, &gif,
                           "what what what what what what what what what what what what what what?",
                           &r, &err),
              &err);
    assert_true(r.cut);
    gq_reply_free(&r);
    gq_asker_close(a);
    gq_session_close(s);
    gq_bytes_free(&b);
    gq_free(novel);
}

/* ---- gifqa.h --------------------------------------------------------------------------------- */

static void public_header(void **state)
{
    gifqa_options o = {.beams = 2, .evenly = 1, .threads = 1};
    gifqa_answer  first, second;
    gifqa        *m;
    gq_bytes      b;
    char          why[256], text[64];
    const char   *path = little("world/gif/test-000001.gif");
    gq_gif_bytes  gif = load(path, &b);
    (void)state;

    assert_int_equal(gifqa_open(little("nowhere"), NULL, &m, why, sizeof why), GIFQA_EWEIGHTS);
    assert_null(m);
    assert_non_null(strstr(why, "nowhere"));
    assert_int_equal(gifqa_open(NULL, NULL, &m, NULL, 0), GIFQA_EUSAGE);
    assert_int_equal(gifqa_open(little("run"), &o, &m, why, sizeof why), GIFQA_OK);
    assert_string_equal(why, "");
    assert_int_equal(gifqa_ask(m, path, "where is the circle?", &first), GIFQA_OK);
    snprintf(text, sizeof text, "%s", first.text);
    assert_true(first.frames == 3 && first.gif_frames == 8 && first.frame[2] == 6 &&
                first.seconds > 0);
    assert_int_equal(gifqa_ask_bytes(m, gif.data, gif.size, "where is the circle?", &second),
                     GIFQA_OK);
    assert_string_equal(second.text, text);
    assert_true(second.confidence == first.confidence && second.confidence > 0);
    assert_int_equal(gifqa_ask(m, little("none.gif"), "where?", &second), GIFQA_EINPUT);
    assert_non_null(strstr(gifqa_error(m), "none.gif"));
    assert_null(second.text);
    assert_int_equal(gifqa_ask_bytes(m, gif.data, 9, "where?", &second), GIFQA_EINPUT);
    assert_int_equal(gifqa_ask(m, path, "", &second), GIFQA_EUSAGE);
    assert_int_equal(gifqa_ask(m, path, NULL, &second), GIFQA_EUSAGE);
    assert_int_equal(gifqa_ask(m, path, "where is the circle?", &second),
                     GIFQA_OK); /* it is still good */
    assert_string_equal(second.text, text);
    assert_string_equal(gifqa_error(m), "");
    gifqa_close(m);
    gifqa_close(NULL);
    assert_string_equal(gifqa_version(), GIFQA_VERSION);
    gq_bytes_free(&b);
}

/* Answers are the same with a directory for embeddings, in the first process and in the next. */
static void remembered_gifs(void **state)
{
    gifqa_answer answer;
    gifqa       *m;
    char         why[256], text[64], cache[300], path[300];
    double       confidence = 0;
    (void)state;

    snprintf(cache, sizeof cache, "%s", little("remembered"));
    snprintf(path, sizeof path, "%s", little("world/gif/test-000001.gif"));
    for (int i = 0; i < 3; i++) {
        gifqa_options o = {.threads = 1, .cache = i ? cache : NULL, .cache_mib = i};
        assert_int_equal(gifqa_open(little("run"), &o, &m, why, sizeof why), GIFQA_OK);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(gifqa_ask(m, path, "where is the circle?", &answer), GIFQA_OK);
            if (i + again == 0) {
                snprintf(text, sizeof text, "%s", answer.text);
                confidence = answer.confidence;
            }
            assert_string_equal(answer.text, text);
            assert_true(answer.confidence == confidence);
        }
        gifqa_close(m);
        assert_int_equal(gq_is_dir(cache), i > 0);
    }
    assert_int_equal(gifqa_open(path, &(gifqa_options){.cache_mib = -1}, &m, why, sizeof why),
                     GIFQA_EUSAGE);
}

/* Whichever allocation fails: an error or, where it was not needed, the answer. */
static void without_memory(void **state)
{
    gifqa_answer answer;
    gifqa       *m;
    uint64_t     before = gq_mem_count(), all, failures = 0;
    char         why[256], path[300];
    (void)state;

    snprintf(path, sizeof path, "%s", little("world/gif/test-000001.gif"));
    assert_int_equal(gifqa_open(little("run"), NULL, &m, why, sizeof why), GIFQA_OK);
    assert_int_equal(gifqa_ask(m, path, "where?", &answer), GIFQA_OK);
    gifqa_close(m);
    all = gq_mem_count() - before;
    for (uint64_t n = 1; n <= all; n++) {
        int code;
        gq_mem_fail_at(n, false);
        code = gifqa_open(little("run"), NULL, &m, why, sizeof why);
        if (code == GIFQA_OK) {
            code = gifqa_ask(m, path, "where?", &answer);
            gifqa_close(m);
        }
        gq_mem_fail_at(0, false);
        failures += code == GIFQA_ERESOURCE;
        if (code != GIFQA_OK && code != GIFQA_ERESOURCE)
            fail_msg("allocation %d of %d: code %d (%s)", (int)n, (int)all, code, why);
    }
    assert_true(failures > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_and_last),  cmocka_unit_test(refusals),
        cmocka_unit_test(without_frozen), cmocka_unit_test(same_as_evaluation),
        cmocka_unit_test(nearest_frames), cmocka_unit_test(bad_questions),
        cmocka_unit_test(public_header),  cmocka_unit_test(remembered_gifs),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests_name("train/session", tests, little_make, little_drop);
}
