"""What two or more pages use: the sidebar's choice, cached loaders, photos, and a figure with its words and table."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from dogpoc import artifacts, comparison, metrics
from dogpoc import dataset as photo_files
from dogpoc.artifacts import ArtifactError, Evaluation
from dogpoc.figures import BASELINE, NEW
from dogpoc.photo import PhotoError, read_photo, thumbnail
from dogpoc.translation import _, breed_label, language, ngettext, number, percent, translated
from pages.shared import imagined, reviewing

ROLE = {"baseline": BASELINE, "new": NEW}
MARK = {"baseline": ":blue[●]", "new": ":orange[◆]"}  # the figures' symbols: told apart without colour too
THUMBNAIL = 156  # pixels, longer side, as shown; two stand side by side on a phone 360 pixels wide
HOLDOUT = "oxford-pet-dogs"  # photos that are not from ImageNet
MOST_NAMED = 12  # options listed in a message
CHART = {"displayModeBar": False, "scrollZoom": False}


# -- the way in ---------------------------------------------------------------------------------------------------


def through_app() -> None:
    """Start over through streamlit_app.py where a page's script was run without it.

    Streamlit takes a folder pages/ for its old multipage mode until st.navigation is first called: on a fresh server a
    deep link runs the page alone (streamlit's script_runner._mpa_v1).
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


# -- the sidebar's choice -----------------------------------------------------------------------------------------


def warn_of_bad_value(key: str, options: Sequence[str]) -> None:
    """One line if the link that was opened asks for what there is not; the default is used then.

    options: what the widget that is bound to query parameter `key` offers, as it shows it.
    """
    asked = st.query_params.get(key)
    if key not in st.session_state and asked is not None and asked not in options:
        found = ", ".join(options[:MOST_NAMED]) + (", …" if len(options) > MOST_NAMED else "")
        st.warning(
            _("No {key} '{asked}' here; found: {found}. The usual one is shown instead.").format(
                key=key, asked=asked[:100], found=found
            ),
        )


def choice(draw: Callable, key: str, label: str, options: Mapping[str, str], usual: str | None, **widget) -> str | None:
    """A choice kept in the URL by its value, so that a link opens the same in every language.

    draw: st.segmented_control, st.selectbox or the like.   options: value -> text.   usual: the value that needs no
    place in the URL.   A widget's own bind="query-params" would put the text there, as it is shown.
    """
    state, asked, last = st.session_state, st.query_params.get(key), f"{key} in the URL"
    if asked != state.get(last):  # a link was opened, or the browser went back
        warn_of_bad_value(key, list(options))
        state[key] = asked if asked in options else usual
    if state.get(key) not in options:
        state[key] = usual
    chosen = draw(label, list(options), format_func=options.get, key=key, **widget)
    state[last] = None if chosen == usual else chosen
    if state[last] is None:
        st.query_params.pop(key, None)
    elif state[last] != asked:
        st.query_params[key] = state[last]
    return chosen


def dataset() -> str:
    """Name of the dataset chosen in the sidebar."""
    return st.session_state["dataset"]


def baseline() -> str:
    """Name of the run in the role of the baseline."""
    return st.session_state["baseline"]


def new() -> str:
    """Name of the run in the role of the new method."""
    return st.session_state["new"]


def run(role: str) -> str:
    """Name of the run in `role` ("baseline" or "new")."""
    return st.session_state[role]


def role_name(role: str) -> str:
    """The role as a reader sees it."""
    return _("Baseline") if role == "baseline" else _("New method")


# -- stored results -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What follows from a run's logits on the test photos; see dogpoc.metrics for the shapes.

    key: differs wherever anything else does.
    """

    key: tuple
    evaluation: Evaluation
    predicted: np.ndarray  # (n,)
    log_sums: np.ndarray  # (n,)
    counts: np.ndarray  # (C, C)
    mean_probs: np.ndarray  # (C, C)

    def prob(self, rows: np.ndarray | slice | int, breeds: np.ndarray | slice | int = slice(None)) -> np.ndarray:
        """Probabilities of some photos, worked out from the mapped logits: indexed as probs[rows, breeds] would be."""
        logits, log_sums = self.evaluation.logits[rows, breeds], self.log_sums[rows]
        return np.exp(logits - (log_sums[..., None] if np.ndim(logits) > np.ndim(log_sums) else log_sums))

    @cached_property
    def probs(self) -> np.ndarray:
        """All probabilities, (n, C) float32: as large as the logits. Where some photos will do, `prob` is lighter."""
        return self.prob(slice(None))


def evaluation(dataset: str, run: str) -> Evaluation:
    """The stored answers of a run to the test photos; read again when the files change. Raises ArtifactError."""
    return answers(dataset, run).evaluation


def answers(dataset: str, run: str) -> Answers:
    """Predictions and confusions of a run on the test photos, without those that the visitor's reviewed list calls
    wrongly labelled. Raises ArtifactError."""
    return _answers(dataset, run, _stamp(dataset, run), reviewing.left_out(dataset))


def all_answers(dataset: str, run: str) -> Answers:
    """As `answers`, with every test photo, whatever the visitor's reviewed list says."""
    return _answers(dataset, run, _stamp(dataset, run), ())


@st.cache_resource(max_entries=16, show_spinner=False)
def _answers(dataset: str, run: str, changed: tuple, left_out: tuple[str, ...]) -> Answers:  # all of it is the key
    stored = artifacts.read_evaluation(dataset, run)
    stored = artifacts.leave_out(stored, left_out) if left_out else stored
    found = metrics.confusions(stored.logits, stored.true)
    key = (dataset, run, changed, left_out)
    return Answers(key, stored, found.predicted, found.log_sums, found.counts, found.mean_probs)


def filtered() -> bool:
    """Whether photos are left out because a reviewer found their labels wrong."""
    return bool(reviewing.left_out(dataset()))


def numbers(given: Answers) -> dict[str, float]:
    """The numbers of artifacts.measure_part for these test photos: the stored ones where they are for all of them."""
    stored = given.evaluation.info["metrics"].get("test", {})
    if stored.get("photos") == len(given.evaluation.true) and "log_loss_low" in stored:
        return stored
    return _numbers(given)


def run_numbers(info: dict) -> dict[str, float]:
    """`numbers` of a run by its run.json; the logits are opened only where the reviewed list leaves photos out."""
    return numbers(answers(info["dataset"], info["run"])) if filtered() else info["metrics"]["test"]


# What takes long to compute and follows from answers alone is kept for all visitors.
kept = st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Answers: lambda given: given.key})


