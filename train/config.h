/* config.h - the configuration of a run: one plain struct, filled from strict YAML and `--set a.b=c`.
 *
 * Invariants: gq_config is plain data of fixed size (about 100 KiB): copy it with `=`, nothing to free, compare it
 * with gq_config_diff(). One table (config_keys.h) holds every key with type, default, range, unit and sentence;
 * parsing, --help, --explain, the frozen config.yaml and configs/REFERENCE.md are made from it, so they cannot
 * disagree. After gq_config_load() returns GQ_OK every "0 = from ..." key is resolved and every rule that spans
 * keys holds (heads divide width, drop-mode has the exact sampler, ...): readers need no checks of their own.
 *
 * Strictness: an unknown, repeated, wrongly typed or out-of-range key is a problem with file, line, column and the
 * nearest spelling; all problems of a file (up to GQ_PROBLEMS_MAX) are reported at once. Anchors, aliases, tags,
 * directives and second documents are refused. Limits: 1 MiB, depth 32, 10,000 nodes, checked while scanning.
 *
 * Patterns (`match`, `freeze`) are globs over parameter names: '*' matches any run of characters, dots included,
 * '?' one character; core/params.h has the matcher, gq_glob().
 */
#ifndef GIFQA_TRAIN_CONFIG_H
#define GIFQA_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

enum {
    GQ_PATH_MAX = 1024,                 /* bytes of a path, with NUL                              */
    GQ_NAME_MAX = 64,                   /* bytes of a question kind, with NUL                     */
    GQ_GLOB_MAX = 128,                  /* bytes of a pattern, with NUL                           */
    GQ_TEXT_MAX = 256,                  /* bytes of a prompt template, with NUL                   */
    GQ_SHARDS_MAX = 8,                  /* paths in data.train, data.val, data.test each          */
    GQ_KINDS_MAX = 24,                  /* question kinds in a stage or in train.mix              */
    GQ_GROUPS_MAX = 32,                 /* train.groups                                           */
    GQ_STAGES_MAX = 12,                 /* train.stages                                           */
    GQ_FREEZE_MAX = 12,                 /* patterns in one stage                                  */
    GQ_RULES_MAX = 48,                  /* init.rules                                             */
    GQ_PROBLEMS_MAX = 20,               /* problems kept of one load                              */
    GQ_PROBLEM_TEXT = 320,              /* bytes of one problem, with NUL                         */
};

/* ---- enumerations: one list each gives the C names and the YAML names ------------------------------- */

#define GQ_LIST_KIND(X)     X(GQ_CFG_KIND_STLLM, "stllm") X(GQ_CFG_KIND_T5, "t5")
#define GQ_LIST_T5(X)       X(GQ_CFG_T5_CUSTOM, "custom") X(GQ_CFG_T5_SMALL, "t5_small") X(GQ_CFG_T5_BASE, "t5_base") \
                            X(GQ_CFG_T5_LARGE, "t5_large") X(GQ_CFG_FLAN_SMALL, "flan_t5_small") \
                            X(GQ_CFG_FLAN_BASE, "flan_t5_base") X(GQ_CFG_FLAN_LARGE, "flan_t5_large") \
                            X(GQ_CFG_FLAN_XL, "flan_t5_xl")
#define GQ_LIST_T5_ACT(X)   X(GQ_CFG_T5_ACT_PRESET, "preset") X(GQ_CFG_T5_RELU, "relu") \
                            X(GQ_CFG_T5_GATED_GELU, "gated_gelu")
#define GQ_LIST_T5_HEAD(X)  X(GQ_CFG_T5_HEAD_PRESET, "preset") X(GQ_CFG_T5_TIED, "tied") X(GQ_CFG_T5_OWN, "own")
#define GQ_LIST_INIT(X)     X(GQ_CFG_INIT_RANDOM, "random") X(GQ_CFG_INIT_WEIGHTS, "weights")
#define GQ_LIST_CLIP(X)     X(GQ_CFG_CLIP_CUSTOM, "custom") X(GQ_CFG_CLIP_B32, "vit_b32") \
                            X(GQ_CFG_CLIP_B16, "vit_b16") X(GQ_CFG_CLIP_L14, "vit_l14")
