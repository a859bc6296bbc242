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

SNAPSHOTS_PER_POINT_MAX = 1024
"""Snapshots in one consistent point: all of their volumes hold writes while it is taken."""

CATALOG_BYTES_MAX = 64 << 20
"""A state catalog above this is not ours: reading it would only eat memory."""

EVENTS_KEPT = 1000
"""Events kept in memory; older ones are in the daemon's log."""

EVENT_POLL_S = 1.0
"""How often the data path is asked for events. Nothing depends on how soon they are seen."""

DIFF_EXTENTS_PAGE = 10_000
"""Extents in one answer of a diff; the caller asks on from where it ended."""

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

CLIENT_TIMEOUT_S = 600.0
"""A verb on a large pool takes minutes; a daemon that answers nothing for longer is stuck."""
