"""Floor 7, the part of iSCSI before the full-feature phase (RFC 7143).

`portal` accepts a connection and drives `login`; a normal session then leaves Python for the
native transport, a discovery session stays in `discovery` to its end. Everything but `portal`
is sans-IO: bytes in, bytes and outcomes out.

    limits errors status        bounds; what may fail; the status codes of a Login Response
    refusals                    how a login ends without a session
    names                       iSCSI names
    pdu framing digest          PDUs, PDUs out of a byte stream, CRC-32C
    text keys negotiation       key=value text, the one table of keys, the rules over it
    chap                        authentication
    directory parameters        what is asked of the floor above; what login hands down
    login discovery             the two conversations
    sessions portal             who is logged in; the only sockets
"""
