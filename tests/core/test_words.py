from dsdenseunet.core.words import counted, some


def test_one_and_many():
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert [counted(number, "patch", "patches") for number in (1, 8)] == ["1 patch", "8 patches"]


def test_some_of_many_names():
    assert [some("abcdef"[:n]) for n in (0, 1, 3, 4, 6)] == [
        "",
        "a",
        "a, b, c",
        "a, b, c and 1 more",
        "a, b, c and 3 more",
    ]
