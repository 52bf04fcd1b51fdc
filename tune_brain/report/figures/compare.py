"""Several runs in one figure."""

import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style


def results(table: pd.DataFrame, column: str) -> go.Figure:
    """The macro-F1 of each architecture in each run, a mark for each run, colours as everywhere.

    Args:
        table: see `compare.results`.
        column: `best` for validation, or a part of the test, whose intervals are drawn.
    """
    names = list(dict.fromkeys(table["run"]))
    archs = list(dict.fromkeys(table["arch"]))
    figure = style.figure(height=70 + 26 * len(archs) * max(2, len(names)))
    heights = {arch: len(archs) - place for place, arch in enumerate(archs)}
    for place, name in enumerate(names):
        own = table[(table["run"] == name) & table[column].notna()]
        if own.empty:
            continue
        shift = 0.5 * (0.5 - (place + 0.5) / len(names))
        colours = [style.arch(arch) for arch in own["arch"]]
        bars = {}
        if f"{column}_high" in own:
            bars["error_x"] = {
                "symmetric": False,
                "array": (own[f"{column}_high"] - own[column]).tolist(),
                "arrayminus": (own[column] - own[f"{column}_low"]).tolist(),
                "thickness": 2,
                "width": 0,
                "color": style.SHORTER,
            }
        figure.add_scatter(
            name=style.text(name),
            x=own[column].round(5).tolist(),
            y=[heights[arch] + shift for arch in own["arch"]],
            mode="markers",
            marker={"symbol": style.RUNS[place % len(style.RUNS)], "size": 11, "color": colours},
            customdata=[style.text(name)] * len(own),
            hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
            **bars,
        )
    figure.update_xaxes(title_text="macro-F1")
    figure.update_yaxes(
        tickvals=list(heights.values()),
        ticktext=[style.text(arch) for arch in archs],
        range=[0.4, len(archs) + 0.6],
        showgrid=False,
    )
    return figure
