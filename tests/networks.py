"""Random float networks and lookup networks, small, with everything that networks may hold."""

import numpy as np

from lutgen.model import Activation
from lutgen.numeric import Format
from lutgen.train.arch import he
from lutgen.train.conv import Taps
from lutgen.train.convert import LayerOptions, convert
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    Clip,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
    Weighted,
    columns,
)
from lutgen.train.lookups import Vectors
from lutgen.train.lutnet import Wire
from lutgen.train.scales import fit_all

METRICS = ("l1", "l2", "chebyshev", "digit")


class Grower:
    """Layers one after another, named by number."""

    def __init__(self, rng, shape):
        self.rng, self.shape, self.layers = rng, shape, []
        self.now = "input"
        self.size = shape if len(shape) == 1 else (shape[2], *shape[:2])

    def put(self, kind, *more, inputs=None, **options):
        name = f"n{len(self.layers)}_{kind.__name__.lower()}"
        layer = kind(name, inputs or [self.now], *more, **options)
        self.layers.append(layer)
        shape = self.shape
        sizes = {"input": shape if len(shape) == 1 else (shape[2], *shape[:2])}
        for each in self.layers:
            sizes[each.name] = each.infer([sizes[n] for n in each.inputs])
        self.now, self.size = name, sizes[name]
        return name

    def weights(self, *shape):
        return he(self.rng, shape), self.rng.standard_normal(shape[-1]).astype(np.float32) * 0.2

    def conv(self, outputs=None, kernel=None, stride=None, same=False, inputs=None, source=None):
        rng, size = self.rng, source or self.size
        most = [min(3, n) for n in size[1:]]
        kernel = kernel or tuple(int(rng.integers(1, m + 1)) for m in most)
        if same:
            pad = [(k - 1) // 2 for k in kernel]
            pad = (*pad, *(k - 1 - p for k, p in zip(kernel, pad, strict=True)))
            stride = (1, 1)
        else:
            pad = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel))
            stride = stride or tuple(int(rng.integers(1, 3)) for _ in kernel)
        outputs = outputs or int(rng.integers(1, 5))
        weight, bias = self.weights(*kernel, size[0], outputs)
        return self.put(Conv2d, weight, bias, stride, pad, inputs=inputs)

    def linear(self, outputs=None):
        outputs = outputs or int(self.rng.integers(2, 6))
        return self.put(Linear, *self.weights(self.size[0], outputs))

    def same(self):
        """A layer of products that keeps the shape."""
        if len(self.size) == 3:
            return self.conv(self.size[0], same=True)
        return self.linear(self.size[0])

    def branch(self):
        """A residual join, of one of many kinds."""
        start, kind = self.now, self.rng.integers(5)
        if kind == 0:  # behind the join
            self.same()
            self.put(ReLU)
            end = self.same()
            self.put(Add, inputs=[start, end])
            self.put(ReLU)
        elif kind == 1:  # before it
            active = self.put(ReLU)
            end = self.same()
            self.put(Add, inputs=[end, start])
            if self.rng.random() < 0.5:
                self.put(Add, inputs=[self.now, active])
        elif kind == 2:  # both sides are converted, and one is clipped
            left = self.same()
            self.now = start
            self.same()
            right = self.put(Clip, -0.5, 1.0) if self.rng.random() < 0.5 else self.put(ReLU)
            self.put(Add, inputs=[left, right])
        elif kind == 3:  # three, one of them twice
            left = self.same()
            self.now = start
            right = self.same()
            self.put(Add, inputs=[left, start, right])
            self.put(Add, inputs=[self.now, left])
        elif len(self.size) == 3 and min(self.size[1:]) >= 2:  # a pool beside a convolution
            channels = self.size[0]
            kernel = (2, int(self.rng.integers(1, 3)))
            pooled = self.put(AvgPool2d, kernel, (2, 1))
            weight, bias = self.weights(*kernel, channels, channels)
            side = self.put(Conv2d, weight, bias, (2, 1), inputs=[start])
            self.put(Add, inputs=[side, pooled])

    def step(self):
        rng = self.rng
        image = len(self.size) == 3
        kind = rng.integers(8 if image else 4)
        if kind == 0:
            self.branch()
        elif kind == 1:
            self.conv() if image else self.linear()
        elif kind == 2:
            self.put(ReLU) if rng.random() < 0.7 else self.put(Clip, -1.0, float(rng.random() * 2))
        elif kind == 3:
            self.conv() if image else self.linear()
            self.put(ReLU)
        else:
            self.pool(MaxPool2d if kind < 6 else AvgPool2d) if kind != 7 else self.conv()

    def pool(self, kind):
        kernel = tuple(int(self.rng.integers(1, min(3, n) + 1)) for n in self.size[1:])
        stride = tuple(int(self.rng.integers(1, 3)) for _ in kernel)
        self.put(kind, kernel, stride)


