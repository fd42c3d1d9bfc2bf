#include "data/prompt.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"

/* All ids of the text in out->buffer. */
static gq_status encode(const gq_tokenizer *t, const char *text, gq_prompt_ids *out, size_t *count,
                        gq_error *err)
{
    size_t    bytes = strlen(text);
    gq_status s = gq_tokenizer_encode(t, text, bytes, 0, out->buffer, out->room, count, err);
    int32_t  *more;

    if (s != GQ_OK || *count <= out->room)
        return s;
    more = gq_realloc(out->buffer, *count, sizeof *more);
    if (!more)
        return gq_fail(err, GQ_ENOMEM, "no memory for a text of %zu tokens", *count);
    out->buffer = more;
    out->room = *count;
    return gq_tokenizer_encode(t, text, bytes, 0, out->buffer, out->room, count, err);
}

/* The template with its places filled, in out[GQ_PROMPT_BYTES]; false: it has no room there. */
static bool fill(const char *template, const char *question, const char *context, char *out)
{
    size_t at = 0;
    while (*template) {
        const char *from = template;
        size_t      n = 1;
        if (strncmp(template, "{q}", 3) == 0 || strncmp(template, "{c}", 3) == 0) {
            from = template[1] == 'q' ? question : context;
            n = strlen(from);
            template += 2;
        }
        if (n >= GQ_PROMPT_BYTES - at)
            return false;
        memcpy(out + at, from, n);
        at += n;
        template++;
    }
    out[at] = '\0';
    return true;
}

/* The ids of a template with its places filled. */
static gq_status encode_filled(const gq_tokenizer *t, const char *template, const char *question,
                               const char *context, gq_prompt_ids *out, size_t *count, gq_error *err)
{
    char     *text = gq_malloc(GQ_PROMPT_BYTES, 1);
    gq_status s;

    if (!text)
        return gq_fail(err, GQ_ENOMEM, "no memory for a text of %d bytes", GQ_PROMPT_BYTES);
    s = fill(template, question, context, text)
            ? encode(t, text, out, count, err)
            : gq_fail(err, GQ_EINPUT,
                      "a text of %zu bytes is too long for a question or an answer: the limit is %d",
                      strlen(template) + strlen(question) + strlen(context), GQ_PROMPT_BYTES);
    gq_free(text);
    return s;
}

/* Where does a text that is too long lose ids? */
static bool loses_its_end(const char *template)
{
    const char *question = strstr(template, "{q}"), *context = strstr(template, "{c}");
    return question && context && question < context;
}

gq_status gq_prompt_question(const gq_prompt_form *f, const gq_tokenizer *t, const char *question,
                             const char *context, gq_prompt_ids *out, gq_error *err)
{
    size_t    count = 0;
    gq_status s = encode_filled(t, f->template, question, context, out, &count, err);

    if (s != GQ_OK)
        return s;
    if (count == 0)
        return gq_fail(err, GQ_EINPUT, "the question has no token: ask something");
    out->cut = count > (size_t)f->max_question;
    out->n = out->cut ? f->max_question : (int32_t)count;
    out->ids = out->buffer + (loses_its_end(f->template) ? 0 : count - (size_t)out->n);
    return GQ_OK;
}

gq_status gq_prompt_answer(const gq_prompt_form *f, const gq_tokenizer *t, const char *answer,
                           gq_prompt_ids *out, gq_error *err)
{
    size_t    count = 0;
    gq_status s = encode_filled(t, "{c}{q}", answer, f->answer_prefix, out, &count, err);

    if (s != GQ_OK)
        return s;
    out->cut = count > (size_t)f->max_answer;
    out->n = out->cut ? f->max_answer : (int32_t)count;
    out->ids = out->buffer;
    return GQ_OK;
}

void gq_prompt_ids_free(gq_prompt_ids *p)
{
    gq_free(p->buffer);
    memset(p, 0, sizeof *p);
}

const char *gq_prompt_strip(const gq_prompt_form *f, const char *text)
{
    size_t n = strlen(f->answer_prefix);

    if (strncmp(text, f->answer_prefix, n) == 0)
        text += n;
    return text + strspn(text, " ");
}
