/* config_keys.h - every configuration key, once: field, default, range, unit, sentence.
 *
 * A table for inclusion: the file that includes it defines the row macros. Row order is the order of all output.
 * A field is written as in gq_config, and its C name is its YAML name. Defaults are YAML text and go through the
 * same conversion as a user's text. "0 = from ..." keys are resolved by config_rules.c.
 *
 *   GQ_SECTION(name, doc)                  GQ_STR(field, default, unit, doc)
 *   GQ_BOOL(field, default, doc)           GQ_STRS(field, member, unit, doc)
 *   GQ_INT(field, default, lo, hi, unit, doc)   GQ_UINT, GQ_SIZE, GQ_REAL, GQ_REAL3 likewise
 *   GQ_ENUM(field, list, default, doc)     GQ_AMOUNT(field, default, doc)
 *   GQ_MIX(field, doc)                     GQ_LIST(field, fields, doc)
 */

GQ_SECTION("model", "What is trained, and where its parameters come from.")
GQ_ENUM(model.kind, kind, "stllm", "stllm: CLIP, Q-Former and GPT-2 read frames and a question; t5: T5 reads a question "
        "and its context as text, and writes the answer.")
GQ_ENUM(model.init, init, "random", "random: every tower from a seeded random initialisation; weights: the files of "
        "model.weights, and it is an error when one is missing.")
GQ_UINT(model.seed, "1", 0, 0x1p63, "", "Seed of the random initialisation.")
GQ_SECTION("model.weights", "Pretrained weights in safetensors, as published on the Hugging Face hub.")
GQ_STR(model.weights.clip, "", "path", "CLIP: a safetensors file, a sharded index or a directory.")
GQ_STR(model.weights.qformer, "", "path", "BLIP-2 Q-Former: a safetensors file, a sharded index or a directory.")
GQ_STR(model.weights.gpt2, "", "path", "GPT-2: a safetensors file, a sharded index or a directory.")
GQ_STR(model.weights.t5, "", "path", "T5 or FLAN-T5: a safetensors file, a sharded index or a directory.")
GQ_SECTION("model.tokenizer", "Vocabularies. Empty: beside the weights, or the one stored with the data.")
GQ_STR(model.tokenizer.clip, "", "path", "CLIP's BPE: tokenizer.json, vocab.json + merges.txt in a directory, or "
       "bpe_simple_vocab_16e6.txt.gz.")
GQ_STR(model.tokenizer.gpt2, "", "path", "GPT-2's byte-level BPE: tokenizer.json, or a directory with vocab.json and "
       "merges.txt.")
GQ_STR(model.tokenizer.t5, "", "path", "T5's unigram model: spiece.model, tokenizer.json, or a directory with one of "
       "them.")

GQ_SECTION("clip", "The vision tower that reads frames, and the text tower that CLIP-Cut compares them with.")
GQ_ENUM(clip.preset, clip, "vit_b32", "Published sizes; a size given below replaces the preset's. custom: every size "
        "must be given.")
GQ_BOOL(clip.train, "false", "Train the vision tower. false: frozen.")
GQ_BOOL(clip.text, "true", "Build the text tower. CLIP-Cut needs it; a model that reads all frames does not.")
GQ_ENUM(clip.feature, feature, "hidden[-2]", "What the Q-Former reads: hidden[-2] the input of the last block, "
        "hidden[-1] the output of the last block, final all states after the last layer norm.")
