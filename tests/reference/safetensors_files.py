"""The other side of stored networks, by the description of the safetensors format alone.

python safetensors_files.py convert v1-lstm.json v1-lstm.safetensors
    writes the file of a network that was stored as JSON with its weights inside.
python safetensors_files.py torch MODEL.safetensors ANSWER.json ROWS.json
    (needs torch and safetensors, kept for whoever has them) loads a stored LSTM or GRU by
    `load_state_dict` into torch.nn and compares its answers with ours.
"""

import json
import re
import struct
import sys

import numpy as np


def read(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    metadata = json.loads(header.pop("__metadata__")["foretell"])
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
    return metadata, tensors


def places(architecture):
    inputs, recurrent, dense = architecture["inputs"], 0, 0
    several = sum(layer["kind"] == "dense" for layer in architecture["layers"]) > 1
    for layer in architecture["layers"]:
        kind, units = layer["kind"], layer["units"]
        if kind == "dense":
            at = f"fc.{2 * dense}" if several else "fc"
            yield f"{at}.weight", [units, inputs]
            yield f"{at}.bias", [units]
            dense += 1
        else:
            rows = {"lstm": 4, "gru": 3}[kind] * units
            yield f"{kind}.weight_ih_l{recurrent}", [rows, inputs]
            yield f"{kind}.weight_hh_l{recurrent}", [rows, units]
            yield f"{kind}.bias_ih_l{recurrent}", [rows]
            yield f"{kind}.bias_hh_l{recurrent}", [rows]
            recurrent += 1
        inputs = units


def convert(source, target):
    text = open(source).read()
    state = json.loads(text)["state"]["neural"]
    described = re.sub(r'"weights":\[\[.*?\]\],', "", text, count=1)
    assert "weights" not in json.loads(described)["state"]["neural"]
    header, data = {"__metadata__": {"foretell": described}}, b""
    for (name, shape), values in zip(places(state["architecture"]), state["weights"], strict=True):
        raw = np.array(values, dtype="<f4").reshape(shape).tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    header = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    with open(target, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


def compare(model, answer, rows):
    import torch
    from safetensors.torch import load_file

    described, ours = read(model)
    tensors = load_file(model)
    assert set(ours) == set(tensors)
    for name, values in tensors.items():
        assert np.array_equal(values.numpy(), ours[name]), name
    state = described["state"]["neural"]
    layers = [layer for layer in state["architecture"]["layers"] if layer["kind"] != "dense"]
    kind, sizes = layers[0]["kind"], {layer["units"] for layer in layers}
    assert len(sizes) == 1, "torch.nn stacks layers of one size"
    recurrent = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](
        state["architecture"]["inputs"], sizes.pop(), len(layers), batch_first=True
    )
    linear = torch.nn.Linear(layers[-1]["units"], state["architecture"]["layers"][-1]["units"])

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(kind, recurrent)
            self.fc = linear

    network = Network()
    network.load_state_dict(tensors)
    x = torch.tensor(json.load(open(rows)), dtype=torch.float64)
    inputs = state["architecture"]["inputs"]
    x = x.reshape(len(x), -1, inputs)
    x = (x - torch.tensor(state["means"])) / torch.tensor(state["scales"])
    with torch.no_grad():
        out = network.fc(recurrent(x.float())[0][:, -1]).double()
    found = state["centre"] + state["spread"] * out.sort(dim=1).values
    expected = torch.tensor(json.load(open(answer)), dtype=torch.float64).reshape(found.shape)
    difference = (found - expected).abs().max().item()
    print(f"{kind}: largest difference {difference:.3g}")
    assert difference < 1e-6


if __name__ == "__main__":
    {"convert": convert, "torch": compare}[sys.argv[1]](*sys.argv[2:])
