"""The logical unit that is not there: a null object, so that nothing else asks whether it is.

It answers what SPC-4 says of an incorrect LUN (SAM-5): INQUIRY with peripheral qualifier
011b, REPORT LUNS as every unit does, REQUEST SENSE with the reason as Data-In; all else is refused.
"""

from typing import Final

from scsi_snap.scsi import inquiry, opcodes, primary_commands
from scsi_snap.scsi.cdb import Cdb
from scsi_snap.scsi.invocation import Router
from scsi_snap.scsi.request import Completion, Request, Status
from scsi_snap.scsi.sense import CheckCondition, Sense, SenseCode
from scsi_snap.scsi.transfer import check_direction

_NOT_SUPPORTED: Final = Sense(SenseCode.LOGICAL_UNIT_NOT_SUPPORTED)


class MissingLogicalUnit:
    """Without state: one serves every LUN that names no unit."""

    def execute(self, request: Request, router: Router) -> Completion:
        """Carries a command out, or refuses it."""
        try:
            data_in = self._data_in(request, router)
        except CheckCondition as check:
            return Completion(
                Status.CHECK_CONDITION, sense=check.sense.encode(descriptor_format=False)
            )
        return Completion(Status.GOOD, data_in=data_in)

    def _data_in(self, request: Request, router: Router) -> bytes:
        operation = opcodes.ALL.find(request.cdb)
        if isinstance(operation, Sense) or not operation.despite_unit_attention:
            raise CheckCondition(_NOT_SUPPORTED)
        cdb = Cdb(operation.layout, request.cdb)
        check_direction(request.expected, data_out=0, data_in=operation.data_in(cdb))
        if operation.name == "INQUIRY":
            if cdb["evpd"]:
                raise CheckCondition(_NOT_SUPPORTED)
            data = inquiry.standard_data(inquiry.NO_LOGICAL_UNIT, None)
        elif operation.name == "REPORT LUNS":
            data = primary_commands.luns_selected(cdb, router, request.nexus)
        else:
            descriptor_format = bool(cdb["descriptor_format"])
            data = _NOT_SUPPORTED.encode(descriptor_format=descriptor_format)
        return data[: cdb["allocation_length"]]
