/* SentencePiece's model file: a ModelProto with pieces (field 1), how it was trained (2) and how
 * text is normalised (3). What this program would treat otherwise than SentencePiece is refused by
 * name. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"
#include "data/unicode.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

enum { SENTINELS = 100 };               /* of T5                                                  */

/* ---- pieces ---------------------------------------------------------------------------------- */

typedef struct piece {
    const char *s;
    size_t      len;
    float       score;
    uint64_t    type;
} piece;

static gq_status read_piece(tok_proto body, piece *out, gq_error *err)
{
    tok_field f;
    gq_status status = GQ_OK;
    uint32_t  bits;

    *out = (piece){"", 0, 0, NORMAL};
    while (gq_tok_proto_next(&body, &f, &status, err)) {
        if (f.number == 1 && (status = gq_tok_proto_want(&f, TOK_BYTES, "piece", err)) == GQ_OK) {
            out->s = (const char *)f.body.data + f.body.at;
            out->len = f.body.end - f.body.at;
            if (!gq_utf8_valid(out->s, out->len) || memchr(out->s, 0, out->len))
                status = gq_fail(err, GQ_EWEIGHTS,
                                 "byte %zu: the piece is not UTF-8 or holds a NUL", f.at);
        } else if (f.number == 2 &&
                   (status = gq_tok_proto_want(&f, TOK_FIXED32, "score", err)) == GQ_OK) {
            bits = (uint32_t)f.value;
            memcpy(&out->score, &bits, sizeof bits);
            if (!isfinite(out->score))
                status = gq_fail(err, GQ_EWEIGHTS, "byte %zu: the score is not finite", f.at);
        } else if (f.number == 3 &&
                   (status = gq_tok_proto_want(&f, TOK_VARINT, "type", err)) == GQ_OK) {
            out->type = f.value;
        }
    }
    return status;
}

static gq_status add_piece(gq_tokenizer *t, const piece *p, gq_error *err)
{
    const int32_t id = t->size;
    gq_status     status = gq_tok_add(t, id, p->s, p->len, err);

    if (status)
        return status;
    t->unigram->score[id] = p->score;
    switch (p->type) {
    case NORMAL:
        return GQ_OK;
    case UNKNOWN:
        if (t->unknown_id >= 0)
            return gq_fail(err, GQ_EWEIGHTS, "a second piece of type UNKNOWN; the first has id %d",
                           (int)t->unknown_id);
        t->unknown_id = id;
        return gq_tok_special(t, id, p->s, p->len, err);
    case CONTROL:
        return gq_tok_special(t, id, p->s, p->len, err);
    case USER_DEFINED:
        t->flags[id] |= TOK_IS_LITERAL;
        return GQ_OK;
    case UNUSED:
        t->flags[id] |= TOK_IS_UNUSED;
        return GQ_OK;
    case BYTE:
        return gq_fail(err, GQ_EWEIGHTS,
                       "its type is BYTE; models that spell unknown characters in bytes "
                       "(byte_fallback) are not read");
    default:
        return gq_fail(err, GQ_EWEIGHTS, "its type is %llu; SentencePiece has 1 to 6",
                       (unsigned long long)p->type);
    }
}

/* ---- the two specifications ------------------------------------------------------------------ */

static gq_status read_trainer(tok_proto body, gq_error *err)
{
    static const char *const models[] = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    tok_field                f;
    gq_status                status = GQ_OK;

    while (gq_tok_proto_next(&body, &f, &status, err)) {
        if (f.number != 3 && f.number != 24 && f.number != 35)
            continue;
        status = gq_tok_proto_want(&f, TOK_VARINT, "a field of trainer_spec", err);
        if (status == GQ_OK && f.number == 3 && f.value != 1)
            status = gq_fail(err, GQ_EWEIGHTS,
                             "byte %zu: trainer_spec.model_type is %s; UNIGRAM is read", f.at,
                             f.value < 5 ? models[f.value] : "unknown");
        if (status == GQ_OK && f.number != 3 && f.value)
            status = gq_fail(err, GQ_EWEIGHTS, "byte %zu: trainer_spec.%s is set; it is not read",
                             f.at, f.number == 24 ? "treat_whitespace_as_suffix" : "byte_fallback");
    }
    return status;
}

static gq_status read_normalizer(tok_proto body, tok_unigram *u, tok_field *map, gq_error *err)
{
    tok_field f;
    gq_status status = GQ_OK;

    while (gq_tok_proto_next(&body, &f, &status, err)) {
        if (f.number < 2 || f.number > 5)
            continue;
        status = gq_tok_proto_want(&f, f.number == 2 ? TOK_BYTES : TOK_VARINT,
                                   "a field of normalizer_spec", err);
        if (status)
            return status;
        if (f.number == 2)
            *map = f;
        else if (f.number == 3)
            u->prefix = f.value;
        else if (f.number == 4)
            u->keep_spaces = !f.value;
        else if (!f.value)
            return gq_fail(err, GQ_EWEIGHTS,
                           "byte %zu: normalizer_spec.escape_whitespaces is off; it is not read",
                           f.at);
    }
    return status;
}

