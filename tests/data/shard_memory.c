/* What an open data set, its loader, and verifying and writing it hold in memory: so many bytes a
 * GIF and a question, as data/shard.h and data/loader.h say; and for many shards no more than for
 * one. Counted by the allocator, so the sanitized build is needed for the peaks. */
#include "support.h"

#include <malloc.h>

#include "core/io.h"
#include "data/loader.h"

#ifdef __SANITIZE_ADDRESS__             /* gcc says it so */
#define COUNTED 1
size_t __sanitizer_get_current_allocated_bytes(void);
int    __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                                 void (*)(const volatile void *));
static size_t held(void) { return __sanitizer_get_current_allocated_bytes(); }
#else
#define COUNTED 0
static size_t held(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}
#endif

enum { T = 2, N = 2, D = 8, PER_SHARD = 500, NQ = 7, NA = 2 };

static const char question[] = "which way does it move ?", answer[] = "left";

static void make(const char *dir, const gq_shard_meta *m, int gifs)
{
    gq_error         err = {0};
    gq_manifest      list = {.complete = true};
    gq_shard_writer *w = NULL;
    gq_shard_entry   e;
    float            tokens[T * N * D];
    int32_t          idx[T] = {0, 1}, ids[NQ] = {1, 2, 3, 4, 5, 6, 7}, at;
    uint16_t         delay[T] = {1, 2};
    char             name[16];
    for (int g = 0; g < gifs; g++) {
        gq_shard_gif gif = {.name = name, .n_frames = 2, .frame_idx = idx, .delay_cs = delay};
        snprintf(name, sizeof name, "%07d.gif", g);
        for (int k = 0; k < T * N * D; k++)
            tokens[k] = (float)(g % 97 + k % 5);
        if (g % PER_SHARD == 0)
            assert_ok(gq_shard_writer_open(dir, g / PER_SHARD, m, &w, &err), &err);
        assert_ok(gq_shard_add_gif(w, &gif, NULL, tokens, &at, &err), &err);
        gq_qa qa = {.gif = at, .question = question, .answer = answer, .q_ids = ids, .a_ids = ids,
                    .nq = NQ, .na = NA};
        assert_ok(gq_shard_add_qa(w, &qa, &err), &err);
        if (g % PER_SHARD == PER_SHARD - 1) {
            assert_ok(gq_shard_writer_close(w, &e, &err), &err);
            assert_ok(gq_manifest_add(&list, &e, &err), &err);
        }
    }
    assert_ok(gq_manifest_save(dir, &list, &err), &err);
    gq_manifest_free(&list);
}

static gq_shard_meta meta_of(gq_shard_codec codec)
{
    gq_shard_meta m = {.keyframes = T, .tokens = N, .width = D, .bf16 = true, .codec = codec};
    gq_shard_type_add(&m, "direction");
    return m;
}

/* Held by a set of so many GIFs while a loader reads it. */
static void open_and_read(int gifs, gq_shard_codec codec, size_t *set, size_t *loader)
{
    gq_shard_meta  m = meta_of(codec);
    const char    *dir = gq_scratch();
    gq_error       err = {0};
    gq_dataset    *d;
    gq_loader     *l;
    gq_batch       b;
    gq_loader_opts o = {.batch = 8, .threads = 1, .shuffle = true, .tokens = true};
    make(dir, &m, gifs);
    size_t before = held();
    assert_ok(gq_dataset_open(dir, &d, &err), &err);
    *set = held() - before;
    assert_ok(gq_loader_open(d, &o, &l, &err), &err);
    for (int k = 0; k < gifs / 8; k++) {         /* an epoch: nothing gathers on the way */
        assert_ok(gq_loader_next(l, &b, &err), &err);
        gq_loader_release(l);
    }
    *loader = held() - before - *set;
    gq_loader_close(l);
    gq_dataset_close(d);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

static void an_open_set_holds_what_it_says(void **state)
{
    /* data/shard.h: a row set takes 24, a GIF 52 + 6 T + its name, a question 48 + 4 an id + texts,
     * each text a NUL */
    size_t want = 24 + 52 + 6 * T + sizeof "0000000.gif" + 48 + 4 * (NQ + NA) + sizeof question +
                  sizeof answer;
    (void)state;
    for (int k = 0; k < 2; k++) {
        size_t few[2], many[2], shards = 3;
        open_and_read(PER_SHARD, k ? GQ_CODEC_GZIP : GQ_CODEC_NONE, &few[0], &few[1]);
        open_and_read(PER_SHARD * 4, k ? GQ_CODEC_GZIP : GQ_CODEC_NONE, &many[0], &many[1]);
        size_t set = (many[0] - few[0]) / (3 * PER_SHARD);
        size_t of_loader = (many[1] - few[1]) / (3 * PER_SHARD);
        print_message("%zu bytes a GIF with its question, %zu expected; %zu of the loader\n", set,
                      want, of_loader);
        assert_true(many[0] - few[0] <= want * 3 * PER_SHARD + shards * 4096);
        assert_in_range(of_loader, 0, 4);
    }
}

/* ---- peaks ----------------------------------------------------------------------------------- */

#if COUNTED
static size_t peak;

static void on_malloc(const volatile void *p, size_t n)
{
    (void)p;
    size_t now = held() + n;
    peak = now > peak ? now : peak;
}

static void on_free(const volatile void *p) { (void)p; }
#endif

/* Writing and verifying eight shards take what two of them take, but for their entries in the
 * manifest, as objects, text and JSON. */
static void shards_are_written_and_verified_one_by_one(void **state)
{
    (void)state;
#if COUNTED
    size_t most[2][2];
    assert_true(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0);
    for (int k = 0; k < 2; k++) {
        gq_shard_meta m = meta_of(GQ_CODEC_NONE);
        const char   *dir = gq_scratch();
        gq_error      err = {0};
        uint64_t      gifs, questions;
        size_t        before = peak = held();
        make(dir, &m, k ? 8 * PER_SHARD : 2 * PER_SHARD);
        most[k][0] = peak - before;
        before = peak = held();
        assert_ok(gq_shard_verify(dir, &gifs, &questions, &err), &err);
        most[k][1] = peak - before;
        assert_int_equal(gifs, k ? 8 * PER_SHARD : 2 * PER_SHARD);
        assert_ok(gq_remove_tree(dir, &err), &err);
    }
    print_message("peaks of writing: %zu, %zu; of verifying: %zu, %zu\n", most[0][0], most[1][0],
                  most[0][1], most[1][1]);
    for (int what = 0; what < 2; what++)
        assert_true(most[1][what] < most[0][what] + 6 * 8192);
#else
    print_message("skipped: only the sanitizer's allocator tells peaks\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_open_set_holds_what_it_says),
        cmocka_unit_test(shards_are_written_and_verified_one_by_one),
    };
    return cmocka_run_group_tests_name("data/shard_memory", tests, NULL, NULL);
}
