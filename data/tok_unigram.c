/* The unigram model: of all ways to cut a text into pieces, the one whose scores sum to most.
 * Sums are float, begin again below LEAST_SUM, and only a larger one wins, as in SentencePiece
 * 0.2.3, so that ties fall the same way (0.1.97 compares in double, Hugging Face sums so). */
#include <float.h>
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"

/* ---- building -------------------------------------------------------------------------------- */

gq_status gq_tok_unigram_new(gq_tokenizer *t, gq_error *err)
{
    tok_unigram *u = gq_calloc(1, sizeof *u);

    t->unigram = u;
    if (u)
        u->score = gq_calloc((size_t)t->room, sizeof *u->score);
    return u && u->score ? GQ_OK
                         : gq_fail(err, GQ_ENOMEM, "no memory for %d scores", (int)t->room);
}

void gq_tok_unigram_free(tok_unigram *u)
{
    if (!u)
        return;
    gq_free(u->score);
    gq_free(u->pieces.unit);
    gq_free(u->literal.unit);
    gq_free(u->rule);
    gq_free(u->pool);
    gq_bytes_free(&u->source);
    gq_free(u);
}

/* The token as text: U+2581 is a space. Pieces with a space of their own never match: normalised
 * text has none; they stay out of the trie (*odd). */
static gq_status read_piece(gq_tokenizer *t, int32_t id, bool *odd, gq_error *err)
{
    tok_span    symbol = t->symbol[id];
    const char *s = t->pool + symbol.off;
    char        text[TOK_MAX_PIECE];
    size_t      i, n = 0;

    *odd = memchr(s, ' ', symbol.len) != NULL;
    if (symbol.len > TOK_MAX_PIECE)
        return gq_fail(err, GQ_EWEIGHTS, "'%.*s' (id %d) has %u bytes; at most %d are taken",
                       TOK_SHOW(symbol.len), s, (int)id, symbol.len, TOK_MAX_PIECE);
    for (i = 0; i < symbol.len; i++)
        if (symbol.len - i >= 3 && memcmp(s + i, TOK_SPACE, 3) == 0) {
            text[n++] = ' ';
            i += 2;
        } else {
            text[n++] = s[i];
        }
    return gq_tok_store(t, text, n, &t->bytes[id], err);
}

static tok_key key_of(const gq_tokenizer *t, tok_span s, int32_t id)
{
    return (tok_key){t->pool + s.off, s.len, id};
}

/* A piece that every text shall be cut at is worth more than any other way; so SentencePiece, whose
 * largest score begins at FLT_MIN. */
static void set_scores(gq_tokenizer *t)
{
    float   least = FLT_MAX, most = FLT_MIN;
    int32_t id;

    for (id = 0; id < t->size; id++)
        if (!(t->flags[id] & (TOK_IS_SPECIAL | TOK_IS_UNUSED | TOK_IS_LITERAL))) {
            float score = t->unigram->score[id];
            least = score < least ? score : least;
            most = score > most ? score : most;
        }
    for (id = 0; id < t->size; id++)
        if (t->flags[id] & TOK_IS_LITERAL)
            t->unigram->score[id] = (float)t->symbol[id].len * most - 0.1f;
    t->unigram->unknown = least - 10.0f;
}

static gq_status make_tries(gq_tokenizer *t, tok_key *keys, gq_error *err)
{
    tok_unigram *u = t->unigram;
    size_t       n = 0, literals = 0;
    int32_t      id;
    bool         odd;
    gq_status    status;

    for (id = 0; id < t->size; id++) {
        t->bytes[id] = t->symbol[id];
        if (!(t->flags[id] & TOK_IS_SPECIAL) && (status = read_piece(t, id, &odd, err)))
            return status;
    }
    for (id = 0; id < t->size; id++)                /* the pool stays where it is from here on    */
        if (t->flags[id] & TOK_IS_LITERAL && !(t->flags[id] & TOK_IS_SPECIAL))
            keys[literals++] = key_of(t, t->symbol[id], id);
    if ((status = gq_tok_trie_make(&u->literal, keys, literals, err)))
        return status;
    for (id = 0; id < t->size; id++)
        if (!(t->flags[id] & (TOK_IS_SPECIAL | TOK_IS_UNUSED)) &&
            !memchr(t->pool + t->symbol[id].off, ' ', t->symbol[id].len))
            keys[n++] = key_of(t, t->bytes[id], id);
    if (n == 0)
        return gq_fail(err, GQ_EWEIGHTS, "the vocabulary has no piece that text could give");
    return gq_tok_trie_make(&u->pieces, keys, n, err);
}

gq_status gq_tok_unigram_finish(gq_tokenizer *t, gq_error *err)
{
    tok_key  *keys = gq_malloc((size_t)t->size, sizeof *keys);
    gq_status status;

    if (!keys)
        return gq_fail(err, GQ_ENOMEM, "no memory for %d pieces", (int)t->size);
    status = make_tries(t, keys, err);
    gq_free(keys);
    if (status)
        return status;
    set_scores(t);
    gq_tok_charsmap_plain(t->unigram);
    return GQ_OK;
}

