"""Parquet options under deltalake's names, mapped to what pyarrow's writer takes.

What pyarrow cannot do is refused, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.types import Field
from deltalite.model.write_spec import DEFAULT_ROW_GROUP_ROWS, ParquetOptions, WriteSpec
from deltalite.write.leaves import leaves

Codec = Literal["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"]
Encoding = Literal[
    "PLAIN", "RLE", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT"
]
StatisticsLevel = Literal["NONE", "CHUNK", "PAGE"]

_CODECS = ("uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd", "lz4_raw")
_ENCODINGS = ("PLAIN", "RLE", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT")
_LEVELS = {"gzip": (1, 9), "brotli": (0, 11), "zstd": (1, 22)}


@dataclass
class BloomFilterProperties:
    """Bloom filters of a column.

    :param set_bloom_filter_enabled: whether there is one.
    :param fpp: probability of a false positive, between 0 and 1; pyarrow's default is 0.05.
    :param ndv: number of distinct values to make room for.
    """

    set_bloom_filter_enabled: bool | None
    fpp: float | None = None
    ndv: int | None = None

    def __post_init__(self) -> None:
        if self.fpp is not None and not 0 < self.fpp < 1:
            raise InvalidArgumentError(f"fpp is a probability between 0 and 1, not {self.fpp}")


@dataclass
class ColumnProperties:
    """Options of one column.

    :param dictionary_enabled: encode by dictionary; ``None`` lets a sample of the data decide.
    :param statistics_enabled: of the Parquet file; the statistics of the log are written all the same.
    :param encoding: the encoding when it is not by dictionary.
    """

    dictionary_enabled: bool | None = None
    statistics_enabled: StatisticsLevel | None = None
    bloom_filter_properties: BloomFilterProperties | None = None
    encoding: Encoding | None = None

    def __post_init__(self) -> None:
        if self.encoding is not None and self.dictionary_enabled:
            raise InvalidArgumentError("dictionary_enabled=True and encoding exclude each other")
        if self.encoding is not None and self.encoding.upper() not in _ENCODINGS:
            raise InvalidArgumentError(f"unknown encoding {self.encoding!r}", hint=f"one of {', '.join(_ENCODINGS)}")
        if self.statistics_enabled is not None and self.statistics_enabled.upper() not in ("NONE", "CHUNK", "PAGE"):
            raise InvalidArgumentError(f"statistics_enabled is NONE, CHUNK or PAGE, not {self.statistics_enabled!r}")


@dataclass
class WriterProperties:
    """How data files are encoded.

    :param data_page_size_limit: bytes of a data page, about.
    :param dictionary_page_size_limit: bytes of a dictionary page.
    :param data_page_row_count_limit: rows of a data page.
    :param write_batch_size: values that are encoded at a time.
    :param max_row_group_size: rows of a row group at most.
    :param compression: the codec; zstd by default, or what ``delta.parquet.compression.codec`` says.
    :param compression_level: for GZIP 1 to 9, BROTLI 0 to 11, ZSTD 1 to 22.
    :param statistics_truncate_length: refused: pyarrow keeps whole values in Parquet statistics. Those of the log are
        cut to ``delta.dataSkippingStringPrefixLength``.
    :param default_column_properties: for all columns that ``column_properties`` does not name.
    :param column_properties: by column name; nested ones by their dotted Parquet path (``a.b``, ``a.list.element``).
    """

    data_page_size_limit: int | None = None
    dictionary_page_size_limit: int | None = None
    data_page_row_count_limit: int | None = None
    write_batch_size: int | None = None
    max_row_group_size: int | None = None
    compression: Codec | None = None
    compression_level: int | None = None
    statistics_truncate_length: int | None = None
    default_column_properties: ColumnProperties | None = None
    column_properties: dict[str, ColumnProperties] | None = field(default=None)

    def __post_init__(self) -> None:
        codec = (self.compression or "zstd").lower()
        if codec not in _CODECS:
            raise InvalidArgumentError(
                f"unknown compression {self.compression!r}", hint=f"one of {', '.join(c.upper() for c in _CODECS)}"
            )
        if self.compression_level is not None:
            if self.compression is None:
                raise InvalidArgumentError("compression_level needs compression", hint="name the codec it is for")
            low, high = _LEVELS.get(codec, (0, -1))
            if not low <= self.compression_level <= high:
                known = f"takes levels {low} to {high}" if high >= 0 else "has no levels"
                raise InvalidArgumentError(f"compression {self.compression} {known}, not {self.compression_level}")
        for name in ("data_page_size_limit", "dictionary_page_size_limit", "data_page_row_count_limit",
                     "write_batch_size", "max_row_group_size"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InvalidArgumentError(f"{name} is a positive number, not {value}")


def parquet_options(properties: WriterProperties, codec: str, spec: WriteSpec) -> ParquetOptions:
    """The options of a table's data files.

    :param codec: the codec when ``properties`` names none.
    :param spec: the write, for the names of its columns.
    :raises InvalidArgumentError: for unknown columns and for what pyarrow's writer cannot do.
    """
    if properties.statistics_truncate_length is not None:
        raise InvalidArgumentError(
            "statistics_truncate_length is not supported: Parquet statistics keep whole values here",
            hint="the table property delta.dataSkippingStringPrefixLength cuts the statistics of the log",
        )
    writer: dict[str, Any] = {
        "data_page_size": properties.data_page_size_limit,
        "dictionary_pagesize_limit": properties.dictionary_page_size_limit,
        "max_rows_per_page": properties.data_page_row_count_limit,
        "write_batch_size": properties.write_batch_size,
        "compression_level": properties.compression_level,
    }
    chosen = (properties.compression or codec).lower().replace("uncompressed", "none")
    found = ParquetOptions(
        compression=chosen,
        row_group_rows=properties.max_row_group_size or DEFAULT_ROW_GROUP_ROWS,
        writer={name: value for name, value in writer.items() if value is not None},
    )
    logical = _parquet_names([f for f, _ in spec.data_fields])
    physical = _parquet_names([p for _, p in spec.data_fields])
    pairs = list(zip(logical, physical, strict=True))
    default = properties.default_column_properties
    by_leaf = dict.fromkeys(physical, default) if default is not None else {}
    for name, column in (properties.column_properties or {}).items():
        by_leaf.update(dict.fromkeys(_named(name, pairs), column))
    return _with_columns(found, by_leaf)


def _with_columns(options: ParquetOptions, by_leaf: dict[str, ColumnProperties]) -> ParquetOptions:
    writer = dict(options.writer)
    levels = {name: (c.statistics_enabled or "CHUNK").upper() for name, c in by_leaf.items()}
    if "PAGE" in levels.values():
        raise InvalidArgumentError(
            "statistics_enabled='PAGE' is not supported: data files have no page index",
            hint="'CHUNK' writes statistics per row group",
        )
    blooms = {name: c.bloom_filter_properties for name, c in by_leaf.items()}
    if enabled := {name: _bloom(b) for name, b in blooms.items() if b and b.set_bloom_filter_enabled}:
        writer["bloom_filter_options"] = enabled
    return replace(
        options,
        writer=writer,
        statistics_off=tuple(name for name, level in levels.items() if level == "NONE"),
        dictionary={n: c.dictionary_enabled for n, c in by_leaf.items() if c.dictionary_enabled is not None},
        encodings={n: c.encoding.upper() for n, c in by_leaf.items() if c.encoding is not None},
    )


def _bloom(properties: BloomFilterProperties) -> dict[str, Any]:
    return {k: v for k, v in (("fpp", properties.fpp), ("ndv", properties.ndv)) if v is not None}


def _parquet_names(fields: list[Field]) -> list[str]:
    return [name for leaf in leaves(fields) for name in leaf.parquet]


def _named(name: str, pairs: list[tuple[str, str]]) -> list[str]:
    """The physical leaf paths that a user's column name stands for."""
    folded = name.lower()
    found = [p for logical, p in pairs if logical.lower() == folded or logical.lower().startswith(folded + ".")]
    if not found:
        raise InvalidArgumentError(
            f"column_properties names {name!r}, which no data file has",
            hint=f"the columns are {', '.join(logical for logical, _ in pairs)}",
        )
    return found
