#include "train/benchmark.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "data/names.h"
#include "data/table.h"
#include "train/metrics.h"

enum { COUNT_MAX = 10, NAME = GQ_TABLE_GIF + GQ_TABLE_QUESTION + GQ_TABLE_ANSWER + 3 };

typedef enum column {
    C_GIF, C_QUESTION, C_ANSWER, C_TYPE, C_CHOICE,
    C_RIGHT = C_CHOICE + GQ_IMPORT_CHOICES, COLUMNS
} column;

static const gq_table_column columns[COLUMNS] = {
    {"gif", NULL, GQ_TABLE_GIF, false},       {"question", NULL, GQ_TABLE_QUESTION, false},
    {"answer", NULL, GQ_TABLE_ANSWER, false}, {"type", NULL, GQ_TABLE_TYPE, false},
    {"a1", NULL, GQ_TABLE_ANSWER, true},      {"a2", NULL, GQ_TABLE_ANSWER, true},
    {"a3", NULL, GQ_TABLE_ANSWER, true},      {"a4", NULL, GQ_TABLE_ANSWER, true},
    {"a5", NULL, GQ_TABLE_ANSWER, true},      {"choice", NULL, 1, true}};
static const gq_table_form form = {.columns = columns, .n = COLUMNS, .tabs = true};

struct gq_benchmark {
    gq_bench_row *row;                  /* [used]; `gif` holds the memory of all its texts        */
    size_t        used, room;
    gq_names     *names;                /* of the rows, with index + 1                            */
};

/* ---- the table ------------------------------------------------------------------------------- */

void gq_benchmark_close(gq_benchmark *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->used; i++)
        gq_free((void *)(uintptr_t)b->row[i].gif);
    gq_free(b->row);
    gq_names_free(b->names);
    gq_free(b);
}

size_t gq_benchmark_rows(const gq_benchmark *b)
{
    return b->used;
}

const gq_bench_row *gq_benchmark_row(const gq_benchmark *b, size_t i)
{
    return &b->row[i];
}

/* Three texts of a table's row, none of which holds the separator: the name of the row. */
static void name_of(const char *gif, const char *question, const char *answer, char name[NAME])
{
    snprintf(name, NAME, "%s\n%s\n%s", gif, question, answer);
}

const gq_bench_row *gq_benchmark_find(const gq_benchmark *b, const char *gif, const char *question,
                                      const char *answer)
{
    char name[NAME];
    name_of(gif, question, answer, name);
    const uint32_t *number = gq_names_find(b->names, name);
    return number ? &b->row[*number - 1] : NULL;
}

/* NULL: kind, sort, number and choices of a row are understood. */
static const char *understand(const char *const *cell, gq_bench_row *r)
{
    const char *type = cell[C_TYPE], *right = cell[C_RIGHT];
    for (r->sort = 0; r->sort < GQ_TGIFQA_FRAMES; r->sort++)
        if (strcmp(type, gq_tgifqa_frame_type(r->sort)) == 0) {
            r->kind = GQ_TGIFQA_FRAMEQA;
            return NULL;
        }
    r->sort = 0;
    if (strcmp(type, gq_tgifqa_kind_name(GQ_TGIFQA_COUNT)) == 0) {
        r->kind = GQ_TGIFQA_COUNT;
        r->number = gq_bench_number(cell[C_ANSWER]);
        return r->number < 0 || r->number > COUNT_MAX ? "a count is a number from 0 to 10" : NULL;
    }
    r->kind = GQ_TGIFQA_ACTION;
    if (strcmp(type, gq_tgifqa_kind_name(GQ_TGIFQA_TRANSITION)) == 0)
        r->kind = GQ_TGIFQA_TRANSITION;
    else if (strcmp(type, gq_tgifqa_kind_name(GQ_TGIFQA_ACTION)) != 0)
        return "type is none of TGIF-QA's";
    if (*right < '0' || *right >= '0' + GQ_IMPORT_CHOICES)
        return "choice is no number from 0 to 4";
    r->number = *right - '0';
    for (int k = 0; k < GQ_IMPORT_CHOICES; k++)
        if (!*cell[C_CHOICE + k])
            return "one of a1 to a5 is empty";
    return strcmp(cell[C_CHOICE + r->number], cell[C_ANSWER]) ? "the choice is not the answer"
                                                               : NULL;
}

