"""Which cases a run uses is said and recorded; outdated ones are refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.cache import Cache
from dsdenseunet.models import registry
from dsdenseunet.training import cascade, cases
from tests.training import tiny


@pytest.fixture
def config(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    monkeypatch.setattr(registry, "build", tiny.build_tiny)
    config = tiny.get_config()
    config.data.cache = str(shutil.copytree(cache, tmp_path / "cache"))
    return config


def test_a_start_says_how_many_cases_it_uses_and_records_their_names(reference: Path, cache: Path):
    (start,) = json.loads((reference / "provenance.json").read_text())["starts"]
    assert start["cases"] == {"training": ["volume-0", "volume-1"], "validation": ["volume-2"]}
    (line,) = cases.in_words(Cache.open(cache), ["volume-0", "volume-1"], ["volume-2"], reference)
    assert line.startswith("training on 2 cases, validating on 1, of the 3 in")
    assert str(reference / "provenance.json") in line


def test_a_resumed_run_says_so_too(config: ConfigDict, reference: Path, tmp_path: Path, capsys):
    finished = Path(shutil.copytree(reference, tmp_path / "finished"))
    cascade.run(config, finished)
    assert "training on 2 cases, validating on 1" in capsys.readouterr().out


def mark_outdated(config: ConfigDict, *numbers: int) -> None:
    path = Path(config.data.cache) / "manifest.json"
    manifest = json.loads(path.read_text())
    for number in numbers:
        manifest["cases"][number]["outdated"] = "half a download"
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("number", [0, 2])
def test_outdated_cases_are_refused_before_anything_is_written(
    config: ConfigDict, tmp_path: Path, number: int
):
    mark_outdated(config, number)
    with pytest.raises(InputError, match=rf"volume-{number} \(half a download\)"):
        cascade.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sources_that_changed_since_are_named(tmp_path: Path):
    cache = Cache.open(tiny.make_cache(tmp_path))
    os.utime(tmp_path / "data" / "volume-1.nii", (1, 1))
    said = "\n".join(cases.in_words(cache, ["volume-0", "volume-1"], ["volume-2"], tmp_path))
    assert "1 file changed since" in said
    assert "volume-1.nii" in said
    assert len(cases.in_words(cache, ["volume-0"], ["volume-2"], tmp_path)) == 1
