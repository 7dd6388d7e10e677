"""All runs of the dataset: one sortable table, and how much of a difference is the luck of training."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from dogpoc import artifacts, comparison, figures
from dogpoc.translation import _, number, percent, points
from pages import shared

INTERVALS = ("top1_accuracy", "top3_accuracy", "macro_f1", "log_loss", "brier")
SHARES = ("top1_accuracy", "top3_accuracy", "ece")  # shown in percent
DIGITS = {  # after the decimal point; 1 of the others
    "macro_f1": 3,
    "log_loss": 3,
    "brier": 3,
    "parameters": 2,
    "trained_parameters": 2,
    "train_seconds": 0,
    "seed": 0,
}


def show(infos: list[dict], runs: dict[str, shared.Answers]) -> None:
    """The table of all runs."""
    wide = st.toggle(_("With 95 % intervals"), key="intervals")
    table = runs_table(infos, runs["baseline"].evaluation.info["train_seconds"], intervals=wide)
    shown = {name: config for name, config in columns().items() if name in table}
    words = _("All runs of the dataset, sortable")
    st.dataframe(written(table), hide_index=True, column_config=shown, key="runs", alt=words)
    shared.download(table, "runs")
    st.caption(_("Times compare only on the same machine. {hardware}.").format(hardware=_hardware(runs)))


def runs_table(infos: list[dict], reference_seconds: float, *, intervals: bool) -> pd.DataFrame:
    """One row a run of the dataset, numbers as numbers so that columns sort; shares in percent.

    reference_seconds: training time that the others are relative to.
    """
    marks = {shared.run(role): mark for role, mark in (("new", "◆"), ("baseline", "●"))}
    rows = []
    for info in infos:
        numbers = shared.run_numbers(info)
        row = {"run": info["run"], "role": marks.get(info["run"], "")}
        for key in ("top1_accuracy", "top3_accuracy", "macro_f1", "log_loss", "brier", "ece"):
            ends = [f"{key}_low", f"{key}_high"] if intervals and key in INTERVALS else []
            row |= {name: numbers.get(name, np.nan) * (100 if key in SHARES else 1) for name in (key, *ends)}
        row |= {
            "parameters": info["parameters"] / 1e6,
            "trained_parameters": info["trained_parameters"] / 1e6,
            "weights_megabytes": info["weights_bytes"] / 1e6,
            "train_seconds": info["train_seconds"],
            "relative_train_time": info["train_seconds"] / reference_seconds if reference_seconds else np.nan,
            "evaluation_seconds": info["evaluation_seconds"],
            "milliseconds_per_photo": 1000 / info["photos_per_second"],
            "seed": info["seed"],
        }
        rows.append(row)
    return pd.DataFrame(rows)


def columns() -> dict:
    """Headings and explanations of the table of runs."""

    def column(label: str, words: str | None = None):
        return st.column_config.NumberColumn(label, help=words)

    config = {
        "run": st.column_config.TextColumn(_("run"), pinned=True),
        "role": st.column_config.TextColumn("", help=_("● baseline, ◆ new method"), width="small"),
        "top1_accuracy": column(_("top-1"), _("The likeliest breed is right.")),
        "top3_accuracy": column(_("top-3"), _("The right breed is among the first three.")),
        "macro_f1": column(_("macro F1"), _("Mean F1 of the breeds.")),
        "log_loss": column(_("log loss"), _("Mean −log p of the true breed; less is better.")),
        "brier": column(_("Brier"), _("Mean squared distance to certainty, 0 to 2; less is better.")),
        "ece": column(_("calibration error"), _("Mean gap of confidence and accuracy.")),
        "parameters": column(_("parameters, M"), _("Of the whole model, in millions.")),
        "trained_parameters": column(_("trained, M"), _("Changed by training, in millions.")),
        "weights_megabytes": column(_("weights, MB"), _("Of the part that was trained.")),
        "train_seconds": column(_("training, s")),
        "relative_train_time": column(_("training, × baseline"), _("Against the baseline's training time.")),
        "evaluation_seconds": column(_("evaluation, s"), _("All test and validation photos.")),
        "milliseconds_per_photo": column(_("ms per photo"), _("Evaluation time per photo.")),
        "seed": column(_("seed")),
    }
    for key in INTERVALS:
        words = _("Of the 95 % interval: Wilson's for shares of photos, else bootstrap.")
        config |= {f"{key}_low": column(_("from"), words), f"{key}_high": column(_("to"), words)}
    return config


def written(table: pd.DataFrame) -> Styler:
    """The table of runs with its numbers as the language in use writes them; columns still sort by the numbers."""

    def write(value: float, column: str) -> str:
        if np.isnan(value):
            return ""
        key = column.removesuffix("_low").removesuffix("_high")
        return percent(value / 100) if key in SHARES else number(value, DIGITS.get(key, 1))

    numeric = table.columns.drop(["run", "role"])
    return table.style.format({name: partial(write, column=name) for name in numeric})


def _hardware(runs: dict[str, shared.Answers]) -> str:
    return "; ".join(
        _("{run}: trained on {train}, evaluated on {evaluate}").format(
            run=given.evaluation.run,
            train=shared.hardware(given.evaluation.info, "train"),
            evaluate=shared.hardware(given.evaluation.info, "evaluate"),
        )
        for given in runs.values()
    )


# -- several seeds ------------------------------------------------------------------------------------------------


def show_seeds(dataset: str, infos: list[dict], runs: dict[str, shared.Answers]) -> None:
    """The spread of each role's method over its seeds, beside the interval that the test photos give."""
    found = {role: spread(dataset, infos, given.evaluation.run) for role, given in runs.items()}
    if all(len(seeds.runs) < 2 for seeds in found.values()):
        st.info(
            _("Each method has one run here, so nothing is known of the luck of training. More: `{command}`").format(
                command=_one_more_seed(dataset, runs["new"].evaluation.info)
            )
        )
        return
    rows = [(seeds.method, role, seeds.accuracies, seeds.low, seeds.high) for role, seeds in found.items()]
    shared.figure(shared.drawn(figures.seed_spread, rows), seeds_takeaway(found), seeds_table(found), "seeds")
    st.caption(
        _("A dot is a run, another seed each; the bar is the 95 % interval that the choice of test photos leaves.")
    )


