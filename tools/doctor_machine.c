/* gifqa-doctor: processor, memory, disk and limits of this machine, asked and measured. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/engine.h"
#include "core/io.h"
#include "core/mem.h"
#include "core/text.h"
#include "tools/doctor.h"
#include "train/peak.h"

enum { PROC_MAX = 1 << 20, SMALL = 4096, SMALL_FILES = 16, LARGE = 64 << 20 };

void gq_doctor_advise(gq_doctor *d, const char *fmt, ...)
{
    va_list ap;

    if (d->advices == GQ_DOCTOR_ADVICE)
        return;
    va_start(ap, fmt);
    vsnprintf(d->advice[d->advices++], sizeof d->advice[0], fmt, ap);
    va_end(ap);
}

/* ---- processor ------------------------------------------------------------------------------- */

/* Text after "<key>" and a colon in /proc text, up to the end of the line; false when it is not
 * there. */
static bool proc_value(const char *path, const char *key, char *out, size_t size)
{
    gq_bytes b;
    bool     found = false;

    if (gq_read_file(path, PROC_MAX, &b, NULL) != GQ_OK)
        return false;
    for (char *line = (char *)b.data, *end; line && !found; line = end ? end + 1 : NULL) {
        end = strchr(line, '\n');
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon || (end && colon > end))
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        gq_printable(colon, end ? (size_t)(end - colon) : strlen(colon), out, size);
        found = true;
    }
    gq_bytes_free(&b);
    return found;
}

static void find_flags(gq_doctor *d)
{
#if defined(__x86_64__)
#define HAS(name)                                                                                  \
    if (__builtin_cpu_supports(name))                                                              \
    d->cpu.flag[d->cpu.flags++] = name
    HAS("sse4.2");
    HAS("avx");
    HAS("avx2");
    HAS("fma");
    HAS("avx512f");
    HAS("avx512bw");
    HAS("avx512dq");
    HAS("avx512vl");
    HAS("avx512vnni");
    HAS("avx512bf16");
#undef HAS
#else
    (void)d;
#endif
}

static gq_status measure(gq_doctor *d, const gq_backend *backend, int threads, double seconds,
                         gq_error *err)
{
    gq_engine     *e;
    gq_engine_opts o = {.backend = backend, .threads = threads};
    gq_status      s = gq_engine_new(&o, &e, err);

    if (s != GQ_OK)
        return s;
    d->peak.gemm = gq_measure_gemm(e, seconds);
    if (threads == 1)
        d->peak.gemm1 = d->peak.gemm;
    if (threads == d->cpu.usable)
        d->peak.memory = gq_measure_memory(e->pool, seconds);
    gq_engine_free(e);
    return GQ_OK;
}

gq_status gq_doctor_cpu(gq_doctor *d, const char *rung, double seconds, gq_error *err)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "avx512bf16"};
    const gq_backend        *backend = gq_backend_cpu(rung);
    const char              *dash;
    gq_status                s = GQ_OK;

    if (!proc_value("/proc/cpuinfo", "model name", d->cpu.model, sizeof d->cpu.model))
        snprintf(d->cpu.model, sizeof d->cpu.model, "unknown");
    d->cpu.usable = gq_cpu_count();
    find_flags(d);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (gq_backend_cpu(names[i]))
            d->cpu.rung[d->cpu.rungs++] = names[i];
    if (!backend)
        return gq_fail(
            err, GQ_ECONFIG,
            "GIFQA_CPU=%s: this machine or build has no such CPU kernels; it has up to '%s'", rung,
            d->cpu.rungs ? d->cpu.rung[d->cpu.rungs - 1] : "none");
    dash = strchr(backend->name, '-');
    d->cpu.chosen = dash ? dash + 1 : backend->name;
    if (seconds > 0)
        s = measure(d, backend, 1, seconds, err);
    if (s == GQ_OK && seconds > 0 && d->cpu.usable > 1)
        s = measure(d, backend, d->cpu.usable, seconds, err);
    return s;
}

/* ---- memory and limits ----------------------------------------------------------------------- */

static uint64_t meminfo(const char *key)
{
    char text[64];
    return proc_value("/proc/meminfo", key, text, sizeof text) ? strtoull(text, NULL, 10) * 1024
                                                               : 0;
}

