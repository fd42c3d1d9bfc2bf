/* config_table.c - the key table, and single values from and to text. */
#include "train/config_table.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/text.h"

/* ---- the table -------------------------------------------------------------------------------------- */

#define GQ_ENUM_TEXT(name, yaml) yaml,
#define NAMES(list, LIST)                                                                          \
    static const char *const names_##list[] = {GQ_LIST_##LIST(GQ_ENUM_TEXT) NULL};
NAMES(kind, KIND) NAMES(t5, T5) NAMES(t5_act, T5_ACT) NAMES(t5_head, T5_HEAD)
NAMES(init, INIT)
NAMES(clip, CLIP) NAMES(feature, FEATURE) NAMES(act, ACT) NAMES(bridge, BRIDGE)
    NAMES(qtrain, QTRAIN) NAMES(gpt2, GPT2) NAMES(scheme, SCHEME) NAMES(dist, DIST)
        NAMES(part, PART) NAMES(mvm_mode, MVM_MODE) NAMES(rate, RATE) NAMES(scope, SCOPE)
            NAMES(sampler, SAMPLER) NAMES(grain, GRAIN) NAMES(pos, POS) NAMES(zattn, ZATTN)
                NAMES(mvm_loss, MVM_LOSS) NAMES(denom, DENOM) NAMES(predict, PREDICT)
                    NAMES(reduce, REDUCE) NAMES(cutmode, CUTMODE) NAMES(filter, FILTER) NAMES(source, SOURCE)
                        NAMES(schedule, SCHEDULE) NAMES(policy, POLICY) NAMES(attention, ATTENTION)
                            NAMES(backend, BACKEND) NAMES(rung, RUNG) NAMES(prec, PREC)
                                NAMES(beamlen, BEAMLEN) NAMES(early, EARLY)

/* The offset of a field, and a compile-time error when it is not of the type its row says. */
#define FIELD(f) (((GQ_OWNER *)0)->f)
#define IS(f, ctype)                                                                               \
    (0 * sizeof(char[__builtin_types_compatible_p(__typeof__(FIELD(f)), ctype) ? 1 : -1]))
#define OFFSET(f, ctype) (__builtin_offsetof(GQ_OWNER, f) + IS(f, ctype))
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
/* lists are { size_t n; items[] }, without a gap */
#define LIST_OFFSET(f, m) (__builtin_offsetof(GQ_OWNER, f) + IS(f.n, size_t) + \
    0 * sizeof(char[__builtin_offsetof(__typeof__(FIELD(f)), m) == sizeof(size_t) ? 1 : -1]))

#define GQ_SECTION(n, d)    {.name = n, .type = GQ_TYPE_SECTION, .doc = d, .unit = ""},
#define NUMBER(t, c, f, d, l, h, u, text)                                                          \
    {.name = #f,                                                                                   \
     .type = t,                                                                                    \
     .offset = OFFSET(f, c),                                                                       \
     .def = d,                                                                                     \
     .lo = l,                                                                                      \
     .hi = h,                                                                                      \
     .unit = u,                                                                                    \
     .doc = text},
#define GQ_INT(f, d, l, h, u, text)   NUMBER(GQ_TYPE_INT, int64_t, f, d, l, h, u, text)
#define GQ_UINT(f, d, l, h, u, text)  NUMBER(GQ_TYPE_UINT, uint64_t, f, d, l, h, u, text)
#define GQ_SIZE(f, d, l, h, u, text)  NUMBER(GQ_TYPE_SIZE, uint64_t, f, d, l, h, u, text)
#define GQ_REAL(f, d, l, h, u, text)  NUMBER(GQ_TYPE_REAL, double, f, d, l, h, u, text)
#define GQ_REAL3(f, d, l, h, u, text) NUMBER(GQ_TYPE_REAL3, double[3], f, d, l, h, u, text)
#define GQ_BOOL(f, d, text) NUMBER(GQ_TYPE_BOOL, bool, f, d, 0, 1, "", text)
#define GQ_MAYBE(f, d, text) NUMBER(GQ_TYPE_MAYBE, int, f, d, 0, 1, "", text)
#define GQ_AMOUNT(f, d, text)                                                                      \
    NUMBER(GQ_TYPE_AMOUNT, gq_amount, f, d, 0, 1e9, "steps or share", text)
