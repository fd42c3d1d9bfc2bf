/* scan FILE GIFS f32|bf16: makes FILE, unless it is there, an index of GIFS x 41 random unit
 * vectors of 512 numbers; then the 10 nearest to a random vector, 7 times; prints the fastest time,
 * the query, rows and distances. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "data/search.h"

enum { FRAMES = 41, DIM = 512, K = 10, TIMES = 7 };

static uint64_t state = 1;
static float    dice(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) / 2147483648.0f;
}

static gq_status make(const char *path, long gifs, bool bf16, gq_error *err)
{
    static float      frames[FRAMES][DIM];
    gq_search_opts    o = {.dim = DIM, .group = 1, .bf16 = bf16};
    gq_search_writer *w;
    char              name[32];
    gq_status         s = gq_search_create(path, &o, &w, err);

    for (long g = 0; s == GQ_OK && g < gifs; g++) {
        for (int i = 0; i < FRAMES * DIM; i++)
            frames[i / DIM][i % DIM] = dice();
        snprintf(name, sizeof name, "%ld.gif", g);
        s = gq_search_add(w, name, frames[0], FRAMES, err);
    }
    return s == GQ_OK ? gq_search_finish(w, err) : s;
}

int main(int argc, char **argv)
{
    gq_error      err = {0};
    gq_search    *x = NULL;
    gq_pool      *pool = NULL;
    gq_search_hit hit[K];
    float         query[DIM];
    double        best = 1e9;
    int64_t       n = 0;
    gq_status     s;

    if (argc != 4)
        return 2;
    s = gq_is_file(argv[1]) ? GQ_OK : make(argv[1], atol(argv[2]), !strcmp(argv[3], "bf16"), &err);
    if (s == GQ_OK)
        s = gq_search_open(argv[1], &x, &err);
    if (s == GQ_OK)
        s = gq_pool_new(gq_cpu_count(), &pool, &err);
    state = 2; /* whether the file was made or there */
    for (int d = 0; d < DIM; d++)
        query[d] = dice();
    for (int i = 0; s == GQ_OK && i < TIMES; i++) {
        double start = gq_now(), t;
        s = gq_search_find(x, pool, query, K, FRAMES, hit, &n, &err);
        t = gq_now() - start;
        fprintf(stderr, "%s %.3f s\n", argv[3], t);
        best = t < best ? t : best;
    }
    if (s != GQ_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("seconds %.4f threads %d\nquery", best, gq_pool_size(pool));
    for (int d = 0; d < DIM; d++)
        printf(" %.9g", (double)query[d]);
    printf("\nhits");
    for (int64_t i = 0; i < n; i++)
        printf(" %lld:%.9g", (long long)hit[i].row, hit[i].distance);
    putchar('\n');
    gq_pool_free(pool);
    gq_search_close(x);
    return 0;
}
