"""Settings that suit a network and its data, where the user gives none."""

from dataclasses import dataclass

from lutgen.train.augment import Augment
from lutgen.train.tune import Tuning

__all__ = ["Recipe", "recipe"]

MOVED = ("weight", "bias", "residual")  # by gradients; codebooks follow the activations


@dataclass(frozen=True)
class Recipe:
    """Settings of all stages.

    Attributes
    ----------
    augment : Augment
        In training; noise in parts of the inputs' range.
    float_noise : float
        Noise while the float network trains.
    float_epochs, batch : int
    samples : int
        That ``replace`` and ``refit`` look at.
    calibrate, joint : Tuning
    """

    augment: Augment
    float_noise: float
    float_epochs: int
    batch: int
    samples: int
    calibrate: Tuning
    joint: Tuning


def recipe(
    shape: tuple[int, ...], convolves: bool, count: int, trained: bool, longest: int = 4
) -> Recipe:
    """What suits ``count`` training samples of that shape.

    Parameters
    ----------
    convolves : bool
        Whether the network has convolutions.
    trained : bool
        Whether the float network comes trained.
    longest : int
        Sub-vector length, the greatest of all layers.
    """
    large = count >= 10_000
    batch = 128 if large else 64
    steps = -(-count // batch)
    # Few samples take more passes to as many steps.
    epochs = min(300, max(16, 1200 // steps))
    image = len(shape) == 3
    colour = image and shape[2] == 3 and min(shape[:2]) >= 16
    # Sides below 16 do not shift: a pixel of an 8x8 digit is a stroke.
    shift = (min(shape[:2]) // (10 if colour else 16)) if image else 0
    if convolves:
        noise = 0.0
        # On a pretrained ResNet-8 a third of it ended worse, if the epochs before the last better.
        many = 4 if trained else 12
        # Many small steps: on ResNet-8 the same images brought nearly twice as much as in steps of
        # 128 at twice the rate. A LeNet-5, whose tables have room to learn digits by heart, ended
        # better after large ones.
        joint = Tuning(
            epochs=min(epochs, many if large else 100),
            batch=16 if trained else 256 if large else batch,
            learning_rate=3e-3 if trained else 1e-2 if large else 5e-3,
            beta=1.0,
            distill=0.9,
            follow=0.1,
            hint=1.0,
            train=MOVED,
        )
        samples = 2000
    else:
        noise = 0.03 if shift else 0.1
        joint = Tuning(
            # Long sub-vectors lose more at first, and their epochs are shorter.
            epochs=(24 if longest <= 4 else 40) if large else epochs,
            batch=256 if large else batch,
            learning_rate=1e-2,
            beta=0.5,
            distill=0.5,
            follow=0.1,
            soft=0.5,
            train=MOVED,
        )
        samples = 4096
    return Recipe(
        augment=Augment(flip=colour, shift=shift, noise=noise),
        float_noise=0.0 if convolves else (0.1 if shift else 0.15),
        float_epochs=epochs,
        batch=batch,
        samples=samples,
        calibrate=Tuning(
            epochs=2, batch=batch, learning_rate=1e-3, beta=1.0, distill=0.5, train=("books",)
        ),
        joint=joint,
    )