#define GQ_ENUM(f, list, d, text)                                                                  \
    {.name = #f,                                                                                   \
     .type = GQ_TYPE_ENUM,                                                                         \
     .offset = OFFSET(f, gq_cfg_##list),                                                           \
     .def = d,                                                                                     \
     .unit = "",                                                                                   \
     .doc = text,                                                                                  \
     .names = names_##list},
#define GQ_STR(f, d, u, text)                                                                      \
    {.name = #f,                                                                                   \
     .type = GQ_TYPE_STR,                                                                          \
     .offset = OFFSET(f, char[sizeof(FIELD(f))]),                                                  \
     .def = d,                                                                                     \
     .unit = u,                                                                                    \
     .doc = text,                                                                                  \
     .size = sizeof(FIELD(f))},
#define GQ_STRS(f, m, u, text)                                                                     \
    {.name = #f,                                                                                   \
     .type = GQ_TYPE_STRS,                                                                         \
     .offset = LIST_OFFSET(f, m),                                                                  \
     .def = "[]",                                                                                  \
     .unit = u,                                                                                    \
     .doc = text,                                                                                  \
     .size = sizeof(FIELD(f).m[0]),                                                                \
     .max = COUNT_OF(FIELD(f).m)},
#define GQ_MIX(f, text)                                                                            \
    {.name = #f,                                                                                   \
     .type = GQ_TYPE_MIX,                                                                          \
     .offset = OFFSET(f, gq_mix),                                                                  \
     .def = "{}",                                                                                  \
     .lo = 0,                                                                                      \
     .hi = 1e6,                                                                                    \
     .unit = "",                                                                                   \
     .doc = text,                                                                                  \
     .size = GQ_NAME_MAX,                                                                          \
     .max = GQ_KINDS_MAX},
#define GQ_LIST(f, fl, text)                                                                       \
    {.name = #f,                                                                                   \
     .type = GQ_TYPE_LIST,                                                                         \
     .offset = LIST_OFFSET(f, item),                                                               \
     .def = "[]",                                                                                  \
     .unit = "",                                                                                   \
     .doc = text,                                                                                  \
     .size = sizeof(FIELD(f).item[0]),                                                             \
     .max = COUNT_OF(FIELD(f).item),                                                               \
     .fields = fields_##fl,                                                                        \
     .n_fields = COUNT_OF(fields_##fl)},

#define GQ_OWNER gq_rule
                                    static const gq_key fields_rule[] = {
#define GQ_FIELDS_OF_RULE
#include "train/config_fields.h"
#undef GQ_FIELDS_OF_RULE
};
#undef GQ_OWNER
#define GQ_OWNER gq_group
static const gq_key fields_group[] = {
#define GQ_FIELDS_OF_GROUP
#include "train/config_fields.h"
#undef GQ_FIELDS_OF_GROUP
};
#undef GQ_OWNER
#define GQ_OWNER gq_stage
static const gq_key fields_stage[] = {
#define GQ_FIELDS_OF_STAGE
#include "train/config_fields.h"
#undef GQ_FIELDS_OF_STAGE
};
#undef GQ_OWNER
#define GQ_OWNER gq_config
const gq_key gq_keys[] = {
#include "train/config_keys.h"
};
const size_t gq_n_keys = COUNT_OF(gq_keys);

/* ---- looking up ------------------------------------------------------------------------------------- */

const gq_key *gq_key_find(const char *name, size_t len)
{
    for (size_t i = 0; i < gq_n_keys; i++)
        if (strlen(gq_keys[i].name) == len && !memcmp(gq_keys[i].name, name, len))
            return &gq_keys[i];
    return NULL;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

const gq_key *gq_key_nearest(const char *name)
{
    const gq_key *best = NULL;
    size_t        least = SIZE_MAX;

    for (size_t i = 0; i < gq_n_keys; i++) {
        size_t d = gq_edit_distance(name, gq_keys[i].name);
        if (d < least) {
            least = d;
            best = &gq_keys[i];
        }
    }
    if (best && gq_edit_close(last_part(name), least))
        return best;
    /* the right word in the wrong section */
    for (size_t i = 0; i < gq_n_keys; i++)
        if (!strcmp(last_part(gq_keys[i].name), last_part(name)))
            return &gq_keys[i];
    return NULL;
}

bool gq_key_is_scalar(const gq_key *k)
{
    return k->type > GQ_TYPE_SECTION && k->type < GQ_TYPE_REAL3;
}

size_t gq_key_count(const gq_key *k, const void *at)
{
    size_t n = 0;
    (void)k;
    memcpy(&n, at, sizeof n);
    return n;
}

char *gq_key_item(const gq_key *k, void *at, size_t i)
{
    return (char *)at + sizeof(size_t) + i * k->size;
}

/* ---- growing text ----------------------------------------------------------------------------------- */

void gq_text_add(gq_text *t, const char *fmt, ...)
{
    va_list ap;
    int     need;

    va_start(ap, fmt);
    need = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (need < 0 || t->failed) {
        t->failed = true;
        return;
    }
    if (t->n + (size_t)need + 1 > t->cap) {
        size_t cap = 2 * (t->n + (size_t)need + 64);
        char  *p = gq_realloc(t->p, cap, 1);
        if (!p) {
            t->failed = true;
            return;
        }
        t->p = p;
        t->cap = cap;
    }
    va_start(ap, fmt);
    vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
    va_end(ap);
    t->n += (size_t)need;
}

/* ---- text to value ---------------------------------------------------------------------------------- */

static const char *shown(const char *text, char buf[72])
{
    return gq_printable(text, strlen(text), buf, 72);
}

static bool says(char why[GQ_PROBLEM_TEXT], const char *found, const char *want)
{
    char buf[72];
    snprintf(why, GQ_PROBLEM_TEXT, "'%s' is not %s", shown(found, buf), want);
    return false;
}

static bool out_of_range(const gq_key *k, char why[GQ_PROBLEM_TEXT], const char *found)
{
    char buf[72];
    snprintf(why, GQ_PROBLEM_TEXT, "%s is outside %.10g to %.10g", shown(found, buf), k->lo, k->hi);
    return false;
}

/* The C locale whatever the program's is; newlocale("C") takes no memory. */
static double c_strtod(const char *text, char **end)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double   v = strtod_l(text, end, c);
    freelocale(c);
    return v;
}

static bool read_real(const char *text, double *out, const char **rest)
{
    size_t digits = strspn(text, "+-.0123456789eE");
    char  *end;

    if (!digits || !strpbrk(text, "0123456789"))
        return false;
    *out = c_strtod(text, &end);
    *rest = end;
    return end > text && end <= text + digits && isfinite(*out);
}

bool gq_key_real(const gq_key *k, double *out, const char *text, bool plain,
                 char why[GQ_PROBLEM_TEXT])
{
    const char *rest = text;
    double      v = 0;

    if (!plain || !read_real(text, &v, &rest) || *rest)
        return says(why, text, plain ? "a number" : "a number: take the quotes away");
    if (v < k->lo || v > k->hi)
        return out_of_range(k, why, text);
    *out = v;
    return true;
}

/* digits after an optional sign into magnitude; false when there is anything else or it does not fit */
static bool read_digits(const char *text, uint64_t *out, const char **rest)
{
    uint64_t v = 0;
    size_t   n = 0;

    for (; text[n] >= '0' && text[n] <= '9'; n++)
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[n] - '0'), &v))
            return false;
    *out = v;
    *rest = text + n;
    return n > 0;
}

static bool set_int(const gq_key *k, void *at, const char *text, bool plain,
                    char why[GQ_PROBLEM_TEXT])
{
    const char *rest = text;
    bool        negative = text[0] == '-';
    uint64_t    v = 0;
    int64_t     value;

    if (!plain)
        return says(why, text, "an integer: take the quotes away");
    if (!read_digits(text + negative, &v, &rest) || *rest)
        return says(why, text, "an integer");
    if (k->type == GQ_TYPE_UINT) {
        if ((negative && v) || (double)v > k->hi)
            return out_of_range(k, why, text);
        memcpy(at, &v, sizeof v);
        return true;
    }
    if (v > INT64_MAX)
        return out_of_range(k, why, text);
    value = negative ? -(int64_t)v : (int64_t)v;
    if ((double)value < k->lo || (double)value > k->hi)
        return out_of_range(k, why, text);
    memcpy(at, &value, sizeof value);
    return true;
}

static const struct {
    const char *name;
    unsigned    shift;
} suffixes[] = {{"", 0}, {"Ki", 10}, {"Mi", 20}, {"Gi", 30}, {"Ti", 40}};

static bool set_size(const gq_key *k, void *at, const char *text, bool plain,
                     char why[GQ_PROBLEM_TEXT])
{
    const char *rest = text;
    uint64_t    v = 0, shifted;
    bool        bytes = !strcmp(k->unit, "bytes");
    const char *want =
        bytes ? "a size such as 64MiB or 67108864" : "a number such as 256Mi or 268435456";

    if (!plain || !read_digits(text, &v, &rest))
        return says(why, text, want);
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        size_t n = strlen(suffixes[i].name);
        if (strncmp(rest, suffixes[i].name, n) ||
            (rest[n] && !(bytes && n && !strcmp(rest + n, "B"))))
            continue;
        if (__builtin_mul_overflow(v, UINT64_C(1) << suffixes[i].shift, &shifted) ||
            (double)shifted < k->lo || (double)shifted > k->hi)
            return out_of_range(k, why, text);
        memcpy(at, &shifted, sizeof shifted);
        return true;
    }
    return says(why, text, want);
}

