#include "data/progress.h"

#include "core/io.h"

bool gq_tick(gq_ticker *t, uint64_t done, uint64_t rejected)
{
    double now = gq_now();
    if (t->start_s == 0)
        t->start_s = now;
    if (!t->fn || (done < t->total && now - t->last_s < 0.2))
        return true;
    t->last_s = now;

    double      spent = now - t->start_s;
    gq_progress p = {done, t->total, rejected, 0, -1};
    if (done > t->skipped && spent > 0) {
        p.rate = (double)(done - t->skipped) / spent;
        p.eta_s = (double)(t->total - done) / p.rate;
    }
    return t->fn(t->ctx, &p);
}
