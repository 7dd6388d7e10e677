"""Whether confidence means anything: reliability, temperature scaling, tiny probabilities, and abstaining."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import figures, metrics
from dogpoc.translation import _, number, percent, points
from pages import shared


def show(runs: dict[str, shared.Answers]) -> None:
    """Reliability diagram, calibration errors before and after temperature scaling, and what a gap would mean."""
    fitted = {role: given.evaluation.info.get("temperature") for role, given in runs.items()}
    scaled = all(fitted.values()) and st.toggle(
        _("After temperature scaling"),
        key="scaled",
        help=_("Logits divided by one number, fitted on validation photos."),
    )
    tables = {role: _reliability(given, fitted[role] if scaled else 1.0) for role, given in runs.items()}
    rows = [pd.DataFrame(asdict(table)).assign(run=runs[role].evaluation.run) for role, table in tables.items()]
    shared.figure(
        shared.drawn(figures.reliability_diagram, tables["baseline"], tables["new"]),
        takeaway(tables),
        pd.concat(rows, ignore_index=True),
        "reliability",
    )
    st.caption(_("Each dot holds about the same number of photos; on the dotted line, confidence is accuracy."))
    for role, given in runs.items():
        _explain_gap(role, given)
    st.subheader(_("Before and after temperature scaling"))
    table = scaling_table(runs)
    st.dataframe(table, hide_index=True, key="scaling", alt=_("Calibration before and after temperature scaling"))
    shared.download(table, "temperature")
    for role, given in runs.items():
        st.caption(f"{shared.MARK[role]} {temperature_words(given.evaluation.info)}")


@shared.kept
def _reliability(given: shared.Answers, temperature: float) -> metrics.Reliability:
    probs = given.probs if temperature == 1.0 else metrics.softmax(given.evaluation.logits / temperature)
    return metrics.reliability_table(probs, given.evaluation.true)


@shared.kept
def _gap(given: shared.Answers) -> str | None:
    return metrics.confidence_gap(given.evaluation.logits, given.evaluation.true)


@shared.kept
def _risk_coverage(given: shared.Answers) -> metrics.RiskCoverage:
    return metrics.risk_coverage(given.probs, given.evaluation.true)


def takeaway(tables: dict[str, metrics.Reliability]) -> str:
    """How far each run's confidence is from its accuracy, and to which side."""
    lines = []
    for role, table in tables.items():
        confidence, accuracy = (np.average(v, weights=table.count) for v in (table.confidence, table.accuracy))
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


def _explain_gap(role: str, given: shared.Answers) -> None:
    """A run that is right with tiny probabilities, or wrong with large ones, and the usual cause."""
    gap = _gap(given)
    if gap is None:
        return
    name = f"{shared.MARK[role]} **{given.evaluation.run}** · "
    if gap == "softmax twice":
        words = _(
            "the stored logits are probabilities already. Softmax was applied in the model and again afterwards: of "
            "{classes} breeds none can then get more than {most}, however sure the model is. Accuracy is right, "
            "confidence is not. Store what the last layer gives before its softmax."
        ).format(classes=len(given.evaluation.breeds), most=percent(_most_after_two(len(given.evaluation.breeds))))
    elif gap == "too modest":
        words = _(
            "it is right far more often than it believes. Small probabilities on right answers come from a head that "
            "was trained too little or regularised too much; temperature scaling mends the numbers, longer training "
            "the cause."
        )
    else:
        words = _(
            "it believes itself right far more often than it is: it was trained until it knew the training photos by "
            "heart. Temperature scaling mends the numbers; less training, or more augmentation, the cause."
        )
    st.warning(name + words)


def _most_after_two(classes: int) -> float:
    """The largest probability that softmax gives when what it is given are probabilities."""
    return float(np.e / (np.e + classes - 1))


def scaling_table(runs: dict[str, shared.Answers]) -> pd.DataFrame:
    """Log loss, Brier score, calibration errors and confidence of each run, as stored and at its temperature."""
    labels = {
        "log_loss": (_("log loss"), lambda value: number(value, 4)),
        "brier": (_("Brier"), lambda value: number(value, 4)),
        "ece": (_("ECE"), lambda value: percent(value, 2)),
        "classwise_ece": (_("classwise ECE"), lambda value: percent(value, 2)),
        "mean_confidence": (_("mean confidence"), percent),
        "mean_true_probability": (_("mean probability of the true breed"), percent),
    }
    rows = []
    for given in runs.values():
        numbers, temperature = shared.numbers(given), given.evaluation.info.get("temperature")
        states = [("", _("as it is"))] + ([("scaled_", f"T = {number(temperature, 3)}")] if temperature else [])
        rows += [
            {
                _("run"): given.evaluation.run,
                _("temperature"): state,
                **{label: write(numbers[prefix + key]) for key, (label, write) in labels.items()},
            }
            for prefix, state in states
        ]
    return pd.DataFrame(rows)


def temperature_words(info: dict) -> str:
    """What a run's temperature says of it, or why it has none."""
    temperature, home = info.get("temperature"), info["trained_on"]
    if temperature is None:
        return _(
            "{run} has no temperature: it would be fitted on validation photos of {dataset}, and there are none, or "
            "their log loss has no minimum (every photo right, or logits that tell nothing)."
        ).format(run=info["run"], dataset=home)
    words = (
        _("{run} was too sure on the validation photos of {dataset}: its logits are divided by {t}.")
        if temperature > 1
        else _("{run} was too modest on the validation photos of {dataset}: its logits are divided by {t}.")
    )
    return words.format(run=info["run"], dataset=home, t=number(temperature, 3)) + (
        " " + _("Temperature never changes which breed is first. It was not fitted on test photos.")
    )


# -- abstaining ---------------------------------------------------------------------------------------------------


@st.fragment
def show_abstaining(runs: dict[str, shared.Answers]) -> None:
    """Accuracy of the answers that are left when the models may abstain, at a threshold that can be moved."""
    threshold = st.slider(
        _("Answer only when the first breed's probability is at least"),
        min_value=0,
        max_value=99,
        value=80,
        format="%d %%",
        key="threshold",
        bind="query-params",
    )
    curves = {role: _risk_coverage(given) for role, given in runs.items()}
    counts = {
        role: metrics.abstaining(given.probs, given.evaluation.true, threshold / 100) for role, given in runs.items()
    }
    photos = len(runs["new"].evaluation.true)
    chosen = {
        role: (answered / photos, right / answered if answered else np.nan)
        for role, (answered, right) in counts.items()
    }
    table = pd.concat(
        [pd.DataFrame(asdict(curve)).assign(run=runs[role].evaluation.run) for role, curve in curves.items()],
        ignore_index=True,
    )
    shared.figure(figures.risk_coverage(curves, chosen), abstaining_words(counts, photos), table, "coverage")


def abstaining_words(counts: dict[str, tuple[int, int]], photos: int) -> str:
    """What each run answers at the threshold, and how often it is then right."""
    lines = []
    for role, (answered, right) in counts.items():
        if not answered:
            lines.append(_("{role}: answers no photo.").format(role=shared.role_name(role)))
            continue
        low, high = metrics.wilson_interval(right, answered)
        lines.append(
            _("{role}: answers {coverage} of the photos, {accuracy} of them right [{low} – {high}].").format(
                role=shared.role_name(role),
                coverage=percent(answered / photos),
                accuracy=percent(right / answered),
                low=percent(low),
                high=percent(high),
            )
        )
    return " ".join(lines)
