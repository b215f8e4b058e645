"""Families of metrics as rows of plain numbers, which are spelled out as samples only where somebody reads them.

The library makes an object with a mapping of labels for each sample, seventeen for each route of a histogram. Rows are
what a process counts in anyway, what goes from one process to another, and what is added up there.
"""

from collections.abc import Sequence
from enum import StrEnum

from prometheus_client import Metric
from prometheus_client.samples import Sample

Rows = dict[tuple[str, ...], list[float]]


class Together(StrEnum):
    """What the values of one gauge in several processes come to. Counters and histograms always add up."""

    SUM = "sum"
    LEAST = "least"  # of those that serve: the keeper has no listener and no upstreams
    KEEPER = "keeper"  # the keeper's alone


class Family(Metric):
    """One family. rows: values by labels, and nobody changes a list of them in place.

    columns: what each value of a row is: the suffix of its sample's name, and the end of its bucket, else "".
    """

    def __init__(
        self,
        name: str,
        help_text: str,
        kind: str,
        *,
        labels: Sequence[str],
        columns: Sequence[tuple[str, str]],
        rows: Rows,
    ) -> None:
        super().__init__(name, help_text, kind)
        self.labels = tuple(labels)
        self.columns = tuple(columns)
        self.rows = rows

    @property
    def samples(self) -> list[Sample]:
        """As the library writes them."""
        spelled = [(self.name + suffix, {"le": end} if end else {}) for suffix, end in self.columns]
        found = []
        for row, values in self.rows.items():
            labels = dict(zip(self.labels, row, strict=True))
            found += [
                Sample(name, {**labels, **end}, value) for (name, end), value in zip(spelled, values, strict=True)
            ]
        return found

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """The library begins with none; these are what the rows say."""


def family_of(metric: Metric) -> Family:
    """A family as rows, whoever made it. The library gives every series of a family the same samples."""
    if isinstance(metric, Family):
        return metric
    labels: tuple[str, ...] = ()
    columns: dict[tuple[str, str], None] = {}
    found: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    for sample in metric.samples:
        labels = tuple(name for name in sample.labels if name != "le")
        column = (sample.name.removeprefix(metric.name), sample.labels.get("le", ""))
        columns[column] = None
        found.setdefault(tuple(sample.labels[name] for name in labels), {})[column] = sample.value
    rows = {row: [values[column] for column in columns] for row, values in found.items()}
    return Family(metric.name, metric.documentation, metric.type, labels=labels, columns=tuple(columns), rows=rows)
