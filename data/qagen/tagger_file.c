#include "data/qagen/tagger_private.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/qagen/wordnet.h"

enum { MAGIC = 8, VERSION = 1, HEADER = MAGIC + 6 * 4, DIGEST = 16, ROW = 8, WEIGHT = 3 };
static const char   magic[MAGIC + 1] = "GQTAGGER";
static const size_t max_file = (size_t)1 << 28;

static void put32(uint8_t *p, uint32_t x)
{
    for (int k = 0; k < 4; k++)
        p[k] = (uint8_t)(x >> 8 * k);
}

static uint32_t get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct reading {
    const char    *path;
    const uint8_t *names, *rows, *values, *tags; /* parts of the file                          */
    uint32_t       names_size;
} reading;

#define DAMAGED(r, err, what) gq_fail(err, GQ_EWEIGHTS, "%s: not a whole tagger: " what, (r)->path)

/* Header, sizes and checksum; afterwards the parts lie inside of the file. */
static gq_status read_header(reading *r, const uint8_t *p, size_t bytes, gq_tagger *t,
                             gq_error *err)
{
    uint8_t digest[DIGEST];
    if (bytes < HEADER + DIGEST || memcmp(p, magic, MAGIC) != 0)
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s: not a tagger; gifqa-qagen train-tagger makes one from a treebank",
                       r->path);
    if (get32(p + 8) != VERSION)
        return gq_fail(err, GQ_EWEIGHTS, "%s: a tagger of version %u, this gifqa reads version %d",
                       r->path, get32(p + 8), VERSION);
    gq_xxh128(p, bytes - DIGEST, digest);
    if (memcmp(digest, p + bytes - DIGEST, DIGEST) != 0)
        return DAMAGED(r, err, "the checksum differs");
    t->wordnet = get32(p + 12) & 1;
    t->rows = get32(p + 20);
    t->weights = get32(p + 24);
    r->names_size = get32(p + 28);
    uint64_t need = HEADER + (uint64_t)r->names_size + (uint64_t)t->rows * ROW +
                    (uint64_t)t->weights * WEIGHT + DIGEST;
    if (get32(p + 12) > 1 || get32(p + 16) < 1 || get32(p + 16) > GQ_TAGS || need != bytes)
        return DAMAGED(r, err, "its sizes do not fit");
    t->tags = (int)get32(p + 16);
    r->names = p + HEADER;
    r->rows = r->names + r->names_size;
    r->values = r->rows + (size_t)t->rows * ROW;
    r->tags = r->values + (size_t)t->weights * 2;
    return GQ_OK;
}

static gq_status read_names(const reading *r, gq_tagger *t, gq_error *err)
{
    const uint8_t *p = r->names, *end = p + r->names_size;
    for (int k = 0; k < t->tags; k++) {
        const uint8_t *nul = memchr(p, 0, (size_t)(end - p));
        if (!nul || nul == p || nul - p > GQ_TAG_NAME)
            return DAMAGED(r, err, "the name of a tag");
        memcpy(t->name[k], p, (size_t)(nul - p) + 1);
        if (gq_tagger_tag(t, t->name[k]) != k)
            return DAMAGED(r, err, "a tag is there twice");
        p = nul + 1;
    }
    return p == end ? GQ_OK : DAMAGED(r, err, "more names than tags");
}

