#include "train/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/threads.h"
#include "data/jsonfile.h"
#include "train/export_parts.h"
#include "train/rundir.h"

static const char *const video_folders[] = {"", "clip", "qformer", "gpt2", "tokenizer", NULL};
static const char *const text_folders[] = {"", "t5", "tokenizer", NULL};          /* of model.kind t5 */

const char *gq_export_weights(gq_hf_family f)
{
    static const char *const names[GQ_HF_FAMILIES] = {[GQ_HF_CLIP] = "clip",
                                                      [GQ_HF_QFORMER] = "qformer",
                                                      [GQ_HF_GPT2] = "gpt2",
                                                      [GQ_HF_STLLM] = "stllm.safetensors",
                                                      [GQ_HF_T5] = "t5"};
    return names[f];
}

/* ---- the parts ------------------------------------------------------------------------------- */

static gq_status put_json(const char *dir, const char *name, json_t *object, gq_error *err)
{
    char     *path = gq_path(dir, name);
    gq_status s;

    if (!path) {
        json_decref(object);
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    }
    s = gq_json_save(path, object, err);
    gq_free(path);
    return s;
}

static gq_status put_weights(gq_session *s, gq_hf_family f, const char *dir, gq_error *err)
{
    char     *folder = gq_path(dir, gq_export_weights(f)), *path = NULL;
    gq_status st = folder ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    if (st == GQ_OK && f != GQ_HF_STLLM) {
        st = gq_mkdirs(folder, err);
        if (st == GQ_OK && !(path = gq_path(folder, "model.safetensors")))
            st = gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    }
    if (st == GQ_OK)
        st = gq_hf_save(s->net->params, f,
                        s->stored ? &(gq_hf_source){gq_stored_read, s->stored}
                                  : &(gq_hf_source){gq_hf_from_params, s->net->params},
                        path ? path : folder, err);
    gq_free(path);
    gq_free(folder);
    return st;
}

static gq_status put_tokenizer(const gq_tokenizer *t, const char *dir, const char *folder,
                               gq_error *err)
{
    char     *path = gq_path(dir, folder);
    gq_status s =
        path ? gq_tokenizer_save(t, path, err) : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    gq_free(path);
    return s;
}

/* CLIP's vocabulary, which questions need for CLIP-Cut, is not part of a run: where the
 * configuration says, it is taken along; where it is not any more, the export says so. */
static gq_status put_vocabulary(gq_session *s, const char *dir, gq_export_report *r, gq_error *err)
{
    const gq_config *c = &s->cfg;
    const char   *from = *c->model.tokenizer.clip ? c->model.tokenizer.clip : c->model.weights.clip;
    gq_tokenizer *t = NULL;
    gq_error      why = {0};
    gq_status     st;

    if (!c->clip.text)
        return GQ_OK;
    st = *from ? gq_tokenizer_open(from, &t, &why) : GQ_EWEIGHTS;
    if (st == GQ_ENOMEM)
        return gq_fail(err, st, "%s", why.text);
    if (st != GQ_OK) {
        snprintf(r->note, sizeof r->note,
                 "CLIP's vocabulary is not in the export%s%.380s: gifqa-ask needs it for CLIP-Cut "
                 "(--vocabulary)",
                 *why.text ? ", " : "", why.text);
        return GQ_OK;
    }
    st = put_tokenizer(t, dir, "clip", err);
    gq_tokenizer_close(t);
    return st;
}

/* What lies beside the weights of a T5. */
static gq_status put_t5(gq_session *s, const char *dir, gq_error *err)
{
    int       end = gq_tokenizer_end_id(s->tokenizer);
    gq_status st = put_json(dir, "t5/config.json", gq_export_t5(&s->cfg, end), err);

    if (st == GQ_OK)
        st = put_tokenizer(s->tokenizer, dir, "t5", err);
    return st == GQ_OK ? put_tokenizer(s->tokenizer, dir, "tokenizer", err) : st;
}

