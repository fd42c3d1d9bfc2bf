#include "data/qagen/neural.h"

#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"

/* mrm8488/t5-base-finetuned-question-generation-ap; valhalla/t5-*-qg-prepend; its t5-base-qg-hl
 * and -qa-qg-hl, whose tokenizers have <hl>; ramsrigouthamg/t5_squad_v1. Decoding as in their
 * examples. */
static const gq_neural_form forms[] = {
    {"qg-ap", "answer: {answer}  context: {context}", "question: ", 1, 64, 1, 0},
    {"qg-prepend", "answer: {answer}  context: {context}", "", 4, 32, 1, 0},
    {"qg-hl", "generate question: {left} <hl> {answer} <hl> {right}", "", 4, 32, 1, 0},
    {"squad-v1", "context: {context} answer: {answer}", "question: ", 5, 64, 1, 2},
};
static const size_t n_forms = sizeof forms / sizeof *forms;
static const size_t max_file = 1 << 16;

const gq_neural_form *gq_neural_form_known(size_t k)
{
    return k < n_forms ? &forms[k] : NULL;
}

bool gq_neural_form_named(const char *name, gq_neural_form *out)
{
    for (size_t k = 0; k < n_forms; k++)
        if (!strcmp(forms[k].name, name)) {
            *out = forms[k];
            return true;
        }
    return false;
}

/* ---- places ---------------------------------------------------------------------------------- */

typedef enum place { ANSWER, CONTEXT, LEFT, RIGHT, PLACES } place;
static const char *const places[PLACES] = {"{answer}", "{context}", "{left}", "{right}"};

/* The place that the text begins with; PLACES: none. */
static place place_at(const char *text)
{
    int k = 0;
    while (k < PLACES && strncmp(text, places[k], strlen(places[k])) != 0)
        k++;
    return (place)k;
}

/* NULL, or what is wrong with it. */
static const char *fault_of(const char *prompt)
{
    bool there[PLACES + 1] = {false};
    for (const char *p = strchr(prompt, '{'); p; p = strchr(p + 1, '{')) {
        place k = place_at(p);
        if (k == PLACES)
            return "a prompt has the places {answer}, {context}, {left} and {right} and no other {";
        there[k] = true;
    }
    if (!there[ANSWER])
        return "the prompt has no {answer}";
    if (!there[CONTEXT] && !(there[LEFT] && there[RIGHT]))
        return "the prompt has no {context}, nor {left} and {right}";
    return NULL;
}

bool gq_neural_prompt(const gq_neural_form *f, const gq_caption *c, const gq_candidate *answer,
                      char *out)
{
    const struct {
        size_t from, to;
    } words[PLACES] = {
        {answer->from, answer->to}, {0, c->words.n}, {0, answer->from}, {answer->to, c->words.n}};
    size_t at = 0;
    for (const char *p = f->prompt; *p;) {
        place k = place_at(p);
        if (at + 1 >= GQ_NEURAL_PROMPT)
            return false;
        if (k == PLACES) {
            out[at++] = *p++;
            continue;
        }
        if (!gq_caption_text(c, words[k].from, words[k].to, out + at, GQ_NEURAL_PROMPT - at))
            return false;
        at += strlen(out + at);
        p += strlen(places[k]);
    }
    out[at] = 0;
    return true;
}

/* ---- a form in a file ------------------------------------------------------------------------ */

static bool read_int(gq_json *j, const char *key, uint64_t least, uint64_t most, int *out)
{
    uint64_t v;
    if (!gq_json_u64(j, &v))
        return false;
    if (v < least || v > most)
        return gq_json_fail(j, "%s is a number from %d to %d", key, (int)least, (int)most);
    *out = (int)v;
    return true;
}

static bool read_like(gq_json *j, gq_neural_form *f)
{
    char name[sizeof f->name];
    return gq_json_string(j, name, sizeof name) &&
           (gq_neural_form_named(name, f) || gq_json_fail(j, "no form is called '%s'", name));
}

