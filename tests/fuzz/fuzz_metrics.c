/* fuzz_metrics.c - any bytes as a log that a killed process left (metrics.jsonl, log.txt,
 * rejects.tsv): opening keeps every whole line and cuts the torn one; lines can be appended and cut
 * off again. */
#include "fuzz.h"

#include <sys/stat.h>

#include "core/io.h"

static size_t whole_lines(const uint8_t *data, size_t size)
{
    const uint8_t *last = size ? memrchr(data, '\n', size) : NULL;
    return last ? (size_t)(last - data) + 1 : 0;
}

static void holds(const char *path, const uint8_t *data, size_t size, const char *more)
{
    gq_bytes b;
    gq_error err = {0};
    size_t   n = strlen(more);
    must(gq_read_file(path, 1 << 24, &b, &err) == GQ_OK, "%s", err.text);
    must(b.size == size + n && (!size || !memcmp(b.data, data, size)) &&
             !memcmp(b.data + size, more, n),
         "%zu bytes, expected %zu and '%s'", b.size, size, more);
    gq_bytes_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fz_put("metrics.jsonl", data, size);
    size_t      kept = whole_lines(data, size);
    gq_append  *a;
    gq_error    err = {0};

    must(gq_append_open(path, &a, &err) == GQ_OK, "%s", err.text);
    must(gq_append_size(a) == kept, "%llu of %zu", (unsigned long long)gq_append_size(a), kept);
    holds(path, data, kept, "");
    must(gq_append_line(a, "{\"step\":1}", &err) == GQ_OK, "%s", err.text);
    holds(path, data, kept, "{\"step\":1}\n");
    must(gq_append_truncate(a, kept + 12, &err) == GQ_EINPUT, "kept more than there is");
    must(gq_append_close(a, NULL) == GQ_OK, "close");

    err = (gq_error){0};
    must(gq_append_open(path, &a, &err) == GQ_OK, "%s", err.text);
    must(gq_append_size(a) == kept + 11, "%llu", (unsigned long long)gq_append_size(a));
    must(gq_append_truncate(a, kept / 2, &err) == GQ_OK, "%s", err.text);
    must(gq_append_line(a, "", &err) == GQ_OK, "%s", err.text);
    must(gq_append_close(a, &err) == GQ_OK, "%s", err.text);
    holds(path, data, kept / 2, "\n");
    return 0;
}
