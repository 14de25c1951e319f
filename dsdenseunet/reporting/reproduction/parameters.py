"""Table 3: the paper's numbers of parameters beside the networks' own counts, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping

from dsdenseunet.reporting.reproduction.section import Record, Section, Table, facts

_ROWS = {"total": "total", "trainable": "trainable", "non_trainable": "non-trainable"}
_VARIANTS = {"ds": "DS-Conv", "standard": "standard"}


def section(record: Record) -> Section:
    """Both columns, the channels that are normalised, the layers, and what follows."""
    return Section(
        "Table 3: number of parameters, counted without data",
        [_counts(record), _normalised(record), _biases(record), _layers(record)],
        [*_ds(record), _text(record), *_standard(record), _memory(record), _contradiction(record)],
        facts=facts(record),
    )


def _counts(record: Record) -> Table:
    headings = [""]
    for shown in _VARIANTS.values():
        headings += [f"{shown}, paper", f"{shown}, ours", "ours - paper"]
    rows = []
    for name, words in _ROWS.items():
        row = [words]
        for variant in _VARIANTS:
            theirs, ours = record["paper"][variant][name], record["ours"][variant][name]
            row += [f"{theirs:,}", f"{ours:,}", f"{ours - theirs:+,}" if ours != theirs else "0"]
        rows.append(row)
    return Table("Parameters", headings, rows)


def _normalised(record: Record) -> Table:
    """The sum that the non-trainable parameters are twice of."""
    columns: dict[str, Mapping[str, int]] = {
        f"{_VARIANTS[v]}, ours": record["normalised"][v] for v in _VARIANTS
    }
    wider = record["wider"]
    if wider["added"]:
        columns[f"standard, layers that add {wider['added']}"] = wider["normalised"]
    rows = [
        [place, *(f"{column[place]:,}" for column in columns.values())]
        for place in record["normalised"]["ds"]
    ]
    sums = [sum(column.values()) for column in columns.values()]
    rows.append(["sum", *(f"{total:,}" for total in sums)])
    rows.append(["two statistics each", *(f"{2 * total:,}" for total in sums)])
    theirs = [record["paper"][v]["non_trainable"] for v in ("ds", "standard", "standard")][: len(columns)]
    rows.append(["the paper's non-trainable", *(f"{count:,}" for count in theirs)])
    return Table("Channels that are normalised, by where they are", ["", *columns], rows)


def _biases(record: Record) -> Table:
    biases = record["biases"]
    rows = [[f"{one['over']:+d}", ", ".join(one["kinds"])] for one in biases["near"]]
    caption = f"Which convolutions may have a bias: the nearest of {biases['patterns']} ways, DS-Conv"
    return Table(caption, ["trainable - paper's", "convolutions with a bias"], rows)


def _layers(record: Record) -> Table:
    layers = record["layers"]
    dense = layers["dense_layers"] * layers["of_a_dense_layer"]
    rows = [
        ["dense layers", f"{layers['dense_layers']} x {layers['of_a_dense_layer']} = {dense}"],
        *([words, str(layers[name])] for name, words in _LAYERS.items()),
        ["sum", str(record["ours"]["ds"]["layers"])],
        ["the paper's", str(record["paper"]["layers_in_text"])],
    ]
    return Table("Layers", ["", "DS-Conv"], rows)


_LAYERS = {
    "stem": "stem: convolution, BN, ReLU",
    "transitions": "transitions: BN, ReLU and two convolutions each",
    "last": "after the last dense block: BN, ReLU",
    "decoder": "decoder: upsampling, convolution, BN, ReLU each",
}


def _ds(record: Record) -> list[str]:
    paper, ours, biases = record["paper"]["ds"], record["ours"]["ds"], record["biases"]
    channels = sum(record["normalised"]["ds"].values())
    apart = ours["non_trainable"] - paper["non_trainable"]
    agree = "exactly as the paper prints" if not apart else f"{apart:+,} from the paper's"
    over = ours["trainable"] - paper["trainable"]
    least = min(abs(one["over"]) for one in biases["near"])
    return [
        f"DS-Conv, non-trainable: {channels:,} channels are normalised, and twice that is "
        f"{2 * channels:,}, {agree}.",
        f"DS-Conv, trainable: ours differ by {over:+,}, a share of {abs(over) / paper['trainable']:.1e}. "
        f"Kernels and normalisations leave {biases['left']:,} for biases. Of the {biases['patterns']} ways "
        "to give biases to some kinds of convolution and not to others, "
        f"{len(biases['near'])} come as near, and the nearest misses by {least}. Which convolutions have a "
        "bias is therefore a choice of ours, not a finding.",
    ]


def _text(record: Record) -> str:
    said, counted = record["paper"]["trainable_in_text"], record["paper"]["ds"]["trainable"]
    return (
        f"The paper's abstract, text and Table 1 say {said / 1e6:.1f} million trainable parameters; its own "
        f"Table 3 has {counted / said:.1f} times as many, {counted / 1e6:.1f} million. Table 3 is a "
        "framework's count and is taken as right."
    )


def _standard(record: Record) -> list[str]:
    paper, ours, wider = record["paper"]["standard"], record["ours"]["standard"], record["wider"]
    notes = [
        f"Standard: the same network with standard convolutions has {ours['trainable'] / 1e6:.1f} million "
        f"trainable parameters; the paper's column has {paper['trainable'] / 1e6:.1f} million, so it "
        "is not of that network. Ours is what the text describes: only the convolutions differ."
    ]
    if wider["added"]:
        notes.append(
            f"The paper's non-trainable {paper['non_trainable']:,} fit dense layers that add and normalise "
            f"{wider['added']} channels each while the transitions count {wider['growth']}. Such a network "
            f"would have {wider['trainable'] / 1e6:.1f} million trainable parameters, or "
            f"{wider['trainable_narrow_decoder'] / 1e6:.1f} million if its decoder met no more channels than "
            f"ours: neither is the paper's {paper['trainable'] / 1e6:.1f}."
        )
    return notes


def _memory(record: Record) -> str:
    paper, ours = ({v: record[who][v]["total"] for v in _VARIANTS} for who in ("paper", "ours"))
    macs, held = ({v: record["ours"][v][what] for v in _VARIANTS} for what in ("macs", "activation_bytes"))
    return (
        f"The paper says that DS-Conv needs about {record['paper']['times_less_memory_in_text']} times less "
        f"memory. That is the ratio of its parameters ({paper['standard'] / paper['ds']:.2f}); of ours it is "
        f"{ours['standard'] / ours['ds']:.2f}. Most of a training step's memory is activations: for one "
        f"patch {held['ds'] / 2**30:.1f} GiB of maps with DS-Conv and {held['standard'] / 2**30:.1f} with "
        "standard convolutions. The multiply-adds differ by a factor of "
        f"{macs['standard'] / macs['ds']:.2f} only, as most of them are in the decoder, whose convolutions "
        "are standard ones in both."
    )


def _contradiction(record: Record) -> str:
    layers, paper = record["layers"], record["paper"]
    return (
        f"Layers: with {layers['of_a_dense_layer']} in a dense layer (BN, ReLU, convolution, BN, ReLU, "
        f"depthwise, pointwise) the count is the paper's {paper['layers_in_text']}. Those are two "
        f"normalisations a dense layer, which would give {layers['non_trainable_with_two_norms']:,} "
        f"non-trainable parameters; Table 3's {paper['ds']['non_trainable']:,} need three. The paper "
        "contradicts itself; the network follows Table 3, the count of layers the text."
    )
