/* products.c - RUN/products.txt: how matrix products are computed on this GPU, kept with the run so that a
 * resumed run has the same bits (engine.tune). */
#include <string.h>

#include "core/mem.h"
#include "train/trainer_private.h"

enum { LIMIT = 16 << 20 };

static gq_device *tuned(const gq_trainer *t)
{
    return t->cfg.engine.tune ? t->net->engine->backend->device : NULL;
}

gq_status gq__trainer_products_take(gq_trainer *t, gq_error *err)
{
    gq_device *d = tuned(t);
    char      *path = d ? gq_path(t->dir.path, "products.txt") : NULL;
    gq_bytes   text = {0};
    gq_error   why = {0};
    gq_status  s = GQ_OK;

    if (!d)
        return GQ_OK;
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    if (gq_is_file(path))
        s = gq_read_file(path, LIMIT, &text, err);           /* a NUL follows                      */
    if (s == GQ_OK && text.data && d->choices_take(d, (const char *)text.data, &why) != GQ_OK)
        gq__trainer_note(t, "%s is not used, products are timed again: %s", path, why.text);
    d->tune(d, 1);
    gq_bytes_free(&text);
    gq_free(path);
    return s;
}

/* Before every checkpoint: what it holds was computed this way. */
gq_status gq__trainer_products_keep(gq_trainer *t, gq_error *err)
{
    gq_device *d = tuned(t);
    char      *text = d ? d->choices(d) : NULL, *path = NULL, *part = NULL;
    gq_status  s = GQ_OK;

    if (!d)
        return GQ_OK;
    path = gq_path(t->dir.path, "products.txt");
    part = gq_path(t->dir.path, ".tmp-products");
    if (!text || !path || !part)
        s = gq_fail(err, GQ_ENOMEM, "out of memory");
    if (s == GQ_OK)
        s = gq_write_file(part, text, strlen(text), err);
    if (s == GQ_OK)
        s = gq_rename(part, path, err);
    gq_free(text);
    gq_free(path);
    gq_free(part);
    return s;
}
