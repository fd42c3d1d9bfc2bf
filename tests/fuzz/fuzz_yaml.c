/* fuzz_yaml.c - any bytes as YAML: the tree keeps its limits and its order, and written out as
 * quoted text it is read back the same. */
#include "fuzz.h"

#include "core/text.h"
#include "train/config_yaml.h"

enum { ROOM = 1 << 18 };

static void check_tree(const gq_yaml *y)
{
    must(y->n >= 0 && y->n <= GQ_YAML_NODES, "%d nodes", y->n);
    for (int i = 0; i < y->n; i++) {
        const gq_yaml_node *n = &y->node[i];
        int                 children = 0;
        must(n->line > 0 && n->column > 0, "node %d at %d:%d", i, n->line, n->column);
        must((n->kind == GQ_YAML_SCALAR) == (n->text != NULL), "node %d", i);
        must(n->next == -1 || (n->next > i && n->next < y->n), "node %d, next %d", i, n->next);
        for (int c = n->first; c >= 0; c = y->node[c].next)
            children++;
        must(n->kind != GQ_YAML_MAP || children % 2 == 0, "a map of %d children", children);
    }
}

/* ---- the tree as text ------------------------------------------------------------------------ */

typedef struct text {
    char   data[ROOM];
    size_t n;
} text;

static void put(text *t, const char *s, size_t n)
{
    if (t->n + n <= sizeof t->data)
        memcpy(t->data + t->n, s, n);
    t->n += n;
}

static void put_scalar(text *t, const char *s)
{
    size_t left = strlen(s);
    put(t, "\"", 1);
    while (left) {
        uint32_t cp;
        char     hex[16];
        size_t   n = gq_utf8_next(s, left, &cp);
        must(n, "not UTF-8: '%s'", s);
        if (cp < 0x20 || cp >= 0x7f || cp == '"' || cp == '\\')
            put(t, hex, (size_t)snprintf(hex, sizeof hex, "\\U%08x", cp));
        else
            put(t, s, n);
        s += n;
        left -= n;
    }
    put(t, "\"", 1);
}

static void put_node(text *t, const gq_yaml *y, int i)
{
    const gq_yaml_node *n = &y->node[i];
    const bool          map = n->kind == GQ_YAML_MAP;
    bool                key = true;
    if (n->kind == GQ_YAML_SCALAR) {
        put_scalar(t, n->text);
        return;
    }
    put(t, map ? "{" : "[", 1);
    for (int c = n->first; c >= 0; c = y->node[c].next, key = !key) {
        if (c != n->first)
            put(t, map && !key ? ": " : ",\n ", map && !key ? 2 : 3);
        if (map && key)
            put(t, "? ", 2);
        put_node(t, y, c);
    }
    put(t, map ? "}" : "]", 1);
}

static void compare(const gq_yaml *a, const gq_yaml *b)
{
    must(a->n == b->n, "%d nodes, %d", a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        const gq_yaml_node *x = &a->node[i], *y = &b->node[i];
        must(x->kind == y->kind && x->first == y->first && x->next == y->next, "node %d", i);
        must(!x->text || !strcmp(x->text, y->text), "node %d: '%s', '%s'", i, x->text, y->text);
    }
}

static void read_again(const gq_yaml *y)
{
    static text t;
    gq_yaml     back;
    int         line, column;
    char        why[GQ_PROBLEM_TEXT] = "";
    t.n = 0;
    if (y->n)
        put_node(&t, y, 0);
    if (t.n > sizeof t.data)
        return;
    gq_status s = gq_yaml_read(t.data, t.n, &back, &line, &column, why);
    must(s == GQ_OK, "%d:%d: %s in %.*s", line, column, why, (int)t.n, t.data);
    compare(y, &back);
    gq_yaml_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_yaml   y;
    int       line, column;
    char      why[GQ_PROBLEM_TEXT] = "";
    gq_status s = gq_yaml_read((const char *)data, size, &y, &line, &column, why);
    if (s == GQ_OK) {
        check_tree(&y);
        read_again(&y);
        gq_yaml_free(&y);
    } else {
        must(s == GQ_ECONFIG && !y.n && !y.node, "status %d, a tree of %d", (int)s, y.n);
        must(why[0] && line >= 0 && column >= 0, "%d:%d: '%s'", line, column, why);
    }
    return 0;
}
