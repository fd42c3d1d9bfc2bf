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

static gq_status ask(writer *w, const gq_captions_row *row, gq_error *err)
{
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

static void print_row(const char *name, const gq_cap_count *c)
{
    printf("%-8s %9zu %9zu %9zu %9.1f %% %9.1f %%\n", name, c->made, c->kept, c->answers,
           percent(c->most, c->made), percent(c->most_kept, c->kept));
}

static void print_summary(const writer *w, double seconds)
{
    size_t made = gq_pairs_count(w->pairs), kept = 0, most = 0;
    printf("%-8s %9s %9s %9s %11s %11s\n", "template", "made", "kept", "answers", "commonest",
           "of kept");
    for (int r = 0; r < GQ_RULES; r++) {
        if (w->count[r].made)
            print_row(gq_rule_name((gq_rule)r), &w->count[r]);
        kept += w->count[r].kept;
        most += w->count[r].most_kept;
    }
    printf("%zu captions, %zu questions (%.2f each), %zu kept (%.2f each); %zu captions gave none, "
           "%zu were too long; %.2f s\n"
           "who always gives the commonest answer of the template is right in %.1f %%\n",
           w->captions, made, each(made, w->captions), kept, each(kept, w->captions), w->silent,
           w->too_long, seconds, percent(most, kept));
}

gq_status gq_qagen_write(const gq_chunker *chunker, const char *from, const char *to, double share,
                         const char *split, gq_error *err)
{
    writer          w = {.chunker = chunker};
    gq_captions    *c;
    gq_captions_row row;
    double          start = gq_now();
    gq_status       s = gq_captions_open(from, &c, err);

    if (s == GQ_OK)
        s = gq_pairs_new("rules", &w.pairs, err);
    while (s == GQ_OK && (s = gq_captions_next(c, &row, err)) == GQ_OK && row.gif)
        s = gq_cli_stop ? gq_fail(err, GQ_ESTOPPED, "stopped; nothing was written")
            : split && strcmp(split, row.split) != 0 ? GQ_OK
                                                     : ask(&w, &row, err);
    gq_captions_close(c);
    if (s == GQ_OK)
        s = gq_pairs_balance(w.pairs, share, GQ_RULES, w.count, err);
    if (s == GQ_OK)
        s = gq_pairs_write(w.pairs, to, err);
    if (s == GQ_OK)
        print_summary(&w, gq_now() - start);
    gq_pairs_free(w.pairs);
    return s;
}
