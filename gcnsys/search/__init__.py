"""Search for a model and an accelerator that fit each other, in the spirit of G-CoS (ICCAD 2021)."""

from gcnsys.search.budget import Budget
from gcnsys.search.space import Design, Hardware, Shape
from gcnsys.search.study import CoSearch, Found

__all__ = ["Budget", "CoSearch", "Design", "Found", "Hardware", "Shape"]
