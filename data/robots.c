/* robots.txt: lines, groups, rules, and what they match. */
#include "data/robots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"

typedef struct span { const uint8_t *p; size_t n; } span;

typedef struct rule {
    size_t at, n;                       /* its pattern, in the text                               */
    bool   allow, ends;                 /* ends: with '$'                                         */
} rule;

struct gq_robots {
    char  *text;                        /* patterns in their normal form, '*' is the wildcard     */
    size_t size;
    rule  *rule;                        /* [rules] those that decide first come first             */
    size_t rules, room;
    double delay;
};

/* ---- one form for paths and patterns --------------------------------------------------------- */

typedef enum form {
    PATTERN,                            /* '*' is a wildcard; a query as in QUERY_ESCAPED         */
    QUERY_ESCAPED,                      /* ":/?@" of a query as "%3A", ...                        */
    QUERY_PLAIN,                        /* ... or as themselves: for patterns that begin with '*'
                                           and do not show that they speak of a query             */
} form;

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static bool among(uint8_t c, const char *set)
{
    return c && strchr(set, c);
}

static bool letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool unreserved(uint8_t c)
{
    return letter(c) || (c >= '0' && c <= '9') || among(c, "-._~");
}

/* out: [3 * n]; the bytes of the normal form. */
static size_t normal(const uint8_t *in, size_t n, form how, char *out)
{
    static const char digit[] = "0123456789ABCDEF";
    size_t at = 0;
    bool   query = false;
    for (size_t k = 0; k < n;) {
        bool    escaped = in[k] == '%' && n - k > 2 && hex(in[k + 1]) >= 0 && hex(in[k + 2]) >= 0;
        uint8_t c = escaped ? (uint8_t)(hex(in[k + 1]) << 4 | hex(in[k + 2])) : in[k];
        bool    plain = unreserved(c);
        k += escaped ? 3 : 1;
        if (how == PATTERN && c == '*' && !escaped) {
            if (!at || out[at - 1] != '*')
                out[at++] = '*';
            continue;
        }
        if (query && among(c, ":/?@"))
            plain = how == QUERY_PLAIN;
        else if (!plain && !escaped)
            plain = among(c, ":/?#[]@!&'()+,;=%");           /* not '*' and '$', which rules mean
                                                                otherwise                         */
        query |= c == '?' && !escaped;
        if (!plain) {
            out[at++] = '%';
            out[at++] = digit[c >> 4];
        }
        out[at++] = plain ? (char)c : digit[c & 15];
    }
    return at;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static span trim(span s)
{
    while (s.n && blank(s.p[0]))
        s.p++, s.n--;
    while (s.n && blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* The next line of `rest` without its comment, in two parts. False: the end. */
static bool next_line(span *rest, span *key, span *value)
{
    size_t n = 0, size, colon = 0;
    if (!rest->n)
        return false;
    while (n < rest->n && rest->p[n] != '\n' && rest->p[n] != '\r')
        n++;
    const uint8_t *comment = memchr(rest->p, '#', n);
    size = comment ? (size_t)(comment - rest->p) : n;
    while (colon < size && rest->p[colon] != ':')
        colon++;
    *key = trim((span){rest->p, colon});
    *value = colon < size ? trim((span){rest->p + colon + 1, size - colon - 1})
                          : (span){rest->p, 0};
    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    return true;
}

static bool is(span s, const char *word)
{
    return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* "gifqa/1.0 (or so)" names gifqa. */
static bool names(span value, const char *agent)
{
    size_t n = 0;
    if (strcmp(agent, "*") == 0)
        return value.n && value.p[0] == '*' && (value.n == 1 || blank(value.p[1]));
    while (n < value.n && (letter(value.p[n]) || among(value.p[n], "-_")))
        n++;
    return is((span){value.p, n}, agent);
}

/* Seconds; 0: no number. */
static double seconds(span s)
{
    double value = 0, unit = 1;
    size_t k = 0;
    for (; k < s.n && s.p[k] >= '0' && s.p[k] <= '9'; k++)
        value = fmin(10 * value + (s.p[k] - '0'), GQ_ROBOTS_DELAY);
    if (k && k < s.n && s.p[k] == '.')
        for (k++; k < s.n && s.p[k] >= '0' && s.p[k] <= '9'; k++)
            value += (unit /= 10) * (s.p[k] - '0');
    return k == s.n ? fmin(value, GQ_ROBOTS_DELAY) : 0;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static bool add(gq_robots *r, span value, bool allow)
{
    if (r->rules == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        rule  *more = gq_realloc(r->rule, room, sizeof *more);
        if (!more)
            return false;
        r->rule = more;
        r->room = room;
    }
    bool   ends = value.p[value.n - 1] == '$';
    size_t n = normal(value.p, value.n - ends, PATTERN, r->text + r->size);
    r->rule[r->rules++] = (rule){.at = r->size, .n = n, .allow = allow, .ends = ends};
    r->size += n;
    return true;
}

/* All groups that name the agent; *found: there is one. False: no memory. */
static bool collect(gq_robots *r, span rest, const char *agent, bool *found)
{
    span key, value;
    bool ours = false, head = false;    /* head: among the lines that begin a group               */
    *found = false;
    while (next_line(&rest, &key, &value)) {
        if (is(key, "user-agent")) {
            ours = (head && ours) || names(value, agent);
            head = true;
            *found |= ours;
        } else if (is(key, "allow") || is(key, "disallow")) {
            head = false;
            if (ours && value.n && !add(r, value, is(key, "allow")))
                return false;
        } else if (ours && is(key, "crawl-delay")) {
            r->delay = fmax(r->delay, seconds(value));
        }
    }
    return true;
}

static int by_turn(const void *a, const void *b)
{
    const rule *x = a, *y = b;
    size_t      n = x->n + x->ends, m = y->n + y->ends;
    return n != m ? (n < m) - (n > m) : y->allow - x->allow;
}

static span within(const void *data, size_t size)
{
    span s = {data, size};
    if (s.n > GQ_ROBOTS_BYTES) {
        s.n = GQ_ROBOTS_BYTES;
        while (s.n && s.p[s.n - 1] != '\n' && s.p[s.n - 1] != '\r')
            s.n--;
    }
    if (s.n >= 3 && memcmp(s.p, "\xEF\xBB\xBF", 3) == 0)
        s.p += 3, s.n -= 3;
    return s;
}

gq_status gq_robots_parse(const void *data, size_t size, const char *agent, gq_robots **out,
                          gq_error *err)
{
    span       all = within(data, size);
    gq_robots *r = gq_calloc(1, sizeof *r);
    bool       found = false;
    bool       ok = r && (r->text = gq_calloc(3 * all.n + 1, 1)) && collect(r, all, agent, &found);
    *out = NULL;
    if (ok && !found)
        ok = collect(r, all, "*", &found);
    if (!ok) {
        gq_robots_free(r);
        return gq_fail(err, GQ_ENOMEM, "no memory for a robots.txt of %zu bytes", size);
    }
    if (r->rules)
        qsort(r->rule, r->rules, sizeof *r->rule, by_turn);
    char *less = gq_realloc(r->text, r->size + 1, 1);
    r->text = less ? less : r->text;
    *out = r;
    return GQ_OK;
}

void gq_robots_free(gq_robots *r)
{
    if (!r)
        return;
    gq_free(r->text);
    gq_free(r->rule);
    gq_free(r);
}

double gq_robots_delay(const gq_robots *r)
{
    return r ? r->delay : 0;
}

/* ---- matching -------------------------------------------------------------------------------- */

/* The parts between wildcards, each as far left as it goes. */
static bool matches(const char *p, size_t n, bool ends, const char *s, size_t m)
{
    for (bool first = true;; first = false) {
        const char *star = memchr(p, '*', n);
        size_t      k = star ? (size_t)(star - p) : n;
        if (m < k)
            return false;
        if (!star && ends)
            return (!first || m == k) && memcmp(s + m - k, p, k) == 0;
        const char *hit = first ? (memcmp(s, p, k) == 0 ? s : NULL) : memmem(s, m, p, k);
        if (!hit || !star)
            return hit;
        m -= (size_t)(hit - s) + k;
        s = hit + k;
        p += k + 1;
        n -= k + 1;
    }
}

bool gq_robots_allows(const gq_robots *r, const char *path)
{
    char   escaped[3 * GQ_ROBOTS_PATH], plain[3 * GQ_ROBOTS_PATH];
    size_t n = strlen(path), e, q;
    if (!r || !r->rules || strcmp(path, "/robots.txt") == 0)
        return true;
    if (n > GQ_ROBOTS_PATH)
        return false;
    e = normal((const uint8_t *)path, n, QUERY_ESCAPED, escaped);
    q = normal((const uint8_t *)path, n, QUERY_PLAIN, plain);
    for (size_t k = 0; k < r->rules; k++) {
        const rule *x = &r->rule[k];
        if (matches(r->text + x->at, x->n, x->ends, escaped, e) ||
            matches(r->text + x->at, x->n, x->ends, plain, q))
            return x->allow;
    }
    return true;
}
