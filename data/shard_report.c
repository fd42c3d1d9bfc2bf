/* Looking at datasets: what is in them, as JSON. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/jsonfile.h"
#include "data/shard_private.h"

/* ---- stats ----------------------------------------------------------------------------------- */

typedef struct answer {
    int32_t     type;
    const char *text;
    int64_t     count;
} answer;

static int by_type_and_text(const void *x, const void *y)
{
    const answer *a = x, *b = y;
    return a->type != b->type ? (a->type > b->type) - (a->type < b->type)
                              : strcmp(a->text, b->text);
}

/* Most frequent first, then by text, so that the order is always the same. */
static int by_type_and_count(const void *x, const void *y)
{
    const answer *a = x, *b = y;
    if (a->type != b->type || a->count == b->count)
        return by_type_and_text(x, y);
    return a->count < b->count ? 1 : -1;
}

/* Sorts and merges equal answers; returns how many are left. */
static int64_t merge_answers(answer *list, int64_t n)
{
    int64_t m = 0;
    qsort(list, (size_t)n, sizeof *list, by_type_and_text);
    for (int64_t i = 0; i < n; i++) {
        if (m && by_type_and_text(&list[m - 1], &list[i]) == 0)
            list[m - 1].count++;
        else
            list[m++] = list[i];
    }
    qsort(list, (size_t)m, sizeof *list, by_type_and_count);
    return m;
}

static json_t *types_json(const gq_dataset *d, answer *list, int64_t m)
{
    enum { TOP = 10 };
    json_t *types = json_object();
    for (int64_t i = 0; i < m;) {
        json_t *top = json_object();
        int64_t first = i, questions = 0;
        for (; i < m && list[i].type == list[first].type; i++) {
            questions += list[i].count;
            if (i - first < TOP)
                json_object_set_new(top, list[i].text, json_integer(list[i].count));
        }
        json_object_set_new(types, gq_dataset_type_name(d, list[first].type),
                            json_pack("{s:I, s:I, s:o}", "questions", (json_int_t)questions,
                                      "answers", (json_int_t)(i - first), "most_frequent", top));
    }
    return types;
}

typedef struct lengths { int64_t sum; int32_t max; } lengths;

static json_t *lengths_json(const lengths *l, int64_t n)
{
    return json_pack("{s:f, s:i}", "mean", n ? (double)l->sum / (double)n : 0.0, "max",
                     (int)l->max);
}

static void count_length(lengths *l, int32_t n)
{
    l->sum += n;
    l->max = n > l->max ? n : l->max;
}

static json_t *stats_json(const gq_dataset *d, answer *list)
{
    const gq_shard_meta *m = gq_dataset_meta(d);
    const gq_shard      *part;
    lengths              q = {0}, a = {0};
    int64_t              n = gq_dataset_count(d), bytes = 0;
    int                  shards = 0;
    for (; gq_dataset_part(d, shards, &part); shards++)
        bytes += (int64_t)part->bytes;
    for (int64_t i = 0; i < n; i++) {
        gq_qa qa;
        gq_dataset_qa(d, i, &qa);
        list[i] = (answer){qa.type, qa.answer, 1};
        count_length(&q, qa.nq);
        count_length(&a, qa.na);
    }
    gq_json_watch();
    json_t *types = types_json(d, list, merge_answers(list, n));
    json_t *o = json_pack("{s:s, s:i, s:I, s:I, s:I, s:i, s:i, s:i, s:i}", "dir", gq_dataset_dir(d),
                          "shards", shards, "bytes", (json_int_t)bytes, "gifs",
                          (json_int_t)gq_dataset_gifs(d), "questions", (json_int_t)n, "keyframes",
                          (int)m->keyframes, "image_size", (int)m->size, "tokens", (int)m->tokens,
                          "width", (int)m->width);
    json_object_set_new(o, "pooled", json_integer(m->pooled));
    json_object_set_new(o, "codec", json_string(gq_shard_codec_name[m->codec]));
    json_object_set_new(o, "sampler", json_string(m->sampler));
    json_object_set_new(o, "preprocess", json_string(m->preprocess));
    json_object_set_new(o, "features", json_string(m->features));
    json_object_set_new(o, "tokenizer", json_string(m->tokenizer));
    json_object_set_new(o, "prompt", json_string(m->prompt));
    json_object_set_new(o, "source", json_string(m->source));
    json_object_set_new(o, "question_tokens", lengths_json(&q, n));
    json_object_set_new(o, "answer_tokens", lengths_json(&a, n));
    json_object_set_new(o, "types", types);
    return gq_json_whole(o);
}

