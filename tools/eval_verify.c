/* The tables of gifqa-eval from a predictions file alone. */
#include <string.h>

#include "core/mem.h"
#include "data/jsonfile.h"
#include "tools/eval.h"

static const size_t max_file = (size_t)4 << 30;

typedef struct reading {
    const char *path;
    size_t      line; /* from 1 */
    gq_scorer
           *scorer[EVAL_SHEETS]; /* NULL: not seen yet */
    json_t *summary;             /* NULL: not seen yet */
    eval_report *report;
} reading;

static gq_status bad_line(const reading *r, const char *what, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s: line %zu: %s", r->path, r->line, what);
}

static gq_status take_answer(reading *r, const json_t *o, gq_error *err)
{
    const char *view = json_string_value(json_object_get(o, "view"));
    const char *type = json_string_value(json_object_get(o, "type"));
    const char *answer = json_string_value(json_object_get(o, "prediction"));
    const char *reference = json_string_value(json_object_get(o, "answer"));
    int         i = 0;

    if (!view || !type || !answer || !reference)
        return bad_line(r, "'view', 'type', 'answer' and 'prediction' are needed", err);
    if (r->summary)
        return bad_line(r, "an answer after the summary", err);
    while (i < EVAL_MAJORITY && strcmp(view, eval_sheet_name((eval_sheet)i)) != 0)
        i++;
    if (i == EVAL_MAJORITY)
        return bad_line(r, "an unknown view", err);
    if (!r->scorer[i] && !(r->scorer[i] = gq_scorer_new()))
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);
    return gq_scorer_add(r->scorer[i], type, answer, &reference, 1, err);
}

static gq_status take_line(reading *r, const char *text, size_t bytes, gq_error *err)
{
    json_error_t why;
    json_t      *o, *summary;
    gq_status    s = gq_json_parse(text, bytes, &o, &why);

    if (s == GQ_ENOMEM)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);
    if (!json_is_object(o)) {
        json_decref(o);
        return bad_line(r, o ? "not an object" : why.text, err);
    }
    summary = json_object_get(o, "summary");
    if (summary && r->summary)
        s = bad_line(r, "a second summary", err);
    else if (json_is_object(summary))
        r->summary = json_incref(summary);
    else
        s = take_answer(r, o, err);
    json_decref(o);
    return s;
}

/* Calls take for every line; the majority answers, known from the summary, in a second walk. */
static gq_status walk(reading *r, const gq_bytes                                               *b,
                      gq_status (*take)(reading *, const char *, size_t, gq_error *), gq_error *err)
{
    const char *p = (const char *)b->data, *end = p + b->size;
    gq_status   s = GQ_OK;

    r->line = 0;
    while (s == GQ_OK && p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t      n = stop ? (size_t)(stop - p) : (size_t)(end - p);
        r->line++;
        if (n)
            s = take(r, p, n, err);
        p += n + 1;
    }
    return s;
}

static gq_status take_majority(reading *r, const char *text, size_t bytes, gq_error *err)
{
    json_error_t why;
    json_t      *o;
    gq_status    s = gq_json_parse(text, bytes, &o, &why);
    const char  *view = json_string_value(json_object_get(o, "view"));

    if (s == GQ_ENOMEM)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);
    if (view && strcmp(view, eval_sheet_name(EVAL_TRUE)) == 0)
        s = eval_add_majority(r->report, r->scorer[EVAL_MAJORITY],
                              json_string_value(json_object_get(o, "type")),
                              json_string_value(json_object_get(o, "answer")), err);
    json_decref(o);
    return s;
}

static gq_status take_summary(reading *r, const gq_bytes *b, gq_error *err)
{
    eval_report *e = r->report;

    e->seed = r->summary ? (uint64_t)json_integer_value(json_object_get(r->summary, "seed")) : 1;
    e->resamples =
        r->summary ? (uint32_t)json_integer_value(json_object_get(r->summary, "resamples")) : 1000;
    if (e->resamples > 1000000)
        return gq_fail(err, GQ_EINPUT, "%s: the summary wants %u resamples", r->path, e->resamples);
    if (json_is_object(json_object_get(r->summary, "chance")))
        e->chance = json_incref(json_object_get(r->summary, "chance"));
    if (!json_is_object(json_object_get(r->summary, "majority")))
        return GQ_OK;
    e->majority = json_incref(json_object_get(r->summary, "majority"));
    if (!(r->scorer[EVAL_MAJORITY] = gq_scorer_new()))
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);
    return walk(r, b, take_majority, err);
}

/* Equal as JSON values: reals are written with 17 digits, so equal texts are equal bits. */
static gq_status compare(reading *r, gq_error *err)
{
    json_t     *fresh = eval_summary(r->report), *now, *was;
    const char *key, *sheet;
    gq_status   s = fresh ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);

    json_object_foreach(json_object_get(fresh, "tables"), sheet, now)
    {
        was = json_object_get(json_object_get(r->summary, "tables"), sheet);
        if (s == GQ_OK && !json_equal(now, was))
            s = gq_fail(
                err, GQ_EINPUT,
                "%s: the table '%s' of the summary is not what the answers give: the file was "
                "changed",
                r->path, sheet);
    }
    json_object_foreach(r->summary, key, was) if (s == GQ_OK &&
                                                  !json_equal(was, json_object_get(fresh, key)) &&
                                                  json_object_get(fresh, key)) s =
        gq_fail(err, GQ_EINPUT,
                "%s: '%s' of the summary is not what the answers give: the file was changed",
                r->path, key);
    json_decref(fresh);
    r->report->compared = s == GQ_OK;
    return s;
}

static gq_status tables(reading *r, gq_error *err)
{
    gq_status s = GQ_OK;

    for (int i = 0; s == GQ_OK && i < EVAL_SHEETS; i++)
        if (r->scorer[i]) {
            s = gq_scorer_table(r->scorer[i], r->report->seed, r->report->resamples, 0.95,
                                &r->report->table[i], err);
            r->report->have[i] = s == GQ_OK;
        }
    return s;
}

gq_status eval_verify(const char *path, eval_report *out, gq_error *err)
{
    reading   r = {.path = path, .report = out};
    gq_bytes  b = {0};
    gq_status s = gq_read_file(path, max_file, &b, err);

    memset(out, 0, sizeof *out);
    if (s == GQ_OK)
        s = walk(&r, &b, take_line, err);
    if (s == GQ_OK && !r.scorer[EVAL_TRUE])
        s = gq_fail(err, GQ_EINPUT, "%s: there is no answer in it", path);
    if (s == GQ_OK)
        s = take_summary(&r, &b, err);
    if (s == GQ_OK)
        s = tables(&r, err);
    if (s == GQ_OK && r.summary)
        s = compare(&r, err);
    for (int i = 0; i < EVAL_SHEETS; i++)
        gq_scorer_free(r.scorer[i]);
    json_decref(r.summary);
    gq_bytes_free(&b);
    if (s != GQ_OK)
        eval_report_free(out);
    return s;
}
