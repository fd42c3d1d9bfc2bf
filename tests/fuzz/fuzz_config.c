/* fuzz_config.c - any bytes as a configuration; behind the first NUL byte overrides "a.b=c", each
 * up to the next NUL. What is accepted is written, read again and is the same; what is refused says
 * where. */
#include "fuzz.h"

#include <stdlib.h>

#include "train/config.h"

enum { OVERRIDES = 8 };

static char *write_out(const gq_config *c, size_t *size)
{
    char    *text = NULL;
    gq_error err = {0};
    FILE    *f = open_memstream(&text, size);
    must(f && gq_config_write(c, f, &err) == GQ_OK && fclose(f) == 0, "%s", err.text);
    return text;
}

static void differs(void *ctx, const char *key, const char *a, const char *b)
{
    (void)ctx;
    must(!key, "%s was '%s', is read back as '%s'", key, a, b);
}

static void same_again(const gq_config *c)
{
    static gq_config   back;
    static gq_problems problems;
    size_t             n, m;
    gq_error           err = {0};
    char              *text = write_out(c, &n);
    gq_status s = gq_config_parse("x.yaml", text, n, NULL, 0, &back, &problems, &err);
    must(s == GQ_OK, "what was written is refused: %s", err.text);
    gq_config_diff(c, &back, differs, NULL);
    char *twice = write_out(&back, &m);
    must(n == m && !memcmp(text, twice, n), "written otherwise the second time");
    free(text);
    free(twice);
}

static void refused(gq_status s, const gq_error *err, const gq_problems *p)
{
    fz_refused(s, err, GQ_ECONFIG);
    must(p->n && p->n <= GQ_PROBLEMS_MAX, "%zu problems", p->n);
    for (size_t i = 0; i < p->n; i++) {
        const char *t = p->item[i].text;
        must(t[0] && memchr(t, 0, GQ_PROBLEM_TEXT), "problem %zu", i);
        must(p->item[i].line >= 0 && p->item[i].column >= 0, "problem %zu", i);
        for (; *t; t++)
            must((unsigned char)*t >= 0x20 && *t != 0x7f, "a control character in '%s'", t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gq_config   c;
    static gq_problems problems;
    const char        *override[OVERRIDES];
    size_t             n = 0, yaml;
    gq_error           err = {0};
    char              *copy = malloc(size + 1);

    must(copy, "memory");
    memcpy(copy, data, size);
    copy[size] = 0;
    yaml = strlen(copy);
    for (size_t at = yaml + 1; at < size && n < OVERRIDES; at += strlen(copy + at) + 1)
        override[n++] = copy + at;

    problems = (gq_problems){0};
    gq_status s = gq_config_parse("x.yaml", copy, yaml, override, n, &c, &problems, &err);
    if (s == GQ_OK)
        same_again(&c);
    else
        refused(s, &err, &problems);
    free(copy);
    return 0;
}
