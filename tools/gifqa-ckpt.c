/* gifqa-ckpt - looks at checkpoints: which there are, whether they are whole, what differs
 * between two. Changes nothing. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "tools/cli.h"
#include "train/checkpoint.h"
#include "train/compare.h"

static bool as_json;

static const gq_cli_option json_only[] = {
    {.name = "json", .type = GQ_CLI_FLAG, .to = &as_json, .help = "one JSON object on stdout"},
};

/* ---- what a path is -------------------------------------------------------------------------- */

typedef enum kind { A_RUN, A_CHECKPOINT, OTHER } kind;

static bool holds(const char *dir, const char *name, bool (*is)(const char *))
{
    char path[PATH_MAX];                         /* a longer one is nowhere on the disk */
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path && is(path);
}

static kind kind_of(const char *path)
{
    if (holds(path, "MANIFEST.json", gq_is_file))
        return A_CHECKPOINT;
    return holds(path, "checkpoints", gq_is_dir) ? A_RUN : OTHER;
}

static gq_status neither(const char *path, gq_error *err)
{
    return gq_fail(err, GQ_EWEIGHTS, "%s: %s", path,
                   gq_is_dir(path)
                       ? "holds neither checkpoints/ (a run) nor MANIFEST.json (a checkpoint)"
                       : "is not the directory of a run or a checkpoint");
}

/* One checkpoint, looked at: by its manifest alone, or with all files. Returns a JSON row. */
static json_t *look(const char *path, bool verify, gq_ckpt_manifest *m, gq_error *why)
{
    *m = (gq_ckpt_manifest){.step = GQ_CKPT_NONE};
    gq_status s = verify ? gq_ckpt_verify(path, m, why) : gq_ckpt_manifest_read(path, m, why);
    if (s != GQ_OK)
        return json_pack("{s:o, s:b, s:o}", "path", gq_cli_string(path), "ok", 0, "error",
                         gq_cli_string(why->text));
    return json_pack("{s:o, s:b, s:I, s:i, s:I}", "path", gq_cli_string(path), "ok", 1, "step",
                     (json_int_t)m->step, "files", m->count, "bytes", (json_int_t)m->bytes);
}

/* ---- ls and verify --------------------------------------------------------------------------- */

typedef struct table {
    json_t *rows;                       /* array                                                  */
    int     broken;
} table;

/* Fails only where nothing can be said about the checkpoint. */
static gq_status show_one(table *t, const char *path, bool verify, gq_error *err)
{
    gq_ckpt_manifest m;
    gq_error         why = {0};
    json_t          *row = look(path, verify, &m, &why);
    const char      *slash = strrchr(path, '/');

    if (why.code == GQ_ENOMEM || json_array_append_new(t->rows, row) != 0) {
        if (why.code == GQ_ENOMEM)
            json_decref(row);
        return gq_fail(err, GQ_ENOMEM, "%s", *why.text ? why.text : "no memory to look at it");
    }
    t->broken += why.code != GQ_OK;
    if (as_json)
        return GQ_OK;
    gq_cli_show(stdout, slash ? slash + 1 : path);
    if (why.code != GQ_OK) {
        printf("  BROKEN  ");
        gq_cli_show(stdout, why.text);
        printf("\n");
    } else {
        printf("  %14" PRIu64 " bytes  %2d files  %s\n", m.bytes, m.count,
               verify ? "verified" : "complete");
    }
    return GQ_OK;
}

/* Directories that are no longer looked at, so that nobody wonders where the space went. */
static void show_put_aside(const char *run)
{
    char   *home = gq_path(run, "checkpoints"), **names = NULL;
    size_t  n = 0;
    if (home && gq_list_dir(home, &names, &n, NULL) == GQ_OK)
        for (size_t i = 0; i < n; i++) {
            if (strncmp(names[i], ".bad-", 5) == 0 || strncmp(names[i], ".aside-", 7) == 0) {
                gq_cli_show(stdout, names[i]);
                printf("  put aside, not used\n");
            }
            gq_free(names[i]);
        }
    gq_free(names);
    gq_free(home);
}

