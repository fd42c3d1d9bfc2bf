/* The ids that tokenizers give: published values, Hugging Face's on hard texts, a plain reference
 * on small ones. */
#include <pthread.h>
#include <time.h>

#include "tok_fixture.h"

/* ---- published ids (need the published vocabularies) ----------------------------------------- */

static void check_golden(const char *file, const char *vocab, unsigned flags)
{
    gq_tokenizer *t = fix_open(vocab);
    FILE         *f = fopen(file, "r");
    char         *line = NULL, want[65536];
    size_t        cap = 0, lines = 0, i;

    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t     *row = json_loads(line, 0, NULL), *ids = json_object_get(row, "ids");
        const char *text = json_string_value(json_object_get(row, "text"));
        char       *p = want;
        assert_non_null(text);
        *p = '\0';
        for (i = 0; i < json_array_size(ids); i++)
            p += sprintf(p, i ? " %lld" : "%lld",
                         (long long)json_integer_value(json_array_get(ids, i)));
        fix_expect(t, text, strlen(text), flags, want);
        json_decref(row);
        lines++;
    }
    assert_true(lines > 600);
    free(line);
    fclose(f);
    gq_tokenizer_close(t);
}

static void golden_gpt2(void **state)
{
    (void)state;
    check_golden(need_shared("data/tok/golden_gpt2.jsonl"), need_shared("data/tok/gpt2"), 0);
}

static void golden_clip(void **state)
{
    (void)state;
    check_golden(need_shared("data/tok/golden_clip.jsonl"), need_shared("data/tok/clip"),
                 GQ_TOK_FRAME);
}

typedef struct golden {
    const char *text, *ids;
} golden;

static void published_gpt2(void **state)
{
    static const golden cases[] = {
        {"Hello world", "15496 995"},
        {" Hello world", "18435 995"},
        {"question: what is the man doing? answer: dancing",
         "25652 25 644 318 262 582 1804 30 3280 25 15360"},
        {"a man", "64 582"},
        {" a man", "257 582"},
        {"Question: Who is dancing? Answer:", "24361 25 5338 318 15360 30 23998 25"},
        {"  two  spaces \n\n tab\t", "220 734 220 9029 220 628 7400 197"},
        {"it's 2024!!! don't", "270 338 48609 10185 836 470"},
        {"I'LL GO", "40 6 3069 10351"},
        {"na\u00efve caf\u00e9 \u2014 \U0001F600", "2616 38776 40304 851 30325 222"},
        {"\n", "198"},
        {"", ""},
        {"Answer: a man<|endoftext|>", "33706 25 257 582 27 91 437 1659 5239 91 29"},
    };
    gq_tokenizer *t = fix_open(need_shared("data/tok/gpt2"));
    size_t        i;
    (void)state;

    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        fix_expect(t, cases[i].text, strlen(cases[i].text), 0, cases[i].ids);
    fix_expect(t, "Answer: a man<|endoftext|>", 26, GQ_TOK_SPECIAL, "33706 25 257 582 50256");
    fix_expect(t, "a man", 5, GQ_TOK_FRAME, "64 582 50256");
    assert_int_equal(gq_tokenizer_kind(t), GQ_TOK_GPT2);
    assert_int_equal(gq_tokenizer_vocab_size(t), 50257);
    assert_int_equal(gq_tokenizer_begin_id(t), -1);
    assert_int_equal(gq_tokenizer_end_id(t), 50256);
    assert_int_equal(gq_tokenizer_pad_id(t), 50256);
    gq_tokenizer_close(t);
}

