"""A network of your own: from its float layers to lookups, in a page of Python.

    python examples/own_network.py [FOLDER]

Trains a small convolutional network on scikit-learn's bundled digits, replaces its layers by
lookups, prints what each layer costs, builds the core, and writes ``own.lut``, ``own.v`` and
``own.json`` into FOLDER (default: build/own_network).
"""

import sys
from pathlib import Path

import numpy as np

import lutgen
from lutgen.train import Conv2d, Flatten, FloatNet, Linear, MaxPool2d, ReLU, he, load_data, train


def main(folder: Path, float_epochs: int = 40, epochs: int = 10) -> float:
    """Runs the example; gives the model's accuracy."""
    folder.mkdir(parents=True, exist_ok=True)

    # 1. Layers by name, each with the names that it reads; weights to begin with from he().
    data = load_data("digits")
    rng = np.random.default_rng(0)
    net = FloatNet(
        data.shape,  # (8, 8, 1): rows, columns, channels
        [
            Conv2d("conv1", ["input"], he(rng, (3, 3, 1, 16)), pad=(1, 1, 1, 1)),
            ReLU("relu1", ["conv1"]),
            MaxPool2d("pool1", ["relu1"], (2, 2), (2, 2)),
            Conv2d("conv2", ["pool1"], he(rng, (3, 3, 16, 16))),
            ReLU("relu2", ["conv2"]),
            Flatten("flatten", ["relu2"]),
            Linear("fc1", ["flatten"], he(rng, (2 * 2 * 16, 10))),
        ],
    )

    # 2. The float network is trained first, as float_epochs says; one that comes trained needs
    # none. Two inputs share a centroid, but the first layer is exact: it has a single channel.
    result = train(
        data,
        net=net,
        float_epochs=float_epochs,
        epochs=epochs,
        subvec=2,
        layers={"conv1": {"metric": "digit"}},
    )
    lutgen.save(result.model, folder / "own.lut")

    # 3. What became of it.
    for stage, accuracy in result.accuracy.items():
        print(f"{stage:8} {100 * accuracy:6.2f} %")
    for layer in result.layers:
        print(f"{layer.name:8} {layer.shape:9} {layer.table_bytes:6} bytes of tables")

    # 4. The core, once small, and once with whole windows in registers: with nine taps looked up in
    # a cycle the second convolution no longer holds up the rest.
    small = lutgen.build(result.model)
    fast = lutgen.build(result.model, layers={"conv1": {"fan_in": 18}, "conv2": {"fan_in": 18}})
    for name, core in ("small", small), ("fast", fast):
        print(f"{name:8} {core.contract['interval']:6} cycles a sample")
    fast.write(folder / "own.v")
    return result.model_accuracy


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/own_network"))
