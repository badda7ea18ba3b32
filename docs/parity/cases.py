"""The models and adapters of parity.py."""

from functools import partial

import torch
import transformers as t
from peft import LoraConfig, TaskType
from tokenizers import Tokenizer, models, pre_tokenizers

VOCABULARY = 96
IMAGE = 16

DECODER = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    attn_implementation="eager",
)
ENCODER = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    attn_implementation="eager",
)
LABELS = dict(id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)


def of(model, config, **keys):
    return lambda: model(config(**keys))


MODELS = {
    "llama": of(t.LlamaForCausalLM, t.LlamaConfig, **DECODER),
    "llama3": of(
        t.LlamaForCausalLM,
        t.LlamaConfig,
        **DECODER,
        rope_parameters=LLAMA3,
        tie_word_embeddings=True,
    ),
    "mistral": of(t.MistralForCausalLM, t.MistralConfig, **DECODER, sliding_window=8),
    "qwen2": of(
        t.Qwen2ForCausalLM,
        t.Qwen2Config,
        **DECODER,
        use_sliding_window=True,
        sliding_window=8,
        max_window_layers=2,
    ),
    "qwen3": of(t.Qwen3ForCausalLM, t.Qwen3Config, **DECODER, head_dim=12),
    "gemma2": of(
        t.Gemma2ForCausalLM,
        t.Gemma2Config,
        **DECODER,
        head_dim=12,
        query_pre_attn_scalar=16,
        sliding_window=8,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
    ),
    "phi3": of(t.Phi3ForCausalLM, t.Phi3Config, **DECODER, sliding_window=8),
    "phi4_mini": of(
        t.Phi3ForCausalLM,
        t.Phi3Config,
        **DECODER,
        tie_word_embeddings=True,
        original_max_position_embeddings=16,
        rope_parameters=dict(
            rope_type="longrope",
            partial_rotary_factor=0.75,
            short_factor=[1.0, 1.1, 1.2],
            long_factor=[1.5, 2.0, 3.0],
        ),
    ),
    "yarn": of(
        t.LlamaForCausalLM,
        t.LlamaConfig,
        **DECODER,
        rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
    ),
    "gemma3": of(
        t.Gemma3ForCausalLM,
        t.Gemma3TextConfig,
        **DECODER,
        head_dim=12,
        query_pre_attn_scalar=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        rope_parameters={
            "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1e6),
            "sliding_attention": dict(rope_type="default", rope_theta=1e4),
        },
    ),
    "smollm3": of(t.SmolLM3ForCausalLM, t.SmolLM3Config, **DECODER),
    "olmo2": of(t.Olmo2ForCausalLM, t.Olmo2Config, **DECODER),
    "granite": of(
        t.GraniteForCausalLM,
        t.GraniteConfig,
        **DECODER,
        embedding_multiplier=3.0,
        attention_multiplier=0.3,
        residual_multiplier=0.6,
        logits_scaling=2.5,
    ),
    "mixtral": of(t.MixtralForCausalLM, t.MixtralConfig, **DECODER, num_local_experts=5),
    "qwen3_moe": of(
        t.Qwen3MoeForCausalLM,
        t.Qwen3MoeConfig,
        **DECODER,
        head_dim=12,
        num_experts=6,
        num_experts_per_tok=3,
        moe_intermediate_size=20,
        norm_topk_prob=True,
        mlp_only_layers=[1],
    ),
    "roberta": of(
        t.RobertaForSequenceClassification,
        t.RobertaConfig,
        **ENCODER,
        **LABELS,
        vocab_size=VOCABULARY,
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=1,
    ),
    "vit": of(
        t.ViTForImageClassification, t.ViTConfig, **ENCODER, **LABELS, image_size=IMAGE, patch_size=4
    ),
    "clip": of(
        t.CLIPVisionModelWithProjection,
        t.CLIPVisionConfig,
        **ENCODER,
        image_size=IMAGE,
        patch_size=4,
        projection_dim=24,
    ),
}

# Recent versions of transformers name the modules of ViT otherwise than its checkpoints, which they
# write as ever; peft takes the names of modules.
OLD_NAMES = {
    "vit": {
        "vit.layers": "vit.encoder.layer",
        "attention.q_proj": "attention.attention.query",
        "mlp.fc1": "intermediate.dense",
    }
}

