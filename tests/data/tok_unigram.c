/* The unigram tokenizer: published ids, SentencePiece's and Hugging Face's on hard texts, a plain
 * reference on small models, and what is refused. */
#include "data/unicode.h"
#include "tok_unigram_fixture.h"

/* ---- published ids (need the published vocabulary) ------------------------------------------- */

static size_t golden_case(const gq_tokenizer *t, const json_t *row)
{
    static int32_t got[65536];
    const char    *text = json_string_value(json_object_get(row, "text"));
    const json_t  *ids = json_object_get(row, "ids");
    size_t         n, i, bad = 0;
    gq_error       err = {0};

    assert_ok(gq_tokenizer_encode(t, text, strlen(text), GQ_TOK_SPECIAL | GQ_TOK_FRAME, got, 65536,
                                  &n, &err),
              &err);
    for (i = 0; i < n; i++)
        bad += json_integer_value(json_array_get(ids, i)) != got[i];
    return bad + (n != json_array_size(ids));
}

/* FLAN's tokenizer.json keeps spaces beside special tokens; its one case is the text of another
 * with other ids. */
static void golden(void **state)
{
    const char    *dir = gq_scratch(), *model = need_shared("data/tok/t5/spiece.model");
    gq_tokenizer  *t5 = fix_open(model), *flan;
    FILE          *f = fopen(need_shared("data/tok/golden_t5.jsonl"), "r");
    char          *line = NULL;
    size_t         cap = 0, lines = 0, other = 0;
    (void)state;

    uni_json_of(dir, t5, UNI_FLAN);
    flan = fix_open(dir);
    assert_non_null(f);
    for (; getline(&line, &cap, f) > 0; lines++) {
        json_t *row = json_loads(line, 0, NULL);
        bool    is_flan = strstr(json_string_value(json_object_get(row, "source")), "Flan-T5-783M");
        bool    alone = is_flan && !strstr(line, "t5-small");
        if (golden_case(alone ? flan : t5, row))
            fail_msg("line %zu: other ids: %s", lines + 1, line);
        other += alone;
        json_decref(row);
    }
    assert_int_equal(lines, 612);
    assert_int_equal(other, 1);
    free(line);
    fclose(f);
    gq_tokenizer_close(t5);
    gq_tokenizer_close(flan);
    gq_remove_tree(dir, NULL);
}

static void published(void **state)
{
    gq_tokenizer *t = fix_open(need_shared("data/tok/t5"));
    int32_t       id;
    char          name[24];
    size_t        len;
    (void)state;

    assert_int_equal(gq_tokenizer_kind(t), GQ_TOK_UNIGRAM);
    assert_string_equal(gq_tokenizer_kind_name(GQ_TOK_UNIGRAM), "unigram");
    assert_int_equal(gq_tokenizer_vocab_size(t), 32100);
    assert_int_equal(gq_tokenizer_pad_id(t), 0);
    assert_int_equal(gq_tokenizer_end_id(t), 1);
    assert_int_equal(gq_tokenizer_begin_id(t), -1);
    for (int k = 0; k < 100; k++) {
        snprintf(name, sizeof name, "<extra_id_%d>", k);
        fix_expect(t, name, strlen(name), GQ_TOK_SPECIAL, (snprintf(name + 16, 8, "%d", 32099 - k),
                                                           name + 16));
        id = 32099 - k;
        assert_true(gq_tokenizer_is_special(t, id));
        assert_memory_equal(gq_tokenizer_token(t, id, &len), name, strlen(name));
    }
    /* what strangers write is text */
    fix_expect(t, "a </s>", 6, GQ_TOK_FRAME, "3 9 3 2 87 7 3155 1");
    fix_expect(t, "a </s>", 6, GQ_TOK_FRAME | GQ_TOK_SPECIAL, "3 9 1 1");
    gq_tokenizer_close(t);
}

/* ---- SentencePiece's and Hugging Face's ids on hard texts ------------------------------------ */

#define REFERENCE GQ_SOURCE_DIR "/tests/reference/"

typedef struct hard {                   /* a line of tests/reference/unigram.tsv                  */
    char  *column[7];                   /* kind, hex, ids ..., reason                             */
    char   text[8192];
    size_t len;
} hard;

