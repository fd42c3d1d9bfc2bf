/* fetch.tsv: what became of every URL. Lines are only added; the last one of a URL holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/text.h"
#include "data/fetch_private.h"
#include "data/table.h"

enum { C_URL, C_GIF, C_FATE, C_STATUS, C_BYTES, C_SHA, C_ATTEMPTS, C_TIME, C_NOTE, COLUMNS };
enum { SYNC_EVERY = 64 };               /* lines                                                  */

static const gq_table_column columns[COLUMNS] = {
    {"url", NULL, 4 * GQ_FETCH_URL, false}, {"gif", NULL, GQ_FETCH_NAME, false},
    {"fate", NULL, 32, false},              {"status", NULL, 8, false},
    {"bytes", NULL, 24, false},             {"sha256", NULL, 64, true},
    {"attempts", NULL, 12, false},          {"time", NULL, 32, false},
    {"note", NULL, 2 * GQ_FETCH_NOTE, true}};
static const gq_table_form form = {.columns = columns, .n = COLUMNS, .tabs = true, .plain = true};
static const char          head[] = "url\tgif\tfate\tstatus\tbytes\tsha256\tattempts\ttime\tnote";

struct gq_fetch_log {
    gq_append *file;
    int        unsynced;                /* lines                                                  */
};

/* ---- reading --------------------------------------------------------------------------------- */

static gq_status bad_row(void *path, uint64_t line, const char *reason, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s:%llu: %s; remove this line, its URL is then fetched again",
                   (const char *)path, (unsigned long long)line, reason);
}

static bool number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out <= most;
}

static bool unhex(const char *hex, uint8_t out[32])
{
    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64)
        return false;
    for (int k = 0; k < 32; k++) {
        char two[3] = {hex[2 * k], hex[2 * k + 1], 0};
        out[k] = (uint8_t)strtoul(two, NULL, 16);
    }
    return true;
}

static bool fate_of(const char *text, gq_fetch_fate *out)
{
    for (int f = 0; f < GQ_FETCH_FATE_COUNT; f++)
        if (strcmp(text, gq_fetch_fate_name((gq_fetch_fate)f)) == 0) {
            *out = (gq_fetch_fate)f;
            return true;
        }
    return false;
}

static gq_status take_row(gq_fetch_list *l, char *path, uint64_t line, const char *const *cell,
                          gq_error *err)
{
    gq_fetch_fate fate;
    uint64_t      status, bytes, attempts;
    uint8_t       sha[32] = {0};
    uint32_t      job;
    gq_error      why = {0};
    if (!fate_of(cell[C_FATE], &fate))
        return bad_row(path, line, "there is no such fate", err);
    if (!number(cell[C_STATUS], 999, &status) || !number(cell[C_BYTES], UINT64_MAX, &bytes) ||
        !number(cell[C_ATTEMPTS], UINT32_MAX, &attempts))
        return bad_row(path, line, "status, bytes or attempts is no such number", err);
    if (*cell[C_SHA] ? !unhex(cell[C_SHA], sha) : fate == GQ_FETCH_ALIVE)
        return bad_row(path, line, "sha256 is none", err);
    gq_status s = gq__fetch_list_known(l, cell[C_URL], cell[C_GIF], &job, &why);
    if (s != GQ_OK)
        return s == GQ_EINPUT ? bad_row(path, line, why.text, err)
                              : gq_fail(err, s, "%s", why.text);
    l->job[job].fate = fate;
    l->job[job].known = true;
    l->job[job].bytes = bytes;
    l->job[job].attempts = (uint32_t)attempts;
    memcpy(l->job[job].sha256, sha, sizeof sha);
    return GQ_OK;
}

static gq_status read_all(char *path, gq_fetch_list *l, gq_error *err)
{
    const char *cell[COLUMNS];
    uint64_t    line;
    gq_table   *t;
    gq_status   s = gq_table_open_form(path, &form, bad_row, path, &t, err);
    if (s != GQ_OK)
        return s;
    while (s == GQ_OK && (s = gq_table_fields(t, &line, cell, err)) == GQ_OK && cell[C_URL])
        s = take_row(l, path, line, cell, err);
    gq_table_close(t);
    return s;
}

/* ---- writing --------------------------------------------------------------------------------- */

gq_status gq__fetch_log_open(const char *dir, gq_fetch_list *l, gq_fetch_log **out, gq_error *err)
{
    gq_fetch_log *g = gq_calloc(1, sizeof *g);
    char         *path = gq_path(dir, "fetch.tsv");
    gq_status     s = GQ_OK;

    *out = NULL;
    if (!g || !path)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for its record", dir);
    if (s == GQ_OK)
        s = gq_append_open(path, &g->file, err);              /* cuts a torn line off */
    if (s == GQ_OK)
        s = gq_append_size(g->file) ? read_all(path, l, err) : gq_append_line(g->file, head, err);
    gq_free(path);
    if (s != GQ_OK) {
        if (g)
            gq_append_close(g->file, NULL);
        gq_free(g);
        return s;
    }
    *out = g;
    return GQ_OK;
}

gq_status gq__fetch_log_put(gq_fetch_log *g, const gq_fetch_list *l, uint32_t job, int status,
                            const char *note, gq_error *err)
{
    const gq_fetch_job *j = &l->job[job];
    char line[4 * GQ_FETCH_URL + GQ_FETCH_NAME + 3 * GQ_FETCH_NOTE + 256], safe[2 * GQ_FETCH_NOTE];
    char sha[65] = "", when[32];

    gq_printable(note, strlen(note), safe, sizeof safe);
    gq_timestamp(when);
    if (j->fate == GQ_FETCH_ALIVE)
        gq_hex(j->sha256, sizeof j->sha256, sha);
    snprintf(line, sizeof line, "%s\t%s\t%s\t%d\t%llu\t%s\t%u\t%s\t%s", gq__fetch_url(l, job),
             gq__fetch_name(l, job), gq_fetch_fate_name(j->fate), status,
             (unsigned long long)j->bytes, sha, j->attempts, when, safe);
    gq_status s = gq_append_line(g->file, line, err);
    if (s == GQ_OK && ++g->unsynced == SYNC_EVERY) {
        g->unsynced = 0;
        s = gq_append_sync(g->file, err);
    }
    return s;
}

gq_status gq__fetch_log_close(gq_fetch_log *g, gq_error *err)
{
    if (!g)
        return GQ_OK;
    gq_status s = gq_append_close(g->file, err);
    gq_free(g);
    return s;
}
