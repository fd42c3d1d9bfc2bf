/* Tokenizer files: every accepted form gives the same tokenizer, every broken one a clear error. */
#include "tok_fixture.h"

static void expect_broken(const char *path, const char *needle)
{
    gq_error      err = { 0 };
    gq_tokenizer *t = (gq_tokenizer *)1;
    assert_fails(gq_tokenizer_open(path, &t, &err), GQ_EWEIGHTS, &err, needle);
    assert_null(t);
    if (!strstr(err.text, path))
        fail_msg("'%s' does not name %s", err.text, path);
}

static char *at(const char *dir, const char *name)  /* four in rotation                           */
{
    static char paths[4][256];
    static int  next;
    char       *path = paths[next++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void expect_same(const gq_tokenizer *t, const char *path)
{
    gq_tokenizer *other = fix_open(path);
    uint8_t       a[32], b[32];
    gq_tokenizer_hash(t, a);
    gq_tokenizer_hash(other, b);
    assert_memory_equal(a, b, 32);
    assert_int_equal(gq_tokenizer_vocab_size(t), gq_tokenizer_vocab_size(other));
    gq_tokenizer_close(other);
}

/* ---- accepted forms -------------------------------------------------------------------------- */

static void same_from_every_file(void **state)
{
    (void)state;
    for (int kind = FIX_GPT2; kind <= FIX_CLIP; kind++) {
        const char   *dir = gq_scratch();
        gq_tokenizer *t;
        fix_write(dir, kind);
        t = fix_open(dir);
        expect_same(t, at(dir, "vocab.json"));
        expect_same(t, at(dir, "merges.txt"));
        fix_json(dir, "tokenizer.json", fix_tokenizer_json(kind, false));
        expect_same(t, dir);
        fix_json(dir, "tokenizer.json", fix_tokenizer_json(kind, true));
        expect_same(t, at(dir, "tokenizer.json"));
        gq_tokenizer_close(t);
        gq_remove_tree(dir, NULL);
    }
}

static void openai_names(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    (void)state;
    fix_write(dir, FIX_GPT2);
    t = fix_open(dir);
    assert_int_equal(rename(at(dir, "vocab.json"), at(dir, "encoder.json")), 0);
    assert_int_equal(rename(at(dir, "merges.txt"), at(dir, "vocab.bpe")), 0);
    expect_same(t, dir);
    expect_same(t, at(dir, "vocab.bpe"));
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* The hash sees the order of merges, the names of tokens and which of them are special. */
static void hash_sees_changes(void **state)
{
    static const char *const merges[] = { "t h\nth e\na a\n", "th e\nt h\na a\n", "t h\nth e\n" };
    const char              *dir = gq_scratch();
    uint8_t                  hash[5][32];
    int                      i, k;
    gq_tokenizer            *t;
    (void)state;

    fix_write(dir, FIX_GPT2);
    for (i = 0; i < 3; i++) {
        fix_text(dir, "merges.txt", merges[i]);
        t = fix_open(dir);
        gq_tokenizer_hash(t, hash[i]);
        gq_tokenizer_close(t);
    }
    fix_text(dir, "added_tokens.json", "{\"the\": 257}");
    t = fix_open(dir);
    gq_tokenizer_hash(t, hash[3]);
    gq_tokenizer_close(t);
    fix_text(dir, "added_tokens.json", "{\"<pad>\": 273}");
    t = fix_open(dir);
    gq_tokenizer_hash(t, hash[4]);
    gq_tokenizer_close(t);
    for (i = 0; i < 5; i++)
        for (k = 0; k < i; k++)
            assert_memory_not_equal(hash[i], hash[k], 32);
    gq_remove_tree(dir, NULL);
}

static void saved_and_opened(void **state)
{
    const char   *dir = gq_scratch(), *out;
    gq_tokenizer *t;
    gq_error      err = { 0 };
    (void)state;

    for (int kind = 0; kind < 4; kind++) {
        char to[300];
        snprintf(to, sizeof to, "%s/made/%d", dir, kind);
        out = to;
        if (kind < 3)
            fix_write(dir, kind == 1 ? FIX_CLIP : FIX_GPT2);
        if (kind == 2)
            fix_text(dir, "added_tokens.json", "{\"<pad>\": 273, \"\\\"\\\\\\n\\u00e9\": 274}");
        if (kind == 3)
            fix_text(dir, "words.txt", "<pad>\n<end>\n<unk>\nred\n?\n\xC3\xA9t\xC3\xA9\n");
        t = fix_open(kind == 3 ? at(dir, "words.txt") : dir);
        assert_ok(gq_tokenizer_save(t, out, &err), &err);
        expect_same(t, out);
        assert_ok(gq_tokenizer_save(t, out, &err), &err);           /* over itself                */
        if (kind == 2)
            fix_expect(t, "a<pad>\"\\\n\xC3\xA9z", 12, GQ_TOK_SPECIAL, "97 273 274 122");
        gq_tokenizer_close(t);
    }
    t = fix_open(at(dir, "words.txt"));
    assert_fails(gq_tokenizer_save(t, dir, &err), GQ_EINPUT, &err, "holds vocab.json");
    gq_tokenizer_close(t);
    t = fix_open(at(dir, "made/0"));
    assert_fails(gq_tokenizer_save(t, dir, &err), GQ_EINPUT, &err, "holds added_tokens.json");
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* ---- broken files ---------------------------------------------------------------------------- */

static void nothing_there(void **state)
{
    const char *dir = gq_scratch();
    (void)state;
    expect_broken(dir, "no tokenizer in it");
    expect_broken(at(dir, "absent"), "absent");
    expect_broken(at(dir, "vocab.json"), "vocab.json");
    fix_write(dir, FIX_GPT2);
    assert_int_equal(unlink(at(dir, "merges.txt")), 0);
    expect_broken(dir, "merges.txt is missing");
    fix_text(dir, "merges.txt", "");
    assert_int_equal(unlink(at(dir, "vocab.json")), 0);
    expect_broken(at(dir, "merges.txt"), "vocab.json is missing");
    fix_text(dir, "notes.txt", "hello");
    expect_broken(at(dir, "notes.txt"), "neither a word list");
    gq_remove_tree(dir, NULL);
}

static void broken_vocab(void **state)
{
    static const struct {
        const char *name;               /* entry to set                                           */
        const char *json;               /* to this; NULL: remove it                               */
        const char *needle;
    } cases[] = {
        { "the", "\"x\"", "the id of 'the' is not an integer" },
        { "the", "1.5", "not an integer" },
        { "the", "3", "id 3 belongs to two" },
        { "the", "-1", "id -1" },
        { "the", "300", "id 257 is missing" },
        { "the", "9223372036854775807", "without holes" },
        { "the", NULL, "line 3: 'the'" },
        { "er", NULL, "'er'" },
        { "q", NULL, "id 113 is missing" },
        { "", "273", "is empty" },
        { "\xE2\x82\xAC", "273", "byte alphabet" },
        { "<|endoftext|>", NULL, "lacks '<|endoftext|>'" },
        { "a b", "273", "byte alphabet" },
    };
    const char *dir = gq_scratch();
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *vocab = fix_vocab(FIX_GPT2);
        fix_write(dir, FIX_GPT2);
        if (cases[i].json)
            json_object_set_new(vocab, cases[i].name,
                                json_loads(cases[i].json, JSON_DECODE_ANY, NULL));
        else
            json_object_del(vocab, cases[i].name);
        fix_json(dir, "vocab.json", vocab);
        expect_broken(dir, cases[i].needle);
    }
    gq_remove_tree(dir, NULL);
}

static void missing_bytes(void **state)
{
    const char *dir = gq_scratch();
    json_t     *vocab = json_object();
    (void)state;
    json_object_set_new(vocab, "a", json_integer(0));
    json_object_set_new(vocab, "<|endoftext|>", json_integer(1));
    fix_text(dir, "merges.txt", "");
    fix_json(dir, "vocab.json", vocab);
    expect_broken(dir, "no token for byte 0x00");
    gq_remove_tree(dir, NULL);
}

static void broken_json(void **state)
{
    static const struct {
        const char *text, *needle;
    } cases[] = {
        { "", "line 1" },
        { "[]", "not a JSON object" },
        { "{\"a\": 1, \"a\": 2}", "duplicate" },
        { "{\"a\": 1", "line 1" },
        { "{\"a\": 1}}", "line 1" },
        { "{\"\xFF\": 1}", "line 1" },
        { "{\"a\\u0000b\": 1}", "line 1" },
        { "{\"a\": 1e999}", "line 1" },
        { "{\"a\": 99999999999999999999}", "line 1" },
    };
    const char *dir = gq_scratch();
    char       *deep = gq_calloc(100001, 1);
    (void)state;

    fix_write(dir, FIX_GPT2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fix_text(dir, "vocab.json", cases[i].text);
        expect_broken(dir, cases[i].needle);
    }
    fix_put(dir, "vocab.json", "{\"a\": 1\0}", 9);       /* jansson alone does not see the NUL   */
    expect_broken(dir, "byte 7: is NUL");
    memset(deep, '[', 100000);
    fix_text(dir, "vocab.json", deep);
    expect_broken(dir, "nested deeper than 32");
    memset(deep, ',', 100000);
    fix_text(dir, "vocab.json", deep);
    expect_broken(dir, "line 1");
    gq_free(deep);
    gq_remove_tree(dir, NULL);
}

static void too_large(void **state)
{
    const char *dir = gq_scratch();
    const size_t n = ((size_t)16 << 20) + 1;
    char        *text = gq_malloc(n, 1);
    (void)state;

    memset(text, ',', n);
    fix_write(dir, FIX_GPT2);
    fix_put(dir, "merges.txt", text, n);
    expect_broken(dir, "merges.txt");
    fix_put(dir, "tokenizer.json", text, n);
    expect_broken(dir, "values");
    memcpy(text, "<pad>", 5);
    fix_put(dir, "words.txt", text, n);
    expect_broken(at(dir, "words.txt"), "words.txt");
    gq_free(text);
    gq_remove_tree(dir, NULL);
}

static void broken_merges(void **state)
{
    static const struct {
        const char *text, *needle;
    } cases[] = {
        { "#version: 0.2\nt h\nth\n", "line 3: 'th' is not two symbols" },
        { "t h\nth e x\n", "line 2: 'th e x' is not two symbols" },
        { "t h\nth  e\n", "line 2" },
        { " h\n", "line 1" },
        { "t \n", "line 1" },
        { "t h\nth e\nt h\n", "line 3: the merge is there twice, first as number 1" },
        { "t q\n", "line 1: 'tq', what the merge makes" },
        { "t zz\n", "line 1: 'zz' is not in the vocabulary" },
        { "t h\n#version: 0.2 x\n", "line 2" },
    };
    const char *dir = gq_scratch();
    (void)state;

    fix_write(dir, FIX_GPT2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fix_text(dir, "merges.txt", cases[i].text);
        expect_broken(dir, cases[i].needle);
    }
    fix_text(dir, "merges.txt", "t h\r\n\r\nth e\r\n");
    gq_tokenizer_close(fix_open(dir));
    gq_remove_tree(dir, NULL);
}

static void broken_words(void **state)
{
    static const struct {
        const char *text, *needle;
    } cases[] = {
        { "<pad>\n<unk>\n<end>\n", "line 2 must be '<end>'" },
        { "<pad>\n<end>\n", "line 3 must be '<unk>'" },
        { "<pad>\n<end>\n<unk>\nred\nRed\n", "line 5: 'Red' is not lower case" },
        { "<pad>\n<end>\n<unk>\nred\nred\n", "line 5: the entry 'red' is there twice" },
        { "<pad>\n<end>\n<unk>\n\nred\n", "line 4: the entry with id 3 is empty" },
        { "<pad>\n<end>\n<unk>\nred cat\n", "line 4: 'red cat' holds a space" },
        { "<pad>\n<end>\n<unk>\nu.s.\n", "line 4: 'u.s.' holds" },
        { "<pad>\n<end>\n<unk>\ne\xCC\x81\n", "NFC" },
        { "<pad>\n<end>\n<unk>\n\xFF\n", "line 4" },
    };
    const char *dir = gq_scratch();
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fix_text(dir, "words.txt", cases[i].text);
        expect_broken(dir, cases[i].needle);
    }
    gq_remove_tree(dir, NULL);
}

static void broken_clip_file(void **state)
{
    const char *dir = gq_scratch();
    (void)state;
    fix_text(dir, "bpe_simple_vocab_16e6.txt.gz", "#version: 0.2\ni n\nt h\n");
    expect_broken(dir, "the file ends; 48894 merges");
    fix_text(dir, "bpe_simple_vocab_16e6.txt.gz", "#version: 0.2\ni n\nxyz\n");
    expect_broken(dir, "line 3: 'xyz'");
    fix_text(dir, "bpe_simple_vocab_16e6.txt.gz", "#version: 0.2\ni n\ni n\n");
    expect_broken(dir, "line 3: the entry 'in' is there twice");
    fix_put(dir, "bpe_simple_vocab_16e6.txt.gz", "\x1F\x8B\x08\x00garbage", 11);
    expect_broken(dir, "bpe_simple_vocab_16e6.txt.gz");
    gq_remove_tree(dir, NULL);
}

/* ---- shapes of tokenizer.json ---------------------------------------------------------------- */

typedef struct shape {
    fix_kind    kind;
    const char *path, *json, *needle;   /* needle NULL: is accepted                               */
} shape;

static const shape shapes[] = {
    {FIX_GPT2, "model.type", "\"WordPiece\"", "model.type is 'WordPiece'"},
    {FIX_GPT2, "model.type", "\"Unigram\"", "model.vocab is no array"},
    {FIX_GPT2, "model.dropout", "0.1", "model.dropout"},
    {FIX_GPT2, "model.ignore_merges", "true", "model.ignore_merges"},
    {FIX_GPT2, "model.byte_fallback", "true", "model.byte_fallback"},
    {FIX_GPT2, "model.continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix"},
    {FIX_GPT2, "model.end_of_word_suffix", "\"@\"", "end_of_word_suffix is '@'"},
    {FIX_GPT2, "model.end_of_word_suffix", "\"</w>\"", "normalizer is 'null'"},
    {FIX_GPT2, "model.vocab", "[]", "model.vocab is no object"},
    {FIX_GPT2, "model.merges", "{}", "model.merges no array"},
    {FIX_GPT2, "model.merges.2", "\"a\"", "model.merges[2]: neither"},
    {FIX_GPT2, "model.merges.2", "[\"a\"]", "model.merges[2]: neither"},
    {FIX_GPT2, "model.merges.2", "[\"a\", 1]", "model.merges[2]: neither"},
    {FIX_GPT2, "model.merges.2", "\"a a a\"", "model.merges[2]: neither"},
    {FIX_GPT2, "model.merges.2", "[\"a\", \"q\"]", "model.merges[2]: 'aq'"},
    {FIX_GPT2, "model.vocab.the", "true", "model.vocab: the id of 'the'"},
    {FIX_GPT2, "normalizer", "{\"type\": \"NFKC\"}", "normalizer is 'NFKC'"},
    {FIX_GPT2, "pre_tokenizer", "{\"type\": \"Metaspace\"}", "pre_tokenizer is 'Metaspace'"},
    {FIX_GPT2, "pre_tokenizer", "null", "pre_tokenizer is 'null'"},
    {FIX_GPT2, "pre_tokenizer.add_prefix_space", "true", "add_prefix_space"},
    {FIX_GPT2, "pre_tokenizer.use_regex", "false", "use_regex"},
    {FIX_GPT2, "decoder", "{\"type\": \"WordPiece\"}", "decoder is 'WordPiece'"},
    {FIX_GPT2, "post_processor", "{\"type\": \"BertProcessing\"}",
     "post_processor is 'BertProcessing'"},
    {FIX_GPT2, "post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {}}, "
     "{\"Sequence\": {}}]}",
     "post_processor is 'TemplateProcessing'"},
    {FIX_GPT2, "post_processor",
     "{\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {}}]}", NULL},
    {FIX_GPT2, "post_processor", "null", NULL},
    {FIX_GPT2, "added_tokens.0.lstrip", "true", "added_tokens[0].lstrip"},
    {FIX_GPT2, "added_tokens.0.id", "3",
     "added_tokens[0]: special token '<|endoftext|>' has id 3 here and 272"},
    {FIX_GPT2, "added_tokens.0.id", "null", "added_tokens[0] lacks"},
    {FIX_GPT2, "added_tokens.0.content", "\"<x>\"", "id 272 belongs to two"},
    {FIX_GPT2, "added_tokens", "[]", NULL},
    {FIX_CLIP, "normalizer", "null", "normalizer is 'null'"},
    {FIX_CLIP, "normalizer.normalizers.2", "{\"type\": \"Strip\"}", "normalizer is 'Sequence'"},
    {FIX_CLIP, "normalizer.normalizers.1.content", "\"_\"", "normalizer.normalizers[1]"},
    {FIX_CLIP, "pre_tokenizer", "{\"type\": \"ByteLevel\"}", "pre_tokenizer is 'ByteLevel'"},
    {FIX_CLIP, "pre_tokenizer.pretokenizers.0.pattern.Regex", "\"\\\\w+\"", "pattern is '\\w+'"},
    {FIX_CLIP, "pre_tokenizer.pretokenizers.0.invert", "false", "invert true"},
    {FIX_CLIP, "pre_tokenizer.pretokenizers.1.type", "\"Digits\"", "pretokenizers[1] is 'Digits'"},
    {FIX_CLIP, "post_processor.type", "\"BertProcessing\"", "post_processor is 'BertProcessing'"},
};

static void shapes_of_tokenizer_json(void **state)
{
    const char *dir = gq_scratch();
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        json_t *root = fix_tokenizer_json(shapes[i].kind, i % 2);
        fix_set(root, shapes[i].path, shapes[i].json);
        fix_json(dir, "tokenizer.json", root);
        if (shapes[i].needle)
            expect_broken(dir, shapes[i].needle);
        else
            gq_tokenizer_close(fix_open(dir));
    }
    gq_remove_tree(dir, NULL);
}

/* ---- no memory ------------------------------------------------------------------------------- */

static void out_of_memory(void **state)
{
    const char *dir = gq_scratch();
    char        text[300];
    (void)state;

    memset(text, 'a', sizeof text);
    text[0] = '\xC3';
    for (int kind = 0; kind < 3; kind++) {
        if (kind < 2)
            fix_write(dir, kind ? FIX_CLIP : FIX_GPT2);
        else
            fix_text(dir, "words.txt", "<pad>\n<end>\n<unk>\nred\n\xC3\xA9t\xC3\xA9\n");
        fix_without_memory(kind == 2 ? at(dir, "words.txt") : dir, text, sizeof text,
                           GQ_TOK_REPAIR, 10);
    }
    gq_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_from_every_file), cmocka_unit_test(openai_names),
        cmocka_unit_test(hash_sees_changes),    cmocka_unit_test(saved_and_opened),
        cmocka_unit_test(nothing_there),        cmocka_unit_test(broken_vocab),
        cmocka_unit_test(missing_bytes),        cmocka_unit_test(broken_json),
        cmocka_unit_test(too_large),            cmocka_unit_test(broken_merges),
        cmocka_unit_test(broken_words),         cmocka_unit_test(broken_clip_file),
        cmocka_unit_test(shapes_of_tokenizer_json), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
