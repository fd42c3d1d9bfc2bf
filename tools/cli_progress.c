/* How far a long command is, on stderr. */
#include "tools/cli_progress.h"

#include <math.h>

#include "core/io.h"

enum { PLAIN_EVERY_S = 10 };

static void eta(double seconds, char *out, size_t size)
{
    long s = isfinite(seconds) && seconds >= 0 && seconds < 1e8 ? lround(seconds) : -1;

    if (s < 0)
        snprintf(out, size, "?");
    else if (s < 3600)
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

bool gq_cli_progress_show(void *progress, const gq_progress *p)
{
    gq_cli_progress *g = progress;
    bool              tty = gq_cli_tty(stderr), last = p->done == p->total;
    double            now = gq_now();
    char              left[32], bad[48] = "";

    if (g->last_s == 0)
        g->last_s = now;
    if (!tty && !last && now - g->last_s < PLAIN_EVERY_S)
        return !gq_cli_stop;
    g->last_s = now;
    if (p->rejected)
        snprintf(bad, sizeof bad, ", %llu bad", (unsigned long long)p->rejected);
    eta(p->eta_s, left, sizeof left);
    fprintf(stderr, "%s%s: %llu/%llu %s%s, %.1f/s, ETA %s%s", tty ? "\r" : "", g->what,
            (unsigned long long)p->done, (unsigned long long)p->total, g->unit, bad, p->rate, left,
            tty ? "\033[K" : "\n");
    g->drawn = tty;
    return !gq_cli_stop;
}

void gq_cli_progress_end(gq_cli_progress *g)
{
    if (g->drawn)
        fputc('\n', stderr);
    g->drawn = false;
}
