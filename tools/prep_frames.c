/* gifqa-prep frames: what is in a GIF, as a list, as PNG files, as raw RGBA. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/png.h"
#include "tools/prep.h"
#include "train/retrieve.h"

static const char *dir, *raw;
static bool        json;
static gq_cli_list sets;

static const gq_cli_option options[] = {
    {"out", 'o', GQ_CLI_TEXT, &dir, "DIR", "write frame-0000.png, frame-0001.png, ... there", 0, 0},
    {"raw", 0, GQ_CLI_TEXT, &raw, "FILE",
     "all frames as RGBA bytes, one after the other; - is standard output", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the list as one JSON object", 0, 0},
    {"set", 0, GQ_CLI_LIST, &sets, "KEY=VALUE",
     "change a limit: data.limits.{bytes,side,pixels,frames,seconds}", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-prep frames",
    .summary = "the composed frames of a GIF",
    .usage = "[options] GIF",
    .examples = "gifqa-prep frames cat.gif\ngifqa-prep frames cat.gif -o frames\n"
                "gifqa-prep frames cat.gif --raw - | sha256sum\ngifqa-prep frames cat.gif --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 0,
    .most = 1,
    .notes = "Composition is the browsers': it starts transparent; alpha-0 pixels are 0,0,0,0.\n"
             "Lists index, delay in 1/100 s (-1: none given), size, and the part that changed.\n"
             "With --raw GIF and nothing else the bytes of that GIF go to standard output.\n"
             "Exit codes: 0 done, 2 usage, 3 configuration, 4 no usable frame or a limit reached, "
             "6 disk or memory.",
};

typedef struct sink {                   /* where raw bytes go: an atomic file or a stream       */
    gq_file *file;
    FILE    *stream;                    /* standard output, a device or a pipe                  */
} sink;

typedef struct list {                   /* what is said about the frames                        */
    json_t  *frames;                    /* with --json                                          */
    uint32_t count;
} list;

static gq_status sink_fail(gq_error *err)
{
    return gq_fail(err, GQ_EDISK, "%s: cannot write: %s", raw, strerror(errno));
}

static gq_status sink_open(sink *k, gq_error *err)
{
    struct stat st;

    if (!raw)
        return GQ_OK;
    if (!strcmp(raw, "-")) {
        k->stream = stdout;
        return GQ_OK;
    }
    if (stat(raw, &st) != 0 || S_ISREG(st.st_mode))
        return gq_atomic_open(raw, &k->file, err);
    k->stream = fopen(raw, "wb"); /* renaming a file over a device would replace the device */
    return k->stream ? GQ_OK : sink_fail(err);
}

static gq_status sink_put(sink *k, const uint8_t *rgba, size_t bytes, gq_error *err)
{
    if (k->file)
        return gq_file_write(k->file, rgba, bytes, err);
    if (k->stream && fwrite(rgba, 1, bytes, k->stream) != bytes && k->stream != stdout)
        return sink_fail(err); /* a failed standard output is found and judged by gq_cli_end() */
    return GQ_OK;
}

static gq_status sink_close(sink *k, gq_status s, gq_error *err)
{
    if (k->file && s != GQ_OK)
        gq_atomic_abort(k->file);
    else if (k->file)
        s = gq_atomic_commit(k->file, err);
    if (k->stream && k->stream != stdout && fclose(k->stream) != 0 && s == GQ_OK)
        s = sink_fail(err);
    return s;
}

static gq_status put_png(const uint8_t *rgba, uint32_t w, uint32_t h, uint32_t index, gq_error *err)
{
    char      name[32];
    char     *path;
    gq_status s;

    snprintf(name, sizeof name, "frame-%04u.png", index);
    path = gq_path(dir, name);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    s = gq_png_write(path, rgba, w, h, 4, err);
    gq_free(path);
    return s;
}

