"""The pages of the networks: stages, counts, recipes and drawings, made of what `describe` counts."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from configs import networks, table_one
from dsdenseunet.core import files
from dsdenseunet.core.words import by
from dsdenseunet.memory.description import describe
from dsdenseunet.reporting.network_drawing import drawing
from experiments.benchmarks.publishing import recipes
from experiments.benchmarks.publishing.markdown import table

RECORD = "docs/results/networks.json"
INDEX = "docs/reference/networks.md"
DRAWINGS = "docs/images/networks"
_BLOCK = re.compile(r"(<!-- network: ([\w.:/]+) -->\n)(?:(?!<!-- network).)*?(<!-- end -->)", re.DOTALL)

Record = Mapping[str, Mapping[str, Any]]


class Page(NamedTuple):
    """What the page of a family shows.

    Attributes:
        title: of the networks, in the index.
        drawn: configs whose stages it lists and draws, the most important one first.
        others: configs that it counts beside them.
    """

    title: str
    drawn: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def configs(self) -> tuple[str, ...]:
        """All of them, each under the name that --config= takes."""
        return self.drawn + tuple(name for name in self.others if name not in self.drawn)


def _variants(file: str, variants: Mapping[str, networks.Variant], *starts: str) -> tuple[str, ...]:
    """Configs of a file's variants whose names begin so, each with the authors' recipe where there is one."""
    return tuple(
        f"configs/{file}.py:{name}{recipe}"
        for name, one in variants.items()
        if name.startswith(starts)
        for recipe in ("", "_authors")
        if not recipe or one.authors
    )


def _published(*starts: str) -> tuple[str, ...]:
    return _variants("networks", networks.VARIANTS, *starts)


def _compared(*starts: str) -> tuple[str, ...]:
    return _variants("table_one", table_one.VARIANTS, *starts)


# By family, in the order of the index.
PAGES: dict[str, Page] = {
    "dense_unet": Page(
        "3D-DenseUNet-569, the paper's",
        ("configs/ds_dense_unet_569.py:ds",),
        tuple(f"configs/ds_dense_unet_569.py:{v}" for v in ("ds_literal", "standard", "standard_literal")),
    ),
    "dense_unet_alone": Page(
        "3D DenseUNet-65 and 2D DenseUNet-167",
        ("configs/table_one.py:dense_unet_65_authors", "configs/table_one.py:dense_unet_167_sums_authors"),
        _compared("dense_unet_65", "dense_unet_167"),
    ),
    "h_dense_unet": Page(
        "H-DenseUNet", ("configs/table_one.py:h_dense_unet_authors",), _compared("h_dense_unet")
    ),
    "ra_unet": Page(
        "RA-UNet",
        ("configs/table_one.py:ra_unet",),
        _compared("ra_unet")
        + tuple(f"configs/cascades.py:ra_unet.{stage}" for stage in ("localise", "liver", "tumour")),
    ),
    "kaluva": Page(
        "Kaluva et al.",
        ("configs/table_one.py:kaluva_authors",),
        _compared("kaluva") + tuple(f"configs/cascades.py:kaluva.{stage}" for stage in ("liver", "tumour")),
    ),
    "cicek_unet": Page("3D U-Net", ("configs/networks.py:cicek_unet",)),
    "unet": Page("nnU-Net, plain", ("configs/networks.py:unet_authors",), _published("unet")),
    "residual_unet": Page(
        "nnU-Net, ResEnc", ("configs/networks.py:residual_unet_m_authors",), _published("residual_unet")
    ),
    "mednext": Page("MedNeXt", ("configs/networks.py:mednext_s_k3_authors",), _published("mednext")),
    "separable_unet": Page(
        "Separable U-Net, ours", ("configs/best.py:hippocampus",), ("configs/best.py:hippocampus_wide",)
    ),
}


def load(name: str) -> Any:
    """A config by the name that --config= takes."""
    file, _, variant = name.removeprefix("configs/").partition(".py:")
    return importlib.import_module(f"configs.{file}").get_config(variant)


def count() -> dict[str, Any]:
    """The record: what `describe` says of every config; of those that are not drawn without the stages."""
    record = {}
    for page in PAGES.values():
        for name in page.configs:
            config = load(name)
            said = describe(config.model, config.data.patch_size).as_json()
            record[name] = said if name in page.drawn else {**said, "stages": []}
    return record


def stages(name: str, said: Mapping[str, Any]) -> str:
    """Drawing, the command that makes it, totals and table of one network."""
    file = drawing_name(name)
    rows = [
        (
            stage["name"],
            stage["operation"],
            by(stage["shape"]),
            f"{stage['trainable']:,}" if stage["trainable"] else "",
            f"{stage['macs'] / 1e6:,.1f}" if stage["macs"] else "",
        )
        for stage in said["stages"]
    ]
    heads = ("stage", "operation", "output, D x H x W x C", "parameters", "million multiply-adds")
    return "\n\n".join(
        [
            f"![The stages of {name}](../../images/networks/{file})",
            f"    python -m experiments.describe --config={name} --drawing={file}",
            table(heads, rows),
        ]
    )


def counts(page: Page, record: Record) -> str:
    """A row a config."""
    rows = []
    for name in page.configs:
        said = record[name]
        *sides, _ = said["input_shape"]
        rows.append(
            (
                f"`{name}`",
                by(sides),
                f"{said['trainable']:,}",
                f"{said['non_trainable']:,}",
                f"{said['macs'] / 1e9:,.2f}",
                f"{said['activation_bytes'] / 2**30:,.2f}",
            )
        )
    heads = ("config", "patch", "parameters", "statistics", "G multiply-adds", "GiB of activations")
    return table(heads, rows)


def index(record: Record) -> str:
    """A row a family, with its most important config."""
    rows = []
    for family, page in PAGES.items():
        name = page.drawn[0]
        said = record[name]
        *sides, _ = said["input_shape"]
        voxels = sides[0] * sides[1] * sides[2]
        rows.append(
            (
                f"[{page.title}](networks/{family}.md)",
                f"`{name}`",
                f"{said['trainable']:,}",
                f"{said['macs'] / voxels:,.0f}",
            )
        )
    return table(("network", "config", "parameters", "multiply-adds a voxel"), rows)


def drawing_name(name: str) -> str:
    """File of a config's drawing."""
    return f"{name.rpartition(':')[2]}.svg"


