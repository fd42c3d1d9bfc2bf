/* table.h - tables of questions: TSV, CSV or JSONL with gif, question, answer and, if they like,
 * type. Other tables are read by naming their columns, and written as TSV.
 *
 * The first line of TSV and CSV names the columns, in any order, with any others between (gif_name
 * is read as gif); JSONL has one object a line with these keys. The file's ending decides (.tsv
 * .txt .csv .jsonl .ndjson, each also with .gz). UTF-8 with or without BOM, LF or CRLF.
 *   CSV    RFC 4180: quoted fields may hold commas, newlines and doubled quotes
 *   TSV    a field in quotes from tab to tab is unquoted likewise, but ends with its line; other
 *          quotes are text
 *
 * Invariants: rows come in file order with the number of the line where they begin. A bad row -
 * wrong number of fields, empty or too long, no UTF-8, a NUL - is given to the callback with its
 * reason and skipped; a file that cannot be read at all, or has no usable header, is an error.
 * Texts lose white space at both ends.
 */
#ifndef GIFQA_DATA_TABLE_H
#define GIFQA_DATA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/io.h"

enum {
    GQ_TABLE_LINE     = 1 << 20,        /* bytes of one row                                       */
    GQ_TABLE_QUESTION = 4096,           /* bytes                                                  */
    GQ_TABLE_ANSWER   = 1024,
    GQ_TABLE_GIF      = 1024,
    GQ_TABLE_TYPE     = 31,
};

typedef struct gq_row {
    uint64_t    line;                   /* 1-based                                                */
    const char *gif, *question, *answer;     /* valid until the next call; gif NULL: no more rows */
    const char *type;                   /* "" when the table has none                             */
    const char *description;            /* NULL: not read                                         */
} gq_row;

/* Something other than GQ_OK stops reading with that status (the callback fills err). */
typedef gq_status (*gq_bad_row_fn)(void *ctx, uint64_t line, const char *reason, gq_error *err);

typedef struct gq_table gq_table;

gq_status gq_table_open(const char *path, gq_bad_row_fn bad, void *ctx, gq_table **out,
                        gq_error *err);
/* With column description, which must be there and, like a question, is never empty. */
gq_status gq_table_open_described(const char *path, gq_bad_row_fn bad, void *ctx, gq_table **out,
                                  gq_error *err);
void      gq_table_close(gq_table *t);                       /* NULL allowed                      */
gq_status gq_table_next(gq_table *t, gq_row *row, gq_error *err);
/* SHA-256 of the table as read (unpacked): what a build is made from. */
void      gq_table_hash(const gq_table *t, uint8_t out[32]);

/* A small table to start from. */
extern const char gq_table_example[];

/* ---- other tables ---------------------------------------------------------------------------- */

enum { GQ_TABLE_COLUMNS = 16 };

typedef struct gq_table_column {
    const char *name, *also;            /* in the header; also: another name, NULL none           */
    size_t      limit;                  /* bytes                                                  */
    bool        optional;               /* may be absent, and empty                               */
} gq_table_column;

typedef struct gq_table_form {
    const gq_table_column *columns;     /* [n], static; n at most GQ_TABLE_COLUMNS                */
    int                    n;
    bool                   tabs;        /* tabs separate, whatever the file is called             */
    bool                   headless;    /* no header: the fields are the columns in their order   */
    bool                   plain;       /* quotes are text                                        */
} gq_table_form;

gq_status gq_table_open_form(const char *path, const gq_table_form *form, gq_bad_row_fn bad,
                             void *ctx, gq_table **out, gq_error *err);
/* cell: [n], "" for what is absent, valid until the next call; cell[0] NULL: no more rows. */
gq_status gq_table_fields(gq_table *t, uint64_t *line, const char **cell, gq_error *err);

/* One TSV row, which reads back as it was but for white space at the ends of texts; GQ_EINPUT for a
 * text with a newline, which TSV has no place for. */
gq_status gq_table_put(gq_file *f, const char *const *cell, int n, gq_error *err);

#endif
