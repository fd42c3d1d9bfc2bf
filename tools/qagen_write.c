/* gifqa-qagen CAPTIONS -o TABLE: captions to a table of questions. */
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/qagen/cap.h"
#include "data/qagen/captions.h"
#include "data/qagen/rules.h"
#include "tools/cli.h"
#include "tools/qagen.h"

enum { COLUMNS = 7, BLOCK = 1 << 20 };
static const char *const header[COLUMNS] = {"gif",      "question",  "answer",   "type",
                                            "template", "candidate", "generator"};

typedef struct block { /* texts, which must not move                             */
    struct block *before;
    size_t        used;
    char          text[BLOCK];
} block;

typedef struct made {
    const char *gif, *question, *answer, *candidate; /* in blocks, but for the candidate     */
    gq_rule     rule;
} made;

typedef struct writer {
    const gq_chunker *chunker;
    block            *blocks;
    made             *row; /* [n]                                                    */
    size_t            n, room;
    size_t            captions, silent, too_long;
    gq_cap_count      count[GQ_RULES];
} writer;

static const char *keep_text(writer *w, const char *text)
{
    size_t n = strlen(text) + 1;
    if (!w->blocks || w->blocks->used + n > BLOCK) {
        block *b = gq_malloc(1, sizeof *b);
        if (!b)
            return NULL;
        b->before = w->blocks;
        b->used = 0;
        w->blocks = b;
    }
    char *to = w->blocks->text + w->blocks->used;
    memcpy(to, text, n);
    w->blocks->used += n;
    return to;
}

static gq_status add(writer *w, const char *gif, const gq_generated *g, gq_error *err)
{
    if (w->n == w->room) {
        size_t room = w->room ? 2 * w->room : 4096;
        made  *row = gq_realloc(w->row, room, sizeof *row);
        if (!row)
            return gq_fail(err, GQ_ENOMEM, "no memory for the questions");
        w->row = row;
        w->room = room;
    }
    made m = {gif, keep_text(w, g->question), keep_text(w, g->answer), g->candidate, g->rule};
    if (!m.question || !m.answer)
        return gq_fail(err, GQ_ENOMEM, "no memory for the questions");
    w->row[w->n++] = m;
    return GQ_OK;
}

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
    size_t      n = gq_rules(&c, list, &why);
    const char *gif = n ? keep_text(w, row->gif) : NULL;
    if (n && !gif)
        return gq_fail(err, GQ_ENOMEM, "no memory for the questions");
    w->silent += !n;
    gq_status s = GQ_OK;
    for (size_t k = 0; k < n && s == GQ_OK; k++)
        s = add(w, gif, &list[k], err);
    return s;
}

static gq_status write_table(const writer *w, const bool *keep, const char *path, gq_error *err)
{
    gq_file  *f;
    gq_status s = gq_atomic_open(path, &f, err);
    if (s != GQ_OK)
        return s;
    s = gq_table_put(f, header, COLUMNS, err);
    for (size_t k = 0; k < w->n && s == GQ_OK; k++) {
        const made       *m = &w->row[k];
        const char *const cell[COLUMNS] = {
            m->gif,       m->question, m->answer, gq_rule_type(m->rule), gq_rule_name(m->rule),
            m->candidate, "rules"};
        if (keep[k])
            s = gq_table_put(f, cell, COLUMNS, err);
    }
    if (s == GQ_OK)
        return gq_atomic_commit(f, err);
    gq_atomic_abort(f);
    return s;
}

static gq_status balance(writer *w, double share, bool *keep, gq_error *err)
{
    gq_cap_row *row = gq_malloc(w->n, sizeof *row);
    if (!row)
        return gq_fail(err, GQ_ENOMEM, "no memory to balance the answers");
    for (size_t k = 0; k < w->n; k++)
        row[k] = (gq_cap_row){(uint32_t)w->row[k].rule, w->row[k].answer};
    gq_status s = gq_cap(row, w->n, share, GQ_RULES, keep, w->count, err);
    gq_free(row);
    return s;
}

/* ---- the summary ----------------------------------------------------------------------------- */

static double percent(size_t part, size_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void print_row(const char *name, const gq_cap_count *c)
{
    printf("%-8s %9zu %9zu %9zu %9.1f %% %9.1f %%\n", name, c->made, c->kept, c->answers,
           percent(c->most, c->made), percent(c->most_kept, c->kept));
}

static void print_summary(const writer *w, double seconds)
{
    size_t kept = 0, most = 0;
    printf("%-8s %9s %9s %9s %11s %11s\n", "template", "made", "kept", "answers", "commonest",
           "of kept");
    for (int r = 0; r < GQ_RULES; r++) {
        if (w->count[r].made)
            print_row(gq_rule_name((gq_rule)r), &w->count[r]);
        kept += w->count[r].kept;
        most += w->count[r].most_kept;
    }
    printf(
        "%zu captions, %zu questions (%.2f each), %zu kept; %zu captions gave none, %zu were too "
        "long; %.2f s\n"
        "who always gives the commonest answer of the template is right in %.1f %%\n",
        w->captions, w->n, w->captions ? (double)w->n / (double)w->captions : 0.0, kept, w->silent,
        w->too_long, seconds, percent(most, kept));
}

gq_status gq_qagen_write(const gq_chunker *chunker, const char *from, const char *to, double share,
                         const char *split, gq_error *err)
{
    writer          w = {.chunker = chunker};
    bool           *keep = NULL;
    gq_captions    *c;
    gq_captions_row row;
    double          start = gq_now();
    gq_status       s = gq_captions_open(from, &c, err);

    while (s == GQ_OK && (s = gq_captions_next(c, &row, err)) == GQ_OK && row.gif)
        s = gq_cli_stop ? gq_fail(err, GQ_ESTOPPED, "stopped; nothing was written")
            : split && strcmp(split, row.split) != 0 ? GQ_OK
                                                     : ask(&w, &row, err);
    gq_captions_close(c);
    if (s == GQ_OK && !(keep = gq_calloc(w.n + 1, sizeof *keep)))
        s = gq_fail(err, GQ_ENOMEM, "no memory to balance the answers");
    if (s == GQ_OK)
        s = balance(&w, share, keep, err);
    if (s == GQ_OK)
        s = write_table(&w, keep, to, err);
    if (s == GQ_OK)
        print_summary(&w, gq_now() - start);
    for (block *b = w.blocks, *before; b; b = before) {
        before = b->before;
        gq_free(b);
    }
    gq_free(w.row);
    gq_free(keep);
    return s;
}
