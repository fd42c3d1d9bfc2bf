#include "data/shard.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/shard_private.h"

struct gq_dataset {
    char      *dir;
    int        count;                   /* shards */
    gq_shard **shard;                   /* [count] */
    int64_t   *first_gif, *first_qa;    /* [count + 1], running sums */
};

/* The shard that holds element i, given the running sums. */
static int find(const int64_t *first, int count, int64_t i)
{
    int lo = 0, hi = count - 1;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (first[mid] <= i)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

gq_status gq_shard_check_same(const gq_shard_meta *x, const char *first, const gq_shard *b,
                              gq_error *err)
{
    const gq_shard_meta *y = &b->meta;
    if (x->keyframes != y->keyframes || x->size != y->size || x->tokens != y->tokens ||
        x->width != y->width || x->bf16 != y->bf16 || x->pooled != y->pooled ||
        strcmp(x->pooled_tower, y->pooled_tower) != 0)
        return gq_fail(err, GQ_EINPUT,
                       "%s: its GIFs have another shape than those of %s; build the dataset again",
                       b->path, first);
    if (strcmp(x->tokenizer_sha256, y->tokenizer_sha256) != 0 || strcmp(x->prompt, y->prompt) != 0)
        return gq_fail(err, GQ_EINPUT,
                       "%s: was tokenized otherwise than %s; build the dataset again", b->path,
                       first);
    if (x->ntypes != y->ntypes || memcmp(x->types, y->types, sizeof x->types) != 0)
        return gq_fail(err, GQ_EINPUT,
                       "%s: has other question types than %s; build the dataset again", b->path,
                       first);
    return GQ_OK;
}

gq_status gq_shard_check_entry(const gq_shard *s, const gq_shard_entry *e, gq_error *err)
{
    return s->gifs == e->gifs && s->questions == e->questions
               ? GQ_OK
               : gq_fail(err, GQ_EINPUT,
                         "%s: has %lld GIFs, the manifest says %u; build it again", s->path,
                         (long long)s->gifs, e->gifs);
}

gq_status gq_manifest_check(const gq_manifest *m, const char *dir, gq_error *err)
{
    if (!m->complete)
        return gq_fail(err, GQ_EINPUT,
                       "%s: is not finished (%d shards so far); run the same gifqa-prep build "
                       "again",
                       dir, m->count);
    return m->count ? GQ_OK
                    : gq_fail(err, GQ_EINPUT,
                              "%s: has no shards: nothing was accepted when it was built", dir);
}

static gq_status make_room(gq_dataset *d, gq_error *err)
{
    size_t      n = (size_t)d->count + 1;
    gq_shard  **shard = gq_realloc(d->shard, n, sizeof *shard);
    d->shard = shard ? shard : d->shard;
    int64_t    *gif = gq_realloc(d->first_gif, n + 1, sizeof *gif);
    d->first_gif = gif ? gif : d->first_gif;
    int64_t    *qa = gq_realloc(d->first_qa, n + 1, sizeof *qa);
    d->first_qa = qa ? qa : d->first_qa;
    if (!shard || !gif || !qa)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu shards", d->dir, n);
    if (n == 1)
        gif[0] = qa[0] = 0;
    return GQ_OK;
}

static gq_status add_shard(gq_dataset *d, const char *path, const gq_shard_entry *e, gq_error *err)
{
    gq_shard *h;
    gq_status s = make_room(d, err);
    if (s != GQ_OK || (s = gq_shard_open(path, e, &h, err)) != GQ_OK)
        return s;
    int k = d->count++;
    d->shard[k] = h;
    d->first_gif[k + 1] = d->first_gif[k] + h->gifs;
    d->first_qa[k + 1] = d->first_qa[k] + h->questions;
    if (e && (s = gq_shard_check_entry(h, e, err)) != GQ_OK)
        return s;
    return gq_shard_check_same(&d->shard[0]->meta, d->shard[0]->path, h, err);
}

static gq_status add_dir(gq_dataset *d, const char *dir, gq_error *err)
{
    gq_manifest m;
    gq_status   s = gq_manifest_load(dir, &m, err);
    if (s != GQ_OK)
        return s;
    s = gq_manifest_check(&m, dir, err);
    for (int k = 0; s == GQ_OK && k < m.count; k++) {
        char *path = gq_path(dir, m.shard[k].file);
        s = path ? add_shard(d, path, &m.shard[k], err)
                 : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
        gq_free(path);
    }
    gq_manifest_free(&m);
    return s;
}

/* One shard; the manifest beside it must name it, for libhdf5 trusts what it reads. */
static gq_status add_file(gq_dataset *d, const char *path, gq_error *err)
{
    const char           *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *dir = slash ? gq_strndup(path, (size_t)(slash - path) + 1) : gq_strdup(".");
    char                 *list = dir ? gq_path(dir, "MANIFEST.json") : NULL;
    const gq_shard_entry *e = NULL;
    gq_manifest           m = {0};
    gq_status s = list ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", path);
    if (s == GQ_OK && !gq_is_file(list))
        s = gq_fail(
            err, GQ_EINPUT,
            "%s: is not a directory with shards; make one with gifqa-prep build (a shard by itself "
            "has no MANIFEST.json beside it)",
            path);
    if (s == GQ_OK)
        s = gq_manifest_load(dir, &m, err);
    for (int k = 0; k < m.count; k++)
        if (strcmp(m.shard[k].file, name) == 0)
            e = &m.shard[k];
    if (s == GQ_OK && !e)
        s = gq_fail(err, GQ_EINPUT, "%s: is not named in the MANIFEST.json beside it", path);
    if (s == GQ_OK)
        s = add_shard(d, path, e, err);
    gq_manifest_free(&m);
    gq_free(list);
    gq_free(dir);
    return s;
}

gq_status gq_dataset_open_list(const char *const *paths, int n, gq_dataset **out, gq_error *err)
{
    *out = NULL;
    if (n < 1)
        return gq_fail(err, GQ_EUSAGE, "no dataset is named");
    gq_dataset *d = gq_calloc(1, sizeof *d);
    if (!d || !(d->dir = gq_strdup(paths[0]))) {
        gq_free(d);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", paths[0]);
    }
    gq_status s = GQ_OK;
    for (int k = 0; s == GQ_OK && k < n; k++)
        s = gq_is_dir(paths[k]) ? add_dir(d, paths[k], err)
            : gq_is_file(paths[k])
                ? add_file(d, paths[k], err)
                : gq_fail(err, GQ_EINPUT,
                          "%s: is not a directory with shards; make one with gifqa-prep build",
                          paths[k]);
    if (s != GQ_OK) {
        gq_dataset_close(d);
        return s;
    }
    *out = d;
    return GQ_OK;
}

gq_status gq_dataset_open(const char *path, gq_dataset **out, gq_error *err)
{
    return gq_dataset_open_list(&path, 1, out, err);
}

void gq_dataset_close(gq_dataset *d)
{
    if (!d)
        return;
    for (int k = 0; k < d->count; k++)
        gq_shard_free(d->shard[k]);
    gq_free(d->shard);
    gq_free(d->first_gif);
    gq_free(d->first_qa);
    gq_free(d->dir);
    gq_free(d);
}

const gq_shard_meta *gq_dataset_meta(const gq_dataset *d) { return &d->shard[0]->meta; }
const char          *gq_dataset_dir(const gq_dataset *d) { return d->dir; }
int64_t              gq_dataset_count(const gq_dataset *d) { return d->first_qa[d->count]; }
int64_t              gq_dataset_gifs(const gq_dataset *d) { return d->first_gif[d->count]; }

const char *gq_dataset_type_name(const gq_dataset *d, int type)
{
    const gq_shard_meta *m = gq_dataset_meta(d);
    return type >= 0 && type < m->ntypes ? m->types[type] : "?";
}

void gq_dataset_qa(const gq_dataset *d, int64_t i, gq_qa *qa)
{
    int             k = find(d->first_qa, d->count, i);
    const gq_shard *s = d->shard[k];
    int64_t         r = i - d->first_qa[k];
    qa->gif = (int32_t)(d->first_gif[k] + s->qa_gif[r]);
    qa->type = s->qa_type[r];
    qa->question = s->q_text.text + s->q_text.off[r];
    qa->answer = s->a_text.text + s->a_text.off[r];
    qa->q_ids = s->q_tok.value + s->q_tok.off[r];
    qa->a_ids = s->a_tok.value + s->a_tok.off[r];
    qa->nq = (int32_t)(s->q_tok.off[r + 1] - s->q_tok.off[r]);
    qa->na = (int32_t)(s->a_tok.off[r + 1] - s->a_tok.off[r]);
}

void gq_dataset_gif(const gq_dataset *d, int64_t gif, gq_shard_gif *out)
{
    int             k = find(d->first_gif, d->count, gif);
    const gq_shard *s = d->shard[k];
    int64_t         r = gif - d->first_gif[k];
    out->name = s->name.text + s->name.off[r];
    memcpy(out->sha256, s->sha256 + 32 * r, 32);
    out->n_frames = s->n_frames[r];
    out->width = s->wh[2 * r];
    out->height = s->wh[2 * r + 1];
    out->flags = s->flags[r];
    out->frame_idx = s->frame_idx + r * s->meta.keyframes;
    out->delay_cs = s->delay_cs + r * s->meta.keyframes;
    out->pooled_n = s->pooled_n ? s->pooled_n[r] : 0;
    out->pooled = NULL;
    out->pooled_at = s->pooled_at ? s->pooled_at[r] : 0;
}

bool gq_dataset_part(const gq_dataset *d, int k, const gq_shard **out)
{
    *out = k < d->count ? d->shard[k] : NULL;
    return *out;
}

gq_status gq_shard_cursor_new(const gq_dataset *d, gq_shard_cursor **out, gq_error *err)
{
    return gq_shard_cursor_for((const gq_shard *const *)d->shard, d->count, out, err);
}

/* The shard of a GIF, which has that set; *r: its number there. */
static gq_status look_up(const gq_dataset *d, int64_t gif, gq_set_id set, const gq_shard **s,
                         int64_t *r, gq_error *err)
{
    static const char *const what[GQ_SETS] = {"frames", "features", "vectors of all frames"};
    if (gif < 0 || gif >= gq_dataset_gifs(d))
        return gq_fail(err, GQ_EBUG, "%s: GIF %lld of %lld", d->dir, (long long)gif,
                       (long long)gq_dataset_gifs(d));
    int k = find(d->first_gif, d->count, gif);
    *s = d->shard[k];
    *r = gif - d->first_gif[k];
    return (*s)->set[set].rows ? GQ_OK
                               : gq_fail(err, GQ_EINPUT, "%s: holds no %s; build it with them",
                                         d->dir, what[set]);
}

gq_status gq_dataset_frames(const gq_dataset *d, gq_shard_cursor *c, int64_t gif, uint8_t *dst,
                            gq_error *err)
{
    const gq_shard *s;
    int64_t         r;
    gq_status       st = look_up(d, gif, GQ_SET_FRAMES, &s, &r, err);
    return st == GQ_OK ? gq_shard_row(s, GQ_SET_FRAMES, r, c, dst, err) : st;
}

gq_status gq_dataset_tokens(const gq_dataset *d, gq_shard_cursor *c, int64_t gif, float *dst,
                            gq_error *err)
{
    const gq_shard_meta *m = gq_dataset_meta(d);
    const gq_shard      *s;
    int64_t              r;
    size_t               n = gq_shard_token_count(m);
    /* the 16-bit values land in the upper half of dst and are widened from the front: none is
     * overwritten unread */
    void     *stored = m->bf16 ? (uint16_t *)dst + n : (void *)dst;
    gq_status st = look_up(d, gif, GQ_SET_TOKENS, &s, &r, err);
    if (st == GQ_OK)
        st = gq_shard_row(s, GQ_SET_TOKENS, r, c, stored, err);
    if (st == GQ_OK && m->bf16)
        gq_shard_widen(stored, dst, n);
    return st;
}

gq_status gq_dataset_pooled(const gq_dataset *d, gq_shard_cursor *c, int64_t gif, float *dst,
                            gq_error *err)
{
    const gq_shard *s;
    int64_t         r;
    gq_status       st = look_up(d, gif, GQ_SET_POOLED, &s, &r, err);
    return st == GQ_OK ? gq_shard_pooled(s, r, c, dst, err) : st;
}
