"""The LUT-stationary engine: one parameter object for its gateware, its compiler and its driver."""

from dataclasses import dataclass, fields, replace
from typing import Any

from lutgen.numeric import Format, Grid, as_int, ceil_div, clog2
from lutgen.spec.channel import ChannelSpec, least_beat
from lutgen.spec.encoder import EncoderSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.linear import format_acc_format
from lutgen.spec.matcher import BankSpec, TreeSpec

__all__ = [
    "LEAST_PASS",
    "PRESETS",
    "WORD",
    "ChannelSpec",
    "EngineSpec",
    "ParameterError",
    "preset",
]

# LUT-DLA (arXiv 2501.10658), Table VII: v, lanes, rows; 16 centroids and two matchers each.
PRESETS = {
    "lut-dla-1": {"subvec": 3, "lanes": 128, "rows": 256},
    "lut-dla-2": {"subvec": 4, "lanes": 256, "rows": 256},
    "lut-dla-3": {"subvec": 3, "lanes": 768, "rows": 512},
}
WORD = 4  # bytes of a bias, and of an accumulator in the results
LEAST_PASS = 3  # cycles that a pass takes at least: a sum's way from the scratchpad and back
FIFO_ROWS = 16  # rows of indices between encoders and matchers, at least


class ParameterError(ValueError):
    """A parameter of an engine that is out of range.

    Parameters
    ----------
    field : str
        Its name.
    text : str
        What is wrong with it.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True)
class EngineSpec:
    """The LUT-stationary engine (LUT-DLA, sections IV and V; design note 0005).

    Parameters
    ----------
    codebooks : int
        The most sub-vectors of one input row, so that a matrix product may have up to ``codebooks *
        subvec`` input features. Sets the accumulators' width and the counters'.
    subvec, centroids, metric
        See `EncoderSpec`.
    activation_bits, table_bits, output_bits : int
        Bits of activations and centroids, of table entries, of requantised results. Whether
        activations are signed is said by each job.
    rows : int
        Rows of the scratchpad: input rows that one table tile serves before the next takes its
        place. At least `LEAST_PASS`.
    lanes : int
        Outputs of one matcher.
    fan_in : int
        Codebooks that are looked up in one cycle and summed by the accumulator tree.
    matchers : int
        Matchers, which look up the same indices for outputs of their own.
    encoders : int
        Encoders, a divisor of ``fan_in``; each takes the codebooks of a group that are its own one
        after the other.
    encoder_centroids, encoder_dims : int or None
        See `EncoderSpec`; None for all at once.
    index_rows : int or None
        Rows of the index buffer, of ``fan_in`` indices each. Input rows whose indices all fit are
        encoded once and reused by all tiles. None for ``rows * groups``.
    result_rows : int or None
        Rows of accumulators that wait for the result stream, while the next tile is under way.
        None for ``rows``.
    activation_beat, centroid_beat, table_beat, result_beat : int or None
        Bytes of the streams' beats. None for the least that keeps the matchers busy; 4 for
        centroids.
    ping_pong : bool
        Whether tables and codebooks have two halves, of which one loads while the other is in use.
    two_clocks : bool
        Whether encoders, activations and centroids have a clock of their own.
    has_map : bool
        Whether requantised results may go through a table on the way out, of ``2**output_bits``
        entries; up to 10 bits.
    """

    codebooks: int
    subvec: int
    centroids: int = 16
    metric: str = "l1"
    activation_bits: int = 8
    table_bits: int = 8
    output_bits: int = 8
    rows: int = 256
    lanes: int = 16
    fan_in: int = 1
    matchers: int = 1
    encoders: int = 1
    encoder_centroids: int | None = None
    encoder_dims: int | None = None
    index_rows: int | None = None
    result_rows: int | None = None
    activation_beat: int | None = None
    centroid_beat: int | None = None
    table_beat: int | None = None
    result_beat: int | None = None
    ping_pong: bool = True
    two_clocks: bool = False
    has_map: bool = False

    def __post_init__(self) -> None:
        self._check("codebooks", "Codebooks", 1, 1 << 16)
        self._check("subvec", "Sub-vector length", 1, 1 << 12)
        self._check("centroids", "Centroids", 2, 1 << 15)
        for name in ("activation", "table", "output"):
            self._check(f"{name}_bits", f"{name.capitalize()} bits", 2, 16)
        self._check("rows", "Rows", LEAST_PASS, 1 << 16)
        self._check("lanes", "Lanes", 1, 1 << 12)
        self._check("fan_in", "Fan-in", 1, self.codebooks)
        self._check("matchers", "Matchers", 1, 16)
        self._check("encoders", "Encoders", 1)
        if self.fan_in % self.encoders:
            raise ParameterError(
                "encoders",
                f"Encoders must be a divisor of the fan-in, {self.fan_in}, not {self.encoders}",
            )
        self._check("encoder_centroids", "Encoder centroids per cycle", 1, self.centroids)
        self._check("encoder_dims", "Encoder dimensions per cycle", 1, self.subvec)
        try:
            _ = self.encoder
        except ValueError as error:
            raise ParameterError("metric", str(error)) from None
        self._check("index_rows", "Rows of the index buffer", LEAST_PASS, 1 << 24)
        self._check("result_rows", "Rows of results", 2, 1 << 24)
        for name in ("activation", "centroid", "table", "result"):
            try:
                getattr(self, name)
            except ValueError as error:
                text = f"{name.capitalize()} stream: {error}"
                raise ParameterError(f"{name}_beat", text) from None
        if self.result.beat < WORD:
            raise ParameterError(
                "result_beat",
                f"Result stream: a beat must hold an accumulator, {WORD} bytes, not "
                f"{self.result.beat}",
            )
        if self.acc.bits > 8 * WORD:
            raise ParameterError(
                "codebooks",
                f"Accumulators must have at most {8 * WORD} bits, not the {self.acc.bits} that "
                f"{self.codebooks} codebooks of {self.table_bits}-bit tables come to",
            )
        if self.has_map and self.output_bits > 10:
            raise ParameterError(
                "has_map",
                f"Output bits must be at most 10 where there is a map, not {self.output_bits}",
            )

    def _check(self, field: str, what: str, low: int, high: int | None = None) -> None:
        """Complains of a parameter that is no integer of that range; of None by what it means."""
        try:
            as_int(self._number(field), what, low=low, high=high)
        except ValueError as error:
            raise ParameterError(field, str(error)) from None

    def _number(self, field: str) -> int:
        value: int | None = getattr(self, field)
        return self._derived(field) if value is None else value

    def _derived(self, field: str) -> int:
        """What None stands for."""
        match field:
            case "encoder_centroids":
                return self.centroids
            case "encoder_dims":
                return self.subvec
            case "index_rows":
                return self.rows * self.groups
            case "activation_beat":
                return least_beat(ceil_div(self.activation_row, self.encode_interval))
            case "centroid_beat":
                return WORD
            case "table_beat":
                return least_beat(ceil_div(self.table_rows * self.table_row, self.rows))
            case "result_beat":
                return least_beat(max(WORD, ceil_div(self.outputs * WORD, self.groups)))
        assert field == "result_rows"
        return self.rows

    @property
    def resolved(self) -> "EngineSpec":
        """The same engine, with a number where a parameter was left out."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        left_out: dict[str, Any] = {
            name: self._derived(name) for name, value in given.items() if value is None
        }
        return replace(self, **left_out)

    @property
    def stated(self) -> dict[str, int | str | bool]:
        """The parameters that have to be given to get this engine, the others following from them
        or being the usual ones.
        """
        found: dict[str, int | str | bool] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            usual = field.default
            if usual is None and value is not None:
                usual = self._derived(field.name)
            if value != usual:
                found[field.name] = value
        return found

    # What is computed.

    @property
    def element(self) -> Format:
        """Format of activations and centroids inside: holds signed ones and unsigned ones."""
        return Format(self.activation_bits + 1, True)

    @property
    def encoder(self) -> EncoderSpec:
        """One encoder."""
        return EncoderSpec(
            self.element,
            self.subvec,
            self.centroids,
            self.metric,
            self._number("encoder_centroids"),
            self._number("encoder_dims"),
        )

    @property
    def index_bits(self) -> int:
        """Width of an index."""
        return clog2(self.centroids)

    @property
    def code_bits(self) -> int:
        """Width of an index and the mark above it, of one that stands for nothing."""
        return self.index_bits + 1

    @property
    def grid(self) -> Grid:
        """What table codes stand for."""
        return Grid("int", self.table_bits)

    @property
    def acc(self) -> Format:
        """Format of the accumulators: any tables, and a bias of the sum's own width."""
        return format_acc_format(self.groups * self.fan_in, self.grid)

    @property
    def halves(self) -> int:
        """Table tiles, and codebooks, that are held at once."""
        return 2 if self.ping_pong else 1

    @property
    def groups(self) -> int:
        """The most groups of one row: codebooks over fan-in."""
        return ceil_div(self.codebooks, self.fan_in)

    @property
    def outputs(self) -> int:
        """Outputs of a tile."""
        return self.matchers * self.lanes

    @property
    def bank(self) -> BankSpec:
        """One LUT bank, all halves: the upper bit of the address is the half."""
        return BankSpec(self.halves << self.index_bits, self.lanes, self.grid, "ram")

    @property
    def slice(self) -> "EngineSpec":
        """A part of a matcher that is the same as the others: as few lanes as whole beats of tables
        and biases make up.
        """
        bits = self.table.bits
        fit = (
            lanes
            for lanes in range(1, self.lanes)
            if self.lanes % lanes == 0
            and lanes * self.table_bits % bits == 0
            and lanes * 8 * WORD % bits == 0
        )
        return replace(self, lanes=next(fit, self.lanes), matchers=1, table_beat=self.table.beat)

    @property
    def tree(self) -> TreeSpec:
        """One accumulator tree."""
        return TreeSpec(self.fan_in, self.bank.value, self.acc)

    # Streams. A row of any of them begins on a beat.

    @property
    def element_bytes(self) -> int:
        """Bytes of an activation or centroid element, sign- or zero-extended."""
        return ceil_div(self.activation_bits, 8)

    @property
    def code_bytes(self) -> int:
        """Bytes of an index and, on bit ``index_bits``, its mark."""
        return ceil_div(self.code_bits, 8)

    @property
    def output_bytes(self) -> int:
        """Bytes of a requantised result."""
        return ceil_div(self.output_bits, 8)

    @property
    def activation_row(self) -> int:
        """Bytes of the sub-vectors of one group of one input row."""
        return self.fan_in * self.subvec * self.element_bytes

    @property
    def code_row(self) -> int:
        """Bytes of the indices of one group of one input row."""
        return self.fan_in * self.code_bytes

    @property
    def centroid_row(self) -> int:
        """Bytes of the centroid entries of one encoder step."""
        return self.encoder.parallel_centroids * self.encoder.parallel_dims * self.element_bytes

    @property
    def table_row(self) -> int:
        """Bytes of a row of a LUT bank; codes lie bit by bit, lane 0 lowest."""
        return ceil_div(self.lanes * self.table_bits, 8)

    @property
    def bias_row(self) -> int:
        """Bytes of the biases of one matcher."""
        return self.lanes * WORD

    @property
    def activation(self) -> ChannelSpec:
        """Stream of activations, or of indices."""
        return self._channel("activation_beat")

    @property
    def centroid(self) -> ChannelSpec:
        """Stream of centroids."""
        return self._channel("centroid_beat")

    @property
    def table(self) -> ChannelSpec:
        """Stream of tables, biases and the map."""
        return self._channel("table_beat")

    @property
    def result(self) -> ChannelSpec:
        """Stream of results: requantised, accumulators, or indices."""
        return self._channel("result_beat")

    def _channel(self, field: str) -> ChannelSpec:
        return ChannelSpec(as_int(self._number(field), "Bytes of a beat"))

    @property
    def activation_beats(self) -> int:
        """Beats of an activation row."""
        return self.activation.beats(self.activation_row)

    @property
    def code_beats(self) -> int:
        """Beats of a row of indices on the activation stream."""
        return self.activation.beats(self.code_row)

    @property
    def centroid_beats(self) -> int:
        """Beats of a centroid row."""
        return self.centroid.beats(self.centroid_row)

    @property
    def codebook_rows(self) -> int:
        """Centroid rows of one group: the steps of every codebook."""
        return self.fan_in * self.encoder.interval

    @property
    def table_beats(self) -> int:
        """Beats of a table row."""
        return self.table.beats(self.table_row)

    @property
    def table_rows(self) -> int:
        """Table rows of one group: matchers, then codebooks, then centroids."""
        return self.matchers * self.fan_in * self.centroids

    @property
    def bias_beats(self) -> int:
        """Beats of the biases of one matcher."""
        return self.table.beats(self.bias_row)

    @property
    def map_beats(self) -> int:
        """Beats of the map: one an entry."""
        return 1 << self.output_bits if self.has_map else 0

    @property
    def result_elements(self) -> int:
        """Requantised results of a beat."""
        return self.result.beat // self.output_bytes

    @property
    def result_words(self) -> int:
        """Accumulators of a beat."""
        return self.result.beat // WORD

    @property
    def result_beats(self) -> int:
        """Beats of a row of requantised results."""
        return ceil_div(self.outputs, self.result_elements)

    @property
    def word_beats(self) -> int:
        """Beats of a row of accumulators."""
        return ceil_div(self.outputs, self.result_words)

    @property
    def index_beats(self) -> int:
        """Beats of a row of indices on the result stream."""
        return self.result.beats(self.code_row)

    # What it holds, and how fast it is.

    @property
    def rounds(self) -> int:
        """Codebooks of a group that one encoder takes."""
        return self.fan_in // self.encoders

    @property
    def encode_interval(self) -> int:
        """Cycles that the encoders take for a group of one row."""
        return self.rounds * self.encoder.interval

    @property
    def index_depth(self) -> int:
        """Rows of the index buffer."""
        return self._number("index_rows")

    @property
    def result_depth(self) -> int:
        """Rows of accumulators that wait for the result stream."""
        return self._number("result_rows")

    @property
    def index_fifo(self) -> FifoSpec:
        """The queue behind the encoders: what is under way in them, and as much to run ahead."""
        way = ceil_div(self.encoder.latency, self.encode_interval) + 2
        return FifoSpec(self.fan_in * self.code_bits, max(FIFO_ROWS, 2 * way))

    @property
    def matcher_latency(self) -> int:
        """Cycles from the step that asks for a row's indices to its sum in the register."""
        return 1 + self.bank.latency + self.tree.latency + 1

    @property
    def operations(self) -> int:
        """Peak operations a cycle, a multiplication or addition of the matrix product each."""
        return 2 * self.subvec * self.fan_in * self.outputs

    @property
    def bits(self) -> dict[str, int]:
        """On-chip memory bits, by what they hold."""
        acc = self.outputs * self.acc.bits
        return {
            "table": self.matchers * self.fan_in * self.bank.bits,
            "codebook": self.halves * self.codebook_rows * self.encoder.row_bits,
            "bias": self.halves * acc,
            "scratchpad": self.rows * acc,
            "results": self.result_depth * acc,
            "index_buffer": self.index_depth * self.fan_in * self.code_bits,
            "map": self.result_elements * self.output_bits << self.output_bits
            if self.has_map
            else 0,
        }


def preset(name: str, **changes: object) -> EngineSpec:
    """One of the designs of the paper, with some parameters changed.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"Preset must be one of {', '.join(PRESETS)}, not {name!r}")
    fields: dict[str, object] = {"codebooks": 256, "matchers": 2, **PRESETS[name]}
    return EngineSpec(**{**fields, **changes})  # type: ignore[arg-type]
