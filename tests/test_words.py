from dsdenseunet.words import counted


def test_one_and_many():
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert [counted(number, "patch", "patches") for number in (1, 8)] == ["1 patch", "8 patches"]
