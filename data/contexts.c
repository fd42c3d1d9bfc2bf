#include "data/contexts.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/names.h"
#include "data/qagen/captions.h"

struct gq_contexts {
    gq_names *names;                    /* with number + 1 in text                                */
    char    **text;                     /* [gifs], owned                                          */
    uint32_t  gifs, room;
    gq_texts  rows;                     /* GIF and caption of each as read, for the hash          */
    char      sha256[65];
};

/* The name without ".gif", in a buffer of the caller; too long a name is nobody's. */
static const char *bare(const char *gif, char *buffer, size_t size)
{
    size_t n = strlen(gif);
    if (n > 4 && strcmp(gif + n - 4, ".gif") == 0)
        n -= 4;
    if (n >= size)
        return gif;
    memcpy(buffer, gif, n);
    buffer[n] = '\0';
    return buffer;
}

static bool add_gif(gq_contexts *c, uint32_t *number)
{
    if (c->gifs == c->room) {
        uint32_t more = c->room ? 2 * c->room : 256;
        char   **grown = gq_realloc(c->text, more, sizeof *grown);
        if (!grown)
            return false;
        c->text = grown;
        c->room = more;
    }
    c->text[c->gifs] = gq_strdup("");
    if (!c->text[c->gifs])
        return false;
    *number = ++c->gifs;
    return true;
}

static bool append(gq_contexts *c, const char *gif, const char *caption)
{
    char      buffer[4096];
    uint32_t *number = gq_names_add(c->names, bare(gif, buffer, sizeof buffer));
    size_t    had, n = strlen(caption);
    char     *grown;

    if (!number || (!*number && !add_gif(c, number)))
        return false;
    had = strlen(c->text[*number - 1]);
    grown = gq_realloc(c->text[*number - 1], had + n + 3, 1);
    if (!grown)
        return false;
    c->text[*number - 1] = grown;
    if (had)
        grown[had++] = ' ';
    memcpy(grown + had, caption, n + 1);
    if (n && !strchr(".!?", caption[n - 1]))
        memcpy(grown + had + n, ".", 2);
    return true;
}

static gq_status read_all(gq_contexts *c, const char *path, gq_error *err)
{
    gq_captions    *file;
    gq_captions_row row;
    size_t          at;
    gq_status       s = gq_captions_open(path, &file, err);

    if (s != GQ_OK)
        return s;
    while ((s = gq_captions_next(file, &row, err)) == GQ_OK && row.gif)
        if (!append(c, row.gif, row.text) || !gq_texts_put(&c->rows, row.gif, &at) ||
            !gq_texts_put(&c->rows, row.text, &at)) {
            s = gq_fail(err, GQ_ENOMEM, "%s: no memory for the captions of %u GIFs", path, c->gifs);
            break;
        }
    gq_captions_close(file);
    if (s == GQ_OK && !c->gifs)
        s = gq_fail(err, GQ_EINPUT, "%s: has no caption", path);
    return s;
}

gq_status gq_contexts_open(const char *path, gq_contexts **out, gq_error *err)
{
    gq_contexts *c = gq_calloc(1, sizeof *c);
    uint8_t      hash[32];
    gq_status    s = GQ_OK;

    *out = NULL;
    if (!c || !(c->names = gq_names_new()))
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for its captions", path);
    if (s == GQ_OK)
        s = read_all(c, path, err);
    if (s == GQ_OK) {
        gq_sha256(c->rows.base, c->rows.size, hash);
        gq_hex(hash, sizeof hash, c->sha256);
        gq_free(c->rows.base);
        c->rows = (gq_texts){0};
        *out = c;
    }
    if (s != GQ_OK)
        gq_contexts_close(c);
    return s;
}

void gq_contexts_close(gq_contexts *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->gifs; i++)
        gq_free(c->text[i]);
    gq_free(c->text);
    gq_free(c->rows.base);
    gq_names_free(c->names);
    gq_free(c);
}

const char *gq_contexts_find(const gq_contexts *c, const char *gif)
{
    char            buffer[4096];
    const uint32_t *number = gq_names_find(c->names, bare(gif, buffer, sizeof buffer));
    return number ? c->text[*number - 1] : NULL;
}

uint32_t gq_contexts_gifs(const gq_contexts *c)
{
    return c->gifs;
}

const char *gq_contexts_text(const gq_contexts *c, uint32_t i)
{
    return c->text[i];
}

const char *gq_contexts_sha256(const gq_contexts *c)
{
    return c->sha256;
}
