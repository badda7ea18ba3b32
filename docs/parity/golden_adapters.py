#!/usr/bin/env python3
"""Writes reference adapters of peft, with the logits that they give, for the tests of model-zoo.

    pip install torch transformers peft
    python docs/parity/golden_adapters.py crates/model-zoo/tests/golden

Each has trained rows of tokens (`trainable_token_indices`) or adapters of parameters that hold all
experts (`target_parameters`), on the reference model of the same folder.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file

EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
CASES = {
    "tokens_tied": ("llama3", dict(target_modules=["q_proj"], trainable_token_indices=[5, 90, 17])),
    "tokens_by_module": (
        "llama2",
        dict(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3, 40], "lm_head": [3, 7, 90]}),
    ),
    "parameters_qwen3_moe": ("qwen3_moe", dict(target_modules=["q_proj"], target_parameters=EXPERTS)),
    "parameters_mixtral": ("mixtral", dict(target_modules=[], target_parameters=EXPERTS[:1], use_rslora=True)),
}


def main():
    golden = Path(sys.argv[1])
    for name, (base, config) in CASES.items():
        torch.manual_seed(len(name))
        model = transformers.AutoModelForCausalLM.from_pretrained(golden / base, dtype=torch.float32)
        config = LoraConfig(r=3, lora_alpha=6, task_type=TaskType.CAUSAL_LM, **config)
        model = get_peft_model(model, config).eval()
        model.peft_config["default"].base_model_name_or_path = base
        with torch.no_grad():
            for path, parameter in model.named_parameters():
                if "lora_" in path or "trainable_tokens_delta" in path:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
            reference = load_file(golden / base / "reference.safetensors")
            inputs = {key: reference[key] for key in ("input_ids", "attention_mask")}
            if "tokens" in name:
                # Each trained token is there.
                inputs["input_ids"][:, -3:] = torch.tensor([[5, 17, 90], [3, 7, 40], [3, 90, 17]])
                inputs["attention_mask"][:, -3:] = 1
            logits = model(**inputs).logits
        target = golden / "adapters" / name
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                shutil.copy(Path(folder) / file, target / file)
        save_file({**inputs, "logits": logits.contiguous()}, target / "reference.safetensors")
        print(name, {key: list(value.shape) for key, value in load_file(target / "adapter_model.safetensors").items()})


main()
