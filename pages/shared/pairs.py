"""Pairs of breeds on the confusions page: photos taken for one another, a breed's partners, and the ranking."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, embedding, metrics, taxonomy
from dogpoc.translation import _, breed_label, language, ngettext, number, percent
from pages import shared

PHOTOS = 6  # shown at first of either direction
LISTED = 300  # pairs on the page; the CSV file has all
SYMBOL = {"baseline": "●", "new": "◆"}  # as in shared.MARK
LOOK = "to bring into view"
SCROLL = """<script data-times="{times}">{{
const page = document.querySelector("[data-testid=stMain]"), box = document.querySelector(".st-key-{key}")
const {{top, height}} = box.getBoundingClientRect(), below = top + Math.min(height, 320) - innerHeight
const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth"
page.scrollTo({{top: page.scrollTop + (below > 0 ? below : Math.min(top - 80, 0)), behavior}})
}}</script>"""  # the number makes it another script, which runs again
ROW, HEADER = 35, 38  # pixels of a table


@dataclass(frozen=True)
class Subject:
    """What the page is about: both runs, by role, and the names that a reader may choose."""

    runs: dict[str, shared.Answers]

    @cached_property
    def breeds(self) -> list[str]:
        return self.runs["new"].evaluation.breeds

    @cached_property
    def true(self) -> np.ndarray:  # (n,)
        return self.runs["new"].evaluation.true

    @cached_property
    def labels(self) -> list[str]:
        return [breed_label(breed) for breed in self.breeds]

    @cached_property
    def support(self) -> np.ndarray:  # (C,)
        return np.bincount(self.true, minlength=len(self.breeds))

    @cached_property
    def mistakes(self) -> np.ndarray:  # (C, C), of both runs
        return sum(metrics.errors(given.counts) for given in self.runs.values())

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Places of the breeds of each FCI group that has several here, by the group's name ("FCI 3")."""
        unit, names = taxonomy.collapse(self.breeds)
        return {name: np.flatnonzero(unit == k) for k, name in enumerate(names) if taxonomy.group_number(name)}

    @cached_property
    def members(self) -> dict[str, np.ndarray]:
        """Places of the breeds that a name stands for, by name: breeds and groups."""
        return {label: np.array([place]) for place, label in enumerate(self.labels)} | self.groups

    def fingerprint(self) -> tuple:
        """Changes whenever an answer does, or the features of a run."""
        return tuple(given.key for given in self.runs.values())

    def names(self) -> dict[str, str]:
        """All names that can be chosen -> as a reader sees them."""
        return {name: taxonomy.unit_label(name) for name in self.members}


def choose(i: str, j: str) -> None:
    """Make photos of i, taken for j, the chosen pair."""
    st.query_params.update({"true": i, "predicted": j})  # at once: one step for the browser's Back
    st.session_state[LOOK] = "pair-photos"


def look_at(name: str) -> None:
    """Make `name` the breed that is looked at."""
    st.query_params["focus"] = name
    st.session_state[LOOK] = "one-breed"


def bring_into_view() -> None:
    """Scroll to what a click has just chosen, by no more than it takes to see its first photos."""
    key = st.session_state.pop(LOOK, None)
    if key:
        st.session_state[f"{LOOK} count"] = times = st.session_state.get(f"{LOOK} count", 0) + 1
        st.html(SCROLL.format(key=key, times=times), unsafe_allow_javascript=True)


def completed(about: Subject, i: str | None, j: str | None) -> tuple[str, str]:
    """The chosen pair; what is not chosen is taken from the most frequent confusion that fits."""
    mistakes, members = about.mistakes, about.members
    if i is None and j is None:
        row, column = np.unravel_index(mistakes.argmax(), mistakes.shape)
        return about.labels[row], about.labels[column]
    if i is None:
        return about.labels[mistakes[:, members[j]].sum(axis=1).argmax()], j
    return i, about.labels[mistakes[members[i]].sum(axis=0).argmax()] if j is None else j


def selectable(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], key: str, **options) -> None:
    """A table in which a click or the arrow keys choose the pair of a row."""

    def pick() -> None:
        for row, _column in st.session_state[key].selection.cells[:1]:
            choose(*pairs[row])

    st.dataframe(table, hide_index=True, key=key, on_select=pick, selection_mode="single-cell", **options)


def share_text(part: int, whole: int) -> str:
    """A share with its 95 % interval; a dash where it is of nothing."""
    return share_texts(np.array([part]), np.array([whole]))[0]


