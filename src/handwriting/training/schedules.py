"""Learning rates over a run. A schedule is a function from the peak rate and the number of steps.

Yours may stand in any file that Python finds from the current directory (README, "Your own parts").
"""

import keras


def constant(peak: float, steps: int) -> float:
    """Return the rate of every step: `peak`."""
    return peak


def one_cycle(peak: float, steps: int, warmup: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a rate that rises in a line to `peak` over a share `warmup` of the steps, and falls to 0.

    Of the shape that Smith and Topin 2018 (1708.07120) train by, with half a cosine for the fall.
    """
    rise = max(1, min(steps - 1, round(warmup * steps)))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak / rise,  # not 0, which would waste the first step
        warmup_target=peak,
        warmup_steps=rise,
        decay_steps=max(1, steps - rise),
    )
