"""Any text to a login: answers in whole PDUs, a state that its guards agree to, no exception.

Input, as one byte of choices and then requests: a byte of stages and flags, a byte that is half the
length of the text, the text. With 80h in the first byte it is the bare stream of bytes instead.
"""

import atheris

with atheris.instrument_imports(include=["scsi_snap"]):
    from tests.t7_iscsi.initiator import CREDENTIALS, MUTUAL, Directory, login_for, request
    from tests.t7_iscsi.test_login import check_invariants

CREDENTIALS_ASKED = (None, CREDENTIALS, MUTUAL)
STREAM = 0x80


def test_one_input(data: bytes) -> None:
    if not data:
        return
    asked = CREDENTIALS_ASKED[data[0] % 3]
    login = login_for(Directory(asked))
    for sent in stream(data[1:]) if data[0] & STREAM else requests(data[1:]):
        check_invariants(login, login.receive(sent))
    # CHAP_R of a fixed challenge can be kept in a corpus only by one who knows the secret.
    assert asked is None or login.parameters is None, "nobody here knows the secret"


def stream(data: bytes) -> list[bytes]:
    """Cut in two, so that a PDU may be."""
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def requests(data: bytes) -> list[bytes]:
    """Login Requests whose header is right, or nearly so."""
    found = []
    while len(data) >= 2:
        stages, length = data[0], 2 * data[1]
        made = request(
            stages & 3,
            stages >> 2 & 3 if stages & 0x10 else None,
            data[2 : 2 + length],
            continues=bool(stages & 0x20),
            cid=stages >> 6 & 1,
            version_min=stages >> 7,
        )
        found.append(made.encode())
        data = data[2 + length :]
    return found


if __name__ == "__main__":
    import sys

    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
