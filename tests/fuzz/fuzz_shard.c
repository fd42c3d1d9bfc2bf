/* fuzz_shard.c - a shard of ours with changes: the input is a list of them, five bytes each (what
 * to do, where, with what). Beside its manifest it opens and reads as it was, or is refused before
 * libhdf5 sees it. By itself, as a stranger's, it goes to the helper process, one time in 16,
 * because that costs a process: a verdict comes back, whatever libhdf5 does there. */
#include "fuzz.h"

#include <pthread.h>
#include <signal.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/shard.h"

enum { KEYFRAMES = 2, SIDE = 2, GIFS = 3, FRAME = KEYFRAMES * SIDE * SIDE * 3, CHANGE = 5 };

static gq_bytes whole;                  /* the shard as it was written                            */
static uint64_t content;                /* what reading all of it gives                           */

static void add_gif(gq_shard_writer *w, int g)
{
    uint8_t      pixel[FRAME];
    int32_t      kept[KEYFRAMES] = {0, g}, ids[2] = {g, 7}, at;
    uint16_t     delay[KEYFRAMES] = {5, 9};
    gq_error     err = {0};
    gq_shard_gif gif = {.name = "a.gif", .n_frames = 4, .width = 9, .height = 8,
                        .frame_idx = kept, .delay_cs = delay};
    for (int k = 0; k < FRAME; k++)
        pixel[k] = (uint8_t)(g * 31 + k * 7);
    must(gq_shard_add_gif(w, &gif, pixel, NULL, &at, &err) == GQ_OK, "%s", err.text);
    gq_qa qa = {.gif = at, .question = "what?", .answer = "this", .q_ids = ids, .a_ids = ids,
                .nq = 2, .na = 1};
    must(gq_shard_add_qa(w, &qa, &err) == GQ_OK, "%s", err.text);
}

static void build(void)
{
    gq_shard_meta    m = {.keyframes = KEYFRAMES, .size = SIDE, .codec = GQ_CODEC_GZIP,
                          .tokenizer = "words"};
    gq_manifest      list = {.complete = true};
    gq_shard_writer *w;
    gq_shard_entry   e;
    gq_error         err = {0};
    gq_shard_type_add(&m, "colour");
    must(gq_shard_writer_open(fz_dir(), 0, &m, &w, &err) == GQ_OK, "%s", err.text);
    for (int g = 0; g < GIFS; g++)
        add_gif(w, g);
    must(gq_shard_writer_close(w, &e, &err) == GQ_OK, "%s", err.text);
    must(gq_manifest_add(&list, &e, &err) == GQ_OK, "%s", err.text);
    must(gq_manifest_save(fz_dir(), &list, &err) == GQ_OK, "%s", err.text);
    gq_manifest_free(&list);
    must(gq_read_file(fz_path("shard-00000.h5"), 1 << 20, &whole, &err) == GQ_OK, "%s", err.text);
}

static void mix(uint64_t *hash, const void *data, size_t bytes)
{
    uint64_t both[2] = {*hash, gq_xxh64(data, bytes)};
    *hash = gq_xxh64(both, sizeof both);
}

static void read_texts(const gq_dataset *d, uint64_t *hash)
{
    for (int64_t i = 0; i < gq_dataset_count(d); i++) {
        gq_qa qa;
        gq_dataset_qa(d, i, &qa);
        mix(hash, qa.question, strlen(qa.question));
        mix(hash, qa.answer, strlen(qa.answer));
        mix(hash, qa.q_ids, (size_t)qa.nq * sizeof *qa.q_ids);
        mix(hash, &qa.gif, sizeof qa.gif);
    }
    for (int64_t g = 0; g < gq_dataset_gifs(d); g++) {
        gq_shard_gif gif;
        gq_dataset_gif(d, g, &gif);
        mix(hash, gif.frame_idx, KEYFRAMES * sizeof *gif.frame_idx);
        mix(hash, gif.delay_cs, KEYFRAMES * sizeof *gif.delay_cs);
        mix(hash, gif.name, strlen(gif.name));
    }
}

static gq_status read_all(uint64_t *hash, gq_error *err)
{
    gq_dataset      *d;
    gq_shard_cursor *c = NULL;
    uint8_t          frame[FRAME];
    gq_status        s = gq_dataset_open(fz_dir(), &d, err);
    *hash = 0;
    if (s != GQ_OK)
        return s;
    read_texts(d, hash);
    s = gq_shard_cursor_new(d, &c, err);
    for (int64_t g = 0; s == GQ_OK && g < gq_dataset_gifs(d); g++) {
        s = gq_dataset_frames(d, c, g, frame, err);
        mix(hash, frame, sizeof frame);
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    return s;
}

/* 0: xor, 1: set, 2: cut, 3: append, 4: a run of zeros, 5: move a run */
static size_t change(uint8_t *file, size_t n, size_t room, const uint8_t *by)
{
    size_t at = n ? (size_t)(by[1] | by[2] << 8) % n : 0, run = by[4] % 64u;
    run = run < n - at ? run : n - at;
    switch (by[0] % 6) {
    case 0:  file[at] ^= n ? by[3] : 0; break;
    case 1:  file[at] = n ? by[3] : file[at]; break;
    case 2:  return at;
    case 3:
        run = run < room - n ? run : room - n;
        memset(file + n, by[3], run);
        return n + run;
    case 4:  memset(file + at, 0, run); break;
    default: memmove(file + at, file + (by[3] * 37u) % (n - run + 1), run); break;
    }
    return n;
}

/* In the helper: what kills it must kill it, and not land in the handlers of the fuzzer. */
static void plain_signals(void)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXFSZ, SIGALRM};
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        signal(deadly[i], SIG_DFL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t hash, gifs, questions;
    gq_error err = {0};
    if (!whole.data) {
        must(pthread_atfork(NULL, NULL, plain_signals) == 0, "no handler of forks");
        build();
        must(read_all(&content, &err) == GQ_OK, "%s", err.text);
    }
    size_t   room = whole.size + 4096, n = whole.size;
    uint8_t *file = gq_malloc(room, 1);
    must(file, "memory");
    memcpy(file, whole.data, n);
    for (size_t k = 0; k + CHANGE <= size; k += CHANGE)
        n = change(file, n, room, data + k);
    bool same = n == whole.size && !memcmp(file, whole.data, n);
    const char *path = fz_put("shard-00000.h5", file, n);
    gq_free(file);

    gq_status s = read_all(&hash, &err);
    if (s == GQ_OK)
        must(hash == content, "other content is accepted");
    else
        fz_refused(s, &err, GQ_EINPUT);
    must(s == GQ_OK || !same, "the shard itself is refused: %s", err.text);

    if (gq_xxh64(data, size) % 16 == 0) {
        err = (gq_error){0};
        s = gq_shard_verify(path, &gifs, &questions, &err);
        must(s == GQ_OK || err.text[0], "no reason");
        must(s == GQ_OK || !same, "the shard itself is refused: %s", err.text);
        must(s != GQ_OK || (gifs <= 4096 && questions <= 4096), "%llu", (unsigned long long)gifs);
    }
    return 0;
}
