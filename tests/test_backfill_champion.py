"""The champion as of an interval: the newest version promoted for it or an earlier one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelfleet import registry as r
from modelfleet.errors import CorruptionError, UnavailableError
from modelfleet.registry import production
from registry_bench import a_client, a_release, publish, publish_three

pytest_plugins = ["fixtures_mlflow"]

Packs = Callable[..., r.PackModel]


def as_of(fleet: str, key: str) -> int | None:
    found = r.champion_as_of(fleet, key)
    return None if found is None else found.version


@pytest.mark.usefixtures("mlflow_registries")
@pytest.mark.parametrize(
    "key, version",
    [
        pytest.param("2013-07-30", None, id="before any"),
        pytest.param("2013-07-31", 1, id="its own interval's"),
        pytest.param("2013-08-30", 1, id="between"),
        pytest.param("2013-08-31T00", 1, id="an hour before the day's end"),
        pytest.param("2013-09-01T00", 2, id="the hour after"),
        pytest.param("2014-01-01", 3, id="the champion"),
    ],
)
def test_newest_version_up_to_the_interval_served_then(key: str, version: int | None, a_pack: Packs) -> None:
    fleet = f"as-of-{key}"
    publish_three(fleet, a_pack)

    assert as_of(fleet, key) == version


@pytest.mark.usefixtures("mlflow_embedded")
class TestWhatCounts:
    def test_a_fleet_without_champion_has_none(self, a_pack: Packs) -> None:
        assert as_of("none", "2013-09-30") is None
        publish(a_release("none", "2013-07-31", "a1"), a_pack(1))
        assert as_of("none", "2013-09-30") is None, "published, never promoted"

    def test_a_version_that_was_published_but_never_served_does_not_count(self, a_pack: Packs) -> None:
        publish_three("fleet", a_pack)
        publish(a_release("fleet", "2013-08-31", "a4"), a_pack(4))

        assert as_of("fleet", "2013-08-31") == 2

    def test_a_version_that_was_rolled_back_does_not_count_until_it_serves_again(self, a_pack: Packs) -> None:
        publish_three("fleet", a_pack)
        r.rollback("fleet")
        r.rollback("fleet")
        assert as_of("fleet", "2013-12-31") == 1

        r.rollback("fleet", to=3)

        assert as_of("fleet", "2013-12-31") == 3
        assert as_of("fleet", "2013-08-31") == 1

    def test_history_promoted_belatedly_counts_by_its_interval(self, a_pack: Packs) -> None:
        publish_three("fleet", a_pack)
        publish(a_release("fleet", "2013-05-31", "a4"), a_pack(4))
        r.set_champion("fleet", 4, expected=3, force=True)

        assert as_of("fleet", "2013-06-30") == 4
        assert as_of("fleet", "2013-09-30") == 4, "of those, the newest promoted"

    def test_versions_older_than_the_trail_count(self, a_pack: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(production, "_TRAIL_LENGTH", 1)
        publish_three("fleet", a_pack)

        assert len(r.history("fleet")) == 1
        assert [as_of("fleet", key) for key in ("2013-07-31", "2013-08-31", "2013-09-30")] == [1, 2, 3]

    def test_the_record_says_whether_it_is_the_champion(self, a_pack: Packs) -> None:
        publish_three("fleet", a_pack)

        found = [r.champion_as_of("fleet", key) for key in ("2013-08-31", "2013-09-30")]

        assert [version is not None and version.is_champion for version in found] == [False, True]

    def test_a_version_whose_tags_were_edited_is_refused(self, a_pack: Packs) -> None:
        publish_three("fleet", a_pack)
        a_client("production").delete_model_version_tag("fleet", "3", "interval")

        with pytest.raises(CorruptionError, match="version 3 in the production registry lacks the tags interval"):
            as_of("fleet", "2013-08-31")


def test_registry_that_is_down_is_never_no_champion(connect: Callable[[str, str], None]) -> None:
    connect("mlflow_production", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError):
        as_of("fleet", "2013-08-31")
