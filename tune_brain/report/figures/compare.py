"""Several runs in one figure, for the comparison view."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style


def results(table: pd.DataFrame, names: Sequence[str], column: str) -> go.Figure:
    """Macro-F1 of each architecture in each run: markers tell runs apart, colours tell architectures apart.

    Args:
        table: see `compare.results`.
        names: of the runs, in the order of their markers.
        column: `best` for validation, or a part of the test; only the latter has intervals to draw.
    """
    archs = list(dict.fromkeys(table.loc[table[column].notna(), "arch"]))
    figure = style.figure(height=70 + 26 * len(archs) * max(2, len(names)))
    heights = style.lanes(figure, archs, style.labels(archs))
    for place, (name, label) in enumerate(zip(names, style.labels(names), strict=True)):
        lines = table[(table["run"] == name) & table[column].notna()]
        if lines.empty:
            continue
        shift, mark = 0.8 * (0.5 - (place + 0.5) / len(names)), style.run(place)
        bars = {}
        if f"{column}_high" in lines:
            low, mean, high = (lines[column + edge] for edge in ("_low", "", "_high"))
            bars["error_x"] = style.error_bars(low, mean, high, style.SHORTER)
        figure.add_scatter(
            name=label,
            x=lines[column].round(5).tolist(),
            y=[heights[arch] + shift for arch in lines["arch"]],
            mode="markers+text",
            marker={"symbol": mark.symbol, "size": 11, "color": [style.arch(arch) for arch in lines["arch"]]},
            text=[mark.number] * len(lines),
            textposition="top right",
            textfont={"size": 9},
            customdata=[label] * len(lines),
            hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
            **bars,
        )
    figure.update_xaxes(title_text="macro-F1")
    return figure
