import dataclasses
import json
import shutil

import pytest

from dsdenseunet.core.errors import InputError
from experiments.benchmarks.gpu.setting import Amounts
from experiments.benchmarks.publishing import blocks
from tests.documents import ROOT
from tests.experiments.benchmarks.publishing.test_gpu_tables import RECORD


def test_the_documents_say_what_was_measured():
    records = blocks.read(ROOT)
    for name in blocks.DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert blocks.filled(text, records) == text, f"{name}: run python -m experiments.benchmarks.publish"


def test_every_block_is_in_a_document_and_its_record_is_named():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in blocks.DOCUMENTS)
    for name in blocks.BLOCKS:
        assert text.count(f"<!-- benchmark: {name} -->") == 1
    assert text.count("<!-- benchmark: ") == text.count("<!-- end -->") == len(blocks.BLOCKS)
    for record in blocks.read(ROOT).values():
        made_with = record["provenance"]
        assert made_with["commit"][:10] in text
        assert made_with["hardware"].get("driver", made_with["hardware"]["processor"]) in text


def test_a_new_record_takes_the_place_of_what_was_said(tmp_path):
    for name in blocks.DOCUMENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / blocks.RESULTS, tmp_path / blocks.RESULTS)
    (tmp_path / blocks.RESULTS / blocks.GPU).unlink(missing_ok=True)
    blocks.publish(tmp_path)
    assert "No GPU has been measured yet" in (tmp_path / "docs/explanation/speed.md").read_text()
    blocks.files.write_json(tmp_path / blocks.RESULTS / blocks.GPU, RECORD)
    assert blocks.publish(tmp_path) == [
        tmp_path / name for name in ("README.md", "docs/explanation/speed.md")
    ]
    assert blocks.publish(tmp_path) == []
    assert "NVIDIA Test" in (tmp_path / "README.md").read_text()


def test_a_rehearsal_and_a_run_without_a_gpu_are_refused():
    amounts = json.loads(json.dumps(dataclasses.asdict(Amounts())))
    made_with = {"hardware": {"backend": "gpu"}, "amounts": amounts}
    blocks.check_gpu({"provenance": made_with}, "here")
    for wrong, found in (
        ({**made_with, "amounts": {**amounts, "matrix": 32}}, "a rehearsal"),
        ({**made_with, "hardware": {"backend": "cpu"}}, "a run on cpu"),
        ({}, "a run on nothing"),
    ):
        with pytest.raises(InputError, match=found):
            blocks.check_gpu({"provenance": wrong}, "here")


def test_a_block_of_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="cpu, gpu"):
        blocks.filled("<!-- benchmark: other -->\n\nold\n\n<!-- end -->\n", {})


@pytest.mark.parametrize(
    ("text", "found"), [("other=record.json", "no name of a comparison"), ("choices", "no file")]
)
def test_a_comparison_without_a_known_name_or_a_file_is_refused(text, found):
    with pytest.raises(InputError, match=found):
        blocks.comparison_of(text)