static void tell(list *l, const gq_gif *g, const gq_gif_frame *f)
{
    l->count++;
    if (json)
        json_array_append_new(
            l->frames,
            json_pack("{s:I, s:i, s:[I,I], s:[I,I,I,I], s:i, s:b}", "index", (json_int_t)f->index,
                      "delay", (int)f->delay_cs, "size", (json_int_t)gq_gif_width(g),
                      (json_int_t)gq_gif_height(g), "rect", (json_int_t)f->x, (json_int_t)f->y,
                      (json_int_t)f->w, (json_int_t)f->h, "disposal", (int)f->disposal, "complete",
                      (int)f->complete));
    else if (!raw && !dir)
        printf("%5u  delay %4d  %ux%u  rect %u,%u %ux%u%s\n", f->index, (int)f->delay_cs,
               gq_gif_width(g), gq_gif_height(g), f->x, f->y, f->w, f->h,
               f->complete ? "" : "  damaged");
}

static gq_status walk(gq_gif *g, sink *k, list *l, gq_error *err)
{
    uint32_t  w = gq_gif_width(g), h = gq_gif_height(g);
    gq_status s = GQ_OK;

    for (;;) {
        const uint8_t *rgba;
        gq_gif_frame   f;
        if ((s = gq_gif_next(g, &rgba, &f, err)) != GQ_OK || !rgba)
            return s;
        if (gq_prep_stopping())
            return gq_fail(err, GQ_ESTOPPED, "stopped after %u frames", l->count);
        if (dir)
            s = put_png(rgba, w, h, f.index, err);
        if (s == GQ_OK)
            s = sink_put(k, rgba, (size_t)w * h * 4, err);
        if (s != GQ_OK)
            return s;
        tell(l, g, &f);
    }
}

static gq_status report(const gq_gif *g, const char *path, list *l, gq_error *err)
{
    gq_prep_warn_flags(program.name, path, gq_gif_flags(g));
    if (json) {
        json_t *o = json_pack("{s:b, s:o, s:I, s:I, s:i, s:o, s:O}", "ok", 1, "file",
                              gq_cli_string(path), "width", (json_int_t)gq_gif_width(g), "height",
                              (json_int_t)gq_gif_height(g), "loop", (int)gq_gif_loop(g), "flags",
                              gq_prep_gif_flags(gq_gif_flags(g)), "frames", l->frames);
        return gq_cli_json(o, err);
    }
    if (dir)
        printf("%u frames of %ux%u in %s\n", l->count, gq_gif_width(g), gq_gif_height(g), dir);
    return GQ_OK;
}

static gq_status run(const char *path, gq_error *err)
{
    gq_config *c = NULL;
    gq_bytes   bytes = {0};
    gq_gif    *g = NULL;
    sink       k = {0};
    list       l = {.frames = json ? json_array() : NULL};
    gq_status  s = gq_prep_config(NULL, &sets, &c, err);

    if (s == GQ_OK) {
        gq_gif_limits limits = gq_retriever_limits(c);
        if ((s = gq_gif_read(path, limits.max_bytes, &bytes, err)) == GQ_OK)
            s = gq_gif_open(bytes.data, bytes.size, path, &limits, &g, err);
    }
    if (s == GQ_OK && dir)
        s = gq_mkdirs(dir, err);
    if (s == GQ_OK && (s = sink_open(&k, err)) == GQ_OK)
        s = sink_close(&k, walk(g, &k, &l, err), err);
    if (s == GQ_OK)
        s = report(g, path, &l, err);
    json_decref(l.frames);
    gq_gif_close(g);
    gq_bytes_free(&bytes);
    gq_free(c);
    return s;
}

int gq_prep_frames(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    int         code = gq_cli_parse(&program, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    if (!rest.n && raw) { /* frames --raw cat.gif */
        rest.item[rest.n++] = raw;
        raw = "-";
    }
    if (!rest.n)
        return gq_cli_usage(program.name, "a GIF is missing: usage: %s %s", program.name,
                            program.usage);
    if (raw && !strcmp(raw, "-") && json)
        return gq_cli_usage(program.name,
                            "--json and --raw - both want standard output; give --raw a file");
    gq_prep_catch_signals();
    return run(rest.item[0], &err) == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
