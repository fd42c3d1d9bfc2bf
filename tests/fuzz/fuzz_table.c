/* fuzz_table.c - any bytes as a table of questions: the first byte chooses TSV, CSV or JSONL. Rows
 * keep their promises, and written again in each of the formats they come back the same. */
#include "fuzz.h"

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "data/table.h"
#include "data/unicode.h"

enum { ROWS = 64, CELLS = 4 };
static const char *const ending[] = {"t.tsv", "t.csv", "t.jsonl"};
static const char *const column[CELLS] = {"gif", "question", "answer", "type"};

typedef struct rows {
    size_t   n, bad;
    uint64_t line;                      /* of the last one, good or bad                           */
    char    *cell[ROWS][CELLS];         /* owned                                                  */
    bool     full;                      /* more than fit                                          */
} rows;

static gq_status on_bad(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    rows *r = ctx;
    (void)err;
    must(line > r->line && reason && reason[0], "line %llu after %llu", (unsigned long long)line,
         (unsigned long long)r->line);
    r->line = line;
    r->bad++;
    return GQ_OK;
}

static void check_cell(const char *text, int c)
{
    static const size_t limit[CELLS] = {GQ_TABLE_GIF, GQ_TABLE_QUESTION, GQ_TABLE_ANSWER,
                                        GQ_TABLE_TYPE};
    size_t              n = strlen(text);
    must(n <= limit[c] && (n || c == 3), "%s of %zu bytes", column[c], n);
    must(gq_utf8_valid(text, n), "%s is not UTF-8", column[c]);
    must(!n || (!strchr(" \t\r\n", text[0]) && !strchr(" \t\r\n", text[n - 1])), "'%s'", text);
}

static void take(rows *r, const gq_row *row)
{
    const char *cell[CELLS] = {row->gif, row->question, row->answer, row->type};
    must(row->line > r->line, "line %llu after %llu", (unsigned long long)row->line,
         (unsigned long long)r->line);
    r->line = row->line;
    for (int c = 0; c < CELLS; c++)
        check_cell(cell[c], c);
    r->full = r->full || r->n == ROWS;
    if (r->full)
        return;
    for (int c = 0; c < CELLS; c++)
        must((r->cell[r->n][c] = gq_strdup(cell[c])), "memory");
    r->n++;
}

static bool read_rows(const char *path, rows *r)
{
    gq_table *t;
    gq_row    row;
    gq_error  err = {0};
    gq_status s = gq_table_open(path, on_bad, r, &t, &err);
    if (s != GQ_OK) {
        must(!t, "open in spite of '%s'", err.text);
        fz_refused(s, &err, GQ_EINPUT);
        return false;
    }
    while (gq_table_next(t, &row, &err) == GQ_OK && row.gif)
        take(r, &row);
    must(!err.code, "%s", err.text);
    must(gq_table_next(t, &row, &err) == GQ_OK && !row.gif, "a row behind the end");
    gq_table_close(t);
    return true;
}

static void free_rows(rows *r)
{
    for (size_t i = 0; i < r->n; i++)
        for (int c = 0; c < CELLS; c++)
            gq_free(r->cell[i][c]);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_quoted(FILE *f, const char *text)
{
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static void put_cell(FILE *f, int format, int c, const char *text)
{
    char quoted[6 * GQ_TABLE_QUESTION + 3];
    if (format < 2) {
        if (c)
            fputc(format ? ',' : '\t', f);
        put_quoted(f, text);
        return;
    }
    gq_json_quote(text, quoted, sizeof quoted);
    fprintf(f, "%s\"%s\": %s%s", c ? ", " : "{", column[c], quoted, c == CELLS - 1 ? "}" : "");
}

static bool has_newline(char *const cell[CELLS])
{
    for (int c = 0; c < CELLS; c++)
        if (strchr(cell[c], '\n'))
            return true;
    return false;
}

static void check_format(const rows *r, int format)
{
    char  *text = NULL;
    size_t size = 0, kept = 0;
    rows   back = {0};
    FILE  *f = open_memstream(&text, &size);
    must(f, "memory");
    if (format < 2)
        fprintf(f, format ? "gif,question,answer,type\r\n" : "gif\tquestion\tanswer\ttype\n");
    for (size_t i = 0; i < r->n; i++) {
        if (format == 0 && has_newline(r->cell[i]))      /* TSV rows end with their line */
            continue;
        for (int c = 0; c < CELLS; c++)
            put_cell(f, format, c, r->cell[i][c]);
        fputs(format == 1 ? "\r\n" : "\n", f);
    }
    must(fclose(f) == 0, "memory");
    must(read_rows(fz_put(ending[format], text, size), &back), "refused: %s", text);
    must(!back.bad, "bad rows in %s", text);
    for (size_t i = 0; i < r->n; i++) {
        if (format == 0 && has_newline(r->cell[i]))
            continue;
        for (int c = 0; c < CELLS; c++)
            must(kept < back.n && !strcmp(back.cell[kept][c], r->cell[i][c]), "row %zu of %s", i,
                 text);
        kept++;
    }
    must(kept == back.n, "%zu rows, %zu", kept, back.n);
    free_rows(&back);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rows r = {0};
    if (!size)
        return 0;
    if (read_rows(fz_put(ending[data[0] % 3], data + 1, size - 1), &r))
        for (int format = 0; format < 3 && r.n; format++)
            check_format(&r, format);
    free_rows(&r);
    return 0;
}
