"""Errors: whole after crossing from Spark's workers, bounded, and clear on whether trying again can help."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from modelfleet import errors
from modelfleet.errors import Failure, ModelfleetError, SpecError, bounded, is_retryable


def subclasses(of: type[ModelfleetError] = ModelfleetError) -> Iterator[type[ModelfleetError]]:
    for cls in of.__subclasses__():
        if cls.__module__ == "modelfleet.errors":
            yield cls
            yield from subclasses(cls)


FAMILY = [ModelfleetError, *(cls for cls in subclasses() if cls is not SpecError)]


@pytest.mark.parametrize("cls", FAMILY, ids=lambda cls: cls.__name__)
def test_error_survives_pickling(cls: type[ModelfleetError]) -> None:
    error = cls("fleet 'demand' failed", hint="do this")
    error.partition = "a=b"  # type: ignore[attr-defined]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is cls
        assert str(copy) == str(error) == "fleet 'demand' failed\nHint: do this"
        assert (copy.message, copy.hint, copy.partition) == ("fleet 'demand' failed", "do this", "a=b")


def test_spec_error_survives_pickling_with_its_findings() -> None:
    failure = Failure("name", "'X'", "allowed: small letters")
    copy = pickle.loads(pickle.dumps(SpecError([failure], fleet="demand", source="dags/demand.py", hint="see docs")))
    assert (copy.failures, copy.fleet, copy.source, copy.hint) == ((failure,), "demand", "dags/demand.py", "see docs")
    assert str(copy).startswith("fleet 'demand' in dags/demand.py: name: got 'X'; allowed: small letters")


def test_error_raised_from_another_pickles_without_it() -> None:
    with pytest.raises(errors.DataError) as raised:
        raise errors.DataError("outer") from ValueError("inner")
    assert str(pickle.loads(pickle.dumps(raised.value))) == "outer"


def test_spec_error_names_at_most_ten_findings() -> None:
    error = SpecError([Failure(f"field{n}", "x", "allowed: y") for n in range(12)], fleet=None, source=None)
    assert str(error).startswith("fleet spec: field0: got x; allowed: y; field1: ")
    assert str(error).endswith("field9: got x; allowed: y; and 2 more")
    assert len(error.failures) == 12


@pytest.mark.parametrize(
    "count, text",
    [(0, ""), (1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2, and 1 more"), (1000, "0, 1, 2, and 997 more")],
)
def test_list_is_bounded_and_says_how_many_were_left_out(count: int, text: str) -> None:
    assert bounded((str(n) for n in range(count)), limit=3) == text


@pytest.mark.parametrize("cls", FAMILY, ids=lambda cls: cls.__name__)
def test_only_what_may_turn_out_otherwise_is_retryable(cls: type[ModelfleetError]) -> None:
    assert is_retryable(cls("x")) == (cls is errors.UnavailableError)


def test_errors_of_others_are_retryable_and_spec_errors_not() -> None:
    assert is_retryable(OSError("connection reset"))
    assert not is_retryable(SpecError([], fleet=None, source=None))


@pytest.mark.parametrize("cls, builtin", [(SpecError, ValueError), (errors.NotFoundError, LookupError)])
def test_error_is_what_generic_handlers_expect(cls: type, builtin: type) -> None:
    assert issubclass(cls, builtin)