def share_texts(parts: np.ndarray, wholes: np.ndarray) -> list[str]:
    """`share_text` of each."""
    bounds = zip(parts, wholes, *metrics.wilson_interval(parts, wholes), strict=True)
    return [f"{percent(n / of)} [{percent(low)} – {percent(high)}]" if of else "–" for n, of, low, high in bounds]


# -- the photos behind a pair -------------------------------------------------------------------------------------


def show_photos(about: Subject, i: str, j: str) -> None:
    """Photos of i that a run takes for j, and beside them those of j taken for i."""
    directions = [Direction(about, i, j)] if i == j else [Direction(about, i, j), Direction(about, j, i)]
    behind = np.concatenate([direction.rows for direction in directions])
    found = len(behind) > 0 and shared.photos_found(about.runs["new"].evaluation.photos.iloc[behind])
    for place, direction in zip(st.columns(2, gap="large"), directions, strict=False):
        with place:
            _show_direction(direction, found)


@dataclass(frozen=True)
class Direction:
    """Photos of the breed or group i and what the runs make of them: j, or not."""

    about: Subject
    i: str
    j: str

    @cached_property
    def of(self) -> np.ndarray:  # (m,) the photos of i
        return np.flatnonzero(np.isin(self.about.true, self.about.members[self.i]))

    @cached_property
    def wrong_only(self) -> bool:  # of a group, right answers do not count
        return self.i != self.j or self.i in self.about.groups

    @cached_property
    def taken(self) -> dict[str, np.ndarray]:
        """By role, (m,) bool: which photos the run takes for j."""
        true, members = self.about.true[self.of], self.about.members[self.j]
        return {
            role: np.isin(given.predicted[self.of], members) & ((given.predicted[self.of] != true) | ~self.wrong_only)
            for role, given in self.about.runs.items()
        }

    @cached_property
    def beliefs(self) -> dict[str, np.ndarray]:
        """By role, (m,) the probability that each photo gives to j."""
        members = self.about.members[self.j][None, :]
        counted = (self.about.true[self.of, None] != members) | (not self.wrong_only)
        return {
            role: np.where(counted, given.prob(self.of[:, None], members), 0).sum(axis=1)
            for role, given in self.about.runs.items()
        }

    @cached_property
    def rows(self) -> np.ndarray:
        """The photos that a run takes for j, likeliest first; where there are none, those that come closest."""
        likely = np.argsort(-np.max([*self.beliefs.values()], axis=0), kind="stable")
        shown = np.any([*self.taken.values()], axis=0)
        return self.of[likely[shown[likely]] if shown.any() else likely[:PHOTOS]]

    def title(self) -> str:
        true, predicted = taxonomy.unit_label(self.i), taxonomy.unit_label(self.j)
        if self.i == self.j and self.wrong_only:
            return _("One breed of {group} taken for another").format(group=true)
        return _("{true} taken for {predicted}").format(true=true, predicted=predicted)


def _show_direction(direction: Direction, found: bool) -> None:
    of, lines = direction.of, [f"**{direction.title()}**"]
    for role, taken in direction.taken.items() if len(of) else ():
        words = _("{n} of {support} photos: {share}; mean probability {probability}").format(
            n=taken.sum(),
            support=number(len(of)),
            share=share_text(taken.sum(), len(of)),
            probability=percent(direction.beliefs[role].mean()),
        )
        lines.append(f"{shared.MARK[role]} {words}")
    st.markdown("  \n".join(lines))
    if not len(of):
        st.caption(_("There are no test photos of {breed}.").format(breed=taxonomy.unit_label(direction.i)))
        return
    if not np.any([*direction.taken.values()]):
        st.caption(_("Neither run takes one for the other; these photos come closest."))
    _show_rows(direction.rows, direction.about.runs, found, f"{direction.i}-{direction.j}")


def _show_rows(rows: np.ndarray, runs: dict[str, shared.Answers], found: bool, name: str) -> None:
    table = shared.answers_table(rows, runs)
    if not found:
        shared.in_place_of_photos(rows, runs)
        st.dataframe(table, hide_index=True)
        return
    photos = st.container()
    more = len(rows) > PHOTOS and not st.toggle(_("Show all {n}").format(n=len(rows)), key=f"all-{name}")
    with photos:
        shared.photo_grid(rows[:PHOTOS] if more else rows, runs, why=True)
    shared.table_below(table, f"photos-{name}")


# -- one breed ----------------------------------------------------------------------------------------------------


