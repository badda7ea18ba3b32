"""Makes the X-LoRA folders of crates/model-zoo/tests/golden/adapters: x_lora.py TESTS/golden

    pip install torch transformers peft

Each has the layout that PEFT reads: adapter_config.json with `peft_type` XLORA, the classifier in adapter_model.safetensors, and a LoRA in a folder for each expert.
PEFT 0.21 cannot write it (its `save_pretrained` takes the numbers of the classifier's layers for names of adapters and leaves tensors out), so the classifier's tensors
are written here under the names that PEFT reads, and what PEFT reads is checked to give the same logits.
`reference.safetensors` holds the logits, a greedy continuation of the first row, the loss of the next tokens, and its gradients.
"""
import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, XLoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

golden = os.path.abspath(sys.argv[1])
given = load_file(f"{golden}/adapters/lora/reference.safetensors")
ids, mask = given["input_ids"], given["attention_mask"]
CASES = {
    # A first pass with the experts, a deep classifier, one decision for all linears.
    "x_lora": (
        2,
        ["down_proj", "q_proj", "v_proj"],
        dict(xlora_depth=3, xlora_size=20, softmax_temperature=0.7, scaling_pass_value=0.3, global_scaling_weight=1.5),
    ),
    # A decision for each linear, of the two best of three experts.
    "x_lora_layerwise": (
        3,
        ["gate_proj", "k_proj", "o_proj", "q_proj"],
        dict(layerwise_scalings=True, top_k_lora=2, enable_softmax_topk=True, xlora_dropout_p=0.0),
    ),
}


def base():
    model = AutoModelForCausalLM.from_pretrained(f"{golden}/llama3", dtype=torch.float32)
    model.config.use_cache = False
    return model


torch.manual_seed(0)
for name, (experts, targets, keys) in CASES.items():
    folder = f"{golden}/adapters/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chdir(folder)
    for expert in range(experts):
        lora = LoraConfig(r=3, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM", init_lora_weights=False)
        single = get_peft_model(base(), lora)
        for parameter in single.parameters():
            if parameter.requires_grad:
                parameter.data *= 2.0
        single.save_pretrained(str(expert))
        os.remove(f"{expert}/README.md")
    adapters = {str(expert): str(expert) for expert in range(experts)}
    config = XLoraConfig(task_type="CAUSAL_LM", hidden_size=32, adapters=adapters, use_trainable_adapters=True, **keys)
    model = get_peft_model(base(), config)
    classifier = model.base_model.internal_xlora_classifier
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(3.0)
    output = model(input_ids=ids, attention_mask=mask)
    logits = output.logits
    labels = ids.masked_fill(mask == 0, -100)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    for parameter in model.parameters():
        parameter.grad = None
    for tensor in model.parameters():
        tensor.requires_grad_(True)
    # Adapters that PEFT loads are frozen, so the pass is made again with gradients.
    model.base_model._maybe_freeze_all_adapters = lambda: None
    logits = model(input_ids=ids, attention_mask=mask).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    loss.backward()
    q_proj = model.base_model.model.model.layers[0].self_attn.q_proj
    reference = {
        "input_ids": ids,
        "attention_mask": mask,
        "logits": logits.detach(),
        "loss": loss.detach(),
        "grad.lora_B": torch.stack([q_proj.lora_B[str(expert)].weight.grad for expert in range(experts)]),
    }
    linears = [layer for layer in classifier.layers if isinstance(layer, torch.nn.Linear)]
    for index, layer in enumerate(linears):
        reference[f"grad.layers.{index}.weight"] = layer.weight.grad
        reference[f"grad.layers.{index}.bias"] = layer.bias.grad
    tokens = ids[:1, :6]
    with torch.no_grad():
        for _ in range(8):
            tokens = torch.cat([tokens, model(input_ids=tokens).logits[:, -1:].argmax(-1)], 1)
    reference["generated"] = tokens
    save_file({key: value.contiguous() for key, value in reference.items()}, "reference.safetensors")

    config.inference_mode = True
    config.base_model_name_or_path = "llama3"
    config.save_pretrained(".")
    state = {
        f"base_model.internal_xlora_classifier.{key}": value.contiguous()
        for key, value in classifier.state_dict().items()
    }
    save_file(state, "adapter_model.safetensors", metadata={"format": "pt"})
    loaded = PeftModel.from_pretrained(base(), ".")
    with torch.no_grad():
        error = (loaded(input_ids=ids, attention_mask=mask).logits - logits).abs().max().item()
    assert error < 1e-5, error
    for expert in range(experts):
        path = f"{expert}/adapter_config.json"
        keys = json.load(open(path))
        keys["base_model_name_or_path"] = "llama3"
        json.dump(keys, open(path, "w"), indent=2, sort_keys=True)
    print(name, "loss", loss.item(), "as PEFT reads it", error)
