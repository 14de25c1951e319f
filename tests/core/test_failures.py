"""The list of what could not be done."""

import json

from dsdenseunet.core import failures
from dsdenseunet.core.errors import InputError
from dsdenseunet.core.failures import Failure


def test_every_failure_says_what_failed_and_why(tmp_path):
    bad = InputError("a.nii", found="3", expected="2", fix="map it")
    failures.write(
        tmp_path / "f.json", [Failure.of(tmp_path / "a", "read", bad), Failure("b", "s", "E", "m")]
    )
    first, second = json.loads((tmp_path / "f.json").read_text())
    assert first == {"scan": str(tmp_path / "a"), "stage": "read", "error": "InputError", "message": str(bad)}
    assert second == {"scan": "b", "stage": "s", "error": "E", "message": "m"}


def test_an_error_without_words_is_named():
    assert Failure.of("a", "read", MemoryError()).message == "MemoryError"


def test_an_older_list_does_not_outlive_a_run_without_failures(tmp_path):
    failures.write(tmp_path / "f.json", [Failure("b", "s", "E", "m")])
    failures.write(tmp_path / "f.json", [])
    failures.write(tmp_path / "f.json", [])
    assert not (tmp_path / "f.json").exists()
