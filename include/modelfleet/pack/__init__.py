"""A pack: the models of one fleet version and their index, in Parquet files ordered by the hash of the partition key.

A row holds everything about one partition's model; the index is the same rows read without the model's bytes. The header
(``pack.json``) lists the files with their digests: a pack is trusted by the digest of its header, which the registry
keeps, and scoring unpickles no model from bytes that do not lead back to it. MLflow hands over a folder without its digest:
there the header beside the files is what is trusted.
"""

from modelfleet.pack.header import FORMAT, HEADER, PackHeader, header_digest, make_header
from modelfleet.pack.models import dump_model, load_model
from modelfleet.pack.reading import Pack, PackRows
from modelfleet.pack.rows import HASH, MODEL, content_digest, row_schema, write_rows

__all__ = [
    "FORMAT",
    "HASH",
    "HEADER",
    "MODEL",
    "Pack",
    "PackHeader",
    "PackRows",
    "content_digest",
    "dump_model",
    "header_digest",
    "load_model",
    "make_header",
    "row_schema",
    "write_rows",
]
