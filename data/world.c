#include "data/world.h"

#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/philox.h"

enum {
    T = GQ_WORLD_FRAMES,
    S = GQ_WORLD_SIZE,
    CELL = 4,
    CELLS = S / CELL,
    SHAPES = 4,
    COLORS = 6,
    DIRS = 4
};
enum { ACT_HIDE, ACT_GROW, ACT_SHRINK, ACTS };
enum { NORMAL, BIG, SMALL };

static const char *const color_name[COLORS] = {"red", "green", "blue", "yellow", "purple", "white"};
static const char *const shape_name[SHAPES] = {"square", "circle", "triangle", "cross"};
static const char *const dir_name[DIRS] = {"left", "right", "up", "down"};
static const char *const act_name[ACTS] = {"hide", "grow", "shrink"};
static const char *const count_name[3] = {"one", "two", "three"};
static const char *const words[] = {
    "?",      "what",  "color",  "is",     "the",      "shape",  "object", "which",   "way",
    "does",   "how",   "many",   "times",  "do",       "before", "after",  "appears", "first",
    "last",   "one",   "two",    "three",  "where",    "red",    "green",  "blue",    "yellow",
    "purple", "white", "square", "circle", "triangle", "cross",  "left",   "right",   "up",
    "down",   "move",  "grow",   "hide",   "shrink",   NULL,
};
static const uint8_t color_rgb[COLORS][3] = {{230, 40, 40}, {40, 200, 40}, {50, 80, 240},
                                             {240, 220, 40}, {180, 50, 220}, {250, 250, 250}};
static const uint8_t mask[SHAPES][CELL] = {      /* rows; bit 3 is the left pixel */
    {0xF, 0xF, 0xF, 0xF}, {0x6, 0x9, 0x9, 0x6}, {0x8, 0xC, 0xE, 0xF}, {0x9, 0x6, 0x6, 0x9}};
static const int8_t step_y[DIRS] = {0, 0, -1, 1}, step_x[DIRS] = {-1, 1, 0, 0};

/* Every colour is missing from exactly one shape, so a colour, or a shape, can still be drawn
 * first. */
static const bool held_out[SHAPES][COLORS] = {
    {1, 0, 0, 0, 1, 0},                 /* square: red, purple */
    {0, 0, 0, 1, 0, 0},                 /* circle: yellow */
    {0, 0, 1, 0, 0, 0},                 /* triangle: blue */
    {0, 1, 0, 0, 0, 1},                 /* cross: green, white */
};

typedef struct thing {
    int     shape, color;
    int     y[T], x[T]; /* pixels, top left corner at normal size; the canvas is a torus */
    bool    seen[T];
    uint8_t state[T];                   /* NORMAL, BIG or SMALL */
} thing;

typedef struct scene {
    thing    at[2];
    int      answer, subject; /* subject: what the question names (shape, or colour for object) */
    int      extra; /* transition: named action x 2 + before; order: last; count: act */
} scene;

/* A run of draws of one sample: `n` counts them, `step` tells the tries of the rejection loop
 * apart. */
typedef struct draw {
    uint64_t seed, element;
    uint32_t purpose, step, n;
    bool     novel;                     /* only held-out pairs; otherwise none of them */
} draw;

static uint32_t below(draw *d, uint32_t n)
{
    return gq_below_at(d->seed, d->element | d->n++, d->purpose, d->step, n);
}

static int color_for(draw *d, int shape)
{
    int list[COLORS], n = 0;
    for (int c = 0; c < COLORS; c++)
        if (held_out[shape][c] == d->novel)
            list[n++] = c;
    return list[below(d, (uint32_t)n)];
}

static int shape_for(draw *d, int color)
{
    int list[SHAPES], n = 0;
    for (int s = 0; s < SHAPES; s++)
        if (held_out[s][color] == d->novel)
            list[n++] = s;
    return list[below(d, (uint32_t)n)];
}

/* ---- scenes ---------------------------------------------------------------------------------- */

/* Writes k positive numbers with sum n, uniformly among all such lists (k - 1 different cuts of
 * n - 1 places). */
