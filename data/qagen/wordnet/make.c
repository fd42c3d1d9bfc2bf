/* make.c - a program of the build: reads the files of WordNet 3.0 and writes them as the C tables of
 * data/qagen/wordnet.c, single words only.
 *
 *   make-wordnet DIRECTORY OUTPUT.c
 *
 * A word's noun class is the lexicographer file of its first sense, with two classes of ours that
 * come from the hypernyms of that sense: living (a person or an animal) and clothing.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/qagen/wordnet_table.h"

enum { LINE = 1 << 16, WORD = 80, DEPTH = 64, KNOWN = 1, LIVING = 64, CLOTHING = 128 };
enum { NOUN = 1, VERB = 2, ADJ = 4, ADV = 8 };

typedef struct entry {
    char     word[WORD];
    unsigned parts; /* NOUN | VERB | ADJ | ADV                                */
    unsigned class; /* lexicographer file of the first noun sense, flags      */
} entry;

static const char *dir;
static entry      *list;
static size_t      used, room;
static char       *nouns; /* data.noun                                              */
static size_t      nouns_size;
static uint8_t    *flags; /* [nouns_size] KNOWN, and LIVING or CLOTHING             */

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "make-wordnet: %s/%s: %s\n", dir, name, what);
    exit(1);
}

static FILE *open_file(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail("cannot be opened", name);
    return f;
}

static void load_nouns(void)
{
    FILE *f = open_file("data.noun");
    fseek(f, 0, SEEK_END);
    nouns_size = (size_t)ftell(f);
    rewind(f);
    nouns = malloc(nouns_size + 1);
    flags = calloc(nouns_size + 1, 1);
    if (!nouns || !flags || fread(nouns, 1, nouns_size, f) != nouns_size)
        fail("cannot be read", "data.noun");
    fclose(f);
    nouns[nouns_size] = 0;
    for (char *p = nouns; (p = strchr(p, '\n'));)
        *p++ = 0; /* sscanf() measures what it is given                     */
}

/* ---- hypernyms ------------------------------------------------------------------------------- */

/* LIVING | CLOTHING of a synset: its own, when it is a root, and those of what stands above it. */
static unsigned flags_of(long offset, int depth)
{
    if (offset < 0 || (size_t)offset >= nouns_size || depth == DEPTH)
        fail("a pointer leads out of it, or in a circle", "data.noun");
    if (flags[offset] & KNOWN)
        return flags[offset] & (LIVING | CLOTHING);
    unsigned words, mine = flags[offset];
    int      n, skip;
    char    *p = nouns + offset;
    if (sscanf(p, "%*s %*s %*s %x %n", &words, &skip) != 1)
        fail("a synset cannot be read", "data.noun");
    for (p += skip; words > 0; words--, p += skip)
        sscanf(p, "%*s %*s %n", &skip);
    if (sscanf(p, "%d %n", &n, &skip) != 1)
        fail("a synset cannot be read", "data.noun");
    for (p += skip; n > 0; n--, p += skip) {
        char symbol[4], part[4];
        long to;
        if (sscanf(p, "%3s %ld %3s %*s %n", symbol, &to, part, &skip) != 3)
            fail("a synset cannot be read", "data.noun");
        if (symbol[0] == '@' && part[0] == 'n')
            mine |= flags_of(to, depth + 1);
    }
    flags[offset] = (uint8_t)(mine | KNOWN);
    return mine & (LIVING | CLOTHING);
}

/* The synset of sense `sense` (1-based) of a noun. */
static long find_synset(const char *word, int sense)
{
    static char line[LINE];
    FILE       *f = open_file("index.noun");
    long        offset = -1;
    size_t      n = strlen(word);
    while (offset < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, word, n) && line[n] == ' ') {
            int   pointers, skip;
            char *p = line;
            if (sscanf(p, "%*s %*s %*d %d %n", &pointers, &skip) != 1)
                break;
            for (p += skip; pointers > 0; pointers--, p += skip)
                sscanf(p, "%*s %n", &skip);
            sscanf(p, "%*d %*d %n", &skip);
            for (p += skip; sense > 1; sense--, p += skip)
                sscanf(p, "%*s %n", &skip);
            sscanf(p, "%ld", &offset);
        }
    fclose(f);
    if (offset < 0)
        fail("has not the word it should have", "index.noun");
    return offset;
}

/* ---- words ----------------------------------------------------------------------------------- */

static unsigned noun_class(long offset)
{
    unsigned file;
    if (sscanf(nouns + offset, "%*s %u", &file) != 1 || file >= LIVING)
        fail("a synset cannot be read", "data.noun");
    file |= flags_of(offset, 0);
    return file;
}

static void add(const char *word, unsigned part, unsigned class)
{
    if (used == room) {
        room = room ? 2 * room : 1 << 16;
        list = realloc(list, room * sizeof *list);
        if (!list)
            fail("no memory", "");
    }
    entry *e = &list[used++];
    snprintf(e->word, sizeof e->word, "%s", word);
    e->parts = part;
    e->class = class;
}

