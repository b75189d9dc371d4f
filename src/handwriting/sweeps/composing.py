"""The configs of a sweep's jobs, by Hydra's loader: what several have in common is composed once."""

import copy
import functools
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.conf import RuntimeConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from handwriting.kinds import check_kinds


@dataclass(frozen=True)
class Jobs:
    """Some jobs of a sweep, as a launcher gets them.

    Args:
        compose: as `Composer.whole`.
        overrides: of each.
        first_number: Hydra's, of the first.
    """

    compose: Callable[[Sequence[str], int], DictConfig]
    overrides: Sequence[Sequence[str]]
    first_number: int = 0

    def __len__(self) -> int:
        return len(self.overrides)

    def config(self, index: int, *more: str) -> DictConfig:
        """Return the whole config of one, with more overrides than its own."""
        return self.compose([*self.overrides[index], *more], self.first_number + index)


class Composer:
    """Composes jobs of a sweep; Hydra takes 75 ms for each.

    Args:
        loader: Hydra's, whose type has no name for what is used here of it.
        config: of the sweep.
    """

    def __init__(self, loader: Any, config: DictConfig):
        self.loader, self.config = loader, config
        str(config.hydra.sweep.dir)  # asked once, its time is that of all jobs: they lie in one folder

    def compose(self, job: Sequence[str]) -> tuple[DictConfig, RuntimeConf]:
        """Return the config of a job's overrides, and Hydra's notes on it; raises as Hydra does."""
        words, seed = _without_seed(job)
        cfg, runtime = self._own(words)
        if seed is not None:
            cfg = copy.deepcopy(cfg)
            cfg.seed = seed
        return cfg, runtime

    def whole(self, job: Sequence[str], number: int) -> DictConfig:
        """Return the config of a job for the process that does it, with Hydra's own part.

        Nothing in it is left to that process's environment.

        Args:
            job: its overrides.
            number: Hydra's, of the job.
        """
        words, seed = _without_seed(job)
        cfg: DictConfig = pickle.loads(self._packed(words))  # noqa: S301  # deepcopy takes four times as long
        with open_dict(cfg):
            if seed is not None:
                cfg.seed = seed
            for key in [str(key) for key in cfg if key != "hydra"]:
                if OmegaConf.is_interpolation(cfg, key):
                    cfg[key] = cfg[key]
                if OmegaConf.is_config(cfg[key]):
                    OmegaConf.resolve(cfg[key])
            own = [each for each in map(self._parsed, job) if not each.is_hydra_override()]
            cfg.hydra.overrides.task = [each.input_line for each in own]
            how = cfg.hydra.job.config.override_dirname
            cfg.hydra.job.override_dirname = get_overrides_dirname(
                own, kv_sep=how.kv_sep, item_sep=how.item_sep, exclude_keys=how.exclude_keys
            )
            cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
        return cfg

    @functools.cache  # noqa: B019  # for the one sweep of a process
    def _own(self, job: tuple[str, ...]) -> tuple[DictConfig, RuntimeConf]:
        cfg = self._with_values(job)
        return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), cfg.hydra.runtime

    @functools.cache  # noqa: B019
    def _packed(self, job: tuple[str, ...]) -> bytes:
        return pickle.dumps(self._with_values(job))

    @functools.cache  # noqa: B019
    def _with_values(self, job: tuple[str, ...]) -> DictConfig:
        """Set values on composed groups, as Hydra does, which composes the groups for each job."""
        parsed = [self._parsed(word) for word in job]
        values = [each for each in parsed if self._is_value(each)]
        cfg = copy.deepcopy(
            self._groups(tuple(str(each.input_line) for each in parsed if each not in values))
        )
        self.loader._apply_overrides_to_config(values, cfg)
        check_kinds(cfg, cfg.hydra.runtime)
        return cfg

    @functools.cache  # noqa: B019
    def _groups(self, words: tuple[str, ...]) -> DictConfig:
        return self.loader.load_sweep_config(self.config, list(words))

    @functools.cache  # noqa: B019  # a millisecond for each
    def _parsed(self, word: str) -> Override:
        return OverridesParser.create(config_loader=self.loader).parse_override(word)

    def _is_value(self, override: Override) -> bool:
        """Tell whether an override sets a value that is there, and chooses no member of a group."""
        plain = override.type == OverrideType.CHANGE and override.package is None
        return plain and not self._is_hydras_or_group(override.key_or_group)

    @functools.cache  # noqa: B019  # 20 ms for each
    def _is_hydras_or_group(self, key: str) -> bool:
        return key.startswith("hydra") or bool(self.loader.get_group_options(key))


def _without_seed(job: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Return a job's overrides but its seed, and that; all of them and None where it is no plain number."""
    seeds = [word.removeprefix("seed=") for word in job if word.startswith("seed=")]
    if not seeds or not seeds[-1].isdecimal():
        return tuple(job), None
    return tuple(word for word in job if not word.startswith("seed=")), int(seeds[-1])
