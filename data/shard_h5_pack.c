#include "data/shard_h5_pack.h"

enum { MOST = 2, LEVEL = 1 };           /* filters of a list; how hard deflate and zstd try */

static const struct { int n; H5Z_filter_t filter[MOST];
} packs[GQ_H5_PACKS] = {
    [GQ_H5_PLAIN] = {0, {0}},
    [GQ_H5_DEFLATE] = {1, {H5Z_FILTER_DEFLATE}},
    [GQ_H5_SHUFFLE_DEFLATE] = {2, {H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE}},
    [GQ_H5_SHUFFLE_ZSTD] = {2, {H5Z_FILTER_SHUFFLE, GQ_H5_ZSTD}},
    [GQ_H5_DELTA_ZSTD] = {2, {GQ_H5_ROW_DELTA, GQ_H5_ZSTD}},
};

/* libhdf5 has no code for zstd and the row delta: "optional" lets it list them all the same. */
bool gq__h5_set_pack(hid_t list, gq_h5_pack pack, size_t stride)
{
    bool ok = true;
    for (int k = 0; ok && k < packs[pack].n; k++) {
        H5Z_filter_t filter = packs[pack].filter[k];
        unsigned     value = filter == GQ_H5_ROW_DELTA ? (unsigned)stride : LEVEL;
        ok = filter == H5Z_FILTER_SHUFFLE ? H5Pset_shuffle(list) >= 0
             : filter == H5Z_FILTER_DEFLATE
                 ? H5Pset_deflate(list, LEVEL) >= 0
                 : H5Pset_filter(list, filter, H5Z_FLAG_OPTIONAL, 1, &value) >= 0;
    }
    return ok;
}

const char *gq__h5_get_pack(hid_t list, size_t element, size_t stride, gq_h5_pack *pack)
{
    int          n = H5Pget_nfilters(list);
    H5Z_filter_t have[MOST] = {0};
    *pack = GQ_H5_PLAIN;
    if (n < 0 || n > MOST)
        return "has more filters than a shard uses";
    for (int k = 0; k < n; k++) {
        unsigned flags, config, value[1] = {0};
        size_t   values = 1;
        have[k] = H5Pget_filter2(list, (unsigned)k, &flags, &values, value, 0, NULL, &config);
        if ((have[k] == H5Z_FILTER_SHUFFLE && (values != 1 || value[0] != element)) ||
            (have[k] == GQ_H5_ROW_DELTA && (values != 1 || value[0] != stride)))
            return "has a filter with other parameters than a shard's";
    }
    for (int p = 0; p < GQ_H5_PACKS; p++) {
        bool same = packs[p].n == n;
        for (int k = 0; same && k < n; k++)
            same = have[k] == packs[p].filter[k];
        if (same) {
            *pack = (gq_h5_pack)p;
            return NULL;
        }
    }
    return "has a filter other than those of a shard (deflate, shuffle, zstd, row delta)";
}
