"""Reading the YAML form of a spec."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfleet.errors import Failure, SpecError

if TYPE_CHECKING:
    import yaml


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    :raises SpecError: where the file can't be read or is no YAML, or a field is there twice or its name is no text.
    """
    import yaml

    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_loader())
    except (OSError, UnicodeDecodeError) as exc:
        raise _error(
            path, str(exc.strerror if isinstance(exc, OSError) else exc), "a YAML file that can be read"
        ) from None
    except (yaml.YAMLError, ValueError) as exc:
        raise _error(path, " ".join(str(exc).split()), "a YAML mapping of the fields of a FleetSpec") from None
    if not isinstance(content, dict):
        raise _error(path, type(content).__name__, "a YAML mapping of the fields of a FleetSpec")
    return content


@lru_cache(maxsize=1)
def _loader() -> type[yaml.SafeLoader]:
    """A safe loader that refuses a field given twice and names that YAML reads as something else than text."""
    import yaml

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                if isinstance(key_node, yaml.ScalarNode) and key_node.value == "null":  # a field of Drop
                    key_node.tag = "tag:yaml.org,2002:str"
                key = self.construct_object(key_node, deep=True)
                place = f"line {key_node.start_mark.line + 1}"
                if not isinstance(key, str):
                    raise yaml.YAMLError(f"{place}: the field name {key!r} is no text; put it in quotes")
                if key in seen:
                    raise yaml.YAMLError(f"{place}: the field {key!r} is there twice")
                seen.add(key)
            return super().construct_mapping(node, deep)

    return StrictLoader


def _error(path: str, got: str, allowed: str) -> SpecError:
    return SpecError([Failure("file", got, f"allowed: {allowed}")], fleet=None, source=path)
