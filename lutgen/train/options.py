"""What a user chooses for a training run, checked before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from lutgen.numeric import Format, as_int
from lutgen.spec import LAYER_METRICS, METRICS, DigitSpec
from lutgen.train.arch import ARCHES
from lutgen.train.convert import LayerOptions
from lutgen.train.floatnet import Conv2d, FloatNet, Weighted
from lutgen.train.lookups import reachable
from lutgen.train.optim import OPTIMISERS, SCHEDULES
from lutgen.train.tune import PARAMETERS

__all__ = ["ENCODES", "ORDERS", "STAGES", "TABLES", "Options", "StageOptions"]

STAGES = ("replace", "refit", "narrow", "calibrate", "joint")
ENCODES = ("pixel", "window")
ORDERS = ("hwc", "chw")
TABLES = ("free", "tied")

LAYER_FIELDS = (
    "subvec",
    "centroids",
    "metric",
    "table_bits",
    "activation_bits",
    "encode",
    "order",
)


CLOSED = ("samples", "restarts")
FLOAT = ("epochs", "batch", "learning_rate", "decay", "optimiser", "schedule")
TUNED = (*FLOAT, "beta", "distill", "follow", "hint", "soft", "temperature", "train")
# The least and the most of numbers, which float32, that training computes in, can compute with.
LIMITS = {
    "beta": (0.0, 1e9),
    "decay": (0.0, 1e3),
    "distill": (0.0, 1.0),
    "follow": (0.0, 1.0),
    "hint": (0.0, 1e9),
    "learning_rate": (0.0, 1e30),
    "ridge": (0.0, 1e12),
    "soft": (0.0, 1.0),
    "temperature": (1e-6, 1e6),
}
STAGE_FIELDS = {
    "float": FLOAT,
    "replace": CLOSED,
    "refit": (*CLOSED, "ridge"),
    "narrow": ("samples", "ridge"),
    "calibrate": TUNED,
    "joint": TUNED,
}


@dataclass(frozen=True)
class StageOptions:
    """Settings of one stage; None for what suits the stage and the data.

    Parameters
    ----------
    samples : int or None
        Of ``replace``, ``refit`` and ``narrow``: training samples they look at.
    restarts : int or None
        Of ``replace`` and ``refit``: k-means runs, the best of which is kept.
    ridge : float or None
        Of ``refit``: how strongly tables are drawn to codebooks times weights, and of ``narrow``,
        to what they were; None for what explains samples best that were left out, in each layer.
    epochs, batch, learning_rate, decay, optimiser, schedule
        Of ``float``, ``calibrate`` and ``joint``: see `lutgen.train.tune.Tuning`.
    beta, distill, follow, hint, soft, temperature, train
        Of ``calibrate`` and ``joint``: see there. ``train`` may be text, with commas.
    """

    samples: int | None = None
    restarts: int | None = None
    ridge: float | None = None
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    decay: float | None = None
    beta: float | None = None
    distill: float | None = None
    follow: float | None = None
    hint: float | None = None
    soft: float | None = None
    temperature: float | None = None
    optimiser: str | None = None
    schedule: str | None = None
    train: Sequence[str] | None = None

    def chosen(self) -> dict[str, Any]:
        """The settings that are not None."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {key: value for key, value in own.items() if value is not None}


def stage_options(stage: str, settings: StageOptions | Mapping[str, Any]) -> StageOptions:
    """Settings of a stage as plain numbers.

    Raises
    ------
    TypeError, ValueError
        Of the first that is wrong, or that the stage has not.
    """
    _choice(stage, tuple(STAGE_FIELDS), "Stage of a setting")
    chosen = settings.chosen() if isinstance(settings, StageOptions) else settings
    result: dict[str, Any] = {}
    for name, value in chosen.items():
        what = f"Setting {name!r} of stage {stage!r}"
        if name not in STAGE_FIELDS[stage]:
            raise ValueError(f"{what} does not exist; there are {', '.join(STAGE_FIELDS[stage])}")
        if name in ("optimiser", "schedule"):
            result[name] = _choice(value, OPTIMISERS if name == "optimiser" else SCHEDULES, what)
        elif name == "train":
            parts = tuple(value.split(",") if isinstance(value, str) else value)
            result[name] = tuple(_choice(part, PARAMETERS, what) for part in parts)
        elif name in ("samples", "restarts", "epochs", "batch"):
            low = 0 if name == "epochs" and stage != "float" else 1
            result[name] = as_int(value, what, low=low)
        else:
            result[name] = _number(value, what, *LIMITS[name])
            if name == "learning_rate" and not value:
                raise ValueError(f"{what} must be positive, not {value}")
    return StageOptions(**result)


