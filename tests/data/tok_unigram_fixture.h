/* tok_unigram_fixture.h - the small unigram model of tok_unigram_made.h as files: spiece.model, and
 * tokenizer.json in its published shapes. */
#ifndef GIFQA_TESTS_TOK_UNIGRAM_FIXTURE_H
#define GIFQA_TESTS_TOK_UNIGRAM_FIXTURE_H

#include "tok_fixture.h"
#include "tok_unigram_made.h"

/* NULL: the model above. Not synced as core/io.h would do: tests write thousands. */
static inline void uni_write(const char *dir, const uni_bytes *model)
{
    static uni_bytes made;
    char            *path = gq_path(dir, "spiece.model");
    FILE            *f = fopen(path, "wb");

    if (!model) {
        uni_model(&made, false);
        model = &made;
    }
    assert_non_null(f);
    assert_int_equal(fwrite(model->b, 1, model->n, f), model->n);
    assert_int_equal(fclose(f), 0);
    gq_free(path);
}

static inline int32_t uni_id(const gq_tokenizer *t, const char *piece)
{
    int32_t id = gq_tok_find(t, piece, strlen(piece));
    if (id < 0)
        fail_msg("no piece '%s'", piece);
    return id;
}

/* Fails unless text encodes to these pieces, with spaces between. */
static inline void uni_expect(const gq_tokenizer *t, const char *text, unsigned flags,
                              const char *want)
{
    int32_t  ids[256];
    size_t   n, i, used = 0;
    char     got[4096] = "";
    gq_error err = {0};

    assert_ok(gq_tokenizer_encode(t, text, strlen(text), flags, ids, 256, &n, &err), &err);
    for (i = 0; i < n; i++)
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%.*s", i ? " " : "",
                                 (int)t->symbol[ids[i]].len, t->pool + t->symbol[ids[i]].off);
    if (strcmp(got, want) != 0)
        fail_msg("'%.80s': got %s, want %s", text, got, want);
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

enum { UNI_T5, UNI_FLAN, UNI_JOINED };

static inline char *uni_base64(const uint8_t *b, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char             *out = malloc(n / 3 * 4 + 5), *p = out;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) |
                        (i + 2 < n ? b[i + 2] : 0u);
        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];
        *p++ = i + 1 < n ? digits[bits >> 6 & 63] : '=';
        *p++ = i + 2 < n ? digits[bits & 63] : '=';
    }
    *p = 0;
    return out;
}

static inline json_t *uni_normalizer(const gq_tokenizer *t, int shape)
{
    const tok_unigram *u = t->unigram;
    size_t             n = 4 + 4 * (size_t)u->rules + u->pool_size;
    uint8_t           *map = malloc(n);
    uint32_t           bytes = 4 * u->rules;
    json_t            *one;

    memcpy(map, &bytes, 4);
    memcpy(map + 4, u->rule, bytes);
    memcpy(map + 4 + bytes, u->pool, u->pool_size);
    char *text = uni_base64(map, n);
    one = json_pack("{s:s, s:s}", "type", "Precompiled", "precompiled_charsmap", text);
    free(text);
    free(map);
    if (shape != UNI_JOINED)
        return one;
    return json_pack("{s:s, s:[o, {s:s, s:b, s:b}, {s:s, s:{s:s}, s:s}]}", "type", "Sequence",
                     "normalizers", one, "type", "Strip", "strip_left", 0, "strip_right", 1, "type",
                     "Replace", "pattern", "Regex", " {2,}", "content", TOK_SPACE);
}

/* The tokenizer.json that Hugging Face would write for an open spiece.model of normal pieces. */
static inline json_t *uni_json(const gq_tokenizer *t, int shape)
{
    json_t *vocab = json_array(), *added = json_array(), *space, *pre;

    for (int32_t id = 0; id < t->size; id++) {
        const char *s = t->pool + t->symbol[id].off;
        int         len = (int)t->symbol[id].len;
        json_array_append_new(
            vocab, json_pack("[s%f]", s, len, (double)t->unigram->score[id]));
        if (t->flags[id] & TOK_IS_SPECIAL)
            json_array_append_new(added,
                                  json_pack("{s:i, s:s%, s:b, s:b}", "id", (int)id, "content", s,
                                            len, "special", 1, "lstrip", (int)id % 2));
    }
    space = json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", TOK_SPACE,
                      "prepend_scheme", "always", "split", 1);
    pre = shape == UNI_T5 ? json_pack("{s:s, s:[{s:s}, O]}", "type", "Sequence", "pretokenizers",
                                      "type", "WhitespaceSplit", space)
                          : json_incref(space);
    return json_pack(
        "{s:o, s:o, s:o, s:{s:s, s:[{s:{s:s}}, {s:{s:s}}]}, s:o, s:{s:s, s:i, s:o, s:b}}",
        "added_tokens", added, "normalizer", uni_normalizer(t, shape), "pre_tokenizer", pre,
        "post_processor", "type", "TemplateProcessing", "single", "Sequence", "id", "A",
        "SpecialToken", "id", "</s>", "decoder", space, "model", "type", "Unigram", "unk_id",
        (int)t->unknown_id, "vocab", vocab, "byte_fallback", 0);
}

static inline void uni_json_of(const char *dir, const gq_tokenizer *t, int shape)
{
    fix_json(dir, "tokenizer.json", uni_json(t, shape));
}

#endif
