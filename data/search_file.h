/* search_file.h - what writer and reader of an index (data/search.h) both know. Private to them. */
#ifndef GIFQA_DATA_SEARCH_FILE_H
#define GIFQA_DATA_SEARCH_FILE_H

#include "core/io.h"
#include "data/search.h"

#define GQ_SEARCH_MAGIC "GQFRAMES"

enum { GQ_SEARCH_HEAD = 64, GQ_SEARCH_TAIL = 128, GQ_SEARCH_VERSION = 2, GQ_SEARCH_LANES = 32 };

/* The tables behind the rows, in their order. */
typedef enum gq_search_table {
    GQ_SEARCH_ROW,                      /* [gifs + 1] the first row of each GIF, then rows */
    GQ_SEARCH_NAME,                     /* [gifs + 1] where its name begins, then bytes of names */
    GQ_SEARCH_GIF,                      /* [blocks + 1] the first GIF of each block, then gifs */
    GQ_SEARCH_SUM,                      /* [blocks] hash of the upper halves of its rows */
    GQ_SEARCH_LOW,                      /* [blocks] of the lower halves; bfloat16: [0] */
    GQ_SEARCH_SLACK,                    /* [blocks] double: largest length of what the upper halves
                                         * of a row lack; bfloat16: [0] */
    GQ_SEARCH_TABLES,
} gq_search_table;

typedef struct gq_search_head {
    char     magic[8];
    uint32_t version, bf16, dim, group;
    uint8_t  tower[GQ_SEARCH_TOWER], zero[24];
} gq_search_head;

typedef struct gq_search_tail {
    uint64_t gifs, rows, blocks, name_bytes;
    uint64_t head, table[GQ_SEARCH_TABLES], names;   /* hashes of these parts */
    uint64_t sum;                       /* hash of what stands before it in the tail */
    char     magic[8];
    uint8_t  zero[16];
} gq_search_tail;

_Static_assert(sizeof(gq_search_head) == GQ_SEARCH_HEAD, "the head has no gaps");
_Static_assert(sizeof(gq_search_tail) == GQ_SEARCH_TAIL, "the tail has no gaps");

static inline int64_t gq_search_stride(int64_t dim)
{
    return (dim + GQ_SEARCH_LANES - 1) / GQ_SEARCH_LANES * GQ_SEARCH_LANES;
}

static inline uint64_t gq_search_tail_sum(const gq_search_tail *t)
{
    return gq_xxh64(t, offsetof(gq_search_tail, sum));
}

/* An opened index. A block of n rows lies at row * planes * stride * 2 of `rows`: its upper halves
 * [n, stride], then, with two planes, its lower halves [n, stride]. */
struct gq_search {
    gq_map          map;
    char           *path;
    gq_search_info  info;
    int64_t         stride, blocks;
    int64_t         planes;             /* 2: float, 1: bfloat16 */
    const uint8_t  *rows;
    const uint64_t *table[GQ_SEARCH_TABLES];
    const char     *names;
    uint64_t       *tables;             /* all of them, aligned */
    size_t          tables_at;          /* byte of the file where they begin */
    float          *squared;            /* [rows] scratch of a search */
};

#endif
