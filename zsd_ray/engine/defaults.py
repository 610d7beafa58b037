"""What a model's family implies for the other sections of a run's configuration."""

from __future__ import annotations

from zsd_ray.models.families import FAMILIES
from zsd_ray.models.templates import NAMED
from zsd_ray.spec.config import MethodConfig, PromptConfig, RunConfig
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.pruning import NoPruning

_ONE_DRAW = NoPruning(rule="none", draws=1)


def with_defaults(config: RunConfig) -> RunConfig:
    """Fill in what is not set and follows from the family; named templates become a list.

    A classifier scores each class once: its method is `classifier`, and nothing is pruned. A family
    that is told classes by its own labels takes their names alone as prompts.

    Raises:
        UserError: something is set that does not go with the family.
    """
    config = config.model_copy(update={"prompts": _prompts(config)})
    family, name = FAMILIES[config.model.family], config.method.name
    if family.method == "diffusion-classifier":
        if name != family.method:
            others = [name for name, other in FAMILIES.items() if other.method == "classifier"]
            raise UserError(
                f"method.name {name} is for model.family {', '.join(others)}, and model.family is "
                f"{config.model.family}; set method.name: {family.method}"
            )
        return config
    if "name" in config.method.model_fields_set and name != family.method:
        raise UserError(
            f"method.name {name} is for diffusion models, and model.family is "
            f"{config.model.family}; set method.name: {family.method}, or leave it out"
        )
    _check_no_more(config)
    if "pruning" in config.model_fields_set and not _is_one_draw(config):
        raise UserError(
            f"model.family {config.model.family} scores each class once, so there is nothing to "
            "prune; set pruning: {rule: none, draws: 1}, or leave it out"
        )
    method = MethodConfig(name="classifier")
    return config.model_copy(update={"method": method, "pruning": _ONE_DRAW})


def _check_no_more(config: RunConfig) -> None:
    """Refuse keys of other methods that are set to something."""
    useless = [
        f"method.{key}"
        for key, field in MethodConfig.model_fields.items()
        if key != "name" and getattr(config.method, key) != field.default
    ]
    networks = ("compile", "max_difference")
    useless += [f"model.{key}" for key in networks if getattr(config.model, key)]
    if useless:
        raise UserError(
            f"{useless[0]} is of no use to model.family {config.model.family}; remove it"
        )


def _prompts(config: RunConfig) -> PromptConfig:
    prompts = config.prompts
    if isinstance(prompts.templates, str):
        templates = NAMED[prompts.templates]()
    elif FAMILIES[config.model.family].takes == "labels" and (
        "templates" not in prompts.model_fields_set
    ):
        templates = ["{}"]
    else:
        return prompts
    return prompts.model_copy(update={"templates": templates})


def _is_one_draw(config: RunConfig) -> bool:
    pruning = config.pruning
    if not isinstance(pruning, NoPruning):
        return False
    return pruning.draws == 1 or "draws" not in pruning.model_fields_set
