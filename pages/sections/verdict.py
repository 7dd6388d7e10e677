"""Who is better, by how much and how surely; the photos behind it; every number of both runs side by side."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from dogpoc import comparison
from dogpoc.comparison import Comparison
from dogpoc.translation import _, number, percent, points
from pages import shared


def show(runs: dict[str, shared.Answers], result: Comparison) -> None:
    """The verdict, the two runs as cards with the difference between them, and the four counts."""
    st.markdown(comparison.verdict(result))
    cells = st.columns(3, border=True)
    for cell, (role, given) in zip(cells, runs.items(), strict=False):
        with cell.container(gap="xsmall"):
            _card(role, given)
    with cells[2].container(gap="xsmall"):
        st.metric(_("Difference (new − baseline)"), points(result.difference))
        st.markdown(_("top-1 accuracy"))
        st.caption(shared.interval(result.difference_low, result.difference_high, points))
    _counts(result)
    st.caption(
        _("All intervals are 95 % and come from the same {photos} test photos.").format(photos=number(result.photos))
        + " "
        + comparison.caveat()
    )


def _card(role: str, given: shared.Answers) -> None:
    numbers = shared.numbers(given)
    name = f"{shared.MARK[role]} {shared.role_name(role)} · {given.evaluation.run}"
    st.metric(name, percent(numbers["top1_accuracy"]))
    st.markdown(_("top-1 accuracy"))
    st.caption(shared.interval(numbers["top1_accuracy_low"], numbers["top1_accuracy_high"]))
    shared.guess_note(given)


def _counts(result: Comparison) -> None:
    """The four counts, each a link to its photos."""
    counts = {
        "both-right": (_("both right"), result.both_right),
        "only-baseline": (_("only the baseline right"), result.only_baseline),
        "only-new": (_("only the new method right"), result.only_new),
        "both-wrong": (_("both wrong"), result.both_wrong),
    }
    with st.container(horizontal=True, gap="medium"):
        for who, (label, n) in counts.items():
            st.page_link(
                "pages/mistakes.py",
                label=f"**{number(n)}** {label}",
                icon=":material/photo_library:",
                query_params={"who": who},
            )


def show_numbers(runs: dict[str, shared.Answers], result: Comparison) -> None:
    """Every statistic of both runs with its interval, and the paired differences."""
    table = numbers_table(runs, result)
    st.table(table.set_index(_("number")))
    shared.download(table, "numbers")
    st.caption(
        _(
            "In brackets: 95 % intervals, Wilson's for shares of photos, Tango's for their difference, the others from "
            "2,000 bootstrap resamples of the photos, the same for both runs. Where none is given, the statistic has "
            "none that is sound."
        )
    )


def numbers_table(runs: dict[str, shared.Answers], result: Comparison) -> pd.DataFrame:
    """One row a statistic: its name, both runs' values with intervals as text, the difference with its interval."""
    measured = {role: shared.numbers(given) for role, given in runs.items()}
    paired = {
        "top1_accuracy": (result.difference, result.difference_low, result.difference_high),
        "macro_f1": (result.macro_f1_difference, result.macro_f1_difference_low, result.macro_f1_difference_high),
        "log_loss": (result.log_loss_difference, result.log_loss_difference_low, result.log_loss_difference_high),
    }
    rows = []
    for key, (label, write, write_difference) in statistics().items():
        row = [label]
        for values in measured.values():
            row.append(_with_interval(values[key], values.get(f"{key}_low"), values.get(f"{key}_high"), write))
        plain = (measured["new"][key] - measured["baseline"][key], None, None)
        rows.append([*row, _with_interval(*paired.get(key, plain), write_difference)])
    rows += [_cost_row(*cost) for cost in _costs(runs)]
    names = [f"{shared.role_name(role)} · {given.evaluation.run}" for role, given in runs.items()]
    return pd.DataFrame(rows, columns=[_("number"), *names, _("new − baseline")])


def _with_interval(value: float, low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    return write(value) if low is None else f"{write(value)} [{write(low)} – {write(high)}]"


def statistics() -> dict[str, tuple]:
    """key of run.json's metrics -> (name, how a value is written, how a difference is); in the language in use."""
    three = (lambda value: number(value, 3), signed)
    return {
        "top1_accuracy": (_("top-1 accuracy"), percent, points),
        "top3_accuracy": (_("top-3 accuracy"), percent, points),
        "macro_f1": (_("macro F1"), *three),
        "log_loss": (_("log loss (less is better)"), *three),
        "brier": (_("Brier score (less is better)"), *three),
        "mean_true_probability": (_("mean probability of the true breed"), percent, points),
        "mean_confidence": (_("mean confidence"), percent, points),
        "ece": (_("calibration error (equal-mass ECE)"), percent, points),
        "classwise_ece": (
            _("calibration error by breed (classwise ECE)"),
            lambda value: percent(value, 2),
            lambda value: points(value, 2),
        ),
    }


def signed(value: float) -> str:
    """A difference with its sign and three digits."""
    rounded = round(value, 3)
    return ("+" if rounded > 0 else "\u2212" if rounded < 0 else "\u00b1") + number(abs(rounded), 3)


def _costs(runs: dict[str, shared.Answers]) -> list[tuple]:
    infos = {role: given.evaluation.info for role, given in runs.items()}

    def values(of) -> list[float]:
        return [of(infos[role]) for role in shared.ROLE]

    return [
        (_("parameters"), number, values(lambda info: info["parameters"])),
        (_("of these, trained"), number, values(lambda info: info["trained_parameters"])),
        (_("training, s"), lambda v: number(v, 0), values(lambda info: info["train_seconds"])),
        (_("evaluation of all photos, s"), lambda v: number(v, 1), values(lambda info: info["evaluation_seconds"])),
        (_("evaluation, ms per photo"), lambda v: number(v, 1), values(lambda info: 1000 / info["photos_per_second"])),
        (_("weights that training made, MB"), lambda v: number(v, 2), values(lambda info: info["weights_bytes"] / 1e6)),
    ]


def _cost_row(label: str, write: Callable[[float], str], values: list[float]) -> list[str]:
    baseline, new = values
    ratio = _("{ratio} times").format(ratio=number(new / baseline, 2)) if baseline else "–"
    return [label, write(baseline), write(new), ratio]
