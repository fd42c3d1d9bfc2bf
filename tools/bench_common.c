/* gifqa-bench: what its commands share. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/text.h"
#include "tools/bench.h"

double bench_since_launch(void)
{
    enum { STARTED = 22 }; /* field of /proc/self/stat: clock ticks since boot       */
    struct timespec now;
    gq_bytes        b;
    double          started = 0;

    clock_gettime(CLOCK_BOOTTIME, &now);
    if (gq_read_file("/proc/self/stat", 1 << 16, &b, NULL) == GQ_OK) {
        char *at = memrchr(b.data, ')', b.size); /* the name may hold spaces */
        for (int field = 2; at && field < STARTED; field++)
            at = strchr(at + 1, ' ');
        started = at ? strtod(at, NULL) / (double)sysconf(_SC_CLK_TCK) : 0;
        gq_bytes_free(&b);
    }
    return started > 0 ? (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - started : gq_now();
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, compare_double);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

void bench_fill(float *x, size_t n, uint32_t seed)
{
    uint32_t s = 2 * seed + 1;

    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = ((float)(s >> 8) + 0.5f) * (2.0f / 16777216.0f) - 1.0f;
    }
}

void bench_machine(char *out, size_t size)
{
    gq_bytes b;
    char     name[128] = "unknown processor";

    if (gq_read_file("/proc/cpuinfo", 1 << 20, &b, NULL) == GQ_OK) {
        char *line = strstr((char *)b.data, "model name"), *colon = line ? strchr(line, ':') : NULL;
        if (colon)
            gq_printable(colon + 2, strcspn(colon + 2, "\n"), name, sizeof name);
        gq_bytes_free(&b);
    }
    snprintf(out, size, "%s, %d cores", name, gq_cpu_count());
}
