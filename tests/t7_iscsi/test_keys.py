"""The table of keys against RFC 7143, and every rule of negotiation over it."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from scsi_snap.iscsi.errors import LoginRefused
from scsi_snap.iscsi.keys import BOTH, KEYS, Result, Sender, Use, ValueType
from scsi_snap.iscsi.negotiation import Negotiation, answer
from scsi_snap.iscsi.status import LoginStatus
from scsi_snap.iscsi.text import Pairs
from tests.t7_iscsi.given import given

RFC_SECTIONS = {
    "AuthMethod": "12",
    "CHAP_A": "12.1.3",
    "CHAP_I": "12.1.3",
    "CHAP_C": "12.1.3",
    "CHAP_N": "12.1.3",
    "CHAP_R": "12.1.3",
    "HeaderDigest": "13.1",
    "DataDigest": "13.1",
    "MaxConnections": "13.2",
    "SendTargets": "13.3",
    "TargetName": "13.4",
    "InitiatorName": "13.5",
    "TargetAlias": "13.6",
    "InitiatorAlias": "13.7",
    "TargetAddress": "13.8",
    "TargetPortalGroupTag": "13.9",
    "InitialR2T": "13.10",
    "ImmediateData": "13.11",
    "MaxRecvDataSegmentLength": "13.12",
    "MaxBurstLength": "13.13",
    "FirstBurstLength": "13.14",
    "DefaultTime2Wait": "13.15",
    "DefaultTime2Retain": "13.16",
    "MaxOutstandingR2T": "13.17",
    "DataPDUInOrder": "13.18",
    "DataSequenceInOrder": "13.19",
    "ErrorRecoveryLevel": "13.20",
    "SessionType": "13.21",
    "TaskReporting": "13.23",
    "iSCSIProtocolLevel": "13.24",
    "IFMarker": "13.25",
    "OFMarker": "13.25",
    "IFMarkInt": "13.25",
    "OFMarkInt": "13.25",
    "X#NodeArchitecture": "13.26",
}

RFC_DEFAULTS = {
    "AuthMethod": "None",
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxConnections": "1",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxRecvDataSegmentLength": "8192",
    "MaxBurstLength": "262144",
    "FirstBurstLength": "65536",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "20",
    "MaxOutstandingR2T": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
    "SessionType": "Normal",
    "TaskReporting": "RFC3720",
    "iSCSIProtocolLevel": "1",
}


def test_the_table_is_the_rfcs() -> None:
    assert {name: key.section for name, key in KEYS.items()} == RFC_SECTIONS
    defaults = {name: key.default for name, key in KEYS.items() if key.default is not None}
    assert defaults == RFC_DEFAULTS


def test_our_values_and_defaults_lie_in_range() -> None:
    for key in KEYS.values():
        if key.type is ValueType.NUMBER and key.high:
            for value in (key.default, key.ours):
                assert value is not None
                assert key.low <= int(value) <= key.high, key.name


def test_negotiated_keys_have_both_senders_and_a_value_of_ours() -> None:
    for key in KEYS.values():
        if key.result in (Result.AND, Result.OR, Result.MINIMUM, Result.MAXIMUM, Result.CHOICE):
            assert key.senders == BOTH
            assert key.ours is not None


ANSWERS = [
    ("HeaderDigest", "None", "None"),
    ("HeaderDigest", "CRC32C,None", "CRC32C"),
    ("HeaderDigest", "None,CRC32C", "None"),
    ("HeaderDigest", "X-md4,CRC32C", "CRC32C"),
    ("HeaderDigest", "none, crc32c", "None"),
    ("HeaderDigest", ",,crc32c", "CRC32C"),
    ("DataDigest", "X-md4", "Reject"),
    ("DataDigest", "", "Reject"),
    ("MaxConnections", "8", "1"),
    ("MaxConnections", "0", "Reject"),
    ("MaxConnections", "65536", "Reject"),
    ("InitialR2T", "Yes", "Yes"),
    ("InitialR2T", "No", "No"),
    ("InitialR2T", "no", "No"),
    ("InitialR2T", "Y", "Reject"),
    ("ImmediateData", "Yes", "Yes"),
    ("ImmediateData", "No", "No"),
    ("ImmediateData", "1", "Reject"),
    ("MaxBurstLength", "16776192", "1048576"),
    ("MaxBurstLength", "512", "512"),
    ("MaxBurstLength", "0x10000", "65536"),
    ("MaxBurstLength", "0X1Fe00", "130560"),
    ("MaxBurstLength", "0262144", "Reject"),
    ("MaxBurstLength", "+4096", "Reject"),
    ("MaxBurstLength", "511", "Reject"),
    ("MaxBurstLength", "16777216", "Reject"),
    ("MaxBurstLength", "lots", "Reject"),
    ("FirstBurstLength", "65536", "65536"),
    ("FirstBurstLength", "16777215", "262144"),
    ("DefaultTime2Wait", "2", "2"),
    ("DefaultTime2Wait", "3601", "Reject"),
    ("DefaultTime2Retain", "20", "0"),
    ("MaxOutstandingR2T", "1", "1"),
    ("MaxOutstandingR2T", "65535", "8"),
    ("DataPDUInOrder", "No", "Yes"),
    ("DataSequenceInOrder", "No", "Yes"),
    ("ErrorRecoveryLevel", "2", "0"),
    ("ErrorRecoveryLevel", "3", "Reject"),
    ("TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720"),
    ("TaskReporting", "FastAbort", "Reject"),
    ("iSCSIProtocolLevel", "1", "1"),
    ("iSCSIProtocolLevel", "2", "2"),
    ("iSCSIProtocolLevel", "31", "2"),
    ("iSCSIProtocolLevel", "32", "Reject"),
    ("iSCSIProtocolLevel", "0", "0"),
    ("IFMarker", "Yes", "No"),
    ("OFMarker", "No", "No"),
    ("IFMarkInt", "2048~8192", "Reject"),
    ("OFMarkInt", "2048", "Reject"),
    ("X-com.example.fast", "Yes", "NotUnderstood"),
    ("NoSuchKey", "1", "NotUnderstood"),
    ("RDMAExtensions", "Yes", "NotUnderstood"),
]


@pytest.mark.parametrize(("name", "offered", "answered"), ANSWERS)
def test_answers(name: str, offered: str, answered: str) -> None:
    negotiation = Negotiation()
    assert negotiation.handle([(name, offered)], Use.OPERATIONAL) == [(name, answered)]
    if name in RFC_DEFAULTS:
        in_force = RFC_DEFAULTS[name] if answered == "Reject" else answered
        assert negotiation.value(name) == in_force


@pytest.mark.parametrize(
    ("offers", "answered"),
    [
        ([("FirstBurstLength", "262144"), ("MaxBurstLength", "65536")], ["65536", "65536"]),
        ([("MaxBurstLength", "65536"), ("FirstBurstLength", "262144")], ["65536", "65536"]),
        ([("MaxBurstLength", "1"), ("FirstBurstLength", "262144")], ["Reject", "262144"]),
        (
            [("InitialR2T", "Yes"), ("ImmediateData", "No"), ("FirstBurstLength", "512")],
            ["Yes", "No", "512"],
        ),
        (
            [("FirstBurstLength", "512"), ("InitialR2T", "Yes"), ("ImmediateData", "Yes")],
            ["512", "Yes", "Yes"],
        ),
        (
            [("FirstBurstLength", "512"), ("InitialR2T", "No"), ("ImmediateData", "No")],
            ["512", "No", "No"],
        ),
    ],
)
def test_first_burst_depends_on_others_in_any_order(offers: Pairs, answered: list[str]) -> None:
    answers = Negotiation().handle(offers, Use.OPERATIONAL)
    assert answers == [(name, value) for (name, _), value in zip(offers, answered, strict=True)]


def test_first_burst_is_bounded_by_an_earlier_max_burst() -> None:
    negotiation = Negotiation()
    negotiation.handle([("MaxBurstLength", "4096")], Use.OPERATIONAL)
    answers = negotiation.handle([("FirstBurstLength", "65536")], Use.OPERATIONAL)
    assert answers == [("FirstBurstLength", "4096")]


def refused(negotiation: Negotiation, offers: Pairs, stage: Use = Use.OPERATIONAL) -> LoginStatus:
    with pytest.raises(LoginRefused) as caught:
        negotiation.handle(offers, stage)
    return caught.value.status


@pytest.mark.parametrize("name", ["ImmediateData", "MaxConnections", "X-a", "MaxBurstLength"])
def test_a_second_offer_is_refused(name: str) -> None:
    negotiation = Negotiation()
    negotiation.handle([(name, "1")], Use.OPERATIONAL)
    assert refused(negotiation, [(name, "1")]) is LoginStatus.INITIATOR_ERROR
    assert refused(Negotiation(), [(name, "1"), (name, "1")]) is LoginStatus.INITIATOR_ERROR


def test_names_may_be_repeated_but_not_changed() -> None:
    negotiation = Negotiation()
    negotiation.handle([("InitiatorName", "iqn.a"), ("InitiatorAlias", "x")], Use.SECURITY)
    assert negotiation.handle([("InitiatorName", "iqn.a")], Use.OPERATIONAL) == []
    assert refused(negotiation, [("InitiatorAlias", "y")]) is LoginStatus.INITIATOR_ERROR


IN_FULL_FEATURE = {"MaxRecvDataSegmentLength", "SendTargets", "InitiatorAlias"}
"""What RFC 7143, 13 has an initiator send there (FFPO, ALL, "any stage" of initiators)."""
BY_TARGETS = {"TargetAlias", "TargetAddress", "TargetPortalGroupTag"}
CHAP = {name for name in RFC_SECTIONS if name.startswith("CHAP_")}


@pytest.mark.parametrize("phase", [Use.SECURITY, Use.OPERATIONAL, Use.FULL_FEATURE])
@pytest.mark.parametrize("name", sorted(set(RFC_SECTIONS) - CHAP - {"AuthMethod"}))
def test_a_key_without_a_place_in_the_phase_is_rejected(name: str, phase: Use) -> None:
    value = RFC_DEFAULTS.get(name, "1")
    answers = Negotiation().handle([(name, value)], phase)
    in_login = set(RFC_SECTIONS) - BY_TARGETS - {"SendTargets"}
    has_place = name in (IN_FULL_FEATURE if phase is Use.FULL_FEATURE else in_login)
    assert (answers == [(name, "Reject")]) is (not has_place or name in ("IFMarkInt", "OFMarkInt"))


@pytest.mark.parametrize("name", sorted(CHAP))
def test_chap_has_its_own_stage(name: str) -> None:
    assert Negotiation().handle([(name, "5")], Use.OPERATIONAL) == [(name, "Reject")]


def test_what_was_rejected_for_its_place_may_be_offered_in_another() -> None:
    negotiation = Negotiation()
    assert negotiation.handle([("SendTargets", "All")], Use.OPERATIONAL) == [
        ("SendTargets", "Reject")
    ]
    assert negotiation.handle([("SendTargets", "")], Use.FULL_FEATURE) == []


@pytest.mark.parametrize(
    ("name", "value", "answers"),
    [
        ("MaxBurstLength", "65536", [("MaxBurstLength", "65536")]),
        ("HeaderDigest", "CRC32C", [("HeaderDigest", "CRC32C")]),
        ("MaxRecvDataSegmentLength", "65536", []),
        ("X-a", "1", [("X-a", "NotUnderstood")]),
    ],
)
def test_both_stages_of_a_login_take_the_same_offer(name: str, value: str, answers: Pairs) -> None:
    negotiation = Negotiation()
    assert negotiation.handle([(name, value)], Use.SECURITY) == answers
    assert negotiation.handle([(name, value)], Use.OPERATIONAL) == answers
    assert refused(negotiation, [(name, "8192")]) is LoginStatus.INITIATOR_ERROR


def test_one_who_takes_more_than_there_is_takes_all_that_there_is() -> None:
    negotiation = Negotiation()
    assert negotiation.handle([("MaxRecvDataSegmentLength", "16777216")], Use.OPERATIONAL) == []
    assert negotiation.number("MaxRecvDataSegmentLength") == 16777215


@pytest.mark.parametrize(
    ("name", "value", "stage"),
    [
        ("MaxRecvDataSegmentLength", "511", Use.OPERATIONAL),
        ("MaxRecvDataSegmentLength", "511", Use.FULL_FEATURE),
        ("MaxRecvDataSegmentLength", "much", Use.OPERATIONAL),
        ("MaxBurstLength", "Irrelevant", Use.OPERATIONAL),
        ("X-a", "NotUnderstood", Use.OPERATIONAL),
    ],
)
def test_what_has_no_answer_ends_the_login(name: str, value: str, stage: Use) -> None:
    assert refused(Negotiation(), [(name, value)], stage) is LoginStatus.INITIATOR_ERROR


def test_an_initiator_may_not_understand_what_we_declared() -> None:
    negotiation = Negotiation(sent={"TargetPortalGroupTag"})
    offer = [("TargetPortalGroupTag", "NotUnderstood")]
    assert negotiation.handle(offer, Use.OPERATIONAL) == []


def test_the_node_architecture_is_taken_note_of() -> None:
    offer = [("X#NodeArchitecture", "Example OS/1.0")]
    assert Negotiation().handle(offer, Use.OPERATIONAL) == []


def test_declarations_are_kept_in_decimal() -> None:
    negotiation = Negotiation()
    assert negotiation.handle([("MaxRecvDataSegmentLength", "0x8000")], Use.OPERATIONAL) == []
    assert negotiation.number("MaxRecvDataSegmentLength") == 32768


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=20) | st.integers().map(str))
def test_any_value_gets_an_answer_in_range_or_is_refused(name: str, offered: str) -> None:
    key = KEYS[name]
    if key.result in (Result.DECLARED, Result.AUTHENTICATION):
        return
    answered = answer(key, offered)
    if answered == "Reject":
        return
    if key.type is ValueType.NUMBER:
        assert key.low <= int(answered) <= key.high
    elif key.type is ValueType.BOOLEAN:
        assert answered in ("Yes", "No")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KEYS, "X-y", "Zed"]),
            st.sampled_from(["Yes", "No", "0", "512", "70000", "None", "Reject", "a,b", ""]),
        ),
        max_size=12,
    ),
    st.sampled_from([Use.OPERATIONAL, Use.FULL_FEATURE]),
)
def test_any_conversation_keeps_its_invariants(offers: Pairs, phase: Use) -> None:
    negotiation = Negotiation()
    try:
        answers = negotiation.handle(offers, phase)
    except LoginRefused:
        return
    named = [name for name, _ in answers]
    assert len(named) == len(set(named))
    assert set(named) <= {name for name, _ in offers}
    agreed = dict(answers)
    if agreed.get("FirstBurstLength", "").isdigit():
        assert int(agreed["FirstBurstLength"]) <= negotiation.number("MaxBurstLength")
    assert not any(KEYS[name].senders == Sender.TARGET for name in negotiation.declared)
