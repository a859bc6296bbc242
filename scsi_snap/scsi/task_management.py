"""Task management functions as iSCSI numbers them, and its answers (RFC 7143, 11.5.1 and
11.6.1).
"""

from enum import IntEnum
from typing import Final


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


SUPPORTED: Final = frozenset(Function) - {Function.CLEAR_ACA, Function.TASK_REASSIGN}
"""REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS derives from it."""


class Response(IntEnum):
    """The Response field of the answer."""

    FUNCTION_COMPLETE = 0
    LUN_DOES_NOT_EXIST = 2
    TASK_ALLEGIANCE_REASSIGNMENT_NOT_SUPPORTED = 4
    FUNCTION_NOT_SUPPORTED = 5
