/* gifqa-qagen --generator t5: questions that a T5 asks. */
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/qagen/neural.h"
#include "tools/cli_progress.h"
#include "tools/qagen.h"
#include "train/t5_text.h"

enum { WINDOW = 4096 };                 /* prompts among which those of like length are found     */

struct gq_qagen_t5 {
    gq_t5_model    *model;
    gq_neural_form  form;
    gq_t5_writer   *writer;
    size_t          batch;
    gq_cli_progress show;
    gq_ticker       ticker;             /* prompts                                                */
    uint64_t        done;
};

/* ---- opening --------------------------------------------------------------------------------- */

static gq_status find_form(const gq_qagen_t5_options *o, gq_neural_form *f, gq_error *err)
{
    gq_status s = GQ_OK;

    if (!o->form)
        *f = *gq_neural_form_known(0);
    else if (!gq_neural_form_named(o->form, f) && gq_is_file(o->form))
        s = gq_neural_form_load(o->form, f, err);
    else if (!gq_neural_form_named(o->form, f)) {
        char   names[256] = "";
        size_t at = 0;
        for (size_t k = 0; gq_neural_form_known(k); k++)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s, ", gq_neural_form_known(k)->name);
        s = gq_fail(err, GQ_EUSAGE, "--form %s: no such file, and no form is called so; known: %sor a JSON file",
                    o->form, names);
    }
    if (o->beams)
        f->beams = (int)o->beams;
    if (o->max_new)
        f->max_length = (int)o->max_new;
    return s;
}

/* What stands between < and > in a prompt must be a token: in pieces it tells the model nothing. */
static gq_status check_marks(const gq_neural_form *f, const gq_tokenizer *t, gq_error *err)
{
    for (const char *p = strchr(f->prompt, '<'), *end; p && (end = strchr(p, '>')); p = strchr(end, '<')) {
        int32_t id[2];
        size_t  n = 0;
        if (gq_tokenizer_encode(t, p, (size_t)(end + 1 - p), GQ_TOK_SPECIAL, id, 2, &n, NULL) != GQ_OK || n != 1 ||
            !gq_tokenizer_is_special(t, id[0]))
            return gq_fail(err, GQ_EWEIGHTS, "form %s has %.*s in its prompt, which is no token of this T5's "
                           "tokenizer: take the added_tokens.json or tokenizer.json of the checkpoint, or another --form",
                           f->name,
                           (int)(end + 1 - p), p);
    }
    return GQ_OK;
}

static gq_status configure(gq_qagen_t5_options *o, gq_config *c, gq_error *err)
{
    static char threads[48];

    snprintf(threads, sizeof threads, "engine.threads=%lld", (long long)o->threads);
    gq_cli_rung(&o->set);
    gq_cli_device(&o->set, o->device);
    if (o->threads && o->set.n < GQ_CLI_LIST_MAX)
        o->set.item[o->set.n++] = threads;
    return gq_config_load(NULL, o->set.item, o->set.n, c, NULL, err);
}

gq_status gq_qagen_t5_open(gq_qagen_t5_options *o, gq_qagen_t5 **out, gq_error *err)
{
    static gq_config c;                             /* large: not on the stack                    */
    gq_qagen_t5     *q = gq_calloc(1, sizeof *q);
    gq_status        s = q ? configure(o, &c, err) : gq_fail(err, GQ_ENOMEM, "out of memory");
    gq_decode_opts   d;

    *out = NULL;
    if (s == GQ_OK)
        s = find_form(o, &q->form, err);
    if (s == GQ_OK)
        s = gq_t5_open(o->model, o->tokenizer, &c, &q->model, err);
    if (s == GQ_OK && !q->model->tokenizer)
        s = gq_fail(err, GQ_EUSAGE, "--model %s has no tokenizer of its own: give --tokenizer PATH", o->model);
    if (s == GQ_OK)
        s = check_marks(&q->form, q->model->tokenizer, err);
    if (s == GQ_OK) {
        q->batch = (size_t)o->batch;
        d = (gq_decode_opts){.max_new = q->form.max_length,
                             .no_repeat = q->form.no_repeat_ngram,
                             .beams = q->form.beams,
                             .length_penalty = q->form.length_penalty};
        s = gq_t5_writer_new(q->model, (int)o->batch, &d, strchr(q->form.prompt, '<') != NULL, &q->writer, err);
    }
    if (s == GQ_OK)
        *out = q;
    else
        gq_qagen_t5_close(q);
    return s;
}

void gq_qagen_t5_close(gq_qagen_t5 *q)
{
    if (!q)
        return;
    gq_t5_writer_free(q->writer);
    gq_t5_close(q->model);
    gq_free(q);
}

/* ---- a table --------------------------------------------------------------------------------- */

static gq_status generate(void *ctx, const char *const *prompt, size_t n, char *const *text, gq_error *err)
{
    gq_qagen_t5 *q = ctx;
    gq_status    s = gq_t5_write(q->writer, prompt, n, text, GQ_NEURAL_TEXT, err);

    q->done += n;
    if (s == GQ_OK && (!gq_tick(&q->ticker, q->done, 0) || gq_cli_stop))
        s = gq_qagen_stopped(err);
    return s;
}

static size_t length(void *ctx, const char *prompt)
{
    return gq_t5_length(((gq_qagen_t5 *)ctx)->writer, prompt);
}

