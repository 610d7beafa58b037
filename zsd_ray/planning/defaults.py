"""Defaults of a run's configuration that follow from the model's family."""

from __future__ import annotations

from typing import Any

from zsd_ray.config.algorithms import AlgorithmMethod
from zsd_ray.config.classifier_method import ClassifierMethod, DiffusionClassifierMethod
from zsd_ray.config.families import FAMILIES
from zsd_ray.config.method_table import MethodConfig
from zsd_ray.config.run import ModelConfig, PromptConfig, ResolvedConfig, RunConfig
from zsd_ray.data.catalogue import imagenet_wnids, spec_of
from zsd_ray.models.conditioning.templates import NAMED, imagenet_names
from zsd_ray.models.files.timm_files import BETWEEN_LABELS
from zsd_ray.records.errors import UserError
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.rules.li_stages import LiPruning
from zsd_ray.rules.vote import VotePruning

_ONE_DRAW = NoPruning(rule="none", draws=1)


def with_defaults(config: RunConfig) -> ResolvedConfig:
    """Fill in what is not set and follows from the family; named templates become a list.

    A classifier scores each class once: its method is `classifier`, and nothing is pruned. A family
    that is conditioned on its own labels takes only their names as prompts.

    Raises:
        UserError: a setting does not fit the family.
    """
    prompts = prompt_defaults(config.model, _of_named_set(config))
    filled = config.model_copy(update={"prompts": prompts, "method": _method(config)})
    return ResolvedConfig.of(_with_rule(filled))


def _with_rule(config: RunConfig) -> RunConfig:
    """Return the configuration with the family's method and pruning."""
    family, name = FAMILIES[config.model.family], config.method.name
    if isinstance(config.method, AlgorithmMethod) and family.method != "classifier":
        return _algorithm(config, config.method)
    if family.method == "diffusion-classifier":
        if name != family.method:
            others = [name for name, other in FAMILIES.items() if other.method == "classifier"]
            raise UserError(
                f"method.name {name} is for model.family {', '.join(others)}, and model.family is "
                f"{config.model.family}; set method.name: {family.method}"
            )
        if isinstance(config.pruning, VotePruning):
            raise UserError(
                "pruning.rule vote is for method.name noise-denoise-vote: a level of noise votes, "
                f"and the draws of {name} have none; choose another rule"
            )
        return config
    named = isinstance(config.method, AlgorithmMethod) or "name" in config.method.model_fields_set
    if named and name != family.method:
        raise UserError(
            f"method.name {name} is for diffusion models, and model.family is "
            f"{config.model.family}; set method.name: {family.method}, or leave it out"
        )
    if config.preset != "default":
        raise UserError(
            f"preset {config.preset} is for diffusion models, and model.family is "
            f"{config.model.family}; leave it out"
        )
    _check_no_more(config)
    if "pruning" in config.model_fields_set and not _is_one_draw(config):
        raise UserError(
            f"model.family {config.model.family} scores each class once, so there is nothing to "
            "prune; set pruning: {rule: none, draws: 1}, or leave it out"
        )
    return config.model_copy(update={"method": ClassifierMethod(), "pruning": _ONE_DRAW})


def _algorithm(config: RunConfig, method: AlgorithmMethod) -> RunConfig:
    """Return the configuration with the algorithm's number of draws if `pruning` has none."""
    if config.model.max_difference is not None:
        raise UserError(
            "model.max_difference is about the diffusion classifier's errors, and method.name is "
            f"{method.name}; remove it, and see `zsd-ray check-model`"
        )
    if "pruning" not in config.model_fields_set:
        return config.model_copy(update={"pruning": method.default_pruning})
    if isinstance(config.pruning, NoPruning) and "draws" not in config.pruning.model_fields_set:
        return config.model_copy(update={"pruning": NoPruning(rule="none", draws=method.draws)})
    if (method.whole or method.counted) and config.pruning.rule != "none":
        why = "scores all classes of a draw together" if method.whole else "counts what it spends"
        raise UserError(
            f"pruning.rule {config.pruning.rule} cannot go with method.name {method.name}, which "
            f"{why}; set pruning: {{rule: none, draws: N}}, or leave it out"
        )
    if isinstance(config.pruning, VotePruning) and config.pruning.levels != method.n_levels:
        raise UserError(
            f"pruning.levels {config.pruning.levels} must be that of method.name {method.name}, "
            f"which has {method.n_levels} here; leave pruning.rule vote out, and it follows"
        )
    if not method.random and config.pruning.most_draws > 1:
        raise UserError(
            f"method.name {method.name} has no noise, so that {config.pruning.most_draws} draws "
            "would be one and the same; set pruning: {rule: none, draws: 1}, or leave it out"
        )
    return config


def _check_no_more(config: RunConfig) -> None:
    """Refuse keys of other methods that are set."""
    useless = [
        f"method.{key}"
        for key, field in DiffusionClassifierMethod.model_fields.items()
        if key != "name" and getattr(config.method, key) != field.default
    ]
    networks = ("compile", "max_difference")
    useless += [f"model.{key}" for key in networks if getattr(config.model, key)]
    if useless:
        raise UserError(
            f"{useless[0]} is of no use to model.family {config.model.family}; remove it"
        )


def _of_named_set(config: RunConfig) -> PromptConfig:
    """Return the configuration with a catalogue data set's names and template, if none are set.

    ImageNet's classes are CLIP's names for a model that reads text, and their numbers for one that
    is conditioned on labels: two of CLIP's names stand for two classes each. A supervised model
    knows them by their WordNet ids, and ObjectNet's by those of the matching ImageNet classes.
    """
    prompts = config.prompts
    if not config.data.is_named:
        return prompts
    spec, family = spec_of(config.data.source), FAMILIES[config.model.family]
    filled: dict[str, Any] = {}
    if prompts.classes is None:
        filled["classes"] = list(spec.classes)
        numbers = spec.imagenet_labels
        if numbers is not None and config.model.family == "timm":
            filled["classes"] = [
                BETWEEN_LABELS.join(imagenet_wnids()[n] for n in each) for each in numbers
            ]
        elif spec.classes == "imagenet" and numbers is not None:
            names = [str(n) for n in range(1000)] if family.takes == "labels" else imagenet_names()
            filled["classes"] = [names[number] for (number,) in numbers]
    if "templates" not in prompts.model_fields_set and family.takes != "labels":
        filled["templates"] = [spec.template]
    return prompts.model_copy(update=filled)


def prompt_defaults(model: ModelConfig, prompts: PromptConfig) -> PromptConfig:
    """Return the prompts with templates as texts; label-conditional models use plain names."""
    if isinstance(prompts.templates, str):
        templates = NAMED[prompts.templates]()
    elif FAMILIES[model.family].takes == "labels" and ("templates" not in prompts.model_fields_set):
        templates = ["{}"]
    else:
        return prompts
    return prompts.model_copy(update={"templates": templates})


def _method(config: RunConfig) -> MethodConfig:
    """Return the method with a time grid of as many points as the rule's most draws."""
    method = config.method
    if not isinstance(method, DiffusionClassifierMethod) or method.timesteps != "grid":
        return method
    filled: dict[str, Any] = {}
    if method.grid_points is None:
        filled["grid_points"] = config.pruning.most_draws
    if method.grid_stages is None and isinstance(config.pruning, LiPruning):
        filled["grid_stages"] = list(config.pruning.draws)
    return method.model_copy(update=filled)


def _is_one_draw(config: RunConfig) -> bool:
    pruning = config.pruning
    if not isinstance(pruning, NoPruning):
        return False
    return pruning.draws == 1 or "draws" not in pruning.model_fields_set
