/* train_yaml.h - the configuration of the training tests. */
#ifndef GIFQA_TESTS_TRAIN_YAML_H
#define GIFQA_TESTS_TRAIN_YAML_H

/* Sizes of a model of some thousand parameters on the frames of little.h. */
static const char yaml[] =
    "clip:\n"
    "  {preset: custom, train: true, text: false, feature: \"hidden[-1]\", image_size: 12, patch: "
    "4,\n"
    "   width: 8, layers: 1, heads: 2, mlp: 12, proj: 0}\n"
    "qformer: {queries: 2, width: 8, layers: 1, heads: 2, mlp: 12, bridge: none}\n"
    "gpt2: {preset: custom, width: 12, layers: 2, heads: 2, mlp: 16, vocab: 64, positions: 24}\n"
    "prompt: {template: \"{q}\", max_question_tokens: 13, max_answer_tokens: 2, bucket: 16}\n"
    "mvm: {prob: 0.5}\n"
    "image: {filter: nearest}\n"
    "data: {train: train, val: test, frames: 3}\n"
    "train: {batch: 4, steps: 30, lr: 0.01, warmup: 2, save_every: 2, eval_every: 10, probe: 1}\n"
    "engine: {threads: 1}\n"
    "decode: {max_new_tokens: 2}\n";

#endif
