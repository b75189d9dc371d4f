"""Both arms of a seed on one kind of processor, where there is a choice."""

from handwriting.launching.placement import Placement

KINDS = {"n1": "old", "n2": "old", "n3": "new"}


def jobs(*seeds: str) -> list[tuple[int, str]]:
    return list(enumerate(seeds))


def test_a_seed_stays_with_the_kind_of_its_first_job() -> None:
    placement = Placement({})
    first = placement.place(jobs("0", "1", "2"), dict.fromkeys(KINDS, 1), KINDS)
    assert sorted(node for _, node in first) == ["n1", "n2", "n3"], "no node is left idle"
    of = {seed: KINDS[dict(first)[job]] for job, seed in jobs("0", "1", "2")}
    for node, room in ((node, {node: 3}) for node in KINDS):
        then = Placement(placement.kinds).place(jobs("0", "1", "2"), room, KINDS)
        assert [job for job, _ in then] == [job for job in range(3) if of[str(job)] == KINDS[node]]


def test_a_job_waits_for_its_kind_and_lets_others_pass() -> None:
    placement = Placement({"0": "new", "1": "old"})
    assert placement.place(jobs("0", "0", "1", "2"), {"n1": 2, "n3": 0}, KINDS) == [(2, "n1"), (3, "n1")]
    assert placement.kinds == {"0": "new", "1": "old", "2": "old"}
    assert placement.place(jobs("0", "0"), {"n1": 1, "n3": 1}, KINDS) == [(0, "n3")]


def test_a_job_whose_kind_is_gone_goes_anywhere_and_its_seed_stays_there() -> None:
    placement = Placement({"0": "older"})
    assert placement.place(jobs("0", "0"), {"n1": 1, "n3": 1}, KINDS) == [(0, "n1")]
    assert placement.kinds == {"0": "old"}


def test_nothing_is_placed_where_there_is_no_room() -> None:
    placement = Placement({})
    assert placement.place(jobs("0"), {"n1": 0, "n2": -1, "n3": 0}, KINDS) == []
    assert placement.kinds == {}
