"""Tiny data sets that lie as their authors' archives do, each with a few images of its own pixels.

A writer puts one into a folder and says which class every image of a split shows: as the catalogue
names it, or for ImageNet its WNID.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Expected = dict[str, str]
"""An image's id -> its class."""

WNIDS = ("n01440764", "n01443537", "n01494475", "n15075141")
"""Tench, goldfish, hammerhead and toilet tissue: labels 0, 1, 4 and 999."""


def image(path: Path, width: int = 12, height: int = 9, border: int = 0) -> None:
    """Write noise that no other path has, in the format that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32("/".join(path.parts[-2:]).encode())
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if border:
        framed = np.full((height + 2 * border, width + 2 * border, 3), (255, 0, 0), dtype=np.uint8)
        framed[border:-border, border:-border] = levels
        levels = framed
    Image.fromarray(levels).save(path, "PNG" if path.suffix == ".png" else "JPEG", quality=95)


def images(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        image(folder / name)


def lines(path: Path, content: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in content))


def dtd(root: Path) -> dict[str, Expected]:
    splits = {
        "test": {
            "banded/banded_0002.jpg": "banded",
            "polka-dotted/polka-dotted_0003.jpg": "polka-dotted",
            "zigzagged/zigzagged_0001.jpg": "zigzagged",
        },
        "train": {"banded/banded_0001.jpg": "banded", "dotted/dotted_0007.jpg": "dotted"},
    }
    for split, expected in splits.items():
        images(root / "images", expected)
        lines(root / "labels" / f"{split}1.txt", expected)
    images(root / "images", ["woven/woven_0001.jpg"])  # of the validation part
    return splits


def food101(root: Path) -> dict[str, Expected]:
    splits = {
        "test": {
            "apple_pie/1011328.jpg": "apple pie",
            "apple_pie/101251.jpg": "apple pie",
            "cheese_plate/12.jpg": "cheese plate",
            "cheesecake/7.jpg": "cheesecake",
            "waffles/981485.jpg": "waffles",
        },
        "train": {"apple_pie/1005649.jpg": "apple pie", "sushi/3.jpg": "sushi"},
    }
    for split, expected in splits.items():
        images(root / "images", expected)
        listed = [name.removesuffix(".jpg") for name in expected]
        lines(root / "meta" / f"{split}.txt", listed)
        by_class = itertools.groupby(listed, lambda name: name.partition("/")[0])
        grouped = {label: list(names) for label, names in by_class}
        (root / "meta" / f"{split}.json").write_text(json.dumps(grouped))
    return splits


def fgvc_aircraft(root: Path) -> dict[str, Expected]:
    splits = {
        "test": {
            "1514522.jpg": "707-320",
            "0747566.jpg": "BAE 146-200",
            "1008575.jpg": "F/A-18",
            "0717480.jpg": "Yak-42",
        },
        "train": {"1025794.jpg": "707-320", "1340192.jpg": "A310"},
    }
    variants = {name for expected in splits.values() for name in expected.values()}
    lines(root / "data" / "variants.txt", sorted(variants))
    for split, expected in (("test", splits["test"]), ("trainval", splits["train"])):
        images(root / "data" / "images", expected)
        listed = (f"{name.removesuffix('.jpg')} {label}" for name, label in expected.items())
        lines(root / "data" / f"images_variant_{split}.txt", listed)
    return splits


def oxford_pets(root: Path) -> dict[str, Expected]:
    # The archive counts classes regardless of case, CLIP's list has the cats first.
    splits = {
        "test": {
            "Abyssinian_201.jpg": ("Abyssinian", 1),
            "american_pit_bull_terrier_149.jpg": ("american pit bull terrier", 3),
            "British_Shorthair_10.jpg": ("British Shorthair", 10),
            "yorkshire_terrier_2.jpg": ("yorkshire terrier", 37),
        },
        "train": {"Abyssinian_100.jpg": ("Abyssinian", 1), "beagle_1.jpg": ("beagle", 5)},
    }
    for split, expected in (("test", splits["test"]), ("trainval", splits["train"])):
        images(root / "images", expected)
        listed = (f"{name.removesuffix('.jpg')} {n} 1 1" for name, (_, n) in expected.items())
        lines(root / "annotations" / f"{split}.txt", listed)
    return {split: {k: label for k, (label, _) in each.items()} for split, each in splits.items()}


def flowers102(root: Path) -> dict[str, Expected]:
    names = dict(enumerate(["pink primrose", "blackberry lily", "tiger lily"] * 2, 1))
    numbers = {"pink primrose": 1, "tiger lily": 6, "blackberry lily": 102}
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / "imagelabels.mat", {"labels": np.array([[numbers[n] for n in names.values()]])})
    savemat(root / "setid.mat", {"trnid": [[4, 6]], "valid": [[2, 5]], "tstid": [[1, 3]]})
    images(root / "jpg", (f"image_{number:05d}.jpg" for number in names))
    splits = {"test": (1, 3), "train": (4, 6, 2, 5)}
    return {
        split: {f"image_{number:05d}.jpg": names[number] for number in each}
        for split, each in splits.items()
    }


def stanford_cars(root: Path) -> dict[str, Expected]:
    splits = {
        "test": {
            "00001.jpg": ("Suzuki Aerio Sedan 2007", 181),
            "00002.jpg": ("AM General Hummer SUV 2000", 1),
            "00003.jpg": ("smart fortwo Convertible 2012", 196),
        },
        "train": {
            "00001.jpg": ("Audi TTS Coupe 2012", 14),
            "00002.jpg": ("Acura TL Sedan 2012", 3),
        },
    }
    (root / "devkit").mkdir(parents=True)
    places = {
        "test": root / "cars_test_annos_withlabels.mat",
        "train": root / "devkit" / "cars_train_annos.mat",
    }
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    for split, expected in splits.items():
        images(root / f"cars_{split}", expected)
        rows = np.zeros((1, len(expected)), dtype=[(field, object) for field in fields])
        for row, (name, (_, number)) in zip(rows[0], expected.items(), strict=True):
            row["class"], row["fname"] = np.uint8(number), name
        savemat(places[split], {"annotations": rows})
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": np.array([["a", "b"]], object)})
    return {
        split: {f"cars_{split}/{name}": label for name, (label, _) in each.items()}
        for split, each in splits.items()
    }


def eurosat(root: Path) -> dict[str, Expected]:
    expected = {
        "AnnualCrop/AnnualCrop_1.jpg": "annual crop land",
        "Forest/Forest_10.jpg": "forest",
        "HerbaceousVegetation/HerbaceousVegetation_3.jpg": "brushland or shrubland",
        "SeaLake/SeaLake_2.jpg": "lake or sea",
    }
    images(root / "2750", expected)
    return {"test": expected}


def caltech101(root: Path) -> dict[str, Expected]:
    expected = {
        "BACKGROUND_Google/image_0001.jpg": "background",
        "Faces/image_0001.jpg": "off-center face",
        "Faces_easy/image_0001.jpg": "centered face",
        "car_side/image_0001.jpg": "side of a car",
        "car_side/image_0002.jpg": "side of a car",
        "yin_yang/image_0001.jpg": "yin and yang symbol",
    }
    images(root / "101_ObjectCategories", expected)
    (root / "101_ObjectCategories" / "BACKGROUND_Google" / "tmp").touch()  # as in the archive
    lines(root / "Annotations" / "Faces_2" / "annotation_0001.mat", [])
    return {"test": expected}


def imagenet(root: Path) -> dict[str, Expected]:
    """The validation images in one folder, and the devkit, which numbers classes in its own way."""
    ids = {WNIDS[0]: 449, WNIDS[1]: 442, WNIDS[2]: 30, WNIDS[3]: 797}
    order = [WNIDS[3], WNIDS[0], WNIDS[1], WNIDS[0], WNIDS[2]]
    # Ids are as in class folders.
    expected = {f"{wnid}/ILSVRC2012_val_{n:08d}.JPEG": wnid for n, wnid in enumerate(order, 1)}
    images(root / "val", (Path(image_id).name for image_id in expected))
    data = root / "ILSVRC2012_devkit_t12" / "data"
    lines(data / "ILSVRC2012_validation_ground_truth.txt", (str(ids[wnid]) for wnid in order))
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")
    synsets = np.zeros((len(ids) + 1, 1), dtype=[(field, object) for field in fields])
    above = ("n00001740", 1001, "entity", 2)
    rows = [(wnid, number, f"{wnid}, its name", 0) for wnid, number in ids.items()]
    for row, (wnid, number, words, n_children) in zip(synsets[:, 0], [*rows, above], strict=True):
        row["ILSVRC2012_ID"], row["WNID"], row["words"] = number, wnid, words
        row["gloss"], row["num_children"], row["children"] = "what it is", n_children, []
    savemat(data / "meta.mat", {"synsets": synsets})
    return {"test": expected}


def imagenet_folders(root: Path) -> dict[str, Expected]:
    """Class folders, as torchvision has them; three of the 1,000, as a user's own subset."""
    splits = {
        "test": {f"{wnid}/ILSVRC2012_val_{n:08d}.JPEG": wnid for n, wnid in enumerate(WNIDS[1:])},
        "train": {f"{wnid}/{wnid}_{n}.JPEG": wnid for n, wnid in enumerate(WNIDS[:2], 7)},
    }
    images(root / "val", splits["test"])
    images(root / "train", splits["train"])
    return splits