static bool set_amount(const gq_key *k, void *at, const char *text, bool plain,
                       char why[GQ_PROBLEM_TEXT])
{
    const char *want = "a number of steps (300) or a share of the run (0.03 or 3%)", *rest = text;
    gq_amount   a = {0};

    if (!plain || !read_real(text, &a.value, &rest))
        return says(why, text, want);
    a.fraction = strcspn(text, ".eE%") < strlen(text);
    rest += strspn(rest, " ");
    if (!strcmp(rest, "%"))
        a.value /= 100;
    else if (*rest)
        return says(why, text, want);
    if (a.value < 0 || a.value > (a.fraction ? 1 : k->hi)) {
        char buf[72];
        snprintf(why, GQ_PROBLEM_TEXT, "%s is outside 0 to %s", shown(text, buf),
                 a.fraction ? "1 (100%) for a share of the run; a number of steps has no point"
                            : "1e9 steps");
        return false;
    }
    memcpy(at, &a, sizeof a);
    return true;
}

static bool set_bool(const gq_key *k, void *at, const char *text, bool plain,
                     char why[GQ_PROBLEM_TEXT])
{
    bool yes = !strcmp(text, "true");

    if (!plain || (!yes && strcmp(text, "false") != 0))
        return says(why, text, plain ? "true or false" : "true or false: take the quotes away");
    if (k->type == GQ_TYPE_BOOL) {
        memcpy(at, &yes, sizeof yes);
    } else {
        int maybe = yes;
        memcpy(at, &maybe, sizeof maybe);
    }
    return true;
}

