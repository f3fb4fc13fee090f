# SPDX-License-Identifier: Apache-2.0
"""Terraform expressions in place of numbers and texts: they make a stack a module.

An expression supports what Terraform can compute (sums, products, `str`). A comparison in Python raises TypeError: it
would be decided once at synthesis, not with the value of the module's caller.

Only `base` and `module` know these classes; other packages call the functions below.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

from cdktf_app.node import cdk_starting


class TextExpression(str):
    """A text that Terraform computes, such as `${var.name}`; `synth_value` is the value in the environment file."""

    __slots__ = ("synth_value",)
    synth_value: str

    def __new__(cls, expression: str, synth_value: str) -> TextExpression:
        """Return the text as a Terraform interpolation."""
        made = super().__new__(cls, f"${{{expression}}}")
        made.synth_value = synth_value
        return made


class NumberExpression(float):
    """A number that Terraform computes: the CDK's token for `expression`, which is a float."""

    __slots__ = ("expression",)
    expression: str

    def __new__(cls, expression: str) -> NumberExpression:
        """Return a token of the CDK; the import starts Node.js."""
        with cdk_starting():
            from cdktn import Token  # noqa: PLC0415

        made = super().__new__(cls, Token.as_number(f"${{{expression}}}"))
        made.expression = expression
        return made

    def __str__(self) -> str:
        return f"${{tostring({self.expression})}}"

    def __format__(self, format_spec: str) -> str:
        if format_spec:
            self._refuse()
        return str(self)

    def __add__(self, other: float) -> NumberExpression:
        if not isinstance(other, NumberExpression) and other == 0:  # the start value of `sum`
            return self
        return NumberExpression(f"({self.expression} + {hcl(other)})")

    def __mul__(self, other: float) -> NumberExpression:
        return NumberExpression(f"({self.expression} * {hcl(other)})")

    def __neg__(self) -> NumberExpression:
        return NumberExpression(f"(-{self.expression})")

    def __floordiv__(self, other: float) -> NumberExpression:
        return NumberExpression(f"floor({self.expression} / {hcl(other)})")

    __radd__, __rmul__ = __add__, __mul__

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(f"{self.expression} has no value at synthesis: Terraform computes it")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __int__ = _refuse
    __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __rfloordiv__ = __mod__ = _refuse

    def __hash__(self) -> int:
        return hash(self.expression)


class MapExpression(dict[str, str]):
    """A mapping of texts that Terraform computes; it has no entries at synthesis."""

    def __init__(self, expression: str) -> None:
        super().__init__()
        self.expression = expression


def is_expression(value: float) -> bool:
    """Return whether Terraform computes the number."""
    return isinstance(value, NumberExpression)


def hcl(value: float) -> str:
    """Return a number as HCL: `var.max_workers`, or 5."""
    return value.expression if isinstance(value, NumberExpression) else str(value)


def synth_value(text: str) -> str:
    """Return the value of a text in the environment file."""
    return text.synth_value if isinstance(text, TextExpression) else text


def min_expr(first: float, second: float) -> float:
    """Return the smaller of two numbers; either may be an expression."""
    if isinstance(first, NumberExpression) or isinstance(second, NumberExpression):
        return NumberExpression(f"min({hcl(first)}, {hcl(second)})")
    return min(first, second)


def max_expr(first: float, second: float) -> float:
    """Return the greater of two numbers; either may be an expression."""
    if isinstance(first, NumberExpression) or isinstance(second, NumberExpression):
        return NumberExpression(f"max({hcl(first)}, {hcl(second)})")
    return max(first, second)


def ceiling_step(value: float, step: int) -> float:
    """Return the number rounded up to a multiple of `step`."""
    if isinstance(value, NumberExpression):
        return NumberExpression(f"(ceil({value.expression} / {step}) * {step})")
    return math.ceil(value / step) * step


def expression_of(mapping: dict[str, str]) -> str | None:
    """Return the HCL of a mapping that Terraform computes, else None."""
    return mapping.expression if isinstance(mapping, MapExpression) else None
