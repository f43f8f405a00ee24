"""The float network that lookup training starts from: layers, forward and backward, in numpy.

Images stand as ``[C, batch, H, W]``, vectors as ``[K, batch]``.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.train.conv import Dense, Rows, Taps, Window, gathered
from lutgen.train.optim import Float32Array

__all__ = [
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "Clip",
    "Conv2d",
    "Flatten",
    "FloatLayer",
    "FloatNet",
    "Linear",
    "MaxPool2d",
    "ReLU",
    "Weighted",
    "columns",
    "cross_entropy",
    "flat",
    "unflat",
]

Shape = tuple[int, ...]  # of one sample, (C, H, W) or (K,)


def columns(x: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Samples ``[sample, H, W, C]`` or ``[sample, K]`` with the batch inside.

    Parameters
    ----------
    shape : tuple of int
        ``(C, H, W)`` or ``(K,)``.
    """
    if len(shape) == 1:
        return np.ascontiguousarray(x.reshape(len(x), -1).T)
    c, h, w = shape
    return np.ascontiguousarray(x.reshape(len(x), h, w, c).transpose(3, 0, 1, 2))


def flat(x: Float32Array) -> Float32Array:
    """Images ``[C, batch, H, W]`` as vectors ``[K, batch]``: rows, columns, channels."""
    if x.ndim == 2:
        return x
    return x.transpose(2, 3, 0, 1).reshape(-1, x.shape[1])


def unflat(x: Float32Array, shape: Shape) -> Float32Array:
    """What `flat` made vectors of: arrays of that shape, the batch inside."""
    if len(shape) == 2:
        return x
    channels, batch, height, width = shape
    return np.ascontiguousarray(x.reshape(height, width, channels, batch).transpose(2, 3, 0, 1))


def cross_entropy(
    logits: Float32Array, y: NDArray[np.integer], soft: Float32Array | None = None
) -> tuple[float, Float32Array]:
    """Softmax cross-entropy, mean over the batch, and its gradient by the logits.

    Parameters
    ----------
    logits : float array ``[classes, batch]``
    y : int array ``[batch]``
    soft : float array ``[classes, batch]`` or None
        Probabilities to come near to in place of the classes.
    """
    shifted = logits - logits.max(axis=0)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=0)
    gradient /= total
    samples = np.arange(logits.shape[1])
    if soft is None:
        loss = float(np.mean(np.log(total) - shifted[y, samples]))
        gradient[y, samples] -= 1
    else:
        loss = float(np.mean(np.log(total) - (soft * shifted).sum(axis=0)))
        gradient -= soft
    gradient /= logits.shape[1]
    return loss, gradient


class FloatLayer:
    """One layer of a float network.

    Parameters
    ----------
    name : str
        A Verilog identifier, unlike any other of the network.
    inputs : sequence of str
        The layers that feed it, or ``input``.
    """

    def __init__(self, name: str, inputs: Sequence[str]):
        self.name, self.inputs = name, tuple(inputs)

    @property
    def parameters(self) -> list[Float32Array]:
        """The trained arrays; updated in place."""
        return []

    def infer(self, shapes: list[Shape]) -> Shape:
        """Shape of the output; ValueError if the inputs do not fit."""
        raise NotImplementedError

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        """The output, and what `backward` needs."""
        raise NotImplementedError

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        """Gradients by the inputs and by the parameters."""
        raise NotImplementedError

    def absorb(self, memory: Any) -> None:
        """Takes in what a training pass has seen (batch statistics)."""

    def _one(self, shapes: list[Shape], rank: int | None = None) -> Shape:
        if len(shapes) != 1:
            raise ValueError(f"Layer {self.name!r} must have 1 input, not {len(shapes)}")
        if rank is not None and len(shapes[0]) != rank:
            kind = {1: "a vector; put a Flatten before it", 3: "an image"}[rank]
            raise ValueError(f"Layer {self.name!r} must read {kind}")
        return shapes[0]


