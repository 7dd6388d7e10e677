"""Metrics: every number of the runs, with intervals, curves and what the numbers do not say."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, comparison, figures, metrics
from dogpoc.translation import _, breed_label, number, percent, points
from pages import shared

shared.through_app()

dataset = shared.dataset()
infos, problems = shared.readable_runs(dataset)
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
result = shared.compared(dataset, shared.baseline(), shared.new())


def card(role: str, given: shared.Answers) -> None:
    """A run's main numbers."""
    numbers = given.evaluation.info["metrics"]["test"]
    name = f"{shared.MARK[role]} {shared.role_name(role)} · {given.evaluation.run}"
    st.metric(name, percent(numbers["top1_accuracy"]))
    st.markdown(_("top-1 accuracy"))
    st.caption(shared.interval(*metrics.wilson_interval(given.counts.trace(), result.photos)))
    st.caption(
        _("top-3 {top3} · macro F1 {f1} · log loss {loss} · calibration error {ece}").format(
            top3=percent(numbers["top3_accuracy"]),
            f1=number(numbers["macro_f1"], 3),
            loss=number(numbers["log_loss"], 3),
            ece=percent(numbers["ece"]),
        )
    )


def difference_card() -> None:
    """New minus baseline, with intervals from the same photos."""
    st.metric(_("Difference (new − baseline)"), points(result.difference))
    st.markdown(_("top-1 accuracy"))
    st.caption(shared.interval(result.difference_low, result.difference_high, points))
    st.caption(
        _("macro F1 {f1} [{f1_low} – {f1_high}] · log loss {loss} [{loss_low} – {loss_high}]").format(
            f1=signed(result.macro_f1_difference),
            f1_low=signed(result.macro_f1_difference_low),
            f1_high=signed(result.macro_f1_difference_high),
            loss=signed(result.log_loss_difference),
            loss_low=signed(result.log_loss_difference_low),
            loss_high=signed(result.log_loss_difference_high),
        )
    )


def signed(value: float) -> str:
    """A difference with its sign and three digits."""
    return ("+" if value > 0 else "\u2212" if value < 0 else "\u00b1") + number(abs(value), 3)


def runs_table() -> pd.DataFrame:
    """One row a run of the dataset, numbers as numbers so that columns sort."""
    rows = []
    for info in infos:
        numbers = info["metrics"].get("test", {})
        low, high = metrics.wilson_interval(round(numbers["top1_accuracy"] * numbers["photos"]), numbers["photos"])
        rows.append(
            {
                "run": info["run"],
                "top1": numbers["top1_accuracy"] * 100,
                "top1_low": float(low) * 100,
                "top1_high": float(high) * 100,
                "top3": numbers["top3_accuracy"] * 100,
                "macro_f1": numbers["macro_f1"],
                "log_loss": numbers["log_loss"],
                "ece": numbers["ece"] * 100,
                "parameters": info["parameters"] / 1e6,
                "trained_parameters": info["trained_parameters"] / 1e6,
                "train_seconds": info["train_seconds"],
                "evaluation_seconds": info["evaluation_seconds"],
                "photos_per_second": info["photos_per_second"],
                "weights_megabytes": info["weights_bytes"] / 1e6,
            }
        )
    return pd.DataFrame(rows)


def columns() -> dict:
    """Headings and formats of the table of runs."""
    number_column = st.column_config.NumberColumn
    wilson = _("Of the 95 % interval of top-1 (Wilson).")
    return {
        "run": st.column_config.TextColumn(_("run"), pinned=True),
        "top1": number_column(_("top-1"), format="%.1f %%", help=_("The likeliest breed is right.")),
        "top1_low": number_column(_("from"), format="%.1f %%", help=wilson),
        "top1_high": number_column(_("to"), format="%.1f %%", help=wilson),
        "top3": number_column(_("top-3"), format="%.1f %%", help=_("The right breed is among the first three.")),
        "macro_f1": number_column(_("macro F1"), format="%.3f", help=_("Mean F1 of the breeds.")),
        "log_loss": number_column(
            _("log loss"), format="%.3f", help=_("Mean −log p of the true breed; less is better.")
        ),
        "ece": number_column(_("calibration error"), format="%.1f %%", help=_("Mean gap of confidence and accuracy.")),
        "parameters": number_column(_("parameters, M"), format="%.2f", help=_("Of the whole model, in millions.")),
        "trained_parameters": number_column(
            _("trained, M"), format="%.2f", help=_("Changed by training, in millions.")
        ),
        "train_seconds": number_column(_("training, s"), format="%.0f"),
        "evaluation_seconds": number_column(
            _("evaluation, s"), format="%.1f", help=_("All test and validation photos.")
        ),
        "photos_per_second": number_column(_("photos/s"), format="%.0f"),
        "weights_megabytes": number_column(_("weights, MB"), format="%.1f", help=_("Of the part that was trained.")),
    }


