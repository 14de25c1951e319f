import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsdenseunet.core.errors import InputError
from dsdenseunet.data.splits import read_fold, stratified_folds, stratified_sample

# LiTS: 131 cases, these without a tumour.
TUMOUR_FREE = {32, 34, 38, 41, 47, 87, 89, 91, 105, 106, 114, 115, 119}
LITS = {f"volume-{number}": number not in TUMOUR_FREE for number in range(131)}


def test_folds_of_lits_are_even_in_size_and_in_tumour_free_cases():
    folds = stratified_folds(LITS, folds=5, seed=0)
    assert sorted(len(fold) for fold in folds) == [26, 26, 26, 26, 27]
    assert sorted(sum(not LITS[name] for name in fold) for fold in folds) == [2, 2, 3, 3, 3]


def test_folds_do_not_follow_file_order():
    for fold in stratified_folds(LITS, folds=5, seed=0):
        numbers = sorted(int(name.split("-")[1]) for name in fold)
        # Every stretch of 44 files has cases of every fold, as far as chance goes; order would give none.
        assert all(any(low <= number < low + 44 for number in numbers) for low in (0, 44, 88))
        assert len({number % 5 for number in numbers}) == 5


def test_a_seed_gives_the_same_folds_for_ever():
    # Results name their fold: these values may change with no version of anything.
    assert stratified_folds(dict.fromkeys("abcdef", True), 3, seed=0) == [
        ("c", "f"),
        ("b", "d"),
        ("a", "e"),
    ]


@given(
    tumour=st.dictionaries(st.text("abc123-", min_size=1), st.booleans(), min_size=2, max_size=40),
    folds=st.integers(2, 8),
    seed=st.integers(0, 2**32),
    order=st.randoms(use_true_random=False),
)
def test_every_case_is_in_one_fold_whatever_the_order(tumour, folds, seed, order):
    if folds > len(tumour):
        with pytest.raises(InputError):
            stratified_folds(tumour, folds, seed)
        return
    dealt = stratified_folds(tumour, folds, seed)
    assert sorted(name for fold in dealt for name in fold) == sorted(tumour)
    for count in (
        [len(fold) for fold in dealt],
        [sum(tumour[name] for name in fold) for fold in dealt],
        [sum(not tumour[name] for name in fold) for fold in dealt],
    ):
        assert max(count) - min(count) <= 1
    names = list(tumour)
    order.shuffle(names)
    assert stratified_folds({name: tumour[name] for name in names}, folds, seed) == dealt


def test_another_seed_deals_anew():
    assert stratified_folds(LITS, 5, seed=0) != stratified_folds(LITS, 5, seed=1)


@pytest.mark.parametrize("folds", [-1, 0, 1, 132])
def test_impossible_folds(folds):
    with pytest.raises(InputError, match="folds for 131 cases") as caught:
        stratified_folds(LITS, folds, seed=0)
    assert caught.value.fix.startswith("--config.data.folds=5")
    assert len(stratified_folds(LITS, 5, seed=0)) == 5


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_one_case_cannot_be_dealt_and_what_can_be_done_is_said(folds):
    with pytest.raises(InputError, match="two cases at least") as caught:
        stratified_folds({"volume-7": True}, folds, seed=0)
    # Neither fewer folds nor naming the case twice would help.
    assert "config.data" not in caught.value.fix
    assert "second labelled case" in caught.value.fix


def test_the_advice_for_too_many_folds_holds_for_two_cases():
    with pytest.raises(InputError) as caught:
        stratified_folds({"a": True, "b": True}, 5, seed=0)
    assert caught.value.fix.startswith("--config.data.folds=2,")
    assert stratified_folds({"a": True, "b": True}, 2, seed=0)


def test_names_of_any_bytes_are_dealt():
    folds = stratified_folds({"M\udcfcller": True, "b": False}, 2, seed=0)
    assert set(folds) == {("M\udcfcller",), ("b",)}


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.booleans(), min_size=1),
    st.integers(1, 100),
    st.integers(0, 5),
)
def test_a_sample_has_tumours_in_their_proportion(tumour: dict[str, bool], count: int, seed: int):
    count = min(count, len(tumour))
    sample = stratified_sample(tumour, count, seed)
    assert len(set(sample)) == count
    assert list(sample) == sorted(sample)
    assert set(sample) <= set(tumour)
    with_tumour, share = sum(tumour[name] for name in sample), sum(tumour.values()) / len(tumour)
    assert abs(with_tumour - share * count) < 1
    assert bool(with_tumour) == any(tumour.values())
    assert stratified_sample(dict(reversed(tumour.items())), count, seed) == sample


def test_a_sample_does_not_follow_the_names():
    samples = {stratified_sample(LITS, 3, seed) for seed in range(5)}
    assert len(samples) == 5
    assert tuple(sorted(LITS)[:3]) not in samples


FOLDS = [{"train": ["b", "a"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]


def test_a_fold_of_a_file(tmp_path):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(FOLDS))
    assert read_fold(path, 0) == (("a", "b"), ("c",))
    assert read_fold(path, 1) == (("c",), ("a", "b"))


@pytest.mark.parametrize(
    ("content", "fold", "found"),
    [
        (FOLDS, 2, "2 folds, and number 2 is asked for"),
        ({"train": ["a"], "val": ["b"]}, 0, "another form"),
        ([{"train": ["a"]}], 0, "another form"),
        ([{"train": ["a"], "val": []}], 0, "another form"),
        ([{"train": ["a", "b"], "val": ["b"]}], 0, "b in train and in val of fold 0"),
    ],
)
def test_a_file_of_folds_that_is_none(tmp_path, content, fold, found):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_fold(path, fold)
    assert error.value.found == found
