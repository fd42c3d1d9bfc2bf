/* R6: every truncation and every flipped bit of a checkpoint, a data set and an export is an error
 * that names the file, or changes nothing of what is read. Never a crash, never other numbers.
 *
 * The short mode takes an even sample of each file, the long mode every fault of a small one.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "core/philox.h"
#include "data/shard_made.h"
#include "faults/report.h"
#include "little.h"
#include "train/checkpoint.h"
#include "train/export.h"

typedef enum verdict { SEEN, HARMLESS, MISSED } verdict;

/* Reads what the damaged file belongs to; the message must name the file. */
typedef verdict (*read_fn)(void *ctx, const char *file);

static struct {
    long   injected, seen, harmless, missed;
    double started;
} tally;

static void count(const char *file, const char *how, uint64_t at, verdict v)
{
    tally.injected++;
    tally.seen += v == SEEN;
    tally.harmless += v == HARMLESS;
    tally.missed += v == MISSED;
    if (v == MISSED)
        print_message("%s: %s at %llu: other contents, and no word of it\n", file, how,
                      (unsigned long long)at);
}

/* The k-th of n sampled places of `all`: one in each n-th part of the file, and the last. */
static uint64_t place(uint64_t k, uint64_t n, uint64_t all)
{
    uint64_t from = all * k / n, to = all * (k + 1) / n;
    return k + 1 == n ? all - 1 : from + gq_philox_at(9, k, GQ_RNG_TEST, 0) % (to - from);
}

/* Damages dir/name `limit` times by a flipped bit and a tenth as often by truncation, and lets it
 * be read each time; in place, since a file written anew waits for the disk. */
static void damage(const char *dir, const char *name, uint64_t limit, read_fn read, void *ctx)
{
    gq_error err = {0};
    gq_bytes b;
    char    *path = gq_path(dir, name);
    int      fd = open(path, O_RDWR);

    assert_ok(gq_read_file(path, 1 << 26, &b, &err), &err);
    uint64_t bits = 8 * b.size, flips = bits < limit ? bits : limit;
    uint64_t cuts = b.size < limit / 10 ? b.size : limit / 10;
    for (uint64_t k = 0; k < flips; k++) {
        uint64_t bit = place(k, flips, bits);
        uint8_t  bad = b.data[bit / 8] ^ (uint8_t)(1 << bit % 8);
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)(bit / 8)), 1);
        count(name, "a flipped bit", bit, read(ctx, name));
        assert_int_equal(pwrite(fd, &b.data[bit / 8], 1, (off_t)(bit / 8)), 1);
    }
    for (uint64_t k = cuts; k-- > 0;) {
        uint64_t n = place(k, cuts, b.size);
        assert_int_equal(ftruncate(fd, (off_t)n), 0);
        count(name, "a truncation", n, read(ctx, name));
        assert_int_equal(pwrite(fd, b.data + n, b.size - n, (off_t)n), b.size - n);
    }
    close(fd);
    assert_int_equal(read(ctx, name), HARMLESS); /* whole again */
    gq_bytes_free(&b);
    gq_free(path);
}

static void begin_tally(void)
{
    memset(&tally, 0, sizeof tally);
    tally.started = rig_now();
}

static void end_tally(const char *what, const char *extent)
{
    char note[256];
    snprintf(note, sizeof note, "%ld detected, %ld without effect; %s", tally.seen, tally.harmless,
             extent);
    rig_report(&(rig_result){.rig = "R6",
                             .what = what,
                             .injected = tally.injected,
                             .survived = tally.seen + tally.harmless,
                             .failed = tally.missed,
                             .seconds = rig_now() - tally.started,
                             .note = note});
    assert_int_equal(tally.missed, 0);
}

/* What an error must be: of this kind, and with the name of the file in it. */
static verdict refused(gq_status s, gq_status want, const gq_error *err, const char *file)
{
    if (s != want || !strstr(err->text, file))
        fail_msg("%s: status %d: %s", file, (int)s, err->text);
    return SEEN;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* A checkpoint counts only as it was written: here nothing is harmless. */
static verdict read_checkpoint(void *ctx, const char *file)
{
    gq_error  err = {0};
    gq_status s = gq_ckpt_verify(ctx, NULL, &err);
    return s == GQ_OK ? HARMLESS : refused(s, GQ_EWEIGHTS, &err, file);
}

static void checkpoints(void **state)
{
    static const char *const files[] = {"MANIFEST.json", "state.json", "weights.safetensors",
                                        "optim.safetensors"};
    char dir[512];
    (void)state;
    snprintf(dir, sizeof dir, "%s/checkpoints/step-00000004", little("run"));
    begin_tally();
    for (int i = 0; i < 4; i++)
        damage(dir, files[i], rig_long() ? i < 2 ? UINT64_MAX : 150000 : 400, read_checkpoint, dir);
    assert_int_equal(tally.harmless, 0);
    end_tally("truncations and flipped bits of a checkpoint",
              rig_long() ? "manifest and state exhaustively, weights and optimiser sampled"
                         : "sampled");
}

/* A run whose newest checkpoint is damaged opens with the one before it. */
static void a_damaged_one_is_passed_over(void **state)
{
    gq_session_opts last = {.which = GQ_SESSION_LAST};
    gq_session     *s;
    gq_error        err = {0};
    char            path[512];
    uint8_t         bad = 0xFF;
    int             fd;
    (void)state;
    snprintf(path, sizeof path, "%s/checkpoints/step-00000004/optim.safetensors", little("run"));
    fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &bad, 1, 1000), 1);
    bad ^= 16;
    assert_int_equal(pwrite(fd, &bad, 1, 1000), 1);
    assert_ok(gq_session_open(little("run"), &last, &s, &err), &err);
    assert_int_equal(s->step, 2);
    gq_session_close(s);
    bad ^= 16;
    assert_int_equal(pwrite(fd, &bad, 1, 1000), 1);
    close(fd);
}