static gq_status show_run(table *t, const char *run, bool verify, gq_error *err)
{
    uint64_t *steps;
    size_t    n;
    gq_status s = gq_ckpt_list(run, &steps, &n, err);
    for (size_t i = 0; s == GQ_OK && i < n; i++) {
        char *path = gq_ckpt_step_path(run, steps[i]);
        if (path)
            s = show_one(t, path, verify, err);
        else
            s = gq_fail(err, GQ_ENOMEM, "%s: no memory for a file name", run);
        gq_free(path);
    }
    if (s == GQ_OK && !as_json) {
        if (n == 0)
            printf("no checkpoints yet\n");
        show_put_aside(run);
    }
    gq_free(steps);
    return s;
}

static void show_files(const char *path)
{
    gq_ckpt_manifest m;
    char             hex[65];
    if (as_json || gq_ckpt_manifest_read(path, &m, NULL) != GQ_OK)
        return;
    for (int i = 0; i < m.count; i++) {
        gq_hex(m.file[i].sha256, 32, hex);
        printf("  %14" PRIu64 "  %.16s  %s\n", m.file[i].bytes, hex, m.file[i].name);
    }
}

static int show(const gq_cli_program *p, bool verify, int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    table       t = {0};
    int         code = gq_cli_parse(p, argc, argv, &rest);
    if (code != GQ_CLI_GO)
        return code;

    const char *path = rest.item[0];
    gq_status   s = GQ_OK;
    t.rows = json_array();
    switch (kind_of(path)) {
    case A_RUN:
        s = show_run(&t, path, verify, &err);
        break;
    case A_CHECKPOINT:
        if ((s = show_one(&t, path, verify, &err)) == GQ_OK)
            show_files(path);
        break;
    default:
        s = neither(path, &err);
    }
    code = t.broken ? gq_exit_code(GQ_EWEIGHTS) : 0;
    if (s == GQ_OK && as_json)
        s = gq_cli_json(
            json_pack("{s:b, s:i, s:O}", "ok", !t.broken, "exit", code, "checkpoints", t.rows),
            &err);
    json_decref(t.rows);
    return s == GQ_OK ? code : gq_cli_fail(p->name, &err, as_json);
}

static int run_ls(int argc, char **argv)
{
    static const gq_cli_program p = {
        .name = "gifqa-ckpt ls", .summary = "lists the checkpoints of a run, or the files of one",
        .usage = "[--json] RUN|CHECKPOINT",
        .examples = "gifqa-ckpt ls runs/demo\ngifqa-ckpt ls runs/demo/checkpoints/step-00000200",
        .options = json_only, .n_options = 1, .least = 1, .most = 1,
        .notes = "Reads the manifests only; 'verify' reads the files.\n"
                 "Exit: 0 all have a good manifest, 5 one has not.",
    };
    return show(&p, false, argc, argv);
}

static int run_verify(int argc, char **argv)
{
    static const gq_cli_program p = {
        .name = "gifqa-ckpt verify",
        .summary = "compares every byte of checkpoints with their manifests",
        .usage = "[--json] RUN|CHECKPOINT",
        .examples = "gifqa-ckpt verify runs/demo\ngifqa-ckpt verify --json "
                    "runs/demo/checkpoints/step-00000200",
        .options = json_only,
        .n_options = 1,
        .least = 1,
        .most = 1,
        .notes = "Exit: 0 all are whole, 5 one is not.",
    };
    return show(&p, true, argc, argv);
}

/* ---- diff ------------------------------------------------------------------------------------ */

