/* bf16.h - bfloat16 on the host: the upper half of a float. */
#ifndef GIFQA_CORE_BF16_H
#define GIFQA_CORE_BF16_H

#include <stdint.h>
#include <string.h>

static inline float gq_bf16_to_f32(uint16_t bits)            /* exact                             */
{
    uint32_t u = (uint32_t)bits << 16;
    float    f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* To the nearest, ties to even; NaN stays NaN. */
static inline uint16_t gq_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

#endif
