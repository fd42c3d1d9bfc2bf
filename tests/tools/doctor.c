/* gifqa-doctor as a user meets it. */
#include "shell.h"

#include "core/threads.h"
#include "kernels/kernels.h"

static int begin(void **state)
{
    (void)state;
    return shell_begin("gifqa-doctor");
}

static void wrong_usage(void **state)
{
    (void)state;
    need_program();
    shell_expect("gifqa-doctor --sceonds 1", 2, NULL, "did you mean '--seconds'?");
    shell_expect("gifqa-doctor --seconds 0", 2, NULL, "0.01 to 600");
    shell_expect("gifqa-doctor . .", 2, NULL, "one argument too many");
    shell_expect("gifqa-doctor absent", 4, NULL, "absent: ");
    shell_expect("GIFQA_CPU=neon gifqa-doctor --quick", 3, NULL, "GIFQA_CPU=neon");
    shell_expect("gifqa-doctor --quick >/dev/full", 6, NULL, "No space left on device");
    shell_help("gifqa-doctor");
    shell_expect("gifqa-doctor --version", 0, "gifqa-doctor " GIFQA_VERSION "\n", NULL);
}

/* What it says is what the library says. */
static void says_what_there_is(void **state)
{
    static const char *const libraries[] = {"hdf5",    "giflib",  "libpng",   "zlib",   "libyaml",
                                            "jansson", "utf8proc", "xxHash", "openssl"};
    const gq_backend *best = gq_backend_cpu(NULL);
    json_t           *o, *cpu, *libs;
    char              name[64];

    (void)state;
    need_program();
    shell_expect("gifqa-doctor --quick --json", 0, "", NULL);
    o = shell_json();
    cpu = json_object_get(o, "cpu");
    assert_int_equal(shell_int(cpu, "cores"), gq_cpu_count());
    snprintf(name, sizeof name, "cpu-%s", json_string_value(json_object_get(cpu, "chosen")));
    assert_string_equal(name, best->name);
    libs = json_object_get(o, "libraries");
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        const char *version = json_string_value(json_object_get(libs, libraries[i]));
        if (!version || version[0] < '0' || version[0] > '9' || !strchr(version, '.'))
            fail_msg("%s: version '%s'", libraries[i], version ? version : "none");
    }
    assert_string_equal(json_string_value(json_object_get(libs, "jansson")), JANSSON_VERSION);
    assert_true(json_is_null(json_object_get(json_object_get(o, "peak"), "gemm_gflops")));
    assert_true(shell_int(json_object_get(o, "memory"), "total") > 1 << 20);
    assert_int_equal(json_object_size(json_object_get(o, "parts")), 4);
    json_decref(o);
}

static void a_forced_rung(void **state)
{
    json_t *o;

    (void)state;
    need_program();
    shell_expect("GIFQA_CPU=scalar gifqa-doctor --quick --json", 0, "", NULL);
    o = shell_json();
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(o, "cpu"), "chosen")), "scalar");
    json_decref(o);
}

static double real_of(const json_t *o, const char *section, const char *key)
{
    const json_t *v = json_object_get(json_object_get(o, section), key);
    if (!json_is_real(v))
        fail_msg("%s.%s is no number", section, key);
    return json_real_value(v);
}

/* Measured numbers lie where no machine of these decades could be beyond. */
static void measures(void **state)
{
    json_t *o;

    (void)state;
    need_program();
    shell_expect("gifqa-doctor --seconds 0.05 --json", 0, "", NULL);
    o = shell_json();
    for (int i = 0; i < 2; i++) {
        double g = real_of(o, "peak", i ? "gemm_gflops" : "gemm_gflops_1");
        assert_true(g > 0.05 && g < 1e5);
    }
    assert_in_range((uintmax_t)(real_of(o, "peak", "memory_gb_s") * 1000), 50, 10000000);
    assert_true(real_of(o, "disk", "write_mib_s") > 0.01);
    assert_true(real_of(o, "disk", "sync_ms") > 0);
    json_decref(o);
    shell_expect("ls -A | grep -v '^[.]out$' | grep -v '^[.]err$'", 1, NULL, NULL);
}

static void advice(void **state)
{
    (void)state;
    need_program();
    if (geteuid() != 0) {
        shell_expect("mkdir shut && chmod 555 shut && gifqa-doctor --seconds 0.01 shut", 0,
                     "cannot write here: ", NULL);
    }
    shell_expect("ulimit -f 1000; gifqa-doctor --seconds 0.01", 0, "cannot write here: ", NULL);
    assert_non_null(strstr(shell.out, "file size (-f) "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_usage),   cmocka_unit_test(says_what_there_is),
        cmocka_unit_test(a_forced_rung), cmocka_unit_test(measures),
        cmocka_unit_test(advice),
    };
    return cmocka_run_group_tests_name("tools/doctor", tests, begin, shell_end);
}