static void published_clip(void **state)
{
    static const golden cases[] = {
        {"a photo of a cat", "49406 320 1125 539 320 2368 49407"},
        {"what is happening in the gif?", "49406 768 533 4284 530 518 11677 286 49407"},
        {"A man in a black shirt is dancing.",
         "49406 320 786 530 320 1449 2523 533 6226 269 49407"},
        {"Hello World", "49406 3306 1002 49407"},
        {"it's 2024!!! don't   stop", "49406 585 568 273 271 273 275 995 847 713 1691 49407"},
        {"I'm 12345", "49406 328 880 272 273 274 275 276 49407"},
        {"na\u00efve caf\u00e9 \u2014 \u00fcn\u00efcode \U0001F600",
         "49406 1097 35689 563 15304 2005 6522 77 35689 3217 7334 49407"},
        {"", "49406 49407"},
    };
    gq_tokenizer *t = fix_open(need_shared("data/tok/clip")), *gz;
    uint8_t       a[32], b[32];
    int32_t       ids[77], full[77];
    size_t        i, n;
    char          text[1200] = "";
    gq_error      err = { 0 };
    (void)state;

    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        fix_expect(t, cases[i].text, strlen(cases[i].text), GQ_TOK_FRAME, cases[i].ids);
    for (i = 0; i < 100; i++)
        strcat(text, "photo of ");
    assert_ok(gq_tokenizer_encode(t, text, strlen(text), GQ_TOK_FRAME, full, 77, &n, &err), &err);
    assert_int_equal(n, 202);
    assert_ok(gq_tokenizer_encode(t, text, strlen(text), GQ_TOK_FRAME | GQ_TOK_TRUNCATE, ids, 77,
                                  &n, &err),
              &err);
    assert_int_equal(n, 77);
    assert_memory_equal(ids, full, 76 * sizeof *ids);
    assert_int_equal(ids[76], 49407);
    gz = fix_open(need_shared("data/tok/clip/bpe_simple_vocab_16e6.txt.gz"));
    gq_tokenizer_hash(t, a);
    gq_tokenizer_hash(gz, b);
    assert_memory_equal(a, b, 32);
    assert_int_equal(gq_tokenizer_vocab_size(gz), 49408);
    gq_tokenizer_close(gz);
    gq_tokenizer_close(t);
}

/* ---- Hugging Face's ids on hard texts -------------------------------------------------------- */

static size_t from_hex(const char *hex, char *out)
{
    size_t n = 0;
    for (unsigned byte; sscanf(hex + 2 * n, "%2x", &byte) == 1 && hex[2 * n] != '\t'; n++)
        out[n] = (char)byte;
    return n;
}

static void hugging_face(void **state)
{
    gq_tokenizer *gpt2 = fix_open(need_shared("data/tok/gpt2")),
                 *clip = fix_open(need_shared("data/tok/clip"));
    FILE         *f = fopen(GQ_SOURCE_DIR "/tests/reference/tokenizer.tsv", "r");
    char         *line = NULL, text[4096];
    size_t        cap = 0, lines = 0;
    (void)state;

    assert_non_null(f);
    for (; getline(&line, &cap, f) > 0; lines++) {
        char *special = strchr(line, '\t') + 1, *hex = special + 2, *ids = strchr(hex, '\t') + 1;
        ids[strcspn(ids, "\n")] = '\0';
        fix_expect(*line == 'g' ? gpt2 : clip, text, from_hex(hex, text),
                   *special == 's' ? GQ_TOK_SPECIAL : 0, ids);
    }
    assert_true(lines > 450);
    free(line);
    fclose(f);
    gq_tokenizer_close(gpt2);
    gq_tokenizer_close(clip);
}

/* ---- merging, against the definition --------------------------------------------------------- */

/* Byte-pair encoding written down as it is defined: strings, no tables, quadratic. */
static size_t plain_bpe(json_t *vocab, const char *const *merges, int rules, const char *text,
                        size_t n, bool clip, int32_t *ids)
{
    static char symbol[4096][40];
    char        byte[4], left[40], right[40];
    size_t      i;

    for (i = 0; i < n; i++)
        snprintf(symbol[i], sizeof symbol[i], "%s%s", fix_byte((unsigned char)text[i], byte),
                 clip && i + 1 == n ? "</w>" : "");
    for (int r = 0; r < rules; r++) {
        sscanf(merges[r], "%39s %39s", left, right);
        for (i = 0; i + 1 < n; i++)
            if (strcmp(symbol[i], left) == 0 && strcmp(symbol[i + 1], right) == 0) {
                strcat(symbol[i], right);
                memmove(symbol[i + 1], symbol[i + 2], (n - i - 2) * sizeof *symbol);
                n--;
                r = -1;                             /* a lower rule may apply now: begin again    */
                break;
            }
    }
    for (i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_object_get(vocab, symbol[i]));
    return n;
}

/* One piece of letters from {a, b} and those of the merges, of many lengths (searching and
 * heap). */
