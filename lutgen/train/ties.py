"""Which hidden channels go together: a change to one must be made to all."""

from lutgen.train.floatnet import Add, BatchNorm, Clip, Flatten, FloatNet, Weighted

__all__ = ["Ties", "channels"]


class Ties:
    """Sets of layers whose channels stand for the same thing, channel by channel.

    Only layers of products give channels of their own; whatever else there is passes them on, and a
    residual join ties what it adds up.

    Parameters
    ----------
    net : FloatNet

    Attributes
    ----------
    widths : dict of str to int
        Channels of every set, by its root.
    fixed : set of str
        Roots of sets whose channels must stay what they are: those of the input and of the result,
        and where a vector is added to a flattened image.
    """

    def __init__(self, net: FloatNet):
        self._parent = {name: name for name in net.shapes}
        for layer in net.layers:
            if not isinstance(layer, Weighted):
                for source in layer.inputs:
                    self._parent[self.root(source)] = self.root(layer.name)
        widths: dict[str, set[int]] = {}
        for name in net.shapes:
            widths.setdefault(self.root(name), set()).add(channels(net, name))
        self.widths = {name: max(found) for name, found in widths.items()}
        self.fixed = {name for name, found in widths.items() if len(found) > 1}
        self.fixed |= {self.root("input"), self.root(net.layers[-1].name)}

    def root(self, name: str) -> str:
        """The set that the channels behind a layer belong to."""
        while self._parent[name] != name:
            name = self._parent[name]
        return name


def channels(net: FloatNet, name: str) -> int:
    """Channels behind a layer; a flattened image keeps the image's."""
    for layer in net.layers:
        if layer.name == name and isinstance(layer, Flatten | Clip | BatchNorm | Add):
            if isinstance(layer, Flatten) or len(net.shapes[name]) == 1:
                return channels(net, layer.inputs[0])
    return net.shapes[name][0]
