/* tok_fixture.h - small tokenizers written to a scratch directory, for the tests of the tokenizers.
 *
 * fix_write(dir, FIX_GPT2 or FIX_CLIP, edit) writes vocab.json + merges.txt of 256 byte symbols
 * (CLIP: twice), a few merges, and the special tokens. Ids: bytes in the order of the code points
 * below, then "</w>" ones, then merges.
 */
#ifndef GIFQA_TESTS_TOK_FIXTURE_H
#define GIFQA_TESTS_TOK_FIXTURE_H

#include <sys/stat.h>

#include <jansson.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/tokenizer.h"
#include "support.h"

typedef enum fix_kind { FIX_GPT2, FIX_CLIP } fix_kind;

static const char *const fix_gpt2_merges[] = {"t h", "th e",  "a a",   "aa aa", "aaaa aa", "Ġ the",
                                              "e r", "h er",  "Ġ a",   "i n",   "in g",    "a b",
                                              "b a", "ab ab", "ba ba", "Ġ Ġ"};
static const char *const fix_clip_merges[] = {
    "t h",   "th e</w>", "a a",      "aa aa",   "aaaa aa", "a b",     "a b</w>", "b a",
    "ab ab", "i n",      "in g</w>", "e r</w>", "1 2</w>", "' s</w>", "Ì ĩ</w>"};
enum { FIX_GPT2_MERGES = 16, FIX_CLIP_MERGES = 15 };

