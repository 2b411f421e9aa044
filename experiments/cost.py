"""What the gates of an LSTM or a GRU cost, and what they buy."""

from experiments import adding, comparison, formal, little_data, speed, statistics
from experiments import temporal_order as order
from experiments.registry import Experiment, results


def cost() -> dict | None:
    """``{cell: time of a gradient over the simple RNN's}``, by width."""
    made = results(speed.EXPERIMENT)
    if made is None:
        return None
    return {
        width: {
            cell: speed.ratio(found, cell, "simple RNN") for cell in ("GRU", "LSTM")
        }
        for width, found in made.items()
    }


def benefit() -> list[tuple] | None:
    """``(task, what is counted, {cell: shown})``; None where an experiment is missing."""
    experiments = (adding, order, formal, little_data)
    made = [results(module.EXPERIMENT) for module in experiments]
    if any(found is None for found in made):
        return None
    adds, orders, languages, data = made
    cells = ("simple RNN", "GRU", "LSTM")
    name, four = "T=100", order.NAMES[2]
    rows = []
    for task, found, what, limit in (
        ("adding", adds, name, adding.threshold(name)),
        ("temporal order", orders, four, order.SOLVED),
    ):
        shares = {c: comparison.best_share(found, what, c, limit) for c in cells}
        shown = {c: f"{share:.0%}" for c, share in shares.items()}
        rows.append((f"{task}, {what}", "seeds that solve it", shown))
    settings = formal.EXPERIMENT.settings
    for language in settings["tasks"]:
        found = {c: formal.best(languages, language, c, settings) for c in cells}
        shown = {c: interval.show("{:.0%}") for c, interval in found.items()}
        rows.append((language.replace("_", " "), "accuracy beyond training", shown))
    settings = little_data.EXPERIMENT.settings
    for task, counts in settings["counts"].items():
        found = {
            c: statistics.median(little_data.accuracies(data, task, c, settings)[:, -1])
            for c in cells
        }
        shown = {c: interval.show("{:.1%}") for c, interval in found.items()}
        rows.append((f"{task}, n={counts[-1]:,}", "accuracy", shown))
    return rows


def verdict(settings, _):
    costs, rows = cost(), benefit()
    if costs is None or rows is None:
        return None, "adding, temporal_order, formal, little_data and speed come first"
    most = max(r.high for by in costs.values() for r in by.values())
    least = min(r.low for by in costs.values() for r in by.values())
    far = [row for row in rows if row[1] == "seeds that solve it"]
    better = all(
        float(shown["simple RNN"].rstrip("%")) <= 10
        and max(float(shown[c].rstrip("%")) for c in ("GRU", "LSTM")) >= 90
        for _, _, shown in far
    )
    return better and least > 1, (
        f"a gradient takes {least:.1f} to {most:.1f} times the simple RNN's, and where "
        "something must be kept for a hundred steps "
        + (
            "only the gated cells learn it"
            if better
            else "the gap is smaller than claimed"
        )
    )


def section(settings, _):
    costs, rows = cost(), benefit()
    if costs is None or rows is None:
        return "Made of the results of other experiments, which are not all there yet."
    table = [
        "| task | counted | simple RNN | GRU | LSTM |",
        "|---|---|---|---|---|",
        *(
            f"| {task} | {what} | {shown['simple RNN']} | {shown['GRU']} | {shown['LSTM']} |"
            for task, what, shown in rows
        ),
    ]
    prices = [
        "| units | GRU | LSTM |",
        "|---|---|---|",
        *(
            f"| {width[2:]} | {by['GRU'].show('{:.2f}')} | {by['LSTM'].show('{:.2f}')} |"
            for width, by in costs.items()
        ),
    ]
    return f"""\
"Both cost far more than the simple RNN, and both are far better." The cost, as the time of a
gradient over the simple RNN's at equal width (3 and 4 times the multiplications):

{chr(10).join(prices)}

The benefit, of the networks in the sections above:

{chr(10).join(table)}

Far better where something must be kept long, or counted; where a finite automaton of a few
states is all there is to learn, or the end of the sequence says enough, the difference is
small or none. No new runs are made here, so the command only prints the verdict."""


EXPERIMENT = Experiment(
    name="cost",
    title="Gates cost much and buy more",
    rule="A gradient of the GRU and of the LSTM takes longer than the simple RNN's at every "
    "width; and in adding (T=100) and temporal order (four classes) at most 10% of the "
    "simple RNN's seeds solve the task where at least 90% of a gated cell's do.",
    minutes=0,
    settings={},
    quick={},
    pieces=lambda settings: {},
    verdict=verdict,
    section=section,
)
