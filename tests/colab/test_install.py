"""What is installed beside what a runtime has, and what has to stay."""

import pytest

from colab import install

REQUIRED = ["jax>=0.10", "numpy>=2.0", "flax>=0.12", "ml_collections>=1.0"]
COLAB = {
    "jax": "0.11.2",
    "jaxlib": "0.11.2",
    "jax-cuda12-plugin": "0.11.2",
    "nvidia-cudnn-cu12": "9.12",
    "numpy": "2.5.5",
    "torch": "2.14.1+cu128",
}


def test_what_is_new_enough_stays_and_is_not_asked_for():
    assert install.plan(REQUIRED, COLAB, has_gpu=True) == install.Plan(
        ("flax>=0.12", "ml_collections>=1.0"), COLAB
    )
    everything = {**COLAB, "flax": "0.12.8", "ml-collections": "1.1.0"}
    assert install.plan(REQUIRED, everything, has_gpu=True).wanted == ()


@pytest.mark.parametrize(
    ("others", "has_gpu", "asked"),
    [
        ({"jax-cuda13-plugin": "0.9.2", "nvidia-cublas": "13.1"}, True, "jax[cuda13]>=0.10"),
        # The plugin for the machine that the runtime was made for, whether it has the GPU now or not.
        ({"jax-cuda12-plugin": "0.9.2"}, False, "jax[cuda12]>=0.10"),
        ({"libtpu": "0.0.20"}, False, "jax[tpu]>=0.10"),
        ({}, True, "jax[cuda12]>=0.10"),
        ({}, False, "jax>=0.10"),
    ],
)
def test_an_old_jax_is_replaced_with_its_own_libraries(others, has_gpu, asked):
    old = {"jax": "0.9.2", "jaxlib": "0.9.2", "numpy": "2.5.5", **others}
    assert install.plan(REQUIRED[:2], old, has_gpu) == install.Plan((asked,), {"numpy": "2.5.5"})


def test_a_gpu_gets_the_plugin_of_the_jax_that_is_there():
    of_cpu = {"jax": "0.12.0.1", "jaxlib": "0.12.0.1", "numpy": "2.5.5"}
    assert install.plan(REQUIRED[:2], of_cpu, has_gpu=True) == install.Plan(
        ("jax[cuda12]==0.12.0.1",), of_cpu
    )


def test_the_requirements_are_those_of_setup_py():
    found = install.requirements()
    assert "ml_collections>=1.0" in found and any(line.startswith("jax>=") for line in found)


@pytest.fixture
def pip(monkeypatch):
    """Takes what pip would be asked for; the first answers are failures, as many as `fails`."""
    asked, versions = [], [dict(COLAB), {**COLAB, "flax": "0.12.12", "scipy": "1.18"}]

    class Pip:
        fails = 0

        def __call__(self, wanted, kept):
            asked.append((wanted, dict(kept)))
            failed = len(asked) <= self.fails
            return install.subprocess.CompletedProcess([], int(failed), "", "no such version" * failed)

    monkeypatch.setattr(install, "_versions", lambda: versions.pop(0))
    monkeypatch.setattr(install, "_has_gpu", lambda: False)
    monkeypatch.setattr(install, "_pip", answer := Pip())
    monkeypatch.setattr(install, "requirements", lambda: REQUIRED[:3])
    answer.asked, answer.versions = asked, versions
    return answer


def test_pip_is_told_to_keep_everything(pip, capsys):
    install.main()
    assert pip.asked == [(("flax>=0.12",), COLAB)]
    assert "installed: flax 0.12.12, scipy 1.18\nin use: jax 0.11.2, " in capsys.readouterr().out


def test_where_that_cannot_be_only_what_is_built_against_stays(pip, monkeypatch):
    monkeypatch.setattr(install.metadata, "packages_distributions", dict)
    pip.fails = 1
    pip.versions[0]["tqdm"] = "4.0"
    pip.versions[1]["tqdm"] = "4.70"
    install.main()
    assert pip.asked[0][1] == {**COLAB, "tqdm": "4.0"}
    assert pip.asked[1][1] == COLAB


def test_pips_reason_is_shown(pip):
    pip.fails = 2
    with pytest.raises(RuntimeError, match=r"could not install flax>=0\.12:\nno such version"):
        install.main()


def test_what_was_loaded_before_it_was_replaced_asks_for_a_restart(pip, monkeypatch):
    pip.versions[0]["numpy"] = "1.26"
    monkeypatch.setattr(install.metadata, "packages_distributions", lambda: {"pytest": ["numpy"]})
    with pytest.raises(RuntimeError, match="numpy: an older version was loaded already"):
        install.main()
    # NumPy is asked for, and so is not kept.
    assert pip.asked[0][0] == ("numpy>=2.0", "flax>=0.12")
    assert "numpy" not in pip.asked[0][1]
