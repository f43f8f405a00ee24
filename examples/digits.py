"""Handwritten digits, from the data to a simulated chip, in a page of Python.

    python examples/digits.py [FOLDER]

Trains a lookup network on scikit-learn's bundled digits, writes ``digits.lut``, ``digits.v`` and
``digits.json`` into FOLDER (default: build/digits), and has Verilator compare every output of the
Verilog with the golden model.
"""

import sys
from pathlib import Path

import lutgen
from lutgen.train import load_data, train


def main(
    folder: Path,
    arch: tuple[int, ...] = (256, 128),
    samples: int | None = None,
    epochs: int | None = None,
) -> float:
    """Runs the flow on at most ``samples`` test samples; gives the model's accuracy."""
    folder.mkdir(parents=True, exist_ok=True)

    # 1. A network whose layers are table lookups: 4 inputs share one of 16 centroids.
    data = load_data("digits")
    result = train(data, arch=arch, subvec=4, centroids=16, metric="l1", seed=0, epochs=epochs)
    lutgen.save(result.model, folder / "digits.lut")

    # 2. The file holds integers only; golden inference is their exact meaning.
    model = lutgen.load(folder / "digits.lut")
    accuracy = float((model.predict(data.x_test).classes == data.y_test).mean())
    print(f"float network {100 * result.float_accuracy:.2f} %, model {100 * accuracy:.2f} %")

    # 3. Verilog and its contract. Thirty-two outputs at a time in the first layer.
    core = lutgen.build(model, layers={"fc1": {"lanes": 32}})
    core.write(folder / "digits.v")
    print(f"a result every {core.contract['interval']} cycles")

    # 4. The Verilog must give what golden gives, in every word, however its streams stall.
    inputs = model.quantise(data.x_test[:samples]).reshape(-1, core.contract["input"]["elements"])
    expected = model.run(inputs)[model.nodes[-1].name]
    report = lutgen.simulate(core.verilog, core.contract, inputs, expected, gaps=0.5)
    print(report.describe())
    if not report.passed:
        raise SystemExit(1)
    return accuracy


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/digits"))
