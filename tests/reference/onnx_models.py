"""Small ONNX graphs with what onnxruntime answers, for the tests of the feature `onnx`.

python onnx_models.py tests/data/onnx

Needs onnx and onnxruntime, which are not in requirements.txt: the files are kept and need
no second run (made with onnx 1.23.2 and onnxruntime 1.31.1).

mlp.onnx: 7 columns -> 16 ReLU -> 1; input [batch, 7].
lstm.onnx: a window of 7 steps of 1 column -> 8 units -> 1; input [1, 7, 1].
two.onnx: mlp with a second input, which no row has.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(11)


def tensor(name, *shape):
    values = (0.3 * RNG.standard_normal(shape)).astype(np.float32)
    return numpy_helper.from_array(values, name)


def save(folder, name, nodes, inputs, outputs, weights):
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test"
    )
    onnx.checker.check_model(model)
    onnx.save(model, f"{folder}/{name}.onnx")


def value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def mlp(folder):
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1),
    ]
    weights = [tensor("w1", 16, 7), tensor("b1", 16), tensor("w2", 1, 16), tensor("b2", 1)]
    save(folder, "mlp", nodes, [value("x", ["batch", 7])], [value("y", ["batch", 1])], weights)
    nodes.insert(0, helper.make_node("Add", ["x0", "z"], ["x"]))
    inputs = [value("x0", ["batch", 7]), value("z", ["batch", 7])]
    save(folder, "two", nodes, inputs, [value("y", ["batch", 1])], weights)


def lstm(folder):
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r", "b"], ["", "last"], hidden_size=8),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]),
        helper.make_node("Gemm", ["state", "w2", "b2"], ["y"], transB=1),
    ]
    weights = [
        tensor("w", 1, 32, 1),
        tensor("r", 1, 32, 8),
        tensor("b", 1, 64),
        numpy_helper.from_array(np.array([0], dtype=np.int64), "axis"),
        tensor("w2", 1, 8),
        tensor("b2", 1),
    ]
    save(folder, "lstm", nodes, [value("x", [1, 7, 1])], [value("y", [1, 1])], weights)


def main():
    folder = sys.argv[1]
    mlp(folder)
    lstm(folder)
    rows = RNG.standard_normal((5, 7)).astype(np.float32)
    expected = {"rows": rows.tolist()}
    for name, shape in [("mlp", (1, 7)), ("lstm", (1, 7, 1))]:
        session = onnxruntime.InferenceSession(f"{folder}/{name}.onnx")
        answers = [session.run(None, {"x": row.reshape(shape)})[0].item() for row in rows]
        expected[name] = answers
    with open(f"{folder}/expected.json", "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
