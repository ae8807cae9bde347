"""The diagnosis in sentences."""

from __future__ import annotations

from litepose.metrics.diagnosis import Diagnosis, PeopleCounts
from litepose.metrics.given_back import Losses
from litepose.metrics.pck_diagnosis import PckDiagnosis, PckSlice, WorstPerson
from litepose.metrics.slices import Slice
from litepose.metrics.worst import WorstPicture

MIN_PEOPLE = 20  # of a slice that is named
NAMED = 3  # causes
# How each cause is said after "would come back if".
WITHOUT = {
    "jitter": "no keypoint were a little off (jitter)",
    "inversion": "left and right were never confused (inversion)",
    "swap": "no keypoint were on somebody else (swap)",
    "miss": "no keypoint were far off (miss)",
    "false people": "nobody were found where nobody is",
    "missed people": "nobody were overlooked",
    "score order": "scores ranked people by how well they are found",
}


def summary(diagnosis: Diagnosis) -> list[str]:
    """Return what matters most, a sentence each."""
    if not diagnosis.people.true:
        return ["There is nobody in the truth who counts, so there is nothing to say."]
    sentences = [_causes(diagnosis.losses), _people(diagnosis.people), _keypoints(diagnosis)]
    return [one for one in (*sentences, _slices(diagnosis.slices)) if one]


def pck_summary(diagnosis: PckDiagnosis) -> list[str]:
    """Return what matters most of PCK, a sentence each."""
    labelled = sum(one.labelled for one in diagnosis.keypoints)
    if not labelled:
        return ["There is nobody in the truth who counts, so there is nothing to say."]
    wrong = labelled - sum(one.right for one in diagnosis.keypoints)
    kinds = {
        "up to twice the threshold from its place": sum(one.near for one in diagnosis.keypoints),
        "on the mirrored keypoint (left and right confused)": sum(one.inversion for one in diagnosis.keypoints),
        "farther off": sum(one.far for one in diagnosis.keypoints),
        "not found": sum(one.not_found for one in diagnosis.keypoints),
    }
    listed = "; ".join(f"{count} {name}" for name, count in kinds.items() if count)
    first = f"Of {labelled} labelled keypoints {wrong} are wrong" + (f": {listed}." if listed else ".")
    known = [one for one in diagnosis.keypoints if one.labelled]
    worst, best = min(known, key=lambda one: one.pck), max(known, key=lambda one: one.pck)
    second = (
        f"Found worst is the {plain(worst.name)} ({diagnosis.measure} {worst.pck:.3f}), "
        f"best the {plain(best.name)} ({best.pck:.3f})."
    )
    return [first, second, *filter(None, [_pck_slices(diagnosis.slices, diagnosis.measure)])]


def worst_title(worst: WorstPicture) -> str:
    """Return why the picture is shown."""
    return worst.cause[0].upper() + worst.cause[1:]


def worst_text(worst: WorstPicture) -> str:
    """Return what is wrong in the picture."""
    people = [f"{worst.num_missed} of {counted(worst.num_people, 'person', 'people')} missed"] * bool(worst.num_missed)
    people += [f"{counted(worst.num_false, 'person', 'people')} found on nobody"] * bool(worst.num_false)
    kinds = (
        (worst.num_inverted, "left and right confused"),
        (worst.num_swapped, "on somebody else"),
        (worst.num_far, "far off"),
    )
    keypoints = [f"{count} {name}" for count, name in kinds if count]
    parts = [", ".join(people), "keypoints: " + ", ".join(keypoints) if keypoints else ""]
    text = "; ".join(filter(None, parts)) + "."
    return text[0].upper() + text[1:]


def worst_person_text(worst: WorstPerson) -> str:
    """Return what is wrong with the person."""
    parts = [f"{worst.num_right} of {worst.num_labelled} keypoints right"]
    parts += [f"{worst.num_inverted} left-right"] * bool(worst.num_inverted)
    parts += [f"{worst.num_not_found} not found"] * bool(worst.num_not_found)
    return "; ".join(parts) + "."


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return "1 person" or "2 people"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def plain(name: str) -> str:
    """Return a keypoint's name as words."""
    return name.replace("_", " ")


def _causes(losses: Losses) -> str:
    dearest = sorted(losses.causes, key=lambda name: -losses.causes[name].AP)[:NAMED]
    said = [f"{losses.causes[name].AP:.3f} would come back if {WITHOUT[name]}" for name in dearest]
    return f"Of the {1 - losses.AP:.3f} of AP lost, " + ", ".join(said[:-1]) + f", and {said[-1]}."


def _people(people: PeopleCounts) -> str:
    missed = f"{people.missed} of {counted(people.true, 'true person', 'true people')} were found by nobody"
    false = f"{people.false} of {counted(people.found, 'person', 'people')} found are on nobody"
    return f"{missed} ({people.missed / people.true:.0%}); {false}, {people.false_above} of them with a good score."


def _keypoints(diagnosis: Diagnosis) -> str:
    known = [one for one in diagnosis.keypoints if one.counts.labelled]
    if not known:
        return ""
    shares = {one.part: one.part_AP for one in known if one.part_AP >= 0}
    if len(shares) < 2:
        return ""
    worst, best = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    return (
        f"Found worst is the {plain(worst)} (its own AP {shares[worst]:.3f}), best the {plain(best)} "
        f"({shares[best]:.3f})."
    )


def _slices(slices: tuple[Slice, ...]) -> str:
    known = [one for one in slices[1:] if one.num_people >= MIN_PEOPLE]
    if len(known) < 2:
        return ""
    worst, best = min(known, key=lambda one: one.AP), max(known, key=lambda one: one.AP)
    return (
        f'Of the kinds of people the hardest is "{worst.kind}: {worst.name}" (AP {worst.AP:.3f}; everybody '
        f'{slices[0].AP:.3f}, false people left out), the easiest "{best.kind}: {best.name}" ({best.AP:.3f}).'
    )


def _pck_slices(slices: tuple[PckSlice, ...], measure: str) -> str:
    known = [one for one in slices[1:] if one.num_people >= MIN_PEOPLE and one.pck >= 0]
    if len(known) < 2:
        return ""
    worst, best = min(known, key=lambda one: one.pck), max(known, key=lambda one: one.pck)
    return (
        f'Of the kinds of people the hardest is "{worst.kind}: {worst.name}" ({measure} {worst.pck:.3f}), '
        f'the easiest "{best.kind}: {best.name}" ({best.pck:.3f}).'
    )