/* ---- the best path --------------------------------------------------------------------------- */

typedef struct node {                   /* the best way to come to a place in the text            */
    float    score;
    int32_t  id;                        /* of the last piece; -1: nobody came yet                 */
    uint32_t from;                      /* where it begins; while the path is read: where it goes */
} node;

enum { SHORT = 1024 };                  /* nodes on the stack                                     */
#define LEAST_SUM (-100000.0f)          /* below this a sum begins again, as in SentencePiece     */

typedef struct search {                 /* over text[0 .. n)                                      */
    const gq_tokenizer *t;
    const char         *text;
    size_t              n;
    node               *at;             /* [room] places text + 0 .. of this window               */
    size_t              room, reach;    /* reach: the last place that has a node                  */
    bool                unknown;        /* the last id was that of an unknown character           */
    tok_sink           *sink;
} search;

/* Ids of the path to `end`. A run of unknown characters is one. */
static void take_path(search *w, uint32_t end)
{
    uint32_t at = end, from, next = end;

    for (; at; at = from) {
        from = w->at[at].from;
        w->at[at].from = next;
        next = at;
    }
    for (at = next;; at = w->at[at].from) {
        int32_t id = w->at[at].id;
        bool    unknown = id == w->t->unknown_id;
        if (!unknown || !w->unknown)
            tok_emit(w->sink, id);
        w->unknown = unknown;
        if (at == end)
            break;
    }
}

static inline void offer(search *w, size_t from, size_t to, float score, int32_t id)
{
    node *at = &w->at[to];

    for (; w->reach < to; w->reach++)
        w->at[w->reach + 1].id = -1;
    if (at->id < 0 || score > at->score)
        *at = (node){score, id, (uint32_t)from};
}

static inline size_t character(char c)              /* the text is UTF-8                          */
{
    uint8_t b = (uint8_t)c;
    return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

/* Sums of long texts begin again at `s`, or a float could not tell one piece from another. */
static void from_zero(search *w, size_t s)
{
    const float sum = w->at[s].score;
    for (; s <= w->reach; s++)
        if (w->at[s].id >= 0)
            w->at[s].score -= sum;
}

/* All pieces that begin at `s`. */
static void extend(search *w, size_t s)
{
    const tok_unigram *u = w->t->unigram;
    const tok_unit    *unit = u->pieces.unit;
    const float        here = w->at[s].score;
    const size_t       one = s + character(w->text[s]);
    uint32_t           base = u->pieces.root;
    bool               covered = false;
    size_t             k;

    for (k = s; k < w->n; k++) {
        const tok_unit *next = &unit[base ^ (uint8_t)w->text[k]];
        if (next->from != base)
            break;
        base = next->base;
        if (next->id >= 0) {
            offer(w, s, k + 1, u->score[next->id] + here, next->id);
            covered |= k + 1 == one;
        }
    }
    if (!covered)
        offer(w, s, one, u->unknown + here, w->t->unknown_id);
}

/* A window with room for more nodes, in `scratch`. */
static gq_status widen(search *w, tok_scratch *scratch, gq_error *err)
{
    size_t room = 2 * w->room;
    node  *at = gq_malloc(room, sizeof *at);

    if (!at)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu places of a text", room);
    memcpy(at, w->at, (w->reach + 1) * sizeof *at);
    gq_free(scratch->memory);
    scratch->memory = w->at = at;
    scratch->room = w->room = room;
    return GQ_OK;
}

/* Where no piece crosses a place, every path goes through it: what comes before is settled, and a
 * new window begins there, with the sum so far. */
static gq_status walk(search *w, tok_scratch *scratch, gq_error *err)
{
    size_t    s = 0;
    gq_status status;

    w->at[0] = (node){0, 0, 0};
    while (s < w->n && w->sink->n < w->sink->limit) {
        if (s + TOK_MAX_PIECE >= w->room && (status = widen(w, scratch, err)))
            return status;
        if (w->at[s].score < LEAST_SUM)
            from_zero(w, s);
        extend(w, s);
        s += character(w->text[s]);
        if (s != w->reach)
            continue;
        take_path(w, (uint32_t)s);
        w->at[0].score = w->at[s].score;
        w->text += s;
        w->n -= s;
        s = w->reach = 0;
    }
    return GQ_OK;
}

gq_status gq_tok_unigram(const gq_tokenizer *t, const char *s, size_t n, tok_scratch *scratch,
                         tok_sink *sink, gq_error *err)
{
    node      few[SHORT];
    search    w = {.t = t, .at = few, .room = SHORT, .sink = sink};
    tok_text  text;
    gq_status status = gq_tok_normalize(t->unigram, s, n, &text, err);

    if (status == GQ_OK) {
        w.text = text.data + text.begin;
        w.n = text.n - text.begin;
        if (scratch->memory) {
            w.at = scratch->memory;
            w.room = scratch->room;
        }
        status = walk(&w, scratch, err);
    }
    gq_tok_text_free(&text);
    return status;
}
