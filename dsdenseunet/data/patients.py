"""Which cases are one patient's, by what DICOM or the config says; or look so, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from dsdenseunet.core.errors import InputError
from dsdenseunet.core.words import counted, some
from dsdenseunet.data import splits

# A patient's number, and what tells its scans apart: patient007_frame01, sub-12_ses-2, BraTS-GLI-00005-001.
_SCAN_OF = re.compile(r"(.*[0-9])[-_. ]+([A-Za-z]*[-_]?[0-9]+|[A-Za-z])")
# With more scans each, the first number is that of a site or of a study.
_MOST_SCANS = 8


def patients_of(names: Sequence[str]) -> dict[str, str]:
    """The patient of each case, where names look like several scans of some patients; empty where not.

    A name is taken apart where a number is followed by another one, or by a letter, behind a separator. That
    is believed if it gives at least two patients, at least one of whom has several scans, and none more than
    eight.

    Args:
        names: of all cases.
    """
    matches = {name: _SCAN_OF.fullmatch(name) for name in names}
    patients = {name: match[1] if match else name for name, match in matches.items()}
    scans = sizes(patients)
    if len(scans) < 2 or not 2 <= max(scans.values()) <= _MOST_SCANS:
        return {}
    return patients


def sizes(patients: Mapping[str, str]) -> dict[str, int]:
    """How many scans each patient has, given the patient of each case."""
    found: dict[str, int] = {}
    for patient in patients.values():
        found[patient] = found.get(patient, 0) + 1
    return found


def identified(ids: Mapping[str, str]) -> dict[str, str]:
    """The cases whose PatientID says whose they are.

    None does where all have the same one: whoever takes names out of files often writes one word into all.

    Args:
        ids: PatientID of each case; empty where none is known.
    """
    known = {name: one for name, one in ids.items() if one}
    return known if len(set(known.values())) > 1 else {}


def check_apart(
    train: Iterable[str],
    validation: Iterable[str],
    patients: Mapping[str, str],
    where: str,
    told_by: str,
) -> None:
    """Refuses to train on one scan of a patient and to validate on another: the network would know it.

    Args:
        train: names of the training cases.
        validation: names of the validation cases.
        patients: the patient of each case; a case without an entry is a patient by itself.
        where: what deals the cases, for the message.
        told_by: what says so of the patients.

    Raises:
        InputError: patients on both sides, all counted and some named.
    """
    trained = {patients.get(name, name): name for name in train}
    both = [
        (trained[patient], name) for name in validation if (patient := patients.get(name, name)) in trained
    ]
    if not both:
        return
    shared = sizes({name: patients.get(name, name) for _, name in both})
    pairs = some([f"{a} trains and {b} validates ({patients.get(b, b)})" for a, b in both], 2)
    raise InputError(
        where,
        found=f"scans of {counted(len(shared), 'patient')} on both sides, by {told_by}: {pairs}",
        expected="all scans of a patient on one side: a network knows a patient that it was trained on",
        fix="let experiments.configure write folds by patient, or name each patient's scans in "
        "config.data.same_patient; where the names mean something else, write folds to config.data.fold_file",
    )


def by_groups(
    names: Iterable[str], groups: Iterable[Sequence[str]], ids: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The patient of each case, given groups of cases that are of one patient.

    Args:
        names: of all cases.
        groups: names of them, and of cases that are not among them, which play no part. A patient is called
            by the first name of its group; a case of no group is a patient by itself.
        ids: of `identified`; cases with the same one are of one patient too.
    """
    of_group = {name: group[0] for group in groups for name in group}
    found = {name: of_group.get(name, name) for name in names}
    same: dict[str, list[str]] = {}
    for name in found:
        if name in ids:
            same.setdefault(ids[name], []).append(name)
    for first, *others in same.values():
        joined = {found[name] for name in others} - {found[first]}
        if joined:
            found = {name: found[first] if one in joined else one for name, one in found.items()}
    return found


def deal(
    patients: Mapping[str, str], with_region: Iterable[str], folds: int, seed: int
) -> list[tuple[str, ...]]:
    """Deals patients into stratified folds, so that no patient is on both sides of one.

    Args:
        patients: the patient of each case.
        with_region: cases that have the region by which folds are stratified.
        folds: how many.
        seed: another seed deals the patients differently.

    Returns:
        For each fold the names of the cases that validate, sorted.

    Raises:
        InputError: fewer patients than folds.
    """
    has_region = dict.fromkeys(patients.values(), False) | {patients[name]: True for name in with_region}
    return [
        tuple(sorted(name for name, patient in patients.items() if patient in part))
        for part in map(set, splits.stratified_folds(has_region, folds, seed, sizes(patients)))
    ]


def folds_by_patient(
    patients: Mapping[str, str], with_region: Iterable[str], folds: int, seed: int
) -> list[dict[str, list[str]]]:
    """What `deal` returns, in the form of `config.data.fold_file`."""
    return [
        {"train": sorted(set(patients) - set(part)), "val": list(part)}
        for part in deal(patients, with_region, folds, seed)
    ]