GQ_INT(clip.image_size, "0", 0, 4096, "pixels", "Side of the square input. 0 = from the preset.")
GQ_INT(clip.patch, "0", 0, 1024, "pixels", "Side of a patch; divides clip.image_size. 0 = from the preset.")
GQ_INT(clip.width, "0", 0, 16384, "", "Width of the vision tower. 0 = from the preset.")
GQ_INT(clip.layers, "0", 0, 256, "blocks", "Depth of the vision tower. 0 = from the preset.")
GQ_INT(clip.heads, "0", 0, 256, "", "Attention heads; divides clip.width. 0 = from the preset.")
GQ_INT(clip.mlp, "0", 0, 65536, "", "Hidden width of the vision MLP. 0 = 4 times clip.width.")
GQ_INT(clip.text_width, "0", 0, 16384, "", "Width of the text tower. 0 = from the preset.")
GQ_INT(clip.text_layers, "0", 0, 256, "blocks", "Depth of the text tower. 0 = from the preset.")
GQ_INT(clip.text_heads, "0", 0, 256, "", "Attention heads; divides clip.text_width. 0 = from the preset.")
GQ_INT(clip.text_mlp, "0", 0, 65536, "", "Hidden width of the text MLP. 0 = 4 times clip.text_width.")
GQ_INT(clip.vocab, "0", 0, 1048576, "rows", "Text token table. 0 = from the preset.")
GQ_INT(clip.context, "0", 0, 4096, "tokens", "Length of the text. 0 = from the preset.")
GQ_INT(clip.proj, "-1", -1, 16384, "", "Width of the joint image and text space. -1 = from the preset, 0 = no "
       "projections.")
GQ_ENUM(clip.act, act, "quick_gelu", "Activation of both towers: quick_gelu x*sigmoid(1.702x), gelu by erf, "
        "gelu_tanh the tanh form.")
GQ_REAL(clip.ln_eps, "1e-5", 0, 1, "", "Added to the variance in layer norms.")

GQ_SECTION("qformer", "BLIP-2's Q-Former: a fixed number of queries reads each frame's CLIP states.")
GQ_INT(qformer.queries, "32", 1, 1024, "per frame", "Visual tokens that each frame becomes.")
GQ_INT(qformer.width, "768", 1, 16384, "", "Width of the queries.")
GQ_INT(qformer.layers, "12", 1, 256, "blocks", "Depth.")
GQ_INT(qformer.heads, "12", 1, 256, "", "Attention heads; divides qformer.width.")
GQ_INT(qformer.mlp, "0", 0, 65536, "", "Hidden width of the MLP. 0 = 4 times qformer.width.")
GQ_INT(qformer.cross_every, "2", 1, 256, "blocks", "Cross-attention in blocks 0, cross_every, 2 cross_every, ...")
GQ_INT(qformer.encoder_width, "0", 0, 16384, "", "Width of what the cross-attention reads. 0 = 1408 behind an adapter, "
       "else clip.width.")
GQ_ENUM(qformer.bridge, bridge, "adapter", "From CLIP to the Q-Former: adapter a linear map to encoder_width and a "
        "layer norm (keeps every pretrained tensor), reinit_kv a layer norm and new key and value matrices of CLIP's "
        "width, none the states as they are.")
GQ_ENUM(qformer.train, qtrain, "all", "What learns: none, cross only the cross-attention, all. Gradients flow through "
        "in any case.")
GQ_REAL(qformer.ln_eps, "1e-12", 0, 1, "", "Added to the variance in layer norms.")
GQ_REAL(qformer.dropout, "0", 0, 0.99, "probability", "Dropout in training.")

GQ_SECTION("gpt2", "The language model that reads the visual tokens and the question and writes the answer.")
GQ_ENUM(gpt2.preset, gpt2, "124m", "Published sizes; a size given below replaces the preset's. custom: every size must "
        "be given.")
GQ_INT(gpt2.width, "0", 0, 16384, "", "Width. 0 = from the preset.")
GQ_INT(gpt2.layers, "0", 0, 256, "blocks", "Depth. 0 = from the preset.")
GQ_INT(gpt2.heads, "0", 0, 256, "", "Attention heads; divides gpt2.width. 0 = from the preset.")
GQ_INT(gpt2.mlp, "0", 0, 65536, "", "Hidden width of the MLP. 0 = 4 times gpt2.width.")
GQ_INT(gpt2.vocab, "0", 0, 1048576, "rows", "Token table. 0 = from the preset.")
GQ_INT(gpt2.positions, "0", 0, 65536, "rows", "Position table: visual tokens, question, answer and end must fit. 0 = "
       "from the preset.")
