"""Numbers and what they count."""

import re

import pytest

from lutgen.cli import common, engine
from lutgen.cost.request import asked
from lutgen.spec.engine import EngineSpec
from lutgen.words import counted

ONE_OF_MANY = re.compile(r"(?<![\d.,])1 (?:[a-z]+ )?[a-z]+s\b")


@pytest.mark.parametrize(
    ("count", "form", "text"),
    [(0, "", "0 cycles"), (1, "", "1 cycle"), (2, "", "2 cycles"), (1200, ",", "1,200 cycles")],
)
def test_one_is_no_plural(count, form, text):
    assert counted(count, "cycle", form) == text


def test_why_a_core_is_no_faster():
    assert (asked(1), asked(2)) == ("1 cycle was asked for", "2 cycles were asked for")


def test_what_is_shown_of_the_least_core_and_engine(capsys):
    port = {"elements": 1, "signed": False, "bits": 1, "beats": 1, "lanes": 1, "kind": "logits"}
    core = {"stages": [], "interval": 1, "latency": 1, "resources": {}, "load": {"words": 1}}
    common.print_core({**core, "input": port, "output": port})
    out = capsys.readouterr().out
    assert "latency   1 cycle\ninterval  1 cycle\n" in out
    assert "load      1 word of 32 bits\n" in out
    engine.show(EngineSpec(codebooks=1, subvec=1), "least")
    both = out + capsys.readouterr().out
    assert "a row's group in 1 cycle" in both
    assert not ONE_OF_MANY.search(both)