/* What decoding would undo. */
static gq_status check_denormalizer(tok_proto body, gq_error *err)
{
    tok_field f;
    gq_status status = GQ_OK;

    while (gq_tok_proto_next(&body, &f, &status, err))
        if (f.number == 2 && f.wire == TOK_BYTES && f.body.at != f.body.end)
            return gq_fail(err, GQ_EWEIGHTS,
                           "byte %zu: denormalizer_spec has a character map; it is not read", f.at);
    return status;
}

/* ---- the file -------------------------------------------------------------------------------- */

static gq_status count_pieces(tok_proto file, size_t *pieces, gq_error *err)
{
    tok_field f;
    gq_status status = GQ_OK;

    *pieces = 0;
    while (gq_tok_proto_next(&file, &f, &status, err))
        if (f.number == 1)
            ++*pieces;
    if (status == GQ_OK && *pieces == 0)
        status = gq_fail(err, GQ_EWEIGHTS, "byte %zu: the file ends and had no piece", file.end);
    return status;
}

typedef struct parts {
    tok_field map;                      /* number 0: there is none                                */
    bool      normalizer;               /* its specification was there                            */
} parts;

static gq_status read_part(const tok_field *f, gq_tokenizer *t, parts *found, gq_error *err)
{
    gq_status status;
    piece     p;

    if (f->number != 1 && f->number != 2 && f->number != 3 && f->number != 5)
        return GQ_OK;
    if ((status = gq_tok_proto_want(f, TOK_BYTES, "a part of the model", err)))
        return status;
    if (f->number == 2)
        return read_trainer(f->body, err);
    found->normalizer |= f->number == 3;
    if (f->number == 3)
        return read_normalizer(f->body, t->unigram, &found->map, err);
    if (f->number == 5)
        return check_denormalizer(f->body, err);
    if ((status = read_piece(f->body, &p, err)))
        return status;
    if ((status = add_piece(t, &p, err)))
        gq_context(err, "byte %zu: piece %d", f->at, (int)t->size);
    return status;
}

static gq_status read_all(tok_proto file, gq_tokenizer *t, gq_error *err)
{
    tok_field f;
    tok_proto map;
    parts     found = {0};
    gq_status status = GQ_OK;

    while (gq_tok_proto_next(&file, &f, &status, err))
        status = read_part(&f, t, &found, err);
    if (status)
        return status;
    if (!found.normalizer)                          /* behind the pieces: it may be cut off       */
        return gq_fail(err, GQ_EWEIGHTS, "byte %zu: the file ends and had no normalizer_spec",
                       file.end);
    t->unigram->model_size = t->size;
    map = found.map.body;
    if (found.map.number == 0)
        return GQ_OK;
    return gq_tok_charsmap(t->unigram, map.data + map.at, map.end - map.at, map.at, err);
}

gq_status gq_tok_from_spiece(gq_bytes *file, gq_tokenizer **out, gq_error *err)
{
    tok_proto     all = {file->data, 0, file->size};
    gq_tokenizer *t = NULL;
    size_t        pieces;
    gq_status     status = count_pieces(all, &pieces, err);

    if (status == GQ_OK)
        status = gq_tok_new(GQ_TOK_UNIGRAM, pieces, 0, &t, err);
    if (status == GQ_OK) {
        t->unigram->source_name = "spiece.model";
        t->unigram->prefix = true;                  /* the format's default                       */
        status = read_all(all, t, err);
    }
    if (status) {
        gq_bytes_free(file);
        gq_tokenizer_close(t);
        t = NULL;
    } else {
        t->unigram->source = *file;
    }
    *out = t;
    return status;
}

gq_status gq_tok_sentinels(gq_tokenizer *t, gq_error *err)
{
    const int32_t first = t->unigram->model_size;
    char          name[24];
    int32_t       id;
    gq_status     status;

    id = gq_tok_find(t, "<extra_id_0>", strlen("<extra_id_0>"));
    if (id >= 0 && id < first)
        return GQ_OK;
    for (int k = 0; k < SENTINELS; k++) {
        size_t len = (size_t)snprintf(name, sizeof name, "<extra_id_%d>", k);
        id = first + SENTINELS - 1 - k;
        if (gq_tok_find(t, name, len) == id && t->flags[id] & TOK_IS_SPECIAL)
            continue;
        if ((status = gq_tok_special(t, id, name, len, err)))
            return status;
        t->flags[id] |= TOK_IS_MADE;
    }
    return GQ_OK;
}
