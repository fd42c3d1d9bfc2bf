/* Which files a path means, and all formats but tokenizer.json. */
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"

#define SPIECE      "spiece.model"
#define CLIP_GZ     "bpe_simple_vocab_16e6.txt.gz"
#define CLIP_MERGES 48894               /* of the 262,144 in CLIP's file                          */

gq_status gq_tok_read(const char *path, bool gz, size_t limit, gq_bytes *out, gq_error *err)
{
    gq_error  own = { 0 };
    gq_status status =
        gz ? gq_read_gz(path, limit, out, &own) : gq_read_file(path, limit, out, &own);

    if (status == GQ_OK)
        return GQ_OK;
    *out = (gq_bytes){ 0 };
    return gq_fail(err, status == GQ_EINPUT ? GQ_EWEIGHTS : status, "%s", own.text);
}

/* ---- lines ----------------------------------------------------------------------------------- */

typedef struct lines {                  /* walks the lines of a file                              */
    const char *at, *end;
    size_t      number;                 /* of the line read last, from 1                          */
} lines;

static lines lines_of(const gq_bytes *file)
{
    return (lines){ (const char *)file->data, (const char *)file->data + file->size, 0 };
}

/* The next line without its "\n" or "\r\n"; NULL at the end. */
static const char *next_line(lines *l, size_t *len)
{
    const char *line = l->at, *stop;
    if (l->at == l->end)
        return NULL;
    stop = memchr(line, '\n', (size_t)(l->end - line));
    l->at = stop ? stop + 1 : l->end;
    *len = (size_t)((stop ? stop : l->end) - line);
    if (*len && line[*len - 1] == '\r')
        --*len;
    l->number++;
    return line;
}

static size_t count_lines(const gq_bytes *file)
{
    lines  l = lines_of(file);
    size_t len;
    while (next_line(&l, &len))
        continue;
    return l.number;
}

/* ---- merges ---------------------------------------------------------------------------------- */

/* Cuts "left right". */
static gq_status cut_merge(const char *line, size_t len, const char **right, size_t *left_len,
                           size_t *right_len, gq_error *err)
{
    const char *space = memchr(line, ' ', len);
    if (!space || space == line || space + 1 == line + len ||
        memchr(space + 1, ' ', (size_t)(line + len - space - 1)))
        return gq_fail(err, GQ_EWEIGHTS, "'%.*s' is not two symbols with one space between",
                       TOK_SHOW(len), line);
    *right = space + 1;
    *left_len = (size_t)(space - line);
    *right_len = len - *left_len - 1;
    return GQ_OK;
}

