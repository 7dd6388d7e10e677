"""What two or more pages use: the sidebar's choice, cached loaders, photos, and a figure with its words and table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from dogpoc.translation import _, breed_label, number, percent, translated

ROLE = {"baseline": BASELINE, "new": NEW}
MARK = {"baseline": ":blue[●]", "new": ":orange[◆]"}  # the figures' symbols: told apart without colour too
THUMBNAIL = 168  # pixels, longer side, as shown; two stand side by side on a phone
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
    """What follows from a run's logits on the test photos; see dogpoc.metrics for the shapes."""

    evaluation: Evaluation
    probs: np.ndarray  # (n, C) float32
    predicted: np.ndarray  # (n,)
    counts: np.ndarray  # (C, C)
    mean_probs: np.ndarray  # (C, C)


def evaluation(dataset: str, run: str) -> Evaluation:
    """The stored answers of a run to the test photos; read again when the files change. Raises ArtifactError."""
    return answers(dataset, run).evaluation


def answers(dataset: str, run: str) -> Answers:
    """Probabilities, predictions and confusions of a run on the test photos. Raises ArtifactError."""
    return _answers(dataset, run, _stamp(dataset, run))


@st.cache_resource(max_entries=16, show_spinner=False)
def _answers(dataset: str, run: str, changed: tuple) -> Answers:  # no underscore: it would not be part of the key
    stored = artifacts.read_evaluation(dataset, run)
    probs = metrics.softmax(stored.logits).astype(np.float32)
    predicted = np.asarray(stored.logits).argmax(axis=1)
    counts = metrics.confusion_counts(stored.true, predicted, len(stored.breeds))
    return Answers(stored, probs, predicted, counts, metrics.mean_probs(probs, stored.true))


def compared(dataset: str, baseline: str, new: str) -> comparison.Comparison:
    """The comparison of two runs on the test photos. Raises ArtifactError or ComparisonError."""
    return _compared(dataset, baseline, new, (_stamp(dataset, baseline), _stamp(dataset, new)))


@st.cache_resource(max_entries=16, show_spinner=False)
def _compared(dataset: str, baseline: str, new: str, changed: tuple) -> comparison.Comparison:
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


def photo_grid(rows: np.ndarray, runs: dict[str, Answers], *, why: bool = False) -> None:
    """The test photos in `rows` with what every run answered under each; a table where there are no photos.

    runs: by role.   why: with a link to the explanation of each photo.
    """
    photos = next(iter(runs.values())).evaluation.photos
    if photos_found(photos):
        with st.container(horizontal=True, gap="medium"):
            for row in rows:
                with st.container(width=THUMBNAIL, gap="xxsmall"):
                    _photo_card(photos, int(row), runs, why)
    else:
        st.dataframe(answers_table(rows, runs), hide_index=True)


def _photo_card(photos: pd.DataFrame, row: int, runs: dict[str, Answers], why: bool) -> None:
    photo, picture = photos.iloc[row], photo_bytes(photos, row)
    if picture:
        alt = _("{breed}, photo {id}").format(breed=breed_label(photo["breed"]), id=photo["id"])
        st.image(picture, width=THUMBNAIL, alt=alt)
    else:
        st.code(photo["id"], language=None, wrap_lines=True)
    lines = []
    for role, given in runs.items():
        breed = given.predicted[row]
        right = " ✓" if breed == given.evaluation.true[row] else ""
        label = breed_label(given.evaluation.breeds[breed])
        lines.append(f"{MARK[role]} {label}{right} {percent(given.probs[row, breed], 0)}")
    st.caption("  \n".join(lines))
    if why:
        icon = ":material/visibility:"
        st.page_link("pages/attention.py", label=_("Why?"), icon=icon, query_params={"photo": photo["id"]})


def answers_table(rows: np.ndarray, runs: dict[str, Answers]) -> pd.DataFrame:
    """Photo id, true breed, and per run the predicted breed with its probability and the true breed's, in percent."""
    stored = next(iter(runs.values())).evaluation
    columns = {_("photo"): stored.photos["id"].iloc[rows], _("true breed"): _breed_labels(stored, stored.true[rows])}
    for role, given in runs.items():
        name = role_name(role)
        columns[_("{role}: predicted").format(role=name)] = _breed_labels(stored, given.predicted[rows])
        columns[_("{role}: its probability, %").format(role=name)] = _percents(given.probs[rows, given.predicted[rows]])
        columns[_("{role}: true breed's, %").format(role=name)] = _percents(given.probs[rows, stored.true[rows]])
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _breed_labels(stored: Evaluation, indices: np.ndarray) -> list[str]:
    return [breed_label(stored.breeds[i]) for i in indices]


def _percents(shares: np.ndarray) -> np.ndarray:
    return np.round(shares.astype(float) * 100, 1)


# -- figures ------------------------------------------------------------------------------------------------------


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
        lambda: table.to_csv(index=False).encode(),
        file_name=f"{dataset()}-{name}.csv",
        mime="text/csv",
        icon=":material/download:",
        key=f"csv-{name}",
        on_click="ignore",
    )


# -- words about runs and photos ----------------------------------------------------------------------------------


def method_summary(info: dict) -> str:
    """A run's method in plain words, and its size."""
    return _("{method}. {parameters} million parameters, {trained} trained.").format(
        method=translated(info["method"]["summary"]),
        parameters=number(info["parameters"] / 1e6, 1),
        trained=_("all") if info["trained_parameters"] == info["parameters"] else number(info["trained_parameters"]),
    )


def winner_sentence(result: comparison.Comparison) -> str:
    """Who wins, in a few words."""
    if result.winner is None:
        return _("No clear winner")
    return _("The new method wins") if result.winner == "new" else _("The baseline wins")


def interval(low: float, high: float, write: Callable[[float], str] = percent) -> str:
    """A 95 % interval in words."""
    return _("95 % interval {low} – {high}").format(low=write(low), high=write(high))


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
    words = [known, _("The backbones were pretrained on it: they may have seen test photos with their labels.")]
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
