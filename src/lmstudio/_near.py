"""Names that look like one that does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def near_matches(wanted: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The *names* that look like *wanted*, at most *limit*: those that contain it, then the nearest.

    Case does not count. A name that is a path is also known by its last part.
    """
    import difflib  # takes long to load, and is needed for errors only

    text = wanted.strip().lower()
    spelt: dict[str, str] = {}
    for name in names:
        spelt.setdefault(name.lower(), name)
        spelt.setdefault(name.lower().rpartition("/")[2], name)
    near = [known for known in spelt if text and text in known]
    near += difflib.get_close_matches(text, spelt, n=limit, cutoff=0.5)
    return list(dict.fromkeys(spelt[known] for known in near))[:limit]
