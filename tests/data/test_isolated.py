from dsdenseunet.data.isolated import WorkerDiedError, run_each

# exec is a function that every process knows; what it runs is what happens to a case.
FINE, WRONG, DIES = "pass", "1 / 0", "import os; os._exit(3)"


def outcomes(*sources, workers):
    answers = dict(run_each(exec, [(source,) for source in sources], workers))
    assert sorted(answers) == list(range(len(sources)))
    return [type(answers[index]) for index in range(len(sources))]


def test_an_error_ends_only_its_own_case():
    assert outcomes(FINE, WRONG, FINE, workers=1) == [type(None), ZeroDivisionError, type(None)]


def test_in_other_processes_too_and_so_does_the_death_of_one():
    found = outcomes(FINE, DIES, WRONG, FINE, workers=2)
    assert found == [type(None), WorkerDiedError, ZeroDivisionError, type(None)]
