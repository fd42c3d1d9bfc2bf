#include "train/feed.h"

#include <string.h>

#include "core/mem.h"

static int round_up(int n, int unit)
{
    return (n + unit - 1) / unit * unit;
}

int gq_feed_text(const gq_config *c, int nq, int na)
{
    int text = c->model.kind == GQ_CFG_KIND_T5 ? nq : nq + na;
    return round_up(text + 1, (int)c->prompt.bucket);
}

int gq_feed_labels(int na)
{
    return round_up(na + 1, 2);
}

void gq_feed_shape(const gq_config *c, const gq_sample *s, int batch, bool live, bool masked,
                   bool train, const uint8_t *keep, gq_stllm_shape *out)
{
    int text = 0, answer = 0, kept = 0, n = gq_net_visual(c);

    for (int b = 0; b < batch; b++) {
        int held = 0;
        if (gq_feed_text(c, s[b].nq, s[b].na) > text)
            text = gq_feed_text(c, s[b].nq, s[b].na);
        if (s[b].na > answer)
            answer = s[b].na;
        for (int j = 0; masked && keep && j < n; j++)
            held += keep[b * n + j];
        if (held > kept)
            kept = held;
    }
    memset(out, 0, sizeof *out);
    out->batch = batch;
    out->frames = c->model.kind == GQ_CFG_KIND_T5 ? 0 : (int)c->data.frames;
    out->text = text;
    out->labels = batch * gq_feed_labels(answer);
    out->kept = round_up(kept, 16) < n ? round_up(kept, 16) : n;
    out->live = live;
    out->masked = masked;
    out->train = train;
}

static void feed_vision(const gq_sample *s, gq_stllm_tape *h)
{
    gq_t    x = h->shape.live ? h->frames : h->features;
    int64_t per =
        gq_dim(h->tape, x, 1) * gq_dim(h->tape, x, 2) * (h->shape.live ? 3 : 1) * h->shape.frames;

    for (int b = 0; b < h->shape.batch; b++) {
        if (h->shape.live)
            memcpy((uint8_t *)gq_data(h->tape, x) + b * per, s[b].vision, (size_t)per);
        else
            gq_put_real(h->tape, x, b * per, s[b].vision, per);
    }
}

/* Row i of the states that a loss reads is position `at`; returns its number in the states. */
static int32_t place(gq_stllm_tape *h, int i, int at)
{
    if (!h->needed.i)
        return at;
    ((int32_t *)gq_data(h->tape, h->needed))[i] = at;
    return i;
}

/* ids, labels and labelled rows; seen = visual positions in front of the text */
static void feed_text(const gq_sample *s, int end_id, int seen, gq_stllm_tape *h)
{
    int      t = h->shape.text, r = 0, width = seen + t;
    int      first = h->shape.masked ? (int)gq_dim(h->tape, h->student_rows, 0) : 0;
    int32_t *ids = gq_data(h->tape, h->ids), *rows = gq_data(h->tape, h->rows),
            *labels = gq_data(h->tape, h->labels);

    for (int b = 0; b < h->shape.batch; b++) {
        int32_t *row = ids + b * t;
        int      used = s[b].nq + s[b].na;
        memcpy(row, s[b].question, (size_t)s[b].nq * sizeof *row);
        memcpy(row + s[b].nq, s[b].answer, (size_t)s[b].na * sizeof *row);
        for (int j = used; j < t; j++)
            row[j] = end_id;                       /* the end token, then padding nobody looks at */
        for (int j = s[b].nq; j <= used; j++, r++) {
            rows[r] = place(h, first + r, b * width + seen + j - 1);
            labels[r] = row[j];
        }
    }
    for (; r < h->shape.labels; r++) {
        rows[r] = place(h, first + r, 0);
        labels[r] = -100;
    }
}

/* Position ids of the whole sequence. keep (drop-mode): the places of the kept tokens, first in `seen` slots. */
static void feed_positions(const gq_config *c, const uint8_t *keep, int seen, gq_stllm_tape *h)
{
    int      n = gq_net_visual(c), t = h->shape.text, width = seen + t;
    bool     drop = h->shape.masked && c->mvm.mode == GQ_CFG_MVM_DROP,
         compact = drop && c->mvm.pos == GQ_CFG_POS_COMPACT;
    int32_t *pos = gq_data(h->tape, h->pos);

    for (int b = 0; b < h->shape.batch; b++) {
        int used = 0;
        for (int j = 0; j < n; j++)
            if (!drop || keep[b * n + j]) {
                pos[b * width + used] = compact ? used : j;
                used++;
            }
        for (int j = used; j < seen; j++)
            pos[b * width + j] = 0;
        for (int j = 0; j < t; j++)
            pos[b * width + seen + j] = (compact ? used : n) + j;
    }
}

static void put(gq_stllm_tape *h, gq_t x, int64_t i, float v)
{
    void *d = gq_data(h->tape, x);
    if (h->tape->tensor[x.i].dtype == GQ_F64)
        ((double *)d)[i] = v;
    else
        ((float *)d)[i] = v;
}

