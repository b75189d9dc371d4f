"""A tuning in words: what lies at an edge, where arms cross, what tuning gained, and what it cost."""

from itertools import groupby

from handwriting.compare.caveats import count, few
from handwriting.compare.tuned import Tuned, key_of, tried_values
from handwriting.tracking import names
from handwriting.tracking.tunings import Tuning


def edges(tuned: Tuned) -> list[str]:
    """Return a sentence for each chosen value beyond which none was tried, with the range to put there."""
    said = []
    for arm, number in tuned.tuning.chosen.items():
        own = tuned.settings.loc[arm]
        for word, range_ in tuned.ranges[arm].items():
            values = tried_values(own[key_of(word)], range_)
            best = values[number]
            if values.nunique() < 3 or best not in (values.min(), values.max()):
                continue
            wider = range_.widened(best)
            line = f". Widen it in {tuned.tuning.file}.yaml, under {arm}: “{word}: {wider}”" if wider else ""
            said.append(
                f"The best {key_of(word)} of {arm}, {best:.4g}, is the "
                f"{'largest' if best == values.max() else 'smallest'} that was tried: the best may lie "
                f"beyond{line}"
            )
    return said


def crossing(tuned: Tuned) -> str:
    """Return which arm is expected to be the best with how many settings, in a sentence."""
    table = tuned.budget.pivot(index="settings", columns="arm", values="best")[list(tuned.tuning.arms)]
    leaders = [(arm, int(k)) for k, arm in table.idxmax(axis="columns").items()]
    parts: list[str] = []
    for arm, group in groupby(leaders, key=lambda pair: pair[0]):
        ks = [k for _, k in group]
        parts.append(
            f"{arm} {'' if parts else 'is ahead '}with {' to '.join(map(str, ks[:1] + ks[1:][-1:]))}"
        )
    cross = "The arms cross" if len(parts) > 1 else "The arms do not cross"
    return f"{cross}: by the expected best of so many settings, on validation, {', '.join(parts)}"


def by_default(tuned: Tuned) -> list[str]:
    """Return a sentence for each arm: what its best setting gained over its default, on validation."""
    metric, said = names.metric(names.VAL_ACCURACY), []
    seeds = _seeds(tuned.tuning)
    those = "these seeds" if len(tuned.tuning.seeds) > 1 else "this seed"
    for arm, number in tuned.tuning.chosen.items():
        own = tuned.runs[tuned.runs["arm"] == arm].pivot(index="seed", columns="number", values="value")
        if number == 0:
            said.append(f"The best setting of {arm} is its default")
            continue
        gained = own[number] - own[0]
        won = int((gained > 0).sum())
        said.append(
            f"{arm} tuned against its default in {metric.name}: {metric.change(gained.mean())}"
            f"{metric.points} on {seeds}, ahead in {won} of {len(gained)}; {those} chose it, so it looks "
            "better here than it is"
        )
    return said


def cost(tuned: Tuned) -> str:
    """Return what a tuning took: runs, epochs and minutes of training."""
    runs = tuned.runs
    failed = int((runs["status"] != "FINISHED").sum())
    return (
        f"{count(len(runs), 'run')}{f', {failed} failed' if failed else ''}, "
        f"{count(int(runs['epochs'].sum()), 'epoch')}, {runs['seconds'].sum() / 60:.3g} min of training"
    )


def about(tuning: Tuning) -> str:
    """Return what a verdict on tuned arms stands on, in a sentence."""
    return f"Each arm has the best of {tuning.settings} settings, chosen on validation with {_seeds(tuning)}."


def _seeds(tuning: Tuning) -> str:
    return f"seed{'s' if len(tuning.seeds) > 1 else ''} {few(tuning.seeds)}"


def about_settings(tuned: Tuned) -> list[str]:
    """Return what must be said of the settings that the arms have, in sentences."""
    said = [*edges(tuned), crossing(tuned), *by_default(tuned)]
    if tuned.earlier:
        said.append(
            f"Judged on the same seeds before, with other settings: {few(tuned.earlier)}. Whoever saw that "
            "verdict and tuned again has chosen by these seeds too: give the verdict others, "
            "tuning.verdict_seeds"
        )
    return said
