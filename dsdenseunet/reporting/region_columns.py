"""The columns of cases.csv that a page shows of each case, by the task's regions and the mode."""

from __future__ import annotations

from dsdenseunet.tasks.task import Task

# The mode of any task but LiTS, whose scorer has names of its own.
REGIONS = "regions"
_LITS_DICE = {"liver": "liver_dice_per_case", "tumour": "lesion_dice_per_case"}
_LITS = {
    "liver_assd": "liver ASSD, mm",
    "true_reference": "lesions found",
    "false_negative": "lesions missed",
    "false_positive": "false positives",
    "tumour_reference_ml": "tumour, mL",
    "tumour_prediction_ml": "predicted, mL",
}


def dice_columns(task: Task, mode: str) -> dict[str, str]:
    """Region to the column of its Dice."""
    if mode == REGIONS:
        return {region.name: f"{region.name}_dice" for region in task.regions}
    return dict(_LITS_DICE)


def shown_columns(task: Task, mode: str) -> dict[str, str]:
    """Columns and their headings."""
    columns = {column: f"{name} Dice" for name, column in dice_columns(task, mode).items()}
    if mode != REGIONS:
        return {"case": "case", **columns, **_LITS}
    for name in (region.name for region in task.regions):
        columns |= {f"{name}_hd95_mm": f"{name} HD95, mm", f"{name}_assd_mm": f"{name} ASSD, mm"}
        columns |= {f"{name}_reference_ml": f"{name}, mL", f"{name}_prediction_ml": "predicted, mL"}
    return {"case": "case", **columns}