static void composition(draw *d, int n, int k, int *part)
{
    bool cut[T + 1] = {false};
    for (int c = 0; c < k - 1;) {
        uint32_t at = 1 + below(d, (uint32_t)(n - 1));
        c += !cut[at];
        cut[at] = true;
    }
    int last = 0, j = 0;
    for (int p = 1; p < n; p++)
        if (cut[p]) {
            part[j++] = p - last;
            last = p;
        }
    part[j] = n - last;
}

static void act(thing *o, int action, int from, int frames)
{
    for (int t = from; t < from + frames; t++) {
        if (action == ACT_HIDE)
            o->seen[t] = false;
        else
            o->state[t] = action == ACT_GROW ? BIG : SMALL;
    }
}

static void place(thing *o, int cell_y, int cell_x)
{
    for (int t = 0; t < T; t++) {
        o->y[t] = cell_y * CELL;
        o->x[t] = cell_x * CELL;
    }
}

/* One coordinate runs from edge to edge along the direction; *other stays. at[t]: cells gone at
 * frame t. */
static void cross(thing *o, int dir, const int *gone)
{
    int m = CELLS - 1;
    for (int t = 0; t < T; t++) {
        int along = step_y[dir] + step_x[dir] > 0 ? gone[t] : m - gone[t];
        *(step_y[dir] ? &o->y[t] : &o->x[t]) = along * CELL;
    }
}

static void make_direction(draw *d, scene *s)
{
    int gone[T] = {0}, first = 1 + (int)below(d, T - 1), second;
    do
        second = 1 + (int)below(d, T - 1);
    while (second == first);
    for (int t = 0; t < T; t++)
        gone[t] = (t >= first) + (t >= second);
    cross(&s->at[0], s->answer, gone);
}

static void make_where(draw *d, scene *s)
{
    int dir = s->answer, middle = 1 + (int)below(d, CELLS - 2), edge = CELLS - 1;
    if (step_y[dir])
        place(&s->at[0], step_y[dir] < 0 ? 0 : edge, middle);
    else
        place(&s->at[0], middle, step_x[dir] < 0 ? 0 : edge);
}

static void make_count(draw *d, scene *s)
{
    int n = s->answer + 1, gap[4], t = 0;
    composition(d, T - n, n + 1, gap);
    for (int k = 0; k < n; k++) {
        t += gap[k];
        act(&s->at[0], s->extra ? ACT_GROW : ACT_HIDE, t++, 1);
    }
}

static void make_transition(draw *d, scene *s)
{
    int frames = T / 4, named = s->extra >> 1, before = s->extra & 1, x = s->answer,
        y = ACTS - named - x;
    int order[3] = {before ? x : y, named, before ? y : x}, idle[4] = {0}, t = 0;
    for (int k = 0; k < T - 3 * frames; k++)
        idle[below(d, 4)]++;
    for (int k = 0; k < 3; k++) {
        t += idle[k];
        act(&s->at[0], order[k], t, frames);
        t += frames;
    }
}

static void make_order(draw *d, scene *s)
{
    int asked = s->extra, other = (s->answer + 1 + (int)below(d, COLORS - 1)) % COLORS;
    int frames = 3 + (int)below(d, T / 2 - 2),
        start = (int)below(d, (uint32_t)(T - 2 * frames + 1));
    for (int k = 0; k < 2; k++) {
        thing *o = &s->at[k];
        o->color = k == asked ? s->answer : other;
        o->shape = shape_for(d, o->color);
        for (int t = 0; t < T; t++)
            o->seen[t] = k ? t >= T - frames : t >= start && t < start + frames;
    }
}

/* The answer: uniform. */
static void draw_answer(draw *d, gq_world_kind kind, scene *s)
{
    s->answer = (int)below(d, (uint32_t)gq_world_kind_answers(kind));
}

/* What the question names, given the answer. */
static void draw_question(draw *d, gq_world_kind kind, scene *s)
{
    switch (kind) {
    case GQ_WORLD_COLOUR:
        s->subject = shape_for(d, s->answer);
        break;
    case GQ_WORLD_OBJECT:
        s->subject = color_for(d, s->answer);
        break;
    case GQ_WORLD_ORDER:
        s->extra = (int)below(d, 2);
        break;
    default:
        s->subject = (int)below(d, SHAPES);
        if (kind == GQ_WORLD_COUNT)
            s->extra = (int)below(d, 2);
        if (kind == GQ_WORLD_TRANSITION)
            s->extra = (s->answer + 1 + (int)below(d, 2)) % ACTS * 2 + (int)below(d, 2);
    }
}

