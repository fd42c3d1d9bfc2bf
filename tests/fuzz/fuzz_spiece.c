/* fuzz_spiece.c - any bytes as a spiece.model. What opens is consistent, encodes its own pieces and
 * every byte, and comes back the same from its own file; what does not names a byte. */
#include "tok_made.h"

#include "data/unicode.h"

/* The first pieces as text, which come back as text that encodes the same way. */
static void check_pieces(const gq_tokenizer *t)
{
    enum { PIECES = 32, MOST = (TOK_MAX_RULE + 1) * TOK_MAX_PIECE };
    static int32_t ids[MOST];
    gq_error       err = {0};
    for (int32_t id = 0; id < gq_tokenizer_vocab_size(t) && id < PIECES; id++) {
        size_t      len, n;
        const char *piece = gq_tokenizer_token(t, id, &len);
        char       *text;
        must(gq_tokenizer_encode(t, piece, len, GQ_TOK_FRAME, ids, MOST, &n, &err) == GQ_OK, "%s",
             err.text);
        must(n > 0 && n <= MOST && ids[n - 1] == gq_tokenizer_end_id(t), "%zu ids", n);
        must(gq_tokenizer_decode(t, ids, n, GQ_TOK_SKIP, &text, &len, &err) == GQ_OK, "%s",
             err.text);
        must(gq_utf8_valid(text, len), "piece %d is no text", id);
        gq_free(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_tokenizer *t;
    gq_error      err = {0};
    gq_status     s = gq_tokenizer_open(fz_put("spiece.model", data, size), &t, &err);
    if (s != GQ_OK) {
        must(!t, "open in spite of '%s'", err.text);
        fz_refused(s, &err, GQ_EINPUT);
        must(strstr(err.text, ": byte "), "'%s' names no byte", err.text);
        return 0;
    }
    made_check_entries(t);
    made_check_encoding(t);
    check_pieces(t);
    made_check_save(t);
    gq_tokenizer_close(t);
    return 0;
}
