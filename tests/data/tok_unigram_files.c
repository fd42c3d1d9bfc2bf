/* Files of unigram tokenizers that are refused, each with its place and reason; and no memory. */
#include "data/unicode.h"
#include "tok_unigram_fixture.h"

static void expect_refused(const char *dir, gq_status want, const char *needle)
{
    gq_error      err = {0};
    gq_tokenizer *t = (gq_tokenizer *)1;
    assert_fails(gq_tokenizer_open(dir, &t, &err), want, &err, needle);
    assert_null(t);
    if (!strstr(err.text, dir))
        fail_msg("'%s' does not name %s", err.text, dir);
    if (want == GQ_EINPUT && !strstr(err.text, ": byte "))
        fail_msg("'%s' names no byte", err.text);
}

/* ---- spiece.model ---------------------------------------------------------------------------- */

static void cut_anywhere(void **state)
{
    static uni_bytes model, part;
    const char      *dir = gq_scratch();
    (void)state;

    uni_model(&model, false);
    for (part.n = 0; part.n < model.n; part.n += part.n < 900 ? 1 : 501) {
        memcpy(part.b, model.b, part.n);
        uni_write(dir, &part);
        expect_refused(dir, GQ_EINPUT, "byte ");
    }
    gq_remove_tree(dir, NULL);
}

typedef struct damage {                 /* bytes behind the pieces of the model                   */
    const char *bytes;
    size_t      n;
    const char *needle;
} damage;

#define DAMAGE(bytes, needle) {bytes, sizeof bytes - 1, needle}

static const damage damages[] = {
    DAMAGE("\x0F", "no type that is in use"),
    DAMAGE("\x0B", "a group"),
    DAMAGE("\x00\x00", "no field has this number"),
    DAMAGE("\x80", "a number is cut off"),
    DAMAGE("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", "longer than 64 bits"),
    DAMAGE("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "longer than 64 bits"),
    DAMAGE("\x39\x00\x00\x00", "a number is cut off"),          /* field 7, fixed64               */
    DAMAGE("\x3D\x00", "a number is cut off"),                  /* fixed32                        */
    DAMAGE("\x0A\x05\x0A\x01q", "longer than the message"),
    DAMAGE("\x0A\xFF\xFF\xFF\xFF\x0F", "longer than the message"),
    DAMAGE("\x0A\x03\x0A\x05q", "longer than the message"),
    DAMAGE("\x08\x01", "a part of the model has wire type 0, not 2"),
    DAMAGE("\x0A\x02\x08\x01", "piece has wire type 0"),
    DAMAGE("\x0A\x05\x0A\x01q\x10\x01", "score has wire type 0"),
    DAMAGE("\x0A\x06\x0A\x01q\x1A\x01\x01", "type has wire type 2"),
    DAMAGE("\x0A\x00", "piece 26: the entry with id 26 is empty"),
    DAMAGE("\x0A\x03\x0A\x01t", "the entry 't' is there twice (ids 15 and 26)"),
    DAMAGE("\x0A\x03\x0A\x01\xFF", "the piece is not UTF-8"),
    DAMAGE("\x0A\x04\x0A\x02q\x00", "holds a NUL"),
    DAMAGE("\x0A\x08\x0A\x01q\x15\x00\x00\xC0\x7F", "not finite"),
    DAMAGE("\x0A\x05\x0A\x01q\x18\x02", "a second piece of type UNKNOWN; the first has id 2"),
    DAMAGE("\x0A\x05\x0A\x01q\x18\x06", "piece 27: its type is BYTE"),
    DAMAGE("\x0A\x05\x0A\x01q\x18\x09", "its type is 9"),
    DAMAGE("\x12\x02\x18\x02", "trainer_spec.model_type is BPE"),
    DAMAGE("\x12\x02\x18\x07", "model_type is unknown"),
    DAMAGE("\x12\x03\x98\x02\x01", "byte_fallback is set"),
    DAMAGE("\x12\x03\xC0\x01\x01", "treat_whitespace_as_suffix is set"),
    DAMAGE("\x12\x02\x1A\x00", "a field of trainer_spec has wire type 2"),
    DAMAGE("\x1A\x02\x28\x00", "escape_whitespaces is off"),
    DAMAGE("\x1A\x02\x10\x00", "a field of normalizer_spec has wire type 0"),
    DAMAGE("\x1A\x03\x12\x01q", "cannot hold 0 bytes of units"),
    DAMAGE("\x1A\x08\x12\x06\x00\x04\x00\x00qq", "cannot hold 1024 bytes of units"),
    DAMAGE("\x1A\x08\x12\x06\x01\x00\x00\x00qq", "blocks of 1024"),
    DAMAGE("\x2A\x03\x12\x01q", "denormalizer_spec has a character map"),
};

static void damaged(void **state)
{
    static uni_bytes model;
    const char      *dir = gq_scratch();
    char             place[64];
    gq_tokenizer    *t;
    (void)state;

    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        uni_put_pieces(&model, false);
        size_t whole = model.n;
        memcpy(model.b + model.n, damages[i].bytes, damages[i].n);
        model.n += damages[i].n;
        uni_write(dir, &model);
        expect_refused(dir, GQ_EINPUT, damages[i].needle);
        gq_error err = {0};
        gq_tokenizer_open(dir, &t, &err);           /* the byte is one of the damage              */
        const char *byte = strstr(err.text, ": byte ") + 7;
        snprintf(place, sizeof place, "%zu", whole);
        if (strtoul(byte, NULL, 10) < whole || strtoul(byte, NULL, 10) >= model.n)
            fail_msg("'%s': the damage is at byte %s", err.text, place);
    }
    /* what is not known is passed over, whatever it holds */
    static const char others[] = "\x32\x02qq\x38\x07\x39\1\2\3\4\5\6\7\7\x12\x02\x40\x05";
    uni_put_pieces(&model, false);
    memcpy(model.b + model.n, others, sizeof others - 1);
    model.n += sizeof others - 1;
    uni_end(&model);
    uni_write(dir, &model);
    gq_tokenizer_close(fix_open(dir));
    gq_remove_tree(dir, NULL);
}

