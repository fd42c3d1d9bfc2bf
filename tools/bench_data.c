/* gifqa-bench gif, image, tokenize: what stands between a file and the models, on one thread.
 *
 * Files are in memory before the clock starts. One untimed round comes first; then each round takes
 * all of the input once, and the median of the rounds counts.
 */
#include <string.h>

#include "core/mem.h"
#include "data/gif.h"
#include "data/image.h"
#include "data/tokenizer.h"
#include "tools/bench.h"

enum { FILES_MAX = 4096, ROUNDS_MAX = 100, SIDE = 224 };

static const size_t frames_max = (size_t)4 << 30; /* bytes of one clip as RGB                     */
static bool         json;
static int64_t      rounds = 5;

#define ROUNDS_AND_JSON                                                                            \
    {"rounds", 'r', GQ_CLI_INT, &rounds, "N", "timed rounds (default: 5)", 1, ROUNDS_MAX},         \
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of a table", 0, 0}
#define CODES "Exit codes: 0 done, 2 usage, 4 input data, 5 tokenizer, 6 memory."

/* ---- rates ----------------------------------------------------------------------------------- */

typedef struct series {
    const char *name;
    double      s[ROUNDS_MAX]; /* seconds of each round; [0] also takes the untimed one           */
} series;

/* Round -1 is the untimed one. */
static void keep(series *to, int64_t round, double seconds)
{
    to->s[round < 0 ? 0 : round] = seconds;
}

static void print_series(series *t, double amount, const char *unit)
{
    double median = bench_median(t->s, (size_t)rounds);
    printf("| %s | %.4f | %.4f..%.4f | %.4g %s/s |\n", t->name, median, t->s[0], t->s[rounds - 1],
           amount / median, unit);
}

static void print_head(void)
{
    printf("| what | median s | spread s | rate |\n|---|--:|--:|--:|\n");
}

static json_t *series_json(series *t, double amount)
{
    double  median = bench_median(t->s, (size_t)rounds);
    json_t *all = json_array();
    for (int64_t k = 0; k < rounds; k++)
        json_array_append_new(all, json_real(t->s[k]));
    return json_pack("{s:f, s:f, s:f, s:o}", "per_s", amount / median, "median_s", median, "min_s",
                     t->s[0], "seconds", all);
}

static int end(const char *name, gq_status s, json_t *o, const char *what, gq_error *err)
{
    char machine[192];

    bench_machine(machine, sizeof machine);
    if (s == GQ_OK && json) {
        json_object_set_new(o, "machine", gq_cli_string(machine));
        s = gq_cli_json(json_incref(o), err);
    } else if (s == GQ_OK) {
        printf("\n%s. One thread, %lld rounds. %s.\n", what, (long long)rounds, machine);
    }
    json_decref(o);
    return s == GQ_OK ? 0 : gq_cli_fail(name, err, json);
}

/* ---- GIF files in memory --------------------------------------------------------------------- */

typedef struct clips {
    size_t   n;
    gq_bytes file[FILES_MAX];
    char    *path[FILES_MAX];
    uint64_t frames, pixels; /* of all canvases                                                   */
} clips;

static void clips_free(clips *c)
{
    for (size_t k = 0; k < c->n; k++) {
        gq_bytes_free(&c->file[k]);
        gq_free(c->path[k]);
    }
}

/* Takes `path`. */
static gq_status add_file(clips *c, char *path, gq_error *err)
{
    gq_gif_summary sum;
    gq_bytes      *b = &c->file[c->n];
    gq_status      s = GQ_OK;

    if (!path)
        return gq_fail(err, GQ_ENOMEM, "no memory for a list of files");
    if (c->n == FILES_MAX)
        s = gq_fail(err, GQ_EUSAGE, "more than %d files", FILES_MAX);
    if (s == GQ_OK)
        s = gq_gif_read(path, gq_gif_limits_default().max_bytes, b, err);
    if (s != GQ_OK) {
        gq_free(path);
        return s;
    }
    c->path[c->n++] = path;
    s = gq_gif_count(b->data, b->size, path, NULL, &sum, err);
    c->frames += sum.frames;
    c->pixels += (uint64_t)sum.width * sum.height * sum.frames;
    return s;
}