#define GQ_LIST_FEATURE(X)  X(GQ_CFG_FEATURE_HIDDEN_2, "hidden[-2]") X(GQ_CFG_FEATURE_HIDDEN_1, "hidden[-1]") \
                            X(GQ_CFG_FEATURE_FINAL, "final")
#define GQ_LIST_ACT(X)      X(GQ_CFG_ACT_QUICK_GELU, "quick_gelu") X(GQ_CFG_ACT_GELU, "gelu") \
                            X(GQ_CFG_ACT_GELU_TANH, "gelu_tanh")
#define GQ_LIST_BRIDGE(X)   X(GQ_CFG_BRIDGE_NONE, "none") X(GQ_CFG_BRIDGE_ADAPTER, "adapter") \
                            X(GQ_CFG_BRIDGE_REINIT_KV, "reinit_kv")
#define GQ_LIST_QTRAIN(X)   X(GQ_CFG_QTRAIN_NONE, "none") X(GQ_CFG_QTRAIN_CROSS, "cross") \
                            X(GQ_CFG_QTRAIN_ALL, "all")
#define GQ_LIST_GPT2(X)     X(GQ_CFG_GPT2_CUSTOM, "custom") X(GQ_CFG_GPT2_124M, "124m") X(GQ_CFG_GPT2_355M, "355m") \
                            X(GQ_CFG_GPT2_774M, "774m") X(GQ_CFG_GPT2_1558M, "1558m")
#define GQ_LIST_SCHEME(X)   X(GQ_CFG_SCHEME_HF, "hf") X(GQ_CFG_SCHEME_NANO, "nano")
#define GQ_LIST_DIST(X)     X(GQ_CFG_DIST_NORMAL, "normal") X(GQ_CFG_DIST_FAN_IN, "fan_in") \
                            X(GQ_CFG_DIST_CONSTANT, "constant") X(GQ_CFG_DIST_ZEROS, "zeros") \
                            X(GQ_CFG_DIST_SINUSOID, "sinusoid")
#define GQ_LIST_PART(X)     X(GQ_CFG_PART_ALL, "all") X(GQ_CFG_PART_FIRST, "first_half") \
                            X(GQ_CFG_PART_SECOND, "second_half")
#define GQ_LIST_MVM_MODE(X) X(GQ_CFG_MVM_ZERO, "zero") X(GQ_CFG_MVM_DROP, "drop")
#define GQ_LIST_RATE(X)     X(GQ_CFG_RATE_NORMAL_CLIP, "normal_clip") X(GQ_CFG_RATE_FIXED, "fixed") \
                            X(GQ_CFG_RATE_UNIFORM, "uniform")
#define GQ_LIST_SCOPE(X)    X(GQ_CFG_SCOPE_BATCH, "batch") X(GQ_CFG_SCOPE_SAMPLE, "sample")
#define GQ_LIST_SAMPLER(X)  X(GQ_CFG_SAMPLER_BERNOULLI, "bernoulli") X(GQ_CFG_SAMPLER_EXACT, "exact")
#define GQ_LIST_GRAIN(X)    X(GQ_CFG_GRAIN_TOKEN, "token") X(GQ_CFG_GRAIN_ELEMENT, "element")
#define GQ_LIST_POS(X)      X(GQ_CFG_POS_KEEP, "keep") X(GQ_CFG_POS_COMPACT, "compact")
#define GQ_LIST_ZATTN(X)    X(GQ_CFG_ZERO_VISIBLE, "visible") X(GQ_CFG_ZERO_HIDDEN, "hidden")
#define GQ_LIST_MVM_LOSS(X) X(GQ_CFG_MVM_MSE, "mse") X(GQ_CFG_MVM_SSE, "sse") X(GQ_CFG_MVM_COS, "cos")
#define GQ_LIST_DENOM(X)    X(GQ_CFG_DENOM_ACTUAL, "actual") X(GQ_CFG_DENOM_EXPECTED, "expected")
#define GQ_LIST_PREDICT(X)  X(GQ_CFG_PREDICT_NONE, "none") X(GQ_CFG_PREDICT_LINEAR_LN, "linear_ln")
#define GQ_LIST_REDUCE(X)   X(GQ_CFG_REDUCE_MEAN, "mean") X(GQ_CFG_REDUCE_MAX, "max") X(GQ_CFG_REDUCE_FIRST, "first")
#define GQ_LIST_CUTMODE(X)  X(GQ_CFG_CUT_CLIP, "clip") X(GQ_CFG_CUT_UNIFORM, "uniform") X(GQ_CFG_CUT_MIX, "mix")
#define GQ_LIST_FILTER(X)   X(GQ_CFG_FILTER_BICUBIC, "bicubic") X(GQ_CFG_FILTER_NEAREST, "nearest")
#define GQ_LIST_SOURCE(X)   X(GQ_CFG_SOURCE_AUTO, "auto") X(GQ_CFG_SOURCE_CACHED, "cached") \
                            X(GQ_CFG_SOURCE_LIVE, "live")
