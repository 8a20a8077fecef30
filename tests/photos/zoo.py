"""The zoo: hostile and odd files, each made by code, with what is to become of them."""

import zoo_damage
import zoo_kinds
import zoo_sizes
import zoo_tiff
from zoo_case import Case
from zoo_places import JOBS

__all__ = ["CASES", "JOBS"]

CASES: list[Case] = [*zoo_kinds.CASES, *zoo_tiff.CASES, *zoo_sizes.CASES, *zoo_damage.CASES]
