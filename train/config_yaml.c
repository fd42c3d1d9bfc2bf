#include "train/config_yaml.h"

#include <string.h>
#include <yaml.h>

#include "core/mem.h"

#define MARKED "anchors (&) and tags (!) are not allowed here: write the value out"

typedef struct reader {
    gq_yaml    *y;
    int         open[GQ_YAML_DEPTH];    /* node indexes of the open lists and maps                */
    int         last[GQ_YAML_DEPTH];    /* their last child so far; -1: none                      */
    int         depth;
    int         documents;
    bool        done;                   /* end of the stream                                      */
    gq_status   status;
    int         line, column;           /* of the failure                                         */
    char       *why;
} reader;

static bool refuse(reader *r, gq_status status, yaml_mark_t at, const char *why)
{
    r->status = status;
    r->line = (int)at.line + 1;
    r->column = (int)at.column + 1;
    snprintf(r->why, GQ_PROBLEM_TEXT, "%s", why);
    return false;
}

/* A directive (%YAML, %TAG) stands at the start of a line. libyaml compares each with all before it, so they are
 * refused before it sees them. */
static bool has_directive(const char *text, size_t bytes, int *line)
{
    *line = 1;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '%' && (i == 0 || text[i - 1] == '\n' || text[i - 1] == '\r'))
            return true;
        *line += text[i] == '\n';
    }
    return false;
}

static bool new_node(reader *r, gq_yaml_kind kind, yaml_mark_t at, int *index)
{
    gq_yaml *y = r->y;

    if (y->n == GQ_YAML_NODES)
        return refuse(r, GQ_ECONFIG, at, "more than 10,000 values: this is not a configuration");
    if (y->n == y->cap) {
        int           cap = y->cap ? 2 * y->cap : 64;
        gq_yaml_node *p = gq_realloc(y->node, (size_t)cap, sizeof *p);
        if (!p)
            return refuse(r, GQ_ENOMEM, at, "out of memory");
        y->node = p;
        y->cap = cap;
    }
    y->node[y->n] = (gq_yaml_node){.kind = kind,
                                   .line = (int)at.line + 1,
                                   .column = (int)at.column + 1,
                                   .first = -1,
                                   .next = -1};
    if (r->depth > 0) {
        int *last = &r->last[r->depth - 1];
        if (*last < 0)
            y->node[r->open[r->depth - 1]].first = y->n;
        else
            y->node[*last].next = y->n;
        *last = y->n;
    }
    *index = y->n++;
    return true;
}

static bool scalar(reader *r, const yaml_event_t *e)
{
    int index;

    if (e->data.scalar.anchor || e->data.scalar.tag)
        return refuse(r, GQ_ECONFIG, e->start_mark, MARKED);
    if (memchr(e->data.scalar.value, 0, e->data.scalar.length))
        return refuse(r, GQ_ECONFIG, e->start_mark, "a NUL byte inside text");
    if (!new_node(r, GQ_YAML_SCALAR, e->start_mark, &index))
        return false;
    r->y->node[index].plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    r->y->node[index].text = gq_strndup((const char *)e->data.scalar.value, e->data.scalar.length);
    return r->y->node[index].text || refuse(r, GQ_ENOMEM, e->start_mark, "out of memory");
}

static bool open_node(reader *r, const yaml_event_t *e, gq_yaml_kind kind, bool marked)
{
    int index;

    if (marked)
        return refuse(r, GQ_ECONFIG, e->start_mark, MARKED);
    if (r->depth == GQ_YAML_DEPTH)
        return refuse(r, GQ_ECONFIG, e->start_mark, "nested more than 32 deep");
    if (!new_node(r, kind, e->start_mark, &index))
        return false;
    r->open[r->depth] = index;
    r->last[r->depth] = -1;
    r->depth++;
    return true;
}

static bool take(reader *r, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:         return scalar(r, e);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(r, e, GQ_YAML_LIST,
                         e->data.sequence_start.anchor || e->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return open_node(r, e, GQ_YAML_MAP,
                         e->data.mapping_start.anchor || e->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return true;
    case YAML_ALIAS_EVENT:
        return refuse(r, GQ_ECONFIG, e->start_mark,
                      "aliases (*) are not allowed here: write the value out");
    case YAML_DOCUMENT_START_EVENT:
        return ++r->documents == 1 || refuse(r, GQ_ECONFIG, e->start_mark,
                                             "a second document: one file is one "
                                             "configuration");
    case YAML_STREAM_END_EVENT:
        r->done = true;
        return true;
    default:
        return true;
    }
}

/* libyaml gives a mark for errors of its scanner and parser, and a byte offset for those of its reader */
static bool yaml_failed(reader *r, const yaml_parser_t *p, const char *text, size_t bytes)
{
    yaml_mark_t at = p->problem_mark;
    char        why[GQ_PROBLEM_TEXT];

    if (p->error == YAML_MEMORY_ERROR)
        return refuse(r, GQ_ENOMEM, at, "out of memory");
    if (p->error == YAML_READER_ERROR) {
        size_t offset = p->problem_offset < bytes ? p->problem_offset : bytes;
        at = (yaml_mark_t){0};
        for (size_t i = 0; i < offset; i++) {
            at.column = text[i] == '\n' ? 0 : at.column + 1;
            at.line += text[i] == '\n';
        }
    }
    snprintf(why, sizeof why, "not YAML: %s%s%s", p->problem ? p->problem : "unreadable",
             p->context ? " " : "", p->context ? p->context : "");
    return refuse(r, GQ_ECONFIG, at, why);
}

gq_status gq_yaml_read(const char *text, size_t bytes, gq_yaml *out, int *line, int *column,
                       char why[GQ_PROBLEM_TEXT])
{
    reader        r = {.y = out, .why = why};
    yaml_parser_t parser;
    int           directive;

    *out = (gq_yaml){0};
    *line = *column = 0;
    if (bytes > GQ_YAML_BYTES) {
        snprintf(why, GQ_PROBLEM_TEXT, "%zu bytes; a configuration has at most 1 MiB", bytes);
        return GQ_ECONFIG;
    }
    if (bytes >= 3 &&
        !memcmp(text, "\xef\xbb\xbf", 3)) { /* a byte order mark, as some editors write */
        text += 3;
        bytes -= 3;
    }
    if (has_directive(text, bytes, &directive)) {
        *line = directive;
        *column = 1;
        snprintf(why, GQ_PROBLEM_TEXT, "directives (%%) are not allowed here");
        return GQ_ECONFIG;
    }
    if (!yaml_parser_initialize(&parser)) {
        snprintf(why, GQ_PROBLEM_TEXT, "out of memory");
        return GQ_ENOMEM;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    for (bool ok = true; ok && !r.done;) {
        yaml_event_t event;
        ok = yaml_parser_parse(&parser, &event) ? take(&r, &event)
                                                : yaml_failed(&r, &parser, text, bytes);
        yaml_event_delete(&event);      /* empty after a failure */
    }
    yaml_parser_delete(&parser);
    if (r.status != GQ_OK) {
        *line = r.line;
        *column = r.column;
        gq_yaml_free(out);
    }
    return r.status;
}

void gq_yaml_free(gq_yaml *y)
{
    for (int i = 0; i < y->n; i++)
        gq_free(y->node[i].text);
    gq_free(y->node);
    *y = (gq_yaml){0};
}
