"""Floor 6: the command set of a direct-access block device (SAM-5, SPC-4, SBC-4).

Bytes in, bytes out: no socket, file, clock or random source is known here, and no thread but that
of a format or sanitize operation (`background`). A transport hands `target.Target` a command (I_T
nexus, LUN, CDB, Data-Out) and gets the status, the sense data and the Data-In back. The way down is

    target (task router) -> logical_unit (device server) -> the opcode's handler -> medium -> device

and `opcodes` is the one table that says which commands exist, what their CDBs look like, which
function answers, and which units offer it. To add a command, write that function and its row in the
module of its kind.
"""