#define GQ_LIST_SCHEDULE(X) X(GQ_CFG_COSINE, "cosine") X(GQ_CFG_LINEAR, "linear") X(GQ_CFG_CONSTANT, "constant")
#define GQ_LIST_POLICY(X)   X(GQ_CFG_POLICY_KEEP, "keep") X(GQ_CFG_POLICY_SEGMENT, "segment")
#define GQ_LIST_ATTENTION(X) X(GQ_CFG_ATTENTION_AUTO, "auto") X(GQ_CFG_ATTENTION_OWN, "own") \
                            X(GQ_CFG_ATTENTION_CUDNN, "cudnn") X(GQ_CFG_ATTENTION_UNFUSED, "unfused")
#define GQ_LIST_BACKEND(X)  X(GQ_CFG_BACKEND_AUTO, "auto") X(GQ_CFG_BACKEND_REF, "ref") X(GQ_CFG_BACKEND_CPU, "cpu")
#define GQ_LIST_RUNG(X)     X(GQ_CFG_RUNG_AUTO, "auto") X(GQ_CFG_RUNG_SCALAR, "scalar") X(GQ_CFG_RUNG_AVX2, "avx2") \
                            X(GQ_CFG_RUNG_AVX512, "avx512") X(GQ_CFG_RUNG_AVX512BF16, "avx512bf16")
#define GQ_LIST_PREC(X)     X(GQ_CFG_PREC_AUTO, "auto") X(GQ_CFG_FP32, "fp32") X(GQ_CFG_BF16, "bf16")
#define GQ_LIST_BEAMLEN(X)  X(GQ_CFG_BEAM_GENERATED, "generated") X(GQ_CFG_BEAM_HF_LEGACY, "hf_legacy")
#define GQ_LIST_EARLY(X)    X(GQ_CFG_EARLY_FALSE, "false") X(GQ_CFG_EARLY_TRUE, "true") X(GQ_CFG_EARLY_NEVER, "never")

