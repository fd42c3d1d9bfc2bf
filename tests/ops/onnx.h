/* onnx.h - the node test vectors of the ONNX standard, one safetensors file each ("input_0", ...,
 * "output_0", ...).
 *
 * A small reader for tests: F32, I64 and BOOL, everything as owned doubles. The vectors are not
 * part of the project; a test that wants one skips when it is absent.
 */
#ifndef GIFQA_TESTS_OPS_ONNX_H
#define GIFQA_TESTS_OPS_ONNX_H

#include <jansson.h>

#include "tests/ops/harness.h"

typedef struct onnx_tensor {
    double *x;                          /* NULL: absent                                           */
    int64_t shape[8], size;
    int     rank, is_bool;
} onnx_tensor;

typedef struct onnx_test { onnx_tensor in[8], out[4]; } onnx_test;

static inline void onnx_values(onnx_tensor *t, const char *dtype, const unsigned char *data)
{
    t->is_bool = strcmp(dtype, "BOOL") == 0;
    t->x = doubles(t->size);
    for (int64_t i = 0; i < t->size; i++) {
        float   f;
        int64_t n;
        memcpy(&f, data + 4 * i * (strcmp(dtype, "F32") == 0), sizeof f);
        memcpy(&n, data + 8 * i * (strcmp(dtype, "I64") == 0), sizeof n);
        t->x[i] = t->is_bool ? data[i] : strcmp(dtype, "F32") == 0 ? f : (double)n;
    }
}

static inline onnx_tensor onnx_get(const json_t *header, const unsigned char *data,
                                   const char *kind, int k)
{
    onnx_tensor t = {.size = 1};
    char        name[16];
    json_t     *entry, *shape;
    snprintf(name, sizeof name, "%s_%d", kind, k);
    if (!(entry = json_object_get(header, name)))
        return t;
    shape = json_object_get(entry, "shape");
    t.rank = (int)json_array_size(shape);
    for (int i = 0; i < t.rank; i++)
        t.size *= t.shape[i] = json_integer_value(json_array_get(shape, (size_t)i));
    onnx_values(&t, json_string_value(json_object_get(entry, "dtype")),
                data +
                    json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0)));
    return t;
}

/* name: without "test_"; everything is owned by the case and dropped with it */
static inline bool onnx_read(const char *name, onnx_test *t)
{
    char           path[128];
    const char    *full;
    unsigned char *bytes;
    uint64_t       header_bytes;
    json_t        *header;
    FILE          *f;
    long           size;
    snprintf(path, sizeof path, "data/onnx_ops/test_%s.safetensors", name);
    if (!(full = gq_shared(path)) || !(f = fopen(full, "rb")))
        return false;
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    bytes = own((size_t)size + 8, 0);                 /* 8: onnx_values looks at the longest type */
    assert_int_equal(fread(bytes, 1, (size_t)size, f), size);
    fclose(f);
    memcpy(&header_bytes, bytes, 8);
    assert_true(header_bytes < (uint64_t)size);
    header = json_loadb((const char *)bytes + 8, header_bytes, 0, NULL);
    assert_non_null(header);
    for (int k = 0; k < 8; k++)
        t->in[k] = onnx_get(header, bytes + 8 + header_bytes, "input", k);
    for (int k = 0; k < 4; k++)
        t->out[k] = onnx_get(header, bytes + 8 + header_bytes, "output", k);
    json_decref(header);
    return true;
}

#endif