@kept
def _numbers(given: Answers) -> dict[str, float]:
    return artifacts.measure_part(given.evaluation)


def compared(dataset: str, baseline: str, new: str) -> comparison.Comparison:
    """The comparison of two runs on the test photos. Raises ArtifactError or ComparisonError."""
    changed = (_stamp(dataset, baseline), _stamp(dataset, new))
    return _compared(dataset, baseline, new, changed, reviewing.left_out(dataset))


@st.cache_resource(max_entries=16, show_spinner=False)
def _compared(
    dataset: str, baseline: str, new: str, changed: tuple, left_out: tuple[str, ...]
) -> comparison.Comparison:
    return comparison.compare(evaluation(dataset, baseline), evaluation(dataset, new))


def _stamp(dataset: str, run: str) -> tuple:
    """Changes whenever a file that the answers depend on does."""
    folder = artifacts.run_folder(dataset, run)
    paths = (folder / "run.json", folder / "logits.npy", folder.parent / "photos.json")
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def readable_runs(dataset: str) -> tuple[list[dict], list[str]]:
    """run.json of each evaluated run that can be read, and one line for each that cannot."""
    infos, problems = [], []
    for name in artifacts.runs(dataset):
        try:
            infos.append(artifacts.read_run(dataset, name))
        except ArtifactError as error:
            problems.append(str(error))
    return infos, problems