static void cut_hard(char *line, hard *h)
{
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < 7; i++)
        h->column[i] = strsep(&line, "\t");
    h->len = 0;
    for (const char *hex = h->column[1]; *hex; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        h->text[h->len++] = (char)byte;
    }
}

static void expect_long(const gq_tokenizer *t, const hard *h)
{
    static int32_t ids[1 << 19];
    size_t         times = strtoul(h->column[2], NULL, 10), n, i;
    char          *text = gq_malloc(h->len, times), *p = text;
    uint64_t       sum = 0;
    gq_error       err = {0};

    for (i = 0; i < times; i++, p += h->len)
        memcpy(p, h->text, h->len);
    assert_ok(gq_tokenizer_encode(t, text, h->len * times, 0, ids, 1 << 19, &n, &err), &err);
    assert_int_equal(n, strtoul(h->column[3], NULL, 10));
    for (i = 0; i < n; i++)
        sum += (i + 1) * (uint64_t)ids[i];
    assert_int_equal(sum % (1u << 31), strtoul(h->column[4], NULL, 10));
    gq_free(text);
}

/* SentencePiece's on every line, also between special tokens; T5's tokenizer.json is the same
 * tokenizer; FLAN's ids are Hugging Face's wherever T5's are and no CR LF or ill-formed byte is in
 * the text (the script says why). */
static void hard_texts(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t = fix_open(REFERENCE "unigram.model"), *flan;
    gq_tokenizer *types = fix_open(REFERENCE "unigram_types.model");
    FILE         *f = fopen(REFERENCE "unigram.tsv", "r");
    char         *line = NULL;
    size_t        cap = 0, lines = 0, reasons = 0, same = 0;
    static hard   h;
    (void)state;

    uni_json_of(dir, t, UNI_FLAN);
    flan = fix_open(dir);
    assert_non_null(f);
    for (; getline(&line, &cap, f) > 0; lines++) {
        cut_hard(line, &h);
        if (*h.column[0] == 'l') {
            expect_long(t, &h);
            continue;
        }
        fix_expect(*h.column[0] == 'u' ? types : t, h.text, h.len, 0, h.column[2]);
        if (*h.column[0] == 'u')
            continue;
        fix_expect(t, h.text, h.len, GQ_TOK_SPECIAL, h.column[3]);
        if (*h.column[6] == '\0') {
            assert_string_equal(h.column[3], h.column[4]);
            if (gq_utf8_valid(h.text, h.len) && !memmem(h.text, h.len, "\r\n", 2)) {
                fix_expect(flan, h.text, h.len, GQ_TOK_SPECIAL, h.column[5]);
                same++;
            }
        }
        reasons += *h.column[6] != '\0';
    }
    assert_int_equal(lines, 1015);
    assert_int_equal(reasons, 100);
    assert_true(same > 350);
    free(line);
    fclose(f);
    gq_tokenizer_close(t);
    gq_tokenizer_close(types);
    gq_tokenizer_close(flan);
    gq_remove_tree(dir, NULL);
}

/* ---- a model made here ----------------------------------------------------------------------- */

