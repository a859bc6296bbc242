"""Task management functions as iSCSI numbers them, and its answers (RFC 7143, 11.5.1 and
11.6.1; from QUERY TASK on, and FUNCTION SUCCEEDED, RFC 7144).

The transport ends tasks and knows which there are. What is left for the command set is whether
there is such a logical unit, and what beside tasks a function touches.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from scsi_snap.scsi.sense import SenseCode


class Function(IntEnum):
    """The Function field of a task management request."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LOGICAL_UNIT_RESET = 5
    TARGET_WARM_RESET = 6
    TARGET_COLD_RESET = 7
    TASK_REASSIGN = 8
    QUERY_TASK = 9
    QUERY_TASK_SET = 10
    I_T_NEXUS_RESET = 11
    QUERY_ASYNCHRONOUS_EVENT = 12


SUPPORTED: Final = frozenset(Function) - {Function.CLEAR_ACA, Function.TASK_REASSIGN}
"""REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS derives from it."""


class Response(IntEnum):
    """The Response field of the answer."""

    FUNCTION_COMPLETE = 0
    LUN_DOES_NOT_EXIST = 2
    TASK_ALLEGIANCE_REASSIGNMENT_NOT_SUPPORTED = 4
    FUNCTION_NOT_SUPPORTED = 5
    FUNCTION_SUCCEEDED = 7


def event_answer(attentions: Sequence[SenseCode]) -> int:
    """The answer to QUERY ASYNCHRONOUS EVENT (SAM-5): the unit attentions that wait, oldest first.

    A response code, and above it the three bytes of Additional Response Information: UADE DEPTH
    (one, or more than one) and sense key, additional sense code, its qualifier.
    """
    if not attentions:
        return Response.FUNCTION_COMPLETE
    oldest = attentions[0]
    depth = 1 if len(attentions) == 1 else 2
    information = [depth << 4 | oldest.key]
    information += [oldest.additional_sense_code, oldest.additional_sense_code_qualifier]
    return int.from_bytes([Response.FUNCTION_SUCCEEDED, *information], "little")
