"""Text negotiation in full-feature phase, sans-IO (RFC 7143, 6.2, 11.10 and appendix C).

Primer. What is left to say once a login is over is little: SendTargets, which asks for the targets
that there are, a new MaxRecvDataSegmentLength, an alias. `SendTargets=All` lists the targets that
the initiator may see and belongs to discovery sessions; `SendTargets=<name>` asks for one of them;
an empty value means "the target of this session", of which a discovery session has none. Each
target is a TargetName and then its TargetAddress lines.

An *exchange* begins with a Text Request without a Target Transfer Tag and ends with the answer that
has the F bit; within it each key is negotiated once. Here are its rules, for discovery sessions
(`discovery`) and for normal ones, whose PDUs the data path takes and sends: it joins the parts of a
request, hands them to `answer`, and sends what that returns in as many parts as it needs.
"""

from __future__ import annotations

from dataclasses import replace

from scsi_snap.iscsi.directory import PortalAddress, TargetDescription, TargetDirectory
from scsi_snap.iscsi.errors import ProtocolError
from scsi_snap.iscsi.keys import Use
from scsi_snap.iscsi.limits import MAX_DISCOVERY_TEXT_BYTES, MAX_NEGOTIATION_TEXT_BYTES
from scsi_snap.iscsi.names import target_name_or_none
from scsi_snap.iscsi.negotiation import REJECT, Negotiation
from scsi_snap.iscsi.parameters import SessionParameters
from scsi_snap.iscsi.text import Pairs, decode_text, encode_text

_SEND_TARGETS = "SendTargets"
_SEGMENT_LIMIT = "MaxRecvDataSegmentLength"


class AnswerTooLong(ProtocolError):
    """The targets do not fit into what may be said in one exchange."""

    code = "answer-too-long"


class FullFeatureText:
    """One session's exchanges, one at a time.

    `connected_to` is the address of ours that the initiator reached: what TargetAddress says for a
    target that is bound to no particular portal.
    """

    def __init__(
        self,
        parameters: SessionParameters,
        *,
        directory: TargetDirectory,
        connected_to: PortalAddress,
    ) -> None:
        self.max_send_bytes = parameters.max_send_data_segment_length
        """The initiator's MaxRecvDataSegmentLength."""
        self._initiator_name = parameters.initiator_name
        self._target_name = parameters.target_name
        self._directory = directory
        self._connected_to = connected_to
        self.begin()

    def begin(self) -> None:
        """Forgets the exchange that was under way."""
        self._negotiation = Negotiation()
        self._taken_bytes = 0

    def answer(self, request: bytes) -> bytes:
        """The answer to the text of a whole request. ProtocolError: it is to be rejected, and the
        exchange has ended."""
        self._taken_bytes += len(request)
        if self._taken_bytes > MAX_NEGOTIATION_TEXT_BYTES:
            raise ProtocolError(f"more than {MAX_NEGOTIATION_TEXT_BYTES} bytes of text")
        pairs = decode_text(request)
        answers = self._negotiation.handle(pairs, Use.FULL_FEATURE)
        declared = self._negotiation.declared
        if _SEND_TARGETS in dict(pairs):
            answers += self._send_targets(declared[_SEND_TARGETS])
        text = encode_text(answers)
        if len(text) > MAX_DISCOVERY_TEXT_BYTES:
            raise AnswerTooLong(f"more than {MAX_DISCOVERY_TEXT_BYTES} bytes of targets")
        if _SEGMENT_LIMIT in declared:
            self.max_send_bytes = int(declared[_SEGMENT_LIMIT])
        return text

    def _send_targets(self, wanted: str) -> Pairs:
        if self._target_name:
            return self._own_target(wanted)
        if not wanted:
            return []
        return [line for target in self._visible(wanted) for line in self._lines(target)]

    def _own_target(self, wanted: str) -> Pairs:
        """In a normal session nothing is said of other targets, not whether there are any."""
        if wanted and target_name_or_none(wanted) != self._target_name:
            return [(_SEND_TARGETS, REJECT)]
        target = self._directory.find(self._target_name)
        lines = [] if target is None else self._lines(target)
        here = ("TargetAddress", str(self._connected_to))
        return lines or [("TargetName", self._target_name), here]

    def _visible(self, wanted: str) -> list[TargetDescription]:
        visible = list(self._directory.visible_to(self._initiator_name))
        if wanted == "All":
            return visible
        return [target for target in visible if target.name == target_name_or_none(wanted)]

    def _lines(self, target: TargetDescription) -> Pairs:
        """Nothing of a target that this initiator can reach at no address."""
        addresses = [
            reachable
            for address in target.portals or (self._connected_to,)
            if (reachable := self._reachable(address)) is not None
        ]
        if not addresses:
            return []
        return [
            ("TargetName", target.name),
            *(("TargetAddress", str(address)) for address in dict.fromkeys(addresses)),
        ]

    def _reachable(self, address: PortalAddress) -> PortalAddress | None:
        """The address as this initiator can use it. A wildcard says nothing to an initiator: it
        gets the address that it has reached; one of loopback only leads to itself, unless that
        is where it is."""
        here = self._connected_to
        if address.is_wildcard:
            if ":" in here.host and ":" not in address.host:
                return None
            return replace(address, host=here.host)
        return address if not address.is_loopback or here.is_loopback else None


class NormalSessionText:
    """What the data path asks of a normal session's text (`_native.TextNegotiator`)."""

    def __init__(
        self,
        parameters: SessionParameters,
        *,
        directory: TargetDirectory,
        connected_to: PortalAddress,
    ) -> None:
        self._text = FullFeatureText(parameters, directory=directory, connected_to=connected_to)

    def negotiate(self, request: bytes, begins: bool) -> tuple[bytes, int] | None:
        """The answer, and the initiator's MaxRecvDataSegmentLength from now on; None where the
        request is to be rejected. `begins`: it is the first of an exchange."""
        if begins:
            self._text.begin()
        try:
            return self._text.answer(request), self._text.max_send_bytes
        except ProtocolError:
            return None
