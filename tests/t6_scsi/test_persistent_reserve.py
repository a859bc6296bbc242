"""PERSISTENT RESERVE IN and OUT: each service action and rule, as SPC-4, 5.13 to 6.16, has it."""

from __future__ import annotations

import pytest

from scsi_snap.scsi.limits import REGISTRATIONS_MAX
from scsi_snap.scsi.nexus import TargetPort
from scsi_snap.scsi.target import Target
from tests.t6_scsi.bus import (
    BUSY,
    CHECK_CONDITION,
    GOOD,
    RESERVATION_CONFLICT,
    Bus,
    expecting,
    initiator,
)
from tests.t6_scsi.cluster import (
    ALL_TG_PT,
    APTPL,
    CLEAR,
    EA,
    EA_AR,
    EA_RO,
    IGNORE_EXISTING_KEY,
    MOVE,
    PREEMPT,
    PREEMPT_AND_ABORT,
    READ_FULL_STATUS,
    READ_KEYS,
    READ_RESERVATION,
    REGISTER,
    RELEASE,
    REPLACE_LOST,
    REPORT_CAPABILITIES,
    RESERVE,
    SPEC_I_PT,
    TYPES,
    WE,
    WE_AR,
    WE_RO,
    Cluster,
    basic,
    counted,
    key_of,
    moving,
    out_cdb,
    port_name,
    transport_id,
)
from tests.t6_scsi.senses import (
    INVALID_FIELD_IN_CDB,
    INVALID_RELEASE,
    LIST_LENGTH_ERROR,
    NO_REGISTRATION_RESOURCES,
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    RESERVATIONS_RELEASED,
    fixed,
    in_cdb,
    in_list,
)

K1, K2, K3 = key_of(1), key_of(2), key_of(3)


@pytest.fixture
def cluster(bus: Bus) -> Cluster:
    """Three nodes that nothing is pending for."""
    for nexus in (1, 2, 3):
        bus.clear_attentions(nexus)
    return Cluster(bus)