static bool set_enum(const gq_key *k, void *at, const char *text, char why[GQ_PROBLEM_TEXT])
{
    const char *nearest = NULL;
    size_t      least = SIZE_MAX;
    char        buf[72];
    int         n;

    for (unsigned i = 0; k->names[i]; i++) {
        size_t d = gq_edit_distance(text, k->names[i]);
        if (d == 0) {
            memcpy(at, &i, sizeof i);
            return true;
        }
        if (d < least) {
            least = d;
            nearest = k->names[i];
        }
    }
    n = snprintf(why, GQ_PROBLEM_TEXT, "'%s' is not one of", shown(text, buf));
    for (unsigned i = 0; k->names[i] && n < GQ_PROBLEM_TEXT; i++)
        n += snprintf(why + n, (size_t)(GQ_PROBLEM_TEXT - n), "%s %s", i ? "," : "", k->names[i]);
    if (nearest && gq_edit_close(text, least) && n < GQ_PROBLEM_TEXT)
        snprintf(why + n, (size_t)(GQ_PROBLEM_TEXT - n), "; did you mean '%s'?", nearest);
    return false;
}

static bool set_str(const gq_key *k, void *at, const char *text, char why[GQ_PROBLEM_TEXT])
{
    size_t n = strlen(text);

    if (n >= k->size) {
        snprintf(why, GQ_PROBLEM_TEXT, "%zu bytes are too many; at most %zu", n, k->size - 1);
        return false;
    }
    /* what YAML can carry between double quotes unchanged: the frozen config must read back equal */
    for (size_t i = 0, step; i < n; i += step) {
        uint32_t c = 0;
        step = gq_utf8_next(text + i, n - i, &c);
        if (!step || (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0) ||
            c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF)
            return says(why, text, "UTF-8 text without control characters");
    }
    memset(at, 0, k->size);
    memcpy(at, text, n);
    return true;
}

