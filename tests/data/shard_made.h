/* shard_made.h - a small dataset of known content, for the tests of shards. */
#ifndef GIFQA_TESTS_DATA_SHARD_MADE_H
#define GIFQA_TESTS_DATA_SHARD_MADE_H

#include "support.h"

#include "core/io.h"
#include "core/philox.h"
#include "data/shard.h"

enum { T = 3, S = 5, N = 2, D = 7, GIFS = 40 };

static inline gq_shard_meta meta_of(bool frames, bool tokens, bool bf16, gq_shard_codec codec)
{
    gq_shard_meta m = {.keyframes = T,
                       .size = frames ? S : 0,
                       .tokens = tokens ? N : 0,
                       .width = tokens ? D : 0,
                       .bf16 = bf16,
                       .codec = codec,
                       .seed = 77,
                       .sampler = "uniform",
                       .tokenizer = "words"};
    gq_shard_type_add(&m, "colour");
    gq_shard_type_add(&m, "direction");
    return m;
}

static inline uint8_t pixel(int gif, int k)
{
    return (uint8_t)(gq_philox_at(1, (uint64_t)k, GQ_RNG_TEST, (uint32_t)gif) % 7);
}

/* Exact in bfloat16 too: 8 significant bits. */
static inline float feature(int gif, int k)
{
    return (float)((int)(gq_philox_at(2, (uint64_t)k, GQ_RNG_TEST, (uint32_t)gif) % 255) - 127) /
           32;
}

static inline gq_status add(gq_shard_writer *w, const gq_shard_meta *m, int g, gq_error *err)
{
    uint8_t      frames[T * S * S * 3];
    float        tokens[T * N * D];
    int32_t      idx[T] = {0, g + 1, g + 1}, ids[2] = {g, g + 1}, at;
    uint16_t     delay[T] = {(uint16_t)g, 65535, 7};
    char         name[32], question[48];
    gq_shard_gif gif = {.name = name,
                        .n_frames = g + 2,
                        .width = (uint16_t)(g + 1),
                        .height = 9,
                        .flags = (uint32_t)g,
                        .frame_idx = idx,
                        .delay_cs = delay};
    gq_status    s;
    snprintf(name, sizeof name, "gif-%d.gif", g);
    gq_sha256(name, strlen(name), gif.sha256);
    for (int k = 0; k < T * S * S * 3; k++)
        frames[k] = pixel(g, k);
    for (int k = 0; k < T * N * D; k++)
        tokens[k] = feature(g, k);
    if ((s = gq_shard_add_gif(w, &gif, m->size ? frames : NULL, m->tokens ? tokens : NULL, &at,
                              err)) != GQ_OK)
        return s;
    for (int q = 0; s == GQ_OK && q < g % 3; q++) {              /* 0, 1 or 2 questions a GIF */
        gq_qa qa = {.gif = at,
                    .type = q,
                    .question = question,
                    .answer = q ? "" : "r\xC3\xB6t",
                    .q_ids = ids,
                    .a_ids = ids,
                    .nq = q + 1,
                    .na = 1 - q};
        snprintf(question, sizeof question, "question %d of %d?", q, g);
        s = gq_shard_add_qa(w, &qa, err);
    }
    return s;
}

/* A dataset of `shards` shards with GIFS GIFs together. */
static inline void build(const char *dir, const gq_shard_meta *m, int shards)
{
    gq_error    err = {0};
    gq_manifest manifest = {.complete = true};
    for (int k = 0, g = 0; k < shards; k++) {
        gq_shard_writer *w;
        gq_shard_entry   e;
        assert_ok(gq_shard_writer_open(dir, k, m, &w, &err), &err);
        for (int to = GIFS * (k + 1) / shards; g < to; g++)
            assert_ok(add(w, m, g, &err), &err);
        assert_ok(gq_shard_writer_close(w, &e, &err), &err);
        assert_ok(gq_manifest_add(&manifest, &e, &err), &err);
    }
    assert_ok(gq_manifest_save(dir, &manifest, &err), &err);
    gq_manifest_free(&manifest);
}

/* Opens and reads all of it. */
static inline gq_status read_all(const char *dir, gq_error *err)
{
    gq_dataset      *d = NULL;
    gq_shard_cursor *c = NULL;
    uint8_t          frames[T * S * S * 3];
    float            tokens[T * N * D];
    gq_status        s = gq_dataset_open(dir, &d, err);
    if (s == GQ_OK)
        s = gq_shard_cursor_new(d, &c, err);
    for (int64_t g = 0; s == GQ_OK && g < gq_dataset_gifs(d); g++)
        if ((s = gq_dataset_frames(d, c, g, frames, err)) == GQ_OK)
            s = gq_dataset_tokens(d, c, g, tokens, err);
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    return s;
}

#endif