def show_breed(about: Subject, name: str) -> None:
    """One breed: its numbers, what its photos are taken for, and whose photos are taken for it."""
    breed = about.labels.index(name)
    st.dataframe(pd.DataFrame([_breed_numbers(about, role, breed) for role in about.runs]), hide_index=True)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**" + _("What its photos are taken for") + "**")
        _show_partners(about, breed, {role: given.counts[breed] for role, given in about.runs.items()}, own=True)
    with right:
        st.markdown("**" + _("Whose photos are taken for it") + "**")
        _show_partners(about, breed, {role: given.counts[:, breed] for role, given in about.runs.items()}, own=False)


def _breed_numbers(about: Subject, role: str, breed: int) -> dict[str, str]:
    given, support = about.runs[role], about.support[breed]
    right, answers = given.counts[breed, breed], given.counts[:, breed].sum()
    return {
        _("run"): f"{shared.role_name(role)} · {given.evaluation.run}",
        _("photos"): number(support),
        _("recognised"): share_text(right, support),
        _("answers"): number(answers),
        _("of these right"): share_text(right, answers),
        "F1": number(metrics.f1(given.counts)[breed], 3) if support else "–",
        _("mean probability"): percent(given.mean_probs[breed, breed]) if support else "–",
    }


def _show_partners(about: Subject, breed: int, counts: dict[str, np.ndarray], *, own: bool) -> None:
    """Breeds that `breed` is confused with, most photos first. counts: (C,) by role.   own: it is the true one."""
    both = sum(counts.values())
    partners = [int(k) for k in np.argsort(-both, kind="stable") if both[k] and k != breed]
    if not partners:
        st.caption(_("None."))
        return
    table = {_("breed"): [about.labels[k] for k in partners]}
    for role in about.runs:
        table[shared.role_name(role)] = [
            _("{n} of {support}").format(n=counts[role][k], support=about.support[breed if own else k])
            for k in partners
        ]
    pairs = [(breed, k) if own else (k, breed) for k in partners]
    pairs = [(about.labels[i], about.labels[j]) for i, j in pairs]
    selectable(pd.DataFrame(table), pairs, f"partners-{breed}-{own}")


# -- all pairs ----------------------------------------------------------------------------------------------------


def show_ranking(about: Subject, role: str) -> None:
    """The confusions of a run, most photos first, beside the other run's and what the breeds have in common."""
    other = next(name for name in shared.ROLE if name != role)
    ranked, table, names = _ranking(about, role, other, about.fingerprint(), language())
    if ranked.empty:
        st.caption(_("{role}: no photo is named wrongly.").format(role=shared.role_name(role)))
        return
    pairs = ngettext("{n} confusion", "{n} confusions", len(ranked)).format(n=number(len(ranked)))
    st.caption(
        _(
            "{role}: {pairs}, of which the other run makes {both} as well. Shares are of the true breed's photos, with "
            "95 % intervals. **Choose a row to see its photos below.**"
        ).format(role=f"{shared.MARK[role]} {shared.role_name(role)}", pairs=pairs, both=number(ranked["shared"].sum()))
    )
    selectable(table, names, f"pairs-{role}", height=min(HEADER + 10 * ROW, HEADER + ROW * len(table)))
    shared.download(ranked, f"pairs-{role}")
    _tell_similarity(about, [name for name in shared.ROLE if f"{name}_similarity" not in ranked])


@st.cache_resource(max_entries=16, show_spinner=False)
def _ranking(
    _about: Subject, role: str, other: str, changed: tuple, language: str
) -> tuple[pd.DataFrame, pd.DataFrame, list[tuple[str, str]]]:
    """All pairs for the CSV file; the first of them for the screen, in `language`; and the names of these."""
    ranked = metrics.ranked_pairs(_about.breeds, _about.runs[role].counts, _about.runs[other].counts)
    i, j = (pd.Index(_about.breeds).get_indexer(ranked[f"{side}_breed"]) for side in ("true", "predicted"))
    for name in shared.ROLE:
        cosines = similarity(_about.runs[name])
        if cosines is not None:
            ranked[f"{name}_similarity"] = cosines[i, j]
    shown = ranked[:LISTED]
    names = [(_about.labels[a], _about.labels[b]) for a, b in zip(i[:LISTED], j[:LISTED], strict=True)]
    table = {_("true breed"): [pair[0] for pair in names], _("taken for"): [pair[1] for pair in names]}
    table |= {_("both runs"): shown["shared"]}
    for prefix, name in (("", role), ("against_", other)):
        photos, symbol = shown[f"{prefix}photos"], SYMBOL[name]
        table |= {f"{symbol} {_('photos')}": photos, f"{symbol} {_('share')}": share_texts(photos, shown["support"])}
        if f"{name}_similarity" in ranked:
            table[f"{symbol} {_('similarity')}"] = shown[f"{name}_similarity"].round(2)
    return ranked, pd.DataFrame(table), names