static gq_status put_towers(gq_session *s, const char *dir, gq_export_report *r, gq_error *err)
{
    const gq_config *c = &s->cfg;
    int              end = gq_tokenizer_end_id(s->tokenizer);
    gq_status        st = GQ_OK;

    for (int f = 0; st == GQ_OK && f < GQ_HF_FAMILIES; f++)
        if (gq_hf_has(s->net->params, (gq_hf_family)f))
            st = put_weights(s, (gq_hf_family)f, dir, err);
    if (st == GQ_OK && c->model.kind == GQ_CFG_KIND_T5)
        return put_t5(s, dir, err);
    if (st == GQ_OK)
        st = put_json(dir, "clip/config.json", gq_export_clip(c), err);
    if (st == GQ_OK)
        st = put_json(dir, "clip/preprocessor_config.json", gq_export_preprocessor(c), err);
    if (st == GQ_OK)
        st = put_json(dir, "qformer/config.json", gq_export_qformer(c), err);
    if (st == GQ_OK)
        st = put_json(dir, "gpt2/config.json", gq_export_gpt2(c, end), err);
    if (st == GQ_OK)
        st = put_tokenizer(s->tokenizer, dir, "gpt2", err);
    if (st == GQ_OK && gq_tokenizer_kind(s->tokenizer) == GQ_TOK_GPT2)
        st = put_json(dir, "gpt2/tokenizer_config.json", gq_export_tokenizer(c), err);
    if (st == GQ_OK)
        st = put_tokenizer(s->tokenizer, dir, "tokenizer", err);
    return st == GQ_OK ? put_vocabulary(s, dir, r, err) : st;
}

/* The configuration as another machine can use it. */
static gq_status put_config(const gq_session *s, const char *dir, gq_error *err)
{
    gq_config *c = gq_malloc(1, sizeof *c);
    char      *path = gq_strdup(dir);
    gq_rundir  r = {.path = path};
    gq_status  st;

    if (!c || !path) {
        gq_free(c);
        gq_free(path);
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    }
    *c = s->cfg;
    memset(&c->model.weights, 0, sizeof c->model.weights);
    memset(&c->model.tokenizer, 0, sizeof c->model.tokenizer);
    memset(&c->data.train, 0, sizeof c->data.train);
    memset(&c->data.val, 0, sizeof c->data.val);
    memset(&c->data.test, 0, sizeof c->data.test);
    memset(&c->run, 0, sizeof c->run);
    c->engine.threads = 0;
    st = gq_rundir_freeze(&r, c, err);
    gq_free(c);
    gq_free(path);
    return st;
}

static gq_status put_card(const gq_session *s, const char *dir, gq_error *err)
{
    char     *path = gq_path(dir, "README.md");
    gq_file  *f = NULL;
    gq_status st =
        path ? gq_atomic_open(path, &f, err) : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    if (st == GQ_OK)
        st = gq_export_card(s, f, err);
    if (st == GQ_OK)
        st = gq_atomic_commit(f, err);
    else
        gq_atomic_abort(f);
    gq_free(path);
    return st;
}

/* ---- gifqa.json ------------------------------------------------------------------------------ */

static gq_status list_file(const char *dir, const char *folder, const char *name, json_t *files,
                           gq_export_report *r, gq_error *err)
{
    char      inside[512], hex[65], quick[33];
    uint8_t   hash[32];
    uint64_t  bytes = 0;
    char     *path;
    gq_status s;

    snprintf(inside, sizeof inside, "%s%s%s", folder, *folder ? "/" : "", name);
    path = gq_path(dir, inside);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    if (gq_is_dir(path)) {
        gq_free(path);
        return GQ_OK;
    }
    s = gq_sha256_file(path, &bytes, hash, err);
    gq_hex(hash, sizeof hash, hex);
    if (s == GQ_OK)
        s = gq_xxh128_file(path, &bytes, hash, err);
    gq_hex(hash, 16, quick);
    gq_free(path);
    if (s != GQ_OK)
        return s;
    r->bytes += bytes;
    r->files++;
    if (json_array_append_new(files, json_pack("{s:s, s:I, s:s, s:s}", "file", inside,
                                               "bytes", (json_int_t)bytes, "sha256", hex, "xxh128",
                                               quick)))
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    return GQ_OK;
}

