"""The full-feature phase of a discovery session, whole, sans-IO (RFC 7143, 4.3).

Primer. A discovery session answers Text Requests (`full_feature_text`), pings, and a Logout;
nothing else. An answer longer than the initiator's MaxRecvDataSegmentLength travels in parts (C
bit), each fetched by an empty Text Request that gives our target transfer tag back.

`receive(bytes)` returns the bytes to send; `finished` says that the connection is to be closed
when they are out: after a Logout, or when the initiator cannot be followed.
"""

from __future__ import annotations

from scsi_snap.iscsi.directory import PortalAddress, TargetDirectory
from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.framing import PduReader, write_pdu
from scsi_snap.iscsi.full_feature_text import AnswerTooLong, FullFeatureText
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.pdu import (
    NO_TASK_TAG,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    OtherPdu,
    Pdu,
    Reject,
    ResponsePdu,
    TextRequest,
    TextResponse,
)
from scsi_snap.iscsi.text import TextJoiner

_REJECT_PROTOCOL_ERROR = 0x04
_REJECT_COMMAND_NOT_SUPPORTED = 0x05
_REJECT_INVALID_PDU_FIELD = 0x09
_REJECT_OUT_OF_RESOURCES = 0x0A
_LOGOUT_CLOSED = 0
_LOGOUT_CID_NOT_FOUND = 1
_LOGOUT_RECOVERY_NOT_SUPPORTED = 2
_LOGOUT_REASON_CONNECTION = 1
_LOGOUT_REASON_RECOVERY = 2
_OUR_TRANSFER_TAG = 1
_SEQUENCE_MASK = 0xFFFFFFFF