def similarity(given: shared.Answers) -> np.ndarray | None:
    """(C, C) mean cosine of the breeds' test photos in a run's features; None where these are not stored."""
    stored = given.evaluation
    features = artifacts.read_features(stored.info)
    if features is None:
        return None
    return embedding.breed_similarity(features[artifacts.table_rows(stored)], stored.true, len(stored.breeds))


def _tell_similarity(about: Subject, missing: list[str]) -> None:
    """What similarity means, and how to get it for the roles in which it is missing."""
    if len(missing) < len(shared.ROLE):
        st.caption(
            _(
                "Similarity: mean cosine between test photos of the two breeds in the run's own features; about 0 for "
                "any two photos, 1 for the same direction."
            )
        )
    if missing:
        infos = [about.runs[role].evaluation.info for role in missing]
        commands = " && ".join(dict.fromkeys(artifacts.embed_command(info) for info in infos))
        st.caption(
            _("To see how alike the breeds are to a run, store its features: `{command}`").format(command=commands)
        )


# -- how bad ------------------------------------------------------------------------------------------------------


def show_severity(about: Subject) -> None:
    """How bad both runs' mistakes are by the FCI's groups and sections."""
    found, difference = _severity(about, about.fingerprint())
    st.markdown(
        _(
            "Taking a beagle for a basset is a smaller mistake than taking it for a pug. The kennel clubs' federation "
            "(FCI) sorts breeds into ten groups of like build and use, and these into sections. Distance 1: same "
            "section; 2: same group; 3: neither, or a breed that the FCI does not list."
        )
    )
    table = pd.DataFrame([_severity_row(about, role, each) for role, each in found.items()])
    st.dataframe(table, hide_index=True)
    st.caption(_severity_takeaway(*difference))
    shared.download(pd.DataFrame([vars(each) | {"run": shared.run(role)} for role, each in found.items()]), "severity")


@st.cache_resource(max_entries=16, show_spinner=False)
def _severity(_about: Subject, changed: tuple) -> tuple[dict[str, taxonomy.Severity], tuple[float, float, float]]:
    """How bad each run's mistakes are; and the difference of their mean distances, with its interval."""
    apart, predicted = taxonomy.distance(_about.breeds), [_about.runs[role].predicted for role in shared.ROLE]
    found = {role: taxonomy.severity(_about.true, run, apart) for role, run in zip(shared.ROLE, predicted, strict=True)}
    return found, taxonomy.severity_difference(_about.true, np.stack(predicted), apart)["mean"]


def _severity_row(about: Subject, role: str, found: taxonomy.Severity) -> dict[str, str]:
    mean = f"{number(found.mean, 2)} [{number(found.mean_low, 2)} – {number(found.mean_high, 2)}]"
    return {
        _("run"): f"{shared.role_name(role)} · {about.runs[role].evaluation.run}",
        _("mistakes"): number(found.errors),
        _("inside the group"): share_text(found.inside, found.errors),
        _("inside by chance"): percent(found.share_by_chance) if found.errors else "–",
        _("mean distance"): mean if found.errors else "–",
        _("distance by chance"): number(found.mean_by_chance, 2) if found.errors else "–",
    }


def _severity_takeaway(change: float, low: float, high: float) -> str:
    """Whose mistakes are worse, if that can be told. The difference in mean distance, new - baseline."""
    yardstick = _("By chance: if every other breed were as likely an answer for the same photos.")
    if np.isnan(low):
        return f"{_('There are too few mistakes to tell whose are worse.')} {yardstick}"
    if low <= 0 <= high:
        words = _(
            "No evidence that either run's mistakes are worse: mean distance {change} [{low}, {high}], new − baseline."
        )
    elif change > 0:
        words = _("The new method's mistakes are worse: mean distance {change} [{low}, {high}], new − baseline.")
    else:
        words = _("The baseline's mistakes are worse: mean distance {change} [{low}, {high}], new − baseline.")
    return f"{words.format(change=_signed(change), low=_signed(low), high=_signed(high))} {yardstick}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value, 2).replace("-", "\u2212")
