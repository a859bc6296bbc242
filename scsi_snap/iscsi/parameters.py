"""What a finished login hands to the full-feature phase."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParameters:
    """The native session takes what it needs of these fields; who logged in where is for us.

    `cmd_sn` is the CmdSN expected next, `stat_sn` the StatSN to be used next,
    `max_recv_data_segment_length` what we declared, `max_send_data_segment_length` what the
    initiator declared. Lengths in bytes. `protocol_level` is that of iSCSIProtocolLevel: from 2 on
    the task management functions of RFC 7144 may be asked for. `target_name` is empty in a
    discovery session.
    """

    initiator_name: str
    target_name: str
    isid: bytes
    tsih: int
    cid: int
    target_portal_group_tag: int
    cmd_sn: int
    stat_sn: int
    header_digest: bool
    data_digest: bool
    max_recv_data_segment_length: int
    max_send_data_segment_length: int
    max_burst_length: int
    first_burst_length: int
    initial_r2t: bool
    immediate_data: bool
    max_outstanding_r2t: int
    protocol_level: int = 1