static bool is_gif(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".gif") == 0;
}

static gq_status add_dir(clips *c, const char *dir, gq_error *err)
{
    char    **names;
    size_t    n;
    gq_status s = gq_list_dir(dir, &names, &n, err);

    for (size_t k = 0; s == GQ_OK && k < n; k++)
        if (is_gif(names[k]))
            s = add_file(c, gq_path(dir, names[k]), err);
    for (size_t k = 0; k < n; k++)
        gq_free(names[k]);
    gq_free(names);
    return s;
}

static gq_status read_clips(clips *c, const gq_cli_list *paths, gq_error *err)
{
    gq_status s = GQ_OK;

    for (size_t k = 0; s == GQ_OK && k < paths->n; k++)
        s = gq_is_dir(paths->item[k]) ? add_dir(c, paths->item[k], err)
                                      : add_file(c, gq_strdup(paths->item[k]), err);
    if (s == GQ_OK && !c->frames)
        s = gq_fail(err, GQ_EINPUT, "%s: no GIF there", paths->item[0]);
    return s;
}

/* ---- gif ------------------------------------------------------------------------------------- */

/* All frames of one file as composed canvases: where the decoder has them; copied; or as RGB. */
typedef enum form { IN_PLACE, COPIED, RGB, FORMS } form;

static gq_status decode(const clips *c, size_t k, form f, uint8_t *to, gq_error *err)
{
    static const uint8_t black[3];
    gq_gif              *g;
    gq_gif_frame         info;
    const uint8_t       *rgba;
    gq_status s = gq_gif_open(c->file[k].data, c->file[k].size, c->path[k], NULL, &g, err);

    while (s == GQ_OK && (s = gq_gif_next(g, &rgba, &info, err)) == GQ_OK && rgba) {
        size_t pixels = (size_t)gq_gif_width(g) * gq_gif_height(g);
        if (f == COPIED)
            memcpy(to, rgba, 4 * pixels);
        else if (f == RGB)
            gq_gif_over(rgba, pixels, black, to);
    }
    gq_gif_close(g);
    return s;
}

static gq_status decode_all(const clips *c, series *t, gq_error *err)
{
    size_t    side = gq_gif_limits_default().max_side;
    uint8_t  *to = gq_malloc(4 * side, side);
    gq_status s = to ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no memory for a canvas");

    for (int64_t round = -1; s == GQ_OK && round < rounds; round++)
        for (int f = 0; s == GQ_OK && f < FORMS; f++) {
            double begin = gq_now();
            for (size_t k = 0; s == GQ_OK && k < c->n; k++)
                s = decode(c, k, (form)f, to, err);
            keep(&t[f], round, gq_now() - begin);
        }
    gq_free(to);
    return s;
}

static const gq_cli_option  picture_options[] = {ROUNDS_AND_JSON};
static const gq_cli_program gif_program = {
    .name = "gifqa-bench gif",
    .summary = "decodes GIFs into composed frames",
    .usage = "[options] DIR|FILE ...",
    .examples = "gifqa-bench gif my/gifs --json",
    .options = picture_options,
    .n_options = sizeof picture_options / sizeof picture_options[0],
    .least = 1,
    .most = GQ_CLI_LIST_MAX,
    .notes = "Every frame is a full canvas: RGBA where the decoder keeps it, RGBA copied, RGB over "
             "black.\n" CODES,
};

static json_t *clips_json(const clips *c)
{
    return json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "files", (json_int_t)c->n, "frames",
                     (json_int_t)c->frames, "pixels", (json_int_t)c->pixels);
}

int bench_gif(int argc, char **argv)
{
    static clips c;
    series       t[FORMS] = {{.name = "rgba"}, {.name = "rgba_copied"}, {.name = "rgb"}};
    gq_cli_list  paths;
    gq_error     err = {0};
    int          code = gq_cli_parse(&gif_program, argc, argv, &paths);

    if (code != GQ_CLI_GO)
        return code;
    gq_status s = read_clips(&c, &paths, &err);
    if (s == GQ_OK)
        s = decode_all(&c, t, &err);
    json_t *o = s == GQ_OK ? clips_json(&c) : NULL;
    if (s == GQ_OK && !json)
        print_head();
    for (int f = 0; s == GQ_OK && f < FORMS; f++) {
        if (json)
            json_object_set_new(o, t[f].name, series_json(&t[f], (double)c.frames));
        else
            print_series(&t[f], (double)c.frames, "frames");
    }
    char what[80];
    snprintf(what, sizeof what, "%zu files, %llu frames", c.n, (unsigned long long)c.frames);
    clips_free(&c);
    return end(gif_program.name, s, o, what, &err);
}

