"""What the stored benchmark says of each run's explanations, in words and as a table."""

import pandas as pd
import streamlit as st

from dogpoc import artifacts, faithfulness
from dogpoc.translation import _, ngettext, number
from pages import shared

RANDOMISED_LIMIT = 0.2  # of the rank correlation with shuffled weights


def show() -> None:
    """What the stored benchmark says of each run's explanations, in words and as a table."""
    st.subheader(_("Can such maps be believed?"))
    for run in dict.fromkeys(shared.run(role) for role in shared.ROLE):
        info = artifacts.read_run(shared.dataset(), run)
        record = artifacts.read_explanations(info)
        if record is None:
            command = artifacts.explain_command(info)
            st.caption(_("Not measured for {run} yet. Run: `{command}`").format(run=run, command=command))
            continue
        rows = faithfulness.summarise(record)
        st.markdown(f"**{run}** · " + benchmark_words(rows, len(record["photos"])))
        st.dataframe(benchmark_table(rows), hide_index=True, key=f"benchmark-{run}")
        if not any(row["energy"] for row in rows):
            st.caption(_("Nobody drew boxes around the dogs in these photos: evidence inside the box is not measured."))
    st.caption(
        _(
            "Pixels appear out of a blurred photo (shown) or vanish into it (hidden) in the map's order; measured is "
            "the area under the probability of the run's answer. Gain: shown minus hidden, more is better. Right tile: "
            "share of a breed's evidence in its own photo of a mosaic of four; chance is 25 %. Weights shuffled: rank "
            "correlation with the map of the network with shuffled weights, which should be near 0. "
            "Brackets: 95 % intervals, paired photo by photo."
        )
    )


def benchmark_words(rows: list[dict], photos: int) -> str:
    """For each method, whether it is surely better than random maps, a centred blob and raw attention."""
    parts = [ngettext("On {n} test photo:", "On {n} test photos:", photos).format(n=number(photos))]
    names = {"random": _("random maps"), "centre": _("a centred blob"), "attention": _("raw attention")}
    for row in rows:
        verdicts = {ref: faithfulness.beats(row, ref) for ref in names}
        if row["method"] in ("random", "centre") or all(verdict is None for verdict in verdicts.values()):
            continue
        better = _listed([names[ref] for ref, verdict in verdicts.items() if verdict], _("and"))
        not_better = _listed([names[ref] for ref, verdict in verdicts.items() if verdict is False], _("or"))
        sentence = _("{method} beats {better}") if better else _("{method} beats nothing")
        if not_better:
            sentence = (
                _("{method} beats {better}, but not {not_better}")
                if better
                else _("{method} does not beat {not_better}")
            )
        name = method_name(row["method"])
        sentence = sentence.format(method=name[0].upper() + name[1:], better=better, not_better=not_better)
        parts.append(f"{sentence}.")
        if row["randomised"] is not None and row["randomised"][0] >= RANDOMISED_LIMIT:
            parts.append(
                _(
                    "Its maps hardly change when the weights are shuffled ({r}): they show the photo, not the model."
                ).format(r=number(row["randomised"][0], 2))
            )
    return " ".join(parts)


def _listed(names: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def benchmark_table(rows: list[dict]) -> pd.DataFrame:
    """The benchmark's numbers with their intervals, as text; columns that nothing was measured for are left out."""
    columns = {
        "insertion": _("shown"),
        "deletion": _("hidden"),
        "gain_random": _("gain on random"),
        "gain_centre": _("gain on the blob"),
        "gain_attention": _("gain on attention"),
        "energy": _("evidence in the dog's box (1 = chance)"),
        "tile": _("right tile"),
        "hit": _("most in the right tile"),
        "randomised": _("weights shuffled"),
    }
    table = {_("method"): [method_name(row["method"]) for row in rows]}
    for key, title in columns.items():
        if any(row[key] is not None for row in rows):
            table[title] = ["" if row[key] is None else _with_interval(*row[key]) for row in rows]
    return pd.DataFrame(table)


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{number(mean, 2)} [{number(low, 2)}, {number(high, 2)}]"


def method_name(method: str) -> str:
    """A method as a reader sees it."""
    return {
        "attention": _("attention of the last layer"),
        "rollout": _("attention rollout"),
        "relevance": _("relevance"),
        "gradcam": _("Grad-CAM"),
        "integrated-gradients": _("integrated gradients"),
        "occlusion": _("occlusion"),
        "random": _("random map"),
        "centre": _("centred blob"),
    }[method]