#define GQ_ENUM_NAME(name, yaml) name,
typedef enum gq_cfg_kind     { GQ_LIST_KIND(GQ_ENUM_NAME)     } gq_cfg_kind;
typedef enum gq_cfg_t5       { GQ_LIST_T5(GQ_ENUM_NAME)       } gq_cfg_t5;
typedef enum gq_cfg_t5_act   { GQ_LIST_T5_ACT(GQ_ENUM_NAME)   } gq_cfg_t5_act;
typedef enum gq_cfg_t5_head  { GQ_LIST_T5_HEAD(GQ_ENUM_NAME)  } gq_cfg_t5_head;
typedef enum gq_cfg_init     { GQ_LIST_INIT(GQ_ENUM_NAME)     } gq_cfg_init;
typedef enum gq_cfg_clip     { GQ_LIST_CLIP(GQ_ENUM_NAME)     } gq_cfg_clip;
typedef enum gq_cfg_feature  { GQ_LIST_FEATURE(GQ_ENUM_NAME)  } gq_cfg_feature;
typedef enum gq_cfg_act      { GQ_LIST_ACT(GQ_ENUM_NAME)      } gq_cfg_act;
typedef enum gq_cfg_bridge   { GQ_LIST_BRIDGE(GQ_ENUM_NAME)   } gq_cfg_bridge;
typedef enum gq_cfg_qtrain   { GQ_LIST_QTRAIN(GQ_ENUM_NAME)   } gq_cfg_qtrain;
typedef enum gq_cfg_gpt2     { GQ_LIST_GPT2(GQ_ENUM_NAME)     } gq_cfg_gpt2;
typedef enum gq_cfg_scheme   { GQ_LIST_SCHEME(GQ_ENUM_NAME)   } gq_cfg_scheme;
typedef enum gq_cfg_dist     { GQ_LIST_DIST(GQ_ENUM_NAME)     } gq_cfg_dist;
typedef enum gq_cfg_part     { GQ_LIST_PART(GQ_ENUM_NAME)     } gq_cfg_part;
typedef enum gq_cfg_mvm_mode { GQ_LIST_MVM_MODE(GQ_ENUM_NAME) } gq_cfg_mvm_mode;
typedef enum gq_cfg_rate     { GQ_LIST_RATE(GQ_ENUM_NAME)     } gq_cfg_rate;
typedef enum gq_cfg_scope    { GQ_LIST_SCOPE(GQ_ENUM_NAME)    } gq_cfg_scope;
typedef enum gq_cfg_sampler  { GQ_LIST_SAMPLER(GQ_ENUM_NAME)  } gq_cfg_sampler;
typedef enum gq_cfg_grain    { GQ_LIST_GRAIN(GQ_ENUM_NAME)    } gq_cfg_grain;
typedef enum gq_cfg_pos      { GQ_LIST_POS(GQ_ENUM_NAME)      } gq_cfg_pos;
typedef enum gq_cfg_zattn    { GQ_LIST_ZATTN(GQ_ENUM_NAME)    } gq_cfg_zattn;
typedef enum gq_cfg_mvm_loss { GQ_LIST_MVM_LOSS(GQ_ENUM_NAME) } gq_cfg_mvm_loss;
typedef enum gq_cfg_denom    { GQ_LIST_DENOM(GQ_ENUM_NAME)    } gq_cfg_denom;
typedef enum gq_cfg_predict  { GQ_LIST_PREDICT(GQ_ENUM_NAME)  } gq_cfg_predict;
typedef enum gq_cfg_reduce   { GQ_LIST_REDUCE(GQ_ENUM_NAME)   } gq_cfg_reduce;
typedef enum gq_cfg_cutmode  { GQ_LIST_CUTMODE(GQ_ENUM_NAME)  } gq_cfg_cutmode;
typedef enum gq_cfg_filter   { GQ_LIST_FILTER(GQ_ENUM_NAME)   } gq_cfg_filter;
typedef enum gq_cfg_source   { GQ_LIST_SOURCE(GQ_ENUM_NAME)   } gq_cfg_source;
typedef enum gq_cfg_schedule { GQ_LIST_SCHEDULE(GQ_ENUM_NAME) } gq_cfg_schedule;
typedef enum gq_cfg_policy   { GQ_LIST_POLICY(GQ_ENUM_NAME)   } gq_cfg_policy;
typedef enum gq_cfg_attention { GQ_LIST_ATTENTION(GQ_ENUM_NAME) } gq_cfg_attention;
typedef enum gq_cfg_backend  { GQ_LIST_BACKEND(GQ_ENUM_NAME)  } gq_cfg_backend;
typedef enum gq_cfg_rung     { GQ_LIST_RUNG(GQ_ENUM_NAME)     } gq_cfg_rung;
typedef enum gq_cfg_prec     { GQ_LIST_PREC(GQ_ENUM_NAME)     } gq_cfg_prec;
typedef enum gq_cfg_beamlen  { GQ_LIST_BEAMLEN(GQ_ENUM_NAME)  } gq_cfg_beamlen;
typedef enum gq_cfg_early    { GQ_LIST_EARLY(GQ_ENUM_NAME)    } gq_cfg_early;