/* All the rest. */
static void draw_scene(draw *d, gq_world_kind kind, scene *s)
{
    thing *o = &s->at[0];
    memset(s->at, 0, sizeof s->at);
    for (int k = 0; k < 2; k++) {
        int y = (int)below(d, CELLS);
        place(&s->at[k], y, (int)below(d, CELLS));
    }
    memset(o->seen, true, sizeof o->seen);
    o->shape = kind == GQ_WORLD_OBJECT ? s->answer : s->subject;
    if (kind == GQ_WORLD_COLOUR || kind == GQ_WORLD_OBJECT)
        o->color = kind == GQ_WORLD_COLOUR ? s->answer : s->subject;
    else if (kind != GQ_WORLD_ORDER)
        o->color = color_for(d, o->shape);
    if (kind == GQ_WORLD_WHERE)
        make_where(d, s);
    else if (kind == GQ_WORLD_ACTION)
        act(o, s->answer, (int)below(d, T - T / 4 + 1), T / 4);
    else if (kind == GQ_WORLD_DIRECTION)
        make_direction(d, s);
    else if (kind == GQ_WORLD_COUNT)
        make_count(d, s);
    else if (kind == GQ_WORLD_TRANSITION)
        make_transition(d, s);
    else if (kind == GQ_WORLD_ORDER)
        make_order(d, s);
}

/* ---- pictures and words ---------------------------------------------------------------------- */

static bool inside(const thing *o, int t, int y, int x)
{
    if (o->state[t] == SMALL)
        return y >= 1 && y < 3 && x >= 1 && x < 3;
    if (o->state[t] == BIG)
        return y < 2 * CELL && x < 2 * CELL && mask[o->shape][y / 2] >> (3 - x / 2) & 1;
    return y < CELL && x < CELL && mask[o->shape][y] >> (3 - x) & 1;
}

static void render(const scene *s, uint8_t *index)
{
    memset(index, 0, GQ_WORLD_PIXELS);
    for (int k = 0; k < 2; k++) {
        const thing *o = &s->at[k];
        for (int t = 0; t < T; t++) {
            int grown = o->state[t] == BIG ? CELL / 2 : 0;           /* growing keeps the centre */
            if (!o->seen[t])
                continue;
            for (int y = 0; y < S; y++)
                for (int x = 0; x < S; x++)
                    if (inside(o, t, (y - o->y[t] + grown + S) % S, (x - o->x[t] + grown + S) % S))
                        index[(t * S + y) * S + x] = (uint8_t)(1 + o->color);
        }
    }
}

static void phrase(gq_world_kind kind, const scene *s, gq_world_clip *c)
{
    const char *shape = shape_name[s->subject % SHAPES], *a = dir_name[s->answer % DIRS];
    char       *q = c->question;
    size_t      n = sizeof c->question;
    switch (kind) {
    case GQ_WORLD_COLOUR:
        snprintf(q, n, "what color is the %s?", shape);
        a = color_name[s->answer];
        break;
    case GQ_WORLD_OBJECT:
        snprintf(q, n, "what shape is the %s object?", color_name[s->subject]);
        a = shape_name[s->answer];
        break;
    case GQ_WORLD_WHERE:
        snprintf(q, n, "where is the %s?", shape);
        break;
    case GQ_WORLD_ACTION:
        snprintf(q, n, "what does the %s do?", shape);
        a = act_name[s->answer];
        break;
    case GQ_WORLD_DIRECTION:
        snprintf(q, n, "which way does the %s move?", shape);
        break;
    case GQ_WORLD_COUNT:
        snprintf(q, n, "how many times does the %s %s?", shape, s->extra ? "grow" : "hide");
        a = count_name[s->answer];
        break;
    case GQ_WORLD_TRANSITION:
        snprintf(q, n, "what does the %s do %s %s?", shape, s->extra & 1 ? "before" : "after",
                 act_name[s->extra >> 1]);
        a = act_name[s->answer];
        break;
    default:
        snprintf(q, n, "what color appears %s?", s->extra ? "last" : "first");
        a = color_name[s->answer];
    }
    snprintf(c->answer, sizeof c->answer, "%s", a);
}

/* ---- samples --------------------------------------------------------------------------------- */

