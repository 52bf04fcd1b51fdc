"""Figure of one trial over its epochs: learning rate, gradient norm, losses.

It is drawn empty; the page's script fills it for the trial that the reader selects.
"""

import plotly.graph_objects as go

from tune_brain.report import style


def one_cycle() -> go.Figure:
    """Three empty panels over the epochs of one trial.

    The page's script fills the traces by name: `schedule` (learning rate at each step, computed), `measured`
    (learning rate of each epoch's last step), `gradient` (mean norm), `clipped` (share of clipped steps),
    `training` and `validation` (loss).
    """
    figure = style.figure(height=520)
    for name, axis, look in (
        ("schedule", "", {"mode": "lines", "line": {"color": style.FULL, "width": 2}}),
        ("measured", "", {"mode": "markers", "marker": {"color": style.FULL, "size": 7}}),
        ("gradient", "2", {"mode": "lines+markers", "line": {"color": style.INK, "width": 2}}),
        ("training", "4", {"mode": "lines+markers", "line": {"color": style.SHORTER, "width": 2}}),
        ("validation", "4", {"mode": "lines+markers", "line": {"color": style.WINNER, "width": 2}}),
    ):
        figure.add_scatter(name=name, x=[], y=[], yaxis=f"y{axis}", hovertemplate=_HOVER[name], **look)
    figure.add_bar(
        name="clipped",
        x=[],
        y=[],
        yaxis="y3",
        width=0.5,
        opacity=0.55,
        marker={"color": style.SHORTER},
        hovertemplate=_HOVER["clipped"],
    )
    plain = figure.layout.yaxis.to_plotly_json()
    figure.update_layout(
        xaxis={"title": {"text": "epoch"}, "anchor": "y4", "rangemode": "tozero"},
        yaxis={"domain": [0.72, 1], "title": {"text": "learning rate"}, "exponentformat": "power"},
        yaxis2={**plain, "domain": [0.37, 0.65], "title": {"text": "gradient norm"}, "rangemode": "tozero"},
        yaxis3={
            **plain,
            "title": {"text": "clipped share"},
            "overlaying": "y2",
            "side": "right",
            "range": [0, 1],
            "tickvals": [0, 0.5, 1],
            "ticktext": ["0", "50 %", "100 %"],
            "showgrid": False,
        },
        yaxis4={**plain, "domain": [0, 0.28], "title": {"text": "loss (nats)"}, "rangemode": "tozero"},
    )
    return figure


_HOVER = {
    "schedule": "step at epoch %{x:.2f}: %{y:.2e}<extra>learning rate, computed</extra>",
    "measured": "step at epoch %{x:.2f}: %{y:.2e}<extra>learning rate, last step of the epoch</extra>",
    "gradient": "epoch %{x}: %{y:.3g}<extra>mean gradient norm before clipping</extra>",
    "clipped": "epoch %{x}: %{y:.0%}<extra>steps clipped</extra>",
    "training": "epoch %{x}: %{y:.3f}<extra>training loss</extra>",
    "validation": "epoch %{x}: %{y:.3f}<extra>validation loss</extra>",
}