static bool single(const char *word)
{
    return strlen(word) < WORD && !strpbrk(word, "_\"\\");
}

static void read_index(const char *name, unsigned part)
{
    static char line[LINE];
    static char word[LINE];
    FILE       *f = open_file(name);
    while (fgets(line, sizeof line, f)) {
        int pointers, skip;
        if (line[0] == ' ' || sscanf(line, "%s %*s %*d %d %n", word, &pointers, &skip) != 2 ||
            !single(word))
            continue;
        char *p = line + skip;
        for (; pointers > 0; pointers--, p += skip)
            sscanf(p, "%*s %n", &skip);
        long offset;
        if (sscanf(p, "%*d %*d %ld", &offset) != 1)
            fail("a line cannot be read", name);
        add(word, part, part == NOUN ? noun_class(offset) : 0);
    }
    fclose(f);
}

static int by_word(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->word, ((const entry *)b)->word);
}

static void merge(void)
{
    size_t to = 0;
    qsort(list, used, sizeof *list, by_word);
    for (size_t k = 0; k < used; k++)
        if (to && !strcmp(list[to - 1].word, list[k].word)) {
            list[to - 1].parts |= list[k].parts;
            list[to - 1].class |= list[k].class;
        } else {
            list[to++] = list[k];
        }
    used = to;
}

static void write_words(FILE *o)
{
    uint32_t at = 0;
    fprintf(o, "const char gq__wordnet_text[] =\n");
    for (size_t k = 0; k < used; k++)
        fprintf(o, "\"%s\\0\"\n", list[k].word);
    fprintf(o, ";\nconst gq__wordnet_row gq__wordnet_rows[] = {\n");
    for (size_t k = 0; k < used; k++) {
        fprintf(o, "{%u,%u,%u},\n", at, list[k].parts, list[k].class);
        at += (uint32_t)strlen(list[k].word) + 1;
    }
    fprintf(o, "};\nconst size_t gq__wordnet_words = %zu;\n", used);
}

/* Rows by the hash of their words, for open addressing: row + 1, 0 is empty. */
static void write_slots(FILE *o)
{
    static uint32_t slot[GQ__WORDNET_SLOTS];
    if (used > GQ__WORDNET_SLOTS / 2)
        fail("more words than there are slots for", "");
    for (size_t k = 0; k < used; k++) {
        uint32_t at = gq__wordnet_hash(list[k].word);
        while (slot[at & (GQ__WORDNET_SLOTS - 1)])
            at++;
        slot[at & (GQ__WORDNET_SLOTS - 1)] = (uint32_t)k + 1;
    }
    fprintf(o, "const uint32_t gq__wordnet_slots[] = {\n");
    for (size_t k = 0; k < GQ__WORDNET_SLOTS; k++)
        fprintf(o, "%u,\n", slot[k]);
    fprintf(o, "};\n");
}

static void write_exceptions(FILE *o, const char *file, const char *name)
{
    static char line[LINE], form[LINE], lemma[LINE];
    FILE       *f = open_file(file);
    size_t      n = 0;
    fprintf(o, "const gq__wordnet_pair gq__wordnet_%s[] = {\n", name);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%s %s", form, lemma) == 2 && single(form) && single(lemma)) {
            fprintf(o, "{\"%s\",\"%s\"},\n", form, lemma);
            n++;
        }
    fclose(f);
    fprintf(o, "};\nconst size_t gq__wordnet_%s_pairs = %zu;\n", name, n);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: make-wordnet DIRECTORY OUTPUT.c\n"), 2;
    dir = argv[1];
    load_nouns();
    flags[find_synset("person", 1)] = LIVING;
    flags[find_synset("animal", 1)] = LIVING;
    flags[find_synset("clothing", 1)] = CLOTHING;
    flags[find_synset("footwear", 1)] = CLOTHING;
    flags[find_synset("footwear", 2)] = CLOTHING;
    read_index("index.noun", NOUN);
    read_index("index.verb", VERB);
    read_index("index.adj", ADJ);
    read_index("index.adv", ADV);
    merge();
    FILE *o = fopen(argv[2], "w");
    if (!o)
        return fprintf(stderr, "make-wordnet: %s cannot be written\n", argv[2]), 1;
    fprintf(o,
            "/* Made by data/qagen/wordnet/make.c from WordNet 3.0, whose licence and notice are "
            "those of\n * Princeton University (Debian: wordnet-base). */\n"
            "#include \"data/qagen/wordnet_table.h\"\n\n");
    write_words(o);
    write_slots(o);
    write_exceptions(o, "noun.exc", "nouns");
    write_exceptions(o, "verb.exc", "verbs");
    return fclose(o) == 0 ? 0 : 1;
}