#define GQ_UNSET (-1.0)                 /* a number of a group that the group does not set        */

/* ---- compound values -------------------------------------------------------------------------------- */

typedef struct gq_amount {     /* a point or length of the run: "300" steps, "0.03" or "3%" of it */
    double value;                       /* steps, or fraction in 0..1                             */
    bool   fraction;                    /* true: of train.steps                                   */
} gq_amount;

typedef struct gq_paths {               /* one path or a list                                     */
    size_t n;                           /* paths                                                  */
    char   path[GQ_SHARDS_MAX][GQ_PATH_MAX];
} gq_paths;

typedef struct gq_kinds {               /* question kinds; n = 0 means all                        */
    size_t n;                           /* names                                                  */
    char   name[GQ_KINDS_MAX][GQ_NAME_MAX];
} gq_kinds;

typedef struct gq_mix {      /* how often a question kind is drawn; a kind not named has weight 1 */
    size_t n;                           /* names                                                  */
    char   name[GQ_KINDS_MAX][GQ_NAME_MAX];
    double weight[GQ_KINDS_MAX];        /* >= 0, relative                                         */
} gq_mix;

typedef struct gq_group {          /* all groups that match a parameter apply, later over earlier */
    char   match[GQ_GLOB_MAX];          /* glob                                                   */
    double lr_mult;                     /* times train.lr; GQ_UNSET: not set by this group        */
    double decay;               /* weight decay, also of vectors; GQ_UNSET: not set by this group */
    int    frozen;                      /* 1 frozen, 0 trained, -1 not set by this group          */
} gq_group;
typedef struct gq_groups { size_t n; gq_group item[GQ_GROUPS_MAX]; } gq_groups;

typedef struct gq_patterns { size_t n; char glob[GQ_FREEZE_MAX][GQ_GLOB_MAX]; } gq_patterns;

typedef struct gq_stage {               /* holds from the end of the stage before until `until`   */
    gq_amount   until;          /* steps or fraction of the run; after the last stage: everything */
    gq_kinds    kinds;                  /* draw only these kinds; n = 0: all                      */
    gq_patterns freeze;                 /* frozen during this stage, besides the groups' frozen   */
} gq_stage;
typedef struct gq_stages { size_t n; gq_stage item[GQ_STAGES_MAX]; } gq_stages;

typedef struct gq_rule {        /* initialisation; the last rule that matches a parameter decides */
    char        match[GQ_GLOB_MAX];     /* glob                                                   */
    gq_cfg_dist dist;                   /* normal: N(0, scale); fan_in: N(0, scale / sqrt(inputs));
                                           constant: scale; zeros; sinusoid: scale * sqrt(2) * sin | cos */
    double      scale;                  /* see dist; default 1                                    */
    double      base;            /* sinusoid: pair i of columns turns base^(-2i/width) a position */
    gq_cfg_part part;                   /* which half of the outputs: kv tensors hold k, then v, T5's qkv
                                           q, then k and v; the other half stays with the rule before    */
} gq_rule;
typedef struct gq_rules { size_t n; gq_rule item[GQ_RULES_MAX]; } gq_rules;

/* ---- the configuration ------------------------------------------------------------------------------ */