/* ---- image ----------------------------------------------------------------------------------- */

typedef struct prepared {
    gq_resizer *resizer;
    uint8_t     rgb[SIDE * SIDE * 3];
    float       planes[3 * SIDE * SIDE];
} prepared;

/* Both steps in turn, one clip after the other: decoded clips are large. */
static gq_status prepare_clip(const gq_gif_clip *clip, prepared *p, double *resize,
                              double *normalize, gq_error *err)
{
    size_t    bytes = (size_t)clip->width * clip->height * 3;
    gq_status s = GQ_OK;

    for (uint32_t k = 0; s == GQ_OK && k < clip->nframes; k++) {
        double begin = gq_now(), between;
        s = gq_resizer_preprocess(p->resizer, clip->rgb + k * bytes, clip->width, clip->height,
                                  SIDE, GQ_BICUBIC, p->rgb, err);
        between = gq_now();
        gq_image_normalize(p->rgb, SIDE, gq_clip_mean, gq_clip_std, p->planes);
        *resize += between - begin;
        *normalize += gq_now() - between;
    }
    return s;
}

static gq_status prepare_all(const clips *c, prepared *p, series *resize, series *both,
                             gq_error *err)
{
    gq_status s = gq_resizer_new(&p->resizer, err);

    for (size_t k = 0; s == GQ_OK && k < c->n; k++) {
        gq_gif_clip clip;
        s = gq_gif_load_rgb(c->file[k].data, c->file[k].size, c->path[k], NULL, NULL, 0, NULL,
                            frames_max, &clip, err);
        for (int64_t round = -1; s == GQ_OK && round < rounds; round++) {
            double first = 0, second = 0;
            s = prepare_clip(&clip, p, &first, &second, err);
            if (round >= 0) {
                resize->s[round] += first;
                both->s[round] += first + second;
            }
        }
        gq_gif_clip_free(&clip);
    }
    gq_resizer_free(p->resizer);
    return s;
}

static const gq_cli_program image_program = {
    .name = "gifqa-bench image",
    .summary = "resizes, crops and normalises decoded frames for CLIP",
    .usage = "[options] DIR|FILE ...",
    .examples = "gifqa-bench image my/gifs --json",
    .options = picture_options,
    .n_options = sizeof picture_options / sizeof picture_options[0],
    .least = 1,
    .most = GQ_CLI_LIST_MAX,
    .notes = "From RGB frames in memory to [3,224,224] floats; decoding is not timed.\n" CODES,
};

int bench_image(int argc, char **argv)
{
    static clips    c;
    static prepared p;
    series          resize = {.name = "resize"}, both = {.name = "all"};
    gq_cli_list     paths;
    gq_error        err = {0};
    int             code = gq_cli_parse(&image_program, argc, argv, &paths);

    if (code != GQ_CLI_GO)
        return code;
    gq_status s = read_clips(&c, &paths, &err);
    if (s == GQ_OK)
        s = prepare_all(&c, &p, &resize, &both, &err);
    json_t *o = s == GQ_OK ? clips_json(&c) : NULL;
    if (s == GQ_OK && json) {
        json_object_set_new(o, "resize", series_json(&resize, (double)c.frames));
        json_object_set_new(o, "all", series_json(&both, (double)c.frames));
    } else if (s == GQ_OK) {
        print_head();
        print_series(&resize, (double)c.frames, "frames");
        print_series(&both, (double)c.frames, "frames");
    }
    char what[80];
    snprintf(what, sizeof what, "%zu files, %llu frames", c.n, (unsigned long long)c.frames);
    clips_free(&c);
    return end(image_program.name, s, o, what, &err);
}

/* ---- tokenize -------------------------------------------------------------------------------- */