class TestReading:
    def test_nothing_is_registered_after_power_on(self, cluster: Cluster) -> None:
        """SPC-4, 6.15.2 and 6.15.3: PRGENERATION and ADDITIONAL LENGTH, both zero."""
        assert cluster.read(READ_KEYS) == bytes(8)
        assert cluster.read(READ_RESERVATION) == bytes(8)
        assert cluster.read(READ_FULL_STATUS) == bytes(8)

    def test_keys_are_listed_with_duplicates(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        assert cluster.out(3, REGISTER, 0, K1) == GOOD
        assert cluster.read(READ_KEYS).hex() == (
            "00000003 00000018 000000000000abc1 000000000000abc2 000000000000abc1"
        ).replace(" ", "")

    def test_the_allocation_length_cuts_the_list_and_not_its_length(self, cluster: Cluster) -> None:
        """SPC-4, 6.15.2."""
        cluster.join(1)
        assert cluster.read(READ_KEYS, length=8).hex() == "0000000100000008"

    def test_the_reservation(self, cluster: Cluster) -> None:
        """SPC-4, 6.15.3: key, obsolete, reserved, SCOPE and TYPE, obsolete."""
        cluster.join(1)
        cluster.reserve(1, EA_RO)
        assert cluster.read(READ_RESERVATION).hex() == (
            "00000001 00000010 000000000000abc1 00000000 00 06 0000"
        ).replace(" ", "")

    @pytest.mark.parametrize("kind", [WE_AR, EA_AR])
    def test_an_all_registrants_reservation_has_no_key(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, kind)
        assert cluster.reservation() == (0, kind)

    def test_capabilities(self, cluster: Cluster) -> None:
        """SPC-4, 6.15.4: RLR_C, CRH, SIP_C, ATP_C, PTPL_C; TMV, ALLOW COMMANDS 100b; all types."""
        assert cluster.read(REPORT_CAPABILITIES).hex() == "00089dc0ea010000"
        cluster.join(1, flags=APTPL)
        assert cluster.read(REPORT_CAPABILITIES).hex() == "00089dc1ea010000"

    def test_the_full_status(self, cluster: Cluster) -> None:
        """SPC-4, 6.15.5: key; ALL_TG_PT and R_HOLDER; SCOPE and TYPE; port; TransportID."""
        cluster.join(1, 2)
        cluster.reserve(2, WE)
        name = transport_id(port_name(1))
        first = K1.to_bytes(8, "big") + bytes(4) + b"\0\0" + bytes(4) + b"\0\1"
        second = K2.to_bytes(8, "big") + bytes(4) + b"\1\1" + bytes(4) + b"\0\1"
        other = transport_id(port_name(2))
        whole = first + len(name).to_bytes(4, "big") + name
        whole += second + len(other).to_bytes(4, "big") + other
        expected = (2).to_bytes(4, "big") + len(whole).to_bytes(4, "big") + whole
        assert cluster.read(READ_FULL_STATUS) == expected

    def test_a_service_action_that_is_not_there(self, bus: Bus) -> None:
        assert bus.refused([0x5E, 4, *[0] * 8]) == in_cdb(1, bit=4)


class TestRegister:
    """SPC-4, 5.13.7, tables 67 and 68."""

    @pytest.mark.parametrize("action", [REGISTER, IGNORE_EXISTING_KEY])
    def test_a_new_key(self, cluster: Cluster, action: int) -> None:
        assert cluster.out(1, action, 0, K1) == GOOD
        assert (cluster.registered(), cluster.generation()) == ([K1], 1)

    @pytest.mark.parametrize("action", [REGISTER, IGNORE_EXISTING_KEY])
    def test_zero_of_who_is_not_registered_does_nothing(
        self, cluster: Cluster, action: int
    ) -> None:
        assert cluster.out(1, action, 0, 0, flags=APTPL) == GOOD
        assert (cluster.registered(), cluster.generation()) == ([], 0)
        assert cluster.read(REPORT_CAPABILITIES)[3] & 1 == 0

    def test_a_key_of_who_is_not_registered_conflicts(self, cluster: Cluster) -> None:
        assert cluster.out(1, REGISTER, K1, K2) == RESERVATION_CONFLICT
        assert cluster.generation() == 0

    def test_a_wrong_key_conflicts(self, cluster: Cluster) -> None:
        cluster.join(1)
        assert cluster.out(1, REGISTER, 0, K2) == RESERVATION_CONFLICT
        assert cluster.out(1, REGISTER, K2, K3) == RESERVATION_CONFLICT
        assert (cluster.registered(), cluster.generation()) == ([K1], 1)

    def test_the_key_is_changed_and_the_reservation_stays(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, WE)
        assert cluster.out(1, REGISTER, K1, K3) == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K3, K2], (K3, WE))
        assert cluster.out(1, IGNORE_EXISTING_KEY, 0x77, K1) == GOOD
        assert cluster.reservation() == (K1, WE)
        assert cluster.learns(2) == []

    def test_it_is_done_whatever_is_reserved(self, cluster: Cluster) -> None:
        """Table 66."""
        cluster.join(1)
        cluster.reserve(1, EA)
        assert cluster.out(2, REGISTER, 0, K2) == GOOD
        assert cluster.out(3, IGNORE_EXISTING_KEY, 0, K3) == GOOD

    def test_a_registration_outlives_session_and_reset(self, cluster: Cluster) -> None:
        """SPC-4, 5.13.5.1: it is of initiator port and target port."""
        cluster.join(1, 2)
        cluster.reserve(1, EA_RO)
        cluster.bus.lose(1)
        cluster.bus.target.task_management(2, 0, 5)
        cluster.bus.clear_attentions(2)
        assert cluster.registered(2) == [K1, K2]
        cluster.bus.clear_attentions(1)
        assert cluster.reads(1) and cluster.writes(1)
        assert cluster.out(1, REGISTER, K1, 0) == GOOD

    def test_another_session_of_the_initiator_is_another_nexus(self, cluster: Cluster) -> None:
        bus = cluster.bus
        cluster.join(1)
        cluster.reserve(1, EA)
        port = initiator(1)
        bus.target.nexus_begins(9, type(port)(port.name, b"other!"))
        bus.begun.add(9)
        bus.clear_attentions(9)
        assert not cluster.reads(9)

    def test_there_is_a_limit(self, cluster: Cluster) -> None:
        """SPC-4, 5.13.7: INSUFFICIENT REGISTRATION RESOURCES, and nothing is registered."""
        ids = b"".join(
            transport_id(f"iqn.2026-11.org.example:h,i,0x{number:x}")
            for number in range(REGISTRATIONS_MAX - 1)
        )
        more = counted(ids + transport_id("iqn.2026-11.org.example:too-many,i,0x1"))
        too_many = basic(0, K1, SPEC_I_PT, more)
        status, sense = cluster.command(1, REGISTER, too_many)
        assert (status, sense) == (CHECK_CONDITION, fixed(NO_REGISTRATION_RESOURCES))
        assert cluster.registered() == []
        assert cluster.command(1, REGISTER, basic(0, K1, SPEC_I_PT, counted(ids)))[0] == GOOD
        assert len(cluster.registered()) == REGISTRATIONS_MAX
        assert cluster.command(2, REGISTER, basic(0, K2))[1] == fixed(NO_REGISTRATION_RESOURCES)
        assert cluster.out(1, REGISTER, K1, K2) == GOOD


