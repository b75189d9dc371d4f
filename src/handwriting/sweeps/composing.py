"""The configs of a sweep's jobs, by Hydra's loader: what several have in common is composed once."""

import copy
import functools
from typing import Any

from hydra.conf import RuntimeConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from handwriting.kinds import check_kinds


class Composer:
    """Composes jobs of a sweep. Hydra takes 75 ms for each.

    Args:
        loader: Hydra's, whose type has no name for what is used here of it.
        config: of the sweep.
    """

    def __init__(self, loader: Any, config: DictConfig):
        self.loader, self.config = loader, config

    def compose(self, job: list[str]) -> tuple[DictConfig, RuntimeConf]:
        """Return the config of a job's overrides, and Hydra's notes on it; raises as Hydra does."""
        seeds = [word.removeprefix("seed=") for word in job if word.startswith("seed=")]
        if not seeds or not seeds[-1].isdecimal():
            return self._with_values(tuple(job))
        cfg, runtime = self._with_values(tuple(word for word in job if not word.startswith("seed=")))
        cfg = copy.deepcopy(cfg)
        cfg.seed = int(seeds[-1])
        return cfg, runtime

    @functools.cache  # noqa: B019  # for the one sweep of a process
    def _with_values(self, job: tuple[str, ...]) -> tuple[DictConfig, RuntimeConf]:
        """Set values on composed groups, as Hydra does, which composes the groups for each job."""
        parsed = OverridesParser.create(config_loader=self.loader).parse_overrides(list(job))
        values = [each for each in parsed if self._is_value(each)]
        chosen, runtime = self._groups(tuple(str(each.input_line) for each in parsed if each not in values))
        cfg = copy.deepcopy(chosen)
        self.loader._apply_overrides_to_config(values, cfg)
        check_kinds(cfg, runtime)
        return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), runtime

    @functools.cache  # noqa: B019
    def _groups(self, words: tuple[str, ...]) -> tuple[DictConfig, RuntimeConf]:
        cfg = self.loader.load_sweep_config(self.config, list(words))
        return cfg, cfg.hydra.runtime

    def _is_value(self, override: Override) -> bool:
        """Tell whether an override sets a value that is there, and chooses no member of a group."""
        plain = override.type == OverrideType.CHANGE and override.package is None
        return plain and not self._is_hydras_or_group(override.key_or_group)

    @functools.cache  # noqa: B019  # 20 ms for each
    def _is_hydras_or_group(self, key: str) -> bool:
        return key.startswith("hydra") or bool(self.loader.get_group_options(key))