LORA = partial(LoraConfig, r=4, lora_alpha=8)
DECODER_LORA = partial(
    LORA, task_type=TaskType.CAUSAL_LM, target_modules=["q_proj", "v_proj", "up_proj"]
)
ADAPTERS = {
    "lora": ("llama", DECODER_LORA),
    "all-linear": ("llama", partial(DECODER_LORA, target_modules="all-linear")),
    "regular expression": ("llama", partial(DECODER_LORA, target_modules=r".*\.[13]\..*(q|k)_proj")),
    "layers": ("llama", partial(DECODER_LORA, layers_to_transform=[0, 2])),
    "rslora": ("llama", partial(DECODER_LORA, use_rslora=True)),
    "dora": ("llama", partial(DECODER_LORA, use_dora=True)),
    "pissa": ("llama", partial(DECODER_LORA, init_lora_weights="pissa")),
    "olora": ("llama", partial(DECODER_LORA, init_lora_weights="olora")),
    "rank and alpha patterns": (
        "llama",
        partial(DECODER_LORA, rank_pattern={"up_proj": 6}, alpha_pattern={r"layers\.1\..*q_proj": 3}),
    ),
    "modules_to_save": ("llama", partial(DECODER_LORA, modules_to_save=["lm_head"])),
    "rows of tokens": ("llama", partial(DECODER_LORA, trainable_token_indices=[3, 5, 8])),
    "qwen3_moe, parameters": (
        "qwen3_moe",
        partial(
            DECODER_LORA,
            target_modules=["q_proj"],
            target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        ),
    ),
    "phi3, fused": ("phi3", partial(DECODER_LORA, target_modules=["qkv_proj", "gate_up_proj"])),
    "gemma2": ("gemma2", DECODER_LORA),
    "mixtral, attention": ("mixtral", partial(DECODER_LORA, target_modules=["q_proj", "v_proj"])),
    "roberta, with its head": (
        "roberta",
        partial(LORA, task_type=TaskType.SEQ_CLS, target_modules=["query", "value"]),
    ),
}

# The model that each is trained on, and its table.
TRAINED = {
    "lora": ("llama", "r = 4\nlora_alpha = 8\ntarget_modules = ['q_proj', 'up_proj']"),
    "rslora": (
        "llama",
        "r = 4\nlora_alpha = 8\nuse_rslora = true\ntarget_modules = 'all-linear'",
    ),
    "dora": (
        "llama",
        "r = 4\nlora_alpha = 8\nexperts = { type = 'dora' }\ntarget_modules = ['q_proj', 'up_proj']",
    ),
    "pissa": (
        "llama",
        "r = 4\nlora_alpha = 4\ninit = { type = 'pissa', svd = 'full' }\ntarget_modules = ['q_proj']",
    ),
    "rank pattern": (
        "llama",
        "r = 4\nlora_alpha = 8\nrank_pattern = { up_proj = 2 }\ntarget_modules = ['q_proj', 'up_proj']",
    ),
    "modules_to_save": (
        "llama",
        "r = 4\nlora_alpha = 8\nmodules_to_save = ['lm_head']\ntarget_modules = ['q_proj']",
    ),
    "rows of tokens": (
        "llama",
        "r = 4\nlora_alpha = 8\ntrainable_token_indices = [3, 5, 8]\ntarget_modules = ['q_proj']",
    ),
    "qwen3_moe, parameters": (
        "qwen3_moe",
        "r = 4\nlora_alpha = 8\ntarget_modules = ['q_proj']\n"
        "target_parameters = ['mlp.experts.gate_up_proj', 'mlp.experts.down_proj']",
    ),
    # peft makes of these adapters of the one parameter that transformers 5 has.
    "mixtral, experts": (
        "mixtral",
        "r = 4\nlora_alpha = 8\ntarget_modules = ['q_proj', 'w1', 'w2', 'w3']",
    ),
    "mixtral, attention": ("mixtral", "r = 4\nlora_alpha = 8\ntarget_modules = ['q_proj', 'v_proj']"),
    "qwen3_moe, attention": (
        "qwen3_moe",
        "r = 4\nlora_alpha = 8\ntarget_modules = ['q_proj', 'v_proj']",
    ),
}


def tokenizer():
    words = ["<pad>", "<s>", "</s>", "<unk>"] + [f"w{i}" for i in range(VOCABULARY - 4)]
    found = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return t.PreTrainedTokenizerFast(tokenizer_object=found, **special)


def randomise(model, only=None):
    """Weights of a size at which every part of a model matters."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if only is None and parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif only is None or only in name:
                parameter.normal_(std=0.2)
