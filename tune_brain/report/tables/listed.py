"""A table as plain lines."""

from typing import Any

import pandas as pd


def listed(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table, each by column."""
    columns = [str(name) for name in table.columns]
    return [dict(zip(columns, line, strict=True)) for line in table.itertuples(index=False, name=None)]
