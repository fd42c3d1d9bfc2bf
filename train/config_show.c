/* config_show.c - the table as help, explanation, reference and frozen config. */
#include <string.h>

#include "core/mem.h"
#include "train/config_table.h"

/* ---- output ------------------------------------------------------------------------------------------ */

/* Writes what was gathered and releases it. */
static gq_status flush(gq_text *t, FILE *f, gq_error *err)
{
    bool ok = !t->failed && (!t->n || fwrite(t->p, 1, t->n, f) == t->n) && !ferror(f);
    gq_status s = ok ? GQ_OK
                  : t->failed
                      ? gq_fail(err, GQ_ENOMEM, "out of memory while writing the configuration")
                      : gq_fail(err, GQ_EDISK, "cannot write the configuration");
    gq_free(t->p);
    *t = (gq_text){0};
    return s;
}

/* `text` broken at spaces into lines of at most `width` bytes, each after `lead`. */
static void add_wrapped(gq_text *t, const char *lead, const char *text, size_t width)
{
    while (*text) {
        size_t n = strlen(text), cut = n;
        if (n > width) {
            cut = width;
            while (cut > 0 && text[cut] != ' ')
                cut--;
            if (cut == 0)
                cut = strcspn(text, " ");
        }
        gq_text_add(t, "%s%.*s\n", lead, (int)cut, text);
        text += cut;
        text += *text == ' ';
    }
}