class Weighted(FloatLayer):
    """A layer of products: `Linear` or `Conv2d`.

    Attributes
    ----------
    weight : float32 array ``[taps, K, n]``
    bias : float32 array ``[n]``
    rows : Rows
    """

    rows: Rows
    window: Window | None = None

    def __init__(
        self, name: str, inputs: Sequence[str], weight: Float32Array, bias: Float32Array | None
    ):
        super().__init__(name, inputs)
        self.weight = np.array(weight, dtype=np.float32)
        outputs = self.weight.shape[-1]
        self.bias = np.zeros(outputs, np.float32) if bias is None else np.array(bias, np.float32)

    @property
    def parameters(self) -> list[Float32Array]:
        return [self.weight, self.bias]

    @property
    def outputs(self) -> int:
        """n, columns of the weight."""
        return int(self.weight.shape[-1])

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        (x,) = xs
        rows = gathered(self.rows)
        placed = rows.place(rows.rows(x), x.shape)
        y = rows.product(self.weight.reshape(rows.taps, -1, self.outputs), placed, x.shape)
        y += self.bias.reshape(-1, *[1] * (y.ndim - 1))
        return y, (placed, x.shape)

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        placed, shape = memory
        rows = gathered(self.rows)
        weight = self.weight.reshape(rows.taps, -1, self.outputs)
        spread = rows.spread(gradient, shape)
        by_weight = rows.by_matrix(placed, spread, rows.features, self.outputs)
        own = [
            by_weight.reshape(self.weight.shape),
            gradient.reshape(len(gradient), -1).sum(axis=1),
        ]
        return [rows.back(rows.by_rows(weight, spread, shape), shape)], own


class Linear(Weighted):
    """Products with a matrix ``[K, n]``."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        weight: Float32Array,
        bias: Float32Array | None = None,
    ):
        super().__init__(name, inputs, weight[None], bias)
        self.rows = Dense(weight.shape[0])

    def infer(self, shapes: list[Shape]) -> Shape:
        (features,) = self._one(shapes, 1)
        if features != self.rows.features:
            raise ValueError(
                f"Layer {self.name!r} has weights for {self.rows.features} inputs, "
                f"but {features} arrive"
            )
        return (self.outputs,)


class Conv2d(Weighted):
    """2-D convolution.

    Parameters
    ----------
    weight : float array ``[kh, kw, C, n]``
    stride, pad
        See `lutgen.train.conv.Window`.
    """

    window: Window

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        weight: Float32Array,
        bias: Float32Array | None = None,
        stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int, int, int] = (0, 0, 0, 0),
    ):
        kh, kw, channels, outputs = weight.shape
        super().__init__(name, inputs, weight.reshape(kh * kw, channels, outputs), bias)
        self.window = Window((kh, kw), stride, pad)
        self.rows = Taps(channels, self.window)

    def infer(self, shapes: list[Shape]) -> Shape:
        channels, height, width = self._one(shapes, 3)
        if channels != self.rows.features:
            raise ValueError(
                f"Layer {self.name!r} has weights for {self.rows.features} channels, "
                f"but {channels} arrive"
            )
        return (self.outputs, *_fit(self, self.window, height, width))


class BatchNorm(FloatLayer):
    """Normalises channels: by the batch in training, by running statistics otherwise.

    Parameters
    ----------
    gain, offset, mean, variance : float arrays ``[C]``
    epsilon : float
    momentum : float
        Share of the running statistics that a batch leaves.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[str],
        gain: Float32Array,
        offset: Float32Array,
        mean: Float32Array,
        variance: Float32Array,
        epsilon: float = 1e-5,
        momentum: float = 0.95,
    ):
        super().__init__(name, inputs)
        self.gain, self.offset = np.array(gain, np.float32), np.array(offset, np.float32)
        self.mean, self.variance = np.array(mean, np.float32), np.array(variance, np.float32)
        self.epsilon, self.momentum = epsilon, momentum

    @property
    def parameters(self) -> list[Float32Array]:
        return [self.gain, self.offset]

    def infer(self, shapes: list[Shape]) -> Shape:
        shape = self._one(shapes)
        if shape[0] != len(self.gain):
            raise ValueError(
                f"Layer {self.name!r} has {len(self.gain)} channels, but {shape[0]} arrive"
            )
        return shape

    def affine(self) -> tuple[Float32Array, Float32Array]:
        """Factor and offset ``[C]`` outside training."""
        factor = self.gain / np.sqrt(self.variance + np.float32(self.epsilon))
        return factor, self.offset - self.mean * factor

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        (x,) = xs
        flat = x.reshape(len(x), -1)
        if not training:
            factor, offset = self.affine()
            return (flat * factor[:, None] + offset[:, None]).reshape(x.shape), None
        mean = flat.mean(axis=1)
        centred = flat - mean[:, None]
        variance = np.einsum("ij,ij->i", centred, centred) / flat.shape[1]
        centred *= (1 / np.sqrt(variance + np.float32(self.epsilon)))[:, None]
        y = centred * self.gain[:, None] + self.offset[:, None]
        return y.reshape(x.shape), (centred, mean, variance)

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        flat = gradient.reshape(len(gradient), -1)
        if memory is None:
            raise RuntimeError("Batch norm trains on batch statistics only")
        unit, _, variance = memory
        by_gain = np.einsum("ij,ij->i", flat, unit)
        by_offset = flat.sum(axis=1)
        count = flat.shape[1]
        back = flat - (by_offset / count)[:, None] - unit * (by_gain / count)[:, None]
        back *= (self.gain / np.sqrt(variance + np.float32(self.epsilon)))[:, None]
        return [back.reshape(gradient.shape)], [by_gain, by_offset]

    def absorb(self, memory: Any) -> None:
        _, mean, variance = memory
        keep = np.float32(self.momentum)
        self.mean += (1 - keep) * (mean - self.mean)
        self.variance += (1 - keep) * (variance - self.variance)