typedef struct diff {
    json_t  *rows;                      /* array: one object for each name that differs           */
    uint64_t names, differ;             /* tensors compared, and those that differ                */
    uint64_t files;                     /* other files that differ                                */
    int64_t  limit;                     /* rows shown and kept                                    */
    char     first[256];                /* first name that differs                                */
    double   max_abs;
    const char *file;           /* the file of the checkpoint being compared; NULL: no checkpoint */
} diff;

static const char *const kinds[] = {"equal", "values", "shape or type", "only in the first",
                                    "only in the second"};

/* JSON has no infinity. */
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static void shape_text(const gq_st_tensor *t, char *out, size_t room)
{
    int n = snprintf(out, room, "%s [", gq_st_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        n += snprintf(out + n, room - (size_t)n, "%s%" PRIu64, i ? "," : "", t->shape[i]);
    snprintf(out + n, room - (size_t)n, "]");
}

static void print_row(const diff *d, const char *name, const gq_compare_row *r)
{
    char a[256], b[256];
    if (d->file)
        printf("%s: ", d->file);
    gq_cli_show(stdout, name);
    if (r->kind == GQ_CMP_VALUES) {
        printf(": %" PRIu64 " of %" PRIu64 " elements differ, first at %" PRIu64 ", max |a-b| %.9g",
               r->elements, r->a->count, r->first, r->max_abs);
        if (r->nan)
            printf(", %" PRIu64 " not a number", r->nan);
    } else if (r->kind == GQ_CMP_SHAPE) {
        shape_text(r->a, a, sizeof a);
        shape_text(r->b, b, sizeof b);
        printf(": %s, other %s", a, b);
    } else {
        printf(": %s", kinds[r->kind]);
    }
    printf("\n");
}

static bool on_row(void *ctx, const gq_compare_row *r)
{
    diff       *d = ctx;
    const char *name = r->a ? r->a->name : r->b->name;
    d->names++;
    if (r->kind == GQ_CMP_EQUAL)
        return true;
    if (d->differ++ == 0 && d->files == 0)
        snprintf(d->first, sizeof d->first, "%s%s%s", d->file ? d->file : "", d->file ? ": " : "",
                 name);
    if (r->max_abs > d->max_abs)
        d->max_abs = r->max_abs;
    if ((int64_t)d->differ > d->limit)
        return true;
    json_t *row = json_pack("{s:o, s:s}", "name", gq_cli_string(name), "differs", kinds[r->kind]);
    if (r->kind == GQ_CMP_VALUES)
        json_object_update_new(row,
                               json_pack("{s:I, s:I, s:o, s:I}", "elements",
                                         (json_int_t)r->elements, "first", (json_int_t)r->first,
                                         "max_abs", real(r->max_abs), "nan", (json_int_t)r->nan));
    if (d->file)
        json_object_set_new(row, "file", json_string(d->file));
    json_array_append_new(d->rows, row);
    if (!as_json)
        print_row(d, name, r);
    return true;
}

static gq_status diff_tensors(diff *d, const char *a, const char *b, gq_error *err)
{
    gq_safetensors *x = NULL, *y = NULL;
    gq_status       s = gq_safetensors_open(a, &x, err);
    if (s == GQ_OK)
        s = gq_safetensors_open(b, &y, err);
    if (s == GQ_OK)
        gq_compare_sets(x, y, on_row, d);
    gq_safetensors_close(x);
    gq_safetensors_close(y);
    return s;
}

static void note_file(diff *d, const char *name, const char *how)
{
    if (d->differ == 0 && d->files++ == 0)
        snprintf(d->first, sizeof d->first, "%s", name);
    json_array_append_new(d->rows,
                          json_pack("{s:o, s:s}", "name", gq_cli_string(name), "differs", how));
    if (!as_json)
        printf("%s: %s\n", name, how);
}

static const gq_ckpt_file *file_named(const gq_ckpt_manifest *m, const char *name)
{
    for (int i = 0; i < m->count; i++)
        if (strcmp(m->file[i].name, name) == 0)
            return &m->file[i];
    return NULL;
}

static bool is_tensors(const char *name)
{
    size_t n = strlen(name);
    return n > 12 && strcmp(name + n - 12, ".safetensors") == 0;
}

/* Files with the same SHA-256 are the same; of the others, tensors are compared one by one. */
static gq_status diff_file(diff *d, const char *a, const char *b, const gq_ckpt_file *f,
                           const gq_ckpt_file *g, gq_error *err)
{
    char     *x = gq_path(a, f->name), *y = gq_path(b, f->name);
    gq_status s = GQ_OK;

    d->file = f->name;
    if (!x || !y) {
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for a file name", a);
    } else if (is_tensors(f->name)) {
        uint64_t before = d->differ;
        s = diff_tensors(d, x, y, err);
        if (s == GQ_OK && d->differ == before && memcmp(f->sha256, g->sha256, 32) != 0)
            note_file(d, f->name, "the same tensors in other bytes");
    } else if (memcmp(f->sha256, g->sha256, 32) != 0) {
        note_file(d, f->name, "other bytes");
    }
    d->file = NULL;
    gq_free(x);
    gq_free(y);
    return s;
}

static gq_status diff_checkpoints(diff *d, const char *a, const char *b, gq_error *err)
{
    gq_ckpt_manifest m, n;
    gq_status        s = gq_ckpt_manifest_read(a, &m, err);
    if (s == GQ_OK)
        s = gq_ckpt_manifest_read(b, &n, err);
    for (int i = 0; s == GQ_OK && i < m.count; i++) {
        const gq_ckpt_file *g = file_named(&n, m.file[i].name);
        if (g)
            s = diff_file(d, a, b, &m.file[i], g, err);
        else
            note_file(d, m.file[i].name, kinds[GQ_CMP_ONLY_A]);
    }
    for (int i = 0; s == GQ_OK && i < n.count; i++)
        if (!file_named(&m, n.file[i].name))
            note_file(d, n.file[i].name, kinds[GQ_CMP_ONLY_B]);
    return s;
}

/* Beside a file of tensors, a checkpoint stands for its weights. */
static gq_status diff_mixed(diff *d, const char *a, const char *b, gq_error *err)
{
    char     *x = gq_path(a, kind_of(a) == A_CHECKPOINT ? "weights.safetensors" : "");
    char     *y = gq_path(b, kind_of(b) == A_CHECKPOINT ? "weights.safetensors" : "");
    gq_status s = x && y ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for a file name", a);
    if (s == GQ_OK)
        s = diff_tensors(d, kind_of(a) == A_CHECKPOINT ? x : a, kind_of(b) == A_CHECKPOINT ? y : b,
                         err);
    gq_free(x);
    gq_free(y);
    return s;
}

/* A run stands for its newest healthy checkpoint. *out is owned by the caller. */
static gq_status newest(const char *path, char **out, gq_error *err)
{
    gq_ckpt_found f = {0};
    gq_status     s = GQ_OK;
    if (kind_of(path) == A_RUN && (s = gq_ckpt_find(path, false, &f, err)) == GQ_OK && !f.path)
        return gq_fail(err, GQ_EWEIGHTS, "%s: has no healthy checkpoint%s%s", path,
                       f.broken ? ": " : "", f.notes);
    *out = s != GQ_OK || f.path ? f.path : gq_strdup(path);
    if (s == GQ_OK && !*out)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for a file name", path);
    return s;
}

static int report_diff(const gq_cli_program *p, const diff *d, gq_error *err)
{
    bool equal = d->differ == 0 && d->files == 0;
    int  code = equal ? 0 : gq_exit_code(GQ_EWEIGHTS);
    if (as_json) {
        json_t *o = json_pack("{s:b, s:b, s:i, s:I, s:I, s:I, s:o, s:O}", "ok", 1, "equal", equal,
                              "exit", code, "tensors", (json_int_t)d->names, "tensors_differ",
                              (json_int_t)d->differ, "files_differ", (json_int_t)d->files,
                              "max_abs", real(d->max_abs), "differences", d->rows);
        return gq_cli_json(o, err) == GQ_OK ? code : gq_cli_fail(p->name, err, false);
    }
    if ((int64_t)d->differ > d->limit)
        printf("... and %" PRIu64 " tensors more (--limit)\n", d->differ - (uint64_t)d->limit);
    if (equal) {
        printf("equal: %" PRIu64 " tensors, the same bits\n", d->names);
    } else {
        printf("different: %" PRIu64 " of %" PRIu64 " tensors and %" PRIu64
               " other files, max |a-b| %.9g, first: ",
               d->differ, d->names, d->files, d->max_abs);
        gq_cli_show(stdout, d->first);
        printf("\n");
    }
    return code;
}

static int run_diff(int argc, char **argv)
{
    static int64_t             limit = 20;
    static const gq_cli_option options[] = {
        {.name = "json", .type = GQ_CLI_FLAG, .to = &as_json, .help = "one JSON object on stdout"},
        {.name = "limit", .type = GQ_CLI_INT, .to = &limit, .arg = "N", .lo = 0, .hi = 1e9,
         .help = "differing tensors to show (20)"},
    };
    static const gq_cli_program p = {
        .name = "gifqa-ckpt diff",
        .summary = "compares two checkpoints tensor by tensor",
        .usage = "[--json] [--limit N] A B",
        .examples =
            "gifqa-ckpt diff runs/a runs/b\n"
            "gifqa-ckpt diff runs/a/checkpoints/step-00000100 runs/a/checkpoints/step-00000200\n"
            "gifqa-ckpt diff model.safetensors other/",
        .options = options,
        .n_options = 2,
        .least = 2,
        .most = 2,
        .notes = "A and B: a run (its newest healthy checkpoint), a checkpoint, "
                 "a .safetensors file or a\n"
                 "directory with model.safetensors. Exit: 0 the same bits, 5 not.",
    };
    gq_cli_list rest;
    gq_error    err = {0};
    char       *a = NULL, *b = NULL;
    int         code = gq_cli_parse(&p, argc, argv, &rest);
    if (code != GQ_CLI_GO)
        return code;

    diff      d = {.rows = json_array(), .limit = limit};
    gq_status s = newest(rest.item[0], &a, &err);
    if (s == GQ_OK)
        s = newest(rest.item[1], &b, &err);
    if (s == GQ_OK) {
        bool both = kind_of(a) == A_CHECKPOINT && kind_of(b) == A_CHECKPOINT;
        s = both ? diff_checkpoints(&d, a, b, &err) : diff_mixed(&d, a, b, &err);
    }
    code = s == GQ_OK ? report_diff(&p, &d, &err) : gq_cli_fail(p.name, &err, as_json);
    json_decref(d.rows);
    gq_free(a);
    gq_free(b);
    return code;
}

int main(int argc, char **argv)
{
    static const gq_cli_command commands[] = {
        {"ls", "lists the checkpoints of a run", run_ls},
        {"verify", "compares every byte with the manifests", run_verify},
        {"diff", "compares two checkpoints tensor by tensor", run_diff},
    };
    static const gq_cli_program program = {
        .name = "gifqa-ckpt",
        .summary = "looks at checkpoints and changes nothing",
        .usage = "COMMAND [options] ...",
        .examples =
            "gifqa-ckpt ls runs/demo\ngifqa-ckpt verify runs/demo\ngifqa-ckpt diff runs/a runs/b",
        .notes = "Exit: 0 fine, 5 a checkpoint is broken or the two differ.",
    };
    gq_cli_begin();
    return gq_cli_end(program.name, gq_cli_dispatch(&program, commands, 3, argc, argv));
}