/* The limit of a container, version 2 or 1 of control groups; 0: none. */
static uint64_t group_limit(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/memory.max",
                                        "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    uint64_t                 limit = 0;

    for (size_t i = 0; i < 2 && !limit; i++) {
        gq_bytes b;
        if (gq_read_file(files[i], SMALL, &b, NULL) != GQ_OK)
            continue;
        limit = strtoull((const char *)b.data, NULL, 10); /* "max" reads as 0 */
        gq_bytes_free(&b);
    }
    return limit;
}

void gq_doctor_memory(gq_doctor *d)
{
    struct rlimit r;
    uint64_t      group = group_limit();

    d->memory.total = meminfo("MemTotal");
    d->memory.available = meminfo("MemAvailable");
    if (group && group < d->memory.total)
        d->memory.allowed = group;
    if (getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY &&
        (!d->memory.allowed || r.rlim_cur < d->memory.allowed))
        d->memory.allowed = r.rlim_cur;
    if (d->memory.available && d->memory.available < (uint64_t)2 << 30)
        gq_doctor_advise(
            d,
            "less than 2 GiB of memory are available: the real-size model needs about 3 GiB; see "
            "gifqa-train --dry-run");
}

int gq_doctor_limits(gq_doctor_limit *out, int cap)
{
    static const struct {
        const char         *name, *flag;
        __rlimit_resource_t what;
    } all[] = {
        {"open files", "-n", RLIMIT_NOFILE}, {"file size", "-f", RLIMIT_FSIZE},
        {"address space", "-v", RLIMIT_AS},  {"processes", "-u", RLIMIT_NPROC},
        {"CPU seconds", "-t", RLIMIT_CPU},   {"stack", "-s", RLIMIT_STACK},
    };
    enum { N = sizeof all / sizeof all[0] };

    for (int i = 0; i < N && i < cap; i++) {
        struct rlimit r;
        bool          known = getrlimit(all[i].what, &r) == 0 && r.rlim_cur != RLIM_INFINITY;
        out[i] = (gq_doctor_limit){all[i].name, all[i].flag, known ? r.rlim_cur : UINT64_MAX};
    }
    return N;
}

/* ---- disk ------------------------------------------------------------------------------------ */

static gq_status time_small(gq_doctor *d, const char *path, gq_error *err)
{
    static const uint8_t zeros[SMALL];
    gq_status            s = GQ_OK;
    double               t = gq_now();

    for (int i = 0; s == GQ_OK && i < SMALL_FILES; i++)
        s = gq_write_file(path, zeros, sizeof zeros, err);
    d->disk.sync_ms = 1e3 * (gq_now() - t) / SMALL_FILES;
    return s;
}

static gq_status time_large(gq_doctor *d, const char *path, gq_error *err)
{
    uint32_t *data = gq_malloc(LARGE, 1);
    uint32_t  x = 1;
    gq_status s;

    if (!data)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %d bytes", path, LARGE);
    for (int i = 0; i < LARGE / 4; i++) /* nothing that a disk could compress */
        data[i] = x = x * 1664525u + 1013904223u;
    double t = gq_now();
    s = gq_write_file(path, data, LARGE, err);
    t = gq_now() - t;
    d->disk.write_mib_s = t > 0 ? (LARGE >> 20) / t : 0;
    gq_free(data);
    return s;
}

gq_status gq_doctor_disk(gq_doctor *d, const char *dir, bool measure_it, gq_error *err)
{
    gq_status s = gq_free_space(dir, &d->disk.free, err);
    gq_error  write = {0};
    char      name[48];
    char     *path;

    gq_printable(dir, strlen(dir), d->disk.dir, sizeof d->disk.dir);
    if (s != GQ_OK || !measure_it)
        return s;
    if (d->disk.free < 4u * LARGE) {
        gq_doctor_advise(d, "%s has %" PRIu64 " MiB left: too little for shards or checkpoints",
                         d->disk.dir, d->disk.free >> 20);
        return GQ_OK;
    }
    snprintf(name, sizeof name, ".gifqa-doctor-%ld", (long)getpid());
    path = gq_path(dir, name);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    if (time_small(d, path, &write) != GQ_OK || time_large(d, path, &write) != GQ_OK) {
        d->disk.sync_ms = d->disk.write_mib_s = 0;
        gq_doctor_advise(d, "cannot write here: %s", write.text);
    } else if (d->disk.sync_ms > 100) {
        gq_doctor_advise(d,
                         "syncing a small file takes %.0f ms in %s: save checkpoints seldom "
                         "(train.save_every) or "
                         "use a local disk",
                         d->disk.sync_ms, d->disk.dir);
    }
    unlink(path);
    gq_free(path);
    return GQ_OK;
}
