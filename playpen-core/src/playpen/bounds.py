"""Numbers with bounds, as options have them; each name says what is admitted."""

from __future__ import annotations

from typing import Annotated

import msgspec

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
NonNegativeInt = Annotated[int, msgspec.Meta(ge=0)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
FromZeroToOne = Annotated[float, msgspec.Meta(ge=0, le=1)]
FromZeroBelowOne = Annotated[float, msgspec.Meta(ge=0, lt=1)]
AboveZeroToOne = Annotated[float, msgspec.Meta(gt=0, le=1)]
AboveZeroBelowOne = Annotated[float, msgspec.Meta(gt=0, lt=1)]
UpToBillion = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
"""Either side of zero; sums and products of a few of them stay finite."""