GQ_ENUM(gpt2.act, act, "gelu_tanh", "Activation; GPT-2 was trained with gelu_tanh.")
GQ_REAL(gpt2.ln_eps, "1e-5", 0, 1, "", "Added to the variance in layer norms.")
GQ_REAL(gpt2.dropout, "0", 0, 0.99, "probability", "Dropout in training: embeddings, attention, both residual "
        "branches. GPT-2 was trained with 0.1.")
GQ_BOOL(gpt2.bias, "true", "Biases in linear maps and norms.")
GQ_BOOL(gpt2.tied, "true", "The output head is the token table.")

GQ_SECTION("t5", "T5 or FLAN-T5, for model.kind t5: an encoder that reads text and a decoder that writes the answer.")
GQ_ENUM(t5.preset, t5, "t5_base", "Published sizes; a size given below replaces the preset's. custom: every size must "
        "be given.")
GQ_INT(t5.width, "0", 0, 16384, "", "Width. 0 = from the preset.")
GQ_INT(t5.head_width, "0", 0, 1024, "", "Width of an attention head. 0 = from the preset.")
GQ_INT(t5.heads, "0", 0, 256, "", "Attention heads. 0 = from the preset.")
GQ_INT(t5.mlp, "0", 0, 65536, "", "Hidden width of the MLP. 0 = from the preset.")
GQ_INT(t5.layers, "0", 0, 64, "blocks", "Depth of the encoder. 0 = from the preset.")
GQ_INT(t5.decoder_layers, "0", 0, 64, "blocks", "Depth of the decoder. 0 = t5.layers.")
GQ_INT(t5.vocab, "0", 0, 1048576, "rows", "Token table. 0 = from the preset.")
GQ_INT(t5.buckets, "32", 4, 64, "", "Rows of the tables of relative positions; a multiple of 4.")
GQ_INT(t5.far, "128", 3, 65536, "tokens", "Keys about so far away and farther share the last bucket.")
GQ_ENUM(t5.act, t5_act, "preset", "relu between two matrices (version 1.0); gated_gelu: the tanh form times a second "
        "map (version 1.1, FLAN). Of preset custom: relu.")
GQ_ENUM(t5.head, t5_head, "preset", "tied: the token table, states times 1/sqrt(width) (version 1.0); own: a matrix of "
        "its own (version 1.1, FLAN). Of preset custom: tied.")
GQ_REAL(t5.eps, "1e-6", 0, 1, "", "Added to the mean square in RMS norms.")
GQ_REAL(t5.dropout, "0.1", 0, 0.99, "probability", "Dropout in training: embeddings, attention, both sides of every "
        "branch. T5 was trained with 0.1.")

GQ_SECTION("proj", "The linear map from Q-Former states to the language model's width.")
GQ_REAL(proj.init_scale, "1", 1e-6, 1e6, "", "Multiplies the random initialisation of proj.w.")

GQ_SECTION("init", "Random initialisation of parameters that no weight file gives.")
GQ_ENUM(init.scheme, scheme, "hf", "What a parameter gets that no rule matches. hf: as the Hugging Face classes do; "
        "nano: matrices N(0, 1/sqrt(inputs)), residual outputs of ViT and GPT-2 times 1/sqrt(2 layers), biases 0, "
        "norms 1 and 0.")
GQ_LIST(init.rules, rule, "Exceptions by parameter name; the last rule that matches decides.")

GQ_SECTION("prompt", "How a question and its answer become text. Stored with every checkpoint.")
GQ_STR(prompt.template, "Question: {q} Answer:", "text", "What follows the visual tokens; {q} is the question. "
       "Kind t5: the whole text, {c} the context; when not given 'question: {q} context: {c}'.")
GQ_STR(prompt.answer_prefix, " ", "text", "Put before the answer in training and taken off what is generated. "
       "Kind t5, when not given: nothing.")
GQ_INT(prompt.max_question_tokens, "64", 1, 4096, "tokens", "Length of the filled template; longer ones are cut from "
       "the left.")
GQ_INT(prompt.max_answer_tokens, "31", 1, 4096, "tokens", "Length of an answer without the end token; longer ones are "
       "cut.")
