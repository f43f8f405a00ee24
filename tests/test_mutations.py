"""Damaged files of every kind: refused in one line or taken, in bounds of memory and time."""

import mutations
import pytest


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Good files of every kind."""
    return mutations.make_bases(tmp_path_factory.mktemp("files") / "bases")


def test_good_files_are_taken(bases, tmp_path, monkeypatch):
    """So that what is refused is refused for its damage."""
    monkeypatch.setattr(mutations, "damaged", lambda rng, data, *ways: ("nothing", data))
    seen = set()
    for number in range(120):
        case = mutations.make_case(number, 0, bases)
        what = (case.kind, case.what, *case.command)
        if what in seen:
            continue
        seen.add(what)
        place = tmp_path / str(number)
        place.mkdir()
        status, wrong = mutations.play(case, place)
        # A core without a link is none of a board, and float training leaves no lookup network.
        early = "--start" in case.command and case.what[3] in "01"
        assert status == (2 if case.command[0] == "run" or early else 0), (what, wrong)
        assert not wrong, what
    assert {kind for kind, *_ in seen} == set(mutations.KINDS)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files(bases, tmp_path, seed):
    """500 a seed. What fails here is `mutations.make_case(NUMBER, SEED, bases)`."""
    counts, failures = mutations.run(bases, seed, 0, 500, tmp_path)
    assert not failures, "\n\n".join(failures)
    assert counts["refused"] + counts["accepted"] == 500
    assert min(counts["refused"], counts["accepted"]) >= 30
    assert all(counts[kind] >= 50 for kind in mutations.KINDS)
