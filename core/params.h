/* params.h - the registry of parameters: names, shapes, initialisation, groups, and their flat
 * arenas.
 *
 * Life: declare (gq_params_add) -> set trainable, lr_mult, decay -> gq_params_seal() allocates
 * PARAM and STATE -> initialise or load. Layout: trainable parameters first, in reverse order of
 * declaration (so gradients become final from one end of the arena to the other), frozen ones after
 * them, without STATE. Every parameter starts at a multiple of 64 bytes; gaps are zero and stay
 * zero. Offsets count elements. PARAM holds the backend's real, STATE its stat; where real is the
 * coarser of the two (bfloat16) STATE also holds the master weights that PARAM is a rounding of.
 */
#ifndef GIFQA_CORE_PARAMS_H
#define GIFQA_CORE_PARAMS_H

#include <stdbool.h>

#include "core/engine.h"

typedef enum gq_init_dist { GQ_INIT_ZERO, GQ_INIT_CONST, GQ_INIT_NORMAL, GQ_INIT_SINUSOID } gq_init_dist;

typedef struct gq_init {
    gq_init_dist dist;
    double       value;          /* constant; standard deviation; amplitude of the sinusoid table */
    double       second;        /* value of the rows from `split` on (packed k|v, q|k|v); 0: the same */
    int64_t      split;                 /* first of them; 0: the second half                      */
    double       base;                  /* sinusoid: wavelength base (200 in the nano recipe)     */
} gq_init;

typedef struct gq_param {
    char    *name;                      /* "gpt2.h.3.mlp.fc1.w"                                   */
    int32_t  rank;
    int64_t  shape[GQ_MAX_RANK];
    int64_t  n;                         /* elements                                               */
    int64_t  offset;               /* elements from the start of PARAM (and STATE when trainable) */
    gq_init  init;
    bool     trainable;                 /* has STATE                                              */
    bool     active;               /* trained now (stages may freeze a trainable one for a while) */
    bool     loaded;                    /* values came from a file                                */
    bool     released;                  /* its memory went back: no tape may read it              */
    double   lr_mult, decay;            /* times the learning rate; decoupled weight decay        */
} gq_param;

typedef struct gq_params {
    gq_engine *engine;
    gq_param  *param;                   /* [count], order of declaration                          */
    int32_t    count, capacity;
    int32_t   *index;                 /* open-addressing hash of names: param number + 1, 0 empty */
    uint32_t   index_size;              /* power of two                                           */
    int64_t    trainable_n;             /* elements of the trainable part, with gaps              */
    int64_t    total_n;                 /* elements of PARAM                                      */
    gq_arena   weights;                 /* PARAM                                                  */
    gq_arena   grad, m, v;              /* STATE                                                  */
    gq_arena   master;                  /* STATE, where stat is finer than real                   */
    size_t     released_bytes;          /* of PARAM                                               */
    struct gq_update_state *update;     /* of gq_params_update_open(), NULL without               */
    bool       sealed;
} gq_params;

gq_status gq_params_new(gq_engine *e, gq_params **out, gq_error *err);
void      gq_params_free(gq_params *p);                      /* NULL allowed                      */

/* Declares a parameter; a second declaration of a name must have the same shape and is ignored
 * (ties). */
gq_status gq_params_add(gq_params *p, const char *name, gq_init init, int rank, const int64_t *shape, gq_error *err);
gq_param *gq_params_find(const gq_params *p, const char *name);      /* NULL: no such parameter   */

bool      gq_glob(const char *pattern, const char *name);   /* '*' any run of characters, '?' one */

/* with_state: false for inference; the layout is the same, only STATE is not there. */
gq_status gq_params_seal(gq_params *p, bool with_state, gq_error *err);
/* Fills every parameter that was not loaded from its init rule; a pure function of (seed, name,
 * element), so adding a parameter changes no other. */
gq_status gq_params_init(gq_params *p, uint64_t seed, gq_error *err);

/* Gives back the memory of frozen parameters whose names match (gq_glob) and that no tape of this
 * process will read; recording one afterwards is an error. Their values are gone. */
void      gq_params_release(gq_params *p, const char *pattern);

/* Where kernels work: real[n], and stat[n]. */
void     *gq_param_data(const gq_params *p, const gq_param *q);
void     *gq_param_grad(const gq_params *p, const gq_param *q);      /* NULL: frozen, or no STATE */

/* The arrays of a parameter as the host sees them, in stat: weights (the masters where there are any),
 * gradient and moments (of trainable ones with STATE). */
typedef enum gq_param_part { GQ_WEIGHT, GQ_GRADIENT, GQ_MOMENT1, GQ_MOMENT2 } gq_param_part;
/* The array itself when the host can use it in place, else NULL: gq_param_read() into memory of one's own. */
void     *gq_param_view(const gq_params *p, const gq_param *q, gq_param_part part);
void      gq_param_read(const gq_params *p, const gq_param *q, gq_param_part part, int64_t first, void *dst, int64_t n);
void      gq_param_write(gq_params *p, gq_param *q, gq_param_part part, int64_t first, const void *src, int64_t n);
void      gq_param_set_f32(gq_params *p, gq_param *q, int64_t first, const float *src, int64_t n);
void      gq_param_get_f32(const gq_params *p, const gq_param *q, int64_t first, float *dst, int64_t n);

typedef struct gq_adamw_opts { double lr, beta1, beta2, eps, clip; } gq_adamw_opts;   /* clip 0: none     */
/* Global gradient norm over the trainable part (inactive parameters have zero gradients). */
double    gq_params_grad_norm(gq_params *p);
/* The same norm and step, and nothing of the host in between, where the backend offers it
 * (backend->update). open() builds the table of active parameters and reserves what the update needs;
 * set() sends the scalars of step t; run() starts it after what was started before and may be captured;
 * norm() asks for the last norm in page-locked memory, there once the work so far is done. loss: stat [1] where
 * kernels work; when it or the norm is not finite nothing changes, in no later update either before again().
 * open() again when other parameters are active. */
gq_status gq_params_update_open(gq_params *p, gq_error *err);
void      gq_params_update_set(gq_params *p, const gq_adamw_opts *o, int64_t t);
void      gq_params_update_run(gq_params *p, const void *loss);
void      gq_params_update_norm(gq_params *p, double *norm);
void      gq_params_update_again(gq_params *p);
/* One AdamW step number t (from 1) with gradients scaled by min(1, clip / (norm + 1e-6)). */
void      gq_params_adamw(gq_params *p, const gq_adamw_opts *o, int64_t t, double norm);

#endif
