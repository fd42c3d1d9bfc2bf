/* fuzz_conllu.c - any bytes as a treebank. What is read comes back the same from plain columns. */
#include "fuzz.h"

#include "core/mem.h"
#include "data/qagen/conllu.h"

static bool read_bank(const void *data, size_t size, gq_treebank *t)
{
    gq_error  err = {0};
    gq_status s = gq_conllu_read(fz_put("t.conllu", data, size), t, &err);
    if (s == GQ_OK)
        return true;
    fz_refused(s, &err, GQ_EINPUT);
    must(!t->word && !t->first && !t->bytes.data, "something was left");
    return false;
}

static void check_words(const gq_treebank *t)
{
    must(t->sentences > 0 && t->first[0] == 0 && t->first[t->sentences] == t->words, "%zu words",
         t->words);
    for (size_t s = 0; s < t->sentences; s++)
        must(t->first[s] < t->first[s + 1] && t->first[s + 1] - t->first[s] <= GQ_CONLLU_WORDS,
             "sentence %zu", s);
    for (size_t k = 0; k < t->words; k++)
        must(*t->word[k].form && *t->word[k].upos && *t->word[k].xpos, "word %zu", k);
}

static void check_again(const gq_treebank *t)
{
    size_t      room = 1, at = 0;
    gq_treebank back;
    for (size_t k = 0; k < t->words; k++)
        room += 64 + strlen(t->word[k].form) + strlen(t->word[k].upos) + strlen(t->word[k].xpos);
    char *text = malloc(room);
    must(text, "memory");
    for (size_t s = 0; s < t->sentences; s++) {
        for (size_t k = t->first[s]; k < t->first[s + 1]; k++)
            at += (size_t)sprintf(text + at, "%zu\t%s\t_\t%s\t%s\t_\t_\t_\t_\t_\n",
                                  k - t->first[s] + 1, t->word[k].form, t->word[k].upos,
                                  t->word[k].xpos);
        at += (size_t)sprintf(text + at, "\n");
    }
    must(read_bank(text, at, &back), "refused: %s", text);
    must(back.words == t->words && back.sentences == t->sentences, "%zu words, %zu", back.words,
         t->words);
    for (size_t k = 0; k < t->words; k++)
        must(!strcmp(back.word[k].form, t->word[k].form) &&
                 !strcmp(back.word[k].xpos, t->word[k].xpos),
             "word %zu of %s", k, text);
    gq_treebank_free(&back);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_treebank t;
    if (!read_bank(data, size, &t))
        return 0;
    check_words(&t);
    check_again(&t);
    gq_treebank_free(&t);
    return 0;
}
