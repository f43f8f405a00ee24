"""A picture of a core from its contract: stages as boxes in the order of the data, as plain SVG."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from lutgen.words import counted

__all__ = ["draw"]

WIDE, HIGH = 330, 82  # a box
GAP, ASIDE, MARGIN = 46, 70, 28  # between rows, between columns, around
BY = "\N{MULTIPLICATION SIGN}"
SINK = ""  # in the place of a stage's name: what takes the results
GUTTER = 118  # for queues that pass by several stages
INK, SOFT, LINE, FILL, HOT, HOT_FILL = (
    *("#1c2733", "#5b6b7a", "#8496a6", "#f4f7fa"),
    *("#c2410c", "#fff1e6"),
)


@dataclass
class Box:
    """Where a stage stands."""

    name: str
    stage: dict[str, Any] | None
    rank: int = 0
    column: int = 0
    x: float = 0
    y: float = 0

    @property
    def middle(self) -> float:
        """Across."""
        return self.x + WIDE / 2


@dataclass(frozen=True)
class Wire:
    """A queue."""

    source: str
    target: str
    label: str
    note: str


def draw(contract: dict[str, Any]) -> str:
    """The picture's text."""
    wires = list(_wires(contract))
    boxes = _place(contract, wires)
    passing = [w for w in wires if _passes(boxes[w.source], boxes[w.target])]
    left = MARGIN + (GUTTER if passing else 0)
    columns = max(box.column for box in boxes.values()) + 1
    ranks = max(box.rank for box in boxes.values()) + 1
    top = MARGIN + 62
    for box in boxes.values():
        box.x = left + box.column * (WIDE + ASIDE)
        box.y = top + box.rank * (HIGH + GAP)
    width = left + columns * WIDE + (columns - 1) * ASIDE + MARGIN + (100 if columns > 1 else 0)
    width = max(width, 520)
    height = top + ranks * (HIGH + GAP) - GAP + MARGIN
    parts = [*_title(contract)]
    for wire in wires:
        parts += _arrow(wire, boxes[wire.source], boxes[wire.target])
    for box in boxes.values():
        parts += _box(box, contract)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="Helvetica, Arial, sans-serif">'
    )
    arrow = (
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        f'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{LINE}"/></marker></defs>'
    )
    back = f'<rect width="{width:g}" height="{height:g}" fill="white"/>'
    return "\n".join([head, arrow, back, *parts, "</svg>", ""])


def _wires(contract: dict[str, Any]) -> Iterable[Wire]:
    lanes = {stage["name"]: stage["lanes"] for stage in contract["stages"]}
    lanes["input"] = contract["input"]["lanes"]
    for queue in contract["queues"]:
        last = queue is contract["queues"][-1]  # a stage may be called "output" too
        wide = lanes[queue["source"]]
        label = f"{wide} {BY} {queue['width'] // wide} bit"
        target = SINK if last else queue["target"]
        yield Wire(queue["source"], target, label, f"queue {queue['depth']}")


def _place(contract: dict[str, Any], wires: list[Wire]) -> dict[str, Box]:
    """Rows by the longest way from the input; the longest way of all in the first column."""
    boxes = {"input": Box("input", None)}
    boxes |= {stage["name"]: Box(stage["name"], stage) for stage in contract["stages"]}
    boxes[SINK] = Box("output", None)
    before: dict[str, list[str]] = {name: [] for name in boxes}
    after: dict[str, list[str]] = {name: [] for name in boxes}
    for wire in wires:
        before[wire.target].append(wire.source)
        after[wire.source].append(wire.target)
    for name, box in boxes.items():  # stages stand in topological order
        box.rank = max((boxes[source].rank + 1 for source in before[name]), default=0)
    main, at = {SINK}, SINK
    while before[at]:
        at = max(before[at], key=lambda name: boxes[name].rank)
        main.add(at)
    taken: list[list[tuple[int, int]]] = []
    done = set(main)
    for name in boxes:
        if name in done:
            continue
        chain = [name]
        while len(after[chain[-1]]) == 1 and after[chain[-1]][0] not in done:
            chain.append(after[chain[-1]][0])
        done.update(chain)
        first = min(boxes[source].rank for source in before[name])
        last = max(boxes[target].rank for target in after[chain[-1]])
        column = 0
        while column < len(taken) and any(a < last and first < b for a, b in taken[column]):
            column += 1
        if column == len(taken):
            taken.append([])
        taken[column].append((first, last))
        for member in chain:
            boxes[member].column = column + 1
    return boxes


def _passes(source: Box, target: Box) -> bool:
    """Whether a queue passes by stages of its own column."""
    return source.column == target.column == 0 and target.rank > source.rank + 1


def _text(x: float, y: float, text: str, size: int = 12, **style: str) -> str:
    more = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{more}>{escape(text)}</text>'


def _title(contract: dict[str, Any]) -> Iterable[str]:
    bits = sum(contract["resources"].values())
    yield _text(MARGIN, MARGIN + 12, contract["name"], 20, fill=INK, font_weight="bold")
    line = (
        f"interval {counted(contract['interval'], 'cycle', ',')}, latency {contract['latency']:,}, "
        f"{counted(bits, 'memory bit', ',')}"
    )
    yield _text(MARGIN, MARGIN + 34, line, 13, fill=SOFT)