/* All texts of a row in one block. */
static bool keep_texts(const char *const *cell, gq_bench_row *r)
{
    size_t bytes = 0;
    char  *at;
    for (int c = 0; c < C_RIGHT; c++)
        bytes += strlen(cell[c]) + 1;
    if (!(at = gq_malloc(bytes, 1)))
        return false;
    for (int c = 0; c < C_RIGHT; c++) {
        const char *kept = strcpy(at, cell[c]);
        at += strlen(cell[c]) + 1;
        if (c == C_GIF)
            r->gif = kept;
        else if (c == C_QUESTION)
            r->question = kept;
        else if (c == C_ANSWER)
            r->answer = kept;
        else if (c >= C_CHOICE && r->kind >= GQ_TGIFQA_ACTION)
            r->choice[c - C_CHOICE] = kept;
    }
    return true;
}

static bool add_row(gq_benchmark *b, const char *const *cell, gq_bench_row r)
{
    char      name[NAME];
    uint32_t *number;
    if (b->used == b->room) {
        size_t        room = b->room ? 2 * b->room : 1024;
        gq_bench_row *more = gq_realloc(b->row, room, sizeof *more);
        if (!more)
            return false;
        b->row = more;
        b->room = room;
    }
    name_of(cell[C_GIF], cell[C_QUESTION], cell[C_ANSWER], name);
    if (!(number = gq_names_add(b->names, name)) || !keep_texts(cell, &r))
        return false;
    b->row[b->used++] = r;
    *number = *number ? *number : (uint32_t)b->used;
    return true;
}

static gq_status bad_row(void *path, uint64_t line, const char *reason, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s:%llu: %s", (const char *)path, (unsigned long long)line,
                   reason);
}

static gq_status read_rows(gq_benchmark *b, gq_table *t, const char *path, gq_error *err)
{
    const char *cell[COLUMNS];
    uint64_t    line;
    gq_status   s;
    while ((s = gq_table_fields(t, &line, cell, err)) == GQ_OK && cell[0]) {
        gq_bench_row r = {0};
        const char  *reason = understand(cell, &r);
        if (reason)
            return bad_row((void *)(uintptr_t)path, line, reason, err);
        if (b->used == UINT32_MAX - 1 || !add_row(b, cell, r))
            return gq_fail(err, GQ_ENOMEM, "%s: no memory for its rows", path);
    }
    return s == GQ_OK && !b->used ? gq_fail(err, GQ_EINPUT, "%s: has no row", path) : s;
}

gq_status gq_benchmark_open(const char *path, gq_benchmark **out, gq_error *err)
{
    gq_benchmark *b = gq_calloc(1, sizeof *b);
    gq_table     *t = NULL;
    gq_status     s = GQ_OK;
    *out = NULL;
    if (!b || !(b->names = gq_names_new()))
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", path);
    if (s == GQ_OK)
        s = gq_table_open_form(path, &form, bad_row, (void *)(uintptr_t)path, &t, err);
    if (s == GQ_OK)
        s = read_rows(b, t, path, err);
    gq_table_close(t);
    if (s == GQ_OK)
        *out = b;
    else
        gq_benchmark_close(b);
    return s;
}

/* ---- measures -------------------------------------------------------------------------------- */

int gq_bench_number(const char *text)
{
    static const char *const words[] = {"zero", "one", "two",   "three", "four", "five",
                                        "six",  "seven", "eight", "nine",  "ten"};
    size_t n, digits;
    int    number = 0;
    text += strspn(text, " \t\r\n");
    n = strcspn(text, " \t\r\n");
    digits = strspn(text, "0123456789");
    if (text[n + strspn(text + n, " \t\r\n")])            /* more than one word */
        return -1;
    for (int k = 0; k <= COUNT_MAX; k++)
        if (strlen(words[k]) == n && strncasecmp(text, words[k], n) == 0)
            return k;
    if (!n || digits != n || n > 9)
        return -1;
    for (size_t i = 0; i < n; i++)
        number = 10 * number + (text[i] - '0');
    return number;
}

void gq_bench_add_count(gq_bench_count *c, int predicted, int answer)
{
    int p = predicted < 0 ? 0 : predicted, bounded = p < 1 ? 1 : p > COUNT_MAX ? COUNT_MAX : p;
    double raw = p - answer, clipped = bounded - (answer < 1 ? 1 : answer);
    c->n++;
    c->numberless += predicted < 0;
    c->raw += raw * raw;
    c->bounded += clipped * clipped;
}

