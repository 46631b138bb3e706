"""Reading what a server shows to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.samples import Sample


class Exposition:
    """What came of one look at /metrics."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def samples(self, name: str, **labels: str) -> Iterator[Sample]:
        """Those with this name and at least these labels; without the time at which a series began."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == f"lmstudio_{name}" and labels.items() <= sample.labels.items():
                    yield sample

    def value(self, name: str, **labels: str) -> float:
        """The sum of all such; 0 without any."""
        return sum(sample.value for sample in self.samples(name, **labels))

    def label_values(self) -> set[str]:
        """All that is the value of some label of ours, but for the bounds of buckets and our version."""
        return {
            value
            for name, family in self.families.items()
            if name.startswith("lmstudio_") and name != "lmstudio_build_info"
            for sample in family.samples
            for label, value in sample.labels.items()
            if label != "le"
        }
