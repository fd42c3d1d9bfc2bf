/* Writing a tokenizer in the files from which it, and Hugging Face's library, can be opened
 * again. */
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"

typedef struct text {                   /* grows; the first failure stays in `failed`             */
    char  *data;
    size_t used, cap;                   /* bytes                                                  */
    bool   failed;
} text;

static void put(text *out, const char *s, size_t len)
{
    if (!out->failed && out->cap - out->used < len) {
        size_t cap = 2 * out->cap + len + 4096;
        char  *data = gq_realloc(out->data, cap, 1);
        out->failed = data == NULL;
        out->data = data ? data : out->data;
        out->cap = data ? cap : out->cap;
    }
    if (out->failed)
        return;
    memcpy(out->data + out->used, s, len);
    out->used += len;
}

static void put_entry(text *out, const gq_tokenizer *t, int32_t id, bool first)
{
    const char *s = t->pool + t->symbol[id].off;
    size_t      i, len = t->symbol[id].len;
    char        number[24];

    put(out, first ? "{\"" : ", \"", first ? 2 : 3);
    for (i = 0; i < len; i++) {
        char hex[8];
        if (s[i] == '"' || s[i] == '\\')
            put(out, "\\", 1);
        if ((unsigned char)s[i] < 0x20)
            put(out, hex, (size_t)snprintf(hex, sizeof hex, "\\u%04x", (unsigned)s[i]));
        else
            put(out, s + i, 1);
    }
    put(out, number, (size_t)snprintf(number, sizeof number, "\": %d", (int)id));
}

/* A token that the model itself does not have. */
static bool is_added(const gq_tokenizer *t, int32_t id)
{
    if (t->unigram)
        return id >= t->unigram->model_size && !(t->flags[id] & TOK_IS_MADE);
    return t->flags[id] & TOK_IS_SPECIAL && id != t->end_id && id != t->begin_id;
}

static void put_entries(text *out, const gq_tokenizer *t, bool added)
{
    size_t  n = 0;
    int32_t id;
    for (id = 0; id < t->size; id++)
        if (is_added(t, id) == added)
            put_entry(out, t, id, n++ == 0);
    put(out, "}\n", 2);
}

static void put_merges(text *out, const gq_tokenizer *t)
{
    size_t i;
    put(out, "#version: 0.2\n", 14);
    for (i = 0; i < t->merge_count; i++) {
        tok_span left = t->symbol[t->merges[i] >> 32], right = t->symbol[(uint32_t)t->merges[i]];
        put(out, t->pool + left.off, left.len);
        put(out, " ", 1);
        put(out, t->pool + right.off, right.len);
        put(out, "\n", 1);
    }
}

static void put_words(text *out, const gq_tokenizer *t)
{
    int32_t id;
    for (id = 0; id < t->size; id++) {
        put(out, t->pool + t->symbol[id].off, t->symbol[id].len);
        put(out, "\n", 1);
    }
}

/* Writes out->data to dir/name and empties `out`. */
static gq_status write_out(text *out, const char *dir, const char *name, gq_error *err)
{
    char     *path = gq_path(dir, name);
    gq_status status;

    if (!path || out->failed)
        status = gq_fail(err, GQ_ENOMEM, "no memory to write %s/%s", dir, name);
    else
        status = gq_write_file(path, out->data, out->used, err);
    gq_free(path);
    out->used = 0;
    return status;
}

/* Files that would be read instead of what is written, or with it, and that are not written
 * over. */
static gq_status refuse_others(const gq_tokenizer *t, const char *dir, bool added, gq_error *err)
{
    static const char *const before_words[] = {
        "tokenizer.json", "spiece.model", "vocab.json", "encoder.json",
        "bpe_simple_vocab_16e6.txt.gz", NULL };
    static const char *const before_vocab[] = { "tokenizer.json", "spiece.model",
                                                "added_tokens.json", NULL };
    static const char *const before_spiece[] = { "tokenizer.json", "added_tokens.json", NULL };
    static const char *const nothing[] = { NULL };
    const char *const       *names = t->kind == GQ_TOK_WORDS ? before_words : before_vocab;

    if (t->unigram)
        names = strcmp(t->unigram->source_name, "spiece.model") == 0 ? before_spiece : nothing;

    for (; *names; names++) {
        char *path = gq_path(dir, *names);
        bool  there = path && gq_is_file(path);
        gq_free(path);
        if (!path)
            return gq_fail(err, GQ_ENOMEM, "no memory for a path");
        if (there && !(added && strcmp(*names, "added_tokens.json") == 0))
            return gq_fail(
                err, GQ_EINPUT,
                "%s holds %s, which would be read instead of what is written, or with it; "
                "choose another directory",
                dir, *names);
    }
    return GQ_OK;
}

gq_status gq_tokenizer_save(const gq_tokenizer *t, const char *dir, gq_error *err)
{
    text      out = { 0 };
    bool      added = false;
    gq_status status = gq_mkdirs(dir, err);
    int32_t   id;

    for (id = 0; id < t->size && t->kind != GQ_TOK_WORDS; id++)
        added |= is_added(t, id);
    if (status == GQ_OK)
        status = refuse_others(t, dir, added, err);
    if (status)
        return status;
    if (t->kind == GQ_TOK_WORDS) {
        put_words(&out, t);
        status = write_out(&out, dir, "words.txt", err);
    } else if (t->kind == GQ_TOK_UNIGRAM) {
        if (added) {
            put_entries(&out, t, true);
            status = write_out(&out, dir, "added_tokens.json", err);
        }
        if (status == GQ_OK) {
            put(&out, (const char *)t->unigram->source.data, t->unigram->source.size);
            status = write_out(&out, dir, t->unigram->source_name, err);
        }
    } else {
        put_merges(&out, t);
        status = write_out(&out, dir, "merges.txt", err);
        if (status == GQ_OK && added) {
            put_entries(&out, t, true);
            status = write_out(&out, dir, "added_tokens.json", err);
        }
        if (status == GQ_OK) {
            put_entries(&out, t, false);
            status = write_out(&out, dir, "vocab.json", err);
        }
    }
    gq_free(out.data);
    return status;
}