def hardware() -> str:
    """Where the times were measured: they compare only on the same machine."""
    return "; ".join(
        _("{run}: trained on {train}, evaluated on {evaluate}").format(
            run=given.evaluation.run,
            train=given.evaluation.info["hardware"].get("train", _("unknown")),
            evaluate=given.evaluation.info["hardware"].get("evaluate", _("unknown")),
        )
        for given in runs.values()
    )


def show_history(role: str, given: shared.Answers) -> None:
    """A run's training curves."""
    st.markdown(f"**{shared.MARK[role]} {given.evaluation.run}**")
    history = artifacts.read_history(given.evaluation.info)
    if history is None:
        st.caption(_("This run has no stored training history."))
        return
    best = history.iloc[figures.best_epoch(history)]
    takeaway = _(
        "{run} trained for {epochs} epochs; the one kept has a validation log loss of {loss} "
        "and a validation accuracy of {accuracy} (in training {train})."
    ).format(
        run=given.evaluation.run,
        epochs=len(history),
        loss=number(best["validation_loss"], 3),
        accuracy=percent(best["validation_accuracy"]),
        train=percent(best["train_accuracy"]),
    )
    shared.figure(figures.training_curves(history, shared.ROLE[role]), takeaway, history, f"training-{role}")


def calibration_takeaway() -> str:
    """How far each run's confidence is from its accuracy, and to which side."""
    lines = []
    for role, given in runs.items():
        confidence, accuracy = float(given.probs.max(axis=1).mean()), given.counts.trace() / given.counts.sum()
        side = _("too sure") if confidence > accuracy else _("too modest")
        lines.append(
            _("{role}: mean confidence {confidence} at an accuracy of {accuracy}, {side} by {gap}.").format(
                role=shared.role_name(role),
                confidence=percent(confidence),
                accuracy=percent(accuracy),
                side=side,
                gap=points(abs(confidence - accuracy)).removeprefix("+"),
            )
        )
    return " ".join(lines)


def reliability_rows(tables: dict[str, metrics.Reliability]) -> pd.DataFrame:
    """The bins of the reliability diagram."""
    parts = [pd.DataFrame(asdict(table)).assign(run=runs[role].evaluation.run) for role, table in tables.items()]
    return pd.concat(parts, ignore_index=True)


def breed_takeaway() -> str:
    """On how many breeds the runs differ beyond chance."""
    named = ", ".join(breed_label(breed) for breed in [*result.better, *result.worse])
    return _(
        "The new method is better on {better} breeds and worse on {worse}; on {undecided} these photos show no "
        "difference beyond chance (exact McNemar test per breed, Benjamini-Hochberg at 5 %)."
    ).format(better=len(result.better), worse=len(result.worse), undecided=result.undecided) + (
        " " + _("Differing: {breeds}.").format(breeds=named) if named else ""
    )


st.title(_("Metrics"))
st.markdown(comparison.verdict(result))
for problem in problems:
    st.error(problem)
cells = st.columns(3, border=True)
for cell, (role, given) in zip(cells, runs.items(), strict=False):
    with cell.container(gap="xsmall"):
        card(role, given)
with cells[2].container(gap="xsmall"):
    difference_card()
st.caption(
    _(
        "Intervals are 95 % and cover the choice of the {photos} test photos, not the luck of training: "
        "another seed gives another run."
    ).format(photos=number(result.photos))
)

st.header(_("All runs"))
table = runs_table()
st.dataframe(table, hide_index=True, column_config=columns(), key="runs", alt=_("All runs of the dataset, sortable"))
shared.download(table, "runs")
st.caption(_("Times compare only on the same machine. {hardware}.").format(hardware=hardware()))
shared.contamination_note(dataset, shared.baseline(), shared.new())

st.header(_("Breed by breed"))
order = np.argsort(result.breeds["difference"].fillna(0).to_numpy(), kind="stable")[::-1]
breeds = result.breeds.iloc[order]
VERDICTS = {"better": _("new is better"), "worse": _("new is worse"), "no evidence": _("no evidence either way")}
notes = [
    _("{n} photos, {verdict}").format(n=support, verdict=VERDICTS[verdict])
    for support, verdict in zip(breeds["support"], breeds["verdict"], strict=True)
]
drawn = figures.breed_dumbbells(
    breeds["breed"].tolist(),
    breeds["baseline_recall"],
    breeds["new_recall"],
    title=_("photos named correctly"),
    notes=notes,
)
shared.figure(drawn, breed_takeaway(), breeds, "breeds")

st.header(_("Does confidence mean anything?"))
tables = {role: metrics.reliability_table(given.probs, given.evaluation.true) for role, given in runs.items()}
shared.figure(
    figures.reliability_diagram(tables["baseline"], tables["new"]),
    calibration_takeaway(),
    reliability_rows(tables),
    "reliability",
)
st.caption(_("Each dot holds about the same number of photos; on the dotted line, confidence is accuracy."))

st.header(_("How they learned"))
for cell, (role, given) in zip(st.columns(2, gap="large"), runs.items(), strict=True):
    with cell:
        show_history(role, given)
