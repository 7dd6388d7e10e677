"""The photos themselves: how many of each breed and size, how they were split, and what makes them hard."""

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, figures
from dogpoc.translation import _, breed_label, ngettext, number
from pages import shared

EXAMPLES = 8  # shown at first


def show(dataset: str, runs: dict[str, shared.Answers]) -> None:
    """Photos per breed and split, their sizes, near-duplicates, and examples of what makes them hard."""
    table, record = artifacts.read_photos(dataset), artifacts.read_dataset(dataset)
    st.markdown(split_words(table, record))
    counts = counts_per_breed(table)
    shared.figure(
        shared.drawn(figures.photos_per_breed, counts), breeds_takeaway(counts), _plain(counts), "photos-per-breed"
    )
    sizes = table[["width", "height"]].drop_duplicates()
    if len(sizes) == 1:
        st.caption(
            _("All photos are {width} × {height} pixels.").format(
                width=number(sizes["width"].iloc[0]), height=number(sizes["height"].iloc[0])
            )
        )
    else:
        shared.figure(
            shared.drawn(figures.photo_sizes, table[["width", "height"]]),
            sizes_takeaway(table),
            table[["id", "width", "height"]],
            "sizes",
        )
    _show_examples(dataset, runs)


def split_words(table: pd.DataFrame, record: dict) -> str:
    """How the photos were split, and how near-duplicates were kept together."""
    report, parts = record.get("report", {}), table["split"].value_counts()
    names = {"train": _("training"), "validation": _("validation"), "test": _("test")}
    words = [
        _("**{photos} photos of {breeds} breeds**: {parts}.").format(
            photos=number(len(table)),
            breeds=table["breed"].nunique(),
            parts=", ".join(f"{number(parts[split])} {name}" for split, name in names.items() if split in parts),
        )
    ]
    if record.get("holdout"):
        words.append(_("All of them are for testing: nothing is trained on these."))
    elif report.get("official"):
        words.append(_("Split by the dataset's own lists; a quarter of its training part is for validation."))
    else:
        words.append(
            _("A quarter of each breed is for the test, a quarter of the rest for validation (seed {seed}).").format(
                seed=record.get("seed", 0)
            )
        )
    if "near" in report:
        groups, photos = report["near"]
        copies, copied = report["exact"]
        words.append(
            ngettext(
                "{groups} group of near-duplicates ({photos} photos) was found by perceptual hash,",
                "{groups} groups of near-duplicates ({photos} photos) were found by perceptual hash,",
                groups,
            ).format(groups=number(groups), photos=number(photos))
            + " "
            + _("{copies} of them with identical files ({copied}); no group is in two splits.").format(
                copies=number(copies), copied=number(copied)
            )
        )
    if report.get("mixed"):
        words.append(
            ngettext(
                "{n} group holds photos under two breed names: one of the labels is wrong.",
                "{n} groups hold photos under two breed names: one of the labels is wrong.",
                report["mixed"],
            ).format(n=report["mixed"])
        )
    if report.get("unreadable"):
        words.append(_("Unreadable and left out: {files}.").format(files=", ".join(report["unreadable"])))
    return " ".join(words)


def counts_per_breed(table: pd.DataFrame) -> pd.DataFrame:
    """Photos by breed (rows, most photos first) and split (columns)."""
    counts = pd.crosstab(table["breed"], table["split"])
    counts = counts[[split for split in artifacts.SPLITS if split in counts]]
    return counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]


def _plain(counts: pd.DataFrame) -> pd.DataFrame:
    return counts.rename_axis(columns=None).reset_index()


def breeds_takeaway(counts: pd.DataFrame) -> str:
    """The breeds with the most and the fewest photos."""
    totals = counts.sum(axis=1)
    if totals.iloc[0] == totals.iloc[-1]:
        return _("Every breed has {n} photos.").format(n=number(totals.iloc[0]))
    return _("From {least} photos ({rarest}) to {most} ({commonest}); the middle breed has {median}.").format(
        least=number(totals.iloc[-1]),
        rarest=breed_label(totals.index[-1]),
        most=number(totals.iloc[0]),
        commonest=breed_label(totals.index[0]),
        median=number(totals.median()),
    )


def sizes_takeaway(table: pd.DataFrame) -> str:
    """The usual size, and how many photos are smaller than what the models see."""
    shorter = table[["width", "height"]].min(axis=1)
    return _("The middle photo is {width} × {height} pixels; {small} of {n} have a side under 224.").format(
        width=number(table["width"].median()),
        height=number(table["height"].median()),
        small=number((shorter < 224).sum()),
        n=number(len(table)),
    )


def _show_examples(dataset: str, runs: dict[str, shared.Answers]) -> None:
    """Photos picked by hand as examples of what makes these photos hard, with both runs' answers."""
    examples = artifacts.read_examples(dataset)
    if examples is None:
        return
    st.subheader(_("What makes them hard"))
    reasons = {
        "several": _("Several dogs, or a dog with people"),
        "puppy": _("Puppies, which look like no breed yet"),
        "clutter": _("A small dog in a full picture"),
        "part": _("Only a part of the dog"),
        "look": _("An unusual coat, clip or costume"),
        "label": _("A label that may be wrong"),
    }
    found = [reason for reason in reasons if reason in set(examples["reason"])]
    reason = st.segmented_control(
        _("Examples"), found, default=found[0], required=True, format_func=reasons.get, key="reason"
    )
    ids = runs["new"].evaluation.photos["id"]
    rows = np.flatnonzero(ids.isin(examples["id"][examples["reason"] == reason]))
    if len(rows):
        shared.photo_grid(rows[:EXAMPLES], runs, why=True)
    st.caption(
        _("Picked by eye among the test photos that at least one run gets wrong: examples, not a count of such photos.")
    )