/* ---- data sets ------------------------------------------------------------------------------- */

typedef struct data_set { char dir[64]; uint64_t whole; } data_set;

/* A number that every pixel, feature, question and token of the set takes part in; 0: refused. */
static uint64_t digest(const char *dir, gq_status *s, gq_error *err)
{
    gq_dataset      *d = NULL;
    gq_shard_cursor *c = NULL;
    uint8_t          frames[T * S * S * 3];
    float            tokens[T * N * D];
    uint64_t         sum = 1;

    *s = gq_dataset_open(dir, &d, err);
    if (*s == GQ_OK)
        *s = gq_shard_cursor_new(d, &c, err);
    for (int64_t g = 0; *s == GQ_OK && g < gq_dataset_gifs(d); g++)
        if ((*s = gq_dataset_frames(d, c, g, frames, err)) == GQ_OK &&
            (*s = gq_dataset_tokens(d, c, g, tokens, err)) == GQ_OK)
            sum = 31 * sum + gq_xxh64(frames, sizeof frames) + gq_xxh64(tokens, sizeof tokens);
    for (int64_t i = 0; *s == GQ_OK && i < gq_dataset_count(d); i++) {
        gq_qa qa;
        gq_dataset_qa(d, i, &qa);
        sum = 31 * sum + (uint64_t)qa.gif + (uint64_t)qa.type +
              gq_xxh64(qa.question, strlen(qa.question)) + gq_xxh64(qa.answer, strlen(qa.answer)) +
              gq_xxh64(qa.q_ids, (size_t)qa.nq * 4) + gq_xxh64(qa.a_ids, (size_t)qa.na * 4);
    }
    gq_shard_cursor_free(c);
    gq_dataset_close(d);
    return *s == GQ_OK ? sum : 0;
}

static verdict read_data(void *ctx, const char *file)
{
    const data_set *set = ctx;
    gq_error        err = {0};
    gq_status       s;
    uint64_t        now = digest(set->dir, &s, &err);
    if (s != GQ_OK)
        return refused(s, GQ_EINPUT, &err, file);
    return now == set->whole ? HARMLESS : MISSED;
}

/* `gifqa-prep verify` promises more: every byte of a shard. */
static verdict verify_data(void *ctx, const char *file)
{
    const data_set *set = ctx;
    gq_error        err = {0};
    uint64_t        gifs, questions;
    gq_status       s = gq_shard_verify(set->dir, &gifs, &questions, &err);
    return s == GQ_OK ? HARMLESS : refused(s, GQ_EINPUT, &err, file);
}

static void data_sets(void **state)
{
    static const struct { gq_shard_codec codec; bool bf16;
    } kinds[] = {{GQ_CODEC_NONE, false}, {GQ_CODEC_GZIP, true}, {GQ_CODEC_DELTA_ZSTD, true}};
    uint64_t limit = rig_long() ? 20000 : 300;
    (void)state;
    begin_tally();
    for (int i = 0; i < 3 && !gq_shard_codec_lack(kinds[i].codec); i++) {
        gq_shard_meta m = meta_of(true, true, kinds[i].bf16, kinds[i].codec);
        data_set      set;
        gq_status     s;
        gq_error      err = {0};
        snprintf(set.dir, sizeof set.dir, "%s", gq_scratch());
        build(set.dir, &m, 1);
        set.whole = digest(set.dir, &s, &err);
        assert_ok(s, &err);
        damage(set.dir, "shard-00000.h5", limit, read_data, &set);
        damage(set.dir, "MANIFEST.json", limit, read_data, &set);
        long before = tally.harmless;
        damage(set.dir, "shard-00000.h5", limit / 2, verify_data, &set);
        assert_int_equal(tally.harmless, before);
        assert_ok(gq_remove_tree(set.dir, &err), &err);
    }
    end_tally("truncations and flipped bits of shards and their manifest",
              rig_long() ? "manifest exhaustively, shards sampled" : "sampled");
}

/* ---- exports --------------------------------------------------------------------------------- */

static verdict read_export(void *ctx, const char *file)
{
    gq_export_about about;
    gq_error        err = {0};
    gq_status       s = gq_export_check(ctx, 1, &about, &err);
    return s == GQ_OK ? HARMLESS : refused(s, GQ_EWEIGHTS, &err, file);
}

static void exports(void **state)
{
    static const char *const files[] = {
        "gifqa.json",          "config.yaml",          "stllm.safetensors",
        "clip/config.json",    "gpt2/config.json",     "clip/model.safetensors",
        "tokenizer/words.txt", "qformer/config.json",  "gpt2/model.safetensors",
        "README.md",           "qformer/model.safetensors",
    };
    gq_session *s;
    gq_error    err = {0};
    char        dir[512];
    (void)state;
    snprintf(dir, sizeof dir, "%s", little("export"));
    assert_ok(gq_session_open(little("run"), NULL, &s, &err), &err);
    assert_ok(gq_export(s, dir, NULL, &err), &err);
    gq_session_close(s);
    begin_tally();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        damage(dir, files[i], rig_long() ? i ? 4000 : UINT64_MAX : 60, read_export, dir);
    assert_int_equal(tally.harmless, 0);
    end_tally("truncations and flipped bits of an export",
              rig_long() ? "gifqa.json exhaustively, the files it lists sampled" : "sampled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints),
        cmocka_unit_test(a_damaged_one_is_passed_over),
        cmocka_unit_test(data_sets),
        cmocka_unit_test(exports),
    };
    return cmocka_run_group_tests_name("faults/corruption", tests, little_make, little_drop);
}
