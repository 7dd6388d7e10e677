"""Photos from elsewhere: the same runs on photos that are not from ImageNet, beside what no training at all gives."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, figures, metrics
from dogpoc.translation import _, number, percent
from pages import shared


@dataclass(frozen=True)
class Scored:
    """How often a run is right on some photos of the shared breeds. role: None for a yardstick."""

    run: str
    role: str | None
    source: str
    photos: int
    right: int
    log_loss: float

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        low, high = metrics.wilson_interval(self.right, self.photos)
        return float(low), float(high)


def show(dataset: str, infos: list[dict], runs: dict[str, shared.Answers]) -> None:
    """The two runs, and their backbones without training, on this dataset's photos and on those from elsewhere."""
    st.markdown(
        _(
            "99.7 % of Stanford Dogs is part of ImageNet's training set, and backbones are pretrained on it: they "
            "may have seen a test photo with its label, which no split can undo. Two checks: photos from another "
            "source, and a yardstick, the backbone's own ImageNet classifier held to these breeds, with no training at "
            "all. What a run scores beyond its yardstick is what its training added."
        )
    )
    names = {given.evaluation.run: role for role, given in runs.items()}
    yardsticks = {info["run"]: None for info in infos if _is_yardstick(info, runs)}
    other = other_source(dataset, names)
    if other is None:
        st.info(
            _(
                "These two runs have no answers on photos from another source. To make them, run: `{command}`, and "
                "the same for the other run."
            ).format(command=artifacts.evaluate_command(shared.HOLDOUT, next(iter(names))))
        )
    rows = scored(dataset, other, {**names, **yardsticks})
    table = pd.DataFrame(
        [
            {
                "run": row.run,
                "photos_from": row.source,
                "photos": row.photos,
                "top1_accuracy": row.right / row.photos,
                "low": row.interval[0],
                "high": row.interval[1],
                "log_loss": row.log_loss,
            }
            for row in rows
        ]
    )
    drawn = shared.drawn(
        figures.accuracy_by_source, [(r.run, r.role, r.source, r.right / r.photos, *r.interval) for r in rows]
    )
    shared.figure(drawn, takeaway(rows, other), table, "sources")
    if not yardsticks:
        st.caption(
            _("The yardstick of a backbone is made by: `{command}`").format(
                command=f"python -m dogpoc train vit-tiny-imagenet --data {dataset}"
            )
        )


def _is_yardstick(info: dict, runs: dict[str, shared.Answers]) -> bool:
    networks = {_network(given.evaluation.info) for given in runs.values()}
    own = {given.evaluation.run for given in runs.values()}
    untrained = info["method"]["trained"] == "nothing" and info["run"] not in own
    return untrained and _network(info) in networks


def _network(info: dict) -> tuple:
    return info["method"]["backbone"]["model"], artifacts.kind_of_views(info)


def other_source(dataset: str, names: dict[str, str]) -> str | None:
    """The dataset to set beside `dataset`: the holdout, or for the holdout itself the one that the runs are from."""
    if dataset != shared.HOLDOUT:
        candidates = [shared.HOLDOUT]
    else:
        candidates = [name for name in artifacts.datasets() if name != dataset]
    return next((name for name in candidates if set(names) <= set(artifacts.runs(name))), None)


def scored(dataset: str, other: str | None, names: dict[str, str | None]) -> list[Scored]:
    """Each run on the photos of each source; where there are two, on the breeds that both have, among these alone.

    names: run -> role, None for a yardstick, which is left out of a source that it has no answers for.
    """
    sources = [dataset] if other is None else [dataset, other]
    parts = {run: [shared.answers(s, run) for s in sources if run in artifacts.runs(s)] for run in names}
    compared = [part.evaluation.breeds for run, role in names.items() if role for part in parts[run]]
    breeds = [breed for breed in compared[0] if all(breed in known for known in compared)]
    return [_score(part, breeds, names[run]) for run, its in parts.items() for part in its]


@shared.kept
def _score(given: shared.Answers, breeds: list[str], role: str | None) -> Scored:
    part = given.evaluation
    columns = np.array([part.breeds.index(breed) for breed in breeds])
    place = np.full(len(part.breeds), -1)
    place[columns] = np.arange(len(breeds))
    kept = np.flatnonzero(place[part.true] >= 0)
    logits, true = part.logits[np.ix_(kept, columns)], place[part.true[kept]]
    right = int((logits.argmax(axis=1) == true).sum())
    return Scored(part.run, role, part.dataset, len(kept), right, float(metrics.losses(logits, true).mean()))


def takeaway(rows: list[Scored], other: str | None) -> str:
    """Each run's accuracy by source, with its interval."""
    by_run: dict[str, list[Scored]] = {}
    for row in rows:
        by_run.setdefault(row.run, []).append(row)
    words = []
    if other is not None:
        photos = {row.source: row.photos for row in rows if row.role}
        words.append(
            _("On the breeds that both sources have, among these alone ({photos}):").format(
                photos=", ".join(
                    _("{n} photos of {source}").format(n=number(n), source=source) for source, n in photos.items()
                )
            )
        )
    for run, its in by_run.items():
        shares = ", ".join(
            f"{row.source} {percent(row.right / row.photos)} [{percent(row.interval[0])} – {percent(row.interval[1])}]"
            for row in its
        )
        words.append(f"{run}: {shares}" + (" " + _("(no training)") if its[0].role is None else "") + ".")
    return " ".join(words)
