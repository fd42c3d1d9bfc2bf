#include "train/export_parts.h"

#include <inttypes.h>

static const char *act_name(gq_cfg_act a)
{
    switch (a) {
    case GQ_CFG_ACT_GELU:
        return "gelu";
    case GQ_CFG_ACT_GELU_TANH:
        return "gelu_new";
    case GQ_CFG_ACT_QUICK_GELU:
        return "quick_gelu";
    }
    return "gelu";
}

/* ---- CLIP ------------------------------------------------------------------------------------ */

static json_t *vision_config(const gq_config *c, int64_t proj)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:s, s:f, s:f, s:I}", "model_type",
                     "clip_vision_model", "hidden_size", (json_int_t)c->clip.width,
                     "intermediate_size", (json_int_t)c->clip.mlp, "num_hidden_layers",
                     (json_int_t)c->clip.layers, "num_attention_heads", (json_int_t)c->clip.heads,
                     "image_size", (json_int_t)c->clip.image_size, "patch_size",
                     (json_int_t)c->clip.patch, "num_channels", 3, "hidden_act",
                     act_name(c->clip.act), "layer_norm_eps", c->clip.ln_eps, "attention_dropout",
                     0.0, "projection_dim", (json_int_t)proj);
}

static json_t *text_config(const gq_config *c)
{
    json_int_t end =
        (json_int_t)c->clip.vocab - 1; /* <|endoftext|>, the last token of CLIP's table */
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:I, s:I, s:I, s:I}",
                     "model_type", "clip_text_model", "hidden_size", (json_int_t)c->clip.text_width,
                     "intermediate_size", (json_int_t)c->clip.text_mlp, "num_hidden_layers",
                     (json_int_t)c->clip.text_layers, "num_attention_heads",
                     (json_int_t)c->clip.text_heads, "vocab_size", (json_int_t)c->clip.vocab,
                     "max_position_embeddings", (json_int_t)c->clip.context, "hidden_act",
                     act_name(c->clip.act), "layer_norm_eps", c->clip.ln_eps, "attention_dropout",
                     0.0, "projection_dim", (json_int_t)c->clip.proj, "bos_token_id", end - 1,
                     "eos_token_id", end, "pad_token_id", end);
}

json_t *gq_export_clip(const gq_config *c)
{
    json_t *o;

    if (!c->clip.text) {
        o = vision_config(c, c->clip.proj ? c->clip.proj : c->clip.width);
        if (o)
            json_object_set_new(o, "architectures",
                                json_pack("[s]", c->clip.proj ? "CLIPVisionModelWithProjection"
                                                              : "CLIPVisionModel"));
        return o;
    }
    return json_pack("{s:[s], s:s, s:I, s:f, s:o, s:o}", "architectures", "CLIPModel", "model_type",
                     "clip", "projection_dim", (json_int_t)c->clip.proj, "logit_scale_init_value",
                     2.6592, "text_config", text_config(c), "vision_config",
                     vision_config(c, c->clip.proj));
}

json_t *gq_export_preprocessor(const gq_config *c)
{
    json_int_t side = (json_int_t)c->image.size;
    return json_pack(
        "{s:s, s:b, s:{s:I}, s:i, s:b, s:{s:I, s:I}, s:b, s:f, s:b, s:[f,f,f], s:[f,f,f], s:b}",
        "image_processor_type", "CLIPImageProcessor", "do_resize", 1, "size", "shortest_edge", side,
        "resample", c->image.filter == GQ_CFG_FILTER_NEAREST ? 0 : 3, /* as Pillow numbers them */
        "do_center_crop", 1, "crop_size", "height", side, "width", side, "do_rescale", 1,
        "rescale_factor", 1.0 / 255.0, "do_normalize", 1, "image_mean", c->image.mean[0],
        c->image.mean[1], c->image.mean[2], "image_std", c->image.std[0], c->image.std[1],
        c->image.std[2], "do_convert_rgb", 1);
}

/* ---- Q-Former, GPT-2 ------------------------------------------------------------------------- */

