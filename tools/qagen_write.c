/* gifqa-qagen CAPTIONS -o TABLE: captions to a table of questions. */
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "data/qagen/captions.h"
#include "data/qagen/pairs.h"
#include "data/qagen/rules.h"
#include "tools/cli.h"
#include "tools/qagen.h"

typedef struct writer {
    const gq_chunker *chunker;
    gq_pairs         *pairs;
    size_t            captions, silent, too_long;
    gq_cap_count      count[GQ_RULES];
} writer;

gq_status gq_qagen_stopped(gq_error *err)
{
    return gq_fail(err, GQ_ESTOPPED, "stopped; nothing was written");
}

gq_status gq_qagen_each(const char *path, const char *split, gq_qagen_take take, void *ctx,
                        gq_error *err)
{
    gq_captions    *c;
    gq_captions_row row;
    bool            any = false;
    gq_status       s = gq_captions_open(path, &c, err);

    while (s == GQ_OK && (s = gq_captions_next(c, &row, err)) == GQ_OK && row.gif) {
        if (gq_cli_stop) {
            s = gq_qagen_stopped(err);
        } else if (!split || strcmp(split, row.split) == 0) {
            any = true;
            s = take(ctx, &row, err);
        }
    }
    gq_captions_close(c);
    return s == GQ_OK && split && !any
               ? gq_fail(err, GQ_EINPUT, "%s: has no caption of split %s", path, split)
               : s;
}

static gq_status ask(void *ctx, const gq_captions_row *row, gq_error *err)
{
    writer             *w = ctx;
    static gq_caption   c;
    static gq_generated list[GQ_RULE_MOST];
    const char         *why;
    w->captions++;
    if (!gq_chunker_read(w->chunker, row->text, &c)) {
        w->too_long++;
        return GQ_OK;
    }
    size_t    n = gq_rules(&c, list, &why);
    gq_status s = GQ_OK;
    w->silent += !n;
    for (size_t k = 0; k < n && s == GQ_OK; k++)
        s = gq_pairs_add(w->pairs,
                         &(gq_pair){.gif = row->gif,
                                    .question = list[k].question,
                                    .answer = list[k].answer,
                                    .type = gq_rule_type(list[k].rule),
                                    .template = gq_rule_name(list[k].rule),
                                    .candidate = list[k].candidate,
                                    .group = (uint32_t)list[k].rule},
                         err);
    return s;
}

/* ---- the summary ----------------------------------------------------------------------------- */

static double percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static double each(size_t questions, size_t captions)
{
    return captions ? (double)questions / (double)captions : 0.0;
}

void gq_qagen_counts(const char *title, const char *const *name, const gq_cap_count *count, size_t n,
                     size_t captions, size_t silent, size_t too_long, double seconds)
{
    size_t made = 0, kept = 0, most = 0;
    printf("%-8s %9s %9s %9s %11s %11s\n", title, "made", "kept", "answers", "commonest", "of kept");
    for (size_t k = 0; k < n; k++) {
        const gq_cap_count *c = &count[k];
        if (c->made)
            printf("%-8s %9zu %9zu %9zu %9.1f %% %9.1f %%\n", name[k], c->made, c->kept, c->answers,
                   percent(c->most, c->made), percent(c->most_kept, c->kept));
        made += c->made;
        kept += c->kept;
        most += c->most_kept;
    }
    printf("%zu captions, %zu questions (%.2f each), %zu kept (%.2f each); %zu captions gave none, "
           "%zu were too long; %.2f s\n"
           "who always gives the commonest answer of the %s is right in %.1f %%\n",
           captions, made, each(made, captions), kept, each(kept, captions), silent, too_long, seconds,
           title, percent(most, kept));
}

gq_status gq_qagen_write(const gq_chunker *chunker, const char *from, const char *to, double share,
                         const char *split, gq_error *err)
{
    writer      w = {.chunker = chunker};
    const char *names[GQ_RULES];
    double      start = gq_now();
    gq_status   s = gq_pairs_new("rules", &w.pairs, err);

    for (int r = 0; r < GQ_RULES; r++)
        names[r] = gq_rule_name((gq_rule)r);
    if (s == GQ_OK)
        s = gq_qagen_each(from, split, ask, &w, err);
    if (s == GQ_OK)
        s = gq_pairs_balance(w.pairs, share, GQ_RULES, w.count, err);
    if (s == GQ_OK)
        s = gq_pairs_write(w.pairs, to, err);
    if (s == GQ_OK)
        gq_qagen_counts("template", names, w.count, GQ_RULES, w.captions, w.silent, w.too_long,
                        gq_now() - start);
    gq_pairs_free(w.pairs);
    return s;
}
