"""deltalake's ``deltalake.writer``: writing, and the properties of Parquet files."""

from deltalite.table import write_deltalake
from deltalite.write.options import BloomFilterProperties, ColumnProperties, WriterProperties

__all__ = ["BloomFilterProperties", "ColumnProperties", "WriterProperties", "write_deltalake"]
