"""Searches for the recipe of a method's head: every trial, and which parameter mattered."""

import math

import pandas as pd
import streamlit as st

from dogpoc import artifacts, figures
from dogpoc.translation import _, number, percent
from pages import shared


def show(dataset: str, infos: list[dict]) -> None:
    """What each stored search found, beside the recipe as it stands."""
    records = artifacts.read_tunings(dataset)
    if not records:
        command = f"python -m dogpoc tune mobilenetv2-frozen --data {dataset}"
        st.caption(_("No search on these photos yet. Run: `{command}`").format(command=command))
    for record in records:
        _show(record, _usual_loss(record, infos))


def _usual_loss(record: dict, infos: list[dict]) -> float | None:
    """The best validation loss of the method's own run, which has the recipe as it stands."""
    run = next((info for info in infos if info["run"] == record["method"]), None)
    history = artifacts.read_history(run) if run else None
    losses = history.loc[history["phase"] == "probe", "validation_loss"] if history is not None else []
    return float(min(losses)) if len(losses) else None


def _show(record: dict, usual: float | None) -> None:
    trials = [trial for trial in record["trials"] if trial["losses"]]
    if not trials:
        return
    st.markdown(f"**{record['method']}**")
    least = [min(trial["losses"].values()) for trial in trials]
    pruned = [trial["pruned"] for trial in trials]
    table = pd.DataFrame(
        {"trial": trial["number"], "validation_loss": loss, "stopped_early": trial["pruned"], **trial["params"]}
        for trial, loss in zip(trials, least, strict=True)
    )
    name = f"search-{record['method']}"
    shared.figure(
        shared.drawn(figures.search_history, least, pruned, usual), _words(record, trials, usual), table, name
    )
    if record["importances"]:
        most, share = next(iter(record["importances"].items()))
        words = _("What mattered most: {name}, {share} of the variance of the loss (Optuna's importance).").format(
            name=most, share=percent(share, 0)
        )
        shares = pd.DataFrame({"parameter": [*record["importances"]], "share": [*record["importances"].values()]})
        shared.figure(
            shared.drawn(figures.importances, record["importances"]), words, shares, f"importance-{record['method']}"
        )


def _words(record: dict, trials: list[dict], usual: float | None) -> str:
    stopped = sum(trial["pruned"] for trial in trials)
    words = [
        _("{n} trials of up to {epochs} epochs; Hyperband stopped {stopped} of them early.").format(
            n=number(len(trials)), epochs=record["epochs"], stopped=number(stopped)
        )
    ]
    best = next((trial for trial in trials if trial["number"] == record["best"]), None)
    if best:
        words.append(
            _("Best validation loss: {loss} ({params}).").format(
                loss=number(min(best["losses"].values()), 3), params=_listed(best["params"])
            )
        )
    if usual is not None:
        words.append(
            _("The recipe as it stands has {loss} ({params}).").format(
                loss=number(usual, 3), params=_listed(record["usual"])
            )
        )
    words.append(_("The best of many trials flatters itself on the photos that chose it."))
    return " ".join(words)


def _listed(params: dict[str, float]) -> str:
    return ", ".join(f"{name} {_two_digits(value)}" for name, value in params.items())


def _two_digits(value: float) -> str:
    return number(value, max(1 - math.floor(math.log10(value)), 0)) if value else "0"
