"""The classes of a run: their names in order, and the class of each label of the data."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zsd_ray.data.labels.label_names import match_by_order, ranks_as_numbers
from zsd_ray.data.labels.name_file import parse_names
from zsd_ray.data.labels.spelling import check_spelling
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError, some
from zsd_ray.storage.store import Store

_MOST_BARE_LABELS = 1_000_000


@dataclass(frozen=True)
class ClassList:
    """The classes of a run.

    names: the text for each class, in class order.
    of_label: label of the data -> class number, -1 if no image may have that label; None if the two
        are the same number.
    """

    names: tuple[str, ...]
    of_label: tuple[int, ...] | None

    def class_of(self, label: int | None) -> int | None:
        """Return the class number of an image with this label."""
        return label if label is None or self.of_label is None else self.of_label[label]


def resolve_classes(
    classes: Sequence[str] | Mapping[str, str] | str | None,
    label_names: Sequence[str] | None,
    labels_seen: Iterable[int | None],
    store: Store | None = None,
) -> ClassList:
    """Match prompts.classes with the data's labels.

    `classes` None: the data's own names. A list, or the path or URL of a text file with one name
    per line: matched by name if it holds every name of the data, by order (see label_names.py) if
    it holds none and is as long; bare-number labels count into it. A mapping, label ->
    name: its order is the class order; keys are the data's label names, or label numbers as text;
    keys beyond them are additional classes.

    Args:
        store: how a text file is reached; None: by a plain `Store()`.

    Raises:
        UserError: the two do not fit, or there are fewer than two classes.
    """
    if isinstance(classes, str):
        classes = read_names(classes, store)
    if classes is None:
        if label_names is None:
            raise UserError("the data has no class names of its own; set prompts.classes")
        found = ClassList(tuple(label_names), tuple(range(len(label_names))))
    elif isinstance(classes, Mapping):
        found = _of_mapping(classes, label_names, labels_seen)
    elif label_names is None:
        found = _of_numbers(classes, labels_seen)
    else:
        found = _of_list(classes, label_names)
    if len(found.names) < 2:
        raise UserError(
            f"prompts.classes gives {len(found.names)} classes; a choice needs at least 2"
        )
    if not all(name.strip() for name in found.names):
        raise UserError("prompts.classes holds a blank name; give each class a text")
    _say_same(found.names)
    return found


def _say_same(names: Sequence[str]) -> None:
    """Warn of classes with the same text: their prompts are the same, so none can win."""
    counts = Counter(name.strip() for name in names)
    same = [name for name, count in counts.items() if count > 1]
    if same:
        warnings.warn(
            f"prompts.classes gives the text {some(same)} to several classes: their prompts are "
            "the same, and no model can tell them apart; give each class a text of its own",
            stacklevel=3,
        )


def read_names(path: str, store: Store | None = None) -> list[str]:
    """Read class names from a text file, one per line; lines that begin with # are left out.

    Raises:
        UserError: the file cannot be read, is not UTF-8, has no name, or has a blank line before
            one.
    """
    location = Location(path, store)
    what = f"prompts.classes {location.shown}"
    with location.user_errors(what):
        text = location.read_bytes(location.root).decode("utf-8-sig")
    names = parse_names(text, what, comments=True)
    if not names:
        raise UserError(f"{what} holds no names; write one a line")
    return names


def fill_templates(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Return the len(names) * len(templates) prompts; all templates of class 0 come first."""
    return [template.replace("{}", name) for name in names for template in templates]


def _of_list(listed: Sequence[str], label_names: Sequence[str]) -> ClassList:
    known = set(listed)
    missing = [name for name in label_names if name not in known]
    if not missing:
        return ClassList(tuple(listed), _by_name(listed, label_names))
    if len(missing) == len(label_names) == len(listed):
        check_spelling(listed, label_names)
        return ClassList(tuple(listed), match_by_order(label_names, listed))
    raise UserError(
        f"prompts.classes has {len(listed)} names and the data {len(label_names)}, of which "
        f"{len(missing)} are not in prompts.classes ({some(missing)}); list every name of the "
        "data, or as many other names in the order of the data's sorted names, or map label: name"
    )


def _by_name(listed: Sequence[str], label_names: Sequence[str]) -> tuple[int, ...]:
    twice = [name for name, count in Counter(listed).items() if count > 1]
    if twice:
        raise UserError(
            f"prompts.classes names {some(twice)} more than once, so the data's names do not tell "
            "the classes apart; make the names distinct, or map label: name"
        )
    number_of = {name: number for number, name in enumerate(listed)}
    return tuple(number_of[name] for name in label_names)


def _of_numbers(listed: Sequence[str], labels_seen: Iterable[int | None]) -> ClassList:
    largest = max((label for label in labels_seen if label is not None), default=-1)
    if largest >= len(listed):
        raise UserError(
            f"prompts.classes has {len(listed)} names, but the data holds label {largest}; labels "
            "count from 0, so list at least "
            f"{largest + 1} names, or map label: name"
        )
    return ClassList(tuple(listed), None)


def _of_mapping(
    mapping: Mapping[str, str],
    label_names: Sequence[str] | None,
    labels_seen: Iterable[int | None],
) -> ClassList:
    names = tuple(mapping.values())
    number_of = {key: number for number, key in enumerate(mapping)}
    if label_names is None:
        return ClassList(names, _by_number(number_of, labels_seen))
    numbers = [str(label) for label in range(len(label_names))]
    # Only where no key is a name: folders 1, 2, 3 are names, and not the labels 1, 2, 3.
    by_number = set(numbers) <= set(mapping) and not set(label_names) & set(mapping)
    if by_number and ranks_as_numbers(label_names) not in (None, list(range(len(label_names)))):
        raise UserError(
            f"prompts.classes maps label numbers, but the data's labels are called "
            f"{some(list(label_names))}, which are other numbers; use those as the keys"
        )
    keys = numbers if by_number else label_names
    missing = [key for key in keys if key not in mapping]
    if missing:
        raise UserError(_lacks(missing, len(mapping), len(label_names)))
    return ClassList(names, tuple(number_of[key] for key in keys))


def _by_number(number_of: Mapping[str, int], labels_seen: Iterable[int | None]) -> tuple[int, ...]:
    """Cover every key that is a label number, so that a larger data.limit changes nothing."""
    seen = sorted({label for label in labels_seen if label is not None})
    missing = [str(label) for label in seen if str(label) not in number_of]
    if missing:
        raise UserError(_lacks(missing, len(number_of), len(seen)))
    of_key = {
        int(key): number
        for key, number in number_of.items()
        if key.isdecimal() and str(int(key)) == key
    }
    largest = max(of_key, default=-1)
    if largest >= _MOST_BARE_LABELS:
        raise UserError(
            f"prompts.classes maps label {largest}; labels that are bare numbers go up to "
            f"{_MOST_BARE_LABELS - 1}, so write larger ones as text in the data"
        )
    return tuple(of_key.get(label, -1) for label in range(largest + 1))


def _lacks(missing: Sequence[str], n_keys: int, n_labels: int) -> str:
    return (
        f"prompts.classes maps {n_keys} labels, but {len(missing)} of the data's {n_labels} are "
        f"not among them ({some(missing)}); add them"
    )
