"""The other side of stored networks, by the description of the safetensors format alone.

python safetensors_files.py convert v1-lstm.json v1-lstm.safetensors
    writes the file of a network that was stored as JSON with its weights inside.
python safetensors_files.py torch MODEL.safetensors CASES.json
    (needs torch and safetensors, kept for whoever has them) loads an imported network by
    `load_state_dict` into torch.nn and compares its answers with those of CASES.json
    (tests/data/amazon_lstm/reference_outputs.json).
python safetensors_files.py numpy MODEL.safetensors
    (needs safetensors) compares safetensors' own reader with the one here.
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


def compare(model, cases):
    import torch
    from safetensors.torch import load_file

    described, _ = read(model)
    body = described["imported"]["body"]["network"]
    layers = [layer for layer in body["architecture"]["layers"] if layer["kind"] != "dense"]
    kind, units = layers[0]["kind"], layers[0]["units"]
    recurrent = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](
        body["architecture"]["inputs"], units, len(layers), batch_first=True
    )

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(kind, recurrent)
            self.fc = torch.nn.Linear(units, 1)

    network = Network()
    print(network.load_state_dict(load_file(model)))
    for case in json.load(open(cases))["cases"]:
        x = (np.array(case["prices"]) - body["means"]) / body["scales"]
        x = torch.tensor(x, dtype=torch.float32).reshape(1, -1, 1)
        with torch.no_grad():
            answer = network.fc(recurrent(x)[0][:, -1]).item() * body["spread"] + body["centre"]
        assert abs(answer - case["predicted_price"]) < 1e-4, (answer, case)
    print(f"{len(json.load(open(cases))['cases'])} answers agree")


def numpy(model):
    from safetensors.numpy import load_file

    _, ours = read(model)
    theirs = load_file(model)
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name], values) for name, values in theirs.items())
    print(f"{len(ours)} tensors agree")


if __name__ == "__main__":
    {"convert": convert, "torch": compare, "numpy": numpy}[sys.argv[1]](*sys.argv[2:])