# -- photos -------------------------------------------------------------------------------------------------------


def photo_bytes(photos: pd.DataFrame, row: int, side: int = THUMBNAIL) -> bytes | None:
    """Photo `row` of `photos` as a JPEG, its longer side at most `side` pixels; None if it is not on this machine."""
    sha256 = photos["sha256"].iloc[row]
    path = photo_files.photo_paths([sha256], photos["bytes"]).get(sha256)
    try:
        return _thumbnail(sha256, side, path) if path else None
    except (OSError, PhotoError):
        return None


@st.cache_data(max_entries=2000, show_spinner=False)
def _thumbnail(sha256: str, side: int, _path: Path) -> bytes:
    return thumbnail(read_photo(_path.read_bytes()), side)


def photos_found(photos: pd.DataFrame) -> bool:
    """Whether any of these photos lies on this machine; where none does, one line on the page says how to get them."""
    if photo_files.photo_paths(photos["sha256"], photos["bytes"]):
        return True
    official = dataset() == "stanford-dogs"  # others have no official site: their owner knows the folder
    st.info(
        _("The photos are not on this machine, so their names stand for them. To see them, run: `{command}`").format(
            command="python -m dogpoc download stanford-dogs" if official else "DOGPOC_DATA=FOLDER python start.py"
        ),
    )
    return False


def photo_grid(rows: np.ndarray, runs: dict[str, Answers], *, why: bool = False, pair: bool = False) -> None:
    """The test photos in `rows` with what every run answered under each; a table where there are no photos.

    runs: by role.   why: with a link to the explanation of each photo.   pair: with its true breed, and a link to the
    photos that are mistaken likewise.
    """
    photos = next(iter(runs.values())).evaluation.photos
    if photos_found(photos.iloc[rows]):
        with st.container(horizontal=True, gap="small"):
            for row in rows:
                with st.container(width=THUMBNAIL, gap="xxsmall"):
                    _photo_card(photos, int(row), runs, why, pair)
    else:
        in_place_of_photos(rows, runs)
        st.dataframe(answers_table(rows, runs), hide_index=True)


def in_place_of_photos(rows: np.ndarray, runs: dict[str, Answers]) -> None:
    """The runs' own pictures of the breeds of the test photos in `rows`, and of those that they were mistaken for."""
    stored = next(iter(runs.values())).evaluation
    seen = [stored.true[rows], *(given.predicted[rows] for given in runs.values())]
    breeds = [stored.breeds[i] for i in np.stack(seen, axis=1).ravel()] if len(rows) else []
    imagined.show({MARK[role]: given.evaluation.info for role, given in runs.items()}, breeds)


def _photo_card(photos: pd.DataFrame, row: int, runs: dict[str, Answers], why: bool, pair: bool) -> None:
    photo, picture = photos.iloc[row], photo_bytes(photos, row)
    if picture:
        alt = _("{breed}, photo {id}").format(breed=breed_label(photo["breed"]), id=photo["id"])
        st.image(picture, width=THUMBNAIL, alt=alt)
    else:
        st.code(photo["id"], language=None, wrap_lines=True)
    lines = [f"**{breed_label(photo['breed'])}**"] if pair else []
    for role, given in runs.items():
        breed = given.predicted[row]
        right = " ✓" if breed == given.evaluation.true[row] else ""
        label = breed_label(given.evaluation.breeds[breed])
        lines.append(f"{MARK[role]} {label}{right} {percent(given.prob(row, breed), 0)}")
    st.caption("  \n".join(lines))
    if why:
        why_link(photo["id"])
    wrong = [given.predicted[row] for given in runs.values() if given.predicted[row] != given.evaluation.true[row]]
    if pair and wrong:  # the new method's mistake where both make one
        asked = {"true": photo["breed"], "predicted": given.evaluation.breeds[wrong[-1]]}
        asked = {key: breed_label(breed) for key, breed in asked.items()}
        label = _("All such photos")
        st.page_link("pages/confusions.py", label=label, icon=":material/grid_on:", query_params=asked)


