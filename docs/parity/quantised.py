#!/usr/bin/env python3
"""Makes the quantised folders of crates/model-zoo/tests/golden: quantised.py OUTPUT [--only NAME]

bnb_*: a tiny Llama of random weights, saved by transformers with bitsandbytes. gptq, awq: the same linears in groups of 32 inputs, packed here as
AutoGPTQ and AutoAWQ do. gptq_desc_act: the inputs in groups by the norm of their weights, in the place of their activations' (g_idx). reference.safetensors has the logits of the model in f32 whose weights are the stored ones dequantised by bitsandbytes or numpy.
(What bitsandbytes computes itself may differ by 2 %: it rounds activations to 8 bits with int8, and to bf16 where the processor multiplies these.)
"""
import argparse
import copy
import json
import os

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

GROUP = 32
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def tiny():
    torch.manual_seed(7)
    config = transformers.LlamaConfig(architectures=["LlamaForCausalLM"], dtype="float32", vocab_size=96, hidden_size=64,
                                      intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, head_dim=16, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                                      initializer_range=0.2)
    return transformers.LlamaForCausalLM(config).eval()


def reference(model, folder):
    rng = np.random.default_rng(3)
    ids = torch.from_numpy(rng.integers(3, 96, (2, 20)))
    mask = torch.ones_like(ids)
    ids[1, 15:], mask[1, 15:] = 0, 0
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    save_file({"input_ids": ids, "attention_mask": mask, "logits": logits.float().contiguous()}, f"{folder}/reference.safetensors")


def linears(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and name != "lm_head"}


def bitsandbytes(model, folder, **settings):
    from bitsandbytes import functional

    model.save_pretrained("/tmp/quantised-source")
    settings = transformers.BitsAndBytesConfig(bnb_4bit_compute_dtype=torch.float32, **settings)
    loaded = transformers.AutoModelForCausalLM.from_pretrained("/tmp/quantised-source", quantization_config=settings, device_map="cpu")
    loaded.save_pretrained(folder)
    stored, held, dense = load_file(f"{folder}/model.safetensors"), dict(loaded.named_modules()), copy.deepcopy(model)
    for name, module in linears(dense).items():
        if settings.load_in_4bit:
            weight = held[name].weight
            module.weight.data = functional.dequantize_4bit(weight.data, weight.quant_state).float()
        else:
            codes, absmax = stored[f"{name}.weight"].numpy().astype(np.float32), stored[f"{name}.SCB"].numpy()
            module.weight.data = torch.from_numpy(codes * (absmax[:, None] / np.float32(127)))
    reference(dense, folder)


def pack(codes, axis, order=range(8)):
    """Words of eight codes along an axis."""
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    codes = codes.reshape(*codes.shape[:-1], -1, 8)
    words = sum(codes[..., place] << np.uint32(4 * at) for at, place in enumerate(order))
    return np.moveaxis(words.astype(np.uint32), -1, axis).view(np.int32)


def groups(model, folder, kind):
    os.makedirs(folder, exist_ok=True)
    dense, state = copy.deepcopy(model), {}
    for name, module in linears(dense).items():
        weight = module.weight.data.numpy().T  # [in, out]
        inputs, outputs = weight.shape
        # As GPTQ's desc_act: the groups are runs of the inputs in this order, largest first.
        order = np.argsort(-(weight**2).sum(1), kind="stable") if kind == "gptq_desc_act" else np.arange(inputs)
        index = np.empty(inputs, np.int32)
        index[order] = np.arange(inputs) // GROUP
        parts = weight[order].reshape(inputs // GROUP, GROUP, outputs)
        low, high = np.minimum(parts.min(1), 0), np.maximum(parts.max(1), 0)
        scales = ((high - low) / 15).astype(np.float16)
        # Version 1 of GPTQ stores zeros less one, so 0 itself cannot be.
        zeros = np.clip(np.rint(-low / scales.astype(np.float32)), 1, 15)
        wide = lambda values: values.astype(np.float32)[index]
        codes = np.clip(np.rint(weight / wide(scales)) + wide(zeros), 0, 15)
        module.weight.data = torch.from_numpy(((codes - wide(zeros)) * wide(scales)).T.copy())
        if kind == "awq":
            words = {"qweight": pack(codes, 1, AWQ_ORDER), "qzeros": pack(zeros, 1, AWQ_ORDER)}
        else:
            words = {"qweight": pack(codes, 0), "qzeros": pack(zeros - 1, 1), "g_idx": index}
        state |= {f"{name}.{part}": torch.from_numpy(np.ascontiguousarray(value)) for part, value in words.items()}
        state[f"{name}.scales"] = torch.from_numpy(np.ascontiguousarray(scales))
    state |= {name: value for name, value in model.state_dict().items() if name.rsplit(".", 1)[0] not in linears(model)}
    save_file(state, f"{folder}/model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    if kind == "awq":
        config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
    else:
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": kind == "gptq_desc_act", "sym": False,
                                         "checkpoint_format": "gptq"}
    with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, default=str)
        file.write("\n")
    reference(dense, folder)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("output")
    arguments.add_argument("--only", help="one folder")
    arguments = arguments.parse_args()
    output, model = arguments.output, tiny()
    wanted = lambda name: arguments.only in (None, name)
    kinds = {
        "bnb_int8": {"load_in_8bit": True},
        "bnb_nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bnb_nf4_double": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        "bnb_fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    }
    for name, settings in filter(lambda kind: wanted(kind[0]), kinds.items()):
        bitsandbytes(model, f"{output}/{name}", **settings)
    for kind in filter(wanted, ["gptq", "gptq_desc_act", "awq"]):
        groups(model, f"{output}/{kind}", kind)


if __name__ == "__main__":
    main()