static void missing_parts(void **state)
{
    static uni_bytes model;
    const char      *dir = gq_scratch();
    char             longest[600];
    (void)state;

    for (int without = 0; without < 3; without++) {
        model.n = 0;
        for (int i = 0; i < UNI_PIECES; i++)
            if (i != without)
                uni_put_piece(&model, uni_pieces[i].s, strlen(uni_pieces[i].s), uni_pieces[i].score,
                              uni_pieces[i].type);
        uni_end(&model);
        uni_write(dir, &model);
        expect_refused(dir, GQ_EINPUT, "lacks '</s>' or '<pad>' as special tokens, or an unknown");
    }
    model.n = 0;
    uni_write(dir, &model);
    expect_refused(dir, GQ_EINPUT, "byte 0: the file ends and had no piece");
    for (int i = 0; i < 3; i++)
        uni_put_piece(&model, uni_pieces[i].s, strlen(uni_pieces[i].s), 0, uni_pieces[i].type);
    uni_put_piece(&model, "a b", 3, 0, 1);          /* never in normalised text                   */
    uni_write(dir, &model);
    expect_refused(dir, GQ_EINPUT, "the file ends and had no normalizer_spec");
    uni_end(&model);
    uni_write(dir, &model);
    expect_refused(dir, GQ_EINPUT, "no piece that text could give");
    memset(longest, 'a', sizeof longest);
    uni_put_piece(&model, longest, TOK_MAX_PIECE, 0, 1);
    uni_write(dir, &model);
    gq_tokenizer_close(fix_open(dir));
    uni_put_piece(&model, longest, TOK_MAX_PIECE + 1, 0, 1);
    uni_write(dir, &model);
    expect_refused(dir, GQ_EINPUT, "has 513 bytes; at most 512");
    gq_remove_tree(dir, NULL);
}

/* A model that has its own sentinels gets no others; nor does one beyond the limit of tokens. */
static void own_sentinels(void **state)
{
    static uni_bytes model;
    const char      *dir = gq_scratch();
    char             name[16];
    gq_tokenizer    *t;
    (void)state;

    uni_put_pieces(&model, false);
    uni_put_piece(&model, "<extra_id_0>", 12, 0, 4);
    uni_end(&model);
    uni_write(dir, &model);
    t = fix_open(dir);
    assert_int_equal(gq_tokenizer_vocab_size(t), UNI_PIECES + 1);
    uni_expect(t, "a<extra_id_0>a", 0, "▁a <extra_id_0> a");
    gq_tokenizer_close(t);
    uni_put_pieces(&model, false);
    for (int i = 0; i < 254; i++)
        uni_put_piece(&model, name, (size_t)snprintf(name, sizeof name, "<%d>", i), 0, 3);
    uni_end(&model);
    uni_write(dir, &model);
    expect_refused(dir, GQ_EINPUT, "more than 256 special tokens");
    gq_remove_tree(dir, NULL);
}

