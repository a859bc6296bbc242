"""Every bound of login and discovery, with its reason.

A peer is anonymous until it has logged in, so what it can make us hold is small and short-lived.
"""

DEFAULT_DATA_SEGMENT_BYTES = 8192
"""MaxRecvDataSegmentLength of both sides until declared otherwise, hence for the whole login
(RFC 7143, 13.12)."""

MAX_NEGOTIATION_TEXT_BYTES = 16 * 1024
"""Text of one logical request, C-bit continuations joined. A full set of keys with the largest
CHAP challenge takes under 5 KiB."""

MAX_KEYS_IN_REQUEST = 128
"""Pairs in one logical request. The RFC defines fewer than 50 keys; each unknown one costs an
answer longer than itself, so this bounds our reply too."""

MAX_KEY_NAME_BYTES = 63
"""RFC 7143, 6.1."""

MAX_VALUE_BYTES = 2 * 1024 + 2
"""The longest value there is: a binary value of 1024 bytes in hexadecimal behind `0x`."""

MAX_LOGIN_REQUESTS = 32
"""Login Requests in one login. Mutual CHAP needs five; every continuation adds one."""

MAX_DISCOVERY_TEXT_BYTES = 8 * 1024 * 1024
"""The whole answer to SendTargets: some ten thousand targets on several portals each."""

MIN_CHAP_SECRET_BYTES = 12
"""96 bits: RFC 7143, 12.1.3 refuses less where IPsec does not protect the connection."""

MAX_CHAP_SECRET_BYTES = 255
"""A text value that a person configures (RFC 7143, 6.1)."""

MAX_CHAP_NAME_BYTES = 255
"""CHAP_N is a text value (RFC 7143, 12.1.3)."""

MAX_CHAP_CHALLENGE_BYTES = 1024
"""CHAP_C is a large binary value (RFC 7143, 12.1.3)."""

CHAP_CHALLENGE_BYTES = 32
"""Our challenge: the longest digest offered, so that no challenge repeats by chance."""

MAX_CONCURRENT_LOGINS = 128
"""Connections of one portal that have not logged in yet; each holds under 64 KiB."""

MAX_CONCURRENT_LOGINS_PER_ADDRESS = 64
"""The same from one address, so that one peer cannot shut out all others."""

MAX_DISCOVERY_SESSIONS = 64
"""They are few and short: an initiator asks SendTargets and logs out."""

MAX_SESSIONS = 4096
"""Normal sessions over all portals; TSIH has 16 bits and zero is reserved."""

LOGIN_TIMEOUT_S = 15.0
"""From accept to full feature. open-iscsi gives up after 15 s as well."""

DISCOVERY_IDLE_TIMEOUT_S = 60.0
"""Between two requests of a discovery session."""

REINSTATEMENT_TIMEOUT_S = 10.0
"""How long a login waits for the session it replaces to end: below LOGIN_TIMEOUT_S."""

RECEIVE_BYTES = 64 * 1024
"""One read from a socket: a login PDU at its largest fits."""