def _arrow(wire: Wire, source: Box, target: Box) -> Iterable[str]:
    y0, y1 = source.y + HIGH, target.y - 2
    anchor = "start"
    if _passes(source, target):
        x = source.x - 26 - 8 * (target.rank % 2)
        middle0, middle1 = source.y + HIGH / 2, target.y + HIGH / 2
        path = (
            f"M{source.x:g},{middle0:g} H{x + 8:g} Q{x:g},{middle0:g} {x:g},{middle0 + 8:g} "
            f"V{middle1 - 8:g} Q{x:g},{middle1:g} {x + 8:g},{middle1:g} H{target.x - 2:g}"
        )
        at, high, anchor = x - 8, (middle0 + middle1) / 2, "end"
    elif source.column == target.column:
        path = f"M{source.middle:g},{y0:g} V{y1:g}"
        at, high = source.middle + 8, y1 - GAP / 2 + 4
    elif target.column > source.column:
        middle = source.y + 0.75 * HIGH
        path = (
            f"M{source.x + WIDE:g},{middle:g} H{target.middle - 8:g} "
            f"Q{target.middle:g},{middle:g} {target.middle:g},{middle + 8:g} V{y1:g}"
        )
        at, high = target.middle + 8, y1 - GAP / 2 + 4
    else:
        middle = target.y + 0.3 * HIGH
        path = (
            f"M{source.middle:g},{y0:g} V{middle - 8:g} Q{source.middle:g},{middle:g} "
            f"{source.middle - 8:g},{middle:g} H{target.x + WIDE + 2:g}"
        )
        at, high = source.middle + 8, middle - 8
    style = f'fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"'
    yield f'<path d="{path}" {style}/>'
    if anchor == "end":
        yield _text(at, high - 3, wire.label, 12, fill=INK, text_anchor=anchor)
        yield _text(at, high + 12, wire.note, 12, fill=SOFT, text_anchor=anchor)
    else:
        yield _text(at, high, f"{wire.label}, {wire.note}", 12, fill=SOFT, text_anchor=anchor)


def _fold(stage: dict[str, Any]) -> str:
    fold = stage.get("fold", {})
    words = [f"{fold.get('lanes', stage['lanes'])} lanes"]
    if "fan_in" in fold:
        words.append(f"fan-in {fold['fan_in']}")
        encodes = {"encoder_centroids", "encoder_dims"} <= {*fold}
        if encodes and stage.get("metric") != "digit":
            words.append(f"encoder {fold['encoder_centroids']}{BY}{fold['encoder_dims']}")
    if "window_channels" in fold:
        words.append(f"channels {fold['window_channels']}")
    if words[0] == "1 lanes":
        words[0] = "1 lane"
    return ", ".join(words)


def _kind(stage: dict[str, Any]) -> str:
    words = [stage["op"]]
    if "kernel" in stage:
        words.append(f"{stage['kernel'][0]}{BY}{stage['kernel'][1]}/{stage['stride'][0]}")
    words += [stage[key] for key in ("encode",) if key in stage]
    return " ".join(words)


def _box(box: Box, contract: dict[str, Any]) -> Iterable[str]:
    hot = box.name == contract.get("bottleneck") and (box.stage or box.name == "input")
    edge, fill = (HOT, HOT_FILL) if hot else (LINE, FILL)
    x, y, stage = box.x, box.y, box.stage
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{WIDE}" height="{HIGH}" rx="8" fill="{fill}" '
        f'stroke="{edge}" stroke-width="{2.5 if hot else 1.2}"/>'
    )
    yield _text(x + 14, y + 23, box.name, 15, fill=INK, font_weight="bold")
    if stage is None:
        port = contract[box.name]
        kind = f"{'int' if port['signed'] else 'uint'}{port['bits']}"
        what = "AXI4-Stream " + port["port"]
        if box.name == "output":
            what += f", {port['kind']}"
        beats = counted(port["beats"], "beat", ",")
        yield _text(x + 14, y + 44, f"{port['elements']:,} {BY} {kind} in {beats}", 12, fill=INK)
        yield _text(x + 14, y + 63, what, 12, fill=SOFT)
        return
    right = x + WIDE - 14
    yield _text(right, y + 23, _kind(stage), 12, fill=SOFT, text_anchor="end")
    yield _text(x + 14, y + 42, _fold(stage), 12, fill=INK)
    # Its queues are drawn as arrows, and counted with them.
    bits = sum(value for key, value in stage["resources"].items() if key != "queue")
    if bits:
        yield _text(right, y + 42, counted(bits, "bit", ","), 12, fill=INK, text_anchor="end")
    share = stage["interval"] / contract["interval"]
    bar = WIDE - 28
    busy = counted(stage["interval"], "cycle", ",") + (", the bottleneck" if hot else "")
    yield _text(x + 14, y + 61, busy, 12, fill=HOT if hot else SOFT)
    percent = f"{share:.0%}" if share >= 0.01 else "under 1%"
    yield _text(right, y + 61, f"{percent} busy", 12, fill=SOFT, text_anchor="end")
    yield f'<rect x="{x + 14:g}" y="{y + 68:g}" width="{bar}" height="5" rx="2.5" fill="#dbe3ea"/>'
    yield (
        f'<rect x="{x + 14:g}" y="{y + 68:g}" width="{max(2, bar * min(1, share)):.1f}" '
        f'height="5" rx="2.5" fill="{HOT if hot else "#3b82a0"}"/>'
    )
