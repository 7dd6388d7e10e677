"""Train resolution against test resolution, and several views of each photo."""

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, figures, metrics
from dogpoc.translation import _, number, percent
from pages import shared


def show(dataset: str, runs: dict[str, shared.Answers]) -> None:
    """Each run's grid of train and test sizes with what it says, and what several views of a photo bring and cost."""
    st.markdown(
        _(
            "Networks see a dog larger or smaller when photos come in at another size than in training (Touvron et al. "
            "2019). Rows: the size at which the last layer was trained; columns: the size at the test. On the diagonal "
            "it fits the test. Where the network ends in a normalisation, the lowest row has both trained, each time "
            "at the test size. The rest of the network stays as the run trained it."
        )
    )
    _say_small(dataset)
    for role, given in runs.items():
        info = given.evaluation.info
        st.markdown(f"**{shared.MARK[role]} {info['run']}**")
        record = artifacts.read_fixres(info)
        if record is None:
            command = artifacts.fixres_command(info)
            st.caption(_("Not measured for {run} yet. Run: `{command}`").format(run=info["run"], command=command))
            continue
        sizes = list(map(str, record["sizes"]))
        rows, keys = [record["as_trained"], *record["grid"]], ["as it is", *sizes]
        names = [_("as it is"), *map(number, record["sizes"])]
        if record.get("with_norm"):
            rows.append(record["with_norm"])
            keys.append("the test size, with the norm")
            names.append(_("the test size, with the norm"))
        shares = np.array(rows) / record["photos"]
        drawn = shared.drawn(figures.size_grid, shares, names, [number(size) for size in record["sizes"]])
        table = pd.DataFrame(shares.round(4), columns=sizes)
        table.insert(0, "trained_at", keys)
        shared.figure(drawn, grid_words(record), table, f"sizes-{role}")
        st.dataframe(views_table(record), hide_index=True, key=f"views-{role}")


def _say_small(dataset: str) -> None:
    """Where photos are smaller than the largest test size, a larger input holds nothing new."""
    table = artifacts.read_photos(dataset)
    shorter = int(table[["width", "height"]].min(axis=1).median())
    st.caption(
        _(
            "The shorter side of the middle photo here has {pixels} pixels: beyond that, photos are only enlarged."
        ).format(pixels=number(shorter))
    )


def grid_words(record: dict) -> str:
    """The best last layer beside the run as it is at its own size, and with the last norm trained there, with Wilson's
    intervals."""
    sizes, grid, photos = record["sizes"], np.array(record["grid"]), record["photos"]
    i, j = np.unravel_index(grid.argmax(), grid.shape)
    words = _("Best retrained last layer: trained at {train}, tested at {test} pixels, {accuracy}.").format(
        train=sizes[i], test=sizes[j], accuracy=_share(grid[i, j], photos)
    )
    if record["own_size"] in sizes:
        home = sizes.index(record["own_size"])
        words += " " + _("As it is, at its own {size} pixels: {accuracy}.").format(
            size=record["own_size"], accuracy=_share(record["as_trained"][home], photos)
        )
        if record.get("with_norm"):
            words += " " + _("Last layer and last normalisation retrained there: {accuracy}.").format(
                accuracy=_share(record["with_norm"][home], photos)
            )
    return words + " " + _("The best of many is flattered by chance: these are test photos, nothing is chosen by it.")


def views_table(record: dict) -> pd.DataFrame:
    """What the mean over several views of a photo brings, and what it costs."""
    names = {"centre": _("the centre"), "flip": _("and its mirror image"), "ten-crop": _("ten crops")}
    return pd.DataFrame(
        {
            _("views of a photo"): [names[kind] for kind in record["views"]],
            _("top-1 accuracy"): [_share(found["right"], record["photos"]) for found in record["views"].values()],
            _("passes a photo"): [found["passes"] for found in record["views"].values()],
            _("photos a second"): [found["photos_per_second"] for found in record["views"].values()],
        }
    )


def _share(right: int, photos: int) -> str:
    low, high = metrics.wilson_interval(int(right), photos)
    return f"{percent(right / photos)} [{percent(low)} – {percent(high)}]"
