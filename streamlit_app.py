"""The dashboard: streamlit run streamlit_app.py"""

from collections.abc import Sequence

import streamlit as st
from streamlit import net_util

from dogpoc import DogpocError, artifacts
from dogpoc.translation import LANGUAGES, _, known_language, use_language
from pages import shared
from pages.shared import reviewing

DATASET = "dogs47"  # shown at first

# A websocket from another site is refused, but before that Streamlit would ask checkip.amazonaws.com for this machine's
# own address. From the first visit on it knows one already, and nothing leaves the machine.
net_util._external_ip = "127.0.0.1"


def choose_language() -> None:
    """Speak the language of the URL (lang=), else the browser's."""
    default = known_language(st.context.locale)
    use_language(st.session_state.get("lang") or st.query_params.get("lang") or default)
    shared.warn_of_bad_value("lang", list(LANGUAGES))
    chosen = st.segmented_control(
        _("Language"),
        list(LANGUAGES),
        default=default,
        required=True,
        key="lang",
        help=" · ".join(f"{code}: {name}" for code, name in LANGUAGES.items()),
        bind="query-params",
    )
    use_language(chosen)


def choose(key: str, label: str, options: Sequence[str], usual: str) -> str:
    """A choice that all pages share and the URL keeps; `usual` at first, or the first one where that is missing."""
    shared.warn_of_bad_value(key, options)
    index = options.index(usual) if usual in options else 0
    return choices.selectbox(label, options, index, key=key, bind="query-params")


def usual_pair(dataset: str) -> tuple[str, str]:
    """The runs in the roles of baseline and new at first; where there is one run, it takes both."""
    names = artifacts.runs(dataset)
    return artifacts.default_pair(dataset) if len(names) > 1 else (names[0], names[0])


def commands_for_a_run(method: str, dataset: str) -> str:
    """What trains a method on a dataset and evaluates the run, which is called after it."""
    return f"python -m dogpoc train {method} --data {dataset} && {artifacts.evaluate_command(dataset, method)}"


def announce_one_run(dataset: str) -> None:
    """On top of every page where one run has both roles: that it says nothing, and how to have another one."""
    if shared.baseline() != shared.new():
        return
    if len(artifacts.runs(dataset)) > 1:
        st.info(_("Baseline and new method are the same run, which never differs from itself: choose another one."))
        return
    method = artifacts.BASELINE if shared.new() == artifacts.NEW else artifacts.NEW
    st.info(
        _("{dataset} has one run, which never differs from itself. To make another, run: `{commands}`").format(
            dataset=dataset, commands=commands_for_a_run(method, dataset)
        )
    )


def page(name: str, title: str, *, default: bool = False) -> st.Page:
    """A page of the navigation: pages/<name>.py at /<name>, the default one at /.

    No icons: the browser fetches the icon of a page from fonts.gstatic.com to put it on the tab.
    """
    return st.Page(f"pages/{name}.py", title=title, url_path=None if default else name, default=default)


choices = st.sidebar.container()
with st.sidebar:
    choose_language()
shown = st.navigation(
    {
        "": [page("start", _("Start"), default=True), page("story", _("Story"))],
        _("Results"): [
            page("metrics", _("Metrics")),
            page("confusions", _("Confusions")),
            page("worst-breeds", _("Worst breeds")),
            page("mistakes", _("Mistakes")),
            page("labels", _("Suspect labels")),
            page("map", _("Photo map")),
        ],
        _("Live"): [page("attention", _("Attention")), page("upload", _("Upload")), page("quiz", _("Beat the model"))],
    }
)
st.set_page_config(page_title=f"{shown.title} · dogpoc", page_icon="🐕", layout="wide")

datasets = [name for name in artifacts.datasets() if artifacts.runs(name)]
if not datasets:
    st.title("dogpoc")
    st.info(
        _("There are no results in {folder} yet. To make some, run: `{commands}`").format(
            folder=artifacts.root(),
            commands=f"python -m dogpoc split {DATASET} && {commands_for_a_run(artifacts.BASELINE, DATASET)}",
        )
    )
    st.stop()
dataset = choose("dataset", _("Dataset"), datasets, DATASET)
baseline, new = usual_pair(dataset)
choose("baseline", _("Baseline"), artifacts.runs(dataset), baseline)
choose("new", _("New method"), artifacts.runs(dataset), new)
announce_one_run(dataset)
reviewing.announce(dataset)
try:
    shown.run()
except DogpocError as error:
    st.error(str(error))
