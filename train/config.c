/* config.c - loading: defaults, file, overrides, problems. */
#include "train/config.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/text.h"
#include "train/config_load.h"
#include "train/config_yaml.h"

/* ---- problems --------------------------------------------------------------------------------------- */

static void add_problem(gq_config_loader *l, const gq_place *at, const char *key, const char *fmt,
                        va_list ap)
{
    gq_problems *p = l->problems;
    gq_problem  *item;
    char         where[160], what[GQ_PROBLEM_TEXT], buf[100];

    if (p->n == GQ_PROBLEMS_MAX) {
        p->more++;
        return;
    }
    item = &p->item[p->n++];
    item->line = at ? at->line : 0;
    item->column = at ? at->column : 0;
    if (at && at->override)
        snprintf(where, sizeof where, "--set %s",
                 gq_printable(at->override, strlen(at->override), buf, sizeof buf));
    else if (at && at->line)
        snprintf(where, sizeof where, "%s:%d:%d",
                 gq_printable(l->name, strlen(l->name), buf, sizeof buf), at->line, at->column);
    else
        snprintf(where, sizeof where, "%s",
                 gq_printable(l->name, strlen(l->name), buf, sizeof buf));
    vsnprintf(what, sizeof what, fmt, ap);
    snprintf(item->text, sizeof item->text, "%.130s: %s%s%.180s", where, key ? key : "",
             key ? ": " : "", what);
}

void gq_problem_add(gq_config_loader *l, const gq_place *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_problem(l, at, NULL, fmt, ap);
    va_end(ap);
}

void gq_problem_key(gq_config_loader *l, const char *key, const char *fmt, ...)
{
    const gq_key *k = gq_key_find(key, strlen(key));
    va_list       ap;

    va_start(ap, fmt);
    add_problem(l, k ? &l->from[k - gq_keys] : NULL, key, fmt, ap);
    va_end(ap);
}

bool gq_config_given(const gq_config_loader *l, const char *key)
{
    const gq_key   *k = gq_key_find(key, strlen(key));
    const gq_place *at = k ? &l->from[k - gq_keys] : NULL;
    return at && (at->line || at->override);
}

static bool full(const gq_config_loader *l)
{
    return l->problems->n == GQ_PROBLEMS_MAX;
}

/* ---- values ----------------------------------------------------------------------------------------- */

/* Where in the user's input a node stands: in the file, or somewhere in an override. */
static gq_place place_of(const gq_yaml_node *node, const gq_place *within)
{
    if (within && within->override)
        return *within;
    return (gq_place){.line = node->line, .column = node->column};
}

static const char *kind_text(const gq_yaml_node *node)
{
    return node->kind == GQ_YAML_LIST  ? "a list"
           : node->kind == GQ_YAML_MAP ? "a map"
                                       : "a single value";
}

/* "expected integer, found a list" */
static void wrong_kind(gq_config_loader *l, const gq_place *at, const gq_key *k, const char *label,
                       const gq_yaml_node *node)
{
    gq_text want = {0};
    gq_key_type_text(k, &want);
    gq_problem_add(l, at, "%s: expected %s, found %s", label, want.p ? want.p : "another type",
                   kind_text(node));
    gq_free(want.p);
}

static void load_scalar(gq_config_loader *l, const gq_key *k, void *at, const char *label,
                        const gq_yaml_node *node, const gq_place *where)
{
    char why[GQ_PROBLEM_TEXT];

    if (node->kind != GQ_YAML_SCALAR)
        wrong_kind(l, where, k, label, node);
    else if (node->plain &&
             (!*node->text || !strcmp(node->text, "~") || !strcmp(node->text, "null")))
        gq_problem_add(l, where, "%s: has no value; take the line out%s", label,
                       k->type == GQ_TYPE_STR ? " or write \"\"" : "");
    else if (!gq_key_set(k, at, node->text, node->plain, why))
        gq_problem_add(l, where, "%s: %s", label, why);
}

static void load_real3(gq_config_loader *l, const gq_key *k, void *at, const gq_yaml *y, int index,
                       const gq_place *where)
{
    double v[3];
    char   why[GQ_PROBLEM_TEXT];
    int    n = 0;

    if (y->node[index].kind != GQ_YAML_LIST) {
        wrong_kind(l, where, k, k->name, &y->node[index]);
        return;
    }
    for (int i = y->node[index].first; i >= 0; i = y->node[i].next, n++) {
        const gq_yaml_node *node = &y->node[i];
        gq_place            here = place_of(node, where);
        if (n == 3 || node->kind != GQ_YAML_SCALAR) {
            gq_problem_add(l, &here, "%s: expected three numbers (%s)", k->name, k->unit);
            return;
        }
        if (!gq_key_real(k, &v[n], node->text, node->plain, why)) {
            gq_problem_add(l, &here, "%s: %s", k->name, why);
            return;
        }
    }
    if (n != 3)
        gq_problem_add(l, where, "%s: expected three numbers (%s), found %d", k->name, k->unit, n);
    else
        memcpy(at, v, sizeof v);
}