class TestUnregister:
    """SPC-4, 5.13.11.2.3."""

    @pytest.mark.parametrize("kind", [WE, EA])
    def test_of_the_holder_releases(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, kind)
        assert cluster.out(1, REGISTER, K1, 0) == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K2], None)
        assert cluster.learns(2) == []

    @pytest.mark.parametrize("kind", [WE_RO, EA_RO])
    def test_of_the_holder_tells_the_registrants(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, kind)
        assert cluster.out(1, IGNORE_EXISTING_KEY, 0, 0) == GOOD
        assert cluster.reservation() is None
        assert cluster.learns(2) == [RESERVATIONS_RELEASED]
        assert cluster.learns(3) == []

    @pytest.mark.parametrize("kind", [WE_AR, EA_AR])
    def test_of_the_last_registrant_releases(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, kind)
        assert cluster.out(1, REGISTER, K1, 0) == GOOD
        assert cluster.reservation() == (0, kind)
        assert cluster.out(2, REGISTER, K2, 0) == GOOD
        assert cluster.reservation() is None
        assert cluster.learns(1) == []

    def test_of_another_leaves_the_reservation(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, EA)
        assert cluster.out(2, REGISTER, K2, 0) == GOOD
        assert cluster.reservation() == (K1, EA)


class TestSpecifiedPorts:
    """SPEC_I_PT and ALL_TG_PT (SPC-4, 6.16.3 and table 69)."""

    def test_ports_that_are_named(self, cluster: Cluster) -> None:
        more = counted(transport_id(port_name(2)) + transport_id(port_name(3)))
        assert cluster.command(1, REGISTER, basic(0, K1, SPEC_I_PT, more))[0] == GOOD
        assert (cluster.registered(), cluster.generation()) == ([K1] * 3, 1)
        assert cluster.out(2, RESERVE, K1, kind=WE) == GOOD

    def test_an_initiator_that_is_named_whole(self, cluster: Cluster) -> None:
        """Format 00b: every port of it that is known."""
        more = counted(transport_id("iqn.2026-11.org.example:host2", form=0))
        assert cluster.command(1, REGISTER, basic(0, K1, SPEC_I_PT, more))[0] == GOOD
        assert cluster.out(2, REGISTER, K1, K2) == GOOD
        assert cluster.out(3, REGISTER, K1, K3) == RESERVATION_CONFLICT

    @pytest.mark.parametrize(
        ("name", "form"),
        [
            ("IQN.2026-11.org.Example:Host2,i,0x000000000002", 0x40),
            (" iqn.2026-11.org.example:HOST2 ", 0),
            ("\uff49qn.2026-11.org.example:host2", 0),
        ],
    )
    def test_a_name_is_compared_in_its_one_spelling(
        self, cluster: Cluster, name: str, form: int
    ) -> None:
        """As `initiator_names` has it: it is the one by which sessions are known."""
        more = counted(transport_id(name, form=form))
        assert cluster.command(1, REGISTER, basic(0, K1, SPEC_I_PT, more))[0] == GOOD
        assert cluster.out(2, REGISTER, K1, K2) == GOOD

    def test_a_short_isid_has_zeros_before_it(self, cluster: Cluster) -> None:
        more = counted(transport_id("iqn.2026-11.org.example:host2,i,0x2"))
        assert cluster.command(1, REGISTER, basic(0, K1, SPEC_I_PT, more))[0] == GOOD
        assert cluster.out(2, REGISTER, K1, K2) == GOOD

    def test_one_that_is_registered_spoils_all(self, cluster: Cluster) -> None:
        """Table 67, note b."""
        cluster.join(2)
        more = counted(transport_id(port_name(3)) + transport_id(port_name(2)))
        status, sense = cluster.command(1, REGISTER, basic(0, K1, SPEC_I_PT, more))
        assert (status, sense) == (CHECK_CONDITION, in_list(24))
        assert cluster.registered() == [K2]

    @pytest.mark.parametrize("action_key", [0, K2])
    def test_by_who_is_registered(self, cluster: Cluster, action_key: int) -> None:
        """Table 67, note c."""
        cluster.join(1)
        more = counted(transport_id(port_name(2)))
        parameters = basic(K1, action_key, SPEC_I_PT, more)
        assert cluster.command(1, REGISTER, parameters)[1] == in_list(20, bit=3)
        assert cluster.registered() == [K1]

    @pytest.mark.parametrize(
        "action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, IGNORE_EXISTING_KEY]
    )
    def test_only_of_register(self, cluster: Cluster, action: int) -> None:
        cluster.join(1)
        parameters = basic(K1, K2, SPEC_I_PT, counted(transport_id(port_name(2))))
        assert cluster.command(1, action, parameters, WE)[1] == in_list(20, bit=3)

    @pytest.mark.parametrize(
        ("wrong", "sense"),
        [
            (b"", fixed(LIST_LENGTH_ERROR)),
            ((48).to_bytes(4, "big") + transport_id("iqn.a,i,0x1"), fixed(LIST_LENGTH_ERROR)),
            (counted(transport_id("iqn.a,i,0x1")[:-4]), fixed(LIST_LENGTH_ERROR)),
            (counted(transport_id("iqn.a,i,0x1") + b"\x45\0"), fixed(LIST_LENGTH_ERROR)),
            (counted(b"\x40" + transport_id("iqn.a,i,0x1")[1:]), in_list(28, bit=3)),
            (counted(transport_id("iqn.a,i,0x1", form=0x80)), in_list(28, bit=7)),
            (counted(b"\x45\0\0\x10" + b"iqn.a,i,0x1".ljust(16, b"\0")), in_list(30)),
            (counted(b"\x45\0\0\x14" + b"x" * 20), in_list(32)),
            (counted(b"\x45\0\0\x14" + b"iqn.a,i,0x1\0rest".ljust(20, b"\0")), in_list(32)),
            (counted(transport_id("iqn.a")), in_list(32)),
            (counted(transport_id("iqn.a,i,0x1234567890abc")), in_list(32)),
            (counted(transport_id("iqn.a,i,0x1", form=0)), in_list(32)),
            (counted(transport_id("", form=0)), in_list(32)),
            (counted(b"\x05\0\0\x14" + b"\xff\xfe".ljust(20, b"\0")), in_list(32)),
            (counted(transport_id("x" * 224 + ",i,0x1")), in_list(32)),
        ],
    )
    def test_transport_ids_that_are_none(
        self, cluster: Cluster, wrong: bytes, sense: bytes
    ) -> None:
        parameters = basic(0, K1, SPEC_I_PT, wrong)
        assert cluster.command(1, REGISTER, parameters) == (CHECK_CONDITION, sense)
        assert cluster.registered() == []

    def test_all_target_ports(self, cluster: Cluster) -> None:
        """As if the request had come through each of them."""
        bus = cluster.bus
        other = Target(TargetPort(f"{bus.target._port.target_name}2", 1, 2))
        other.add_unit(0, bus.unit)
        bus.good([0xA0, 0, 0, 0, 0, 0, *[0, 0, 0, 64], 0, 0])
        assert cluster.out(1, REGISTER, 0, K1, flags=ALL_TG_PT) == GOOD
        assert cluster.registered() == [K1, K1]
        status = cluster.read(READ_FULL_STATUS)
        assert status.count(b"host1,i,0x") == 2
        assert cluster.out(1, RESERVE, K1, kind=EA_RO) == GOOD
        other.nexus_begins(8, initiator(1))
        assert other.execute(8, 0, bytes(6), 1, b"", expecting(b""))[0] == CHECK_CONDITION
        read = bytes([0x28, *[0] * 7, 1, 0])
        assert other.execute(8, 0, read, 1, b"", expecting(b""))[0] == GOOD
        assert cluster.out(1, REGISTER, K1, 0, flags=ALL_TG_PT) == GOOD
        assert cluster.registered() == []

    def test_one_target_port_is_not_the_other(self, cluster: Cluster) -> None:
        bus = cluster.bus
        other = Target(TargetPort(f"{bus.target._port.target_name}2", 1, 2))
        other.add_unit(0, bus.unit)
        cluster.join(1)
        cluster.reserve(1, EA_RO)
        other.nexus_begins(8, initiator(1))
        assert other.execute(8, 0, bytes(6), 1, b"", expecting(b""))[0] == CHECK_CONDITION
        read = bytes([0x28, *[0] * 7, 1, 0])
        assert other.execute(8, 0, read, 1, b"", expecting(b""))[0] == RESERVATION_CONFLICT