def why_link(photo: str) -> None:
    """A link to the explanation of a test photo, by its id."""
    icon = ":material/visibility:"
    st.page_link("pages/attention.py", label=_("Why?"), icon=icon, query_params={"photo": photo, "view": "why"})


def answers_table(rows: np.ndarray, runs: dict[str, Answers]) -> pd.DataFrame:
    """Photo id, true breed, and per run the predicted breed with its probability and the true breed's, in percent."""
    stored = next(iter(runs.values())).evaluation
    columns = {_("photo"): stored.photos["id"].iloc[rows], _("true breed"): _breed_labels(stored, stored.true[rows])}
    for role, given in runs.items():
        name = role_name(role)
        columns[_("{role}: predicted").format(role=name)] = _breed_labels(stored, given.predicted[rows])
        columns[_("{role}: its probability, %").format(role=name)] = _percents(given.prob(rows, given.predicted[rows]))
        columns[_("{role}: true breed's, %").format(role=name)] = _percents(given.prob(rows, stored.true[rows]))
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _breed_labels(stored: Evaluation, indices: np.ndarray) -> list[str]:
    return [breed_label(stored.breeds[i]) for i in indices]


def _percents(shares: np.ndarray) -> np.ndarray:
    return np.round(shares.astype(float) * 100, 1)


# -- figures ------------------------------------------------------------------------------------------------------


def drawn(draw: Callable[..., go.Figure], *args, **kwargs) -> go.Figure:
    """draw(*args, **kwargs), drawn once for all visitors: plotly takes 20 ms a figure. Not to be changed afterwards.

    draw: a function of dogpoc.figures.   args: from stored results; what a visitor uploaded is not kept.
    """
    return _drawn(draw.__name__, args, kwargs, language(), draw)


@st.cache_resource(max_entries=256, show_spinner=False)
def _drawn(name: str, args: tuple, kwargs: dict, language: str, _draw: Callable[..., go.Figure]) -> go.Figure:
    made = _draw(*args, **kwargs)
    plain = made.to_dict()
    made.to_dict = lambda: plain  # what st.plotly_chart asks for each time: plotly would copy everything
    return made


def figure(drawn: go.Figure, takeaway: str, table: pd.DataFrame, name: str, **chart) -> None:
    """A figure, the sentence that says what it shows, and its table one click away, also as CSV.

    takeaway: computed from the data; the figure's text alternative too.   name: of the CSV file, unique on the page.
    chart: further arguments of st.plotly_chart.
    """
    st.plotly_chart(drawn, **{"config": CHART, "key": f"figure-{name}", "alt": takeaway, **chart})
    st.caption(takeaway)
    table_below(table, name)


def table_below(table: pd.DataFrame, name: str) -> None:
    """A table behind one click, with its CSV file."""
    with st.popover(_("Table"), icon=":material/table:", type="tertiary"):
        st.dataframe(table, hide_index=True, key=f"table-{name}")
        download(table, name)


def download(table: pd.DataFrame, name: str) -> None:
    """A button that downloads `table` as CSV, written only when it is clicked."""
    st.download_button(
        _("Download CSV"),
        lambda: table.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).encode(),  # else a ; in a name splits a cell
        file_name=f"{dataset()}-{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        key=f"csv-{name}",
        on_click="ignore",
    )


def plain(text: str) -> str:
    """Text from outside (a file's name) as Markdown that shows it and does nothing else."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text[:100])
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~:$^=&/@])", r"\\\1", kept)


# -- words about runs and photos ----------------------------------------------------------------------------------


def method_summary(info: dict) -> str:
    """A run's method in plain words, and its size."""
    return _("{method}. {parameters} million parameters, {trained} trained.").format(
        method=translated(info["method"]["summary"]),
        parameters=number(info["parameters"] / 1e6, 1),
        trained=_("all") if info["trained_parameters"] == info["parameters"] else number(info["trained_parameters"]),
    )