/* A list of strings; one string stands for a list of one. The strings are checked as STR values of that size. */
static void load_strs(gq_config_loader *l, const gq_key *k, void *at, const char *label,
                      const gq_yaml *y, int index, const gq_place *where)
{
    const gq_key item = {.name = k->name, .type = GQ_TYPE_STR, .unit = k->unit, .size = k->size};
    bool         single = y->node[index].kind == GQ_YAML_SCALAR;
    size_t       n = 0;

    if (y->node[index].kind == GQ_YAML_MAP) {
        wrong_kind(l, where, k, label, &y->node[index]);
        return;
    }
    for (int i = single ? index : y->node[index].first; i >= 0;
         i = single ? -1 : y->node[i].next, n++) {
        gq_place here = place_of(&y->node[i], where);
        if (n == k->max) {
            gq_problem_add(l, &here, "%s: more than %zu entries", label, k->max);
            break;
        }
        load_scalar(l, &item, gq_key_item(k, at, n), label, &y->node[i], &here);
    }
    memcpy(at, &n, sizeof n);
}

static size_t mix_index(const gq_mix *mix, const char *kind)
{
    size_t i = 0;
    while (i < mix->n && strcmp(mix->name[i], kind) != 0)
        i++;
    return i;
}

/* Sets one weight of a mix, adding the kind when it is new. */
static void mix_put(gq_config_loader *l, const gq_key *k, gq_mix *mix, const char *kind,
                    const char *text, bool plain, const gq_place *where)
{
    const gq_key name = {.name = k->name, .type = GQ_TYPE_STR, .unit = "", .size = GQ_NAME_MAX};
    char         why[GQ_PROBLEM_TEXT];
    size_t       i = mix_index(mix, kind);

    if (i == k->max)
        gq_problem_add(l, where, "%s: more than %zu kinds", k->name, k->max);
    else if (!gq_key_set(&name, mix->name[i], kind, false, why) ||
             !gq_key_real(k, &mix->weight[i], text, plain, why))
        gq_problem_add(l, where, "%s: %s", k->name, why);
    else
        mix->n += i == mix->n;
}

static void load_mix(gq_config_loader *l, const gq_key *k, gq_mix *mix, const gq_yaml *y, int index,
                     const gq_place *where)
{
    char buf[72];

    if (y->node[index].kind != GQ_YAML_MAP) {
        wrong_kind(l, where, k, k->name, &y->node[index]);
        return;
    }
    memset(mix, 0, sizeof *mix);
    for (int i = y->node[index].first; i >= 0 && !full(l); i = y->node[y->node[i].next].next) {
        const gq_yaml_node *key = &y->node[i], *value = &y->node[key->next];
        gq_place            here = place_of(key, where);
        if (key->kind != GQ_YAML_SCALAR || value->kind != GQ_YAML_SCALAR)
            gq_problem_add(l, &here, "%s: expected 'kind: number'", k->name);
        else if (mix_index(mix, key->text) < mix->n)
            gq_problem_add(l, &here, "%s: '%s' stands here twice", k->name,
                           gq_printable(key->text, strlen(key->text), buf, sizeof buf));
        else
            mix_put(l, k, mix, key->text, value->text, value->plain, &here);
    }
}

static const gq_key *field_named(const gq_key *k, const char *name)
{
    for (size_t f = 0; f < k->n_fields; f++)
        if (!strcmp(k->fields[f].name, name))
            return &k->fields[f];
    return NULL;
}

static void item_defaults(const gq_key *k, char *item)
{
    char why[GQ_PROBLEM_TEXT];

    memset(item, 0, k->size);
    for (size_t f = 0; f < k->n_fields; f++) {
        const gq_key *field = &k->fields[f];
        const double  unset = GQ_UNSET;
        const int     maybe = -1;
        if (!field->def || !gq_key_is_scalar(field))
            continue;
        if (strcmp(field->def, "unset") != 0)
            gq_key_set(field, item + field->offset, field->def, true, why);
        else if (field->type == GQ_TYPE_MAYBE)
            memcpy(item + field->offset, &maybe, sizeof maybe);
        else
            memcpy(item + field->offset, &unset, sizeof unset);
    }
}