static const char          *tokenizer_path;
static const gq_cli_option  tokenize_options[] = {
    {"tokenizer", 't', GQ_CLI_TEXT, &tokenizer_path, "DIR", "its files (needed)", 0, 0},
    ROUNDS_AND_JSON};
static const gq_cli_program tokenize_program = {
    .name = "gifqa-bench tokenize",
    .summary = "turns a text into token ids",
    .usage = "--tokenizer DIR [options] TEXT",
    .examples = "gifqa-bench tokenize --tokenizer gpt2 book.txt",
    .options = tokenize_options,
    .n_options = sizeof tokenize_options / sizeof tokenize_options[0],
    .least = 1,
    .most = 1,
    .notes = "The text as one string, and line by line.\n" CODES,
};

typedef struct text_job {
    gq_tokenizer *t;
    gq_bytes      text;
    int32_t      *ids;   /* [text.size]: no more ids than bytes are kept                          */
    size_t        tokens, line_tokens;
} text_job;

static gq_status encode_lines(text_job *j, gq_error *err)
{
    const char *at = (const char *)j->text.data, *stop = at + j->text.size;
    gq_status   s = GQ_OK;

    j->line_tokens = 0;
    while (s == GQ_OK && at < stop) {
        const char *end_of_line = memchr(at, '\n', (size_t)(stop - at));
        size_t      len = (size_t)((end_of_line ? end_of_line : stop) - at), n;
        s = gq_tokenizer_encode(j->t, at, len, 0, j->ids, j->text.size, &n, err);
        j->line_tokens += n;
        at += len + 1;
    }
    return s;
}

static gq_status tokenize(text_job *j, const char *path, series *whole, series *lines,
                          gq_error *err)
{
    gq_status s = gq_tokenizer_open(tokenizer_path, &j->t, err);

    if (s == GQ_OK)
        s = gq_read_file(path, (size_t)256 << 20, &j->text, err);
    if (s == GQ_OK && !(j->ids = gq_malloc(j->text.size, sizeof *j->ids)))
        s = gq_fail(err, GQ_ENOMEM, "no memory for the tokens of %zu bytes", j->text.size);
    for (int64_t round = -1; s == GQ_OK && round < rounds; round++) {
        double begin = gq_now();
        s = gq_tokenizer_encode(j->t, (const char *)j->text.data, j->text.size, 0, j->ids,
                                j->text.size, &j->tokens, err);
        keep(whole, round, gq_now() - begin);
        begin = gq_now();
        if (s == GQ_OK)
            s = encode_lines(j, err);
        keep(lines, round, gq_now() - begin);
    }
    return s;
}

int bench_tokenize(int argc, char **argv)
{
    series      whole = {.name = "whole"}, lines = {.name = "lines"};
    text_job    j = {0};
    gq_cli_list text;
    gq_error    err = {0};
    json_t     *o = NULL;
    int         code = gq_cli_parse(&tokenize_program, argc, argv, &text);

    if (code != GQ_CLI_GO)
        return code;
    if (!tokenizer_path)
        return gq_cli_usage(tokenize_program.name, "--tokenizer is missing");
    gq_status s = tokenize(&j, text.item[0], &whole, &lines, &err);
    double    mb = 1e-6 * (double)j.text.size;
    if (s == GQ_OK && json) {
        o = json_pack("{s:b, s:I, s:I, s:I}", "ok", 1, "bytes", (json_int_t)j.text.size, "tokens",
                      (json_int_t)j.tokens, "line_tokens", (json_int_t)j.line_tokens);
        json_object_set_new(o, "whole", series_json(&whole, mb));
        json_object_set_new(o, "lines", series_json(&lines, mb));
    } else if (s == GQ_OK) {
        print_head();
        print_series(&whole, mb, "MB");
        print_series(&lines, mb, "MB");
        print_series(&whole, 1e-6 * (double)j.tokens, "M tokens");
        print_series(&lines, 1e-6 * (double)j.line_tokens, "M tokens");
    }
    char what[80];
    snprintf(what, sizeof what, "%zu bytes, %zu tokens", j.text.size, j.tokens);
    gq_tokenizer_close(j.t);
    gq_bytes_free(&j.text);
    gq_free(j.ids);
    return end(tokenize_program.name, s, o, what, &err);
}
