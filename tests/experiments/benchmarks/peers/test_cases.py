from experiments.benchmarks.peers.cases import to_choose_by


def test_the_last_two_cases_choose_the_weights():
    assert to_choose_by(("a", "b", "c", "d"), ()) == (("a", "b"), ("c", "d"))


def test_a_patient_either_trains_or_chooses():
    assert to_choose_by(("a", "b", "c", "d", "e"), (("c", "e"), ("d", "z"))) == (("a", "c", "e"), ("b", "d"))
    assert to_choose_by(("a", "b", "c", "d"), (("b", "c"), ("a", "d"))) == (("b", "c"), ("a", "d"))