json_t *gq_export_qformer(const gq_config *c)
{
    return json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:i, s:i, s:f, s:I, s:I, s:b, s:I}",
        "architectures", "Blip2QFormerModel", "model_type", "blip_2_qformer", "hidden_size",
        (json_int_t)c->qformer.width, "num_hidden_layers", (json_int_t)c->qformer.layers,
        "num_attention_heads", (json_int_t)c->qformer.heads, "intermediate_size",
        (json_int_t)c->qformer.mlp, "hidden_act", "gelu", "hidden_dropout_prob", c->qformer.dropout,
        "attention_probs_dropout_prob", c->qformer.dropout, "vocab_size",
        30522, /* BERT's, unused */
        "max_position_embeddings", 512, "layer_norm_eps", c->qformer.ln_eps,
        "cross_attention_frequency", (json_int_t)c->qformer.cross_every, "encoder_hidden_size",
        (json_int_t)c->qformer.encoder_width, "use_qformer_text_input", 0, "num_query_tokens",
        (json_int_t)c->qformer.queries);
}

json_t *gq_export_gpt2(const gq_config *c, int end_id)
{
    return json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:b, s:i, s:i}",
        "architectures", "GPT2LMHeadModel", "model_type", "gpt2", "vocab_size",
        (json_int_t)c->gpt2.vocab, "n_positions", (json_int_t)c->gpt2.positions, "n_embd",
        (json_int_t)c->gpt2.width, "n_layer", (json_int_t)c->gpt2.layers, "n_head",
        (json_int_t)c->gpt2.heads, "n_inner", (json_int_t)c->gpt2.mlp, "activation_function",
        act_name(c->gpt2.act), "layer_norm_epsilon", c->gpt2.ln_eps, "resid_pdrop", c->gpt2.dropout,
        "embd_pdrop", c->gpt2.dropout, "attn_pdrop", c->gpt2.dropout, "tie_word_embeddings",
        c->gpt2.tied, "bos_token_id", end_id, "eos_token_id", end_id);
}

json_t *gq_export_t5(const gq_config *c, int end_id)
{
    bool gated = c->t5.act != GQ_CFG_T5_RELU;
    return json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:b, s:s, s:b, s:b, s:i, "
        "s:i, s:i}",
        "architectures", "T5ForConditionalGeneration", "model_type", "t5", "vocab_size",
        (json_int_t)c->t5.vocab, "d_model", (json_int_t)c->t5.width, "d_kv",
        (json_int_t)c->t5.head_width, "num_heads", (json_int_t)c->t5.heads, "d_ff",
        (json_int_t)c->t5.mlp, "num_layers", (json_int_t)c->t5.layers, "num_decoder_layers",
        (json_int_t)c->t5.decoder_layers, "relative_attention_num_buckets",
        (json_int_t)c->t5.buckets, "relative_attention_max_distance", (json_int_t)c->t5.far,
        "layer_norm_epsilon", c->t5.eps, "dropout_rate", c->t5.dropout, "feed_forward_proj",
        gated ? "gated-gelu" : "relu", "is_gated_act", gated, "dense_act_fn",
        gated ? "gelu_new" : "relu", "tie_word_embeddings", c->t5.head == GQ_CFG_T5_TIED,
        "is_encoder_decoder", 1, "pad_token_id", 0, "eos_token_id", end_id,
        "decoder_start_token_id", GQ_T5_START);
}

json_t *gq_export_tokenizer(const gq_config *c)
{
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:b}", "tokenizer_class", "GPT2Tokenizer",
                     "model_max_length", (json_int_t)c->gpt2.positions, "bos_token",
                     "<|endoftext|>", "eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>",
                     "add_prefix_space", 0);
}

/* ---- the model card -------------------------------------------------------------------------- */

static gq_status card_head(const gq_session *s, gq_file *f, gq_error *err)
{
    bool      text = s->cfg.model.kind == GQ_CFG_KIND_T5;
    gq_status st = gq_file_printf(
        f, err,
        "---\nlibrary_name: gifqa\npipeline_tag: %s\ntags: [gif, %s]\n---\n\n"
        "# A model that answers questions about %s\n\nMade by gifqa %s after %" PRIu64
        " optimiser steps",
        text ? "question-answering" : "visual-question-answering",
        text ? "text2text-generation" : "video-question-answering",
        text ? "what is said of animated GIFs" : "animated GIFs", GIFQA_VERSION, s->step);

    if (st == GQ_OK && s->score >= 0.0)
        st = gq_file_printf(f, err, "; the best exact match of its run on validation data was %.4f",
                            s->score);
    return st == GQ_OK ? gq_file_printf(f, err, ".\n\n") : st;
}

