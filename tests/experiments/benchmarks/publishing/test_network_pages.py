"""The pages of the networks show what is counted; tests/models holds the counts to the code."""

import pytest

from configs import cascades, networks, table_one
from dsdenseunet.memory.description import describe
from dsdenseunet.models import registry
from dsdenseunet.ops import conv, depthwise_choice
from experiments.benchmarks.publishing import network_pages
from tests.documents import ROOT
from tests.published_networks import assert_published, record


def test_the_pages_and_drawings_show_the_record_and_the_recipes():
    stale = []
    for path, family in network_pages.documents().items():
        text = (ROOT / path).read_text(encoding="utf-8")
        if network_pages.filled(family, text, record()) != text:
            stale.append(path)
        page = network_pages.PAGES.get(family)
        wanted = ["index"] if page is None else ["counts", "recipes", *page.drawn]
        assert all(text.count(f"<!-- network: {name} -->") == 1 for name in wanted), path
    drawings = network_pages.drawings(record())
    stale += [path for path, text in drawings.items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert not stale, f"{stale}: run python -m experiments.benchmarks.publish"
    assert {path.name for path in (ROOT / network_pages.DRAWINGS).iterdir()} == {
        path.rpartition("/")[2] for path in drawings
    }


def test_every_family_and_every_published_network_has_its_page():
    assert set(network_pages.PAGES) == set(registry.FAMILIES)
    shown = [name for page in network_pages.PAGES.values() for name in page.configs]
    assert set(shown) == set(record())
    for file, variants in (("networks", networks.VARIANTS), ("table_one", table_one.VARIANTS)):
        for name, one in variants.items():
            for recipe in ("", "_authors") if one.authors else ("",):
                assert f"configs/{file}.py:{name}{recipe}" in shown
    for name, made in cascades.CASCADES.items():
        assert all(f"configs/cascades.py:{name}.{stage}" in shown for stage in made().stages.order)
    for family, page in network_pages.PAGES.items():
        assert {network_pages.load(name).model.family for name in page.configs} == {family}


@pytest.mark.long
def test_the_record_is_what_describe_says(monkeypatch):
    # The plain forms are traced in a fraction of the time of the fast ones, and count the same.
    monkeypatch.setattr(conv, "form_on_cpu", lambda *_: "direct")
    monkeypatch.setattr(depthwise_choice, "fastest", lambda *_: "grouped")
    for name in record():
        config = network_pages.load(name)
        assert_published(describe(config.model, config.data.patch_size), name)
