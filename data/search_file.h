/* search_file.h - what writer and reader of an index (data/search.h) both know. Private to them. */
#ifndef GIFQA_DATA_SEARCH_FILE_H
#define GIFQA_DATA_SEARCH_FILE_H

#include "data/search.h"

#define GQ_SEARCH_MAGIC "GQFRAMES"

enum { GQ_SEARCH_HEAD = 64, GQ_SEARCH_TAIL = 64, GQ_SEARCH_VERSION = 1, GQ_SEARCH_LANES = 32 };

typedef struct gq_search_head {
    char     magic[8];
    uint32_t version, bf16, dim, group;
    uint8_t  tower[GQ_SEARCH_TOWER], zero[24];
} gq_search_head;

typedef struct gq_search_tail {
    uint64_t gifs, rows, blocks, name_bytes;
    uint8_t  sum[16];
    char     magic[8];
    uint8_t  zero[8];
} gq_search_tail;

_Static_assert(sizeof(gq_search_head) == GQ_SEARCH_HEAD, "the head has no gaps");
_Static_assert(sizeof(gq_search_tail) == GQ_SEARCH_TAIL, "the tail has no gaps");

static inline int64_t gq_search_stride(int64_t dim)
{
    return (dim + GQ_SEARCH_LANES - 1) / GQ_SEARCH_LANES * GQ_SEARCH_LANES;
}

/* Hash of head, tables, names, and the counts of the tail: each part's hash, hashed again. */
void gq__search_sum(const gq_search_head *head, const void *const part[5], const size_t bytes[5],
                    const gq_search_tail *tail, uint8_t sum[16]);

#endif