static void unknown_field(gq_config_loader *l, const gq_place *at, const gq_key *k,
                          const char *name)
{
    const char *nearest = NULL;
    size_t      least = SIZE_MAX;
    char        buf[72];

    if (full(l)) {
        l->problems->more++;
        return;
    }
    for (size_t f = 0; f < k->n_fields; f++) {
        size_t d = gq_edit_distance(name, k->fields[f].name);
        if (d < least) {
            least = d;
            nearest = k->fields[f].name;
        }
    }
    if (!nearest || !gq_edit_close(name, least))
        nearest = NULL;
    gq_problem_add(l, at, "%s: unknown field '%s'%s%s%s", k->name,
                   gq_printable(name, strlen(name), buf, sizeof buf),
                   nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

/* One item of a list of maps. */
static void load_item(gq_config_loader *l, const gq_key *k, char *item, const gq_yaml *y, int index,
                      const gq_place *where)
{
    unsigned seen = 0;

    item_defaults(k, item);
    if (y->node[index].kind != GQ_YAML_MAP) {
        gq_problem_add(l, where, "%s: expected items such as '- {%s: ...}', found %s", k->name,
                       k->fields[0].name, kind_text(&y->node[index]));
        return;
    }
    for (int i = y->node[index].first; i >= 0; i = y->node[y->node[i].next].next) {
        const gq_yaml_node *key = &y->node[i];
        const gq_key       *field = key->kind == GQ_YAML_SCALAR ? field_named(k, key->text) : NULL;
        gq_place here = place_of(key, where), there = place_of(&y->node[key->next], where);
        char                label[64];
        unsigned            bit;
        if (!field) {
            unknown_field(l, &here, k, key->kind == GQ_YAML_SCALAR ? key->text : "(not text)");
            continue;
        }
        snprintf(label, sizeof label, "%s.%s", k->name, field->name);
        bit = 1u << (field - k->fields);
        if (seen & bit)
            gq_problem_add(l, &here, "%s: stands here twice", label);
        seen |= bit;
        if (field->type == GQ_TYPE_STRS)
            load_strs(l, field, item + field->offset, label, y, key->next, &there);
        else
            load_scalar(l, field, item + field->offset, label, &y->node[key->next], &there);
    }
    for (size_t f = 0; f < k->n_fields; f++)
        if (!k->fields[f].def && !(seen & 1u << f))
            gq_problem_add(l, where, "%s: '%s' must be given", k->name, k->fields[f].name);
}

static void load_list(gq_config_loader *l, const gq_key *k, char *at, const gq_yaml *y, int index,
                      const gq_place *where)
{
    size_t n = 0;

    if (y->node[index].kind != GQ_YAML_LIST) {
        wrong_kind(l, where, k, k->name, &y->node[index]);
        return;
    }
    for (int i = y->node[index].first; i >= 0; i = y->node[i].next, n++) {
        gq_place here = place_of(&y->node[i], where);
        if (n == k->max) {
            gq_problem_add(l, &here, "%s: more than %zu entries", k->name, k->max);
            break;
        }
        load_item(l, k, gq_key_item(k, at, n), y, i, &here);
    }
    memcpy(at, &n, sizeof n);
}

static void load_value(gq_config_loader *l, const gq_key *k, const gq_yaml *y, int index,
                       const gq_place *where)
{
    char *at = (char *)l->c + k->offset;

    switch (k->type) {
    case GQ_TYPE_REAL3: load_real3(l, k, at, y, index, where); return;
    case GQ_TYPE_STRS:  load_strs(l, k, at, k->name, y, index, where); return;
    case GQ_TYPE_MIX:   load_mix(l, k, (gq_mix *)(void *)at, y, index, where); return;
    case GQ_TYPE_LIST:  load_list(l, k, at, y, index, where); return;
    default:            load_scalar(l, k, at, k->name, &y->node[index], where); return;
    }
}

/* ---- the file --------------------------------------------------------------------------------------- */

static void unknown_key(gq_config_loader *l, const gq_place *at, const char *name)
{
    const gq_key *nearest;
    char          buf[72];

    if (full(l)) {
        l->problems->more++;
        return;
    }
    nearest = gq_key_nearest(name);
    gq_problem_add(
        l, at, "unknown key '%s'%s%s%s", gq_printable(name, strlen(name), buf, sizeof buf),
        nearest ? "; did you mean '" : "", nearest ? nearest->name : "", nearest ? "'?" : "");
}

/* The keys of a section; `prefix` is "" or "model.weights." */
static void load_section(gq_config_loader *l, const char *prefix, const gq_yaml *y, int index)
{
    for (int i = y->node[index].first; i >= 0; i = y->node[y->node[i].next].next) {
        const gq_yaml_node *key = &y->node[i], *value = &y->node[key->next];
        gq_place            here = place_of(key, NULL), there = place_of(value, NULL);
        char                name[128];
        const gq_key       *k;
        if (key->kind != GQ_YAML_SCALAR) {
            gq_problem_add(l, &here, "a key is one word, not %s", kind_text(key));
            continue;
        }
        snprintf(name, sizeof name, "%s%s", prefix, key->text);
        k = gq_key_find(name, strlen(name));
        if (!k) {
            unknown_key(l, &here, name);
            continue;
        }
        gq_place *from = &l->from[k - gq_keys];
        if (from->line)
            gq_problem_add(l, &here, "%s: stands here twice; it was set in line %d", k->name,
                           from->line);
        *from = here;
        if (k->type != GQ_TYPE_SECTION) {
            load_value(l, k, y, key->next, &there);
        } else if (value->kind == GQ_YAML_MAP) {
            snprintf(name, sizeof name, "%s.", k->name);
            load_section(l, name, y, key->next);
        } else if (value->kind == GQ_YAML_LIST || !value->plain || *value->text) {
            gq_problem_add(l, &there, "%s: expected a section with keys, found %s", k->name,
                           kind_text(value));
        }
    }
}

static void load_text(gq_config_loader *l, const char *text, size_t bytes)
{
    gq_yaml   y;
    gq_place  at = {0};
    char      why[GQ_PROBLEM_TEXT];
    gq_status status = gq_yaml_read(text, bytes, &y, &at.line, &at.column, why);

    if (status != GQ_OK) {
        gq_problem_add(l, &at, "%s", why);
        l->status = status;
        return;
    }
    if (y.n > 0 && y.node[0].kind == GQ_YAML_MAP)
        load_section(l, "", &y, 0);
    else if (y.n > 0 && (y.node[0].kind != GQ_YAML_SCALAR || !y.node[0].plain || *y.node[0].text))
        gq_problem_add(l, &(gq_place){.line = 1, .column = 1},
                       "expected sections such as 'train:', found %s", kind_text(&y.node[0]));
    gq_yaml_free(&y);
}

/* ---- defaults and overrides --------------------------------------------------------------------------- */

/* A value that stands alone: a default, or the right side of an override. Scalars are taken as they are, so that
 * paths need no YAML quoting; lists and maps are YAML in flow style. */
static void load_loose(gq_config_loader *l, const gq_key *k, const char *text,
                       const gq_place *where)
{
    gq_yaml_node word = {
        .kind = GQ_YAML_SCALAR, .plain = k->type != GQ_TYPE_STR, .first = -1, .next = -1};
    gq_yaml      y;
    gq_place     at;
    char         why[GQ_PROBLEM_TEXT];
    gq_status    status;

    if (gq_key_is_scalar(k) || (k->type == GQ_TYPE_STRS && text[0] != '[')) {
        word.text = (char *)(uintptr_t)text;
        y = (gq_yaml){.node = &word, .n = 1};
        load_value(l, k, &y, 0, where);
        return;
    }
    status = gq_yaml_read(text, strlen(text), &y, &at.line, &at.column, why);
    if (status != GQ_OK || y.n == 0)
        gq_problem_add(l, where, "%s: %s", k->name, status != GQ_OK ? why : "has no value");
    else
        load_value(l, k, &y, 0, where);
    if (status == GQ_ENOMEM)
        l->status = status;
    gq_yaml_free(&y);
}

static void load_defaults(gq_config_loader *l)
{
    memset(l->c, 0, sizeof *l->c);
    for (size_t i = 0; i < gq_n_keys && l->status == GQ_OK; i++)
        if (gq_key_is_scalar(&gq_keys[i]) || gq_keys[i].type == GQ_TYPE_REAL3)
            load_loose(l, &gq_keys[i], gq_keys[i].def, NULL);
}

static void load_override(gq_config_loader *l, const char *text)
{
    const gq_place where = {.override = text};
    const char    *equal = strchr(text, '=');
    size_t         len = equal ? (size_t)(equal - text) : 0, dot = len;
    const gq_key  *k;

    if (!equal || !len) {
        gq_problem_add(l, &where, "expected KEY=VALUE, for example train.batch=8");
        return;
    }
    k = gq_key_find(text, len);
    if (!k) {                           /* train.mix.order=2 */
        while (dot > 0 && text[dot] != '.')
            dot--;
        k = gq_key_find(text, dot);
        if (k && k->type == GQ_TYPE_MIX && dot + 1 < len) {
            char kind[GQ_NAME_MAX + 1];
            snprintf(kind, sizeof kind, "%.*s",
                     (int)(len - dot - 1 < sizeof kind ? len - dot - 1 : sizeof kind - 1),
                     text + dot + 1);
            mix_put(l, k, (gq_mix *)(void *)((char *)l->c + k->offset), kind, equal + 1, true,
                    &where);
            l->from[k - gq_keys] = where;
            return;
        }
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), text);
        unknown_key(l, &where, name);
        return;
    }
    if (k->type == GQ_TYPE_SECTION) {
        gq_problem_add(l, &where, "'%s' is a section; set one of its keys, for example %s", k->name,
                       (k + 1)->name);
        return;
    }
    l->from[k - gq_keys] = where;
    load_loose(l, k, equal + 1, &where);
}

