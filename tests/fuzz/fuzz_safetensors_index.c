/* fuzz_safetensors_index.c - any bytes as the index of sharded weights. The files beside it are two
 * of ours: whatever the index says, tensors come from them or not at all. */
#include "fuzz.h"

#include "core/safetensors.h"

static void make(const char *name, const char *const *tensor, size_t n)
{
    static const float value[4] = {1, 2, 3, 4};
    gq_st_tensor       t[4] = {0};
    gq_st_writer      *w;
    gq_error           err = {0};
    for (size_t i = 0; i < n; i++)
        t[i] = (gq_st_tensor){.name = tensor[i], .dtype = GQ_ST_F32, .rank = 1, .shape = {4}};
    must(gq_st_writer_open(fz_path(name), t, n, NULL, 0, &w, &err) == GQ_OK, "%s", err.text);
    for (size_t i = 0; i < n; i++)
        must(gq_st_put(w, tensor[i], value, sizeof value, &err) == GQ_OK, "%s", err.text);
    must(gq_st_commit(w, &err) == GQ_OK, "%s", err.text);
}

static bool beside(const char *path, const char *name)
{
    return !strcmp(path, fz_path(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool     made;
    gq_safetensors *st;
    gq_error        err = {0};

    if (!made) {
        make("a.safetensors", (const char *const[]){"x", "y"}, 2);
        make("b.safetensors", (const char *const[]){"z"}, 1);
        made = true;
    }
    gq_status s = gq_safetensors_open(fz_put("m.safetensors.index.json", data, size), &st, &err);
    if (s != GQ_OK) {
        must(!st, "open in spite of '%s'", err.text);
        fz_refused(s, &err, GQ_EWEIGHTS);
        return 0;
    }
    must(gq_st_count(st) && gq_st_count(st) <= 3, "%zu tensors", gq_st_count(st));
    for (size_t i = 0; i < gq_st_count(st); i++) {
        const gq_st_tensor *t = gq_st_at(st, i);
        must(beside(t->file, t->name[0] == 'z' ? "b.safetensors" : "a.safetensors"), "%s in %s",
             t->name, t->file);
        must(gq_st_find(st, t->name) == t && t->count == 4, "%s", t->name);
    }
    gq_safetensors_close(st);
    return 0;
}