static gq_status list_folder(const char *dir, const char *folder, json_t *files,
                             gq_export_report *r, gq_error *err)
{
    char    **names = NULL, *path = *folder ? gq_path(dir, folder) : gq_strdup(dir);
    size_t    n = 0;
    gq_status s = path ? gq_list_dir(path, &names, &n, err)
                       : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    for (size_t i = 0; i < n; i++) {
        if (s == GQ_OK)
            s = list_file(dir, folder, names[i], files, r, err);
        gq_free(names[i]);
    }
    gq_free(names);
    gq_free(path);
    return s;
}

static gq_status put_about(const gq_session *s, const char *dir, gq_export_report *r, gq_error *err)
{
    json_t   *files = json_array(), *about;
    char     *path;
    gq_status st = files ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    const char *const *folder =
        s->cfg.model.kind == GQ_CFG_KIND_T5 ? text_folders : video_folders;

    for (; st == GQ_OK && *folder; folder++)
        st = list_folder(dir, *folder, files, r, err);
    if (st != GQ_OK) {
        json_decref(files);
        return st;
    }
    about = json_pack("{s:s, s:i, s:s, s:I, s:I, s:{s:s, s:s}, s:o}", "kind", "gifqa-export",
                      "format", GQ_EXPORT_FORMAT, "made_by", "gifqa " GIFQA_VERSION, "step",
                      (json_int_t)s->step, "frames", (json_int_t)s->cfg.data.frames, "prompt",
                      "template", s->cfg.prompt.template, "answer_prefix",
                      s->cfg.prompt.answer_prefix, "files", files);
    path = gq_path(dir, "gifqa.json");
    if (path) {
        st = gq_json_save_sealed(path, about, err);
    } else {
        json_decref(about);
        st = gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    }
    gq_free(path);
    return st;
}

/* ---- the directory --------------------------------------------------------------------------- */

static gq_status refuse_occupied(const char *dir, gq_error *err)
{
    char    **names = NULL;
    size_t    n = 0;
    gq_status s;

    if (gq_is_file(dir))
        return gq_fail(err, GQ_EUSAGE, "%s: is a file: give a directory that does not exist yet",
                       dir);
    if (!gq_is_dir(dir))
        return GQ_OK;
    s = gq_list_dir(dir, &names, &n, err);
    if (s == GQ_OK && n)
        s = gq_fail(err, GQ_EUSAGE,
                    "%s: is not empty (it has '%s'): give a directory that does not exist yet", dir,
                    names[0]);
    for (size_t i = 0; i < n; i++)
        gq_free(names[i]);
    gq_free(names);
    return s;
}

/* "<dir>.part-<process>", beside dir; dir without slashes at its end goes to *clean. */
static gq_status temporary_name(const char *dir, char **clean, char **part, gq_error *err)
{
    size_t n = strlen(dir);

    while (n > 1 && dir[n - 1] == '/')
        n--;
    *clean = gq_strndup(dir, n);
    *part = gq_malloc(n + 32, 1);
    if (!*clean || !*part)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    snprintf(*part, n + 32, "%s.part-%ld", *clean, (long)getpid());
    return GQ_OK;
}

/* Removes what killed exports to `dir` left beside it: directories that nobody holds. What cannot
 * be removed stays. */
