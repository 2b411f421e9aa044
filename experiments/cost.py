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


CELLS = ("simple RNN", "GRU", "LSTM")


def solving() -> dict | None:
    """``{task: {cell: share of seeds that solve it}}``, at equal parameters."""
    made = [results(module.EXPERIMENT) for module in (adding, order)]
    if any(found is None for found in made):
        return None
    (adds, orders), four = made, order.NAMES[2]
    name, limit = "T=100", adding.threshold("T=100")
    return {
        f"adding, {name}": {c: comparison.share(adds, name, c, limit) for c in CELLS},
        f"temporal order, {four}": {
            c: comparison.share(orders, four, c, order.SOLVED) for c in CELLS
        },
    }


def others() -> list[tuple]:
    """``(task, what is counted, {cell: shown})`` of the experiments that are made."""
    rows = []
    languages, settings = results(formal.EXPERIMENT), formal.EXPERIMENT.settings
    for language in settings["tasks"] if languages else ():
        found = {c: formal.at_equal(languages, language, c, settings) for c in CELLS}
        shown = {c: interval.show("{:.0%}") for c, interval in found.items()}
        rows.append((language.replace("_", " "), "accuracy beyond training", shown))
    data, settings = results(little_data.EXPERIMENT), little_data.EXPERIMENT.settings
    for task, counts in settings["counts"].items() if data else ():
        found = {
            c: little_data.accuracies(data, task, c, settings)[:, -1] for c in CELLS
        }
        shown = {c: statistics.accuracy(values) for c, values in found.items()}
        rows.append((f"{task}, n={counts[-1]:,}", "accuracy", shown))
    return rows


def verdict(settings, _):
    costs, solved = cost(), solving()
    if costs is None or solved is None:
        return None, "the experiments speed, adding and temporal_order come first"
    ratios = [ratio for by in costs.values() for ratio in by.values()]
    better = all(
        by["simple RNN"].middle <= 0.1 and max(by["GRU"], by["LSTM"]).middle >= 0.9
        for by in solved.values()
    )
    middles = [ratio.middle for ratio in ratios]
    said = f"a gradient takes {min(middles):.1f} to {max(middles):.1f} times the simple RNN's"
    for task, by in solved.items():
        said += f"; {task}: " + ", ".join(f"{c} {s.middle:.0%}" for c, s in by.items())
    return better and min(
        ratio.low for ratio in ratios
    ) > 1, said + " of seeds solve it"


def section(settings, _):
    costs, solved = cost(), solving()
    if costs is None or solved is None:
        return "Made of the results of other experiments, which are not all there yet."
    rows = [
        (task, "seeds that solve it", {c: s.show("{:.0%}") for c, s in by.items()})
        for task, by in solved.items()
    ]
    table = ["| task | counted | " + " | ".join(CELLS) + " |", "|---|---|---|---|---|"]
    for task, what, shown in rows + others():
        table.append(
            f"| {task} | {what} | " + " | ".join(shown[c] for c in CELLS) + " |"
        )
    prices = ["| units | GRU | LSTM |", "|---|---|---|"]
    for width, by in costs.items():
        gru, lstm = (by[c].show("{:.2f}") for c in ("GRU", "LSTM"))
        prices.append(f"| {width[2:]} | {gru} | {lstm} |")
    return f"""\
"Both cost far more than the simple RNN, and both are far better." The cost is the time of a
gradient divided by the simple RNN's at equal width. By the number of multiplications it is 3 and 4.

{chr(10).join(prices)}

The benefit is that of the networks in the sections above, at equal parameters:

{chr(10).join(table)}

They are far better in the tasks that need a long memory. This section has no runs of its own."""


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
