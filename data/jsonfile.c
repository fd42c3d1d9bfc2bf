#include "data/jsonfile.h"

#include <string.h>

#include "core/io.h"

gq_status gq_json_load(const char *path, size_t limit, json_t **out, gq_error *err)
{
    gq_bytes     bytes;
    json_error_t at;

    *out = NULL;
    gq_status s = gq_read_file(path, limit, &bytes, err);
    if (s != GQ_OK)
        return s;
    const uint8_t *nul = memchr(bytes.data, 0, bytes.size);  /* jansson loses one behind a number */
    if (nul)
        s = gq_fail(err, GQ_EINPUT, "%s: not JSON: byte %zu is NUL", path,
                    (size_t)(nul - bytes.data));
    else
        *out = json_loadb((const char *)bytes.data, bytes.size, JSON_REJECT_DUPLICATES, &at);
    gq_bytes_free(&bytes);
    if (s != GQ_OK)
        return s;
    if (!*out)
        return gq_fail(err, GQ_EINPUT, "%s:%d:%d: not JSON: %s", path, at.line, at.column, at.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return gq_fail(err, GQ_EINPUT, "%s: is not a JSON object", path);
    }
    return GQ_OK;
}

typedef struct sink {
    gq_file  *file;
    gq_error *err;
} sink;

static int put(const char *text, size_t n, void *data)
{
    sink *s = data;
    return gq_file_write(s->file, text, n, s->err) == GQ_OK ? 0 : -1;
}

gq_status gq_json_save(const char *path, json_t *object, gq_error *err)
{
    sink to = {NULL, err};
    if (!object)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    gq_status s = gq_atomic_open(path, &to.file, err);
    if (s == GQ_OK &&
        (json_dump_callback(object, put, &to, JSON_INDENT(1)) != 0 || put("\n", 1, &to) != 0)) {
        gq_atomic_abort(to.file);
        /* a failed write has its text */
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    } else if (s == GQ_OK) {
        s = gq_atomic_commit(to.file, err);
    }
    json_decref(object);
    return s;
}