class TestParameterList:
    @pytest.mark.parametrize("action", [*range(7), REPLACE_LOST])
    @pytest.mark.parametrize("length", [0, 23, 25, 28])
    def test_its_length(self, cluster: Cluster, action: int, length: int) -> None:
        """SPC-4, 6.16.2: 24 bytes, unless ports are specified."""
        cluster.join(1)
        parameters = basic(K1, K2).ljust(28, b"\0")[:length]
        assert cluster.command(1, action, parameters, WE) == (
            CHECK_CONDITION,
            fixed(LIST_LENGTH_ERROR),
        )

    def test_a_list_that_did_not_come_whole(self, bus: Bus) -> None:
        assert bus.refused(out_cdb(REGISTER, 24), basic(0, K1)[:20]) == fixed(LIST_LENGTH_ERROR)

    @pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, MOVE])
    def test_of_who_is_not_registered(self, cluster: Cluster, action: int) -> None:
        """SPC-4, 5.13.7: RESERVATION CONFLICT."""
        cluster.join(2)
        parameters = basic(0, K2)
        if action == MOVE:
            parameters = moving(0, K2, transport_id(port_name(2)), port=1)
            cluster.reserve(2, WE)
        assert cluster.command(1, action, parameters, WE)[0] == RESERVATION_CONFLICT

    @pytest.mark.parametrize("action", [RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT])
    def test_a_key_that_is_not_ones_own(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2)
        assert cluster.out(1, action, K2, K2, WE) == RESERVATION_CONFLICT

    @pytest.mark.parametrize("kind", [0, 2, 4, 9, 15])
    def test_types_that_are_none(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1)
        assert cluster.command(1, RESERVE, basic(K1), kind)[1] == in_cdb(2, bit=3)

    def test_scopes_that_are_none(self, cluster: Cluster) -> None:
        cluster.join(1)
        assert cluster.bus.refused(out_cdb(RESERVE, 24, WE, scope=1), basic(K1)) == in_cdb(2, bit=7)

    def test_scope_and_type_mean_nothing_to_the_others(self, cluster: Cluster) -> None:
        cluster.bus.good(out_cdb(REGISTER, 24, 15, 15), basic(0, K1))
        cluster.bus.good(out_cdb(IGNORE_EXISTING_KEY, 24, 15, 15), basic(0, K2))
        cluster.bus.good(out_cdb(PREEMPT, 24, 15, 15), basic(K2, K2))
        cluster.bus.good(out_cdb(REGISTER, 24, 15, 15), basic(0, K1))
        cluster.bus.good(out_cdb(CLEAR, 24, 15, 15), basic(K1))


