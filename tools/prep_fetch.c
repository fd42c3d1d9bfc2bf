/* gifqa-prep fetch: the GIFs behind a list of URLs, politely, and what became of each. */
#include <math.h>
#include <string.h>

#include "data/fetch.h"
#include "tools/prep.h"

static const char *out, *split, *contact;
static int64_t     connections, per_host, tries, max_mib, most, pause_ms = -1;
static double      rate, timeout_s;
static bool        retry_dead, json;
static gq_cli_list placeholders, allow;

static const gq_cli_option options[] = {
    {"out", 'o', GQ_CLI_TEXT, &out, "DIR", "NAME.gif of each, and the record fetch.tsv", 0, 0},
    {"split", 0, GQ_CLI_TEXT, &split, "NAME", "of a table of captions, only train, val or test", 0,
     0},
    {"contact", 0, GQ_CLI_TEXT, &contact, "TEXT", "for the User-Agent: an address or a page", 0, 0},
    {"limit", 0, GQ_CLI_INT, &most, "N", "ask for at most N URLs now", 1, 1e12},
    {"connections", 0, GQ_CLI_INT, &connections, "N", "at the same time (8)", 1, 64},
    {"per-host", 0, GQ_CLI_INT, &per_host, "N", "of them to one host (2)", 1, 64},
    {"rate", 0, GQ_CLI_REAL, &rate, "R", "requests a second to one host (4)", 0.001, 1000},
    {"tries", 0, GQ_CLI_INT, &tries, "N", "attempts of a URL (4)", 1, 100},
    {"timeout", 0, GQ_CLI_REAL, &timeout_s, "S", "seconds of one request (300)", 0.001, 86400},
    {"max-mib", 0, GQ_CLI_INT, &max_mib, "N", "the largest GIF (64)", 1, 1024},
    {"placeholder", 0, GQ_CLI_LIST, &placeholders, "SHA256",
     "a picture that counts as dead; repeat it", 0, 0},
    {"retry-dead", 0, GQ_CLI_FLAG, &retry_dead, NULL, "ask again for those that were dead", 0, 0},
    {"allow-private", 0, GQ_CLI_LIST, &allow, "HOST", "it may have a private address; repeat it",
     0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the counts as one JSON object", 0, 0},
    {"pause-ms", 0, GQ_CLI_INT, &pause_ms, "N", NULL, 1, 60000},
};
static const gq_cli_program program = {
    .name = "gifqa-prep fetch",
    .summary = "the GIFs of a list of URLs",
    .usage = "LIST... -o DIR [options]",
    .examples = "gifqa-prep fetch TGIF-Release/data/splits/train.txt -o gifs --contact me@my.org\n"
                "gifqa-prep fetch captions.tsv --split val -o gifs",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 1,
    .most = GQ_CLI_LIST_MAX,
    .notes = "LIST: URLs, TGIF's table, or a table with a column url. The same command goes on. "
             "Exit 4: no answer at all.",
};

/* Of 1000 different waits in a second nobody sees a difference: whole milliseconds. */
static int to_ms(double seconds)
{
    return (int)fmax(1, lround(1000 * seconds));
}

static gq_fetch_opts wishes(const gq_cli_list *lists, gq_cli_progress *progress)
{
    gq_fetch_opts o = gq_fetch_defaults();
    o.list = lists->item;
    o.n = lists->n;
    o.split = split;
    o.out = out;
    o.contact = contact;
    o.placeholder = placeholders.item;
    o.placeholders = placeholders.n;
    o.connections = connections ? (int)connections : o.connections;
    o.per_host = per_host ? (int)per_host : o.per_host;
    o.interval_ms = rate > 0 ? to_ms(1 / rate) : o.interval_ms;
    o.tries = tries ? (int)tries : o.tries;
    o.total_ms = timeout_s > 0 ? to_ms(timeout_s) : o.total_ms;
    o.limits.max_bytes = max_mib ? (uint64_t)max_mib << 20 : o.limits.max_bytes;
    o.backoff_ms = pause_ms > 0 ? (int)pause_ms : o.backoff_ms;
    o.most = (uint64_t)most;
    o.allow = allow.item;
    o.allows = allow.n;
    o.retry_dead = retry_dead;
    o.progress = gq_cli_progress_show;
    o.progress_ctx = progress;
    return o;
}

/* ---- the result ------------------------------------------------------------------------------ */

static json_t *fates_json(const gq_fetch_report *r)
{
    json_t *o = json_object();
    for (int f = 0; f < GQ_FETCH_FATE_COUNT; f++)
        json_object_set_new(o, gq_fetch_fate_name((gq_fetch_fate)f),
                            json_integer((json_int_t)r->fate[f]));
    return o;
}

static json_t *report_json(const gq_fetch_report *r)
{
    double  share = gq_fetch_alive_share(r);
    json_t *o = json_pack(
        "{s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "ok", 1,
        "dir", gq_cli_string(out), "rows", (json_int_t)r->rows, "bad_rows", (json_int_t)r->bad_rows,
        "urls", (json_int_t)r->urls, "renamed", (json_int_t)r->renamed, "known",
        (json_int_t)r->known, "adopted", (json_int_t)r->adopted, "requests", (json_int_t)r->requests,
        "retries", (json_int_t)r->retries, "redirects", (json_int_t)r->hops, "bytes",
        (json_int_t)r->bytes, "same", (json_int_t)r->same, "hosts_given_up",
        (json_int_t)r->given_up, "seconds", r->seconds, "fates", fates_json(r));
    if (o)
        json_object_set_new(o, "alive_share", share < 0 ? json_null() : json_real(share));
    return o;
}

static void show(const gq_fetch_report *r)
{
    double share = gq_fetch_alive_share(r);
    for (int f = 0; f < GQ_FETCH_FATE_COUNT; f++)
        if (r->fate[f])
            printf("%-11s %8llu  %s\n", gq_fetch_fate_name((gq_fetch_fate)f),
                   (unsigned long long)r->fate[f], gq_fetch_fate_meaning((gq_fetch_fate)f));
    printf("%s: %llu URLs in %llu rows; ", out, (unsigned long long)r->urls,
           (unsigned long long)r->rows);
    if (share >= 0)
        printf("alive share %.4f; ", share);
    printf("%llu requests, %llu retries, %.1f MiB, %.1f s\n", (unsigned long long)r->requests,
           (unsigned long long)r->retries, (double)r->bytes / 1048576.0, r->seconds);
}

/* What a person may want to do something about. */
static void warn(const gq_fetch_report *r)
{
    uint64_t open = r->fate[GQ_FETCH_FAILED] + r->fate[GQ_FETCH_PENDING];
    if (r->bad_rows)
        gq_cli_warn(program.name, "%llu bad rows were left out; the first: %s",
                    (unsigned long long)r->bad_rows, r->bad_row);
    if (r->renamed)
        gq_cli_warn(program.name, "%llu URLs could not have the name they give; the column gif of "
                    "fetch.tsv says theirs", (unsigned long long)r->renamed);
    if (r->fate[GQ_FETCH_BARRED])
        gq_cli_warn(program.name, "%llu URLs must not be asked, and will not be again: fetch.tsv says why; a mirror of "
                    "one's own needs --allow-private HOST, now with --retry-dead",
                    (unsigned long long)r->fate[GQ_FETCH_BARRED]);
    if (r->given_up)
        gq_cli_warn(program.name, "%llu hosts were given up for now",
                    (unsigned long long)r->given_up);
    if (r->most_same > 2)
        gq_cli_warn(program.name,
                    "%llu GIFs are the same, perhaps what stands for a deleted one: look at one of "
                    "SHA-256 %s, and --placeholder", (unsigned long long)r->most_same,
                    r->same_sha256);
    if (open && !most)
        gq_cli_warn(program.name, "%llu URLs are open: the same command asks for them again",
                    (unsigned long long)open);
}

static int usage_problem(void)
{
    if (!out)
        return gq_cli_usage(program.name, "-o DIR is missing: usage: %s %s", program.name,
                            program.usage);
    return GQ_CLI_GO;
}

int gq_prep_fetch(int argc, char **argv)
{
    gq_cli_list      rest;
    gq_error         err = {0};
    gq_fetch_report  report;
    gq_cli_progress progress = {.what = program.name, .unit = "URLs"};
    gq_fetch_opts    o;
    int              code = gq_cli_parse(&program, argc, argv, &rest);
    gq_status        s;

    if (code == GQ_CLI_GO)
        code = usage_problem();
    if (code != GQ_CLI_GO)
        return code;
    gq_prep_catch_signals();
    o = wishes(&rest, &progress);
    s = gq_fetch_gifs(&o, &report, &err);
    gq_cli_progress_end(&progress);
    warn(&report);
    if (s == GQ_OK && json)
        s = gq_cli_json(report_json(&report), &err);
    else if (s == GQ_OK || s == GQ_ESTOPPED)
        json ? (void)0 : show(&report);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
