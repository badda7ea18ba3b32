#!/usr/bin/env python3
"""Writes the folders of decoders in crates/model-zoo/tests/golden that this script names, with the
logits of transformers.

    pip install torch transformers
    python docs/parity/families.py crates/model-zoo/tests/golden [NAME...]

Sizes are all different, random weights large enough that every option matters, sequences longer than
windows and than the original lengths of rotary scalings, and padding is on the right. `…_stacked`
are the same models with the experts as one parameter, as transformers has them in memory.
"""

import sys
from pathlib import Path

import torch
import transformers as t
from safetensors.torch import save_file

VOCABULARY, LENGTH, PADDING = 56, 24, 5
SMALL = dict(
    vocab_size=VOCABULARY,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    initializer_range=0.25,
    attn_implementation="eager",
)


def rope(kind, **keys):
    return dict(rope_parameters=dict(rope_theta=1e4) | dict(rope_type=kind, **keys))


def llama(kind, **keys):
    more = {key: keys.pop(key) for key in ["max_position_embeddings"] if key in keys}
    return t.LlamaForCausalLM, t.LlamaConfig, dict(head_dim=8, **rope(kind, **keys), **more)


CASES = {
    "rope_linear": llama("linear", factor=3.0),
    # Beyond the trained length: 16 of 24 tokens.
    "rope_dynamic": llama("dynamic", factor=2.0, max_position_embeddings=16),
    "rope_yarn": llama("yarn", factor=4.0, original_max_position_embeddings=8),
    "rope_yarn_mscale": llama(
        "yarn",
        factor=4.0,
        original_max_position_embeddings=16,
        # So that both ends of the ramp are within the pairs, and at none of them.
        rope_theta=10.0,
        beta_fast=1.5,
        beta_slow=0.5,
        mscale=1.4,
        mscale_all_dim=0.6,
        truncate=False,
    ),
    "phi4_mini": (
        t.Phi3ForCausalLM,
        t.Phi3Config,
        dict(
            num_attention_heads=3,
            num_key_value_heads=1,
            tie_word_embeddings=True,
            original_max_position_embeddings=16,
            **rope(
                "longrope",
                partial_rotary_factor=0.75,
                short_factor=[1.0, 1.1, 1.2],
                long_factor=[1.5, 2.0, 3.0],
            ),
        ),
    ),
    "gemma3": (
        t.Gemma3ForCausalLM,
        t.Gemma3TextConfig,
        dict(
            num_hidden_layers=3,
            head_dim=8,
            query_pre_attn_scalar=10,
            # Padding sees a token, without which transformers computes nothing of sense.
            sliding_window=7,
            final_logit_softcapping=4.0,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                "sliding_attention": dict(rope_type="default", rope_theta=1e3),
            },
        ),
    ),
    "smollm3": (
        t.SmolLM3ForCausalLM,
        t.SmolLM3Config,
        dict(num_hidden_layers=3, no_rope_layers=[1, 0, 1], **rope("default")),
    ),
    "olmo2": (t.Olmo2ForCausalLM, t.Olmo2Config, {}),
    "granite": (
        t.GraniteForCausalLM,
        t.GraniteConfig,
        dict(
            embedding_multiplier=3.0,
            attention_multiplier=0.3,
            residual_multiplier=0.6,
            logits_scaling=2.5,
            attention_bias=True,
        ),
    ),
    "mixtral": (
        t.MixtralForCausalLM,
        t.MixtralConfig,
        dict(num_local_experts=5, num_experts_per_tok=2),
    ),
    "qwen3_moe": (
        t.Qwen3MoeForCausalLM,
        t.Qwen3MoeConfig,
        dict(
            head_dim=8,
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=12,
            norm_topk_prob=False,
            mlp_only_layers=[0],
        ),
    ),
}


# Angles depend on the length of the sequence, so that what was cached before has others.
BY_LENGTH = ["rope_dynamic", "phi4_mini"]


def randomise(model):
    """Norms and biases away from their starts, which would hide them."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            start = parameter.data.mean()
            parameter.data = start + 0.3 * torch.randn_like(parameter)


def by_length(model, input_ids, attention_mask):
    """What a cache gives, token by token, and what is generated; before anything else, because the
    model remembers the longest sequence that it saw."""
    cache, steps = t.DynamicCache(), []
    for i in range(LENGTH):
        mask = attention_mask[:, : i + 1]
        step = model(input_ids=input_ids[:, i : i + 1], attention_mask=mask, cache=cache)
        steps.append(step.logits)
    fresh = type(model)(model.config).eval()
    fresh.load_state_dict(model.state_dict())
    prompt = input_ids[:1, :10]
    generated = fresh.generate(prompt, max_new_tokens=14, do_sample=False, eos_token_id=None)
    return dict(cached_logits=torch.cat(steps, 1), generated=generated)


def write(root, name):
    model_class, config_class, keys = CASES[name]
    torch.manual_seed(sum(name.encode()))
    model = model_class(config_class(**{**SMALL, **keys})).eval()
    randomise(model)
    folder = root / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)

    input_ids = torch.randint(3, VOCABULARY, (2, LENGTH))
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, -PADDING:] = 0
    input_ids[attention_mask == 0] = 0
    reference = dict(input_ids=input_ids, attention_mask=attention_mask)
    with torch.no_grad():
        if name in BY_LENGTH:
            reference |= by_length(model, input_ids, attention_mask)
        reference["logits"] = model(input_ids=input_ids, attention_mask=attention_mask).logits
    reference = {key: tensor.contiguous() for key, tensor in reference.items()}
    save_file(reference, folder / "reference.safetensors")
    if any(parameter.dim() == 3 for parameter in model.parameters()):
        stacked = root / f"{name}_stacked"
        stacked.mkdir(exist_ok=True)
        save_file(model.state_dict(), stacked / "model.safetensors")
        for file in ["config.json", "reference.safetensors"]:
            (stacked / file).write_bytes((folder / file).read_bytes())


if __name__ == "__main__":
    root = Path(sys.argv[1])
    for name in sys.argv[2:] or CASES:
        write(root, name)