gq_status gq_bench_add(gq_bench_score *s, const gq_bench_row *row, const char *text, gq_error *err)
{
    gq_match  match = {0};
    gq_status status = GQ_OK;
    if (row->kind == GQ_TGIFQA_COUNT)
        gq_bench_add_count(&s->count, gq_bench_number(text), row->number);
    if (row->kind != GQ_TGIFQA_FRAMEQA)
        return GQ_OK;
    status = gq_match_answer(text, &row->answer, 1, &match, err);
    s->frame[row->sort].n++;
    s->frame[row->sort].right += match.exact;
    return status;
}

void gq_bench_add_choice(gq_bench_score *s, const gq_bench_row *row, int taken)
{
    int k = row->kind == GQ_TGIFQA_TRANSITION;
    s->choice[k].n++;
    s->choice[k].right += taken == row->number;
}

/* ---- baselines ------------------------------------------------------------------------------- */

typedef struct learned {
    gq_tally *answers;                  /* of frameqa; the types are the sorts                    */
    size_t    counts[COUNT_MAX + 1];
    size_t    positions[2][GQ_IMPORT_CHOICES];
} learned;

static int most_frequent(const size_t *times, int first, int n)
{
    int best = first;
    for (int k = first; k < n; k++)
        if (times[k] > times[best])
            best = k;
    return best;
}

static gq_status learn(const gq_benchmark *from, learned *l, gq_error *err)
{
    gq_status s = GQ_OK;
    for (size_t i = 0; s == GQ_OK && i < from->used; i++) {
        const gq_bench_row *r = &from->row[i];
        if (r->kind == GQ_TGIFQA_FRAMEQA)
            s = gq_tally_add(l->answers, gq_tgifqa_frame_type(r->sort), r->answer, err);
        else if (r->kind == GQ_TGIFQA_COUNT)
            l->counts[r->number]++;
        else
            l->positions[r->kind == GQ_TGIFQA_TRANSITION][r->number]++;
    }
    return s;
}

static void decide(const learned *l, gq_bench_baselines *out)
{
    double n = 0.0, sum = 0.0;
    for (int k = 0; k <= GQ_TGIFQA_FRAMES; k++)
        snprintf(out->answer[k], sizeof out->answer[k], "%s",
                 gq_tally_majority(l->answers,
                                   k < GQ_TGIFQA_FRAMES ? gq_tgifqa_frame_type(k) : NULL));
    for (int k = 0; k < 2; k++)
        out->position[k] = most_frequent(l->positions[k], 0, GQ_IMPORT_CHOICES);
    for (int k = 0; k <= COUNT_MAX; k++) {
        n += (double)l->counts[k];
        sum += k * (double)l->counts[k];
    }
    out->constant[0] = most_frequent(l->counts, 0, COUNT_MAX + 1);
    out->constant[1] = n > 0.0 ? most_frequent(l->counts, 1, COUNT_MAX + 1) : 0;
    out->constant[2] = n > 0.0 ? (int)lround(sum / n) : 0;
}

static gq_status answer_all(const gq_benchmark *test, gq_bench_baselines *out, gq_error *err)
{
    gq_bench_score all = {0};
    gq_status      s = GQ_OK;
    for (size_t i = 0; s == GQ_OK && i < test->used; i++) {
        const gq_bench_row *r = &test->row[i];
        out->asked[r->kind]++;
        if (!out->learned[r->kind])
            continue;
        if (r->kind >= GQ_TGIFQA_ACTION) {
            gq_bench_add_choice(&out->one, r, out->position[r->kind == GQ_TGIFQA_TRANSITION]);
        } else if (r->kind == GQ_TGIFQA_COUNT) {
            for (int k = 0; k < GQ_BENCH_CONSTANTS; k++)
                gq_bench_add_count(&out->counts[k], out->constant[k], r->number);
        } else {
            s = gq_bench_add(&out->one, r, out->answer[r->sort], err);
            if (s == GQ_OK)
                s = gq_bench_add(&all, r, out->answer[GQ_TGIFQA_FRAMES], err);
        }
    }
    out->one.count = out->counts[0];
    for (int k = 0; k < GQ_TGIFQA_FRAMES; k++)
        out->one_for_all += all.frame[k].right;
    return s;
}

gq_status gq_bench_baseline(const gq_benchmark *from, const gq_benchmark *test,
                            gq_bench_baselines *out, gq_error *err)
{
    learned   l = {.answers = gq_tally_new()};
    gq_status s = l.answers ? learn(from, &l, err)
                            : gq_fail(err, GQ_ENOMEM, "no memory to count answers");
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < from->used; i++)
        out->learned[from->row[i].kind]++;
    if (s == GQ_OK) {
        decide(&l, out);
        s = answer_all(test, out, err);
    }
    gq_tally_free(l.answers);
    return s;
}