def _one_more_seed(dataset: str, info: dict) -> str:
    """The commands that train and evaluate another run of the same method."""
    method = info["method"]["name"]
    train = f"python -m dogpoc train {method} --data {info['trained_on']} --seed 1"
    return f"{train} && {artifacts.evaluate_command(dataset, f'{method}-seed1')}"


def spread(dataset: str, infos: list[dict], run: str) -> comparison.Seeds:
    """The runs of the method of `run` on `dataset`, whatever their seed."""
    own = next(info for info in infos if info["run"] == run)
    method = " · ".join(filter(None, (own["method"]["name"], artifacts.kind_of_views(own))))
    return _spread(method, [shared.answers(dataset, name) for name in comparison.sister_runs(infos, run)])


@shared.kept
def _spread(method: str, sisters: list[shared.Answers]) -> comparison.Seeds:
    right = {given.evaluation.run: given.predicted == given.evaluation.true for given in sisters}
    return comparison.seeds(method, right)


def seeds_takeaway(found: dict[str, comparison.Seeds]) -> str:
    """Mean and spread of each method; the difference of the means with its interval over seeds."""
    words = [
        _("{method}: {mean} over {n} seeds ({low} to {high}, standard deviation {deviation}).").format(
            method=seeds.method,
            mean=percent(seeds.mean),
            n=len(seeds.runs),
            low=percent(min(seeds.accuracies)),
            high=percent(max(seeds.accuracies)),
            deviation=points(seeds.deviation, 2).removeprefix("+"),
        )
        for seeds in found.values()
        if len(seeds.runs) > 1
    ]
    difference = comparison.seeds_difference(found["baseline"], found["new"])
    if difference:
        mean, low, high = difference
        words.append(
            _(
                "Difference of the means: {difference}; 95 % interval over the luck of training {low} to {high} "
                "(Welch's t), on these test photos."
            ).format(difference=points(mean), low=points(low), high=points(high))
        )
    else:
        words.append(_("With one seed of a method, the difference has no interval over the luck of training."))
    return " ".join(words)


def seeds_table(found: dict[str, comparison.Seeds]) -> pd.DataFrame:
    """One row a run."""
    return pd.DataFrame(
        [
            {"role": role, "method": seeds.method, "run": run, "top1_accuracy": accuracy}
            for role, seeds in found.items()
            for run, accuracy in zip(seeds.runs, seeds.accuracies, strict=True)
        ]
    )
