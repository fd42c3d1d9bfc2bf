/* What the commands of gifqa-prep share: signals, configuration, the words for what a
 * GIF had. */
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "tools/prep.h"
#include "train/clip_dir.h"

/* ---- signals --------------------------------------------------------------------------------- */

void gq_prep_catch_signals(void)
{
    gq_cli_listen("gifqa-prep: stopping; once more to stop at once\n");
}

bool gq_prep_stopping(void)
{
    return gq_cli_stop != 0;
}

/* ---- configuration --------------------------------------------------------------------------- */

gq_status gq_prep_config(const char *path, const gq_cli_list *sets, gq_config **out, gq_error *err)
{
    gq_status s;

    *out = gq_malloc(1, sizeof **out);
    if (!*out)
        return gq_fail(err, GQ_ENOMEM, "no memory for the configuration");
    s = gq_config_load(path, sets->item, sets->n, *out, NULL, err);
    if (s != GQ_OK) {
        gq_free(*out);
        *out = NULL;
    }
    return s;
}

gq_status gq_prep_clip_config(const gq_prep_clip_options *from, bool needs, gq_config **out,
                              gq_error *err)
{
    static gq_clip_weights weights;
    static gq_clip_sizes   sizes;
    gq_cli_list            list = {0};
    gq_status              s = GQ_OK;

    *out = NULL;
    if (!from->config && from->weights && gq_is_dir(from->weights))
        s = gq_clip_dir_sizes(from->weights, &sizes, err);
    for (int i = 0; i < sizes.n; i++)
        list.item[list.n++] = sizes.key[i];
    if (from->weights)
        gq_clip_weights_of(from->weights, &weights);
    for (int i = 0; i < weights.n; i++)
        list.item[list.n++] = weights.key[i];
    if (from->more)
        list.item[list.n++] = from->more;
    gq_cli_rung(from->sets);
    gq_cli_device(from->sets, from->device);
    if (list.n + from->sets->n > GQ_CLI_LIST_MAX)
        return gq_fail(err, GQ_EUSAGE, "--set is given too often");
    for (size_t i = 0; i < from->sets->n; i++)
        list.item[list.n++] = from->sets->item[i];
    if (s == GQ_OK)
        s = gq_prep_config(from->config, &list, out, err);
    if (s == GQ_OK && needs && !from->weights && !from->config && !*(*out)->model.weights.clip)
        s = gq_fail(
            err, GQ_EWEIGHTS,
            "no CLIP: give --weights DIR with model.safetensors, config.json, vocab.json and "
            "merges.txt as published (openai/clip-vit-base-patch32), or try it with --weights "
            "random:1");
    return s;
}

/* ---- what a GIF had -------------------------------------------------------------------------- */

static const struct {
    unsigned    flag;
    const char *name, *text;
} flags_of_gifs[] = {
    {GQ_GIF_TRUNCATED, "truncated", "the file is truncated; its complete frames were used"},
    {GQ_GIF_DAMAGED, "damaged", "damaged image data; what was readable was used"},
    {GQ_GIF_FRAME_LIMIT, "frame_limit",
     "more frames than data.limits.frames; the rest was left out"},
    {GQ_GIF_NO_PALETTE, "no_palette", "a frame has no palette; its indices were taken as grey"},
};
enum { FLAGS = sizeof flags_of_gifs / sizeof flags_of_gifs[0] };

json_t *gq_prep_gif_flags(unsigned flags)
{
    json_t *list = json_array();
    for (int i = 0; i < FLAGS; i++)
        if (flags & flags_of_gifs[i].flag)
            json_array_append_new(list, json_string(flags_of_gifs[i].name));
    return list;
}

void gq_prep_warn_flags(const char *program, const char *name, unsigned flags)
{
    for (int i = 0; i < FLAGS; i++)
        if (flags & flags_of_gifs[i].flag)
            gq_cli_warn(program, "%s: %s", name, flags_of_gifs[i].text);
}