static bool read_member(gq_json *j, const char *key, gq_neural_form *f)
{
    if (!strcmp(key, "name"))
        return gq_json_string(j, f->name, sizeof f->name) &&
               (*f->name || gq_json_fail(j, "name is empty"));
    if (!strcmp(key, "prompt"))
        return gq_json_string(j, f->prompt, sizeof f->prompt);
    if (!strcmp(key, "prefix"))
        return gq_json_string(j, f->prefix, sizeof f->prefix);
    if (!strcmp(key, "beams"))
        return read_int(j, key, 1, 64, &f->beams);
    if (!strcmp(key, "max_length"))
        return read_int(j, key, 1, 512, &f->max_length);
    if (!strcmp(key, "no_repeat_ngram"))
        return read_int(j, key, 0, 64, &f->no_repeat_ngram);
    if (!strcmp(key, "length_penalty"))
        return gq_json_double(j, &f->length_penalty) &&
               ((f->length_penalty >= -10 && f->length_penalty <= 10) ||
                gq_json_fail(j, "length_penalty is a number from -10 to 10"));
    return gq_json_fail(j, "a form has no '%s'", key);
}

gq_status gq_neural_form_load(const char *path, gq_neural_form *out, gq_error *err)
{
    gq_bytes       b;
    gq_json        j;
    char           key[32];
    gq_neural_form own = {.name = "own", .beams = 1, .max_length = 64, .length_penalty = 1};
    gq_status      s = gq_read_file(path, max_file, &b, err);
    if (s != GQ_OK)
        return s;
    gq_json_begin(&j, path, b.data, b.size, GQ_EINPUT, err);
    gq_json_object(&j);
    for (bool first = true; gq_json_key(&j, key, sizeof key); first = false)
        if (strcmp(key, "like") != 0)
            read_member(&j, key, &own);
        else if (first)
            read_like(&j, &own);
        else
            gq_json_fail(&j, "'like' stands before what differs from it");
    s = gq_json_end(&j);
    gq_bytes_free(&b);
    const char *fault = s == GQ_OK ? fault_of(own.prompt) : NULL;
    if (fault)
        s = gq_fail(err, GQ_EINPUT, "%s: %s", path, fault);
    if (s == GQ_OK)
        *out = own;
    return s;
}

/* ---- what comes back ------------------------------------------------------------------------- */

const char *gq_neural_fate_name(gq_neural_fate f)
{
    static const char *const name[] = {"good",     "empty",           "no question",
                                       "too long", "told the answer", "asked before"};
    return name[f];
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Behind the prefix, which may lack its own white space. */
static const char *behind_prefix(const char *written, const char *prefix)
{
    size_t n = strlen(prefix);
    while (is_space(*written))
        written++;
    while (n && is_space(prefix[n - 1]))
        n--;
    return strncmp(written, prefix, n) == 0 ? written + n : written;
}

/* Words with single blanks between them, lower case. The bytes; `room` or more: cut there. */
static size_t tidy(const char *from, size_t n, char *out, size_t room)
{
    size_t at = 0;
    bool   space = false;
    for (size_t k = 0; k < n; k++) {
        if (is_space(from[k])) {
            space = at > 0;
            continue;
        }
        if (at + space + 1 >= room)
            return room;
        if (space)
            out[at++] = ' ';
        space = false;
        out[at++] = (char)(from[k] >= 'A' && from[k] <= 'Z' ? from[k] | 32 : from[k]);
    }
    out[at] = 0;
    return at;
}

gq_neural_fate gq_neural_clean(const gq_neural_form *f, const char *written, const char *answer,
                               char out[GQ_NEURAL_QUESTION])
{
    char        own[GQ_NEURAL_TEXT];
    const char *from = behind_prefix(written, f->prefix), *end = strchr(from, '?');
    size_t n = tidy(from, end ? (size_t)(end - from) : strlen(from), out, GQ_NEURAL_QUESTION - 1);
    if (!n)
        return GQ_NEURAL_EMPTY;
    if (n >= GQ_NEURAL_QUESTION - 1)
        return GQ_NEURAL_LONG;
    if (!end || !strchr(out, ' '))
        return GQ_NEURAL_NO_QUESTION;
    memcpy(out + n, "?", 2);
    if (tidy(answer, strlen(answer), own, sizeof own) < sizeof own && gq_pairs_told(out, own))
        return GQ_NEURAL_TOLD;
    return GQ_NEURAL_GOOD;
}