static int64_t parameters(const gq_params *p)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->count; i++)
        n += p->param[i].n;
    return n;
}

static gq_status card_model(const gq_session *s, gq_file *f, gq_error *err)
{
    const gq_config         *c = &s->cfg;
    if (c->model.kind == GQ_CFG_KIND_T5)
        return gq_file_printf(f, err,
                              "## Model\n\nT5 (width %lld, %lld and %lld blocks) reads a question and the text that "
                              "holds its answer, and writes the\nanswer. %lld parameters, float32.\n\n"
                              "Prompt: `%s`, {c} being the text.\n\n",
                              (long long)c->t5.width, (long long)c->t5.layers, (long long)c->t5.decoder_layers,
                              (long long)parameters(s->net->params), c->prompt.template);
    static const char *const bridges[] = {"no bridge", "a linear map and a layer norm",
                                          "a layer norm"};

    return gq_file_printf(
        f, err,
        "## Model\n\n%lld frames of %lldx%lld pixels go through a CLIP vision tower (width %lld, "
        "%lld blocks), %s, and a\n"
        "Q-Former (width %lld, %lld blocks) that turns each frame into %lld tokens. A linear map "
        "puts them in front of the\n"
        "question's tokens, and GPT-2 (width %lld, %lld blocks) writes the answer. %lld "
        "parameters, float32.\n\n"
        "Prompt: `%s`, answers begin with `%s`.\n\n",
        (long long)c->data.frames, (long long)c->clip.image_size, (long long)c->clip.image_size,
        (long long)c->clip.width, (long long)c->clip.layers, bridges[c->qformer.bridge],
        (long long)c->qformer.width, (long long)c->qformer.layers, (long long)c->qformer.queries,
        (long long)c->gpt2.width, (long long)c->gpt2.layers, (long long)parameters(s->net->params),
        c->prompt.template, c->prompt.answer_prefix);
}

static gq_status card_use(const gq_session *s, gq_file *f, gq_error *err)
{
    if (s->cfg.model.kind == GQ_CFG_KIND_T5)
        return gq_file_printf(f, err,
                              "## Use\n\n    gifqa-eval DIR TEXTS\n\nTEXTS: what `gifqa-prep build "
                              "--context` makes. `t5/` is a `T5ForConditionalGeneration` of "
                              "transformers.\n\n## Limits\n\nIt knows what its training data showed it and nothing "
                              "else; `config.yaml` says how it was trained. The licence\nof these weights follows "
                              "from that data and from the weights the training started from.\n");
    return gq_file_printf(
        f, err,
        "## Use\n\n    gifqa-ask DIR cat.gif \"what is it doing?\"\n    gifqa-eval DIR SHARDS\n\n"
        "The towers load into transformers one by one:\n\n"
        "| folder | class |\n|---|---|\n| `clip/` | `%s` |\n| `qformer/` | `Blip2QFormerModel`; "
        "`query_tokens` and the prefix "
        "`qformer.` as in BLIP-2 |\n| `gpt2/` | `GPT2LMHeadModel`%s |\n| `stllm.safetensors` | "
        "bridge and projection |\n\n"
        "## Limits\n\nIt knows what its training data showed it and nothing else; `config.yaml` "
        "says how it was trained. "
        "The licence\nof these weights follows from that data and from the weights the training "
        "started from.\n",
        s->cfg.clip.text   ? "CLIPModel"
        : s->cfg.clip.proj ? "CLIPVisionModelWithProjection"
                           : "CLIPVisionModel",
        s->cfg.gpt2.bias ? ""
                         : "; it was trained without biases, which transformers fills with zeros");
}

gq_status gq_export_card(const gq_session *s, gq_file *f, gq_error *err)
{
    gq_status st = card_head(s, f, err);

    if (st == GQ_OK)
        st = card_model(s, f, err);
    return st == GQ_OK ? card_use(s, f, err) : st;
}