def imagenet_v2(root: Path) -> dict[str, Expected]:
    folders = {"0": WNIDS[0], "1": WNIDS[1], "4": WNIDS[2], "999": WNIDS[3]}
    expected = {f"{folder}/0af3f1b{folder}.jpeg": wnid for folder, wnid in folders.items()}
    images(root / "imagenetv2-matched-frequency-format-val", expected)
    return {"test": expected}


def imagenet_a(root: Path) -> dict[str, Expected]:
    expected = {
        "n01498041/0.000116_digital clock _ digital clock_0.865662.jpg": "n01498041",
        "n01531178/0.1_b.jpg": "n01531178",
        "n12267677/0.2_c.jpg": "n12267677",
    }
    images(root / "imagenet-a", expected)
    lines(root / "imagenet-a" / "README.txt", ["the classes"])
    return {"test": expected}


def imagenet_r(root: Path) -> dict[str, Expected]:
    expected = {
        "n01443537/art_0.jpg": "n01443537",
        "n02129165/sketch_2.jpg": "n02129165",
        "n12267677/toy_3.jpg": "n12267677",
    }
    images(root / "imagenet-r", expected)
    lines(root / "imagenet-r" / "README.txt", ["the classes"])
    return {"test": expected}


def imagenet_sketch(root: Path) -> dict[str, Expected]:
    expected = {f"{wnid}/sketch_{n}.JPEG": wnid for n, wnid in enumerate(WNIDS)}
    images(root / "sketch", expected)
    return {"test": expected}


