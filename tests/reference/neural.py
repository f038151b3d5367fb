"""What PyTorch computes for the networks of `crates/model/src/neural`.

Usage: python tests/reference/neural.py > tests/data/reference/neural.json
(in an environment of its own: torch==2.15.0, numpy==2.4.6; 32 and 64 bits on the processor)

Per network: weights in PyTorch's layout, input windows, targets, answers, loss, the
gradient of every weight in 64 bits; the weights after three steps of AdamW; and the
loss over 50 steps of Adam in 32 bits. Weights and data are drawn here and written out,
so that nothing depends on the two random generators being alike.
"""

import json

import numpy as np
import torch

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


class ReluLstm(torch.nn.Module):
    """PyTorch has no LSTM with another activation: its equations with ReLU, as Keras'
    `LSTM(activation="relu")` computes them."""

    def __init__(self, inputs, units):
        super().__init__()
        reach = units**-0.5
        shapes = {"weight_ih_l0": (4 * units, inputs), "weight_hh_l0": (4 * units, units), "bias_ih_l0": (4 * units,), "bias_hh_l0": (4 * units,)}
        for name, shape in shapes.items():
            self.register_parameter(name, torch.nn.Parameter(torch.empty(shape).uniform_(-reach, reach)))
        self.units = units

    def forward(self, x):
        h = x.new_zeros(x.shape[0], self.units)
        c = h
        outputs = []
        for t in range(x.shape[1]):
            z = x[:, t] @ self.weight_ih_l0.T + self.bias_ih_l0 + h @ self.weight_hh_l0.T + self.bias_hh_l0
            i, f, g, o = z.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.relu(g)
            h = torch.sigmoid(o) * torch.relu(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), None


class Net(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            if isinstance(layer, (torch.nn.LSTM, torch.nn.GRU, ReluLstm)):
                x, _ = layer(x)
            else:
                if x.dim() == 3:
                    x = x[:, -1]
                x = layer(x)
        return x

    def weights(self):
        """In the order of the layers; of a recurrent one input, recurrent, both biases."""
        return [p for layer in self.layers for p in layer.parameters()]


def flat(tensor):
    return [float(v) for v in tensor.detach().reshape(-1)]


def pinball(answer, target, levels):
    above = target - answer
    return torch.maximum(levels * above, (levels - 1) * above).mean()


LEVELS = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


def loss_of(kind, answer, target):
    if kind == "squared":
        return torch.nn.functional.mse_loss(answer, target)
    if kind == "pinball":
        return pinball(answer, target, LEVELS.to(answer.dtype))
    return torch.nn.functional.cross_entropy(answer, target[:, 0].long())


def case(name, architecture, make, loss, batch, rows, seed):
    torch.manual_seed(seed)
    net = Net(make())
    steps, inputs = architecture["steps"], architecture["inputs"]
    outputs = architecture["layers"][-1]["units"]
    x = torch.randn(rows, steps, inputs)
    # Something to be learnt, so that the loss falls.
    signal = x.mean(dim=(1, 2), keepdim=False)[:, None]
    if loss == "cross_entropy":
        y = (signal > 0).float()
    else:
        y = torch.tanh(2 * signal) + 0.1 * torch.randn(rows, 1)
        if loss == "squared":
            y = y.repeat(1, outputs)
    start = [p.detach().clone() for p in net.weights()]
    record = {
        "name": name,
        "architecture": architecture,
        "loss": loss,
        "levels": LEVELS.tolist() if loss == "pinball" else None,
        "weights": [flat(p) for p in start],
        "inputs": flat(x),
        "targets": flat(y),
        "rows": rows,
        "batch": batch,
    }
    # One pass in 64 bits over the first batch.
    net.double()
    first, target = x[:batch].double(), y[:batch].double()
    shaped = first if architecture["layers"][0]["kind"] != "dense" else first[:, 0]
    answer = net(shaped)
    value = loss_of(loss, answer, target)
    gradients = torch.autograd.grad(value, net.weights())
    record |= {"answers": flat(answer), "value": float(value), "gradients": [flat(g) for g in gradients]}
    # Three steps of AdamW from these gradients.
    optimiser = torch.optim.AdamW(net.weights(), lr=0.01, weight_decay=0.1)
    for weight, gradient in zip(net.weights(), gradients):
        weight.grad = gradient
    for _ in range(3):
        optimiser.step()
    record["after_adamw"] = [flat(p) for p in net.weights()]
    # Fifty steps of Adam in 32 bits, batches in order, gradients bounded.
    net.float()
    for weight, value in zip(net.weights(), start):
        weight.data = value.clone()
    optimiser = torch.optim.Adam(net.weights(), lr=0.01)
    curve = []
    for step in range(50):
        at = step * batch % rows
        shaped = x[at : at + batch] if architecture["layers"][0]["kind"] != "dense" else x[at : at + batch, 0]
        optimiser.zero_grad()
        value = loss_of(loss, net(shaped), y[at : at + batch])
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.weights(), 1.0)
        optimiser.step()
        curve.append(float(value))
    record["curve"] = curve
    return record


def recurrent(kind, inputs, units, count):
    made = []
    for layer in range(count):
        size = inputs if layer == 0 else units
        made.append({"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](size, units, batch_first=True))
    return made


def main():
    tanh = lambda kind, units: {"kind": kind, "units": units, "activation": "tanh"}
    dense = lambda units, activation=None: {"kind": "dense", "units": units, "activation": activation}
    linear = torch.nn.Linear
    cases = [
        case("lstm", {"inputs": 3, "steps": 5, "layers": [tanh("lstm", 7), dense(1)]},
             lambda: [*recurrent("lstm", 3, 7, 1), linear(7, 1)], "squared", 4, 24, 1),
        case("stacked lstm", {"inputs": 1, "steps": 7, "layers": [tanh("lstm", 10)] * 3 + [dense(3)]},
             lambda: [*recurrent("lstm", 1, 10, 3), linear(10, 3)], "pinball", 8, 40, 2),
        case("wide lstm", {"inputs": 8, "steps": 4, "layers": [tanh("lstm", 33), dense(2)]},
             lambda: [*recurrent("lstm", 8, 33, 1), linear(33, 2)], "cross_entropy", 6, 24, 3),
        case("relu lstm", {"inputs": 2, "steps": 6, "layers": [{"kind": "lstm", "units": 9, "activation": "relu"}, dense(1)]},
             lambda: [ReluLstm(2, 9), linear(9, 1)], "squared", 5, 25, 4),
        case("gru", {"inputs": 3, "steps": 5, "layers": [tanh("gru", 18), tanh("gru", 18), dense(1)]},
             lambda: [*recurrent("gru", 3, 18, 2), linear(18, 1)], "squared", 4, 24, 5),
        case("mlp", {"inputs": 20, "steps": 1, "layers": [dense(17, "relu"), dense(9, "tanh"), dense(3)]},
             lambda: [linear(20, 17), torch.nn.ReLU(), linear(17, 9), torch.nn.Tanh(), linear(9, 3)], "pinball", 8, 40, 6),
    ]
    print(json.dumps({"torch": torch.__version__, "cases": cases}))


main()
