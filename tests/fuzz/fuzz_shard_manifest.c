/* fuzz_shard_manifest.c - any bytes as the manifest of a dataset: as they are, and with the
 * checksum of themselves at their end that a manifest may have. What is accepted names nothing
 * but shards of this directory, and is written and read back the same. */
#include "fuzz.h"

#include <sys/stat.h>

#include "core/io.h"
#include "data/shard.h"

enum { LIMIT = 60 << 10 };

static bool same_entry(const gq_shard_entry *a, const gq_shard_entry *b)
{
    bool same = !strcmp(a->file, b->file) && !strcmp(a->sha256, b->sha256) &&
                a->bytes == b->bytes && a->gifs == b->gifs && a->questions == b->questions &&
                a->next == b->next && a->rejects == b->rejects &&
                a->cut_questions == b->cut_questions && a->cut_answers == b->cut_answers &&
                a->rejects_bytes == b->rejects_bytes && a->structure == b->structure &&
                a->extents == b->extents;
    for (int32_t k = 0; same && k < a->extents; k++)
        same = a->extent[k].at == b->extent[k].at && a->extent[k].bytes == b->extent[k].bytes;
    return same;
}

static void check_entry(const gq_shard_entry *e, int k)
{
    char name[32];
    snprintf(name, sizeof name, "shard-%05d.h5", k);
    must(!strcmp(e->file, name) && strlen(e->sha256) == 64 && e->bytes && e->gifs, "%s", e->file);
    must(e->extents > 0 && e->extents <= GQ_SHARD_EXTENTS, "%d extents", e->extents);
    for (int32_t x = 0; x < e->extents; x++)
        must(e->extent[x].bytes && e->extent[x].at <= e->bytes &&
                 e->extent[x].bytes <= e->bytes - e->extent[x].at,
             "extent %d", x);
}

static void read_it(const void *data, size_t size)
{
    gq_manifest m, back;
    gq_dataset *d;
    gq_error    err = {0};

    fz_put("in/MANIFEST.json", data, size);
    gq_status s = gq_manifest_load(fz_path("in"), &m, &err);
    if (s != GQ_OK) {
        must(!m.shard && !m.count, "a list in spite of '%s'", err.text);
        fz_refused(s, &err, GQ_EINPUT);
        return;
    }
    must(!memchr(data, 0, size), "a NUL in JSON is accepted");
    for (int k = 0; k < m.count; k++)
        check_entry(&m.shard[k], k);
    must(gq_manifest_save(fz_path("out"), &m, &err) == GQ_OK, "%s", err.text);
    must(gq_manifest_load(fz_path("out"), &back, &err) == GQ_OK, "%s", err.text);
    must(m.count == back.count && m.complete == back.complete && !strcmp(m.build, back.build),
         "%d shards, %d", m.count, back.count);
    for (int k = 0; k < m.count; k++)
        must(same_entry(&m.shard[k], &back.shard[k]), "shard %d is written otherwise", k);
    fz_refused(gq_dataset_open(fz_path("in"), &d, &err), &err, GQ_EINPUT);   /* no shard is there */
    gq_manifest_free(&m);
    gq_manifest_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[LIMIT + 256];
    uint8_t     hash[32];
    char        hex[65];

    if (size > LIMIT)
        return 0;
    mkdir(fz_path("in"), 0700);
    mkdir(fz_path("out"), 0700);
    read_it(data, size);
    while (size && strchr(" \t\r\n", data[size - 1]) && data[size - 1])
        size--;
    if (!size || data[size - 1] != '}')
        return 0;
    memcpy(text, data, --size);
    gq_sha256(text, size, hash);
    gq_hex(hash, 32, hex);
    size += (size_t)sprintf(text + size, ",\n \"seal\": \"%s\"\n}\n", hex);
    read_it(text, size);
    return 0;
}
