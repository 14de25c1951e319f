from dsdenseunet.inference import colour_tables
from dsdenseunet.tasks import lits


def test_both_programs_get_the_colours_of_pictures(tmp_path):
    colour_tables.write(tmp_path, lits.TASK)
    slicer = (tmp_path / colour_tables.SLICER).read_text().splitlines()
    assert slicer[1:] == ["0 background 0 0 0 0", "1 liver 47 179 68 255", "2 tumour 224 49 49 255"]
    itk_snap = (tmp_path / colour_tables.ITK_SNAP).read_text().splitlines()
    assert itk_snap[2:] == [
        '0 0 0 0 0 0 0 "background"',
        '1 47 179 68 1 1 1 "liver"',
        '2 224 49 49 1 1 1 "tumour"',
    ]


def test_colours_that_somebody_has_changed_stay(tmp_path):
    (tmp_path / colour_tables.SLICER).write_text("mine")
    colour_tables.write(tmp_path, lits.TASK)
    assert (tmp_path / colour_tables.SLICER).read_text() == "mine"
    assert (tmp_path / colour_tables.ITK_SNAP).exists()
