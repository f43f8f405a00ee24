"""Parameter objects of the hardware's blocks: each validates itself, derives every width, states
its latency and interval, and computes what the block computes.
"""

from lutgen.spec.distance import METRICS, DistanceSpec
from lutgen.spec.encoder import DigitSpec, EncoderSpec
from lutgen.spec.linear import LAYER_METRICS, LinearSpec, acc_format, format_acc_format
from lutgen.spec.matcher import BankSpec, RequantiserSpec, TreeSpec

__all__ = [
    "LAYER_METRICS",
    "METRICS",
    "BankSpec",
    "DigitSpec",
    "DistanceSpec",
    "EncoderSpec",
    "LinearSpec",
    "RequantiserSpec",
    "TreeSpec",
    "acc_format",
    "format_acc_format",
]