/* ---- hostile character maps ------------------------------------------------------------------ */

/* Refused, or every text still encodes within it (the sanitizers see a read outside). */
static bool survives(const uni_bytes *map)
{
    static const char text[] = "a\t\xE2\x80\x8B\xEF\xBD\x81\xCC\x81\xE2\x80\xA6\xEF\xFF z\xE2\x80";
    tok_unigram       u = {.prefix = true};
    tok_text          out;
    gq_error          err = {0};

    if (gq_tok_charsmap(&u, map->b, map->n, 1000, &err) == GQ_OK) {
        gq_tok_charsmap_plain(&u);
        assert_ok(gq_tok_normalize(&u, text, sizeof text - 1, &out, &err), &err);
        assert_true(gq_utf8_valid(out.data + out.begin, out.n - out.begin));
        gq_tok_text_free(&out);
    } else {
        assert_memory_equal(err.text, "byte ", 5);
        assert_in_range(strtoul(err.text + 5, NULL, 10), 1000, 1000 + map->n);
    }
    gq_free(u.rule);
    gq_free(u.pool);
    return err.code == GQ_OK;
}

/* Each bit of each unit that is in use, and of the size, turned. */
static void hostile_maps(void **state)
{
    static uni_bytes map;
    size_t           refused = 0, tried = 0;
    (void)state;

    map.n = 0;
    uni_map(&map);
    assert_true(survives(&map));
    for (size_t at = 0; at + 4 <= map.n; at += 4) {
        uint32_t unit;
        memcpy(&unit, map.b + at, 4);
        for (int bit = 0; bit < 32 && unit != 0x80000000u; bit++, tried++) {
            map.b[at + (size_t)bit / 8] ^= (uint8_t)(1u << bit % 8);
            refused += !survives(&map);
            map.b[at + (size_t)bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    assert_true(tried > 500);
    assert_in_range(refused, tried / 4, tried);
}

static void hostile_pool(void **state)
{
    static uni_bytes map;
    uint32_t         bytes;
    (void)state;

    for (int k = 0; k < 3; k++) {
        tok_unigram u = {.prefix = true};
        gq_error    err = {0};
        map.n = 0;
        uni_map(&map);
        memcpy(&bytes, map.b, 4);
        if (k == 0)
            map.b[map.n - 1] = 'q';
        else if (k == 1)
            map.b[4 + bytes] = 0x80;
        else
            map.n = 4 + bytes;
        assert_fails(gq_tok_charsmap(&u, map.b, map.n, 0, &err), GQ_EWEIGHTS, &err,
                     k == 1 ? "not UTF-8" : "not ended by a NUL");
        gq_free(u.rule);
        gq_free(u.pool);
    }
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

typedef struct shape {
    int         kind;
    const char *path, *json, *needle;   /* needle NULL: is accepted                               */
} shape;

static const shape shapes[] = {
    {UNI_T5, "model.byte_fallback", "true", "model.byte_fallback"},
    {UNI_T5, "model.vocab", "{}", "model.vocab is no array"},
    {UNI_T5, "model.vocab.3", "[\"a\"]", "model.vocab[3] is not"},
    {UNI_T5, "model.vocab.3", "[\"a\", \"b\"]", "model.vocab[3] is not"},
    {UNI_T5, "model.vocab.3", "[\"a\", 1e300]", "model.vocab[3] is not"},
    {UNI_T5, "model.vocab.3", "[\"t\", 1]", "model.vocab[15]: the entry 't' is there twice"},
    {UNI_T5, "model.vocab.3", "[\"\", 1]", "model.vocab[3]: the entry with id 3 is empty"},
    {UNI_T5, "model.unk_id", "null", "model.unk_id"},
    {UNI_T5, "model.unk_id", "1000", "model.unk_id"},
    {UNI_T5, "model.unk_id", "-1", "model.unk_id"},
    {UNI_T5, "model.unk_id", "5", NULL},
    {UNI_T5, "normalizer", "null", "normalizer is 'null'"},
    {UNI_T5, "normalizer", "{\"type\": \"NFKC\"}", "normalizer is 'NFKC'"},
    {UNI_T5, "normalizer.precompiled_charsmap", "1", "precompiled_charsmap is missing"},
    {UNI_T5, "normalizer.precompiled_charsmap", "\"\"", NULL},
    {UNI_T5, "normalizer.precompiled_charsmap", "\"abc\"", "no whole groups of 4"},
    {UNI_T5, "normalizer.precompiled_charsmap", "\"ab=c\"", "character 2 is not base64"},
    {UNI_T5, "normalizer.precompiled_charsmap", "\"ab%c\"", "character 2 is not base64"},
    {UNI_T5, "normalizer.precompiled_charsmap", "\"AAAA\"", "decoded: byte 0: a character map"},
    {UNI_JOINED, "normalizer.normalizers.1", "{\"type\": \"Lowercase\"}", "is 'Lowercase'"},
    {UNI_JOINED, "normalizer.normalizers.1.strip_right", "false", "is 'Strip'"},
    {UNI_JOINED, "normalizer.normalizers.2.content", "\"_\"", "normalizer's Replace"},
    {UNI_JOINED, "normalizer.normalizers.2.pattern.Regex", "\" \"", "normalizer's Replace"},
    {UNI_JOINED, "normalizer.normalizers.2", "{\"type\":\"Strip\",\"strip_right\":true}",
     "but not both"},
    {UNI_JOINED, "normalizer.normalizers.0.type", "\"NFC\"", "normalizer is 'NFC'"},
    {UNI_T5, "pre_tokenizer", "null", "pre_tokenizer is 'null'"},
    {UNI_T5, "pre_tokenizer.pretokenizers.0.type", "\"Digits\"", "is 'Sequence of others'"},
    {UNI_T5, "pre_tokenizer.pretokenizers.1.type", "\"ByteLevel\"", "[1] is 'ByteLevel'"},
    {UNI_FLAN, "pre_tokenizer.replacement", "\"_\"", "pre_tokenizer.replacement"},
    {UNI_FLAN, "pre_tokenizer.prepend_scheme", "\"first\"", "prepend_scheme is 'first'"},
    {UNI_FLAN, "pre_tokenizer.prepend_scheme", "1", "prepend_scheme is 'not text'"},
    {UNI_FLAN, "pre_tokenizer.add_prefix_space", "false", "add_prefix_space is false"},
    {UNI_FLAN, "pre_tokenizer.add_prefix_space", "true", NULL},
    {UNI_T5, "decoder", "{\"type\": \"WordPiece\"}", "decoder is 'WordPiece'"},
    {UNI_T5, "decoder", "null", NULL},
    {UNI_T5, "post_processor", "null", "post_processor is 'null'"},
    {UNI_T5, "post_processor.single.1.SpecialToken.id", "\"<s>\"", "is not '$A </s>'"},
    {UNI_T5, "post_processor.single.0", "{\"SpecialToken\":{}}", "is not '$A </s>'"},
    {UNI_T5, "added_tokens.1.single_word", "true", "added_tokens[1].single_word"},
    {UNI_T5, "added_tokens.1.id", "0", "special token '</s>' has id 0 here and 1"},
    {UNI_T5, "added_tokens", "[]", "lacks '</s>'"},
};

static void shapes_of_tokenizer_json(void **state)
{
    const char      *dir = gq_scratch();
    static uni_bytes model;
    gq_tokenizer    *t;
    (void)state;

    uni_model(&model, true);
    uni_write(dir, &model);
    t = fix_open(dir);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        json_t *root = uni_json(t, shapes[i].kind);
        fix_set(root, shapes[i].path, shapes[i].json);
        fix_json(dir, "tokenizer.json", root);
        if (shapes[i].needle)
            expect_refused(dir, GQ_EWEIGHTS, shapes[i].needle);
        else
            gq_tokenizer_close(fix_open(dir));
    }
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* ---- no memory ------------------------------------------------------------------------------- */

static void out_of_memory(void **state)
{
    const char      *dir = gq_scratch();
    static uni_bytes model;
    static char      text[3000];
    (void)state;

    memset(text, 'a', sizeof text);
    uni_model(&model, true);
    uni_write(dir, &model);
    fix_text(dir, "added_tokens.json", "{}");
    for (int json = 0; json < 2; json++) {
        gq_tokenizer *t = fix_open(dir);
        if (json)
            uni_json_of(dir, t, UNI_JOINED);
        gq_tokenizer_close(t);
        fix_without_memory(dir, text, sizeof text, 0, 20);
    }
    gq_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_anywhere),  cmocka_unit_test(damaged),
        cmocka_unit_test(missing_parts), cmocka_unit_test(own_sentinels),
        cmocka_unit_test(hostile_maps),  cmocka_unit_test(hostile_pool),
        cmocka_unit_test(out_of_memory), cmocka_unit_test(shapes_of_tokenizer_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
