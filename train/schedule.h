/* schedule.h - the learning rate of a step: warm-up, then cosine, linear or constant. */
#ifndef GIFQA_TRAIN_SCHEDULE_H
#define GIFQA_TRAIN_SCHEDULE_H

#include "train/config.h"

/* Rate of step `step` (from 0) of `total`: lr * (step+1)/warmup while warming up, then from lr to lr * lr_min over the
 * rest of the run (cosine: half a wave; linear: a line), or lr throughout. */
double gq_learning_rate(const gq_config *c, int64_t step, int64_t total);

#endif