/* All problems that fit, one a line. */
static gq_status report(const gq_config_loader *l, gq_error *err)
{
    const gq_problems *p = l->problems;
    char               text[sizeof err->text] = "";
    size_t             used = 0, shown = 0;

    for (; shown < p->n; shown++) {
        size_t n = strlen(p->item[shown].text);
        if (used + n + 40 > sizeof text && shown > 0)
            break;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", shown ? "\n" : "",
                                 p->item[shown].text);
    }
    if (shown < p->n || p->more)
        snprintf(text + used, sizeof text - used, "\n... and %zu more", p->n - shown + p->more);
    return gq_fail(err, l->status != GQ_OK ? l->status : GQ_ECONFIG, "%s", text);
}

gq_status gq_config_parse(const char *name, const char *text, size_t bytes,
                          const char *const *overrides, size_t n_overrides, gq_config *out,
                          gq_problems *problems, gq_error *err)
{
    gq_problems      own;
    gq_config_loader l = {.c = out, .name = name, .problems = problems ? problems : &own};

    _Static_assert(sizeof l < 1 << 16, "a loader lives on the stack");
    if (gq_n_keys > GQ_KEYS_MAX)
        return gq_fail(err, GQ_EBUG, "config: %zu keys, room for %d", gq_n_keys, GQ_KEYS_MAX);
    l.problems->n = l.problems->more = 0;
    load_defaults(&l);
    if (l.status == GQ_OK && text)
        load_text(&l, text, bytes);
    for (size_t i = 0; i < n_overrides && l.status == GQ_OK; i++)
        load_override(&l, overrides[i]);
    if (l.status == GQ_OK) {
        gq_config_resolve(&l);
        if (!l.problems->n)
            gq_config_check(&l);        /* what spans keys makes sense only when each key does */
    }
    return l.problems->n ? report(&l, err) : GQ_OK;
}