static gq_status sweep(const char *dir, gq_error *err)
{
    const char *slash = strrchr(dir, '/'), *base = slash ? slash + 1 : dir;
    char       *parent = slash ? gq_strndup(dir, (size_t)(slash + 1 - dir)) : gq_strdup("."), *path;
    char      **name = NULL;
    size_t      n = 0, len = strlen(base);
    gq_status   s = parent ? gq_list_dir(parent, &name, &n, NULL) : GQ_ENOMEM;

    for (size_t i = 0; i < n; i++) {
        gq_lock *lock = NULL;
        if (s != GQ_ENOMEM && strncmp(name[i], base, len) == 0 &&
            strncmp(name[i] + len, ".part-", 6) == 0) {
            path = gq_path(parent, name[i]);
            s = path ? gq_lock_dir(path, &lock, NULL) : GQ_ENOMEM;
            if (s == GQ_OK)
                gq_remove_tree(path, NULL);
            gq_lock_release(lock);
            gq_free(path);
        }
        gq_free(name[i]);
    }
    gq_free(name);
    gq_free(parent);
    return s == GQ_ENOMEM ? gq_fail(err, s, "%s: out of memory", dir) : GQ_OK;
}

static gq_status fill(gq_session *s, const char *dir, gq_export_report *r, gq_error *err)
{
    gq_status st = put_towers(s, dir, r, err);

    if (st == GQ_OK)
        st = put_config(s, dir, err);
    if (st == GQ_OK)
        st = put_card(s, dir, err);
    if (st == GQ_OK)
        st = put_about(s, dir, r, err);
    return st;
}

gq_status gq_export(gq_session *s, const char *dir, gq_export_report *report, gq_error *err)
{
    gq_export_report unread, *r = report ? report : &unread;
    char            *clean = NULL, *part = NULL;
    gq_lock         *alive = NULL;
    gq_status        st = refuse_occupied(dir, err);

    memset(r, 0, sizeof *r);
    if (st == GQ_OK)
        st = temporary_name(dir, &clean, &part, err);
    if (st == GQ_OK) {
        st = sweep(clean, err);
        if (st == GQ_OK)
            st = gq_mkdirs(part, err);
        if (st == GQ_OK && gq_lock_dir(part, &alive, NULL) == GQ_ENOMEM)
            st = gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
        if (st == GQ_OK)
            st = fill(s, part, r, err);
        if (st == GQ_OK)
            st = gq_rename(part, clean, err);
        if (st != GQ_OK)
            gq_remove_tree(part, NULL);
        gq_lock_release(alive);
    }
    gq_free(clean);
    gq_free(part);
    return st;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Files of an export lie in it and nowhere else. */
static bool plain(const char *name)
{
    return *name && *name != '/' && !strstr(name, "..") && name[strspn(name, "\t\n\r")] == *name;
}

typedef struct listing {                /* one file of gifqa.json and what was found */
    const char *name, *sha256, *xxh128; /* borrowed from the JSON; xxh128 may be NULL */
    uint64_t    bytes;
    gq_status   status;
    gq_error    err;
} listing;

typedef struct checking { const char *dir; listing *file; } checking;

static gq_status check_file(const char *path, const listing *f, gq_error *err)
{
    uint64_t  bytes = 0;
    uint8_t   hash[32] = {0};
    char      hex[65];
    gq_error  why = {0};
    gq_status s;

    if (!gq_is_file(path))
        return gq_fail(err, GQ_EWEIGHTS, "%s is missing: export again", path);
    s = f->xxh128 ? gq_xxh128_file(path, &bytes, hash, &why)
                  : gq_sha256_file(path, &bytes, hash, &why);
    if (s != GQ_OK)
        return gq_fail(err, GQ_EWEIGHTS, "%s", why.text);
    if (bytes != f->bytes)
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s: %" PRIu64 " bytes, gifqa.json says %" PRIu64 ": export again", path,
                       bytes, f->bytes);
    gq_hex(hash, f->xxh128 ? 16 : 32, hex);
    if (strcmp(hex, f->xxh128 ? f->xxh128 : f->sha256) != 0)
        return gq_fail(err, GQ_EWEIGHTS, "%s: its %s is not the one in gifqa.json: export again",
                       path, f->xxh128 ? "XXH3" : "SHA-256");
    return GQ_OK;
}

static void check_task(void *ctx, int64_t task, int thread)
{
    const checking *c = ctx;
    listing        *f = &c->file[task];
    char           *path = gq_path(c->dir, f->name);

    (void)thread;
    f->status = path ? check_file(path, f, &f->err)
                     : gq_fail(&f->err, GQ_ENOMEM, "%s: out of memory", c->dir);
    gq_free(path);
}

