"""Colours of arms, the same in MLflow's UI and in the figures."""

from handwriting.store import ROOT

# Told apart by the colour-blind too, in this order (Okabe and Ito 2008).
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00")


def color_of(arm: str, otherwise: int = 0) -> str:
    """Return the colour of an optimizer, by its place among the files in conf/optimizer.

    Args:
        arm: an optimizer's name, or another arm's.
        otherwise: the number of the colour where `arm` is no optimizer.
    """
    names = sorted(path.stem for path in (ROOT / "conf" / "optimizer").glob("*.yaml"))
    return COLORS[(names.index(arm) if arm in names else otherwise) % len(COLORS)]
