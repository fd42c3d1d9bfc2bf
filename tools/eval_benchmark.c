/* gifqa-eval --benchmark: TGIF-QA's own measures of a model, beside the baselines of a table. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "tools/cli.h"
#include "tools/eval.h"
#include "train/choose.h"

gq_status eval_bench_open(eval_bench *b, const char *table, const char *from, gq_error *err)
{
    gq_status s = gq_benchmark_open(table, &b->table, err);
    b->table_path = table;
    b->from_path = from ? from : table;
    if (s == GQ_OK && from)
        s = gq_benchmark_open(from, &b->from, err);
    if (s == GQ_OK)
        s = gq_bench_baseline(b->from ? b->from : b->table, b->table, &b->baselines, err);
    return s;
}

void eval_bench_close(eval_bench *b)
{
    gq_benchmark_close(b->table);
    gq_benchmark_close(b->from);
    memset(b, 0, sizeof *b);
}

/* ---- a model --------------------------------------------------------------------------------- */

/* The table's row of a question of the data; GQ_EINPUT: it has none. */
static gq_status row_of(const eval_bench *b, const gq_dataset *d, int64_t question,
                        const gq_bench_row **out, gq_error *err)
{
    gq_shard_gif gif;
    gq_qa        qa;
    gq_dataset_qa(d, question, &qa);
    gq_dataset_gif(d, qa.gif, &gif);
    *out = gq_benchmark_find(b->table, gif.name, qa.question, qa.answer);
    return *out ? GQ_OK
                : gq_fail(err, GQ_EINPUT, "%s: has no row of %s with '%.200s': name the table that "
                          "%s was built from", b->table_path, gif.name, qa.question,
                          gq_dataset_dir(d));
}

gq_status eval_bench_answer(eval_bench *b, const gq_dataset *d, const gq_answered *a, gq_error *err)
{
    const gq_bench_row *row;
    gq_status           s = row_of(b, d, a->index, &row, err);
    b->answered++;
    return s == GQ_OK ? gq_bench_add(&b->model, row, a->prediction, err) : s;
}

/* The likeliest of five, as a whole and per token; the first of equal ones. */
static gq_status choose(eval_bench *b, gq_chooser *c, int64_t question, const gq_bench_row *row,
                        gq_error *err)
{
    double    logprob[GQ_IMPORT_CHOICES];
    int       tokens[GQ_IMPORT_CHOICES], whole = 0, mean = 0;
    gq_status s = gq_chooser_score(c, question, row->choice, GQ_IMPORT_CHOICES, logprob, tokens,
                                   err);
    if (s != GQ_OK)
        return s;
    for (int i = 1; i < GQ_IMPORT_CHOICES; i++) {
        if (logprob[i] > logprob[whole])
            whole = i;
        if (logprob[i] / tokens[i] > logprob[mean] / tokens[mean])
            mean = i;
    }
    gq_bench_add_choice(&b->model, row, whole);
    gq_bench_add_choice(&b->per_token, row, mean);
    return GQ_OK;
}

gq_status eval_bench_choose(eval_bench *b, gq_net *n, const gq_dataset *d, const gq_tokenizer *tok,
                            int64_t questions, gq_error *err)
{
    gq_chooser *c;
    gq_status   s = gq_chooser_new(n, d, tok, &c, err);
    b->have_model = s == GQ_OK;
    for (int64_t i = 0; s == GQ_OK && i < questions; i++) {
        const gq_bench_row *row;
        s = row_of(b, d, i, &row, err);
        if (s == GQ_OK && row->choice[0])
            s = choose(b, c, i, row, err);
    }
    gq_chooser_free(c);
    return s;
}

/* ---- results --------------------------------------------------------------------------------- */

static double share(size_t right, size_t n)
{
    return n ? (double)right / (double)n : NAN;
}

static double mean(double sum, size_t n)
{
    return n ? sum / (double)n : NAN;
}

typedef struct line {                   /* one measure of a score                                 */
    const char *name;                   /* as it is shown                                         */
    const char *key;                    /* in JSON                                                */
    size_t      n;
    double      value;
} line;

enum { SORT_LINES = GQ_TGIFQA_FRAMES + 1, LINES = SORT_LINES + 4 };

static void lines_of(const gq_bench_score *s, line to[LINES])
{
    static const char *const shown[GQ_TGIFQA_FRAMES] = {"  object", "  number", "  color",
                                                        "  location"};
    size_t n = 0, right = 0;
    for (int k = 0; k < GQ_TGIFQA_FRAMES; k++) {
        n += s->frame[k].n;
        right += s->frame[k].right;
        to[1 + k] = (line){shown[k], gq_tgifqa_frame_type(k), s->frame[k].n,
                           share(s->frame[k].right, s->frame[k].n)};
    }
    to[0] = (line){"frameqa", "frameqa", n, share(right, n)};
    to[SORT_LINES] = (line){"action", "action", s->choice[0].n,
                            share(s->choice[0].right, s->choice[0].n)};
    to[SORT_LINES + 1] = (line){"transition", "transition", s->choice[1].n,
                                share(s->choice[1].right, s->choice[1].n)};
    to[SORT_LINES + 2] = (line){"count, raw error", "count_raw", s->count.n,
                                mean(s->count.raw, s->count.n)};
    to[SORT_LINES + 3] = (line){"count, bounded", "count_bounded", s->count.n,
                                mean(s->count.bounded, s->count.n)};
}

