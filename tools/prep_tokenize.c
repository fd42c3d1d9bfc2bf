/* gifqa-prep tokenize: lines of text in, one JSON array of token ids a line out. */
#include <errno.h>
#include <string.h>

#include "core/mem.h"
#include "data/tokenizer.h"
#include "tools/prep.h"

enum { LINE_MAX_BYTES = 1 << 20, WHOLE_MAX_BYTES = 1 << 28 };

static const char         *tokenizer;
static bool                frame, no_frame, special, whole;
static const gq_cli_option options[] = {
    {"tokenizer", 't', GQ_CLI_TEXT, &tokenizer, "DIR|FILE",
     "tokenizer.json, spiece.model, vocab.json + merges.txt, CLIP's "
     ".txt.gz, words.txt",
     0, 0},
    {"frame", 0, GQ_CLI_FLAG, &frame, NULL,
     "begin and end tokens around each line (CLIP: the default)", 0, 0},
    {"no-frame", 0, GQ_CLI_FLAG, &no_frame, NULL,
     "the text's own tokens only (the others: the default)", 0, 0},
    {"special", 0, GQ_CLI_FLAG, &special, NULL,
     "\"<|endoftext|>\" and the like in the text are tokens", 0, 0},
    {"whole", 0, GQ_CLI_FLAG, &whole, NULL, "the input is one text with its line ends, not lines",
     0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-prep tokenize",
    .summary = "token ids of text",
    .usage = "--tokenizer DIR|FILE [options] [FILE]",
    .examples = "echo 'what is the cat doing?' | gifqa-prep tokenize --tokenizer gpt2\n"
                "gifqa-prep tokenize --tokenizer clip questions.txt",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 0,
    .most = 1,
    .notes =
        "Reads FILE or standard input; a line is everything before its line feed, at most 1 MiB.\n"
        "Exit codes: 0 done, 2 usage, 4 input, 5 tokenizer (4: *.model), 6 disk or memory.",
};

typedef struct job {
    gq_tokenizer *tok;
    FILE         *in;
    const char   *name;                 /* of the input                                         */
    unsigned      flags;                /* GQ_TOK_*                                             */
    char         *text;                 /* [room]                                               */
    size_t        room, size;           /* bytes                                                */
    int32_t      *ids;                  /* [cap]                                                */
    size_t        cap;
    uint64_t      line;                 /* from 1                                               */
} job;

static gq_status no_memory(const job *j, gq_error *err)
{
    return gq_fail(err, GQ_ENOMEM, "%s:%llu: no memory for this text", j->name,
                   (unsigned long long)j->line);
}

/* The next text into j->text; *end at the end of the input. */
static gq_status next_text(job *j, bool *end, gq_error *err)
{
    size_t most = whole ? WHOLE_MAX_BYTES : LINE_MAX_BYTES;
    int    c = EOF;

    j->size = 0;
    j->line++;
    while ((c = getc_unlocked(j->in)) != EOF && (whole || c != '\n')) {
        if (j->size == most)
            return gq_fail(err, GQ_EINPUT, "%s:%llu: longer than %zu MiB", j->name,
                           (unsigned long long)j->line, most >> 20);
        if (j->size == j->room) {
            size_t room = j->room ? 2 * j->room : 4096;
            char  *p = gq_realloc(j->text, room, 1);
            if (!p)
                return no_memory(j, err);
            j->text = p;
            j->room = room;
        }
        j->text[j->size++] = (char)c;
    }
    if (c == EOF && ferror(j->in))
        return gq_fail(err, GQ_EINPUT, "%s:%llu: cannot read: %s", j->name,
                       (unsigned long long)j->line, strerror(errno));
    *end = c == EOF && j->size == 0 && (!whole || j->line > 1);
    return GQ_OK;
}

static gq_status put_ids(job *j, gq_error *err)
{
    const char *text = j->text ? j->text : "";
    size_t      n;
    gq_status   s = gq_tokenizer_encode(j->tok, text, j->size, j->flags, j->ids, j->cap, &n, err);

    if (s == GQ_OK && n > j->cap) {
        gq_free(j->ids);
        j->cap = 2 * n;
        j->ids = gq_malloc(j->cap, sizeof *j->ids);
        if (!j->ids)
            return no_memory(j, err);
        s = gq_tokenizer_encode(j->tok, text, j->size, j->flags, j->ids, j->cap, &n, err);
    }
    if (s != GQ_OK) {
        gq_context(err, "%s:%llu", j->name, (unsigned long long)j->line);
        return s;
    }
    putchar('[');
    for (size_t i = 0; i < n; i++)
        printf(i ? ",%d" : "%d", (int)j->ids[i]);
    fputs("]\n", stdout);
    return GQ_OK;
}

static gq_status run(job *j, gq_error *err)
{
    gq_status s = gq_tokenizer_open(tokenizer, &j->tok, err);
    bool      end = false;

    if (s != GQ_OK)
        return s;
    if (frame || (!no_frame && gq_tokenizer_kind(j->tok) == GQ_TOK_CLIP))
        j->flags |= GQ_TOK_FRAME;
    if (special)
        j->flags |= GQ_TOK_SPECIAL;
    while (s == GQ_OK && !ferror(stdout) && (s = next_text(j, &end, err)) == GQ_OK && !end)
        s = put_ids(j, err);
    return s;
}

int gq_prep_tokenize(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    job         j = {.in = stdin, .name = "standard input"};
    int         code = gq_cli_parse(&program, argc, argv, &rest);
    gq_status   s;

    if (code != GQ_CLI_GO)
        return code;
    if (!tokenizer)
        return gq_cli_usage(program.name, "--tokenizer DIR|FILE is missing");
    if (frame && no_frame)
        return gq_cli_usage(program.name, "--frame and --no-frame exclude each other");
    if (rest.n && strcmp(rest.item[0], "-") != 0) {
        j.name = rest.item[0];
        j.in = fopen(j.name, "rb");
    }
    s = j.in ? run(&j, &err)
             : gq_fail(&err, GQ_EINPUT, "%s: cannot open: %s", j.name, strerror(errno));
    if (j.in && j.in != stdin)
        fclose(j.in);
    gq_tokenizer_close(j.tok);
    gq_free(j.text);
    gq_free(j.ids);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, false);
}