class TestReserve:
    """SPC-4, 5.13.9."""

    @pytest.mark.parametrize("kind", TYPES)
    def test_it_counts_no_generation(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1)
        cluster.reserve(1, kind)
        assert cluster.generation() == 1
        assert cluster.out(1, RELEASE, K1, kind=kind) == GOOD
        assert cluster.generation() == 1

    @pytest.mark.parametrize("kind", TYPES)
    def test_again(self, cluster: Cluster, kind: int) -> None:
        """The same is GOOD; another type, or another nexus, conflicts."""
        cluster.join(1, 2)
        cluster.reserve(1, kind)
        cluster.reserve(1, kind)
        assert cluster.out(1, RESERVE, K1, kind=WE if kind != WE else EA) == RESERVATION_CONFLICT
        shared = kind in (WE_AR, EA_AR)
        assert cluster.out(2, RESERVE, K2, kind=kind) == (GOOD if shared else RESERVATION_CONFLICT)
        assert cluster.reservation() == (0 if shared else K1, kind)


class TestRelease:
    """SPC-4, 5.13.11.2.2."""

    @pytest.mark.parametrize("kind", TYPES)
    def test_who_learns_of_it(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, kind)
        assert cluster.out(1, RELEASE, K1, kind=kind) == GOOD
        assert cluster.reservation() is None
        assert cluster.learns(2) == ([] if kind in (WE, EA) else [RESERVATIONS_RELEASED])
        assert cluster.learns(1) == cluster.learns(3) == []
        assert cluster.registered() == [K1, K2]

    def test_of_another_type_than_there_is(self, cluster: Cluster) -> None:
        cluster.join(1)
        cluster.reserve(1, WE)
        assert cluster.command(1, RELEASE, basic(K1), EA)[1] == fixed(INVALID_RELEASE)
        assert cluster.bus.refused(out_cdb(RELEASE, 24, WE, 1), basic(K1)) == fixed(INVALID_RELEASE)
        assert cluster.reservation() == (K1, WE)

    def test_of_who_does_not_hold_it(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        assert cluster.out(2, RELEASE, K2, kind=WE) == GOOD
        cluster.reserve(1, WE)
        assert cluster.out(2, RELEASE, K2, kind=WE) == GOOD
        assert cluster.reservation() == (K1, WE)


def test_clear(cluster: Cluster) -> None:
    """SPC-4, 5.13.11.2.7: nothing is left, and the other registrants learn of it."""
    cluster.join(1, 2)
    cluster.reserve(1, EA)
    assert cluster.out(2, CLEAR, K2) == GOOD
    assert (cluster.registered(2), cluster.reservation(2), cluster.generation(2)) == ([], None, 3)
    assert cluster.learns(1) == [RESERVATIONS_PREEMPTED]
    assert cluster.learns(2) == cluster.learns(3) == []


@pytest.mark.parametrize("action", [PREEMPT, PREEMPT_AND_ABORT])
class TestPreempt:
    """SPC-4, 5.13.11.2.4 to 5.13.11.2.6, table 72."""

    def test_a_registration(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2, 3)
        cluster.reserve(1, WE_RO)
        assert cluster.out(1, action, K1, K2, 15) == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K1, K3], (K1, WE_RO))
        assert cluster.generation() == 4
        assert cluster.learns(2) == [REGISTRATIONS_PREEMPTED]
        assert cluster.learns(3) == cluster.learns(1) == []
        assert not cluster.writes(2)

    def test_the_reservation(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2, 3)
        cluster.reserve(1, EA_RO)
        assert cluster.out(2, action, K2, K1, WE) == GOOD
        assert (cluster.registered(2), cluster.reservation(2)) == ([K2, K3], (K2, WE))
        assert cluster.learns(1) == [REGISTRATIONS_PREEMPTED]
        assert cluster.learns(3) == [RESERVATIONS_RELEASED]
        assert cluster.learns(2) == []

    def test_the_reservation_and_its_type_stays(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2, 3)
        cluster.reserve(1, WE_RO)
        assert cluster.out(2, action, K2, K1, WE_RO) == GOOD
        assert cluster.reservation(2) == (K2, WE_RO)
        assert cluster.learns(3) == []

    def test_a_type_that_is_none(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, WE)
        assert cluster.command(2, action, basic(K2, K1), 2)[1] == in_cdb(2, bit=3)
        assert cluster.reservation() == (K1, WE)

    def test_oneself(self, cluster: Cluster, action: int) -> None:
        """The holder changes the type, and stays registered."""
        cluster.join(1, 2)
        cluster.reserve(1, WE)
        assert cluster.out(1, action, K1, K1, EA_AR) == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K1, K2], (0, EA_AR))
        assert cluster.learns(2) == [RESERVATIONS_RELEASED]

    def test_oneself_without_a_reservation(self, cluster: Cluster, action: int) -> None:
        """The registration is removed, and there is nobody to be told."""
        cluster.join(1, 2)
        assert cluster.out(1, action, K1, K1) == GOOD
        assert cluster.registered() == [K2]
        assert cluster.learns(1) == cluster.learns(2) == []

    @pytest.mark.parametrize("kind", [WE_AR, EA_AR])
    def test_all_registrants(self, cluster: Cluster, action: int, kind: int) -> None:
        cluster.join(1, 2, 3)
        cluster.reserve(1, kind)
        assert cluster.out(2, action, K2, 0, EA) == GOOD
        assert (cluster.registered(2), cluster.reservation(2)) == ([K2], (K2, EA))
        assert cluster.bus.command([0] * 6, nexus=1)[1] == fixed(REGISTRATIONS_PREEMPTED)
        assert cluster.bus.command([0] * 6, nexus=3)[1] == fixed(REGISTRATIONS_PREEMPTED)

    def test_one_of_all_registrants(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, WE_AR)
        assert cluster.out(2, action, K2, K1, EA) == GOOD
        assert (cluster.registered(2), cluster.reservation(2)) == ([K2], (0, WE_AR))

    @pytest.mark.parametrize("kind", [None, WE, EA_RO])
    def test_zero_is_nobodys_key(self, cluster: Cluster, action: int, kind: int | None) -> None:
        cluster.join(1, 2)
        if kind is not None:
            cluster.reserve(1, kind)
        assert cluster.command(2, action, basic(K2, 0), WE)[1] == in_list(8)

    def test_a_key_that_nobody_has(self, cluster: Cluster, action: int) -> None:
        cluster.join(1)
        assert cluster.out(1, action, K1, K2, WE) == RESERVATION_CONFLICT

    def test_everyone_with_the_key(self, cluster: Cluster, action: int) -> None:
        cluster.join(1, 2)
        assert cluster.out(3, REGISTER, 0, K2) == GOOD
        assert cluster.out(1, action, K1, K2) == GOOD
        assert cluster.registered() == [K1]
        assert cluster.learns(2) == cluster.learns(3) == [REGISTRATIONS_PREEMPTED]