class Clip(FloatLayer):
    """``min(max(x, low), high)``."""

    def __init__(self, name: str, inputs: Sequence[str], low: float, high: float):
        super().__init__(name, inputs)
        self.low, self.high = low, high

    def infer(self, shapes: list[Shape]) -> Shape:
        return self._one(shapes)

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        (x,) = xs
        y = np.clip(x, np.float32(self.low), np.float32(self.high))
        return y, (x > self.low) & (x < self.high)

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        return [gradient * memory], []


class ReLU(Clip):
    """``max(x, 0)``."""

    def __init__(self, name: str, inputs: Sequence[str]):
        super().__init__(name, inputs, 0.0, float("inf"))


class _Pool(FloatLayer):
    """A pool without padding; windows that do not fit are dropped."""

    def __init__(
        self, name: str, inputs: Sequence[str], kernel: tuple[int, int], stride: tuple[int, int]
    ):
        super().__init__(name, inputs)
        self.window = Window(kernel, stride)

    def infer(self, shapes: list[Shape]) -> Shape:
        channels, height, width = self._one(shapes, 3)
        return (channels, *_fit(self, self.window, height, width))


class MaxPool2d(_Pool):
    """The greatest of every window; equals share no gradient, the first tap takes it."""

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        (x,) = xs
        taps = list(self.window.slices(*x.shape[2:]))
        best = x[(..., *taps[0][2])].copy()
        for _, _, where in taps[1:]:
            np.maximum(best, x[(..., *where)], out=best)
        return best, (x, best)

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        x, best = memory
        back = np.zeros_like(x)
        free = np.ones(best.shape, dtype=bool)
        for _, _, where in self.window.slices(*x.shape[2:]):
            mine = free & (x[(..., *where)] == best)
            back[(..., *where)] += gradient * mine
            free &= ~mine
        return [back], []


class AvgPool2d(_Pool):
    """The mean of every window."""

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        (x,) = xs
        return self.sums(x) * np.float32(1 / np.prod(self.window.kernel)), x.shape

    def sums(self, x: Float32Array) -> Float32Array:
        """Sums ``[C, batch, H, W]`` of the windows."""
        total = np.zeros((*x.shape[:2], *self.window.out(*x.shape[2:])), dtype=x.dtype)
        for _, _, where in self.window.slices(*x.shape[2:]):
            total += x[(..., *where)]
        return total

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        back = np.zeros(memory, dtype=np.float32)
        part = gradient * np.float32(1 / np.prod(self.window.kernel))
        for _, _, where in self.window.slices(*memory[2:]):
            back[(..., *where)] += part
        return [back], []


class Add(FloatLayer):
    """The sum of two inputs or more."""

    def infer(self, shapes: list[Shape]) -> Shape:
        if len(shapes) < 2 or len(set(shapes)) != 1:
            text = ", ".join("x".join(map(str, s)) for s in shapes)
            raise ValueError(
                f"Layer {self.name!r} must have two inputs or more of one shape, not {text}"
            )
        return shapes[0]

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        total = xs[0] + xs[1]
        for x in xs[2:]:
            total += x
        return total, len(xs)

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        return [gradient] * memory, []


class Flatten(FloatLayer):
    """An image as a vector, in the order rows, columns, channels."""

    def infer(self, shapes: list[Shape]) -> Shape:
        return (int(np.prod(self._one(shapes))),)

    def forward(self, xs: list[Float32Array], training: bool) -> tuple[Float32Array, Any]:
        (x,) = xs
        return flat(x), x.shape

    def backward(
        self, memory: Any, gradient: Float32Array
    ) -> tuple[list[Float32Array], list[Float32Array]]:
        return [unflat(gradient, memory)], []


