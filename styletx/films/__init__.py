"""Moving pictures: for now, a timelapse of a run."""

from styletx.films.timelapse import Timelapse, check

__all__ = ["Timelapse", "check"]
