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

/* before, inner, after: one text, its ids. */
static gq_status encode_joined(const gq_tokenizer *t, const char *before, size_t n_before,
                               const char *inner, const char *after, gq_prompt_ids *out,
                               size_t *count, gq_error *err)
{
    size_t    bytes = n_before + strlen(inner) + strlen(after) + 1;
    char     *text;
    gq_status s;

    if (bytes > GQ_PROMPT_BYTES)
        return gq_fail(
            err, GQ_EINPUT,
            "a text of %zu bytes is too long for a question or an answer: the limit is %d", bytes,
            GQ_PROMPT_BYTES);
    text = gq_malloc(bytes, 1);
    if (!text)
        return gq_fail(err, GQ_ENOMEM, "no memory for a text of %zu bytes", bytes);
    snprintf(text, bytes, "%.*s%s%s", (int)n_before, before, inner, after);
    s = encode(t, text, out, count, err);
    gq_free(text);
    return s;
}

gq_status gq_prompt_question(const gq_prompt_form *f, const gq_tokenizer *t, const char *question,
                             gq_prompt_ids *out, gq_error *err)
{
    const char *hole = strstr(f->template, "{q}");
    size_t      before = hole ? (size_t)(hole - f->template) : strlen(f->template), count = 0;
    gq_status   s =
        encode_joined(t, f->template, before, question, hole ? hole + 3 : "", out, &count, err);

    if (s != GQ_OK)
        return s;
    if (count == 0)
        return gq_fail(err, GQ_EINPUT, "the question has no token: ask something");
    out->cut = count > (size_t)f->max_question;
    out->n = out->cut ? f->max_question : (int32_t)count;
    out->ids = out->buffer + (count - (size_t)out->n);
    return GQ_OK;
}

gq_status gq_prompt_answer(const gq_prompt_form *f, const gq_tokenizer *t, const char *answer,
                           gq_prompt_ids *out, gq_error *err)
{
    size_t    count = 0;
    gq_status s =
        encode_joined(t, f->answer_prefix, strlen(f->answer_prefix), answer, "", out, &count, err);

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
