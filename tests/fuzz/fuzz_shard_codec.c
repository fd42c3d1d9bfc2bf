/* fuzz_shard_codec.c - any bytes as a packed row: the first says which filters, the second how long
 * a row is. Nothing is written beyond the row; what can be unpacked, packed again gives the same. */
#include "fuzz.h"

#include "core/mem.h"
#include "data/shard_codec.h"

enum { HEAD = 2, GUARD = 16 };

static void check_again(const gq_row_form *f, const uint8_t *row, gq_packer *out, uint8_t *back)
{
    gq_packer  *in;
    const void *stored;
    size_t      n;
    gq_error    err = {0};
    must(gq__packer_new(&f, 1, true, &in, &err) == GQ_OK, "%s", err.text);
    must(gq__pack(in, f, row, &stored, &n, "row", &err) == GQ_OK, "%s", err.text);
    must(n >= 1 && n <= gq__codec_bound(f), "%zu bytes", n);
    must(!gq__unpack(out, f, stored, n, back), "what was packed is refused");
    must(!memcmp(row, back, f->bytes), "another row came back");
    gq__packer_free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_packer *p;
    gq_error   err = {0};
    if (size < HEAD)
        return 0;
    gq_h5_pack  pack = GQ_H5_DEFLATE + data[0] % (GQ_H5_PACKS - GQ_H5_DEFLATE);
    size_t      element = data[0] & 128 ? 2 : 4;
    gq_row_form f = {pack, (1u + data[1]) * element, element, 1u + data[1] / 7};
    const gq_row_form *one = &f;
    if (pack >= GQ_H5_SHUFFLE_ZSTD && gq_shard_codec_lack(GQ_CODEC_DELTA_ZSTD))
        return 0;
    uint8_t *row = gq_malloc(f.bytes + GUARD, 1), *back = gq_malloc(f.bytes, 1);
    must(row && back, "memory");
    must(gq__packer_new(&one, 1, false, &p, &err) == GQ_OK, "%s", err.text);
    memset(row + f.bytes, 0xA5, GUARD);
    const char *why = gq__unpack(p, &f, data + HEAD, size - HEAD, row);
    must(!why || *why, "no reason");
    for (int i = 0; i < GUARD; i++)
        must(row[f.bytes + (size_t)i] == 0xA5, "written beyond the row");
    if (!why)
        check_again(&f, row, p, back);
    gq__packer_free(p);
    gq_free(row);
    gq_free(back);
    return 0;
}
