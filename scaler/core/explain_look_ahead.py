# SPDX-License-Identifier: Apache-2.0
"""The steps of the look-ahead in an explanation: the DAGs that need the slots, and how accurate it was."""

from scaler.core.explain import Explanation, count
from scaler.core.forecast.accuracy import Accuracy
from scaler.core.model import Forecast

HOUR_S = 3600.0


def explain_sources(forecast: Forecast, explanation: Explanation) -> None:
    """Add the DAGs that need the most slots at the peak of the forecast."""
    if not forecast.sources:
        return
    in_s, slots = forecast.peak * forecast.step_s, forecast.slots[forecast.peak]
    for source in forecast.sources:
        when = "in progress" if source.due_s is None else f"due in {source.due_s:.0f} s"
        past = f"as many tasks ran in {source.as_large} of its last {count(source.past_runs, 'run')}"
        text = f"{source.slots:.0f} of {count(round(slots), 'slot')} in {in_s:.0f} s from {source.dag_id}, {when}: "
        explanation.add(
            "expected",
            text + (past if source.past_runs else "none of its runs has ended"),
            dag_id=source.dag_id,
            slots=source.slots,
            of_slots=slots,
            in_s=in_s,
            due_s=source.due_s,
            past_runs=source.past_runs,
            as_large=source.as_large,
        )


def explain_accuracy(accuracy: Accuracy, explanation: Explanation, *, shadow: bool) -> None:
    """Add the figures that show whether the look-ahead can be switched on, once there was demand."""
    sums = accuracy.sums
    if not sums.comparisons:
        return
    hours, unneeded_h, saved_h = (seconds / HOUR_S for seconds in (sums.seconds, sums.unneeded_s, sums.saved_s))
    predicted, seen, apart = (slots / sums.comparisons for slots in (sums.predicted, sums.seen, sums.apart))
    lead_s = sums.lead_s / sums.rises if sums.rises else None
    text = f"In {hours:.1f} h, while there was demand: {predicted:.1f} slots predicted, {seen:.1f} seen, "
    text += f"{apart:.1f} apart on average"
    if lead_s is not None:
        text += f"; workers {'would have been' if shadow else 'were'} requested {lead_s:.0f} s before they were needed"
    text += f"; {unneeded_h:.1f} worker-hours for nothing"
    if shadow:
        text += f", {saved_h:.1f} task-hours of wait saved"
    compared = accuracy.compared or (None, None)
    explanation.add(
        "accuracy",
        text,
        hours=hours,
        predicted=predicted,
        seen=seen,
        apart=apart,
        lead_s=lead_s,
        unneeded_s=sums.unneeded_s,
        saved_s=sums.saved_s,
        predicted_now=compared[0],
        seen_now=compared[1],
    )