GQ_INT(prompt.bucket, "16", 1, 4096, "tokens", "Text is padded to a multiple of this, so that few step shapes serve a "
       "run.")

GQ_SECTION("mvm", "Masked video modelling: the language model reads a masked copy of the visual tokens and its states "
           "at the kept ones are pulled to those of an unmasked pass.")
GQ_BOOL(mvm.enable, "true", "false: one ordinary pass.")
GQ_ENUM(mvm.mode, mvm_mode, "zero", "zero: masked tokens become zero vectors and keep their place; drop: they are "
        "removed from the sequence.")
GQ_ENUM(mvm.rate_dist, rate, "normal_clip", "Masking rate: normal_clip normal(rate_mean, rate_std) clipped to "
        "[rate_lo, rate_hi], fixed rate_mean, uniform over [rate_lo, rate_hi].")
GQ_REAL(mvm.rate_mean, "0.5", 0, 1, "share", "Mean of normal_clip, or the fixed rate.")
GQ_REAL(mvm.rate_std, "0.1", 0, 1, "share", "Standard deviation of normal_clip.")
GQ_REAL(mvm.rate_lo, "0.1", 0, 1, "share", "Lowest rate.")
GQ_REAL(mvm.rate_hi, "0.7", 0, 1, "share", "Highest rate.")
GQ_ENUM(mvm.rate_scope, scope, "batch", "One rate for a batch, or one for each sample.")
GQ_ENUM(mvm.sampler, sampler, "bernoulli", "bernoulli: every token by itself; exact: floor(rate * tokens) at random "
        "places. When not given, drop takes exact.")
GQ_ENUM(mvm.granularity, grain, "token", "token: whole tokens; element: single numbers (mode zero only).")
GQ_ENUM(mvm.pos, pos, "keep", "Positions of the tokens left by drop: keep their own, or compact to 0, 1, 2, ...")
GQ_ENUM(mvm.zero_attn, zattn, "visible", "May other tokens attend to zeroed ones (mode zero): visible, hidden.")
GQ_ENUM(mvm.loss, mvm_loss, "mse", "Distance of the states: mse per element, sse per token, cos of unit vectors.")
GQ_ENUM(mvm.denom, denom, "actual", "Divide by the actual number of kept tokens, or the expected (1 - rate) * tokens.")
GQ_ENUM(mvm.predictor, predict, "none", "linear_ln: the student's states first go through a linear map and a layer "
        "norm.")
GQ_REAL(mvm.weight, "1", 0, 1e6, "", "Factor of this loss beside the answer's cross entropy.")
GQ_BOOL(mvm.teacher_dropout, "false", "Dropout in the unmasked pass.")
GQ_INT(mvm.min_keep, "1", 1, 65536, "tokens", "At least this many visual tokens stay in each sample.")
GQ_AMOUNT(mvm.start, "0", "First masked step.")
GQ_REAL(mvm.prob, "1", 0, 1, "probability", "Share of the steps after mvm.start that are masked.")

GQ_SECTION("clipcut", "CLIP-Cut: the frames of a GIF that lie nearest to the question.")
GQ_INT(clipcut.k, "0", 0, 1024, "frames", "Frames to choose. 0 = data.frames.")
GQ_INT(clipcut.group, "3", 1, 1024, "frames", "Consecutive frames that are scored together.")
GQ_BOOL(clipcut.normalize, "true", "Unit vectors before the L2 distance.")
GQ_ENUM(clipcut.reduce, reduce, "mean", "A group's vector from its frames: mean, max, first.")
GQ_ENUM(clipcut.mode, cutmode, "clip", "clip: the frames nearest to the question; uniform: the middles of k equal "
        "parts, whatever is asked; mix: half of them evenly, the others by nearness.")
GQ_INT(clipcut.apart, "0", 0, 1024, "frames", "Chosen frames are at least so far from each other; halved, and again, "
       "until there are k. 0 or 1 = any distance. Not with mode uniform.")

