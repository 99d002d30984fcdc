"""Memory-bounded work: blocks of rows, and estimates made before anything is allocated."""

from __future__ import annotations

from collections.abc import Iterator

from sklearn import get_config

MEBIBYTE = 2**20


def working_memory_bytes(working_memory: float | None = None) -> float:
    """Return the memory budget for temporary arrays in bytes.

    Parameters
    ----------
    working_memory : float or None, default=None
        Budget in MiB; None takes ``sklearn.get_config()["working_memory"]``.
    """
    if working_memory is None:
        working_memory = get_config()["working_memory"]
    return float(working_memory) * MEBIBYTE


def row_blocks(
    n_rows: int, bytes_per_row: float, working_memory: float | None = None
) -> Iterator[slice]:
    """Cut ``range(n_rows)`` into slices whose temporary arrays fit the working memory.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    bytes_per_row : float
        Temporary bytes that one row costs.
    working_memory : float or None, default=None
        Budget in MiB; None takes scikit-learn's configuration.

    Yields
    ------
    slice
        Consecutive slices that cover all rows; every slice holds at least one row.
    """
    budget = working_memory_bytes(working_memory)
    block = max(1, min(n_rows, int(budget // max(bytes_per_row, 1.0))))
    for start in range(0, n_rows, block):
        yield slice(start, min(start + block, n_rows))


def require_memory(n_bytes: float, limit: float, what: str, remedy: str) -> None:
    """Refuse an allocation before it is made.

    Parameters
    ----------
    n_bytes : float
        Estimated size in bytes.
    limit : float
        Largest size accepted, in bytes.
    what : str
        What would need the memory, as the subject of the sentence.
    remedy : str
        What the user can do instead.

    Raises
    ------
    MemoryError
        If ``n_bytes`` exceeds ``limit``; the message states both figures and the remedy.
    """
    if n_bytes > limit:
        raise MemoryError(
            f"{what} needs about {n_bytes / MEBIBYTE:,.0f} MiB, more than the limit of "
            f"{limit / MEBIBYTE:,.0f} MiB; {remedy}"
        )