def filled(family: str, text: str, record: Record) -> str:
    """A page with every block made anew; `family` is empty for the index."""
    makers: dict[str, Callable[[], str]] = {"index": lambda: index(record)}
    if family:
        page = PAGES[family]
        makers = {
            "counts": lambda: counts(page, record),
            "recipes": lambda: table(recipes.COLUMNS, [recipes.row(one, load(one)) for one in page.configs]),
            **{name: functools.partial(stages, name, record[name]) for name in page.drawn},
        }
    return _BLOCK.sub(lambda match: f"{match[1]}\n{makers[match[2]]()}\n\n{match[3]}", text)


def documents() -> dict[str, str]:
    """The pages' paths below the clone, and their families."""
    return {INDEX: "", **{f"docs/reference/networks/{family}.md": family for family in PAGES}}


def drawings(record: Record) -> dict[str, str]:
    """The drawings' paths below the clone, and their texts."""
    drawn: Sequence[str] = [name for page in PAGES.values() for name in page.drawn]
    return {f"{DRAWINGS}/{drawing_name(name)}": drawing(record[name], name) for name in drawn}


def publish(root: Path) -> list[Path]:
    """Writes all pages and drawings from the record; returns those that have changed."""
    record = files.read_json(root / RECORD)
    texts = {
        path: filled(family, (root / path).read_text(encoding="utf-8"), record)
        for path, family in documents().items()
    }
    changed = []
    for path, text in {**texts, **drawings(record)}.items():
        target = root / path
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(target, text)
            changed.append(target)
    return changed
