/* fuzz_tok_text.c - any bytes as text for each tokenizer. The first byte chooses: its lowest two
 * bits the kind, the next three encode's flags, the sixth the published vocabulary where it is
 * there. GPT-2 gives back every byte; the others give back what they call the same text. One input
 * in 64 is repeated up to 64 KiB, so that work beyond linear becomes a time-out. */
#include "fuzz.h"

#include <unistd.h>

#include "data/tok_unigram_made.h"
#include "data/unicode.h"
#include "tok_made.h"

enum { KINDS = 4, LONG = 1 << 16, CUT = 7 };

static gq_tokenizer *made(int kind)
{
    static const char gpt2[] = "{$B,\"th\":256,\"the\":257,\"aa\":258,\"aaaa\":259,\"\xC4\xA0the\":"
                               "260,\"ab\":261,\"abab\":262,\"\xC4\xA0\xC4\xA0\":263,"
                               "\"<|endoftext|>\":264,\"<pic>\":265}";
    static const char clip[] = "{$B,$W,\"th\":512,\"the</w>\":513,\"aa\":514,\"aaaa\":515,"
                               "\"ab</w>\":516,\"12</w>\":517,\"<|startoftext|>\":518,"
                               "\"<|endoftext|>\":519}";
    static const char gpt2_merges[] = "#version: 0.2\nt h\nth e\na a\naa aa\n\xC4\xA0 the\na b\n"
                                      "ab ab\n\xC4\xA0 \xC4\xA0\n";
    static const char clip_merges[] = "t h\nth e</w>\na a\naa aa\na b</w>\n1 2</w>\n";
    static const char words[] = "<pad>\n<end>\n<unk>\nred\nleft\n.\n?\n,\n!\n\xC3\xA9\n";
    static const char *const files[] = {"vocab.json", "merges.txt", "words.txt",
                                        "added_tokens.json", "spiece.model"};
    static uni_bytes         unigram;
    gq_tokenizer *t;
    gq_error      err = {0};

    if (kind == GQ_TOK_WORDS) {
        made_put("words.txt", words, sizeof words - 1);
    } else if (kind == GQ_TOK_UNIGRAM) {
        uni_model(&unigram, false);
        fz_put("spiece.model", unigram.b, unigram.n);
    } else if (kind == GQ_TOK_CLIP) {
        made_put("vocab.json", clip, sizeof clip - 1);
        made_put("merges.txt", clip_merges, sizeof clip_merges - 1);
    } else {
        made_put("vocab.json", gpt2, sizeof gpt2 - 1);
        made_put("merges.txt", gpt2_merges, sizeof gpt2_merges - 1);
        made_put("added_tokens.json", "{\"<pic>\":265}", 13);
    }
    must(gq_tokenizer_open(fz_dir(), &t, &err) == GQ_OK, "%s", err.text);
    for (int i = 0; i < 5; i++)
        unlink(fz_path(files[i]));
    return t;
}

static gq_tokenizer *tokenizer(int kind, bool published)
{
    static gq_tokenizer *ours[KINDS], *theirs[KINDS];
    static const char *const names[KINDS] = {"data/tok/gpt2", "data/tok/clip", NULL, "data/tok/t5"};
    const char          *path = published && names[kind] ? fz_shared(names[kind]) : NULL;
    gq_error             err = {0};
    if (!ours[kind])
        ours[kind] = made(kind);
    if (path && !theirs[kind])
        must(gq_tokenizer_open(path, &theirs[kind], &err) == GQ_OK, "%s", err.text);
    return path ? theirs[kind] : ours[kind];
}

typedef struct coded {
    int32_t *ids;
    size_t   n;
} coded;

static coded encode(const gq_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    coded    c;
    size_t   n;
    gq_error err = {0};
    must(gq_tokenizer_encode(t, text, len, flags, NULL, 0, &n, &err) == GQ_OK, "%s", err.text);
    /* U+FDFA, 3 bytes, becomes 33 */
    must(n <= (gq_tokenizer_kind(t) == GQ_TOK_UNIGRAM ? 11 : 4) * len + 2, "%zu ids of %zu bytes",
         n, len);
    must((c.ids = gq_malloc(n, sizeof *c.ids)), "memory");
    must(gq_tokenizer_encode(t, text, len, flags, c.ids, n, &c.n, &err) == GQ_OK && c.n == n,
         "%zu ids, then %zu: %s", n, c.n, err.text);
    for (size_t i = 0; i < n; i++)
        must(c.ids[i] >= 0 && c.ids[i] < gq_tokenizer_vocab_size(t), "id %d", c.ids[i]);
    return c;
}