/* All lines after an optional "#version" one. */
static gq_status add_merges(gq_tokenizer *t, const gq_bytes *file, const char *path, gq_error *err)
{
    lines       l = lines_of(file);
    const char *line, *right = NULL;
    size_t      len, left_len = 0, right_len = 0;
    gq_status   status;

    while ((line = next_line(&l, &len))) {
        if (len == 0 || (l.number == 1 && len >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        status = cut_merge(line, len, &right, &left_len, &right_len, err);
        if (status == GQ_OK)
            status = gq_tok_merge(t, line, left_len, right, right_len, err);
        if (status) {
            gq_context(err, "%s: line %zu", path, l.number);
            return status;
        }
    }
    return GQ_OK;
}

/* ---- vocab.json + merges.txt ----------------------------------------------------------------- */

static gq_status add_added_file(gq_tokenizer *t, const char *path, gq_error *err)
{
    json_t     *root, *id;
    const char *content;
    gq_status   status = gq_tok_json_load(path, GQ_TOK_MAX_FILE, NULL, &root, err);

    if (status)
        return status;
    json_object_foreach(root, content, id) {
        status = json_is_integer(id)
                     ? gq_tok_special(t, json_integer_value(id), content, strlen(content), err)
                     : gq_fail(err, GQ_EWEIGHTS, "the id of '%.60s' is not an integer", content);
        if (status) {
            gq_context(err, "%s", path);
            break;
        }
    }
    json_decref(root);
    return status;
}

typedef struct pair_paths {
    const char *vocab, *merges;
    const char *added;                  /* NULL: there is no such file                            */
} pair_paths;

static gq_status from_pair(const pair_paths *p, json_t *vocab, const gq_bytes *merges,
                           gq_tokenizer **out, gq_error *err)
{
    /* CLIP's vocabulary has every byte at the end of a word; GPT-2's does not know the mark. */
    gq_tok_kind   kind = json_object_get(vocab, "!" GQ_TOK_WORD_END) ? GQ_TOK_CLIP : GQ_TOK_GPT2;
    gq_tokenizer *t;
    gq_status     status = gq_tok_new(kind, json_object_size(vocab), count_lines(merges), &t, err);

    if (status == GQ_OK)
        status = gq_tok_add_vocab(t, vocab, err);
    if (status) {
        gq_context(err, "%s", p->vocab);
    } else {
        status = add_merges(t, merges, p->merges, err);
        if (status == GQ_OK && p->added)
            status = add_added_file(t, p->added, err);
        if (status == GQ_OK && (status = gq_tok_finish(t, err)))
            gq_context(err, "%s", p->vocab);
    }
    if (status)
        gq_tokenizer_close(t);
    else
        *out = t;
    return status;
}

static gq_status open_pair(const pair_paths *p, json_t *vocab, gq_tokenizer **out, gq_error *err)
{
    gq_bytes  merges;
    gq_status status = gq_tok_read(p->merges, false, GQ_TOK_MAX_FILE, &merges, err);

    if (status)
        return status;
    status = from_pair(p, vocab, &merges, out, err);
    gq_bytes_free(&merges);
    return status;
}

/* ---- CLIP's own file ------------------------------------------------------------------------- */

static gq_status add_bytes(gq_tokenizer *t, const char *suffix, gq_error *err)
{
    uint16_t  code[256];
    uint8_t   order[256];
    char      symbol[16];
    int       i, n;
    gq_status status;

    gq_tok_byte_symbols(code, order);
    for (i = 0; i < 256; i++) {
        unsigned c = code[order[i]];
        n = c < 128 ? snprintf(symbol, sizeof symbol, "%c%s", (char)c, suffix)
                    : snprintf(symbol, sizeof symbol, "%c%c%s", (char)(0xC0 | c >> 6),
                               (char)(0x80 | (c & 63)), suffix);
        if ((status = gq_tok_add(t, t->size, symbol, (size_t)n, err)))
            return status;
    }
    return GQ_OK;
}

static gq_status add_clip_merges(gq_tokenizer *t, const gq_bytes *file, gq_error *err)
{
    lines       l = lines_of(file);
    const char *line, *right = NULL;
    char        both[2048];
    size_t      len, left = 0, rest = 0;
    gq_status   status = GQ_OK;

    next_line(&l, &len);                            /* the version                                */
    while (status == GQ_OK && t->merge_count < CLIP_MERGES) {
        line = next_line(&l, &len);
        if (!line || len >= sizeof both)
            return gq_fail(err, GQ_EWEIGHTS,
                           "line %zu: %s; %d merges are needed after the first line", l.number,
                           line ? "too long" : "the file ends", CLIP_MERGES);
        status = cut_merge(line, len, &right, &left, &rest, err);
        if (status == GQ_OK) {
            memcpy(both, line, left);
            memcpy(both + left, right, rest);
            status = gq_tok_add(t, t->size, both, left + rest, err);
        }
        if (status == GQ_OK)
            status = gq_tok_merge(t, line, left, right, rest, err);
    }
    if (status)
        gq_context(err, "line %zu", l.number);
    return status;
}

static gq_status from_clip_file(const gq_bytes *file, gq_tokenizer **out, gq_error *err)
{
    gq_tokenizer *t;
    gq_status     status = gq_tok_new(GQ_TOK_CLIP, 512 + CLIP_MERGES + 2, CLIP_MERGES, &t, err);

    if (status)
        return status;
    if ((status = add_bytes(t, "", err)) == GQ_OK &&
        (status = add_bytes(t, GQ_TOK_WORD_END, err)) == GQ_OK &&
        (status = add_clip_merges(t, file, err)) == GQ_OK &&
        (status = gq_tok_special(t, t->size, GQ_TOK_START_TEXT, strlen(GQ_TOK_START_TEXT), err)) ==
            GQ_OK &&
        (status = gq_tok_special(t, t->size, GQ_TOK_END_TEXT, strlen(GQ_TOK_END_TEXT), err)) ==
            GQ_OK)
        status = gq_tok_finish(t, err);
    if (status)
        gq_tokenizer_close(t);
    else
        *out = t;
    return status;
}

/* ---- words.txt ------------------------------------------------------------------------------- */

static gq_status from_words(const gq_bytes *file, gq_tokenizer **out, gq_error *err)
{
    lines         l = lines_of(file);
    gq_tokenizer *t;
    const char   *line;
    size_t        len;
    gq_status     status = gq_tok_new(GQ_TOK_WORDS, l.number = count_lines(file), 0, &t, err);

    if (status)
        return status;
    l.number = 0;
    while (status == GQ_OK && (line = next_line(&l, &len)))
        if ((status = gq_tok_add(t, t->size, line, len, err)))
            gq_context(err, "line %zu", l.number);
    if (status == GQ_OK)
        status = gq_tok_finish(t, err);
    if (status)
        gq_tokenizer_close(t);
    else
        *out = t;
    return status;
}

/* ---- from a path to files -------------------------------------------------------------------- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* CLIP's file or words.txt: told apart by the first line. */
static gq_status open_text(const char *path, gq_tokenizer **out, gq_error *err)
{
    gq_bytes  file;
    gq_status status = gq_tok_read(path, true, GQ_TOK_MAX_FILE, &file, err);

    if (status)
        return status;
    if (file.size >= 5 && memcmp(file.data, "<pad>", 5) == 0)
        status = from_words(&file, out, err);
    else if (memmem(file.data, file.size < 100 ? file.size : 100, "#version", 8))
        status = from_clip_file(&file, out, err);
    else
        status = gq_fail(err, GQ_EWEIGHTS, "neither a word list (first line <pad>) nor CLIP's %s",
                         CLIP_GZ);
    gq_bytes_free(&file);
    if (status)
        gq_context(err, "%s", path);
    return status;
}

/* The file of `dir` that is there first of `names` (NULL at the end), owned by the caller; NULL
 * when none is. */
static gq_status first_of(const char *dir, const char *const *names, char **out, gq_error *err)
{
    *out = NULL;
    for (; *names; names++) {
        char *path = gq_path(dir, *names);
        if (!path)
            return gq_fail(err, GQ_ENOMEM, "no memory for a path");
        if (gq_is_file(path)) {
            *out = path;
            return GQ_OK;
        }
        gq_free(path);
    }
    return GQ_OK;
}

/* The same beside the file `path`. */
static gq_status first_beside(const char *path, const char *const *names, char **out, gq_error *err)
{
    const char *slash = strrchr(path, '/');
    char       *dir =
        slash ? gq_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : gq_strdup(".");
    gq_status   status;

    *out = NULL;
    if (!dir)
        return gq_fail(err, GQ_ENOMEM, "no memory for a path");
    status = first_of(dir, names, out, err);
    gq_free(dir);
    return status;
}

/* vocab.json with the merges beside it. */
static gq_status open_vocab(const char *path, json_t *vocab, gq_tokenizer **out, gq_error *err)
{
    static const char *const merge_names[] = { "merges.txt", "vocab.bpe", NULL };
    static const char *const added_names[] = { "added_tokens.json", NULL };
    char                    *merges = NULL, *added = NULL;
    gq_status                status = first_beside(path, merge_names, &merges, err);

    if (status == GQ_OK && !merges)
        status = gq_fail(err, GQ_EWEIGHTS, "%s: merges.txt is missing beside it", path);
    if (status == GQ_OK)
        status = first_beside(path, added_names, &added, err);
    if (status == GQ_OK)
        status = open_pair(&(pair_paths){ path, merges, added }, vocab, out, err);
    gq_free(merges);
    gq_free(added);
    return status;
}

static gq_status open_json(const char *path, gq_tokenizer **out, gq_error *err)
{
    json_t   *root;
    gq_bytes  file;
    gq_status status = gq_tok_json_load(path, GQ_TOK_MAX_JSON, &file, &root, err);

    if (status) {
        gq_bytes_free(&file);
        return status;
    }
    if (json_is_object(json_object_get(root, "model"))) {
        if ((status = gq_tok_from_json(root, &file, out, err)))
            gq_context(err, "%s", path);
    } else {
        status = open_vocab(path, root, out, err);
    }
    gq_bytes_free(&file);
    json_decref(root);
    return status;
}

/* With what added_tokens.json beside it adds, and T5's sentinels. */
static gq_status from_spiece(const char *path, const char *added, gq_bytes *file,
                             gq_tokenizer **out, gq_error *err)
{
    gq_tokenizer *t = NULL;
    gq_status     status = gq_tok_from_spiece(file, &t, err);

    if (status) {
        gq_context(err, "%s", path);
    } else if (!added || (status = add_added_file(t, added, err)) == GQ_OK) {
        status = gq_tok_sentinels(t, err);
        if (status == GQ_OK)
            status = gq_tok_finish(t, err);
        if (status)                                 /* known when all of it has been read         */
            gq_context(err, "%s: byte %zu", path, t->unigram->source.size);
    }
    if (status)
        gq_tokenizer_close(t);
    else
        *out = t;
    return status;
}

/* What is wrong with a *.model is wrong input: these files are not a model's weights. */
static gq_status open_spiece(const char *path, gq_tokenizer **out, gq_error *err)
{
    static const char *const names[] = {"added_tokens.json", NULL};
    gq_error                 own = {0};
    gq_bytes                 file;
    char                    *added = NULL;
    gq_status                status = gq_read_file(path, GQ_TOK_MAX_FILE, &file, &own);

    if (status == GQ_OK) {
        status = first_beside(path, names, &added, &own);
        if (status)
            gq_bytes_free(&file);
        else
            status = from_spiece(path, added, &file, out, &own);
    }
    gq_free(added);
    return status ? gq_fail(err, status == GQ_EWEIGHTS ? GQ_EINPUT : status, "%s", own.text)
                  : GQ_OK;
}

/* merges.txt: the vocabulary beside it. */
static gq_status open_merges(const char *path, gq_tokenizer **out, gq_error *err)
{
    static const char *const names[] = { "vocab.json", "encoder.json", NULL };
    char                    *vocab;
    gq_status                status = first_beside(path, names, &vocab, err);

    if (status == GQ_OK)
        status = vocab ? open_json(vocab, out, err)
                       : gq_fail(err, GQ_EWEIGHTS, "%s: vocab.json is missing beside it", path);
    gq_free(vocab);
    return status;
}

gq_status gq_tokenizer_open(const char *path, gq_tokenizer **out, gq_error *err)
{
    static const char *const names[] = {"tokenizer.json", SPIECE,      "vocab.json", "encoder.json",
                                        CLIP_GZ,          "words.txt", NULL};
    char                    *found = NULL;
    const char              *file = path;
    gq_status                status;

    *out = NULL;
    if (gq_is_dir(path)) {
        if ((status = first_of(path, names, &found, err)))
            return status;
        file = found;
        if (!found)
            return gq_fail(err, GQ_EWEIGHTS,
                           "%s: no tokenizer in it; looked for tokenizer.json, %s, vocab.json "
                           "and merges.txt, %s, words.txt",
                           path, SPIECE, CLIP_GZ);
    }
    if (ends_with(file, ".json"))
        status = open_json(file, out, err);
    else if (ends_with(file, ".model"))
        status = open_spiece(file, out, err);
    else if (ends_with(file, "merges.txt") || ends_with(file, ".bpe"))
        status = open_merges(file, out, err);
    else
        status = open_text(file, out, err);
    gq_free(found);
    return status;
}
