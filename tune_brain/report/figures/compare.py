"""Several runs in one figure, for the comparison view."""

import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style


def results(table: pd.DataFrame, column: str) -> go.Figure:
    """Macro-F1 of each architecture in each run: markers tell runs apart, colours tell architectures apart.

    Args:
        table: see `compare.results`.
        column: `best` for validation, or a part of the test; only the latter has intervals to draw.
    """
    names = list(dict.fromkeys(table["run"]))
    archs = list(dict.fromkeys(table.loc[table[column].notna(), "arch"]))
    figure = style.figure(height=70 + 26 * len(archs) * max(2, len(names)))
    heights = {arch: len(archs) - place for place, arch in enumerate(archs)}
    for place, (name, label) in enumerate(zip(names, style.labels(names), strict=True)):
        lines = table[(table["run"] == name) & table[column].notna()]
        if lines.empty:
            continue
        shift = 0.5 * (0.5 - (place + 0.5) / len(names))
        colours = [style.arch(arch) for arch in lines["arch"]]
        bars = {}
        if f"{column}_high" in lines:
            bars["error_x"] = {
                "symmetric": False,
                "array": (lines[f"{column}_high"] - lines[column]).tolist(),
                "arrayminus": (lines[column] - lines[f"{column}_low"]).tolist(),
                "thickness": 2,
                "width": 0,
                "color": style.SHORTER,
            }
        figure.add_scatter(
            name=label,
            x=lines[column].round(5).tolist(),
            y=[heights[arch] + shift for arch in lines["arch"]],
            mode="markers",
            marker={"symbol": style.run(place).symbol, "size": 11, "color": colours},
            customdata=[label] * len(lines),
            hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
            **bars,
        )
    figure.update_xaxes(title_text="macro-F1")
    figure.update_yaxes(
        tickvals=list(heights.values()),
        ticktext=style.labels(archs),
        range=[0.4, len(archs) + 0.6],
        showgrid=False,
    )
    return figure
