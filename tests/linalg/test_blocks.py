"""Blocks cover all rows within the budget; memory is refused with figure and remedy."""

import pytest
import sklearn

from sklearn_nnrecover.linalg.blocks import require_memory, row_blocks


@pytest.mark.parametrize("n_rows", [1, 7, 1000])
@pytest.mark.parametrize("bytes_per_row", [1, 1000, 2**21])
def test_blocks_cover_all_rows_once_within_the_budget(n_rows, bytes_per_row):
    with sklearn.config_context(working_memory=1):
        blocks = list(row_blocks(n_rows, bytes_per_row))
    rows = [row for block in blocks for row in range(n_rows)[block]]
    assert rows == list(range(n_rows))
    assert all(
        len(range(n_rows)[b]) * bytes_per_row <= 2**20 or b.stop - b.start == 1 for b in blocks
    )


def test_no_rows_no_blocks():
    assert list(row_blocks(0, 8)) == []


def test_memory_is_refused_with_the_figure_and_the_remedy():
    require_memory(10, 10, "a table", "nothing")
    with pytest.raises(
        MemoryError, match=r"a table needs about 2,048 MiB.*1,024 MiB; use fewer rows"
    ):
        require_memory(2**31, 2**30, "a table", "use fewer rows")
