#include "data/qagen/inflect.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "data/qagen/wordnet.h"

static bool is_vowel(char c)
{
    return c && strchr("aeiou", c);
}

static bool ends_in(const char *w, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && !strcmp(w + n - m, end);
}

void gq_third_person(const char *base, char *out)
{
    size_t n = strlen(base);
    if (!strcmp(base, "have"))
        snprintf(out, GQ_WN_WORD, "has");
    else if (!strcmp(base, "be"))
        snprintf(out, GQ_WN_WORD, "is");
    else if (n > 1 && base[n - 1] == 'y' && !is_vowel(base[n - 2]))
        snprintf(out, GQ_WN_WORD, "%.*sies", (int)(n - 1), base);
    else
        snprintf(out, GQ_WN_WORD, "%s%s", base,
                 ends_in(base, n, "s") || ends_in(base, n, "x") || ends_in(base, n, "z") ||
                         ends_in(base, n, "ch") || ends_in(base, n, "sh") || ends_in(base, n, "o")
                     ? "es"
                     : "s");
}

/* Does the last consonant double: one syllable, or one of the few longer verbs that do? */
static bool doubles(const char *w, size_t n)
{
    static const char longer[] = " begin forget admit permit commit refer prefer occur regret ";
    char              padded[GQ_WN_WORD + 2];
    size_t            vowels = 0;
    if (n < 3 || is_vowel(w[n - 1]) || strchr("wxy", w[n - 1]) || !is_vowel(w[n - 2]) ||
        (is_vowel(w[n - 3]) && !(w[n - 3] == 'u' && n > 3 && w[n - 4] == 'q')))
        return false;
    for (size_t k = 0; k < n; k++)
        vowels += is_vowel(w[k]) && !(w[k] == 'u' && k && w[k - 1] == 'q');
    snprintf(padded, sizeof padded, " %s ", w);
    return vowels == 1 || strstr(longer, padded);
}

void gq_gerund(const char *base, char *out)
{
    size_t n = strlen(base);
    if (ends_in(base, n, "ie"))
        snprintf(out, GQ_WN_WORD, "%.*sying", (int)(n - 2), base);
    else if (n > 2 && ends_in(base, n, "e") && !ends_in(base, n, "ee") && !ends_in(base, n, "oe") &&
             !ends_in(base, n, "ye"))
        snprintf(out, GQ_WN_WORD, "%.*sing", (int)(n - 1), base);
    else if (doubles(base, n))
        snprintf(out, GQ_WN_WORD, "%s%cing", base, base[n - 1]);
    else
        snprintf(out, GQ_WN_WORD, "%sing", base);
}
