/* runs.h - are two runs the same to the bit? For tests that resume, kill or starve one of them. */
#ifndef GIFQA_TESTS_RUNS_H
#define GIFQA_TESTS_RUNS_H

#include <jansson.h>

#include "core/io.h"
#include "support.h"

/* Lines of DIR/metrics.jsonl without what may differ between a run and its resumed twin. The
 * caller's. */
static inline json_t *runs_metrics(const char *dir)
{
    static const char *const times[] = {"samples_per_s", "gflops", "data_wait_s", "rss_mib"};
    json_t                  *all = json_array();
    char                     path[1200], *save = NULL;
    gq_bytes                 b;
    gq_error                 err = {0};

    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    assert_ok(gq_read_file(path, 1 << 26, &b, &err), &err);
    for (char *line = strtok_r((char *)b.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_loads(line, 0, NULL);
        if (!o)
            fail_msg("%s: not JSON: %s", path, line);
        for (size_t i = 0; i < sizeof times / sizeof *times; i++)
            json_object_del(o, times[i]);
        json_array_append_new(all, o);
    }
    gq_bytes_free(&b);
    return all;
}

static inline bool runs_same_file(const char *a, const char *b, const char *name)
{
    char     path[1200];
    gq_bytes x = {0}, y = {0};
    gq_error err = {0};
    bool     same;

    snprintf(path, sizeof path, "%s/%s", a, name);
    assert_ok(gq_read_file(path, 1 << 26, &x, &err), &err);
    snprintf(path, sizeof path, "%s/%s", b, name);
    assert_ok(gq_read_file(path, 1 << 26, &y, &err), &err);
    same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
    gq_bytes_free(&x);
    gq_bytes_free(&y);
    return same;
}

/* Metrics, and weights and moments of checkpoint `step`: what differs first, or NULL. */
static inline const char *runs_differ(const char *a, const char *b, int step)
{
    static const char *const files[] = {"weights.safetensors", "optim.safetensors"};
    static char              why[4096];
    json_t                  *x = runs_metrics(a), *y = runs_metrics(b);

    *why = 0;
    for (size_t i = 0; !*why && (i < json_array_size(x) || i < json_array_size(y)); i++) {
        const json_t *p = json_array_get(x, i), *q = json_array_get(y, i);
        if (p && q && json_equal(p, q))
            continue;
        char *left = p ? json_dumps(p, 0) : NULL, *right = q ? json_dumps(q, 0) : NULL;
        snprintf(why, sizeof why, "line %d: %s: %s\n%s: %s", (int)i + 1, a, left ? left : "(none)",
                 b, right ? right : "(none)");
        free(left);
        free(right);
    }
    json_decref(x);
    json_decref(y);
    for (int i = 0; !*why && i < 2; i++) {
        char name[128];
        snprintf(name, sizeof name, "checkpoints/step-%08d/%s", step, files[i]);
        if (!runs_same_file(a, b, name))
            snprintf(why, sizeof why, "%s differs between %s and %s", name, a, b);
    }
    return *why ? why : NULL;
}

#endif