typedef struct gq_config {
    struct {
        gq_cfg_kind kind;               /* stllm: frames and a question; t5: a text               */
        gq_cfg_init init;               /* random: seeded; weights: model.weights.* are required  */
        uint64_t    seed;               /* of the random initialisation                           */
        struct {                        /* "" = not given                                         */
            char clip[GQ_PATH_MAX];     /* safetensors file, sharded index or directory           */
            char qformer[GQ_PATH_MAX];  /* the same                                               */
            char gpt2[GQ_PATH_MAX];     /* the same                                               */
            char t5[GQ_PATH_MAX];       /* the same                                               */
        } weights;
        struct {                        /* "" = beside the weights, or in the shard               */
            char clip[GQ_PATH_MAX];     /* directory or file                                      */
            char gpt2[GQ_PATH_MAX];     /* the same                                               */
            char t5[GQ_PATH_MAX];       /* the same                                               */
        } tokenizer;
    } model;

    struct {
        gq_cfg_clip    preset;          /* base for the sizes below                               */
        bool           train;           /* false: frozen                                          */
        bool           text;            /* build the text tower (CLIP-Cut needs it)               */
        gq_cfg_feature feature;         /* what the Q-Former reads                                */
        int64_t        image_size;      /* pixels, square                                         */
        int64_t        patch;           /* pixels, square; divides image_size                     */
        int64_t        width;           /* vision                                                 */
        int64_t        layers;          /* vision blocks                                          */
        int64_t        heads;           /* vision; divides width                                  */
        int64_t        mlp;             /* vision hidden width                                    */
        int64_t        text_width;
        int64_t        text_layers;     /* blocks                                                 */
        int64_t        text_heads;      /* divides text_width                                     */
        int64_t        text_mlp;        /* hidden width                                           */
        int64_t        vocab;           /* rows of the text token table                           */
        int64_t        context;         /* text tokens                                            */
        int64_t        proj;            /* width of the joint space; 0 = no projection (nano)     */
        gq_cfg_act     act;             /* both towers                                            */
        double         ln_eps;
    } clip;

    struct {
        int64_t       queries;          /* per frame                                              */
        int64_t       width;
        int64_t       layers;           /* blocks                                                 */
        int64_t       heads;            /* divides width                                          */
        int64_t       mlp;              /* hidden width                                           */
        int64_t       cross_every;      /* cross-attention in layers 0, cross_every, 2 * cross_every ... */
        int64_t       encoder_width;    /* width of keys' and values' input; resolved, never 0    */
        gq_cfg_bridge bridge;           /* adapter: clip.width -> encoder_width + LN              */
        gq_cfg_qtrain train;            /* which parts learn                                      */
        double        ln_eps;
        double        dropout;          /* probability                                            */
    } qformer;

    struct {
        gq_cfg_gpt2 preset;             /* base for the sizes below                               */
        int64_t     width;
        int64_t     layers;             /* blocks                                                 */
        int64_t     heads;              /* divides width                                          */
        int64_t     mlp;                /* hidden width; resolved, never 0                        */
        int64_t     vocab;              /* rows of wte                                            */
        int64_t     positions;          /* rows of wpe                                            */
        gq_cfg_act  act;
        double      ln_eps;
        double      dropout;            /* probability                                            */
        bool        bias;               /* biases in linears and norms                            */
        bool        tied;               /* head = wte                                             */
    } gpt2;

    struct {
        gq_cfg_t5      preset;          /* base for what follows                                  */
        int64_t        width;
        int64_t        head_width;
        int64_t        heads;
        int64_t        mlp;             /* hidden width                                           */
        int64_t        layers;          /* of the encoder                                         */
        int64_t        decoder_layers;  /* resolved, never 0                                      */
        int64_t        vocab;           /* rows of the token table                                */
        int64_t        buckets;         /* of relative positions                                  */
        int64_t        far;             /* distance about which the last bucket begins            */
        gq_cfg_t5_act  act;             /* resolved, never preset                                 */
        gq_cfg_t5_head head;            /* resolved, never preset                                 */
        double         eps;
        double         dropout;         /* probability                                            */
    } t5;

    struct {
        double init_scale;              /* multiplies the standard deviation of proj.w at init    */
    } proj;

    struct {
        gq_cfg_scheme scheme;           /* what a parameter gets that no rule matches             */
        gq_rules      rules;
    } init;

    struct {
        char    template[GQ_TEXT_MAX];  /* holds {q} once; kind t5: {c} at most once              */
        char    answer_prefix[GQ_TEXT_MAX];
        int64_t max_question_tokens; /* of the filled template; longer ones are cut from the left */
        int64_t max_answer_tokens;      /* without the end token                                  */
        int64_t bucket;               /* text lengths are padded up to a multiple of this, tokens */
    } prompt;

    struct {
        bool            enable;
        gq_cfg_mvm_mode mode;
        gq_cfg_rate     rate_dist;
        double          rate_mean;      /* normal_clip: mean; fixed: the rate                     */
        double          rate_std;       /* normal_clip                                            */
        double          rate_lo;        /* normal_clip, uniform                                   */
        double          rate_hi;        /* normal_clip, uniform                                   */
        gq_cfg_scope    rate_scope;
        gq_cfg_sampler  sampler;
        gq_cfg_grain    granularity;
        gq_cfg_pos      pos;
        gq_cfg_zattn    zero_attn;
        gq_cfg_mvm_loss loss;
        gq_cfg_denom    denom;
        gq_cfg_predict  predictor;
        double          weight;         /* lambda                                                 */
        bool            teacher_dropout;
        int64_t         min_keep;       /* visual tokens kept in each sample at least             */
        gq_amount       start;          /* first masked step                                      */
        double          prob;           /* probability that a step after start is masked          */
    } mvm;

    struct {
        int64_t       k;                /* frames to choose; resolved, never 0                    */
        int64_t       group;            /* consecutive frames scored together                     */
        bool          normalize;        /* unit vectors before the distance                       */
        gq_cfg_reduce reduce;           /* group vector of its frames                             */
        gq_cfg_cutmode mode;            /* data/clipcut.h                                         */
        int64_t       apart;            /* frames between two chosen ones; 0: any                 */
    } clipcut;

    struct {
        int64_t       size;             /* pixels; resolved, equals clip.image_size               */
        double        mean[3];          /* R, G, B in 0..1                                        */
        double        std[3];           /* R, G, B in 0..1                                        */
        gq_cfg_filter filter;
    } image;

    struct {
        gq_paths      train;            /* shard files or directories                             */
        gq_paths      val;              /* n = 0: no evaluation during training                   */
        gq_paths      test;
        int64_t       max_bad;          /* bad rows and GIFs accepted before exit 4               */
        int64_t       workers;          /* reader threads                                         */
        int64_t       ring;             /* batches read ahead                                     */
        gq_cfg_source features;         /* cached: stored CLIP states; live: pixels through CLIP  */
        int64_t       frames;           /* frames per sample                                      */
        struct {
            uint64_t bytes;             /* of one GIF file                                        */
            int64_t  side;              /* pixels, screen width and height                        */
            uint64_t pixels;            /* decoded pixels per file, all frames                    */
            int64_t  frames;            /* then stop with a note                                  */
            double   seconds;           /* CPU time per file                                      */
        } limits;
    } data;

    struct {
        int64_t         steps;          /* total optimiser steps; 0 = from epochs                 */
        int64_t         epochs;         /* used when steps = 0                                    */
        int64_t         batch;          /* samples of one forward                                 */
        int64_t         accumulate;     /* forwards per optimiser step                            */
        uint64_t        seed;           /* shuffling, masks, dropout                              */
        double          lr;             /* peak                                                   */
        double          lr_min;         /* at the end, fraction of lr                             */
        gq_cfg_schedule schedule;
        gq_amount       warmup;
        double          beta1, beta2;
        double          eps;
        double          weight_decay;   /* of matrices; vectors have none unless a group says so  */
        double          clip;           /* global gradient norm; 0 = off                          */
        gq_groups       groups;
        gq_stages       stages;
        gq_mix          mix;
        int64_t         eval_every;     /* steps; 0 = only at the end                             */
        int64_t         eval_samples;   /* at most; 0 = all                                       */
        int64_t         save_every;     /* steps; 0 = only at the end                             */
        int64_t         keep_last;      /* checkpoints besides the best                           */
        int64_t         probe;          /* fixed questions answered at each evaluation            */
        int64_t         log_every;      /* steps between plain status lines                       */
        gq_cfg_policy   checkpoint;     /* activations: keep all, or recompute per block          */
        bool            finite_check;   /* every step                                             */
        bool            overfit_batch;  /* always the first batch                                 */
    } train;

    struct {
        char           device[32];      /* "auto", "cpu", "cuda", "cuda:1"                        */
        gq_cfg_backend backend;
        gq_cfg_rung    cpu;             /* instruction set of the CPU kernels                     */
        gq_cfg_prec    precision;       /* CPU: operands of matrix products; GPU: activations too */
        gq_cfg_attention attention;     /* on a GPU: which kernels                                */
        bool           tune;            /* on a GPU: time the library's ways to multiply          */
        bool           graph;           /* on a GPU: a step is captured once, then launched whole */
        int64_t        threads;         /* 0 = all cores                                          */
        uint64_t       memory_limit;    /* bytes; 0 = none                                        */
    } engine;

    struct {
        int64_t        max_new_tokens;
        int64_t        min_new_tokens;  /* of an answer, before it may end                        */
        int64_t        beams;           /* 1 = greedy                                             */
        double         length_penalty;
        gq_cfg_beamlen beam_len;
        gq_cfg_early   early_stopping;
    } decode;

    struct {
        char dir[GQ_PATH_MAX];          /* "" = must be given as --run-dir                        */
    } run;
} gq_config;