static void merges_by_definition(void **state)
{
    static const char  letters[] = "aaaabbtheringe";
    const char        *dir = gq_scratch();
    (void)state;

    for (int kind = FIX_GPT2; kind <= FIX_CLIP; kind++) {
        json_t       *vocab = fix_vocab(kind);
        gq_tokenizer *t;
        fix_write(dir, kind);
        t = fix_open(dir);
        for (uint64_t i = 0; i < 400; i++) {
            static char    text[300];
            static int32_t got[300], want[300];
            size_t         n = 1 + i * 7 % 290, k, n_got, n_want;
            gq_error       err = { 0 };
            srand((unsigned)i);
            for (k = 0; k < n; k++)
                text[k] = letters[rand() % (i % 3 ? 14 : 6)];
            n_want = plain_bpe(vocab, kind == FIX_CLIP ? fix_clip_merges : fix_gpt2_merges,
                               kind == FIX_CLIP ? FIX_CLIP_MERGES : FIX_GPT2_MERGES, text, n,
                               kind == FIX_CLIP, want);
            assert_ok(gq_tokenizer_encode(t, text, n, 0, got, 300, &n_got, &err), &err);
            assert_int_equal(n_got, n_want);
            assert_memory_equal(got, want, n_got * sizeof *got);
        }
        json_decref(vocab);
        gq_tokenizer_close(t);
    }
    assert_ok(gq_remove_tree(dir, NULL), &(gq_error){ .text = "cannot clean up" });
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A megabyte that is one piece takes about 8 times what 128 KiB take (quadratic: 64 times). */
static void one_long_piece(void **state)
{
    const size_t  small = 128 << 10, large = 1 << 20;
    const char   *dir = gq_scratch();
    char         *text = gq_malloc(large, 1);
    gq_error      err = { 0 };
    (void)state;

    for (int kind = FIX_GPT2; kind <= FIX_CLIP; kind++) {
        gq_tokenizer *t;
        double        start, a, b;
        size_t        n;
        fix_write(dir, kind);
        t = fix_open(dir);
        memset(text, 'a', large);
        start = seconds();
        assert_ok(gq_tokenizer_encode(t, text, small, 0, NULL, 0, &n, &err), &err);
        a = seconds() - start;
        start = seconds();
        assert_ok(gq_tokenizer_encode(t, text, large, 0, NULL, 0, &n, &err), &err);
        b = seconds() - start;
        if (b > 30 * a + 0.05)
            fail_msg("128 KiB take %.3f s, 1 MiB %.3f s", a, b);
        assert_in_range(n, large / 6, large / 4 + 2);
        for (size_t i = 0; i < large; i++)   /* e, then combining marks in falling order, forever */
            text[i] = i == 0 ? 'e' : "\xCC\x81\xCC\xA3"[(i - 1) % 4];
        start = seconds();
        assert_ok(gq_tokenizer_encode(t, text, large, 0, NULL, 0, &n, &err), &err);
        assert_true(seconds() - start < 30 * a + 2);
        gq_tokenizer_close(t);
    }
    gq_free(text);
    gq_remove_tree(dir, NULL);
}

/* ---- bytes, frames, special tokens ----------------------------------------------------------- */

static void every_byte_string(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *gpt2, *clip;
    char          text[257], *back;
    int32_t       ids[1024];
    size_t        n, len, i;
    gq_error      err = { 0 };
    (void)state;

    fix_write(dir, FIX_GPT2);
    gpt2 = fix_open(dir);
    fix_write(dir, FIX_CLIP);
    clip = fix_open(dir);
    for (unsigned round = 0; round < 3000; round++) {
        srand(round);
        size_t size = round % 257;
        for (i = 0; i < size; i++)
            text[i] = (char)(round % 2 ? rand() : " \xE2\x80\x83'sta\n"[rand() % 9]);
        assert_ok(
            gq_tokenizer_encode(gpt2, text, size, round & GQ_TOK_SPECIAL, ids, 1024, &n, &err),
            &err);
        assert_ok(gq_tokenizer_decode(gpt2, ids, n, 0, &back, &len, &err), &err);
        assert_int_equal(len, size);
        assert_memory_equal(back, text, size);
        gq_free(back);
        assert_ok(gq_tokenizer_encode(clip, text, size, GQ_TOK_FRAME, ids, 1024, &n, &err), &err);
        assert_true(n >= 2 && n <= 1024);
        assert_ok(gq_tokenizer_decode(clip, ids, n, GQ_TOK_REPAIR, &back, &len, &err), &err);
        gq_free(back);
    }
    gq_tokenizer_close(gpt2);
    gq_tokenizer_close(clip);
    gq_remove_tree(dir, NULL);
}

static void frames_and_sizes(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    int32_t       ids[8] = { 7, 7, 7, 7, 7, 7, 7, 7 };
    size_t        n;
    gq_error      err = { 0 };
    (void)state;

    fix_write(dir, FIX_GPT2);
    t = fix_open(dir);
    fix_expect(t, "the aaaa", 8, 0, "257 32 259");
    fix_expect(t, "x<|endoftext|>", 14, GQ_TOK_SPECIAL | GQ_TOK_FRAME, "120 272 272");
    assert_ok(gq_tokenizer_encode(t, "xyz", 3, GQ_TOK_FRAME, NULL, 0, &n, &err), &err);
    assert_int_equal(n, 4);
    assert_ok(gq_tokenizer_encode(t, "xyz", 3, 0, ids, 2, &n, &err), &err);
    assert_int_equal(n, 3);
    assert_int_equal(ids[1], 'y');
    assert_int_equal(ids[2], 7);
    assert_ok(gq_tokenizer_encode(t, "xyz", 3, GQ_TOK_TRUNCATE, ids, 2, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_ok(gq_tokenizer_encode(t, "xyz", 3, GQ_TOK_TRUNCATE | GQ_TOK_FRAME, ids, 2, &n, &err),
              &err);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 'x');
    assert_int_equal(ids[1], gq_tokenizer_end_id(t));
    assert_int_equal(ids[2], 7);
    assert_fails(gq_tokenizer_encode(t, "x", 1, GQ_TOK_TRUNCATE | GQ_TOK_FRAME, ids, 0, &n, &err),
                 GQ_EUSAGE, &err, "frame");
    assert_fails(gq_tokenizer_encode(t, "x", 1, 1u << 9, ids, 8, &n, &err), GQ_EUSAGE, &err,
                 "flags");
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

static void decode_options(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    const int32_t ids[] = { 't', 0xC3, 272, 257 }, bad[] = { 1, 273 }, negative[] = { -1 };
    char         *text;
    size_t        len;
    gq_error      err = { 0 };
    (void)state;

    fix_write(dir, FIX_GPT2);
    t = fix_open(dir);
    assert_ok(gq_tokenizer_decode(t, ids, 4, 0, &text, &len, &err), &err);
    assert_string_equal(text, "t\xC3<|endoftext|>the");
    gq_free(text);
    assert_ok(gq_tokenizer_decode(t, ids, 4, GQ_TOK_SKIP | GQ_TOK_REPAIR, &text, &len, &err), &err);
    assert_string_equal(text, "t\xEF\xBF\xBDthe");
    assert_int_equal(len, 7);
    gq_free(text);
    assert_fails(gq_tokenizer_decode(t, bad, 2, 0, &text, NULL, &err), GQ_EINPUT, &err,
                 "id 273 at place 1");
    assert_fails(gq_tokenizer_decode(t, negative, 1, 0, &text, NULL, &err), GQ_EINPUT, &err,
                 "id -1");
    assert_memory_equal(gq_tokenizer_token(t, 257, &len), "the", 3);
    assert_int_equal(len, 3);
    assert_null(gq_tokenizer_token(t, 273, &len));
    assert_true(gq_tokenizer_is_special(t, 272));
    assert_false(gq_tokenizer_is_special(t, 257));
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

/* CLIP on a small vocabulary: lower case (U+0130 gives two characters), NFC, contractions, single
 * digits. */
static void clip_cleaning(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    int32_t       ids[64];
    char         *text;
    size_t        n;
    gq_error      err = { 0 };
    (void)state;

    fix_write(dir, FIX_CLIP);
    t = fix_open(dir);
    fix_expect(t, "THE", 3, 0, "513");
    /* one digit a token: "1 2</w>" never used */
    fix_expect(t, "THE\r\n\t 12", 9, 0, "513 305 306");
    fix_expect(t, "\xC4\xB0", 2, 0, "361 526");              /* i</w>, then U+0307 as "CC 87</w>" */
    fix_expect(t, "e\xCC\x81", 3, 0, "195 425");                /* e + U+0301 -> C3 A9            */
    fix_expect(t, "AB'S", 4, 0, "518 525");
    fix_expect(t, "\xFF", 1, 0, "239 191 445");                 /* U+FFFD                         */
    fix_expect(t, "x<|endoftext|>", 14, GQ_TOK_SPECIAL | GQ_TOK_FRAME, "527 376 528 528");
    assert_ok(gq_tokenizer_encode(t, "The  ING, ab 's", 15, GQ_TOK_FRAME, ids, 64, &n, &err), &err);
    assert_ok(gq_tokenizer_decode(t, ids, n, GQ_TOK_SKIP, &text, NULL, &err), &err);
    assert_string_equal(text, "the ing , ab 's");
    gq_free(text);
    assert_int_equal(gq_tokenizer_begin_id(t), 527);
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

static void *encode_again(void *arg)
{
    const gq_tokenizer *t = arg;
    static const char   text[] = "the string in the ring, abababab aaaaaaaaaa \xC3\xA9 ";
    int32_t             first[128], ids[128];
    size_t              n_first, n, i;
    gq_error            err = { 0 };

    if (gq_tokenizer_encode(t, text, sizeof text, 0, first, 128, &n_first, &err))
        return "encode";
    for (i = 0; i < 300; i++)
        if (gq_tokenizer_encode(t, text, sizeof text, 0, ids, 128, &n, &err) || n != n_first ||
            memcmp(ids, first, n * sizeof *ids) != 0)
            return "differs";
    return NULL;
}

static void threads_share(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    pthread_t     threads[4];
    void         *said;
    int           i;
    (void)state;

    fix_write(dir, FIX_CLIP);
    t = fix_open(dir);
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_again, t), 0);
    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &said), 0);
        assert_null(said);
    }
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

static void words(void **state)
{
    const char   *dir = gq_scratch();
    gq_tokenizer *t;
    int32_t       ids[64];
    char         *text;
    size_t        n;
    gq_error      err = { 0 };
    (void)state;

    fix_text(dir, "words.txt",
             "<pad>\r\n<end>\n<unk>\n?\n,\nwhat\nis\nthe\n\xC3\xA9t\xC3\xA9\n'tis\n");
    t = fix_open(dir);
    assert_int_equal(gq_tokenizer_kind(t), GQ_TOK_WORDS);
    assert_int_equal(gq_tokenizer_vocab_size(t), 10);
    assert_int_equal(gq_tokenizer_end_id(t), 1);
    assert_int_equal(gq_tokenizer_pad_id(t), 0);
    fix_expect(t, " What  IS the,cat?", 18, GQ_TOK_FRAME, "5 6 7 4 2 3 1");
    fix_expect(t, "\xC3\x89t\x65\xCC\x81\xC2\xA0'tis", 12, 0, "8 9");     /* NFC, no-break space  */
    fix_expect(t, "<pad> <end>the", 14, 0, "2 2");
    fix_expect(t, "<pad> <end>the", 14, GQ_TOK_SPECIAL, "0 1 7");
    fix_expect(t, "", 0, 0, "");
    assert_ok(gq_tokenizer_encode(t, "what, is the \xC3\xA9t\xC3\xA9?", 20, GQ_TOK_FRAME, ids, 64,
                                  &n, &err),
              &err);
    assert_ok(gq_tokenizer_decode(t, ids, n, GQ_TOK_SKIP, &text, NULL, &err), &err);
    assert_string_equal(text, "what, is the \xC3\xA9t\xC3\xA9?");
    gq_free(text);
    gq_tokenizer_close(t);
    gq_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_gpt2),      cmocka_unit_test(golden_clip),
        cmocka_unit_test(published_gpt2),   cmocka_unit_test(published_clip),
        cmocka_unit_test(hugging_face),     cmocka_unit_test(merges_by_definition),
        cmocka_unit_test(one_long_piece),   cmocka_unit_test(every_byte_string),
        cmocka_unit_test(frames_and_sizes), cmocka_unit_test(decode_options),
        cmocka_unit_test(clip_cleaning),    cmocka_unit_test(threads_share),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