static gq_status read_listing(const char *dir, json_t *entry, listing *f, gq_error *err)
{
    f->name = json_string_value(json_object_get(entry, "file"));
    f->sha256 = json_string_value(json_object_get(entry, "sha256"));
    f->xxh128 = json_string_value(json_object_get(entry, "xxh128"));
    f->bytes = (uint64_t)json_integer_value(json_object_get(entry, "bytes"));
    if (!f->name || !f->sha256 || !plain(f->name))
        return gq_fail(err, GQ_EWEIGHTS, "%s/gifqa.json: an entry of 'files' is not one of ours",
                       dir);
    return GQ_OK;
}

/* All of them, side by side; of several that differ the first in the list is told. */
static gq_status check_files(const char *dir, json_t *files, int threads, int *count, gq_error *err)
{
    size_t    n = json_array_size(files);
    checking  c = {dir, gq_calloc(n + 1, sizeof *c.file)};
    gq_pool  *pool = NULL;
    gq_status s = c.file ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    for (size_t i = 0; s == GQ_OK && i < n; i++)
        s = read_listing(dir, json_array_get(files, i), &c.file[i], err);
    if (s == GQ_OK)
        s = gq_pool_new(threads > 0 ? threads : gq_cpu_count(), &pool, err);
    if (s == GQ_OK)
        gq_parallel(pool, (int64_t)n, check_task, &c);
    for (size_t i = 0; s == GQ_OK && i < n; i++, ++*count)
        if (c.file[i].status != GQ_OK)
            s = gq_fail(err, c.file[i].status, "%s", c.file[i].err.text);
    gq_pool_free(pool);
    gq_free(c.file);
    return s;
}

static bool listed(const json_t *files, const char *start)
{
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(files, i), "file"));
        if (name && strncmp(name, start, strlen(start)) == 0)
            return true;
    }
    return false;
}

static gq_status check_about(const char *dir, json_t *about, int threads, gq_export_about *out,
                             gq_error *err)
{
    const char *kind = json_string_value(json_object_get(about, "kind"));
    json_t     *files = json_object_get(about, "files");

    out->format = (uint64_t)json_integer_value(json_object_get(about, "format"));
    out->step = (uint64_t)json_integer_value(json_object_get(about, "step"));
    if (!kind || strcmp(kind, "gifqa-export") != 0)
        return gq_fail(err, GQ_EWEIGHTS, "%s/gifqa.json: this is no export of gifqa", dir);
    if (out->format != GQ_EXPORT_FORMAT)
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s/gifqa.json: format %" PRIu64
                       ", this program reads %d: use the gifqa that "
                       "made it",
                       dir, out->format, GQ_EXPORT_FORMAT);
    bool text = listed(files, gq_export_weights(GQ_HF_T5));
    for (int f = 0; f < GQ_HF_FAMILIES; f++)
        if ((f == GQ_HF_T5) == text && !listed(files, gq_export_weights((gq_hf_family)f)))
            return gq_fail(err, GQ_EWEIGHTS, "%s/gifqa.json: '%s' is not listed", dir,
                           gq_export_weights((gq_hf_family)f));
    if (!listed(files, "config.yaml"))
        return gq_fail(err, GQ_EWEIGHTS, "%s/gifqa.json: 'config.yaml' is not listed", dir);
    return check_files(dir, files, threads, &out->files, err);
}

gq_status gq_export_check(const char *dir, int threads, gq_export_about *out, gq_error *err)
{
    char     *path = gq_path(dir, "gifqa.json");
    gq_error  why = {0};
    json_t   *about = NULL;
    gq_status s;

    memset(out, 0, sizeof *out);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    if (gq_json_load_sealed(path, 4 << 20, &about, &why) != GQ_OK)
        s = gq_fail(err, GQ_EWEIGHTS, "%s", why.text);
    else
        s = check_about(dir, about, threads, out, err);
    json_decref(about);
    gq_free(path);
    return s;
}
