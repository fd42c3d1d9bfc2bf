/* table.h - tables of questions: TSV, CSV or JSONL with gif, question, answer and, if they like,
 * type.
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

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

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
} gq_row;

/* Something other than GQ_OK stops reading with that status (the callback fills err). */
typedef gq_status (*gq_bad_row_fn)(void *ctx, uint64_t line, const char *reason, gq_error *err);

typedef struct gq_table gq_table;

gq_status gq_table_open(const char *path, gq_bad_row_fn bad, void *ctx, gq_table **out,
                        gq_error *err);
void      gq_table_close(gq_table *t);                       /* NULL allowed                      */
gq_status gq_table_next(gq_table *t, gq_row *row, gq_error *err);
/* SHA-256 of the table as read (unpacked): what a build is made from. */
void      gq_table_hash(const gq_table *t, uint8_t out[32]);

/* A small table to start from. */
extern const char gq_table_example[];

#endif
