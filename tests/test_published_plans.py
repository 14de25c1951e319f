"""What README and the guide say of memory is what the published plans say."""

import json

import pytest

from tests.documents import ROOT

GIB = 2**30
PLANS = ROOT / "dsdenseunet/memory/plans"
CARDS = ("rtx3070", "gtx1080")


def plan(card):
    return json.loads((PLANS / f"{card}.json").read_text(encoding="utf-8"))


def by(sides):
    return " x ".join(map(str, sides))


def recommendations():
    """Markdown: a row a card."""
    lines = [
        "| card | patch | batch | remat | type | needs, GiB | of, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for card in CARDS:
        found = plan(card)
        best = found["recommended"]
        cells = (found["device_kind"], by(best["patch"]), best["batch"], best["remat"], best["dtype"])
        sizes = (f"{best['memory']['total'] / GIB:.2f}", f"{found['available_gib']:.2f}")
        lines.append(f"| {' | '.join(map(str, (*cells, *sizes)))} |")
    return "\n".join(lines)


def techniques(card):
    """Markdown: temporary memory of one patch, or of what the row says, by the compiler."""
    found = plan(card)
    lines = [
        "| batch | micro-batches | remat | type | temporary, GiB | moved, GB |",
        "|---|---|---|---|---|---|",
    ]
    points = sorted(
        found["points"],
        key=lambda p: (p["batch"], p["accumulate"], p["dtype"] != "float32", -p["memory"]["temp"]),
    )
    for point in points:
        cells = (point["batch"], point["accumulate"], point["remat"], point["dtype"])
        sizes = (f"{point['memory']['temp'] / GIB:.2f}", f"{point['bytes_accessed'] / 1e9:.1f}")
        lines.append(f"| {' | '.join(map(str, (*cells, *sizes)))} |")
    return "\n".join(lines)


def sentences(card):
    """What the guide says in words, line by line."""
    found = plan(card)
    beside, inference = found["beside"], found["inference"]
    donated = found["points"][0]["memory"]["alias"] / GIB
    return [
        f"{beside['separable']['temp'] / GIB:.2f} GiB separable",
        f"{beside['standard']['temp'] / GIB:.2f} GiB standard",
        f"donation saves {donated:.2f} GiB",
        f"{by(inference['volume'])} takes {inference['total'] / GIB:.2f} GiB",
        f"{found['validation_gib']:.2f} GiB while training",
    ]


def test_readme_recommends_what_the_plans_do():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert recommendations() in readme, f"README.md, On an 8 GB card:\n{recommendations()}"
    command = " ".join(readme.replace("\\\n", " ").split())
    assert plan(CARDS[0])["flags"] in command, plan(CARDS[0])["flags"]


def test_the_guide_has_the_compilers_figures():
    guide = (ROOT / "docs/how-to/plan-memory.md").read_text(encoding="utf-8")
    assert techniques(CARDS[0]) in guide, f"docs/how-to/plan-memory.md:\n{techniques(CARDS[0])}"
    missing = [text for text in sentences(CARDS[0]) if text not in " ".join(guide.split())]
    assert not missing, missing


@pytest.mark.parametrize("card", CARDS)
def test_published_plans_are_of_the_card_and_their_recommendation_fits(card):
    found = plan(card)
    best = found["recommended"]
    assert not found["is_estimate"] and best["status"] == "compiled"
    assert best["memory"]["total"] * (1 + found["headroom"]) <= found["available_gib"] * GIB
    assert found["budget_gib"] == 8 and found["provenance"]["versions"]["jax"]
    assert (ROOT / f"docs/images/plan_memory_{card}.png").is_file()
