/* little.h - a whole run in a scratch directory: toy GIFs, shards, a model of a few thousand parameters trained for a
 * few steps, with both CLIP towers. For tests of what comes after training.
 *
 *   DIR/world/gif/test-000000.gif ...   8 frames each
 *   DIR/train, DIR/test                 shards of 3 frames, taken evenly
 *   DIR/run                             4 steps, a checkpoint and an evaluation every 2
 */
#ifndef GIFQA_TESTS_LITTLE_H
#define GIFQA_TESTS_LITTLE_H

#include "core/io.h"
#include "data/build.h"
#include "data/world.h"
#include "support.h"
#include "train/trainer.h"

enum { LITTLE_TRAIN = 24, LITTLE_TEST = 12, LITTLE_FRAMES = 3, LITTLE_STEPS = 4 };

static char little_dir[64];

/* "<scratch>/<name>"; four buffers in rotation. */
static inline const char *little(const char *name)
{
    static char paths[4][512];
    static int  next;
    char       *path = paths[next++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", little_dir, name);
    return path;
}

static const char *const little_keys[] = {
    "clip.preset=custom",
    "clip.train=true",
    "clip.image_size=12",
    "clip.patch=4",
    "clip.width=16",
    "clip.layers=2",
    "clip.heads=2",
    "clip.text_width=12",
    "clip.text_layers=1",
    "clip.text_heads=2",
    "clip.vocab=70",
    "clip.context=16",
    "clip.proj=8",
    "clip.feature=hidden[-1]",
    "qformer.queries=2",
    "qformer.width=12",
    "qformer.layers=2",
    "qformer.heads=2",
    "qformer.encoder_width=20",
    "gpt2.preset=custom",
    "gpt2.width=16",
    "gpt2.layers=2",
    "gpt2.heads=2",
    "gpt2.vocab=64",
    "gpt2.positions=40",
    "prompt.template={q}",
    "prompt.max_question_tokens=13",
    "prompt.max_answer_tokens=2",
    "prompt.bucket=8",
    "image.filter=nearest",
    "mvm.enable=true",
    "data.frames=3",
    "clipcut.group=2",
    "train.batch=4",
    "train.steps=4",
    "train.lr=0.01",
    "train.eval_every=2",
    "train.save_every=2",
    "train.warmup=0",
    "decode.max_new_tokens=3",
    "engine.threads=1",
};
enum { LITTLE_KEYS = sizeof little_keys / sizeof *little_keys };

static inline void little_world(void)
{
    gq_world_files files = {.spec.seed = 3, .count = {LITTLE_TRAIN, 1, LITTLE_TEST, 1}, .scale = 2};
    gq_world_report report;
    gq_error        err = {0};
    assert_ok(gq_world_write(little("world"), &files, NULL, NULL, &report, &err), &err);
}

/* DIR/<name>: the questions of a split with this many frames each. */
static inline void little_shards_as(const char *split, const char *name, int frames)
{
    char          table[300], gifs[300], out[300];
    gq_tokenizer *tok = NULL;
    gq_error      err = {0};
    gq_build_opts o = {.table = table,
                       .gifs = gifs,
                       .out = out,
                       .keyframes = frames,
                       .size = 12,
                       .filter = GQ_NEAREST,
                       .store_frames = true,
                       .template = "{q}",
                       .answer_prefix = " ",
                       .max_question = 13,
                       .max_answer = 2,
                       .source = ""};

    snprintf(table, sizeof table, "%s/world/%s.tsv", little_dir, split);
    snprintf(gifs, sizeof gifs, "%s/world/gif", little_dir);
    snprintf(out, sizeof out, "%s/%s", little_dir, name);
    assert_ok(gq_tokenizer_open(little("world/words.txt"), &tok, &err), &err);
    o.tokenizer = tok;
    assert_ok(gq_build(&o, NULL, &err), &err);
    gq_tokenizer_close(tok);
}

static inline void little_shards(const char *split)
{
    little_shards_as(split, split, LITTLE_FRAMES);
}

/* Trains DIR/<name> with the keys above and `more` (may be NULL). */
static inline void little_train(const char *name, const char *more)
{
    static gq_config c;
    const char      *set[LITTLE_KEYS + 4];
    char             train[300], val[300], vocabulary[300], run[300];
    size_t           n = LITTLE_KEYS;
    gq_train_opts    o = {.run_dir = run};
    gq_train_result  result;
    gq_error         err = {0};

    memcpy(set, little_keys, sizeof little_keys);
    snprintf(train, sizeof train, "data.train=%s/train", little_dir);
    snprintf(val, sizeof val, "data.val=%s/test", little_dir);
    snprintf(vocabulary, sizeof vocabulary, "model.tokenizer.clip=%s/train/tokenizer", little_dir);
    snprintf(run, sizeof run, "%s/%s", little_dir, name);
    set[n++] = train;
    set[n++] = val;
    set[n++] = vocabulary;
    if (more)
        set[n++] = more;
    assert_ok(gq_config_load(NULL, set, n, &c, NULL, &err), &err);
    assert_ok(gq_train(&c, &o, &result, &err), &err);
}

static inline int little_make(void **state)
{
    (void)state;
    snprintf(little_dir, sizeof little_dir, "%s", gq_scratch());
    little_world();
    little_shards("train");
    little_shards("test");
    little_train("run", NULL);
    return 0;
}

static inline int little_drop(void **state)
{
    (void)state;
    return gq_remove_tree(little_dir, NULL) == GQ_OK ? 0 : -1;
}

/* Question `i` of the test table, from the shards, and its GIF's path. */
static inline void little_question(const gq_dataset *d, int64_t i, gq_qa *qa, char path[512])
{
    gq_shard_gif gif;
    gq_dataset_qa(d, i, qa);
    gq_dataset_gif(d, qa->gif, &gif);
    snprintf(path, 512, "%s/world/gif/%s", little_dir, gif.name);
}

#endif
