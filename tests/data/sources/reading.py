"""How tests read the records of a source."""

from t5x_lite.data.sources.base import BadRecord


def read(source, *numbers):
    """The records with these numbers, or all of them; the first malformed one is raised."""
    records = []
    for _, record in source.read(numbers or range(len(source))):
        if isinstance(record, BadRecord):
            raise record
        records.append(record)
    return records


def where(source, *numbers):
    """The locations of records."""
    return [located.where for located in source.read(numbers)]
