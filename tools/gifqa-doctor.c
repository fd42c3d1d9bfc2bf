/* gifqa-doctor: what this machine and this build can do, and what is missing. Changes nothing. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "tools/cli.h"
#include "tools/doctor.h"

enum { LIMITS = 16 };

static bool   json, quick;
static double seconds = 0.5;

static const gq_cli_option options[] = {
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one JSON object", 0, 0},
    {"quick", 0, GQ_CLI_FLAG, &quick, NULL, "measure nothing", 0, 0},
    {"seconds", 0, GQ_CLI_REAL, &seconds, "S", "of each measurement: 0.5", 0.01, 600},
};
static const gq_cli_program program = {
    .name = "gifqa-doctor",
    .summary = "what this machine and this build can do, and what is missing",
    .usage = "[options] [DIR]",
    .examples = "gifqa-doctor\ngifqa-doctor /data --json\nGIFQA_CPU=avx2 gifqa-doctor",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 0,
    .most = 1,
    .notes =
        "DIR is where the disk is measured (default: here; about 64 MiB are written and removed).\n"
        "GIFQA_CPU = scalar | avx2 | avx512 | avx512bf16 asks for these kernels, not the best.\n"
        "Exit codes: 0 done, whatever was found; 2 usage; 3 no such kernels; 4 no DIR; 6 memory.",
};

/* ---- for people ------------------------------------------------------------------------------ */

static void words(const char *title, const char *const *word, int n)
{
    printf("%-10s", title);
    for (int i = 0; i < n; i++)
        printf(" %s", word[i]);
    putchar('\n');
}

static double gib(uint64_t bytes)
{
    return (double)bytes / (1u << 30);
}

static void show_machine(const gq_doctor *d)
{
    printf("%-10s %s, %d core%s for this process\n", "processor", d->cpu.model, d->cpu.usable,
           d->cpu.usable == 1 ? "" : "s");
    words("has", d->cpu.flag, d->cpu.flags);
    printf("%-10s %s of:", "kernels", d->cpu.chosen);
    for (int i = 0; i < d->cpu.rungs; i++)
        printf(" %s", d->cpu.rung[i]);
    putchar('\n');
    if (d->peak.gemm > 0)
        printf(
            "%-10s matrix products %.1f GFLOP/s with one thread, %.1f with %d; memory %.1f GB/s\n",
            "peak", d->peak.gemm1, d->peak.gemm, d->cpu.usable, d->peak.memory);
    printf("%-10s %.1f GiB, %.1f available", "memory", gib(d->memory.total),
           gib(d->memory.available));
    if (d->memory.allowed)
        printf(", this process may use %.1f", gib(d->memory.allowed));
    printf("\n%-10s %s: %.1f GiB free", "disk", d->disk.dir, gib(d->disk.free));
    if (d->disk.write_mib_s > 0)
        printf(", %.0f MiB/s written and synced, %.1f ms for a small safe file",
               d->disk.write_mib_s, d->disk.sync_ms);
    putchar('\n');
}

static void show_limits(void)
{
    gq_doctor_limit limit[LIMITS];
    int             n = gq_doctor_limits(limit, LIMITS);

    printf("%-10s", "limits");
    for (int i = 0; i < n; i++) {
        printf("%s %s (%s) ", i ? "," : "", limit[i].name, limit[i].flag);
        if (limit[i].value == UINT64_MAX)
            printf("none");
        else
            printf("%llu", (unsigned long long)limit[i].value);
    }
    putchar('\n');
}

static void show(const gq_doctor *d)
{
    printf("gifqa %s\n", GIFQA_VERSION);
    show_machine(d);
    show_limits();
    printf("%-10s", "libraries");
    for (int i = 0; i < d->libs; i++)
        printf("%s %s %s", i ? "," : "", d->lib[i].name, d->lib[i].version);
    putchar('\n');
    for (int i = 0; i < gq_doctor_part_count; i++)
        printf("%-10s %s%s\n", gq_doctor_parts[i].name,
               gq_doctor_parts[i].present ? "in this build" : "not in this build: ",
               gq_doctor_parts[i].present ? "" : gq_doctor_parts[i].cost);
    for (int i = 0; i < d->advices; i++)
        printf("%-10s %s\n", "advice", d->advice[i]);
}

