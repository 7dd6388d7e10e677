"""How the runs came to be what they are: training curves, accuracy against cost, and against the number of breeds."""

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, figures, metrics
from dogpoc.translation import _, number, percent
from pages import shared


def show_curves(runs: dict[str, shared.Answers]) -> None:
    """Both runs' training curves."""
    for cell, (role, given) in zip(st.columns(2, gap="large"), runs.items(), strict=True):
        with cell:
            _show_history(role, given)


def _show_history(role: str, given: shared.Answers) -> None:
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
    share = given.evaluation.info.get("interpolated_share")
    if share is not None:
        takeaway += " " + _(
            "Its weights were then moved back towards those before fine-tuning; kept: {share} of the way, "
            "where the validation loss is least (Wortsman et al. 2022)."
        ).format(share=percent(share, 0))
    shared.figure(
        shared.drawn(figures.training_curves, history, shared.ROLE[role]), takeaway, history, f"training-{role}"
    )


# -- accuracy against cost ----------------------------------------------------------------------------------------


@st.fragment
def show_costs(infos: list[dict]) -> None:
    """Accuracy of every run against what it costs."""
    costs = {
        "parameters": (_("parameters"), lambda info: info["parameters"]),
        "training": (_("training time, s"), lambda info: info["train_seconds"]),
        "evaluation": (_("evaluation, ms per photo"), lambda info: 1000 / info["photos_per_second"]),
    }
    titles = {key: title for key, (title, _of) in costs.items()}
    chosen = st.segmented_control(
        _("Accuracy against"), list(costs), default="parameters", required=True, format_func=titles.get, key="cost"
    )
    title, of = costs[chosen]
    table = cost_table(infos, of)
    drawn = shared.drawn(figures.runs_scatter, table, title=title)
    shared.figure(drawn, costs_takeaway(table, title), table, f"cost-{chosen}")


def cost_table(infos: list[dict], of) -> pd.DataFrame:
    """One row a run: its role, cost, and accuracy with interval."""
    roles = {shared.run(role): role for role in shared.ROLE}
    rows = []
    for info in infos:
        numbers = shared.run_numbers(info)
        low, high = metrics.wilson_interval(round(numbers["top1_accuracy"] * numbers["photos"]), numbers["photos"])
        rows.append((info["run"], roles.get(info["run"]), of(info), numbers["top1_accuracy"], float(low), float(high)))
    return pd.DataFrame(rows, columns=["run", "role", "cost", "accuracy", "low", "high"])


def costs_takeaway(table: pd.DataFrame, title: str) -> str:
    """The most accurate run and the cheapest one."""
    best, cheapest = table.loc[table["accuracy"].idxmax()], table.loc[table["cost"].idxmin()]
    words = _("Most accurate: {best} with {accuracy} [{low} – {high}].").format(
        best=best["run"],
        accuracy=percent(best["accuracy"]),
        low=percent(best["low"]),
        high=percent(best["high"]),
    )
    return (
        words
        + " "
        + _("Least {cost}: {cheapest} with {accuracy}.").format(
            cost=title, cheapest=cheapest["run"], accuracy=percent(cheapest["accuracy"])
        )
    )


# -- accuracy against the number of breeds ------------------------------------------------------------------------


def show_breeds(dataset: str, runs: dict[str, shared.Answers]) -> None:
    """Accuracy as fewer or more breeds are to be told apart."""
    sizes = metrics.sizes_up_to(runs["new"].evaluation.true)
    tables = {role: _accuracy_by_breeds(given, sizes) for role, given in runs.items()}
    trained = trained_on_parts(dataset, runs)
    table = pd.concat(
        [
            pd.DataFrame(table, columns=["accuracy", "low", "high"]).assign(
                run=runs[role].evaluation.run, breeds=sizes, trained_on=runs[role].evaluation.info["trained_on"]
            )
            for role, table in tables.items()
        ]
        + [trained.drop(columns="role")],
        ignore_index=True,
    )
    drawn = shared.drawn(figures.accuracy_by_breeds, sizes, tables, trained)
    shared.figure(drawn, breeds_takeaway(sizes, tables, runs, trained), table, "number-of-breeds")
    st.caption(
        _(
            "The line: the same answers, held to 100 random choices of so many breeds, their photos only; the band "
            "holds 95 % of the choices. It is not an interval for new photos."
        )
    )


@shared.kept
def _accuracy_by_breeds(given: shared.Answers, sizes: list[int]) -> np.ndarray:
    return metrics.accuracy_by_breeds(given.evaluation.logits, given.evaluation.true, sizes)


def trained_on_parts(dataset: str, runs: dict[str, shared.Answers]) -> pd.DataFrame:
    """Runs of the same methods that were trained on a part of these photos only, with fewer breeds, on their own test
    photos."""
    rows, whole_digest = [], artifacts.read_dataset(dataset)["digest"]
    for other in artifacts.datasets():
        digest = artifacts.read_dataset(other)["digest"]
        is_part = digest != whole_digest and _is_part(other, digest, dataset, whole_digest)
        names = artifacts.runs(other) if is_part else []
        for role, given in runs.items():
            own = given.evaluation
            for name in names:
                info = artifacts.read_run(other, name)
                same = all(of(info) == of(own.info) for of in (_method_and_seed, artifacts.kind_of_views))
                if info["trained_on"] == other and same and set(info["breeds"]) < set(own.breeds):
                    numbers = info["metrics"]["test"]
                    right = round(numbers["top1_accuracy"] * numbers["photos"])
                    low, high = metrics.wilson_interval(right, numbers["photos"])
                    rows.append(
                        (role, name, other, len(info["breeds"]), numbers["top1_accuracy"], float(low), float(high))
                    )
    return pd.DataFrame(rows, columns=["role", "run", "trained_on", "breeds", "accuracy", "low", "high"])


def _method_and_seed(info: dict) -> tuple[str, int]:
    return info["method"]["name"], info["seed"]


@shared.kept
def _is_part(part: str, part_digest: str, whole: str, whole_digest: str) -> bool:
    return set(artifacts.read_photos(whole)["sha256"]).issuperset(artifacts.read_photos(part)["sha256"])


def breeds_takeaway(
    sizes: list[int], tables: dict[str, np.ndarray], runs: dict[str, shared.Answers], trained: pd.DataFrame
) -> str:
    """How accuracy falls from few breeds to all, and what training on few gives."""
    words = [
        _("{role}: {few} with {n} breeds, {all} with all {total}.").format(
            role=shared.role_name(role),
            few=percent(table[0, 0]),
            n=sizes[0],
            all=percent(table[-1, 0]),
            total=sizes[-1],
        )
        for role, table in tables.items()
    ]
    words += [
        _("{run} trained on {breeds} breeds only: {accuracy} [{low} – {high}].").format(
            run=row.run,
            breeds=row.breeds,
            accuracy=percent(row.accuracy),
            low=percent(row.low),
            high=percent(row.high),
        )
        for row in trained.itertuples()
    ]
    return " ".join(words)
