"""Files of PyTorch and scikit-learn with what they answer, for the tests of `interop`.

python interop_files.py torch tests/data/interop    (needs torch; made with 2.15.0)
python interop_files.py scalers tests/data/interop  (scikit-learn, joblib)

The files are kept and need no second run.
"""

import io
import json
import os
import pickle
import sys

import numpy as np


def network_class(torch):
    class Network(torch.nn.Module):
        def __init__(self, kind, inputs, units, layers):
            super().__init__()
            self.rnn = kind(inputs, units, layers, batch_first=True)
            self.head = torch.nn.Linear(units, 1)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    Network.__qualname__ = "Network"  # as if it stood at the head of a script
    return Network


def torch_files(folder):
    import torch

    torch.manual_seed(3)

    globals()["Network"] = Network = network_class(torch)
    rows = torch.randn(4, 5, 1)
    expected = {"rows": rows.reshape(4, 5).tolist()}
    gru = Network(torch.nn.GRU, 1, 3, 2)
    torch.save(gru.state_dict(), f"{folder}/gru.pt")
    lstm = Network(torch.nn.LSTM, 1, 4, 1)
    state = {name: value.half() for name, value in lstm.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, f"{folder}/half.pt")
    lstm.load_state_dict({name: value.float() for name, value in state.items()})
    with torch.no_grad():
        expected["gru"] = gru(rows).flatten().tolist()
        expected["half"] = lstm(rows).flatten().tolist()
    # Views: a transposed matrix, a part of a larger storage, other types.
    whole = torch.arange(12.0, dtype=torch.float64)
    tensors = {
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "part": whole[5:9].reshape(2, 2),
        "bfloat16": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
        "long": torch.tensor([-3, 2**40]),
        "scalar": torch.tensor(7.0),
    }
    torch.save(tensors, f"{folder}/views.pt")
    expected["views"] = {name: value.double().flatten().tolist() for name, value in tensors.items()}
    torch.save(gru, f"{folder}/whole-model.pt")
    torch.save(gru.state_dict(), f"{folder}/legacy.pt", _use_new_zipfile_serialization=False)
    with open(f"{folder}/torch.json", "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


class Evil:
    def __reduce__(self):
        return (os.system, ("touch executed",))


def scalers(folder):
    import joblib
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    x = np.array([[1.0, 10.0], [2.0, 30.0], [4.0, 20.0]])
    expected = {"rows": x.tolist()}
    for name, scaler in [
        ("standard", StandardScaler()),
        ("min-max", MinMaxScaler((-1, 1))),
        ("no-mean", StandardScaler(with_mean=False)),
    ]:
        scaler.fit(x)
        expected[name] = scaler.transform(x).tolist()
        joblib.dump(scaler, f"{folder}/{name}.pkl")
        for protocol in [0, 2, 4, 5]:
            if name == "standard" and protocol != 0:
                with open(f"{folder}/{name}-{protocol}.pkl", "wb") as file:
                    pickle.dump(scaler, file, protocol=protocol)
    joblib.dump(RobustScaler().fit(x), f"{folder}/robust.pkl")
    joblib.dump(StandardScaler().fit(x), f"{folder}/compressed.pkl", compress=3)
    # A scaler whose mean is something that runs when it is loaded.
    evil = StandardScaler().fit(x)
    evil.mean_ = Evil()
    for protocol in [2, 4]:
        buffer = io.BytesIO()
        pickle.dump(evil, buffer, protocol=protocol)
        with open(f"{folder}/evil-{protocol}.pkl", "wb") as file:
            file.write(buffer.getvalue())
    with open(f"{folder}/scalers.json", "w") as file:
        json.dump(expected, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    {"torch": torch_files, "scalers": scalers}[sys.argv[1]](sys.argv[2])
