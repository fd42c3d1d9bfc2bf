/* tokenizer.json of Hugging Face with a Unigram model: the shapes that T5's models are published
 * in; every other is refused by name.
 *
 * Where runs of spaces count for nothing (the words are split at whitespace, or the normaliser
 * joins them) text is read as SentencePiece reads it. With a Metaspace alone behind a Precompiled
 * alone (FLAN) every space stays, and the one in front is added only where none is. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"

/* ---- shapes ---------------------------------------------------------------------------------- */

/* Of the parts of a normaliser's sequence behind the map: the end stripped, runs of spaces one. */
static gq_status check_space_part(const json_t *part, bool *joins, gq_error *err)
{
    const json_t *regex = json_object_get(json_object_get(part, "pattern"), "Regex");

    if (gq_tok_is(part, "Strip") && json_is_true(json_object_get(part, "strip_right")))
        return GQ_OK;
    if (!gq_tok_is(part, "Replace"))
        return gq_tok_refuse(err, "a part of normalizer", gq_tok_type(part),
                             "Precompiled, Strip at the right, Replace of spaces");
    if (!gq_tok_is_text(regex, " {2,}") ||
        !gq_tok_is_text(json_object_get(part, "content"), TOK_SPACE))
        return gq_fail(err, GQ_EWEIGHTS,
                       "normalizer's Replace is not that of ' {2,}' by '" TOK_SPACE "'");
    *joins = true;
    return GQ_OK;
}

static gq_status check_normalizer(const json_t *n, const json_t **map, bool *joins, gq_error *err)
{
    const json_t *list = json_object_get(n, "normalizers"), *first = n;
    size_t        i, strips = 0;
    gq_status     status;

    if (gq_tok_is(n, "Sequence")) {
        first = json_array_get(list, 0);
        for (i = 1; i < json_array_size(list); i++) {
            if ((status = check_space_part(json_array_get(list, i), joins, err)))
                return status;
            strips += gq_tok_is(json_array_get(list, i), "Strip");
        }
        if (json_array_size(list) > 1 && (!*joins || !strips))
            return gq_fail(err, GQ_EWEIGHTS,
                           "normalizer strips the end or joins spaces, but not both");
    }
    if (!gq_tok_is(first, "Precompiled"))
        return gq_tok_refuse(err, "normalizer", gq_tok_type(first),
                             "Precompiled, alone or first of a Sequence");
    *map = json_object_get(first, "precompiled_charsmap");
    return json_is_string(*map) ? GQ_OK
                                : gq_fail(err, GQ_EWEIGHTS,
                                          "normalizer.precompiled_charsmap is missing or no text");
}

static gq_status check_metaspace(const json_t *v, const char *where, gq_error *err)
{
    const json_t *scheme = json_object_get(v, "prepend_scheme");

    if (!gq_tok_is(v, "Metaspace"))
        return gq_tok_refuse(err, where, gq_tok_type(v), "Metaspace");
    if (!gq_tok_is_text(json_object_get(v, "replacement"), TOK_SPACE))
        return gq_fail(err, GQ_EWEIGHTS, "%s.replacement is not '" TOK_SPACE "'", where);
    if (scheme && !gq_tok_is_text(scheme, "always"))
        return gq_tok_refuse(err, "Metaspace.prepend_scheme",
                             json_is_string(scheme) ? json_string_value(scheme) : "not text",
                             "'always'");
    if (json_is_false(json_object_get(v, "add_prefix_space")))
        return gq_fail(err, GQ_EWEIGHTS, "%s.add_prefix_space is false; T5's is true", where);
    return GQ_OK;
}

static gq_status check_pre(const json_t *pre, bool *joins, gq_error *err)
{
    const json_t *list = json_object_get(pre, "pretokenizers");

    if (!gq_tok_is(pre, "Sequence"))
        return check_metaspace(pre, "pre_tokenizer", err);
    if (json_array_size(list) != 2 || !gq_tok_is(json_array_get(list, 0), "WhitespaceSplit"))
        return gq_tok_refuse(err, "pre_tokenizer", "Sequence of others",
                             "Metaspace, alone or behind WhitespaceSplit");
    *joins = true;
    return check_metaspace(json_array_get(list, 1), "pre_tokenizer.pretokenizers[1]", err);
}

static gq_status check_ends(const json_t *root, gq_error *err)
{
    const json_t *post = json_object_get(root, "post_processor");
    const json_t *single = json_object_get(post, "single"), *decoder;
    const json_t *text = json_object_get(json_array_get(single, 0), "Sequence");
    const json_t *end = json_object_get(json_array_get(single, 1), "SpecialToken");

    if (!gq_tok_is(post, "TemplateProcessing"))
        return gq_tok_refuse(err, "post_processor", gq_tok_type(post), "TemplateProcessing");
    if (json_array_size(single) != 2 || !text ||
        !gq_tok_is_text(json_object_get(end, "id"), TOK_UNIGRAM_END))
        return gq_fail(err, GQ_EWEIGHTS, "post_processor.single is not '$A %s'", TOK_UNIGRAM_END);
    decoder = json_object_get(root, "decoder");
    return gq_tok_is(decoder, "null") ? GQ_OK : check_metaspace(decoder, "decoder", err);
}

