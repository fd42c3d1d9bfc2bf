/* fuzz_tok_files.c - the files of a tokenizer: "@@ <name>" lines begin files with the names below,
 * what follows them is the content (tok_made.h). What opens is consistent, encodes, and comes back
 * the same from its own files. */
#include "fuzz.h"

#include <unistd.h>

#include "tok_made.h"

static const char *const names[] = {"tokenizer.json", "vocab.json", "encoder.json",
                                    "merges.txt",     "vocab.bpe",  "added_tokens.json",
                                    "words.txt",      "bpe_simple_vocab_16e6.txt.gz"};
enum { NAMES = sizeof names / sizeof *names };

static void clear(void)
{
    for (int i = 0; i < NAMES; i++)
        unlink(fz_path(names[i]));
}

/* Where the line behind the next "@@ " begins; NULL: there is none. */
static const char *section(const char *from, const char *end)
{
    const char *at = end - from >= 3 ? memmem(from, (size_t)(end - from), "@@ ", 3) : NULL;
    return at ? at + 3 : NULL;
}

static void write_sections(const char *text, size_t size)
{
    const char *end = text + size, *at = section(text, end);
    while (at) {
        const char *line = memchr(at, '\n', (size_t)(end - at)), *next = section(at, end);
        const char *stop = next ? next - 3 : end;
        for (int i = 0; line && line < stop && i < NAMES; i++)
            if (strlen(names[i]) == (size_t)(line - at) && !memcmp(at, names[i], strlen(names[i])))
                made_put(names[i], line + 1, (size_t)(stop - line - 1));
        at = next;
    }
}

/* Every entry of vocab.json has an id of its own. */
static void check_ids(const gq_tokenizer *t)
{
    json_t *vocab = access(fz_path("tokenizer.json"), F_OK) == 0
                        ? NULL
                        : json_load_file(fz_path("vocab.json"), 0, NULL);
    must((size_t)gq_tokenizer_vocab_size(t) >= json_object_size(vocab), "%zu entries, %d ids",
         json_object_size(vocab), gq_tokenizer_vocab_size(t));
    json_decref(vocab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_tokenizer *t;
    gq_error      err = {0};
    clear();
    write_sections((const char *)data, size);
    gq_status s = gq_tokenizer_open(fz_dir(), &t, &err);
    if (s != GQ_OK) {
        must(!t, "open in spite of '%s'", err.text);
        fz_refused(s, &err, GQ_EWEIGHTS);
        return 0;
    }
    made_check_entries(t);
    check_ids(t);
    made_check_encoding(t);
    made_check_save(t);
    gq_tokenizer_close(t);
    return 0;
}