class TestPreemptAndAbort:
    def test_the_commands_of_who_is_preempted_end(self, cluster: Cluster) -> None:
        """SPC-4, 5.13.11.2.6, c)."""
        cluster.join(1, 2, 3)
        assert cluster.out(1, PREEMPT_AND_ABORT, K1, K2) == GOOD
        assert cluster.bus.gate.aborted == [(0, [2])]

    def test_ones_own_command_is_not_waited_for(self, cluster: Cluster) -> None:
        """The registration goes where nobody holds that key's reservation; the command ends."""
        cluster.join(1)
        assert cluster.out(2, REGISTER, 0, K1) == GOOD
        assert cluster.out(1, PREEMPT_AND_ABORT, K1, K1) == GOOD
        assert cluster.bus.gate.aborted == [(0, [2])]
        assert cluster.registered() == []

    def test_the_gate_is_closed_before(self, cluster: Cluster) -> None:
        """What comes while the others end is refused already."""
        gate, seen = cluster.bus.gate, []
        cluster.join(1, 2)
        cluster.reserve(1, EA_RO)
        abort = gate.abort_tasks
        gate.abort_tasks = lambda *call: (seen.append(gate.pending(2)), abort(*call))[1]  # type: ignore[method-assign]
        assert cluster.out(1, PREEMPT_AND_ABORT, K1, K2) == GOOD
        assert seen == [True]

    def test_preempt_ends_nothing(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        assert cluster.out(1, PREEMPT, K1, K2) == GOOD
        assert cluster.bus.gate.aborted == []

    def test_one_that_conflicts_ends_nothing(self, cluster: Cluster) -> None:
        cluster.join(2)
        assert cluster.out(1, PREEMPT_AND_ABORT, K1, K2) == RESERVATION_CONFLICT
        assert cluster.bus.gate.aborted == []

    def test_only_some_wait_at_once(self, cluster: Cluster) -> None:
        """Each waits in a thread that the commands waited for may need."""
        cluster.join(*range(1, 12))
        gate, answers = cluster.bus.gate, []

        def another(_lun: int, nexuses: object) -> None:
            (victim,) = list(nexuses)  # type: ignore[call-overload]
            by = victim - 5
            if by < 5:
                key = key_of(by + 1)
                answers.append(cluster.out(by + 1, PREEMPT_AND_ABORT, key, key_of(victim + 1)))

        gate.abort_tasks = another  # type: ignore[assignment]
        assert cluster.out(1, PREEMPT_AND_ABORT, K1, key_of(6)) == GOOD
        assert answers == [BUSY, GOOD, GOOD, GOOD]
        assert key_of(10) in cluster.registered() and key_of(9) not in cluster.registered()


class TestRegisterAndMove:
    """SPC-4, 5.13.8, table 70."""

    def move(
        self, cluster: Cluster, *, to: int = 2, key: int = K1, action_key: int = K3, flags: int = 0
    ) -> tuple[int, bytes]:
        parameters = moving(key, action_key, transport_id(port_name(to)), port=1, flags=flags)
        return cluster.command(1, MOVE, parameters)

    @pytest.mark.parametrize("kind", [WE, EA, WE_RO, EA_RO])
    def test_it_moves(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1)
        cluster.reserve(1, kind)
        assert self.move(cluster)[0] == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K1, K3], (K3, kind))
        assert cluster.generation() == 2

    def test_to_who_is_registered(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        cluster.reserve(1, WE)
        assert self.move(cluster)[0] == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K1, K3], (K3, WE))

    def test_unregistering(self, cluster: Cluster) -> None:
        cluster.join(1)
        cluster.reserve(1, WE)
        assert self.move(cluster, flags=0x02)[0] == GOOD
        assert (cluster.registered(), cluster.reservation()) == ([K3], (K3, WE))

    def test_it_takes_aptpl(self, cluster: Cluster) -> None:
        cluster.join(1)
        cluster.reserve(1, WE)
        assert self.move(cluster, flags=0x01)[0] == GOOD
        assert cluster.read(REPORT_CAPABILITIES)[3] & 1

    @pytest.mark.parametrize("kind", [WE_AR, EA_AR])
    def test_all_registrants_have_nothing_to_move(self, cluster: Cluster, kind: int) -> None:
        cluster.join(1)
        cluster.reserve(1, kind)
        assert self.move(cluster)[0] == RESERVATION_CONFLICT

    def test_who_does_not_hold_it(self, cluster: Cluster) -> None:
        cluster.join(1, 2)
        cluster.reserve(2, WE)
        assert self.move(cluster)[0] == RESERVATION_CONFLICT

    def test_a_wrong_key(self, cluster: Cluster) -> None:
        cluster.join(1)
        cluster.reserve(1, WE)
        assert self.move(cluster, key=K2)[0] == RESERVATION_CONFLICT

    def test_nothing_is_reserved(self, cluster: Cluster) -> None:
        cluster.join(1)
        assert self.move(cluster)[1] == fixed(INVALID_FIELD_IN_CDB)

    def test_a_key_of_zero(self, cluster: Cluster) -> None:
        cluster.join(1)
        cluster.reserve(1, WE)
        assert self.move(cluster, action_key=0)[1] == in_list(8)

    def test_to_oneself(self, cluster: Cluster) -> None:
        cluster.join(1)
        cluster.reserve(1, WE)
        assert self.move(cluster, to=1)[1] == in_list(24)

    def test_to_a_target_port_that_is_not_there(self, cluster: Cluster) -> None:
        parameters = moving(K1, K3, transport_id(port_name(2)), port=9)
        assert cluster.command(1, MOVE, parameters)[1] == in_list(18)

    def test_to_more_than_a_port(self, cluster: Cluster) -> None:
        whole = transport_id("iqn.2026-11.org.example:host2", form=0)
        two = transport_id(port_name(2)) + transport_id(port_name(3))
        for ids in (whole, two, b""):
            assert cluster.command(1, MOVE, moving(K1, K3, ids, port=1))[1] == in_list(24)

    def test_a_list_cut_short(self, cluster: Cluster) -> None:
        parameters = moving(K1, K3, transport_id(port_name(2)), port=1)
        assert cluster.command(1, MOVE, parameters[:-4])[1] == fixed(LIST_LENGTH_ERROR)
        assert cluster.command(1, MOVE, parameters[:20])[1] == fixed(LIST_LENGTH_ERROR)


def test_replacing_a_reservation_that_was_not_lost(cluster: Cluster) -> None:
    """SPC-4, 5.13.11.3."""
    assert cluster.command(1, REPLACE_LOST, basic(0, K1), WE)[1] == fixed(INVALID_RELEASE)
