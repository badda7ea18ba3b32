"""Writes cases.json, pixels.png and pixels.jpg: images, and what transformers makes of them.

    pip install numpy transformers "pillow<13" && python make.py
"""

import json

import numpy
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

draw = numpy.random.default_rng(7)


def picture(height, width, channels, noise):
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [127 + 120 * numpy.sin(x / 3 + c) * numpy.cos(y / 4 - c) for c in range(channels)]
    smooth = numpy.stack(waves, -1).astype(numpy.uint8)
    return draw.integers(0, 256, smooth.shape, dtype=numpy.uint8) if noise else smooth


def case(processor, image):
    grey = image.shape[2] == 1
    array = image[..., 0] if grey else image
    three = numpy.repeat(image, 3, 2) if grey else image
    pixels = processor(Image.fromarray(three), return_tensors="np")["pixel_values"][0]
    config = processor.to_dict()
    config = {key: value for key, value in config.items() if value is not None}
    return {
        "config": config,
        "image": array.tolist(),
        "shape": list(pixels.shape),
        "pixel_values": [float(f"{value:.7g}") for value in pixels.reshape(-1)],
    }


vit = dict(size={"height": 12, "width": 12})
wide = dict(size={"height": 6, "width": 14}, resample=3, image_mean=[0.1, 0.2, 0.3], image_std=[0.2, 0.3, 0.4])
clip = dict(size={"shortest_edge": 10}, crop_size={"height": 8, "width": 9})
padded = dict(size={"shortest_edge": 5}, crop_size={"height": 9, "width": 8}, do_normalize=False)
plain = dict(do_resize=False, do_normalize=False, do_rescale=False)
cases = [
    case(ViTImageProcessorPil(**vit), picture(7, 5, 1, True)),
    case(ViTImageProcessorPil(**vit), picture(20, 31, 3, False)),
    case(ViTImageProcessorPil(**wide), picture(9, 8, 3, True)),
    case(ViTImageProcessorPil(**plain), picture(4, 6, 3, True)),
    case(CLIPImageProcessorPil(**clip), picture(21, 16, 3, True)),
    case(CLIPImageProcessorPil(**clip), picture(13, 30, 3, False)),
    case(CLIPImageProcessorPil(**padded), picture(6, 9, 3, True)),
]
with open("cases.json", "w") as file:
    json.dump(cases, file)
    file.write("\n")

image = Image.fromarray(picture(24, 17, 3, False))
image.convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save("pixels.png")
image.save("pixels.jpg", quality=90, subsampling=0)
decoded = {name: numpy.array(Image.open(name).convert("RGB")).tolist() for name in ["pixels.png", "pixels.jpg"]}
with open("files.json", "w") as file:
    json.dump(decoded, file)
    file.write("\n")