/* ---- loading ---------------------------------------------------------------------------------------- */

typedef struct gq_problem {
    int  line, column;                  /* from 1; 0 for an override or a rule that spans keys    */
    char text[GQ_PROBLEM_TEXT];         /* "configs/x.yaml:3:5: unknown key 'trian'; did you mean 'train'?" */
} gq_problem;

typedef struct gq_problems {
    size_t     n;                       /* kept in item                                           */
    size_t     more;                    /* found beyond GQ_PROBLEMS_MAX (a lower bound)           */
    gq_problem item[GQ_PROBLEMS_MAX];
} gq_problems;

/* The number of the GPU that engine.device names: "cuda:N" N, "cuda" 0; -1: cpu, auto, or no such name. */
int       gq_config_gpu(const char *device);

/* Defaults, then the file (NULL: none), then the overrides "a.b=c" in order, then resolution and the rules between
 * keys. GQ_ECONFIG with every problem in `problems` (may be NULL) and as many as fit in err->text, one a line. */
gq_status gq_config_load(const char *path, const char *const *overrides, size_t n_overrides, gq_config *out,
                         gq_problems *problems, gq_error *err);
/* The same from text; `name` stands for the file in messages. */
gq_status gq_config_parse(const char *name, const char *text, size_t bytes, const char *const *overrides,
                          size_t n_overrides, gq_config *out, gq_problems *problems, gq_error *err);

