# SPDX-License-Identifier: Apache-2.0
"""Values that only Terraform knows, where the model has a number or a text: what makes a stack a module.

An expression goes where its value would go. What Terraform can do with it, it does (sums, products, `str`); a Python
decision by it is an error, for it would be made once, at synthesis, and not by the caller's value.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

from cdktf_app.node import cdk_starting


class TextExpression(str):
    """A text that Terraform knows, such as `${var.name}`; `synth_value` is what the environment's file says."""

    __slots__ = ("synth_value",)
    synth_value: str

    def __new__(cls, expression: str, synth_value: str) -> TextExpression:
        """Make the text that Terraform takes for an interpolation."""
        made = super().__new__(cls, f"${{{expression}}}")
        made.synth_value = synth_value
        return made


class NumberExpression(float):
    """A number that Terraform knows: the CDK's token for `expression`, in a float because the CDK's is one."""

    __slots__ = ("expression",)
    expression: str

    def __new__(cls, expression: str) -> NumberExpression:
        """Make a token of the CDK's: the import starts Node, which only synthesis pays for."""
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
        if not isinstance(other, NumberExpression) and other == 0:  # what `sum` begins with
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
        raise TypeError(f"{self.expression} is known to Terraform alone: nothing at synthesis can depend on it")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __int__ = _refuse
    __sub__ = __rsub__ = __truediv__ = __rtruediv__ = __rfloordiv__ = __mod__ = _refuse

    def __hash__(self) -> int:
        return hash(self.expression)


class MapExpression(dict[str, str]):
    """A mapping of text to text that Terraform knows; empty for whoever looks for its entries at synthesis."""

    def __init__(self, expression: str) -> None:
        super().__init__()
        self.expression = expression


def hcl(value: float) -> str:
    """Return a number as it stands within an expression: `var.max_workers`, or 5."""
    return value.expression if isinstance(value, NumberExpression) else str(value)


def synth_value(text: str) -> str:
    """Return what the file says for a text: itself, but for one that only Terraform knows."""
    return text.synth_value if isinstance(text, TextExpression) else text


def min_expr(one: float, other: float) -> float:
    """Return the smaller of two numbers, either of which only Terraform may know."""
    if isinstance(one, NumberExpression) or isinstance(other, NumberExpression):
        return NumberExpression(f"min({hcl(one)}, {hcl(other)})")
    return min(one, other)


def max_expr(one: float, other: float) -> float:
    """Return the greater of two numbers, either of which only Terraform may know."""
    if isinstance(one, NumberExpression) or isinstance(other, NumberExpression):
        return NumberExpression(f"max({hcl(one)}, {hcl(other)})")
    return max(one, other)


def ceiling_step(value: float, step: int) -> float:
    """Return the number rounded up to a multiple of `step`."""
    if isinstance(value, NumberExpression):
        return NumberExpression(f"(ceil({value.expression} / {step}) * {step})")
    return math.ceil(value / step) * step


def expression_of(mapping: dict[str, str]) -> str | None:
    """Return the expression that a mapping is; None for one that is known."""
    return mapping.expression if isinstance(mapping, MapExpression) else None
