"""What `lutgen train` shows: progress, the layers, accuracies."""

import sys
import time
from typing import Any

from lutgen.cli import common
from lutgen.cli.streams import CLEAR
from lutgen.model import digest
from lutgen.train import LayerReport, Progress, TrainResult

__all__ = ["Reporter", "data_of", "show"]

LAYER_HEADERS = (
    *("layer", "shape", "encode", "metric", "subvec", "centroids", "bits", "table bytes"),
    *("distance", "usage", "lost %", "share %"),
)


class Reporter:
    """Progress on standard error: rewritten in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = float("-inf")
        self._open = False  # whether the cursor stands behind a line

    def report(self, progress: Progress) -> None:
        """Shows one step."""
        final = progress.done == progress.total or progress.seconds_left is None
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(CLEAR)
            sys.stderr.write(str(progress) + ("\n" if final else ""))
            sys.stderr.flush()
            self._open = not final
        elif final or now - self._last >= 5:
            self._last = now
            print(progress, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line that may stand open, for what is said next."""
        if self._open:
            sys.stderr.write("\n")
            self._open = False


def data_of(result: TrainResult, path: str, values: int) -> dict[str, Any]:
    """What ``--json`` prints; ``values`` are those of all test samples together."""
    return {
        "model": path,
        "name": result.model.name,
        "sha256": digest(result.model),
        "accuracy": {**result.accuracy, "held_out": result.held_accuracy},
        "layers": [layer.to_manifest() for layer in result.layers],
        "curves": {
            "float": [{"loss": loss} for loss in result.float_losses],
            **{stage: [vars(epoch) for epoch in own] for stage, own in result.curves.items()},
        },
        "notes": result.notes,
        "clamped": {
            "values": result.clamped,
            "of": values,
            "share": result.clamped / values,
        },
        "kept": {stage: found.data() for stage, found in result.kept.items()},
        "diverged": result.diverged or None,
        "seed": result.model.provenance["seed"],
        "settings": result.model.provenance["settings"],
        "seconds": round(result.seconds, 3),
    }


def show(result: TrainResult, path: str, samples: int) -> None:
    """One line of summary, the layers, and the accuracy of every stage."""
    print(
        f"{path}: {100 * result.model_accuracy:.2f} % on {samples} "
        f"test samples (float {100 * result.float_accuracy:.2f} %), {result.seconds:.0f} s"
    )
    common.print_table(LAYER_HEADERS, [row(layer) for layer in result.layers])
    for stage, value in result.accuracy.items():
        found = result.kept.get(stage)
        after = "" if found is None else f", {found.text()}"
        print(f"accuracy  {stage} {100 * value:.2f} %{after}")


def row(layer: LayerReport) -> list[object]:
    """A layer's row of the table; exact layers have no distances."""
    exact = layer.metric == "digit"
    return [
        *(layer.name, layer.shape, layer.encode, layer.metric),
        *(layer.subvec, layer.centroids, layer.table_bits, layer.table_bytes),
        None if exact else round(layer.error, 3),
        None if exact else round(layer.usage, 2),
        None if layer.lost is None else round(100 * layer.lost, 2),
        None if layer.share is None else round(100 * layer.share, 1),
    ]