class FloatNet:
    """Layers in topological order; the last gives the logits.

    Parameters
    ----------
    shape : tuple of int
        Of one sample: ``(H, W, C)`` or ``(K,)``.
    layers : sequence of FloatLayer

    Raises
    ------
    ValueError
        Where layers do not fit each other; the text names the layer.
    """

    def __init__(self, shape: Shape, layers: Sequence[FloatLayer]):
        self.shape = tuple(shape)
        self.layers = list(layers)
        if len(self.shape) not in (1, 3):
            raise ValueError(f"Samples must be vectors or images (H, W, C), not {self.shape}")
        inside = self.shape if len(self.shape) == 1 else (self.shape[2], *self.shape[:2])
        self.shapes: dict[str, Shape] = {"input": inside}
        self.users: dict[str, list[str]] = {"input": []}
        if not self.layers:
            raise ValueError("A network must have at least one layer")
        for layer in self.layers:
            if layer.name in self.shapes:
                raise ValueError(f"Layer {layer.name!r} has a name that is used twice")
            for source in layer.inputs:
                if source not in self.shapes:
                    raise ValueError(
                        f"Layer {layer.name!r} reads {source!r}, which no earlier layer is"
                    )
                self.users[source].append(layer.name)
            self.shapes[layer.name] = layer.infer([self.shapes[n] for n in layer.inputs])
            self.users[layer.name] = []
        for name, users in self.users.items():
            if not users and name != self.layers[-1].name:
                raise ValueError(f"Layer {name!r} has a result that no layer reads")

    @property
    def inside(self) -> Shape:
        """Shape of the input as arrays hold it: ``(C, H, W)`` or ``(K,)``."""
        return self.shapes["input"]

    @property
    def parameters(self) -> list[Float32Array]:
        """All trained arrays, layer by layer."""
        return [p for layer in self.layers for p in layer.parameters]

    def state(self) -> list[Float32Array]:
        """All arrays that make the network: `parameters` and running statistics."""
        return [
            p
            for layer in self.layers
            for p in (
                *layer.parameters,
                *((layer.mean, layer.variance) if isinstance(layer, BatchNorm) else ()),
            )
        ]

    def copy(self) -> "FloatNet":
        """A network of its own arrays."""
        return FloatNet(self.shape, copy.deepcopy(self.layers))

    def run(
        self,
        x: Float32Array,
        visit: Callable[[FloatLayer, Float32Array], object] | None = None,
        swap: Mapping[str, Callable[[Float32Array], Float32Array]] | None = None,
    ) -> Float32Array:
        """Logits ``[classes, batch]`` of inputs with the batch inside.

        Parameters
        ----------
        visit : callable or None
            Called with every layer and its output.
        swap : mapping of str to callable or None
            What gives the output of single layers, by name, in their place.
        """
        values = {"input": x}
        left = {name: len(users) for name, users in self.users.items()}
        y = x
        for layer in self.layers:
            xs = [values[n] for n in layer.inputs]
            if swap is not None and layer.name in swap:
                y = swap[layer.name](xs[0])
            else:
                y = layer.forward(xs, False)[0]
            values[layer.name] = y
            if visit is not None:
                visit(layer, y)
            for name in layer.inputs:
                left[name] -= 1
                if not left[name]:
                    del values[name]
        return flat(y)

    def logits(self, x: NDArray[Any], *, unit: float = 1.0, batch: int = 256) -> Float32Array:
        """Logits ``[sample, classes]`` of samples ``[sample, ...]`` times ``unit``."""
        parts = [
            self.run(columns(x[s : s + batch], self.inside).astype(np.float32) * np.float32(unit)).T
            for s in range(0, len(x), batch)
        ]
        return np.concatenate(parts)

    def loss(
        self, x: Float32Array, y: NDArray[np.integer]
    ) -> tuple[float, list[Float32Array], list[Any]]:
        """Cross-entropy of a batch in training, its gradients by `parameters`, and what the
        layers remember of it, for `absorb`.
        """
        values = {"input": x}
        memories: list[Any] = []
        for layer in self.layers:
            value, memory = layer.forward([values[n] for n in layer.inputs], True)
            values[layer.name] = value
            memories.append(memory)
        result = values[self.layers[-1].name]
        loss, gradient = cross_entropy(flat(result), y)
        by: dict[str, Float32Array] = {self.layers[-1].name: unflat(gradient, result.shape)}
        gradients: list[Float32Array] = []
        for layer, memory in zip(reversed(self.layers), reversed(memories), strict=True):
            backs, own = layer.backward(memory, by.pop(layer.name))
            gradients[:0] = own
            for name, back in zip(layer.inputs, backs, strict=True):
                by[name] = by[name] + back if name in by else back
        return loss, gradients, memories

    def absorb(self, memories: list[Any]) -> None:
        """Updates running statistics by what `loss` remembered."""
        for layer, memory in zip(self.layers, memories, strict=True):
            layer.absorb(memory)


def _fit(layer: FloatLayer, window: Window, height: int, width: int) -> tuple[int, int]:
    rows, cols = window.out(height, width)
    if rows < 1 or cols < 1:
        raise ValueError(
            f"Layer {layer.name!r} has a kernel of {window.kernel[0]}x{window.kernel[1]} that "
            f"does not fit its input of {height}x{width}"
        )
    return rows, cols
