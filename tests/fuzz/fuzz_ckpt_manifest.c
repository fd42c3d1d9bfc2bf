/* fuzz_ckpt_manifest.c - any bytes as the manifest of a checkpoint: first as they are, then with
 * the checksum that the reader wants, so that what is behind it is reached. What is accepted is
 * written again and read back the same. */
#include "fuzz.h"

#include <sys/stat.h>

#include "core/io.h"
#include "train/manifest.h"

enum { LIMIT = 60 << 10 };

static void put_manifest(const void *data, size_t size)
{
    fz_put("in/" GQ_CKPT_MANIFEST, data, size);
}

static bool same(const gq_ckpt_manifest *a, const gq_ckpt_manifest *b)
{
    bool same = a->step == b->step && a->count == b->count && a->bytes == b->bytes;
    for (int i = 0; same && i < a->count; i++)
        same = !strcmp(a->file[i].name, b->file[i].name) && a->file[i].bytes == b->file[i].bytes &&
               !memcmp(a->file[i].sha256, b->file[i].sha256, 32);
    return same;
}

static void check(const gq_ckpt_manifest *m)
{
    gq_ckpt_manifest back;
    gq_error         err = {0};
    uint64_t         sum = 0;
    must(m->step != GQ_CKPT_NONE && m->count >= 0 && m->count <= GQ_CKPT_FILES_MAX, "%d", m->count);
    for (int i = 0; i < m->count; i++) {
        const char *name = m->file[i].name;
        must(name[0] && name[0] != '.' && !strchr(name, '/'), "a file '%s'", name);
        must(!i || strcmp(m->file[i - 1].name, name) < 0, "'%s' out of order", name);
        sum += m->file[i].bytes;
    }
    must(sum == m->bytes, "sizes");
    must(gq_manifest_write(fz_path("out"), m, &err) == GQ_OK, "%s", err.text);
    must(gq_ckpt_manifest_read(fz_path("out"), &back, &err) == GQ_OK, "%s", err.text);
    must(same(m, &back), "written otherwise");
}

static void read_it(void)
{
    static gq_ckpt_manifest m;
    gq_error                err = {0};
    gq_status               s = gq_ckpt_manifest_read(fz_path("in"), &m, &err);
    if (s != GQ_OK) {
        must(s == GQ_EINPUT || s == GQ_EWEIGHTS, "%s", err.text);
        must(err.text[0], "no reason");
        return;
    }
    check(&m);
    if (m.count)                             /* nothing of what it names is there                 */
        fz_refused(gq_ckpt_verify(fz_path("in"), NULL, &err), &err, GQ_EWEIGHTS);
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
    put_manifest(data, size);
    read_it();
    if (size)
        memcpy(text, data, size);
    gq_sha256(text, size, hash);
    gq_hex(hash, 32, hex);
    size += (size_t)sprintf(text + size, "\"manifest_sha256\": \"%s\"}\n", hex);
    put_manifest(text, size);
    read_it();
    return 0;
}