/* jansson's text as ours. */
static gq_status to_text(json_t *o, size_t flags, const char *dir, char **text, gq_error *err)
{
    char *dump = o ? json_dumps(o, flags) : NULL;
    *text = dump ? gq_strdup(dump) : NULL;
    free(dump);
    json_decref(o);
    return *text ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for its statistics", dir);
}

gq_status gq_shard_stats(const char *dir, char **json, gq_error *err)
{
    gq_dataset *d;
    gq_status   s = gq_dataset_open(dir, &d, err);
    *json = NULL;
    if (s != GQ_OK)
        return s;
    answer *list = gq_malloc((size_t)gq_dataset_count(d), sizeof *list);
    s = list ? to_text(stats_json(d, list), JSON_INDENT(1), dir, json, err)
             : gq_fail(err, GQ_ENOMEM, "%s: no memory for its statistics", dir);
    gq_free(list);
    gq_dataset_close(d);
    return s;
}

/* ---- head ------------------------------------------------------------------------------------ */

static json_t *ints_json(const int32_t *v, int32_t n)
{
    json_t *a = json_array();
    for (int32_t k = 0; k < n; k++)
        json_array_append_new(a, json_integer(v[k]));
    return a;
}

static json_t *question_json(const gq_dataset *d, int64_t i)
{
    gq_qa        qa;
    gq_shard_gif gif;
    gq_dataset_qa(d, i, &qa);
    gq_dataset_gif(d, qa.gif, &gif);
    gq_json_watch();
    json_t *o =
        json_pack("{s:I, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "i", (json_int_t)i, "gif",
                  gif.name, "question", qa.question, "answer", qa.answer, "type",
                  gq_dataset_type_name(d, qa.type), "n_frames", (int)gif.n_frames, "keyframes",
                  ints_json(gif.frame_idx, gq_dataset_meta(d)->keyframes), "question_ids",
                  ints_json(qa.q_ids, qa.nq), "answer_ids", ints_json(qa.a_ids, qa.na));
    return gq_json_whole(o);
}

gq_status gq_shard_head(const char *dir, int n, char **json_lines, gq_error *err)
{
    gq_dataset *d;
    size_t      size = 0;
    gq_status   s = gq_dataset_open(dir, &d, err);
    *json_lines = NULL;
    if (s != GQ_OK)
        return s;
    if (!(*json_lines = gq_strdup("")))
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for %d questions", dir, n);
    for (int64_t i = 0; s == GQ_OK && i < n && i < gq_dataset_count(d); i++) {
        char *line, *more;
        if ((s = to_text(question_json(d, i), JSON_COMPACT, dir, &line, err)) != GQ_OK)
            break;
        size_t len = strlen(line);
        if ((more = gq_realloc(*json_lines, size + len + 2, 1))) {
            *json_lines = more;
            memcpy(more + size, line, len);
            memcpy(more + size + len, "\n", 2);
            size += len + 1;
        } else {
            s = gq_fail(err, GQ_ENOMEM, "%s: no memory for %d questions", dir, n);
        }
        gq_free(line);
    }
    gq_dataset_close(d);
    if (s != GQ_OK) {
        gq_free(*json_lines);
        *json_lines = NULL;
    }
    return s;
}