/* ---- showing ---------------------------------------------------------------------------------------- */

/* Every key with its value as commented YAML; loading the text again gives the same bits. */
gq_status gq_config_write(const gq_config *c, FILE *f, gq_error *err);
/* Calls show(ctx, key, value in a, value in b) for every key that differs, in table order; returns how many. */
typedef void (*gq_diff_fn)(void *ctx, const char *key, const char *a, const char *b);
size_t    gq_config_diff(const gq_config *a, const gq_config *b, gq_diff_fn show, void *ctx);
/* One line a key: name, type, default. */
gq_status gq_config_help(FILE *f, gq_error *err);
/* Everything about one key or section; GQ_EUSAGE with the nearest spelling when there is none. */
gq_status gq_config_explain(const char *key, FILE *f, gq_error *err);
/* configs/REFERENCE.md. */
gq_status gq_config_reference(FILE *f, gq_error *err);

/* ---- small helpers of readers ------------------------------------------------------------------------ */

/* steps that an amount means in a run of `total` steps, rounded to the nearest */
int64_t gq_amount_steps(gq_amount a, int64_t total);
/* weight of a question kind in a mix; 1 when not named */
double  gq_mix_weight(const gq_mix *m, const char *kind);
bool    gq_kinds_has(const gq_kinds *k, const char *kind);           /* true for an empty list    */

#endif
