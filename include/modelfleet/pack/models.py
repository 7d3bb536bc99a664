"""Estimators as bytes, and back."""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

from modelfleet.errors import CorruptionError


def dump_model(estimator: object) -> tuple[bytes, str]:
    """An estimator's bytes and their digest; the same estimator gives the same bytes in every process.

    pickle writes an object that it meets again as a reference, and whether two equal strings are one object differs
    between processes. So nothing is referenced, but in estimators that hold themselves, which can't be written else.
    """
    sink = io.BytesIO()
    pickler = pickle.Pickler(sink, protocol=5)
    pickler.fast = True
    try:
        pickler.dump(estimator)
        data = sink.getvalue()
    except (ValueError, RecursionError):
        data = pickle.dumps(estimator, protocol=5)
    return data, hashlib.blake2b(data, digest_size=16).hexdigest()


def load_model(data: bytes, digest: str) -> Any:
    """The estimator, unpickled only from the bytes that its row records.

    :raises CorruptionError: when the bytes are others.
    """
    if hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
        raise CorruptionError("a model's bytes do not match the digest in its row; it is not unpickled")
    return pickle.loads(data)