gq_status gq_config_load(const char *path, const char *const *overrides, size_t n_overrides,
                         gq_config *out, gq_problems *problems, gq_error *err)
{
    gq_bytes  file = {0};
    gq_status s;

    if (!path)
        return gq_config_parse("(no file)", NULL, 0, overrides, n_overrides, out, problems, err);
    if (problems)
        problems->n = problems->more = 0;
    s = gq_read_file(path, GQ_YAML_BYTES, &file, err);
    if (s != GQ_OK) {
        if (err && s == GQ_EINPUT)      /* a config that cannot be read is exit 3, not 4 */
            err->code = GQ_ECONFIG;
        return s == GQ_EINPUT ? GQ_ECONFIG : s;
    }
    s = gq_config_parse(path, (const char *)file.data, file.size, overrides, n_overrides, out,
                        problems, err);
    gq_bytes_free(&file);
    return s;
}

/* ---- small helpers ----------------------------------------------------------------------------------- */

int64_t gq_amount_steps(gq_amount a, int64_t total)
{
    return (int64_t)llround(a.fraction ? a.value * (double)total : a.value);
}

double gq_mix_weight(const gq_mix *m, const char *kind)
{
    size_t i = mix_index(m, kind);
    return i < m->n ? m->weight[i] : 1;
}

bool gq_kinds_has(const gq_kinds *k, const char *kind)
{
    for (size_t i = 0; i < k->n; i++)
        if (!strcmp(k->name[i], kind))
            return true;
    return k->n == 0;
}
