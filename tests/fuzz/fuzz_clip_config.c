/* fuzz_clip_config.c - any bytes as the config.json of a CLIP directory: its sizes become overrides
 * of a configuration, which takes them or says which it does not. And the bytes up to the first NUL
 * as the place where a CLIP comes from. */
#include "fuzz.h"

#include "train/clip_dir.h"
#include "train/config.h"

static void check_place(const uint8_t *data, size_t size)
{
    static gq_clip_weights w;
    char                   place[GQ_PATH_MAX];
    size_t                 n = strnlen((const char *)data, size < sizeof place ? size : 0);
    memcpy(place, data, n);
    place[n] = 0;
    gq_clip_weights_of(place, &w);
    must(w.n >= 1 && w.n <= GQ_CLIP_WEIGHTS && strstr(w.key[0], "model.init="), "%d keys", w.n);
    must(w.random ? !strncmp(place, "random", 6) : w.n == 2, "'%s'", place);
    must(w.n < 2 || !strcmp(strchr(w.key[1], '=') + 1, w.random ? place + 7 : place), "'%s'",
         w.key[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gq_clip_sizes sizes;
    static gq_config     c;
    const char          *key[GQ_CLIP_SIZES];
    gq_error             err = {0};

    check_place(data, size);
    fz_put("config.json", data, size);
    gq_status s = gq_clip_dir_sizes(fz_dir(), &sizes, &err);
    if (s != GQ_OK) {
        must(s == GQ_EWEIGHTS || s == GQ_EINPUT, "%s", err.text);
        fz_refused(s, &err, s);
        return 0;
    }
    must(sizes.n > 1 && sizes.n <= GQ_CLIP_SIZES, "%d keys", sizes.n);
    for (int i = 0; i < sizes.n; i++) {
        key[i] = sizes.key[i];
        must(!strncmp(key[i], "clip.", 5) && strchr(key[i], '='), "'%s'", key[i]);
    }
    s = gq_config_parse("x.yaml", "", 0, key, (size_t)sizes.n, &c, NULL, &err);
    if (s != GQ_OK)
        fz_refused(s, &err, GQ_ECONFIG);
    return 0;
}