/* ---- for programs ---------------------------------------------------------------------------- */

static json_t *strings(const char *const *word, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, gq_cli_string(word[i]));
    return a;
}

static json_t *number_or_null(double x)
{
    return x > 0 ? json_real(x) : json_null();
}

static json_t *machine_json(const gq_doctor *d)
{
    json_t *allowed = d->memory.allowed ? json_integer((json_int_t)d->memory.allowed) : json_null();
    json_t *cpu = json_pack("{s:o, s:i, s:o, s:o, s:s}", "model", gq_cli_string(d->cpu.model),
                            "cores", d->cpu.usable, "has", strings(d->cpu.flag, d->cpu.flags),
                            "kernels", strings(d->cpu.rung, d->cpu.rungs), "chosen", d->cpu.chosen);
    json_t *peak = json_pack("{s:o, s:o, s:o}", "gemm_gflops_1", number_or_null(d->peak.gemm1),
                             "gemm_gflops", number_or_null(d->peak.gemm), "memory_gb_s",
                             number_or_null(d->peak.memory));
    json_t *memory = json_pack("{s:I, s:I, s:o}", "total", (json_int_t)d->memory.total, "available",
                               (json_int_t)d->memory.available, "allowed", allowed);
    json_t *disk = json_pack("{s:o, s:I, s:o, s:o}", "dir", gq_cli_string(d->disk.dir), "free",
                             (json_int_t)d->disk.free, "write_mib_s",
                             number_or_null(d->disk.write_mib_s), "sync_ms",
                             number_or_null(d->disk.sync_ms));

    return json_pack("{s:o, s:o, s:o, s:o}", "cpu", cpu, "peak", peak, "memory", memory, "disk",
                     disk);
}

static gq_status show_json(const gq_doctor *d, gq_error *err)
{
    gq_doctor_limit limit[LIMITS];
    int             n = gq_doctor_limits(limit, LIMITS);
    json_t         *o = machine_json(d), *advice = json_array();
    json_t         *list = json_object(), *libs = json_object(), *parts = json_object();

    for (int i = 0; i < n; i++)
        json_object_set_new(list, limit[i].name,
                            limit[i].value > INT64_MAX ? json_null()
                                                       : json_integer((json_int_t)limit[i].value));
    for (int i = 0; i < d->libs; i++)
        json_object_set_new(libs, d->lib[i].name, json_string(d->lib[i].version));
    for (int i = 0; i < gq_doctor_part_count; i++)
        json_object_set_new(parts, gq_doctor_parts[i].name,
                            json_pack("{s:b, s:s}", "present", (int)gq_doctor_parts[i].present,
                                      "without_it", gq_doctor_parts[i].cost));
    for (int i = 0; i < d->advices; i++)
        json_array_append_new(advice, gq_cli_string(d->advice[i]));
    json_object_set_new(o, "ok", json_true());
    json_object_set_new(o, "version", json_string(GIFQA_VERSION));
    json_object_set_new(o, "limits", list);
    json_object_set_new(o, "libraries", libs);
    json_object_set_new(o, "parts", parts);
    json_object_set_new(o, "advice", advice);
    return gq_cli_json(o, err);
}

/* ---------------------------------------------------------------------------------------------- */

static gq_status run(const char *dir, gq_doctor *d, gq_error *err)
{
    const char *rung = getenv("GIFQA_CPU");
    gq_status   s = gq_doctor_disk(d, dir, !quick, err);

    if (s == GQ_OK)
        s = gq_doctor_cpu(d, rung && *rung ? rung : NULL, quick ? 0 : seconds, err);
    if (s != GQ_OK)
        return s;
    gq_doctor_memory(d);
    gq_doctor_libraries(d);
    if (json)
        return show_json(d, err);
    show(d);
    return GQ_OK;
}

int main(int argc, char **argv)
{
    static gq_doctor doctor;
    gq_cli_list      rest;
    gq_error         err = {0};

    gq_cli_begin();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a finding, no reason to die */
    int code = gq_cli_parse(&program, argc, argv, &rest);
    if (code == GQ_CLI_GO)
        code = run(rest.n ? rest.item[0] : ".", &doctor, &err) == GQ_OK
                   ? 0
                   : gq_cli_fail(program.name, &err, json);
    return gq_cli_end(program.name, code);
}