static void print_value(const line *l)
{
    if (l->n)
        printf("%15.4f", l->value);
    else
        printf("%15s", "-");
}

static void print_notes(const eval_bench *b)
{
    const gq_bench_baselines *base = &b->baselines;
    size_t                    frames = 0;
    for (int k = 0; k < GQ_TGIFQA_FRAMES; k++)
        frames += base->one.frame[k].n;
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++)
        if (base->asked[k] && !base->learned[k])
            printf("%s: no row to learn from in %s\n", gq_tgifqa_kind_name((gq_tgifqa_kind)k),
                   b->from_path);
    if (frames) {
        printf("frameqa: ");
        gq_cli_show(stdout, base->answer[GQ_TGIFQA_FRAMES]);
        printf(" to all questions is right in %.4f; those of the sorts:",
               share(base->one_for_all, frames));
        for (int k = 0; k < GQ_TGIFQA_FRAMES; k++) {
            putchar(' ');
            gq_cli_show(stdout, base->answer[k]);
        }
        putchar('\n');
    }
    for (int k = 0; k < GQ_BENCH_CONSTANTS && base->counts[0].n; k++)
        printf("count: always %d (%s) has %.4f raw, %.4f bounded\n", base->constant[k],
               k == 0   ? "the most frequent"
               : k == 1 ? "the most frequent but 0"
                        : "nearest to the mean",
               mean(base->counts[k].raw, base->counts[k].n),
               mean(base->counts[k].bounded, base->counts[k].n));
    printf("count is a mean squared error; bounded: predictions brought into 1..10, answers at "
           "least 1; else shares of right answers\n");
    if (!b->have_model)
        return;
    printf("choices: the likeliest as a whole; by the mean of its tokens: action %.4f, transition "
           "%.4f\n", share(b->per_token.choice[0].right, b->per_token.choice[0].n),
           share(b->per_token.choice[1].right, b->per_token.choice[1].n));
    if (b->model.count.numberless)
        printf("count: %zu answers were no number and counted as 0\n", b->model.count.numberless);
    if (b->answered < gq_benchmark_rows(b->table))
        printf("answered: %zu of the table's %zu questions; the baselines are over all\n",
               b->answered, gq_benchmark_rows(b->table));
}

void eval_bench_print(const eval_bench *b)
{
    line base[LINES], model[LINES];
    lines_of(&b->baselines.one, base);
    lines_of(&b->model, model);
    printf("TGIF-QA, %s; most frequent answers of ", b->table_path);
    printf("%s\n%-17s %7s", b->from_path, "kind", "n");
    printf(b->have_model ? "%15s%15s\n" : "%15s\n", b->have_model ? "model" : "most frequent",
           "most frequent");
    for (int k = 0; k < LINES; k++) {
        if (!base[k].n && !model[k].n)
            continue;
        printf("%-17s %7zu", base[k].name, b->have_model ? model[k].n : base[k].n);
        if (b->have_model)
            print_value(&model[k]);
        print_value(&base[k]);
        putchar('\n');
    }
    print_notes(b);
}

static json_t *score_json(const gq_bench_score *s)
{
    line    l[LINES];
    json_t *o = json_object();
    lines_of(s, l);
    for (int k = 0; k < LINES; k++)
        if (l[k].n)
            json_object_set_new(o, l[k].key,
                                json_pack("{s:I, s:f}", "n", (json_int_t)l[k].n, "value",
                                          l[k].value));
    return o;
}

json_t *eval_bench_json(const eval_bench *b)
{
    const gq_bench_baselines *base = &b->baselines;
    json_t *constants = json_array();
    json_t *o = json_pack("{s:o, s:o, s:o}", "table", gq_cli_string(b->table_path), "learned_from",
                          gq_cli_string(b->from_path), "most_frequent", score_json(&base->one));
    for (int k = 0; k < GQ_BENCH_CONSTANTS && base->counts[0].n; k++)
        json_array_append_new(
            constants, json_pack("{s:i, s:f, s:f}", "answer", base->constant[k], "raw",
                                 mean(base->counts[k].raw, base->counts[k].n), "bounded",
                                 mean(base->counts[k].bounded, base->counts[k].n)));
    json_object_set_new(o, "count_constants", constants);
    if (b->have_model) {
        json_object_set_new(o, "model", score_json(&b->model));
        json_object_set_new(o, "model_per_token", score_json(&b->per_token));
        json_object_set_new(o, "numberless", json_integer((json_int_t)b->model.count.numberless));
    }
    return o;
}
