"""pyarrow's JSON reader crashes the process on a block that begins with ``null``; none may ever reach it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from deltalite.exceptions import InvalidTableError
from deltalite.model.commit import Commit
from deltalite.model.file_actions import parse_file_actions
from deltalite.model.stats import parse_stats

KIND = pa.struct([("numRecords", pa.int64())])


@pytest.mark.bug("S-04")
@pytest.mark.parametrize(
    "text", ["null", " null", "\ufeffnull", "nullnull", '{"numRecords":\nnull}', '{"numRecords":\rnull}', "{}\nnull"]
)
def test_statistics_that_are_null(text):
    found = parse_stats(pa.chunked_array([pa.array([text, '{"numRecords":5}'])]), KIND)
    assert found.to_pylist()[1] == {"numRecords": 5}


@pytest.mark.bug("S-04")
@pytest.mark.parametrize("line", [b"null", b" null", b"\r\nnull", b'{"x":\rnull}', b"[1]", b"7"])
@pytest.mark.parametrize("first", [True, False])
def test_commits_with_a_line_that_is_no_object(line, first):
    good = b'{"add":{"path":"a","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}\n' * 400
    data = line + b"\n" + good if first else good + line + b"\n"
    try:
        parse_file_actions([Commit(0, data.replace(b'"a"', b'"b"'))], ())
    except InvalidTableError:
        pass
