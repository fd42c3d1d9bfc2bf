/* The tables of gifqa-eval as text and as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"
#include "tools/eval.h"
#include "train/bleu.h"

static const char *const titles[EVAL_SHEETS] = {"model", "other GIF", "shuffled", "one frame",
                                                "majority"};

const char *eval_sheet_name(eval_sheet s)
{
    return s == EVAL_MAJORITY ? "majority" : gq_view_name((gq_view)s);
}

void eval_report_free(eval_report *r)
{
    for (int i = 0; i < EVAL_SHEETS; i++)
        gq_score_table_free(&r->table[i]);
    json_decref(r->chance);
    json_decref(r->majority);
    memset(r, 0, sizeof *r);
}

gq_status eval_add_majority(const eval_report *r, gq_scorer *scorer, const char *type,
                            const char *reference, gq_error *err)
{
    const char *guess = json_string_value(json_object_get(r->majority, type));
    return gq_scorer_add(scorer, type, guess ? guess : "", &reference, 1, err);
}

/* Probability of guessing right: of one type, or over all questions of the table. */
static double chance_of(const eval_report *r, const gq_score_row *row)
{
    const gq_score_table *t = &r->table[EVAL_TRUE];
    double                sum = 0.0, n = 0.0;

    if (*row->type)
        return json_number_value(json_object_get(r->chance, row->type));
    for (size_t i = 1; i < t->n_rows; i++) {
        sum +=
            (double)t->rows[i].n * json_number_value(json_object_get(r->chance, t->rows[i].type));
        n += (double)t->rows[i].n;
    }
    return n > 0.0 ? sum / n : 0.0;
}

static const gq_score_row *row_of(const gq_score_table *t, const char *type)
{
    for (size_t i = 0; i < t->n_rows; i++)
        if (strcmp(t->rows[i].type, type) == 0)
            return &t->rows[i];
    return NULL;
}

/* ---- text ------------------------------------------------------------------------------------ */

static int type_width(const gq_score_table *t)
{
    size_t w = 4;
    for (size_t i = 0; i < t->n_rows; i++)
        w = strlen(t->rows[i].type) > w ? strlen(t->rows[i].type) : w;
    return (int)w;
}

/* A table without types has one type that says what the row of all answers says: one line is enough. */
static size_t lines(const gq_score_table *t)
{
    return t->n_rows == 2 && t->rows[1].n == t->rows[0].n ? 1 : t->n_rows;
}

static const char *shown(const gq_score_row *row)
{
    return *row->type ? row->type : "all";
}

static void print_scores(const gq_score_table *t, bool intervals)
{
    static const char *const heads[GQ_METRICS] = {"exact",  "normalised", "token F1", "BLEU-1",
                                                  "BLEU-2", "sentence",   "sacreBLEU"};
    int                      w = type_width(t);

    printf("%-*s %7s", w, "type", "n");
    for (int m = 0; m < GQ_METRICS; m++)
        printf("%12s", heads[m]);
    printf("\n");
    for (size_t i = 0; i < lines(t); i++) {
        const gq_score_row *row = &t->rows[i];
        printf("%-*s %7zu", w, shown(row), row->n);
        for (int m = 0; m < GQ_METRICS; m++)
            printf("%12.*f", m == GQ_METRIC_SACRE ? 2 : 4, row->value[m]);
        printf("\n");
        if (!intervals)
            continue;
        printf("%-*s %7s", w, "", "");
        for (int m = 0; m < GQ_METRICS; m++) {
            char text[32];
            int  digits = m == GQ_METRIC_SACRE ? 1 : 3;
            snprintf(text, sizeof text, "%.*f-%.*f", digits, row->low[m], digits, row->high[m]);
            printf("%12s", text);
        }
        printf("\n");
    }
}

static void print_baselines(const eval_report *r)
{
    const gq_score_table *t = &r->table[EVAL_TRUE];
    static const int      order[] = {EVAL_MAJORITY, EVAL_OTHER, EVAL_SHUFFLED, EVAL_ONE};
    int                   w = type_width(t);

    printf("\nexact match beside the baselines\n%-*s %7s%12s", w, "type", "n", titles[EVAL_TRUE]);
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        if (r->have[order[k]])
            printf("%12s", titles[order[k]]);
    printf(r->chance ? "%12s\n" : "\n", "chance");
    for (size_t i = 0; i < lines(t); i++) {
        const gq_score_row *row = &t->rows[i];
        printf("%-*s %7zu%12.4f", w, shown(row), row->n, row->value[GQ_METRIC_EXACT]);
        for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
            const gq_score_row *b =
                r->have[order[k]] ? row_of(&r->table[order[k]], row->type) : NULL;
            if (b)
                printf("%12.4f", b->value[GQ_METRIC_EXACT]);
        }
        if (r->chance)
            printf("%12.4f", chance_of(r, row));
        printf("\n");
    }
}

void eval_print(const eval_report *r)
{
    bool baselines = r->chance != NULL;

    print_scores(&r->table[EVAL_TRUE], r->resamples > 0);
    for (int i = EVAL_TRUE + 1; i < EVAL_SHEETS; i++)
        baselines |= r->have[i];
    if (baselines)
        print_baselines(r);
    printf("\n");
    if (r->resamples)
        printf("second lines: 95 %% bootstrap intervals, %u resamples, seed %llu\n", r->resamples,
               (unsigned long long)r->seed);
    if (r->have[EVAL_OTHER])
        printf("other GIF: the same questions about another GIF, what the words alone are worth\n");
    printf("sacreBLEU: %s\n", gq_bleu_signature(false));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *rows_json(const gq_score_table *t)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < t->n_rows; i++) {
        const gq_score_row *row = &t->rows[i];
        json_t             *o =
            json_pack("{s:o, s:I}", "type", gq_cli_string(row->type), "n", (json_int_t)row->n);
        for (int m = 0; o && m < GQ_METRICS; m++)
            json_object_set_new(o, gq_metric_name((gq_metric)m),
                                json_pack("[f, f, f]", row->value[m], row->low[m], row->high[m]));
        json_array_append_new(rows, o);
    }
    return rows;
}

json_t *eval_summary(const eval_report *r)
{
    json_t *tables = json_object();

    for (int i = 0; i < EVAL_SHEETS; i++)
        if (r->have[i])
            json_object_set_new(tables, eval_sheet_name((eval_sheet)i), rows_json(&r->table[i]));
    return json_pack("{s:I, s:I, s:f, s:s, s:o, s:O?, s:O?, s:f}", "seed", (json_int_t)r->seed,
                     "resamples", (json_int_t)r->resamples, "confidence", 0.95, "signature",
                     gq_bleu_signature(false), "tables", tables, "chance", r->chance, "majority",
                     r->majority, "chance_all",
                     r->chance ? chance_of(r, &r->table[EVAL_TRUE].rows[0]) : 0.0);
}