typedef struct job {
    const gq_chunker *chunker;
    gq_asker         *asker;            /* NULL: candidates are only counted                      */
    size_t            captions, silent, too_long, candidates;
} job;

static gq_status take(void *ctx, const gq_captions_row *row, gq_error *err)
{
    static gq_caption   c;
    static gq_candidate list[GQ_CANDIDATES];
    job                *j = ctx;

    j->captions++;
    if (!gq_chunker_read(j->chunker, row->text, &c)) {
        j->too_long++;
        return GQ_OK;
    }
    if (j->asker)
        return gq_asker_caption(j->asker, row->gif, &c, err);
    size_t n = gq_candidates(&c, list);
    j->candidates += n;
    j->silent += !n;
    return GQ_OK;
}

static void print_summary(const gq_qagen_t5 *q, const job *j, const gq_cap_count *count, double seconds)
{
    const gq_asker_count *a = gq_asker_counts(j->asker);
    const char           *names[GQ_CATEGORIES];
    double                spent[2];

    for (int k = 0; k < GQ_CATEGORIES; k++)
        names[k] = gq_category_name((gq_category)k);
    gq_qagen_counts("kind", names, count, GQ_CATEGORIES, j->captions, j->silent, j->too_long, seconds);
    printf("%zu prompts of form %s", a->prompts, q->form.name);
    if (a->too_long)
        printf(" (%zu had no room)", a->too_long);
    for (int f = 0; f < GQ_NEURAL_FATES; f++)
        printf("%s %zu %s", f ? "," : ":", a->fate[f], gq_neural_fate_name((gq_neural_fate)f));
    gq_t5_seconds(q->writer, spent);
    seconds = seconds > 0 ? seconds : 1;
    printf("\n%.2f prompts/s, %.2f pairs/s, in batches of %zu: the encoder %.1f s, the decoder %.1f s\n",
           (double)a->prompts / seconds, (double)a->fate[GQ_NEURAL_GOOD] / seconds, q->batch, spent[0], spent[1]);
}

static gq_status ask_all(gq_qagen_t5 *q, job *j, const char *from, const char *split, gq_pairs *pairs,
                         gq_error *err)
{
    gq_neural_model m = {.generate = generate, .length = length, .ctx = q, .batch = q->batch, .window = WINDOW};
    gq_status       s = gq_asker_new(&q->form, &m, pairs, &j->asker, err);

    if (s == GQ_OK)
        s = gq_qagen_each(from, split, take, j, err);
    return s == GQ_OK ? gq_asker_finish(j->asker, err) : s;
}

gq_status gq_qagen_t5_write(gq_qagen_t5 *q, const gq_chunker *chunker, const char *from, const char *to,
                            double share, const char *split, gq_error *err)
{
    gq_cap_count count[GQ_CATEGORIES];
    job          ahead = {.chunker = chunker}, j = ahead;
    gq_pairs    *pairs = NULL;
    double       start = gq_now();
    gq_status    s = gq_qagen_each(from, split, take, &ahead, err);

    q->show = (gq_cli_progress){.what = "gifqa-qagen", .unit = "prompts"};
    q->ticker = (gq_ticker){.fn = gq_cli_progress_show, .ctx = &q->show, .total = ahead.candidates};
    gq_tick(&q->ticker, 0, 0);
    if (s == GQ_OK)
        s = gq_pairs_new("t5", &pairs, err);
    if (s == GQ_OK)
        s = ask_all(q, &j, from, split, pairs, err);
    gq_cli_progress_end(&q->show);
    if (s == GQ_OK)
        s = gq_pairs_balance(pairs, share, GQ_CATEGORIES, count, err);
    if (s == GQ_OK)
        s = gq_pairs_write(pairs, to, err);
    if (s == GQ_OK) {
        j.silent = ahead.silent;
        print_summary(q, &j, count, gq_now() - start);
    }
    gq_asker_free(j.asker);
    gq_pairs_free(pairs);
    return s;
}

/* ---- one caption ----------------------------------------------------------------------------- */

gq_status gq_qagen_t5_show(gq_qagen_t5 *q, const gq_caption *c, gq_error *err)
{
    static gq_candidate list[GQ_CANDIDATES];
    static char         prompt[GQ_NEURAL_PROMPT], written[GQ_NEURAL_TEXT];
    size_t              n = gq_candidates(c, list);
    gq_status           s = GQ_OK;

    for (size_t k = 0; s == GQ_OK && k < n; k++) {
        const char *one = prompt;
        char       *text = written, answer[GQ_WORDS_TEXT], question[GQ_NEURAL_QUESTION];
        if (!gq_neural_prompt(&q->form, c, &list[k], prompt) ||
            !gq_caption_text(c, list[k].from, list[k].to, answer, sizeof answer)) {
            printf("  %-7s has no room for its prompt\n", gq_category_name(list[k].category));
            continue;
        }
        s = gq_t5_write(q->writer, &one, 1, &text, sizeof written, err);
        if (s != GQ_OK)
            break;
        gq_neural_fate fate = gq_neural_clean(&q->form, written, answer, question);
        printf("  %-7s ", gq_category_name(list[k].category));
        gq_cli_show(stdout, prompt);
        printf("\n          -> ");
        gq_cli_show(stdout, written);
        printf("\n          %s: ", gq_neural_fate_name(fate));
        gq_cli_show(stdout, fate == GQ_NEURAL_GOOD ? question : "nothing is kept");
        putchar('\n');
    }
    return s;
}