/* "train.batch" is at depth 1, "data.limits.side" at depth 2 */
static int depth_of(const char *name)
{
    int depth = 0;
    for (; *name; name++)
        depth += *name == '.';
    return depth;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* ---- the frozen config --------------------------------------------------------------------------------- */

/* "# a sentence (unit)" above the key; sizes and choices are in the reference */
static void write_key(gq_text *t, const gq_key *k, const void *at)
{
    const char *indent = depth_of(k->name) == 2 ? "    " : "  ";
    char        lead[16];

    snprintf(lead, sizeof lead, "%s# ", indent);
    add_wrapped(t, lead, k->doc, 96 - strlen(lead));
    gq_text_add(t, "%s%s: ", indent, last_part(k->name));
    if (k->type == GQ_TYPE_LIST && gq_key_count(k, at)) {
        for (size_t i = 0; i < gq_key_count(k, at); i++) {
            gq_text_add(t, "\n%s  - ", indent);
            gq_key_format_item(k, at, i, t);
        }
    } else {
        gq_key_format(k, at, t);
    }
    gq_text_add(t, "\n");
}

gq_status gq_config_write(const gq_config *c, FILE *f, gq_error *err)
{
    gq_text t = {0};

    for (size_t i = 0; i < gq_n_keys; i++) {
        const gq_key *k = &gq_keys[i];
        if (k->type != GQ_TYPE_SECTION) {
            write_key(&t, k, (const char *)c + k->offset);
            continue;
        }
        if (depth_of(k->name) == 0)
            gq_text_add(&t, "%s# %s\n%s:\n", i ? "\n" : "", k->doc, k->name);
        else
            gq_text_add(&t, "  # %s\n  %s:\n", k->doc, last_part(k->name));
    }
    return flush(&t, f, err);
}

/* ---- differences --------------------------------------------------------------------------------------- */

size_t gq_config_diff(const gq_config *a, const gq_config *b, gq_diff_fn show, void *ctx)
{
    size_t differing = 0;

    for (size_t i = 0; i < gq_n_keys; i++) {
        const gq_key *k = &gq_keys[i];
        gq_text       ta = {0}, tb = {0};
        if (k->type == GQ_TYPE_SECTION)
            continue;
        gq_key_format(k, (const char *)a + k->offset, &ta);
        gq_key_format(k, (const char *)b + k->offset, &tb);
        /* without memory for the texts the key counts as different: safe for the one who asks */
        if (ta.failed || tb.failed || strcmp(ta.p, tb.p) != 0) {
            differing++;
            if (show)
                show(ctx, k->name, ta.failed ? "?" : ta.p, tb.failed ? "?" : tb.p);
        }
        gq_free(ta.p);
        gq_free(tb.p);
    }
    return differing;
}

/* ---- help ----------------------------------------------------------------------------------------------- */

static bool bounded(const gq_key *k)
{
    return k->type == GQ_TYPE_INT || k->type == GQ_TYPE_REAL || k->type == GQ_TYPE_REAL3 ||
           k->type == GQ_TYPE_SIZE || k->type == GQ_TYPE_MIX;
}

gq_status gq_config_help(FILE *f, gq_error *err)
{
    gq_text t = {0};

    for (size_t i = 0; i < gq_n_keys; i++) {
        const gq_key *k = &gq_keys[i];
        gq_text       type = {0}, def = {0};
        if (k->type == GQ_TYPE_SECTION)
            continue;
        gq_key_type_text(k, &type);
        gq_key_default_text(k, &def);
        t.failed |= type.failed || def.failed;
        gq_text_add(&t, "%-28s %-22s %s\n", k->name, def.p ? def.p : "", type.p ? type.p : "");
        gq_free(type.p);
        gq_free(def.p);
    }
    return flush(&t, f, err);
}

static void explain_range(gq_text *t, const gq_key *k, const char *lead)
{
    if (bounded(k) && k->hi < 0x1p60)
        gq_text_add(t, "%srange    %.10g to %.10g%s%s\n", lead, k->lo, k->hi, *k->unit ? " " : "",
                    k->unit);
    else if (*k->unit && k->type != GQ_TYPE_STR && k->type != GQ_TYPE_STRS)
        gq_text_add(t, "%sunit     %s\n", lead, k->unit);
}

static void explain_one(gq_text *t, const gq_key *k)
{
    gq_text_add(t, "%s\n", k->name);
    add_wrapped(t, "  ", k->doc, 90);
    gq_text_add(t, "  type     ");
    gq_key_type_text(k, t);
    gq_text_add(t, "\n  default  ");
    gq_key_default_text(k, t);
    gq_text_add(t, "\n");
    explain_range(t, k, "  ");
    for (size_t i = 0; i < k->n_fields; i++) {
        const gq_key *field = &k->fields[i];
        gq_text_add(t, "  - %s: ", field->name);
        gq_key_type_text(field, t);
        gq_text_add(t, "; default ");
        gq_key_default_text(field, t);
        gq_text_add(t, "\n");
        add_wrapped(t, "      ", field->doc, 86);
    }
}

gq_status gq_config_explain(const char *key, FILE *f, gq_error *err)
{
    const gq_key *k = gq_key_find(key, strlen(key));
    gq_text       t = {0};

    if (!k) {
        const gq_key *nearest = gq_key_nearest(key);
        return gq_fail(err, GQ_EUSAGE, "no configuration key '%.100s'%s%s%s", key,
                       nearest ? "; did you mean '" : "", nearest ? nearest->name : "",
                       nearest ? "'?" : "");
    }
    if (k->type != GQ_TYPE_SECTION) {
        explain_one(&t, k);
        return flush(&t, f, err);
    }
    gq_text_add(&t, "%s: %s\n", k->name, k->doc);
    for (size_t i = 0; i < gq_n_keys; i++) {
        size_t n = strlen(k->name);
        if (gq_keys[i].type != GQ_TYPE_SECTION && !strncmp(gq_keys[i].name, k->name, n) &&
            gq_keys[i].name[n] == '.') {
            gq_text_add(&t, "\n");
            explain_one(&t, &gq_keys[i]);
        }
    }
    return flush(&t, f, err);
}

/* ---- configs/REFERENCE.md ---------------------------------------------------------------------------------- */

static void reference_row(gq_text *t, const gq_key *k, const char *name)
{
    gq_text_add(t, "| `%s` | ", name);
    gq_key_type_text(k, t);
    if (bounded(k) && k->hi < 0x1p60)
        gq_text_add(t, ", %.10g to %.10g", k->lo, k->hi);
    if (*k->unit && k->type != GQ_TYPE_STR && k->type != GQ_TYPE_STRS && k->type != GQ_TYPE_AMOUNT)
        gq_text_add(t, ", %s", k->unit);
    gq_text_add(t, " | ");
    if (k->def)
        gq_text_add(t, "`");
    gq_key_default_text(k, t);
    gq_text_add(t, "%s | %s |\n", k->def ? "`" : "", k->doc);
}

gq_status gq_config_reference(FILE *f, gq_error *err)
{
    static const char head[] = "| key | type and range | default | meaning |\n|---|---|---|---|\n";
    gq_text           t = {0};

    gq_text_add(&t, "# Configuration reference\n\n"
                    "Made from `train/config_keys.h` by `gifqa-train --reference`; a test compares "
                    "the two. Every key can be\n"
                    "given in the YAML file of `--config` and on the command line as `--set "
                    "section.key=value`, later values over\n"
                    "earlier ones. Unknown, repeated, wrongly typed and out-of-range keys are "
                    "errors. Sizes take Ki, Mi, Gi, Ti\n"
                    "(of bytes: KiB, MiB, ...). Patterns match parameter names: `*` any run of "
                    "characters, `?` one.\n");
    for (size_t i = 0; i < gq_n_keys; i++) {
        const gq_key *k = &gq_keys[i];
        if (k->type == GQ_TYPE_SECTION)
            gq_text_add(&t, "\n%s %s\n\n%s\n%s", depth_of(k->name) ? "###" : "##", k->name, k->doc,
                        k[1].type == GQ_TYPE_SECTION ? "" : "\n");
        if (k->type == GQ_TYPE_SECTION && k[1].type != GQ_TYPE_SECTION)
            gq_text_add(&t, "%s", head);
        if (k->type != GQ_TYPE_SECTION)
            reference_row(&t, k, k->name);
    }
    for (size_t i = 0; i < gq_n_keys; i++) {
        if (gq_keys[i].type != GQ_TYPE_LIST)
            continue;
        gq_text_add(&t, "\n### Items of %s\n\n%s", gq_keys[i].name, head);
        for (size_t j = 0; j < gq_keys[i].n_fields; j++)
            reference_row(&t, &gq_keys[i].fields[j], gq_keys[i].fields[j].name);
    }
    return flush(&t, f, err);
}
