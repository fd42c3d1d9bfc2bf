/* tokenizer.json of Hugging Face: the shapes that are GPT-2's and CLIP's, and what those of unigram
 * models (tok_unigram_json.c) share with them; every other is refused by name. */
#include <string.h>

#include "core/mem.h"
#include "data/jsonfile.h"
#include "data/tok_unigram.h"

#define MAX_DEPTH  32
/* a vocabulary and merges as pairs, of a million entries each */
#define MAX_VALUES ((size_t)6 << 20)

/* Counts before the parser allocates: nesting, and commas and brackets as an upper bound of the
 * values. */
static gq_status check_size(const gq_bytes *file, gq_error *err)
{
    size_t i, values = 0, depth = 0;
    bool   quoted = false;

    for (i = 0; i < file->size; i++) {
        char c = (char)file->data[i];
        if (c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\')
            i++;
        else if (!quoted && (c == '[' || c == '{') && ++depth > MAX_DEPTH)
            return gq_fail(err, GQ_EWEIGHTS, "byte %zu: nested deeper than %d", i, MAX_DEPTH);
        else if (!quoted && (c == ']' || c == '}') && depth)
            depth--;
        else if (c == '\0')             /* no part of JSON; jansson loses one behind a number    */
            return gq_fail(err, GQ_EWEIGHTS, "byte %zu: is NUL", i);
        values += !quoted && (c == ',' || c == '[' || c == '{');
        if (values > MAX_VALUES)
            return gq_fail(err, GQ_EWEIGHTS, "byte %zu: more than %zu values", i, MAX_VALUES);
    }
    return GQ_OK;
}

gq_status gq_tok_json_load(const char *path, size_t limit, gq_bytes *file, json_t **out,
                           gq_error *err)
{
    gq_bytes     own, *in = file ? file : &own;
    json_error_t je;
    gq_status    status = gq_tok_read(path, false, limit, in, err);

    *out = NULL;
    if (status)
        return status;
    status = check_size(in, err);
    if (status == GQ_OK) {
        status = gq_json_parse((const char *)in->data, in->size, out, &je);
        if (status == GQ_ENOMEM)
            gq_fail(err, GQ_ENOMEM, "no memory to read it");
        else if (!*out)
            status =
                gq_fail(err, GQ_EWEIGHTS, "line %d, column %d: %s", je.line, je.column, je.text);
        else if (!json_is_object(*out))
            status = gq_fail(err, GQ_EWEIGHTS, "not a JSON object");
    }
    if (status && *out) {
        json_decref(*out);
        *out = NULL;
    }
    if (!file)
        gq_bytes_free(&own);
    if (status)
        gq_context(err, "%s", path);
    return status;
}

gq_status gq_tok_add_vocab(gq_tokenizer *t, json_t *vocab, gq_error *err)
{
    const char *symbol;
    json_t     *id;
    gq_status   status;

    json_object_foreach(vocab, symbol, id) {
        if (!json_is_integer(id))
            return gq_fail(err, GQ_EWEIGHTS, "the id of '%.60s' is not an integer", symbol);
        if ((status = gq_tok_add(t, json_integer_value(id), symbol, strlen(symbol), err)))
            return status;
    }
    return GQ_OK;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

const char *gq_tok_type(const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    return !v || json_is_null(v) ? "null" : type ? type : "without type";
}

bool gq_tok_is(const json_t *v, const char *type)
{
    return strcmp(gq_tok_type(v), type) == 0;
}

bool gq_tok_off(const json_t *v)                    /* absent, null, false, 0 or ""               */
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && !(json_number_value(v) > 0)) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

bool gq_tok_is_text(const json_t *v, const char *text)
{
    return json_is_string(v) && strcmp(json_string_value(v), text) == 0;
}

gq_status gq_tok_refuse(gq_error *err, const char *where, const char *what, const char *want)
{
    return gq_fail(err, GQ_EWEIGHTS, "%s is '%.60s'; this program reads %s", where, what, want);
}

static gq_status check_model(const json_t *model, gq_tok_kind *kind, gq_error *err)
{
    static const char *const zero[] = {"dropout", "continuing_subword_prefix", "byte_fallback",
                                       "ignore_merges"};
    const json_t            *suffix = json_object_get(model, "end_of_word_suffix");
    size_t                   i;

    if (json_object_get(model, "type") && !gq_tok_is(model, "BPE"))
        return gq_tok_refuse(err, "model.type", gq_tok_type(model),
                             "BPE of GPT-2 or CLIP, and Unigram");
    for (i = 0; i < sizeof zero / sizeof *zero; i++)
        if (!gq_tok_off(json_object_get(model, zero[i])))
            return gq_fail(err, GQ_EWEIGHTS,
                           "model.%s is set; GPT-2 and CLIP do without it, and so must this file",
                           zero[i]);
    if (!gq_tok_off(suffix) && !gq_tok_is_text(suffix, GQ_TOK_WORD_END))
        return gq_tok_refuse(err, "model.end_of_word_suffix",
                      json_is_string(suffix) ? json_string_value(suffix) : "not text",
                      "none (GPT-2) or '</w>' (CLIP)");
    *kind = gq_tok_off(suffix) ? GQ_TOK_GPT2 : GQ_TOK_CLIP;
    return GQ_OK;
}

static gq_status check_byte_level(const json_t *v, const char *where, bool need_regex,
                                  gq_error *err)
{
    if (!gq_tok_is(v, "ByteLevel"))
        return gq_tok_refuse(err, where, gq_tok_type(v), "ByteLevel");
    if (json_is_true(json_object_get(v, "add_prefix_space")))
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s.add_prefix_space is true; GPT-2 and CLIP have it false", where);
    if (need_regex && json_is_false(json_object_get(v, "use_regex")))
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s.use_regex is false; GPT-2's own splitting needs it true", where);
    return GQ_OK;
}

static gq_status check_gpt2(const json_t *root, gq_error *err)
{
    if (!gq_tok_off(json_object_get(root, "normalizer")))
        return gq_tok_refuse(err, "normalizer", gq_tok_type(json_object_get(root, "normalizer")),
                      "none beside GPT-2's model");
    return check_byte_level(json_object_get(root, "pre_tokenizer"), "pre_tokenizer", true, err);
}

static gq_status check_clip_normalizer(const json_t *n, gq_error *err)
{
    const json_t *list = json_object_get(n, "normalizers");
    const json_t *replace = json_array_get(list, 1);

    if (!gq_tok_is(n, "Sequence") || json_array_size(list) != 3 ||
        !gq_tok_is(json_array_get(list, 0), "NFC") || !gq_tok_is(replace, "Replace") ||
        !gq_tok_is(json_array_get(list, 2), "Lowercase"))
        return gq_tok_refuse(err, "normalizer", gq_tok_type(n), "CLIP's: NFC, Replace, Lowercase");
    if (!gq_tok_is_text(json_object_get(json_object_get(replace, "pattern"), "Regex"), "\\s+") ||
        !gq_tok_is_text(json_object_get(replace, "content"), " "))
        return gq_fail(err, GQ_EWEIGHTS,
                       "normalizer.normalizers[1] is not CLIP's Replace of \\s+ by a space");
    return GQ_OK;
}

/* Published files have the expression with or without the two special tokens in front; they differ
 * only for text that spells a special token without meaning it, which is read as the first does. */
static gq_status check_clip(const json_t *root, gq_error *err)
{
    static const char   words[] = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
    static const char   all[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|"
                                "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
    const json_t       *pre = json_object_get(root, "pre_tokenizer");
    const json_t *list = json_object_get(pre, "pretokenizers"), *split = json_array_get(list, 0);
    const json_t       *regex = json_object_get(json_object_get(split, "pattern"), "Regex");
    gq_status           status = check_clip_normalizer(json_object_get(root, "normalizer"), err);

    if (status)
        return status;
    if (!gq_tok_is(pre, "Sequence") || json_array_size(list) != 2 || !gq_tok_is(split, "Split"))
        return gq_tok_refuse(err, "pre_tokenizer", gq_tok_type(pre),
                      "CLIP's: a Sequence of Split and ByteLevel");
    if (!gq_tok_is_text(regex, words) && !gq_tok_is_text(regex, all))
        return gq_tok_refuse(err, "pre_tokenizer.pretokenizers[0].pattern",
                      json_is_string(regex) ? json_string_value(regex) : "not a Regex",
                      "CLIP's expression");
    if (!gq_tok_is_text(json_object_get(split, "behavior"), "Removed") ||
        !json_is_true(json_object_get(split, "invert")))
        return gq_fail(err, GQ_EWEIGHTS,
                       "pre_tokenizer.pretokenizers[0] is not CLIP's Split: behavior Removed, "
                       "invert true");
    return check_byte_level(json_array_get(list, 1), "pre_tokenizer.pretokenizers[1]", false, err);
}

/* A frame around the text: CLIP's own is known (GQ_TOK_FRAME); GPT-2 has none. */
static gq_status check_ends(const json_t *root, gq_tok_kind kind, gq_error *err)
{
    const json_t *post = json_object_get(root, "post_processor"),
                 *decoder = json_object_get(root, "decoder");
    const json_t *single = json_object_get(post, "single");
    bool          plain = gq_tok_is(post, "null") || gq_tok_is(post, "ByteLevel");

    if (!gq_tok_is(decoder, "null") && !gq_tok_is(decoder, "ByteLevel"))
        return gq_tok_refuse(err, "decoder", gq_tok_type(decoder), "ByteLevel");
    if (gq_tok_is(post, "TemplateProcessing"))
        plain =
            json_array_size(single) == 1 && json_object_get(json_array_get(single, 0), "Sequence");
    if (kind == GQ_TOK_GPT2 && !plain)
        return gq_tok_refuse(err, "post_processor", gq_tok_type(post),
                             "GPT-2's, which adds no tokens");
    if (kind == GQ_TOK_CLIP && !gq_tok_is(post, "null") && !gq_tok_is(post, "RobertaProcessing") &&
        !gq_tok_is(post, "TemplateProcessing"))
        return gq_tok_refuse(err, "post_processor", gq_tok_type(post), "CLIP's RobertaProcessing");
    return GQ_OK;
}

/* ---- contents -------------------------------------------------------------------------------- */

gq_status gq_tok_add_added(gq_tokenizer *t, const json_t *added, bool sides, gq_error *err)
{
    static const char *const odd[] = { "single_word", "lstrip", "rstrip" };
    const size_t             odds = sides ? 1 : sizeof odd / sizeof *odd;
    size_t                   i, k;

    for (i = 0; i < json_array_size(added); i++) {
        const json_t *one = json_array_get(added, i), *content = json_object_get(one, "content");
        const json_t *id = json_object_get(one, "id");
        gq_status     status;
        if (!json_is_string(content) || !json_is_integer(id))
            return gq_fail(err, GQ_EWEIGHTS, "added_tokens[%zu] lacks its id or content", i);
        for (k = 0; k < odds; k++)
            if (json_is_true(json_object_get(one, odd[k])))
                return gq_fail(err, GQ_EWEIGHTS,
                               "added_tokens[%zu].%s is true; only literal tokens are read", i,
                               odd[k]);
        status = gq_tok_special(t, json_integer_value(id), json_string_value(content),
                                json_string_length(content), err);
        if (status) {
            gq_context(err, "added_tokens[%zu]", i);
            return status;
        }
    }
    return GQ_OK;
}

static gq_status add_merge(gq_tokenizer *t, const json_t *merge, gq_error *err)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    const char   *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;

    if (json_array_size(merge) == 2 && json_is_string(left) && json_is_string(right))
        return gq_tok_merge(t, json_string_value(left), json_string_length(left),
                            json_string_value(right), json_string_length(right), err);
    if (space && !strchr(space + 1, ' '))
        return gq_tok_merge(t, text, (size_t)(space - text), space + 1, strlen(space + 1), err);
    return gq_fail(err, GQ_EWEIGHTS, "neither \"a b\" nor [\"a\", \"b\"]");
}

static gq_status add_all(gq_tokenizer *t, const json_t *root, json_t *vocab, const json_t *merges,
                         gq_error *err)
{
    gq_status status = gq_tok_add_vocab(t, vocab, err);
    size_t    i;

    if (status) {
        gq_context(err, "model.vocab");
        return status;
    }
    for (i = 0; i < json_array_size(merges); i++)
        if ((status = add_merge(t, json_array_get(merges, i), err))) {
            gq_context(err, "model.merges[%zu]", i);
            return status;
        }
    status = gq_tok_add_added(t, json_object_get(root, "added_tokens"), false, err);
    return status ? status : gq_tok_finish(t, err);
}

gq_status gq_tok_from_json(json_t *root, gq_bytes *file, gq_tokenizer **out, gq_error *err)
{
    const json_t *model = json_object_get(root, "model");
    json_t       *vocab = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges");
    gq_tokenizer *t = NULL;
    gq_tok_kind   kind = GQ_TOK_GPT2;
    gq_status     status;

    if (gq_tok_is(model, "Unigram"))
        return gq_tok_from_unigram_json(root, file, out, err);
    status = check_model(model, &kind, err);

    if (status == GQ_OK)
        status = kind == GQ_TOK_CLIP ? check_clip(root, err) : check_gpt2(root, err);
    if (status == GQ_OK)
        status = check_ends(root, kind, err);
    if (status == GQ_OK && (!json_is_object(vocab) || !json_is_array(merges)))
        status = gq_fail(err, GQ_EWEIGHTS, "model.vocab is no object or model.merges no array");
    if (status == GQ_OK)
        status = gq_tok_new(kind, json_object_size(vocab), json_array_size(merges), &t, err);
    if (status == GQ_OK)
        status = add_all(t, root, vocab, merges, err);
    if (status) {
        gq_tokenizer_close(t);
        t = NULL;
    }
    *out = t;
    return status;
}
