"""Damaged and hostile JSON and YAML end in one line, and good ones in their values."""

import pytest

from zsd_ray.records.errors import UserError
from zsd_ray.settings.documents import parse_json, parse_json_object, parse_typed_value, parse_yaml

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 5_000, "not valid JSON"),
        (LFS, "git lfs pull"),
    ],
)
def test_json_that_cannot_be_read_names_the_file(data: bytes, says: str) -> None:
    with pytest.raises(UserError, match=r"^unet/config\.json ") as caught:
        parse_json(data, "unet/config.json")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_of_another_kind_says_what_came() -> None:
    with pytest.raises(UserError, match="must hold a JSON object, but holds a list"):
        parse_json_object("[1]", "x.json")
    assert parse_json_object(b'\xef\xbb\xbf{"a": 1}', "x.json") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 010", "010 is 8 to YAML"),
        ("seed: 1:30", "1:30 is 90 to YAML"),
        ("seed: !!int ''", "a tag does not allow its value"),
        ("seed: 9223372036854775808", "beyond 64 bits"),
        ("a: &a [*a]", "in itself"),
        ("a: !!binary aGk=", "holds bytes"),
        ('a: "\\ud800"', "no text"),
        ('"\\0": 1', "no text"),
        ("seed: 0x_", "not valid YAML"),
        ("seed: !!int abc", "not valid YAML"),
        ("seed: !!timestamp abc", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("[" * 5_000, "nested too deeply"),
        ("a: 1\na: 2", "the key 'a' is given twice"),
        ("a: {b: 1, c: 2, b: 3}", "the key 'b' is given twice"),
        ("1: x\n1: y", "the key 1 is given twice"),
        ("? [a]\n: 1", "unhashable"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_yaml_that_cannot_be_read_names_the_file(text: str, says: str) -> None:
    with pytest.raises(UserError, match=r"^run\.yaml is not valid YAML") as caught:
        parse_yaml(text, "run.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("photos #2", "photos #2"),
        ("a: b", "a: b"),
        ("- a", "- a"),
        ("@x", "@x"),
        ("*x", "*x"),
        ("%x", "%x"),
        ("`x`", "`x`"),
        ("!x", "!x"),
        ("'tis", "'tis"),
        ('"a" #2', '"a" #2'),
        ("~/photos", "~/photos"),
        ("2026-01-13", "2026-01-13"),
        (" x ", "x"),
        ('"a #2"', "a #2"),
        ("'it''s'", "it's"),
        ("[a, 'b #2']", ["a", "b #2"]),
        ("{rule: none, draws: 2}", {"rule": "none", "draws": 2}),
        ("5", 5),
        ("1.5", 1.5),
        ("null", None),
        ("", None),
        ("true", True),
        ('"5"', "5"),
    ],
)
def test_what_is_typed_is_text_where_it_is_no_value_of_yaml(text: str, value: object) -> None:
    assert parse_typed_value(text, "--set a") == value


def test_yaml_keeps_what_safe_loading_gives() -> None:
    text = "base: &base {a: 1, b: 2}\nown: {<<: *base, b: 3}\nlist: [x, 0x10, null, 1.5]"
    assert parse_yaml(text, "run.yaml") == {
        "base": {"a": 1, "b": 2},
        "own": {"a": 1, "b": 3},
        "list": ["x", 16, None, 1.5],
    }


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+.1e-2", "1.e-3"])
def test_an_exponent_makes_a_number(text: str) -> None:
    """YAML 1.1 takes these for text, which a custom model would get as its argument."""
    assert parse_yaml(f"rate: {text}", "x") == {"rate": 1e-3}
    assert parse_typed_value(text, "--set x") == 1e-3


@pytest.mark.parametrize("text", ["1e", "e3", "1e3x", "n01e3", "v1e-3"])
def test_text_with_an_e_is_text(text: str) -> None:
    assert parse_yaml(f"name: {text}", "x") == {"name": text}


def test_json_with_a_key_twice_is_refused() -> None:
    with pytest.raises(UserError, match="'label' is given twice"):
        parse_json('{"label": 1, "label": 2}', "a.json")