def random_float_net(rng, *, steps=4, ends=True):
    """A network without batch norms; ``ends``: it may end in anything, not just in products."""
    if rng.random() < 0.7:
        shape = (int(rng.integers(2, 7)), int(rng.integers(2, 7)), int(rng.integers(1, 5)))
    else:
        shape = (int(rng.integers(2, 9)),)
    grower = Grower(rng, shape)
    for _ in range(steps):
        grower.step()
    if len(grower.size) == 3 and (not ends or rng.random() < 0.8):
        grower.put(Flatten)
    if not ends or rng.random() < 0.6:
        grower.linear() if len(grower.size) == 1 else grower.conv()
        if ends and rng.random() < 0.3:
            grower.put(ReLU)
    if not any(isinstance(layer, Weighted) for layer in grower.layers):
        return random_float_net(rng, steps=steps, ends=ends)
    return FloatNet(shape, grower.layers)


def random_options(rng, net, *, digit=0.25, bits=(2, 9)):
    """Settings of every layer."""
    result = {}
    for layer in net.layers:
        if not isinstance(layer, Weighted):
            continue
        encode = str(rng.choice(["window", "pixel"]))
        row = layer.rows.features
        if isinstance(layer.rows, Taps) and encode == "window":
            row *= layer.rows.taps
        exact = rng.random() < digit
        result[layer.name] = LayerOptions(
            subvec=1 if exact else int(rng.integers(1, min(row, 5) + 1)),
            centroids=2 ** int(rng.integers(1, 5)) if exact else int(rng.integers(2, 12)),
            metric="digit" if exact else str(rng.choice(METRICS[:3])),
            table_bits=16 if exact else int(rng.integers(2, 9)),
            activation_bits=random_bits(rng, bits),
            encode=encode,
            order=str(rng.choice(["hwc", "chw"])),
        )
    return result


def random_bits(rng, bits):
    return int(rng.integers(*bits)) if rng.random() < 0.8 else int(rng.integers(2, 17))


def random_inputs(rng, net, fmt, samples):
    """Samples ``[sample, ...]`` of every kind of integer of the format."""
    q = rng.integers(fmt.low, fmt.high + 1, (samples, *net.shape))
    return np.where(rng.random(q.shape) < 0.2, 0, q)


def inside(q, net):
    """Samples with the batch inside, as float32."""
    return columns(q, net.inside).astype(np.float32)


def shake(rng, lookup):
    """Codebooks anywhere in their format, now and then close to each other; tables free or tied."""
    if not isinstance(lookup, Vectors):
        return
    low, high = lookup.element.low, lookup.element.high
    if rng.random() < 0.2:
        low, high = max(low, -1), min(high, 2)
    lookup.books[:] = rng.uniform(low, high, lookup.books.shape)
    if lookup.spare:
        lookup.books[-1, :, lookup.subvec - lookup.spare :] = 0
    if rng.random() < 0.5:
        lookup.free()
        lookup.residual[:] = 0.3 * rng.standard_normal(lookup.residual.shape)


def random_lookup_net(rng, *, steps=4, ends=True, digit=0.25, samples=12, bits=(2, 9)):
    """A lookup network with random parameters and scales that suit them, its float network, and
    input integers.
    """
    origin = random_float_net(rng, steps=steps, ends=ends)
    fmt = Format(random_bits(rng, bits), bool(rng.random() < 0.5))
    source = Wire(fmt, float(rng.choice([1 / 64, 1.0, 0.3])))
    options = random_options(rng, origin, digit=digit, bits=bits)
    net = convert(origin, source, options, activation_bits=random_bits(rng, bits))
    for lookup in net.lookups.values():
        shake(rng, lookup)
    q = random_inputs(rng, net, fmt, samples)
    fit_all(net, inside(q, net))
    return net, origin, q


def activation(net):
    """Of the input, with the scale that integers have themselves."""
    return Activation(net.source.format.bits, net.source.format.signed, 1.0)