def _number(value: object, what: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{what} must be a number, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{what} must be a number from {low:g} to {high:g}, not {value}")
    return float(value)


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of a training run.

    Parameters
    ----------
    arch : sequence of int, or str
        Outputs of the hidden layers of a perceptron, may be empty; or ``lenet5``, ``resnet8``.
    subvec : int or None
        Sub-vector length v; None for 4, or 1 for metric ``digit``.
    centroids : int
        Centroids c; a power of two for metric ``digit``.
    metric : str
        ``l1``, ``l2``, ``chebyshev`` or ``digit``.
    table_bits : int or None
        2..8, or 2..16 for metric ``digit``; None for the most.
    activation_bits : int
        2..16, of hidden activations, and the most that inputs get.
    encode : str
        ``pixel`` or ``window``, of convolutions.
    order : str
        ``hwc`` or ``chw``: how the inputs of a window follow each other.
    tables : str
        ``free``: parameters of their own from the refit on; ``tied``: codebooks times weights.
    layers : mapping of str to mapping
        For single layers, by name: any of ``subvec``, ``centroids``, ``metric``, ``table_bits``,
        ``activation_bits``, ``encode``, ``order``.
    stages : sequence of str
        Which of ``replace``, ``refit``, ``narrow``, ``calibrate``, ``joint`` are run; always in
        this order. ``narrow`` starts from a checkpoint of other table bits, not from the first two.
    settings : mapping of str to StageOptions or mapping
        By stage; ``float`` is one here.
    seed : int
        Fixes everything random.
    float_epochs, epochs : int or None
        Passes over the data for the float network and for the joint stage; None for what
        ``settings`` say, or a number that suits the data. 0 epochs leave the joint stage out.

    Raises
    ------
    TypeError, ValueError
        Of the first option that is wrong.
    """

    arch: Sequence[int] | str = (256, 128)
    subvec: int | None = None
    centroids: int = 16
    metric: str = "l1"
    table_bits: int | None = None
    activation_bits: int = 8
    encode: str = "pixel"
    order: str = "chw"
    tables: str = "free"
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stages: Sequence[str] = ("replace", "refit", "joint")
    settings: Mapping[str, StageOptions | Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    float_epochs: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("arch", _arch(self.arch))
        put("seed", as_int(self.seed, "Seed", low=0))
        for key, value in asdict(self.layer()).items():
            if getattr(self, key) is not None:
                put(key, value)
        put("layers", {name: self._own(name, chosen) for name, chosen in self.layers.items()})
        _choice(self.tables, TABLES, "Tables")
        if isinstance(self.stages, str):
            raise TypeError(f"Stages must be a sequence of names, not {self.stages!r}")
        for stage in self.stages:
            _choice(stage, STAGES, "Stage")
        put("stages", tuple(stage for stage in STAGES if stage in self.stages))
        if "narrow" in self.stages and {"replace", "refit"} & set(self.stages):
            raise ValueError("Stages must hold replace and refit, or narrow, not both")
        settings = {name: stage_options(name, chosen) for name, chosen in self.settings.items()}
        put("settings", settings)
        for key, stage, low in (("float_epochs", "float", 1), ("epochs", "joint", 0)):
            value = getattr(self, key)
            if value is not None:
                put(key, as_int(value, key.replace("_", " ").capitalize(), low=low))
            elif stage in settings:
                put(key, settings[stage].epochs)

    def _own(self, name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of one layer, checked, as plain values."""
        for key in chosen:
            if key not in LAYER_FIELDS:
                raise ValueError(
                    f"Layer {name!r} has no setting {key!r}; there are {', '.join(LAYER_FIELDS)}"
                )
        try:
            checked = self.layer(name)
        except (TypeError, ValueError) as error:
            raise type(error)(f"Layer {name!r}: {error}") from None
        return {key: getattr(checked, key) for key in chosen}

    def layer(self, name: str | None = None) -> LayerOptions:
        """How the layer of that name becomes lookups; None for those without settings of their
        own.
        """
        own = {key: getattr(self, key) for key in LAYER_FIELDS}
        chosen = dict(self.layers.get(name, {})) if name is not None else {}
        if (chosen.get("metric") in METRICS) != (self.metric in METRICS) and "metric" in chosen:
            own |= {"subvec": None, "table_bits": None}  # of the other kind of layer
        own |= chosen
        _choice(own["metric"], LAYER_METRICS, "Metric")
        digit = own["metric"] not in METRICS
        subvec = (1 if digit else 4) if own["subvec"] is None else own["subvec"]
        bits = (16 if digit else 8) if own["table_bits"] is None else own["table_bits"]
        result = LayerOptions(
            subvec=as_int(subvec, "Sub-vector length", low=1),
            centroids=as_int(own["centroids"], "Centroids", low=2),
            metric=own["metric"],
            table_bits=as_int(bits, "Table bits", low=2, high=16 if digit else 8),
            activation_bits=as_int(own["activation_bits"], "Activation bits", low=2, high=16),
            encode=_choice(own["encode"], ENCODES, "Encode"),
            order=_choice(own["order"], ORDERS, "Order"),
        )
        if result.centroids > 1 << 16:
            raise ValueError(f"Centroids must be at most {1 << 16}, not {result.centroids}")
        if digit and result.subvec != 1:
            raise ValueError(f"Sub-vector length of a digit layer must be 1, not {result.subvec}")
        if digit:
            _check_digit(result, Format(self.activation_bits, False))
        return result

    def for_network(self, net: FloatNet, source: Format) -> dict[str, LayerOptions]:
        """Settings of every layer of a network, by name.

        Raises
        ------
        ValueError
            If they do not go with the network; the text names the layer.
        """
        weighted = [layer for layer in net.layers if isinstance(layer, Weighted)]
        for name in self.layers:
            if name not in [layer.name for layer in weighted]:
                names = ", ".join(layer.name for layer in weighted)
                raise ValueError(f"Layer {name!r} does not exist; there are {names}")
        result = {}
        for i, layer in enumerate(weighted):
            own, chosen = self.layer(layer.name), self.layers.get(layer.name, {})
            if "encode" in chosen and not isinstance(layer, Conv2d):
                raise ValueError(f"Layer {layer.name!r} is linear and has no setting 'encode'")
            taps = layer.rows.taps if own.encode == "window" else 1
            row = layer.rows.features * taps
            if own.subvec > row:
                # An option for all layers gives way where channels are few; one for this layer not.
                if "subvec" in chosen:
                    raise ValueError(
                        f"Layer {layer.name!r}: Sub-vector length must not exceed its {row} "
                        f"inputs, as {own.subvec} does"
                    )
                if not isinstance(layer, Conv2d):
                    raise ValueError(
                        f"Sub-vector length must not exceed the {row} inputs of layer {i + 1}, "
                        f"as {own.subvec} does"
                    )
                own = replace(own, subvec=row)
            if own.metric == "digit" and layer.inputs[0] == "input":
                _check_digit(own, source)
            result[layer.name] = own
        return result

    def stage(self, name: str) -> StageOptions:
        """Settings of a stage; epochs are in `float_epochs` and `epochs` too, which come first."""
        own = self.settings.get(name, StageOptions())
        assert isinstance(own, StageOptions)
        epochs = {"float": self.float_epochs, "joint": self.epochs}.get(name)
        return own if epochs is None else replace(own, epochs=epochs)

    def to_manifest(self) -> dict[str, Any]:
        """For a model's provenance: everything but the seed, which stands beside it."""
        own: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        del own["seed"]
        overall = self.layer()
        return own | {
            "arch": self.arch if isinstance(self.arch, str) else list(self.arch),
            "subvec": overall.subvec,
            "table_bits": overall.table_bits,
            "layers": {name: dict(chosen) for name, chosen in self.layers.items()},
            "stages": list(self.stages),
            "settings": {name: _json(self.stage(name).chosen()) for name in self.settings},
        }


def _json(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}


def _arch(arch: Sequence[int] | str) -> tuple[int, ...] | str:
    if isinstance(arch, str):
        return _choice(arch, ARCHES, "Architecture")
    if not isinstance(arch, Sequence):
        raise TypeError(f"Architecture must be a sequence of layer sizes, not {arch!r}")
    return tuple(as_int(n, "Layer size", low=1, high=1 << 16) for n in arch)


def _choice(value: object, choices: tuple[str, ...], what: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


def _check_digit(own: LayerOptions, element: Format) -> None:
    """Tables must hold the greatest digit's worth times a weight of 1."""
    largest = int(abs(reachable(DigitSpec(element, own.centroids))).max())
    needed = 1 + largest.bit_length()
    if own.table_bits < needed:
        raise ValueError(
            f"Table bits must be at least {needed} for digit layers of {own.centroids} "
            f"centroids on {element.bits}-bit activations, not {own.table_bits}"
        )