GQ_SECTION("image", "From a decoded frame to the network's input: resize, scale to 0..1, subtract mean, divide by std.")
GQ_INT(image.size, "0", 0, 4096, "pixels", "Side after the resize. 0 = clip.image_size, and nothing else fits.")
GQ_REAL3(image.mean, "[0.48145466, 0.4578275, 0.40821073]", -10, 10, "R, G, B", "Subtracted.")
GQ_REAL3(image.std, "[0.26862954, 0.26130258, 0.27577711]", 1e-6, 10, "R, G, B", "Divided by.")
GQ_ENUM(image.filter, filter, "bicubic", "Resampling: bicubic as Pillow does it, nearest for pixel art.")

GQ_SECTION("data", "Shards and how they are read.")
GQ_STRS(data.train, path, "path", "Training shards: files or directories.")
GQ_STRS(data.val, path, "path", "Shards for evaluation during training; none: no evaluation.")
GQ_STRS(data.test, path, "path", "Shards that gifqa-eval takes when no other is named.")
GQ_INT(data.max_bad, "100", 0, 1e9, "rows", "Bad rows and GIFs that are skipped and listed before a job gives up.")
GQ_INT(data.workers, "1", 1, 64, "threads", "Reader threads.")
GQ_INT(data.ring, "4", 1, 1024, "batches", "Batches read ahead.")
GQ_ENUM(data.features, source, "auto", "cached: CLIP states stored in the shard; live: pixels through CLIP; auto: "
        "cached when stored and CLIP is frozen.")
GQ_INT(data.frames, "3", 1, 1024, "frames", "Frames per sample that the model sees.")
GQ_SECTION("data.limits", "What a GIF from a stranger may cost. "
           "A GIF beyond a limit is bad data, named with its limit.")
GQ_SIZE(data.limits.bytes, "64MiB", 1, 0x1p40, "bytes", "Size of the file.")
GQ_INT(data.limits.side, "4096", 1, 65535, "pixels", "Width and height of the screen.")
GQ_SIZE(data.limits.pixels, "256Mi", 1, 0x1p48, "pixels", "Decoded pixels of all frames together.")
GQ_INT(data.limits.frames, "4096", 1, 1e6, "frames", "Frames; decoding stops there with a note.")
GQ_REAL(data.limits.seconds, "5", 0.001, 86400, "s", "Processor time of one file.")

GQ_SECTION("train", "The optimiser, its schedule and what happens along the way.")
GQ_INT(train.steps, "0", 0, 1e9, "steps", "Total optimiser steps; a larger value continues a finished run. 0 = from "
       "train.epochs.")
GQ_INT(train.epochs, "3", 1, 1e6, "epochs", "Passes over the training data when train.steps is 0.")
GQ_INT(train.batch, "2", 1, 65536, "samples", "Samples of one forward pass.")
GQ_INT(train.accumulate, "1", 1, 65536, "passes", "Forward and backward passes per optimiser step.")
GQ_UINT(train.seed, "1", 0, 0x1p63, "", "Seed of shuffling, masks and dropout.")
GQ_REAL(train.lr, "5e-5", 0, 10, "", "Peak learning rate of AdamW.")
GQ_REAL(train.lr_min, "0", 0, 1, "share", "Learning rate at the end as a share of train.lr.")
GQ_ENUM(train.schedule, schedule, "cosine", "Shape after the warm-up.")
GQ_AMOUNT(train.warmup, "3%", "Linear warm-up from zero.")
GQ_REAL(train.beta1, "0.9", 0, 0.999999, "", "Decay of AdamW's first moment.")
GQ_REAL(train.beta2, "0.999", 0, 0.999999999, "", "Decay of AdamW's second moment.")
GQ_REAL(train.eps, "1e-8", 1e-30, 1, "", "Added to the root of the second moment.")
GQ_REAL(train.weight_decay, "0.01", 0, 10, "", "Decoupled decay of matrices; vectors have none unless a group says so.")
GQ_REAL(train.clip, "1", 0, 1e9, "", "Largest global gradient norm. 0 = off.")
GQ_LIST(train.groups, group, "Learning rate, decay and freezing by parameter name. Every group that matches applies, a "
        "later one over an earlier one.")