static void small_model(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    (void)state;

    uni_write(dir, NULL);
    t = fix_open(dir);
    assert_int_equal(gq_tokenizer_vocab_size(t), UNI_PIECES + 100);
    uni_expect(t, "the cat", 0, "▁the ▁cat");
    uni_expect(t, "  the \t cat ", 0, "▁the ▁cat");         /* the map makes a tab a space        */
    uni_expect(t, "", 0, "");
    uni_expect(t, "   ", 0, "");
    uni_expect(t, "theca", 0, "▁the c a");
    uni_expect(t, "zz z", 0, "▁ <unk> ▁ <unk>");                /* a run is one                   */
    uni_expect(t, "zaz", 0, "▁ <unk> a <unk>");
    uni_expect(t, "aa", 0, "▁a a");
    uni_expect(t, "never", 0, "▁ n e <unk> e <unk>");           /* "never" is UNUSED              */
    uni_expect(t, "aNAMEa", 0, "▁a NAME a");                    /* USER_DEFINED                   */
    uni_expect(t, "\xEF\xBD\x81", 0, "▁a");                     /* full-width a                   */
    uni_expect(t, "a\xFF\xFF", 0, "▁a <unk>");                  /* two characters, one id         */
    uni_expect(t, "<pad>", 0, "▁ <unk> p a d <unk>");
    uni_expect(t, "<pad>", GQ_TOK_SPECIAL, "<pad>");
    uni_expect(t, "a <extra_id_7> </s>", GQ_TOK_SPECIAL, "▁a <extra_id_7> </s>");
    uni_expect(t, "a</s>", GQ_TOK_SPECIAL | GQ_TOK_FRAME, "▁a </s> </s>");
    uni_expect(t, "", GQ_TOK_FRAME, "</s>");
    assert_int_equal(uni_id(t, "<extra_id_0>"), UNI_PIECES + 99);
    assert_int_equal(uni_id(t, "<extra_id_99>"), UNI_PIECES);
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

static void decoding(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    char         *text;
    size_t        n, len;
    int32_t       ids[64];
    gq_error      err = {0};
    (void)state;

    uni_write(dir, NULL);
    t = fix_open(dir);
    assert_ok(gq_tokenizer_encode(t, "the  cat <extra_id_3> the a", 27,
                                  GQ_TOK_SPECIAL | GQ_TOK_FRAME, ids, 64, &n, &err),
              &err);
    assert_ok(gq_tokenizer_decode(t, ids, n, GQ_TOK_SKIP, &text, &len, &err), &err);
    assert_string_equal(text, "the cat the a");
    assert_int_equal(len, 13);
    gq_free(text);
    assert_ok(gq_tokenizer_decode(t, ids, n, 0, &text, NULL, &err), &err);
    assert_string_equal(text, "the cat<extra_id_3> the a</s>");
    gq_free(text);
    assert_memory_equal(gq_tokenizer_token(t, uni_id(t, "▁cat"), &len), " cat", 4);
    assert_int_equal(len, 4);
    /* only the first token's own space goes, and only one */
    ids[0] = uni_id(t, "▁");
    ids[1] = uni_id(t, "▁cat");
    assert_ok(gq_tokenizer_decode(t, ids, 2, 0, &text, NULL, &err), &err);
    assert_string_equal(text, " cat");
    gq_free(text);
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* Covered text comes back as it is normalised, whatever its spaces were. */
static void comes_back(void **state)
{
    static const char letters[] = "abcdehnpt  ";
    const char       *dir = gq_scratch();
    gq_tokenizer     *t;
    char              in[3000], want[3000], *text;
    static int32_t    ids[9000];
    gq_error          err = {0};
    (void)state;

    uni_write(dir, NULL);
    t = fix_open(dir);
    for (unsigned round = 0; round < 2000; round++) {
        size_t size = round % 50 ? round % 70 : round, n = 0, len, k;
        srand(round);
        for (k = 0; k < size; k++) {
            in[k] = letters[rand() % (int)(sizeof letters - 1)];
            if (in[k] != ' ' || (n && want[n - 1] != ' '))
                want[n++] = in[k];
        }
        n -= n && want[n - 1] == ' ';
        assert_ok(gq_tokenizer_encode(t, in, size, GQ_TOK_FRAME, ids, 9000, &k, &err), &err);
        assert_ok(gq_tokenizer_decode(t, ids, k, GQ_TOK_SKIP, &text, &len, &err), &err);
        assert_int_equal(len, n);
        assert_memory_equal(text, want, n);
        gq_free(text);
    }
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* ---- the best path, against the definition --------------------------------------------------- */

/* All ways to cut text[at ..), by trying: the best sum of pieces; the model's scores are multiples
 * of 1/8, so that sums are exact and only ties could differ. */
static float plain_best(const char *text, size_t n, float *memo)
{
    float best = -1e30f;
    if (n == 0)
        return 0;
    if (memo[n] > -1e29f)
        return memo[n];
    for (int i = 0; i < UNI_PIECES; i++) {
        size_t len = strlen(uni_pieces[i].s);
        if (uni_pieces[i].type == 1 && len <= n && memcmp(text, uni_pieces[i].s, len) == 0) {
            float sum = uni_pieces[i].score + plain_best(text + len, n - len, memo);
            best = sum > best ? sum : best;
        }
    }
    return memo[n] = best;
}

static void best_by_definition(void **state)
{
    static const char *const parts[] = {"▁", "a", "b", "ab", "abc", "c", "the", "aaaa"};
    const char              *dir = gq_scratch();
    gq_tokenizer            *t;
    char                     plain[900], in[900];
    float                    memo[900];
    static int32_t           ids[900];
    gq_error                 err = {0};
    (void)state;

    uni_write(dir, NULL);
    t = fix_open(dir);
    for (unsigned round = 0; round < 500; round++) {
        float  sum = 0, want;
        size_t n = 0, m = 0, k;
        srand(round);
        strcpy(plain, "▁a");
        strcpy(in, "a");
        for (k = 0; k < 1 + round % 90; k++) {
            const char *part = parts[rand() % 8], *last = plain + strlen(plain) - 3;
            if (*part == TOK_SPACE[0] && memcmp(last, TOK_SPACE, 3) == 0)
                continue;
            strcat(plain, part);
            strcat(in, *part == TOK_SPACE[0] ? " " : part);
        }
        strcat(plain, "a");
        strcat(in, "a");
        n = strlen(plain);
        for (k = 0; k <= n; k++)
            memo[k] = -1e30f;
        want = plain_best(plain, n, memo);
        assert_ok(gq_tokenizer_encode(t, in, strlen(in), 0, ids, 900, &m, &err), &err);
        for (k = 0; k < m; k++)
            sum += uni_pieces[ids[k]].score;
        if (sum != want)
            fail_msg("'%s': a path of %g, the best is %g", plain, (double)sum, (double)want);
    }
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* "bc d" and "b cd" sum to the same: the one whose last piece begins first was there first. */
static void ties(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    (void)state;

    uni_write(dir, NULL);
    t = fix_open(dir);
    uni_expect(t, "bcd", 0, "▁ b cd");
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* Behind two million unknown characters a sum that went on would be in steps of 4, in which "ca" is
 * no worse than "c a". */
static void sums_begin_again(void **state)
{
    const size_t  unknown = 2000000;
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    char         *text = gq_malloc(unknown + 3, 1);
    (void)state;

    memset(text, 'z', unknown);
    memcpy(text + unknown, "ca", 3);
    uni_write(dir, NULL);
    t = fix_open(dir);
    uni_expect(t, text, 0, "▁ <unk> c a");
    gq_free(text);
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* Texts whose path is settled late (no place that no piece crosses) grow the window. */
static void one_long_window(void **state)
{
    const char    *dir = gq_scratch();
    gq_tokenizer  *t;
    char          *text = gq_malloc(1 << 20, 1);
    static int32_t ids[1 << 20];
    size_t         n, i, len;
    char          *back;
    gq_error       err = {0};
    (void)state;

    uni_write(dir, NULL);
    t = fix_open(dir);
    for (i = 0; i < 1 << 20; i++)
        text[i] = "abcd"[i % 4];              /* "ab", "bc", "cd", "da" are pieces: no place      */
    assert_ok(gq_tokenizer_encode(t, text, 1 << 20, 0, ids, 1 << 20, &n, &err), &err);
    assert_ok(gq_tokenizer_decode(t, ids, n, 0, &back, &len, &err), &err);
    assert_int_equal(len, 1 << 20);
    assert_memory_equal(back, text, len);
    gq_free(back);
    assert_ok(gq_tokenizer_encode(t, text, 1 << 20, GQ_TOK_TRUNCATE | GQ_TOK_FRAME, ids, 9, &n,
                                  &err),
              &err);
    assert_int_equal(n, 9);
    assert_int_equal(ids[8], 1);
    gq_free(text);
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void expect_same(const gq_tokenizer *a, const gq_tokenizer *b)
{
    uint8_t x[32], y[32];
    gq_tokenizer_hash(a, x);
    gq_tokenizer_hash(b, y);
    assert_memory_equal(x, y, 32);
    assert_int_equal(gq_tokenizer_vocab_size(a), gq_tokenizer_vocab_size(b));
}

static void added_tokens(void **state)
{
    const char   *dir = gq_scratch(), *out = gq_path(dir, "out");
    gq_tokenizer *t, *back;
    gq_error      err = {0};
    char          text[64];
    (void)state;

    uni_write(dir, NULL);
    snprintf(text, sizeof text, "{\"<sep>\": %d, \"<hl>\": %d}", UNI_PIECES + 100,
             UNI_PIECES + 101);
    fix_text(dir, "added_tokens.json", text);
    t = fix_open(dir);
    assert_int_equal(gq_tokenizer_vocab_size(t), UNI_PIECES + 102);
    uni_expect(t, "the <hl> cat <hl> a", GQ_TOK_SPECIAL, "▁the <hl> ▁cat <hl> ▁a");
    assert_ok(gq_tokenizer_save(t, out, &err), &err);
    back = fix_open(out);
    expect_same(t, back);
    uni_expect(back, "a<sep>a", GQ_TOK_SPECIAL, "▁a <sep> ▁a");
    gq_tokenizer_close(back);
    gq_tokenizer_close(t);
    snprintf(text, sizeof text, "{\"<hl>\": %d}", UNI_PIECES + 7);      /* a sentinel's           */
    fix_text(dir, "added_tokens.json", text);
    assert_fails(gq_tokenizer_open(dir, &t, &err), GQ_EINPUT, &err, "belongs to two entries");
    fix_text(dir, "added_tokens.json", "{\"<hl>\": 1.5}");
    assert_fails(gq_tokenizer_open(dir, &t, &err), GQ_EINPUT, &err, "added_tokens.json");
    gq_free((char *)out);
    gq_remove_tree(dir, NULL);
}

static void saving(void **state)
{
    const char   *dir = gq_scratch();
    char         *a = gq_path(dir, "a"), *b = gq_path(dir, "b");
    gq_tokenizer *t, *json, *back;
    gq_error      err = {0};
    static uni_bytes model;
    (void)state;

    uni_model(&model, true);
    uni_write(dir, &model);
    t = fix_open(dir);
    assert_ok(gq_tokenizer_save(t, a, &err), &err);
    assert_ok(gq_tokenizer_save(t, a, &err), &err);         /* over itself                        */
    back = fix_open(a);
    expect_same(t, back);
    gq_tokenizer_close(back);
    for (int shape = UNI_T5; shape <= UNI_JOINED; shape++) {
        assert_ok(gq_mkdirs(b, &err), &err);
        uni_json_of(b, t, shape);
        json = fix_open(b);
        if (shape != UNI_FLAN)                              /* the same tokenizer in another file */
            expect_same(t, json);
        assert_fails(gq_tokenizer_save(t, b, &err), GQ_EINPUT, &err, "tokenizer.json");
        gq_remove_tree(a, NULL);
        assert_ok(gq_tokenizer_save(json, a, &err), &err);
        back = fix_open(a);
        expect_same(json, back);
        uni_expect(back, " the<extra_id_4>  cat ", GQ_TOK_SPECIAL,
                   shape == UNI_FLAN ? "▁the <extra_id_4> ▁ ▁cat ▁" : "▁the <extra_id_4> ▁cat");
        uni_expect(back, " ", 0, shape == UNI_FLAN ? "▁" : "");
        uni_expect(back, "\xE2\x80\x8B", 0, "");            /* nothing is left: no space either   */
        gq_tokenizer_close(back);
        gq_tokenizer_close(json);
        gq_remove_tree(b, NULL);
    }
    gq_tokenizer_close(t);
    gq_free(a);
    gq_free(b);
    gq_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),             cmocka_unit_test(published),
        cmocka_unit_test(small_model),        cmocka_unit_test(decoding),
        cmocka_unit_test(comes_back),         cmocka_unit_test(best_by_definition),
        cmocka_unit_test(one_long_window),    cmocka_unit_test(ties),
        cmocka_unit_test(sums_begin_again),   cmocka_unit_test(added_tokens),
        cmocka_unit_test(saving),             cmocka_unit_test(hard_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
