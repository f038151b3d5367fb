"""Time PyTorch on the processor: one epoch of training, one answer.

Usage: python bench/neural.py NAME [THREADS] [REPEATS]

Prints one line of JSON. `examples/bench_neural.rs` of the `neural` crate trains the same
network on as many windows with the same batch size, loss and optimiser. The loop below is
what people write; it moves tensors by slices and not by a DataLoader, which would cost it
more.
"""

import json
import sys
import time

import torch

# name: inputs, units, layers, steps, batch, rows; the same table stands in bench_neural.rs.
CASES = {
    "main-crypto": (1, 32, 1, 14, 2, 3_600),
    "amazon": (1, 10, 10, 7, 16, 6_500),
    "day": (8, 64, 1, 24, 64, 20_000),
    "hour": (8, 64, 1, 60, 64, 20_000),
}


class Net(torch.nn.Module):
    def __init__(self, inputs, units, layers):
        super().__init__()
        self.lstm = torch.nn.LSTM(inputs, units, layers, batch_first=True)
        self.fc = torch.nn.Linear(units, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


def main():
    name = sys.argv[1]
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    inputs, units, layers, steps, batch, rows = CASES[name]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    net = Net(inputs, units, layers)
    x, y = torch.rand(rows, steps, inputs) * 2 - 1, torch.rand(rows, 1) * 2 - 1
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    criterion = torch.nn.MSELoss()

    def epoch():
        order = torch.randperm(rows)
        shuffled_x, shuffled_y = x[order], y[order]
        for first in range(0, rows, batch):
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(net(shuffled_x[first : first + batch]), shuffled_y[first : first + batch])
            loss.backward()
            optimizer.step()

    # Warm: a part of an epoch is enough for the allocator.
    seconds = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        epoch()
        if repeat > 0:
            seconds.append(time.perf_counter() - start)

    net.eval()
    window = torch.rand(1, steps, inputs)
    answers = []
    with torch.inference_mode():
        for _ in range(2_000):
            start = time.perf_counter()
            float(net(window))
            answers.append(time.perf_counter() - start)
    answers.sort()
    print(
        json.dumps(
            {
                "peer": f"PyTorch {torch.__version__}",
                "threads": threads,
                "seconds": min(seconds),
                "windows_per_second": rows / min(seconds),
                "answer_seconds": answers[len(answers) // 2],
            }
        )
    )


if __name__ == "__main__":
    main()