GQ_LIST(train.stages, stage, "Curriculum: what is drawn and what is frozen until a point of the run. After the last "
        "stage everything is.")
GQ_MIX(train.mix, "How often a question kind is drawn, relative to the others; a kind that is not named has 1.")
GQ_INT(train.eval_every, "0", 0, 1e9, "steps", "Steps between evaluations on data.val. 0 = only at the end.")
GQ_INT(train.eval_samples, "0", 0, 1e9, "samples", "Samples of an evaluation at most. 0 = all.")
GQ_INT(train.save_every, "0", 0, 1e9, "steps", "Steps between checkpoints. 0 = only at the end and when stopped.")
GQ_INT(train.keep_last, "2", 1, 1000, "checkpoints", "Newest checkpoints that are kept, besides the best.")
GQ_INT(train.probe, "4", 0, 64, "questions", "Fixed questions whose answers are shown at each evaluation.")
GQ_INT(train.log_every, "10", 1, 1e9, "steps", "Steps between status lines where the output is not a terminal.")
GQ_ENUM(train.checkpoint, policy, "keep", "Activations: keep all for the backward pass, or recompute each segment "
        "(less memory, more time, the same bits).")
GQ_BOOL(train.finite_check, "true", "Check every step for NaN and infinity; the first bad step ends the run.")
GQ_BOOL(train.overfit_batch, "false", "Train on the first batch only: a test that the loss can fall.")

GQ_SECTION("engine", "The machine.")
GQ_STR(engine.device, "auto", "", "Where the run computes: cpu, cuda (the first GPU), cuda:1, ...; auto: a GPU where "
       "there is one.")
GQ_ENUM(engine.backend, backend, "auto", "Kernels: auto the fastest, ref the plain specification, cpu the packed ones.")
GQ_ENUM(engine.cpu, rung, "auto", "Instruction set of the CPU kernels; auto: the best this machine has.")
GQ_ENUM(engine.precision, prec, "auto", "auto: fp32 on a CPU, bf16 on a GPU. bf16 on a CPU: operands of matrix products; "
        "on a GPU: weights and activations, with fp32 masters, gradients of weights, statistics and losses.")
GQ_ENUM(engine.attention, attention, "auto", "Attention on a GPU: own fused kernels, cudnn, unfused (any width and mask); "
        "auto: own where they apply.")
GQ_BOOL(engine.tune, "false", "On a GPU: time the library's candidates for every matrix product once and keep the fastest "
        "in RUN/products.txt. The choice, and so the last bits, may differ between two runs; a resumed run keeps its own.")
GQ_BOOL(engine.graph, "true", "On a GPU: capture a step once and launch it whole; the bits are the same without.")
GQ_INT(engine.threads, "0", 0, 1024, "threads", "Results do not depend on it. 0 = all cores.")
GQ_SIZE(engine.memory_limit, "0", 0, 0x1p60, "bytes", "A plan beyond it is refused before step 1. 0 = none.")

GQ_SECTION("decode", "How answers are generated.")
GQ_INT(decode.max_new_tokens, "16", 1, 4096, "tokens", "Length of an answer.")
GQ_INT(decode.min_new_tokens, "0", 0, 4096, "tokens", "An answer does not end before it has as many.")
GQ_INT(decode.beams, "1", 1, 64, "", "Beam search; 1 = greedy.")
GQ_REAL(decode.length_penalty, "1", -10, 10, "", "A finished beam's score is its log-probability / length^penalty.")
GQ_ENUM(decode.beam_len, beamlen, "generated", "Length in that formula: the generated tokens, or hf_legacy prompt "
        "included.")
GQ_ENUM(decode.early_stopping, early, "false", "When beam search ends: false no better score is likely, true as soon "
        "as enough beams are finished, never only when no better score is possible.")

GQ_SECTION("run", "The run directory.")
GQ_STR(run.dir, "", "path", "Config, logs and checkpoints; usually given as --run-dir.")