/* Exact in double for the reference backend. */
static void put_scale(gq_tape *t, gq_t x, double v)
{
    if (t->tensor[x.i].dtype == GQ_F64)
        *(double *)gq_data(t, x) = v;
    else
        *(float *)gq_data(t, x) = (float)v;
}

static void feed_zero(const gq_config *c, const uint8_t *keep, const float *elements,
                      gq_stllm_tape *h)
{
    int      n = gq_net_visual(c), t = h->shape.text, b_count = h->shape.batch;
    int32_t *rows = gq_data(h->tape, h->student_rows);

    if (elements)
        gq_put_real(h->tape, h->u, 0, elements, (int64_t)b_count * n * gq_dim(h->tape, h->u, -1));
    for (int b = 0; b < b_count; b++) {
        for (int j = 0; j < n; j++) {
            float k = elements ? 1.0f : keep[b * n + j];
            if (!elements)
                put(h, h->u, b * n + j, k);
            put(h, h->weight, b * n + j, k);
            rows[b * n + j] = place(h, b * n + j, b * (n + t) + j);
            if (h->visible.i)
                put(h, h->visible, (int64_t)b * (n + t) + j, k);
        }
        for (int j = n; h->visible.i && j < n + t; j++)
            put(h, h->visible, (int64_t)b * (n + t) + j, 1.0f);
    }
}

static void feed_drop(const gq_config *c, const uint8_t *keep, gq_stllm_tape *h)
{
    int      n = gq_net_visual(c), seen = h->shape.kept, width = seen + h->shape.text;
    int32_t *rows = gq_data(h->tape, h->student_rows), *kept = gq_data(h->tape, h->kept);

    for (int b = 0; b < h->shape.batch; b++) {
        int used = 0;
        for (int j = 0; j < n; j++)
            if (keep[b * n + j])
                kept[b * seen + used++] = b * n + j;
        for (int j = 0; j < seen; j++) {
            bool real = j < used;
            if (!real)
                kept[b * seen + j] = -1;
            put(h, h->weight, b * seen + j, real);
            put(h, h->visible, (int64_t)b * width + j, real);
            rows[b * seen + j] = place(h, b * seen + j, b * width + j);
        }
        for (int j = seen; j < width; j++)
            put(h, h->visible, (int64_t)b * width + j, 1.0f);
    }
}

void gq_feed(const gq_config *c, const gq_sample *s, const uint8_t *keep, const float *elements,
             const gq_feed_opts *o, gq_stllm_tape *h)
{
    int  n = gq_net_visual(c);
    bool drop = h->shape.masked && c->mvm.mode == GQ_CFG_MVM_DROP;
    int  seen = drop ? h->shape.kept : n;

    feed_vision(s, h);
    feed_text(s, o->end_id, seen, h);
    feed_positions(c, keep, seen, h);
    put_scale(h->tape, h->inv_lm, o->inv_lm);
    if (!h->shape.masked)
        return;
    put_scale(h->tape, h->inv_mvm, o->inv_mvm);
    for (int b = 0; b < h->shape.batch; b++)
        for (int j = 0; j < n; j++)
            ((int32_t *)gq_data(h->tape, h->teacher_pos))[b * n + j] = j;
    if (drop)
        feed_drop(c, keep, h);
    else
        feed_zero(c, keep, elements, h);
}

/* ---- T5 ------------------------------------------------------------------------------------------------------ */

static void feed_t5(const gq_sample *s, const gq_feed_opts *o, gq_t5_tape *h)
{
    int      from = h->shape.source, to = h->shape.target, r = 0;
    int32_t *source = gq_data(h->tape, h->source), *lengths = gq_data(h->tape, h->lengths),
            *target = gq_data(h->tape, h->target), *rows = gq_data(h->tape, h->rows),
            *labels = gq_data(h->tape, h->labels);

    for (int b = 0; b < h->shape.batch; b++, source += from, target += to) {
        memcpy(source, s[b].question, (size_t)s[b].nq * sizeof *source);
        source[s[b].nq] = o->end_id;
        for (int j = s[b].nq + 1; j < from; j++)
            source[j] = GQ_T5_START;                              /* padding: nobody looks at it          */
        lengths[b] = s[b].nq + 1;
        for (int j = 0; j < to; j++)                              /* the labels, one place later          */
            target[j] = j > 0 && j <= s[b].na ? s[b].answer[j - 1] : GQ_T5_START;
        for (int j = 0; j <= s[b].na; j++, r++) {
            rows[r] = b * to + j;
            labels[r] = j < s[b].na ? s[b].answer[j] : o->end_id;
        }
    }
    for (; r < h->shape.labels; r++) {
        rows[r] = 0;
        labels[r] = -100;
    }
    put_scale(h->tape, h->inv_lm, o->inv_lm);
}

void gq_feed_pass(const gq_config *c, const gq_sample *s, const uint8_t *keep, const float *elements,
                  const gq_feed_opts *o, gq_pass *p)
{
    if (p->kind == GQ_CFG_KIND_T5)
        feed_t5(s, o, &p->in.t5);
    else
        gq_feed(c, s, keep, elements, o, &p->in.stllm);
}