def hardware(info: dict, step: str) -> str:
    """On what a run was trained or evaluated (`step`: "train" or "evaluate"), in the language in use."""
    stored = info["hardware"].get(step, _("unknown"))
    return re.sub(
        r"(\d+) threads?$",
        lambda found: ngettext("{n} thread", "{n} threads", int(found[1])).format(n=number(int(found[1]))),
        stored,
    )


def winner_sentence(result: comparison.Comparison) -> str:
    """Who wins, in a few words."""
    if result.winner is None:
        return _("No clear winner")
    return _("The new method wins") if result.winner == "new" else _("The baseline wins")


def breeds_sentence(result: comparison.Comparison) -> str:
    """On how many breeds the runs differ beyond chance."""
    return _(
        "Of {breeds} breeds, the new method is better on {better} and worse on {worse}; on {undecided} these photos "
        "show no difference beyond chance (exact McNemar test per breed, Benjamini-Hochberg at 5 %)."
    ).format(
        breeds=len(result.breeds),
        better=len(result.better),
        worse=len(result.worse),
        undecided=result.undecided,
    )


def interval(low: float, high: float, write: Callable[[float], str] = percent) -> str:
    """A 95 % interval in words."""
    return _("95 % interval {low} – {high}").format(low=write(low), high=write(high))


def guess_words(given: Answers) -> str:
    """What to say of a run that is not surely better than a guess which looks at no photo; else ""."""
    return comparison.guess_words(given.evaluation.run, given.counts, given.evaluation.breeds)


def guess_note(given: Answers) -> None:
    """The same, beside the run's accuracy."""
    if words := guess_words(given):
        st.caption(words)


def contamination_note(dataset: str, baseline: str, new: str) -> None:
    """Beside numbers on photos that ImageNet has too: what that means, and the two runs on photos that it has not."""
    if dataset == HOLDOUT:
        st.info(_("These photos are not from ImageNet: no backbone has seen them."))
    if dataset == HOLDOUT or not dataset.startswith(("dogs47", "stanford-dogs")):
        return
    known = (
        _("99.7 % of Stanford Dogs is part of ImageNet's training set.")
        if dataset.startswith("stanford-dogs")
        else _("Some of these photos are copies of Stanford Dogs, and so part of ImageNet's training set.")
    )
    taught = {run: artifacts.read_run(dataset, run) for run in dict.fromkeys((baseline, new))}
    taught = [run for run, info in taught.items() if artifacts.trained_run(info).get("backbone")]
    if not taught:
        return
    words = [
        known,
        _("The backbones were pretrained on it: they may have seen test photos with their labels.")
        if {baseline, new} <= {*taught}
        else _("The backbone of {run} was pretrained on it: it may have seen test photos with their labels.").format(
            run=taught[0]
        ),
    ]
    if {baseline, new} <= set(artifacts.runs(HOLDOUT)):
        clean = evaluation(HOLDOUT, baseline)
        words.append(
            _(
                "On {photos} photos from another source (Oxford-IIIT Pet), of {breeds} of these breeds: {numbers}."
            ).format(
                photos=number(len(clean.true)),
                breeds=len(clean.breeds),
                numbers=", ".join(
                    f"{MARK[role]} {_top1(name)}" for role, name in (("baseline", baseline), ("new", new))
                ),
            )
        )
    st.info(" ".join(words))


def _top1(run: str) -> str:
    counts = answers(HOLDOUT, run).counts
    low, high = metrics.wilson_interval(counts.trace(), counts.sum())
    return f"{percent(counts.trace() / counts.sum())} [{percent(low)} – {percent(high)}]"