bool gq_key_set(const gq_key *k, void *at, const char *text, bool plain, char why[GQ_PROBLEM_TEXT])
{
    switch (k->type) {
    case GQ_TYPE_BOOL:
    case GQ_TYPE_MAYBE:  return set_bool(k, at, text, plain, why);
    case GQ_TYPE_INT:
    case GQ_TYPE_UINT:   return set_int(k, at, text, plain, why);
    case GQ_TYPE_SIZE:   return set_size(k, at, text, plain, why);
    case GQ_TYPE_REAL:   return gq_key_real(k, at, text, plain, why);
    case GQ_TYPE_ENUM:   return set_enum(k, at, text, why);
    case GQ_TYPE_AMOUNT: return set_amount(k, at, text, plain, why);
    case GQ_TYPE_STR:    return set_str(k, at, text, why);
    default:             return says(why, text, "a list or a map");
    }
}

/* ---- value to text ---------------------------------------------------------------------------------- */

void gq_text_real(gq_text *out, double v)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), old = uselocale(c);
    char     buf[40];

    snprintf(buf, sizeof buf, "%.0f", fabs(v) < 1e15 ? v : 0);      /* 10000, not 1e+04 */
    for (int digits = 1; digits <= 17 && strtod(buf, NULL) != v; digits++)
        snprintf(buf, sizeof buf, "%.*g", digits, v);
    uselocale(old);
    freelocale(c);
    gq_text_add(out, "%s", buf);
}

void gq_text_quoted(gq_text *out, const char *s)
{
    gq_text_add(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            gq_text_add(out, "\\%c", *s);
        else if (*s == '\n' || *s == '\t')
            gq_text_add(out, "\\%c", *s == '\n' ? 'n' : 't');
        else
            gq_text_add(out, "%c", *s);
    }
    gq_text_add(out, "\"");
}

static void format_size(const gq_key *k, uint64_t v, gq_text *out)
{
    size_t i = COUNT_OF(suffixes) - 1;
    while (i > 0 && (v == 0 || v % (UINT64_C(1) << suffixes[i].shift)))
        i--;
    gq_text_add(out, "%llu%s%s", (unsigned long long)(v >> suffixes[i].shift), suffixes[i].name,
                i && !strcmp(k->unit, "bytes") ? "B" : "");
}

static void format_amount(gq_amount a, gq_text *out)
{
    size_t from = out->n;
    if (!a.fraction) {
        gq_text_add(out, "%.0f", a.value);
        return;
    }
    gq_text_real(out, a.value);
    if (out->p && !strpbrk(out->p + from, ".e"))
        gq_text_add(out, ".0");         /* without it the text would mean steps */
}

static bool unset(const gq_key *k, const void *at)
{
    if (!k->def || strcmp(k->def, "unset") != 0)
        return false;
    if (k->type == GQ_TYPE_MAYBE) {
        int v;
        memcpy(&v, at, sizeof v);
        return v < 0;
    }
    double v;
    memcpy(&v, at, sizeof v);
    return v < 0;
}

void gq_key_format_item(const gq_key *k, const void *at, size_t i, gq_text *out)
{
    const char *item = gq_key_item(k, (void *)(uintptr_t)at, i);
    bool        first = true;

    gq_text_add(out, "{");
    for (size_t f = 0; f < k->n_fields; f++) {
        const gq_key *field = &k->fields[f];
        const void   *value = item + field->offset;
        if (unset(field, value) || (field->type == GQ_TYPE_STRS && !gq_key_count(field, value)))
            continue;
        gq_text_add(out, "%s%s: ", first ? "" : ", ", field->name);
        gq_key_format(field, value, out);
        first = false;
    }
    gq_text_add(out, "}");
}

