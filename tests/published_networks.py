"""What docs/results/networks.json and the pages made of it say of a network is what the code says."""

import functools
import json

from tests.documents import ROOT


@functools.cache
def record():
    return json.loads((ROOT / "docs/results/networks.json").read_text(encoding="utf-8"))


def assert_published(described, name, but=()):
    """`described` is what is published of a config, `but` for stages that it has otherwise."""
    fresh, published = json.loads(json.dumps(described.as_json())), record()[name]
    stages, fresh_stages = published["stages"], fresh["stages"]
    if stages:
        kept = [[one for one in two if one["name"] not in but] for two in (fresh_stages, stages)]
        assert kept[0] == kept[1], f"{name}: run python -m experiments.benchmarks.publish --networks"
    if not but:
        del fresh["stages"]
        assert fresh == {key: published[key] for key in fresh}