static gq_status read_rows(const reading *r, gq_tagger *t, gq_error *err)
{
    t->row = gq_malloc(t->rows, sizeof *t->row);
    t->weight = gq_malloc(t->weights, sizeof *t->weight);
    if (!t->row || !t->weight)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for the tagger", r->path);
    for (uint32_t k = 0; k < t->rows; k++) {
        t->row[k] = (gq__tag_row){get32(r->rows + k * ROW), get32(r->rows + k * ROW + 4)};
        if (t->row[k].end > t->weights || t->row[k].end <= (k ? t->row[k - 1].end : 0) ||
            (k && t->row[k].hash <= t->row[k - 1].hash))
            return DAMAGED(r, err, "features out of order");
    }
    if ((t->rows ? t->row[t->rows - 1].end : 0) != t->weights)
        return DAMAGED(r, err, "weights without a feature");
    for (uint32_t k = 0; k < t->weights; k++) {
        uint16_t value = (uint16_t)(r->values[2 * k] | r->values[2 * k + 1] << 8);
        t->weight[k] = (gq__tag_weight){(int16_t)value, r->tags[k]};
        if (r->tags[k] >= t->tags)
            return DAMAGED(r, err, "a weight of no tag");
    }
    return GQ_OK;
}

gq_status gq_tagger_read(const void *data, size_t bytes, const char *name, gq_tagger **out,
                         gq_error *err)
{
    gq_tagger *t = gq_calloc(1, sizeof *t);
    reading    r = {.path = name};
    gq_status  s = t ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for the tagger", name);
    *out = NULL;
    if (s == GQ_OK)
        s = read_header(&r, data, bytes, t, err);
    if (s == GQ_OK && t->wordnet && !gq_wordnet_present())
        s = gq_fail(err, GQ_EWEIGHTS,
                    "%s: this tagger needs WordNet, and gifqa was built without it (Debian: "
                    "wordnet-base)",
                    name);
    if (s == GQ_OK)
        s = read_names(&r, t, err);
    if (s == GQ_OK)
        s = read_rows(&r, t, err);
    if (s == GQ_OK)
        s = gq__tagger_index(t, err);
    if (s == GQ_OK)
        *out = t;
    else
        gq_tagger_free(t);
    return s;
}

gq_status gq_tagger_load(const char *path, gq_tagger **out, gq_error *err)
{
    gq_bytes  b;
    gq_status s;
    *out = NULL;
    if (!gq_is_file(path))
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s: there is no such file; it should be a tagger as "
                       "gifqa-qagen train-tagger makes them",
                       path);
    s = gq_read_file(path, max_file, &b, err);
    if (s != GQ_OK)
        return s;
    s = gq_tagger_read(b.data, b.size, path, out, err);
    gq_bytes_free(&b);
    return s;
}

/* ---- writing --------------------------------------------------------------------------------- */

gq_status gq_tagger_save(const gq_tagger *t, const char *path, gq_error *err)
{
    size_t names = 0;
    for (int k = 0; k < t->tags; k++)
        names += strlen(t->name[k]) + 1;
    size_t   bytes = HEADER + names + (size_t)t->rows * ROW + (size_t)t->weights * WEIGHT + DIGEST;
    uint8_t *data = gq_calloc(bytes, 1), *p = data;
    if (!data)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    const uint32_t head[] = {VERSION, t->wordnet, (uint32_t)t->tags,
                             t->rows, t->weights, (uint32_t)names};
    memcpy(p, magic, MAGIC);
    for (int k = 0; k < 6; k++)
        put32(p + MAGIC + 4 * k, head[k]);
    p += HEADER;
    for (int k = 0; k < t->tags; k++, p += strlen((char *)p) + 1)
        strcpy((char *)p, t->name[k]);
    for (uint32_t k = 0; k < t->rows; k++, p += ROW) {
        put32(p, t->row[k].hash);
        put32(p + 4, t->row[k].end);
    }
    for (uint32_t k = 0; k < t->weights; k++, p += 2) {
        p[0] = (uint8_t)t->weight[k].value;
        p[1] = (uint8_t)((uint16_t)t->weight[k].value >> 8);
    }
    for (uint32_t k = 0; k < t->weights; k++)
        *p++ = (uint8_t)t->weight[k].tag;
    gq_xxh128(data, bytes - DIGEST, p);
    gq_status s = gq_write_file(path, data, bytes, err);
    gq_free(data);
    return s;
}