static void format_many(const gq_key *k, const void *at, gq_text *out)
{
    size_t n = gq_key_count(k, at);

    gq_text_add(out, "%s", k->type == GQ_TYPE_MIX ? "{" : "[");
    for (size_t i = 0; i < n; i++) {
        gq_text_add(out, "%s", i ? ", " : "");
        if (k->type == GQ_TYPE_LIST) {
            gq_key_format_item(k, at, i, out);
            continue;
        }
        gq_text_quoted(out, gq_key_item(k, (void *)(uintptr_t)at, i));
        if (k->type == GQ_TYPE_MIX) {
            gq_text_add(out, ": ");
            gq_text_real(out, ((const gq_mix *)at)->weight[i]);
        }
    }
    gq_text_add(out, "%s", k->type == GQ_TYPE_MIX ? "}" : "]");
}

void gq_key_format(const gq_key *k, const void *at, gq_text *out)
{
    union {
        bool      b;
        int       i;
        int64_t   n;
        uint64_t  u;
        double    d;
        unsigned  e;
        gq_amount a;
        double    d3[3];
    } v = {0};

    switch (k->type) {
    case GQ_TYPE_SECTION: return;
    case GQ_TYPE_BOOL:
        memcpy(&v.b, at, sizeof v.b);
        gq_text_add(out, "%s", v.b ? "true" : "false");
        return;
    case GQ_TYPE_MAYBE:
        memcpy(&v.i, at, sizeof v.i);
        gq_text_add(out, "%s", v.i > 0 ? "true" : "false");
        return;
    case GQ_TYPE_INT:
        memcpy(&v.n, at, sizeof v.n);
        gq_text_add(out, "%lld", (long long)v.n);
        return;
    case GQ_TYPE_UINT:
        memcpy(&v.u, at, sizeof v.u);
        gq_text_add(out, "%llu", (unsigned long long)v.u);
        return;
    case GQ_TYPE_SIZE:    memcpy(&v.u, at, sizeof v.u); format_size(k, v.u, out); return;
    case GQ_TYPE_REAL:    memcpy(&v.d, at, sizeof v.d); gq_text_real(out, v.d); return;
    case GQ_TYPE_ENUM:
        memcpy(&v.e, at, sizeof v.e);
        gq_text_add(out, "%s", k->names[v.e]);
        return;
    case GQ_TYPE_AMOUNT:  memcpy(&v.a, at, sizeof v.a); format_amount(v.a, out); return;
    case GQ_TYPE_STR:     gq_text_quoted(out, at); return;
    case GQ_TYPE_REAL3:
        memcpy(v.d3, at, sizeof v.d3);
        for (int i = 0; i < 3; i++) {
            gq_text_add(out, "%s", i ? ", " : "[");
            gq_text_real(out, v.d3[i]);
        }
        gq_text_add(out, "]");
        return;
    case GQ_TYPE_STRS:
    case GQ_TYPE_MIX:
    case GQ_TYPE_LIST:    format_many(k, at, out); return;
    }
}

void gq_key_type_text(const gq_key *k, gq_text *out)
{
    switch (k->type) {
    case GQ_TYPE_SECTION: gq_text_add(out, "section"); return;
    case GQ_TYPE_BOOL:
    case GQ_TYPE_MAYBE:   gq_text_add(out, "true or false"); return;
    case GQ_TYPE_INT:
    case GQ_TYPE_UINT:    gq_text_add(out, "integer"); return;
    case GQ_TYPE_SIZE:    gq_text_add(out, "size"); return;
    case GQ_TYPE_REAL:    gq_text_add(out, "number"); return;
    case GQ_TYPE_AMOUNT:  gq_text_add(out, "steps (300) or share (0.03, 3%%)"); return;
    case GQ_TYPE_STR:     gq_text_add(out, "%s", k->unit); return;
    case GQ_TYPE_REAL3:   gq_text_add(out, "three numbers"); return;
    case GQ_TYPE_STRS:    gq_text_add(out, "%s or a list, at most %zu", k->unit, k->max); return;
    case GQ_TYPE_MIX:
        gq_text_add(out, "map of question kind to number, at most %zu", k->max);
        return;
    case GQ_TYPE_LIST:    gq_text_add(out, "list of maps, at most %zu", k->max); return;
    case GQ_TYPE_ENUM:
        for (size_t i = 0; k->names[i]; i++)
            gq_text_add(out, "%s%s", i ? ", " : "", k->names[i]);
        return;
    }
}

void gq_key_default_text(const gq_key *k, gq_text *out)
{
    if (k->def && k->type == GQ_TYPE_STR)
        gq_text_quoted(out, k->def);
    else
        gq_text_add(out, "%s", k->def ? k->def : "must be given");
}
