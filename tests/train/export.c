/* Export and import: the same bits and answers; a directory that is whole or not there, with nothing
 * of the machine in it; damage named. */
#include <jansson.h>

#include "core/mem.h"
#include "data/jsonfile.h"
#include "faults.h"
#include "little.h"
#include "train/ask.h"
#include "train/export.h"

static gq_session *open_session(const char *path)
{
    gq_session *s;
    gq_error    err = {0};
    assert_ok(gq_session_open(path, NULL, &s, &err), &err);
    return s;
}

static void export_to(const char *from, const char *to, gq_export_report *r)
{
    gq_session *s = open_session(from);
    gq_error    err = {0};
    assert_ok(gq_export(s, to, r, &err), &err);
    gq_session_close(s);
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void same_weights(const gq_params *a, const gq_params *b)
{
    assert_int_equal(a->count, b->count);
    for (int32_t i = 0; i < a->count; i++) {
        const gq_param *x = &a->param[i], *y = gq_params_find(b, x->name);
        assert_non_null(y);
        assert_true(y->loaded);
        assert_int_equal(x->n, y->n);
        assert_memory_equal(gq_param_data(a, x), gq_param_data(b, y), (size_t)x->n * sizeof(float));
    }
}

static void ask_both(gq_session *a, gq_session *b)
{
    gq_session *s[2] = {a, b};
    gq_reply    r[2];
    gq_error    err = {0};
    gq_bytes    bytes;

    assert_ok(gq_read_file(little("world/gif/test-000003.gif"), 1 << 20, &bytes, &err), &err);
    for (int i = 0; i < 2; i++) {
        gq_gif_bytes gif = {bytes.data, bytes.size, "test-000003.gif"};
        gq_asker    *asker;
        assert_ok(gq_asker_open(s[i], NULL, &asker, &err), &err);
        assert_ok(gq_asker_ask(asker, &gif, "which way does it go?", &r[i], &err), &err);
        gq_asker_close(asker);
    }
    assert_string_equal(r[0].answer, r[1].answer);
    assert_true(r[0].confidence == r[1].confidence && r[0].retrieved && r[1].retrieved);
    assert_memory_equal(r[0].frame, r[1].frame, (size_t)r[0].k * sizeof *r[0].frame);
    assert_memory_equal(r[0].distance, r[1].distance, (size_t)r[0].k * sizeof *r[0].distance);
    gq_reply_free(&r[0]);
    gq_reply_free(&r[1]);
    gq_bytes_free(&bytes);
}

static void round_trip(void **state)
{
    static const char *const runs[] = {"run", "predictor"};
    gq_export_report         r;
    (void)state;

    little_train("predictor", "mvm.predictor=linear_ln");
    for (int i = 0; i < 2; i++) {
        char to[300];
        snprintf(to, sizeof to, "%s-export", little(runs[i]));
        export_to(little(runs[i]), to, &r);
        assert_string_equal(r.note, "");
        gq_session *a = open_session(little(runs[i])), *b = open_session(to);
        assert_true(b->exported && b->step == a->step);
        same_weights(a->net->params, b->net->params);
        ask_both(a, b);
        gq_session_close(a);
        gq_session_close(b);
    }
}

static void same_file(const char *one, const char *other, const char *file)
{
    char     name[128];
    gq_bytes a, b;
    gq_error err = {0};

    snprintf(name, sizeof name, "%s/%s", one, file);
    assert_ok(gq_read_file(little(name), 1 << 24, &a, &err), &err);
    snprintf(name, sizeof name, "%s/%s", other, file);
    assert_ok(gq_read_file(little(name), 1 << 24, &b, &err), &err);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    gq_bytes_free(&a);
    gq_bytes_free(&b);
}

/* Exported again, an export is itself, apart from the score of its run on the card. */
static void idempotent(void **state)
{
    static const char *const files[] = {"clip/model.safetensors",
                                        "qformer/model.safetensors",
                                        "gpt2/model.safetensors",
                                        "stllm.safetensors",
                                        "config.yaml",
                                        "clip/config.json",
                                        "tokenizer/words.txt"};
    gq_export_report         r;
    gq_error                 err = {0};
    gq_bytes                 b;
    (void)state;

    export_to(little("run"), little("once/"), &r);
    export_to(little("once"), little("twice"), &r);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        same_file("once", "twice", files[i]);
    assert_ok(gq_read_file(little("twice/config.yaml"), 1 << 20, &b, &err), &err);
    assert_null(strstr((const char *)b.data, little_dir)); /* no path of this machine */
    gq_bytes_free(&b);
}

/* Straight from the checkpoint's files, trained and frozen, without memory for the model: the same
 * bytes as from memory. */
static void from_files(void **state)
{
    static const char *const files[] = {"clip/model.safetensors",
                                        "qformer/model.safetensors",
                                        "gpt2/model.safetensors",
                                        "stllm.safetensors",
                                        "README.md",
                                        "config.yaml"};
    gq_export_report         r;
    gq_session              *s;
    gq_error                 err = {0};
    (void)state;

    little_train("icy", "clip.train=false");
    assert_true(gq_is_file(little("icy/frozen.safetensors")));
    export_to(little("icy"), little("icy-memory"), &r);
    assert_ok(gq_session_open(little("icy"), &(gq_session_opts){.stored = true}, &s, &err), &err);
    assert_ok(gq_export(s, little("icy-files"), &r, &err), &err);
    assert_false(s->net->params->sealed);
    assert_null(s->net->params->weights.base);
    assert_fails(gq_export_numbers(s, 1, little("none.json"), &err), GQ_EBUG, &err, "in memory");
    gq_error_clear(&err);
    gq_session_close(s);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        same_file("icy-memory", "icy-files", files[i]);
}

/* CLIP of an export serves a model that has no text tower, and chooses the same frames. */
static void clip_of_another(void **state)
{
    gq_export_report r;
    gq_error         err = {0};
    gq_session      *s[2];
    gq_reply         reply[2];
    gq_bytes         b;
    char             clip[300];
    (void)state;

    little_train("blind", "clip.text=false");
    export_to(little("run"), little("seeing"), &r);
    snprintf(clip, sizeof clip, "%s/clip", little("seeing"));
    assert_ok(gq_read_file(little("world/gif/test-000004.gif"), 1 << 20, &b, &err), &err);
    s[0] = open_session(little("run"));
    s[1] = open_session(little("blind"));
    for (int i = 0; i < 2; i++) {
        gq_gif_bytes gif = {b.data, b.size, "x.gif"};
        gq_asker    *a;
        assert_ok(gq_asker_open(s[i], &(gq_ask_opts){.clip = i ? clip : NULL}, &a, &err), &err);
        assert_ok(gq_asker_ask(a, &gif, "what colour is it?", &reply[i], &err), &err);
        gq_asker_close(a);
        gq_session_close(s[i]);
    }
    assert_true(reply[0].retrieved && reply[1].retrieved);
    assert_memory_equal(reply[0].frame, reply[1].frame,
                        (size_t)reply[0].k * sizeof *reply[0].frame);
    gq_reply_free(&reply[0]);
    gq_reply_free(&reply[1]);
    gq_bytes_free(&b);
}

/* ---- numbers for other loaders --------------------------------------------------------------- */

static size_t depth(const json_t *x)
{
    return json_is_array(x) ? 1 + depth(json_array_get(x, 0)) : 0;
}

static void numbers(void **state)
{
    gq_session *s = open_session(little("run"));
    gq_error    err = {0};
    json_t     *o;
    double      sum = 0.0;
    (void)state;

    assert_ok(gq_export_numbers(s, 1, little("numbers.json"), &err), &err);
    gq_session_close(s);
    o = json_load_file(little("numbers.json"), 0, NULL);
    assert_non_null(o);
    json_t *embeds = json_object_get(json_object_get(o, "clip"), "image_embeds");
    assert_int_equal(json_array_size(embeds), 2);
    for (size_t i = 0; i < 8; i++)
        sum += pow(json_number_value(json_array_get(json_array_get(embeds, 0), i)), 2);
    assert_true(fabs(sum - 1.0) < 1e-6);
    assert_int_equal(depth(json_object_get(json_object_get(o, "clip"), "pixels")), 4);
    assert_int_equal(depth(json_object_get(json_object_get(o, "gpt2"), "logits")), 3);
    assert_int_equal(depth(json_object_get(json_object_get(o, "qformer"), "states")), 3);
    json_t *logits = json_object_get(json_object_get(o, "stllm"), "logits");
    assert_int_equal(json_array_size(json_array_get(logits, 0)), 64);
    assert_int_equal(json_array_size(logits),
                     json_array_size(json_object_get(json_object_get(o, "stllm"), "ids")));
    json_decref(o);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void occupied(void **state)
{
    gq_session *s = open_session(little("run"));
    gq_error    err = {0};
    (void)state;

    assert_ok(gq_mkdirs(little("full"), &err), &err);
    assert_ok(gq_write_file(little("full/mine"), "x", 1, &err), &err);
    assert_fails(gq_export(s, little("full"), NULL, &err), GQ_EUSAGE, &err, "'mine'");
    assert_true(gq_is_file(little("full/mine")));
    assert_fails(gq_export(s, little("full/mine"), NULL, &err), GQ_EUSAGE, &err, "is a file");
    gq_error_clear(&err);
    assert_ok(gq_mkdirs(little("empty"), &err), &err);
    assert_ok(gq_export(s, little("empty"), NULL, &err), &err);
    assert_true(gq_is_file(little("empty/gifqa.json")));
    gq_session_close(s);
}

static void damaged(void **state)
{
    static const struct {
        const char *file, *needle;
    } cases[] = {{"gpt2/model.safetensors", "gpt2/model.safetensors"},
                 {"stllm.safetensors", "stllm.safetensors"},
                 {"tokenizer/words.txt", "tokenizer/words.txt"},
                 {"config.yaml", "config.yaml"}};
    gq_session      *s = NULL;
    gq_export_report r;
    gq_error         err = {0};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int how = 0; how < 3; how++) {
            char     name[128];
            gq_bytes b;
            assert_ok(gq_remove_tree(little("broken"), &err), &err);
            export_to(little("run"), little("broken"), &r);
            snprintf(name, sizeof name, "broken/%s", cases[i].file);
            assert_ok(gq_read_file(little(name), 1 << 24, &b, &err), &err);
            if (how == 2) {
                assert_ok(gq_remove_tree(little(name), &err), &err);
            } else {
                b.data[b.size - 1] = '#'; /* a comment in YAML, another number elsewhere */
                assert_ok(gq_write_file(little(name), b.data, b.size - (how == 1), &err), &err);
            }
            gq_bytes_free(&b);
            assert_fails(gq_session_open(little("broken"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                         cases[i].needle);
            gq_error_clear(&err);
        }
}

/* A list of ours but for its contents: text is whole but for its closing brace. */
static void put_list(const char *name, const char *text, size_t bytes)
{
    static char whole[1 << 16];
    gq_error    err = {0};

    assert_true(bytes + GQ_JSON_SEAL < sizeof whole);
    memcpy(whole, text, bytes);
    gq_json_seal(text, bytes, whole + bytes);
    assert_ok(gq_write_file(little(name), whole, bytes + GQ_JSON_SEAL, &err), &err);
}

/* Exports made before XXH3 was listed: SHA-256 is what they have. */
static void lists_with_sha256_alone(void **state)
{
    gq_session      *s = NULL;
    gq_export_report r;
    gq_error         err = {0};
    gq_bytes         b;
    int              renamed = 0;
    (void)state;

    export_to(little("run"), little("older"), &r);
    assert_ok(gq_read_file(little("older/gifqa.json"), 1 << 20, &b, &err), &err);
    for (char *at = (char *)b.data; (at = strstr(at, "xxh128")); renamed++)
        memcpy(at, "future", 6);
    assert_int_equal(renamed, r.files);
    put_list("older/gifqa.json", (char *)b.data, b.size - GQ_JSON_SEAL);
    gq_bytes_free(&b);
    assert_ok(gq_session_open(little("older"), NULL, &s, &err), &err);
    gq_session_close(s);
    assert_ok(gq_read_file(little("older/stllm.safetensors"), 1 << 24, &b, &err), &err);
    b.data[b.size - 1] ^= 1;
    assert_ok(gq_write_file(little("older/stllm.safetensors"), b.data, b.size, &err), &err);
    gq_bytes_free(&b);
    assert_fails(gq_session_open(little("older"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "stllm.safetensors: its SHA-256");
}

static void strange_lists(void **state)
{
    static const struct {
        const char *text, *needle;
    } cases[] = {{"{\"", "gifqa.json:1"},
                 {"{\"kind\": \"other\"", "no export"},
                 {"{\"kind\": \"gifqa-export\", \"format\": 99", "format 99"},
                 {"{\"kind\": \"gifqa-export\", \"format\": 1, \"files\": []", "not listed"}};
    gq_session      *s = NULL;
    gq_export_report r;
    gq_error         err = {0};
    gq_bytes         b;
    char            *at;
    (void)state;

    export_to(little("run"), little("strange"), &r);
    assert_ok(gq_read_file(little("strange/gifqa.json"), 1 << 20, &b, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_list("strange/gifqa.json", cases[i].text, strlen(cases[i].text));
        assert_fails(gq_session_open(little("strange"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                     cases[i].needle);
        gq_error_clear(&err);
    }
    at = strstr((char *)b.data, "README.md");
    memcpy(at, "../README", 9); /* leads out of the directory */
    put_list("strange/gifqa.json", (char *)b.data, b.size - GQ_JSON_SEAL);
    assert_fails(gq_session_open(little("strange"), NULL, &s, &err), GQ_EWEIGHTS, &err,
                 "not one of ours");
    gq_bytes_free(&b);
}

/* ---- a disk that fails ----------------------------------------------------------------------- */

static int left_over(void)
{
    char   **names;
    size_t   n;
    int      count = 0;
    gq_error err = {0};

    assert_ok(gq_list_dir(little_dir, &names, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        count += strncmp(names[i], "fragile", 7) == 0;
        gq_free(names[i]);
    }
    gq_free(names);
    return count;
}

/* A failure leaves nothing, or all of it when only the last sync failed. Errors of closing what was
 * only read are none. */
static void failing_disk(void **state)
{
    gq_session     *s = open_session(little("run"));
    gq_export_about about;
    gq_error        err = {0};
    long            operations, failures = 0;
    (void)state;

    memset(&fault, 0, sizeof fault);
    fault.armed = true;
    assert_ok(gq_export(s, little("fragile"), NULL, &err), &err);
    operations = fault.count;
    assert_true(fault.unsynced == 0 && operations > 40);
    for (long at = 1; at <= operations; at++) {
        fault.armed = false;
        assert_ok(gq_remove_tree(little("fragile"), &err), &err);
        fault.count = 0;
        fault.at = at;
        fault.mode = at / 2 % 2 ? FAULT_ENOSPC : FAULT_EIO;
        fault.armed = true;
        gq_status st = gq_export(s, little("fragile"), NULL, &err);
        fault.armed = false;
        failures += st != GQ_OK;
        if (st != GQ_OK && st != GQ_EDISK)
            fail_msg("operation %ld of %ld: status %d (%s)", at, operations, (int)st, err.text);
        gq_error_clear(&err);
        if (left_over() && gq_export_check(little("fragile"), 1, &about, &err) != GQ_OK)
            fail_msg("operation %ld of %ld: part of an export is left: %s", at, operations,
                     err.text);
        gq_error_clear(&err);
    }
    assert_true(failures > operations / 2);
    memset(&fault, 0, sizeof fault);
    fault.armed = true;
    assert_ok(gq_remove_tree(little("fragile"), &err), &err);
    gq_session_close(s);
}

static void without_memory(void **state)
{
    gq_session *s;
    uint64_t    before = gq_mem_count(), all;
    gq_error    err = {0};
    const gq_session_opts files = {.stored = true};
    (void)state;

    assert_ok(gq_session_open(little("run"), &files, &s, &err), &err);
    all = gq_mem_count() - before;
    for (uint64_t n = 1; n <= all; n += 7) {
        gq_session *none = NULL;
        gq_mem_fail_at(n, false);
        gq_status st = gq_session_open(little("run"), &files, &none, &err);
        gq_mem_fail_at(0, false);
        if (st != GQ_ENOMEM || none)
            fail_msg("allocation %d of %d: status %d (%s)", (int)n, (int)all, (int)st, err.text);
        gq_error_clear(&err);
    }
    before = gq_mem_count();
    assert_ok(gq_export(s, little("fragile"), NULL, &err), &err);
    all = gq_mem_count() - before;
    assert_ok(gq_remove_tree(little("fragile"), &err), &err);
    for (uint64_t n = 1; n <= all; n += 3) {
        gq_mem_fail_at(n, false);
        gq_status st = gq_export(s, little("fragile"), NULL, &err);
        gq_mem_fail_at(0, false);
        if (st != GQ_ENOMEM || left_over())
            fail_msg("allocation %d of %d: status %d (%s)", (int)n, (int)all, (int)st, err.text);
        gq_error_clear(&err);
    }
    gq_session_close(s);
}

/* Armed without a fault, the rig makes every fsync free. */
static int make(void **state)
{
    fault.armed = true;
    return little_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),      cmocka_unit_test(idempotent),
        cmocka_unit_test(from_files),      cmocka_unit_test(clip_of_another),
        cmocka_unit_test(numbers),         cmocka_unit_test(occupied),
        cmocka_unit_test(damaged),
        cmocka_unit_test(lists_with_sha256_alone),
        cmocka_unit_test(strange_lists),   cmocka_unit_test(failing_disk),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests_name("train/export", tests, make, little_drop);
}
