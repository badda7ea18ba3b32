"""Writes what transformers makes of texts and images, for the tests of classification: the folders
roberta_cls, vit_cls (what is beside the models of the same names in model-zoo) and clip.

    pip install numpy torch transformers "pillow<13" && python make.py
"""

import json
import random
from pathlib import Path

import numpy
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    RobertaForSequenceClassification,
    ViTForImageClassification,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = Path(__file__).parent
ZOO = HERE / "../../../../model-zoo/tests/golden"
torch.manual_seed(3)
draw = random.Random(3)
numbers = numpy.random.default_rng(3)

words = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "el")]


def tokenizer(bos, pad, eos, unk, template):
    """Each is a token and its id."""
    special = dict([bos, pad, eos, unk])
    vocab = special | {word: len(special) + i for i, word in enumerate(words)}
    built = Tokenizer(models.WordLevel(vocab, unk_token=unk[0]))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    built.post_processor = template(bos, eos)
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token=bos[0], eos_token=eos[0], pad_token=pad[0], unk_token=unk[0]
    )


def text(count):
    return " ".join(draw.choice(words) for _ in range(count))


def write(folder, name, value):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value) + "\n")


def rounded(tensor):
    return [[float(f"{x:.8g}") for x in row] for row in tensor.tolist()]


# Pairs as RoBERTa joins them; some are longer than its 64 positions.
def joined(start, end):
    return processors.RobertaProcessing(end, start)


folder = HERE / "roberta_cls"
folder.mkdir(exist_ok=True)
tokens = tokenizer(("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3), joined)
tokens.backend_tokenizer.save(str(folder / "tokenizer.json"))
model = RobertaForSequenceClassification.from_pretrained(ZOO / "roberta_cls").eval()
lengths = [(5, None), (1, 3), (0, None), (70, None), (40, 50), (80, 4), (3, 80), (20, 21), (9, 9), (12, None), (2, None)]
samples = []
for first, second in lengths:
    pair = None if second is None else text(second)
    first = text(first)
    encoded = tokens(first, pair, truncation=True, max_length=64, return_tensors="pt")
    encoded.pop("token_type_ids", None)
    with torch.no_grad():
        logits = model(**encoded).logits
    ids = encoded["input_ids"][0].tolist()
    samples.append({"text": first, "text_pair": pair, "input_ids": ids, "logits": rounded(logits)[0]})
write(folder, "samples.json", samples)


def pictures(sizes):
    for height, width, grey in sizes:
        shape = (height, width) if grey else (height, width, 3)
        yield numbers.integers(0, 256, shape, dtype=numpy.uint8)


def as_image(array):
    return Image.fromarray(array).convert("RGB")


folder = HERE / "vit_cls"
processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
write(folder, "preprocessor_config.json", processor.to_dict())
model = ViTForImageClassification.from_pretrained(ZOO / "vit_cls").eval()
samples = []
for array in pictures([(8, 8, True), (28, 28, True), (10, 13, False), (20, 9, False), (16, 16, False)]):
    pixels = processor(as_image(array), return_tensors="pt")
    with torch.no_grad():
        logits = model(**pixels).logits
    samples.append({"image": array.tolist(), "logits": rounded(logits)[0]})
write(folder, "samples.json", samples)


def ended(start, end):
    return processors.TemplateProcessing(single=f"{start[0]} $A {end[0]}", special_tokens=[start, end])


folder = HERE / "clip"
folder.mkdir(exist_ok=True)
# An end of 2 would stand for the token with the largest id.
bos, pad, unk, eos = ("<|startoftext|>", 0), ("<|pad|>", 1), ("<|unk|>", 2), ("<|endoftext|>", 3)
tokens = tokenizer(bos, pad, eos, unk, ended)
tokens.backend_tokenizer.save(str(folder / "tokenizer.json"))
sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
ids = dict(vocab_size=len(words) + 4, bos_token_id=0, pad_token_id=1, eos_token_id=3)
config = CLIPConfig(
    text_config=sizes | ids | dict(max_position_embeddings=9),
    vision_config=sizes | dict(hidden_size=24, image_size=16, patch_size=8),
    projection_dim=12,
)
model = CLIPModel(config).eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.dim():
            parameter.add_(torch.randn_like(parameter) * 0.1)
model.save_pretrained(folder)
processor = CLIPImageProcessorPil(size={"shortest_edge": 18}, crop_size={"height": 16, "width": 16})
write(folder, "preprocessor_config.json", processor.to_dict())
lists = [[text(3), text(1), text(12), text(6)], [text(2), text(5)]]
samples = []
for i, array in enumerate(pictures([(28, 28, True), (30, 21, False), (18, 25, False)])):
    labels = lists[i % 2]
    encoded = tokens(labels, truncation=True, max_length=9, padding=True, return_tensors="pt")
    encoded.pop("token_type_ids", None)
    pixels = processor(as_image(array), return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded, **pixels).logits_per_image
    samples.append({"image": array.tolist(), "labels": labels, "logits": rounded(logits)[0]})
write(folder, "samples.json", samples)
