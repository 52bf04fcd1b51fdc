"""What became of searches that were disturbed, as rows of a table."""

from typing import Any

import measure

Tried = dict[str, Any]


def summary(tried: list[Tried]) -> Tried:
    """One row of the table."""
    known = [one for one in tried if "equal" in one]
    disturbed = sum(one["disturbed"] for one in tried)
    row = {"searches": len(tried), "times": disturbed}
    row |= {name: sum(one[name] for one in tried) for name in ("lost", "repeated")}
    for name in ("busy", "trials", "seconds until used"):
        if values := [one[name] for one in tried if name in one]:
            row[name] = measure.spread(values)
    if not known:
        return row
    more = sum(one["seconds"] - one["alone"] for one in known)
    return {
        **row,
        "equal": sum(one["equal"] for one in known),
        "slowdown": measure.spread([one["seconds"] / one["alone"] for one in known]),
        "seconds a fault": more / disturbed if disturbed else None,
    }


def table(result: dict[str, Tried]) -> str:
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