static char *decode(const gq_tokenizer *t, coded c, unsigned flags, size_t *len)
{
    char    *text;
    gq_error err = {0};
    must(gq_tokenizer_decode(t, c.ids, c.n, flags, &text, len, &err) == GQ_OK, "%s", err.text);
    must(!text[*len], "no NUL at the end");
    return text;
}

/* The first ids of the whole sequence, and the frame's end where one is asked for. */
static void check_cut(const gq_tokenizer *t, const char *text, size_t len, unsigned flags, coded c)
{
    int32_t  ids[CUT];
    size_t   n, frame = flags & GQ_TOK_FRAME ? 1 : 0;
    gq_error err = {0};
    must(gq_tokenizer_encode(t, text, len, flags | GQ_TOK_TRUNCATE, ids, CUT, &n, &err) == GQ_OK,
         "%s", err.text);
    must(n == (c.n < CUT ? c.n : CUT), "%zu of %zu", n, c.n);
    must(!memcmp(ids, c.ids, (n - frame) * sizeof *ids), "other ids");
    must(!frame || ids[n - 1] == gq_tokenizer_end_id(t), "ends in %d", ids[n - 1]);
}

static bool ascii(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80)
            return false;
    return true;
}

/* A unigram model's unknown characters come out as "<unk>", which is other text. */
static bool all_known(const gq_tokenizer *t, coded c)
{
    for (size_t i = 0; i < c.n && gq_tokenizer_kind(t) == GQ_TOK_UNIGRAM; i++)
        if (gq_tokenizer_is_special(t, c.ids[i]))
            return false;
    return true;
}

/* What comes out goes in again and comes out the same. */
static void check_again(const gq_tokenizer *t, const char *text, size_t len)
{
    coded  c = encode(t, text, len, 0);
    size_t n, m;
    char  *once = decode(t, c, 0, &n);
    if (gq_tokenizer_kind(t) == GQ_TOK_WORDS || (ascii(text, len) && all_known(t, c))) {
        coded again = encode(t, once, n, 0);
        char *twice = decode(t, again, 0, &m);
        must(n == m && !memcmp(once, twice, n), "'%s', then '%s'", once, twice);
        gq_free(again.ids);
        gq_free(twice);
    }
    gq_free(once);
    gq_free(c.ids);
}

static void check_text(const gq_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    coded  c = encode(t, text, len, flags);
    size_t n;
    char  *back = decode(t, c, GQ_TOK_SKIP | GQ_TOK_REPAIR, &n);
    must(gq_utf8_valid(back, n), "not UTF-8");
    gq_free(back);
    if (gq_tokenizer_kind(t) == GQ_TOK_GPT2) {
        c.n -= flags & GQ_TOK_FRAME ? 1 : 0;
        back = decode(t, c, 0, &n);
        must(n == len && !memcmp(back, text, n), "%zu bytes came back as %zu", len, n);
        gq_free(back);
        c.n += flags & GQ_TOK_FRAME ? 1 : 0;
    }
    check_cut(t, text, len, flags, c);
    gq_free(c.ids);
}

static void much_of_it(const gq_tokenizer *t, const char *text, size_t len, unsigned flags)
{
    char *many = gq_malloc(LONG, 1);
    must(many, "memory");
    for (size_t i = 0; i < LONG; i++)
        many[i] = text[i % len];
    gq_free(encode(t, many, LONG, flags).ids);
    gq_free(many);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const gq_tokenizer *t = tokenizer(data[0] & 3, data[0] & 32);
    const char         *text = (const char *)data + 1;
    const unsigned      flags = data[0] >> 2 & (GQ_TOK_SPECIAL | GQ_TOK_FRAME);
    const size_t        len = size - 1;

    check_text(t, text, len, flags);
    check_again(t, text, len);
    if (len && gq_xxh64(data, size) % 64 == 0)
        much_of_it(t, text, len, flags);
    return 0;
}
