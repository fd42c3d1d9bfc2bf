/* act.h - the activations of `linear` and `glu` and their derivatives, by vector. Private to
 * kernels/cpu. */
#ifndef GIFQA_CPU_ACT_H
#define GIFQA_CPU_ACT_H

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

#define GQ_SQRT_2_PI 0.797884561f       /* sqrt(2/pi)                                             */

/* 0.5 (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3))), which is a sigmoid */
GQ_INLINE vf gelu_tanh_gate(vf u)
{
    vf z = u * vfma(u * u, vset(2 * GQ_SQRT_2_PI * 0.044715f), vset(2 * GQ_SQRT_2_PI));
    return vsigmoid(z);
}

GQ_INLINE vf act_value(int act, vf u)
{
    switch (act) {
    case GQ_GELU: return u * vphi(u);
    case GQ_GELU_TANH: return u * gelu_tanh_gate(u);
    case GQ_QUICK_GELU: return u * vsigmoid(1.702f * u);
    case GQ_RELU: return vselect(u < 0.0f, vset(0.0f), u);
    default: return u;
    }
}

GQ_INLINE vf act_slope(int act, vf u)
{
    vf s;
    switch (act) {
    case GQ_GELU: return vfma(u, vexp(-0.5f * u * u) * 0.398942280f, vphi(u));
    case GQ_GELU_TANH:
        s = gelu_tanh_gate(u);
        return vfma(u * s * (1.0f - s),
                    vfma(u * u, vset(6 * GQ_SQRT_2_PI * 0.044715f), vset(2 * GQ_SQRT_2_PI)), s);
    case GQ_QUICK_GELU:
        s = vsigmoid(1.702f * u);
        return vfma(1.702f * u * s, 1.0f - s, s);
    case GQ_RELU: return vselect(u > 0.0f, vset(1.0f), vset(0.0f));
    default: return vset(1.0f);
    }
}

#endif
