"""Outcomes of disturbed searches, summarised as rows of a table."""

from typing import Any

import measure

Outcome = dict[str, Any]


def summary(outcomes: list[Outcome]) -> Outcome:
    """The row of one fault, from the outcomes of its searches."""
    compared = [outcome for outcome in outcomes if "equal" in outcome]
    disturbed = sum(outcome["disturbed"] for outcome in outcomes)
    row = {"searches": len(outcomes), "times": disturbed}
    row |= {name: sum(outcome[name] for outcome in outcomes) for name in ("lost", "repeated")}
    for name in ("busy", "trials", "seconds until used"):
        if values := [outcome[name] for outcome in outcomes if name in outcome]:
            row[name] = measure.spread(values)
    if not compared:
        return row
    delay = sum(outcome["seconds"] - outcome["alone"] for outcome in compared)
    return {
        **row,
        "equal": sum(outcome["equal"] for outcome in compared),
        "slowdown": measure.spread([outcome["seconds"] / outcome["alone"] for outcome in compared]),
        "seconds a fault": delay / disturbed if disturbed else None,
    }


def table(result: dict[str, Outcome]) -> str:
    """The rows as Markdown."""
    heads = ["fault", "searches", "times", "trials lost", "repeated"]
    heads += ["leaderboard equal", "slowdown", "seconds a fault"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in result.items():
        cells = [row["searches"], row["times"], row["lost"], row["repeated"]]
        if "equal" in row:
            slow, cost = row["slowdown"], row["seconds a fault"]
            spread = f"{slow['median']:.2f} [{slow['low']:.2f}, {slow['high']:.2f}]"
            cells += [f"{row['equal']} of {row['searches']}", spread, f"{cost:.1f}" if cost else ""]
        else:
            cells += ["", "", ""]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
