"""Bounds of the control plane, with their reasons; the data path has its own, in Rust."""

NAME_CHARS_MAX = 128
"""Of a pool's, volume's or snapshot's name: the bound of the pool's own catalog."""

MEMBER_PATH_BYTES_MAX = 4095
"""The operating system's own bound (PATH_MAX, without the NUL)."""

POOLS_MAX = 64
"""Each holds its members open and its maps in memory."""

MEMBERS_PER_POOL_MAX = 64
"""A member's role is small in the label, and a stripe over more members fails more often."""

TARGETS_MAX = 1024
"""The state catalog is written whole at each change: this keeps it below a few megabytes."""

LUNS_PER_TARGET_MAX = 1024
"""REPORT LUNS answers with eight bytes each; initiators scan them all."""

LUN_MAX = 16383
"""Flat space addressing has 14 bits (SAM-5, 4.7.7.3)."""

INITIATORS_PER_TARGET_MAX = 1024
"""Looked through at each login."""

PORTALS_MAX = 64
"""Each is a socket that listens, and its logins: a machine has a few addresses."""

PORTAL_GROUP_TAG_MAX = 65535
"""RFC 7143, 13.9: 16 bits; 0 is not given out."""

GROUPS_PER_TARGET_MAX = 32
"""Target ports of one target: 1024 targets' identifiers stay below 65536 (SPC-5)."""

CHUNKS_PER_VOLUME_MAX = 1 << 32
"""The data path's own bound: the snapshot map numbers chunks by 32 bits."""

SNAPSHOTS_PER_POINT_MAX = 1024
"""Snapshots in one consistent point: all of their volumes hold writes while it is taken."""

CATALOG_BYTES_MAX = 64 << 20
"""A state catalog above this is not ours: reading it would only eat memory."""

EVENTS_KEPT = 10_000
"""A few megabytes in memory and in the state directory; older ones are in the daemon's log."""

EVENTS_OF_A_KIND_KEPT = 2_000
"""So that what happens often does not push out what happens once."""

EVENT_MESSAGE_CHARS_MAX = 1_000
"""Messages have words from outside in them."""

EVENT_REPEAT_S = 1.0
"""An event that repeats is told once in this time, with how often it was."""

EVENTS_THAT_DIFFER_MAX = 4
"""Messages of one kind about one subject that are told within that time."""

EVENT_WINDOWS_MAX = 256
"""Kinds and subjects whose repetitions are counted apart; names from outside may be subjects."""

EVENT_FOLLOWERS_MAX = 64
"""Callers that wait for events: each holds one of the API's connections."""

EVENT_WAIT_S_MAX = 60.0
"""How long a caller may wait for the next event before it asks again."""

EVENT_NUMBERS_RESERVED = 100
"""Numbers set aside at a time. After a crash those that are left are skipped."""

EVENT_RETRY_S = 10.0
"""How soon events that could not be written are tried again."""

EVENT_PACE_S = 0.05
"""Between two looks at what the data path has to tell: the first one is at once."""

HOUSEKEEPING_S = 1.0
"""How often portals that could not listen are tried again, and space is looked at."""

DIFF_EXTENTS_PAGE = 10_000
"""Extents in one answer of a diff, or of what a snapshot has allocated; the caller asks on from
where it ended.
"""

EXTENTS_LOOKS_MAX = 16
"""How often one page of allocated extents asks the data path, each time for a thousand runs or so:
a page of a large sparse volume ends early instead of taking long.
"""

MAP_CELLS_MAX = 4096
"""Cells of a picture: more than any terminal draws."""

REQUEST_BODY_BYTES_MAX = 1 << 20
"""The largest sensible request names a thousand snapshots."""

LOGOUT_WAIT_S = 5.0
"""What initiators are given to log out when the daemon stops; the rest is closed."""

SERVICE_THREADS = 16
"""Control verbs running at the same time; more wait. Each may hold a pool's lock for long."""

API_CONNECTIONS_MAX = 256
"""Requests being served or waiting; more are answered 503."""

DESCRIPTORS = 65536
"""Open files that the daemon asks for: members, sessions and requests have one each."""

LOG_REPEAT_S = 1.0
"""The same line is logged once in this time."""

LOG_MESSAGES_KEPT = 256
"""Lines that are known to have been logged a moment ago."""

POOL_TURN_WAIT_S = 10.0
"""What a verb waits for another one that makes, opens or closes the same pool; then it says busy:
it keeps one of the service's threads."""

CLIENT_TIMEOUT_S = 600.0
"""A verb on a large pool takes minutes; a daemon that answers nothing for longer is stuck."""