static gq_status check_model(const json_t *model, gq_error *err)
{
    const json_t *vocab = json_object_get(model, "vocab"), *id = json_object_get(model, "unk_id");

    if (!gq_tok_off(json_object_get(model, "byte_fallback")))
        return gq_fail(err, GQ_EWEIGHTS, "model.byte_fallback is set; it is not read");
    if (!json_is_array(vocab))
        return gq_fail(err, GQ_EWEIGHTS, "model.vocab is no array");
    if (!json_is_integer(id) || json_integer_value(id) < 0 ||
        (size_t)json_integer_value(id) >= json_array_size(vocab))
        return gq_fail(err, GQ_EWEIGHTS, "model.unk_id is not the id of an entry");
    return GQ_OK;
}

/* ---- contents -------------------------------------------------------------------------------- */

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* With padding, nothing between the digits. *out: gq_free(). */
static gq_status from_base64(const char *s, size_t n, uint8_t **out, size_t *size, gq_error *err)
{
    size_t   i, used = 0, digits = n;
    uint32_t bits = 0;

    while (digits && n - digits < 2 && s[digits - 1] == '=')
        digits--;
    *out = NULL;
    if (n % 4)
        return gq_fail(err, GQ_EWEIGHTS, "%zu characters of base64 are no whole groups of 4", n);
    *out = gq_malloc(n / 4 * 3, 1);
    if (!*out)
        return gq_fail(err, GQ_ENOMEM, "no memory for a character map of %zu bytes", n / 4 * 3);
    for (i = 0; i < digits; i++) {
        int digit = base64_digit(s[i]);
        if (digit < 0)
            return gq_fail(err, GQ_EWEIGHTS, "character %zu is not base64", i);
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            (*out)[used++] = (uint8_t)(bits >> (6 - i % 4 * 2));
    }
    *size = used;
    return GQ_OK;
}

static gq_status add_map(tok_unigram *u, const json_t *map, gq_error *err)
{
    uint8_t  *bytes = NULL;
    size_t    size = 0;
    gq_status status =
        from_base64(json_string_value(map), json_string_length(map), &bytes, &size, err);

    if (status == GQ_OK)
        status = gq_tok_charsmap(u, bytes, size, 0, err);
    gq_free(bytes);
    if (status)
        gq_context(err, "normalizer.precompiled_charsmap, decoded");
    return status;
}

static gq_status add_pieces(gq_tokenizer *t, const json_t *vocab, gq_error *err)
{
    size_t    i;
    gq_status status;

    for (i = 0; i < json_array_size(vocab); i++) {
        const json_t *one = json_array_get(vocab, i);
        const json_t *piece = json_array_get(one, 0), *score = json_array_get(one, 1);
        if (json_array_size(one) != 2 || !json_is_string(piece) || !json_is_number(score) ||
            !isfinite((float)json_number_value(score)))
            return gq_fail(err, GQ_EWEIGHTS, "model.vocab[%zu] is not [\"piece\", score]", i);
        status = gq_tok_add(t, t->size, json_string_value(piece), json_string_length(piece), err);
        if (status) {
            gq_context(err, "model.vocab[%zu]", i);
            return status;
        }
        t->unigram->score[i] = (float)json_number_value(score);
    }
    t->unigram->model_size = t->size;
    return GQ_OK;
}

static gq_status add_all(gq_tokenizer *t, const json_t *root, const json_t *map, gq_error *err)
{
    const json_t *model = json_object_get(root, "model");
    gq_status     status = add_pieces(t, json_object_get(model, "vocab"), err);
    tok_span      unknown;

    if (status == GQ_OK)
        status = add_map(t->unigram, map, err);
    if (status == GQ_OK)
        status = gq_tok_add_added(t, json_object_get(root, "added_tokens"), true, err);
    if (status)
        return status;
    t->unknown_id = (int32_t)json_integer_value(json_object_get(model, "unk_id"));
    unknown = t->symbol[t->unknown_id];
    if (!(t->flags[t->unknown_id] & TOK_IS_SPECIAL))
        status = gq_tok_special(t, t->unknown_id, t->pool + unknown.off, unknown.len, err);
    return status ? status : gq_tok_finish(t, err);
}

gq_status gq_tok_from_unigram_json(const json_t *root, gq_bytes *file, gq_tokenizer **out,
                                   gq_error *err)
{
    const json_t *model = json_object_get(root, "model"), *map = NULL;
    gq_tokenizer *t = NULL;
    bool          joins = false;
    gq_status     status = check_model(model, err);

    *out = NULL;
    if (status == GQ_OK)
        status = check_normalizer(json_object_get(root, "normalizer"), &map, &joins, err);
    if (status == GQ_OK)
        status = check_pre(json_object_get(root, "pre_tokenizer"), &joins, err);
    if (status == GQ_OK)
        status = check_ends(root, err);
    if (status == GQ_OK)
        status = gq_tok_new(GQ_TOK_UNIGRAM, json_array_size(json_object_get(model, "vocab")), 0,
                            &t, err);
    if (status == GQ_OK) {
        t->unigram->prefix = true;
        t->unigram->keep_spaces = t->unigram->prefix_once = !joins;
        status = add_all(t, root, map, err);
    }
    if (status) {
        gq_tokenizer_close(t);
        return status;
    }
    t->unigram->source = *file;
    t->unigram->source_name = "tokenizer.json";
    *file = (gq_bytes){0};
    *out = t;
    return GQ_OK;
}
