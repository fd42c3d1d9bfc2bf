/* T5 on the trainer: a set of texts, a run that continues to the bit, the answers of evaluation and of an export, and
 * what does not go together. */
#include "core/io.h"
#include "core/mem.h"
#include "data/build.h"
#include "data/contexts.h"
#include "models/t5_generate.h"
#include "support.h"
#include "train/ask.h"
#include "train/export.h"
#include "train/trainer.h"

static char          root[256];
static gq_tokenizer *words;
static gq_contexts  *contexts;

static const char *in_root(const char *name)
{
    static char path[8][400];
    static int  next;
    char       *p = path[next++ & 7];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static void put(const char *name, const char *text)
{
    gq_error err = {0};
    assert_ok(gq_write_file(in_root(name), text, strlen(text), &err), &err);
}

/* Twelve GIFs, two captions for the first, questions whose answers stand in the captions. */
static void put_tables(void)
{
    static const char *const colours[] = {"red", "blue", "green", "white"}, *const animals[] = {"cat", "dog", "bird"};
    char captions[4096] = "gif_name\tdescription\n", table[4096] = "gif\tquestion\tanswer\ttype\n";

    for (int i = 0; i < 12; i++) {
        char *c = captions + strlen(captions), *t = table + strlen(table);
        sprintf(c, "g%d\ta %s %s runs\n", i, colours[i % 4], animals[i % 3]);
        sprintf(t, "g%d.gif\twhat runs?\ta %s\tobject\n", i, animals[i % 3]);
        sprintf(t + strlen(t), "g%d\twhat colour?\t%s\tcolor\n", i, colours[i % 4]);
    }
    strcat(captions, "g0\tit is small!\n");
    put("captions.tsv", captions);
    put("table.tsv", table);
    put("words.txt", "<pad>\n<end>\n<unk>\na\nred\nblue\ngreen\nwhite\ncat\ndog\nbird\nruns\nwhat\ncolour\nquestion\n"
                     "context\n?\n:\n.\n!\nit\nis\nsmall\n");
}

static const char *context_of(void *ctx, const char *gif)
{
    return gq_contexts_find(ctx, gif);
}

static gq_build_opts texts(const char *out, const char *template)
{
    return (gq_build_opts){.table = in_root("table.tsv"), .out = out, .keyframes = 1, .size = 1, .tokenizer = words,
                           .template = template, .answer_prefix = "", .max_question = 16, .max_answer = 4,
                           .max_bad = 0, .context = context_of, .contexts_sha256 = gq_contexts_sha256(contexts),
                           .ctx = contexts};
}

static int setup(void **state)
{
    gq_build_opts   o;
    gq_build_report r;
    gq_error        err = {0};

    (void)state;
    snprintf(root, sizeof root, "%s", gq_scratch());
    put_tables();
    assert_ok(gq_tokenizer_open(in_root("words.txt"), &words, &err), &err);
    assert_ok(gq_contexts_open(in_root("captions.tsv"), &contexts, &err), &err);
    o = texts(in_root("data"), "question : {q} context : {c}");
    assert_ok(gq_build(&o, &r, &err), &err);
    assert_int_equal(r.gifs, 24);                             /* "g0.gif" and "g0" are two names  */
    assert_int_equal(r.questions, 24);
    return 0;
}

static int teardown(void **state)
{
    gq_error err = {0};
    (void)state;
    gq_contexts_close(contexts);
    gq_tokenizer_close(words);
    assert_ok(gq_remove_tree(root, &err), &err);
    return 0;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static const char *const keys[] = {
    "model.kind=t5",       "t5.preset=custom",  "t5.width=16",          "t5.head_width=6", "t5.heads=2",
    "t5.mlp=24",           "t5.layers=2",       "t5.decoder_layers=1",  "t5.vocab=32",     "t5.buckets=8",
    "t5.far=10",           "t5.dropout=0.1",    "prompt.bucket=4",      "train.batch=4",   "train.steps=6",
    "train.lr=0.02",       "train.warmup=0",    "train.eval_every=3",   "train.save_every=3",
    "prompt.max_question_tokens=16",            "prompt.max_answer_tokens=4", "decode.max_new_tokens=4",
    "engine.threads=1",    "engine.device=cpu", "train.probe=0",
};
enum { KEYS = sizeof keys / sizeof *keys };

static void config(gq_config *c, const char *const *more, size_t n)
{
    const char *set[KEYS + 8];
    char        data[400], val[400];
    gq_error    err = {0};

    memcpy(set, keys, sizeof keys);
    memcpy(set + KEYS, more, n * sizeof *more);
    snprintf(data, sizeof data, "data.train=%s", in_root("data"));
    snprintf(val, sizeof val, "data.val=%s", in_root("data"));
    set[KEYS + n] = data;
    set[KEYS + n + 1] = val;
    assert_ok(gq_config_load(NULL, set, KEYS + n + 2, c, NULL, &err), &err);
}

static gq_train_result train(const char *run, const char *more)
{
    static gq_config c;
    const char      *set[] = {more};
    gq_train_opts    o = {.run_dir = in_root(run)};
    gq_train_result  r;
    gq_error         err = {0};

    config(&c, set, more != NULL);
    assert_ok(gq_train(&c, &o, &r, &err), &err);
    return r;
}

/* A file of two runs' checkpoints after six steps. */
static void same_step(const char *a, const char *b, const char *file)
{
    const char *run[2] = {a, b};
    gq_bytes    x[2];
    gq_error    err = {0};

    for (int i = 0; i < 2; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/checkpoints/step-00000006/%s.safetensors", run[i], file);
        assert_ok(gq_read_file(in_root(name), 1 << 24, &x[i], &err), &err);
    }
    assert_int_equal(x[0].size, x[1].size);
    assert_memory_equal(x[0].data, x[1].data, x[0].size);
    gq_bytes_free(&x[0]);
    gq_bytes_free(&x[1]);
}

/* Recomputing activations in backward changes no bit. */
static void segments_change_no_bit(void **state)
{
    gq_train_result r;

    (void)state;
    r = train("whole", NULL);
    assert_int_equal(r.steps, 6);
    assert_true(isfinite(r.loss) && isnan(r.mvm_loss));
    train("segment", "train.checkpoint=segment");
    same_step("whole", "segment", "weights");
    same_step("whole", "segment", "optim");
}

/* A schedule that does not depend on the number of steps, so that a run of four is the start of one of six. */
static void a_stopped_run_continues(void **state)
{
    static gq_config c;
    const char      *flat[] = {"train.schedule=constant"}, *four[] = {"train.schedule=constant", "train.steps=4"};
    gq_train_opts    o = {.run_dir = in_root("flat")}, p = {.run_dir = in_root("flat4")};
    gq_train_result  r;
    gq_error         err = {0};

    (void)state;
    config(&c, flat, 1);
    assert_ok(gq_train(&c, &o, &r, &err), &err);
    config(&c, four, 2);
    assert_ok(gq_train(&c, &p, &r, &err), &err);
    config(&c, flat, 1);
    assert_ok(gq_train(&c, &p, &r, &err), &err);
    assert_int_equal(r.resumed_from, 4);
    same_step("flat", "flat4", "weights");
    same_step("flat", "flat4", "optim");
}

/* The loss of one batch falls to nearly nothing: every part of the model learns. */
static void learns_a_batch(void **state)
{
    static gq_config c;
    const char      *more[] = {"train.overfit_batch=true", "train.steps=60", "t5.dropout=0", "train.eval_every=0",
                               "train.save_every=0"};
    gq_train_opts    o = {.run_dir = in_root("overfit")};
    gq_train_result  r;
    gq_error         err = {0};

    (void)state;
    config(&c, more, 5);
    assert_ok(gq_train(&c, &o, &r, &err), &err);
    assert_true(r.loss < 0.1);                                /* from ln(32) = 3.5 on             */
}

/* ---- evaluation, export ---------------------------------------------------------------------- */

typedef struct given { char text[32][128]; int n; } given;

static gq_status take(void *ctx, const gq_answered *a, gq_error *err)
{
    given *g = ctx;
    (void)err;
    snprintf(g->text[g->n++], sizeof g->text[0], "%s|%s|%s|%.6f", a->question, a->reference, a->prediction,
             a->confidence);
    return GQ_OK;
}

static void answers(const char *path, given *g, double *loss)
{
    gq_session      *s;
    gq_dataset      *d;
    gq_evaluation    e;
    gq_evaluate_opts o = {.answered = take, .ctx = g, .loss = true};
    gq_error         err = {0};

    g->n = 0;
    assert_ok(gq_session_open(in_root(path), NULL, &s, &err), &err);
    assert_ok(gq_dataset_open(in_root("data"), &d, &err), &err);
    assert_ok(gq_evaluate(s->net, d, s->tokenizer, &o, &e, &err), &err);
    *loss = e.lm_loss;
    gq_evaluation_free(&e);
    gq_dataset_close(d);
    gq_session_close(s);
}

/* The same answers from the run and from its export, which has the published names. */
static void an_export_answers_alike(void **state)
{
    static given     a, b;
    gq_session      *s;
    gq_export_report r;
    double           x, y;
    gq_error         err = {0};

    (void)state;
    train("whole", NULL);
    answers("whole", &a, &x);
    assert_ok(gq_session_open(in_root("whole"), NULL, &s, &err), &err);
    assert_ok(gq_export(s, in_root("export"), &r, &err), &err);
    gq_session_close(s);
    assert_true(gq_is_file(in_root("export/t5/model.safetensors")));
    assert_true(gq_is_file(in_root("export/t5/config.json")));
    assert_false(gq_is_dir(in_root("export/gpt2")));
    answers("export", &b, &y);
    assert_int_equal(a.n, 24);
    assert_int_equal(b.n, 24);
    for (int i = 0; i < 24; i++)
        assert_string_equal(a.text[i], b.text[i]);
    assert_true(x == y && x > 0 && x < 10);
}

/* ---- the set of texts ------------------------------------------------------------------------ */

/* The ids of a question are the filled template: the context stands in it, and loses its end when it is too long. */
static void contexts_are_read(void **state)
{
    gq_build_opts o = texts(in_root("short"), "question : {q} context : {c}");
    gq_dataset   *d;
    gq_qa         qa;
    char         *text;
    gq_error      err = {0};

    (void)state;
    assert_string_equal(gq_contexts_find(contexts, "g0"), "a red cat runs. it is small!");
    assert_string_equal(gq_contexts_find(contexts, "g1.gif"), "a blue dog runs.");
    assert_null(gq_contexts_find(contexts, "g99"));
    assert_int_equal(gq_contexts_gifs(contexts), 12);
    o.max_question = 9;
    assert_ok(gq_build(&o, NULL, &err), &err);
    for (int k = 0; k < 2; k++) {
        assert_ok(gq_dataset_open(in_root(k ? "short" : "data"), &d, &err), &err);
        gq_dataset_qa(d, 0, &qa);
        assert_ok(gq_tokenizer_decode(words, qa.q_ids, (size_t)qa.nq, 0, &text, NULL, &err), &err);
        assert_string_equal(qa.question, "what runs?");
        if (k)
            assert_int_equal(qa.nq, 9);
        assert_non_null(strstr(text, k ? "context : a red" : "context : a red cat runs. it is small"));
        assert_null(strstr(text, k ? "cat" : "dog"));
        gq_free(text);
        assert_int_equal(gq_dataset_meta(d)->size, 0);
        assert_int_equal(gq_dataset_meta(d)->tokens, 0);
        gq_dataset_close(d);
    }
}

static void refused(void **state)
{
    static gq_config c;
    gq_build_opts    o = texts(in_root("bad"), "{q} {c}");
    gq_dataset      *d;
    gq_session      *s;
    gq_asker        *asker;
    gq_contexts     *none;
    gq_evaluation    e;
    bool             live;
    gq_error         err = {0};
    const char      *stllm[] = {"model.kind=stllm"};

    (void)state;
    o.store_frames = true;
    assert_fails(gq_build(&o, NULL, &err), GQ_EUSAGE, &err, "a set of texts has no frames");
    gq_error_clear(&err);
    o = texts(in_root("bad"), "{q} {c}");
    o.contexts_sha256 = NULL;
    assert_fails(gq_build(&o, NULL, &err), GQ_EUSAGE, &err, "cannot be told apart");
    gq_error_clear(&err);
    put("other.tsv", "gif\tquestion\tanswer\ng77\twhat?\tnothing\ng1\twhat?\ta dog\n");
    o = texts(in_root("bad"), "{q} {c}");
    o.table = in_root("other.tsv");
    assert_fails(gq_build(&o, NULL, &err), GQ_EINPUT, &err, "g77: has no context");
    gq_error_clear(&err);
    put("other captions.tsv", "gif_name\tdescription\ng1\ta white dog runs\n");
    assert_ok(gq_contexts_open(in_root("other captions.tsv"), &none, &err), &err);
    o = texts(in_root("data"), "question : {q} context : {c}");
    o.contexts_sha256 = gq_contexts_sha256(none);
    o.gifs = root;                                            /* not looked at: captions tell     */
    assert_fails(gq_build(&o, NULL, &err), GQ_EINPUT, &err, "holds another dataset");
    gq_error_clear(&err);
    gq_contexts_close(none);
    put("empty.tsv", "gif_name\tdescription\n");
    assert_fails(gq_contexts_open(in_root("empty.tsv"), &none, &err), GQ_EINPUT, &err, "has no caption");
    gq_error_clear(&err);
    assert_ok(gq_config_load(NULL, stllm, 1, &c, NULL, &err), &err);
    assert_ok(gq_dataset_open(in_root("data"), &d, &err), &err);
    assert_fails(gq_data_fits(&c, d, &live, &err), GQ_ECONFIG, &err, "holds texts alone");
    gq_error_clear(&err);
    gq_dataset_close(d);
    train("whole", NULL);
    assert_ok(gq_session_open(in_root("whole"), NULL, &s, &err), &err);
    assert_fails(gq_asker_open(s, NULL, &asker, &err), GQ_ECONFIG, &err, "a T5 reads text");
    gq_error_clear(&err);
    assert_ok(gq_dataset_open(in_root("data"), &d, &err), &err);
    assert_fails(gq_evaluate(s->net, d, s->tokenizer, &(gq_evaluate_opts){.view = GQ_VIEW_OTHER}, &e, &err),
                 GQ_EUSAGE, &err, "no frames to change");
    gq_evaluation_free(&e);
    gq_dataset_close(d);
    gq_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_are_read),       cmocka_unit_test(segments_change_no_bit),
        cmocka_unit_test(a_stopped_run_continues), cmocka_unit_test(learns_a_batch),
        cmocka_unit_test(an_export_answers_alike), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