static uint64_t identity_of(const gq_world_clip *c)
{
    uint8_t bytes[GQ_WORLD_PIXELS + sizeof c->question] = {0};
    size_t  n = strlen(c->question);
    memcpy(bytes, c->index, GQ_WORLD_PIXELS);
    memcpy(bytes + GQ_WORLD_PIXELS, c->question, n);
    return gq_xxh64(bytes, GQ_WORLD_PIXELS + n);
}

#define GQ_WORLD_SALT 0xC0B508974EF93E6Bull

/* Which split an identity belongs to. The multiplier picks one of many equally good partitions:
 * with this one every answer of the smallest kinds (`where`: 72 identities) occurs in val and in
 * test. */
static gq_world_split owner(uint64_t identity)
{
    uint64_t part = ((identity * GQ_WORLD_SALT) >> 32) % 10;
    return part == 0 ? GQ_WORLD_TEST : part == 1 ? GQ_WORLD_VAL : GQ_WORLD_TRAIN;
}

static bool draw_kind(draw *d, const gq_world_spec *spec, gq_world_kind *kind)
{
    uint32_t total = 0;
    for (int k = 0; k < GQ_WORLD_KINDS; k++) {
        if (spec->weight[k] > 1000)
            return false;
        total += spec->weight[k];
    }
    uint32_t r = below(d, total ? total : GQ_WORLD_KINDS), k = 0;
    if (total)
        while (r >= spec->weight[k])
            r -= spec->weight[k++];
    *kind = (gq_world_kind)(total ? k : r);
    return true;
}

gq_status gq_world_sample(const gq_world_spec *spec, gq_world_split split, uint64_t i,
                          gq_world_clip *out, gq_error *err)
{
    /* Rejection changes the scene first; only when 64 scenes did not do, also what the question
     * names. The answer stays, so the splits are exactly balanced. */
    enum { SCENES = 64, TRIES = 1 << 16 };
    bool  novel = split == GQ_WORLD_NOVEL;
    draw  d = {spec->seed, i << 8, GQ_RNG_WORLD + (uint32_t)split, 0, 0, novel}, fixed;
    scene s = {0};

    if (!draw_kind(&d, spec, &out->kind))
        return gq_fail(err, GQ_EUSAGE, "toy world: the weight of a kind is 0..1000");
    uint8_t grey = (uint8_t)(48 + below(&d, 32));
    draw_answer(&d, out->kind, &s);
    memset(out->palette[0], grey, 3);
    memcpy(out->palette[1], color_rgb, sizeof color_rgb);
    fixed = d;
    for (uint32_t attempt = 0; attempt < TRIES; attempt++) {
        d = fixed;
        d.step = 1 + attempt / SCENES;
        draw_question(&d, out->kind, &s);
        d.step = TRIES + attempt;
        draw_scene(&d, out->kind, &s);
        render(&s, out->index);
        phrase(out->kind, &s, out);
        out->identity = identity_of(out);
        if (novel || owner(out->identity) == split)
            return GQ_OK;
    }
    return gq_fail(err, GQ_EBUG, "toy world: no %s clip with the answer '%s' belongs to %s",
                   gq_world_kind_name(out->kind), out->answer, gq_world_split_name(split));
}

void gq_world_rgb(const gq_world_clip *clip, uint8_t *rgb)
{
    for (int p = 0; p < GQ_WORLD_PIXELS; p++)
        memcpy(rgb + 3 * p, clip->palette[clip->index[p]], 3);
}

const char *gq_world_kind_name(gq_world_kind kind)
{
#define NAME(id, name, answers) name,
    static const char *const names[] = {GQ_WORLD_KIND_LIST(NAME)};
#undef NAME
    return names[kind];
}

int gq_world_kind_answers(gq_world_kind kind)
{
#define ANSWERS(id, name, answers) answers,
    static const int n[] = {GQ_WORLD_KIND_LIST(ANSWERS)};
#undef ANSWERS
    return n[kind];
}

const char *gq_world_split_name(gq_world_split split)
{
    static const char *const names[] = {"train", "val", "test", "novel"};
    return names[split];
}

const char *gq_world_word(int i)
{
    return i >= 0 && i < (int)(sizeof words / sizeof *words) ? words[i] : NULL;
}

bool gq_world_held_out(int shape, int color)
{
    return held_out[shape][color];
}
