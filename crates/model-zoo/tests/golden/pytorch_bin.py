"""Writes the weights of golden/llama2 as pytorch_model.bin in two shards.

The archive and the pickle are those of torch.save (protocol 2, storages by persistent ids, data
aligned to 64 bytes); PyTorch itself is not needed. Run in this folder: python3 pytorch_bin.py
"""

import collections
import io
import json
import pickle
import pathlib
import struct
import sys
import types
import zipfile

HERE = pathlib.Path(__file__).parent


def module(name):
    sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]


torch, utils = module("torch"), module("torch._utils")
torch._utils = utils


def _rebuild_tensor_v2(*_):
    raise NotImplementedError


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2
torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})


class Storage:
    def __init__(self, key, data):
        self.key, self.data = key, data


class Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, tuple(shape)

    def __reduce_ex__(self, protocol):
        strides, n = [], 1
        for size in reversed(self.shape):
            strides.insert(0, n)
            n *= size
        arguments = (self.storage, 0, self.shape, tuple(strides), False, collections.OrderedDict())
        return _rebuild_tensor_v2, arguments


class Pickler(pickle._Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", torch.FloatStorage, value.key, "cpu", len(value.data) // 4)
        return None


def save(path, tensors):
    state = collections.OrderedDict()
    storages = []
    for name, (shape, data) in tensors.items():
        storages.append(Storage(str(len(storages)), data))
        state[name] = Tensor(storages[-1], shape)
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    program = io.BytesIO()
    Pickler(program, protocol=2).dump(state)
    root = path.stem
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def add(name, data):
            info = zipfile.ZipInfo(f"{root}/{name}")
            start = archive.fp.tell() + 30 + len(info.filename) + 4
            padding = -start % 64
            info.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding
            archive.writestr(info, data)

        add("data.pkl", program.getvalue())
        add("byteorder", b"little")
        for storage in storages:
            add(f"data/{storage.key}", storage.data)
        add("version", b"3\n")


def main():
    raw = (HERE / "llama2" / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {
        name: (entry["shape"], raw[8 + length :][slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }
    assert all(entry["dtype"] == "F32" for entry in header.values())
    folder = HERE / "llama2_pytorch"
    folder.mkdir(exist_ok=True)
    names = list(tensors)
    shards = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"pytorch_model-{i + 1:05}-of-00002.bin"
        save(folder / file, {name: tensors[name] for name in shard})
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


main()