class DiscoverySession:
    """One discovery session, from the end of its login.

    `connected_to` is the address of ours that the initiator reached: what TargetAddress says for
    a target that is bound to no particular portal.
    """

    def __init__(
        self,
        parameters: SessionParameters,
        *,
        directory: TargetDirectory,
        connected_to: PortalAddress,
        received: bytes = b"",
    ) -> None:
        self.finished = False
        self.failure: ProtocolError | None = None
        self._parameters = parameters
        self._text = FullFeatureText(parameters, directory=directory, connected_to=connected_to)
        self._reader = PduReader(
            parameters.max_recv_data_segment_length,
            header_digest=parameters.header_digest,
            data_digest=parameters.data_digest,
            received=received,
        )
        self._exp_cmd_sn = parameters.cmd_sn
        self._stat_sn = parameters.stat_sn
        self._unsent_text = b""
        self._under_way = False
        self._joiner = TextJoiner()

    def receive(self, data: bytes) -> bytes:
        """Takes bytes off the connection; returns those to send."""
        self._reader.receive(data)
        sent = []
        # Ends: each round takes a PDU out of the buffer or finishes.
        while not self.finished:
            try:
                pdu = self._reader.next_pdu()
                if pdu is None:
                    break
                if self._in_order(pdu):
                    sent.append(self._write(self._handle(pdu)))
            except ProtocolError as error:
                self.finished = True
                self.failure = error
        return b"".join(sent)

    def _in_order(self, pdu: Pdu) -> bool:
        """False for a command that is to be ignored: outside the window, which is one wide
        (RFC 7143, 4.2.2.1). An immediate one takes no place in the order."""
        if pdu.immediate:
            return True
        if isinstance(pdu, OtherPdu):
            cmd_sn = int.from_bytes(pdu.header[24:28], "big")
        elif isinstance(pdu, NopOut | TextRequest | LogoutRequest):
            cmd_sn = pdu.cmd_sn
        else:
            return True
        if cmd_sn != self._exp_cmd_sn:
            return False
        self._exp_cmd_sn = (self._exp_cmd_sn + 1) & _SEQUENCE_MASK
        return True

    def _handle(self, pdu: Pdu) -> ResponsePdu | None:
        match pdu:
            case NopOut():
                return self._ping(pdu)
            case TextRequest() | LogoutRequest() if pdu.initiator_task_tag == NO_TASK_TAG:
                return self._reject(_REJECT_INVALID_PDU_FIELD)
            case TextRequest():
                return self._answer_text(pdu)
            case LogoutRequest():
                return self._logout(pdu)
            case OtherPdu():
                return self._reject(_REJECT_COMMAND_NOT_SUPPORTED)
            case _:
                return self._reject(_REJECT_PROTOCOL_ERROR)

    def _ping(self, request: NopOut) -> NopIn | None:
        if request.initiator_task_tag == NO_TASK_TAG:
            return None
        return NopIn(
            lun=request.lun,
            initiator_task_tag=request.initiator_task_tag,
            stat_sn=self._next_stat_sn(),
            exp_cmd_sn=self._exp_cmd_sn,
            max_cmd_sn=self._exp_cmd_sn,
            data=request.data[: self._text.max_send_bytes],
        )

    def _logout(self, request: LogoutRequest) -> LogoutResponse | Reject:
        if request.reason > _LOGOUT_REASON_RECOVERY:
            return self._reject(_REJECT_INVALID_PDU_FIELD)
        response = _LOGOUT_CLOSED
        if request.reason == _LOGOUT_REASON_RECOVERY:
            response = _LOGOUT_RECOVERY_NOT_SUPPORTED
        elif request.reason == _LOGOUT_REASON_CONNECTION and request.cid != self._parameters.cid:
            response = _LOGOUT_CID_NOT_FOUND
        self.finished = response == _LOGOUT_CLOSED
        return LogoutResponse(
            response=response,
            initiator_task_tag=request.initiator_task_tag,
            stat_sn=self._next_stat_sn(),
            exp_cmd_sn=self._exp_cmd_sn,
            max_cmd_sn=self._exp_cmd_sn,
        )

    def _answer_text(self, request: TextRequest) -> TextResponse | Reject:
        if request.target_transfer_tag == NO_TASK_TAG:
            # A new request ends whatever was under way (RFC 7143, 11.10.4).
            self._forget_exchange()
        elif request.target_transfer_tag != _OUR_TRANSFER_TAG or not self._under_way:
            return self._reject(_REJECT_INVALID_PDU_FIELD)
        try:
            self._take_text(request)
        except AnswerTooLong:
            self._forget_exchange()
            return self._reject(_REJECT_OUT_OF_RESOURCES)
        except ProtocolError:
            self._forget_exchange()
            return self._reject(_REJECT_PROTOCOL_ERROR)
        return self._send_part(request)

    def _take_text(self, request: TextRequest) -> None:
        if request.final and request.continues:
            raise ProtocolError("F and C bit in one request")
        if self._unsent_text:
            if request.data:
                raise ProtocolError("new text before all of our answer was fetched")
            return
        text = self._joiner.add(request.data, continues=request.continues)
        if text is not None:
            self._unsent_text = self._text.answer(text)

    def _send_part(self, request: TextRequest) -> TextResponse:
        part = self._unsent_text[: self._text.max_send_bytes]
        self._unsent_text = self._unsent_text[self._text.max_send_bytes :]
        continues = bool(self._unsent_text)
        final = request.final and not continues
        self._under_way = not final
        return TextResponse(
            final=final,
            continues=continues,
            lun=request.lun,
            initiator_task_tag=request.initiator_task_tag,
            target_transfer_tag=NO_TASK_TAG if final else _OUR_TRANSFER_TAG,
            stat_sn=self._next_stat_sn(),
            exp_cmd_sn=self._exp_cmd_sn,
            max_cmd_sn=self._exp_cmd_sn,
            data=part,
        )

    def _forget_exchange(self) -> None:
        self._under_way = False
        self._unsent_text = b""
        self._joiner = TextJoiner()
        self._text.begin()

    def _reject(self, reason: int) -> Reject:
        """Rejects the PDU at hand, giving its header back."""
        return Reject(
            reason=reason,
            stat_sn=self._next_stat_sn(),
            exp_cmd_sn=self._exp_cmd_sn,
            max_cmd_sn=self._exp_cmd_sn,
            data=self._reader.last_header,
        )

    def _next_stat_sn(self) -> int:
        stat_sn = self._stat_sn
        self._stat_sn = (self._stat_sn + 1) & _SEQUENCE_MASK
        return stat_sn

    def _write(self, pdu: ResponsePdu | None) -> bytes:
        if pdu is None:
            return b""
        return write_pdu(
            pdu,
            header_digest=self._parameters.header_digest,
            data_digest=self._parameters.data_digest,
        )
