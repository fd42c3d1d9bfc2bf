#include "train/schedule.h"

#include <math.h>

double gq_learning_rate(const gq_config *c, int64_t step, int64_t total)
{
    int64_t warmup = gq_amount_steps(c->train.warmup, total);
    double  t, floor = c->train.lr_min;

    if (step < warmup)
        return c->train.lr * (double)(step + 1) / (double)warmup;
    t = total > warmup ? (double)(step - warmup) / (double)(total - warmup) : 0.0;
    switch (c->train.schedule) {
    case GQ_CFG_COSINE:
        return c->train.lr *
               (floor + (1.0 - floor) * 0.5 * (1.0 + cos(3.14159265358979323846 * t)));
    case GQ_CFG_LINEAR: return c->train.lr * (1.0 - (1.0 - floor) * t);
    case GQ_CFG_CONSTANT: break;
    }
    return c->train.lr;
}