def objectnet(root: Path) -> dict[str, Expected]:
    expected = {
        "alarm_clock/0ae2b1.png": "alarm clock",
        "dress_shoe_men/1.png": "dress shoe (men)",
        "full_sized_towel/2.png": "bath towel",
        "t-shirt/3.png": "t-shirt",
        "wok/4.png": "wok",
    }
    # The last one is of a class that ImageNet does not have.
    for name in [*expected, "air_freshener/5.png"]:
        image(root / "objectnet-1.0" / "images" / name, border=2)
    mappings = root / "objectnet-1.0" / "mappings"
    lines(mappings / "folder_to_objectnet_label.json", ['{"alarm_clock": "Alarm clock"}'])
    return {"test": expected}


def cue_conflict(root: Path) -> dict[str, Expected]:
    expected = {
        "cat/cat7-elephant1.png": "cat",
        "cat/cat10-cat2.png": "cat",
        "truck/truck1-keyboard10.png": "truck",
    }
    images(root / "style-transfer-preprocessed-512", expected)
    return {"test": expected}


OFFICIAL: dict[str, Callable[[Path], dict[str, Expected]]] = {
    "dtd": dtd,
    "eurosat": eurosat,
    "stanford-cars": stanford_cars,
    "imagenet": imagenet,
    "imagenet-v2": imagenet_v2,
    "imagenet-a": imagenet_a,
    "imagenet-r": imagenet_r,
    "imagenet-sketch": imagenet_sketch,
    "objectnet": objectnet,
    "caltech101": caltech101,
    "oxford-pets": oxford_pets,
    "flowers102": flowers102,
    "food101": food101,
    "fgvc-aircraft": fgvc_aircraft,
    "cue-conflict": cue_conflict,
}
"""Data set -> what writes its archive, as unpacked."""

TORCHVISION: dict[str, tuple[str, Callable[[Path], dict[str, Expected]]]] = {
    "dtd": ("dtd/dtd", dtd),
    "eurosat": ("eurosat", eurosat),
    "stanford-cars": ("stanford_cars", stanford_cars),
    "imagenet": (".", imagenet_folders),
    "caltech101": ("caltech101", caltech101),
    "oxford-pets": ("oxford-iiit-pet", oxford_pets),
    "flowers102": ("flowers-102", flowers102),
    "food101": ("food-101", food101),
    "fgvc-aircraft": ("fgvc-aircraft-2013b", fgvc_aircraft),
}
"""Data set -> where below a torchvision root it lies, and what writes it there."""