/* Symbol of one byte as UTF-8. */
static inline const char *fix_byte(unsigned b, char out[4])
{
    unsigned i, c = b, other = 0;
    bool     prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    for (i = 0; i < b; i++)
        other += !((i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174);
    if (!prints)
        c = 256 + other;
    if (c < 128)
        snprintf(out, 4, "%c", (char)c);
    else
        snprintf(out, 4, "%c%c", (char)(0xC0 | c >> 6), (char)(0x80 | (c & 63)));
    return out;
}

static inline json_t *fix_vocab(fix_kind kind)
{
    const char *const *merges = kind == FIX_CLIP ? fix_clip_merges : fix_gpt2_merges;
    const int          n = kind == FIX_CLIP ? FIX_CLIP_MERGES : FIX_GPT2_MERGES;
    json_t            *vocab = json_object();
    char               symbol[32], byte[4];
    json_int_t         id = 0;
    int                i;

    for (i = 0; i < 256; i++)
        json_object_set_new(vocab, fix_byte((unsigned)i, byte), json_integer(id++));
    for (i = 0; i < 256 && kind == FIX_CLIP; i++) {
        snprintf(symbol, sizeof symbol, "%s</w>", fix_byte((unsigned)i, byte));
        json_object_set_new(vocab, symbol, json_integer(id++));
    }
    for (i = 0; i < n; i++) {
        const char *space = strchr(merges[i], ' ');
        snprintf(symbol, sizeof symbol, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        if (!json_object_get(vocab, symbol))
            json_object_set_new(vocab, symbol, json_integer(id++));
    }
    if (kind == FIX_CLIP)
        json_object_set_new(vocab, "<|startoftext|>", json_integer(id++));
    json_object_set_new(vocab, "<|endoftext|>", json_integer(id++));
    return vocab;
}

static inline json_t *fix_merges(fix_kind kind, bool pairs)
{
    json_t *list = json_array();
    int     i, n = kind == FIX_CLIP ? FIX_CLIP_MERGES : FIX_GPT2_MERGES;
    for (i = 0; i < n; i++) {
        const char *text = kind == FIX_CLIP ? fix_clip_merges[i] : fix_gpt2_merges[i],
                   *space = strchr(text, ' ');
        json_array_append_new(list, pairs ? json_pack("[s%s]", text, (int)(space - text), space + 1)
                                          : json_string(text));
    }
    return list;
}

static inline void fix_put(const char *dir, const char *name, const void *data, size_t bytes)
{
    gq_error err = { 0 };
    char    *path = gq_path(dir, name);
    assert_ok(gq_write_file(path, data, bytes, &err), &err);
    gq_free(path);
}

static inline void fix_text(const char *dir, const char *name, const char *text)
{
    fix_put(dir, name, text, strlen(text));
}

static inline void fix_json(const char *dir, const char *name, json_t *value)    /* takes `value` */
{
    char *text = json_dumps(value, 0);
    fix_text(dir, name, text);
    free(text);
    json_decref(value);
}

static inline void fix_write(const char *dir, fix_kind kind)
{
    json_t *merges = fix_merges(kind, false);
    char    text[1024];
    size_t  used = (size_t)snprintf(text, sizeof text, "#version: 0.2\n"), i;

    for (i = 0; i < json_array_size(merges); i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n",
                                 json_string_value(json_array_get(merges, i)));
    json_decref(merges);
    fix_put(dir, "merges.txt", text, used);
    fix_json(dir, "vocab.json", fix_vocab(kind));
}

/* A tokenizer.json in the published shape. */
static inline json_t *fix_tokenizer_json(fix_kind kind, bool pairs)
{
    static const char gpt2[] =
        "{'added_tokens':[{'id':%d,'content':'<|endoftext|>','special':true,"
        "'normalized':true,'lstrip':false}],"
        "'normalizer':null,'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,"
        "'trim_offsets':true},"
        "'post_processor':{'type':'ByteLevel'},'decoder':{'type':'ByteLevel'},"
        "'model':{'type':'BPE','dropout':null,'unk_token':null,'end_of_word_suffix':''}}";
    static const char clip[] =
        "{'added_tokens':[{'id':%d,'content':'<|endoftext|>'},"
        "{'id':%d,'content':'<|startoftext|>'}],"
        "'normalizer':{'type':'Sequence','normalizers':[{'type':'NFC'},"
        "{'type':'Replace','pattern':{'Regex':'\\\\s+'},'content':' '},{'type':'Lowercase'}]},"
        "'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'Split','pattern':{'Regex':"
        "\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
        "'behavior':'Removed','invert':true},{'type':'ByteLevel','add_prefix_space':false}]},"
        "'post_processor':{'type':'RobertaProcessing'},'decoder':{'type':'ByteLevel'},"
        "'model':{'type':'BPE','unk_token':'<|endoftext|>','end_of_word_suffix':'</w>',"
        "'fuse_unk':false}}";
    json_t      *vocab = fix_vocab(kind), *root, *model;
    char         text[4096];
    int          end = (int)json_object_size(vocab) - 1, i, inside = 0;
    json_error_t je;

    snprintf(text, sizeof text, kind == FIX_CLIP ? clip : gpt2, end, end - 1);
    for (i = 0; text[i]; i++) {                     /* 'x' -> "x", but not inside the expression  */
        inside ^= text[i] == '"';
        if (text[i] == '\'' && !inside)
            text[i] = '"';
    }
    root = json_loads(text, 0, &je);
    if (!root)
        fail_msg("fixture: %s", je.text);
    model = json_object_get(root, "model");
    json_object_set_new(model, "vocab", vocab);
    json_object_set_new(model, "merges", fix_merges(kind, pairs));
    return root;
}

/* Sets the value at a path like "model.type" or "pre_tokenizer.pretokenizers.0.type". */
static inline void fix_set(json_t *root, const char *path, const char *json)
{
    char   *copy = gq_strdup(path), *rest = copy, *key;
    json_t *v = root;
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

    assert_non_null(value);
    while ((key = strsep(&rest, "."))) {
        if (!rest && json_is_array(v))
            json_array_set_new(v, (size_t)atoi(key), value);
        else if (!rest)
            json_object_set_new(v, key, value);
        else
            v = json_is_array(v) ? json_array_get(v, (size_t)atoi(key)) : json_object_get(v, key);
    }
    gq_free(copy);
}

static inline gq_tokenizer *fix_open(const char *path)
{
    gq_error      err = { 0 };
    gq_tokenizer *t;
    assert_ok(gq_tokenizer_open(path, &t, &err), &err);
    return t;
}

/* Fails unless text encodes to the ids written as "1 2 3". */
static inline void fix_expect(const gq_tokenizer *t, const char *text, size_t len, unsigned flags,
                              const char *want)
{
    static int32_t ids[65536];
    gq_error       err = { 0 };
    size_t         n, i;
    char          *got, *p;

    assert_ok(gq_tokenizer_encode(t, text, len, flags, ids, 65536, &n, &err), &err);
    p = got = gq_malloc(12 * n + 1, 1);
    *p = '\0';
    for (i = 0; i < n; i++)
        p += sprintf(p, i ? " %d" : "%d", (int)ids[i]);
    if (strcmp(got, want) != 0)
        fail_msg("'%.*s': got %s, want %s", (int)len, text, got, want);
    gq_free(got);
}

/* Every allocation fails once, `least` or more of them: an error each time, nothing lost, and success
 * once none fails. Text of at most 4096 bytes. */
static inline void fix_without_memory(const char *path, const char *text, size_t len,
                                      unsigned decoding, uint64_t least)
{
    static int32_t ids[4096];
    gq_status      status = GQ_ENOMEM;
    uint64_t       n;

    for (n = 1; status != GQ_OK && n < 5000; n++) {
        gq_tokenizer *t = NULL;
        gq_error      err = {0};
        char         *back = NULL;
        size_t        k;
        gq_mem_fail_at(n, false);
        status = gq_tokenizer_open(path, &t, &err);
        if (status == GQ_OK)
            status = gq_tokenizer_encode(t, text, len, 0, ids, 4096, &k, &err);
        if (status == GQ_OK)
            status = gq_tokenizer_decode(t, ids, k, decoding, &back, NULL, &err);
        gq_mem_fail_at(0, false);
        gq_free(back);
        gq_tokenizer_close(t);
        if (status != GQ_OK && status != GQ_ENOMEM)
            fail_msg("allocation %llu: status %d, %s", (unsigned long long)n, (int)status,
                     err.text);
    }
    assert_int_equal(status, GQ_OK);
    assert_true(n > least + 1);             /* the last one was the first that had them all */
}

#endif
