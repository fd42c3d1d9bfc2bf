/* clipcut.h - CLIP-Cut where the embeddings are: which k frames lie nearest to a question (data/clipcut.h
 * says what is chosen, in its mode clip with any distance in time). Not an op of a tape. For C and C++.
 *
 * The choice, and every distance, is bit for bit that of gq_clipcut_select(): doubles, sums in index order, no
 * fused multiply-add. Near ties are the rule here (an animation repeats frames), so "almost the same
 * distance" would choose other frames.
 */
#ifndef GIFQA_KERNELS_CUDA_CLIPCUT_H
#define GIFQA_KERNELS_CUDA_CLIPCUT_H

#include "kernels/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All pointers are to memory of the device. */
typedef struct gq_cuda_clipcut_call {
    const float *frames, *question;     /* [n,dim], [dim] CLIP embeddings                         */
    int64_t      n, dim;                /* at least 1                                             */
    int32_t      k, group;              /* frames to choose; consecutive frames scored together; at least 1 */
    int32_t      normalize, reduce;     /* as in gq_clipcut_opts; reduce: a gq_clipcut_reduce     */
    int32_t     *frame;                 /* [k] result: indices, ascending, the last repeated when n < k */
    int32_t     *bad;                   /* [1] result: -1: none; n: the question, else the first frame whose embedding
                                         * has no direction or is not finite; then frame[] means nothing */
    double      *frame_distance;        /* [n] result, L2                                         */
    double      *group_distance;        /* [(n-1)/group+1] result                                 */
    void        *temp;                  /* gq_cuda_clipcut_temp() bytes, 64-byte aligned          */
} gq_cuda_clipcut_call;

size_t gq_cuda_clipcut_temp(int64_t n, int64_t dim, int32_t group);

/* Starts it on the device of a CUDA backend, in the order of its work; does not wait. */
void gq_cuda_clipcut(gq_device *device, const gq_cuda_clipcut_call *c);

#ifdef __cplusplus
}
#endif
#endif
